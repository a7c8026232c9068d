//! CTAugment's feedback: after each step the teacher is asked about the labeled images, each changed
//! by a random policy, and the strengths that it still recognises are drawn more often
//! (spec/fixmatch.md 4.8).
//!
//! The answer to the probes of a step is read one step later, when it is there without waiting for
//! the device, and what was learned from it counts for the batch [`AHEAD`] steps on.

use std::collections::VecDeque;
use std::sync::Arc;

use rematch_data::augment::CtAugment;
use rematch_data::child::StageError;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::checkpoint::Record;
use crate::feed::{AHEAD, Pipeline, Request};
use crate::network::Network;
use crate::shim::{self, Event};

/// What CTAugment knows, and knew when the batches under way were ordered.
#[derive(Debug)]
pub struct Learner<'a> {
    pipeline: &'a Pipeline,
    teacher: &'a Network,
    /// [`AHEAD`] of them, oldest first; none where CTAugment is not used.
    known: VecDeque<Arc<CtAugment>>,
    asked: Option<Probes>,
}

/// The answer to probes, on its way from the device.
#[derive(Debug)]
struct Probes {
    step: u64,
    /// Probability of the true class of each.
    proximity: Tensor,
    there: Option<Event>,
}

impl Probes {
    fn wait(&mut self) -> Result<Vec<f32>, StageError> {
        if let Some(event) = self.there.take() {
            event.wait()?;
        }
        Vec::<f32>::try_from(&self.proximity)
            .map_err(|e: tch::TchError| StageError::failed(e.to_string()))
    }
}

impl<'a> Learner<'a> {
    /// What is known at the start of a run.
    pub fn start(pipeline: &Pipeline) -> Vec<CtAugment> {
        if pipeline.learns() {
            vec![CtAugment::default(); AHEAD as usize]
        } else {
            Vec::new()
        }
    }

    /// Goes on from a record.
    pub fn new(pipeline: &'a Pipeline, teacher: &'a Network, record: &Record) -> Self {
        let known = record.cta.iter().cloned().map(Arc::new).collect();
        let asked = record.probes.as_ref().map(|(step, proximity)| Probes {
            step: *step,
            proximity: Tensor::from_slice(proximity),
            there: None,
        });
        Self {
            pipeline,
            teacher,
            known,
            asked,
        }
    }

    /// The batches that are under way once `done` steps are done.
    pub fn under_way(&self, done: u64) -> Vec<Request> {
        (0..AHEAD)
            .map(|n| Request {
                step: done + n,
                cta: self.known.get(n as usize).cloned(),
            })
            .collect()
    }

    /// Asks about the probes of a step, learns from those of the step before, and orders the batch
    /// [`AHEAD`] steps on.
    pub fn learn(
        &mut self,
        step: u64,
        probe: Option<&Tensor>,
        y: &Tensor,
    ) -> Result<Request, StageError> {
        if let (Some(probe), Some(newest)) = (probe, self.known.back()) {
            let proximity = tch::no_grad(|| {
                let p = self
                    .teacher
                    .logits(probe, Bn::Eval)
                    .softmax(-1, Kind::Float);
                p.gather(1, &y.unsqueeze(1), false).squeeze_dim(1)
            });
            let answer = Probes {
                step,
                proximity: shim::read_back(&proximity)?,
                there: Some(Event::record(&proximity)?),
            };
            let mut cta = CtAugment::clone(newest);
            if let Some(mut before) = self.asked.replace(answer) {
                let policies = self.pipeline.probes(before.step, &cta);
                for (policy, proximity) in policies.iter().zip(before.wait()?) {
                    cta.update(policy, proximity);
                }
            }
            self.known.pop_front();
            self.known.push_back(Arc::new(cta));
        }
        Ok(Request {
            step: step + AHEAD,
            cta: self.known.back().cloned(),
        })
    }

    /// Writes all of it into a record.
    pub fn save(&mut self, record: &mut Record) -> Result<(), StageError> {
        record.cta = self.known.iter().map(|cta| CtAugment::clone(cta)).collect();
        record.probes = match &mut self.asked {
            Some(probes) => Some((probes.step, probes.wait()?)),
            None => None,
        };
        Ok(())
    }
}
