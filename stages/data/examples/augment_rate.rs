//! Prints how many views one thread makes per second of its CPU time: for each image a weak view and
//! a strong one, each counted.
//!
//!     cargo run --release -p rematch-data --example augment_rate [-- FILE]
//!
//! FILE holds 32×32 RGB images, 3072 bytes each; without it they are generated: smooth shapes with
//! some noise.

use rematch_data::augment::{Augment, AugmentError, Batch, CtAugment, Strong, View};
use rematch_data::image::Shape;

const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};
/// Unlabeled images of a FixMatch step at B = 64.
const BATCH: usize = 448;
const STEPS: u64 = 100;

/// Seconds of CPU time that this process has used.
fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn generate(count: usize) -> Vec<u8> {
    let mut images = Vec::new();
    let mut state = 1_u32;
    for n in 0..count {
        for i in 0..SHAPE.bytes() {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let (y, x, c) = (i / 96, i / 3 % 32, i % 3);
            let wave = ((x + n % 7) as f32 / (4 + n % 5) as f32).sin()
                * ((y + n) as f32 / 6.0 + c as f32).cos();
            images.push((110.0 + 90.0 * wave + (state >> 27) as f32) as u8);
        }
    }
    images
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let images = match std::env::args().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => generate(1000),
    };
    let count = images.len() / SHAPE.bytes();
    if count == 0 {
        return Err("the file holds no image of 3072 bytes".into());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| -> Result<(), AugmentError> {
        for text in [
            "d.d.d",
            "d.d.rac",
            "d.d.kekmodel",
            "d.d.aac",
            "d.d.ctac",
            "mz.mz.featmatch",
        ] {
            let views = Augment::parse(text, 2)?.unlabeled_views("cifar10", SHAPE, 2)?;
            let rate = (0..5)
                .map(|_| rate(&images, count, &views))
                .fold(0.0, f64::max);
            println!("{text:14} {rate:8.0} views per CPU second, best of 5");
        }
        Ok(())
    })?;
    Ok(())
}

fn rate(images: &[u8], count: usize, views: &[View]) -> f64 {
    let cta = CtAugment::default();
    let mut out = vec![0; BATCH * SHAPE.bytes()];
    let mut holes = vec![0; BATCH * SHAPE.pixels()];
    let begin = cpu_time();
    for step in 0..STEPS {
        let indices: Vec<usize> = (0..BATCH)
            .map(|i| (step as usize * BATCH + i) % count)
            .collect();
        for (n, view) in views.iter().enumerate() {
            let policies = match view.strong {
                Strong::CtAugment { .. } => cta.policies(1, step, 0, BATCH),
                _ => Vec::new(),
            };
            let batch = Batch {
                images: &images[..count * SHAPE.bytes()],
                shape: SHAPE,
                indices: &indices,
                seed: 1,
                purpose: Batch::unlabeled(n as u64),
                step,
                first: 0,
                policies: &policies,
            };
            let holes = view.strong.makes_holes().then_some(&mut holes[..]);
            view.fill(&batch, &mut out, holes);
        }
    }
    let views = STEPS as f64 * (BATCH * views.len()) as f64;
    views / (cpu_time() - begin)
}
