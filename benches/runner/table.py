#!/usr/bin/env python3
"""Writes the tables of results/runner.json into benches/README.md, between the two marks there.

    benches/runner/table.py [RESULTS]
"""

import json
import sys
from pathlib import Path

BENCHES = Path(__file__).resolve().parent.parent
MARKS = "<!-- benches/runner/table.py writes this -->\n", "<!-- until here -->\n"
TOOLS = ["rematch", "ninja", "make", "snakemake", "dvc"]
SCENARIOS = ["cold", "noop", "status", "plan", "change1", "touch1", "cutoff"]


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else BENCHES / "results" / "runner.json"
    facts = json.loads(path.read_text())
    readme = BENCHES / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    readme.write_text(before + MARKS[0] + "\n" + text(facts) + "\n" + MARKS[1] + after)


def text(facts):
    machine, jobs = facts["machine"], facts["jobs"]
    versions = ", ".join(version if name in version.lower() else f"{name} {version}" for name, version in facts["versions"].items())
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system'].split('-')[0]}; {facts['date']}; {versions}. Load average"
        f" {facts['load_before'][0]} before and {machine['load'][0]} at the end. A sync of a small file takes {facts['fsync_ms']} ms."
    ]
    for name, what in [("noop", "A run with nothing to do"), ("cold", "A cold run")]:
        sizes = [size for size in jobs if name in jobs[size]]
        parts.append(
            f"{what}, median wall time / CPU time, and peak memory:\n\n"
            + table(
                [f"{int(size):,} jobs" for size in sizes],
                {tool: [cell(jobs[size][name].get(tool), peak=True) for size in sizes] for tool in TOOLS},
            )
        )
    if scenarios := [name for name in SCENARIOS if name in jobs.get("1001", {})]:
        parts.append(
            "1,001 jobs, median wall time / CPU time:\n\n"
            + table(scenarios, {tool: [cell(jobs["1001"][name].get(tool)) for name in scenarios] for tool in TOOLS})
        )
    if scaled := facts.get("dvc_cold_scaled"):
        parts.append(
            f"A cold run of 1,001 jobs would take DVC at least {scaled['wall']} s ({scaled['cpu']} s of CPU), scaled from 101 jobs:"
            f" {scaled['ratio']['wall']} and {scaled['ratio']['cpu']} times rematch's."
        )
    if hashed := facts["hashing"]:
        rows = {}
        for kind, what in [("large", f"{hashed['large_bytes'] / 1e9:.1f} GB"), ("small", f"{hashed['small_files']:,} files")]:
            for name, sides in hashed[kind].items():
                other = sides.get("b3sum --no-mmap", {})
                rows[f"{what}, {name}"] = [
                    cell(sides["rematch"]),
                    cell(sides["b3sum"]),
                    str(sides["b3sum"]["our_rate"]["median"]),
                    str(other["our_rate"]["median"]) if other else "",
                ]
        parts.append("Hashing, median wall time / CPU time:\n\n" + table(["rematch", "b3sum", "our rate over its", "over `b3sum --no-mmap`'s"], rows))
    rows = {target["target"]: [goal(target), target["goal"], target["verdict"]] for target in facts["targets"]}
    parts.append("Targets:\n\n" + table(["figure", "goal", ""], rows))
    return "\n\n".join(parts) + "\n"


def goal(target):
    return "" if target["value"] is None else f"{target['value']:,}"


def table(head, rows):
    lines = [["", *head], ["---"] * (len(head) + 1), *([name, *cells] for name, cells in rows.items() if any(cells))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(fact, peak=False):
    if not fact:
        return ""
    text = f"{duration(fact['wall']['median'])} / {duration(fact['cpu']['median'])}"
    return f"{text}, {fact['peak_mib']:.0f} MiB" if peak and fact.get("peak_mib") else text


def duration(seconds):
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
