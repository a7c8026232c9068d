//! Every image operation gives Pillow's bytes. Checked against checksums that `make_pillow_vectors.py`
//! (beside this file) computed with Pillow 9.5.0, over colour and grey images of seven shapes.

use rematch_data::augment::FeatMatchOp;
use rematch_data::image::{Canvas, Filter, Shape};

const SHAPES: [(usize, usize); 7] = [(32, 32), (96, 96), (33, 17), (5, 7), (4, 4), (2, 3), (1, 1)];
const KINDS: [&str; 4] = ["noise", "soft", "few", "flat"];

/// The generator of `make_pillow_vectors.py`.
fn generate(kind: &str, shape: Shape) -> Vec<u8> {
    let mut state = 1_u32;
    let mut data = Vec::new();
    for y in 0..shape.height {
        for x in 0..shape.width {
            for c in 0..shape.channels {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                let noise = state >> 24;
                let value = match kind {
                    "noise" => noise,
                    "soft" => 40 + (5 * y + 3 * x + 37 * c) as u32 % 150 + noise % 16,
                    "few" => 20 + 60 * (noise >> 6),
                    _ => 77 + 20 * c as u32,
                };
                data.push(value as u8);
            }
        }
    }
    data
}

fn filter(name: &str) -> Filter {
    match name {
        "nearest" => Filter::Nearest,
        "box" => Filter::Box,
        "bilinear" => Filter::Bilinear,
        "hamming" => Filter::Hamming,
        "bicubic" => Filter::Bicubic,
        "lanczos" => Filter::Lanczos,
        _ => panic!("no filter {name}"),
    }
}

/// The matrix of `rotation` in `make_pillow_vectors.py`.
fn rotation(shape: Shape, degrees: f64) -> [f64; 6] {
    let round = |v: f64| format!("{v:.15}").parse::<f64>().unwrap();
    let angle = -degrees.to_radians();
    let (cos, sin, minus) = (round(angle.cos()), round(angle.sin()), round(-angle.sin()));
    let (x, y) = (shape.width as f64 / 2.0, shape.height as f64 / 2.0);
    let (right, down) = (cos * -x + sin * -y + x, minus * -x + cos * -y + y);
    [cos, sin, right, minus, cos, down]
}

fn featmatch(name: &str) -> FeatMatchOp {
    let all = FeatMatchOp::ALL;
    *all.iter().find(|op| format!("{op:?}") == name).unwrap()
}

fn apply(canvas: &mut Canvas, op: &str) {
    let words: Vec<&str> = op.split(' ').collect();
    let real = |i: usize| words[i].parse::<f64>().unwrap();
    let whole = |i: usize| words[i].parse::<i32>().unwrap();
    let size = |i: usize| words[i].parse::<usize>().unwrap();
    if matches!(
        words[0],
        "autocontrast" | "equalize" | "invert" | "posterize" | "solarize"
    ) {
        canvas.close_holes();
    }
    match words[0] {
        "identity" => {}
        "autocontrast" => canvas.autocontrast(),
        "equalize" => canvas.equalize(),
        "invert" => canvas.invert(),
        "smooth" => canvas.smooth(),
        "blur" => canvas.blur(),
        "posterize" => canvas.posterize(whole(1)),
        "solarize" => canvas.solarize(whole(1)),
        "solarize_add" => canvas.solarize_add(whole(1), whole(2)),
        "brightness" => canvas.brightness(real(1) as f32),
        "contrast" => canvas.contrast(real(1) as f32),
        "color" => canvas.color(real(1) as f32),
        "sharpness" => canvas.sharpness(real(1) as f32),
        "blend" => canvas.blend(real(1) as f32, |canvas| apply(canvas, words[2])),
        "rotate" => canvas.rotate(whole(1)),
        "shear_x" => canvas.shear_x(real(1)),
        "shear_y" => canvas.shear_y(real(1)),
        "translate_x" => canvas.translate_x(real(1)),
        "translate_y" => canvas.translate_y(real(1)),
        "affine" => canvas.affine(std::array::from_fn(|i| real(i + 1))),
        "mirror" => canvas.mirror(),
        "transpose" => canvas.transpose(),
        "bicubic" => canvas.affine_bicubic(std::array::from_fn(|i| real(i + 1))),
        "rotate_bicubic" => canvas.affine_bicubic(rotation(canvas.shape(), real(1))),
        "featmatch" => featmatch(words[1]).apply(real(2), canvas),
        "crop" => canvas.crop(
            whole(1).into(),
            whole(2).into(),
            whole(3).into(),
            whole(4).into(),
        ),
        "resize" => canvas.resize(size(1), size(2), filter(words[3])),
        "fill" => canvas.fill(size(2)..size(4), size(1)..size(3), size(5) as u8),
        name => panic!("no operation {name}"),
    }
}

fn checksum(line: &str, channels: usize) -> String {
    let alpha = line.strip_prefix("alpha ");
    let mut crc = crc32fast::Hasher::new();
    // One canvas for all, as in use: what an earlier image left behind must not show.
    let mut canvas = Canvas::new();
    for (height, width) in SHAPES {
        let shape = Shape {
            height,
            width,
            channels,
        };
        for kind in KINDS {
            canvas.load(shape, &generate(kind, shape));
            if alpha.is_some() {
                canvas.track_holes();
            }
            for op in alpha.unwrap_or(line).split("; ") {
                apply(&mut canvas, op);
            }
            assert_eq!(
                canvas.pixels().len(),
                canvas.shape().bytes(),
                "{line} on {shape:?}"
            );
            crc.update(canvas.pixels());
            crc.update(canvas.holes());
        }
    }
    format!("{:08x}", crc.finalize())
}

#[test]
fn every_operation_gives_pillows_bytes() {
    let mut wrong = Vec::new();
    let vectors = include_str!("pillow_vectors.txt");
    for line in vectors.lines() {
        let (ops, expected) = line.split_once(" = ").unwrap();
        let expected: Vec<&str> = expected.split(' ').collect();
        for (channels, expected) in [(3, expected[0]), (1, expected[1])] {
            if expected != "-" && checksum(ops, channels) != expected {
                wrong.push(format!("{ops} ({channels} channels)"));
            }
        }
    }
    assert!(vectors.lines().count() > 100);
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
