//! Looks out for losses that cannot be right: one that is not a number, one that teaches nothing.

use rematch_data::child::StageError;
use tch::{Device, Kind, Tensor};

use crate::method::Loss;

/// A step that no run reaches.
const NEVER: i64 = i64::MAX;
/// How often a GPU is asked; each time it must finish what it was told.
const EVERY: u64 = 64;

/// Remembers on the device when each term first was NaN or infinite.
#[derive(Debug)]
pub struct Watch {
    method: &'static str,
    names: Vec<&'static str>,
    first: Option<Tensor>,
}

impl Watch {
    /// Of a method's losses.
    pub fn new(method: &'static str) -> Self {
        Self {
            method,
            names: Vec::new(),
            first: None,
        }
    }

    /// Refuses a term that does not depend on the network: its gradient is nothing, and the method
    /// would silently be another one. To be called on a run's first loss.
    pub fn alive(&self, loss: &Loss) -> Result<(), StageError> {
        match loss
            .terms
            .iter()
            .find(|(_, _, value)| !value.requires_grad())
        {
            Some((name, ..)) => {
                let message = format!(
                    "the term `{name}` of {} does not depend on the network",
                    self.method
                );
                Err(StageError::failed(message)
                    .help("this is a defect of the method's code: the term teaches nothing"))
            }
            None => Ok(()),
        }
    }

    /// Looks at the loss of a step, before anything is changed by it. On the CPU it is an error at
    /// once; on a GPU [`check`](Self::check) tells, so that no step waits for the device.
    pub fn see(&mut self, step: u64, loss: &Loss) -> Result<(), StageError> {
        let values: Vec<Tensor> = loss
            .terms
            .iter()
            .map(|(_, _, value)| value.detach())
            .collect();
        let finite = Tensor::stack(&values, 0).isfinite();
        let (never, now) = (
            finite.ones_like().to_kind(Kind::Int64) * NEVER,
            finite.ones_like().to_kind(Kind::Int64) * step as i64,
        );
        let this = never.where_self(&finite, &now);
        self.names = loss.terms.iter().map(|(name, ..)| *name).collect();
        self.first = Some(match self.first.take() {
            Some(first) => first.minimum(&this),
            None => this,
        });
        if finite.device() == Device::Cpu || (step + 1).is_multiple_of(EVERY) {
            self.check()
        } else {
            Ok(())
        }
    }

    /// Whether all losses so far were numbers.
    ///
    /// # Errors
    /// `Diverged`, with the first term that was not, and its step.
    pub fn check(&self) -> Result<(), StageError> {
        let Some(first) = &self.first else {
            return Ok(());
        };
        let steps = Vec::<i64>::try_from(first)
            .map_err(|e: tch::TchError| StageError::failed(e.to_string()))?;
        let Some((name, step)) = self
            .names
            .iter()
            .zip(steps)
            .filter(|(_, step)| *step != NEVER)
            .min_by_key(|(_, step)| *step)
        else {
            return Ok(());
        };
        let message = format!(
            "the term `{name}` of {} is NaN or infinite at step {step}",
            self.method
        );
        Err(StageError::diverged(message).help("lower the learning rate (`optimizer: {sgd: {lr: …}}`), or train in float32 if `precision` is bf16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(values: [f32; 2]) -> Loss {
        let [a, b] = values.map(|v| Tensor::from(v).set_requires_grad(true));
        Loss::new().term("xe", 1.0, a).term("xeu", 0.0, b)
    }

    #[test]
    fn the_first_term_that_is_no_number_is_named_with_its_step() {
        let mut watch = Watch::new("fixmatch");
        watch.check().unwrap();
        watch.see(0, &loss([1.0, 2.0])).unwrap();
        let error = watch.see(7, &loss([1.0, f32::INFINITY])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the term `xeu` of fixmatch is NaN or infinite at step 7"
        );
        assert_eq!(error.exit_code(), rematch_spec::job::exit::DIVERGED);
        let error = watch.see(8, &loss([f32::NAN, 1.0])).unwrap_err();
        assert!(
            error.to_string().ends_with("at step 7"),
            "what came first stays"
        );
    }

    #[test]
    fn a_term_that_teaches_nothing_is_refused() {
        let watch = Watch::new("fixmatch");
        watch.alive(&loss([1.0, f32::NAN])).unwrap();
        let dead = loss([1.0, 2.0]).term("kl", 1.0, Tensor::from(1.0_f32));
        let error = watch.alive(&dead).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the term `kl` of fixmatch does not depend on the network"
        );
    }
}
