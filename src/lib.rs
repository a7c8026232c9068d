//! The runner: reads a pipeline, finds what is out of date, runs it.
//!
//! Reading order, from the file to the result:
//! - [`source`], [`yaml`], [`reference`], [`template`]: text to values with places and holes;
//! - [`axis`], [`pipeline`], [`language`]: what a pipeline file says, and its JSON Schema;
//! - [`resources`], [`plan`], [`pattern`]: the jobs, what they need, how they are named;
//! - [`freshness`]: what is up to date, what must run, and why; [`estimate`]: how long that will take;
//! - [`engine`], [`queue`], [`slots`], [`launch`], [`executor`], [`publishing`]: running what must run;
//! - [`progress`], [`style`], [`results`]: what a person sees;
//! - [`cli`], [`commands`], [`facts`], [`drawing`]: the command line;
//! - [`error`]: what went wrong, where, and what to do next.

pub mod axis;
pub mod cli;
pub mod commands;
pub mod drawing;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod executor;
pub mod facts;
pub mod freshness;
pub mod language;
pub mod launch;
pub mod pattern;
pub mod pipeline;
pub mod plan;
pub mod progress;
pub mod publishing;
pub mod queue;
pub mod reference;
pub mod resources;
pub mod results;
pub mod slots;
pub mod source;
pub mod style;
pub mod template;
pub mod yaml;
