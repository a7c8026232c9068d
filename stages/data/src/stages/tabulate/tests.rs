//! Tables as they look.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::child::tests::{Lines, job};

const OUTPUTS: &[(&str, &str)] = &[
    ("text", "t.txt"),
    ("markdown", "t.md"),
    ("csv", "t.csv"),
    ("json", "t.json"),
    ("latex", "t.tex"),
];

/// Writes results, a point and an accuracy each, and tabulates them.
fn tabulate(
    work: &Path,
    results: &[(Value, f64)],
    mut params: Value,
) -> Result<Report, StageError> {
    let mut collection = Vec::new();
    for (n, (point, accuracy)) in results.iter().enumerate() {
        let file = work.join(format!("{n}.json"));
        fs::write(
            &file,
            json!({"last01": 0.0, "last20": accuracy}).to_string(),
        )
        .unwrap();
        collection.push(json!({"point": point, "file": {"$input": file}}));
    }
    params["results"] = collection.into();
    crate::stages::run(&Child::new(
        job(work, "tabulate", params, OUTPUTS),
        Lines::default(),
    ))
}

fn output(work: &Path, name: &str) -> String {
    fs::read_to_string(&work.join("out").join(name)).unwrap()
}

fn results() -> Vec<(Value, f64)> {
    let point = |method: &str, labels: u64, seed: u64| json!({"method": {"name": method, "x": 1}, "labels": labels, "seed": seed});
    vec![
        (point("fixmatch_ra", 40, 1), 86.0),
        (point("fixmatch_ra", 40, 2), 90.0),
        (point("fixmatch_ra", 250, 1), 95.0),
        (point("fixmatch_ra", 250, 2), 94.5),
        (point("super_vised", 40, 1), 30.25),
        (point("super_vised", 40, 2), 31.25),
    ]
}

#[test]
fn a_table_has_means_published_numbers_and_gaps() {
    let work = tempfile::tempdir().unwrap();
    let published = work.path().join("published.yaml");
    let text = "source: The paper, Table 2\nmeasure: error\ncells:\n  - {at: {method: FixMatch_RA, dataset: cifar10, labels: 40}, mean: 13.81, std: 3.37}\n  - {at: {method: fixmatch_ra, labels: 250}, mean: 5.07}\n";
    fs::write(&published, text).unwrap();
    let params = json!({"columns": "labels", "error": true, "published": {"$input": published}, "published_at": {"dataset": "cifar10"}, "title": "Error rates"});
    tabulate(work.path(), &results(), params).unwrap();
    assert_eq!(output(work.path(), "t.txt"), TEXT);
    assert_eq!(output(work.path(), "t.md"), MARKDOWN);
    assert_eq!(output(work.path(), "t.csv"), CSV);
    assert_eq!(output(work.path(), "t.tex"), LATEX);
    let json: Value = serde_json::from_str(&output(work.path(), "t.json")).unwrap();
    assert_eq!(json["cells"].as_array().unwrap().len(), 4);
    assert_eq!(
        json["cells"][0]["at"],
        json!({"method": "fixmatch_ra", "labels": "40", "dataset": "cifar10"})
    );
    assert_eq!(json["cells"][0]["values"], json!([14.0, 10.0]));
    assert_eq!(json["cells"][3]["mean"], Value::Null);
}

#[test]
fn every_published_table_that_is_shipped_can_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/fixmatch/table2.yaml");
    let at = [
        ("method", "fixmatch_cta"),
        ("dataset", "cifar10"),
        ("labels", "40"),
    ];
    let at = at.map(|(axis, label)| (axis, label.to_owned())).into();
    let number = Published::read(&path).unwrap().find(&at, true).unwrap();
    assert_eq!((number.mean, number.std), (11.39, Some(3.35)));
}

#[test]
fn cells_with_different_counts_show_them() {
    let work = tempfile::tempdir().unwrap();
    tabulate(
        work.path(),
        &results()[..3],
        json!({"columns": "labels", "digits": 1}),
    )
    .unwrap();
    let text = output(work.path(), "t.txt");
    assert!(
        text.contains("88.0 ± 2.8 (n=2)") && text.contains("95.0 (n=1)"),
        "{text}"
    );
}

#[test]
fn one_value_makes_a_table_too() {
    let work = tempfile::tempdir().unwrap();
    tabulate(work.path(), &[(json!({}), 50.0)], json!({})).unwrap();
    assert_eq!(
        output(work.path(), "t.txt").lines().nth(2),
        Some("ours   50.00")
    );
}

#[test]
fn an_axis_is_never_averaged_over_silently() {
    let work = tempfile::tempdir().unwrap();
    let error = tabulate(work.path(), &results(), json!({"rows": "method"})).unwrap_err();
    assert!(
        error.to_string().contains("differ in the axis `labels`"),
        "{error}"
    );
    let error = tabulate(work.path(), &results(), json!({"columns": "label"})).unwrap_err();
    assert_eq!(
        error.failure().help.as_deref(),
        Some("their axes are labels, method, seed")
    );
    let error = tabulate(work.path(), &results(), json!({"value": "best"})).unwrap_err();
    assert_eq!(
        error.failure().help.as_deref(),
        Some("its numbers are last01, last20")
    );
}

const TEXT: &str = "\
Error rates

method                     40          250
──────────────────────────────────────────
fixmatch_ra      12.00 ± 2.83  5.25 ± 0.35
  published      13.81 ± 3.37         5.07
  difference  -1.81 (-0.5 sd)        +0.18
super_vised      69.25 ± 0.71            –
──────────────────────────────────────────
mean ± standard deviation of 100 − last20 over seed, n = 2
columns: labels
published: The paper, Table 2; sd: published standard deviations
";
const MARKDOWN: &str = "\
## Error rates

| method | 40 | 250 |
| --- | ---: | ---: |
| fixmatch_ra | 12.00 ± 2.83 | 5.25 ± 0.35 |
| published | 13.81 ± 3.37 | 5.07 |
| difference | -1.81 (-0.5 sd) | +0.18 |
| super_vised | 69.25 ± 0.71 | – |

mean ± standard deviation of 100 − last20 over seed, n = 2; columns: labels; published: The paper, Table 2; sd: published standard deviations
";
const CSV: &str = "\
method,labels,n,mean,std,published_mean,published_std,difference,difference_sd
fixmatch_ra,40,2,12,2.8284271247461903,13.81,3.37,-1.8100000000000005,-0.5370919881305639
fixmatch_ra,250,2,5.25,0.3535533905932738,5.07,,0.17999999999999972,
super_vised,40,2,69.25,0.7071067811865476,,,,
super_vised,250,0,,,,,,
";
const LATEX: &str = "\
% Error rates
% mean ± standard deviation of 100 − last20 over seed, n = 2
% columns: labels
% published: The paper, Table 2; sd: published standard deviations
\\begin{tabular}{lrr}
\\toprule
method & 40 & 250 \\\\
\\midrule
fixmatch\\_ra & 12.00 $\\pm$ 2.83 & 5.25 $\\pm$ 0.35 \\\\
\\quad published & 13.81 $\\pm$ 3.37 & 5.07 \\\\
\\quad difference & -1.81 (-0.5 sd) & +0.18 \\\\
\\addlinespace
super\\_vised & 69.25 $\\pm$ 0.71 & -- \\\\
\\bottomrule
\\end{tabular}
";
