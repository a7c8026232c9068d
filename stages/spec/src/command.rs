//! Parameters of `command`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Template};
use crate::kind::{Invalid, Output, Stage};

/// Runs any program with declared inputs, outputs and environment. It starts in an empty work folder
/// and sees no variable but the stated ones (and PATH, HOME, TMPDIR, LANG, CUDA_VISIBLE_DEVICES).
///
/// In `run` and `env`, references to other stages' outputs become paths, `${in.NAME}` is the path of
/// an input named under `inputs`, and `${out.NAME}` is where the output of that name belongs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, as a list; or one text for `sh -c`, in which every path is quoted.
    pub run: Run,
    /// Files and folders that the program reads beside those that `run` refers to.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// The files or folders that it must make: name to a relative path.
    pub outputs: BTreeMap<String, String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Names of environment variables to pass on as they are; their values are not part of the key.
    #[serde(default)]
    pub pass_env: Vec<String>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Run {
    /// Program and arguments; no shell is involved.
    Arguments(Vec<Template>),
    /// A text for `sh -c`.
    Shell(Template),
}

impl Stage for Command {
    const NAME: &'static str = "command";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        self.outputs.iter().map(|(name, path)| Output::new(name, path)).collect()
    }

    fn check(&self) -> Result<(), Invalid> {
        if matches!(&self.run, Run::Arguments(list) if list.is_empty()) {
            return Err(Invalid::at("run", "`run` names no program"));
        }
        if self.outputs.is_empty() {
            return Err(Invalid::at("outputs", "a command needs at least one output; its result is what it leaves there"));
        }
        Ok(())
    }
}
