"""Loss terms of RealMix on unmixed images, and its two masks, in plain Python: the numbers in
src/methods/realmix.rs.

    python3 realmix.py
"""

import math

from plain import ce, gradient, logits, mean, scaled, show, softmax, wave

X, U = wave(4, 3, 0.7), [wave(4, 3, 1.3), wave(4, 3, 0.4)]
LABELS = [0, 1, 2, 1]

guess = []
for pair in zip(*U):
    q = [mean(p) for p in zip(*(softmax(row) for row in pair))]
    guess.append(scaled([v**2 for v in q]))


def distances(weight):
    rows = logits(weight, U[0] + U[1])
    pairs = list(zip(map(softmax, rows), guess + guess))
    return [mean((a - b) ** 2 for a, b in zip(p, t)) for p, t in pairs], [max(p) for p, _ in pairs]


def terms(weight, share=None):
    xe = mean(ce(z, y) for z, y in zip(logits(weight, X), LABELS))
    found, sure = distances(weight)
    if share is None:
        return xe, mean(found)
    threshold = sorted(sure)[math.floor(len(sure) * share)]
    kept = [d for d, s in zip(found, sure) if s > threshold]
    return mean(kept), len(kept) / len(sure), threshold


identity = [[float(a == b) for b in range(3)] for a in range(3)]
sure = distances(identity)[1]
show("TERMS", terms(identity))
show("UNSUP_PROB", (min(sure), mean(sure), max(sure)))
show("GRADIENT", gradient(lambda weight: terms(weight)[0] + 7 * terms(weight)[1]))
show("MASKED", terms(identity, 0.5))

# Training signal annealing on mixed labels.
labels = [scaled([max(v + 2, 0) for v in row]) for row in wave(8, 3, 0.9)]
for name, bound in (("FIXED", lambda t, z, tau: t * tau), ("COMPAT", lambda t, z, tau: z * tau)):
    kept = []
    tau = math.exp(5 * (0.6 - 1)) * (1 - 1 / 3) + 1 / 3
    for z, target in zip(wave(8, 3, 1.3), labels):
        p = softmax(z)
        met = [p[c] * (target[c] > 0) < bound(target[c], z[c], tau) for c in range(3)]
        kept.append(float(any(met)))
    show(f"KEPT_{name}", kept)
