//! Writes a TFRecord file and a TensorBoard run together with their plain contents, for
//! `stages/data/tests/check_tensorflow.py`: `cargo run -p rematch-data --example interchange -- FOLDER`.

use std::path::Path;
use std::process::ExitCode;

use rematch_data::error::StageError;
use rematch_data::events::{EventWriter, file_name};
use rematch_data::shapes::{self, Part, SHAPE};
use rematch_data::{fs, records};
use serde_json::json;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: interchange FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), StageError> {
    let run = folder.join("run");
    fs::create_dir_all(&run)?;
    let (images, labels) = shapes::images(0, Part::Train, 0, 200);
    fs::write(
        &folder.join("shapes.tfrecord"),
        records::encode(SHAPE, &images, &labels),
    )?;
    fs::write(&folder.join("shapes.rgb"), &images)?;
    fs::write(&folder.join("shapes.labels"), &labels)?;

    let path = run.join(file_name(1_700_000_000, "host"));
    let mut writer = EventWriter::create(&path, 1_700_000_000.0)?;
    let (mut accuracy, mut loss) = (Vec::new(), Vec::new());
    for n in 0..100_u16 {
        let step = i64::from(n) * 65536 + 64;
        let values = [f32::from(n) * 0.7, 1.0 / (f32::from(n) + 1.0)];
        // Half of the file is written by a second writer, as after an interruption.
        if n == 50 {
            writer.flush()?;
            writer = EventWriter::resume(&path, writer.position())?;
        }
        writer.scalars(
            1_700_000_000.0 + f64::from(n),
            step,
            &[("accuracy", values[0]), ("losses/xe", values[1])],
        );
        accuracy.push(json!([step, f64::from(values[0])]));
        loss.push(json!([step, f64::from(values[1])]));
    }
    writer.sync()?;
    fs::write(
        &folder.join("run.json"),
        json!({"accuracy": accuracy, "losses/xe": loss}).to_string(),
    )?;
    Ok(())
}
