#!/usr/bin/env python3
"""Reads what rematch writes with TensorFlow and TensorBoard themselves. Run by hand:

    python3 -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu tensorboard
    cargo run -p rematch-data --example interchange -- /tmp/interchange
    /tmp/tf/bin/python stages/data/tests/check_tensorflow.py /tmp/interchange [MORE.tfrecord ...]

The folder holds shapes.tfrecord with shapes.rgb and shapes.labels (its pixels and classes as plain
bytes), and run/ with an event file and run.json (its scalars). Further TFRecord files are read to
their end. Ends with code 1 at the first difference.
"""
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def records(path):
    """Images [N, H, W, C] and labels [N] of a TFRecord file, read by TensorFlow's own pipeline."""
    images, labels = [], []
    for record in tf.data.TFRecordDataset(path):
        parsed = tf.io.parse_single_example(record, FEATURES)
        images.append(tf.image.decode_png(parsed["image"]).numpy())
        labels.append(int(parsed["label"]))
    return np.stack(images), np.array(labels)


def check(condition, what):
    if not condition:
        sys.exit("differs: " + what)
    print("same:", what)


def main():
    folder, *more = sys.argv[1:]
    images, labels = records(os.path.join(folder, "shapes.tfrecord"))
    pixels = np.fromfile(os.path.join(folder, "shapes.rgb"), np.uint8).reshape(images.shape)
    check((images == pixels).all(), "pixels of %d images" % len(images))
    check((labels == np.fromfile(os.path.join(folder, "shapes.labels"), np.uint8)).all(), "their labels")

    events = EventAccumulator(os.path.join(folder, "run"), size_guidance={"scalars": 0})
    events.Reload()
    with open(os.path.join(folder, "run.json")) as file:
        expected = json.load(file)
    check(sorted(events.Tags()["scalars"]) == sorted(expected), "tags " + ", ".join(sorted(expected)))
    for tag, points in expected.items():
        found = [[event.step, event.value] for event in events.Scalars(tag)]
        check(found == points, "%d values of %s" % (len(points), tag))

    for path in more:
        images, labels = records(path)
        print("read: %s, %s images, labels %d to %d" % (path, images.shape, labels.min(), labels.max()))


if __name__ == "__main__":
    main()
