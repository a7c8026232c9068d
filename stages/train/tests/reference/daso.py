"""Loss terms of DASO at its second step, in plain Python: the numbers in src/methods/daso.rs.

    python3 daso.py
"""

import math

from plain import best, ce, column_mean, gradient, logits, mean, show, soft_ce, softmax, wave

X, WEAK, STRONG = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, TAU, QUEUE, T_PROTO, T_DIST = [0, 1, 2, 1], 0.8, 3, 0.5, 1.5


def cosine(a, b):
    dot = sum(u * v for u, v in zip(a, b))
    return dot / math.sqrt(sum(u * u for u in a) * sum(v * v for v in b))


# Two steps put the same four features in: class 1 has then seen four, and keeps three.
queues = [[], [], []]
for row, y in list(zip(X, LABELS)) * 2:
    queues[y] = (queues[y] + [row])[-QUEUE:]
prototypes = [column_mean(queue) for queue in queues]


def similarity(rows):
    return [[cosine(row, c) / T_PROTO for c in prototypes] for row in rows]


p = [softmax(row) for row in WEAK]
first = [best(row)[1] for row in p]
m = [(first.count(c) / len(first)) ** (1 / T_DIST) for c in range(3)]
blend = [v / max(m) for v in m]
semantic = [softmax(row) for row in similarity(WEAK)]
blended = [
    [(1 - blend[y]) * a + blend[y] * b for a, b in zip(row, other)]
    for row, other, y in zip(p, semantic, first)
]
guesses = [best(row) for row in blended]
mask = [float(sure >= TAU) for sure, _ in guesses]


def terms(weight):
    # The features are what goes in: only the two classifier terms depend on the weight.
    x, strong = logits(weight, X), logits(weight, STRONG)
    xeu = mean(ce(z, y) * keep for z, (_, y), keep in zip(strong, guesses, mask))
    return mean(ce(z, y) for z, y in zip(x, LABELS)), xeu


align = mean(soft_ce(z, target) for z, target in zip(similarity(STRONG), semantic))
show("TERMS", [*terms([[float(a == b) for b in range(3)] for a in range(3)]), align])
show("MASK", mean(mask))
show("BLEND", blend)
show("GRADIENT", gradient(lambda weight: sum(terms(weight))))
