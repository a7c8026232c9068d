//! CTAugment's state as a checkpoint holds it, and the checks it passes on the way back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CtAugment, CtOp};

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
        let rates = CtOp::ALL.iter().map(|op| op.name().to_owned()).zip(cta.rates).collect();
        Self { depth: cta.depth, decay: cta.decay, threshold: cta.threshold, rates }
    }
}

impl TryFrom<State> for CtAugment {
    type Error = String;

    fn try_from(mut state: State) -> Result<Self, String> {
        let help = "CTAugment's state is damaged; go back to an older checkpoint";
        let mut cta = Self::new(state.depth, state.decay, state.threshold);
        for (op, rates) in CtOp::ALL.iter().zip(&mut cta.rates) {
            let name = op.name();
            let read = state.rates.remove(name).ok_or_else(|| format!("no rates of `{name}`; {help}"))?;
            if !read.iter().map(Vec::len).eq(op.bins().iter().copied()) {
                let right: Vec<String> = op.bins().iter().map(ToString::to_string).collect();
                let right = if right.is_empty() { "no".to_owned() } else { right.join(" and ") };
                return Err(format!("rates of `{name}` should be {right} numbers; {help}"));
            }
            if let Some(wrong) = read.iter().flatten().find(|r| !(0.0..=1.0).contains(*r)) {
                return Err(format!("{wrong} in the rates of `{name}`, which are from 0 to 1; {help}"));
            }
            *rates = read;
        }
        match state.rates.keys().next() {
            Some(name) => Err(format!("rates of an unknown operation `{name}`; {help}")),
            None => Ok(cta),
        }
    }
}
