//! Paints one image: background, clutter, the figure, what hides a part of it, light, noise.

use super::figure::distance;
use super::{DIFFICULTY, SHAPE};
use crate::rng::Stream;

type Colour = [f64; 3];

/// Random values on a grid of 9 × 9, smoothly in between.
struct Texture {
    grid: [[f64; 9]; 9],
    /// Grid cells per pixel.
    frequency: f64,
}

/// A patch in the background, or before the figure.
struct Patch {
    centre: (f64, f64),
    /// Unit vector along the patch.
    along: (f64, f64),
    /// Half lengths along and across, in pixels.
    half: (f64, f64),
    round: bool,
    colour: Colour,
}

/// Draws what is random about an image, and paints it.
pub struct Painter {
    stream: Stream,
}

impl Painter {
    /// All randomness comes from `stream`.
    pub fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Paints a figure; `out` has 32 × 32 × 3 bytes.
    pub fn paint(mut self, class: u8, out: &mut [u8]) {
        let d = &DIFFICULTY;
        let size = SHAPE.width as f64;
        let (ground, second) = (self.colour(d.ground), self.colour(d.ground));
        let ground_texture = self.texture();
        let clutter: Vec<Patch> = (0..self.stream.below(d.clutter + 1))
            .map(|_| self.patch((1.0, 9.0), (1.0, 5.0)))
            .collect();

        let mut figure = self.colour(d.figure);
        while far(figure, ground) < d.contrast || far(figure, mix(ground, second, 0.5)) < d.contrast
        {
            figure = self.colour(d.figure);
        }
        let figure_second = self.colour(d.figure);
        let figure_texture = self.texture();
        let stripes = self.chance(0.3);

        let radius = self.between(d.radius.0, d.radius.1);
        let stretch = self.between(1.0, d.stretch).sqrt();
        let (half_width, half_height) = if self.chance(0.5) {
            (radius * stretch, radius / stretch)
        } else {
            (radius / stretch, radius * stretch)
        };
        let tilt = self.between(-d.tilt, d.tilt);
        let length = (1.0 + tilt * tilt).sqrt();
        let (cos, sin) = (1.0 / length, tilt / length);
        let centre = (
            size / 2.0 + self.between(-d.shift, d.shift),
            size / 2.0 + self.between(-d.shift, d.shift),
        );

        let mut before = Vec::new();
        if self.chance(d.occlusion) {
            let mut patch = self.patch((radius * 0.3, radius * 0.7), (1.0, radius * 0.35));
            // Over the rim, so that the figure stays recognisable.
            let (x, y) = self.direction();
            patch.centre = (centre.0 + x * radius * 0.75, centre.1 + y * radius * 0.75);
            before.push(patch);
        }

        let light = self.direction();
        let shade = self.between(0.0, d.shade);
        let noise = self.between(0.02, d.noise);

        for (n, pixel) in out.chunks_exact_mut(3).enumerate() {
            let at = (
                (n % SHAPE.width) as f64 + 0.5,
                (n / SHAPE.width) as f64 + 0.5,
            );
            let mut colour = mix(ground, second, d.texture * 2.0 * ground_texture.at(at));
            for patch in &clutter {
                colour = mix(colour, patch.colour, 0.8 * patch.cover(at));
            }

            let (x, y) = (at.0 - centre.0, at.1 - centre.1);
            let place = (
                (x * cos + y * sin) / half_width,
                (y * cos - x * sin) / half_height,
            );
            // In pixels, so that the edge is one pixel soft.
            let cover = (0.5 - distance(class, place) * radius).clamp(0.0, 1.0);
            if cover > 0.0 {
                let grain = if stripes {
                    f64::from(u8::from(figure_texture.at((at.0 + at.1, 3.0)) > 0.5))
                } else {
                    figure_texture.at(at)
                };
                colour = mix(colour, mix(figure, figure_second, d.texture * grain), cover);
            }
            for patch in &before {
                colour = mix(colour, patch.colour, patch.cover(at));
            }

            let across = ((at.0 / size - 0.5) * light.0 + (at.1 / size - 0.5) * light.1) + 0.5;
            let bright = 1.0 - shade * across.clamp(0.0, 1.0);
            let bits = self.stream.bits();
            for (channel, out) in pixel.iter_mut().enumerate() {
                // Two uniform numbers of ten bits make a triangular one in −1..1.
                let part = bits >> (20 * channel);
                let grain = ((part & 1023) + (part >> 10 & 1023)) as f64 / 1023.0 - 1.0;
                let value = colour[channel] * bright + noise * grain;
                *out = (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
            }
        }
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.stream.uniform()
    }

    fn chance(&mut self, p: f64) -> bool {
        self.stream.uniform() < p
    }

    fn colour(&mut self, range: (f64, f64)) -> Colour {
        [
            self.between(range.0, range.1),
            self.between(range.0, range.1),
            self.between(range.0, range.1),
        ]
    }

    /// A unit vector. Normalising a point of the disc needs no sine, whose last bit differs between
    /// systems.
    fn direction(&mut self) -> (f64, f64) {
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if (0.01..=1.0).contains(&square) {
                let length = square.sqrt();
                return (x / length, y / length);
            }
        }
    }

    fn texture(&mut self) -> Texture {
        let mut grid = [[0.0; 9]; 9];
        grid.iter_mut()
            .flatten()
            .for_each(|value| *value = self.stream.uniform());
        Texture {
            grid,
            frequency: self.between(0.08, 0.45),
        }
    }

    fn patch(&mut self, long: (f64, f64), short: (f64, f64)) -> Patch {
        let size = SHAPE.width as f64;
        Patch {
            centre: (self.between(0.0, size), self.between(0.0, size)),
            along: self.direction(),
            half: (self.between(long.0, long.1), self.between(short.0, short.1)),
            round: self.chance(0.4),
            colour: self.colour(DIFFICULTY.ground),
        }
    }
}

impl Texture {
    /// The value at a pixel, 0 to 1.
    fn at(&self, p: (f64, f64)) -> f64 {
        let (x, y) = (p.0 * self.frequency, p.1 * self.frequency);
        let (column, row) = (x as usize, y as usize);
        let (fx, fy) = (smooth(x - column as f64), smooth(y - row as f64));
        let value = |r: usize, c: usize| self.grid[r % 9][c % 9];
        let top = value(row, column) * (1.0 - fx) + value(row, column + 1) * fx;
        let bottom = value(row + 1, column) * (1.0 - fx) + value(row + 1, column + 1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

impl Patch {
    /// How much of a pixel it covers, 0 to 1.
    fn cover(&self, p: (f64, f64)) -> f64 {
        let (x, y) = (p.0 - self.centre.0, p.1 - self.centre.1);
        let (u, v) = (
            (x * self.along.0 + y * self.along.1).abs(),
            (y * self.along.0 - x * self.along.1).abs(),
        );
        let outside = if self.round {
            let (u, v) = (u / self.half.0, v / self.half.1);
            ((u * u + v * v).sqrt() - 1.0) * self.half.0.min(self.half.1)
        } else {
            (u - self.half.0).max(v - self.half.1)
        };
        (0.5 - outside).clamp(0.0, 1.0)
    }
}

/// 3t² − 2t³: no corners where cells meet.
fn smooth(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

fn mix(a: Colour, b: Colour, share: f64) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}

fn far(a: Colour, b: Colour) -> f64 {
    (0..3)
        .map(|i| (a[i] - b[i]) * (a[i] - b[i]))
        .sum::<f64>()
        .sqrt()
}
