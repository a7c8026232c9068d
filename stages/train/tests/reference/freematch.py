"""Loss terms of FreeMatch at its second step, in plain Python: the numbers in src/methods/freematch.rs.

    python3 freematch.py
"""

import math

from plain import best, ce, column_mean, gradient, logits, mean, scaled, show, softmax, wave

X, WEAK, STRONG = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, EMA = [0, 1, 2, 1], 0.6

p = [softmax(row) for row in WEAK]
guesses = [best(row) for row in p]
labels = [y for _, y in guesses]


def follow(old, new):
    return [EMA * a + (1 - EMA) * b for a, b in zip(old, new)]


tau, expected, guessed = [1 / 3], [1 / 3] * 3, [1 / 3] * 3
for _ in range(2):
    tau = follow(tau, [mean(sure for sure, _ in guesses)])
    expected = follow(expected, column_mean(p))
    guessed = follow(guessed, [labels.count(c) / len(labels) for c in range(3)])
mask = [float(sure >= tau[0] * expected[y] / max(expected)) for sure, y in guesses]


def terms(weight):
    x, strong = logits(weight, X), logits(weight, STRONG)
    xeu = mean(ce(z, y) * m for z, y, m in zip(strong, labels, mask))
    kept = [softmax(z) for z, m in zip(strong, mask) if m]
    found = [best(row)[1] for row in kept]
    shares = [found.count(c) / len(found) for c in range(3)]
    each = scaled([a / h if h else 0.0 for a, h in zip(column_mean(kept), shares)])
    target = scaled([a / b for a, b in zip(expected, guessed)])
    fairness = sum(t * math.log(v + 1e-12) for t, v in zip(target, each))
    return mean(ce(z, y) for z, y in zip(x, LABELS)), xeu, fairness


show("TERMS", terms([[float(a == b) for b in range(3)] for a in range(3)]))
show("MASK", mean(mask))
show("CONFIDENCE", tau[0])
show("GRADIENT", gradient(lambda weight: sum(terms(weight))))
