#!/usr/bin/env python3
"""Writes archives of the official names, layouts and sizes with made-up images, for measurements at full size
where the real archives are not at hand.

    benches/prep/stand_ins.py FOLDER [DATASET…]

Datasets: cifar10, cifar100 (MATLAB layout), svhn (train, test, extra), stl10; all of them where none is named: 6 GB
of disk, 6 GB of memory, some minutes. Numbers of images and of images per class are the official ones; a class is a
colour gradient with noise, which PNG compresses about as well as photographs. Needs numpy and scipy.
"""

import argparse
import io
import tarfile
from pathlib import Path

import numpy
from scipy.io import savemat

# Images per digit 1 to 9 and 0, as spec and papers have them; `extra` in the proportions of `train`.
SVHN_TRAIN = [13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659, 4948]
SVHN_TEST = [5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595, 1744]
SVHN_EXTRA = 531_131


def images(labels, side, seed):
    """[N, 3, side, side] bytes; the class gives the gradient."""
    random = numpy.random.default_rng(seed)
    ramp = numpy.linspace(0, 120, side, dtype=numpy.float32)
    out = numpy.empty((len(labels), 3, side, side), numpy.uint8)
    for start in range(0, len(labels), 5000):
        part = labels[start : start + 5000].astype(numpy.float32)[:, None, None, None]
        base = ramp[None, None, :, None] * numpy.cos(part) + ramp[None, None, None, :] * numpy.sin(part)
        colour = random.uniform(40, 200, (len(part), 3, 1, 1)).astype(numpy.float32)
        noise = random.normal(0, 7, (len(part), 3, side, side)).astype(numpy.float32)
        out[start : start + 5000] = numpy.clip(base + colour + noise, 0, 255)
    return out


def shuffled(counts, seed):
    labels = numpy.repeat(numpy.arange(len(counts)), counts)
    return numpy.random.default_rng(seed).permutation(labels)


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def mat(**values):
    file = io.BytesIO()
    savemat(file, values, do_compression=True)
    return file.getvalue()


def cifar10(folder):
    with tarfile.open(folder / "cifar-10-matlab.tar.gz", "w:gz", compresslevel=1) as tar:
        for n, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
            labels = shuffled([1000] * 10, n)
            data = images(labels, 32, n).reshape(-1, 3072)
            add(tar, f"cifar-10-batches-mat/{name}.mat", mat(data=data, labels=labels.astype(numpy.uint8)[:, None]))


def cifar100(folder):
    with tarfile.open(folder / "cifar-100-matlab.tar.gz", "w:gz", compresslevel=1) as tar:
        for name, each in [("train", 500), ("test", 100)]:
            labels = shuffled([each] * 100, each)
            data = images(labels, 32, each).reshape(-1, 3072)
            column = labels.astype(numpy.uint8)[:, None]
            add(tar, f"cifar-100-matlab/{name}.mat", mat(data=data, fine_labels=column, coarse_labels=column // 5))


def svhn(folder):
    whole = numpy.array(SVHN_TRAIN)
    extra = whole * SVHN_EXTRA // whole.sum()
    extra[0] += SVHN_EXTRA - extra.sum()
    for name, counts in [("train", SVHN_TRAIN), ("test", SVHN_TEST), ("extra", extra)]:
        labels = shuffled(counts, len(name))
        # [32, 32, 3, N], and digit 0 is class 10.
        data = images(labels, 32, len(name)).transpose(2, 3, 1, 0)
        savemat(folder / f"{name}_32x32.mat", {"X": data, "y": (labels + 1).astype(numpy.uint8)[:, None]}, do_compression=True)


def stl10(folder):
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz", compresslevel=1) as tar:
        for name, each in [("test", 800), ("train", 500)]:
            labels = shuffled([each] * 10, each)
            # Columns come before rows.
            add(tar, f"stl10_binary/{name}_X.bin", images(labels, 96, each).transpose(0, 1, 3, 2).tobytes())
            add(tar, f"stl10_binary/{name}_y.bin", (labels + 1).astype(numpy.uint8).tobytes())
        add(tar, "stl10_binary/unlabeled_X.bin", images(numpy.arange(100_000) % 10, 96, 1).tobytes())
        random = numpy.random.default_rng(7)
        folds = "".join(" ".join(map(str, random.choice(5000, 1000, replace=False))) + "\n" for _ in range(10))
        add(tar, "stl10_binary/fold_indices.txt", folds.encode())


DATASETS = {make.__name__: make for make in [cifar10, cifar100, svhn, stl10]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("datasets", nargs="*", choices=[[], *DATASETS], default=[], metavar="DATASET")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.datasets or DATASETS:
        DATASETS[name](args.folder)
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main()
