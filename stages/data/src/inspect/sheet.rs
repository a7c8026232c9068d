//! Contact sheets: a row for each class, its name and number of records on the left, some of its images beside it.

use rematch_spec::inspect::Sheet;

use super::{Row, count, font};
use crate::image::{Canvas, Filter, Image, Shape};
use crate::png;

/// Most pixels of all cells together; decides how far large images are shrunk.
const PIXELS: usize = 1 << 25;
/// The largest cell.
const CELL: usize = 512;
/// Pixels between cells, and around the sheet.
const GAP: usize = 2;
const MARGIN: usize = 8;
/// Characters of a name that are shown.
const LONGEST_NAME: usize = 24;
/// From this side on, a cell has room for letters of twice the size and for two lines.
const TALL: usize = 44;

const BACKGROUND: u8 = 255;
const INK: u8 = 30;
const PALE: u8 = 130;

/// Draws a sheet.
pub fn draw(rows: &[Row], options: &Sheet) -> Vec<u8> {
    let columns = rows.iter().map(|row| row.images.len()).max().unwrap_or(0);
    let scale = usize::from(options.scale);
    let largest = rows.iter().flat_map(|row| &row.images);
    let largest = largest.map(|i| i.shape.height.max(i.shape.width)).max();
    let room = (PIXELS / (rows.len() * columns).max(1)).isqrt();
    let cell = (largest.unwrap_or(1) * scale).min(CELL).min(room).max(1);
    let fits = |side: usize| side * scale <= cell;

    let tall = cell >= TALL;
    let letter = if tall { 2 } else { 1 };
    let height = cell.max(font::HEIGHT) + GAP;
    let labels: Vec<[String; 2]> = rows.iter().map(label).collect();
    let width_of = |texts: &[String; 2]| {
        let advance = |text: &String, size: usize| text.chars().count() * font::ADVANCE * size;
        if tall {
            advance(&texts[0], 2).max(advance(&texts[1], 1))
        } else {
            advance(&texts[0], 1) + font::ADVANCE + advance(&texts[1], 1)
        }
    };
    let left = MARGIN + labels.iter().map(width_of).max().unwrap_or(0) + MARGIN;
    let mut paper = Paper::new(
        2 * MARGIN + rows.len() * height,
        left + columns * (cell + GAP) + MARGIN,
    );
    for (n, (row, [name, number])) in rows.iter().zip(&labels).enumerate() {
        let top = MARGIN + n * height;
        if tall {
            let first = top + (cell - 3 * font::HEIGHT - 4) / 2;
            paper.text(first, MARGIN, name, letter, INK);
            paper.text(first + 2 * font::HEIGHT + 4, MARGIN, number, 1, PALE);
        } else {
            let first = top + (height - GAP - font::HEIGHT).div_ceil(2);
            paper.text(first, MARGIN, name, 1, INK);
            let after = MARGIN + (name.chars().count() + 1) * font::ADVANCE;
            paper.text(first, after, number, 1, PALE);
        }
        for (column, image) in row.images.iter().enumerate() {
            let Shape { height, width, .. } = image.shape;
            let shown = if fits(height) && fits(width) {
                resized(image, height * scale, width * scale, Filter::Nearest)
            } else {
                let longest = height.max(width);
                let side = |side: usize| (side * cell / longest).max(1);
                resized(image, side(height), side(width), Filter::Bilinear)
            };
            let Shape { height, width, .. } = shown.shape;
            let x = left + column * (cell + GAP) + (cell - width) / 2;
            paper.image(top + (cell - height) / 2, x, &shown);
        }
    }
    png::encode(paper.shape, &paper.pixels)
}

/// Name, and number of records.
fn label(row: &Row) -> [String; 2] {
    let mut name: String = row.name.chars().take(LONGEST_NAME).collect();
    if row.name.chars().nth(LONGEST_NAME).is_some() {
        name.pop();
        name.push('…');
    }
    [name, count(row.records)]
}

fn resized(image: &Image, height: usize, width: usize, filter: Filter) -> Image {
    let mut canvas = Canvas::new();
    canvas.load(image.shape, &image.data);
    canvas.resize(height, width, filter);
    canvas.image()
}

/// A colour image to draw on.
struct Paper {
    shape: Shape,
    pixels: Vec<u8>,
}

impl Paper {
    fn new(height: usize, width: usize) -> Self {
        let shape = Shape {
            height,
            width,
            channels: 3,
        };
        Self {
            shape,
            pixels: vec![BACKGROUND; shape.bytes()],
        }
    }

    fn image(&mut self, top: usize, left: usize, image: &Image) {
        for (y, row) in image
            .data
            .chunks_exact(image.shape.width * image.shape.channels)
            .enumerate()
        {
            for (x, pixel) in row.chunks_exact(image.shape.channels).enumerate() {
                self.dot(
                    top + y,
                    left + x,
                    [pixel[0], pixel[pixel.len() / 2], pixel[pixel.len() - 1]],
                );
            }
        }
    }

    fn text(&mut self, top: usize, left: usize, text: &str, size: usize, ink: u8) {
        for (n, character) in text.chars().enumerate() {
            for (y, row) in font::glyph(character).iter().enumerate() {
                for x in (0..font::WIDTH).filter(|x| row[*x]) {
                    for (dy, dx) in (0..size * size).map(|i| (i / size, i % size)) {
                        let column = left + (n * font::ADVANCE + x) * size + dx;
                        self.dot(top + y * size + dy, column, [ink; 3]);
                    }
                }
            }
        }
    }

    fn dot(&mut self, y: usize, x: usize, colour: [u8; 3]) {
        let place = (y * self.shape.width + x) * 3;
        self.pixels[place..place + 3].copy_from_slice(&colour);
    }
}
