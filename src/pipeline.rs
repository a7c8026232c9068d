//! A pipeline file, read: axes, variables and stages, with everything that it includes and everything
//! that `--set` changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rematch_cache::Digest;
use rematch_spec::kind::{Implied, Invalid, KINDS, StageKind, find, typed};
use serde_json::{Value, json};

use crate::axis::{Axes, Axis, AxisValue, Point};
use crate::error::{Error, Result};
use crate::language::PipelineFile;
use crate::plan::job::variable;
use crate::reference::is_name;
use crate::source::{Place, Source};
use crate::template::{Growth, Scope, Template, input};
use crate::yaml::{Key, Node, Yaml, shallow};

/// How many files may include one another in a row.
const MAX_INCLUDES: usize = 16;
/// How many files may be included in all.
const MAX_FILES: usize = 200;
/// More stages or variables than this are a mistake.
const MANY_NAMES: usize = 10_000;
/// How deep `--set` may reach into parameters.
const MAX_STEPS: usize = 32;

/// A pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its axes.
    pub axes: Axes,
    /// Its stages, in the order written.
    pub stages: Vec<Stage>,
    /// What its jobs share beside the machine, and how much there is of each.
    pub pools: BTreeMap<String, u32>,
    /// The texts that it was read from: its file and those that it includes.
    pub sources: Vec<Arc<Source>>,
    /// What `--set` changed.
    pub settings: Vec<(String, String)>,
}

/// A stage as written.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// Its kind.
    pub kind: &'static StageKind,
    /// The parameters as written, for places.
    pub node: Node,
    /// The parameters, to be filled in.
    pub params: Template,
    /// The whole stage as written, for places of options.
    pub outer: Node,
    /// Options such as `resources`, to be filled in.
    pub options: Template,
}

impl Stage {
    /// Whether one of its parameters stands for others.
    pub fn has_implied(&self) -> bool {
        let member = |name| match &self.params {
            Template::Map(members) => members.iter().any(|(known, _)| known == name),
            _ => false,
        };
        self.kind.shorthand.is_some_and(member)
    }

    /// What that parameter stands for at a point.
    pub fn implied(&self, axes: &Axes, point: &Point) -> Result<Implied> {
        let params = self.params.fill(axes, point, &mut |_, _| Ok(input(0)))?;
        (self.kind.implied)(&params).map_err(|e| explain(e, &self.node, self.kind.name))
    }
}

/// Everything that can be defined, in the order defined, before references are looked at.
#[derive(Default)]
struct Definitions {
    sources: Vec<Arc<Source>>,
    name: Option<Node>,
    vars: Vec<(String, Node)>,
    axes: Vec<(Key, Node)>,
    exclude: Vec<Node>,
    /// Axes whose values `--set` replaced.
    replaced: BTreeSet<String>,
    include: Vec<Node>,
    pools: BTreeMap<String, u32>,
    stages: Vec<(Key, Node)>,
}

impl Pipeline {
    /// Reads a pipeline file. `settings` are `(key, value)` pairs as `--set` has them.
    pub fn read(path: &Path, settings: &[(String, String)]) -> Result<Self> {
        let mut definitions = Definitions::default();
        let root = definitions.read(path, None, &mut Vec::new())?;
        for (key, value) in settings {
            definitions.set(key, value)?;
        }
        let name = match &definitions.name {
            Some(node) => match &node.value {
                Yaml::Text(text) if is_name(text) => text.clone(),
                _ => {
                    let error =
                        Error::usage("the pipeline's name must be letters, digits, `-` and `_`");
                    return Err(error.at(&node.place));
                }
            },
            None => {
                let stem = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if !is_name(&stem) {
                    let error = Error::usage(format!(
                        "the file's name `{stem}` cannot serve as the pipeline's name"
                    ));
                    return Err(error.at(&root.place).help("add `name: something`"));
                }
                stem
            }
        };
        let axes = definitions.axes()?;
        let scope = Scope {
            vars: &definitions.vars,
            axes: &axes,
            growth: Growth::default(),
        };
        let stages = definitions
            .stages
            .iter()
            .map(|(key, node)| stage(key, node, &scope))
            .collect::<Result<_>>()?;
        Ok(Self {
            name,
            path: path.to_owned(),
            axes,
            stages,
            pools: definitions.pools,
            sources: definitions.sources,
            settings: settings.to_vec(),
        })
    }

    /// What decides how the pipeline expands: two with the same digest have the same jobs with the same
    /// parameters. User's files that it names, and the rules of this program, are not in it.
    pub fn digest(&self) -> Digest {
        let sources = self.sources.iter().map(|source| {
            let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
            (path.to_string_lossy().into_owned(), source.text.as_str())
        });
        let environment: Vec<_> = KINDS
            .iter()
            .flat_map(|kind| kind.environment)
            .map(|name| (name, variable(name)))
            .collect();
        let parts = json!([sources.collect::<Vec<_>>(), self.settings, environment]);
        Digest::of_bytes(parts.to_string().as_bytes())
    }

    /// Axes that no stage mentions.
    pub fn unused_axes(&self) -> Vec<&Axis> {
        let mut used = BTreeSet::new();
        for stage in &self.stages {
            used.extend(stage.params.axes());
            used.extend(stage.options.axes());
        }
        self.axes
            .list
            .iter()
            .enumerate()
            .filter(|(n, _)| !used.contains(n))
            .map(|(_, axis)| axis)
            .collect()
    }
}

impl Definitions {
    /// Reads a file and, before its own definitions, the files that it includes.
    fn read(&mut self, path: &Path, from: Option<&Place>, open: &mut Vec<PathBuf>) -> Result<Node> {
        let fail = |error: Error| match from {
            Some(place) => error.at(place),
            None => error,
        };
        let canonical = std::fs::canonicalize(path).map_err(|e| {
            let error = Error::usage(format!(
                "cannot read pipeline `{}`: {}",
                path.display(),
                reason(&e)
            ));
            fail(error.help("give the path of a pipeline file, such as pipelines/quickstart.yaml"))
        })?;
        if open.contains(&canonical) || open.len() >= MAX_INCLUDES {
            return Err(fail(Error::usage(format!(
                "`{}` includes itself",
                path.display()
            ))));
        }
        if self.sources.len() >= MAX_FILES {
            return Err(fail(Error::usage(format!(
                "more than {MAX_FILES} files are included"
            ))));
        }
        let source = Arc::new(Source::read(path).map_err(fail)?);
        self.sources.push(Arc::clone(&source));
        let node = Node::parse(&source)?;
        if !matches!(node.value, Yaml::Map(_)) {
            let error = Error::usage(format!(
                "a pipeline is a map with `stages`, found {}",
                node.describe()
            ));
            return Err(error.at(&node.place));
        }
        let file = typed::<PipelineFile>(node.to_json());
        let PipelineFile { pools, .. } = file.map_err(|e| explain(e, &node, "a pipeline"))?;

        open.push(canonical);
        for include in node.get("include").map(Node::items).unwrap_or_default() {
            match &include.value {
                Yaml::Text(file) => {
                    let file = path.parent().unwrap_or(Path::new("")).join(file);
                    let inner = self.read(&file, Some(&include.place), open)?;
                    if let Some(name) = inner.get("name") {
                        self.name.take_if(|known| known.place == name.place);
                    }
                }
                _ => self.include.push(include.clone()),
            }
        }
        open.pop();
        self.pools.extend(pools);
        if let Some(name) = node.get("name") {
            self.name = Some(name.clone());
        }
        for (key, value) in node.get("vars").map(Node::members).unwrap_or_default() {
            valid_name("variable", key)?;
            few("variables", self.vars.len(), key)?;
            self.set_var(&key.name, value.clone());
        }
        for (key, value) in node.get("axes").map(Node::members).unwrap_or_default() {
            valid_name("axis", key)?;
            match self
                .axes
                .iter_mut()
                .find(|(known, _)| known.name == key.name)
            {
                Some(known) => *known = (key.clone(), value.clone()),
                None => self.axes.push((key.clone(), value.clone())),
            }
        }
        self.exclude.extend(
            node.get("exclude")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .cloned(),
        );
        for (key, value) in node.get("stages").map(Node::members).unwrap_or_default() {
            valid_name("stage", key)?;
            if let Some((first, _)) = self.stages.iter().find(|(known, _)| known.name == key.name) {
                let message = format!(
                    "stage `{}` is defined twice; {}:{} has the first",
                    key.name,
                    first.place.source.path.display(),
                    first.place.line
                );
                return Err(Error::usage(message).at(&key.place));
            }
            if ["axis", "var", "in", "out", "vars", "axes"].contains(&key.name.as_str()) {
                let message = format!(
                    "a stage cannot be called `{}`: references use that word",
                    key.name
                );
                return Err(Error::usage(message).at(&key.place));
            }
            few("stages", self.stages.len(), key)?;
            self.stages.push((key.clone(), value.clone()));
        }
        Ok(node)
    }

    fn set_var(&mut self, name: &str, value: Node) {
        match self.vars.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => self.vars.push((name.to_owned(), value)),
        }
    }

    /// `--set steps=100` changes a variable, `--set axis.seed=[1,2]` an axis, and
    /// `--set train.batch=16` a parameter of a stage.
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let source = Arc::new(Source {
            path: format!("--set {key}").into(),
            text: value.to_owned(),
        });
        let value = Node::parse(&source)?;
        if self.vars.iter().any(|(name, _)| name == key) {
            self.set_var(key, value);
            return Ok(());
        }
        let steps: Vec<&str> = key.split('.').collect();
        let odd = if let Some(step) = steps.iter().find(|step| step.starts_with('$')) {
            Some(format!("`{step}` names no parameter: it begins with `$`"))
        } else if steps.contains(&"") {
            Some("a name between its dots is missing".into())
        } else {
            (steps.len() > MAX_STEPS).then(|| format!("it has more than {MAX_STEPS} names"))
        };
        if let Some(odd) = odd {
            let error = Error::usage(format!("--set {key}: {odd}"));
            return Err(error.help("write stage.parameter=value, such as train.batch=16"));
        }
        if let ["pools", name] = steps[..] {
            let count = typed(value.to_json()).map_err(|e| {
                Error::usage(format!("--set {key}: {e}")).help("give a whole number")
            })?;
            self.pools.insert(name.to_owned(), count);
            return Ok(());
        }
        if let ["axis", name] = steps[..]
            && let Some((_, axis)) = self.axes.iter_mut().find(|(known, _)| known.name == name)
        {
            *axis = match value.value {
                Yaml::List(_) => value,
                _ => Node {
                    place: value.place.clone(),
                    value: Yaml::List(vec![value]),
                },
            };
            self.replaced.insert(name.to_owned());
            return Ok(());
        }
        if let [stage, param @ ..] = &steps[..]
            && !param.is_empty()
            && let Some((_, node)) = self
                .stages
                .iter_mut()
                .find(|(known, _)| known.name == *stage)
        {
            let Yaml::Map(members) = &mut node.value else {
                return Err(Error::usage(format!(
                    "--set {key}: stage `{stage}` is no map"
                )));
            };
            let options = ["resources", "timeout", "retries"].contains(&param[0]);
            if options {
                return put(node, param, value).map_err(|e| e.help(format!("in --set {key}")));
            }
            let Some((_, params)) = members
                .iter_mut()
                .find(|(key, _)| find(&key.name).is_some())
            else {
                return Err(Error::usage(format!(
                    "--set {key}: stage `{stage}` has no stage kind"
                )));
            };
            return put(params, param, value).map_err(|e| e.help(format!("in --set {key}")));
        }
        let known: Vec<String> = (self.vars.iter().map(|(name, _)| name.clone()))
            .chain(
                self.axes
                    .iter()
                    .map(|(key, _)| format!("axis.{}", key.name)),
            )
            .collect();
        let error = Error::usage(format!(
            "--set {key}: the pipeline has no variable, axis or stage parameter of that name"
        ));
        Err(error.suggest(key, known.iter().map(String::as_str)))
    }

    fn axes(&self) -> Result<Axes> {
        let mut axes = Axes::default();
        for (key, node) in &self.axes {
            let scope = Scope {
                vars: &self.vars,
                axes: &Axes::default(),
                growth: Growth::default(),
            };
            let Yaml::List(items) = &node.value else {
                let error = Error::usage(format!(
                    "axis `{}` needs a list of values, found {}",
                    key.name,
                    node.describe()
                ));
                return Err(error.at(&node.place));
            };
            if items.is_empty() {
                return Err(
                    Error::usage(format!("axis `{}` has no values", key.name)).at(&key.place)
                );
            }
            let mut values: Vec<AxisValue> = Vec::new();
            let mut seen = BTreeSet::new();
            for item in items {
                let value = constant(item, &scope)?;
                let value = AxisValue::new(value).map_err(|e| e.at(&item.place))?;
                if !seen.insert(value.label.clone()) {
                    let message = format!("axis `{}` has `{}` twice", key.name, value.label);
                    return Err(Error::usage(message)
                        .at(&item.place)
                        .help("give map values different names"));
                }
                values.push(value);
            }
            let swept = values.len();
            axes.list.push(Axis {
                name: key.name.clone(),
                place: key.place.clone(),
                values,
                swept,
            });
        }
        for node in &self.exclude {
            let mut point = Vec::new();
            for (key, value) in node.members() {
                let axis = axes.find(&key.name).map_err(|e| e.at(&key.place))?;
                let items = if let Yaml::List(items) = &value.value {
                    items.iter().collect()
                } else {
                    vec![value]
                };
                let mut values = Vec::new();
                for item in items {
                    match axes.find_value(axis, &item.to_json()) {
                        Some(value) => values.push(value),
                        // There is nothing to leave out of what `--set` no longer has.
                        None if self.replaced.contains(&key.name) => {}
                        None => {
                            let message =
                                format!("axis `{}` has no such value to leave out", key.name);
                            let known = axes.list[axis].values.iter().map(|v| v.label.as_str());
                            return Err(Error::usage(message)
                                .at(&item.place)
                                .suggest(&item.to_json().to_string(), known));
                        }
                    }
                }
                point.push((axis, values));
            }
            axes.exclude.push(point);
        }
        for node in &self.include {
            let mut point = Vec::new();
            for (key, value) in node.members() {
                let axis = axes.find(&key.name).map_err(|e| e.at(&key.place))?;
                let json = value.to_json();
                let index = match axes.find_value(axis, &json) {
                    Some(index) => index,
                    None => {
                        axes.list[axis]
                            .values
                            .push(AxisValue::new(json).map_err(|e| e.at(&value.place))?);
                        axes.list[axis].values.len() - 1
                    }
                };
                point.push((axis, index));
            }
            point.sort_unstable();
            axes.include.push(point);
        }
        Ok(axes)
    }
}

/// A value in which only variables may stand.
fn constant(node: &Node, scope: &Scope) -> Result<Value> {
    let template = Template::new(node, scope)?;
    let value = template.fill(scope.axes, &Point::default(), &mut |_, place| {
        Err(Error::usage("an axis cannot depend on a stage's output").at(place))
    })?;
    shallow(&value).map_err(|e| e.at(&node.place))?;
    Ok(value)
}

fn stage(key: &Key, node: &Node, scope: &Scope) -> Result<Stage> {
    const OPTIONS: [&str; 4] = ["description", "resources", "timeout", "retries"];
    let members = node.members();
    let kinds: Vec<&(Key, Node)> = members
        .iter()
        .filter(|(key, _)| !OPTIONS.contains(&key.name.as_str()))
        .collect();
    let names = || KINDS.iter().map(|kind| kind.name).chain(OPTIONS);
    let (kind_key, params) = match kinds[..] {
        [(kind_key, params)] => (kind_key, params),
        [] => {
            let error =
                Error::usage(format!("stage `{}` says not what to run", key.name)).at(&key.place);
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(error.help(format!("add one of {}", names.join(", "))));
        }
        [(a, _), (b, _), ..] => {
            let wrong = if find(&a.name).is_none() { a } else { b };
            if find(&wrong.name).is_some() {
                let message = format!(
                    "stage `{}` has two stage kinds, `{}` and `{}`",
                    key.name, a.name, b.name
                );
                return Err(Error::usage(message)
                    .at(&b.place)
                    .help("make two stages of it"));
            }
            let error = Error::usage(format!(
                "`{}` is no stage kind and no option of a stage",
                wrong.name
            ));
            return Err(error.at(&wrong.place).suggest(&wrong.name, names()));
        }
    };
    let Some(kind) = find(&kind_key.name) else {
        let error =
            Error::usage(format!("there is no stage kind `{}`", kind_key.name)).at(&kind_key.place);
        return Err(error.suggest(&kind_key.name, names()));
    };
    let params = match &params.value {
        Yaml::Map(_) => params.clone(),
        Yaml::Plain(Value::Null) => Node {
            place: kind_key.place.clone(),
            value: Yaml::Map(Vec::new()),
        },
        _ => {
            let error = Error::usage(format!(
                "the parameters of `{}` are a map, found {}",
                kind.name,
                params.describe()
            ));
            return Err(error.at(&params.place));
        }
    };
    let options = members
        .iter()
        .filter(|(key, _)| OPTIONS.contains(&key.name.as_str()))
        .cloned()
        .collect();
    let options = Node {
        place: key.place.clone(),
        value: Yaml::Map(options),
    };
    Ok(Stage {
        name: key.name.clone(),
        place: key.place.clone(),
        kind,
        params: Template::with_shell(&params, scope, kind.shell)?,
        options: Template::new(&options, scope)?,
        node: params,
        outer: node.clone(),
    })
}

/// Puts a value at a path into a map, making maps on the way.
fn put(node: &mut Node, path: &[&str], value: Node) -> Result<()> {
    let Some((step, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if matches!(node.value, Yaml::Plain(Value::Null)) {
        node.value = Yaml::Map(Vec::new());
    }
    let Yaml::Map(members) = &mut node.value else {
        return Err(
            Error::usage(format!("`{step}` would be inside {}", node.describe())).at(&node.place),
        );
    };
    let place = match members.iter().position(|(key, _)| key.name == **step) {
        Some(place) => place,
        None => {
            let key = Key {
                name: (*step).to_owned(),
                place: value.place.clone(),
            };
            members.push((
                key,
                Node {
                    place: value.place.clone(),
                    value: Yaml::Plain(Value::Null),
                },
            ));
            members.len() - 1
        }
    };
    put(&mut members[place].1, rest, value)
}

/// Refuses what no person wrote: names are looked for one by one.
fn few(what: &str, count: usize, key: &Key) -> Result<()> {
    if count < MANY_NAMES {
        return Ok(());
    }
    Err(Error::usage(format!("more than {MANY_NAMES} {what}")).at(&key.place))
}

fn valid_name(what: &str, key: &Key) -> Result<()> {
    if is_name(&key.name) {
        return Ok(());
    }
    let message = format!("`{}` cannot name a {what}", key.name.escape_debug());
    Err(Error::usage(message)
        .at(&key.place)
        .help("use letters, digits, `-` and `_`, at most 64"))
}

/// An I/O error without the operating system's number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}

/// Turns a refused parameter into an error that points at it. `owner` is what the parameters belong to.
pub fn explain(invalid: Invalid, node: &Node, owner: &str) -> Error {
    let Invalid {
        path,
        message,
        unknown,
    } = invalid;
    let Some(unknown) = unknown else {
        let place = node.locate(&path);
        let last = path
            .rsplit(['.', '['])
            .next()
            .unwrap_or_default()
            .trim_end_matches(']');
        let message = in_words(&message);
        let message = if last.is_empty() || message.contains('`') {
            message
        } else {
            format!("`{last}`: {message}")
        };
        let message = if path.is_empty() {
            format!("{owner}: {message}")
        } else {
            message
        };
        return Error::usage(message).at(place);
    };
    // serde lists what it knows between backticks after `expected`.
    let known: Vec<&str> = message
        .split("expected")
        .nth(1)
        .unwrap_or_default()
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let (place, owner) = match find_key(node, &unknown) {
        Some((place, parent)) => (place, parent.unwrap_or(owner)),
        None => (node.locate(&path).within(&unknown), owner),
    };
    let what = if message.contains("unknown variant") {
        "choice"
    } else {
        "parameter"
    };
    Error::usage(format!("{owner} has no {what} `{unknown}`"))
        .at(&place)
        .suggest(&unknown, known)
}

/// The first member called `name`, with the name of the map that it stands in.
fn find_key<'a>(node: &'a Node, name: &str) -> Option<(Place, Option<&'a str>)> {
    if let Some((key, _)) = node.members().iter().find(|(key, _)| key.name == name) {
        return Some((key.place.clone(), None));
    }
    for (key, inner) in node.members() {
        if let Some((place, parent)) = find_key(inner, name) {
            return Some((place, parent.or(Some(&key.name))));
        }
    }
    node.items().iter().find_map(|item| find_key(item, name))
}

/// serde's words for types, in ours.
fn in_words(message: &str) -> String {
    let mut message = message.to_owned();
    for (from, to) in [
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("string \"", "the text \""),
        ("integer `", "the number `"),
        ("floating point `", "the number `"),
        ("map, expected", "a map, expected"),
        ("sequence, expected", "a list, expected"),
        ("null, expected", "nothing, expected"),
    ] {
        message = message.replace(from, to);
    }
    message
}
