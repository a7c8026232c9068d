//! `tabulate`: mean ± standard deviation of results over axes, with rows and columns by the other
//! axes, beside published numbers.

use std::collections::{BTreeMap, BTreeSet};

use rematch_spec::input::Collected;
use rematch_spec::job::Report;
use rematch_spec::tabulate::{Names, Tabulate};
use serde_json::Value;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::fs;

mod cell;
mod document;
mod grid;
mod published;

use cell::{Cell, Labels};
use published::Published;

/// A table: a cell for every row and column, present or not.
struct Table<'a> {
    params: &'a Tabulate,
    /// Axes that make rows.
    row_axes: Vec<String>,
    /// Axes that make columns.
    column_axes: Vec<String>,
    /// Labels of each row, one per axis.
    rows: Vec<Labels>,
    /// Labels of each column, one per axis.
    columns: Vec<Labels>,
    /// By row and column; a cell without values is missing.
    cells: BTreeMap<(usize, usize), Cell>,
    published: Option<Published>,
}

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Tabulate = child.params()?;
    let table = Table::new(&params)?;
    if table.published.is_some() && table.cells.values().all(|c| c.published.is_none()) {
        child.warning(
            "no published number fits any cell; `published_at` says what is no axis of the results",
        );
    }
    let grid = grid::Grid::of(&table);
    fs::write(child.output("text")?, grid.text())?;
    fs::write(child.output("markdown")?, grid.markdown())?;
    fs::write(child.output("latex")?, grid.latex())?;
    fs::write(child.output("csv")?, document::csv(&table))?;
    fs::write(child.output("json")?, document::json(&table)?)?;
    let missing = table.cells.values().filter(|c| c.values.is_empty()).count();
    Ok(report([
        ("cells", table.cells.len() as f64),
        ("missing", missing as f64),
    ]))
}

impl<'a> Table<'a> {
    fn new(params: &'a Tabulate) -> Result<Self, StageError> {
        let results = &params.results.0;
        if results.is_empty() {
            let error = StageError::usage("results: there are none to tabulate");
            return Err(error.help("refer to a stage that has jobs, `${accuracy[*].stats}`"));
        }
        let axes: BTreeSet<&str> = results
            .iter()
            .flat_map(|r| r.point.keys().map(String::as_str))
            .collect();
        let over: Vec<&str> = params.over.as_slice().iter().map(String::as_str).collect();
        let column_axes = named(params.columns.as_ref(), "columns", &axes)?.unwrap_or_default();
        let rest = || {
            axes.iter()
                .filter(|a| !over.contains(a) && !column_axes.iter().any(|c| c == *a))
                .map(|a| (*a).to_owned())
        };
        let row_axes =
            named(params.rows.as_ref(), "rows", &axes)?.unwrap_or_else(|| rest().collect());
        for axis in rest().filter(|axis| !row_axes.contains(axis)) {
            let values: BTreeSet<String> = results
                .iter()
                .filter_map(|r| r.point.get(&axis))
                .map(cell::label)
                .collect();
            if values.len() > 1 {
                let message = format!(
                    "results differ in the axis `{axis}`, which is in neither `rows`, `columns` nor `over`"
                );
                return Err(StageError::usage(message).help("name it in one of them"));
            }
        }

        let published = params
            .published
            .as_ref()
            .map(|input| Published::read(input.path()))
            .transpose()?;
        let mut table = Self {
            params,
            row_axes,
            column_axes,
            rows: Vec::new(),
            columns: Vec::new(),
            cells: BTreeMap::new(),
            published,
        };
        for result in results {
            let row = position(&mut table.rows, labels(result, &table.row_axes));
            let column = position(&mut table.columns, labels(result, &table.column_axes));
            table
                .cells
                .entry((row, column))
                .or_default()
                .values
                .push(value(params, result)?);
        }
        for row in 0..table.rows.len() {
            for column in 0..table.columns.len() {
                let at = table.at(row, column);
                let published = table
                    .published
                    .as_ref()
                    .and_then(|p| p.find(&at, params.error));
                table.cells.entry((row, column)).or_default().published = published;
            }
        }
        Ok(table)
    }

    /// Axes and labels of a cell, and what `published_at` adds to them.
    fn at(&self, row: usize, column: usize) -> BTreeMap<&str, String> {
        let fixed = self
            .params
            .published_at
            .iter()
            .map(|(axis, value)| (axis.as_str(), cell::label(value)));
        let rows = self
            .row_axes
            .iter()
            .map(String::as_str)
            .zip(self.rows[row].iter().cloned());
        let columns = self
            .column_axes
            .iter()
            .map(String::as_str)
            .zip(self.columns[column].iter().cloned());
        fixed.chain(rows).chain(columns).collect()
    }

    /// The number of values that every cell has, if it is the same for all that have any.
    fn common_count(&self) -> Option<usize> {
        let counts: BTreeSet<usize> = self
            .cells
            .values()
            .map(|c| c.values.len())
            .filter(|n| *n > 0)
            .collect();
        if counts.len() == 1 {
            counts.first().copied()
        } else {
            None
        }
    }
}

/// Axes that a parameter names; all of them must exist.
fn named(
    names: Option<&Names>,
    parameter: &str,
    axes: &BTreeSet<&str>,
) -> Result<Option<Vec<String>>, StageError> {
    let Some(names) = names else { return Ok(None) };
    if let Some(unknown) = names.as_slice().iter().find(|n| !axes.contains(n.as_str())) {
        let known: Vec<&str> = axes.iter().copied().collect();
        let error = StageError::usage(format!("{parameter}: the results have no axis `{unknown}`"));
        return Err(error.help(format!("their axes are {}", known.join(", "))));
    }
    Ok(Some(names.as_slice().to_vec()))
}

fn labels(result: &Collected, axes: &[String]) -> Labels {
    axes.iter()
        .map(|axis| {
            result
                .point
                .get(axis)
                .map_or(cell::MISSING.into(), cell::label)
        })
        .collect()
}

/// Where `labels` stands in `all`, which keeps the order of the first appearance.
fn position(all: &mut Vec<Labels>, labels: Labels) -> usize {
    all.iter().position(|l| *l == labels).unwrap_or_else(|| {
        all.push(labels);
        all.len() - 1
    })
}

/// The number of a result that the table shows.
fn value(params: &Tabulate, result: &Collected) -> Result<f64, StageError> {
    let path = result.file.path();
    let document: Value = serde_json::from_slice(&fs::read(path)?)
        .map_err(|e| StageError::failed(format!("{} is no JSON file: {e}", path.display())))?;
    let Some(value) = document.get(&params.value).and_then(Value::as_f64) else {
        let numbers = document
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, v)| v.is_number());
        let numbers: Vec<&str> = numbers.map(|(name, _)| name.as_str()).collect();
        let error = StageError::failed(format!(
            "{} has no number `{}`",
            path.display(),
            params.value
        ));
        return Err(error.help(format!("its numbers are {}", numbers.join(", "))));
    };
    Ok(if params.error { 100.0 - value } else { value })
}

#[cfg(test)]
mod tests;
