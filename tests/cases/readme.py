"""Runs the README's examples as they stand there, in a folder with a clip in.mkv.

An HTML comment before a block says how: `<!-- run -->` runs it (sh, python), `<!-- run: spec -->` runs a job document,
`<!-- run: cc ... -->` compiles and runs a C program, `<!-- from: FILE -->` wants its lines in that file, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import runners

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"<!-- (run|from)(?:: (.*?))? -->\n```(\w+)\n(.*?)```", re.S)
EXIT_CODE = re.compile(r"^\| (\d+) \| (.*) \|$", re.M)


def run(command: list[str], cwd: str, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    if done.returncode != 0:
        raise ValueError(f"{' '.join(command)[:200]} ended with {done.returncode}: {done.stderr.strip()[-600:]}")


def try_block(kind: str, how: str, language: str, text: str, cwd: str) -> None:
    cli = runners.folder("GS_CLI")
    if kind == "from":
        lines = iter(line.strip() for line in (ROOT / how).read_text().splitlines())
        for line in text.splitlines():
            if line.strip() and line.strip() not in lines:
                raise ValueError(f"{how} does not have, after the lines before it: {line}")
    elif how == "spec":
        path = Path(cwd) / "readme.json"
        path.write_text(text)
        run([str(cli), "transcode", "--spec", str(path)], cwd)
    elif how and how.startswith("cc "):
        stage = runners.staged()
        (Path(cwd) / "job.c").write_text(text)
        environment = {"PKG_CONFIG_PATH": f"{stage}/lib/pkgconfig", "LD_LIBRARY_PATH": f"{stage}/lib"}
        run(["sh", "-ec", how + " -o job $(pkg-config --cflags --libs ghoststream)"], cwd, **environment)
        run(["./job"], cwd, **environment)
    elif language == "sh":
        bin_ = Path(cwd) / "bin"
        bin_.mkdir()
        (bin_ / "ghoststream").symlink_to(cli)
        run(["bash", "-euc", text], cwd, PATH=f"{bin_}:{os.environ['PATH']}")
    elif language == "python":
        runners.python(Path(cwd))
        run([str(runners.folder("GS_TARGET_DIR") / "venv/bin/python"), "-c", text], cwd)
    else:
        raise ValueError(f"nobody knows how to run {language}")


def main() -> None:
    readme = (ROOT / "README.md").read_text()
    problems, passed = [], 0
    with tempfile.TemporaryDirectory() as cwd:
        clip = "-f lavfi -i testsrc2=s=640x360:r=25:d=3 -f lavfi -i sine=d=3 -c:v libx264 -preset veryfast -c:a aac in.mkv"
        run(["ffmpeg", "-v", "error", *clip.split()], cwd)
        for kind, how, language, text in BLOCK.findall(readme):
            name = f"the {language} block {how}".strip()
            try:
                try_block(kind, how, language, text, cwd)
                passed += 1
            except runners.Missing as missing:
                print(f"readme: SKIPPED: {name}: {missing}")
                if os.environ.get("GS_REQUIRE_PEERS") == "1":
                    problems.append(f"{name}: {missing}")
            except (ValueError, OSError) as wrong:
                problems.append(f"{name}: {wrong}")
    said = subprocess.run([runners.folder("GS_CLI"), "--help"], capture_output=True, text=True, check=True).stdout
    codes = re.findall(r"^ +(\d+)  (.*)$", said, re.M)
    if codes != EXIT_CODE.findall(readme):
        problems.append(f"the exit codes are not those of --help: {codes}")
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        if "://" not in link and not (ROOT / link).exists():
            problems.append(f"it links to {link}, which does not exist")
    for problem in problems:
        print(f"readme: FAIL: {problem}")
    print(f"readme: {passed} blocks work, {len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
