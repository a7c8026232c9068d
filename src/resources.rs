//! What a job needs of the machine, and how it is run: never part of a key.

use std::collections::BTreeMap;
use std::time::Duration;

use rematch_spec::kind::{Invalid, Program, StageKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit on time beyond this, in seconds, is none.
const LONGEST: f64 = 1e9;

/// What a job needs while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// CPU cores; the number of threads the job uses. 1 where left out.
    pub cpus: Option<usize>,
    /// GPUs; a fraction such as 0.5 shares one. A job that trains takes 1 where the machine has any.
    pub gpus: Option<f64>,
    /// Main memory, such as `8GB`.
    pub memory: Option<String>,
    /// How much it takes of the pipeline's `pools`.
    pub pools: BTreeMap<String, u32>,
}

/// What stands beside a stage's kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What a job of this stage is for, in words.
    pub description: Option<String>,
    /// What a job needs of the machine.
    pub resources: Resources,
    /// How long a job may run, such as `90s`, `2h` or `3d`; it is stopped after that.
    pub timeout: Option<String>,
    /// How often a job that failed is tried again.
    pub retries: Retries,
}

/// How often a job that failed is tried again, and with how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Retries {
    /// So often, with the same.
    Times(u32),
    /// So often, with more each time.
    Growing(Growing),
}

/// How often a job that failed is tried again, with more each time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Growing {
    /// How often.
    pub times: u32,
    /// Each attempt may use so many times the memory of the one before.
    #[serde(default = "one")]
    pub memory: f64,
    /// Each attempt may take so many times the time of the one before.
    #[serde(default = "one")]
    pub timeout: f64,
}

fn one() -> f64 {
    1.0
}

impl Default for Retries {
    fn default() -> Self {
        Self::Times(0)
    }
}

/// [`Options`] with the units worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// CPU cores.
    pub cpus: usize,
    /// GPUs, where stated.
    pub gpus: Option<f64>,
    /// Bytes of memory.
    pub memory: u64,
    /// How much of the pipeline's pools.
    pub pools: BTreeMap<String, u32>,
    /// Limit on a job's time.
    pub timeout: Option<Duration>,
    /// Attempts after the first, and what grows from one to the next.
    pub retries: Growing,
}

impl Needs {
    /// What the attempt after so many others needs, on a machine with so much memory.
    #[must_use]
    pub fn after(mut self, attempts: u32, memory: u64) -> Self {
        let times = |factor: f64| factor.powi(attempts.min(1000) as i32);
        // The first attempt says by itself where that is more than there is.
        let most = memory.max(self.memory);
        self.memory = ((self.memory as f64 * times(self.retries.memory)) as u64).min(most);
        let longer = |timeout: Duration| {
            Duration::from_secs_f64(
                (timeout.as_secs_f64() * times(self.retries.timeout)).min(LONGEST),
            )
        };
        self.timeout = self.timeout.map(longer);
        self
    }
}

impl Options {
    /// Works out units and refuses what makes no sense.
    pub fn needs(&self, kind: &StageKind) -> Result<Needs, Invalid> {
        let Resources {
            cpus,
            gpus,
            memory,
            pools,
        } = &self.resources;
        let retries = match &self.retries {
            Retries::Times(times) => Growing {
                times: *times,
                memory: 1.0,
                timeout: 1.0,
            },
            Retries::Growing(growing) => growing.clone(),
        };
        for (name, factor) in [("memory", retries.memory), ("timeout", retries.timeout)] {
            if !(1.0..=1000.0).contains(&factor) {
                let message =
                    format!("expected 1 to 1000 times that of the attempt before, found {factor}");
                return Err(Invalid::at(format!("retries.{name}"), message));
            }
        }
        if *cpus == Some(0) {
            return Err(Invalid::at("resources.cpus", "expected at least 1 core"));
        }
        if let Some(gpus) = *gpus
            && !(gpus == 0.0
                || (gpus > 0.0 && gpus < 1.0)
                || (gpus.fract() == 0.0 && (1.0..=1024.0).contains(&gpus)))
        {
            return Err(Invalid::at(
                "resources.gpus",
                "expected a whole number of GPUs, or a fraction of one such as 0.5",
            ));
        }
        Ok(Needs {
            cpus: cpus.unwrap_or(1),
            gpus: if kind.program == Program::Trainer {
                *gpus
            } else {
                Some(gpus.unwrap_or(0.0))
            },
            memory: memory.as_deref().map_or(Ok(0), |m| {
                bytes(m).ok_or_else(|| {
                    Invalid::at(
                        "resources.memory",
                        format!("`{m}` is no size; expected something like 8GB or 512MB"),
                    )
                })
            })?,
            timeout: self
                .timeout
                .as_deref()
                .map(|t| {
                    duration(t).ok_or_else(|| {
                        Invalid::at(
                            "timeout",
                            format!("`{t}` is no time; expected something like 90s, 45m, 2h or 3d"),
                        )
                    })
                })
                .transpose()?,
            pools: pools.clone(),
            retries,
        })
    }
}

/// `8GB`, `512 MiB`: bytes; decimal and binary units as their names say.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1u64 << 40,
        _ => return None,
    };
    Some((number * factor as f64) as u64)
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    let seconds = number * factor;
    (seconds > 0.0 && seconds < LONGEST).then(|| Duration::from_secs_f64(seconds))
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_after_the_first_may_have_more() {
        let options = Options {
            resources: Resources {
                memory: Some("10GB".into()),
                ..Resources::default()
            },
            timeout: Some("1m".into()),
            retries: Retries::Growing(Growing {
                times: 9,
                memory: 2.0,
                timeout: 1.5,
            }),
            ..Options::default()
        };
        let kind = rematch_spec::kind::find("command").unwrap();
        let needs = |attempts| options.needs(kind).unwrap().after(attempts, 35_000_000_000);
        assert_eq!(needs(0).memory, 10_000_000_000);
        assert_eq!(needs(1).memory, 20_000_000_000);
        assert_eq!(needs(2).memory, 35_000_000_000);
        assert_eq!(needs(2).timeout, Some(Duration::from_secs(135)));
        assert!(needs(u32::MAX).timeout.is_some());
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(bytes("8GB"), Some(8_000_000_000));
        assert_eq!(bytes("1.5 GiB"), Some(1_610_612_736));
        assert_eq!(bytes("lots"), None);
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(duration("-2h"), None);
        assert_eq!(duration("2 fortnights"), None);
    }
}
