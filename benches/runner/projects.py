"""One project, written for every tool: 5 preparation stages in a row, then N chains of 3 stages.

Every stage of every tool is one `sed` in a shell, which puts the stage's name before each line of
its inputs. So no two jobs make the same bytes, and no tool can take one job's result for another's.
Each chain has an input file of its own, the preparation has `seed.txt`, whose first stage drops
lines that begin with `note`: an edit there changes nothing behind that stage.

A class a tool: what it writes, what it runs, and how it says which jobs ran.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

PREPARATION = ["p0", "p1", "p2", "p3", "p4"]
CHAIN = ["a", "b", "c"]


def jobs(n):
    return len(PREPARATION) + len(CHAIN) * n


def shell(stage, inputs, output):
    """The command of a job."""
    script = "-e /^note/d -e s/^/p0/" if stage == "p0" else f"s/^/{stage}/"
    return f"sed {script} {inputs} > {output}"


def result(stage, text):
    """What that command makes of its inputs."""
    lines = (line for line in text.splitlines() if not (stage == "p0" and line.startswith("note")))
    return "".join(f"{stage}{line}\n" for line in lines)


class Project:
    """What the tools share: the input files, the edits, and the right results."""

    name: str
    slow = False  # counts in seconds: fewer rounds, or not at all at large sizes

    def __init__(self, folder, n, program):
        self.folder = Path(folder) / self.name
        self.n = n
        self.program = str(program)
        self.edits = 0
        self.env = dict(os.environ)
        (self.folder / "in").mkdir(parents=True)
        for i in range(n):
            self.input(i).write_text(f"chain {i}\n")
        self.seed().write_text("note 0\nseed\n")
        self.write()

    def input(self, i):
        return self.folder / "in" / f"{i}.txt"

    def seed(self):
        return self.folder / "seed.txt"

    def output(self, job):
        return self.folder / "out" / job

    def clean(self):
        """As before the first run."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        (self.folder / "out").mkdir()

    def change1(self):
        self.edits += 1
        self.input(0).write_text(f"chain 0, edit {self.edits}\n")

    def touch1(self):
        os.utime(self.input(1))

    def cutoff(self):
        self.edits += 1
        self.seed().write_text(f"note {self.edits}\nseed\n")

    def results(self):
        """(job, stage, its input files, what it has to make), in the order of the edges."""
        before, name = self.seed().read_text(), "seed.txt"
        for stage in PREPARATION:
            before = result(stage, before)
            yield stage, stage, [name], before
            name = f"out/{stage}"
        for i in range(self.n):
            text, inputs = self.input(i).read_text() + before, [f"in/{i}.txt", name]
            for stage in CHAIN:
                text = result(stage, text)
                yield f"{stage}{i}", stage, inputs, text
                inputs = [f"out/{stage}{i}"]

    def check(self):
        """Raises unless every output is right."""
        for job, _, _, text in self.results():
            if (got := self.output(job).read_text()) != text:
                raise SystemExit(f"{self.name}: {self.output(job)} holds\n{got}instead of\n{text}")

    def adopt(self):
        """Makes the project as if it had run, without that. Where it says False, it has to run."""
        return False

    # What each scenario runs; a tool without one has no entry. And how many jobs should run.
    commands: dict
    should_run = {"noop": 0, "change1": 3, "touch1": 3, "cutoff": 1}


class Rematch(Project):
    name = "rematch"
    should_run = {**Project.should_run, "touch1": 0}

    def write(self):
        lines = [f"axes:\n  n: [{', '.join(map(str, range(self.n)))}]\nstages:"]

        def stage(name, inputs, files):
            command = json.dumps(shell(name, inputs, "${out.x}"))
            lines.append(f"  {name}:\n    command: {{run: {command}, inputs: {files}, outputs: {{x: x}}}}")

        stage("p0", "${in.f}", "{f: seed.txt}")
        for before, name in zip(PREPARATION, PREPARATION[1:]):
            stage(name, f"${{{before}.x}}", "{}")
        stage("a", "${in.f} ${p4.x}", '{f: "in/${axis.n}.txt"}')
        stage("b", "${a.x}", "{}")
        stage("c", "${b.x}", "{}")
        (self.folder / "project.yaml").write_text("\n".join(lines) + "\n")
        for variable in ["REMATCH_STORE", "REMATCH_OUT"]:
            self.env.pop(variable, None)

    def output(self, job):
        stage, i = job[0], job[1:]
        place = job if stage == "p" else f"{stage}/n={i}"
        return self.folder / "out" / "project" / place / "x"

    def clean(self):
        super().clean()
        shutil.rmtree(self.folder / ".rematch", ignore_errors=True)

    @property
    def commands(self):
        command = lambda word: [self.program, word, "project.yaml", "--store", ".rematch", "--out", "out"]
        run = command("run")
        return {
            "cold": run, "noop": run, "change1": run, "touch1": run, "cutoff": run,
            "status": command("status"), "plan": command("plan"),
        }  # fmt: skip

    @staticmethod
    def ran(said):
        if "nothing to do" in said:
            return 0
        return int(re.findall(r"(\d[\d,]*) ran", said)[-1].replace(",", ""))


class Ninja(Project):
    name = "ninja"

    def write(self):
        rules = [f"rule {stage}\n  command = {shell(stage, '$in', '$out')}" for stage in PREPARATION + CHAIN]
        edges = [f"build out/{job}: {stage} {' '.join(inputs)}" for job, stage, inputs, _ in self.results()]
        (self.folder / "build.ninja").write_text("\n".join(rules + edges) + "\n")

    def clean(self):
        super().clean()
        (self.folder / ".ninja_log").unlink(missing_ok=True)

    @property
    def commands(self):
        run = [self.program]
        return {"cold": run, "noop": run, "change1": run, "touch1": run, "status": [*run, "-n"]}

    @staticmethod
    def ran(said):
        return int((re.findall(r"^\[(\d+)/\d+\]", said, re.M) or [0])[-1])


class Make(Project):
    """With -rR: a make that knows its built-in rules looks for RCS files of each source, which takes
    ten times as long as everything else that it does."""

    name = "make"

    def write(self):
        lines = ["all: " + " ".join(f"out/c{i}" for i in range(self.n))]
        for job, stage, inputs, _ in self.results():
            lines.append(f"out/{job}: {' '.join(inputs)}\n\t{shell(stage, '$^', '$@')}")
        (self.folder / "Makefile").write_text("\n".join(lines) + "\n")

    def adopt(self):
        # All that make knows are the times of files.
        self.clean()
        for job, _, _, text in self.results():
            self.output(job).write_text(text)
        return True

    @property
    def commands(self):
        run = [self.program, "-rR", f"-j{len(os.sched_getaffinity(0))}"]
        return {"cold": run, "noop": run, "change1": run, "touch1": run, "status": [*run, "-q"]}

    @staticmethod
    def ran(said):
        return len(re.findall(r"^sed ", said, re.M))


class Snakemake(Project):
    name = "snakemake"
    slow = True
    # It asks for the checksum of small files whose time changed.
    should_run = {**Project.should_run, "touch1": 0}

    def write(self):
        rules = [f'rule all:\n    input: expand("out/c{{n}}", n=range({self.n}))']

        def rule(name, inputs, output):
            command = shell(name, "{input}", "{output}")
            rules.append(f'rule {name}:\n    input: {inputs}\n    output: "{output}"\n    shell: "{command}"')

        for before, name in zip(["seed.txt"] + [f"out/{p}" for p in PREPARATION], PREPARATION):
            rule(name, f'"{before}"', f"out/{name}")
        rule("a", '"in/{n}.txt", "out/p4"', "out/a{n}")
        rule("b", '"out/a{n}"', "out/b{n}")
        rule("c", '"out/b{n}"', "out/c{n}")
        (self.folder / "Snakefile").write_text("\n".join(rules) + "\n")
        self.env["XDG_CACHE_HOME"] = str(self.folder / ".cache")

    def clean(self):
        super().clean()
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)

    @property
    def commands(self):
        run = [self.program, f"-c{len(os.sched_getaffinity(0))}"]
        return {"cold": run, "noop": run, "change1": run, "touch1": run, "status": [*run, "-n", "-q"]}

    @staticmethod
    def ran(said):
        # Its rule `all` counts as a job.
        return max(0, int((re.findall(r"^(\d+) of \d+ steps", said, re.M) or [0])[-1]) - 1)


class Dvc(Project):
    name = "dvc"
    slow = True
    should_run = {**Project.should_run, "touch1": 0}

    def write(self):
        self.env |= {
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.folder / ".config"),
        }
        lines = ["stages:"]

        def stage(name, inputs, output, each=False):
            deep = "    " if each else "  "
            if each:
                lines.append(f"  {name}:\n    foreach: [{', '.join(map(str, range(self.n)))}]\n    do:")
            else:
                lines.append(f"  {name}:")
            lines.append(f"{deep}  cmd: {json.dumps(shell(name, ' '.join(inputs), output))}")
            lines.append(f"{deep}  deps: {json.dumps(inputs)}\n{deep}  outs: [{json.dumps(output)}]")

        for before, name in zip(["seed.txt"] + [f"out/{p}" for p in PREPARATION], PREPARATION):
            stage(name, [before], f"out/{name}")
        stage("a", ["in/${item}.txt", "out/p4"], "out/a${item}", each=True)
        stage("b", ["out/a${item}"], "out/b${item}", each=True)
        stage("c", ["out/b${item}"], "out/c${item}", each=True)
        (self.folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
        self.init()

    def init(self):
        init = [self.program, "init", "--no-scm", "--quiet"]
        subprocess.run(init, cwd=self.folder, env=self.env, check=True)
        update = [self.program, "config", "core.check_update", "false"]
        subprocess.run(update, cwd=self.folder, env=self.env, check=True)

    def clean(self):
        super().clean()
        for folder in [".dvc", ".site"]:
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        (self.folder / "dvc.lock").unlink(missing_ok=True)
        (self.folder / ".dvcignore").unlink(missing_ok=True)
        self.init()

    def adopt(self):
        # dvc.lock, the outputs and the cache, as a run leaves them. A run takes 0.4 s a stage and
        # more with every stage, `dvc commit` hardly less: both write the whole dvc.lock each time.
        self.clean()
        known = {path: path.read_text() for path in [self.seed(), *map(self.input, range(self.n))]}
        known = {str(path.relative_to(self.folder)): text for path, text in known.items()}
        lines = ["schema: '2.0'", "stages:"]

        def files(what, paths):
            lines.append(f"    {what}:")
            for path in paths:
                text = known[path].encode()
                md5 = hashlib.md5(text).hexdigest()
                lines.append(f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: {len(text)}")
            return md5

        for job, stage, inputs, text in self.results():
            output = f"out/{job}"
            known[output] = text
            name = job if stage in PREPARATION else f"{stage}@{job[1:]}"
            lines.append(f"  {name}:\n    cmd: {shell(stage, ' '.join(inputs), output)}")
            files("deps", inputs)
            md5 = files("outs", [output])
            for place in [self.output(job), self.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]]:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        (self.folder / "dvc.lock").write_text("\n".join(lines) + "\n")
        # DVC must take it for its own; this also fills its memory of files' times.
        status = subprocess.run(self.commands["status"], cwd=self.folder, env=self.env, capture_output=True, text=True)
        if "up to date" not in status.stdout:
            raise SystemExit(f"dvc does not take the project as built:\n{status.stdout[-2000:]}{status.stderr[-2000:]}")
        return True

    @property
    def commands(self):
        run = [self.program, "repro"]
        return {
            "cold": run, "noop": run, "change1": run, "touch1": run, "cutoff": run,
            "status": [self.program, "status"],
        }  # fmt: skip

    @staticmethod
    def ran(said):
        return len(re.findall(r"^Running stage ", said, re.M))


TOOLS = [Rematch, Ninja, Make, Snakemake, Dvc]
