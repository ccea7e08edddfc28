"""VMAF and PSNR of every rung of a ladder against its source, by FFmpeg 9's libvmaf."""

import json
import pathlib
import re
import subprocess


def variants(folder: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    """(height, media playlist) of a multivariant playlist's variants, tallest first."""
    master = next(folder.rglob("master.m3u8"))
    found = []
    height = None
    for line in master.read_text().splitlines():
        if line.startswith("#EXT-X-STREAM-INF:"):
            size = re.search(r"RESOLUTION=\d+x(\d+)", line)
            height = int(size.group(1)) if size else 0
        elif line and not line.startswith("#") and height is not None:
            found.append((height, master.parent / line))
            height = None
    return sorted(found, key=lambda v: -v[0])


def compare(ffmpeg: str, made: pathlib.Path, source: pathlib.Path, log: pathlib.Path) -> dict:
    """VMAF and luma PSNR with `made` scaled to the source's size, every fifth frame; and the frames compared."""
    graph = (
        "[0:v]setpts=PTS-STARTPTS,scale=1920:1080:flags=bicubic[made];[1:v]setpts=PTS-STARTPTS[source];"
        f"[made][source]libvmaf=feature=name=psnr:n_subsample=5:n_threads=2:log_fmt=json:log_path={log}"
    )
    command = [ffmpeg, "-nostdin", "-v", "error", "-xerror", "-i", str(made), "-i", str(source)]
    subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], check=True, stdin=subprocess.DEVNULL)
    result = json.loads(log.read_text())
    pooled = result["pooled_metrics"]
    return {
        "vmaf": pooled["vmaf"]["mean"],
        "vmaf_min": pooled["vmaf"]["min"],
        "psnr_y": pooled["psnr_y"]["mean"],
        "frames": result["frames"][-1]["frameNum"] + 1,
    }


def bitrate(playlist: pathlib.Path) -> float:
    """kbit/s of a media playlist's segments as they lie on disk."""
    size = 0
    seconds = 0.0
    for line in playlist.read_text().splitlines():
        if line.startswith("#EXTINF:"):
            seconds += float(line[8:].split(",")[0])
        elif line and not line.startswith("#"):
            size += (playlist.parent / line).stat().st_size
    return size * 8 / seconds / 1000


def ladder(ffmpeg: str, folder: pathlib.Path, source: pathlib.Path) -> list[dict]:
    """One row a rung."""
    rows = []
    for height, playlist in variants(folder):
        row = compare(ffmpeg, playlist, source, folder / f"vmaf-{height}.json")
        rows.append({"height": height, "kbps": bitrate(playlist), **row})
    return rows
