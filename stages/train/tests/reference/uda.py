"""Loss terms of UDA on fixed logits: the numbers in src/methods/uda.rs.

    python3 uda.py
"""

from plain import *

x, weak, strong = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
labels, confidence, temperature = [0, 1, 2, 1], 0.8, 0.4

# Half-way through a linear annealing over three classes: ½·⅔ + ⅓.
threshold = 2 / 3
kept = [(z, y) for z, y in zip(x, labels) if softmax(z)[y] <= threshold]
target = [softmax([v / temperature for v in z]) for z in weak]
mask = [float(max(softmax(z)) >= confidence) for z in weak]


def kl(weight):
    terms = []
    for s, t, m in zip(strong, target, mask):
        log = log_softmax(linear(weight, s))
        terms.append(m * sum(p * (math.log(p) - q) for p, q in zip(t, log)))
    return mean(terms)


show("XE", sum(xe(z, one_hot(y, 3)) for z, y in kept) / len(kept))
show("KEPT", len(kept) / len(x))
show("XEU", kl(identity(3)))
show("ENTROPY", mean(xe(z, softmax(z)) for z in weak))
show("MASK", mean(mask))
show("CONF_WEAK", mean(max(softmax(z)) for z in weak))
show("CONF_STRONG", mean(max(softmax(z)) for z in strong))
show("GRADIENT", gradient(kl, 3))
