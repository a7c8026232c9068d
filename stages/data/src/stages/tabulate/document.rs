//! A table for other programs: CSV with one line per cell, and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Table;
use crate::error::StageError;

/// One line per cell: its labels, n, mean, std, what was published, and the difference.
pub fn csv(table: &Table) -> String {
    let axes = || table.row_axes.iter().chain(&table.column_axes);
    let names = [
        "n",
        "mean",
        "std",
        "published_mean",
        "published_std",
        "difference",
        "difference_sd",
    ];
    let head: Vec<String> = axes()
        .map(|axis| field(axis))
        .chain(names.map(str::to_owned))
        .collect();
    let mut text = head.join(",") + "\n";
    for ((row, column), cell) in &table.cells {
        let labels = table.rows[*row].iter().chain(&table.columns[*column]);
        let numbers = [
            cell.mean(),
            cell.deviation(),
            cell.published.map(|p| p.mean),
            cell.published.and_then(|p| p.std),
            cell.difference(),
            cell.difference_in_deviations(),
        ];
        let mut line: Vec<String> = labels.map(|label| field(label)).collect();
        line.push(cell.values.len().to_string());
        line.extend(numbers.map(|number| number.map(|n| n.to_string()).unwrap_or_default()));
        let _ = writeln!(text, "{}", line.join(","));
    }
    text
}

/// Everything in the table, with every single value; null where there is nothing.
pub fn json(table: &Table) -> Result<Vec<u8>, StageError> {
    let cells: Vec<Value> = table
        .cells
        .iter()
        .map(|((row, column), cell)| {
            json!({
                "at": table.at(*row, *column),
                "n": cell.values.len(),
                "values": cell.values,
                "mean": cell.mean(),
                "std": cell.deviation(),
                "published": cell.published.map(|p| json!({"mean": p.mean, "std": p.std})),
                "difference": cell.difference(),
                "difference_sd": cell.difference_in_deviations(),
            })
        })
        .collect();
    let document = json!({
        "title": table.params.title,
        "value": table.params.value,
        "error": table.params.error,
        "over": table.params.over.as_slice(),
        "rows": table.row_axes,
        "columns": table.column_axes,
        "source": table.published.as_ref().map(|p| &p.source),
        "cells": cells,
    });
    serde_json::to_vec_pretty(&document)
        .map_err(|e| StageError::failed(format!("cannot write the table: {e}")))
}

/// A field of a CSV line, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
