//! Random pipelines and random edits. After each edit the results must be those of a clean run, and
//! no job may have run that had run before with the same parameters and the same content of its
//! inputs. What is right is said by a model of 200 lines that knows nothing of keys and stores.
//!
//! `REMATCH_MODEL_STEPS=1000` edits that often (40 times where it is not set), and
//! `REMATCH_MODEL_SEED` begins elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::project::{Project, files};
use super::random::Random;

/// Edits of one pipeline before another begins.
const EDITS: usize = 20;

/// Everything that an edit can change.
#[derive(Clone)]
struct World {
    axes: Vec<Axis>,
    exclude: Vec<Vec<(usize, i64)>>,
    include: Vec<Vec<(usize, i64)>>,
    stages: Vec<Stage>,
    /// The user's files, and those in the user's folders, by path.
    files: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Axis {
    name: String,
    values: Vec<i64>,
}

#[derive(Clone)]
struct Stage {
    /// What others refer to; a name can change.
    id: usize,
    name: String,
    step: Step,
    word: u64,
    /// Axes that it mentions itself.
    axes: BTreeSet<usize>,
    reads: Vec<Read>,
    /// Names and paths of its outputs, as many as its step has.
    outputs: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// What it reads, then its word.
    Join,
    /// What it reads, without comments: a change of a comment stops here.
    Strip,
    /// How many lines it reads.
    Count,
    /// A folder: what it reads, and its word.
    Folder,
    /// Two files, of which the second does not depend on what it reads.
    Two,
}

#[derive(Clone)]
enum Read {
    File(String),
    Folder(String),
    /// An output of another stage, by its number; or all of them over the axes that are left.
    Output {
        stage: usize,
        output: usize,
        all: bool,
    },
}

/// What an output holds: a file, or several by their path in a folder.
type Content = BTreeMap<String, String>;

/// Values of some axes, in the order of the axes.
type Point = Vec<(usize, i64)>;

/// The jobs of a stage: the axes that tell them apart, and what each made.
type Fan = (BTreeSet<usize>, Vec<(Point, Vec<Content>)>);

/// What the model says of a pipeline.
#[derive(Default)]
struct Expected {
    /// Every file below `out/p`.
    out: BTreeMap<String, String>,
    /// What tells one piece of work from another.
    work: HashSet<String>,
    jobs: usize,
}

impl Step {
    fn outputs(self) -> usize {
        if self == Self::Two { 2 } else { 1 }
    }
}

impl World {
    fn new(random: &mut Random) -> Self {
        let mut world = Self {
            axes: Vec::new(),
            exclude: Vec::new(),
            include: Vec::new(),
            stages: Vec::new(),
            files: BTreeMap::new(),
        };
        for n in 0..=random.below(3) {
            let values = (1..=1 + random.below(3)).map(|v| v as i64).collect();
            let name = format!("x{n}");
            world.axes.push(Axis { name, values });
        }
        for name in ["f1.txt", "f2.txt", "d1/a", "d1/b", "d2/a"] {
            world.files.insert(name.into(), lines(random));
        }
        for id in 0..2 + random.below(6) {
            let stage = world.some_stage(id, random);
            world.stages.push(stage);
        }
        if random.one_in(2) {
            world.exclude.extend(world.some_point(random, 1));
        }
        if random.one_in(3) {
            world.include.extend(world.some_point(random, 0));
        }
        world
    }

    /// A stage that reads from those that are there.
    fn some_stage(&self, id: usize, random: &mut Random) -> Stage {
        let step = *random.pick(&[
            Step::Join,
            Step::Strip,
            Step::Count,
            Step::Folder,
            Step::Two,
        ]);
        let axes = (0..self.axes.len()).filter(|_| random.one_in(3)).collect();
        let mut reads = Vec::new();
        for _ in 0..random.below(4) {
            let other = (!self.stages.is_empty() && !random.one_in(4))
                .then(|| random.pick(&self.stages).clone());
            reads.push(match other {
                Some(other) => Read::Output {
                    stage: other.id,
                    output: random.below(other.outputs.len()),
                    all: random.one_in(3),
                },
                None if random.one_in(3) => Read::Folder((*random.pick(&["d1", "d2"])).into()),
                None => Read::File((*random.pick(&["f1.txt", "f2.txt"])).into()),
            });
        }
        let outputs = (0..step.outputs())
            .map(|n| {
                (
                    format!("o{n}"),
                    format!("{}o{n}", if random.one_in(3) { "sub/" } else { "" }),
                )
            })
            .collect();
        Stage {
            id,
            name: format!("s{id}"),
            step,
            word: random.next() % 1000,
            axes,
            reads,
            outputs,
        }
    }

    /// A point of two axes, or of one, with values from the `from`-th on.
    fn some_point(&self, random: &mut Random, from: usize) -> Option<Vec<(usize, i64)>> {
        let mut axes: Vec<usize> = (0..self.axes.len())
            .filter(|axis| self.axes[*axis].values.len() > from)
            .collect();
        random.shuffle(&mut axes);
        axes.truncate(2);
        axes.sort_unstable();
        let point = axes
            .iter()
            .map(|axis| (*axis, *random.pick(&self.axes[*axis].values[from..])));
        let point: Vec<_> = point.collect();
        (!point.is_empty()).then_some(point)
    }

    fn stage(&self, id: usize) -> &Stage {
        self.stages.iter().find(|stage| stage.id == id).unwrap()
    }

    // What is written.

    fn yaml(&self) -> String {
        let mut text = String::new();
        if !self.axes.is_empty() {
            text += "axes:\n";
            for axis in &self.axes {
                writeln!(text, "  {}: {:?}", axis.name, axis.values).unwrap();
            }
        }
        for (name, points) in [("exclude", &self.exclude), ("include", &self.include)] {
            if !points.is_empty() {
                writeln!(text, "{name}:").unwrap();
            }
            for point in points {
                let members: Vec<String> = point
                    .iter()
                    .map(|(a, v)| format!("{}: {v}", self.axes[*a].name))
                    .collect();
                writeln!(text, "  - {{{}}}", members.join(", ")).unwrap();
            }
        }
        text += "stages:\n";
        for stage in &self.stages {
            let outputs: Vec<String> = stage
                .outputs
                .iter()
                .map(|(name, path)| format!("{name}: {path}"))
                .collect();
            let inputs: Vec<String> = stage
                .files()
                .enumerate()
                .map(|(n, path)| format!("i{n}: {path}"))
                .collect();
            writeln!(text, "  {}:\n    command:\n      run: |", stage.name).unwrap();
            for line in self.script(stage).lines() {
                writeln!(text, "        {line}").unwrap();
            }
            if !inputs.is_empty() {
                writeln!(text, "      inputs: {{{}}}", inputs.join(", ")).unwrap();
            }
            writeln!(text, "      outputs: {{{}}}", outputs.join(", ")).unwrap();
        }
        text
    }

    fn script(&self, stage: &Stage) -> String {
        let mut read = "cat /dev/null".to_owned();
        let mut file = 0;
        for source in &stage.reads {
            match source {
                Read::File(_) => {
                    write!(read, " ${{in.i{file}}}").unwrap();
                    file += 1;
                }
                Read::Folder(_) => {
                    write!(read, "; cat ${{in.i{file}}}/*; cat /dev/null").unwrap();
                    file += 1;
                }
                Read::Output { stage, output, all } => {
                    let other = self.stage(*stage);
                    let all = if *all { "[*]" } else { "" };
                    let reference =
                        format!("${{{}{all}.{}}}", other.name, other.outputs[*output].0);
                    if other.step == Step::Folder {
                        write!(
                            read,
                            "; for d in {reference}; do cat $d/a $d/sub/b; done; cat /dev/null"
                        )
                        .unwrap();
                    } else {
                        write!(read, " {reference}").unwrap();
                    }
                }
            }
        }
        let word = stage
            .axes
            .iter()
            .fold(stage.word.to_string(), |word, axis| {
                format!("{word} ${{axis.{}}}", self.axes[*axis].name)
            });
        let out = |n: usize| format!("${{out.{}}}", stage.outputs[n].0);
        let step = match stage.step {
            Step::Join => format!("{{ {read}; echo {word}; }} > {}", out(0)),
            Step::Strip => format!("{{ {read}; }} | grep -v '^#' > {} || true # {word}", out(0)),
            Step::Count => format!("{{ {read}; }} | wc -l > {} # {word}", out(0)),
            Step::Folder => format!(
                "mkdir -p {0}/sub; {{ {read}; }} > {0}/a; echo {word} > {0}/sub/b",
                out(0)
            ),
            Step::Two => format!("{{ {read}; }} > {}; echo {word} > {}", out(0), out(1)),
        };
        format!("echo . >> COUNT\n{step}")
    }

    fn write(&self, project: &Project) {
        project.pipeline(&self.yaml());
        for folder in ["d1", "d2"] {
            for file in files(&project.path(folder)).keys() {
                if !self.files.contains_key(&format!("{folder}/{file}")) {
                    std::fs::remove_file(project.path(folder).join(file)).unwrap();
                }
            }
        }
        for (name, content) in &self.files {
            if std::fs::read_to_string(project.path(name)).ok().as_ref() != Some(content) {
                project.file(name, content);
            }
        }
    }

    // What it means.

    /// All points of a stage that mentions `axes`.
    fn points(&self, axes: &BTreeSet<usize>) -> Vec<Point> {
        let mut points = Vec::new();
        for point in self.product(&(0..self.axes.len()).collect(), &[]) {
            let out = self
                .exclude
                .iter()
                .any(|out| out.iter().all(|value| point.contains(value)));
            if !out {
                points.push(on(axes, &point));
            }
        }
        for point in &self.include {
            let fixed = on(axes, point);
            if !fixed.is_empty() {
                points.extend(self.product(axes, &fixed));
            }
        }
        let mut seen = HashSet::new();
        points.retain(|point| seen.insert(point.clone()));
        points
    }

    fn product(&self, axes: &BTreeSet<usize>, fixed: &[(usize, i64)]) -> Vec<Point> {
        let mut points: Vec<Point> = vec![Vec::new()];
        for axis in axes {
            let values = match fixed.iter().find(|(known, _)| known == axis) {
                Some((_, value)) => vec![*value],
                None => self.axes[*axis].values.clone(),
            };
            let longer = points.iter().flat_map(|point| {
                values
                    .iter()
                    .map(|value| [&point[..], &[(*axis, *value)]].concat())
            });
            points = longer.collect();
        }
        points
    }

    fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        let mut made: BTreeMap<usize, Fan> = BTreeMap::new();
        // A stage only reads from those with a smaller number.
        let mut stages: Vec<&Stage> = self.stages.iter().collect();
        stages.sort_by_key(|stage| stage.id);
        for stage in stages {
            let mut axes = stage.axes.clone();
            for read in &stage.reads {
                if let Read::Output {
                    stage, all: false, ..
                } = read
                {
                    axes.extend(&made[stage].0);
                }
            }
            let mut jobs = Vec::new();
            for point in self.points(&axes) {
                let mut inputs = Vec::new();
                for read in &stage.reads {
                    match read {
                        Read::File(path) => {
                            inputs.push(Content::from([(String::new(), self.files[path].clone())]));
                        }
                        Read::Folder(path) => inputs.push(self.folder(path)),
                        Read::Output { stage, output, .. } => {
                            // At this point, or wherever it agrees with it.
                            let (theirs, all) = &made[stage];
                            let shared = on(&axes, &point)
                                .into_iter()
                                .filter(|(axis, _)| theirs.contains(axis))
                                .collect::<Vec<_>>();
                            inputs.extend(
                                all.iter()
                                    .filter(|(other, _)| on(&axes, other) == shared)
                                    .map(|(_, outputs)| outputs[*output].clone()),
                            );
                        }
                    }
                }
                let word = stage
                    .axes
                    .iter()
                    .fold(stage.word.to_string(), |word, axis| {
                        let (_, value) = point.iter().find(|(known, _)| known == axis).unwrap();
                        format!("{word} {value}")
                    });
                expected.work.insert(format!(
                    "{:?}",
                    (
                        stage.step as u8,
                        &word,
                        &stage.outputs,
                        stage.shape(self),
                        &inputs
                    )
                ));
                expected.jobs += 1;
                let outputs = stage.make(&word, &inputs);
                for ((_, path), content) in stage.outputs.iter().zip(&outputs) {
                    for (inner, text) in content {
                        let label: Vec<String> = point
                            .iter()
                            .map(|(axis, value)| format!("{}={value}", self.axes[*axis].name))
                            .collect();
                        let path = Path::new(&stage.name)
                            .join(label.join(","))
                            .join(path)
                            .join(inner);
                        let path = path.to_str().unwrap().trim_end_matches('/');
                        expected.out.insert(path.into(), text.clone());
                    }
                }
                jobs.push((point, outputs));
            }
            made.insert(stage.id, (axes, jobs));
        }
        expected
    }

    fn folder(&self, path: &str) -> Content {
        let inner = self.files.iter().filter_map(|(name, text)| {
            Some((
                name.strip_prefix(path)?.strip_prefix('/')?.to_owned(),
                text.clone(),
            ))
        });
        inner.collect()
    }
}

impl Stage {
    /// The user's files that it reads.
    fn files(&self) -> impl Iterator<Item = &String> {
        self.reads.iter().filter_map(|read| match read {
            Read::File(path) | Read::Folder(path) => Some(path),
            Read::Output { .. } => None,
        })
    }

    /// What its script looks like apart from names.
    fn shape(&self, world: &World) -> String {
        let reads = self.reads.iter().map(|read| match read {
            Read::File(_) => 'f',
            Read::Folder(_) => 'd',
            Read::Output { stage, .. } if world.stage(*stage).step == Step::Folder => 'D',
            Read::Output { .. } => 'o',
        });
        reads.collect()
    }

    /// What its script does.
    fn make(&self, word: &str, inputs: &[Content]) -> Vec<Content> {
        let read: String = inputs
            .iter()
            .flat_map(|content| content.values().cloned())
            .collect();
        let file = |text: String| Content::from([(String::new(), text)]);
        match self.step {
            Step::Join => vec![file(format!("{read}{word}\n"))],
            Step::Strip => {
                let lines = read.lines().filter(|line| !line.starts_with('#'));
                vec![file(
                    lines.fold(String::new(), |text, line| text + line + "\n"),
                )]
            }
            Step::Count => vec![file(format!("{}\n", read.lines().count()))],
            Step::Folder => vec![Content::from([
                ("a".into(), read),
                ("sub/b".into(), format!("{word}\n")),
            ])],
            Step::Two => vec![file(read), file(format!("{word}\n"))],
        }
    }
}

/// The part of a point on some axes.
fn on(axes: &BTreeSet<usize>, point: &[(usize, i64)]) -> Point {
    point
        .iter()
        .copied()
        .filter(|(axis, _)| axes.contains(axis))
        .collect()
}

/// A few lines; some are comments. Often of the same length, so that only the content tells.
fn lines(random: &mut Random) -> String {
    (0..=random.below(3)).fold(String::new(), |text, _| {
        let mark = if random.one_in(3) { "#" } else { "" };
        text + &format!("{mark}{}\n", random.below(9))
    })
}

/// Edits something and says what.
fn edit(world: &mut World, past: &[World], project: &Project, random: &mut Random) -> String {
    let next = past.len() + 100 + world.stages.iter().map(|stage| stage.id).max().unwrap_or(0);
    let n = random.below(world.stages.len());
    match random.below(16) {
        0 => {
            world.stages[n].word = random.next() % 1000;
            format!("another word in {}", world.stages[n].name)
        }
        1 => {
            let names: Vec<String> = world.files.keys().cloned().collect();
            let name = random.pick(&names).clone();
            world.files.insert(name.clone(), lines(random));
            format!("another content of {name}")
        }
        2 => {
            // Of the same length, at once after a run: no time and no size may tell.
            let change = |text: &mut String| {
                *text = text.replace(|c: char| c.is_ascii_digit(), &random.below(9).to_string());
            };
            world.files.values_mut().for_each(change);
            "other digits in all files".into()
        }
        3 => {
            let name = random.pick(&["f1.txt", "f2.txt", "d1/a"]);
            let text = world.files.get_mut(*name).unwrap();
            *text = format!("# {}\n{text}", random.below(9));
            format!("a comment in {name}")
        }
        4 => {
            let names: Vec<&String> = world.files.keys().collect();
            let name = *random.pick(&names);
            let file = std::fs::File::options()
                .append(true)
                .open(project.path(name))
                .unwrap();
            let hours = Duration::from_secs(3600 * random.below(100_000) as u64);
            let now = SystemTime::now();
            file.set_modified(if random.one_in(2) {
                now - hours
            } else {
                now + hours
            })
            .unwrap();
            format!("a touch of {name}")
        }
        5 => {
            random.shuffle(&mut world.stages);
            "another order of the stages".into()
        }
        6 => {
            let name = format!("t{}", random.below(100));
            if world.stages.iter().all(|stage| stage.name != name) {
                world.stages[n].name = name;
            }
            "another name of a stage".into()
        }
        7 if !world.axes.is_empty() => {
            let axis = random.below(world.axes.len());
            world.axes[axis].name = format!("y{axis}{}", random.below(10));
            "another name of an axis".into()
        }
        8 => {
            let output = random.below(world.stages[n].outputs.len());
            let (name, path) = &mut world.stages[n].outputs[output];
            *(if random.one_in(2) { name } else { path }) =
                format!("r{output}{}", random.below(10));
            "another name or path of an output".into()
        }
        9 => {
            let id = world.stages[n].id;
            let used = world.stages.iter().any(|stage| {
                stage
                    .reads
                    .iter()
                    .any(|r| matches!(r, Read::Output { stage, .. } if *stage == id))
            });
            if !used && world.stages.len() > 2 {
                world.stages.remove(n);
            }
            "a stage less".into()
        }
        10 => {
            if world.stages.len() < 8 {
                let stage = world.some_stage(next, random);
                world.stages.push(stage);
            }
            "a stage more".into()
        }
        11 if !world.axes.is_empty() => {
            let axis = random.below(world.axes.len());
            let values = &mut world.axes[axis].values;
            // The first value stays, so that an excluded point never takes a value's first place.
            if values.len() > 1 && random.one_in(2) {
                let gone = values.remove(1 + random.below(values.len() - 1));
                let lacks = |point: &Vec<(usize, i64)>| !point.contains(&(axis, gone));
                world.exclude.retain(lacks);
                world.include.retain(lacks);
            } else if values.len() < 4 {
                let new = values.iter().max().unwrap() + 1;
                values.push(new);
            }
            "an axis value more or less".into()
        }
        12 => {
            let points = if random.one_in(2) {
                &mut world.exclude
            } else {
                &mut world.include
            };
            if points.pop().is_none() {
                let exclude = random.one_in(2);
                let point = world.some_point(random, usize::from(exclude));
                if exclude {
                    &mut world.exclude
                } else {
                    &mut world.include
                }
                .extend(point);
            }
            "a point left out, or added".into()
        }
        13 => {
            if let Some(old) = past.get(random.below(past.len().max(1))) {
                *world = old.clone();
            }
            "back to an earlier version".into()
        }
        14 => {
            let out = project.path("out/p");
            let all = files(&out);
            if let Some(name) = all.keys().nth(random.below(all.len().max(1))) {
                std::fs::remove_file(out.join(name)).unwrap();
                if random.one_in(2) {
                    std::fs::write(out.join(name), "mine\n").unwrap();
                }
            }
            "a result deleted, and perhaps written anew".into()
        }
        _ => {
            if random.one_in(2) {
                std::fs::remove_dir_all(project.path("out")).unwrap();
            } else {
                world
                    .files
                    .insert(format!("d1/{}", random.pick(&["c", "d"])), lines(random));
            }
            "all results deleted, or a file more in a folder".into()
        }
    }
}

/// Runs the pipeline and compares everything with what the model says.
fn check(
    world: &World,
    project: &Project,
    ran: &mut HashSet<String>,
    clean: bool,
    part: Option<usize>,
) {
    let expected = world.expected();
    let new = expected.work.difference(ran).count();
    let mut count = 0;
    if let Some(part) = part {
        project
            .run(&["run", "p.yaml", &world.stages[part].name])
            .code(0);
        count += project.counted().len();
    }
    project.done();
    count += project.counted().len();
    let out = |folder: &str| {
        let files = files(&project.path(folder)).into_iter();
        files
            .map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()))
            .collect()
    };
    let found: BTreeMap<String, String> = out("out/p");
    // Jobs of earlier versions leave their results there.
    for (path, text) in &expected.out {
        assert_eq!(found.get(path), Some(text), "out/p/{path}");
    }
    assert_eq!(
        count, new,
        "jobs that ran, and jobs with work that was never done"
    );
    ran.extend(expected.work.iter().cloned());

    project
        .done()
        .says("nothing to do")
        .says(&match expected.jobs {
            1 => "1 job is up to date".to_owned(),
            jobs => format!("all {jobs} jobs are up to date"),
        });
    assert_eq!(project.counted().len(), 0, "jobs that ran in a second run");
    if clean {
        project
            .run(&[
                "run",
                "p.yaml",
                "--store",
                "clean/store",
                "--out",
                "clean/out",
            ])
            .code(0);
        assert_eq!(
            project.counted().len(),
            expected.work.len(),
            "jobs of a clean run"
        );
        assert_eq!(out("clean/out/p"), expected.out, "a clean run");
        std::fs::remove_dir_all(project.path("clean")).unwrap();
    }
}

#[test]
fn after_any_edit_the_results_are_those_of_a_clean_run_and_nothing_runs_twice() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let steps = number("REMATCH_MODEL_STEPS").unwrap_or(40);
    let first = number("REMATCH_MODEL_SEED").unwrap_or(1);
    for seed in (first..).take((steps as usize).div_ceil(EDITS)) {
        let mut random = Random::new(seed);
        let project = Project::quick("");
        let mut world = World::new(&mut random);
        let mut past = Vec::new();
        let mut ran = HashSet::new();
        let mut edits = Vec::new();
        for step in 0..EDITS {
            if step > 0 {
                past.push(world.clone());
                edits.push(edit(&mut world, &past, &project, &mut random));
            }
            world.write(&project);
            let part = random.one_in(4).then(|| random.below(world.stages.len()));
            let story = Story {
                seed,
                edits: &edits,
                world: &world,
            };
            check(&world, &project, &mut ran, step % 4 == 3, part);
            drop(story);
        }
    }
}

/// Tells how it came to a failure.
struct Story<'a> {
    seed: u64,
    edits: &'a [String],
    world: &'a World,
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, edits, world } = self;
            eprintln!(
                "REMATCH_MODEL_SEED={seed}; edits:\n  {}",
                edits.join("\n  ")
            );
            eprintln!("{}{:#?}", world.yaml(), world.files);
        }
    }
}
