"""What the references say: logits by a formula, softmax, cross-entropy, gradients by differences."""

import math


def wave(rows, classes, a):
    return [[3 * math.sin(a * (i * classes + j + 1)) for j in range(classes)] for i in range(rows)]


def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def ce(row, label):
    return -math.log(softmax(row)[label])


def soft_ce(row, target):
    return -sum(t * math.log(p) for t, p in zip(target, softmax(row)))


def best(p):
    """The highest probability and its class."""
    return max(p), p.index(max(p))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def column_mean(rows):
    return [mean(column) for column in zip(*rows)]


def scaled(p):
    return [v / sum(p) for v in p]


def linear(weight, rows):
    """Logits of a network that is one linear layer without bias."""
    return [[sum(w * v for w, v in zip(line, row)) for line in weight] for row in rows]


def gradient(loss, classes=3, h=1e-5):
    """Of a loss of that layer's weight, at the identity."""
    result = []
    for i in range(classes):
        for j in range(classes):
            sides = []
            for sign in (1, -1):
                weight = [[float(a == b) for b in range(classes)] for a in range(classes)]
                weight[i][j] += sign * h
                sides.append(loss(weight))
            result.append((sides[0] - sides[1]) / (2 * h))
    return result


def show(name, value):
    if isinstance(value, (list, tuple)):
        print(f"const {name}: [f64; {len(value)}] = [{', '.join(f'{v:.9}' for v in value)}];")
    else:
        print(f"const {name}: f64 = {value:.9};")
