//! `rematch graph`: the stages, or all jobs, and what they read.

use std::process::ExitCode;

use crate::cli::{Global, GraphFormat, Selection};
use crate::commands::{Project, print_json, print_line};
use crate::drawing::Drawing;
use crate::error::{Error, Result};
use crate::facts;

/// A picture of more nodes than this shows nothing.
const MAX_NODES: usize = 2000;

pub fn exec(
    global: &Global,
    selection: &Selection,
    format: GraphFormat,
    all: bool,
) -> Result<ExitCode> {
    let project = Project::open(global, selection)?;
    let wanted = &project.wanted;
    let drawing = if all {
        Drawing::of_jobs(&project.plan, wanted)?
    } else {
        Drawing::of_stages(&project.plan, wanted)?
    };
    if global.json {
        print_json(&graph_facts(&drawing));
        return Ok(ExitCode::SUCCESS);
    }
    if drawing.nodes.len() > MAX_NODES && format != GraphFormat::Text {
        let error = Error::usage(format!(
            "{} jobs are too many for a picture",
            drawing.nodes.len()
        ));
        return Err(error.help("leave out --all, or select some jobs"));
    }
    let text = match format {
        GraphFormat::Text => drawing.text(),
        GraphFormat::Dot => drawing.dot(),
        GraphFormat::Mermaid => drawing.mermaid(),
        GraphFormat::Svg => drawing.svg(),
    };
    print_line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn graph_facts(drawing: &Drawing) -> facts::Graph {
    let nodes = drawing.nodes.iter().map(|node| {
        let reads = node.reads.iter().map(|(other, outputs)| facts::GraphRead {
            from: drawing.nodes[*other].title.clone(),
            outputs: outputs.iter().cloned().collect(),
        });
        facts::GraphNode {
            name: node.title.clone(),
            about: node.subtitle.clone(),
            reads: reads.collect(),
        }
    });
    facts::Graph {
        nodes: nodes.collect(),
    }
}
