#!/usr/bin/env python3
"""Trains every method of pipelines/methods.yaml and says what it reaches, and what a step costs beside FixMatch's; or those
of pipelines/mnist.yaml.

    benches/methods/run.py [methods|mnist] [--rematch PROGRAM] [--store FOLDER]

MNIST comes from its public address, or from REMATCH_MIRROR. The cost of a step is the CPU time of a training without that of
one of two steps, which starts, evaluates and ends as all others do, over the number of steps: on a busy machine a
steadier figure than wall time. With a store that has results nothing is trained again. Results go to
benches/results/NAME.json, and as a table in Markdown to the standard output.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import measure

PIPELINES = HERE.parent.parent / "pipelines"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", choices=["methods", "mnist"], default="methods")
    parser.add_argument("--rematch", default=measure.default_program())
    parser.add_argument("--store", help="default: a new one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run(args, Path(place))


def run(args, place):
    pipeline = PIPELINES / f"{args.name}.yaml"
    store = Path(args.store or place / "store").resolve()

    def rematch(*words):
        command = [str(args.rematch), *words, "--store", str(store), "--out", str(place / "out")]
        done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
        return done.stdout

    short = ["--set", "steps=2"]
    rematch("run", str(pipeline), "train[method=supervised,seed=1]", *short)
    rematch("run", str(pipeline))

    entries = {}
    for path in (store / "entries").rglob("*.json"):
        entry = json.loads(path.read_text())["content"]
        if entry["key"]["kind"] == "train":
            entries[entry["outputs"]["run"]["digest"]] = entry

    def entry(job, *more):
        path = rematch("out", str(pipeline), job, "run", "--object", *more)
        return entries["".join(Path(path.strip()).parts[-2:])]

    base = entry("train[method=supervised,seed=1]", *short)["provenance"]["cpu_seconds"]
    plan = json.loads(rematch("plan", str(pipeline), "--json"))
    methods = {}
    for job in (job for job in plan["jobs"] if job["stage"] == "train"):
        found = entry(job["job"])
        method = job["point"]["method"]
        steps = found["key"]["params"]["length"]["steps"]
        row = methods.setdefault(method, {"accuracy": [], "cpu_seconds": [], "ms_per_step": []})
        row["accuracy"].append(found["metrics"]["accuracy"])
        seconds = found["provenance"]["cpu_seconds"]
        row["cpu_seconds"].append(round(seconds, 1))
        row["ms_per_step"].append(round(1000 * (seconds - base) / (steps - 2), 2))

    median = lambda method: statistics.median(methods[method]["ms_per_step"])
    floor = statistics.mean(methods["supervised"]["accuracy"])
    print("| method | accuracy, % | above supervised | CPU time of a step | of FixMatch's | CPU time of a training |")
    print("|---|---|---|---|---|---|")
    for method, row in methods.items():
        row["mean"] = round(statistics.mean(row["accuracy"]), 2)
        row["of_fixmatch"] = round(median(method) / median("fixmatch"), 2)
        deviation = statistics.stdev(row["accuracy"]) if len(row["accuracy"]) > 1 else 0.0
        above = "" if method == "supervised" else f"{row['mean'] - floor:+.1f}"
        seconds = statistics.median(row["cpu_seconds"])
        print(
            f"| `{method}` | {row['mean']:.1f} ± {deviation:.1f} | {above} | {median(method):.0f} ms "
            f"| {row['of_fixmatch']:.2f} | {seconds:.0f} s |"
        )
    command = f"benches/methods/run.py {args.name}" + (" --store STORE" if args.store else "")
    facts = {"rematch": measure.version(args.rematch), "start_and_evaluations_cpu_seconds": base, "methods": methods}
    measure.save(args.name, command, facts)


if __name__ == "__main__":
    main()
