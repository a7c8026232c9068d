//! The data side of rematch: formats, datasets, image operations, augmentation, and the bodies of
//! the light stages. No libtorch here; the trainer and the runner both stand on this package.
//!
//! Reading order:
//! - [`child`] and [`error`]: a stage as a process of its own;
//! - [`fs`]: file functions whose errors name the path;
//! - [`proto`], [`tfrecord`], [`png`], [`json`], [`npy`]: formats;
//! - [`records`], [`scan`]: sets of TFRecord files as a whole, and their images as a stream;
//! - [`classes`], [`mod@inspect`]: names of classes, and what is in a set;
//! - whitening: [`zca`];
//! - [`folder`], [`origin`]: folders of image files, zip archives, and shards;
//! - [`events`]: TensorBoard's files;
//! - [`http`], [`checksum`], [`archive`], [`readers`]: official archives, from wherever they lie;
//! - [`shapes`]: the generated dataset;
//! - [`mt19937`], [`split`]: who is labeled, and in which order unlabeled records stand;
//! - [`rng`], [`mod@image`], [`augment`]: random streams, Pillow's operations, views of images;
//! - [`copies`], [`image_set`]: copies that are made when they are needed, and the images of a run;
//! - [`stages`]: what the light stages do.

pub mod child;
pub mod error;
pub mod fs;

pub mod archive;
pub mod augment;
pub mod checksum;
pub mod classes;
pub mod copies;
pub mod events;
pub mod folder;
pub mod http;
pub mod image;
pub mod image_set;
pub mod inspect;
pub mod json;
pub mod mt19937;
pub mod npy;
pub mod origin;
pub mod png;
pub mod proto;
pub mod readers;
pub mod records;
pub mod rng;
pub mod scan;
pub mod shapes;
pub mod split;
pub mod stages;
pub mod tfrecord;
pub mod zca;

#[cfg(test)]
mod testing;
