"""Loss terms of AdaMatch in the middle of a run, in plain Python: the numbers in
src/methods/adamatch.rs.

    python3 adamatch.py
"""

import math

from plain import best, ce, column_mean, gradient, logits, mean, scaled, show, softmax, wave

X, WEAK, STRONG = [wave(4, 3, 0.7), wave(4, 3, 0.9)], wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, TAU, STEP, STEPS = [0, 1, 2, 1], 0.9, 20, 100

p_labeled = [softmax(row) for row in X[0]]
threshold = TAU * mean(max(row) for row in p_labeled)
p = [softmax(row) for row in WEAK]
labeled = [0.999 / 3 + 0.001 * v for v in column_mean(p_labeled)]
unlabeled = [(127 / 3 + v) / 128 for v in column_mean(p)]
p = [scaled([v * (1e-6 + a) / (1e-6 + b) for v, a, b in zip(row, labeled, unlabeled)]) for row in p]
guesses = [best(row) for row in p]
mask = [float(sure >= threshold) for sure, _ in guesses]


def terms(weight):
    weak, strong = ([ce(z, y) for z, y in zip(logits(weight, rows), LABELS)] for rows in X)
    rows = zip(logits(weight, STRONG), guesses, mask)
    return (mean(weak) + mean(strong)) / 2, mean(ce(z, y) * m for z, (_, y), m in rows)


warmup = 0.5 - math.cos(min(math.pi, 2 * math.pi * STEP / STEPS)) / 2
show("TERMS", terms([[float(a == b) for b in range(3)] for a in range(3)]))
show("NOTES", (mean(mask), threshold))
show("WARMUP", warmup)
show("GRADIENT", gradient(lambda weight: terms(weight)[0] + warmup * terms(weight)[1]))
