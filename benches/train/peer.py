"""Times FixMatch steps of kekmodel/FixMatch-pytorch, from a checkout of it: its network, its EMA, its
optimizer groups, its loss, on random images. Prints one line of JSON. With --workers, images go through
its augmentation in as many loader processes for labeled and as many for unlabeled ones, as train.py has
them, and what is timed is the whole step; otherwise they are on the device.

    python3 peer.py CHECKOUT [--steps 3] [--threads 1] [--batch 16] [--uratio 7]
                    [--precision float32|bf16] [--channels-last] [--device cpu|cuda] [--widen 2] [--workers 4]

The loop is written after its train.py, whose own cannot run with a current PyTorch.
"""

import argparse
import contextlib
import json
import sys
import time

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("checkout")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--uratio", type=int, default=7)
parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--widen", type=int, default=2)
parser.add_argument("--workers", type=int)
args = parser.parse_args()
sys.path.insert(0, args.checkout)

from models.ema import ModelEMA  # noqa: E402
from models.wideresnet import build_wideresnet  # noqa: E402

torch.set_num_threads(args.threads)
torch.backends.cudnn.benchmark = True
device = torch.device(args.device)
model = build_wideresnet(depth=28, widen_factor=args.widen, dropout=0, num_classes=10).to(device)
if args.channels_last:
    model = model.to(memory_format=torch.channels_last)
no_decay = ["bias", "bn"]
groups = [
    {"params": [p for n, p in model.named_parameters() if not any(d in n for d in no_decay)], "weight_decay": 5e-4},
    {"params": [p for n, p in model.named_parameters() if any(d in n for d in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.SGD(groups, lr=0.03, momentum=0.9, nesterov=True)
args.device = device
ema = ModelEMA(args, model, 0.999)


def images(count):
    x = torch.rand(count, 3, 32, 32, device=device) * 2 - 1
    return x.to(memory_format=torch.channels_last) if args.channels_last else x


def interleave(x, size):
    s = list(x.shape)
    return x.reshape([-1, size] + s[1:]).transpose(0, 1).reshape([-1] + s[1:])


def de_interleave(x, size):
    s = list(x.shape)
    return x.reshape([size, -1] + s[1:]).transpose(0, 1).reshape([-1] + s[1:])


def placed():
    """The same batch for ever, on the device."""
    x, targets = images(args.batch), torch.randint(10, (args.batch,), device=device)
    batch = x, targets, images(args.batch * args.uratio), images(args.batch * args.uratio)
    while True:
        yield batch


def loaded():
    """Batches from its loaders. The images are random; Pillow's cost does not depend on them much."""
    import numpy

    numpy.int = int  # its RandAugment uses a name that NumPy dropped
    from dataset.cifar import TransformFixMatch, cifar10_mean, cifar10_std
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset, RandomSampler

    transform = TransformFixMatch(mean=cifar10_mean, std=cifar10_std)
    pixels = numpy.random.default_rng(0).integers(0, 256, (50000, 32, 32, 3), numpy.uint8)

    class Images(Dataset):
        def __init__(self, transform):
            self.transform = transform

        def __len__(self):
            return len(pixels)

        def __getitem__(self, index):
            return self.transform(Image.fromarray(pixels[index])), index % 10

    def batches(transform, size):
        data = Images(transform)
        loader = DataLoader(data, sampler=RandomSampler(data), batch_size=size, num_workers=args.workers, drop_last=True)
        while True:
            yield from loader

    labeled = batches(lambda image: transform.normalize(transform.weak(image)), args.batch)
    for (x, targets), ((weak, strong), _) in zip(labeled, batches(transform, args.batch * args.uratio)):
        yield x.to(device), targets.to(device), weak.to(device), strong.to(device)


batches = placed() if args.workers is None else loaded()
cpu, wall = [], []
model.train()
for step in range(args.steps + 1):
    from_cpu, start = time.process_time(), time.perf_counter()
    x, targets, weak, strong = next(batches)
    inputs = interleave(torch.cat((x, weak, strong)), 2 * args.uratio + 1)
    if args.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    amp = torch.autocast(device.type, torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()
    with amp:
        logits = model(inputs)
    logits = de_interleave(logits.float(), 2 * args.uratio + 1)
    logits_x = logits[: args.batch]
    logits_weak, logits_strong = logits[args.batch :].chunk(2)
    loss_x = F.cross_entropy(logits_x, targets, reduction="mean")
    probabilities, guesses = torch.max(torch.softmax(logits_weak.detach(), dim=-1), dim=-1)
    mask = probabilities.ge(0.95).float()
    loss_u = (F.cross_entropy(logits_strong, guesses, reduction="none") * mask).mean()
    loss = loss_x + loss_u
    loss.backward()
    # As train.py does at every step.
    read = [loss.item(), loss_x.item(), loss_u.item(), mask.mean().item()]
    optimizer.step()
    ema.update(model)
    model.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    if step > 0:
        cpu.append((time.process_time() - from_cpu) * 1000)
        wall.append((time.perf_counter() - start) * 1000)
count = args.batch * (1 + 2 * args.uratio)
print(json.dumps({"cpu_ms": cpu, "wall_ms": wall, "images": count, "precision": args.precision, "torch": torch.__version__}))
