"""Loss terms of FeatMatch on fixed features, weights and prototypes, one gradient, and prototypes of small
classes, in plain Python: the numbers in src/methods/featmatch.rs and src/methods/featmatch/prototypes.rs.

    python3 featmatch.py

The formulas are those of spec/featmatch.md 5 to 7. No image is mixed with another, no attention dropped.
"""

import itertools
import math

CLASSES, WIDTH, HEADS = 3, 8, 4
A = WIDTH // HEADS


def wave(rows, columns, a, height=3.0):
    return [[height * math.sin(a * (i * columns + j + 1)) for j in range(columns)] for i in range(rows)]


def weights():
    """Every variable in the order of the network: 0.6·sin(0.9·(i+1)), i counting on over all of them."""
    shapes = [(CLASSES, WIDTH)] + [(A, WIDTH)] * HEADS + [(A, 2 * A)] * HEADS + [(WIDTH, HEADS * A)]
    names = ["classifier"] + [f"embd{i}" for i in range(HEADS)] + [f"fc{i}" for i in range(HEADS)] + ["fc"]
    made, at = {}, 0
    for name, (rows, columns) in zip(names, shapes):
        values = [0.6 * math.sin(0.9 * (at + i + 1)) for i in range(rows * (columns + 1))]
        at += len(values)
        kernel = [values[r * columns : (r + 1) * columns] for r in range(rows)]
        made[name] = (kernel, values[rows * columns :])
    return made


W = weights()


def linear(name, row, shift=0.0):
    kernel, bias = W[name]
    out = [sum(w * v for w, v in zip(line, row)) + b for line, b in zip(kernel, bias)]
    out[0] += shift
    return out


def softmax(row):
    top = max(row)
    powers = [math.exp(v - top) for v in row]
    return [v / sum(powers) for v in powers]


def relu(row):
    return [max(0.0, v) for v in row]


def refine(row, prototypes):
    heads = []
    for i in range(HEADS):
        query = linear(f"embd{i}", row)
        keys = [linear(f"embd{i}", p) for p in prototypes]
        share = softmax([sum(a * b for a, b in zip(query, key)) / math.sqrt(A) for key in keys])
        attended = [sum(s * key[n] for s, key in zip(share, keys)) for n in range(A)]
        heads += relu(linear(f"fc{i}", attended + query))
    return relu([a + b for a, b in zip(row, linear("fc", heads))])


def cross_entropy(p, z):
    return -sum(a * math.log(b) for a, b in zip(p, softmax(z)))


LABELED, UNLABELED = [wave(4, WIDTH, 0.7), wave(4, WIDTH, 0.9)], [wave(8, WIDTH, 1.3), wave(8, WIDTH, 0.4)]
LABELS, T = [0, 1, 2, 1], 0.75
PROTOTYPES = wave(5, WIDTH, 0.55, 2.0)


def sharpen(p):
    powers = [v ** (1 / T) for v in p]
    return [v / sum(powers) for v in powers]


def head(row, refined, shift=0.0):
    return linear("classifier", refine(row, PROTOTYPES) if refined else row, shift)


def targets(refined):
    return [sharpen(softmax(head(row, refined))) for row in UNLABELED[0]]


def terms(refined, guesses, shift=0.0):
    onehot = [[float(k == y) for k in range(CLASSES)] for y in LABELS]
    pred = [cross_entropy(y, head(r, refined, shift)) for view in LABELED for r, y in zip(view, onehot)]
    con = [cross_entropy(q, head(r, refined, shift)) for view in UNLABELED for r, q in zip(view, guesses)]
    graph = [cross_entropy(q, head(r, False, shift)) for view in UNLABELED for r, q in zip(view, guesses)]
    mean = lambda values: sum(values) / len(values)
    return mean(pred), mean(con), mean(graph) if refined else 0.0


def features(rows, a):
    return wave(rows, 2, a), [n % 2 for n in range(rows)]


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows)]


def clusters(rows, k):
    """The best partition of all."""
    unit = [[v / math.hypot(*row) for v in row] for row in rows]

    def inertia(labels):
        total = 0.0
        for c in set(labels):
            members = [row for row, label in zip(unit, labels) if label == c]
            centre = mean(members)
            total += sum((a - b) ** 2 for row in members for a, b in zip(row, centre))
        return total

    best = min(itertools.product(range(k), repeat=len(rows)), key=inertia)
    return [mean([row for row, label in zip(rows, best) if label == c]) for c in sorted(set(best))]


def prototypes(rows, n):
    if n == 1:
        return [mean(rows)]
    return [mean(rows)] + (rows if n - 1 >= len(rows) else clusters(rows, n - 1))


def of_class(rows, labels, c):
    return [row for row, label in zip(rows, labels) if label == c]


def show(name, rows):
    print(f"    const {name}: [[f64; 2]; {len(rows)}] = [")
    for a, b in sorted(rows):
        print(f"        [{a:.7}, {b:.7}],")
    print("    ];")


for name, refined in [("PRETRAIN", False), ("REFINED", True)]:
    values = ", ".join(f"{v:.9}" for v in terms(refined, targets(refined)))
    print(f"    const {name}: [f64; 3] = [{values}];")
fixed, step = targets(True), 1e-5
up, down = (terms(True, fixed, shift) for shift in (step, -step))
gradient = ", ".join(f"{(a - b) / (2 * step):.7}" for a, b in zip(up, down))
print(f"    const BIAS: [f64; 3] = [{gradient}];")
kept = ", ".join(f"{v:.9}" for v in softmax(head(UNLABELED[0][2], True)))
print(f"    const GUESS: [f64; 3] = [{kept}];")

LABELED_ROWS, UNLABELED_ROWS = features(14, 0.7), features(12, 1.1)
show("LABELED", [p for c in (0, 1) for p in prototypes(of_class(*LABELED_ROWS, c), 4)])
both = [(LABELED_ROWS, 3), (UNLABELED_ROWS, 3)]
show("BOTH", [p for c in (0, 1) for rows, n in both for p in prototypes(of_class(*rows, c), n)])
