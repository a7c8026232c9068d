//! The ten figures: for a point of the plane, its distance from the figure's edge, negative inside.
//! All fill about the square from −1 to 1.

/// How many figures there are.
pub const CLASSES: usize = 10;

/// Their names, by class.
pub const NAMES: [&str; CLASSES] = [
    "disc",
    "ring",
    "crescent",
    "square",
    "triangle",
    "star",
    "cross",
    "heart",
    "arrow",
    "hourglass",
];

type Point = (f64, f64);

const SQUARE: &[Point] = &[(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)];
const TRIANGLE: &[Point] = &[(0.0, -1.0), (0.95, 0.8), (-0.95, 0.8)];
/// Five points on the unit circle and five on a circle of 0.42 between them.
const STAR: &[Point] = &[
    (0.0, -1.0),
    (0.247, -0.34),
    (0.951, -0.309),
    (0.399, 0.13),
    (0.588, 0.809),
    (0.0, 0.42),
    (-0.588, 0.809),
    (-0.399, 0.13),
    (-0.951, -0.309),
    (-0.247, -0.34),
];
const CROSS: &[Point] = &[
    (-0.3, -0.95),
    (0.3, -0.95),
    (0.3, -0.3),
    (0.95, -0.3),
    (0.95, 0.3),
    (0.3, 0.3),
    (0.3, 0.95),
    (-0.3, 0.95),
    (-0.3, 0.3),
    (-0.95, 0.3),
    (-0.95, -0.3),
    (-0.3, -0.3),
];
const HEART: &[Point] = &[
    (0.0, 0.95),
    (-0.85, 0.05),
    (-0.98, -0.35),
    (-0.8, -0.72),
    (-0.48, -0.85),
    (-0.18, -0.73),
    (0.0, -0.42),
    (0.18, -0.73),
    (0.48, -0.85),
    (0.8, -0.72),
    (0.98, -0.35),
    (0.85, 0.05),
];
const ARROW: &[Point] = &[
    (0.0, -1.0),
    (0.8, -0.15),
    (0.3, -0.15),
    (0.3, 0.95),
    (-0.3, 0.95),
    (-0.3, -0.15),
    (-0.8, -0.15),
];
const HOURGLASS: &[Point] = &[
    (-0.85, -0.9),
    (0.85, -0.9),
    (0.14, 0.0),
    (0.85, 0.9),
    (-0.85, 0.9),
    (-0.14, 0.0),
];

/// Signed distance of a point from the edge of a class's figure.
pub fn distance(class: u8, p: Point) -> f64 {
    match class {
        0 => disc(p, 0.92),
        1 => disc(p, 0.95).max(-disc(p, 0.52)),
        2 => disc((p.0 + 0.1, p.1), 0.95).max(-disc((p.0 - 0.35, p.1), 0.78)),
        3 => polygon(SQUARE, p),
        4 => polygon(TRIANGLE, p),
        5 => polygon(STAR, p),
        6 => polygon(CROSS, p),
        7 => polygon(HEART, p),
        8 => polygon(ARROW, p),
        _ => polygon(HOURGLASS, p),
    }
}

fn disc(p: Point, radius: f64) -> f64 {
    (p.0 * p.0 + p.1 * p.1).sqrt() - radius
}

/// The nearest edge's distance; inside if a ray to the right crosses an odd number of edges.
fn polygon(corners: &[Point], p: Point) -> f64 {
    let mut nearest = f64::INFINITY;
    let mut inside = false;
    let mut a = corners[corners.len() - 1];
    for &b in corners {
        let (edge, to) = ((b.0 - a.0, b.1 - a.1), (p.0 - a.0, p.1 - a.1));
        let along =
            ((to.0 * edge.0 + to.1 * edge.1) / (edge.0 * edge.0 + edge.1 * edge.1)).clamp(0.0, 1.0);
        let off = (to.0 - edge.0 * along, to.1 - edge.1 * along);
        nearest = nearest.min(off.0 * off.0 + off.1 * off.1);
        if (a.1 > p.1) != (b.1 > p.1) && p.0 < edge.0 * to.1 / edge.1 + a.0 {
            inside = !inside;
        }
        a = b;
    }
    if inside {
        -nearest.sqrt()
    } else {
        nearest.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_negative_and_outside_is_the_distance() {
        assert!((distance(3, (0.0, 0.0)) + 0.82).abs() < 1e-12);
        assert!((distance(3, (1.82, 0.0)) - 1.0).abs() < 1e-12);
        assert!(distance(1, (0.0, 0.0)) > 0.0 && distance(1, (0.7, 0.0)) < 0.0);
        assert!(distance(2, (-0.8, 0.0)) < 0.0 && distance(2, (0.3, 0.0)) > 0.0);
        assert!(distance(9, (0.5, 0.0)) > 0.0 && distance(9, (0.0, 0.0)) < 0.0);
    }

    #[test]
    fn every_figure_covers_a_fair_share_and_no_two_are_alike() {
        let grid: Vec<Point> = (0..1600)
            .map(|i| {
                (
                    f64::from(i % 40) / 20.0 - 1.0,
                    f64::from(i / 40) / 20.0 - 1.0,
                )
            })
            .collect();
        let masks: Vec<Vec<bool>> = (0..10)
            .map(|c| grid.iter().map(|p| distance(c, *p) < 0.0).collect())
            .collect();
        for (c, mask) in masks.iter().enumerate() {
            let share = mask.iter().filter(|m| **m).count();
            assert!(
                (350..1150).contains(&share),
                "{} covers {share} of 1600",
                NAMES[c]
            );
            for (d, other) in masks.iter().enumerate().skip(c + 1) {
                let differ = mask.iter().zip(other).filter(|(a, b)| a != b).count();
                assert!(
                    differ > 150,
                    "{} and {} differ in {differ} of 1600",
                    NAMES[c],
                    NAMES[d]
                );
            }
        }
    }
}
