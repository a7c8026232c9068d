//! The trainer.
pub mod batch_norm;
pub mod ema;
pub mod network;
pub mod networks;
pub mod optimizer;
pub mod schedule;
pub mod shim;
