//! Axes, and the points that a stage fans out over.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::source::Place;

/// More jobs than this in one stage are a mistake, not a sweep.
pub const MAX_POINTS: usize = 1_000_000;

/// A named list of values.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub place: Place,
    /// Its values, then those that only `include` points add.
    pub values: Vec<AxisValue>,
    /// How many of the values make the full sweep.
    pub swept: usize,
}

/// A value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisValue {
    /// What stands in job names.
    pub label: String,
    /// The value itself: a scalar or a map.
    pub value: Value,
}

impl AxisValue {
    /// A value with its label: a scalar's text, a map's `name`, or the only name in a map.
    pub fn new(value: Value) -> Result<Self> {
        let label = match &value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Object(map) => match map.get("name") {
                Some(Value::String(name)) => name.clone(),
                Some(other @ Value::Number(_)) => other.to_string(),
                _ if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
                _ => {
                    let error = Error::usage(
                        "a map as an axis value needs a `name`, which stands in job names",
                    );
                    return Err(error.help("write {name: short, …}"));
                }
            },
            _ => {
                return Err(Error::usage(
                    "an axis value is a text, a number, true, false or a map",
                ));
            }
        };
        if label.is_empty() || label.chars().any(|c| c.is_control() || "[],=".contains(c)) {
            let error = Error::usage(format!(
                "`{}` cannot stand in a job name",
                label.escape_debug()
            ));
            return Err(
                error.help("give the value a `name` without brackets, commas and equals signs")
            );
        }
        Ok(Self { label, value })
    }
}

/// Values for some axes, by number; one number per axis of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point(pub Vec<(usize, usize)>);

impl Point {
    /// The part of this point on the given axes.
    #[must_use]
    pub fn on(&self, axes: &BTreeSet<usize>) -> Self {
        Self(
            self.0
                .iter()
                .copied()
                .filter(|(axis, _)| axes.contains(axis))
                .collect(),
        )
    }
}

/// All axes of a pipeline, and the points that are left out or added.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    /// The axes, in the order written.
    pub list: Vec<Axis>,
    /// Points to leave out: for some axes, the values that match.
    pub exclude: Vec<Vec<(usize, Vec<usize>)>>,
    /// Points to add: values of some axes.
    pub include: Vec<Vec<(usize, usize)>>,
}

impl Axes {
    /// The number of the axis of that name.
    pub fn find(&self, name: &str) -> Result<usize> {
        self.list
            .iter()
            .position(|axis| axis.name == name)
            .ok_or_else(|| {
                Error::usage(format!("there is no axis `{name}`"))
                    .suggest(name, self.list.iter().map(|axis| axis.name.as_str()))
            })
    }

    /// The number of a value, by its label or by itself.
    pub fn find_value(&self, axis: usize, value: &Value) -> Option<usize> {
        let label = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.list[axis]
            .values
            .iter()
            .position(|known| known.value == *value || known.label == label)
    }

    /// What an axis has at a point, followed into a map.
    pub fn value(&self, axis: usize, point: &Point, path: &[String]) -> Result<Value> {
        let name = &self.list[axis].name;
        let (_, index) = point
            .0
            .iter()
            .find(|(known, _)| *known == axis)
            .ok_or_else(|| Error::usage(format!("axis `{name}` has no value here")))?;
        let value = &self.list[axis].values[*index];
        let mut inner = &value.value;
        for step in path {
            inner = inner.get(step).ok_or_else(|| {
                let error = Error::usage(format!(
                    "`{}` of axis `{name}` has no `{step}`",
                    value.label
                ));
                match &inner {
                    Value::Object(map) => error.suggest(step, map.keys().map(String::as_str)),
                    _ => error,
                }
            })?;
        }
        Ok(inner.clone())
    }

    /// The points of a stage that mentions `axes`: every combination of their values that at least
    /// one point of the whole sweep has.
    pub fn points(&self, axes: &BTreeSet<usize>) -> Result<Vec<Point>> {
        let excludes: Vec<_> = self
            .exclude
            .iter()
            .filter(|point| point.iter().any(|(axis, _)| axes.contains(axis)))
            .collect();
        let mut wide = axes.clone();
        wide.extend(
            excludes
                .iter()
                .flat_map(|point| point.iter().map(|(axis, _)| *axis)),
        );
        let mut points = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |point: Point| {
            if seen.insert(point.clone()) {
                points.push(point);
            }
        };
        self.each(&wide, &[], &mut |point| {
            let excluded = excludes.iter().any(|exclude| {
                exclude.iter().all(|(axis, values)| {
                    point.iter().any(|(a, v)| a == axis && values.contains(v))
                })
            });
            if !excluded {
                add(Point(point.to_vec()).on(axes));
            }
        })?;
        for include in &self.include {
            let fixed: Vec<_> = include
                .iter()
                .copied()
                .filter(|(axis, _)| axes.contains(axis))
                .collect();
            if !fixed.is_empty() {
                self.each(axes, &fixed, &mut |point| add(Point(point.to_vec())))?;
            }
        }
        Ok(points)
    }

    /// Every combination of values of `axes`, the last axis fastest; `fixed` axes keep one value.
    fn each(&self, axes: &BTreeSet<usize>, fixed: &[(usize, usize)], visit: Visit) -> Result<()> {
        let choices: Vec<(usize, Vec<usize>)> = axes
            .iter()
            .map(|axis| match fixed.iter().find(|(known, _)| known == axis) {
                Some((_, value)) => (*axis, vec![*value]),
                None => (*axis, (0..self.list[*axis].swept).collect()),
            })
            .collect();
        let size = choices
            .iter()
            .try_fold(1usize, |size, (_, values)| size.checked_mul(values.len()));
        if size.is_none_or(|size| size > MAX_POINTS) {
            let names: Vec<&str> = axes
                .iter()
                .map(|axis| self.list[*axis].name.as_str())
                .collect();
            let message = format!(
                "axes {} have more than {MAX_POINTS} combinations",
                names.join(", ")
            );
            return Err(
                Error::usage(message).help("shorten an axis, or split the sweep into pipelines")
            );
        }
        let mut point: Vec<(usize, usize)> = Vec::with_capacity(choices.len());
        combine(&choices, &mut point, visit);
        Ok(())
    }

    /// Labels of a point, `seed=1,labels=40`.
    pub fn label(&self, point: &Point) -> String {
        let labels: Vec<String> = point
            .0
            .iter()
            .map(|(axis, value)| {
                format!(
                    "{}={}",
                    self.list[*axis].name, self.list[*axis].values[*value].label
                )
            })
            .collect();
        labels.join(",")
    }
}

/// Sees the axes and values of a point.
type Visit<'a> = &'a mut dyn FnMut(&[(usize, usize)]);

fn combine(choices: &[(usize, Vec<usize>)], point: &mut Vec<(usize, usize)>, visit: Visit) {
    let Some(((axis, values), rest)) = choices.split_first() else {
        return visit(point);
    };
    for value in values {
        point.push((*axis, *value));
        combine(rest, point, visit);
        point.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::Source;

    fn axes(sizes: &[(&str, usize)]) -> Axes {
        let source = Arc::new(Source {
            path: "t".into(),
            text: String::new(),
        });
        let list = sizes
            .iter()
            .map(|(name, size)| Axis {
                name: (*name).into(),
                place: Place::start(&source),
                values: (0..*size)
                    .map(|v| AxisValue::new(Value::from(v)).unwrap())
                    .collect(),
                swept: *size,
            })
            .collect();
        Axes {
            list,
            ..Axes::default()
        }
    }

    fn labels(axes: &Axes, on: &[usize]) -> Vec<String> {
        axes.points(&on.iter().copied().collect())
            .unwrap()
            .iter()
            .map(|p| axes.label(p))
            .collect()
    }

    #[test]
    fn a_stage_without_axes_has_one_point() {
        assert_eq!(labels(&axes(&[("seed", 3)]), &[]), [""]);
    }

    #[test]
    fn an_excluded_point_drops_only_combinations_that_nothing_else_needs() {
        let mut axes = axes(&[("seed", 2), ("labels", 2)]);
        axes.exclude = vec![vec![(0, vec![1]), (1, vec![0])]];
        assert_eq!(
            labels(&axes, &[0, 1]),
            ["seed=0,labels=0", "seed=0,labels=1", "seed=1,labels=1"]
        );
        assert_eq!(labels(&axes, &[0]), ["seed=0", "seed=1"]);
        axes.exclude.push(vec![(0, vec![1]), (1, vec![1])]);
        assert_eq!(labels(&axes, &[0]), ["seed=0"]);
    }

    #[test]
    fn an_included_point_adds_itself() {
        let mut axes = axes(&[("seed", 2), ("labels", 2)]);
        axes.list[0]
            .values
            .push(AxisValue::new(Value::from(9)).unwrap());
        axes.include = vec![vec![(0, 2), (1, 0)]];
        assert_eq!(labels(&axes, &[0]), ["seed=0", "seed=1", "seed=9"]);
        assert_eq!(labels(&axes, &[0, 1]).last().unwrap(), "seed=9,labels=0");
        assert_eq!(labels(&axes, &[1]), ["labels=0", "labels=1"]);
    }

    #[test]
    fn absurd_sweeps_are_refused_at_once() {
        let axes = axes(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        assert!(axes.points(&[0, 1, 2].into()).is_err());
    }
}
