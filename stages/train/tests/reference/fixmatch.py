"""Loss terms of FixMatch on fixed logits, in plain Python: the numbers in src/methods/fixmatch.rs.

    python3 fixmatch.py
"""

import math


def wave(rows, classes, a):
    return [[3 * math.sin(a * (i * classes + j + 1)) for j in range(classes)] for i in range(rows)]


def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


x, weak, strong = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4)
labels, threshold = [0, 1, 2, 1], 0.8

xe = sum(-math.log(softmax(row)[y]) for row, y in zip(x, labels)) / len(x)
xeu, kept = 0.0, 0
for w, s in zip(weak, strong):
    p = softmax(w)
    if max(p) >= threshold:
        kept += 1
        xeu -= math.log(softmax(s)[p.index(max(p))])
print(f"const XE: f64 = {xe:.9};")
print(f"const XEU: f64 = {xeu / len(weak):.9};")
print(f"const MASK: f64 = {kept / len(weak)};")
