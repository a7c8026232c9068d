"""What the benches share: a command's time and memory, the machine, and where results go."""

import datetime
import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = os.sysconf("SC_PAGE_SIZE")


class Measured(dict):
    """Wall and CPU seconds, peak memory in MiB, of a command with all that it started.

    `peak` is the largest process; `peak_tree` the largest sum over all processes that were alive
    at once, looked at every 50 ms. Pages that processes share count once for each of them, so the
    sum is an upper bound.
    """

    @property
    def line(self):
        text = f"{self['wall']:8.2f} s wall {self['cpu']:8.2f} s cpu {self['peak']:6.0f} MiB in the largest process"
        return text + (f", {self['peak_tree']:.0f} MiB in all" if "peak_tree" in self else "")


def together(parts, wall, peak_tree):
    """Several commands as one measurement that took `wall` seconds."""
    return Measured(
        wall=wall,
        cpu=sum(part["cpu"] for part in parts),
        peak=max(part["peak"] for part in parts),
        peak_tree=peak_tree,
    )


def measure(command, env=None, cwd=None, watch=True):
    """Runs a command to its end; raises with its output where it fails."""
    watcher = Watcher() if watch else None
    started = time.perf_counter()
    # Output goes to a pipe read at the end by a thread: progress bars must not block.
    process = subprocess.Popen(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = []
    reader = threading.Thread(target=lambda: said.append(process.stdout.read()))
    reader.start()
    if watcher:
        watcher.start(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    peak_tree = watcher.stop() if watcher else None
    output = b"".join(said).decode(errors="replace")
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{output[-4000:]}")
    result = Measured(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss / 1024,
    )
    if watcher:
        result["peak_tree"] = max(peak_tree, result["peak"])
    result.output = output
    return result


def once(command, env=None, cwd=None, said=os.devnull, right=(0,)):
    """Wall and CPU seconds of a command with all that it started, output into the file `said`.

    Leaner than `measure`, for commands of milliseconds. Raises where the exit code is not `right`.
    """
    before = os.getcwd()
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(said), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # A new process starts where this one is.
    os.chdir(cwd or before)
    try:
        started = time.perf_counter()
        pid = os.posix_spawnp(command[0], command, os.environ if env is None else env, file_actions=files)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
    finally:
        os.chdir(before)
    if (code := os.waitstatus_to_exitcode(status)) not in right:
        tail = Path(said).read_text(errors="replace")[-4000:] if said != os.devnull else ""
        raise SystemExit(f"{' '.join(command[:9])} ended with {code}:\n{tail}")
    return Measured(wall=wall, cpu=usage.ru_utime + usage.ru_stime)


def with_peak(command, env=None, cwd=None, said=os.devnull):
    """As `once`, with the memory of the largest process in MiB as `peak`.

    A child's own record begins with the memory of the program that started it, so a small one must:
    GNU time, which costs a millisecond. Where it is not installed, `peak` is None.
    """
    if not (gnu_time := shutil.which("time")):
        return Measured(once(command, env, cwd, said), peak=None)
    with tempfile.NamedTemporaryFile("r") as report:
        result = once([gnu_time, "-q", "-o", report.name, "-f", "%M", *command], env, cwd, said)
        return Measured(result, peak=round(int(report.read()) / 1024, 1))


class Watcher:
    """Adds up the memory of a process and its descendants while they run; of itself, only these."""

    def __init__(self, every=0.05):
        self.every = every
        self.peak = 0.0
        self.done = threading.Event()
        self.thread = None

    def start(self, root):
        self.thread = threading.Thread(target=self._watch, args=(root,), daemon=True)
        self.thread.start()

    def stop(self):
        self.done.set()
        self.thread.join()
        return self.peak

    def _watch(self, root):
        while not self.done.wait(self.every):
            self.peak = max(self.peak, tree_mib(root))


def tree_mib(root):
    """Resident memory of `root` (unless that is this process) and its descendants, MiB."""
    parents, resident = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_text()
        except OSError:
            continue
        # After the name in parentheses: state, parent, …; resident pages are the 22nd of these.
        fields = stat.rsplit(")", 1)[1].split()
        parents[int(name)] = int(fields[1])
        resident[int(name)] = int(fields[21])
    pages = 0
    for pid in resident:
        above = pid
        while above not in (root, 0, 1):
            above = parents.get(above, 0)
        if above == root and pid != os.getpid():
            pages += resident[pid]
    return pages * PAGE / 2**20


def machine():
    """What the figures depend on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def version(rematch):
    """What `rematch --version` says."""
    return subprocess.run([rematch, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def commit():
    """The commit of this checkout when the bench began, with a + where files differ from it."""
    folder = Path(__file__).resolve().parent
    run = lambda *args: subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True)
    name = run("rev-parse", "--short", "HEAD")
    if name.returncode:
        return None
    return name.stdout.strip() + ("+" if run("status", "--porcelain", "-uno").stdout.strip() else "")


COMMIT = commit()


def save(name, command, facts):
    """Writes benches/results/NAME.json and says where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    facts = {
        "bench": name,
        "date": datetime.date.today().isoformat(),
        "command": command,
        "commit": COMMIT,
        "machine": machine(),
        **facts,
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")
    print(f"\nwritten: {os.path.relpath(path)}")


def default_program():
    """The release build of this checkout."""
    return Path(__file__).resolve().parent.parent / "target" / "release" / "rematch"
