//! Training in several processes, one per GPU, as if it were one.
//!
//! Every process goes through the whole run: the same batches, the same losses, the same steps. What they
//! share is the body of the network, where the work is. Each puts its share of the images through it, and
//! all get all features, so that no method knows of the others. Batch norm sums over the group: its
//! statistics are those of the whole batch. So a run gives what it gives in one process, up to the order in
//! which numbers are added, and up to what a network draws itself (dropout, Shake-Shake), which comes from
//! other random numbers.
//!
//! Why gradients are right: each process has the loss of the whole batch, so what a feature gets is what it
//! gets in one process; of these, the body sees its own images' times the size of the group, and the mean
//! over the group is the sum over all images. Parameters outside the body have the whole gradient
//! everywhere, which is its own mean.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rematch_data::child::StageError;
use rematch_data::rng::{Purpose, Stream};
use tch::{Device, Kind, Tensor};

use crate::shim;
use crate::workers::Place;

/// This process's place among those that train together.
#[derive(Debug)]
pub struct Group {
    sums: shim::group::Group,
    rank: usize,
    size: usize,
    /// Where the random numbers of the next pass come from.
    noise: AtomicU64,
}

impl Group {
    /// Takes this process's place; waits for the others.
    pub fn join(place: &Place, device: Device) -> Result<Self, StageError> {
        let Place {
            rank,
            size,
            ref store,
        } = *place;
        let like = Tensor::zeros([1], (Kind::Float, device));
        let sums = shim::group::Group::join(store, rank, size, &like).map_err(|e| lost(&e))?;
        Ok(Self {
            sums,
            rank,
            size,
            noise: AtomicU64::new(0),
        })
    }

    /// Whether this is the process of the job itself, which writes what a run leaves.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where the random numbers of a step come from.
    pub fn begin(&self, noise: u64) {
        self.noise.store(noise, Ordering::Relaxed);
    }

    /// # Errors
    /// Where another process was lost; everything since then is worthless.
    pub fn check(&self) -> Result<(), StageError> {
        self.sums.failure().map_or(Ok(()), |e| Err(lost(&e)))
    }

    /// Which of `count` images are this process's.
    fn share(&self, count: i64) -> Range<i64> {
        let (rank, size) = (self.rank as i64, self.size as i64);
        rank * count / size..(rank + 1) * count / size
    }

    /// What `body` makes of N images, N×D, each image in one of the processes.
    pub fn spread(&self, x: &Tensor, body: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let count = x.size()[0];
        let pass = self.noise.fetch_add(1, Ordering::Relaxed);
        let draw = |from: usize| {
            let purpose = const { Purpose::named("libtorch in a group") };
            tch::manual_seed(Stream::new(pass, purpose, 0, from as u64).bits() as i64);
        };
        // Fewer images than processes are not worth it: all go through all of them.
        if count < self.size as i64 {
            draw(0);
            return body(x);
        }
        let mine = self.share(count);
        let spread = self.sum(x, false, true, 1.0 / self.size as f64);
        draw(1 + self.rank);
        let y = body(&spread.narrow(0, mine.start, mine.end - mine.start));
        // What is drawn behind it is the same in all processes.
        draw(0);
        let y = y.constant_pad_nd([0, 0, mine.start, count - mine.end]);
        self.sum(&y, true, false, self.size as f64)
    }

    /// Σ x over the group.
    pub fn total(&self, x: &Tensor) -> Tensor {
        self.sum(x, true, true, 1.0)
    }

    fn sum(&self, x: &Tensor, values: bool, gradients: bool, factor: f64) -> Tensor {
        let sum = self.sums.sum(x, values, gradients, factor);
        // Like tch's own operations: an exception here is a defect of ours. Lost processes show in `check`.
        sum.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Each of these becomes its mean over the group.
    pub fn average(&self, tensors: &[Tensor]) -> Result<(), StageError> {
        self.sums.average(tensors)?;
        self.check()
    }

    /// Whether it holds in any of the processes.
    pub fn any(&self, here: bool) -> Result<bool, StageError> {
        let votes = self.total(&Tensor::from_slice(&[f32::from(u8::from(here))]));
        self.check()?;
        Ok(votes.double_value(&[0]) > 0.0)
    }

    /// The first process's bytes, in all of them.
    pub fn tell(&self, bytes: &[u8]) -> Result<Vec<u8>, StageError> {
        let length = if self.leads() { bytes.len() } else { 0 };
        let length = self
            .total(&Tensor::from_slice(&[length as i64]))
            .int64_value(&[0]);
        self.check()?;
        let text = match self.leads() {
            true => Tensor::from_slice(bytes),
            false => Tensor::zeros([length], (Kind::Uint8, Device::Cpu)),
        };
        let text = self.total(&text);
        self.check()?;
        Vec::try_from(text).map_err(|e: tch::TchError| StageError::failed(e.to_string()))
    }

    /// The first process's values of these, in all of them.
    pub fn tell_values<'a>(
        &self,
        tensors: impl Iterator<Item = &'a Tensor>,
    ) -> Result<(), StageError> {
        tch::no_grad(|| {
            for tensor in tensors {
                let here = match self.leads() {
                    true => tensor.copy(),
                    false => tensor.zeros_like(),
                };
                tensor.shallow_clone().copy_(&self.total(&here));
            }
        });
        self.check()
    }
}

fn lost(error: &shim::Error) -> StageError {
    StageError::try_again(format!(
        "the processes of this job lost each other: {}",
        error.0
    ))
    .help("run again; training goes on from the last checkpoint")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What each of `size` processes, here threads, finds.
    fn in_each<T: Send>(size: usize, what: impl Fn(&Group) -> T + Sync) -> Vec<T> {
        let folder = tempfile::tempdir().unwrap();
        let member = |rank| {
            let place = Place {
                rank,
                size,
                store: folder.path().join("store"),
            };
            what(&Group::join(&place, Device::Cpu).unwrap())
        };
        thread::scope(|scope| {
            let members: Vec<_> = (0..size)
                .map(|rank| scope.spawn(move || member(rank)))
                .collect();
            members.into_iter().map(|m| m.join().unwrap()).collect()
        })
    }

    fn numbers(x: &Tensor) -> Vec<f32> {
        Vec::try_from(x.flatten(0, -1)).unwrap()
    }

    #[test]
    fn a_body_that_is_spread_gives_the_features_and_gradients_of_one_process() {
        for count in [1_i64, 2, 3, 5, 8] {
            let found = in_each(3, |group| {
                let images = Tensor::arange(count * 2, (Kind::Float, Device::Cpu)).view([count, 2]);
                let x = images.set_requires_grad(true);
                let w = Tensor::from_slice(&[3.0_f32, -1.0]).set_requires_grad(true);
                let y = group.spread(&x, |x| x * x * &w);
                // A loss over all images, as each process has it.
                (&y * &y).sum(Kind::Float).backward();
                group.average(&[w.grad()]).unwrap();
                (numbers(&y), numbers(&x.grad()), numbers(&w.grad()))
            });
            let images: Vec<f32> = (0..count * 2).map(|n| n as f32).collect();
            let w = [3.0, -1.0];
            let of = |f: fn(f32, f32) -> f32| -> Vec<f32> {
                images
                    .iter()
                    .enumerate()
                    .map(|(n, x)| f(*x, w[n % 2]))
                    .collect()
            };
            // y = x²w, L = Σy²: dL/dx = 4x³w², dL/dw = Σ 2x⁴w.
            let slopes = of(|x, w| 2.0 * x.powi(4) * w);
            let slope = [0, 1].map(|n| slopes.iter().skip(n).step_by(2).sum());
            let expected = (
                of(|x, w| x * x * w),
                of(|x, w| 4.0 * x.powi(3) * w * w),
                slope.to_vec(),
            );
            assert_eq!(found, vec![expected; 3], "{count} images");
        }
    }

    #[test]
    fn the_first_process_is_believed() {
        let found = in_each(2, |group| {
            let tensor = Tensor::from_slice(&[if group.leads() { 1.5_f32 } else { 7.0 }]);
            group.tell_values([&tensor].into_iter()).unwrap();
            let text: &[u8] = if group.leads() { b"record" } else { b"" };
            (group.tell(text).unwrap(), numbers(&tensor))
        });
        assert_eq!(found, vec![(b"record".to_vec(), vec![1.5]); 2]);
    }

    #[test]
    fn one_that_wants_to_stop_stops_all() {
        assert_eq!(
            in_each(2, |group| group.any(group.leads()).unwrap()),
            [true; 2]
        );
        assert_eq!(in_each(2, |group| group.any(false).unwrap()), [false; 2]);
    }

    #[test]
    fn a_process_that_left_is_missed() {
        let found = in_each(2, |group| {
            // Both are there.
            group.any(false).unwrap();
            group.leads() || group.any(false).is_ok()
        });
        assert_eq!(found, [true, false]);
    }
}
