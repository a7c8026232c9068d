//! Augmentation against the outputs of the original scripts and of Pillow, where the folder with them
//! lies beside the repository (`../shared/golden/augment`); skipped, saying so, where it does not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rematch_data::augment::{Choice, CtAugment, CtOp, Kekmodel, Op, POOL, Policy};
use rematch_data::image::{Canvas, Shape};
use rematch_data::rng::{Purpose, Stream};
use serde_json::Value;

const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};

fn golden(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/augment");
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Arrays of images: image × setting × bytes; the inputs have one setting.
fn arrays(path: &Path) -> BTreeMap<String, Vec<Vec<Vec<u8>>>> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut arrays = BTreeMap::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let name = member.name().unwrap().trim_end_matches(".npy").to_owned();
        let mut npy = Vec::new();
        member.read_to_end(&mut npy).unwrap();
        // Format version 1: after the magic number two bytes of version and two of the header's length.
        let begin = 10 + usize::from(npy[8]) + 256 * usize::from(npy[9]);
        let header = String::from_utf8_lossy(&npy[10..begin]);
        assert!(
            npy.starts_with(b"\x93NUMPY\x01") && header.contains("'|u1', 'fortran_order': False"),
            "{header}"
        );
        let images: usize = header
            .split_once("'shape': (")
            .unwrap()
            .1
            .split(',')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let bytes = &npy[begin..];
        let split = |image: &[u8]| image.chunks(SHAPE.bytes()).map(<[u8]>::to_vec).collect();
        arrays.insert(
            name,
            bytes.chunks(bytes.len() / images).map(split).collect(),
        );
    }
    arrays
}

/// Counts the bytes of every operation and setting that differ.
fn compare(
    arrays: &BTreeMap<String, Vec<Vec<Vec<u8>>>>,
    name: &str,
    settings: &[Value],
    apply: impl Fn(&mut Canvas, &Value),
) -> usize {
    let mut canvas = Canvas::new();
    let mut wrong = 0;
    for (image, expected) in arrays["images"].iter().zip(&arrays[name]) {
        assert_eq!(expected.len(), settings.len(), "settings of {name}");
        for (setting, expected) in settings.iter().zip(expected) {
            canvas.load(SHAPE, &image[0]);
            apply(&mut canvas, setting);
            assert_eq!(canvas.shape(), SHAPE);
            wrong += canvas
                .pixels()
                .iter()
                .zip(expected)
                .filter(|(a, b)| a != b)
                .count();
        }
    }
    if wrong > 0 {
        println!("{name}: {wrong} bytes differ");
    }
    wrong
}

#[test]
fn randaugment_operations_give_the_golden_bytes() {
    let (Some(npz), Some(about)) = (golden("randaugment.npz"), golden("randaugment.json")) else {
        return;
    };
    let (arrays, about) = (arrays(&npz), json(&about));
    let mut wrong = 0;
    for (name, settings) in about["ops"].as_object().unwrap() {
        let settings = settings.as_array().unwrap();
        wrong += compare(&arrays, name, settings, |canvas, setting| {
            let v = setting["v"].as_u64().unwrap_or(0) as u8;
            let negative = setting["sign"].as_i64() == Some(-1);
            if let Some(op) = POOL.iter().find(|op| format!("{op:?}") == *name) {
                return Kekmodel::op(*op, v, negative, canvas);
            }
            match name.as_str() {
                "Invert" => {
                    Op::Invert.apply(0, canvas, &mut Stream::new(0, Purpose::named("none"), 0, 0));
                }
                "SolarizeAdd" => canvas.solarize_add(setting["add"].as_i64().unwrap() as i32, 128),
                "CutoutAbs16" => {
                    let at = |key: &str| setting[key].as_f64().unwrap();
                    let (rows, columns) = Kekmodel::cutout(SHAPE, at("x0"), at("y0"));
                    canvas.fill(rows, columns, 127);
                }
                // Its size is a share of the width, and not used by any policy.
                "Cutout" => {
                    let at = |i: usize| setting["rect_inclusive"][i].as_u64().unwrap() as usize;
                    canvas.fill(at(1)..at(3) + 1, at(0)..at(2) + 1, 127);
                }
                _ => panic!("no operation {name}"),
            }
        });
    }
    assert_eq!(about["ops"].as_object().unwrap().len(), 18);
    assert_eq!(wrong, 0, "bytes that differ");
}

#[test]
fn ctaugment_operations_give_the_golden_bytes() {
    let (Some(npz), Some(about)) = (golden("ctaugment.npz"), golden("ctaugment.json")) else {
        return;
    };
    let (arrays, about) = (arrays(&npz), json(&about));
    let mut wrong = 0;
    for op in CtOp::ALL {
        let about = &about["ops"][op.name()];
        let bins: Vec<u64> = about["bins"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .collect();
        assert!(
            op.bins().iter().map(|n| *n as u64).eq(bins),
            "{}",
            op.name()
        );
        wrong += compare(
            &arrays,
            op.name(),
            about["settings"].as_array().unwrap(),
            |canvas, setting| {
                let levels = levels(&setting["args"]);
                if op == CtOp::Cutout {
                    // The original draws a height and uses it as a column.
                    let at = |key: &str| setting[key].as_u64().unwrap() as usize;
                    CtOp::cutout(canvas, levels[0], at("width_loc"), at("height_loc"));
                } else {
                    op.apply(
                        levels,
                        canvas,
                        &mut Stream::new(0, Purpose::named("none"), 0, 0),
                    );
                }
            },
        );
    }
    assert_eq!(wrong, 0, "bytes that differ");
}

fn levels(args: &Value) -> [f64; 2] {
    std::array::from_fn(|i| args[i].as_f64().unwrap_or(0.0))
}

#[test]
fn ctaugment_learns_the_golden_rates() {
    let Some(path) = golden("ctaugment_rates.json") else {
        return;
    };
    for case in json(&path).as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let mut cta = CtAugment::new(number("depth") as usize, number("decay"), number("th"));
        for step in case["steps"].as_array().unwrap() {
            let choice = |choice: &Value| Choice {
                op: *CtOp::ALL.iter().find(|op| choice[0] == op.name()).unwrap(),
                levels: levels(&choice[1]),
            };
            let policy = Policy(step[0].as_array().unwrap().iter().map(choice).collect());
            cta.update(&policy, step[1].as_f64().unwrap() as f32);
        }
        for op in CtOp::ALL {
            let numbers = |key: &str| -> Vec<Vec<f32>> {
                serde_json::from_value(case[key][op.name()].clone()).unwrap()
            };
            let weights: Vec<Vec<f32>> = cta
                .rates(op)
                .iter()
                .map(|rates| cta.weights(rates))
                .collect();
            assert_eq!(cta.rates(op), numbers("rates"), "rates of {}", op.name());
            assert_eq!(weights, numbers("rate_to_p"), "weights of {}", op.name());
        }
    }
}
