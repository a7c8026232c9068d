//! `rematch fsck`: whether every file of the store is as it should be, and mending what is not.

use std::collections::HashMap;
use std::mem::discriminant;
use std::process::ExitCode;

use rematch_cache::fsck::{Checkup, Finding};
use serde_json::json;

use crate::cli::Global;
use crate::commands::gauge::Gauge;
use crate::commands::{alone, existing_store, print_json, print_line, size};
use crate::error::Result;
use crate::style::Style;

/// So many findings of one kind are shown.
const SHOWN: usize = 20;

pub fn exec(global: &Global, heal: bool, quick: bool) -> Result<ExitCode> {
    let store = existing_store(global)?;
    let gauge = Gauge::new();
    let tell = |unit: &'static str, done, total| gauge.tell(unit, done, total);
    let checkup = if heal {
        alone(&store)?.heal(quick, &tell)?
    } else {
        let mut told = false;
        let _lease = store.lease(|who| {
            if !std::mem::replace(&mut told, true) {
                eprintln!("waiting for {who}, which has the store alone");
            }
        })?;
        store.check(quick, &tell)?
    };
    drop(gauge);
    if global.json {
        print_json(&json!({
            "sound": checkup.is_sound(),
            "quick": quick,
            "entries": checkup.entries,
            "objects": checkup.objects,
            "unused": checkup.unused,
            "findings": checkup.findings,
        }));
    } else {
        show(&checkup, quick, heal);
    }
    Ok(if checkup.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn show(checkup: &Checkup, quick: bool, heal: bool) {
    let style = Style::of(&std::io::stdout());
    let mut shown = HashMap::new();
    for reported in &checkup.findings {
        let count = shown.entry(discriminant(&reported.finding)).or_insert(0);
        *count += 1;
        if *count > SHOWN {
            continue;
        }
        let mark = if reported.healed {
            style.green("healed")
        } else if matters(&reported.finding) {
            style.red("wrong ")
        } else {
            style.yellow("note  ")
        };
        print_line(&format!("{mark} {}", reported.finding));
    }
    let more: usize = shown
        .values()
        .map(|count: &usize| count.saturating_sub(SHOWN))
        .sum();
    if more > 0 {
        print_line(&style.dim(&format!("… and {more} more like these; --json lists all")));
    }
    let unused = &checkup.unused;
    if unused.count > 0 {
        print_line(&style.dim(&format!(
            "{} objects ({}) are of no result: `rematch gc` frees them",
            unused.count,
            size(unused.bytes)
        )));
    }
    let looked_at = format!(
        "{} results, {} objects ({}{})",
        checkup.entries,
        checkup.objects.count,
        size(checkup.objects.bytes),
        if quick { ", not read" } else { "" }
    );
    let all = checkup.findings.len();
    let healed = checkup
        .findings
        .iter()
        .filter(|reported| reported.healed)
        .count();
    let left = all - healed;
    let advice = if left == 0 {
        "; the next run makes again what it needs".to_owned()
    } else if heal {
        format!("; {left} are left for you to look at")
    } else {
        "; `rematch fsck --heal` mends what can be mended, and the jobs concerned run again"
            .to_owned()
    };
    print_line(&match (all, heal) {
        (0, _) => format!("{}: {looked_at}", style.green("sound")),
        (_, true) => format!("{healed} of {all} findings healed in {looked_at}{advice}"),
        (_, false) => format!("{all} findings in {looked_at}{advice}"),
    });
}

/// Whether a result is concerned.
fn matters(finding: &Finding) -> bool {
    !matches!(
        finding,
        Finding::WrongMode { .. }
            | Finding::Unfinished { .. }
            | Finding::LeftOver { .. }
            | Finding::Foreign { .. }
    )
}
