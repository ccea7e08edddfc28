#!/usr/bin/env python3
"""A screen whose pictures are in DMA-BUFs is encoded by NVENC without the host touching a pixel: PipeWire's stand-in of a desktop
(screen_standin.c) offers what NVIDIA's driver does, EGL and the driver are those of tests/standin. Where one of them is missing, or the
host has to draw, pictures go through host memory, which is told."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import node
from node import Desktop, build, check
from session import Session, skip

CLI = os.environ["GS_CLI"]
ROOT = pathlib.Path(__file__).parent.parent.parent
STANDIN = pathlib.Path(os.environ["GS_TARGET_DIR"]) / "standin"
WORK = node.WORK = pathlib.Path(os.environ["GS_WORK"]) / "gpu"
BLUE = (0, 0, 255)


class Recording:
    """What a node gives to NVENC for a second: events, pictures and the driver's log."""

    def __init__(self, desk: Session, shown: Desktop, name: str, egl: bool = True, query: str = "&cursor=0",
                 seconds: int = 1):
        path, log = WORK / f"{name}.mkv", WORK / f"{name}.jsonl"
        for old in (path, log):
            old.unlink(missing_ok=True)
        libraries = f"{STANDIN}:{STANDIN}/egl" if egl else str(STANDIN)
        self.done = desk.run(
            ["env", f"LD_LIBRARY_PATH={libraries}", f"GS_STANDIN_LOG={log}", CLI, "transcode",
             f"screen:?backend=pipewire&node={shown.node}&fps=30{query}", path, "--events", "json", "--encoder", "nvenc",
             "--duration", seconds],
            check=False,
        )
        self.count = 30 * seconds
        self.warnings = node.warnings(self.done)
        self.pictures: list[tuple[int, int, int]] = []
        if self.done.returncode == 0:
            # As players see them: by the colours that the file says.
            raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt",
                                  "rgb24", "-"], capture_output=True, check=True).stdout
            size = 320 * 180 * 3
            middle = (90 * 320 + 160) * 3
            self.pictures = [tuple(raw[i + middle : i + middle + 3]) for i in range(0, len(raw) - size + 1, size)]
        self.calls: collections.Counter[str] = collections.Counter()
        self.copied: collections.Counter[str] = collections.Counter()
        self.wrong = []
        for line in log.read_text().splitlines() if log.exists() else []:
            entry = json.loads(line)
            if "violation" in entry or "leak" in entry:
                self.wrong.append(entry)
                continue
            self.calls[entry["call"]] += 1
            if "kind" in entry:
                self.copied[entry["kind"]] += entry["bytes"]

    def is_blue(self) -> bool:
        return self.count - 1 <= len(self.pictures) <= self.count and all(abs(a - b) <= 8 for p in self.pictures for a, b in zip(p, BLUE))

    def said(self, code: str, text: str) -> bool:
        return any(c == code and text in message for c, message in self.warnings)

    def __str__(self) -> str:
        shown = self.pictures[:2], len(self.pictures)
        return f"{self.done.stderr[-600:]} {self.warnings} {shown} {dict(self.copied)} {self.wrong[:3]}"


def main() -> int:
    made = subprocess.run([ROOT / "tests/standin/build.sh", STANDIN], capture_output=True, text=True)
    if made.returncode != 0 or not (STANDIN / "egl/libEGL.so.1").exists():
        print(made.stderr[-400:])
        skip("gpu.py", "what the stand-in driver is built from, or libEGL.so.1,")
    WORK.mkdir(parents=True, exist_ok=True)
    program = build()
    with Session() as desk:
        shown = Desktop(desk, program, "tiles", "tiled")
        r = Recording(desk, shown, "tiles")
        check("a desktop's DMA-BUFs are encoded", r.is_blue(), r)
        check("in the arrangement that the GPU reads", "agreed dmabuf 0x300000000606014" in shown.said(), shown.said())
        check("without a byte between host and device", not (r.copied["HtoD"] or r.copied["DtoH"] or r.copied["HtoH"]), r)
        check("by textures that were shared once", r.calls["cuGraphicsGLRegisterImage"] == 2
              and r.calls["cuGraphicsMapResources"] >= 5, r.calls)
        check("no rule of the driver is broken, nothing is kept, and nothing is warned of", not r.wrong and r.warnings == [], r)

        r = Recording(desk, shown, "pointer", query="")
        check("where the host draws the pointer, pictures go through its memory, which is told",
              r.is_blue() and r.said("transfer", "drawn on the host") and "agreed memory" in shown.said(), r)
        r = Recording(desk, shown, "without", egl=False)
        check("without such an EGL too", r.is_blue() and r.said("transfer", "EGL"), r)
        shown.end()

        shown = Desktop(desk, program, "still", "tiled", "pause")
        r = Recording(desk, shown, "still", seconds=3)
        check("a picture that is shown on is given again on the GPU, too", r.is_blue() and not r.wrong and r.warnings == []
              and not (r.copied["HtoD"] or r.copied["DtoH"]), r)
        shown.end()

        shown = Desktop(desk, program, "memory", "memory")
        r = Recording(desk, shown, "memory")
        check("what a node has in host memory goes through it, which is told", r.is_blue() and r.copied["HtoD"] > 0
              and r.said("transfer", "the node gives no DMA-BUFs") and not r.wrong, r)
        shown.end()

        shown = Desktop(desk, program, "moves", "tiled", "moves")
        r = Recording(desk, shown, "moves", seconds=2)
        check("a node that gives host memory later is followed, which is told", r.is_blue()
              and r.said("transfer", "in host memory now") and r.copied["HtoD"] > 0 and not r.wrong, r)
        shown.end()

        shown = Desktop(desk, program, "rows", "linear")
        r = Recording(desk, shown, "rows")
        check("an arrangement that the GPU does not read is read by the host, which is told",
              r.is_blue() and r.said("fallback", "the GPU does not take the screen's pictures") and not r.wrong, r)
        shown.end()
    print(f"    {len(node.failed)} failed" if node.failed else "    all as it should be")
    return 1 if node.failed else 0


if __name__ == "__main__":
    sys.exit(main())
