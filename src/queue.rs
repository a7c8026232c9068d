//! Jobs that wait for room, by what they need: of many alike only the first is tried.

use std::collections::BTreeSet;

use petgraph::graph::NodeIndex;
use rematch_spec::kind::Program;

use crate::resources::Needs;
use crate::slots::{Share, Slots};

/// The jobs that wait.
#[derive(Debug, Default)]
pub struct Queue {
    classes: Vec<Class>,
}

/// Jobs with the same needs.
#[derive(Debug)]
struct Class {
    program: Program,
    needs: Needs,
    jobs: BTreeSet<NodeIndex>,
}

impl Queue {
    /// Lets a job wait.
    pub fn add(&mut self, job: NodeIndex, program: Program, needs: Needs) {
        let like = |class: &&mut Class| (class.program, &class.needs) == (program, &needs);
        if let Some(class) = self.classes.iter_mut().find(like) {
            class.jobs.insert(job);
            return;
        }
        self.classes.push(Class {
            program,
            needs,
            jobs: BTreeSet::from([job]),
        });
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.jobs.is_empty())
    }

    /// The first job in the order of the plan for which there is room, with the room.
    pub fn take(&mut self, slots: &mut Slots) -> Option<(NodeIndex, Share)> {
        let mut classes: Vec<&mut Class> = self
            .classes
            .iter_mut()
            .filter(|class| !class.jobs.is_empty())
            .collect();
        classes.sort_by_key(|class| class.jobs.first().copied());
        for class in classes {
            if let Some(share) = slots.take(class.program, &class.needs) {
                return class.jobs.pop_first().map(|job| (job, share));
            }
        }
        None
    }
}
