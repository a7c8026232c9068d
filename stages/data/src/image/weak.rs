//! Mirroring and shifting, the weak augmentation of all the originals.

use super::Shape;

/// What lies outside an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// The image again without its edge pixel (`REFLECT` in TensorFlow, `reflect` in PyTorch).
    #[default]
    Reflect,
    /// Black.
    Zero,
}

/// Which part of an image, padded, is cut out, and whether the image is mirrored before.
///
/// (0, 0) is the image itself; `down` and `right` move the window by at most the image's size less
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Mirror left and right first.
    pub mirror: bool,
    /// Rows the window moves down.
    pub down: isize,
    /// Columns the window moves to the right.
    pub right: isize,
    /// What the window shows of the outside.
    pub border: Border,
}

/// The position in 0..n that a reflected position shows.
fn reflect(at: isize, n: usize) -> usize {
    if n < 2 {
        return 0;
    }
    let period = 2 * (n - 1);
    let at = at.rem_euclid(period as isize) as usize;
    at.min(period - at)
}

impl Shift {
    /// Writes the shifted image to `target`; both are HWC and of `shape`.
    ///
    /// # Panics
    /// Where either is not as long as `shape` says.
    pub fn apply(self, shape: Shape, source: &[u8], target: &mut [u8]) {
        assert_eq!(source.len(), shape.bytes(), "bytes of the source");
        assert_eq!(target.len(), shape.bytes(), "bytes of the target");
        if shape.channels == 3 {
            self.copy(
                shape,
                source.as_chunks::<3>().0,
                target.as_chunks_mut::<3>().0,
            );
        } else {
            self.copy(shape, source, target);
        }
    }

    fn copy<T: Copy + Default>(self, shape: Shape, source: &[T], target: &mut [T]) {
        let (height, width) = (shape.height, shape.width);
        if height * width == 0 {
            return;
        }
        // Columns inside..end show source columns one after the other; those beside them are
        // reflected ones.
        let reach = self.right.unsigned_abs().min(width);
        let (begin, end) = if self.right < 0 {
            (reach, width)
        } else {
            (0, width - reach)
        };
        let column = |x: usize| {
            let at = reflect(x as isize + self.right, width);
            if self.mirror { width - 1 - at } else { at }
        };
        let reflects = self.border == Border::Reflect;
        for (y, target) in target.chunks_exact_mut(width).enumerate() {
            let at = y as isize + self.down;
            if !reflects && !(0..height as isize).contains(&at) {
                target.fill(T::default());
                continue;
            }
            let row = reflect(at, height);
            let source = &source[row * width..(row + 1) * width];
            for x in (0..begin).chain(end..width) {
                target[x] = if reflects {
                    source[column(x)]
                } else {
                    T::default()
                };
            }
            if begin < end {
                let inside = &mut target[begin..end];
                if self.mirror {
                    let first = column(end - 1);
                    let source = &source[first..first + inside.len()];
                    for (to, from) in inside.iter_mut().zip(source.iter().rev()) {
                        *to = *from;
                    }
                } else {
                    let first = column(begin);
                    inside.copy_from_slice(&source[first..first + inside.len()]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by its definition: mirror, pad, crop.
    fn slow(shift: Shift, shape: Shape, source: &[u8]) -> Vec<u8> {
        let mut target = Vec::new();
        for y in 0..shape.height {
            for x in 0..shape.width {
                for c in 0..shape.channels {
                    let (row, column) = (y as isize + shift.down, x as isize + shift.right);
                    let inside = (0..shape.height as isize).contains(&row)
                        && (0..shape.width as isize).contains(&column);
                    if shift.border == Border::Zero && !inside {
                        target.push(0);
                        continue;
                    }
                    let row = reflect(row, shape.height);
                    let column = reflect(column, shape.width);
                    let column = if shift.mirror {
                        shape.width - 1 - column
                    } else {
                        column
                    };
                    target.push(source[(row * shape.width + column) * shape.channels + c]);
                }
            }
        }
        target
    }

    #[test]
    fn reflection_leaves_the_edge_out() {
        let shown: Vec<usize> = (-4..9).map(|at| reflect(at, 5)).collect();
        assert_eq!(shown, [4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0]);
        assert_eq!(reflect(-3, 1), 0);
    }

    #[test]
    fn every_shift_is_as_defined() {
        for (height, width, channels) in [(5, 7, 3), (6, 4, 1), (1, 1, 3), (2, 3, 1)] {
            let shape = Shape {
                height,
                width,
                channels,
            };
            let source: Vec<u8> = (1..=shape.bytes() as u8).collect();
            let mut target = vec![0; source.len()];
            for down in -4..=4 {
                for right in -4..=4 {
                    for (mirror, border) in [
                        (false, Border::Reflect),
                        (true, Border::Reflect),
                        (false, Border::Zero),
                        (true, Border::Zero),
                    ] {
                        let shift = Shift {
                            mirror,
                            down,
                            right,
                            border,
                        };
                        shift.apply(shape, &source, &mut target);
                        assert_eq!(target, slow(shift, shape, &source), "{shape:?} {shift:?}");
                    }
                }
            }
        }
    }
}
