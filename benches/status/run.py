#!/usr/bin/env python3
"""Times `rematch status` and a `rematch run` that has nothing to do, on the full published sweep.

    benches/status/run.py --archives FOLDER

The sweep is pipelines/fixmatch/cifar10.yaml as it is: 6 seeds × 8 sizes × 2 validation sizes, 243
jobs. FOLDER holds cifar-10-matlab.tar.gz. Preparation, extraction and table run for real; 96
trainings of 2^20 steps do not: a stand-in for the trainer (`REMATCH_TRAIN`) leaves run folders with
the files that a real one leaves. Then each command runs 50 times, the file system cache warm.
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

PIPELINE = HERE.parent.parent / "pipelines" / "fixmatch" / "cifar10.yaml"

# What a training leaves (stages/train): arguments, log, events, the last checkpoint and the best.
# Every run's files differ, so nothing is stored once for all of them.
TRAINER = """#!/bin/sh
run=$(sed -n 's/.*"run": "\\(.*\\)".*/\\1/p' "$1" | tail -n 1)
mkdir -p "$run/args" "$run/tf" "$run/checkpoints"
cp EVENTS "$run/tf/events.out.tfevents.1600000000.bench"
for file in args/args.json log.jsonl checkpoints/step-01048576.safetensors checkpoints/best.safetensors; do
    echo "$file $run" > "$run/$file"
done
"""


def main():
    args = arguments()
    work = Path(tempfile.mkdtemp(prefix="status-", dir=args.work))
    env = {**os.environ, "REMATCH_MIRROR": str(args.archives), "REMATCH_TRAIN": str(trainer(work))}
    where = ["--store", str(work / "store"), "--out", str(work / "out")]
    where += [part for setting in args.set for part in ("--set", setting)]
    print(f"running the sweep with a stand-in trainer in {work} …", flush=True)
    swept = measure.measure([args.rematch, "run", PIPELINE, *where], env=env, watch=False)
    print(f"  {swept.line}")
    commands = {
        "status": [args.rematch, "status", PIPELINE, *where],
        "run, nothing to do": [args.rematch, "run", PIPELINE, *where],
        "plan": [args.rematch, "plan", PIPELINE, *where],
        "a program that does nothing": ["/bin/true"],
    }
    status = measure.measure(commands["status"], env=env, watch=False).output
    print(status)
    last = status.strip().splitlines()[-1]
    if "all 243 jobs are up to date" not in last:
        raise SystemExit(f"the sweep is not up to date: {last}")
    results = {}
    for name, command in commands.items():
        results[name] = times([str(part) for part in command], env, args.runs)
        facts = results[name]
        print(
            f"{name:28} median {facts['median']:6.1f} ms, min {facts['min']:6.1f}, max {facts['max']:6.1f};"
            f" cpu {facts['cpu']:5.1f} ms; peak {facts['peak_mib'] or '?'} MiB",
            flush=True,
        )
    store = sum(1 for path in (work / "store").rglob("*") if path.is_file())
    measure.save(
        "status",
        "benches/status/run.py --archives FOLDER" + "".join(f" --set {setting}" for setting in args.set),
        {
            "versions": {"rematch": measure.version(args.rematch)},
            "runs": args.runs,
            "jobs": 243,
            "files_in_store": store,
            "sweep_with_stand_in": {what: round(value, 2) for what, value in swept.items()},
            "milliseconds": results,
        },
    )
    if args.keep:
        print(f"kept: {work}")
    else:
        shutil.rmtree(work)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, required=True, help="folder with cifar-10-matlab.tar.gz")
    parser.add_argument("--rematch", type=Path, default=measure.default_program(), help="the program")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as rematch's")
    parser.add_argument("--work", type=Path, default=None, help="where files are written, instead of the temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep what was written")
    args = parser.parse_args()
    args.archives = args.archives.resolve()
    for path in [args.archives / "cifar-10-matlab.tar.gz", args.rematch]:
        if not path.is_file():
            parser.error(f"{path} is not there")
    return args


def times(command, env, runs):
    """Milliseconds of a command, from its start to its end as a parent sees them."""
    wall, cpu = [], []
    for turn in range(runs + 5):
        took = measure.once(command, env)
        if turn >= 5:
            wall.append(took["wall"] * 1000)
            cpu.append(took["cpu"] * 1000)
    rounded = lambda value: round(value, 2)
    return {
        "median": rounded(statistics.median(wall)),
        "min": rounded(min(wall)),
        "max": rounded(max(wall)),
        "cpu": rounded(statistics.median(cpu)),
        "peak_mib": measure.with_peak(command, env)["peak"],
    }


def trainer(work):
    """Writes the stand-in, and the event file that it copies."""
    events = work / "events"
    # 1,024 reports of accuracies and losses, as a whole run has.
    records = [field(1, 1, struct.pack("<d", 1.6e9)) + field(3, 2, b"brain.Event:2")]
    for report in range(1, 1025):
        values = b"".join(
            field(1, 2, field(1, 2, tag.encode()) + field(2, 5, struct.pack("<f", 90 + report / 512)))
            for tag in ["accuracy", "accuracy/train_labeled", "accuracy/valid", "losses/xe", "losses/xeu"]
        )
        records.append(field(1, 1, struct.pack("<d", 1.6e9 + report)) + field(2, 0, varint(report << 16)) + field(5, 2, values))
    events.write_bytes(b"".join(map(framed, records)))
    path = work / "trainer"
    path.write_text(TRAINER.replace("EVENTS", str(events)))
    path.chmod(0o755)
    return path


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, wire, value):
    """One field of a protocol buffer message."""
    length = varint(len(value)) if wire == 2 else b""
    return varint(number << 3 | wire) + length + value


def framed(payload):
    """One TFRecord."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", masked(length)) + payload + struct.pack("<I", masked(payload))


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc32c_table()


def masked(data):
    """CRC-32C as TFRecord stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


if __name__ == "__main__":
    main()
