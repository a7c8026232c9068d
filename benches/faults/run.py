#!/usr/bin/env python3
"""Kills `rematch run` at every call that changes the file system, and lets each such call fail.

    benches/faults/run.py

A small pipeline runs once under strace, which lists the calls of all its processes: the runner's, its
children's and their programs'. Then it runs again for each of them, and strace kills the process that
makes this call, before it takes effect; or kills it, and this script the rest; or lets the call fail with
ENOSPC, EIO or EINTR. Each time a plain run follows. What is asked for:

- no panic, no hang; a run that fails says what failed;
- the plain run ends well, with the results of an undisturbed run and nothing else beside them;
- another run has nothing to do.

Both is done for a first run, and for one after a change. Where time runs out (--minutes), calls are left
out evenly, and that is said. strace 6 is needed; --rematch takes another build.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402

PIPELINE = """\
axes: {n: [1, 2]}
stages:
  strip:
    command: {run: 'grep -v ^# ${in.f} > ${out.x}', inputs: {f: f.txt}, outputs: {x: x}}
  tree:
    command: {run: 'mkdir -p ${out.d}/sub && cat ${strip.x} > ${out.d}/a && echo ${axis.n} > ${out.d}/sub/b', outputs: {d: d}}
  all:
    command: {run: 'for d in ${tree[*].d}; do cat $d/a $d/sub/b || exit 1; done > ${out.x}', outputs: {x: all.txt}}
"""

# By path, or by handle. What a kernel lacks, strace is not told of (see `known`).
BY_PATH = "openat creat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat chmod fchmodat fchmodat2 truncate utimensat".split()
BY_HANDLE = "write pwrite64 writev fsync fdatasync syncfs sync_file_range fchmod ftruncate fallocate copy_file_range sendfile flock".split()

FAULTS = {
    "kill": "signal=KILL",
    "kill all": "signal=KILL",
    "ENOSPC": "error=ENOSPC",
    "EIO": "error=EIO",
    "EINTR": "error=EINTR",
}
WORDS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EINTR": "Interrupted system call",
}
# The longest that one run may take; some wait for a process that is about to notice its runner's end.
PATIENCE = 60

LINE = re.compile(r"^(\d+) +(\w+)\((.*)")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
HANDLE = re.compile(r"(AT_FDCWD|\d+)<([^>]*)>")
RANDOM = re.compile(r"/\.rematch-[A-Za-z0-9]{6}|/\.writing-[A-Za-z0-9]{6}|/unsynced/[^/]+|/\.tmp[A-Za-z0-9]{6}")

# One call of a run: its name, and either the path (below the project) and which call with this path it is
# of its thread; or, where the path is another each time, which call of that name it is of its thread.
Call = collections.namedtuple("Call", "name path nth")


def main():
    args = arguments()
    deadline = time.monotonic() + 60 * args.minutes
    folder = Path(tempfile.mkdtemp(prefix="rematch-faults-", dir=args.work))
    try:
        facts = campaign(args, folder, deadline)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    command = "benches/faults/run.py" + "".join(f" {word}" for word in sys.argv[1:])
    measure.save("faults", command, {"rematch": measure.version(args.rematch), **facts})
    sys.exit(1 if facts["failures"] else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rematch", type=Path, default=measure.default_program())
    parser.add_argument("--minutes", type=float, default=9.0, help="at most so long [default: 9]")
    parser.add_argument("--only", help="only calls of this name")
    shm = Path("/dev/shm")
    parser.add_argument("--work", type=Path, default=shm if shm.is_dir() else None)
    args = parser.parse_args()
    args.rematch = args.rematch.resolve()
    if not args.rematch.exists():
        parser.error(f"there is no {args.rematch}: `cargo build --release` first")
    if not shutil.which("strace"):
        parser.error("there is no strace")
    return args


def campaign(args, folder, deadline):
    cases = []
    calls = {}
    for scenario in ("first run", "after a change"):
        project = Project(args, folder / "model" / scenario.replace(" ", "-"), scenario)
        project.prepare()
        found = [call for call in project.calls() if args.only in (None, call.name)]
        calls[scenario] = len(found)
        cases += [(scenario, call, fault) for call in found for fault in FAULTS]
    print(f"{sum(calls.values())} calls × {len(FAULTS)} faults = {len(cases)} runs", flush=True)

    workers = len(os.sched_getaffinity(0))
    projects = threading.local()

    def work(case):
        scenario, call, fault = case
        if time.monotonic() > deadline:
            return None
        if not hasattr(projects, "all"):
            projects.all = {}
        if scenario not in projects.all:
            root = folder / str(threading.get_ident()) / scenario.replace(" ", "-")
            projects.all[scenario] = Project(args, root, scenario)
        return projects.all[scenario].suffer(call, fault)

    # In an order that leaves calls out evenly, should the time not do.
    stride = max(n for n in (1009, 1013) if len(cases) % n)
    order = [cases[n * stride % len(cases)] for n in range(len(cases))]
    counts, failures, done = {}, [], 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for case, outcome in zip(order, pool.map(work, order)):
            if outcome is None:
                continue
            done += 1
            scenario, call, fault = case
            row = counts.setdefault(call.name, {}).setdefault(fault, collections.Counter())
            row["runs"] += 1
            row[outcome.what] += 1
            for problem in outcome.problems:
                failures.append({"scenario": scenario, "call": call._asdict(), "fault": fault, "problem": problem})
                print(f"\nFAILED {scenario}, {fault} at {call}: {problem}", flush=True)
            if done % 50 == 0:
                print(f"\r{done} of {len(cases)}", end="", flush=True)
    print()
    if done < len(cases):
        print(f"thinned: {done} of {len(cases)} runs were done in {args.minutes} minutes")
    totals = collections.Counter()
    for name in sorted(counts):
        row = counts[name]
        print(f"{name:16}", "  ".join(f"{fault}: {dict(row[fault])}" for fault in FAULTS if fault in row))
        for fault in row:
            totals[fault] += row[fault]["runs"] - row[fault]["not met"]
    print("in all:", dict(totals), f"{len(failures)} failures")
    return {
        "calls": calls,
        "runs_planned": len(cases),
        "runs_done": done,
        "thinned": done < len(cases),
        "faults_that_took_place": dict(totals),
        "by_call": counts,
        "failures": failures,
    }


Outcome = collections.namedtuple("Outcome", "what problems")


class Project:
    """A folder with the pipeline, in the state from which a run is to be disturbed."""

    def __init__(self, args, root, scenario):
        self.rematch, self.root, self.scenario = args.rematch, root, scenario
        self.start, self.log = root.parent / f"{root.name}.start", root.parent / f"{root.name}.strace"
        root.mkdir(parents=True)
        (root / "p.yaml").write_text(PIPELINE)
        (root / "f.txt").write_text("# one\nhello\n")
        if scenario != "first run":
            self.must_run()
            (root / "f.txt").write_text("other\n")
            (root / "out/p/tree/n=2/d/a").unlink()
        # Links between store and results are kept.
        subprocess.run(["cp", "-a", root, self.start], check=True)
        self.must_run()
        self.expected = self.results()
        assert len(self.expected) == 6, self.expected

    def prepare(self):
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", self.start, self.root], check=True)

    def results(self):
        out = self.root / "out"
        return {
            str(path.relative_to(out)): path.read_bytes()
            for path in out.rglob("*")
            if not path.is_dir()
        }

    def run(self, before=()):
        """Exit code and what was said. 124 for a run that takes too long."""
        process = subprocess.Popen(
            [*before, self.rematch, "run", "p.yaml"],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        )
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_rest()
            process.kill()
            return 124, process.communicate()[0].decode(errors="replace")
        return process.returncode, said.decode(errors="replace")

    def must_run(self):
        code, said = self.run()
        if code:
            raise SystemExit(f"an undisturbed run ended with {code}:\n{said}")

    def strace(self, *options):
        return ["strace", "-f", "-qq", "-o", self.log, *options]

    def calls(self):
        """The calls of an undisturbed run that change the file system below the project."""
        code, said = self.run(self.strace("-y", "-e", f"trace={','.join(known())}"))
        if code:
            raise SystemExit(f"a run under strace ended with {code}:\n{said}")
        by_path, by_name, found = collections.Counter(), collections.Counter(), {}
        for line in self.log.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            if not match:
                continue
            thread, name, rest = match.groups()
            by_name[thread, name] += 1
            touched = self.touched(name, rest)
            for path in set(touched):
                by_path[thread, name, path] += 1
            if not touched or name == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", rest):
                continue
            # Of two, the one that is made.
            path = next((path for path in reversed(touched) if not RANDOM.search(path)), None)
            if path is None:
                found.setdefault(Call(name, None, by_name[thread, name]))
            else:
                found.setdefault(Call(name, path, by_path[thread, name, path]))
        return list(found)

    def touched(self, name, rest):
        """The paths below the project that a call names, as strace's -P sees them."""
        texts = [text for text in TEXT.findall(rest) if text.startswith("/")] if name in BY_PATH else []
        if name == "rename":
            # strace looks at the first alone.
            texts = texts[:1]
        if name.startswith("symlink"):
            # What the link says is no path that it touches.
            texts = texts[-1:]
        handles = [path for number, path in HANDLE.findall(rest) if number != "AT_FDCWD"]
        if name in BY_HANDLE:
            handles = handles[:1]
        inside = [path for path in handles + texts if path.startswith(f"{self.root}/")]
        return [path[len(str(self.root)) + 1 :] for path in inside]

    def suffer(self, call, fault):
        self.prepare()
        options = ["-e", f"trace={call.name}", "-e", f"inject={call.name}:{FAULTS[fault]}:when={call.nth}"]
        if call.path is not None:
            options += ["-P", self.root / call.path]
        code, said = self.run(self.strace(*options))
        if fault == "kill all":
            self.kill_rest()
        problems = [f"it panicked: {said[-2000:]}"] if "panicked at" in said else []
        log = self.log.read_text(errors="replace")
        if "kill" in fault:
            # strace ends as its first process did.
            what = "runner killed" if code == -signal.SIGKILL else "child killed" if "killed by SIGKILL" in log else "not met"
        else:
            what = "not met" if "(INJECTED)" not in log else "went on" if code == 0 else "failed"
        if code == 124:
            problems.append(f"it did not end within {PATIENCE} s: {said[-2000:]}")
        elif code == 0 and self.results() != self.expected:
            problems.append(f"it ended well with other results: {self.difference()}")
        elif what == "failed" and not (WORDS[fault] in said or "failed " in said or "error while loading" in said):
            problems.append(f"it ended with {code} and did not say why: {said[-2000:]}")
        code, said = self.run()
        if code:
            problems.append(f"the next run ended with {code}: {said[-2000:]}")
        elif self.results() != self.expected:
            problems.append(f"the next run has other results: {self.difference()}")
        else:
            code, said = self.run()
            if code or "nothing to do" not in said:
                problems.append(f"a run after that had something to do: {said[-2000:]}")
        self.kill_rest()
        return Outcome(what, problems)

    def difference(self):
        now = self.results()
        names = {name for name in now.keys() | self.expected.keys() if now.get(name) != self.expected.get(name)}
        return {name: (repr(self.expected.get(name)), repr(now.get(name))) for name in sorted(names)}

    def kill_rest(self):
        """Kills whatever works below the project."""
        while True:
            rest = []
            for process in os.listdir("/proc"):
                try:
                    if process.isdigit() and f"{os.readlink(f'/proc/{process}/cwd')}/".startswith(f"{self.root}/"):
                        rest.append(int(process))
                except OSError:
                    pass
            # strace itself is there as well, and ends with the last of the others.
            if not rest:
                return
            for process in rest:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def known():
    """The calls of our lists that this strace knows on this machine."""
    names = []
    for name in BY_PATH + BY_HANDLE:
        asked = subprocess.run(["strace", "-e", f"trace={name}", "true"], capture_output=True)
        if asked.returncode == 0:
            names.append(name)
    return names


if __name__ == "__main__":
    main()
