//! `export_weights`: a trained network as a file of its own.

use std::collections::HashMap;

use rematch_data::child::{Child, StageError};
use rematch_data::fs;
use rematch_spec::export_weights::ExportWeights;
use rematch_spec::job::Report;
use rematch_spec::predict::Weights;
use safetensors::{SafeTensorError, SafeTensors};
use serde_json::json;

use crate::checkpoint::{Error, Kept, record};

/// The body of an `export_weights` job.
pub fn export_weights(child: &Child) -> Result<Report, StageError> {
    let spec: ExportWeights = child.params()?;
    let path = Kept::of(spec.run.path()).find(spec.checkpoint)?;
    let unusable = |e: SafeTensorError| Error::Content {
        path: path.clone(),
        what: e.to_string(),
    };
    let bytes = fs::read(&path)?;
    let record = record(&path, &bytes)?;
    let file = SafeTensors::deserialize(&bytes).map_err(unusable)?;
    let mut weights = HashMap::new();
    // A teacher that has no statistics of its own uses the student's.
    let sources: &[&str] = match spec.weights {
        Weights::Student => &["student."],
        Weights::Ema => &["student.", "ema."],
    };
    for source in sources {
        for (name, tensor) in file.tensors() {
            if let Some(name) = name.strip_prefix(source) {
                weights.insert(name.to_owned(), tensor);
            }
        }
    }
    let model = record.model;
    let about = json!({
        "network": model.network, "shape": model.shape, "normalize": model.normalize,
        "whitened": model.whitened, "step": record.step,
    });
    let metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("rematch".to_owned(), about.to_string()),
    ]);
    let bytes = safetensors::serialize(&weights, Some(metadata)).map_err(unusable)?;
    fs::write(child.output("weights")?, bytes)?;
    let tensors = [("tensors", weights.len() as f64)];
    Ok(rematch_data::child::report(tensors))
}
