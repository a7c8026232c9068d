//! Image files of every kind give what Pillow reads from them. Checked against files and pixels that
//! `make_image_files.py` (beside this file) made with Pillow 12.0.0.

use std::path::Path;

use rematch_data::image::file::{Error, Rules, decode};
use rematch_data::image::{Canvas, Shape, fit};
use rematch_spec::images::{Alpha, Channels, Resize};

const VECTORS: &str = include_str!("image_files.txt");

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image_files");
    std::fs::read(folder.join(name)).unwrap()
}

/// The lines that start with `square`, or the others, in words.
fn lines(square: bool) -> Vec<Vec<&'static str>> {
    let lines = VECTORS.lines().map(|line| line.split(' ').collect());
    lines
        .filter(|words: &Vec<&str>| (words[0] == "square") == square)
        .collect()
}

#[test]
fn every_file_gives_pillows_pixels() {
    let mut wrong = Vec::new();
    let lines = lines(false);
    for words in &lines {
        let rules = Rules {
            channels: Channels::try_from(words[1].parse::<u8>().unwrap()).unwrap(),
            alpha: match words[2] {
                "white" => Alpha::White,
                "black" => Alpha::Black,
                _ => Alpha::Drop,
            },
            upright: words[3] == "1",
        };
        let tolerance: u8 = words[4].parse().unwrap();
        let image = decode(&file(words[0]), rules).unwrap();
        let expected: Vec<u8> = (0..words[7].len() / 2)
            .map(|i| u8::from_str_radix(&words[7][2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let size = [image.shape.height, image.shape.width].map(|side| side.to_string());
        let most = image
            .data
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b));
        let most = most.max().unwrap();
        if size != words[5..7] || image.data.len() != expected.len() || most > tolerance {
            wrong.push(format!(
                "{}: size {size:?}, off by {most}",
                words[..7].join(" ")
            ));
        }
    }
    assert!(lines.len() > 50);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_way_to_a_square_gives_pillows_bytes() {
    let lines = lines(true);
    let mut canvas = Canvas::new();
    for words in &lines {
        let [height, width, size] = [1, 2, 3].map(|i| words[i].parse::<usize>().unwrap());
        let resize = match words[4] {
            "crop" => Resize::Crop,
            "fit" => Resize::Fit,
            _ => Resize::Stretch,
        };
        let shape = Shape {
            height,
            width,
            channels: 3,
        };
        let mut state = 1_u32;
        let value = |i: usize| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
            ((5 * y + 3 * x + 37 * c) % 200) as u8 + ((state >> 24) % 56) as u8
        };
        canvas.load(shape, &(0..shape.bytes()).map(value).collect::<Vec<u8>>());
        fit::square(&mut canvas, size, resize);
        let crc = format!("{:08x}", crc32fast::hash(canvas.pixels()));
        assert_eq!(crc, words[5], "{}", words.join(" "));
    }
    assert!(lines.len() > 50);
}

#[test]
fn files_cut_anywhere_are_refused() {
    for name in [
        "rgb.png",
        "full.jpg",
        "progressive.jpg",
        "rgb.bmp",
        "lossless.webp",
    ] {
        let file = file(name);
        for length in 0..file.len() {
            let decoded = decode(&file[..length], Rules::default());
            assert!(decoded.is_err(), "{name} {length}");
        }
    }
}

#[test]
fn bombs_are_refused_before_memory_is_taken() {
    // 20,000 × 20,000 in the headers of files of some hundred bytes.
    let side = 20_000_u32;
    let mut png = file("grey.png");
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let crc = crc32fast::hash(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let mut bmp = file("rgb.bmp");
    bmp[18..22].copy_from_slice(&side.to_le_bytes());
    bmp[22..26].copy_from_slice(&side.to_le_bytes());
    let mut jpeg = file("grey.jpg");
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&(side as u16).to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&(side as u16).to_be_bytes());
    for file in [png, bmp, jpeg] {
        let error = decode(&file, Rules::default()).unwrap_err();
        assert!(matches!(error, Error::Large(20_000, 20_000)), "{error}");
    }
}

#[test]
fn other_formats_are_named_as_such() {
    for bytes in [&b"GIF89a"[..], b"", b"BM", b"\xff\xd8", b"RIFF....WAVE"] {
        assert!(matches!(
            decode(bytes, Rules::default()),
            Err(Error::Format)
        ));
    }
}
