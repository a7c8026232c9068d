//! The trainer: networks, methods and the loop over libtorch. Everything that needs no libtorch lies
//! in `rematch-data`.
//!
//! Reading order:
//! - [`mod@train`]: the loop;
//! - [`mod@predict`], [`mod@export_weights`]: what a trained network says of images, and the network for others;
//! - [`method`], [`methods`], [`memory`], [`ops`]: what a method is, each of them, and what they share;
//! - [`model`]: a method and a network, to be built again;
//! - [`network`], [`networks`], [`layers`], [`batch_norm`]: what learns;
//! - [`optimizer`], [`schedule`], [`ema`]: how it learns;
//! - [`data`], [`feed`], [`scale`], [`learn`]: what it learns from;
//! - [`evaluate`], [`log`], [`arguments`], [`watch`]: what is told of it;
//! - [`checkpoint`]: how it goes on after a stop;
//! - [`workers`], [`group`]: how several processes train as one;
//! - [`device`], [`shim`]: libtorch.

pub mod arguments;
pub mod batch_norm;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod ema;
pub mod evaluate;
pub mod export_weights;
pub mod feed;
pub mod group;
pub mod layers;
pub mod learn;
pub mod log;
pub mod memory;
pub mod method;
pub mod methods;
pub mod model;
pub mod network;
pub mod networks;
pub mod ops;
pub mod optimizer;
pub mod predict;
pub mod scale;
pub mod schedule;
pub mod shim;
pub mod train;
pub mod watch;
pub mod workers;
