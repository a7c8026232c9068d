//! The learning rate as a function of progress.

use rematch_spec::optimizer::{Cycle, Linear, Schedule, Staircase};

/// The learning rate at progress `t`, 0 at the start of training and 1 at its end.
pub fn learning_rate(schedule: Schedule, lr: f64, t: f64) -> f64 {
    let t = t.clamp(0.0, 1.0);
    match schedule {
        Schedule::Cosine => lr * (std::f64::consts::PI * 7.0 / 16.0 * t).cos(),
        Schedule::Constant => lr,
        Schedule::Linear(Linear { end }) => lr + (end - lr) * t,
        Schedule::Cycle(cycle) => cycled(cycle, lr, t),
        Schedule::Staircase(stairs) => climbed(stairs, lr, t),
    }
}

/// spec/featmatch.md 6.
fn cycled(
    Cycle {
        pretrain,
        half,
        end,
    }: Cycle,
    max: f64,
    t: f64,
) -> f64 {
    let (base, start) = (max / 10.0, max / 100.0);
    let last = base / 1000.0;
    let at = t * (pretrain + 2.0 * half + end);
    let between = |from: f64, to: f64, share: f64| from + (to - from) * share;
    if at < pretrain {
        between(start, base, at / pretrain)
    } else if at < pretrain + half {
        between(base, max, (at - pretrain) / half)
    } else if at < pretrain + 2.0 * half {
        between(max, base, (at - pretrain - half) / half)
    } else {
        between(base, last, (at - pretrain - 2.0 * half) / end)
    }
}

/// spec/fixmatch.md 11.
fn climbed(stairs: Staircase, max: f64, t: f64) -> f64 {
    let epoch = t * stairs.epochs;
    if epoch < stairs.warmup {
        return max * epoch / stairs.warmup;
    }
    max * 0.1_f64.powf((epoch / stairs.decay).floor())
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
    fn linear_goes_from_one_rate_to_the_other() {
        let rate = |t| learning_rate(Schedule::Linear(Linear { end: 0.02 }), 0.03, t);
        assert_eq!([rate(0.0), rate(1.0)], [0.03, 0.02]);
        assert!((rate(0.25) - 0.0275).abs() < 1e-12);
    }

    #[test]
    fn cycle_has_featmatchs_corners() {
        // spec/featmatch.md 6: at 0, 3,000, 78,000, 153,000 and 183,000 of 183,000.
        let rate = |it: f64| learning_rate(Schedule::Cycle(Cycle::default()), 0.04, it / 183_000.0);
        for (it, expected) in [
            (0.0, 0.0004),
            (1500.0, 0.0022),
            (3000.0, 0.004),
            (78_000.0, 0.04),
            (153_000.0, 0.004),
            (183_000.0, 0.000_004),
        ] {
            assert!((rate(it) - expected).abs() < 1e-9, "{it}: {}", rate(it));
        }
    }

    #[test]
    fn staircase_warms_up_and_falls_by_tenths() {
        let rate = |epoch: f64| {
            learning_rate(
                Schedule::Staircase(Staircase::default()),
                0.1,
                epoch / 300.0,
            )
        };
        for (epoch, expected) in [
            (2.5, 0.05),
            (5.0, 0.1),
            (49.9, 0.1),
            (50.1, 0.01),
            (299.0, 1e-6),
        ] {
            assert!(
                (rate(epoch) - expected).abs() < 1e-9,
                "{epoch}: {}",
                rate(epoch)
            );
        }
    }

    #[test]
    fn constant_stays() {
        assert_eq!(learning_rate(Schedule::Constant, 0.002, 0.7), 0.002);
    }
}
