"""Clips that FFmpeg makes, so that neither their bytes nor their facts come from what is tested."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

# A shell that runs the suite in the background has its children ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


def peer(name: str) -> types.ModuleType:
    """A module that checks what is tested; without it tests are skipped, or fail with GS_REQUIRE_PEERS=1."""
    if os.environ.get("GS_REQUIRE_PEERS") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name}, the peer that checks, is missing")


def ffmpeg(*arguments: str | os.PathLike[str]) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(clips: Path) -> Path:
    """60 frames of 320x180 at 25/s with B-frames, three groups of pictures, and stereo sound."""
    path = clips / "clip.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2.4", "-f", "lavfi", "-i", "sine=440:r=48000:d=2.4"),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-bf", "3"),
        *("-c:a", "aac", "-ac", "2", path),
    )
    return path


@pytest.fixture(scope="session")
def long_clip(clips: Path) -> Path:
    """Enough work to be interrupted in."""
    path = clips / "long.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=60", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "ultrafast", path),
    )
    return path


def python(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]


def probe(path: Path, entries: str) -> list[str]:
    """What ffprobe says."""
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "csv=p=0", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def psnr(a, b) -> float:  # type: ignore[no-untyped-def]
    import numpy

    error = numpy.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * numpy.log10(255**2 / error))
