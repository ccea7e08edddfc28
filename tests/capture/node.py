#!/usr/bin/env python3
"""What desktops give through PipeWire and GStreamer does not: the pointer beside the picture, which is drawn by us, and
DMA-BUFs with modifiers. screen_standin.c is the desktop; without a GPU its DMA-BUFs are sealed memory in rows."""

import json
import os
import pathlib
import subprocess
import sys

import numpy

from session import Session, skip, wait_for

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"]) / "node"
HERE = pathlib.Path(__file__).parent
failed = []


def check(name: str, good: bool, said: object = "") -> None:
    print(f"    {'ok' if good else 'FAILED'}  {name}{'' if good else f': {said}'}", flush=True)
    if not good:
        failed.append(name)


def build() -> pathlib.Path:
    """The stand-in."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpipewire-0.3"], capture_output=True, text=True)
    if flags.returncode != 0:
        skip("node.py", "libpipewire-0.3-dev")
    out = WORK / "screen_standin"
    subprocess.run(["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", out, HERE / "screen_standin.c",
                    *flags.stdout.split()], check=True)
    return out


class Desktop:
    """A stand-in that runs, and what it says."""

    def __init__(self, desk: Session, program: pathlib.Path, name: str, *how: object):
        self.desk, self.name = desk, name
        self.process = desk.spawn([program, name, *how], log=name)
        self.node = wait_for(f"node {name}", lambda: desk.nodes(node_name=name))[0]["id"]

    def record(self, seconds: float, *more: str, query: str = "") -> tuple[subprocess.CompletedProcess, pathlib.Path]:
        path = WORK / f"{self.name}.mkv"
        path.unlink(missing_ok=True)
        done = self.desk.run([CLI, "transcode", f"screen:?backend=pipewire&node={self.node}&fps=30{query}", path,
                              "--events", "json", "--encoder", "libx264", "--crf", "4", "--duration", str(seconds), *more],
                             check=False)
        return done, path

    def said(self) -> str:
        return self.desk.log(self.name)

    def end(self) -> None:
        self.desk.stop(self.process)


def pictures(path: pathlib.Path) -> numpy.ndarray:
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24",
                          "-"], capture_output=True, check=True).stdout
    return numpy.frombuffer(raw, numpy.uint8).reshape(-1, 180, 320, 3)


def warnings(done: subprocess.CompletedProcess) -> list[tuple[str, str]]:
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [(e["code"], e["message"]) for e in events if e["type"] == "warning"]


def near(pixel: numpy.ndarray, *colour: int) -> bool:
    return bool(numpy.abs(pixel.astype(int) - colour).max() <= 24)


BLUE, RED, MIXED = (0, 0, 255), (255, 0, 0), (128, 0, 127)


def marks(picture: numpy.ndarray, x: int, y: int) -> bool:
    """Whether the pointer's left half and right half are at this place of their upper left corner, and nothing beside it."""
    return near(picture[y + 8, x + 4], *RED) and near(picture[y + 8, x + 12], *MIXED) and near(picture[y + 8, x + 20], *BLUE)


def pointer(desk: Session, program: pathlib.Path) -> None:
    shown = Desktop(desk, program, "pointer", "pointer")
    done, path = shown.record(2.5)
    seen = pictures(path) if done.returncode == 0 else []
    check("a node with a pointer beside the picture is recorded", len(seen) in (74, 75), (done.stderr, len(seen)))
    if len(seen):
        # The hot spot is 4 pixels from the left of it and 2 from its top.
        check("the pointer is drawn where its hot spot is", marks(seen[3], 100, 50), seen[3][58, 96:124].tolist())
        check("where only the pointer moves, what it covered comes back", marks(seen[-1], 200, 100)
              and near(seen[-1][58, 104], *BLUE), (seen[-1][108, 200:224:4].tolist(), seen[-1][58, 104].tolist()))
    check("and nothing is warned of", warnings(done) == [], warnings(done))
    done, path = shown.record(1, query="&cursor=0")
    seen = pictures(path) if done.returncode == 0 else numpy.zeros((1, 180, 320, 3))
    check("without the pointer there is none", all(near(seen[3][58, x], *BLUE) for x in range(96, 124)), done.stderr)
    part = "&region=90,40 60x40"
    done, path = shown.record(1, query=part)
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-frames:v", "4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                         capture_output=True).stdout
    seen = numpy.frombuffer(raw, numpy.uint8).reshape(-1, 40, 60, 3)
    check("in a part of the picture it is where it was", len(seen) == 4 and marks(seen[3], 10, 10), done.stderr)
    shown.end()


def rows(desk: Session, program: pathlib.Path) -> None:
    shown = Desktop(desk, program, "rows", "linear", "pointer")
    done, path = shown.record(1)
    seen = pictures(path) if done.returncode == 0 else []
    check("DMA-BUFs in rows are read where there is nothing else", len(seen) in (29, 30) and near(seen[-1][10, 10], *BLUE)
          and marks(seen[3], 100, 50), (done.stderr, shown.said()))
    said = warnings(done)
    check("which is told", any(code == "transfer" and "DMA-BUF" in text for code, text in said), said)
    check("after a modifier was picked", "asked 0" in shown.said() and "agreed dmabuf 0" in shown.said(), shown.said())
    done, _ = shown.record(1, query="&dmabuf=0")
    # PipeWire either takes the stream away or never links it.
    check("unless they are not wanted", done.returncode in (4, 6) and not (WORK / "rows.mkv").exists()
          and "without DMA-BUFs" in done.stderr, (done.returncode, done.stdout[-500:], done.stderr))
    shown.end()


def tiles(desk: Session, program: pathlib.Path) -> None:
    pods = WORK / "pods"
    pods.mkdir(exist_ok=True)
    shown = Desktop(desk, program, "tiles", "tiled", "pods", pods)
    done, path = shown.record(1)
    seen = pictures(path) if done.returncode == 0 else []
    check("where host memory is there too it is taken", len(seen) in (29, 30) and near(seen[-1][10, 10], *BLUE)
          and "agreed memory" in shown.said() and "dmabuf" not in shown.said(), (done.stderr, shown.said()))
    check("and nothing is warned of", warnings(done) == [], warnings(done))
    shown.end()


def numbers(desk: Session, program: pathlib.Path) -> None:
    shown = Desktop(desk, program, "numbers", "numbers")
    done, path = shown.record(3)
    seen = pictures(path) if done.returncode == 0 else []
    found = [sum(int(p[10, x * 20 + 10].mean() > 128) << (15 - x) for x in range(16)) for p in seen]
    check("pictures are in their order", len(found) in (89, 90) and all(a <= b for a, b in zip(found, found[1:])), found)
    share = len(set(found)) / max(max(found, default=0) - min(found, default=0) + 1, 1)
    check("nearly all of them", share > 0.8, f"{share:.2f} of {found}")
    shown.end()


def changes(desk: Session, program: pathlib.Path) -> None:
    shown = Desktop(desk, program, "resize", "resize")
    done, path = shown.record(2.5)
    said = " ".join(text for _, text in warnings(done))
    seen = pictures(path) if done.returncode == 0 else []
    check("a picture of another size is told of, and the recording goes on", len(seen) in (74, 75)
          and "is now 160x90, it was 320x180" in said and near(seen[-1][90, 160], *BLUE), (done.stderr, said, shown.said()))
    shown.end()
    shown = Desktop(desk, program, "pause", "pause", "numbers")
    done, path = shown.record(3.5)
    seen = pictures(path) if done.returncode == 0 else []
    found = [sum(int(p[10, x * 20 + 10].mean() > 128) << (15 - x) for x in range(16)) for p in seen]
    still = max((found.count(n) for n in set(found)), default=0)
    check("while a node pauses its last picture is kept, and then it goes on", len(found) in (104, 105) and still >= 20
          and len(set(found[-20:])) > 5, found)
    shown.end()


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    program = build()
    with Session() as desk:
        pointer(desk, program)
        rows(desk, program)
        tiles(desk, program)
        numbers(desk, program)
        changes(desk, program)
    print(f"    {len(failed)} failed" if failed else "    all as it should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
