//! A pipeline as a graph: every stage at every one of its points, joined by what they read.
//!
//! A node is two numbers. What a job does in detail ([`job`]) is worked out when somebody asks for it, since of ten
//! thousand jobs of a sweep usually none must run.

pub mod job;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use rematch_spec::named::Named;
use serde_json::Value;

pub use self::job::{From, Job, JobInput};
use crate::axis::{Groups, MAX_POINTS, Point, Points};
use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, Stage};
use crate::source::Place;
use crate::template::{Hole, Target};

/// More edges than this are a mistake: some stage collects another once for each of its own many jobs.
const MAX_EDGES: usize = MAX_POINTS;
/// Stages in a row, each of which refers to the next.
const MAX_CHAIN: usize = 2000;

/// The jobs of a pipeline.
#[derive(Debug)]
pub struct Plan {
    /// The jobs; an edge leads from a job to one that reads its output. A job's index is greater than
    /// those of all the jobs that it reads from.
    pub graph: DiGraph<Node, ()>,
    /// What is odd about the pipeline, but no error.
    pub warnings: Vec<String>,
    source: Pipeline,
    fans: Vec<Fan>,
    /// Fans by the names of their stages.
    names: HashMap<String, usize>,
}

/// A job: a stage at one of its points.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    fan: u32,
    point: u32,
}

/// The jobs of one stage; their indices follow one another.
#[derive(Debug)]
struct Fan {
    what: What,
    points: Points,
    first: usize,
    /// The jobs of other fans that are collected here, `${stage[*].output}`.
    collected: HashMap<usize, Groups>,
}

/// Where the jobs of a fan come from.
#[derive(Debug)]
enum What {
    /// The stage of the pipeline with that number.
    Stage(usize),
    /// A named split: the only job of its stage.
    Named(Box<Job>),
}

impl Plan {
    /// Expands a pipeline.
    ///
    /// What is wrong with the parameters of single jobs comes out in [`check`](Self::check), or when one is asked for.
    pub fn new(pipeline: Pipeline) -> Result<Self> {
        let mut plan = Self {
            graph: DiGraph::new(),
            warnings: Vec::new(),
            source: pipeline,
            fans: Vec::new(),
            names: HashMap::new(),
        };
        for stage in 0..plan.source.stages.len() {
            plan.add_stage(stage, &mut Vec::new())?;
        }
        for axis in plan.source.unused_axes() {
            plan.warnings.push(format!(
                "axis `{}` is mentioned by no stage ({}:{})",
                axis.name,
                axis.place.source.path.display(),
                axis.place.line
            ));
        }
        if plan.source.stages.is_empty() {
            plan.warnings.push("the pipeline has no stages".into());
        }
        Ok(plan)
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.source
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All jobs, each after those that it reads from.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = NodeIndex> + use<> {
        (0..self.len()).map(NodeIndex::new)
    }

    /// A job's name, `train[seed=1,labels=40]`.
    pub fn name(&self, job: NodeIndex) -> String {
        let mut name = self.stage(job).to_owned();
        for (n, (axis, label)) in self.labels(job).enumerate() {
            name.push(if n == 0 { '[' } else { ',' });
            name.push_str(axis);
            name.push('=');
            name.push_str(label);
        }
        if name.len() > self.stage(job).len() {
            name.push(']');
        }
        name
    }

    /// The name of a job's stage.
    pub fn stage(&self, job: NodeIndex) -> &str {
        match &self.fan(job).what {
            What::Stage(stage) => &self.source.stages[*stage].name,
            What::Named(job) => &job.stage,
        }
    }

    /// Axis and label of a job's point, in the order of the axes.
    pub fn labels(&self, job: NodeIndex) -> impl Iterator<Item = (&str, &str)> {
        let points = &self.fan(job).points;
        let values = points.values(self.graph[job].point as usize);
        points.axes().iter().zip(values).map(|(axis, value)| {
            let axis = &self.source.axes.list[*axis];
            (
                axis.name.as_str(),
                axis.values[*value as usize].label.as_str(),
            )
        })
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
        if all.len() < self.len() {
            for job in self.jobs().rev() {
                if all.contains(&job) {
                    all.extend(self.upstream(job));
                }
            }
        }
        all
    }

    /// The given jobs and everything that reads from them, in order.
    pub fn with_downstream(&self, jobs: &BTreeSet<NodeIndex>) -> BTreeSet<NodeIndex> {
        let mut all = jobs.clone();
        if all.len() < self.len() {
            for job in self.jobs() {
                if all.contains(&job) {
                    all.extend(self.downstream(job));
                }
            }
        }
        all
    }

    fn fan(&self, job: NodeIndex) -> &Fan {
        &self.fans[self.graph[job].fan as usize]
    }

    fn point(&self, job: NodeIndex) -> Point {
        self.fan(job).points.point(self.graph[job].point as usize)
    }

    /// Makes the jobs of a stage, after those of all the stages that it refers to; returns their fan.
    fn add_stage(&mut self, number: usize, open: &mut Vec<usize>) -> Result<usize> {
        if let Some(fan) = self.names.get(&self.source.stages[number].name) {
            return Ok(*fan);
        }
        if open.len() >= MAX_CHAIN {
            let error = Error::usage(format!(
                "more than {MAX_CHAIN} stages refer to one another in a row"
            ));
            return Err(error.at(&self.source.stages[number].place));
        }
        open.push(number);
        let mut axes = self.source.stages[number].params.axes();
        axes.extend(self.source.stages[number].options.axes());
        let mut reads: Vec<(usize, bool, Place)> = Vec::new();
        for (target, place) in references(&self.source.stages[number]) {
            let (fan, all) = match &target {
                Target::Stage { stage, all, .. } => (self.add_target(stage, &place, open)?, *all),
                Target::Named { split, output } => (
                    self.add_named(split, output).map_err(|e| e.at(&place))?,
                    false,
                ),
            };
            if !all {
                axes.extend(self.fans[fan].points.axes());
            }
            if !reads
                .iter()
                .any(|(known, as_well, _)| (*known, *as_well) == (fan, all))
            {
                reads.push((fan, all, place));
            }
        }
        open.pop();

        let stage_place = self.source.stages[number].place.clone();
        let points = self
            .source
            .axes
            .points(&axes)
            .map_err(|e| e.at(&stage_place))?;
        let implied = self.add_implied(number, &points)?;
        let fan = self.fans.len();
        let mut collected = HashMap::new();
        for (other, _, _) in reads.iter().filter(|(_, all, _)| *all) {
            collected.insert(*other, self.fans[*other].points.grouped_for(&points));
        }
        self.fans.push(Fan {
            what: What::Stage(number),
            points,
            first: self.len(),
            collected,
        });
        self.names
            .insert(self.source.stages[number].name.clone(), fan);
        self.add_jobs(fan, &reads, &implied, &stage_place)?;
        Ok(fan)
    }

    /// The fan of a stage that another refers to.
    fn add_target(&mut self, name: &str, place: &Place, open: &mut Vec<usize>) -> Result<usize> {
        let stages = &self.source.stages;
        let Some(other) = stages.iter().position(|stage| stage.name == name) else {
            let known = stages.iter().map(|stage| stage.name.as_str());
            return Err(Error::usage(format!("there is no stage `{name}`"))
                .at(&place.within(name))
                .suggest(name, known));
        };
        if let Some(start) = open.iter().position(|stage| *stage == other) {
            let path: Vec<&str> = open[start..]
                .iter()
                .chain([&other])
                .map(|stage| stages[*stage].name.as_str())
                .collect();
            let error = Error::usage(format!(
                "stages refer to one another in a circle: {}",
                path.join(" → ")
            ));
            return Err(error.at(&place.within(name)));
        }
        self.add_stage(other, open)
    }

    /// Adds the nodes and edges of a fan.
    fn add_jobs(
        &mut self,
        fan: usize,
        reads: &[(usize, bool, Place)],
        implied: &[Vec<usize>],
        place: &Place,
    ) -> Result<()> {
        let mine = &self.fans[fan];
        for point in 0..mine.points.len() {
            let job = self.graph.add_node(Node {
                fan: fan as u32,
                point: point as u32,
            });
            let mut upstream = BTreeSet::new();
            for (other, all, place) in reads {
                let from = &self.fans[*other];
                if *all {
                    let members = mine.collected[other].of(&mine.points, point);
                    upstream.extend(members.iter().map(|member| from.first + member));
                } else {
                    let found = from.points.find(&mine.points, point);
                    upstream
                        .insert(from.first + found.ok_or_else(|| self.left_out(*other).at(place))?);
                }
            }
            let named = implied.get(point).into_iter().flatten();
            upstream.extend(named.map(|fan| self.fans[*fan].first));
            for other in upstream {
                self.graph.add_edge(NodeIndex::new(other), job, ());
            }
            if self.graph.node_count() > MAX_POINTS || self.graph.edge_count() >= MAX_EDGES {
                let error = Error::usage(format!(
                    "the pipeline has more than {MAX_POINTS} jobs, or {MAX_EDGES} references between them"
                ));
                return Err(error
                    .at(place)
                    .help("shorten an axis, or split the sweep into pipelines"));
            }
        }
        Ok(())
    }

    fn left_out(&self, fan: usize) -> Error {
        let stage = self.stage(NodeIndex::new(self.fans[fan].first));
        Error::usage(format!(
            "stage `{stage}` has no job at this point: `exclude` leaves it out"
        ))
    }

    /// The fans of named splits that parameters of a stage stand for, point by point; empty where there are none.
    fn add_implied(&mut self, number: usize, points: &Points) -> Result<Vec<Vec<usize>>> {
        if !self.source.stages[number].has_implied() {
            return Ok(Vec::new());
        }
        let mut fans = Vec::with_capacity(points.len());
        for n in 0..points.len() {
            let stage = &self.source.stages[number];
            let place = stage.node.locate("dataset").clone();
            let mut mine = Vec::new();
            for (_, value) in stage.implied(&self.source.axes, &points.point(n))? {
                if let Some((split, output)) =
                    job::named_reference(&value).map_err(|e| e.at(&place))?
                {
                    mine.push(self.add_named(&split, &output).map_err(|e| e.at(&place))?);
                }
            }
            fans.push(mine);
        }
        Ok(fans)
    }

    /// The fan of an output of a named split; makes the split's jobs the first time.
    fn add_named(&mut self, split: &Named, output: &str) -> Result<usize> {
        let (wanted, _) = split.output(output).map_err(|e| Error::usage(e.message))?;
        for part in split.stages() {
            if self
                .source
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
            if self.names.contains_key(&part.name) {
                continue;
            }
            let job = self.named_job(&part)?;
            let upstream: Vec<NodeIndex> = job.upstream().collect();
            let index = self.graph.add_node(Node {
                fan: self.fans.len() as u32,
                point: 0,
            });
            for other in upstream {
                self.graph.add_edge(other, index, ());
            }
            self.names.insert(part.name, self.fans.len());
            self.fans.push(Fan {
                what: What::Named(Box::new(job)),
                points: Points::one(),
                first: index.index(),
                collected: HashMap::new(),
            });
        }
        Ok(self.names[&wanted])
    }

    /// Axes and values of a job's point.
    fn values(&self, job: NodeIndex) -> BTreeMap<&str, &Value> {
        let axes = &self.source.axes.list;
        let points = &self.fan(job).points;
        let values = points.values(self.graph[job].point as usize);
        let pairs = points.axes().iter().zip(values);
        pairs
            .map(|(axis, value)| {
                (
                    axes[*axis].name.as_str(),
                    &axes[*axis].values[*value as usize].value,
                )
            })
            .collect()
    }
}

/// Every reference to an output in a stage's parameters.
fn references(stage: &Stage) -> Vec<(Target, Place)> {
    let mut found = Vec::new();
    stage.params.each_hole(&mut |hole, place| {
        if let Hole::Output(target) = hole {
            found.push((target.clone(), place.clone()));
        }
    });
    found
}
