//! A pipeline as jobs: every stage at every one of its points, joined by what they read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use rematch_spec::input::INPUT;
use rematch_spec::kind::{Declaration, find, typed};
use rematch_spec::named::Named;
use serde_json::{Value, json};

use crate::axis::{MAX_POINTS, Point};
use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, Stage, explain};
use crate::reference::{Piece, Reference, pieces};
use crate::resources::{Needs, Options};
use crate::source::Place;
use crate::template::{Hole, Target, input};

/// A node of the graph: one stage at one point.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct JobInput {
    /// Where it stands in the parameters: `labeled`, `results.3.file`.
    pub name: String,
    /// Where it comes from.
    pub from: From,
}

/// Where an input comes from.
#[derive(Debug)]
pub enum From {
    /// An output of another job.
    Job(NodeIndex, String),
    /// A file or folder of the user's.
    File(PathBuf),
}

/// The jobs of a pipeline.
#[derive(Debug)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The jobs; an edge leads from a job to one that reads its output. A job's index is greater than
    /// those of all the jobs that it reads from.
    pub graph: DiGraph<Job, ()>,
    /// What is odd about the pipeline, but no error.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Expands a pipeline.
    pub fn new(pipeline: &Pipeline) -> Result<Self> {
        let mut builder = Builder {
            pipeline,
            graph: DiGraph::new(),
            fans: HashMap::new(),
            named: HashMap::new(),
        };
        for stage in &pipeline.stages {
            builder.stage(stage, &mut Vec::new())?;
        }
        let mut warnings = Vec::new();
        for axis in pipeline.unused_axes() {
            warnings.push(format!(
                "axis `{}` is mentioned by no stage ({}:{})",
                axis.name,
                axis.place.source.path.display(),
                axis.place.line
            ));
        }
        if pipeline.stages.is_empty() {
            warnings.push("the pipeline has no stages".into());
        }
        Ok(Self {
            pipeline: pipeline.name.clone(),
            graph: builder.graph,
            warnings,
        })
    }

    /// All jobs, each after those that it reads from.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = NodeIndex> + use<> {
        (0..self.graph.node_count()).map(NodeIndex::new)
    }

    /// The jobs that a job reads from.
    pub fn upstream(&self, job: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        self.graph.neighbors_directed(job, Direction::Incoming)
    }

    /// The jobs that read from a job.
    pub fn downstream(&self, job: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        self.graph.neighbors_directed(job, Direction::Outgoing)
    }

    /// The given jobs and everything that they read from, in order.
    pub fn with_upstream(&self, jobs: &BTreeSet<NodeIndex>) -> BTreeSet<NodeIndex> {
        let mut all = jobs.clone();
        for job in self.jobs().rev() {
            if all.contains(&job) {
                all.extend(self.upstream(job));
            }
        }
        all
    }
}

/// The jobs of one stage.
struct Fan {
    axes: BTreeSet<usize>,
    jobs: Vec<(Point, NodeIndex)>,
    at: HashMap<Point, NodeIndex>,
}

struct Builder<'a> {
    pipeline: &'a Pipeline,
    graph: DiGraph<Job, ()>,
    fans: HashMap<&'a str, Fan>,
    named: HashMap<String, NodeIndex>,
}

impl<'a> Builder<'a> {
    /// Makes the jobs of a stage, after those of all the stages that it refers to.
    fn stage(&mut self, stage: &'a Stage, open: &mut Vec<&'a str>) -> Result<()> {
        if self.fans.contains_key(stage.name.as_str()) {
            return Ok(());
        }
        open.push(&stage.name);
        let mut axes = stage.params.axes();
        axes.extend(stage.options.axes());
        let mut holes = Vec::new();
        stage
            .params
            .each_hole(&mut |hole, place| holes.push((hole, place)));
        for (hole, place) in holes {
            let Hole::Output(Target::Stage {
                stage: name, all, ..
            }) = hole
            else {
                continue;
            };
            let Some(other) = self.pipeline.stages.iter().find(|s| s.name == *name) else {
                let known = self.pipeline.stages.iter().map(|s| s.name.as_str());
                return Err(Error::usage(format!("there is no stage `{name}`"))
                    .at(&place.within(name))
                    .suggest(name, known));
            };
            if let Some(start) = open.iter().position(|s| s == name) {
                let path: Vec<&str> = open[start..]
                    .iter()
                    .copied()
                    .chain([name.as_str()])
                    .collect();
                let error = Error::usage(format!(
                    "stages refer to one another in a circle: {}",
                    path.join(" → ")
                ));
                return Err(error.at(&place.within(name)));
            }
            self.stage(other, open)?;
            if !all {
                axes.extend(&self.fans[name.as_str()].axes);
            }
        }
        open.pop();

        let mut fan = Fan {
            axes,
            jobs: Vec::new(),
            at: HashMap::new(),
        };
        for point in self
            .pipeline
            .axes
            .points(&fan.axes)
            .map_err(|e| e.at(&stage.place))?
        {
            let job = self.job(stage, &point)?;
            fan.at.insert(point.clone(), job);
            fan.jobs.push((point, job));
            if self.graph.node_count() > MAX_POINTS {
                return Err(
                    Error::usage(format!("the pipeline has more than {MAX_POINTS} jobs"))
                        .at(&stage.place),
                );
            }
        }
        self.fans.insert(&stage.name, fan);
        Ok(())
    }

    fn job(&mut self, stage: &'a Stage, point: &Point) -> Result<NodeIndex> {
        let axes = &self.pipeline.axes;
        let mut references: Vec<(NodeIndex, String)> = Vec::new();
        let mut params = stage.params.fill(axes, point, &mut |target, place| {
            self.resolve(target, point, &mut references)
                .map_err(|e| e.at(place))
        })?;
        let implied =
            (stage.kind.implied)(&params).map_err(|e| explain(e, &stage.node, stage.kind.name))?;
        for (name, value) in implied {
            params[name] = self
                .implied(value, &mut references)
                .map_err(|e| e.at(stage.node.locate("dataset")))?;
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
        let label = axes.label(point);
        let name = if label.is_empty() {
            stage.name.clone()
        } else {
            format!("{}[{label}]", stage.name)
        };
        let labels = point.0.iter().map(|(axis, value)| {
            let axis = &axes.list[*axis];
            (axis.name.clone(), axis.values[*value].label.clone())
        });
        let folder = |path: &str| folder_of(stage.node.locate(path));
        let inputs = find_inputs(&declaration.key_params, &references, &folder, &|path| {
            stage.node.locate(path).clone()
        })?;
        Ok(self.add(Job {
            name,
            stage: stage.name.clone(),
            point: labels.collect(),
            declaration,
            inputs,
            needs,
        }))
    }

    fn add(&mut self, job: Job) -> NodeIndex {
        let upstream: BTreeSet<NodeIndex> = job
            .inputs
            .iter()
            .filter_map(|input| {
                if let From::Job(job, _) = input.from {
                    Some(job)
                } else {
                    None
                }
            })
            .collect();
        let index = self.graph.add_node(job);
        for other in upstream {
            self.graph.add_edge(other, index, ());
        }
        index
    }

    /// A reference as JSON: a numbered input, or a list of them with their points.
    fn resolve(
        &mut self,
        target: &Target,
        point: &Point,
        references: &mut Vec<(NodeIndex, String)>,
    ) -> Result<Value> {
        match target {
            Target::Named { split, output } => self.named_output(split, output, references),
            Target::Stage { stage, output, all } => {
                let fan = &self.fans[stage.as_str()];
                let here = point.on(&fan.axes);
                if !all {
                    let job = *fan.at.get(&here).ok_or_else(|| {
                        Error::usage(format!(
                            "stage `{stage}` has no job at this point: `exclude` leaves it out"
                        ))
                    })?;
                    self.check_output(job, stage, output)?;
                    references.push((job, output.clone()));
                    return Ok(input(references.len() - 1));
                }
                let shared: BTreeSet<usize> = here.0.iter().map(|(axis, _)| *axis).collect();
                let mut members = Vec::new();
                for (point, job) in fan.jobs.iter().filter(|(p, _)| p.on(&shared) == here) {
                    self.check_output(*job, stage, output)?;
                    references.push((*job, output.clone()));
                    let file = input(references.len() - 1);
                    members.push(json!({ "point": self.values(point), "file": file }));
                }
                Ok(Value::Array(members))
            }
        }
    }

    /// Axes and values of a point.
    fn values(&self, point: &Point) -> BTreeMap<&str, &Value> {
        let axes = &self.pipeline.axes.list;
        let pairs = point.0.iter();
        pairs
            .map(|(axis, value)| (axes[*axis].name.as_str(), &axes[*axis].values[*value].value))
            .collect()
    }

    fn check_output(&self, job: NodeIndex, stage: &str, output: &str) -> Result<()> {
        let outputs = &self.graph[job].declaration.outputs;
        if outputs.iter().any(|known| known.name == output) {
            return Ok(());
        }
        let error = Error::usage(format!("stage `{stage}` has no output `{output}`"));
        Err(error.suggest(output, outputs.iter().map(|known| known.name.as_str())))
    }

    /// An output of a named split; makes its stages the first time.
    fn named_output(
        &mut self,
        split: &Named,
        output: &str,
        references: &mut Vec<(NodeIndex, String)>,
    ) -> Result<Value> {
        let (stage, output) = split.output(output).map_err(|e| Error::usage(e.message))?;
        for part in split.stages() {
            if self
                .pipeline
                .stages
                .iter()
                .any(|stage| stage.name == part.name)
            {
                let error = Error::usage(format!(
                    "stage `{}` has the name of a part of the split `{split}`",
                    part.name
                ));
                return Err(error.help("give the stage another name"));
            }
            if self.named.contains_key(&part.name) {
                continue;
            }
            let mut inner = Vec::new();
            let mut params = part.params.clone();
            for value in params
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                let reference = value
                    .as_str()
                    .and_then(|text| text.strip_prefix("${")?.strip_suffix('}')?.rsplit_once('.'));
                if let Some((stage, output)) = reference
                    && let Some(job) = self.named.get(stage)
                {
                    inner.push((*job, output.to_owned()));
                    *value = input(inner.len() - 1);
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
            let here = Place::start(&std::sync::Arc::new(crate::source::Source {
                path: self.pipeline.path.clone(),
                text: String::new(),
            }));
            let inputs = find_inputs(
                &declaration.key_params,
                &inner,
                &|_| PathBuf::new(),
                &|_| here.clone(),
            )?;
            let job = self.add(Job {
                name: part.name.clone(),
                stage: part.name.clone(),
                point: Vec::new(),
                declaration,
                inputs,
                needs,
            });
            self.named.insert(part.name, job);
        }
        references.push((self.named[&stage], output.to_owned()));
        Ok(input(references.len() - 1))
    }

    /// A parameter that stands for others may itself refer to a named split.
    fn implied(
        &mut self,
        value: Value,
        references: &mut Vec<(NodeIndex, String)>,
    ) -> Result<Value> {
        let Some(text) = value.as_str() else {
            return Ok(value);
        };
        match &pieces(text)?[..] {
            [Piece::Reference(Reference::Named { split, output })] => {
                self.named_output(split, output, references)
            }
            _ => Ok(value),
        }
    }
}

/// What a stage's parameters take from the environment. Relative paths are made absolute: the
/// environment belongs to where the user is, not to where the pipeline lies.
fn variable(name: &str) -> Option<String> {
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
                Ok(path) => From::File(path),
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
fn user_file(folder: &Path, name: &str) -> Result<PathBuf> {
    let with_ending = format!("{name}.yaml");
    for folder in [folder.to_owned(), folder.join("..")] {
        for name in [name, &with_ending] {
            let path = folder.join(name);
            if let Ok(path) = path.canonicalize() {
                return Ok(path);
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
