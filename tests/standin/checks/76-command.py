#!/usr/bin/env python3
"""The command on a machine with NVIDIA's cards: `encode --encoder nvenc` encodes bare pictures, `devices` tells what
the cards can do and who uses them, and what NVDEC decoded is scaled there before a software encoder gets it."""

import json
import subprocess

from engine import CLI, clean, ffmpeg, frames, job
from standin import WORK, check, equal, finish, run

source = f"{WORK}/clip.mp4"
ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", source)
raw = f"{WORK}/clip.nv12"
ffmpeg("-i", source, "-f", "rawvideo", "-pix_fmt", "nv12", raw)
wanted = frames(source)

# Pictures in, packets out.
for codec in ("h264", "hevc"):
    path = f"{WORK}/out-{codec}.mkv"
    command = [CLI, "encode", raw, path, "--input-size", "320x180", "--input-pixel-format", "nv12", "--input-fps", "25"]
    done = run([*command, "--video", codec, "--encoder", "nvenc", "--bitrate", "2M"], timeout=120)
    equal(done.code, 0, f"encode {codec}: {done.out.decode()[-300:]} {done.err[-600:]}")
    clean(done, f"encode {codec}")
    equal(len(done.calls("standin.coded")), 25, f"encode {codec}: pictures that the card coded")
    if not done.code:
        equal(frames(path), wanted, f"encode {codec}: the pictures")

# What there is.
done = run([CLI, "devices", "--json"], timeout=120, PROFILE="dual", STATE="/dev/null")
equal(done.code, 0, f"devices: {done.err[-400:]}")
cards = json.loads(done.out)["nvidia"]
equal([(c["index"], c["name"], c["engines"]) for c in cards], [(0, "RTX 4090", 2), (1, "RTX 3060", 1)], "devices: the cards")
for card, codecs in zip(cards, (["av1", "h264", "hevc"], ["h264", "hevc"])):
    equal(sorted(card["codecs"]), codecs, f"devices: codecs of {card['name']}")
    equal((card["api"], card["sessions"], card["own_sessions"]), ("13.0", 0, 0), f"devices: {card['name']}")
    check(card["codecs"]["hevc"]["ten_bit"] == 1 and card["codecs"]["h264"]["ten_bit"] == 0, f"devices: depths of {card['name']}")
equal((done.violations, done.leaks), ([], []), "devices: violations and leaks")
shown = run([CLI, "devices"], timeout=120, PROFILE="dual")
check(shown.code == 0 and b"RTX 4090" in shown.out and b"RTX 3060" in shown.out, f"devices in words: {shown.out.decode()[-600:]}")
none = run([CLI, "devices", "--json"], timeout=120, PROFILE="h200")
equal([(c["name"], c["engines"], bool(c["reason"])) for c in json.loads(none.out)["nvidia"]], [("H200", 0, True)], "devices: a card without engines")

# Decoded and scaled on the card, downloaded small, and encoded in software.
small = {"path": f"{WORK}/small.mkv", "audio": False, "video": {"codec": "h264", "device": "software", "height": 90, "lossless": True}}
on_device = {"url": source, "decode": {"device": "cuda"}}
for profile in ("rtx4090", "h200"):
    done = job("small", [small], on_device, PROFILE=profile)
    equal(done.code, 0, f"scaled on the card, {profile}: {done.message} {done.err[-400:]}")
    clean(done, f"scaled on the card, {profile}")
    launched = [line["kernel"] for line in done.calls("cuLaunchKernel")]
    equal(launched.count("scale"), 25, f"scaled on the card, {profile}: launches: {set(launched)}")
    equal(done.copies("DtoH"), 25 * 160 * 90 * 3 // 2, f"scaled on the card, {profile}: bytes to the host")
    equal(len(frames(f"{WORK}/small.mkv")), 25, f"scaled on the card, {profile}: frames")
    check(any("libx264 takes frames in host memory" in w for w in done.warnings), f"scaled on the card, {profile}: told: {done.warnings}")
reference = f"{WORK}/reference.mkv"
ffmpeg("-i", source, "-vf", "scale=160:90:flags=bicubic+accurate_rnd+full_chroma_int", "-c:v", "ffv1", reference)
compared = subprocess.run(
    ["ffmpeg", "-v", "info", "-i", f"{WORK}/small.mkv", "-i", reference, "-lavfi", "psnr", "-f", "null", "-"], capture_output=True, text=True
)
quality = compared.stderr.rsplit("average:", 1)[-1].split()[0]
check(quality == "inf" or float(quality) > 40, f"scaled on the card: {quality} dB from FFmpeg's")
# A ladder of software encoders: one launch for all rungs of a picture.
outputs = {"path": f"{WORK}/ladder", "format": "hls", "audio": False, "copy_conforming": False,
           "ladder": [{"height": 90}, {"height": 60}], "video": {"codec": "h264", "device": "software", "preset": "p1"}}
done = job("ladder", [outputs], on_device, PROFILE="h200")
equal(done.code, 0, f"a ladder in software: {done.message} {done.err[-400:]}")
equal([line["kernel"] for line in done.calls("cuLaunchKernel")].count("ladder"), 25, "a ladder in software: launches")
finish()
