//! Stage kinds: the trait that each implements, the table of all of them, and the declaration that
//! the runner gets when a stage's parameters are typed.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::input::INPUT;

/// Which program runs a stage kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// `rematch` itself; starts in a millisecond.
    Light,
    /// `rematch-train`, which links libtorch.
    Trainer,
    /// The program that the parameters name. On this machine the runner starts it itself, without a process of
    /// `rematch` around it.
    Own,
}

/// A named file or folder that a job makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Name in references: `labeled` in `${split.labeled}`.
    pub name: String,
    /// Where it lies in the job's output folder; one plain relative path.
    pub path: String,
    /// Shown to the user at the end of a run (a text file).
    pub show: bool,
    /// Readable in the results folder while the job runs.
    pub live: bool,
}

impl Output {
    /// An output that is neither shown nor live.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            show: false,
            live: false,
        }
    }
    /// The same, printed at the end of a run.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.show = true;
        self
    }
    /// The same, readable while the job runs.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }
}

/// The parameters of a stage kind. Its doc comment is what `rematch stages` shows.
///
/// A field marked `#[schemars(extend("x-key" = false))]` never enters the key: it changes how a job
/// runs, not what it makes.
pub trait Stage: Serialize + DeserializeOwned + JsonSchema {
    /// The kind's name in YAML.
    const NAME: &'static str;
    /// Raised by hand whenever the same parameters and inputs give another result. Keep a line of
    /// history beside each value.
    const VERSION: u32;
    /// Which program runs it.
    const PROGRAM: Program = Program::Light;
    /// Whether an interrupted job goes on from its work folder; otherwise that folder is emptied.
    const RESUMES: bool = false;
    /// Environment variables that its parameters may take defaults from.
    const ENVIRONMENT: &'static [&'static str] = &[];
    /// The parameter that stands for others, where there is one (see [`implied`](Stage::implied)).
    const SHORTHAND: Option<&'static str> = None;
    /// The parameter that is handed to a shell where it is a text.
    const SHELL: Option<&'static str> = None;

    /// The outputs that these parameters promise.
    fn outputs(&self) -> Vec<Output>;

    /// Fills parameters from the environment; called before [`check`](Stage::check).
    fn read_environment(&mut self, _variable: Variable) {}

    /// Refuses parameters that are well typed but make no sense together.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// Fills in what was left out and depends on other parameters, for the job file; the key goes
    /// without it.
    fn complete(&mut self) {}

    /// Replaces parameters that name a well-known split by references to its preparation
    /// (see [`crate::named`]).
    ///
    /// Returns the parameters and, for each, the name it stands for, for example
    /// `("labeled", "${cifar10.3@40-1.labeled}")`.
    fn implied(_params: &Value) -> Result<Implied, Invalid> {
        Ok(Vec::new())
    }
}

/// A parameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Where in the parameters, `schedule.warmup`; empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The name that nothing knows, where that is what is wrong.
    pub unknown: Option<String>,
}

impl Invalid {
    /// At a parameter's path.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            unknown: None,
        }
    }
}

/// A stage whose parameters are typed: all that the runner knows of it.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its kind.
    pub kind: &'static StageKind,
    /// All parameters with defaults filled in, for the job file.
    pub params: Value,
    /// The parameters that enter the key: without those at their default and those that only change
    /// how a job runs, so that a new parameter with a default changes no key.
    pub key_params: Value,
    /// The outputs.
    pub outputs: Vec<Output>,
}

/// Parameters that stand for others, with what they stand for.
pub type Implied = Vec<(&'static str, Value)>;

/// Looks up an environment variable.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

type Declare = fn(&'static StageKind, Value, Variable) -> Result<Declaration, Invalid>;

/// One row of the table of stage kinds.
pub struct StageKind {
    /// [`Stage::NAME`].
    pub name: &'static str,
    /// [`Stage::VERSION`].
    pub version: u32,
    /// [`Stage::PROGRAM`].
    pub program: Program,
    /// [`Stage::RESUMES`].
    pub resumes: bool,
    /// [`Stage::ENVIRONMENT`].
    pub environment: &'static [&'static str],
    /// [`Stage::SHORTHAND`].
    pub shorthand: Option<&'static str>,
    /// [`Stage::SHELL`].
    pub shell: Option<&'static str>,
    make_schema: fn() -> Value,
    schema: OnceLock<Value>,
    /// Types parameters.
    declare: Declare,
    /// [`Stage::implied`].
    pub implied: fn(&Value) -> Result<Implied, Invalid>,
}

impl std::fmt::Debug for StageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl StageKind {
    const fn of<S: Stage>() -> Self {
        Self {
            name: S::NAME,
            version: S::VERSION,
            program: S::PROGRAM,
            resumes: S::RESUMES,
            environment: S::ENVIRONMENT,
            shorthand: S::SHORTHAND,
            shell: S::SHELL,
            make_schema: || schemars::schema_for!(S).to_value(),
            schema: OnceLock::new(),
            declare: declare::<S>,
            implied: S::implied,
        }
    }

    /// JSON Schema of the parameters.
    pub fn schema(&self) -> &Value {
        self.schema.get_or_init(self.make_schema)
    }

    /// Types `params` (references already numbered) and says what the stage will do.
    pub fn declare(
        &'static self,
        params: Value,
        variable: Variable,
    ) -> Result<Declaration, Invalid> {
        (self.declare)(self, params, variable)
    }
}

/// Every stage kind, in the order in which a pipeline usually uses them.
pub static KINDS: [StageKind; 21] = [
    StageKind::of::<crate::download::Download>(),
    StageKind::of::<crate::import::Import>(),
    StageKind::of::<crate::create_unlabeled::CreateUnlabeled>(),
    StageKind::of::<crate::create_test::CreateTest>(),
    StageKind::of::<crate::create_split::CreateSplit>(),
    StageKind::of::<crate::filter_classes::FilterClasses>(),
    StageKind::of::<crate::relabel::Relabel>(),
    StageKind::of::<crate::merge::Merge>(),
    StageKind::of::<crate::sample::Sample>(),
    StageKind::of::<crate::augment_copies::AugmentCopies>(),
    StageKind::of::<crate::inspect::Inspect>(),
    StageKind::of::<crate::check_split::CheckSplit>(),
    StageKind::of::<crate::zca::Zca>(),
    StageKind::of::<crate::export::Export>(),
    StageKind::of::<crate::convert::Convert>(),
    StageKind::of::<crate::train::Train>(),
    StageKind::of::<crate::predict::Predict>(),
    StageKind::of::<crate::export_weights::ExportWeights>(),
    StageKind::of::<crate::extract_accuracy::ExtractAccuracy>(),
    StageKind::of::<crate::tabulate::Tabulate>(),
    StageKind::of::<crate::command::Command>(),
];

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static StageKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

fn declare<S: Stage>(
    kind: &'static StageKind,
    params: Value,
    variable: Variable,
) -> Result<Declaration, Invalid> {
    let mut typed: S = typed(params)?;
    typed.read_environment(variable);
    typed.check()?;
    let outputs = typed.outputs();
    for output in &outputs {
        check_output(output)?;
    }
    let json = |typed: &S| serde_json::to_value(typed).map_err(|e| Invalid::at("", e.to_string()));
    let mut key_params = json(&typed)?;
    keep_what_matters(&mut key_params, kind.schema(), kind.schema());
    typed.complete();
    let params = json(&typed)?;
    Ok(Declaration {
        kind,
        params,
        key_params,
        outputs,
    })
}

/// Refuses an output that could lie outside its folder, or hide another one.
fn check_output(output: &Output) -> Result<(), Invalid> {
    let Output { name, path, .. } = output;
    let at = format!("outputs.{name}");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.chars().all(plain) {
        let message =
            format!("`{name}` cannot name an output; use letters, digits, `-` and `_`, at most 64");
        return Err(Invalid::at(at, message));
    }
    let mut steps = std::path::Path::new(path).components();
    // Folders stand before it, and systems take 255 bytes a name and 4,096 in all.
    let inside =
        steps.all(|step| matches!(step, std::path::Component::Normal(name) if name.len() <= 200));
    let odd = path.ends_with('/') || path.contains(char::is_control);
    if path.is_empty() || path.len() > 1000 || !inside || odd {
        let message = format!(
            "`{path}` is no place for an output; expected a relative path such as result.json"
        );
        return Err(Invalid::at(at, message));
    }
    Ok(())
}

/// Types JSON, with the path of what is wrong.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        let message = error.inner().to_string();
        // serde names an unknown member only in its message.
        let unknown = ["unknown field `", "unknown variant `"]
            .iter()
            .find_map(|start| {
                let rest = message.strip_prefix(start)?;
                Some(rest.split('`').next()?.to_owned())
            });
        Invalid {
            path,
            message,
            unknown,
        }
    })
}

/// Drops members that equal their schema's default, or that are marked as outside the key.
fn keep_what_matters(value: &mut Value, schema: &Value, root: &Value) {
    let schema = resolve(schema, root);
    match value {
        Value::Object(members) if !members.contains_key(INPUT) => {
            let schemas = alternatives(schema, root);
            members.retain(|name, member| {
                let Some(property) = schemas.iter().find_map(|s| s["properties"].get(name)) else {
                    return true;
                };
                let marked = |mark: &str| {
                    property
                        .get(mark)
                        .or_else(|| resolve(property, root).get(mark))
                };
                if marked("x-key") == Some(&Value::Bool(false)) {
                    return false;
                }
                if let Some(default) = marked("default") {
                    if *default == *member {
                        return false;
                    }
                } else if member.is_null() {
                    return false;
                }
                keep_what_matters(member, property, root);
                true
            });
        }
        Value::Array(items) => {
            let schema = alternatives(schema, root)
                .into_iter()
                .find(|s| s.get("items").is_some());
            if let Some(schema) = schema {
                for item in items {
                    keep_what_matters(item, &schema["items"], root);
                }
            }
        }
        _ => {}
    }
}

/// Follows a `$ref`.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let Some(target) = schema.get("$ref").and_then(Value::as_str) else {
        return schema;
    };
    // schemars writes every reference like this. Looked up for each parameter of each job.
    let named = target.strip_prefix("#/$defs/");
    named
        .and_then(|name| root["$defs"].get(name))
        .unwrap_or(schema)
}

/// A schema and everything behind its `anyOf`, `oneOf` and `allOf`.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(schema, root);
    let mut all = vec![schema];
    for member in ["anyOf", "oneOf", "allOf"] {
        for inner in schema
            .get(member)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            all.extend(alternatives(inner, root));
        }
    }
    all
}
