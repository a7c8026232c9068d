//! Copies of a record file that are made when they are asked for: RealMix's augmented set
//! (spec/realmix.md 4.2) as a source, a recipe and an order.
//!
//! On disk they are a folder with [`RECIPE`] and [`SOURCE`]. Everything that reads record files reads such
//! folders, too: [`Index`] makes the very records that `augment_copies` would have written,
//! [`ImageSet`](crate::image_set::ImageSet) their images.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rematch_spec::augment_copies::{AugmentCopies, Augmentation, MOST_COPIES};
use rematch_spec::input::Input;
use serde::{Deserialize, Serialize};

use crate::augment::{CopyView, Scratch};
use crate::error::StageError;
use crate::fs;
use crate::image::Shape;
use crate::mt19937::Mt19937;
use crate::records::{self, Index, Records};

/// The recipe's name in the folder.
pub const RECIPE: &str = "recipe.json";
/// The source's name in the folder.
pub const SOURCE: &str = "source.tfrecord";

/// Raised whenever the same recipe gives other copies.
const FORMAT: u32 = 1;
/// Seed of the order, as in the original.
const ORDER_SEED: u32 = 1;
/// Longest recipe that is read.
const LONGEST: u64 = 64 << 10;
/// Most copies in all; their order takes four bytes each.
const MOST: u64 = 1 << 28;
/// Bytes of a source's pixels up to which the stages hold them in memory; they decode the images of a larger
/// one when they are asked for.
pub const SMALL: usize = 1 << 30;

/// All that decides what the copies of a source are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Which rules of this program.
    format: u32,
    /// Records of the source, N.
    records: u64,
    /// Copies of each.
    copies: u32,
    /// Record k of the set is copy order[k] / N of source record order[k] mod N.
    order: Order,
    /// What is done to a copy.
    augment: Augmentation,
    /// Seed of it.
    seed: u64,
    /// Values wrap around.
    wrap: bool,
    /// One draw decides for all copies.
    drawn_once: bool,
}

/// In which order copies stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    /// The original's.
    #[serde(rename = "python: random.seed(1); random.shuffle(list(range(N * copies)))")]
    Python,
}

impl Order {
    fn of(self, count: usize) -> Vec<u32> {
        let Self::Python = self;
        let mut order: Vec<u32> = (0..count as u32).collect();
        Mt19937::python(ORDER_SEED).python_shuffle(&mut order);
        order
    }
}

impl Recipe {
    fn of(params: &AugmentCopies, records: usize) -> Self {
        Self {
            format: FORMAT,
            records: records as u64,
            copies: params.copies,
            order: Order::Python,
            augment: params.augment,
            seed: params.seed,
            wrap: params.wrap,
            drawn_once: params.drawn_once,
        }
    }

    /// Reads the recipe of a folder; anything else in its place is refused.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let raw: serde_json::Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        match raw["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(other) => {
                return Err(format!(
                    "it is of format {other}, this program knows {FORMAT}"
                ));
            }
            None => return Err("it has no `format`".into()),
        }
        let recipe: Self = serde_json::from_value(raw).map_err(|e| e.to_string())?;
        if !(1..=MOST_COPIES).contains(&recipe.copies) {
            return Err(format!(
                "it asks for {} copies; expected 1 to {MOST_COPIES}",
                recipe.copies
            ));
        }
        Ok(recipe)
    }

    fn params(&self) -> AugmentCopies {
        AugmentCopies {
            records: Input::Path(SOURCE.into()),
            copies: self.copies,
            augment: self.augment,
            seed: self.seed,
            r#virtual: true,
            wrap: self.wrap,
            drawn_once: self.drawn_once,
        }
    }
}

/// Augmented copies, each made when it is asked for.
pub struct Copies {
    path: PathBuf,
    source: Index,
    shape: Shape,
    /// The source's images; without them each is decoded when it is needed.
    pixels: Option<Vec<u8>>,
    recipe: Recipe,
    order: Vec<u32>,
    view: CopyView,
}

impl Copies {
    /// Copies of the records in the file `path`, as `augment_copies` is asked for them. The images of a
    /// source of up to `memory` bytes of pixels are held in memory.
    ///
    /// # Errors
    /// A source that cannot be read, has no records, or is not made for the augmentation.
    pub fn of(path: &Path, params: &AugmentCopies, memory: usize) -> Result<Self, StageError> {
        let refuse = |what: String| StageError::failed(format!("{}: {what}", path.display()));
        if path.is_dir() {
            return Err(refuse(
                "these are virtual copies already, and copies of them are not made".into(),
            )
            .help("take the records that they were made from, and more `copies`"));
        }
        let source = Index::scan(&[path])?;
        let records = source.labels.len();
        if records == 0 {
            return Err(refuse("there is no record to copy".into()));
        }
        if records as u64 * u64::from(params.copies) > MOST {
            let message = format!(
                "{} copies of {records} records are more than {MOST}",
                params.copies
            );
            return Err(refuse(message).help("make fewer copies"));
        }
        let shape = source.image(0)?.shape;
        let view = CopyView::new(params, shape).map_err(|error| refuse(error.to_string()))?;
        let small = records.saturating_mul(shape.bytes()) <= memory;
        let pixels = if small {
            Some(Records::read(&[path], None)?.images)
        } else {
            None
        };
        let recipe = Recipe::of(params, records);
        let order = recipe.order.of(records * params.copies as usize);
        Ok(Self {
            path: path.to_owned(),
            source,
            shape,
            pixels,
            recipe,
            order,
            view,
        })
    }

    /// The copies that a folder describes; `memory` as in [`of`](Self::of).
    ///
    /// # Errors
    /// A folder without recipe and source, or whose recipe does not fit its source.
    pub fn open(folder: &Path, memory: usize) -> Result<Self, StageError> {
        let path = folder.join(RECIPE);
        let refuse = |what: &str| {
            StageError::failed(format!(
                "{} is no recipe for virtual copies: {what}",
                path.display()
            ))
            .help("give a TFRecord file, or what `augment_copies` with `virtual: true` made")
        };
        if !path.is_file() {
            return Err(StageError::failed(format!(
                "{} is a folder without {RECIPE}: these are no records",
                folder.display()
            ))
            .help("give a TFRecord file, or what `augment_copies` with `virtual: true` made"));
        }
        if fs::len(&path)? > LONGEST {
            return Err(refuse("it is too long"));
        }
        let recipe = Recipe::parse(&fs::read(&path)?).map_err(|what| refuse(&what))?;
        let copies = Self::of(&folder.join(SOURCE), &recipe.params(), memory)?;
        if copies.recipe.records != recipe.records {
            return Err(refuse(&format!(
                "it is for {} records, and {SOURCE} has {}",
                recipe.records, copies.recipe.records
            )));
        }
        Ok(copies)
    }

    /// The recipe, as it stands in the folder.
    pub fn recipe(&self) -> Vec<u8> {
        crate::json::python(&self.recipe, 2)
    }

    /// How many copies in all.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none; there always are.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The folder or the source file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which copy of which source record the `n`-th is.
    fn place(&self, n: usize) -> (u32, u32) {
        let records = self.source.labels.len() as u32;
        (self.order[n] / records, self.order[n] % records)
    }

    /// The label of the `n`-th copy.
    pub fn label(&self, n: usize) -> i64 {
        self.source.labels[self.place(n).1 as usize]
    }

    /// Writes the image of the `n`-th copy to `out`.
    ///
    /// # Errors
    /// An image that cannot be decoded or has another size; never where all are in memory.
    ///
    /// # Panics
    /// Where there is no `n`-th copy, or `out` has not the length of an image.
    pub fn render(
        &self,
        n: usize,
        scratch: &mut Scratch,
        out: &mut [u8],
    ) -> Result<(), StageError> {
        let (copy, index) = self.place(n);
        let place = index as usize;
        if let Some(pixels) = &self.pixels {
            let source = &pixels[place * self.shape.bytes()..][..self.shape.bytes()];
            self.view
                .render(copy, index, self.shape, source, scratch, out);
            return Ok(());
        }
        let image = self.source.image(place)?;
        let pixels = image.pixels_of(self.shape).map_err(|what| {
            let path = self.path.display();
            StageError::failed(format!("{path}: record {place} has {what}"))
        })?;
        self.view
            .render(copy, index, self.shape, &pixels, scratch, out);
        Ok(())
    }

    /// The framed records of copies, one after the other, made in parallel; each record is the number of a
    /// copy and its label.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn frames(&self, records: &[(usize, i64)]) -> Result<Vec<u8>, StageError> {
        let one = |scratch: &mut (Scratch, Vec<u8>, Vec<u8>), &(n, label): &(usize, i64)| {
            let (scratch, pixels, data) = scratch;
            pixels.resize(self.shape.bytes(), 0);
            self.render(n, scratch, pixels)?;
            let mut frame = Vec::new();
            records::put_image(&mut frame, data, self.shape, pixels, label);
            Ok(frame)
        };
        let frames: Result<Vec<Vec<u8>>, StageError> =
            records.par_iter().map_init(Default::default, one).collect();
        Ok(frames?.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    const RECIPE_TEXT: &str = r#"{"format": 1, "records": 3, "copies": 2,
        "order": "python: random.seed(1); random.shuffle(list(range(N * copies)))",
        "augment": "cifar10", "seed": 1, "wrap": false, "drawn_once": false}"#;

    #[test]
    fn the_order_is_the_originals() {
        assert_eq!(Order::Python.of(10), [6, 8, 9, 7, 5, 3, 0, 4, 1, 2]);
        let Some(path) = shared("golden/realmix/make_aug_copy.json") else {
            return;
        };
        let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let numbers =
            |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
        let orders = golden["shuffle_orders"].as_object().unwrap();
        assert!(orders.len() > 4);
        for (count, order) in orders {
            assert_eq!(
                Order::Python.of(count.parse().unwrap()),
                numbers(order),
                "{count}"
            );
        }
        let order = Order::Python.of(2250);
        assert_eq!(order, numbers(&golden["tiny"]["order"]));
        let bytes: Vec<u8> = order.iter().flat_map(|n| n.to_le_bytes()).collect();
        let sum = format!("{:x}", Sha256::digest(&bytes));
        assert_eq!(sum, golden["tiny"]["order_sha256_u32le"].as_str().unwrap());
    }

    #[test]
    fn a_recipe_is_read_or_refused_in_words() {
        let recipe = Recipe::parse(RECIPE_TEXT.as_bytes()).unwrap();
        assert_eq!((recipe.records, recipe.copies), (3, 2));
        for (from, to, word) in [
            (
                "\"format\": 1",
                "\"format\": 2",
                "of format 2, this program knows 1",
            ),
            ("\"format\": 1,", "", "no `format`"),
            ("\"copies\": 2", "\"copies\": 0", "asks for 0 copies"),
            (
                "\"copies\": 2",
                "\"copies\": 4000000000",
                "asks for 4000000000 copies",
            ),
            ("\"seed\": 1", "\"seed\": -1", "-1"),
            ("cifar10", "blur", "unknown variant `blur`"),
            ("random.seed(1)", "random.seed(2)", "unknown variant"),
            ("\"wrap\"", "\"wrapped\"", "wrapped"),
            ("}", "", "EOF"),
        ] {
            let error = Recipe::parse(RECIPE_TEXT.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
