#!/bin/sh
# Images per second of a FixMatch step (WRN-28-2, batch 64, uratio 7) on a GPU, beside
# kekmodel/FixMatch-pytorch, and of a whole training run with augmentation.
#
#   benches/gpu/run.sh CHECKOUT [PYTHON]
#
# CHECKOUT is a checkout of kekmodel/FixMatch-pytorch; PYTHON has PyTorch 2.11 with CUDA (python3 if
# not given). libtorch must be the CUDA set: REMATCH_CUDA=1 make setup, or
# LIBTORCH=$(PYTHON -c 'import torch; print(torch.__path__[0])') make setup.
# Results go to benches/results/train-cuda.json and benches/results/train-cuda-run.json.
set -eu

checkout=${1:?usage: benches/gpu/run.sh CHECKOUT [PYTHON]}
python=${2:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"

command -v nvidia-smi >/dev/null || { echo "no NVIDIA driver here (nvidia-smi is missing)" >&2; exit 1; }
cargo build --release -p rematch -p rematch-train
target=$(cargo metadata --format-version 1 --no-deps | "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/release/rematch-train" --probe | "$python" -c '
import json, sys
found = json.load(sys.stdin)
if not found["gpus"]:
    sys.exit("libtorch sees no GPU: " + (found["cuda_error"] or "no driver or no device"))
'

# The step alone, in turns with the peer.
"$python" benches/train/run.py "$checkout" --python "$python" --device cuda --batch 64 --steps 50 --rounds 3

# A whole run: reading, augmentation, upload, steps. Generated images have the size of CIFAR-10's.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/gpu.yaml" <<'YAML'
name: gpu
axes:
  precision: [float32, bf16]
  augment: [d.d.d, d.d.rac]
stages:
  dataset:
    download: {dataset: shapes, train_images: 50000, test_images: 1000}
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
      length: {steps: 2000}
      report: {steps: 2000}
      device: cuda
    resources: {gpus: 1}
YAML
"$target/release/rematch" run "$folder/gpu.yaml" --store "$folder/store" --out "$folder/out"
"$python" - "$folder/store" benches/results/train-cuda-run.json <<'PYTHON'
import json, pathlib, subprocess, sys

runs = []
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.json")):
    try:
        entry = json.loads(path.read_text())
    except ValueError:
        continue
    text = json.dumps(entry)
    if '"images_per_second"' not in text:
        continue

    def find(value, name):
        if isinstance(value, dict):
            if name in value:
                return value[name]
            value = list(value.values())
        for inner in value if isinstance(value, list) else []:
            found = find(inner, name)
            if found is not None:
                return found

    # Keys leave out what is at its default.
    settings = {"precision": find(entry, "precision") or "float32", "augment": find(entry, "augment") or "d.d.d"}
    runs.append({**settings, "images_per_second": find(entry, "images_per_second")})
gpu = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
for run in runs:
    print(run)
pathlib.Path(sys.argv[2]).write_text(json.dumps({"gpu": gpu, "runs": runs}, indent=2) + "\n")
PYTHON
