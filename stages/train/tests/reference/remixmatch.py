"""Loss terms of ReMixMatch on fixed logits, images of 2×2 pixels, four classes: the numbers in
src/methods/remixmatch.rs.

    python3 remixmatch.py
"""

from plain import *

B, K = 4, 4
x, views, labels = wave(B, K, 0.7), [wave(B, K, 1.3), wave(B, K, 0.4), wave(B, K, 0.9)], [0, 1, 2, 1]
# What the networks' head for rotations is set to: 4 outputs of 4 inputs.
head = [[v / 3 for v in row] for row in wave(4, 4, 0.2)]

# Rotations: of the pixels [a b; c d] by hand.
turns = [
    lambda a, b, c, d: [a, b, c, d],
    lambda a, b, c, d: [d, c, b, a],
    lambda a, b, c, d: [b, d, a, c],  # transposed [a c; b d], rows swapped
    lambda a, b, c, d: [c, a, d, b],  # transposed, columns swapped
]
rot = mean(xe(linear(head, turns[n](*views[1][n])), one_hot(n, 4)) for n in range(4))
show("ROT", rot)


def run(redux, strong, history):
    """One step; `history` are batch means of guesses and of labels that came before."""
    used = views[: strong + 1]
    p = [[softmax(z) for z in view] for view in used]
    if redux == "first":
        guess = p[:1] * len(used)
    elif redux == "mean":
        guess = [[[mean(v) for v in zip(*rows)] for rows in zip(*p)]] * len(used)
    else:
        guess = p[1:] + p[:1]
    buffer = [[1 / K] * K for _ in range(128)]
    p_data = [1 / K] * K
    for guessed, frequency in history:
        buffer = buffer[1:] + [guessed]
        p_data = [0.999 * a + 0.001 * b for a, b in zip(p_data, frequency)]
    p_model = [mean(column) for column in zip(*buffer)]
    target = []
    for rows in guess:
        for row in rows:
            aligned = [g * (1e-6 + d) / (1e-6 + m) for g, d, m in zip(row, p_data, p_model)]
            target.append(sharpen([v / sum(aligned) for v in aligned], 0.5))
    kl = mean(xe(z, t) for z, t in zip(views[1], target[:B]))
    rows = x + [row for view in used for row in view]
    wanted = [one_hot(y, K) for y in labels] + target
    stream = Stream(1, "mixup")
    shares, order = stream.shares(0.75, len(rows)), stream.permutation(len(rows))
    images = [mix(rows[i], rows[order[i]], shares[i]) for i in range(len(rows))]
    mixed = [mix(wanted[i], wanted[order[i]], shares[i]) for i in range(len(rows))]

    def xeu(weight):
        return mean(xe(linear(weight, z), t) for z, t in zip(images[B:], mixed[B:]))

    terms = [kl, mean(xe(z, t) for z, t in zip(images[:B], mixed[:B])), xeu(identity(K))]
    flat = [row for rows in guess for row in rows]
    return terms, [mean(column) for column in zip(*flat)], gradient(xeu, K)


frequency = [labels.count(k) / B for k in range(K)]
first, guessed, slope = run("first", 1, [])
show("FIRST", first)
show("GRADIENT", slope)
show("SECOND_STEP", run("first", 1, [(guessed, frequency)])[0])
show("MEAN", run("mean", 1, [])[0])
show("SWAP", run("swap", 2, [])[0])
