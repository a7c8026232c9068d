//! `extract_accuracy`: the median of the last values of a scalar, as the originals' script of that
//! name computes and writes it (spec/fixmatch.md 10), and the value at the best report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rematch_spec::extract_accuracy::ExtractAccuracy;
use rematch_spec::job::Report;

use crate::child::Child;
use crate::error::StageError;
use crate::events::{self, EventReader};
use crate::json;

/// How many of the last values each median is of.
const LAST: [(&str, usize); 4] = [
    ("last01", 1),
    ("last10", 10),
    ("last20", 20),
    ("last50", 50),
];

/// What says which report is the best.
const VALID: &str = "accuracy/valid";

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: ExtractAccuracy = child.params()?;
    let run = params.run.path();
    let reports = reports(child, run, &params.tag)?;
    let values: Vec<f64> = reports.iter().map(|report| report.value).collect();
    let mut stats: BTreeMap<&str, f64> = LAST
        .map(|(name, count)| (name, median_of_last(&values, count)))
        .into();
    if params.best_valid {
        let best = best(&reports).ok_or_else(|| {
            let message = format!(
                "{}: no report has both `{}` and `{VALID}`",
                run.display(),
                params.tag
            );
            StageError::failed(message)
                .help("train with validation images, or leave `best_valid` out")
        })?;
        stats.insert("best_valid", best);
    }
    json::write(child.output("stats")?, &stats, 4)?;
    let metrics = stats
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Ok(Report {
        metrics,
        ..Report::default()
    })
}

/// One value of a scalar.
struct Value {
    value: f64,
    /// [`VALID`] in the same report.
    valid: Option<f64>,
}

/// The value with the highest validation accuracy; the first of several.
fn best(reports: &[Value]) -> Option<f64> {
    let mut best: Option<(f64, f64)> = None;
    for (valid, value) in reports.iter().filter_map(|r| Some((r.valid?, r.value))) {
        if best.is_none_or(|(highest, _)| valid > highest) {
            best = Some((valid, value));
        }
    }
    best.map(|(_, value)| value)
}

/// All values of a scalar in a run, in the order of files and of events within them: steps that a
/// restarted run wrote twice count twice, as in the originals.
fn reports(child: &Child, run: &Path, tag: &str) -> Result<Vec<Value>, StageError> {
    let files = events::files(run)?;
    if files.is_empty() {
        let message = format!("{}: no event files here or in tf/ below it", run.display());
        return Err(StageError::failed(message).help("give the folder of a training run"));
    }
    let (mut values, mut others) = (Vec::new(), BTreeSet::new());
    for file in &files {
        let mut reader = EventReader::open(file)?;
        loop {
            child.check()?;
            match reader.read() {
                Ok(Some(event)) => {
                    // The originals take one value per event.
                    if let Some((_, value)) = event.scalars.iter().find(|(t, _)| t == tag) {
                        if !value.is_finite() {
                            let message = format!(
                                "{}: `{tag}` at step {} is {value}",
                                file.display(),
                                event.step
                            );
                            return Err(StageError::failed(message)
                                .help("the run diverged; look at its losses"));
                        }
                        let valid = event
                            .scalars
                            .iter()
                            .find(|(t, v)| t == VALID && v.is_finite());
                        values.push(Value {
                            value: *value,
                            valid: valid.map(|(_, valid)| *valid),
                        });
                    } else {
                        others.extend(event.scalars.into_iter().map(|(tag, _)| tag));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    child.warning(format!("{error}; what came before it counts"));
                    break;
                }
            }
        }
    }
    if values.is_empty() {
        let others: Vec<String> = others.into_iter().collect();
        let message = format!(
            "{}: no scalar `{tag}` in {} event files",
            run.display(),
            files.len()
        );
        let help = if others.is_empty() {
            "they hold no scalars at all".into()
        } else {
            format!("they hold {}", others.join(", "))
        };
        return Err(StageError::failed(message).help(help));
    }
    Ok(values)
}

/// numpy's median of the last `count` values, or of all where there are fewer.
fn median_of_last(values: &[f64], count: usize) -> f64 {
    let mut last = values[values.len().saturating_sub(count)..].to_vec();
    last.sort_by(f64::total_cmp);
    let middle = last.len() / 2;
    if last.len() % 2 == 1 {
        last[middle]
    } else {
        f64::midpoint(last[middle - 1], last[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::{Lines, job};
    use crate::events::EventWriter;
    use crate::fs;
    use crate::testing::shared;
    use serde_json::json;

    fn extract(run: &Path, tag: &str) -> (Result<String, StageError>, Lines) {
        extract_with(json!({"run": {"$input": run}, "tag": tag}))
    }

    fn extract_with(params: serde_json::Value) -> (Result<String, StageError>, Lines) {
        let work = tempfile::tempdir().unwrap();
        let lines = Lines::default();
        let child = Child::new(
            job(
                work.path(),
                "extract_accuracy",
                params,
                &[("stats", "accuracy.json")],
            ),
            lines.clone(),
        );
        let result = crate::stages::run(&child);
        (
            result.map(|_| fs::read_to_string(&work.path().join("out/accuracy.json")).unwrap()),
            lines,
        )
    }

    #[test]
    fn every_golden_run_gives_the_originals_file_to_the_byte() {
        let Some(golden) = shared("golden/events") else {
            return;
        };
        for name in ["fixmatch_run", "small25", "short7", "gm25"] {
            let run = golden.join(name);
            let expected = fs::read_to_string(&run.join("stats/accuracy.json")).unwrap();
            assert_eq!(extract(&run, "accuracy").0.unwrap(), expected, "{name}");
            // The folder with the files in it will do as well.
            assert_eq!(
                extract(&run.join("tf"), "accuracy").0.unwrap(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn cadrs_figure_is_that_of_another_tag() {
        let Some(golden) = shared("golden/events/gm25") else {
            return;
        };
        let expected = fs::read_to_string(&golden.join("stats/GM.json")).unwrap();
        assert_eq!(extract(&golden, "accuracy/GM").0.unwrap(), expected);
    }

    #[test]
    fn the_best_report_is_the_first_with_the_highest_validation_accuracy() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&run.path().join("tfevents"), 0.0).unwrap();
        let reports = [(10.0, 5.0), (20.0, 7.0), (30.0, 6.0), (40.0, 7.0)];
        for (step, (test, valid)) in (1..).zip(reports) {
            let values = [("accuracy/valid", valid), ("accuracy", test)];
            writer.scalars(0.0, step, &values);
        }
        writer.scalars(0.0, 5, &[("accuracy", 99.0)]);
        writer.flush().unwrap();
        let mut params = json!({"run": {"$input": run.path()}, "best_valid": true});
        let found = extract_with(params.clone()).0.unwrap();
        assert!(found.contains("\"best_valid\": 20.0"), "{found}");
        assert!(!extract(run.path(), "accuracy").0.unwrap().contains("best"));
        params["tag"] = "accuracy/valid".into();
        let found = extract_with(params).0.unwrap();
        assert!(found.contains("\"best_valid\": 7.0"), "{found}");
    }

    #[test]
    fn a_run_without_validation_images_has_no_best_report() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&run.path().join("tfevents"), 0.0).unwrap();
        writer.scalars(0.0, 1, &[("accuracy", 10.0)]);
        writer.flush().unwrap();
        let params = json!({"run": {"$input": run.path()}, "best_valid": true});
        let error = extract_with(params).0.unwrap_err();
        assert!(error.to_string().contains("no report has both"), "{error}");
    }

    #[test]
    fn a_cut_file_counts_up_to_the_cut_and_the_next_file_follows() {
        let run = tempfile::tempdir().unwrap();
        let first = run.path().join("events.out.tfevents.1.a");
        let mut writer = EventWriter::create(&first, 0.0).unwrap();
        writer.scalars(0.0, 1, &[("other", 1.0), ("accuracy", 10.0)]);
        let whole = writer.position();
        writer.scalars(0.0, 2, &[("accuracy", 99.0)]);
        writer.flush().unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&first)
            .unwrap()
            .set_len(whole + 20)
            .unwrap();
        let mut writer =
            EventWriter::create(&run.path().join("events.out.tfevents.2.a"), 0.0).unwrap();
        writer.scalars(0.0, 2, &[("accuracy", 13.0)]);
        writer.flush().unwrap();
        let (result, lines) = extract(run.path(), "accuracy");
        assert!(result.unwrap().contains("\"last10\": 11.5"));
        assert!(
            matches!(&lines.events()[..], [rematch_spec::job::Event::Warning { text }] if text.contains("is cut off"))
        );
    }

    #[test]
    fn a_run_without_the_scalar_says_what_there_is() {
        let run = tempfile::tempdir().unwrap();
        let error = extract(run.path(), "accuracy").0.unwrap_err();
        assert!(error.to_string().contains("no event files"), "{error}");
        let mut writer = EventWriter::create(&run.path().join("tfevents"), 0.0).unwrap();
        writer.scalars(0.0, 1, &[("loss", 1.0)]);
        writer.flush().unwrap();
        let error = extract(run.path(), "accuracy").0.unwrap_err();
        assert_eq!(error.failure().help.as_deref(), Some("they hold loss"));
    }
}
