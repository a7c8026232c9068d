"""Logits of small networks with weights given by a formula, in numpy: the numbers in
src/networks/tests.rs. Written from the specifications, on arrays alone; batch norm, convolution and
padding are its own.

    python3 networks.py          (needs numpy)
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

IMAGES, CLASSES = 3, 2


def wave(name, shape, base, scale):
    """base + scale·sin(j²/1000 + phase), j = 1, 2 …; the phase is the sum of the name's bytes mod 97."""
    j = np.arange(1, np.prod(shape) + 1, dtype=np.float64)
    values = base + scale * np.sin(j * j / 1000 + sum(name.encode()) % 97)
    return values.astype(np.float32).astype(np.float64).reshape(shape)


class Layers:
    """Weights by name, batch norm that trains or evaluates."""

    def __init__(self, padding, bias, slope, momentum, epsilon, rename=lambda name: name):
        self.padding, self.bias, self.slope = padding, bias, slope
        self.momentum, self.epsilon = momentum, epsilon
        self.rename, self.running, self.training, self.count = rename, {}, True, 0

    def wave(self, name, shape, base, scale):
        return wave(self.rename(name), shape, base, scale)

    def counted(self, values):
        self.count += values.size
        return values

    def conv(self, x, name, outputs, kernel, stride=1, padding=None):
        fan_in = x.shape[1] * kernel * kernel
        w = self.counted(self.wave(f"{name}.weight", (outputs, x.shape[1], kernel, kernel), 0, 2 / fan_in**0.5))
        x = pad(x, padding or self.padding, kernel, stride)
        windows = sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
        y = np.einsum("ncijkl,ockl->noij", windows, w, optimize=True)
        if self.bias:
            y = y + self.counted(self.wave(f"{name}.bias", (outputs,), 0, 0.3))[:, None, None]
        return y

    def norm(self, x, name):
        c = x.shape[1]
        gain = self.counted(self.wave(f"{name}.weight", (c,), 1, 0.3))
        shift = self.counted(self.wave(f"{name}.bias", (c,), 0, 0.3))
        if name not in self.running:
            mean = self.wave(f"{name}.running_mean", (c,), 0, 0.3)
            self.running[name] = (mean, self.wave(f"{name}.running_var", (c,), 1, 0.3))
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            n, m = x.size / c, self.momentum
            old_mean, old_var = self.running[name]
            self.running[name] = (m * old_mean + (1 - m) * mean, m * old_var + (1 - m) * var * n / (n - 1))
        else:
            mean, var = self.running[name]
        at = (slice(None), None, None)
        return (x - mean[at]) / np.sqrt(var[at] + self.epsilon) * gain[at] + shift[at]

    def rectify(self, x):
        return np.where(x > 0, x, self.slope * x)

    def active(self, x, name):
        return self.rectify(self.norm(x, name))

    def classify(self, x):
        x = x.mean((2, 3))
        self.body = self.count
        w = self.counted(self.wave("classifier.weight", (CLASSES, x.shape[1]), 0, 2 / x.shape[1] ** 0.5))
        return x @ w.T + self.counted(self.wave("classifier.bias", (CLASSES,), 0, 0.3))


def around(padding, size, kernel, stride):
    if padding == "valid":
        return (0, 0)
    if padding == "symmetric":
        return (kernel // 2, kernel // 2)
    wanted = -(-size // stride)
    total = max((wanted - 1) * stride + kernel - size, 0)
    return (total // 2, total - total // 2)


def pad(x, padding, kernel, stride, value=0.0):
    widths = [around(padding, size, kernel, stride) for size in x.shape[2:]]
    return np.pad(x, [(0, 0), (0, 0), *widths], constant_values=value)


def max_pool(x, kernel, stride, padding):
    x = pad(x, padding, kernel, stride, -np.inf)
    return sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride].max((4, 5))


def pre_block(net, x, name, outputs, stride, convolved, shortcut):
    """`convolved` and `shortcut`: "active" or "raw"."""
    takes = {"active": net.active(x, f"{name}.bn1"), "raw": x}
    h = net.conv(takes[convolved], f"{name}.conv1", outputs, 3, stride)
    h = net.conv(net.active(h, f"{name}.bn2"), f"{name}.conv2", outputs, 3)
    way = takes[shortcut]
    if way.shape[1] != outputs:
        way = net.conv(way, f"{name}.shortcut", outputs, 1, stride)
    return way + h


def resnet(net, x, filters=4, repeat=2, scales=3):
    x = net.conv(x, "conv", 16, 3)
    for g in range(scales):
        for n in range(repeat):
            first = g == 0 and n == 0
            stride = 2 if g > 0 and n == 0 else 1
            x = pre_block(net, x, f"groups.{g}.{n}", filters << g, stride, "active", "active" if first else "raw")
    return net.classify(net.active(x, "bn"))


def wrn(net, x, filters=4, repeat=2, preactivate=False):
    x = net.conv(x, "conv1", 16, 3)
    for g in range(3):
        for n in range(repeat):
            convolved, shortcut = "active", "raw"
            if n == 0 and g == 0:
                shortcut = "active"
            elif n == 0 and not preactivate:
                convolved = "raw"
            x = pre_block(net, x, f"groups.{g}.{n}", filters << g, 2 if g > 0 and n == 0 else 1, convolved, shortcut)
    return net.classify(net.active(x, "bn1"))


def cnn13(net, x, filters=4, norm_first=False):
    f = filters
    for b, plan in enumerate([[(3, f)] * 3, [(3, 2 * f)] * 3, [(3, 4 * f), (1, 2 * f), (1, f)]]):
        if b > 0:
            x = max_pool(x, 2, 2, "valid")
        for n, (kernel, outputs) in enumerate(plan):
            x = net.conv(x, f"blocks.{b}.{n}.conv", outputs, kernel, padding="valid" if b == 2 else None)
            norm = f"blocks.{b}.{n}.bn"
            x = net.rectify(net.norm(x, norm)) if norm_first else net.norm(net.rectify(x), norm)
    return net.classify(x)


def shake(net, x, filters=4, repeat=2, scales=3):
    """With mu = 1/2, which in training is right only where both branches are the same."""
    x = net.conv(x, "conv", 16, 3)
    for s in range(scales):
        for n in range(repeat):
            name, outputs, half = f"stages.{s}.{n}", filters << s, s > 0 and n == 0
            mixed = 0
            for b in range(2):
                branch = f"{name}.branches.{b}"
                h = net.conv(net.rectify(x), f"{branch}.conv1", outputs, 3, 2 if half else 1)
                h = net.conv(net.active(h, f"{branch}.bn1"), f"{branch}.conv2", outputs, 3)
                mixed = mixed + net.norm(h, f"{branch}.bn2") / 2
            if half:
                even = net.conv(net.rectify(x[:, :, ::2, ::2]), f"{name}.shortcut.0", outputs // 2, 1)
                odd = net.conv(net.rectify(x[:, :, 1::2, 1::2]), f"{name}.shortcut.1", outputs // 2, 1)
                x = net.norm(np.concatenate([even, odd], 1), f"{name}.bn")
            elif x.shape[1] != outputs:
                x = net.norm(net.conv(x, f"{name}.shortcut.0", outputs, 1), f"{name}.bn")
            x = x + mixed
    return net.classify(x)


def res18(net, x, filters=4):
    x = max_pool(net.active(net.conv(x, "conv", filters, 7, 2), "bn1"), 2, 2, "valid")
    for s in range(4):
        for n in range(2):
            x = pre_block(net, x, f"stages.{s}.{n}", filters << s, 2 if s > 0 and n == 0 else 1, "active", "raw")
    return net.classify(net.active(x, "bn"))


def post_block(net, x, name, convs):
    h, stride = x, 1
    for n, (kernel, by, outputs) in enumerate(convs, 1):
        h = net.norm(net.conv(h if n == 1 else net.rectify(h), f"{name}.conv{n}", outputs, kernel, by), f"{name}.bn{n}")
        stride *= by
    if x.shape != h.shape:
        x = net.norm(net.conv(x, f"{name}.downsample.0", h.shape[1], 1, stride), f"{name}.downsample.1")
    return net.rectify(x + h)


def resnet18(net, x, filters=4):
    x = max_pool(net.active(net.conv(x, "conv1", filters, 7, 2), "bn1"), 3, 2, "symmetric")
    for s in range(4):
        for n in range(2):
            f = filters << s
            x = post_block(net, x, f"layer{s + 1}.{n}", [(3, 2 if s > 0 and n == 0 else 1, f), (3, 1, f)])
    return net.classify(x)


def resnet50(net, x, filters=4):
    x = max_pool(net.active(net.conv(x, "conv1", filters, 7, 2, "symmetric"), "bn1"), 3, 2, "same")
    for s, count in enumerate([3, 4, 6, 3]):
        for n in range(count):
            f, stride = filters << s, 2 if s > 0 and n == 0 else 1
            x = post_block(net, x, f"layer{s + 1}.{n}", [(1, 1, f), (3, stride, f), (1, 1, 4 * f)])
    return net.classify(x)


def rust(logits):
    return "[" + ", ".join(f"{v:.8f}" for v in logits.ravel()) + "]"


def show(name, build, layers, height, width):
    """Logits of a pass that trains, then of one that evaluates, with the running statistics that it left."""
    x = wave("images", (IMAGES, 3, height, width), 0, 1)
    training = build(layers, x)
    count, layers.training = layers.count, False
    print(f"const {name}: Logits = Logits {{\n    training: {rust(training)},\n    evaluation: {rust(build(layers, x))},\n}};")
    print(f"// {name}: {count} parameters\n")


TF = ("same", True, 0.1, 0.9, 1e-3)
show("RESNET", resnet, Layers(*TF), 18, 14)
show("WRN", wrn, Layers("symmetric", False, 0.1, 0.9, 1e-5), 18, 14)
preactivated = lambda net, x: wrn(net, x, preactivate=True)
show("WRN_PREACTIVATED", preactivated, Layers("symmetric", False, 0.0, 0.9, 1e-5), 18, 14)
show("CNN13", cnn13, Layers("same", True, 0.2, 0.999, 1e-3), 16, 20)
norm_first = lambda net, x: cnn13(net, x, 8, norm_first=True)
show("CNN13_NORM_FIRST", norm_first, Layers("symmetric", True, 0.0, 0.9, 1e-5), 16, 20)
twins = Layers("same", False, 0.0, 0.9, 1e-3, lambda name: name.replace("branches.1", "branches.0"))
show("SHAKE_TWINS", shake, twins, 16, 12)
show("RES18", res18, Layers(*TF), 40, 36)
show("RESNET18", resnet18, Layers("symmetric", False, 0.0, 0.9, 1e-5), 40, 36)
show("RESNET50", resnet50, Layers("same", False, 0.0, 0.9, 1e-5), 40, 36)
other = Layers("same", False, 0.0, 0.9, 1e-3)
other.training = False
print(f"const SHAKE_EVALUATION: [f64; 6] = {rust(shake(other, wave('images', (IMAGES, 3, 16, 12), 0, 1)))};\n")

# Whole sizes at 10 classes, where the specifications do not say how many parameters; one image suffices.
CLASSES = 10
for name, build in [("cnn13", lambda n, x: cnn13(n, x, 32)), ("shake", lambda n, x: shake(n, x, 32, 4))]:
    layers = Layers("same", name == "cnn13", 0.0, 0.9, 1e-3)
    build(layers, np.zeros((1, 3, 32, 32)))
    print(f"// {name}: {layers.count} parameters, {layers.body} without the classifier")
