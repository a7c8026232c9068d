"""Writes zca_vectors.txt: what numpy makes of the ZCA statistics of small generated images.

    pip install numpy
    python make_zca_vectors.py > zca_vectors.txt

Lines: a name, then the values of the array, row by row. zca.rs, beside this file, computes the same. The formulas are
those of spec/featmatch.md 4.
"""

import numpy as np

COUNT, HEIGHT, WIDTH, CHANNELS = 60, 2, 4, 3


def images():
    """uint8 [N, height, width, channels]: noise on a gradient, so that neighbours are alike."""
    state, data = 1, []
    for n in range(COUNT):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                for c in range(CHANNELS):
                    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                    data.append((state >> 26) + (7 * n % 50) * (x + 1) // 2 + 20 * y + 9 * c)
    return np.array(data, np.uint8).reshape(COUNT, HEIGHT, WIDTH, CHANNELS)


def main():
    x = images().transpose(0, 3, 1, 2).reshape(COUNT, -1).astype(np.float64) / 255
    mean = x.mean(axis=0)
    covariance = (x - mean).T @ (x - mean) / COUNT
    u, s, _ = np.linalg.svd(covariance)
    whitening = u @ np.diag(1 / (np.sqrt(s) + 1e-12)) @ u.T
    for name, values in [("mean", mean), ("S", s), ("W", whitening)]:
        print(name, *(repr(float(value)) for value in values.ravel()))


if __name__ == "__main__":
    main()
