"""Loss terms of SoftMatch at its second step, in plain Python: the numbers in src/methods/softmatch.rs.

    python3 softmatch.py
"""

import math

from plain import best, ce, column_mean, gradient, logits, mean, scaled, show, softmax, wave

X, SEEN, WEAK, STRONG = wave(4, 3, 0.7), wave(8, 3, 1.1), wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, EMA, SIGMAS = [0, 1, 2, 1], 0.6, 6

average, variance, expected = 1 / 3, 1.0, None
for rows in (SEEN, WEAK):
    p = [softmax(row) for row in rows]
    now = column_mean(p)
    expected = now if expected is None else [EMA * a + (1 - EMA) * b for a, b in zip(expected, now)]
    aligned = [scaled([v * (1 / 3 + 1e-6) / (e + 1e-6) for v, e in zip(row, expected)]) for row in p]
    sure = [max(row) for row in aligned]
    spread = sum((s - mean(sure)) ** 2 for s in sure) / (len(sure) - 1)
    average = EMA * average + (1 - EMA) * mean(sure)
    variance = EMA * variance + (1 - EMA) * spread
weights = [math.exp(-min(s - average, 0) ** 2 / (2 * variance / SIGMAS**2)) for s in sure]
labels = [best(row)[1] for row in p]


def terms(weight):
    x, strong = logits(weight, X), logits(weight, STRONG)
    xeu = mean(ce(z, y) * m for z, y, m in zip(strong, labels, weights))
    return mean(ce(z, y) for z, y in zip(x, LABELS)), xeu


show("TERMS", terms([[float(a == b) for b in range(3)] for a in range(3)]))
show("NOTES", (mean(weights), average))
show("GRADIENT", gradient(lambda weight: sum(terms(weight))))
