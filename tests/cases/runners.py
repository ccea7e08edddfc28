"""The languages that a job document is run from. Each runner takes a document and a working directory and gives the exit
code and what was said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent

Run = Callable[[Path, Path], tuple[int, str]]


class Missing(Exception):
    """What a runner needs is not there."""


class Hangs(Exception):
    """A program does not end; where its threads are."""


def stacks(pid: int) -> str:
    """Where the threads of a process are: by gdb where it is installed, else what the kernel says that they wait in."""
    if shutil.which("gdb"):
        said = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 14"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        lines = [line for line in said.stdout.splitlines() if line.startswith(("#", "Thread"))]
        if lines:
            return "\n".join(lines)
    tasks = sorted(Path(f"/proc/{pid}/task").glob("*"))
    return "\n".join(f"{(t / 'comm').read_text().strip()}: {(t / 'wchan').read_text()}" for t in tasks)


def program(*command: str) -> Run:
    """Runs a program with the document as its last argument."""

    def run(spec: Path, root: Path) -> tuple[int, str]:
        with subprocess.Popen([*command, str(spec)], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as child:  # fmt: skip
            try:
                _, said = child.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                try:
                    raise Hangs(stacks(child.pid)) from None
                finally:
                    child.kill()
            return child.returncode, said.strip()

    return run


def folder(name: str) -> Path:
    """A path that set-up or the build left in the environment."""
    if name not in os.environ:
        raise Missing(f"{name} is not set; run `make test`")
    return Path(os.environ[name])


def command(_work: Path) -> Run:
    path = folder("GS_CLI")
    if not path.exists():
        raise Missing(f"{path} is not built")
    return program(str(path), "--quiet", "transcode", "--spec")


def python(_work: Path) -> Run:
    path = folder("GS_TARGET_DIR") / "venv/bin/python"
    if not path.exists() or subprocess.run([path, "-c", "import ghoststream"], cwd="/", capture_output=True).returncode:
        raise Missing("the package is not installed in target/venv; `make wheel` does it")
    return program(str(path), str(HERE / "run_spec.py"))


def staged() -> Path:
    stage = folder("GS_STAGE")
    if not (stage / "lib/pkgconfig/ghoststream.pc").exists():
        raise Missing(f"there is no installation in {stage}; `make stage` makes it")
    return stage


def build(name: str, work: Path, *arguments: str) -> None:
    """Compiles a runner, which must work without a word."""
    work.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(arguments, cwd=work, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 or done.stderr.strip():
        sys.exit(f"cases: FAIL: the {name} runner does not compile: {done.stderr}")


def c(work: Path) -> Run:
    stage = staged()
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("there is no C compiler")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "ghoststream"],
        env={**os.environ, "PKG_CONFIG_PATH": f"{stage}/lib/pkgconfig"},
        capture_output=True,
        text=True,
        check=True,
    )
    build("C", work, compiler, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", "run_spec_c",
          str(HERE / "run_spec.c"), *flags.stdout.split(), f"-Wl,-rpath,{stage}/lib")  # fmt: skip
    return program(str(work / "run_spec_c"))


def zig(work: Path) -> Run:
    stage, interpreter = staged(), os.environ.get("GS_PYTHON", "python3")
    if subprocess.run([interpreter, "-c", "import ziglang"], capture_output=True).returncode:
        raise Missing("the package ziglang is missing (tests/setup/setup.sh test)")
    build("Zig", work, interpreter, "-m", "ziglang", "build-exe", "--name", "run_spec_zig", "--cache-dir", str(work / "zig"),
          "-I", f"{stage}/include", "-L", f"{stage}/lib", "-rpath", f"{stage}/lib", "-lc", "-lghoststream",
          str(HERE / "run_spec.zig"))  # fmt: skip
    return program(str(work / "run_spec_zig"))


def rust(_work: Path) -> Run:
    path = folder("GS_BUILD_DIR") / "run_spec"
    if not path.exists():
        raise Missing(f"{path} is not built; `cargo build -p ghoststream-examples` does it")
    return program(str(path))


#: The runners by name.
RUNNERS: dict[str, Callable[[Path], Run]] = {"command": command, "c": c, "python": python, "zig": zig, "rust": rust}
