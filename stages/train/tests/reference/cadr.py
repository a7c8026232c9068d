"""Loss terms of CADR at its second step, in plain Python: the numbers in src/methods/cadr.rs.

    python3 cadr.py
"""

import math

from plain import best, ce, column_mean, gradient, logits, mean, show, softmax, wave

X, WEAK, STRONG = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
LABELS, TAU, BETA, MU, UPPER = [0, 1, 2, 1], 0.8, 0.5, 0.9, 5


def inverse(m):
    """Of a square matrix, by Gauss and Jordan."""
    n = len(m)
    rows = [list(row) + [float(i == j) for j in range(n)] for i, row in enumerate(m)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i])]
    return [row[n:] for row in rows]


def propensities(q, prior):
    """clip(prior · pinv(q)), for q of full column rank: pinv(q) = (qᵀq)⁻¹qᵀ."""
    k = range(len(prior))
    gram = inverse([[sum(row[i] * row[j] for row in q) for j in k] for i in k])
    mixed = [sum(prior[i] * gram[i][j] for i in k) for j in k]
    return [min(max(sum(mixed[j] * row[j] for j in k), 0), UPPER) for row in q]


def log_weights(p, labels):
    v = [1 / p[y] for y in labels]
    return [math.log(len(v) * one / sum(v)) for one in v]


def moved(prior, q):
    return [MU * a + (1 - MU) * b for a, b in zip(prior, column_mean(q))]


def mask(rows, prior):
    found = []
    for row in rows:
        sure, label = best(row)
        found.append(float(sure > TAU * (prior[label] / max(prior)) ** BETA))
    return found


q0 = [softmax(row) for row in WEAK]
before = moved([1 / 3] * 3, q0)
after = moved(before, q0)
w = propensities(q0, before)
keep = mask([softmax(row) for row in X], after)
guesses = [best(softmax(row))[1] for row in X]


def terms(weight, outside=False):
    x, weak, strong = (logits(weight, rows) for rows in (X, WEAK, STRONG))
    q = [softmax(row) for row in weak]
    p = [sum(a * row[k] for a, row in zip(w, q)) for k in range(3)]
    true, imputed = log_weights(p, LABELS), log_weights(p, guesses)
    if outside:
        fixed = [sum(a * row[k] for a, row in zip(w, q0)) for k in range(3)]
        true, imputed = log_weights(fixed, LABELS), log_weights(fixed, guesses)
        xe = mean(ce(z, y) * math.exp(v) for z, y, v in zip(x, LABELS, true))
        aug = mean(-ce(z, y) * math.exp(v) * m for z, y, v, m in zip(x, guesses, imputed, keep))
    else:
        xe = mean(ce(z, y) - v for z, y, v in zip(x, LABELS, true))
        aug = mean(v * m for v, m in zip(imputed, keep))
    sure = mask(q0, after)
    labels = [best(row)[1] for row in q0]
    xeu = mean(ce(z, y) * m for z, y, m in zip(strong, labels, sure))
    return xe + aug, xeu, aug, mean(sure), mean(keep)


identity = [[float(a == b) for b in range(3)] for a in range(3)]
show("TERMS", terms(identity))
show("PRIOR", after)
show("GRADIENT", gradient(lambda weight: sum(terms(weight)[:2])))
show("OUTSIDE", terms(identity, True)[0])
show("OUTSIDE_GRADIENT", gradient(lambda weight: terms(weight, True)[0]))
