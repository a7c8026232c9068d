//! Rectangles of one colour.

use std::ops::Range;

use super::Canvas;

impl Canvas {
    /// Fills a rectangle with `value` in every channel; what lies outside the image is left out.
    pub fn fill(&mut self, rows: Range<usize>, columns: Range<usize>, value: u8) {
        let channels = self.shape.channels;
        let stride = self.shape.width * channels;
        let columns = columns.start.min(self.shape.width)..columns.end.min(self.shape.width);
        for row in rows.start..rows.end.min(self.shape.height) {
            if let Some(line) = self.pixels.get_mut(row * stride..(row + 1) * stride)
                && let Some(part) = line.get_mut(columns.start * channels..columns.end * channels)
            {
                part.fill(value);
            }
        }
    }

    /// Makes a rectangle a hole of colour `value`. Where holes are not tracked, only fills it.
    pub fn punch(&mut self, rows: Range<usize>, columns: Range<usize>, value: u8) {
        self.fill(rows.clone(), columns.clone(), value);
        let width = self.shape.width;
        let columns = columns.start.min(width)..columns.end.min(width);
        for row in rows.start..rows.end.min(self.shape.height) {
            if let Some(part) = self
                .holes
                .get_mut(row * width + columns.start..row * width + columns.end)
            {
                part.fill(1);
            }
        }
    }
}
