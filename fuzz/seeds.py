#!/usr/bin/env python3
"""Writes small valid inputs for every fuzz target into corpus/TARGET/.

    fuzz/seeds.py

Pipelines come from pipelines/ and docs/, the rest is written here.
"""

import hashlib
import io
import json
import re
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BETWEEN = "\n%%%\n"
IMAGES = sorted((ROOT / "stages" / "data" / "tests" / "image_files").iterdir())
DIGEST = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

AUGMENTATIONS = ["cifar10", "svhn", "stl10", "color", "cutout"]
RECIPE = {
    "format": 1,
    "records": 3,
    "copies": 2,
    "order": "python: random.seed(1); random.shuffle(list(range(N * copies)))",
    "seed": 1,
    "wrap": False,
    "drawn_once": False,
}


def main():
    count = 0
    for target, inputs in all_seeds().items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            data = data if isinstance(data, bytes) else data.encode()
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
            count += 1
    print(f"{count} seeds in {HERE / 'corpus'}")


def all_seeds():
    pipelines = pipeline_texts()
    stages = list(stage_params(pipelines))
    jsons = ['{"a":[1,0.5,null,true,"é\\n"],"b":{"c":-1,"d":1e300}}', "{}", "[]", "7", '"x"']
    return {
        "pipeline": pipelines,
        "yaml": pipelines + YAMLS,
        "settings": SETTINGS + [BETWEEN.join(SETTINGS[:3])],
        "reference": REFERENCES,
        "pattern": PATTERNS + ["\n".join(PATTERNS)],
        "split": ["cifar10.3@40-1", "cifar10.0@4000-5000", "cifar10.5@10-1", "svhn.1@250-1", "stl10.2@1000-500", "cifar100_LT_50.1@50-1"],
        "positions": ["1\n2\n\n3\n", " ".join(map(str, range(1000))) + " \n"],
        "params": [bytes([n]) + json.dumps(params).encode() for n in range(24) for params in stages],
        "job_file": [json.dumps(job(params)) for params in stages[:12]],
        "messages": ["\n".join(EVENTS) + "\n", *EVENTS, json.dumps(REPORT)],
        "key": [f"{a} {b}" for a in jsons for b in jsons],
        "manifest": manifests(),
        "entry": [json.dumps(entry()), json.dumps(entry()["key"]), json.dumps({**entry(), "metrics": {}})],
        "stat_cache": stat_caches(),
        "runs": runs(),
        "batch_file": [b"\0" + matlab(), b"\1" + pickled(), b"\2" + bytes([3]) + bytes(3072), b"\5" + bytes(3074)],
        "matlab": [matlab()],
        "idx": [struct.pack(">II", 0x801, 3) + bytes(3), struct.pack(">IIII", 0x803, 2, 2, 3) + bytes(12)],
        "stl": [tar_gz("stl10_binary/train_y.bin", b"\1\2"), tar_gz("stl10_binary/unlabeled_X.bin", bytes(27648))],
        "zip": [zipped(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)],
        "records": [record(example(b"image", 3)), example(b"image", 3), record(b"") + record(b"x")],
        "events": [event(0, b""), event(7, b"train/loss"), event(1, b"accuracy") + event(2, b"x")],
        "recipe": [json.dumps({**RECIPE, "augment": augment}) for augment in AUGMENTATIONS],
        "png": [png(2, 3, color, depth) for color in (0, 2, 3, 4, 6) for depth in (8,)],
        "image_file": [bytes([n]) + path.read_bytes() for path in IMAGES for n in (0, 6, 12, 200)],
        "npy": [npy("|u1", (2, 3), bytes(6)), npy(">i2", (2,), bytes(4)), npy("<f8", (), bytes(8))],
        "augment": ["d.d.d", "d.d.rac", "d.d.rac5", "ms.m.r2_10_50", "x.d.ctac", "s.x.aac", "d.d.kekmodel", "mz.mz.featmatch"],
    }


def npy(descr, shape, values):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def pipeline_texts():
    files = sorted((ROOT / "pipelines").rglob("*.yaml"))
    texts = [path.read_text() for path in files]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        texts += re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    source = (HERE / "src" / "lib.rs").read_text()
    texts.append(re.search(r'PIPELINE: &str = r#"(.*?)"#', source, re.S).group(1))
    texts.append("include: [a.yaml, {seed: 3}]\naxes: {seed: [1, 2]}\nstages: {}" + BETWEEN + texts[-1])
    texts.append("include: [a.yaml]" + BETWEEN + "include: [b.yaml]" + BETWEEN + "vars: {a: 1}")
    return texts


def stage_params(texts):
    """Parameters of the stages of pipelines, as far as they stand on one line of flow YAML."""
    yield from PARAMS
    for text in texts:
        for flow in re.findall(r"^\s+\w+: (\{.*\})$", text, re.M):
            quoted = re.sub(r"([\[{:,]\s*)([A-Za-z_][^\s,:\[\]{}\"']*)", r'\1"\2"', flow)
            try:
                yield json.loads(quoted)
            except ValueError:
                continue


def job(params):
    return {
        "protocol": 1,
        "name": "train[seed=1]",
        "key": DIGEST,
        "kind": "train",
        "params": params,
        "outputs": {"labeled": "/w/out/label.tfrecord"},
        "work": "/w",
        "cpus": 2,
        "gpus": 0.5,
    }


def entry():
    artifact = {"digest": DIGEST, "size": 3}
    return {
        "key": {"kind": "train", "version": 3, "params": {"seed": 1, "lr": 0.03}, "inputs": {"labeled": DIGEST}},
        "outputs": {"run": {**artifact, "folder": True}, "stats": artifact},
        "log": artifact,
        "metrics": {"accuracy": 94.5, "loss": "inf", "worst": "NaN"},
        "provenance": {
            "rematch": "0.1.0",
            "host": "h",
            "user": "u",
            "started": 1.7e9,
            "seconds": 1.5,
            "attempt": 1,
            "job": "train[seed=1]",
            "pipeline": "p",
            "facts": {"device": {"name": "cpu"}},
        },
    }


def manifests():
    line = lambda mark, size, path: f"{DIGEST} {mark} {size} {json.dumps(path, ensure_ascii=False)}\n"
    head = "rematch manifest 1\n"
    return [head, head + line("-", 3, "a") + line("x", 10, "b/c é"), head + line("-", 0, 'a"\n')]


def stat_caches():
    head = b"rematch stat cache 1\n"
    one = lambda path: struct.pack("<I", len(path)) + path + struct.pack("<QqqQQ", 1, -2, 3, 4, 5) + bytes(32)
    return [head, head + one(b"/a"), head + one(b"/b/c") + one(b"")]


def runs():
    keys = f'{DIGEST} "train[seed=1]"\n{DIGEST} "a"\n'
    history = '{"time":1.5,"pipeline":"/p.yaml","name":"p","set":[["steps","1"]]}\n'
    return [keys, history, keys + history, keys[:-5], history[:-5]]


def matlab():
    put = lambda kind, data: struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    def matrix(name, rows, columns):
        flags = put(6, bytes([9, 0, 0, 0, 0, 0, 0, 0]))
        sizes = put(5, struct.pack("<ii", rows, columns))
        return put(14, flags + sizes + put(1, name) + put(2, bytes(rows * columns)))

    packed = zlib.compress(matrix(b"labels", 1, 1))
    return b" " * 124 + b"\0\1IM" + matrix(b"data", 1, 3072) + struct.pack("<II", 15, len(packed)) + packed


def pickled():
    # As Python 2 pickled the official batches: see stages/data/src/readers/cifar/pickle.rs.
    head = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x04testq\x03U\x06labelsq\x04]q\x05(K\x03eU\x04dataq\x06"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87R(K\x01K\x01M\x00\x0c\x86"
    kind = b"cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    return head + array + kind + b"T" + struct.pack("<I", 3072) + bytes(3072) + b"tbu."


def tar_gz(name, content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(method):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for n in (1, 2):
            archive.writestr(zipfile.ZipInfo(f"real/a/{n}.png"), png(2, 3, 2, 8), method)
    return packed.getvalue()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data):
    masked = lambda part: struct.pack("<I", ((crc32c(part) >> 15 | crc32c(part) << 17) + 0xA282EAD8) & 0xFFFFFFFF)
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def example(image, label):
    part = lambda field, data: bytes([field << 3 | 2, len(data)]) + data
    feature = lambda name, value: part(1, part(1, name) + part(2, value))
    return part(1, feature(b"image", part(1, part(1, image))) + feature(b"label", part(3, part(1, bytes([label])))))


def event(step, tag):
    """Event { wall_time: 1, step: 2, summary: 5 { value: 1 { tag: 1, simple_value: 2 } } }."""
    part = lambda field, data: bytes([field << 3 | 2, len(data)]) + data
    value = part(1, tag) + b"\x15" + struct.pack("<f", 0.5)
    return b"\x09" + struct.pack("<d", 1.5) + bytes([0x10, step]) + part(5, part(1, value))


def png(width, height, color, depth):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    rows = b"".join(b"\0" + bytes(width * samples) for _ in range(height))
    palette = chunk(b"PLTE", bytes(6)) if color == 3 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


YAMLS = [
    "a: &a [x, 'y', \"\\u263a\"]\nb: *a\n",
    "- |\n  block\n  text\n- >-\n  folded\n- !!str 1\n",
    "? a\n: {b: [1, -2, 0x10, 3e-2, .5, ~, no, true]}\n",
    "%YAML 1.2\n---\na: 1 # comment\n...\n",
]

SETTINGS = [
    "steps=100",
    "method={name: x, confidence: 0.5}",
    "axis.seed=[1, 2, 3]",
    "axis.labels=40",
    "axis.method=[{name: z, rate: 1}]",
    "split.size=10",
    "fit.resources.gpus=2",
    "fit.timeout=3d",
    "fit.env.WORD=${axis.seed}",
    "table.over=[seed, method]",
]

REFERENCES = [
    "a ${split.labeled} $${x} ${acc[*].stats}",
    "${axis.method.confidence}",
    "${var.a.b.c} ${in.script} > ${out.table}",
    "${cifar10.3@40-1.labeled}",
]

PATTERNS = ["fit", "fit[seed=1]", "fit[labels=40,seed=*]", "*", "f*t[method=b*c]", "split[seed=2,labels=40]", "data"]

EVENTS = [
    '{"event":"progress","done":3,"total":10,"unit":"steps"}',
    '{"event":"metrics","values":{"accuracy":94.5,"loss":1e-3}}',
    '{"event":"note","text":"é \\u001b[1m"}',
    '{"event":"warning","text":"w"}',
]

REPORT = {
    "metrics": {"accuracy": 94.5},
    "facts": {"device": {"name": "cpu"}, "version": [1, 2]},
    "error": {"message": "no", "help": "yes"},
}

FILE = {"$input": "/a"}
PARAMS = [
    {"dataset": "cifar10", "layout": "python", "mirror": "/m"},
    {"dataset": "shapes"},
    {"folder": FILE, "size": 32, "resize": "fit", "channels": 1, "names": "suffix", "ignore": ["a*"], "balance": 9},
    {"archives": [FILE], "lists": {"train": FILE, "test": [FILE]}, "skip_damaged": True, "alpha": "white"},
    {"train": FILE},
    {"train": {"$input": 0}, "seed": 1, "size": 40},
    {"algorithm": "fixmatch", "labeled": FILE, "unlabeled": FILE, "test": [FILE, FILE], "seed": 1},
    {"algorithm": {"fixmatch": {"confidence": 0.95}}, "dataset": "cifar10.3@40-1"},
    {"run": FILE},
    {"results": [{"point": {"seed": 1, "labels": 40}, "file": FILE}], "columns": "labels", "over": ["seed"]},
    {"run": ["cp", FILE, "${out.x}"], "outputs": {"x": "x.txt"}, "env": {"A": "b"}, "pass_env": ["HOME"]},
    {"run": {"$template": ["cat ", FILE, " > ${out.x} ${in.y}"]}, "inputs": {"y": FILE}, "outputs": {"x": "d/x"}},
    {"resources": {"cpus": 2, "gpus": 0.5, "memory": "8GB"}, "timeout": "2h", "retries": 1, "description": "d"},
]


if __name__ == "__main__":
    main()
