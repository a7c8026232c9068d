//! The data side of rematch: formats, datasets, image operations, augmentation, and the bodies of
//! the light stages. No libtorch here; the trainer and the runner both stand on this package.
//!
//! Reading order:
//! - [`child`] and [`error`]: a stage as a process of its own;
//! - [`fs`]: file functions whose errors name the path;

pub mod child;
pub mod error;
pub mod fs;
