//! A job in detail: its parameters typed, its inputs found, its needs worked out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use rematch_spec::input::INPUT;
use rematch_spec::kind::{Declaration, find, typed};
use rematch_spec::named::{Named, NamedStage};
use serde_json::{Value, json};

use super::{Plan, What};
use crate::error::{Error, Result};
use crate::pipeline::explain;
use crate::reference::{Piece, Reference, pieces};
use crate::resources::{Needs, Options};
use crate::source::{Place, Source};
use crate::template::{Target, input};
use crate::yaml::shallow;

/// A job: one stage at one point.
#[derive(Clone, Debug)]
pub struct Job {
    /// `train[seed=1,labels=40]`.
    pub name: String,
    /// The stage's name.
    pub stage: String,
    /// Axis and label, in the order of the axes.
    pub point: Vec<(String, String)>,
    /// What it does.
    pub declaration: Declaration,
    /// What it reads, in the order of the names.
    pub inputs: Vec<JobInput>,
    /// What it needs of the machine.
    pub needs: Needs,
}

/// Something that a job reads.
#[derive(Clone, Debug)]
pub struct JobInput {
    /// Where it stands in the parameters: `labeled`, `results.3.file`.
    pub name: String,
    /// Where it comes from.
    pub from: From,
}

/// Where an input comes from.
#[derive(Clone, Debug)]
pub enum From {
    /// An output of another job.
    Job(NodeIndex, String),
    /// A file or folder of the user's.
    File {
        /// Where it is, absolute.
        path: PathBuf,
        /// It is not where its name points at first, and may be there the next time.
        elsewhere: bool,
    },
}

impl Job {
    /// The jobs that it reads from, each once.
    pub fn upstream(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        let jobs = self.inputs.iter().filter_map(|input| match input.from {
            From::Job(job, _) => Some(job),
            From::File { .. } => None,
        });
        jobs.collect::<BTreeSet<_>>().into_iter()
    }

    /// The path of one of its outputs below the folder of its outputs.
    pub fn output_path(&self, output: &str) -> Option<&str> {
        let mut outputs = self.declaration.outputs.iter();
        outputs
            .find(|known| known.name == output)
            .map(|known| known.path.as_str())
    }
}

impl Plan {
    /// A job in detail.
    pub fn job(&self, index: NodeIndex) -> Result<Job> {
        let stage = match &self.fan(index).what {
            What::Stage(number) => &self.source.stages[*number],
            What::Named(job) => return Ok((**job).clone()),
        };
        let axes = &self.source.axes;
        let point = &self.point(index);
        let mut references: Vec<(NodeIndex, String)> = Vec::new();
        let mut params = stage.params.fill(axes, point, &mut |target, place| {
            self.resolve(target, index, &mut references, &mut |_, _, _| Ok(()))
                .map_err(|e| e.at(place))
        })?;
        shallow(&params).map_err(|e| e.at(&stage.place))?;
        if stage.has_implied() {
            for (name, value) in stage.implied(axes, point)? {
                params[name] = match named_reference(&value)? {
                    Some((split, output)) => self.named_output(&split, &output, &mut references)?,
                    None => value,
                };
            }
        }
        let declaration = stage
            .kind
            .declare(params, &variable)
            .map_err(|e| explain(e, &stage.node, stage.kind.name))?;
        let options = stage.options.fill(axes, point, &mut |_, place| {
            Err(Error::usage("an option cannot depend on a stage's output").at(place))
        })?;
        let needs = typed::<Options>(options)
            .and_then(|options| options.needs(stage.kind))
            .map_err(|e| explain(e, &stage.outer, "a stage"))?;
        let inputs = find_inputs(
            &declaration.key_params,
            &references,
            &|path| folder_of(stage.node.locate(path)),
            &|path| stage.node.locate(path).clone(),
        )?;
        let labels = self.labels(index);
        Ok(Job {
            name: self.name(index),
            stage: stage.name.clone(),
            point: labels
                .map(|(axis, label)| (axis.to_owned(), label.to_owned()))
                .collect(),
            declaration,
            inputs,
            needs,
        })
    }

    /// Looks at every job in detail, and at every output that is referred to: whatever is wrong with the pipeline is
    /// said before anything runs.
    pub fn check(&self) -> Result<()> {
        let outputs: Vec<Vec<String>> = self
            .jobs()
            .collect::<Vec<_>>()
            .par_iter()
            .map(|job| {
                let outputs = self.job(*job)?.declaration.outputs;
                Ok(outputs.into_iter().map(|output| output.name).collect())
            })
            .collect::<Vec<Result<_>>>()
            .into_iter()
            .collect::<Result<_>>()?;
        let mut check = |stage: &str, other: NodeIndex, output: &str| {
            let known = &outputs[other.index()];
            if known.iter().any(|known| known == output) {
                return Ok(());
            }
            let error = Error::usage(format!("stage `{stage}` has no output `{output}`"));
            Err(error.suggest(output, known.iter().map(String::as_str)))
        };
        // Only references are followed; typing everything again would double the cost.
        for job in self.jobs() {
            let What::Stage(stage) = &self.fan(job).what else {
                continue;
            };
            for (target, place) in super::references(&self.source.stages[*stage]) {
                self.resolve(&target, job, &mut Vec::new(), &mut check)
                    .map_err(|e| e.at(&place))?;
            }
        }
        Ok(())
    }

    /// A reference as JSON: a numbered input, or a list of them with their points.
    fn resolve(
        &self,
        target: &Target,
        job: NodeIndex,
        references: &mut Vec<(NodeIndex, String)>,
        visit: Visit,
    ) -> Result<Value> {
        let (stage, output, all) = match target {
            Target::Named { split, output } => return self.named_output(split, output, references),
            Target::Stage { stage, output, all } => (stage, output, *all),
        };
        let number = self.names[stage];
        let (mine, other) = (self.fan(job), &self.fans[number]);
        let point = self.graph[job].point as usize;
        let mut refer = |n: usize| {
            let member = NodeIndex::new(other.first + n);
            visit(stage, member, output)?;
            references.push((member, output.clone()));
            Ok::<_, Error>((member, input(references.len() - 1)))
        };
        if !all {
            let found = other.points.find(&mine.points, point);
            return Ok(refer(found.ok_or_else(|| self.left_out(number))?)?.1);
        }
        let mut members = Vec::new();
        for n in mine.collected[&number].of(&mine.points, point) {
            let (member, file) = refer(*n)?;
            members.push(json!({ "point": self.values(member), "file": file }));
        }
        Ok(Value::Array(members))
    }

    /// An output of a named split, whose jobs are there.
    fn named_output(
        &self,
        split: &Named,
        output: &str,
        references: &mut Vec<(NodeIndex, String)>,
    ) -> Result<Value> {
        let (stage, output) = split.output(output).map_err(|e| Error::usage(e.message))?;
        let fan = &self.fans[self.names[&stage]];
        references.push((NodeIndex::new(fan.first), output.to_owned()));
        Ok(input(references.len() - 1))
    }

    /// A part of a named split as a job.
    pub(super) fn named_job(&self, part: &NamedStage) -> Result<Job> {
        let mut references = Vec::new();
        let mut params = part.params.clone();
        let of_params = params.as_object_mut().into_iter();
        // A parameter is one reference, or a list of them.
        let values = of_params
            .flat_map(|map| map.values_mut())
            .flat_map(|value| match value {
                Value::Array(list) => list.iter_mut().collect(),
                one => vec![one],
            });
        for value in values {
            let reference = value
                .as_str()
                .and_then(|text| text.strip_prefix("${")?.strip_suffix('}')?.rsplit_once('.'));
            if let Some((stage, output)) = reference
                && let Some(fan) = self.names.get(stage)
            {
                references.push((NodeIndex::new(self.fans[*fan].first), output.to_owned()));
                *value = input(references.len() - 1);
            }
        }
        let kind = find(part.kind)
            .ok_or_else(|| Error::usage(format!("there is no stage kind `{}`", part.kind)))?;
        let declaration = kind
            .declare(params, &variable)
            .map_err(|e| Error::usage(format!("{}: {e}", part.name)))?;
        let needs = Options::default()
            .needs(kind)
            .map_err(|e| Error::usage(e.message))?;
        let here = Place::start(&std::sync::Arc::new(Source {
            path: self.source.path.clone(),
            text: String::new(),
        }));
        let inputs = find_inputs(
            &declaration.key_params,
            &references,
            &|_| PathBuf::new(),
            &|_| here.clone(),
        )?;
        Ok(Job {
            name: part.name.clone(),
            stage: part.name.clone(),
            point: Vec::new(),
            declaration,
            inputs,
            needs,
        })
    }
}

/// Sees a reference to an output: the stage, the job, the output.
type Visit<'a> = &'a mut dyn FnMut(&str, NodeIndex, &str) -> Result<()>;

/// The named split that a parameter refers to, if it does.
pub(super) fn named_reference(value: &Value) -> Result<Option<(Named, String)>> {
    let Some(text) = value.as_str() else {
        return Ok(None);
    };
    match pieces(text)?.pop() {
        Some(Piece::Reference(Reference::Named { split, output })) => Ok(Some((split, output))),
        _ => Ok(None),
    }
}

/// What a stage's parameters take from the environment. Relative paths are made absolute: the
/// environment belongs to where the user is, not to where the pipeline lies.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    match std::path::absolute(&value) {
        Ok(path) if path.exists() => Some(path.to_string_lossy().into_owned()),
        _ => Some(value),
    }
}

fn folder_of(place: &Place) -> PathBuf {
    let name = place.source.path.to_string_lossy();
    if name.starts_with("--set ") {
        return PathBuf::new();
    }
    place
        .source
        .path
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// Every input in typed parameters, with its path in them as a name.
fn find_inputs(
    params: &Value,
    references: &[(NodeIndex, String)],
    folder: &dyn Fn(&str) -> PathBuf,
    place: &dyn Fn(&str) -> Place,
) -> Result<Vec<JobInput>> {
    let mut inputs = Vec::new();
    let mut result = Ok(());
    each_input(params, &mut String::new(), &mut |name, value| {
        let from = match value {
            Value::Number(n) => {
                let (job, output) = &references[n.as_u64().unwrap_or_default() as usize];
                From::Job(*job, output.clone())
            }
            value => match user_file(&folder(name), value.as_str().unwrap_or_default()) {
                Ok(from) => from,
                Err(error) => {
                    result = Err(error.at(&place(name)));
                    return;
                }
            },
        };
        inputs.push(JobInput {
            name: name.to_owned(),
            from,
        });
    });
    result.map(|()| inputs)
}

/// Finds a file named in a pipeline: relative to the pipeline file or to the folder above it (where
/// shared files lie), with `.yaml` added if need be.
fn user_file(folder: &Path, name: &str) -> Result<From> {
    let with_ending = format!("{name}.yaml");
    for folder in [folder.to_owned(), folder.join("..")] {
        for name in [name, &with_ending] {
            let path = folder.join(name);
            if path.exists() {
                let elsewhere = name == with_ending || folder.ends_with("..");
                let path = std::path::absolute(&path).unwrap_or(path);
                return Ok(From::File { path, elsewhere });
            }
        }
    }
    let path = folder.join(name);
    let error = Error::usage(format!("there is no file `{}`", path.display()));
    Err(error.help(if Path::new(name).is_absolute() {
        "check the path; a mirror (REMATCH_MIRROR) must hold archives under their official names"
    } else {
        "a path is relative to the pipeline file; a stage's output is ${stage.output}"
    }))
}

/// Visits every `{"$input": …}` in JSON, with its path.
pub fn each_input(value: &Value, path: &mut String, visit: &mut dyn FnMut(&str, &Value)) {
    let length = path.len();
    let mut step = |path: &mut String, name: &str, inner: &Value| {
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        each_input(inner, path, visit);
        path.truncate(length);
    };
    match value {
        Value::Object(map) => match map.get(INPUT) {
            Some(inner) => visit(path, inner),
            None => map.iter().for_each(|(name, inner)| step(path, name, inner)),
        },
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(n, inner)| step(path, &n.to_string(), inner)),
        _ => {}
    }
}

/// The same JSON with every input replaced; `swap` gets the path.
pub fn swap_inputs(value: &Value, path: &mut String, swap: &mut dyn FnMut(&str) -> Value) -> Value {
    let length = path.len();
    let mut step = |path: &mut String, name: &str, inner: &Value| {
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        let swapped = swap_inputs(inner, path, swap);
        path.truncate(length);
        swapped
    };
    match value {
        Value::Object(map) if map.contains_key(INPUT) => swap(path),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, inner)| (name.clone(), step(path, name, inner)))
                .collect(),
        ),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, inner)| step(path, &n.to_string(), inner))
            .collect(),
        other => other.clone(),
    }
}
