//! CTAugment's state as a checkpoint holds it, and the checks it passes on the way back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CtAugment, CtOp};

/// More operations than this per policy mean a damaged file, not a setting.
const MAX_DEPTH: usize = 1000;

/// What is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    depth: usize,
    decay: f64,
    threshold: f64,
    rates: BTreeMap<String, Vec<Vec<f32>>>,
}

impl From<CtAugment> for State {
    fn from(cta: CtAugment) -> Self {
        let rates = CtOp::ALL
            .iter()
            .map(|op| op.name().to_owned())
            .zip(cta.rates)
            .collect();
        Self {
            depth: cta.depth,
            decay: cta.decay,
            threshold: cta.threshold,
            rates,
        }
    }
}

impl TryFrom<State> for CtAugment {
    type Error = String;

    fn try_from(mut state: State) -> Result<Self, String> {
        let help = "CTAugment's state is damaged; go back to an older checkpoint";
        let share = 0.0..=1.0;
        if state.depth > MAX_DEPTH
            || !share.contains(&state.decay)
            || !share.contains(&state.threshold)
        {
            return Err(format!(
                "depth {}, decay {}, threshold {}, where at most {MAX_DEPTH}, 0 to 1 and 0 to 1 make sense; {help}",
                state.depth, state.decay, state.threshold
            ));
        }
        if let Some(name) = state
            .rates
            .keys()
            .find(|name| CtOp::ALL.iter().all(|op| op.name() != *name))
        {
            return Err(format!("rates of an unknown operation `{name}`; {help}"));
        }
        let mut cta = Self::new(state.depth, state.decay, state.threshold);
        for (op, rates) in CtOp::ALL.iter().zip(&mut cta.rates) {
            let name = op.name();
            let read = state
                .rates
                .remove(name)
                .ok_or_else(|| format!("no rates of `{name}`; {help}"))?;
            if !read.iter().map(Vec::len).eq(op.bins().iter().copied()) {
                let right: Vec<String> = op.bins().iter().map(ToString::to_string).collect();
                let right = if right.is_empty() {
                    "no".to_owned()
                } else {
                    right.join(" and ")
                };
                return Err(format!(
                    "rates of `{name}` should be {right} numbers; {help}"
                ));
            }
            if let Some(wrong) = read.iter().flatten().find(|r| !(0.0..=1.0).contains(*r)) {
                return Err(format!(
                    "{wrong} in the rates of `{name}`, which are from 0 to 1; {help}"
                ));
            }
            *rates = read;
        }
        Ok(cta)
    }
}
