"""What the reference scripts share: inputs, probabilities, gradients by differences, and the random
numbers of rematch-data's rng.rs, all in plain Python and double precision.
"""

import math

MASK = (1 << 64) - 1


def wave(rows, classes, a):
    return [[3 * math.sin(a * (i * classes + j + 1)) for j in range(classes)] for i in range(rows)]


def softmax(row):
    top = max(row)
    total = sum(math.exp(v - top) for v in row)
    return [math.exp(v - top) / total for v in row]


def log_softmax(row):
    return [math.log(p) for p in softmax(row)]


def xe(z, p):
    """Cross-entropy of logits against a distribution."""
    return -sum(a * b for a, b in zip(p, log_softmax(z)))


def one_hot(y, classes):
    return [float(k == y) for k in range(classes)]


def sharpen(p, temperature):
    powers = [v ** (1 / temperature) for v in p]
    return [v / sum(powers) for v in powers]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def mix(a, b, share):
    return [share * u + (1 - share) * v for u, v in zip(a, b)]


def identity(n):
    return [[float(i == j) for j in range(n)] for i in range(n)]


def linear(weight, row):
    """Logits of a row of pixels: no bias."""
    return [sum(w * v for w, v in zip(weights, row)) for weights in weight]


def gradient(loss, n=3, h=1e-5):
    """Of loss(weight) at the identity, by central differences."""
    found = []
    for i in range(n):
        for j in range(n):
            sides = []
            for sign in (1, -1):
                weight = identity(n)
                weight[i][j] += sign * h
                sides.append(loss(weight))
            found.append((sides[0] - sides[1]) / (2 * h))
    return found


def show(name, value):
    if isinstance(value, (list, tuple)):
        rows = ", ".join(f"{v:.7f}" for v in value)
        print(f"const {name}: [f64; {len(value)}] = [{rows}];")
    else:
        print(f"const {name}: f64 = {value:.9};")


def logits(weight, rows):
    return [linear(weight, row) for row in rows]


def ce(row, label):
    return -math.log(softmax(row)[label])


def soft_ce(row, target):
    return xe(row, target)


def best(p):
    """The highest probability and its class."""
    return max(p), p.index(max(p))


def column_mean(rows):
    return [mean(column) for column in zip(*rows)]


def scaled(p):
    return [v / sum(p) for v in p]


def purpose(name):
    number = 0xCBF29CE484222325
    for byte in name.encode():
        number = (number ^ byte) * 0x100000001B3 & MASK
    return number


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
        c = [(b >> 64) ^ c[1] ^ k[0], b & MASK, (a >> 64) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


class Stream:
    def __init__(self, seed, name, step=0, index=0):
        self.key, self.counter, self.left = [seed, purpose(name)], [0, 0, step, index], []

    def bits(self):
        if not self.left:
            self.left = philox(self.counter, self.key)
            self.counter[0] += 1
        return self.left.pop(0)

    def uniform(self):
        return (self.bits() >> 11) / (1 << 53)

    def below(self, n):
        while True:
            product = self.bits() * n
            low = product & MASK
            if low >= n or low >= (-n & MASK) % n:
                return product >> 64

    def normal(self):
        while True:
            x, y = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            s = x * x + y * y
            if 0 < s < 1:
                return x * math.sqrt(-2 * math.log(s) / s)

    def gamma(self, shape):
        if shape < 1:
            power = (1 - self.uniform()) ** (1 / shape)
            return self.gamma(shape + 1) * power
        d = shape - 1 / 3
        c = 1 / math.sqrt(9 * d)
        while True:
            x = self.normal()
            v = (1 + c * x) ** 3
            u = 1 - self.uniform()
            if v > 0 and math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
                return d * v

    def beta(self, a, b):
        x, y = self.gamma(a), self.gamma(b)
        return x / (x + y)

    def shares(self, beta, n):
        draws = [self.beta(beta, beta) for _ in range(n)]
        return [max(v, 1 - v) for v in draws]

    def permutation(self, n):
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order
