"""Questions about media files, answered by ffprobe and FFmpeg."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy

#: The newest FFmpeg there is: it decodes everything a second time.
NEWEST = os.environ.get("GS_FFMPEG9")


class Wrong(Exception):
    """An output is not what the table says."""


def call(*command: str, cwd: Path | None = None) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, cwd=cwd)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command[:1])} fails on it: {said[-400:]}")
    return done.stdout


def probe(path: Path, *what: str) -> dict[str, Any]:
    """ffprobe's JSON, its complaints being errors."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", *what, "-of", "json", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )
    if done.returncode != 0 or done.stderr:
        raise Wrong(f"ffprobe on {path.name}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return json.loads(done.stdout)


def streams(path: Path) -> dict[str, Any]:
    return probe(path, "-count_frames", "-show_streams", "-show_format")


def decodes(path: Path) -> None:
    """Every stream decodes, any complaint being an error."""
    for tool in ("ffmpeg", NEWEST):
        if tool is None:
            continue
        command = [tool, "-nostdin", "-v", "error", "-xerror", "-i", str(path), "-map", "0:v?", "-map", "0:a?", "-f", "null", "-"]
        done = subprocess.run(command, capture_output=True, timeout=120)
        if done.returncode != 0 or done.stderr:
            name = "FFmpeg 9" if tool == NEWEST else "ffmpeg"
            raise Wrong(f"{name} does not decode {path.name}: {done.stderr.decode(errors='replace').strip()[-400:]}")


def packets(path: Path, stream: str = "v:0") -> list[dict[str, Any]]:
    """Time, size and flags of the packets of a stream, with a checksum of each, in the order of the file."""
    what = ("-select_streams", stream, "-show_data_hash", "adler32", "-show_entries", "packet=pts_time,dts_time,size,flags,data_hash")
    return probe(path, *what)["packets"]


def psnr(path: Path, reference: Path, skip: int, filters: str) -> float:
    """Average PSNR in dB of the pictures of `path` against those of `reference` from number `skip`, one by one."""
    number = "settb=1/1000,setpts=N*10"
    chain = f"trim=start_frame={skip},{filters + ',' if filters else ''}{number}"
    graph = f"[0:v:0]{number}[a];[1:v:0]{chain}[b];[a][b]psnr=shortest=1"
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "info", "-i", str(path), "-i", str(reference), "-lavfi", graph, "-fps_mode", "passthrough", "-f", "null", "-"],
        capture_output=True,
        timeout=120,
    )
    said = done.stderr.decode(errors="replace")
    if done.returncode != 0 or "average:" not in said:
        raise Wrong(f"PSNR cannot be measured: {said.strip()[-400:]}")
    return float(said.rsplit("average:", 1)[1].split()[0])


def picture(path: Path, width: int, height: int) -> numpy.ndarray[Any, Any]:
    """The first picture as height x width x (Y, Cb, Cr) code values, without any conversion but chroma repetition."""
    command = ("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo")
    form = probe(path, "-select_streams", "v:0", "-show_entries", "stream=pix_fmt")["streams"][0]["pix_fmt"]
    data = numpy.frombuffer(call(*command, "-"), numpy.uint8)
    if form in ("yuv444p", "yuvj444p"):
        return data.reshape(3, height, width).transpose(1, 2, 0).astype(int)
    if form not in ("yuv420p", "yuvj420p"):
        raise Wrong(f"the picture is {form}")
    luma = data[: width * height].reshape(height, width)
    chroma = data[width * height :].reshape(2, height // 2, width // 2).repeat(2, 1).repeat(2, 2)
    return numpy.dstack([luma, chroma[0], chroma[1]]).astype(int)


def flash(path: Path) -> float:
    """When the first bright picture is shown."""
    text = call(
        "ffmpeg", "-nostdin", "-v", "error", "-copyts", "-i", str(path), "-map", "0:v:0",
        "-vf", "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-f", "null", "-",
    ).decode()  # fmt: skip
    time = None
    for line in text.splitlines():
        if line.startswith("frame:"):
            time = float(line.split("pts_time:")[1])
        elif time is not None and float(line.split("=")[1]) > 120:
            return time
    raise Wrong("no bright picture")


def beep(path: Path) -> float:
    """When the sound begins."""
    first = probe(path, "-select_streams", "a:0", "-show_entries", "frame=pts_time,nb_samples", "-read_intervals", "%+2")["frames"]
    start = float(next(f["pts_time"] for f in first if "pts_time" in f))
    raw = call("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "f32le", "-")
    loud = numpy.abs(numpy.frombuffer(raw, numpy.float32)) > 0.1
    if not loud.any():
        raise Wrong("no sound")
    return start + int(loud.argmax()) / 48000
