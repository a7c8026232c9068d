//! How images of any size become images of one.

use rematch_spec::images::Resize;

use super::{Canvas, Filter, Shape};

/// Brings the image on the canvas to `size` × `size` with Pillow's Lanczos filter.
pub fn square(canvas: &mut Canvas, size: usize, resize: Resize) {
    let Shape { height, width, .. } = canvas.shape();
    if height * width == 0 {
        return;
    }
    match resize {
        Resize::Stretch => canvas.resize(size, size, Filter::Lanczos),
        Resize::Crop => {
            // torchvision's Resize: the longer side is cut down to a whole number.
            let longer = longer(height.max(width), size, height.min(width));
            let (rows, columns) = if height < width {
                (size, longer)
            } else {
                (longer, size)
            };
            let (top, left) = (centre(rows - size), centre(columns - size));
            canvas.resize_part(
                rows,
                columns,
                Filter::Lanczos,
                top..top + size,
                left..left + size,
            );
        }
        Resize::Fit => {
            // ImageMagick's: the shorter side is rounded, and has at least one pixel.
            let scale = size as f64 / height.max(width) as f64;
            let scaled = |side: usize| ((side as f64 * scale + 0.5) as usize).clamp(1, size);
            let (rows, columns) = (scaled(height), scaled(width));
            canvas.resize(rows, columns, Filter::Lanczos);
            let (top, left) = ((size - rows) / 2, (size - columns) / 2);
            let (top, left, size) = (top as i64, left as i64, size as i64);
            // What lies outside is black.
            canvas.crop(-left, -top, size - left, size - top);
        }
    }
}

/// Python's `int(size * longer / shorter)`.
fn longer(longer: usize, size: usize, shorter: usize) -> usize {
    ((size * longer) as f64 / shorter as f64) as usize
}

/// Python's `round(excess / 2)`, halves to the even number, as in torchvision's `CenterCrop`.
fn centre(excess: usize) -> usize {
    let half = excess / 2;
    half + usize::from(excess % 2 == 1 && half % 2 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(height: usize, width: usize, size: usize, resize: Resize) -> Canvas {
        let mut canvas = Canvas::new();
        let shape = Shape {
            height,
            width,
            channels: 1,
        };
        canvas.load(shape, &vec![200; shape.bytes()]);
        square(&mut canvas, size, resize);
        canvas
    }

    #[test]
    fn every_way_ends_in_a_square() {
        for (height, width) in [(1, 1), (1, 700), (700, 1), (5, 7), (32, 32), (33, 32)] {
            for resize in [Resize::Crop, Resize::Fit, Resize::Stretch] {
                let canvas = fitted(height, width, 32, resize);
                let side = canvas.shape();
                assert_eq!((side.height, side.width), (32, 32), "{height} {width}");
                assert_eq!(canvas.pixels().len(), 1024);
                if resize != Resize::Fit {
                    assert!(canvas.pixels().iter().all(|v| *v == 200));
                }
            }
        }
    }

    #[test]
    fn a_fitted_image_lies_in_the_middle_of_black() {
        let canvas = fitted(10, 20, 8, Resize::Fit);
        for (y, row) in canvas.pixels().chunks(8).enumerate() {
            let expected = if (2..6).contains(&y) { 200 } else { 0 };
            assert_eq!(row, [expected; 8], "row {y}");
        }
    }

    #[test]
    fn a_line_of_pixels_takes_no_more_memory_than_its_square() {
        // Whole, it would be 84 × 1,376,256 pixels.
        assert_eq!(
            fitted(1, 1 << 14, 84, Resize::Crop).pixels(),
            [200; 84 * 84]
        );
    }

    #[test]
    fn numbers_round_as_pythons_do() {
        // int(84 * 500 / 333), round(42 / 2), round(0.5), round(1.5), round(2.5)
        assert_eq!(longer(500, 84, 333), 126);
        assert_eq!([42, 1, 3, 5, 7].map(centre), [21, 0, 2, 2, 4]);
    }
}
