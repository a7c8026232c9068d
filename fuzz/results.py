#!/usr/bin/env python3
"""Gathers what fuzz/run.sh left in artifacts/TARGET/log, and writes benches/results/fuzz.json."""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benches"))
import measure  # noqa: E402


def main():
    seconds, *targets = sys.argv[1:]
    results = {target: result(HERE / "artifacts" / target) for target in targets}
    print(f"{'target':12} {'executions':>12} {'a second':>9} {'edges':>7} {'features':>9} {'slowest':>8} finds")
    for target, row in results.items():
        print(
            f"{target:12} {row['executions']:12,} {row['per_second']:9,} {row['edges']:7,} {row['features']:9,}"
            f" {row['slowest_s']:6} s {', '.join(row['finds']) or 'none'}"
        )
    total = sum(row["executions"] for row in results.values())
    print(f"{total:,} executions")
    measure.save(
        "fuzz",
        f"fuzz/run.sh {seconds}",
        {
            "cargo_fuzz": said("cargo", "fuzz", "--version"),
            "rustc": said("rustc", "--version"),
            "seconds_per_target": int(seconds),
            "executions": total,
            "targets": results,
        },
    )


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def result(folder):
    log = (folder / "log").read_text(errors="replace")
    stat = lambda name: int((re.findall(rf"stat::{name}:\s+(\d+)", log) or ["0"])[-1])
    last = lambda name: int((re.findall(rf"\b{name}: (\d+)", log) or ["0"])[-1])
    finds = re.findall(r"Test unit written to \S*?/((?:crash|timeout|oom|leak)-\S+)", log)
    return {
        "executions": stat("number_of_executed_units"),
        "per_second": stat("average_exec_per_sec"),
        "edges": last("cov"),
        "features": last("ft"),
        "corpus": len(list((HERE / "corpus" / folder.name).iterdir())),
        "slowest_s": stat("slowest_unit_time_sec"),
        "finds": finds,
    }


if __name__ == "__main__":
    main()
