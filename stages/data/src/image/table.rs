//! Operations that give every value of a channel a new value.

use super::Canvas;
use super::blend::mix;

type Table = [u8; 256];

/// A table from a function of the value.
fn table(value: impl Fn(u8) -> u8) -> Table {
    let mut table = [0; 256];
    for (v, entry) in (0..=u8::MAX).zip(&mut table) {
        *entry = value(v);
    }
    table
}

impl Canvas {
    /// Replaces every value by `value(v)`.
    pub fn map(&mut self, value: impl Fn(u8) -> u8) {
        for v in &mut self.pixels {
            *v = value(*v);
        }
    }

    /// Replaces every value by its entry.
    pub fn look_up(&mut self, table: &Table) {
        for v in &mut self.pixels {
            *v = table[usize::from(*v)];
        }
    }

    /// 255 − v.
    pub fn invert(&mut self) {
        self.map(|v| !v);
    }

    /// Keeps the highest `bits` bits; none where `bits` is 0 or less, all where it is 8 or more.
    pub fn posterize(&mut self, bits: i32) {
        let mask = (0xff00_u32 >> bits.clamp(0, 8)) as u8;
        self.map(|v| v & mask);
    }

    /// Inverts the values from `threshold` up.
    pub fn solarize(&mut self, threshold: i32) {
        match u8::try_from(threshold) {
            Ok(threshold) => self.map(|v| if v < threshold { v } else { !v }),
            Err(_) if threshold < 0 => self.invert(),
            Err(_) => {}
        }
    }

    /// Adds `add` to every value, cut to 0..=255, and solarizes the result.
    pub fn solarize_add(&mut self, add: i32, threshold: i32) {
        self.look_up(&table(|v| {
            (i32::from(v) + add.clamp(-255, 255)).clamp(0, 255) as u8
        }));
        self.solarize(threshold);
    }

    /// Scales every value by `factor`: 0 is black, 1 changes nothing.
    pub fn brightness(&mut self, factor: f32) {
        self.look_up(&table(|v| mix(0, v, factor)));
    }

    /// Moves every value away from the mean grey of the image: 0 is that grey, 1 changes nothing.
    pub fn contrast(&mut self, factor: f32) {
        let count = self.shape.pixels() as u64;
        if count == 0 {
            return;
        }
        let sum: u64 = self.greys().map(u64::from).sum();
        // int(mean + 0.5)
        let mean = ((2 * sum + count) / (2 * count)) as u8;
        self.look_up(&table(|v| mix(mean, v, factor)));
    }

    /// Stretches each channel so that it uses all of 0..=255.
    pub fn autocontrast(&mut self) {
        let channels = self.shape.channels;
        let (low, high) = self.extremes();
        let mut tables = [[0; 256]; 3];
        for ((table_, low), high) in tables.iter_mut().zip(low).zip(high).take(channels) {
            *table_ = table(|v| v);
            if high > low {
                // In double, with a true division: Pillow's order of operations decides the last bit.
                let scale = 255.0 / f64::from(high - low);
                let offset = -f64::from(low) * scale;
                *table_ = table(|v| (f64::from(v) * scale + offset) as u8);
            }
        }
        self.look_up_channels(&tables);
    }

    /// Spreads the values of each channel so that all are about equally frequent.
    pub fn equalize(&mut self) {
        let channels = self.shape.channels;
        let mut counts = [[0_u32; 256]; 3];
        if channels == 3 {
            let [red, green, blue] = &mut counts;
            for pixel in self.pixels.as_chunks::<3>().0 {
                red[usize::from(pixel[0])] += 1;
                green[usize::from(pixel[1])] += 1;
                blue[usize::from(pixel[2])] += 1;
            }
        } else {
            for v in &self.pixels {
                counts[0][usize::from(*v)] += 1;
            }
        }
        let mut tables = [[0; 256]; 3];
        for (table_, counts) in tables.iter_mut().zip(&counts).take(channels) {
            *table_ = equal(counts);
        }
        self.look_up_channels(&tables);
    }

    /// Smallest and largest value of each channel.
    fn extremes(&self) -> ([u8; 3], [u8; 3]) {
        // 48 bytes are whole vectors and whole pixels, of 1 channel as of 3.
        let mut low = [u8::MAX; 48];
        let mut high = [u8::MIN; 48];
        let (chunks, rest) = self.pixels.as_chunks::<48>();
        for chunk in chunks {
            for i in 0..48 {
                low[i] = low[i].min(chunk[i]);
                high[i] = high[i].max(chunk[i]);
            }
        }
        for (i, v) in rest.iter().enumerate() {
            low[i] = low[i].min(*v);
            high[i] = high[i].max(*v);
        }
        let channels = self.shape.channels;
        let mut extremes = ([u8::MAX; 3], [u8::MIN; 3]);
        for i in 0..48 {
            let c = i % channels;
            extremes.0[c] = extremes.0[c].min(low[i]);
            extremes.1[c] = extremes.1[c].max(high[i]);
        }
        extremes
    }

    fn look_up_channels(&mut self, tables: &[Table; 3]) {
        if self.shape.channels == 1 {
            return self.look_up(&tables[0]);
        }
        let [red, green, blue] = tables;
        for pixel in self.pixels.as_chunks_mut::<3>().0 {
            pixel[0] = red[usize::from(pixel[0])];
            pixel[1] = green[usize::from(pixel[1])];
            pixel[2] = blue[usize::from(pixel[2])];
        }
    }
}

/// The table of one channel's equalization.
fn equal(counts: &[u32; 256]) -> Table {
    let identity = table(|v| v);
    let Some(last) = counts.iter().rposition(|n| *n > 0) else {
        return identity;
    };
    let total: u32 = counts.iter().sum();
    // A channel of one value has total = counts[last], so step is 0 as well.
    let step = (total - counts[last]) / 255;
    if step == 0 {
        return identity;
    }
    let mut below = step / 2;
    let mut table = [0; 256];
    for (entry, count) in table.iter_mut().zip(counts) {
        // Without the cut, entries of values above the last used step overflow.
        *entry = (below / step).min(255) as u8;
        below += count;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Shape;

    fn canvas(data: &[u8]) -> Canvas {
        let mut canvas = Canvas::new();
        canvas.load(
            Shape {
                height: 1,
                width: data.len(),
                channels: 1,
            },
            data,
        );
        canvas
    }

    #[test]
    fn posterize_takes_any_number_of_bits() {
        for (bits, expected) in [(-2, 0), (0, 0), (1, 0x80), (4, 0xb0), (8, 0xb7), (99, 0xb7)] {
            let mut canvas = canvas(&[0xb7]);
            canvas.posterize(bits);
            assert_eq!(canvas.pixels(), [expected], "{bits} bits");
        }
    }

    #[test]
    fn solarize_takes_any_threshold() {
        for (threshold, expected) in [
            (-128, [255, 127, 0]),
            (0, [255, 127, 0]),
            (128, [0, 127, 0]),
            (255, [0, 128, 0]),
            (256, [0, 128, 255]),
        ] {
            let mut canvas = canvas(&[0, 128, 255]);
            canvas.solarize(threshold);
            assert_eq!(canvas.pixels(), expected, "threshold {threshold}");
        }
    }

    #[test]
    fn a_constant_channel_has_no_contrast_to_stretch() {
        let mut canvas = canvas(&[9; 2000]);
        canvas.autocontrast();
        canvas.equalize();
        assert_eq!(canvas.pixels(), [9; 2000]);
    }
}
