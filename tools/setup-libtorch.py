#!/usr/bin/env python3
"""Puts libtorch where .cargo/config.toml points: .libtorch/torch at the repository's root.

Three ways, the first that applies:
  LIBTORCH=PATH    link to a libtorch that is there already: the folder of an unpacked libtorch, or
                   of a Python installation's `torch` package. It must be version 2.11.
  an NVIDIA GPU    (or REMATCH_CUDA=1) the CUDA build with all it needs, about 2.7 GB on disk.
  otherwise        (or REMATCH_CUDA=0) what a CPU needs of it, about 0.5 GB on disk.

The last two come from the Python package index through pip, with the versions and checksums below;
pip's own settings (index, proxy, find-links) hold. Only headers and C++ libraries are kept, so any
Python from 3.8 on will do. Running this again costs nothing when everything is in place, and keeps
what an earlier run was told to set up.

    python3 tools/setup-libtorch.py [--force]
"""

import fcntl
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "2.11"  # what tch 0.24 binds

# Package, version, SHA-256 of the wheel for Linux on x86-64 (for torch: of the one for Python 3.11,
# whose C++ libraries serve any program).
TORCH = ("torch", "2.11.0", "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a")
# libtorch_cpu.so of this build refers to these two even where no GPU is.
CPU = [
    TORCH,
    ("nvidia-cuda-runtime", "13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    ("nvidia-cuda-cupti", "13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
]
# What torch 2.11.0 itself asks for, without its Python packages.
CUDA = CPU + [
    ("nvidia-cublas", "13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171"),
    ("nvidia-cuda-nvrtc", "13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"),
    ("nvidia-cudnn-cu13", "9.19.0.56", "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf"),
    ("nvidia-cufft", "12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3"),
    ("nvidia-cufile", "1.15.1.6", "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44"),
    ("nvidia-curand", "10.4.0.35", "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc"),
    ("nvidia-cusolver", "12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112"),
    ("nvidia-cusparse", "12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b"),
    ("nvidia-cusparselt-cu13", "0.8.0", "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd"),
    ("nvidia-nccl-cu13", "2.28.9", "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42"),
    ("nvidia-nvjitlink", "13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b"),
    ("nvidia-nvshmem-cu13", "3.4.5", "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80"),
    ("nvidia-nvtx", "13.0.85", "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4"),
]

# Which members of the wheels a set keeps.
CPU_MEMBERS = re.compile(
    r"torch/include/|torch/lib/(libc10|libtorch_cpu)\.so$|torch/lib/libgomp\.so|"
    r"nvidia/cu13/lib/(libcudart|libcupti)\.so\.13$|[^/]+\.dist-info/(.*/)?(LICENSE|NOTICE|License)[^/]*$"
)
CUDA_MEMBERS = re.compile(
    r"torch/include/|torch/lib/(?!libtorch_python|libshm)[^/]+\.so|"
    r"nvidia/[^/]+/lib/.*\.so|nvidia/(cu13|nccl)/include/|[^/]+\.dist-info/(.*/)?(LICENSE|NOTICE|License)[^/]*$"
)

SETS = {"cpu": (CPU, CPU_MEMBERS, "544 MB"), "cuda": (CUDA, CUDA_MEMBERS, "2.5 GB")}

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".libtorch"
LINK = HOME / "torch"


def fail(message):
    sys.exit(f"setup-libtorch: {message}")


def version_of(folder):
    """Version of the libtorch in a folder, or a sentence that says what is missing."""
    for name in ("include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"):
        header = folder / name
        if header.is_file():
            text = header.read_text(errors="replace")
            found = [re.search(rf"#define TORCH_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
            if all(found):
                missing = [f"lib/{lib}.so" for lib in ("libtorch", "libtorch_cpu", "libc10") if not (folder / "lib" / f"{lib}.so").exists()]
                if missing:
                    return None, f"{folder} has no {', '.join(missing)}"
                return ".".join(f.group(1) for f in found), None
    return None, f"{folder} has no include/torch/**/version.h; is it a libtorch folder, or the `torch` folder of a Python installation?"


def usable(folder):
    version, problem = version_of(folder)
    if version is None:
        return problem
    if version.rsplit(".", 1)[0] != VERSION:
        return f"{folder} holds libtorch {version}; this program needs {VERSION}"
    return None


def sees_gpu():
    if os.path.isdir("/proc/driver/nvidia/gpus") and os.listdir("/proc/driver/nvidia/gpus"):
        return True
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        listing = subprocess.run([tool, "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"GPU" in listing.stdout


def point_to(target):
    """Makes .libtorch/torch a link to `target`, in one step."""
    new = HOME / f".torch-{os.getpid()}"
    if new.is_symlink():
        new.unlink()
    new.symlink_to(target)
    if LINK.is_dir() and not LINK.is_symlink():
        fail(f"{LINK} is a folder that this script did not make; move it away, or name it: LIBTORCH={LINK}")
    os.replace(new, LINK)


def stub(lib):
    """An empty libtorch.so: the real one refers to the CUDA libraries, and nothing needs its few symbols."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        fail("no C compiler found; install one (Debian, Ubuntu: apt install build-essential)")
    command = [*compiler.split(), "-shared", "-o", str(lib / "libtorch.so"), "-x", "c", os.devnull]
    if subprocess.run(command, check=False).returncode != 0:
        fail(f"`{' '.join(command)}` failed; is the C compiler complete?")


def download(wheels, folder):
    """Fetches wheels with pip, which checks their SHA-256."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        fail(f"{sys.executable} has no pip; install it (Debian, Ubuntu: apt install python3-pip), or give a libtorch {VERSION}: LIBTORCH=/path/to/libtorch")
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest in wheels))
    # The wheels carry many names for "glibc, old enough"; pip takes only those that it is told.
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 29)] + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", "3.11", *(arg for tag in tags for arg in ("--platform", tag))]
    command += ["--require-hashes", "-r", str(requirements), "-d", str(folder)]
    if subprocess.run(command, check=False).returncode != 0:
        fail(f"pip could not download the wheels (its message is above); try again, or give a libtorch {VERSION}: LIBTORCH=/path/to/libtorch")
    return sorted(folder.glob("*.whl"))


def install(name):
    wheels, members, size = SETS[name]
    print(f"setup-libtorch: fetching libtorch {TORCH[1]} ({name} set, {size} to download)", flush=True)
    new = pathlib.Path(tempfile.mkdtemp(prefix="new-", dir=HOME))
    try:
        downloads = new / "wheels"
        downloads.mkdir()
        for wheel in download(wheels, downloads):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if members.match(member):
                        archive.extract(member, new)
            wheel.unlink()
        shutil.rmtree(downloads)
        if name == "cpu":
            stub(new / "torch" / "lib")
        problem = usable(new / "torch")
        if problem:
            fail(f"the downloaded wheels do not make a libtorch: {problem}")
        os.chmod(new, 0o755)
        place = HOME / name
        if place.exists():
            shutil.rmtree(place)
        os.replace(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    point_to(pathlib.Path(name) / "torch")


def main():
    force = "--force" in sys.argv[1:]
    given = os.environ.get("LIBTORCH")
    wish = os.environ.get("REMATCH_CUDA", "")
    if wish not in ("", "0", "1"):
        fail(f"REMATCH_CUDA={wish}: expected 1 for the CUDA set or 0 for the CPU set")
    HOME.mkdir(exist_ok=True)
    with open(HOME / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in HOME.glob("new-*"):  # of a run that was killed; we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        if given and pathlib.Path(given).absolute() != LINK:
            folder = pathlib.Path(given).expanduser().resolve()
            problem = usable(folder)
            if problem:
                fail(f"LIBTORCH={given} cannot be used: {problem}")
            point_to(folder)
            print(f"setup-libtorch: .libtorch/torch links to {folder}")
            return
        linked = LINK.is_symlink() and os.readlink(LINK)
        own = linked in ("cpu/torch", "cuda/torch")
        if linked and not own and not force and not wish and usable(LINK) is None:
            return  # one that the user gave earlier
        chosen = linked == "cuda/torch" and usable(LINK) is None  # on request earlier, perhaps
        name = "cuda" if wish == "1" or (wish != "0" and (chosen or sees_gpu())) else "cpu"
        if not force and usable(HOME / name / "torch") is None:
            if linked != f"{name}/torch":
                point_to(pathlib.Path(name) / "torch")
                print(f"setup-libtorch: .libtorch/torch is the {name} set")
            return
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            fail(
                f"no libtorch is pinned for {platform.system()} on {platform.machine()}; give one of version {VERSION}:\n"
                "    LIBTORCH=$(python3 -c 'import torch; print(torch.__path__[0])') make setup"
            )
        install(name)
        print(f"setup-libtorch: .libtorch/torch is the {name} set")


if __name__ == "__main__":
    main()
