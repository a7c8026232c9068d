//! `rematch out`: where the outputs of a job are.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rematch_spec::kind::Output;

use crate::cli::{Global, Pipelines};
use crate::commands::{Latest, Project, may_be_pipeline, print_json, print_line, short};
use crate::error::{Error, Result};
use crate::facts;
use crate::pattern;

pub fn exec(
    global: &Global,
    words: &[String],
    object: bool,
    stale: bool,
    changes: &Pipelines,
) -> Result<ExitCode> {
    let (pipeline, words) = match words {
        [first, rest @ ..] if !rest.is_empty() && may_be_pipeline(Path::new(first)) => {
            (Some(PathBuf::from(first)), rest)
        }
        words => (None, words),
    };
    let (name, wanted) = match words {
        [name] => (name, None),
        [name, output] => (name, Some(output.as_str())),
        _ => {
            let error = Error::usage("a pipeline file comes before the job, one output after it");
            return Err(error.help("rematch out [PIPELINE] JOB [OUTPUT]"));
        }
    };
    let project = Project::open_whole(global, pipeline, changes)?;
    let index = pattern::one(&project.plan, name)?;
    let job = &project.plan.job(index)?;
    let declared = &job.declaration.outputs;
    let outputs: Vec<&Output> = declared
        .iter()
        .filter(|output| wanted.is_none_or(|name| output.name == name))
        .collect();
    if let (Some(wanted), true) = (wanted, outputs.is_empty()) {
        let error = Error::usage(format!("{} has no output `{wanted}`", job.name));
        return Err(error.suggest(wanted, declared.iter().map(|output| output.name.as_str())));
    }
    let name = &job.name;
    let run = format!("`rematch run {} '{name}'`", short(&project.pipeline));
    let (entry, is_stale) = match project.latest(index)? {
        Latest::Fresh(entry) => (entry, false),
        Latest::Stale(entry, _) if stale => (entry, true),
        Latest::Stale(_, why) => {
            let error = Error::absent(format!("the result of {name} is out of date: {why}"));
            return Err(error.help(format!("{run} makes it anew; --stale takes what is there")));
        }
        Latest::Absent(why) => {
            let error = Error::absent(format!("there is no result of {name}: {why}"));
            return Err(error.help(format!("{run} makes it")));
        }
    };
    let mut found = Vec::new();
    for output in outputs {
        let Some(artifact) = entry.outputs.get(&output.name) else {
            let text = format!("the result of {name} has no `{}`", output.name);
            return Err(Error::absent(text).help(format!("{run} makes it")));
        };
        let path = project.results.path(job, output);
        found.push(facts::OutOutput {
            name: output.name.clone(),
            path: path.exists().then_some(path),
            object: project.store.object_path(&artifact.digest),
            digest: artifact.digest.to_string(),
            size: artifact.size,
            folder: artifact.folder,
        });
    }
    if global.json {
        print_json(&facts::Out {
            job: name.clone(),
            key: entry.key.id().to_string(),
            stale: is_stale,
            outputs: found,
        });
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = Vec::new();
    for output in &found {
        let path = if object {
            Some(&output.object)
        } else {
            output.path.as_ref()
        };
        let Some(path) = path else {
            let text = format!(
                "`{}` of {name} is in the store, but not in {}",
                output.name,
                project.results.root().display()
            );
            let help = format!("{run} puts it there, without running anything");
            return Err(Error::absent(text).help(help));
        };
        lines.push(if found.len() == 1 {
            path.display().to_string()
        } else {
            format!("{}\t{}", output.name, path.display())
        });
    }
    print_line(&lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}
