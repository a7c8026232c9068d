//! A cell of a table: values, their mean and standard deviation, the published number beside them.

use serde_json::Value;

use super::published::Number;

/// Labels of a row or column, one per axis.
pub type Labels = Vec<String>;

/// What stands where there is nothing.
pub const MISSING: &str = "–";

/// Results that are averaged, and what was published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Every result; none where it is missing.
    pub values: Vec<f64>,
    /// The published number, in the same measure.
    pub published: Option<Number>,
}

impl Cell {
    /// The mean.
    pub fn mean(&self) -> Option<f64> {
        if self.values.is_empty() {
            None
        } else {
            Some(self.values.iter().sum::<f64>() / self.values.len() as f64)
        }
    }

    /// The standard deviation of a sample, with n − 1; from two values on.
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.values.len() > 1)?;
        let squares: f64 = self.values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Some((squares / (self.values.len() - 1) as f64).sqrt())
    }

    /// Our mean less the published one.
    pub fn difference(&self) -> Option<f64> {
        Some(self.mean()? - self.published?.mean)
    }

    /// The same in published standard deviations.
    pub fn difference_in_deviations(&self) -> Option<f64> {
        let deviation = self.published?.std.filter(|s| *s > 0.0)?;
        Some(self.difference()? / deviation)
    }
}

/// An axis value as a reader knows it: a map by its `name`.
pub fn label(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => map.get("name").map_or_else(|| value.to_string(), label),
        other => other.to_string(),
    }
}
