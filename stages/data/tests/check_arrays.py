"""Reads what `export` and `zca` write with numpy and Pillow themselves. Run by hand:

    python3 -m venv /tmp/np && /tmp/np/bin/pip install numpy pillow
    cat >/tmp/arrays.yaml <<'END'
    stages:
      data: {download: {dataset: shapes, train_images: 4000, test_images: 100}}
      npy: {export: {records: '${data.train}', to: npy}}
      binary: {export: {records: '${data.train}', to: cifar_binary}}
      folders: {export: {records: '${data.train}', to: folders}}
      zca: {zca: {records: '${data.train}'}}
    END
    cargo run --release -- run /tmp/arrays.yaml --store /tmp/arrays.store --out /tmp/arrays.out
    /tmp/np/bin/python stages/data/tests/check_arrays.py /tmp/arrays.out

All three formats must hold the same images and labels, and the archive must be numpy's statistics of them. Ends with
code 1 at the first difference.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def check(condition, what):
    if not condition:
        sys.exit("differs: " + what)
    print("same:", what)


def find(folder, name):
    return next(iter(sorted(folder.rglob(name))))


def main():
    folder = Path(sys.argv[1])
    images, labels = np.load(find(folder, "images.npy")), np.load(find(folder, "labels.npy"))
    check(images.dtype == np.uint8 and labels.dtype == np.int64, "types")

    rows = np.fromfile(find(folder, "data.bin"), np.uint8).reshape(-1, 3073)
    check((rows[:, 0] == labels).all(), "labels of the binary file")
    planes = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    check((planes == images).all(), "images of the binary file")

    classes = json.loads(find(folder, "classes.json").read_text())
    classes = {name: int(label) for label, name in classes.items()}
    files = sorted(find(folder, "images").rglob("*.png"))
    check(len(files) == len(images), f"number of {len(files)} files")
    same = all(
        classes[file.parent.name] == labels[int(file.stem)]
        and (np.asarray(Image.open(file)) == images[int(file.stem)]).all()
        for file in files
    )
    check(same, "images and labels of the folders")

    x = images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255
    mean = x.mean(axis=0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    zca = np.load(find(folder, "zca.npz"))
    check(sorted(zca) == ["S", "U", "W", "mean"], "names in the archive")
    check(np.allclose(zca["mean"], mean, rtol=1e-12, atol=0), "mean")
    u, s = zca["U"], zca["S"]
    check(np.allclose(u @ np.diag(s) @ u.T, covariance, rtol=0, atol=1e-12), "U diag(S) U^T is the covariance")
    check(np.allclose(u.T @ u, np.eye(len(s)), rtol=0, atol=1e-10), "U is orthogonal")
    w = u @ np.diag(1 / (np.sqrt(s) + 1e-12)) @ u.T
    check(np.allclose(zca["W"], w, rtol=1e-9, atol=1e-9 * np.abs(w).max()), "W")
    white = (x - mean) @ zca["W"].T
    error = np.abs(white.T @ white / len(x) - np.eye(len(s))).max()
    check(error < 1e-5, f"whitened images have the identity as covariance, but for {error:.1e}")


if __name__ == "__main__":
    main()
