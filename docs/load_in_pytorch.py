"""Classifies images in PyTorch with a network that rematch trained.

    python docs/load_in_pytorch.py weights.safetensors image.png…

prints one JSON line per image: its path and the probability of each class. `weights.safetensors` is what
the stage `export_weights` wrote for the network `resnet`, the wide ResNet of google-research/fixmatch.
Needs torch, safetensors, numpy and Pillow.
"""

import json
import sys

import numpy
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F


class Conv(nn.Conv2d):
    """Pads as TensorFlow does: what a stride leaves over goes to the right and the bottom."""

    def forward(self, x):
        pads = []
        for size in (x.shape[-1], x.shape[-2]):
            stride, kernel = self.stride[0], self.kernel_size[0]
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, first):
        super().__init__()
        self.bn1, self.conv1 = norm(inputs), Conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = norm(outputs), Conv(outputs, outputs, 3)
        self.shortcut = Conv(inputs, outputs, 1, stride) if inputs != outputs else None
        self.first = first

    def forward(self, x):
        active = F.leaky_relu(self.bn1(x), 0.1)
        around = active if self.first else x
        y = self.conv2(F.leaky_relu(self.bn2(self.conv1(active)), 0.1))
        return y + (self.shortcut(around) if self.shortcut else around)


class WideResNet(nn.Module):
    def __init__(self, channels, classes, filters, repeat, scales):
        super().__init__()
        self.conv = Conv(channels, 16, 3)
        self.groups = nn.ModuleList()
        width = 16
        for group in range(scales):
            blocks = nn.ModuleList()
            for n in range(repeat):
                stride = 2 if group and not n else 1
                blocks.append(Block(width, filters << group, stride, not group and not n))
                width = filters << group
            self.groups.append(blocks)
        self.bn = norm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        x = self.conv(x)
        for blocks in self.groups:
            for block in blocks:
                x = block(x)
        return self.classifier(F.leaky_relu(self.bn(x), 0.1).mean((2, 3)))


def load(path):
    """The network in a file, ready to classify, and what the file says of it."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["rematch"])
        state = {name: file.get_tensor(name) for name in file.keys()}
    if list(about["network"]) != ["resnet"]:
        sys.exit(f"this script knows the network `resnet`, not {about['network']}")
    size, shape = about["network"]["resnet"], about["shape"]
    scales = size["scales"] or max((shape["width"] - 1).bit_length() - 2, 1)
    network = WideResNet(shape["channels"], shape["classes"], size["filters"], size["repeat"], scales)
    # PyTorch counts the batches that its batch norm saw; nothing depends on it here.
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    # What a method needs beside the network, such as a head that tells rotations apart.
    heads = {name.split(".")[0] for name in unexpected}
    if missing or heads & {"conv", "groups", "bn", "classifier"}:
        sys.exit(f"the file is of another network: {missing} are missing, {unexpected} too many")
    return network.eval(), about


def pixels(path, about):
    """An image as the network has seen them: -1 to 1, or by the run's mean and deviation; 1xCxHxW."""
    mode = "L" if about["shape"]["channels"] == 1 else "RGB"
    size = (about["shape"]["width"], about["shape"]["height"])
    image = Image.open(path).convert(mode)
    if image.size != size:
        image = image.resize(size, Image.BILINEAR)
    x = torch.from_numpy(numpy.atleast_3d(numpy.asarray(image, numpy.float32))).permute(2, 0, 1)
    if about["whitened"]:
        sys.exit("the network wants whitened images; multiply them by the run's `zca` first")
    if about["normalize"]:
        mean, std = (torch.tensor(about["normalize"][name]).view(-1, 1, 1) for name in ("mean", "std"))
        return ((x / 255 - mean) / std)[None]
    return (x * (2 / 255) - 1)[None]


def main():
    network, about = load(sys.argv[1])
    with torch.no_grad():
        for path in sys.argv[2:]:
            p = network(pixels(path, about)).softmax(-1)[0]
            print(json.dumps({"image": path, "probabilities": p.tolist()}))


if __name__ == "__main__":
    main()
