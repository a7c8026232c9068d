"""Hashing as the runner does it (cache/examples/hash.rs with the program for large files) against b3sum, in turns, with the same
number of threads, everything in the page cache: one large file, and a folder of 60,000 small ones.
"""

import json
import os
import random
import shutil
import statistics
import subprocess

import measure

LARGE = 2 << 30
SMALL = 60_000
# Bytes of a 32 × 32 colour image as PNG.
SMALL_SIZE = 2_500


def measured(hasher, rematch, work, quick):
    """Figures, and None where b3sum is not installed. Raises if digests differ."""
    b3sum = shutil.which("b3sum")
    if not b3sum:
        print("b3sum is not installed: hashing is skipped (cargo install b3sum)")
        return None
    threads = sorted({1, len(os.sched_getaffinity(0))})
    size, count = (LARGE // 4, SMALL // 10) if quick else (LARGE, SMALL)
    folder = work / "hashing"
    folder.mkdir()
    facts = {
        "version": subprocess.run([b3sum, "--version"], capture_output=True, text=True).stdout.strip(),
        "large_bytes": size,
        "small_files": count,
        "small_bytes": count * SMALL_SIZE,
        "large": large([str(hasher), "--rematch", str(rematch)], b3sum, folder, size, threads),
        "small": small(hasher, b3sum, folder, count, threads),
    }
    shutil.rmtree(folder)
    return facts


def large(hasher, b3sum, folder, size, threads):
    block = random.Random(1).randbytes(16 << 20)
    with open(folder / "large", "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    os.sync()
    print(f"\na file of {size / 1e9:.1f} GB, in the page cache")
    facts = {}
    for count in threads:
        sides = {
            "b3sum": [b3sum, "--num-threads", str(count), "large"],
            "b3sum --no-mmap": [b3sum, "--num-threads", str(count), "--no-mmap", "large"],
            "rematch": [*hasher, "--threads", str(count), "large"],
            "rematch, reading": [hasher[0], "--threads", str(count), "large"],
        }
        facts[threads_text(count)] = turns(sides, folder, 7, size)
    (folder / "large").unlink()
    return facts


def threads_text(count):
    return f"{count} thread" + "s" * (count > 1)


def small(hasher, b3sum, folder, count, threads):
    names = [f"{n // 600:03}/{n % 600:03}" for n in range(count)]
    for name in names:
        path = folder / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(SMALL_SIZE))
    os.sync()
    print(f"\n{count:,} files of {SMALL_SIZE:,} bytes, in the page cache")
    listed = digests(b3sum, names, folder)
    facts = {}
    for n in threads:
        # b3sum reads one file after the other: its threads help only within large files.
        sides = {
            "b3sum": [b3sum, "--num-threads", str(n), *names],
            "rematch": [str(hasher), "--threads", str(n), "."],
        }
        facts[threads_text(n)] = turns(sides, folder / "small", 7, count * SMALL_SIZE, listed)
    # The first call fills the stat cache; 0.2 s before, no file was written to.
    known = [str(hasher), "--threads", str(threads[-1]), "--store", str(folder / "store"), "."]
    measure.once(known, cwd=folder / "small")
    sides = {"b3sum": [b3sum, "--num-threads", str(threads[-1]), *names], "rematch": known}
    facts["stat cache knows them"] = turns(sides, folder / "small", 7, count * SMALL_SIZE, listed)
    facts["stat cache knows them"]["files_opened"] = opened(known, folder)
    return facts


def digests(b3sum, names, folder):
    """The folder's digest made from b3sum's own lines: BLAKE3 of the manifest (cache/src/manifest.rs)."""
    command = [b3sum, *names]
    said = subprocess.run(command, cwd=folder / "small", capture_output=True, text=True, check=True).stdout
    lines = sorted((path, digest) for digest, path in (line.split("  ", 1) for line in said.splitlines()))
    manifest = "".join(f"{digest} - {SMALL_SIZE} {json.dumps(path)}\n" for path, digest in lines)
    manifest = f"rematch manifest 1\n{manifest}".encode()
    said = subprocess.run([b3sum], input=manifest, capture_output=True, check=True).stdout
    return said.split()[0].decode()


def turns(sides, cwd, count, size, right=None):
    """Both sides `count` times in turns; their digests must agree, or be `right` on our side."""
    took, said = {name: [] for name in sides}, {}
    for _ in range(count + 1):
        for name, command in sides.items():
            took[name].append(measure.once(command, cwd=cwd, said=cwd / "../said"))
            said[name] = (cwd / "../said").read_text().split()[0]
    if said["rematch"] != (right or said["b3sum"]):
        raise SystemExit(f"digests differ: {said} (should be {right})")
    facts = {}
    for name, runs in took.items():
        # The first turn warms up.
        facts[name] = {
            what: {
                "median": round(statistics.median(run[what] for run in runs[1:]), 4),
                "min": round(min(run[what] for run in runs[1:]), 4),
            }
            for what in ["wall", "cpu"]
        }
        facts[name]["gb_per_s"] = round(size / facts[name]["wall"]["median"] / 1e9, 3)
        facts[name]["peak_mib"] = measure.with_peak(sides[name], cwd=cwd)["peak"]
    ours = facts["rematch"]["wall"]
    threads = threads_text(int(sides["b3sum"][2]))
    for name, fact in facts.items():
        wall, cpu = fact["wall"], fact["cpu"]
        text = f"  {threads:9}  {name:16} wall {wall['median'] * 1000:8.1f} ms (min {wall['min'] * 1000:8.1f})"
        text += f"  cpu {cpu['median'] * 1000:8.1f} ms  {fact['gb_per_s']:6.2f} GB/s  peak {fact['peak_mib']} MiB"
        if not name.startswith("rematch"):
            rate = {which: round(wall[which] / ours[which], 3) for which in ["median", "min"]}
            fact["our_rate"] = rate
            text += f"  our rate is {rate['median']} of it (minima: {rate['min']})"
        print(text, flush=True)
    return facts


def opened(command, folder):
    """How many files of the folder a command opens; None without strace."""
    if not shutil.which("strace"):
        return None
    trace = folder / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=open,openat", "-o", trace]
    subprocess.run([*strace, *command], cwd=folder / "small", stdout=subprocess.DEVNULL, check=True)
    here = f'"{folder / "small"}/'
    return sum(1 for line in trace.read_text().splitlines() if here in line and "O_DIRECTORY" not in line)
