#!/usr/bin/env python3
"""Prepares CIFAR-10 for the full published sweep, with rematch and with the original scripts.

    benches/prep/run.py --peer CHECKOUT --realmix CHECKOUT --archives FOLDER

The first CHECKOUT is one of google-research/fixmatch, the second of uizard-technologies/realmix, FOLDER holds
cifar-10-matlab.tar.gz. Both sides do archive → TFRecord files → unlabeled set → 48 labeled splits (6 seeds × 8 sizes)
→ six of the classes, on the same cores, part by part and in turns: a whole fresh preparation by rematch before every
part of the originals' one. Their scripts run unmodified (as_tf1.py), as their README calls them, with as many splits at
once as there are cores. In the end both results are compared (compare.py).

The Python that runs this needs what requirements.txt names; give another with --python.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402

SIZES = [10, 20, 30, 40, 100, 250, 1000, 4000]
# The parts of a preparation: the stages of prepare.yaml, and the scripts that do the same.
PARTS = {"dataset": "create_datasets", "unlabeled": "create_unlabeled", "split": "create_split", "classes": "filter_dataset"}


def main():
    args = arguments()
    os.sched_setaffinity(0, args.cores)
    # Both sides read the archives from memory, not from the disk, from the first round on.
    for archive in args.archives.glob("cifar-10-*.tar.gz"):
        archive.read_bytes()
    work = Path(tempfile.mkdtemp(prefix="prep-", dir=args.work))
    print(f"work folder: {work}")
    peer = Peer(args, work / "peer")
    ours, theirs, parts, our_parts = [], [], {}, {}
    for round_ in range(args.rounds):
        shutil.rmtree(peer.data, ignore_errors=True)
        measured = []
        for name, step in peer.steps():
            mine = rematch(args, work / "ours")
            ours.append(measure.together(mine.values(), sum(part["wall"] for part in mine.values()), max(part["peak_tree"] for part in mine.values())))
            for part, measured_part in mine.items():
                our_parts.setdefault(PARTS[part], []).append(measured_part)
            print(f"rematch            {ours[-1].line}", flush=True)
            measured.append(step())
            parts.setdefault(name, []).append(measured[-1])
            print(f"  {name:16} {measured[-1].line}", flush=True)
        theirs.append(
            measure.together(
                measured,
                sum(part["wall"] for part in measured),
                max(part["peak_tree"] for part in measured),
            )
        )
        print(f"originals, round {round_ + 1} {theirs[-1].line}", flush=True)
    compared = subprocess.run(
        [args.python, HERE / "compare.py", peer.data, work / "ours" / "out" / "prepare-cifar10"],
        capture_output=True,
        text=True,
    )
    sys.stdout.write(compared.stdout)
    if compared.returncode:
        raise SystemExit(f"the results differ:\n{compared.stderr[-4000:]}")
    report(args, ours, theirs, parts, our_parts, compared.stdout.strip().splitlines())
    if not args.keep:
        shutil.rmtree(work)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of google-research/fixmatch")
    parser.add_argument("--realmix", type=Path, required=True, help="checkout of uizard-technologies/realmix")
    parser.add_argument("--seeds", type=int, default=6, help="seeds of splits, 8 sizes each [default: 6]")
    parser.add_argument("--archives", type=Path, required=True, help="folder with cifar-10-matlab.tar.gz")
    parser.add_argument("--rematch", type=Path, default=measure.default_program(), help="the program")
    parser.add_argument("--python", default=sys.executable, help="a Python with requirements.txt installed")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of the originals; rematch runs 8 times in each")
    parser.add_argument("--cores", type=lambda text: {int(n) for n in text.split(",")}, default={0, 1})
    parser.add_argument("--work", type=Path, default=None, help="where files are written, instead of the temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep what was written")
    args = parser.parse_args()
    args.archives = args.archives.resolve()
    args.peer = args.peer.resolve()
    args.realmix = args.realmix.resolve()
    scripts = [args.peer / "scripts" / "create_split.py", args.realmix / "scripts" / "filter_dataset.py"]
    for path in [args.archives / "cifar-10-matlab.tar.gz", *scripts, args.rematch]:
        if not path.is_file():
            parser.error(f"{path} is not there")
    return args


def rematch(args, folder):
    """One preparation into a fresh store, part by part."""
    shutil.rmtree(folder, ignore_errors=True)
    env = {**os.environ, "REMATCH_MIRROR": str(args.archives)}
    seeds = f"axis.seed={list(range(args.seeds))}"
    places = ["--store", folder / "store", "--out", folder / "out", "--set", seeds]
    return {part: measure.measure([args.rematch, "run", HERE / "prepare.yaml", part, *places], env=env) for part in PARTS}


class Peer:
    """The original scripts."""

    def __init__(self, args, data):
        self.args = args
        self.data = data
        self.at_once = len(args.cores)

    def steps(self):
        """Parts of one preparation, to be called in this order."""
        yield "create_datasets", lambda: self._together([["create_datasets.py", "cifar10"]])
        train = self.data / "cifar10-train.tfrecord"
        target = self.data / "SSL2" / "cifar10"
        yield "create_unlabeled", lambda: self._together([["create_unlabeled.py", target, train]])
        for seed in range(self.args.seeds):
            commands = [["create_split.py", f"--seed={seed}", f"--size={size}", target, train] for size in SIZES]
            yield "create_split", lambda commands=commands: self._together(commands)
        kept = ["--class_filter=2,3,4,5,6,7", f"--filter_dataset={train}", "--save_name=classes.tfrecord"]
        yield "filter_dataset", lambda: self._together([["filter_dataset.py", *kept]], self.args.realmix)

    def _together(self, commands, checkout=None):
        checkout = checkout or self.args.peer
        env = {**os.environ, "ML_DATA": str(self.data), "CUDA_VISIBLE_DEVICES": ""}
        prefix = [self.args.python, HERE / "as_tf1.py", self.args.archives]

        def run(command):
            script = checkout / "scripts" / command[0]
            return measure.measure([*prefix, script, *command[1:]], env=env, cwd=checkout, watch=False)

        self.data.mkdir(parents=True, exist_ok=True)
        watcher = measure.Watcher()
        watcher.start(os.getpid())
        started = time.perf_counter()
        with ThreadPoolExecutor(self.at_once) as pool:
            measured = list(pool.map(run, commands))
        return measure.together(measured, time.perf_counter() - started, watcher.stop())


def report(args, ours, theirs, parts, our_parts, compared):
    middle = lambda runs, what: statistics.median(run[what] for run in runs)
    ratios = {what: middle(theirs, what) / middle(ours, what) for what in ("wall", "cpu")}
    peak = {"rematch": max(run["peak_tree"] for run in ours), "originals": max(run["peak_tree"] for run in theirs)}
    print(f"\nrematch   median of {len(ours)}: {middle(ours, 'wall'):7.2f} s wall, {middle(ours, 'cpu'):7.2f} s cpu, {peak['rematch']:5.0f} MiB")
    print(f"originals median of {len(theirs)}: {middle(theirs, 'wall'):7.2f} s wall, {middle(theirs, 'cpu'):7.2f} s cpu, {peak['originals']:5.0f} MiB")
    print(f"rematch is {ratios['wall']:.0f} times faster by the clock, {ratios['cpu']:.0f} times by CPU time")
    by_part = {}
    for name, runs in parts.items():
        # Splits are measured seed by seed there, and all at once here.
        whole = {what: sum(run[what] for run in runs) / args.rounds for what in ("wall", "cpu")}
        by_part[name] = {what: round(whole[what] / middle(our_parts[name], what), 1) for what in ("wall", "cpu")}
        print(f"  {name:16} {middle(our_parts[name], 'wall'):7.2f} s against {whole['wall']:7.2f} s: {by_part[name]['wall']} times by the clock, {by_part[name]['cpu']} by CPU time")
    versions = subprocess.run(
        [args.python, "-c", "import sys, json, numpy, scipy, tensorflow as tf; print(json.dumps({'python': sys.version.split()[0], 'tensorflow': tf.__version__, 'numpy': numpy.__version__, 'scipy': scipy.__version__}))"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()[-1]
    peer_commit = subprocess.run(["git", "-C", args.peer, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    measure.save(
        "prep",
        f"benches/prep/run.py --peer CHECKOUT --realmix CHECKOUT --archives FOLDER --seeds {args.seeds}" + (f" --rounds {args.rounds}" if args.rounds > 1 else ""),
        {
            "versions": {"rematch": measure.version(args.rematch), **json.loads(versions), "fixmatch": peer_commit or "unknown, no git checkout"},
            "ratio": {what: round(ratio, 1) for what, ratio in ratios.items()},
            "peak_mib": {who: round(mib) for who, mib in peak.items()},
            "rematch": rounded(ours),
            "originals": rounded(theirs),
            "ratio_by_part": by_part,
            "rematch_parts": {name: rounded(runs) for name, runs in our_parts.items()},
            "originals_parts": {name: rounded(runs) for name, runs in parts.items()},
            "compared": compared,
        },
    )


def rounded(runs):
    return [{what: round(value, 2) for what, value in run.items()} for run in runs]


if __name__ == "__main__":
    main()
