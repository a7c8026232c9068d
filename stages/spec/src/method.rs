//! The methods of `train`: one file each with its hyper-parameters and the recipe of its published
//! runs, and the table of all.

pub mod adamatch;
pub mod cadr;
pub mod daso;
pub mod featmatch;
pub mod fixmatch;
pub mod flexmatch;
pub mod freematch;
pub mod fs_mixup;
pub mod ict;
pub mod mean_teacher;
pub mod mixmatch;
pub mod mixup;
pub mod pi_model;
pub mod pseudo_label;
pub mod realmix;
pub mod remixmatch;
pub mod softmatch;
pub mod supervised;
pub mod tsa;
pub mod uda;
pub mod vat;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::choice::{self, Choice, params};
use crate::kind::Invalid;
use crate::recipe::Recipe;

pub use adamatch::Adamatch;
pub use cadr::Cadr;
pub use daso::Daso;
pub use featmatch::Featmatch;
pub use fixmatch::Fixmatch;
pub use flexmatch::Flexmatch;
pub use freematch::Freematch;
pub use fs_mixup::FsMixup;
pub use ict::Ict;
pub use mean_teacher::MeanTeacher;
pub use mixmatch::Mixmatch;
pub use mixup::Mixup;
pub use pi_model::PiModel;
pub use pseudo_label::PseudoLabel;
pub use realmix::Realmix;
pub use remixmatch::Remixmatch;
pub use softmatch::Softmatch;
pub use supervised::Supervised;
pub use uda::Uda;
pub use vat::Vat;

/// The hyper-parameters of a method, with the published defaults.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema {
    /// Whether it reads unlabeled images.
    const UNLABELED: bool = true;

    /// Refuses hyper-parameters that make no sense; paths count from the method.
    fn check(&self) -> Result<(), Invalid>;

    /// How its published runs are trained.
    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.d")
    }
}

/// The table: name in YAML, variant and type of the hyper-parameters.
macro_rules! methods {
    ($($name:literal $method:ident),* $(,)?) => {
        /// How a network learns from labeled and unlabeled images. In YAML the name alone,
        /// `fixmatch`, or the name with hyper-parameters, `{fixmatch: {confidence: 0.9}}`.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[allow(missing_docs, reason = "each variant holds what documents it")]
        pub enum Method {
            $(#[serde(rename = $name)] $method($method),)*
        }

        /// Every method.
        const METHODS: &[Choice<Method>] = &[
            $(Choice::of::<$method>($name, |v| params(v, Method::$method)),)*
        ];

        impl Method {
            /// Its name in YAML.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$method(_) => $name,)*
                }
            }

            /// Whether it reads unlabeled images.
            pub fn reads_unlabeled(&self) -> bool {
                match self {
                    $(Self::$method(_) => $method::UNLABELED,)*
                }
            }

            /// How its published runs are trained.
            pub fn recipe(&self) -> Recipe {
                match self {
                    $(Self::$method(settings) => settings.recipe(),)*
                }
            }

            fn check_settings(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$method(settings) => settings.check(),)*
                }
            }
        }
    };
}

methods! {
    "supervised" Supervised,
    "fs_mixup" FsMixup,
    "pi_model" PiModel,
    "pseudo_label" PseudoLabel,
    "mean_teacher" MeanTeacher,
    "vat" Vat,
    "ict" Ict,
    "mixup" Mixup,
    "mixmatch" Mixmatch,
    "remixmatch" Remixmatch,
    "uda" Uda,
    "fixmatch" Fixmatch,
    "realmix" Realmix,
    "cadr" Cadr,
    "featmatch" Featmatch,
    "flexmatch" Flexmatch,
    "adamatch" Adamatch,
    "freematch" Freematch,
    "softmatch" Softmatch,
    "daso" Daso,
}

impl Method {
    /// Refuses hyper-parameters that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_settings().map_err(|invalid| Invalid {
            path: format!("algorithm.{}.{}", self.name(), invalid.path),
            ..invalid
        })
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        METHODS.iter().map(|choice| choice.name)
    }

    /// The method of that name with its published hyper-parameters.
    pub fn named(name: &str) -> Option<Self> {
        let choice = METHODS.iter().find(|choice| choice.name == name)?;
        (choice.read)(serde_json::json!({})).ok()
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Fixmatch(Fixmatch::default())
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        choice::deserialize(deserializer, "method", METHODS)
    }
}

impl JsonSchema for Method {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Method".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A method, or a map with one method and its hyper-parameters";
        choice::schema(generator, description, METHODS)
    }
}

/// What most hyper-parameters must be.
mod check {
    use crate::kind::Invalid;

    /// A probability, a share.
    pub fn share(name: &str, value: f64) -> Result<(), Invalid> {
        wanted(
            name,
            (0.0..=1.0).contains(&value),
            "expected a number from 0 to 1",
        )
    }

    /// The weight of a term.
    pub fn weight(name: &str, value: f64) -> Result<(), Invalid> {
        let right = value.is_finite() && value >= 0.0;
        wanted(name, right, "expected a weight of 0 or more")
    }

    /// A temperature, a parameter of a distribution.
    pub fn positive(name: &str, value: f64) -> Result<(), Invalid> {
        let right = value.is_finite() && value > 0.0;
        wanted(name, right, "expected a number above 0")
    }

    /// Unlabeled images per labeled one.
    pub fn ratio(name: &str, value: usize) -> Result<(), Invalid> {
        let message = "expected 1 to 1000 unlabeled images per labeled one";
        wanted(name, (1..=1000).contains(&value), message)
    }

    /// Views of an image.
    pub fn views(name: &str, value: usize) -> Result<(), Invalid> {
        wanted(name, (1..=64).contains(&value), "expected 1 to 64 views")
    }

    /// A share of each class, to be rescaled.
    pub fn distribution(name: &str, values: &[f64]) -> Result<(), Invalid> {
        let shares = values.iter().all(|v| v.is_finite() && *v >= 0.0);
        let sum: f64 = values.iter().sum();
        let message = "expected a number of 0 or more for each class, not all 0";
        wanted(name, shares && sum > 0.0 && sum.is_finite(), message)
    }

    /// Anything else.
    pub fn wanted(name: &str, right: bool, message: &str) -> Result<(), Invalid> {
        if right {
            Ok(())
        } else {
            Err(Invalid::at(name, message))
        }
    }
}
