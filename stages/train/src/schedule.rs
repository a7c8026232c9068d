//! The learning rate as a function of progress.

use rematch_spec::train::Schedule;

/// The learning rate at progress `t`, 0 at the start of training and 1 at its end.
pub fn learning_rate(schedule: Schedule, lr: f64, t: f64) -> f64 {
    match schedule {
        Schedule::Cosine => lr * (std::f64::consts::PI * 7.0 / 16.0 * t.clamp(0.0, 1.0)).cos(),
        Schedule::Constant => lr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_ends_at_a_fifth() {
        // spec/fixmatch.md 6: 0.03 becomes 0.0058527.
        assert_eq!(learning_rate(Schedule::Cosine, 0.03, 0.0), 0.03);
        assert!((learning_rate(Schedule::Cosine, 0.03, 1.0) - 0.005_852_7).abs() < 5e-8);
        assert_eq!(
            learning_rate(Schedule::Cosine, 0.03, 2.0),
            learning_rate(Schedule::Cosine, 0.03, 1.0)
        );
    }

    #[test]
    fn cosine_passes_through_what_the_original_logged() {
        // monitors/lr of a run of the original: 26 kimg, at 16 and 1040 images.
        for (images, logged) in [
            (16.0, 0.029_999_988_153_575_85),
            (1040.0, 0.029_956_771_060_824_394),
        ] {
            let found = learning_rate(Schedule::Cosine, 0.03, images / (26.0 * 1024.0));
            assert!((found - logged).abs() < 3e-9, "{found} {logged}");
        }
    }

    #[test]
    fn constant_stays() {
        assert_eq!(learning_rate(Schedule::Constant, 0.002, 0.7), 0.002);
    }
}
