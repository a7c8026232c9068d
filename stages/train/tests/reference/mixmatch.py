"""Loss terms of MixMatch on fixed logits: the numbers in src/methods/mixmatch.rs.

    python3 mixmatch.py
"""

from plain import *

x, views, labels = wave(4, 3, 0.7), [wave(4, 3, 1.3), wave(4, 3, 0.4)], [0, 1, 2, 1]

target = [
    sharpen([mean(p) for p in zip(softmax(a), softmax(b))], 0.5) for a, b in zip(*views)
]
rows = x + views[0] + views[1]
wanted = [one_hot(y, 3) for y in labels] + target + target

for name, batch in (("ROW", False), ("BATCH", True)):
    stream = Stream(1, "mixup")
    shares = stream.shares(0.5, 1) * 12 if batch else stream.shares(0.5, 12)
    order = stream.permutation(12)
    images = [mix(rows[i], rows[order[i]], shares[i]) for i in range(12)]
    mixed = [mix(wanted[i], wanted[order[i]], shares[i]) for i in range(12)]

    def l2u(weight):
        return mean(
            (p - t) ** 2
            for image, want in zip(images[4:], mixed[4:])
            for p, t in zip(softmax(linear(weight, image)), want)
        )

    show(f"{name}_XE", mean(xe(z, t) for z, t in zip(images[:4], mixed[:4])))
    show(f"{name}_L2U", l2u(identity(3)))
    if not batch:
        show("GRADIENT", gradient(l2u, 3))
