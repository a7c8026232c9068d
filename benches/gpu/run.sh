#!/bin/sh
# FixMatch on a GPU: our step, whole runs of ours, and kekmodel/FixMatch-pytorch's, in one JSON file.
#
#   benches/gpu/run.sh BINARIES CHECKOUT [options of run.py]
#
# BINARIES is a folder with `rematch`, `rematch-train` and `step` (cargo build --release -p rematch
# -p rematch-train; the last is target/release/examples/step); no Rust is needed here. CHECKOUT is a
# checkout of kekmodel/FixMatch-pytorch. $PYTHON (python3) has PyTorch 2.11 with CUDA, whose libraries the
# binaries use, and for the peer's loaders torchvision and Pillow.
set -eu
python=${PYTHON:-python3}
libraries=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$python" "$(dirname "$0")/run.py" "$@"
