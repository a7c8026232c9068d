//! ZCA statistics against numpy's (`make_zca_vectors.py`), and the archive that holds them.

use std::io::Read;
use std::path::Path;

use rematch_data::image::Shape;
use rematch_data::npy::Header;
use rematch_data::zca::{Whitening, Zca};
use rematch_data::{fs, records};

const COUNT: usize = 60;
const SHAPE: Shape = Shape {
    height: 2,
    width: 4,
    channels: 3,
};
const SIDE: usize = 24;

/// The images of `make_zca_vectors.py`.
fn images() -> Vec<u8> {
    let (mut state, mut data) = (1_u32, Vec::new());
    for n in 0..COUNT * SIDE {
        let (image, y, x, c) = (n / SIDE, n / 12 % 2, n / 3 % 4, n % 3);
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        let value = (state >> 26) as usize + (7 * image % 50) * (x + 1) / 2 + 20 * y + 9 * c;
        data.push(u8::try_from(value).unwrap());
    }
    data
}

fn record_file(folder: &Path, images: &[u8]) -> std::path::PathBuf {
    let path = folder.join("images.tfrecord");
    let labels = vec![0_u8; images.len() / SIDE];
    fs::write(&path, records::encode(SHAPE, images, &labels)).unwrap();
    path
}

fn statistics(folder: &Path, images: &[u8]) -> Zca {
    Zca::of(&[record_file(folder, images)], &|_, _| Ok(())).unwrap()
}

fn expected(name: &str) -> Vec<f64> {
    let line = include_str!("zca_vectors.txt").lines();
    let mut words = line.map(str::split_whitespace);
    let line = words.find(|line| line.clone().next() == Some(name));
    line.unwrap().skip(1).map(|v| v.parse().unwrap()).collect()
}

#[track_caller]
fn near(found: f64, expected: f64, scale: f64) {
    let error = (found - expected).abs();
    assert!(error < 1e-12 * scale, "{found}, not {expected}");
}

#[test]
fn statistics_are_numpys() {
    let folder = tempfile::tempdir().unwrap();
    let zca = statistics(folder.path(), &images());
    assert_eq!((zca.records, zca.lost()), (60, 0));
    for (found, expected) in zca.mean.iter().zip(expected("mean")) {
        near(*found, expected, 1.0);
    }
    for (found, expected) in zca.values.iter().zip(expected("S")) {
        near(*found, expected, 1.0);
    }
    let whitening = expected("W");
    let largest = whitening.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
    for (n, expected) in whitening.iter().enumerate() {
        near(
            zca.whitening[(n / SIDE, n % SIDE)],
            *expected,
            10.0 * largest,
        );
    }
}

#[test]
fn whitened_images_have_the_identity_as_covariance() {
    let folder = tempfile::tempdir().unwrap();
    let images = images();
    let zca = statistics(folder.path(), &images);
    let mut covariance = vec![0.0; SIDE * SIDE];
    for image in images.chunks_exact(SIDE) {
        let centred: Vec<f64> = (0..SIDE)
            .map(|k| f64::from(image[k % 8 * 3 + k / 8]) / 255.0 - zca.mean[k])
            .collect();
        let white: Vec<f64> = (0..SIDE)
            .map(|i| (0..SIDE).map(|j| zca.whitening[(i, j)] * centred[j]).sum())
            .collect();
        for (n, sum) in covariance.iter_mut().enumerate() {
            *sum += white[n / SIDE] * white[n % SIDE] / COUNT as f64;
        }
    }
    for (n, value) in covariance.iter().enumerate() {
        let one = if n / SIDE == n % SIDE { 1.0 } else { 0.0 };
        near(*value, one, 1000.0);
    }
}

#[test]
fn the_archive_has_numpys_arrays_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let zca = statistics(folder.path(), &images());
    let path = folder.path().join("zca.npz");
    zca.write(&path).unwrap();
    let again = folder.path().join("again.npz");
    zca.write(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    let mut archive = zip::ZipArchive::new(fs::open(&path).unwrap()).unwrap();
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        archive
            .by_name(name)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        let mut rest = &bytes[..];
        let header = Header::read(&mut rest).unwrap();
        assert_eq!(header.descr, "<f8");
        let values = rest.as_chunks().0.iter();
        let values: Vec<f64> = values.map(|b| f64::from_le_bytes(*b)).collect();
        (header.shape, values)
    };
    assert_eq!(read("mean.npy"), (vec![24], zca.mean.clone()));
    assert_eq!(read("S.npy"), (vec![24], zca.values.clone()));
    let (shape, vectors) = read("U.npy");
    assert_eq!(
        (shape, vectors[1], vectors[SIDE]),
        (vec![24, 24], zca.vectors[(0, 1)], zca.vectors[(1, 0)])
    );
    let (_, whitening) = read("W.npy");
    assert_eq!(whitening[SIDE + 3], zca.whitening[(1, 3)]);
}

#[test]
fn too_few_images_are_noticed_and_large_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zca = statistics(folder.path(), &images()[..5 * SIDE]);
    assert_eq!(zca.lost(), SIDE - 4);
    let large = Shape {
        height: 96,
        width: 96,
        channels: 3,
    };
    let path = folder.path().join("large");
    fs::write(
        &path,
        records::encode(large, &vec![0; large.bytes()], &[0_u8]),
    )
    .unwrap();
    let error = Zca::of(&[path], &|_, _| Ok(())).unwrap_err().to_string();
    assert!(
        error.contains("images of 96×96×3 have 27648 values"),
        "{error}"
    );
}

#[test]
fn training_reads_what_was_written_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let zca = statistics(folder.path(), &images());
    let path = folder.path().join("zca.npz");
    zca.write(&path).unwrap();
    let read = Whitening::read(&path, SHAPE).unwrap();
    assert_eq!(read.mean, zca.mean);
    for (n, value) in read.matrix.iter().enumerate() {
        assert_eq!(*value, zca.whitening[(n / SIDE, n % SIDE)]);
    }
    let refused = |path: &Path, shape| Whitening::read(path, shape).unwrap_err().to_string();
    let other = Shape { width: 3, ..SHAPE };
    let found = refused(&path, other);
    assert!(found.contains("`mean` has the shape [24]"), "{found}");
    let found = refused(&record_file(folder.path(), &images()), SHAPE);
    assert!(found.contains("is no numpy archive"), "{found}");
    // Cut anywhere, damaged anywhere: refused or read, but never more than that.
    let whole = fs::read(&path).unwrap();
    for n in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..n]).unwrap();
        refused(&path, SHAPE);
        let mut damaged = whole.clone();
        damaged[n] ^= 0x55;
        fs::write(&path, damaged).unwrap();
        let _ = Whitening::read(&path, SHAPE);
    }
}
