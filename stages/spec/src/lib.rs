//! The contract between the runner and what it runs: the parameters of every stage kind, their
//! defaults, outputs and versions, and the job protocol. Serde types only; no I/O happens here.
//!
//! Reading order:
//! - [`input`]: how a parameter names a file, and how references survive typing;
//! - [`kind`]: the [`Stage`](kind::Stage) trait and the table of all kinds;
//! - [`choice`]: a name, or a name with parameters;
//! - [`datasets`]: the table of datasets;
//! - [`named`]: split names as users know them, `cifar10.3@40-1`;
//! - [`class`]: how parameters name classes;
//! - one file per stage kind: [`download`], [`import`] (with [`images`]), [`create_unlabeled`], [`create_test`],
//!   [`create_split`] (with [`protocol`]), [`filter_classes`], [`relabel`], [`merge`], [`sample`], [`augment_copies`], [`train`]
//!   (with [`method`], [`recipe`], [`network`], [`optimizer`]), [`predict`], [`extract_accuracy`], [`tabulate`], [`command`]; to look at data
//!   or exchange it, [`inspect`], [`check_split`], [`zca`], [`export`], [`convert`];
//! - [`job`]: the file a child process reads, the events it prints, the result it leaves.

pub mod choice;
pub mod datasets;
pub mod input;
pub mod kind;
pub mod named;

pub mod augment_copies;
pub mod check_split;
pub mod class;
pub mod command;
pub mod convert;
pub mod create_split;
pub mod create_test;
pub mod create_unlabeled;
pub mod download;
pub mod export;
pub mod export_weights;
pub mod extract_accuracy;
pub mod filter_classes;
pub mod images;
pub mod import;
pub mod inspect;
pub mod merge;
pub mod method;
pub mod network;
pub mod optimizer;
pub mod predict;
pub mod protocol;
pub mod recipe;
pub mod relabel;
pub mod sample;
pub mod shell;
pub mod tabulate;
pub mod train;
pub mod zca;

pub mod job;
