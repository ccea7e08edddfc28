"""Runs the table of jobs (cases.json) from every language and checks what came out."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checks
import media
import runners
from media import Wrong

HERE = Path(__file__).resolve().parent


def make_sources(table: dict[str, str], folder: Path) -> None:
    """Makes the clips with FFmpeg, unless they are there from the same command."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, settings in table.items():
        path, note = folder / name, folder / f"{name}.made"
        if path.exists() and note.exists() and note.read_text() == settings:
            continue
        words = [str(fill(w, folder)) for w in shlex.split(settings)]
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *words, str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"cases: FAIL: the source {name} cannot be made: {done.stderr}")
        note.write_text(settings)


def fill(value: Any, sources: Path) -> Any:
    """A document with the names of sources and of this folder filled in."""
    if isinstance(value, dict):
        return {k: fill(v, sources) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, sources) for v in value]
    if isinstance(value, str) and value.startswith("{"):
        name, _, rest = value[1:].partition("}")
        return str(HERE if name == "cases" else sources / name) + rest
    return value


def fingerprint(root: Path) -> str:
    """A checksum of every file below a folder."""
    sums = [(str(p.relative_to(root)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in sorted(root.rglob("*")) if p.is_file()]
    return repr(sums)


def judge(case: dict[str, Any], root: Path, code: int, said: str, sources: Path) -> None:
    """Raises `Wrong` unless the run did what the table says."""
    if "refused" in case:
        if code == 0 or code < 0:
            raise Wrong(f"it should be refused, but ended with {code}")
        for word in case["refused"]:
            if word not in said:
                raise Wrong(f"the message does not name {word}: {said}")
        left = [str(p.relative_to(root)) for p in root.rglob("*")]
        if left:
            raise Wrong(f"it left {left} behind")
        return
    if "known" in case and code != 0:
        print(f"cases: KNOWN DEFECT: {case['known']} ({said})")
        return
    if "known" in case:
        print(f"cases: A KNOWN DEFECT IS GONE; take `known` out of the table: {case['known']}")
    if code != 0:
        raise Wrong(f"it ended with {code}: {said}")
    for expect in case["expect"]:
        known, wrong = expect.get("known"), None
        try:
            checks.check(expect, root, sources)
        except Wrong as problem:
            wrong = str(problem)
        except (AssertionError, KeyError, ValueError, IndexError) as problem:
            wrong = f"{type(problem).__name__}: {problem}"
        if wrong and known:
            print(f"cases: KNOWN DEFECT: {known} ({wrong})")
        elif wrong:
            raise Wrong(f"{expect['path']}: {wrong}")
        elif known:
            print(f"cases: A KNOWN DEFECT IS GONE; take `known` out of the table: {known}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE")
    parser.add_argument("--runner", action="append", help="only this one: " + ", ".join(runners.RUNNERS))
    options = parser.parse_args()

    table = json.loads((HERE / "cases.json").read_text())
    work = Path(os.environ["GS_TARGET_DIR"]) / "cases"
    sources = work / "sources"
    make_sources(table["sources"], sources)

    require = os.environ.get("GS_REQUIRE_PEERS") == "1"
    problems: list[str] = []
    if media.NEWEST is None:
        print("cases: SKIPPED: decoding with FFmpeg 9, which is missing (tests/setup/setup.sh test)")
        if require:
            problems.append("FFmpeg 9 is required")
    ready: dict[str, Callable[[Path, Path], tuple[int, str]]] = {}
    for name in options.runner or runners.RUNNERS:
        try:
            ready[name] = runners.RUNNERS[name](work)
        except runners.Missing as missing:
            print(f"cases: SKIPPED: {name}: {missing}")
            if require or options.runner:
                problems.append(f"{name} is required: {missing}")

    passed = 0
    for name, case in table["cases"].items():
        if options.names and name not in options.names:
            continue
        verdicts: dict[str, str] = {}
        begin = time.monotonic()
        for runner, run in ready.items():
            root = work / "out" / name / runner
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            spec = root.with_name(runner + ".json")
            spec.write_text(json.dumps(fill({k: v for k, v in case.items() if k not in ("expect", "refused", "known")}, sources)))
            try:
                code, said = run(spec, root)
                # What is byte for byte an output that was checked needs no second look.
                mark = f"{fingerprint(root)} {code}" if "refused" not in case else ""
                if not mark or mark not in verdicts.values():
                    judge(case, root, code, said, sources)
                    verdicts[runner] = mark
                passed += 1
            except Wrong as wrong:
                problems.append(f"{name} by {runner}: {wrong}")
            except runners.Hangs as where:
                problems.append(f"{name} by {runner}: it hangs:\n{where}")
        print(f"cases: {name}: {time.monotonic() - begin:.1f} s", flush=True)
    for problem in problems:
        print(f"cases: FAIL: {problem}")
    print(f"cases: {passed} runs as the table says, {len(problems)} problems; from {', '.join(ready) or 'nothing'}")
    sys.exit(bool(problems) or not passed)


if __name__ == "__main__":
    main()
