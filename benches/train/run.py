"""Compares a FixMatch training step (WRN-28-2) with the same step of kekmodel/FixMatch-pytorch.

    python3 benches/train/run.py CHECKOUT [--python PYTHON] [--rounds 5] [--steps 3] [--device cpu|cuda]

CHECKOUT is a checkout of kekmodel/FixMatch-pytorch, PYTHON a Python with PyTorch 2.11. Both programs
run in turns on one thread, so that a busy machine slows both; what is compared is CPU time per step
(wall time on a GPU), the median of each run, and the ratio round by round. Results go to
benches/results/train-DEVICE.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))


def machine():
    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    gpu = subprocess.run("nvidia-smi --query-gpu=name --format=csv,noheader", shell=True, capture_output=True, text=True)
    return {"processor": model[0] if model else "?", "cores": len(model), "gpu": gpu.stdout.strip() or None}


def last_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    build = ["cargo", "build", "--release", "-p", "rematch-train", "--example", "step", "--message-format=json"]
    messages = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    ours = next(m["executable"] for m in map(json.loads, messages.splitlines()) if m.get("executable") and m["target"]["name"] == "step")
    common = ["--steps", args.steps, "--batch", args.batch, "--threads", args.threads, "--device", args.device]
    common = [str(part) for part in common]
    peer = [args.python, str(HERE / "peer.py"), args.checkout, *common]
    variants = {
        "peer, float32": [*peer],
        "rematch, float32": [ours, *common],
        "peer, bf16, channels last": [*peer, "--precision", "bf16", "--channels-last"],
        "rematch, bf16": [ours, *common, "--precision", "bf16"],
    }
    unit = "wall_ms" if args.device == "cuda" else "cpu_ms"
    rounds = []
    for number in range(args.rounds):
        rounds.append({name: statistics.median(last_json(command)[unit]) for name, command in variants.items()})
        print(f"round {number + 1}:", ", ".join(f"{name} {ms:.0f} ms" for name, ms in rounds[-1].items()), flush=True)
    images = args.batch * 15
    summary = {}
    for name in variants:
        ms = statistics.median(r[name] for r in rounds)
        summary[name] = {"ms_per_step": ms, "images_per_second": images / ms * 1000}
    ratios = {
        "float32 / peer's float32": statistics.median(r["rematch, float32"] / r["peer, float32"] for r in rounds),
        "bf16 / peer's bf16": statistics.median(r["rematch, bf16"] / r["peer, bf16, channels last"] for r in rounds),
        "bf16 / peer's float32": statistics.median(r["rematch, bf16"] / r["peer, float32"] for r in rounds),
    }
    for name, value in ratios.items():
        print(f"{name}: {value:.3f} of the time")
    command = f"python3 benches/train/run.py CHECKOUT --rounds {args.rounds} --steps {args.steps} --batch {args.batch} --threads {args.threads} --device {args.device}"
    result = {"command": command, "machine": machine(), "unit": unit, "rounds": rounds, "summary": summary, "ratios": ratios}
    target = HERE.parent / "results" / f"train-{args.device}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
