//! Looking at records: the command, and the stage that shows its report at the end of a run.

use std::path::PathBuf;

use rematch_data::image::Shape;
use rematch_data::{png, records};

use super::project::Project;

/// A file of six grey images of two classes, two of them alike.
pub fn record_file(project: &Project, name: &str) -> PathBuf {
    let shape = Shape {
        height: 8,
        width: 8,
        channels: 1,
    };
    let pixels: Vec<u8> = [0, 10, 20, 30, 40, 40]
        .iter()
        .flat_map(|v| [*v; 64])
        .collect();
    let path = project.path(name);
    std::fs::write(
        &path,
        records::encode(shape, &pixels, &[0_u8, 0, 0, 0, 1, 1]),
    )
    .unwrap();
    path
}

#[test]
fn inspect_prints_what_is_in_a_file_and_draws_it() {
    let project = Project::new("stages: {}\n");
    record_file(&project, "a.tfrecord");
    project.file("names.json", r#"{"0": "cat", "1": "dog"}"#);
    let arguments = [
        "inspect",
        "a.tfrecord",
        "--classes",
        "names.json",
        "--sheet",
        "sheet.png",
    ];
    let ran = project
        .run(&arguments)
        .code(0)
        .says("contact sheet: sheet.png");
    for line in [
        "6 records\n",
        "1 images occur more than once",
        "  0  cat  4  ███",
        "  1  dog  2  ███",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    png::decode(&std::fs::read(project.path("sheet.png")).unwrap()).unwrap();
    project
        .run(&["inspect", "nothing.tfrecord"])
        .code(3)
        .says("nothing.tfrecord")
        .says("check that the path exists");
    project.file("text", "this is no record file, and longer than a header");
    project
        .run(&["inspect", "text"])
        .code(3)
        .says("text: record 0 ");
}

#[test]
fn a_run_shows_the_report_of_a_stage() {
    let project = Project::new(
        "stages:
  data: {download: {dataset: shapes, train_images: 100, test_images: 20}}
  look: {inspect: {records: '${data.train}'}}
  check: {check_split: {train: '${data.train}', labeled: '${data.train}', test: '${data.test}', strict: true}}
  arrays: {export: {records: '${data.test}', to: npy}}
  back: {convert: {from: {npy: {images: '${arrays.images}', labels: '${arrays.labels}'}}}}
  same: {check_split: {train: '${data.test}', labeled: '${back.records}', strict: true}}
",
    );
    let ran = project.run(&["run", "p.yaml"]).code(0);
    assert!(
        ran.stdout.contains("100 records\nimages of 32×32 colour\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("labeled in train: 20 of 20\n"),
        "{}",
        ran.stdout
    );
}
