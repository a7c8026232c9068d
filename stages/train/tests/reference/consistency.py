"""Loss terms of Pi-model and Mean Teacher on fixed logits: the numbers in src/methods/pi_model.rs and
src/methods/mean_teacher.rs. The teacher's weights are twice the student's.

    python3 consistency.py
"""

from plain import *

x, first, second, labels = wave(4, 3, 0.7), wave(8, 3, 1.3), wave(8, 3, 0.4), [0, 1, 2, 1]

show("XE", mean(xe(z, one_hot(y, 3)) for z, y in zip(x, labels)))
for name, scale in (("PM", 1), ("MT", 2)):
    target = [softmax([scale * v for v in z]) for z in first]

    def squared(weight):
        return mean(
            (a - b) ** 2
            for z, t in zip(second, target)
            for a, b in zip(softmax(linear(weight, z)), t)
        )

    show(name, squared(identity(3)))
    show(f"{name}_GRADIENT", gradient(squared, 3))
