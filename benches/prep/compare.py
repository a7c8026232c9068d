#!/usr/bin/env python3
"""Compares two preparations of CIFAR-10: the originals' data folder and rematch's results.

    compare.py ML_DATA out/prepare-cifar10

JSON files must hold the same values; TFRecord files the same labels and, decoded, the same pixels,
record by record. Ends with 1 at the first difference. Files may differ in bytes: PNG encoders do.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf  # noqa: E402

def main(theirs, ours):
    for name in ["train", "test"]:
        records = same_records(theirs / f"cifar10-{name}.tfrecord", ours / "dataset" / f"{name}.tfrecord")
        print(f"{name}: {records} records equal")
    prefix = theirs / "SSL2"
    same_json(prefix / "cifar10-unlabel.json", ours / "unlabeled" / "unlabel.json")
    records = same_records(prefix / "cifar10-unlabel.tfrecord", ours / "unlabeled" / "unlabel.tfrecord")
    print(f"unlabeled: indexes and {records} records equal")
    records, splits = 0, sorted((ours / "split").iterdir())
    for split in splits:
        seed, size = (part.split("=")[1] for part in split.name.split(","))
        name = f"cifar10.{seed}@{size}-label"
        same_json(prefix / f"{name}.json", split / "label.json")
        records += same_records(prefix / f"{name}.tfrecord", split / "label.tfrecord")
    print(f"{len(splits)} splits: indexes and {records} records equal")
    records = same_records(theirs / "classes.tfrecord", next((ours / "classes").glob("*.tfrecord")))
    print(f"classes: {records} records equal")
    for who, folder in [("originals", theirs), ("rematch", ours)]:
        size = sum(file.stat().st_size for file in folder.rglob("*.tfrecord"))
        print(f"{who}: {size / 1e6:.1f} MB of TFRecord files")


def same_json(a, b):
    if json.loads(a.read_text()) != json.loads(b.read_text()):
        raise SystemExit(f"{a} and {b} differ")


def same_records(a, b):
    """Compares two TFRecord files; returns their number of records."""
    spec = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def read(record):
        example = tf.io.parse_single_example(record, spec)
        return tf.io.decode_png(example["image"]), example["label"]

    sets = [tf.data.TFRecordDataset(str(path)).map(read).batch(500) for path in (a, b)]
    counts = [0, 0]
    for (x, i), (y, j) in zip(*sets):
        counts[0] += len(i)
        counts[1] += len(j)
        if x.shape != y.shape or not bool(tf.reduce_all(x == y)) or not bool(tf.reduce_all(i == j)):
            raise SystemExit(f"{a} and {b} differ within records {counts[0] - len(i)} to {counts[0]}")
    lengths = [sum(1 for _ in tf.data.TFRecordDataset(str(path))) for path in (a, b)]
    if counts != lengths:
        raise SystemExit(f"{a} has {lengths[0]} records, {b} {lengths[1]}")
    return lengths[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
