//! Times FixMatch steps on random images, without augmentation, reports and files: what benches
//! compare with PyTorch. Prints one line of JSON.
//!
//! `step [--network resnet] [--side 32] [--steps 3] [--threads 1] [--batch 16] [--uratio 7] [--filters 32] [--precision float32|tf32|bf16] [--device cpu|cuda]`

use std::time::Instant;

use rematch_spec::{method, network, optimizer};
use rematch_train::batch_norm::Bn;
use rematch_train::ema::Ema;
use rematch_train::memory::Memory;
use rematch_train::method::{Batch, Setting, Step, build};
use rematch_train::network::{Compute, Network, Shape};
use rematch_train::networks;
use rematch_train::optimizer::Optimizer;
use rematch_train::shim;
use serde_json::json;
use tch::{Cuda, Device, Kind, Tensor};

fn option(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).unwrap_or_else(|| default.to_owned())
}

fn number(name: &str, default: &str) -> i64 {
    option(name, default)
        .parse()
        .unwrap_or_else(|_| panic!("{name} takes a number"))
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    // utime and stime, in hundredths of a second.
    fields
        .get(11..13)
        .map_or(f64::NAN, |t| (t[0] + t[1]) / 100.0)
}

fn main() {
    let (steps, batch, uratio) = (
        number("--steps", "3"),
        number("--batch", "16"),
        number("--uratio", "7"),
    );
    tch::set_num_threads(number("--threads", "1") as i32);
    tch::set_num_interop_threads(1);
    shim::tune_malloc();
    let device = match option("--device", "cpu").as_str() {
        "cuda" => {
            shim::load_cuda().expect("libtorch has CUDA");
            assert!(Cuda::is_available(), "no GPU");
            Cuda::cudnn_set_benchmark(true);
            Device::Cuda(0)
        }
        _ => Device::Cpu,
    };
    let precision = option("--precision", "float32");
    shim::allow_tf32(precision == "tf32");
    let compute = Compute {
        bf16: precision == "bf16",
        ..Compute::on(device)
    };
    let side = number("--side", "32");
    let shape = Shape {
        channels: 3,
        height: side,
        width: side,
        classes: 10,
    };
    let name = option("--network", "resnet");
    let spec: network::Network = serde_json::from_value(match name.as_str() {
        "resnet" => json!({"resnet": {"filters": number("--filters", "32")}}),
        other => json!(other),
    })
    .expect("a network by name");
    networks::check(&spec, shape).expect("a network for such images");
    let student = Network::new(&spec, shape, 1, compute, &[]);
    let teacher = student.teacher(false);
    let settings = method::Fixmatch {
        uratio: uratio as usize,
        ..method::Fixmatch::default()
    };
    let mut memory = Memory::new(device);
    let mut setting = Setting {
        classes: shape.classes,
        batch: batch as usize,
        unlabeled: (batch * uratio) as usize,
        features: networks::features(&spec, shape),
        steps: steps as u64 + 1,
        device,
        memory: &mut memory,
    };
    let mut fixmatch =
        build(&method::Method::Fixmatch(settings), &mut setting).expect("FixMatch fits any data");
    let optimizer = Optimizer::new(&optimizer::Optimizer::default(), &student, true);
    let ema = Ema::new(&student, &teacher, 0.999, true);
    let images = |count: i64| {
        // Channels last in memory, as the feed gives them.
        Tensor::randint(256, [count, side, side, 3], (Kind::Float, device)).permute([0, 3, 1, 2])
            * (2.0 / 255.0)
            - 1.0
    };
    let batch = Batch {
        x: vec![images(batch)],
        y: Tensor::randint(10, [batch], (Kind::Int64, device)),
        u: vec![images(batch * uratio), images(batch * uratio)],
        index: Tensor::arange(batch * uratio, (Kind::Int64, device)),
    };
    let labeled = batch.y.size()[0] as usize;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for step in 0..=steps {
        let (from, start) = (cpu_seconds(), Instant::now());
        let loss = fixmatch.loss(
            &Step {
                student: &student,
                teacher: &teacher,
                number: step as u64,
                steps: steps as u64 + 1,
                batch: labeled,
                seed: 1,
                labeled: None,
            },
            &batch,
        );
        loss.total().backward();
        optimizer
            .step(0.03, step as u64)
            .expect("gradients are like their parameters");
        ema.update().expect("student and teacher are alike");
        if device.is_cuda() {
            Cuda::synchronize(0);
        }
        // The first one warms up.
        if step > 0 {
            cpu.push((cpu_seconds() - from) * 1000.0);
            wall.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    assert!(
        student
            .logits(&batch.x[0], Bn::Eval)
            .isfinite()
            .all()
            .int64_value(&[])
            == 1
    );
    let images = batch.x[0].size()[0] + 2 * batch.u[0].size()[0];
    println!(
        "{}",
        json!({"network": name, "parameters": student.parameters(), "cpu_ms": cpu, "wall_ms": wall, "images": images, "precision": precision})
    );
}
