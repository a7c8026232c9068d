//! Jobs that wait for room, by what they need: of many alike only the first is tried. A job may start before one that
//! comes earlier in the plan and finds no room, but none waits behind a stream of others that find some.

use std::collections::BTreeSet;

use petgraph::graph::NodeIndex;
use rematch_spec::kind::Program;

use crate::resources::Needs;
use crate::slots::{Share, Slots};

/// So many later jobs may take what the first one waits for: the short ones behind a long training should not wait
/// until it ends, nor a job that needs the whole machine until nothing else is left.
const OVERTAKERS: usize = 50;

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
    /// Later jobs that took what these wait for, since the last of these started.
    overtakers: usize,
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
            overtakers: 0,
        });
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.jobs.is_empty())
    }

    /// A job for which there is room, with the room: the first in the order of the plan, or one that may overtake it.
    pub fn take(&mut self, slots: &mut Slots) -> Option<(NodeIndex, Share)> {
        let mut classes: Vec<&mut Class> = self
            .classes
            .iter_mut()
            .filter(|class| !class.jobs.is_empty())
            .collect();
        classes.sort_by_key(|class| class.jobs.first().copied());
        let (first, others) = classes.split_first_mut()?;
        if let Some(share) = slots.take(first.program, &first.needs) {
            first.overtakers = 0;
            return first.jobs.pop_first().map(|job| (job, share));
        }
        let mut beside = slots.clone();
        beside.keep_for(first.program, &first.needs);
        for class in others {
            let harmless = beside.take(class.program, &class.needs).is_some();
            if !harmless && first.overtakers >= OVERTAKERS {
                continue;
            }
            if let Some(share) = slots.take(class.program, &class.needs) {
                first.overtakers += usize::from(!harmless);
                class.overtakers = 0;
                return class.jobs.pop_first().map(|job| (job, share));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rematch_spec::kind::find;

    use super::*;
    use crate::resources::Options;
    use crate::slots::Machine;

    fn needs(cpus: usize, gpus: f64) -> Needs {
        Needs {
            cpus,
            gpus: Some(gpus),
            ..Options::default().needs(find("command").unwrap()).unwrap()
        }
    }

    /// A machine with 4 cores and 2 GPUs.
    fn slots() -> Slots {
        let machine = Machine {
            cpus: 4,
            gpus: vec!["0".into(), "1".into()],
            memory: 100,
        };
        Slots::new(machine, BTreeMap::new(), 100)
    }

    /// How many jobs start one after the other, each after the one before has ended.
    fn overtakers(queue: &mut Queue, slots: &mut Slots) -> usize {
        let mut count = 0;
        while let Some((_, share)) = queue.take(slots) {
            slots.give_back(&share);
            count += 1;
        }
        count
    }

    #[test]
    fn a_job_that_needs_the_whole_machine_lets_only_so_many_others_pass() {
        let (mut slots, mut queue) = (slots(), Queue::default());
        let running = slots.take(Program::Own, &needs(1, 0.0)).unwrap();
        let wide = NodeIndex::new(0);
        queue.add(wide, Program::Own, needs(4, 0.0));
        for n in 1..1000 {
            queue.add(NodeIndex::new(n), Program::Own, needs(1 + n % 3, 0.0));
        }
        assert_eq!(overtakers(&mut queue, &mut slots), OVERTAKERS);
        slots.give_back(&running);
        assert_eq!(queue.take(&mut slots).unwrap().0, wide);
    }

    #[test]
    fn what_a_waiting_job_does_not_wait_for_is_free_for_all() {
        let (mut slots, mut queue) = (slots(), Queue::default());
        let running = slots.take(Program::Trainer, &needs(1, 1.0)).unwrap();
        // It waits for a GPU; while it does, it keeps no core from others.
        queue.add(NodeIndex::new(0), Program::Trainer, needs(4, 2.0));
        for n in 1..1000 {
            queue.add(NodeIndex::new(n), Program::Own, needs(1, 0.0));
        }
        for n in 1000..2000 {
            queue.add(NodeIndex::new(n), Program::Trainer, needs(1, 0.5));
        }
        assert_eq!(overtakers(&mut queue, &mut slots), 999 + OVERTAKERS);
        slots.give_back(&running);
        assert_eq!(queue.take(&mut slots).unwrap().0, NodeIndex::new(0));
    }

    #[test]
    fn what_is_kept_for_a_job_is_not_lost_while_it_waits_for_the_rest() {
        let (mut slots, mut queue) = (slots(), Queue::default());
        let running = slots.take(Program::Own, &needs(2, 0.0)).unwrap();
        // It waits for cores; a GPU is kept for it, and the other is not.
        queue.add(NodeIndex::new(0), Program::Trainer, needs(3, 1.0));
        for n in 1..1000 {
            queue.add(NodeIndex::new(n), Program::Trainer, needs(1, 1.0));
        }
        let passed: Vec<Share> = std::iter::from_fn(|| queue.take(&mut slots))
            .map(|(_, share)| share)
            .collect();
        assert_eq!(
            passed.len(),
            2,
            "there is room, and none has overtaken it yet"
        );
        for share in passed {
            slots.give_back(&share);
        }
        assert_eq!(overtakers(&mut queue, &mut slots), OVERTAKERS - 2);
        slots.give_back(&running);
        assert_eq!(queue.take(&mut slots).unwrap().0, NodeIndex::new(0));
    }
}
