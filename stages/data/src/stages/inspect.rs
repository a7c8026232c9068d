//! `inspect`: what is in a set of records, as text, JSON and a contact sheet.

use rematch_spec::input::Input;
use rematch_spec::inspect::Inspect;
use rematch_spec::job::Report;

use super::record_files::watch;
use crate::child::{Child, report};
use crate::error::StageError;
use crate::{classes, fs, inspect, json};

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Inspect = child.params()?;
    let names = classes::read(params.classes.as_ref().map(Input::path))?;
    let found = inspect::inspect(
        &params.records.paths(),
        &names,
        &params.sheet,
        &watch(child),
    )?;
    fs::write(child.output("report")?, inspect::report(&found.facts))?;
    json::write(child.output("facts")?, &found.facts, 2)?;
    fs::write(child.output("sheet")?, &found.sheet)?;
    Ok(report([
        ("records", found.facts.records as f64),
        ("classes", found.facts.classes.len() as f64),
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::child::tests::{Lines, job};
    use crate::image::Shape;
    use crate::{png, records};

    #[test]
    fn a_job_leaves_report_facts_and_sheet() {
        let work = tempfile::tempdir().unwrap();
        let (path, names) = (work.path().join("a"), work.path().join("names"));
        let shape = Shape {
            height: 4,
            width: 4,
            channels: 1,
        };
        fs::write(&path, records::encode(shape, &[0; 48], &[0, 1, 1])).unwrap();
        fs::write(&names, r#"{"0": "cat", "1": "dog"}"#).unwrap();
        let outputs = [
            ("report", "report.txt"),
            ("facts", "facts.json"),
            ("sheet", "sheet.png"),
        ];
        let params = json!({"records": path, "classes": names, "sheet": {"columns": 1}});
        let lines = Lines::default();
        let child = Child::new(job(work.path(), "inspect", params, &outputs), lines.clone());
        let done = crate::stages::run(&child).unwrap();
        assert_eq!(done.metrics["records"], 3.0);
        let out = |name: &str| fs::read(&work.path().join("out").join(name)).unwrap();
        let text = String::from_utf8(out("report.txt")).unwrap();
        assert!(text.contains("  1  dog  2  ██"), "{text}");
        let facts: Value = serde_json::from_slice(&out("facts.json")).unwrap();
        assert_eq!(facts["classes"][0]["name"], "cat");
        assert_eq!(facts["duplicates"]["conflicting"], 1);
        png::decode(&out("sheet.png")).unwrap();
        assert!(!lines.events().is_empty());
    }
}
