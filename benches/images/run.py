#!/usr/bin/env python3
"""Turns image files into PNG images of one size, with rematch and with Pillow, on one core.

    benches/images/run.py FOLDER…

Each FOLDER holds image files, at any depth. For each, and for each kind of work (decode; encode; decode, resize the shorter
side, crop, encode), both sides take turns of some seconds on the same core; the ratio is of images per second of CPU time, and of
each pair of turns. The Python that runs this needs Pillow; rematch's part is
`cargo build --release -p rematch-data --example image_rate`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402

WORK = ["decode", "encode", "all"]
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--size", type=int, default=84, help="pixels a side of what comes out")
    parser.add_argument("--seconds", type=float, default=2, help="CPU seconds of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=2000, help="files of a folder that are used")
    parser.add_argument("--program", type=Path, default=HERE.parent.parent / "target/release/examples/image_rate")
    parser.add_argument("--save", action="store_true", help="write benches/results/images.json")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for folder in args.folders:
        with tempfile.TemporaryDirectory(prefix="images-") as copies:
            files = chosen(folder, args.most, Path(copies))
            rows += [compare(args, folder.name, files, work) for work in WORK]
    if args.save:
        import PIL
        from PIL import features

        facts = {"pillow": PIL.__version__, "libjpeg_turbo": features.version_feature("libjpeg_turbo"), "size": args.size}
        measure.save("images", "benches/images/run.py FOLDER…", {**facts, "results": rows})


def compare(args, name, files, work):
    """Both sides in turns."""
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(rematch(args, files, work))
        theirs.append(pillow(files, work, args))
    ratios = [a["rate"] / b["rate"] for a, b in zip(ours, theirs)]
    row = {
        "folder": name,
        "work": work,
        "files": len(files),
        "rematch_per_cpu_second": round(statistics.median(run["rate"] for run in ours), 1),
        "pillow_per_cpu_second": round(statistics.median(run["rate"] for run in theirs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "bytes_over_pillows": round(ours[0]["size"] / theirs[0]["size"], 3),
    }
    print(json.dumps(row), flush=True)
    return row


def chosen(folder, most, to):
    """Copies of evenly chosen files in one folder that both sides read."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    files = files[:: max(1, len(files) // most)][:most]
    for n, path in enumerate(files):
        (to / f"{n:06}{path.suffix}").write_bytes(path.read_bytes())
    return sorted(to.iterdir())


def rematch(args, files, work):
    command = [args.program, files[0].parent, work, str(args.size), str(args.seconds)]
    out = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"rate": out["images"] / out["cpu"], "size": out["bytes"] / out["images"]}


def pillow(files, work, args):
    from PIL import Image

    contents = [path.read_bytes() for path in files]
    decode = lambda content: Image.open(BytesIO(content)).convert("RGB")
    decoded = [decode(content) for content in contents] if work == "encode" else []
    size, count, total = args.size, 0, 0
    started = time.process_time()
    while time.process_time() - started < args.seconds:
        n = count % len(contents)
        if work == "decode":
            image = decode(contents[n])
            total += image.width * image.height * 3
        else:
            image = decoded[n] if decoded else square(decode(contents[n]), size)
            out = BytesIO()
            image.save(out, format="PNG")
            total += out.tell()
        count += 1
    return {"rate": count / (time.process_time() - started), "size": total / count}


def square(image, size):
    """As torchvision does: the shorter side to `size`, and the middle of the longer one."""
    from PIL import Image

    width, height = image.size
    longer = int(size * max(width, height) / min(width, height))
    image = image.resize((size, longer) if width <= height else (longer, size), Image.LANCZOS)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


if __name__ == "__main__":
    main()
