"""The body of run.sh, which says what is needed.

    run.py BINARIES CHECKOUT [--steps 50] [--rounds 3] [--run-steps 2000] [--device cuda|cpu]

Measures, in this order: our step alone in float32, TF32 and bf16; the peer's step alone as shipped and
tuned (bf16, channels last), in turns with ours; WRN-28-8 likewise; our whole runs, with augmentation,
upload and reports; the peer's step with its loaders, 4 and 14 workers. What cannot be measured says why.
`--device cpu` with few steps and test images tries the script out, and writes no result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import measure

PIPELINE = """name: gpu
axes:
  precision: [float32, tf32, bf16]
  augment: [d.d.d, d.d.rac]
stages:
  dataset:
    download: {dataset: shapes, train_images: 50000, test_images: TESTED}
  unlabeled:
    create_unlabeled: {train: "${dataset.train}"}
  split:
    create_split: {train: "${dataset.train}", seed: 1, size: 250}
  train:
    train:
      algorithm: fixmatch
      labeled: ${split.labeled}
      unlabeled: ${unlabeled.unlabeled}
      test: ${dataset.test}
      precision: ${axis.precision}
      augment: ${axis.augment}
      batch: BATCH
      length: {steps: STEPS}
      report: {steps: STEPS}
      final_report: true
      device: DEVICE
    resources: {gpus: GPUS, cpus: CPUS}
"""


def measured(command):
    """The last line of a program, JSON, or why there is none."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def steps(variants, rounds):
    """Each variant's wall milliseconds per step, in turns: the median of each run, round by round."""
    found = {name: [] for name in variants}
    failed = {}
    for _ in range(rounds):
        for name, command in variants.items():
            result = measured(command) if name not in failed else None
            if result and "failed" in result:
                failed[name] = result["failed"]
            elif result:
                found[name].append(statistics.median(result["wall_ms"]))
                images = result["images"]
    rows = {}
    for name, times in found.items():
        if name in failed or not times:
            rows[name] = {"failed": failed.get(name, "no round")}
            continue
        ms = statistics.median(times)
        rows[name] = {"ms_per_step": ms, "images_per_second": images / ms * 1000, "rounds": times}
    for name, row in rows.items():
        print(name, row.get("failed") or f"{row['ms_per_step']:.2f} ms", flush=True)
    return rows


def runs(binaries, args):
    """Whole runs: images per second and seconds of each."""
    text = PIPELINE.replace("STEPS", str(args.run_steps)).replace("BATCH", str(args.batch)).replace("TESTED", str(args.test_images)).replace("DEVICE", args.device)
    text = text.replace("GPUS", "1" if args.device == "cuda" else "0").replace("CPUS", str(os.cpu_count()))
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Path(folder) / "gpu.yaml"
        pipeline.write_text(text)
        rematch = [binaries / "rematch"]
        places = ["--store", Path(folder) / "store", "--out", Path(folder) / "out"]
        done = subprocess.run([str(p) for p in [*rematch, "run", pipeline, *places]], capture_output=True, text=True)
        if done.returncode != 0:
            return {"failed": done.stderr.strip()[-500:]}
        rows = {}
        for precision in ["float32", "tf32", "bf16"]:
            for augment in ["d.d.d", "d.d.rac"]:
                job = f"train[augment={augment},precision={precision}]"
                shown = subprocess.run(
                    [str(p) for p in [*rematch, "out", pipeline, job, *places]], capture_output=True, text=True
                )
                rows[job] = facts(Path(shown.stdout.strip())) if shown.returncode == 0 else {"failed": shown.stderr.strip()[-300:]}
        return rows


def facts(run):
    """What the last line of a run's log says: the rate is that of all steps since the first."""
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    return {"images_per_second": last["speed/images_per_second"], "accuracy": last["accuracy"], "step": last["step"]}


def ratio(rows, ours, theirs):
    """Their time over ours."""
    if "ms_per_step" in rows.get(ours, {}) and "ms_per_step" in rows.get(theirs, {}):
        return rows[theirs]["ms_per_step"] / rows[ours]["ms_per_step"]
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binaries", type=Path)
    parser.add_argument("checkout")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--run-steps", type=int, default=2000)
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--workers", type=int, nargs="*", default=[4, 14])
    parser.add_argument("--wide", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    binaries = args.binaries.resolve()
    common = ["--steps", args.steps, "--batch", args.batch, "--device", args.device]
    ours = [binaries / "step", *common]
    peer = [sys.executable, HERE.parent / "train" / "peer.py", args.checkout, *common]
    tuned = ["--precision", "bf16", "--channels-last"]
    step = steps(
        {
            "rematch, float32": [*ours],
            "rematch, tf32": [*ours, "--precision", "tf32"],
            "rematch, bf16": [*ours, "--precision", "bf16"],
            "peer as shipped, no loader": [*peer],
            "peer tuned, no loader": [*peer, *tuned],
        },
        args.rounds,
    )
    wide = {}
    if args.wide:
        wide = steps(
            {
                "rematch, bf16": [*ours, "--filters", 128, "--precision", "bf16"],
                "peer tuned, no loader": [*peer, "--widen", 8, *tuned],
            },
            args.rounds,
        )
    whole = runs(binaries, args)
    print(json.dumps(whole, indent=2), flush=True)
    loaders = {}
    for workers in args.workers:
        loaders[f"peer as shipped, {workers} workers"] = [*peer, "--workers", workers]
        loaders[f"peer tuned, {workers} workers"] = [*peer, *tuned, "--workers", workers]
    loaded = steps(loaders, 1)

    images = args.batch * 15
    ours_whole = whole.get("train[augment=d.d.rac,precision=bf16]", {}).get("images_per_second")
    ratios = {
        "step: peer as shipped / rematch bf16": ratio(step, "rematch, bf16", "peer as shipped, no loader"),
        "step: peer tuned / rematch bf16": ratio(step, "rematch, bf16", "peer tuned, no loader"),
        "WRN-28-8 step: peer tuned / rematch bf16": ratio(wide, "rematch, bf16", "peer tuned, no loader"),
    }
    for name, row in loaded.items():
        if ours_whole and "ms_per_step" in row:
            ratios[f"whole: {name} / rematch bf16"] = row["ms_per_step"] / (images / ours_whole * 1000)
    print(json.dumps(ratios, indent=2))
    if args.device == "cpu":
        return
    gpu = subprocess.run("nvidia-smi --query-gpu=name,driver_version --format=csv,noheader", shell=True, capture_output=True, text=True)
    facts = {
        "gpu": gpu.stdout.strip() or None,
        "batch": args.batch, "uratio": 7, "steps": args.steps,
        "step": step, "step of WRN-28-8": wide, "whole runs": whole, "peer with its loaders": loaded, "ratios": ratios,
    }
    measure.save("gpu", " ".join(["benches/gpu/run.sh", "BINARIES", "CHECKOUT", *sys.argv[3:]]), facts)


if __name__ == "__main__":
    main()
