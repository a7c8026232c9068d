//! `rematch run`.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::{Global, Selection};
use crate::commands::{Project, print_line, say, short};
use crate::engine::{Engine, Settings, listen_for_signals, programs};
use crate::error::Result;
use crate::executor::local::Local;
use crate::progress::json::Json;
use crate::progress::live::Live;
use crate::progress::plain::Plain;
use crate::progress::{Progress, Summary};
use crate::slots::{Machine, Slots};
use crate::style::Style;

/// Flags of this command alone.
pub struct Flags {
    pub jobs: Option<u16>,
    pub force: bool,
    pub keep_going: bool,
}

pub fn exec(global: &Global, selection: &Selection, flags: &Flags) -> Result<ExitCode> {
    let project = Project::create(global, selection)?;
    project.note_run()?;
    let (light, trainer) = programs()?;
    let machine = Machine::here();
    let jobs = flags.jobs.map_or(machine.cpus, usize::from);
    let settings = Settings {
        wanted: project.plan.with_upstream(&project.selected),
        force: if flags.force {
            project.selected.clone()
        } else {
            BTreeSet::new()
        },
        keep_going: flags.keep_going,
        light,
        trainer,
    };
    let style = Style::of(&std::io::stderr());
    let mut progress: Box<dyn Progress> = match (global.json, std::io::stderr().is_terminal()) {
        (true, _) => Box::new(Json),
        (false, true) => Box::new(Live::new(style)),
        (false, false) => Box::new(Plain::new(style)),
    };
    let engine = Engine::new(
        &project.plan,
        &project.store,
        &project.results,
        settings,
        Slots::new(machine, jobs),
        Local::default(),
        &mut *progress,
    )?;
    listen_for_signals(engine.ear())?;
    let summary = engine.run()?;
    project.store.sync()?;
    if !global.json {
        show_results(&project, &summary);
        advise(&project, &summary);
    }
    Ok(exit_code(&summary))
}

fn exit_code(summary: &Summary) -> ExitCode {
    if !summary.failed.is_empty() {
        ExitCode::from(1)
    } else if summary.interrupted {
        ExitCode::from(130)
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints the outputs that are made to be read, of the selected jobs that have them.
fn show_results(project: &Project, summary: &Summary) {
    if !summary.failed.is_empty() || summary.interrupted {
        return;
    }
    for job in &project.selected {
        let job = &project.plan.graph[*job];
        for output in job.declaration.outputs.iter().filter(|output| output.show) {
            let path = project.results.path(job, output);
            if let Ok(text) = std::fs::read_to_string(&path) {
                print_line(&format!("\n{}", text.trim_end()));
            }
        }
    }
}

/// Says where the results are, or how to go on.
fn advise(project: &Project, summary: &Summary) {
    if summary.interrupted && summary.failed.is_empty() {
        let command: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
        say(&format!(
            "to go on where it stopped: rematch {}",
            command.join(" ")
        ));
    } else if summary.failed.is_empty() {
        say(&format!("results: {}", short(project.results.root())));
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=@%+:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
