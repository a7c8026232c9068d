//! Whole runs, seen from outside.

mod common;

use std::thread;
use std::time::Instant;

use common::{Place, assert_same, checkpoints, log, name, records, scalars, start};
use rematch_data::child::{Child, StageError};
use rematch_data::rng::{Purpose, Stream};
use rematch_data::zca::Zca;
use rematch_train::train::train;
use serde_json::{Value, json};

#[test]
fn a_run_leaves_events_a_log_arguments_and_checkpoints() {
    let place = Place::new();
    let job = place.job("job", json!({}));
    let report = place.run(&job).unwrap();
    let scalars = scalars(&job);
    // Behind the first step, then every fifth, then at the end; counted in labeled images.
    let at: Vec<i64> = scalars
        .iter()
        .filter(|s| s.1 == "accuracy")
        .map(|s| s.0)
        .collect();
    assert_eq!(at, [1, 6, 11, 16, 21, 24].map(|step| step * 4));
    let tags: Vec<&str> = scalars
        .iter()
        .filter(|s| s.0 == 4)
        .map(|s| s.1.as_str())
        .collect();
    let expected = [
        "losses/wd",
        "losses/xe",
        "losses/xeu",
        "monitors/lr",
        "monitors/mask",
        "accuracy/train_labeled",
        "accuracy/valid",
        "accuracy",
        "accuracy/raw/train_labeled",
        "accuracy/raw/valid",
        "accuracy/raw",
        "accuracy/GM",
        "precision/macro",
        "recall/macro",
        "f1_score/macro",
        "precision/weighted",
        "recall/weighted",
        "f1_score/weighted",
        "accuracy_cls/cls0",
        "accuracy_cls/cls1",
        "accuracy_cls/cls2",
    ];
    assert_eq!(tags, expected);
    let last = scalars.iter().rfind(|s| s.1 == "accuracy").unwrap().2;
    assert_eq!(report.metrics["accuracy"] as f32, last as f32);
    assert_eq!(report.facts["steps"], 24);
    let run = &job.outputs["run"];
    let lines = log(&job);
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[5]["accuracy"], report.metrics["accuracy"]);
    let sum = |row: &Value| -> i64 {
        row.as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_i64)
            .sum()
    };
    let rows: Vec<i64> = lines[5]["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .map(sum)
        .collect();
    assert_eq!(rows, [10, 10, 10], "a row per true class");
    // Views of the first batch, and the confusion of each report: pictures in PNG.
    let events = std::fs::read(&rematch_data::events::files(run).unwrap()[0]).unwrap();
    let count = |what: &[u8]| events.windows(what.len()).filter(|w| *w == what).count();
    assert_eq!(
        (
            count(b"views/labeled0"),
            count(b"views/unlabeled1"),
            count(b"\x89PNG")
        ),
        (1, 1, 9)
    );
    let arguments: Value =
        serde_json::from_slice(&std::fs::read(run.join("args/args.json")).unwrap()).unwrap();
    assert_eq!(
        (&arguments["nclass"], &arguments["uratio"]),
        (&json!(3), &json!(2))
    );
    let names: Vec<String> = checkpoints(&job).iter().map(|p| name(p)).collect();
    assert_eq!(
        names,
        [
            "best.safetensors",
            "step-00000020.safetensors",
            "step-00000024.safetensors"
        ]
    );
}

#[test]
fn a_network_learns_what_is_easy() {
    let place = Place::new();
    let changes =
        json!({"length": {"steps": 60}, "optimizer": {"sgd": {"lr": 0.1}}, "augment": "d.d.rac"});
    let report = place.run(&place.job("job", changes)).unwrap();
    assert!(report.metrics["accuracy"] > 90.0, "{:?}", report.metrics);
}

#[test]
fn a_checkpoint_is_plain_safetensors_with_pytorch_names() {
    let place = Place::new();
    let job = place.job("job", json!({"length": {"steps": 2}}));
    place.run(&job).unwrap();
    // Read by hand, as the format's description says: length, JSON, bytes.
    let bytes =
        std::fs::read(job.outputs["run"].join("checkpoints/step-00000002.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (name, shape) in [
        ("student.conv.weight", json!([16, 3, 3, 3])),
        ("student.groups.0.0.bn1.running_var", json!([16])),
        ("student.groups.1.0.shortcut.weight", json!([8, 4, 1, 1])),
        ("ema.classifier.weight", json!([3, 8])),
        ("momentum.groups.1.0.conv2.weight", json!([8, 8, 3, 3])),
    ] {
        assert_eq!(header[name]["shape"], shape, "{name}");
        assert_eq!(header[name]["dtype"], "F32");
    }
    assert!(
        header.get("ema.bn.running_mean").is_none(),
        "the teacher has no statistics of its own"
    );
    let record: Value =
        serde_json::from_str(header["__metadata__"]["rematch"].as_str().unwrap()).unwrap();
    assert_eq!(record["step"], 2);
    assert!(record["cta"][0].to_string().contains("solarize"));
    // A tensor's bytes are its numbers, row by row.
    let [start, end] = [0, 1].map(|i| {
        header["student.bn.weight"]["data_offsets"][i]
            .as_u64()
            .unwrap() as usize
    });
    let values: Vec<f32> = bytes[8 + length..][start..end]
        .chunks(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert!(values.iter().all(|v| (v - 1.0).abs() < 0.2), "{values:?}");
}

/// Numbers from 0 to 1 that look random.
fn draws(seed: u64) -> impl FnMut() -> f64 {
    let mut stream = Stream::new(seed, Purpose::named("stops"), 0, 0);
    move || stream.uniform()
}

#[test]
fn a_run_that_is_stopped_again_and_again_ends_with_the_same_bits() {
    let place = Place::new();
    for (method, changes) in [
        ("cta", json!({})),
        ("rac", json!({"augment": "d.d.rac"})),
        ("alone", json!({"algorithm": "supervised"})),
    ] {
        let [whole, stopped] = ["whole", "stopped"]
            .map(|name| place.job(&format!("{method}-{name}"), changes.clone()));
        let start = Instant::now();
        place.run(&whole).unwrap();
        let took = start.elapsed();
        let (mut draw, mut stops) = (draws(5), 0);
        loop {
            let child = Child::new(stopped.clone(), std::io::sink());
            let done = thread::scope(|scope| {
                let run = scope.spawn(|| train(&child));
                thread::sleep(took.mul_f64(0.2 + 0.3 * draw()));
                child.interrupt();
                run.join().unwrap()
            });
            match done {
                Ok(_) => break,
                Err(error) => assert_eq!(error, StageError::Interrupted),
            }
            stops += 1;
            assert!(stops < 200, "stopped {stops} times without an end");
        }
        assert!(stops > 0, "nothing was stopped");
        assert_same(&stopped, &whole);
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_bits() {
    let place = Place::new();
    // Shake-Shake draws from libtorch's generator, which each process has its own of.
    let shake = json!({"shake": {"filters": 4, "repeat": 1, "scales": 2, "bn_momentum": 0.9}});
    let changes = json!({"save": {"steps": 1}, "length": {"steps": 40}, "network": shake});
    let [whole, killed] = ["whole", "killed"].map(|name| place.job(name, changes.clone()));
    let begun = Instant::now();
    assert!(start(&whole).wait().unwrap().success());
    let took = begun.elapsed();
    let mut draw = draws(6);
    let mut kills = 0;
    for _ in 0..8 {
        let mut child = start(&killed);
        thread::sleep(took.mul_f64(draw()));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 0, "nothing was killed");
    assert!(start(&killed).wait().unwrap().success());
    assert_same(&killed, &whole);
    let left: Vec<_> = checkpoints(&killed)
        .into_iter()
        .filter(|p| name(p).starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_damaged_state_is_not_continued() {
    let place = Place::new();
    let [whole, damaged] = ["whole", "damaged"].map(|name| place.job(name, json!({})));
    place.run(&whole).unwrap();
    std::fs::write(damaged.work.join("state.safetensors"), b"nothing of use").unwrap();
    place.run(&damaged).unwrap();
    assert_same(&damaged, &whole);
}

#[test]
fn two_threads_and_bf16_train_as_well() {
    let place = Place::new();
    let mut job = place.job(
        "job",
        json!({"precision": "bf16", "length": {"steps": 60}, "optimizer": {"sgd": {"lr": 0.1}}}),
    );
    job.cpus = 2;
    assert!(place.run(&job).unwrap().metrics["accuracy"] > 80.0);
}

/// The losses and accuracies of a short run on the CPU, without a threshold for rounding to cross.
fn curve(place: &Place, name: &str, changes: Value) -> Vec<(i64, String, f64)> {
    let mut all = json!({
        "algorithm": {"fixmatch": {"uratio": 2, "confidence": 0.0}},
        "report": {"steps": 1},
        "length": {"steps": 12},
    });
    all.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    let job = place.job(name, all);
    place.run(&job).unwrap();
    scalars(&job)
}

#[test]
fn what_makes_a_step_fast_leaves_the_losses_as_they_are() {
    let place = Place::new();
    let adam = json!({"optimizer": {"adam": {"lr": 0.003}}});
    // The losses of twelve steps in a row; bf16 has 8 bits of precision where float32 has 24.
    for (name, bound, base, changes) in [
        (
            "channels_last",
            1e-3,
            json!({}),
            json!({"speed": {"channels_last": false}}),
        ),
        ("fused", 1e-3, json!({}), json!({"speed": {"fused": false}})),
        (
            "adam",
            1e-3,
            adam.clone(),
            json!({"speed": {"fused": false}, "optimizer": adam["optimizer"]}),
        ),
        (
            "keep_memory",
            0.0,
            json!({}),
            json!({"speed": {"keep_memory": false}}),
        ),
        (
            "deterministic",
            0.0,
            json!({}),
            json!({"deterministic": true}),
        ),
        ("bf16", 0.1, json!({}), json!({"precision": "bf16"})),
    ] {
        let with = curve(&place, &format!("{name}-with"), base);
        let without = curve(&place, &format!("{name}-without"), changes);
        assert_eq!(with.len(), without.len());
        let losses = with
            .iter()
            .zip(&without)
            .filter(|(with, _)| with.1.starts_with("losses/"));
        let mut differ = 0;
        for (with, without) in losses {
            assert_eq!((with.0, &with.1), (without.0, &without.1));
            assert!(
                (with.2 - without.2).abs() <= bound * with.2.abs().max(1.0),
                "{name}: {with:?} {without:?}"
            );
            differ += usize::from(with.2 != without.2);
        }
        // What changes nothing was not switched off.
        assert_eq!(differ > 0, bound > 0.0, "{name}");
    }
}

#[test]
fn featmatch_learns_before_and_with_prototypes() {
    let place = Place::new();
    let settings = json!({"k": 1, "of": 24, "pretrain": 4, "sample": 5, "rampup": 12, "pk": 3});
    let changes = json!({
        "algorithm": {"featmatch": settings},
        // Its operations on colours hide what these classes differ in.
        "augment": "mz.mz.mz",
        "length": {"steps": 150},
        "optimizer": {"sgd": {"lr": 0.1}},
        "ema": 0,
    });
    let job = place.job("job", changes);
    let report = place.run(&job).unwrap();
    let prototypes: Vec<f64> = scalars(&job)
        .iter()
        .filter(|s| s.1.starts_with("monitors/prototypes"))
        .map(|s| s.2)
        .collect();
    // None at the first report, then three of each class.
    let counts: Vec<f64> = prototypes.chunks(2).map(|both| both.iter().sum()).collect();
    assert_eq!((counts[0], counts[counts.len() - 1]), (0.0, 9.0));
    assert!(report.metrics["accuracy"] > 80.0, "{:?}", report.metrics);
}

#[test]
fn featmatch_learns_from_whitened_images() {
    let place = Place::new();
    // More images than an image has values, so that no direction is lost.
    std::fs::write(place.path("many"), records(400, 9)).unwrap();
    let zca = Zca::of(&[place.path("many")], &|_, _| Ok(())).unwrap();
    zca.write(&place.path("zca.npz")).unwrap();
    let input = |name: &str| json!({"$input": place.path(name)});
    let changes = json!({
        "algorithm": {"featmatch": {"k": 1}},
        "zca": input("zca.npz"),
        "labeled": [input("many")],
        "length": {"steps": 120},
        "batch": 8,
        "optimizer": {"sgd": {"lr": 0.1}},
        "augment": "x.x.x",
        "ema": 0,
    });
    let report = place.run(&place.job("job", changes)).unwrap();
    assert!(report.metrics["accuracy"] > 60.0, "{:?}", report.metrics);
}
