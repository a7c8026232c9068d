"""Thresholds and loss terms of FlexMatch, in plain Python: the numbers in src/methods/flexmatch.rs.

    python3 flexmatch.py
"""

import math

from plain import best, ce, gradient, logits, mean, show, softmax, wave

X, WEAK, STRONG = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, TAU = [0, 1, 2, 1], 0.9
# What was learned before: ten images, of which the batch holds the first eight.
LEARNED = [0, 0, 0, 1, 2, 2, -1, -1, -1, -1]

MAPPINGS = {
    "CONCAVE": lambda b: math.log(b + 1) / math.log(2),
    "LINEAR": lambda b: b,
    "CONVEX": lambda b: b / (2 - b),
}


def thresholds(mapping, warmup):
    counts, unused = [LEARNED.count(c) for c in range(3)], LEARNED.count(-1)
    assert max(*counts, unused) < len(LEARNED)
    return [TAU * mapping(c / max(*counts, unused if warmup else 0)) for c in counts]


for name, mapping in MAPPINGS.items():
    show(f"{name}_WARM", thresholds(mapping, True))
    show(f"{name}_COLD", thresholds(mapping, False))

guesses = [best(softmax(row)) for row in WEAK]
limits = thresholds(MAPPINGS["CONVEX"], False)
mask = [float(sure >= limits[y]) for sure, y in guesses]


def terms(weight):
    x, strong = logits(weight, X), logits(weight, STRONG)
    xeu = mean(ce(z, y) * m for z, (_, y), m in zip(strong, guesses, mask))
    return mean(ce(z, y) for z, y in zip(x, LABELS)), xeu


show("TERMS", [*terms([[float(a == b) for b in range(3)] for a in range(3)]), mean(mask)])
show("GRADIENT", gradient(lambda weight: sum(terms(weight))))
learned = [y if sure >= TAU else old for (sure, y), old in zip(guesses, LEARNED)]
show("LABEL", [float(v) for v in learned + LEARNED[8:]])
