#!/usr/bin/env python3
"""Compares rematch with ninja, make, Snakemake and DVC on one project of 100 to 100,000 jobs, and
its hashing with b3sum.

    benches/runner/run.py [--rematch PROGRAM] [--hasher PROGRAM] [--quick]

projects.py writes the project for each tool. Tools are those on PATH; the others are skipped, aloud.
Within a scenario the tools take turns, and each ratio is of two figures from the same turns:

    cold     everything runs, after removing what earlier runs left
    noop     a run that finds nothing to do
    status   the tool says that nothing is to do: `rematch status` (`plan` is `rematch plan`),
             `ninja -n`, `make -q`, `snakemake -n`, `dvc status`
    change1  the input of one chain has other content; its 3 jobs run
    touch1   the input of one chain has another time; nothing runs where a tool looks at content
    cutoff   an edit upstream after which one job runs and makes the same bytes as before

Every run is checked: how many jobs ran, and once per size that all outputs are right. hashing.py
measures hashing. The whole takes about 20 minutes, 8 GB of disk; --quick 2 minutes.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402
import hashing  # noqa: E402
import projects  # noqa: E402
import targets  # noqa: E402

FAST = ("rematch", "ninja", "make")
ALL = (*FAST, "snakemake", "dvc")

# Chains: which tools, which run cold (the others' projects are written as if they had), how often
# (cold, looking at an unchanged project, after an edit); `slow` are the turns of DVC and Snakemake.
SIZES = {
    32: dict(tools=ALL, cold=ALL, turns=(3, 0, 0), slow=(1, 0, 0)),
    332: dict(tools=ALL, cold=(*FAST, "snakemake"), turns=(5, 20, 5), slow=(1, 2, 1)),
    1_665: dict(tools=(*FAST, "dvc"), cold=FAST, turns=(1, 10, 0), slow=(0, 1, 0)),
    3_332: dict(tools=FAST, cold=FAST, turns=(1, 20, 7)),
    33_332: dict(tools=FAST, cold=("rematch", "ninja"), turns=(1, 5, 2)),
}
QUICK = {
    10: dict(tools=ALL, cold=ALL, turns=(1, 3, 1), slow=(1, 1, 1)),
    332: dict(tools=FAST, cold=FAST, turns=(2, 10, 2)),
    3_332: dict(tools=FAST, cold=("rematch",), turns=(1, 5, 2)),
}


def main():
    args = arguments()
    load = [round(load, 1) for load in os.getloadavg()]
    began = time.perf_counter()
    work = Path(tempfile.mkdtemp(prefix="runner-", dir=args.work)).resolve()
    programs = {tool.name: shutil.which(tool.name) for tool in projects.TOOLS} | {"rematch": args.rematch}
    for name, program in programs.items():
        if not program:
            print(f"{name} is not installed: skipped")
    try:
        sizes = {}
        for n, plan in (QUICK if args.quick else SIZES).items():
            if not args.sizes or projects.jobs(n) in args.sizes:
                sizes[projects.jobs(n)] = size(n, plan, programs, work)
        hashed = None if args.sizes else hashing.measured(args.hasher, args.rematch, work, args.quick)
        disk = disk_of(work)
    finally:
        if args.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work)
    verdicts = targets.judge(sizes, hashed)
    scaled = dvc_scaled(sizes)
    if not args.results:
        return
    measure.save(
        args.results,
        " ".join(["benches/runner/run.py", *["--quick"] * args.quick, *(f"--sizes {jobs}" for jobs in args.sizes)]),
        {
            "versions": versions(programs, hashed),
            "load_before": load,
            "minutes": round((time.perf_counter() - began) / 60, 1),
            **disk,
            "targets": verdicts,
            "jobs": sizes,
            "dvc_cold_scaled": scaled,
            "hashing": hashed,
        },
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rematch", type=Path, default=measure.default_program(), help="the program")
    parser.add_argument("--hasher", type=Path, help="cache/examples/hash.rs [default: examples/hash beside the program]")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, tools and turns")
    parser.add_argument("--sizes", type=int, nargs="+", default=[], metavar="JOBS", help="only these sizes, no hashing")
    parser.add_argument("--results", metavar="NAME", help="in benches/results [default: runner; with --quick or --sizes, nothing is written]")
    parser.add_argument("--work", type=Path, default=None, help="where files are written, instead of the temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep what was written")
    args = parser.parse_args()
    args.rematch = args.rematch.resolve()
    args.hasher = (args.hasher or args.rematch.parent / "examples" / "hash").resolve()
    if not args.sizes and not args.quick:
        args.results = args.results or "runner"
    if not args.rematch.is_file():
        parser.error(f"{args.rematch} is not there: cargo build --release -p rematch")
    if not args.sizes and not args.hasher.is_file():
        parser.error(f"{args.hasher} is not there: cargo build --release -p rematch-cache --example hash")
    return args


def size(n, plan, programs, work):
    """All scenarios at one size."""
    count = projects.jobs(n)
    print(f"\n{count:,} jobs", flush=True)
    folder = work / str(count)
    wanted = [tool for tool in projects.TOOLS if tool.name in plan["tools"] and programs[tool.name]]
    tools = [tool(folder, n, programs[tool.name]) for tool in wanted]
    said = folder / "said"
    results = {}

    def scenario(name, which, turns, before=lambda tool: None, peak=False):
        took = {tool.name: [] for tool in tools if name in tool.commands and tool.name in which}
        for turn in range(max(turns)):
            # Who comes first changes, too.
            for tool in tools[turn % len(tools) :] + tools[: turn % len(tools)]:
                if tool.name in took and turn < turns[tool.slow]:
                    before(tool)
                    run = measure.with_peak if peak or tool.slow else measure.once
                    took[tool.name].append(run(tool.commands[name], tool.env, tool.folder, said))
                    check(tool, name, said)
        facts = {}
        for tool in tools:
            if runs := took.get(tool.name):
                facts[tool.name] = summary(runs)
                if not peak and not tool.slow:
                    # Of one more run: where milliseconds count, the one that this costs would count.
                    before(tool)
                    again = measure.with_peak(tool.commands[name], tool.env, tool.folder)
                    facts[tool.name]["peak_mib"] = again["peak"]
        if facts:
            results[name] = ratios(facts)
            table(name, facts)

    def check(tool, name, said):
        should = count if name == "cold" else tool.should_run.get(name)
        if should is not None and (ran := tool.ran(said.read_text())) != should:
            raise SystemExit(f"{tool.name}, {name}: {ran} jobs ran instead of {should}:\n{said.read_text()[-2000:]}")

    def fresh(tool):
        tool.clean()
        # Nobody is to wait for the disk on behalf of another.
        os.sync()

    cold, look, edit = zip(plan["turns"], plan.get("slow", (0, 0, 0)))
    scenario("cold", plan["cold"], cold, fresh, peak=True)
    for tool in tools:
        if tool.name not in plan["cold"]:
            if tool.adopt():
                print(f"  {tool.name}: written as if it had run", flush=True)
            else:
                fresh(tool)
                measure.once(tool.commands["cold"], tool.env, tool.folder, said)
        tool.check()
    os.sync()
    for name in ["noop", "status", "plan"]:
        scenario(name, plan["tools"], look)
    for name in ["change1", "touch1", "cutoff"]:
        scenario(name, plan["tools"], edit, getattr(projects.Project, name))
    if any(edit):
        for tool in tools:
            tool.check()
    shutil.rmtree(folder)
    return results


def summary(runs):
    """Medians and minima."""
    facts = {"turns": len(runs)}
    for what in ["wall", "cpu"]:
        values = [run[what] for run in runs]
        facts[what] = {"median": round(statistics.median(values), 5), "min": round(min(values), 5)}
    if peaks := [run["peak"] for run in runs if run.get("peak")]:
        facts["peak_mib"] = max(peaks)
    return facts


def ratios(facts):
    """How many times rematch's figure each other tool's is."""
    ours = facts.get("rematch")
    for name, tool in facts.items():
        if ours and name != "rematch":
            tool["ratio"] = {
                what: {which: round(tool[what][which] / max(ours[what][which], 1e-6), 3) for which in ["median", "min"]}
                for what in ["wall", "cpu"]
            }
    return facts


def dvc_scaled(sizes):
    """A cold run of 1,000 jobs takes DVC many minutes: from one of 100, in proportion. That is too
    kind to it, since it reads and writes the whole lock file for every stage."""
    try:
        few, ours = sizes[101]["cold"]["dvc"], sizes[1_001]["cold"]["rematch"]
    except KeyError:
        return None
    scaled = {what: round(few[what]["median"] / 101 * 1_001, 1) for what in ["wall", "cpu"]}
    ratio = {what: round(scaled[what] / ours[what]["median"], 1) for what in scaled}
    print(
        f"\nDVC, cold, scaled from 101 to 1,001 jobs: at least {scaled['wall']} s, {scaled['cpu']} s CPU:"
        f" {ratio['wall']} and {ratio['cpu']} times rematch's"
    )
    return {**scaled, "ratio": ratio}


def table(name, facts):
    for tool, fact in facts.items():
        wall, cpu = fact["wall"], fact["cpu"]
        text = f"  {name:8} {tool:10} wall {ms(wall['median'])} (min {ms(wall['min'])})  cpu {ms(cpu['median'])}"
        text += f"  peak {fact.get('peak_mib') or '?':>6} MiB"
        if ratio := fact.get("ratio"):
            text += f"  {ratio['wall']['median']:9.2f} × wall {ratio['cpu']['median']:9.2f} × cpu"
        print(text, flush=True)


def ms(seconds):
    return f"{seconds * 1000:10,.1f} ms"


def versions(programs, hashed):
    found = {}
    for name, program in programs.items():
        if program:
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            found[name] = said.splitlines()[0]
    if hashed:
        found["b3sum"] = hashed.pop("version", None)
    return found


def disk_of(folder):
    """The file system, and what a sync of a small file costs there."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    took = []
    for n in range(30):
        with open(folder / f"sync-{n}", "w") as file:
            file.write("x")
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return {"file_system": kind, "fsync_ms": round(statistics.median(took), 2)}


if __name__ == "__main__":
    main()
