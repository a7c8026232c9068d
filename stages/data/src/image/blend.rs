//! Blends of two images, and greys.

use super::Canvas;

/// from + factor·(to − from), truncated and cut to 0..=255.
///
/// Pillow computes in float32 and rounds after the product and after the sum; a fused multiply-add
/// would change some values (rustc never fuses).
#[inline]
pub(super) fn mix(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    // The cast truncates towards zero and saturates.
    (from + factor * (to - from)) as u8
}

/// The luma of a pixel: ITU-R 601-2 in 16-bit fixed point, rounded.
#[inline]
fn grey(pixel: [u8; 3]) -> u8 {
    let [r, g, b] = pixel.map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8
}

impl Canvas {
    /// The grey of every pixel, row by row.
    pub fn greys(&self) -> impl Iterator<Item = u8> {
        // One of the two is empty.
        let (colour, single): (&[[u8; 3]], &[u8]) = if self.shape.channels == 3 {
            (self.pixels.as_chunks().0, &[])
        } else {
            (&[], &self.pixels[..])
        };
        colour
            .iter()
            .map(|pixel| grey(*pixel))
            .chain(single.iter().copied())
    }

    /// Moves every pixel away from its grey: 0 is grey, 1 changes nothing.
    pub fn color(&mut self, factor: f32) {
        if self.shape.channels == 1 {
            return;
        }
        self.kept.resize(self.pixels.len(), 0);
        let (pixels, _) = self.pixels.as_chunks::<3>();
        for (to, pixel) in self.kept.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *to = [grey(*pixel); 3];
        }
        mix_all(&self.kept, &mut self.pixels, factor);
    }

    /// Blends what `change` makes of the image over the image: 0 changes nothing, 1 is the changed
    /// image alone. Holes are as `change` leaves them.
    pub fn blend(&mut self, factor: f32, change: impl FnOnce(&mut Self)) {
        // `change` may need `kept` itself.
        let mut original = std::mem::take(&mut self.kept);
        original.clear();
        original.extend_from_slice(&self.pixels);
        change(self);
        mix_all(&original, &mut self.pixels, factor);
        self.kept = original;
    }
}

/// [`mix`] of two images of one length; the result takes the place of `to`.
pub(super) fn mix_all(from: &[u8], to: &mut [u8], factor: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = mix(*from, *to, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blend_truncates_and_cuts() {
        assert_eq!(mix(0, 255, 0.5), 127);
        assert_eq!(mix(10, 11, 0.99), 10);
        assert_eq!(mix(100, 0, 2.0), 0);
        assert_eq!(mix(100, 200, 2.0), 255);
    }

    #[test]
    fn a_blend_at_the_ends_is_one_of_both() {
        for (from, to) in [(0, 255), (255, 0), (17, 18), (200, 3)] {
            assert_eq!(mix(from, to, 0.0), from);
            assert_eq!(mix(from, to, 1.0), to);
        }
    }
}
