"""Loss terms of MixUp on fixed logits, with and without unlabeled images: the numbers in
src/methods/mixup.rs and src/methods/fs_mixup.rs.

    python3 mixup.py
"""

from plain import *

x, u, labels = wave(4, 3, 0.7), wave(8, 3, 1.3), [0, 1, 2, 1]

stream = Stream(1, "mixup")


def mixed(images, wanted):
    shares = stream.shares(0.5, len(images))
    both = lambda rows: [mix(a, b, s) for a, b, s in zip(rows, rows[::-1], shares)]
    return list(zip(both(images), both(wanted)))


labeled = mixed(x, [one_hot(y, 3) for y in labels])
unlabeled = mixed(u, [softmax(z) for z in u])

for name, rows in (("XE", labeled), ("XEU", unlabeled)):
    loss = lambda weight: mean(xe(linear(weight, z), t) for z, t in rows)
    show(name, loss(identity(3)))
    show(f"{name}_GRADIENT", gradient(loss, 3))
