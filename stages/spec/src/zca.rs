//! Parameters of `zca`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Inputs;
use crate::kind::{Output, Stage};

/// Mean and ZCA whitening matrix of images (spec/featmatch.md 4), as a numpy archive `zca.npz` of float64:
/// `mean` [D], `U` [D, D] and `S` [D] (which FeatMatch reads), and `W` [D, D]. D = channels × height × width, in
/// that order, of pixels scaled to 0 to 1. A whitened image is `W (x − mean)`.
///
/// U and S are eigenvectors and eigenvalues of the covariance (divisor N), largest first;
/// W = U diag(1 / (√S + 1e-12)) Uᵀ. There is no other regulariser, so there must be more different images than D.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zca {
    /// The record files whose images count, all of one size. The original does not say which it used; training
    /// images are meant.
    pub records: Inputs,
}

impl Stage for Zca {
    const NAME: &'static str = "zca";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("zca", "zca.npz")]
    }
}
