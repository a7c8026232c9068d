//! Axes, and the points that a stage fans out over.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::source::Place;

/// More jobs than this in one stage are a mistake, not a sweep.
pub const MAX_POINTS: usize = 1_000_000;

/// Longer labels are no names.
const MAX_LABEL: usize = 200;

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
        if label.is_empty()
            || label.len() > MAX_LABEL
            || label.chars().any(|c| c.is_control() || "[],=".contains(c))
        {
            let error = Error::usage(format!(
                "`{}` cannot stand in a job name",
                label.escape_debug()
            ));
            return Err(error.help(format!(
                "give the value a `name` of at most {MAX_LABEL} bytes, without brackets, commas and equals signs"
            )));
        }
        Ok(Self { label, value })
    }
}

/// Values for some axes, by number; one number per axis of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point(pub Vec<(usize, usize)>);

/// The points of a stage, each a row of value numbers: a sweep has tens of thousands.
#[derive(Clone, Debug, Default)]
pub struct Points {
    axes: Vec<usize>,
    /// `axes.len()` numbers a point.
    values: Vec<u32>,
    len: usize,
    order: Order,
}

/// How the number of a point is found.
#[derive(Clone, Debug)]
enum Order {
    /// The points are all combinations of so many values each, the last axis fastest.
    Counted(Vec<usize>),
    /// Some are left out or added.
    Listed(HashMap<Box<[u32]>, usize>),
}

impl Default for Order {
    fn default() -> Self {
        Self::Counted(Vec::new())
    }
}

impl Points {
    /// The only point of a stage without axes.
    pub fn one() -> Self {
        Self {
            len: 1,
            ..Self::default()
        }
    }

    /// The axes that the points have values for, ascending.
    pub fn axes(&self) -> &[usize] {
        &self.axes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values of the `n`th point, one per axis.
    pub fn values(&self, n: usize) -> &[u32] {
        let width = self.axes.len();
        &self.values[n * width..(n + 1) * width]
    }

    /// The `n`th point.
    pub fn point(&self, n: usize) -> Point {
        let values = self.values(n).iter().map(|value| *value as usize);
        Point(self.axes.iter().copied().zip(values).collect())
    }

    /// The number of the point that agrees with the `n`th of `others`, which has all these axes.
    pub fn find(&self, others: &Self, n: usize) -> Option<usize> {
        let row = others.values(n);
        let value = |axis: &usize| {
            let column = others.axes.iter().position(|other| other == axis)?;
            Some(row[column])
        };
        match &self.order {
            Order::Counted(sizes) => {
                let mut digits = sizes.iter().zip(&self.axes);
                digits.try_fold(0, |number, (size, axis)| {
                    let value = value(axis)? as usize;
                    (value < *size).then_some(number * size + value)
                })
            }
            Order::Listed(numbers) => {
                let values: Option<Vec<u32>> = self.axes.iter().map(value).collect();
                numbers.get(&*values?).copied()
            }
        }
    }

    /// These points by their values in the axes that `others` have, too.
    pub fn grouped_for(&self, others: &Self) -> Groups {
        let shared = |axis: &usize| others.axes.iter().position(|other| other == axis);
        let mine: Vec<usize> = (0..self.axes.len())
            .filter(|column| shared(&self.axes[*column]).is_some())
            .collect();
        let mut members: HashMap<Box<[u32]>, Vec<usize>> = HashMap::new();
        for n in 0..self.len {
            let row = self.values(n);
            let values = mine.iter().map(|column| row[*column]).collect();
            members.entry(values).or_default().push(n);
        }
        Groups {
            theirs: self.axes.iter().filter_map(shared).collect(),
            members,
        }
    }
}

/// The points of a stage in groups, as another stage collects them.
#[derive(Clone, Debug)]
pub struct Groups {
    /// Where the axes that both have stand among those of the other stage.
    theirs: Vec<usize>,
    members: HashMap<Box<[u32]>, Vec<usize>>,
}

impl Groups {
    /// The points that agree with the `n`th of the other stage.
    pub fn of(&self, others: &Points, n: usize) -> &[usize] {
        let row = others.values(n);
        let values: Vec<u32> = self.theirs.iter().map(|column| row[*column]).collect();
        self.members.get(&*values).map_or(&[], Vec::as_slice)
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
    pub fn points(&self, axes: &BTreeSet<usize>) -> Result<Points> {
        let excludes: Vec<_> = self
            .exclude
            .iter()
            .filter(|point| point.iter().any(|(axis, _)| axes.contains(axis)))
            .collect();
        let includes: Vec<Vec<_>> = self
            .include
            .iter()
            .map(|point| {
                point
                    .iter()
                    .copied()
                    .filter(|(axis, _)| axes.contains(axis))
            })
            .map(Iterator::collect)
            .filter(|fixed: &Vec<_>| !fixed.is_empty())
            .collect();
        let mut points = Points {
            axes: axes.iter().copied().collect(),
            ..Points::default()
        };
        if excludes.is_empty() && includes.is_empty() {
            points.order = Order::Counted(axes.iter().map(|axis| self.list[*axis].swept).collect());
            self.each(axes, &[], &mut |point| {
                points
                    .values
                    .extend(point.iter().map(|(_, value)| *value as u32));
                points.len += 1;
            })?;
            return Ok(points);
        }
        let mut wide = axes.clone();
        wide.extend(
            excludes
                .iter()
                .flat_map(|point| point.iter().map(|(axis, _)| *axis)),
        );
        let mut numbers = HashMap::new();
        let mut add = |point: &[(usize, usize)]| {
            let mine = point.iter().filter(|(axis, _)| axes.contains(axis));
            let values: Box<[u32]> = mine.map(|(_, value)| *value as u32).collect();
            if let Entry::Vacant(place) = numbers.entry(values) {
                points.values.extend(place.key());
                place.insert(points.len);
                points.len += 1;
            }
            points.len
        };
        self.each(&wide, &[], &mut |point| {
            let excluded = excludes.iter().any(|exclude| {
                exclude.iter().all(|(axis, values)| {
                    point.iter().any(|(a, v)| a == axis && values.contains(v))
                })
            });
            if !excluded {
                add(point);
            }
        })?;
        for fixed in &includes {
            let mut count = 0;
            self.each(axes, fixed, &mut |point| count = add(point))?;
            if count > MAX_POINTS {
                return Err(Error::usage(format!(
                    "`include` makes more than {MAX_POINTS} points"
                )));
            }
        }
        points.order = Order::Listed(numbers);
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
        let points = axes.points(&on.iter().copied().collect()).unwrap();
        (0..points.len())
            .map(|n| axes.label(&points.point(n)))
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
