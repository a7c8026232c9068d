//! Operations on the neighbourhood of a pixel. As in Pillow, the border that a kernel does not fit
//! in keeps its values.

use super::Canvas;
use super::blend::mix_all;

impl Canvas {
    /// 3×3 kernel of ones, 5 in the middle, over 13.
    pub fn smooth(&mut self) {
        self.filter(1, |rows, sums, channels, out| {
            let [above, row, below] = rows else { return };
            for (sum, ((a, b), c)) in sums.iter_mut().zip(above.iter().zip(*row).zip(*below)) {
                *sum = u16::from(*a) + u16::from(*b) + u16::from(*c);
            }
            let sums = sums
                .iter()
                .zip(&sums[channels..])
                .zip(&sums[2 * channels..]);
            for ((out, middle), ((left, here), right)) in
                out.iter_mut().zip(&row[channels..]).zip(sums)
            {
                let sum = left + here + right + 4 * u16::from(*middle);
                // floor(sum / 13 + 0.5)
                *out = ((2 * sum + 13) / 26) as u8;
            }
        });
    }

    /// 5×5 kernel of ones, its inner 3×3 zero, over 16.
    pub fn blur(&mut self) {
        self.filter(2, |rows, sums, channels, out| {
            let [first, above, row, below, last] = rows else {
                return;
            };
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = u16::from(first[i])
                    + u16::from(above[i])
                    + u16::from(row[i])
                    + u16::from(below[i])
                    + u16::from(last[i]);
            }
            let inner = |i: usize| u16::from(above[i]) + u16::from(row[i]) + u16::from(below[i]);
            for (i, out) in out.iter_mut().enumerate() {
                let column = |k: usize| i + k * channels;
                let all: u16 = (0..5).map(|k| sums[column(k)]).sum();
                let hole: u16 = (1..4).map(|k| inner(column(k))).sum();
                *out = ((all - hole + 8) >> 4) as u8;
            }
        });
    }

    /// Moves every value away from its smoothed value: 0 is [`smooth`](Self::smooth), 1 changes
    /// nothing.
    pub fn sharpness(&mut self, factor: f32) {
        self.smooth();
        // `spare` has the pixels from before.
        mix_all(&self.pixels, &mut self.spare, factor);
        self.swap();
    }

    /// Runs `row` for every row that has `reach` rows above and below. It gets all of these rows, room
    /// for one number per value of a row, the channels, and the part of the target row that has
    /// `reach` columns on both sides.
    fn filter(&mut self, reach: usize, row: impl Fn(&[&[u8]], &mut [u16], usize, &mut [u8])) {
        let (height, channels) = (self.shape.height, self.shape.channels);
        let (stride, border) = (self.shape.width * channels, reach * channels);
        let mut sums = std::mem::take(&mut self.sums);
        sums.resize(stride, 0);
        let (source, target) = self.source_and_target();
        target.copy_from_slice(source);
        if stride > 2 * border {
            for y in reach..height.saturating_sub(reach) {
                let mut rows: [&[u8]; 5] = [&[]; 5];
                let count = 2 * reach + 1;
                for (row, line) in rows
                    .iter_mut()
                    .zip(source[(y - reach) * stride..].chunks_exact(stride))
                {
                    *row = line;
                }
                let out = &mut target[y * stride + border..(y + 1) * stride - border];
                row(&rows[..count], &mut sums, channels, out);
            }
        }
        self.sums = sums;
        self.swap();
    }
}
