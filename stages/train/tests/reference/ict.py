"""Loss terms of interpolation consistency on fixed logits: the numbers in src/methods/ict.rs. The
teacher's weights are twice the student's.

    python3 ict.py
"""

from plain import *

x, u, labels = wave(4, 3, 0.7), wave(8, 3, 1.3), [0, 1, 2, 1]

shares = Stream(1, "mixup").shares(0.5, 8)
teacher = [softmax([2 * v for v in z]) for z in u]
target = [mix(a, b, s) for a, b, s in zip(teacher, teacher[::-1], shares)]
images = [mix(a, b, s) for a, b, s in zip(u, u[::-1], shares)]


def squared(weight):
    return mean(
        (a - b) ** 2
        for z, t in zip(images, target)
        for a, b in zip(softmax(linear(weight, z)), t)
    )


show("XE", mean(xe(z, one_hot(y, 3)) for z, y in zip(x, labels)))
show("MT", squared(identity(3)))
show("GRADIENT", gradient(squared, 3))
