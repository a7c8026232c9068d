"""Prints the last two checksums of `views_never_change` in src/augment/batch.rs: the views `mz` and
`featmatch`, made with Pillow and with numpy's Philox from spec/featmatch.md 4.

    pip install pillow numpy
    python make_featmatch_views.py
"""

import zlib

import numpy as np
from PIL import Image

from make_pillow_vectors import featmatch

MASK = (1 << 64) - 1
SIDE = 32
OPS = "ShearX ShearY TranslateX TranslateY Rotate Mirror Identity AutoContrast Equalize Solarize Posterize Contrast Color Brightness Sharpness Invert".split()
GRIDS = {
    "ShearX": (0, 0.3, True),
    "ShearY": (0, 0.3, True),
    "TranslateX": (0, 150 / 331, True),
    "TranslateY": (0, 150 / 331, True),
    "Rotate": (0, 30, True),
    "Solarize": (0, 256, False),
    "Posterize": (4, 8, False),
    "Contrast": (0.1, 1.9, False),
    "Color": (0.1, 1.9, False),
    "Brightness": (0.1, 1.9, False),
    "Sharpness": (0.1, 1.9, False),
}


def named(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def nth(purpose, n):
    z = (purpose + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Stream:
    def __init__(self, seed, purpose, step, index):
        # numpy raises the counter before its first block.
        counter = np.array([MASK, MASK, (step - 1) & MASK, index], np.uint64)
        if step == 0:
            counter[3] = (index - 1) & MASK
        self.source = np.random.Philox(counter=counter, key=np.array([seed, purpose], np.uint64))

    def bits(self):
        return int(self.source.random_raw())

    def uniform(self):
        return (self.bits() >> 11) / (1 << 53)

    def below(self, n):
        while True:
            product = self.bits() * n
            low = product & MASK
            if low >= n or low >= ((1 << 64) - n) % n:
                return product >> 64

    def bool(self):
        return self.bits() >> 63 == 1


def images():
    stream = Stream(7, named("images"), 0, 0)
    data = [130 + i % 97 + stream.below(20) for i in range(10 * SIDE * SIDE * 3)]
    return np.array(data, np.uint8).reshape(10, SIDE, SIDE, 3)


def weak(image, stream):
    mirror = stream.bool()
    down, right = stream.below(5) - 2, stream.below(5) - 2
    if mirror:
        image = image[:, ::-1]
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    return padded[2 + down :, 2 + right :][:SIDE, :SIDE]


def strong(image, stream):
    image = Image.fromarray(image)
    for _ in range(2):
        op, value = OPS[stream.below(16)], 0.0
        if op in GRIDS:
            first, last, signed = GRIDS[op]
            level = stream.below(10)
            sign = -1.0 if signed and stream.bool() else 1.0
            low, high = (sign * (first + n * ((last - first) / 10)) for n in (level, level + 1))
            value = low + (high - low) * stream.uniform()
        image = featmatch(image, op, value)
    return np.asarray(image)


def main():
    source = images()
    views = ([], [])
    for i in range(100):
        image = source[i * 7 % 10]
        purpose = nth(named("unlabeled"), 1)
        views[0].append(weak(image, Stream(3, purpose, 5, i)))
        views[1].append(strong(image, Stream(3, nth(purpose, 1), 5, i)))
    for view in views:
        pixels = np.stack(view).tobytes()
        print(zlib.crc32(pixels + bytes(100 * SIDE * SIDE)))


if __name__ == "__main__":
    main()
