#!/usr/bin/env python3
"""Colour and HDR metadata through the engine into the stream, as FFmpeg reads them there: HDR10's mastering display and light
levels with key pictures and no others, HLG, BT.709, full range, and where chroma lies."""

import json
import re
import subprocess

from engine import clean, ffmpeg, job, output
from standin import WORK, check, equal, finish

SIZE = "testsrc2=size=320x180:rate=25:duration=2"
DISPLAY = {"red": [0.68, 0.32], "green": [0.265, 0.69], "blue": [0.15, 0.06], "white": [0.3127, 0.329],
           "min_luminance": 0.005, "max_luminance": 1000}
HDR = {"mastering_display": DISPLAY, "max_cll": 900, "max_fall": 300}
TRACE = {
    "hevc": (r"Mastering Display Colour Volume", r"Content Light Level Information"),
    "h264": (r"Mastering Display Colour Volume", r"Content Light Level Information"),
    # The type of a metadata OBU: 2 is a mastering display, 1 light levels.
    "av1": (r"metadata_type\s+= 2$", r"metadata_type\s+= 1$"),
}


def clip(name, pixels, *colour):
    path = f"{WORK}/{name}.mkv"
    ffmpeg("-f", "lavfi", "-i", f"{SIZE},format={pixels}", "-c:v", "ffv1", "-level", "3", *colour, path)
    return path


def bt2020(transfer):
    return ["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc", "-color_range", "tv"]


def bare(path, codec):
    """The elementary stream alone: what a container says of it must not count."""
    form, ending = ("obu", "obu") if codec == "av1" else (codec, codec)
    ffmpeg("-i", path, "-c", "copy", "-f", form, f"{path}.{ending}")
    return f"{path}.{ending}"


def shown(stream):
    """The first picture as ffprobe decodes it."""
    command = ["ffprobe", "-v", "error", "-show_frames", "-read_intervals", "%+#1", "-of", "json", stream]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["frames"][0]


def written(stream, codec):
    """How often each of HDR10's two messages stands in the stream, and key pictures."""
    command = ["ffmpeg", "-v", "verbose", "-i", stream, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"]
    # What FFmpeg takes out of the first packets for a header of its own comes before them.
    trace = subprocess.run(command, capture_output=True, text=True).stderr.partition("] Packet: ")[2]
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=flags", "-of", "csv=p=0", stream]
    flags = subprocess.run(command, capture_output=True, text=True).stdout.split()
    counts = [len(re.findall(pattern, trace, re.MULTILINE)) for pattern in TRACE[codec]]
    return counts, sum("K" in f for f in flags), len(flags)


def number(text):
    n, d = str(text).split("/")
    return int(n) / int(d)


pq, hlg = clip("pq", "yuv420p10le", *bt2020("smpte2084")), clip("hlg", "yuv420p10le", *bt2020("arib-std-b67"))
sdr = clip("sdr", "yuv420p", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv")
full = clip("full", "yuv420p", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "pc")

# By the interface's own parameters (13.0) and, before it, as messages; with B-frames and lookahead; key pictures every ten.
for api in ("12.2", "13.0"):
    for codec, structure in [("hevc", {"b_frames": 0}), ("hevc", {"b_frames": 3, "lookahead": 6}), ("av1", {"b_frames": 0}), ("av1", {"b_frames": 2})]:
        name = f"hdr10-{codec}-{api}-{structure['b_frames']}"
        video = {"codec": codec, "bitrate": "3M", "gop": 10, "hdr": HDR, **structure}
        done = job(name, [output(name, video)], {"url": pq}, API=api)
        equal(done.code, 0, f"{name}: {done.message} {done.err[-300:]}")
        clean(done, name)
        if done.code:
            continue
        stream = bare(f"{WORK}/{name}.mkv", codec)
        counts, keys, pictures = written(stream, codec)
        equal((keys, pictures), (5, 50), f"{name}: key pictures, pictures")
        equal(counts, [keys, keys], f"{name}: messages of mastering display and light levels")
        first = shown(stream)
        colour = (first.get("color_primaries"), first.get("color_transfer"), first.get("color_space"), first.get("color_range"))
        equal(colour, ("bt2020", "smpte2084", "bt2020nc", "tv"), f"{name}: colour")
        if codec == "av1":
            # This FFmpeg's AV1 decoder hands no metadata on.
            continue
        sides = {s["side_data_type"]: s for s in first.get("side_data_list", [])}
        display, light = sides.get("Mastering display metadata"), sides.get("Content light level metadata")
        check(display and light, f"{name}: side data of the first picture: {list(sides)}")
        if display and light:
            equal((light["max_content"], light["max_average"]), (900, 300), f"{name}: light levels")
            for key, value in [("red_x", 0.68), ("green_y", 0.69), ("blue_x", 0.15), ("white_point_y", 0.329), ("min_luminance", 0.005), ("max_luminance", 1000)]:
                check(abs(number(display[key]) - value) < 1e-3 * max(1, value), f"{name}: {key}: {display[key]}")

# What is not HDR10, and what H.264 says.
for name, source, codec, colour in [
    ("hlg-hevc", hlg, "hevc", ("bt2020", "arib-std-b67", "bt2020nc", "tv")),
    ("hlg-av1", hlg, "av1", ("bt2020", "arib-std-b67", "bt2020nc", "tv")),
    ("sdr-h264", sdr, "h264", ("bt709", "bt709", "bt709", "tv")),
    ("sdr-hevc", sdr, "hevc", ("bt709", "bt709", "bt709", "tv")),
    ("sdr-av1", sdr, "av1", ("bt709", "bt709", "bt709", "tv")),
    ("full-h264", full, "h264", ("bt709", "bt709", "bt709", "pc")),
    ("full-hevc", full, "hevc", ("bt709", "bt709", "bt709", "pc")),
]:
    done = job(name, [output(name, {"codec": codec, "bitrate": "3M", "gop": 10})], {"url": source}, API="13.0")
    equal(done.code, 0, f"{name}: {done.message} {done.err[-300:]}")
    clean(done, name)
    if done.code:
        continue
    stream = bare(f"{WORK}/{name}.mkv", codec)
    counts, _, _ = written(stream, codec)
    equal(counts, [0, 0], f"{name}: messages of HDR10")
    first = shown(stream)
    found = (first.get("color_primaries"), first.get("color_transfer"), first.get("color_space"), first.get("color_range"))
    equal(found, colour, f"{name}: colour")
finish()
