//! Where to compute.

use std::sync::Once;

use rematch_data::child::{Child, StageError};
use rematch_spec::train::{self, Precision, Train};
use serde_json::{Value, json};
use tch::{Cuda, Device};

use crate::shim;
use crate::workers::Place;

/// The part of a GPU's memory for tensors; every process also needs some for CUDA itself.
const TO_ALLOCATE: f64 = 0.95;

/// What a job wants of its device.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Which one.
    pub device: train::Device,
    /// Whether a GPU may cut the numbers that it multiplies to TF32.
    pub tf32: bool,
    /// Whether a GPU must give the same bits each time.
    pub deterministic: bool,
    /// Whether freed memory is kept.
    pub keep_memory: bool,
}

impl Wish {
    /// That of a training.
    pub fn of(spec: &Train) -> Self {
        Self {
            device: spec.device,
            tf32: spec.precision == Precision::Tf32,
            deterministic: spec.deterministic,
            keep_memory: spec.speed.keep_memory,
        }
    }

    /// A device, and nothing in particular.
    pub fn for_device(device: train::Device) -> Self {
        Self {
            device,
            tf32: false,
            deterministic: false,
            keep_memory: true,
        }
    }
}

/// The device for one of a job's processes, whose rank and number `place` says, and how many threads.
///
/// # Errors
/// Where the job insists on a GPU and there is none, or has been given more than there are.
pub fn choose(wish: &Wish, child: &Child, place: Option<&Place>) -> Result<Device, StageError> {
    let (rank, size) = place.map_or((0, 1), |place| (place.rank, place.size));
    let threads = (child.job.cpus / size).clamp(1, 1024) as i32;
    tch::set_num_threads(threads);
    // Once in a process; libtorch refuses more. Only one operation runs at a time, so a second pool
    // would stay idle.
    static SET: Once = Once::new();
    SET.call_once(|| {
        tch::set_num_interop_threads(1);
        if wish.keep_memory {
            shim::tune_malloc();
        }
    });
    let wanted = match wish.device {
        train::Device::Cpu => false,
        train::Device::Cuda => true,
        train::Device::Auto => child.job.gpus > 0.0,
    };
    if !wanted {
        return Ok(Device::Cpu);
    }
    let share = child.job.gpus;
    if share > 0.0 && share < 1.0 {
        shim::limit_memory(share * TO_ALLOCATE)?;
    }
    match cuda() {
        Ok(()) if Cuda::device_count() < size as i64 => Err(StageError::failed(format!(
            "the job was given {size} GPUs, but libtorch sees {}",
            Cuda::device_count()
        ))
        .help("check CUDA_VISIBLE_DEVICES and what `rematch doctor` shows")),
        Ok(()) => {
            // Shapes never change during a run: let cuDNN try its algorithms. What it finds fastest may
            // differ from run to run.
            Cuda::cudnn_set_benchmark(!wish.deterministic);
            shim::allow_tf32(wish.tf32);
            shim::set_deterministic(wish.deterministic);
            Ok(Device::Cuda(rank))
        }
        Err(problem) if wish.device == train::Device::Cuda => Err(StageError::failed(format!(
            "no GPU can be used: {}",
            problem.what
        ))
        .help(problem.help)),
        Err(problem) => {
            child.warning(format!(
                "the job was given a GPU, but trains on the CPU: {} ({})",
                problem.what, problem.help
            ));
            Ok(Device::Cpu)
        }
    }
}

struct Problem {
    what: String,
    help: &'static str,
}

/// Whether libtorch can use a GPU; loads its CUDA library.
fn cuda() -> Result<(), Problem> {
    if let Err(error) = shim::load_cuda() {
        let help = "set up libtorch with CUDA: REMATCH_CUDA=1 make setup";
        return Err(Problem {
            what: error.to_string(),
            help,
        });
    }
    if Cuda::is_available() && Cuda::device_count() > 0 {
        return Ok(());
    }
    let what = "libtorch's CUDA library is there, but it finds no driver or no device".to_owned();
    let help = "check `nvidia-smi`, CUDA_VISIBLE_DEVICES, and that the job asks for one: resources: {gpus: 1}";
    Err(Problem { what, help })
}

/// What `rematch doctor` shows of libtorch.
pub fn probe() -> Value {
    let loaded = shim::load_cuda();
    let devices = if loaded.is_ok() && Cuda::is_available() {
        Cuda::device_count()
    } else {
        0
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "libtorch": shim::torch_version(),
        "cuda_library": loaded.is_ok(),
        "cuda_error": loaded.err().map(|e| e.0),
        "gpus": devices,
    })
}

/// A name for the provenance: `cpu`, `cuda`.
pub fn name(device: Device) -> &'static str {
    if device.is_cuda() { "cuda" } else { "cpu" }
}
