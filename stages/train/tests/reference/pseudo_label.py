"""Loss terms of pseudo-label on fixed logits: the numbers in src/methods/pseudo_label.rs.

    python3 pseudo_label.py
"""

from plain import *

x, u, labels, threshold = wave(4, 3, 0.7), wave(8, 3, 1.3), [0, 1, 2, 1], 0.8

guess = [softmax(z).index(max(softmax(z))) for z in u]
mask = [float(max(softmax(z)) > threshold) for z in u]


def losses(weight):
    return [xe(linear(weight, z), one_hot(y, 3)) for z, y in zip(u, guess)]


def published(weight):
    # A column of masks times a row of losses is a square; its mean is the product of the means.
    return mean(m * loss for m in mask for loss in losses(weight))


def masked(weight):
    return mean(m * loss for m, loss in zip(mask, losses(weight)))


show("XE", mean(xe(z, one_hot(y, 3)) for z, y in zip(x, labels)))
show("PUBLISHED", published(identity(3)))
show("MASKED", masked(identity(3)))
show("MASK", mean(mask))
show("GRADIENT", gradient(published, 3))
show("MASKED_GRADIENT", gradient(masked, 3))
