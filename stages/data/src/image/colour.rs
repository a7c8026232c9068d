//! TensorFlow's colour operations, on float RGB of any range: RealMix's `color` (spec/realmix.md 4.2).
//! They agree with TensorFlow's CPU kernels to a few units of float32's last place.

/// The largest, the middle and the smallest channel of a pixel.
type Ranks = [usize; 3];

/// The channels by value, in each sixth of the colour wheel, from red on.
const SIXTHS: [Ranks; 6] = [
    [0, 1, 2],
    [1, 0, 2],
    [1, 2, 0],
    [2, 1, 0],
    [2, 0, 1],
    [0, 2, 1],
];

/// `adjust_brightness`: adds `delta` to every value.
pub fn brightness(pixels: &mut [[f32; 3]], delta: f32) {
    for value in pixels.as_flattened_mut() {
        *value += delta;
    }
}

/// `adjust_hue`: turns the colour wheel by `delta`, where 1 is a whole turn; the largest and the
/// smallest value of a pixel stay what they are.
pub fn hue(pixels: &mut [[f32; 3]], delta: f32) {
    for pixel in pixels {
        let sixth = sixth(*pixel);
        let [most, middle, least] = SIXTHS[sixth].map(|channel| pixel[channel]);
        if most == least {
            continue;
        }
        let ratio = (middle - least) / (most - least);
        // The middle channel rises in even sixths and falls in odd ones.
        let place = sixth as f32
            + if sixth.is_multiple_of(2) {
                ratio
            } else {
                1.0 - ratio
            };
        let place = (place + 6.0 * delta).rem_euclid(6.0);
        // Rounding may give 6 itself, where the wheel begins anew.
        let sixth = place as usize % 6;
        let within = place.fract();
        let ratio = if sixth.is_multiple_of(2) {
            within
        } else {
            1.0 - within
        };
        let middle = least + ratio * (most - least);
        for (channel, value) in SIXTHS[sixth].into_iter().zip([most, middle, least]) {
            pixel[channel] = value;
        }
    }
}

/// Which of the [`SIXTHS`] a pixel's colour is in; any of two at a border.
fn sixth([red, green, blue]: [f32; 3]) -> usize {
    match (red >= green, green >= blue, red >= blue) {
        (true, true, _) => 0,
        (false, _, true) => 1,
        (false, true, false) => 2,
        (false, false, _) => 3,
        (true, false, false) => 4,
        (true, false, true) => 5,
    }
}

/// `adjust_saturation`: multiplies HSV's saturation, (max − min) / max, by `factor` and keeps it in 0 to
/// 1; hue and value stay. A pixel without a value above 0 becomes grey.
pub fn saturation(pixels: &mut [[f32; 3]], factor: f32) {
    for pixel in pixels {
        let [red, green, blue] = *pixel;
        let most = red.max(green).max(blue);
        let range = most - red.min(green).min(blue);
        let scale = if most > 0.0 && range > 0.0 {
            let saturation = range / most;
            (saturation * factor).clamp(0.0, 1.0) / saturation
        } else {
            0.0
        };
        *pixel = pixel.map(|value| most - (most - value) * scale);
    }
}

/// `adjust_contrast`: (x − mean of the channel) · `factor` + mean of the channel.
pub fn contrast(pixels: &mut [[f32; 3]], factor: f32) {
    let mut sums = [0.0; 3];
    for pixel in &*pixels {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += f64::from(*value);
        }
    }
    let means = sums.map(|sum| (sum / pixels.len() as f64) as f32);
    for pixel in pixels {
        for (value, mean) in pixel.iter_mut().zip(means) {
            *value = (*value - mean) * factor + mean;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Corners of the colour cube, one of each sixth, a grey, and a value below 0.
    const PIXELS: [[f32; 3]; 8] = [
        [0.0, 0.0, 0.0],
        [255.0, 255.0, 255.0],
        [200.0, 30.0, 90.0],
        [17.0, 240.0, 16.0],
        [5.0, 60.0, 251.0],
        [128.0, 127.0, 129.0],
        [-0.1, 3.0, 40.0],
        [90.0, 90.0, 12.0],
    ];

    /// Compares with what TensorFlow 2.21 printed for these pixels as an image of 2×4.
    fn check(operation: impl Fn(&mut [[f32; 3]]), expected: [[f32; 3]; 8]) {
        let mut pixels = PIXELS;
        operation(&mut pixels);
        for (found, expected) in pixels.iter().zip(expected) {
            let near = found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 2e-4);
            assert!(near, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn hue_is_tensorflows() {
        check(
            |pixels| hue(pixels, 0.3),
            [
                [0.0, 0.0, 0.0],
                [255.0, 255.0, 255.0],
                [123.99995, 200.0, 30.0],
                [16.0, 61.79998, 240.0],
                [251.0, 5.0, 109.20002],
                [129.0, 127.6, 127.0],
                [40.0, -0.1, 11.019992],
                [12.0, 90.0, 74.40002],
            ],
        );
        check(
            |pixels| hue(pixels, -0.45),
            [
                [0.0, 0.0, 0.0],
                [255.0, 255.0, 255.0],
                [30.0, 200.0, 191.00006],
                [240.0, 16.0, 173.79993],
                [232.19997, 251.0, 5.0],
                [127.4, 129.0, 127.0],
                [31.069992, 40.0, -0.1],
                [35.400017, 12.0, 90.0],
            ],
        );
    }

    #[test]
    fn saturation_is_tensorflows() {
        check(
            |pixels| saturation(pixels, 0.1),
            [
                [0.0, 0.0, 0.0],
                [255.0, 255.0, 255.0],
                [200.0, 183.0, 189.0],
                [217.7, 240.0, 217.6],
                [226.4, 231.9, 251.0],
                [128.9, 128.8, 129.0],
                [35.99, 36.3, 40.0],
                [90.0, 90.0, 82.2],
            ],
        );
        check(
            |pixels| saturation(pixels, 3.0),
            [
                [0.0, 0.0, 0.0],
                [255.0, 255.0, 255.0],
                [200.0, 0.0, 70.58821],
                [1.0713959, 240.0, 0.0],
                [0.0, 56.11795, 251.0],
                [126.0, 123.0, 129.0],
                [0.0, 3.09227, 40.0],
                [90.0, 90.0, 0.0],
            ],
        );
    }

    #[test]
    fn contrast_is_tensorflows() {
        check(
            |pixels| contrast(pixels, 1.5),
            [
                [-43.43126, -50.3125, -49.5625],
                [339.06873, 332.1875, 332.9375],
                [256.56873, -5.3125, 85.4375],
                [-17.931252, 309.6875, -25.5625],
                [-35.93125, 39.6875, 326.9375],
                [148.56876, 140.1875, 143.9375],
                [-43.581253, -45.8125, 10.4375],
                [91.56875, 84.6875, -31.5625],
            ],
        );
    }

    proptest! {
        #[test]
        fn a_whole_turn_and_a_factor_of_one_change_nothing(pixel: [u8; 3]) {
            let floats = pixel.map(f32::from);
            let near = |found: [f32; 3]| found.iter().zip(floats).all(|(a, b)| (a - b).abs() < 1e-3);
            for turn in [0.0, 1.0, -1.0] {
                let mut turned = [floats];
                hue(&mut turned, turn);
                prop_assert!(near(turned[0]), "{turned:?}");
            }
            let mut same = [floats];
            saturation(&mut same, 1.0);
            contrast(&mut same, 1.0);
            prop_assert!(near(same[0]), "{same:?}");
        }

        #[test]
        fn hue_keeps_the_largest_and_the_smallest_value(pixel: [u8; 3], delta in -0.5f32..0.5) {
            let mut turned = [pixel.map(f32::from)];
            hue(&mut turned, delta);
            let range = |values: [f32; 3]| (values.iter().copied().fold(f32::MIN, f32::max), values.iter().copied().fold(f32::MAX, f32::min));
            prop_assert_eq!(range(turned[0]), range(pixel.map(f32::from)));
        }
    }
}
