//! `rematch fsck`: whether every file of the store is as it should be, and mending what is not.

use std::collections::HashMap;
use std::mem::discriminant;
use std::process::ExitCode;

use rematch_cache::fsck::{Checkup, Finding};
use serde_json::json;

use crate::cli::Global;
use crate::commands::gauge::Gauge;
use crate::commands::{alone, existing_store, print_json, print_line, say, size};
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
                say(&format!("waiting for {who}, which has the store alone"));
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
    let number = |n: u64, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    if checkup.unused.count > 0 {
        print_line(&style.dim(&format!(
            "{} ({}) of no result; `rematch gc` frees what nobody uses",
            number(checkup.unused.count, "object"),
            size(checkup.unused.bytes)
        )));
    }
    let looked_at = format!(
        "{}, {} ({}{})",
        number(checkup.entries, "result"),
        number(checkup.objects.count, "object"),
        size(checkup.objects.bytes),
        if quick { ", most not read" } else { "" }
    );
    let healed = checkup.findings.iter().filter(|reported| reported.healed);
    let healed = healed.count() as u64;
    let left = checkup.findings.len() as u64 - healed;
    print_line(&match (healed, left) {
        (0, 0) => format!("{}: {looked_at}", style.green("sound")),
        (_, 0) => format!(
            "{} in {looked_at}; the next run makes again what it needs",
            style.green("healed")
        ),
        (_, _) if heal => format!(
            "{} in {looked_at} for you to look at; {healed} healed",
            number(left, "finding")
        ),
        (_, _) => format!(
            "{} in {looked_at}; `rematch fsck --heal` mends what it can, and the jobs concerned run again",
            number(left, "finding")
        ),
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
