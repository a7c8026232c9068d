#!/usr/bin/env python3
"""Filters classes of CIFAR-10 and makes augmented copies of it, with rematch and with RealMix's scripts.

    benches/copies/run.py --peer CHECKOUT --archives FOLDER

CHECKOUT is a checkout of uizard-technologies/realmix, FOLDER holds cifar-10-matlab.tar.gz. Both sides read one record
file, the training images in the order of `create_unlabeled` (with --records the first of them), on the same cores, in turns. The original
scripts run unmodified (../prep/as_tf1.py). rematch runs as a user runs it: a pipeline with an empty store, so that
hashing and publishing are in its time. What starting TensorFlow costs is measured by itself.

In the end rematch makes 50 copies, for its memory, and writes the recipe for as many.

The Python that runs this needs what ../prep/requirements.txt names; give another with --python.
"""

import argparse
import os
import shutil
import statistics
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402

NAME = "cifar10.1@250"
COPIES = 2
MANY = 50
# What we aim at: originals' wall time by ours, and MiB with 50 copies.
TARGETS = {"filter": 20, "cifar10": 10, "color": 10}
MEMORY = 2048


def main():
    args = arguments()
    os.sched_setaffinity(0, args.cores)
    work = Path(tempfile.mkdtemp(prefix="copies-", dir=args.work))
    print(f"work folder: {work}")
    records = prepare(args, work)
    ours, theirs = {}, {}
    for _ in range(args.rounds):
        for task in TARGETS:
            for side, times in [(rematch, ours), (original, theirs)]:
                measured = side(args, work, records, task)
                times.setdefault(task, []).append(measured)
                print(f"{task:10} {side.__name__:10} {measured.line}", flush=True)
    start = measure.measure([args.python, HERE.parent / "prep" / "as_tf1.py", "", HERE / "nothing.py"])
    print(f"start of TensorFlow   {start.line}", flush=True)
    many = rematch(args, work, records, "cifar10", MANY)
    print(f"{MANY} copies, rematch    {many.line}", flush=True)
    many["bytes"] = sum(size for size, _ in sizes(work / "ours"))
    recipe = rematch(args, work, records, "cifar10", MANY, virtual=True)
    recipe["bytes"] = sum(size for size, _ in sizes(work / "ours"))
    print(f"{MANY} copies, virtual    {recipe.line}", flush=True)
    report(args, ours, theirs, start, many, recipe)
    shutil.rmtree(work)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of uizard-technologies/realmix")
    parser.add_argument("--archives", type=Path, required=True, help="folder with cifar-10-matlab.tar.gz")
    parser.add_argument("--rematch", type=Path, default=measure.default_program(), help="the program")
    parser.add_argument("--python", default=sys.executable, help="a Python with ../prep/requirements.txt installed")
    parser.add_argument("--records", type=int, default=50000, help="how many images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=lambda text: {int(n) for n in text.split(",")}, default={0, 1})
    parser.add_argument("--work", type=Path, default=None, help="where files are written, 8 GB, instead of the temporary folder")
    args = parser.parse_args()
    args.archives = args.archives.resolve()
    args.peer = args.peer.resolve()
    for path in [args.archives / "cifar-10-matlab.tar.gz", args.peer / "scripts" / "make_aug_copy.py", args.rematch]:
        if not path.is_file():
            parser.error(f"{path} is not there")
    return args


def prepare(args, work):
    """The record file that both sides read, where RealMix's scripts look for it."""
    env = {**os.environ, "REMATCH_MIRROR": str(args.archives)}
    command = [args.rematch, "run", HERE.parent / "prep" / "prepare.yaml", "unlabeled"]
    measure.measure([*command, "--store", work / "prepared" / "store", "--out", work / "prepared" / "out"], env=env)
    # RealMix cuts paths at their first dot.
    data = work / "data"
    (data / "SSL").mkdir(parents=True)
    made = work / "prepared" / "out" / "prepare-cifar10"
    records = data / "SSL" / f"{NAME}-unlabel.tfrecord"
    shutil.copyfile(made / "unlabeled" / "unlabel.tfrecord", records)
    (data / "cifar10-test.tfrecord").write_bytes(b"")
    keep(records, args.records)
    return records


def keep(path, count):
    """Cuts a record file behind its first `count` records."""
    with open(path, "rb+") as file:
        for _ in range(count):
            (length,) = struct.unpack("<Q", file.read(12)[:8])
            file.seek(length + 4, os.SEEK_CUR)
        file.truncate()


def rematch(args, work, records, task, copies=COPIES, virtual=False):
    """One job with an empty store."""
    folder = work / "ours"
    shutil.rmtree(folder, ignore_errors=True)
    if task == "filter":
        command = [args.rematch, "run", HERE / "filter.yaml"]
    else:
        command = [args.rematch, "run", HERE / "copies.yaml", "--set", f"augment={task}"]
        command += ["--set", f"copies={copies}", "--set", f"virtual={str(virtual).lower()}"]
    command += ["--set", f"records={records}", "--store", folder / "store", "--out", folder / "out"]
    return measure.measure(command)


def original(args, work, records, task):
    """The script that does the same."""
    if task == "filter":
        script = ["filter_dataset.py", "--class_filter=4,5,6,7", f"--filter_dataset={records}", "--save_name=filtered"]
    else:
        script = ["make_aug_copy.py", f"--aug_dataset={NAME}", f"--aug_copy={COPIES}", f"--augment={task}"]
        script.append(f"--unlabel_size={args.records}")
    name, *flags = script
    command = [args.python, HERE.parent / "prep" / "as_tf1.py", "", args.peer / "scripts" / name, *flags]
    env = {**os.environ, "ML_DATA": str(work / "data")}
    measured = measure.measure(command, env=env, cwd=work)
    made = {
        "filter": records.parent / "filtered",
        # The name of the file is what stands before the first dot.
    }.get(task, records.parent / f"cifar10_aug{COPIES}.1@250-unlabel.tfrecord")
    if made.stat().st_size < records.stat().st_size / 3:
        raise SystemExit(f"{made} is too small: {measured.output[-2000:]}")
    made.unlink()
    return measured


def sizes(folder):
    """Size and inode of every file, each inode once."""
    found = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        if path.is_file() and not path.is_symlink():
            found[stat.st_ino] = stat.st_size
    return [(size, inode) for inode, size in found.items()]


def report(args, ours, theirs, start, many, recipe):
    def middle(times, what):
        return statistics.median(one[what] for one in times)

    tasks = {}
    for task, target in TARGETS.items():
        ratio = {what: middle(theirs[task], what) / middle(ours[task], what) for what in ["wall", "cpu"]}
        without = {
            what: (middle(theirs[task], what) - start[what]) / middle(ours[task], what) for what in ["wall", "cpu"]
        }
        print(f"{task:10} {ratio['wall']:6.1f} times faster by the wall, {ratio['cpu']:6.1f} by CPU ({without['cpu']:.1f} without TensorFlow's start); target {target}")
        tasks[task] = {
            "times_faster": ratio,
            "times_faster_without_tensorflow_start": without,
            "target": target,
            "rematch": ours[task],
            "original": theirs[task],
        }
    print(f"{MANY} copies: {many['peak']:.0f} MiB; target below {MEMORY}")
    measure.save(
        "copies",
        f"benches/copies/run.py --peer CHECKOUT --archives FOLDER --records {args.records} --rounds {args.rounds}",
        {
            "rematch": measure.version(args.rematch),
            "tasks": tasks,
            "records": args.records,
            "copies": COPIES,
            "tensorflow_start": start,
            "fifty_copies": many,
            "fifty_virtual_copies": recipe,
            "memory_target_mib": MEMORY,
        },
    )


if __name__ == "__main__":
    main()
