//! CPUs, GPUs and memory of this machine: taken by jobs and given back.

use std::collections::BTreeMap;
use std::path::Path;

use rematch_spec::kind::Program;

use crate::error::{Error, Result};
use crate::resources::Needs;

/// What the machine has.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// CPU cores.
    pub cpus: usize,
    /// Names of the GPUs, as CUDA_VISIBLE_DEVICES takes them.
    pub gpus: Vec<String>,
    /// Bytes of main memory.
    pub memory: u64,
}

impl Machine {
    /// Looks at this machine. GPUs are those of CUDA_VISIBLE_DEVICES where it is set, else all that
    /// NVIDIA's driver lists.
    pub fn here() -> Self {
        let gpus = match std::env::var("CUDA_VISIBLE_DEVICES") {
            Ok(list) => list
                .split(',')
                .map(str::trim)
                .filter(|id| !id.is_empty() && *id != "-1")
                .map(str::to_owned)
                .collect(),
            Err(_) => {
                let driver = Path::new("/proc/driver/nvidia/gpus");
                let count =
                    std::fs::read_dir(driver).map_or(0, |entries| entries.flatten().count());
                (0..count).map(|n| n.to_string()).collect()
            }
        };
        let memory = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let line = text
                    .lines()
                    .find(|line| line.starts_with("MemTotal:"))?
                    .to_owned();
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            });
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            gpus,
            memory: memory.map_or(u64::MAX, |kib| kib * 1024),
        }
    }

    /// GPUs that a job gets: on a machine without any, training falls back to the CPU.
    pub fn gpus_for(&self, program: Program, needs: &Needs) -> f64 {
        let wish = needs.gpus.unwrap_or(if program == Program::Trainer {
            1.0
        } else {
            0.0
        });
        if self.gpus.is_empty() { 0.0 } else { wish }
    }
}

/// What a job holds while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// CPU cores.
    pub cpus: usize,
    /// GPUs, by number in [`Machine::gpus`], and how much of each.
    pub gpus: Vec<(usize, f64)>,
    /// Bytes of memory.
    pub memory: u64,
    /// Of the pipeline's pools.
    pub pools: BTreeMap<String, u32>,
}

/// What is free.
#[derive(Clone, Debug)]
pub struct Slots {
    machine: Machine,
    /// At most this many jobs at once.
    jobs: usize,
    running: usize,
    cpus: usize,
    gpus: Vec<f64>,
    memory: u64,
    pools: BTreeMap<String, u32>,
}

impl Slots {
    /// All of the machine and of the pipeline's pools, for at most `jobs` jobs at once.
    pub fn new(machine: Machine, pools: BTreeMap<String, u32>, jobs: usize) -> Self {
        let (cpus, memory) = (machine.cpus, machine.memory);
        let gpus = vec![1.0; machine.gpus.len()];
        Self {
            machine,
            jobs: jobs.max(1),
            running: 0,
            cpus,
            gpus,
            memory,
            pools,
        }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Refuses a job that this machine could never run. More cores than there are is fine: the job
    /// gets all of them.
    pub fn could_fit(&self, name: &str, program: Program, needs: &Needs) -> Result<()> {
        let gpus = self.machine.gpus_for(program, needs);
        if gpus > self.machine.gpus.len() as f64 {
            let error = Error::usage(format!(
                "{name} asks for {gpus} GPUs; this machine has {}",
                self.machine.gpus.len()
            ));
            return Err(error.help("lower `resources: {gpus: …}`"));
        }
        if needs.memory > self.machine.memory {
            let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
            let error = Error::usage(format!(
                "{name} asks for {} of memory; this machine has {}",
                gb(needs.memory),
                gb(self.machine.memory)
            ));
            return Err(error.help("lower `resources: {memory: …}`"));
        }
        Ok(())
    }

    /// Takes what a job needs, if it is free.
    pub fn take(&mut self, program: Program, needs: &Needs) -> Option<Share> {
        let cpus = needs.cpus.min(self.machine.cpus);
        if self.running >= self.jobs || self.cpus < cpus || self.memory < needs.memory {
            return None;
        }
        let free = |pool: &String| self.pools.get(pool).copied().unwrap_or(0);
        if needs.pools.iter().any(|(pool, part)| free(pool) < *part) {
            return None;
        }
        let gpus = self.find_gpus(self.machine.gpus_for(program, needs))?;
        for (gpu, share) in &gpus {
            self.gpus[*gpu] -= share;
        }
        self.running += 1;
        self.cpus -= cpus;
        self.memory -= needs.memory;
        for (pool, part) in &needs.pools {
            if let Some(free) = self.pools.get_mut(pool) {
                *free -= part;
            }
        }
        Some(Share {
            cpus,
            gpus,
            memory: needs.memory,
            pools: needs.pools.clone(),
        })
    }

    /// Sets aside what a job needs that finds no room: GPUs, pools, memory, cores, in this order up to the first of which
    /// there is not enough, with all that is left of it. What comes after that would be idle until it is there, which
    /// for a GPU may take days.
    pub fn keep_for(&mut self, program: Program, needs: &Needs) {
        let Some(gpus) = self.find_gpus(self.machine.gpus_for(program, needs)) else {
            self.gpus.fill(0.0);
            return;
        };
        for (gpu, share) in gpus {
            self.gpus[gpu] -= share;
        }
        for (pool, part) in &needs.pools {
            let free = self.pools.entry(pool.clone()).or_default();
            let enough = *free >= *part;
            *free = free.saturating_sub(*part);
            if !enough {
                return;
            }
        }
        let enough = self.memory >= needs.memory;
        self.memory = self.memory.saturating_sub(needs.memory);
        if enough {
            let cpus = needs.cpus.min(self.machine.cpus);
            self.cpus = self.cpus.saturating_sub(cpus);
        }
    }

    fn find_gpus(&self, wish: f64) -> Option<Vec<(usize, f64)>> {
        const EPSILON: f64 = 1e-9; // three thirds make a whole
        if wish <= 0.0 {
            return Some(Vec::new());
        }
        if wish < 1.0 {
            // The fullest GPU with room, so that whole ones stay free for jobs that need them.
            let fits = self
                .gpus
                .iter()
                .enumerate()
                .filter(|(_, free)| **free + EPSILON >= wish);
            return fits
                .min_by(|a, b| a.1.total_cmp(b.1))
                .map(|(gpu, _)| vec![(gpu, wish)]);
        }
        let free: Vec<(usize, f64)> = self
            .gpus
            .iter()
            .enumerate()
            .filter(|(_, free)| **free + EPSILON >= 1.0)
            .map(|(gpu, _)| (gpu, 1.0))
            .collect();
        let wish = wish as usize;
        (free.len() >= wish).then(|| free[..wish].to_vec())
    }

    /// Gives back what a job held.
    pub fn give_back(&mut self, share: &Share) {
        self.running -= 1;
        self.cpus += share.cpus;
        self.memory += share.memory;
        for (gpu, part) in &share.gpus {
            self.gpus[*gpu] += part;
        }
        for (pool, part) in &share.pools {
            if let Some(free) = self.pools.get_mut(pool) {
                *free += part;
            }
        }
    }

    /// CUDA_VISIBLE_DEVICES for a share.
    pub fn visible_devices(&self, share: &Share) -> String {
        share
            .gpus
            .iter()
            .map(|(gpu, _)| self.machine.gpus[*gpu].as_str())
            .collect::<Vec<_>>()
            .join(",")
    }
}

#[cfg(test)]
mod tests {
    use rematch_spec::kind::find;

    use super::*;
    use crate::resources::Options;

    fn needs(cpus: usize, gpus: f64, memory: u64) -> Needs {
        Needs {
            cpus,
            gpus: Some(gpus),
            memory,
            ..Options::default().needs(find("command").unwrap()).unwrap()
        }
    }

    fn slots(gpus: usize) -> Slots {
        let gpus = (0..gpus).map(|n| n.to_string()).collect();
        Slots::new(
            Machine {
                cpus: 4,
                gpus,
                memory: 100,
            },
            BTreeMap::from([("disk".into(), 3)]),
            8,
        )
    }

    #[test]
    fn jobs_never_hold_more_than_there_is() {
        let mut slots = slots(0);
        let first = slots.take(Program::Light, &needs(3, 0.0, 60)).unwrap();
        assert!(slots.take(Program::Light, &needs(2, 0.0, 0)).is_none());
        assert!(slots.take(Program::Light, &needs(1, 0.0, 50)).is_none());
        slots.give_back(&first);
        assert!(
            slots.take(Program::Light, &needs(9, 0.0, 100)).is_some(),
            "more cores than there are means all"
        );
    }

    #[test]
    fn a_pool_is_shared_by_what_jobs_take_of_it() {
        let mut slots = slots(0);
        let two = Needs {
            pools: BTreeMap::from([("disk".into(), 2)]),
            ..needs(1, 0.0, 0)
        };
        let first = slots.take(Program::Light, &two).unwrap();
        assert!(slots.take(Program::Light, &two).is_none());
        assert!(slots.take(Program::Light, &needs(1, 0.0, 0)).is_some());
        slots.give_back(&first);
        assert!(slots.take(Program::Light, &two).is_some());
    }

    #[test]
    fn half_jobs_share_a_gpu_and_leave_the_other_whole() {
        let mut slots = slots(2);
        let a = slots.take(Program::Trainer, &needs(1, 0.5, 0)).unwrap();
        let b = slots.take(Program::Trainer, &needs(1, 0.5, 0)).unwrap();
        assert_eq!(slots.visible_devices(&a), slots.visible_devices(&b));
        let whole = slots.take(Program::Trainer, &needs(1, 1.0, 0)).unwrap();
        assert_ne!(slots.visible_devices(&a), slots.visible_devices(&whole));
        assert!(slots.take(Program::Trainer, &needs(1, 0.5, 0)).is_none());
    }

    #[test]
    fn training_takes_a_gpu_where_there_is_one_and_the_cpu_where_not() {
        let unstated = Needs {
            gpus: None,
            ..needs(1, 0.0, 0)
        };
        assert_eq!(
            slots(1).take(Program::Trainer, &unstated).unwrap().gpus,
            [(0, 1.0)]
        );
        assert_eq!(
            slots(0)
                .take(Program::Trainer, &needs(1, 4.0, 0))
                .unwrap()
                .gpus,
            []
        );
        assert!(
            slots(1)
                .could_fit("train", Program::Trainer, &needs(1, 4.0, 0))
                .is_err()
        );
    }
}
