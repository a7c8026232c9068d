//! The contract between the runner and what it runs: the parameters of every stage kind, their
//! defaults, outputs and versions, and the job protocol. Serde types only; no I/O happens here.
//!
//! Reading order:
//! - [`input`]: how a parameter names a file, and how references survive typing;
//! - [`kind`]: the [`Stage`](kind::Stage) trait and the table of all kinds;
//! - [`named`]: split names as users know them, `cifar10.3@40-1`;
//! - one file per stage kind: [`download`], [`create_unlabeled`], [`create_split`], [`train`]
//!   (with [`method`]), [`extract_accuracy`], [`tabulate`], [`command`]; to look at data or exchange it,
//!   [`inspect`], [`check_split`], [`zca`], [`export`], [`convert`];
//! - [`job`]: the file a child process reads, the events it prints, the result it leaves.

pub mod input;
pub mod kind;
pub mod named;

pub mod check_split;
pub mod command;
pub mod convert;
pub mod create_split;
pub mod create_unlabeled;
pub mod download;
pub mod export;
pub mod extract_accuracy;
pub mod inspect;
pub mod method;
pub mod shell;
pub mod tabulate;
pub mod train;
pub mod zca;

pub mod job;
