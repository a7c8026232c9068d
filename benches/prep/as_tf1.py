#!/usr/bin/env python3
"""Runs one of the original scripts, unmodified, on a current TensorFlow.

    as_tf1.py ARCHIVES SCRIPT ARGUMENT...

The scripts were written for TensorFlow 1.14, which no longer installs. `import tensorflow` gives
them `tensorflow.compat.v1` with version 2 behaviour off. Downloads become copies out of the folder
ARCHIVES, so that no network is measured.
"""

import os
import runpy
import shutil
import sys
import urllib.request

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def use_tensorflow_1():
    """Puts the version 1 interface where `import tensorflow` finds it."""
    import tensorflow.compat.v1 as tf1
    # libml/utils.py imports it below `tensorflow`, which is another module from here on.
    import tensorflow.python.client.device_lib  # noqa: F401

    tf1.disable_v2_behavior()
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    sys.modules["tensorflow"] = tf1


def read_downloads_from(folder):
    """Makes `urllib.request.urlretrieve` copy the file of that name out of `folder`."""

    def retrieve(url, filename):
        shutil.copyfile(os.path.join(folder, url.rsplit("/", 1)[-1]), filename)
        return filename, None

    urllib.request.urlretrieve = retrieve


if __name__ == "__main__":
    archives, script = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(script))))
    use_tensorflow_1()
    read_downloads_from(archives)
    runpy.run_path(script, run_name="__main__")
