"""Loss terms of virtual adversarial training on fixed logits: the numbers in src/methods/vat.rs. The
probe is long, ξ = 0.1, where float32 can still tell it from nothing.

    python3 vat.py
"""

from plain import *

x, u, labels, xi, epsilon = wave(4, 3, 0.7), wave(8, 3, 1.3), [0, 1, 2, 1], 0.1, 0.5


def unit(row):
    top = 1e-12 + max(abs(v) for v in row)
    row = [v / top for v in row]
    return [v / math.sqrt(1e-6 + sum(w * w for w in row)) for v in row]


def kl(a, b):
    return sum(p * (s - t) for p, s, t in zip(softmax(a), log_softmax(a), log_softmax(b)))


def add(a, b):
    return [v + w for v, w in zip(a, b)]


# Box and Muller: the first half are radii, the second angles.
stream = Stream(1, "vat")
draws = [((stream.bits() >> 40) + 0.5) / (1 << 24) for _ in range(24)]
radii = [math.sqrt(-2 * math.log(v)) for v in draws[:12]]
normal = [r * math.cos(2 * math.pi * a) for r, a in zip(radii, draws[12:])]
normal += [r * math.sin(2 * math.pi * a) for r, a in zip(radii, draws[12:])]
probes = [[xi * v for v in unit(normal[3 * i : 3 * i + 3])] for i in range(8)]

moves = []
for z, d in zip(u, probes):
    slope = []
    for j in range(3):
        sides = []
        for h in (1e-5, -1e-5):
            e = list(d)
            e[j] += h
            sides.append(kl(z, add(z, e)) / 8)
        slope.append((sides[0] - sides[1]) / 2e-5)
    moves.append([epsilon * v for v in unit(slope)])


def vat(weight):
    return mean(kl(linear(weight, add(z, d)), z) for z, d in zip(u, moves))


show("XE", mean(xe(z, one_hot(y, 3)) for z, y in zip(x, labels)))
show("VAT", vat(identity(3)))
show("ENTMIN", mean(xe(z, softmax(z)) for z in u))
show("GRADIENT", gradient(vat, 3))
