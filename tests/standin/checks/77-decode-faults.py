#!/usr/bin/env python3
"""NVDEC fails in mid-stream: software goes on where it stopped, every picture is there once and at its time. Without
`fallback` the job fails and leaves nothing."""

import os
import subprocess

from engine import clean, ffmpeg, frames, job, output
from standin import WORK, check, equal, finish

FRAMES = 50
PICTURES = "size=320x192:rate=25:duration=2"


def times(path):
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0", path],
        capture_output=True, text=True, check=True,
    )
    return [round(float(line.split(",")[0]), 2) for line in done.stdout.split() if line.strip(",")]


def clip(name, *options, pixels="yuv420p"):
    path = f"{WORK}/{name}"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2={PICTURES},format={pixels}", "-an", *options, path)
    return path


X264 = ["-c:v", "libx264", "-preset", "veryfast", "-g", "12"]
VP9 = ["-c:v", "libvpx-vp9", "-b:v", "500k", "-cpu-used", "8", "-g", "15", "-auto-alt-ref", "1", "-lag-in-frames", "12"]
CLIPS = {
    # Pictures that are shown before their key picture and refer to the group before it.
    "open": clip("open.mp4", *X264, "-bf", "3", "-x264-params", "open-gop=1:scenecut=0"),
    "plain": clip("plain.mp4", *X264, "-bf", "0"),
    # Without times: a bare stream.
    "bare": clip("bare.h264", *X264, "-bf", "2"),
    # One group, from beginning to end.
    "long": clip("long.mkv", "-c:v", "libx264", "-preset", "veryfast", "-g", "1000", "-bf", "3"),
    "vp9": clip("vp9.webm", *VP9),
    "jpeg": clip("jpeg.mkv", "-c:v", "mjpeg", pixels="yuvj420p"),
}
OUTPUTS = {
    # Downloaded behind the decoder, kept on the device, and both from one decoder.
    "host": [output("host", {"encoder": "libx264", "codec": "h264", "preset": "p1", "lossless": True})],
    "device": [output("device", {"codec": "h264", "lossless": True, "b_frames": 0})],
}
OUTPUTS["both"] = [
    output("both-host", OUTPUTS["host"][0]["video"]),
    output("both-device", OUTPUTS["device"][0]["video"]),
]


def on(device, path):
    return {"url": path, "decode": {"device": device}}


def made(outputs, pixels):
    return [(frames(o["path"], pixels), times(o["path"])) for o in outputs]


def told(done):
    return [w for w in done.warnings if "no longer decodes" in w]


FAULTS = ["cuvidDecodePicture:1=999", "cuvidDecodePicture:14=999", "cuvidDecodePicture:50=700", "cuvidMapVideoFrame64:1=205", "cuvidMapVideoFrame64:23=205", "cuvidMapVideoFrame64:50=205"]
for name, path in CLIPS.items():
    pixels = "yuvj420p" if name == "jpeg" else "yuv420p"
    for where, outputs in OUTPUTS.items():
        done = job("whole", outputs, on("cuda", path))
        equal(done.code, 0, f"{name}, {where}, whole: {done.message} {done.err[-300:]}")
        check(len(done.calls("cuvidDecodePicture")) >= FRAMES and not told(done), f"{name}, {where}: NVDEC decodes it all")
        wanted = made(outputs, pixels)
        for found, at in wanted:
            equal((len(found), sorted(set(at)) == at), (FRAMES, True), f"{name}, {where}, whole: pictures, and their times rise")
        for fault in FAULTS if name in ("open", "bare") else FAULTS[1:5:3]:
            text = f"{name}, {where}, {fault}"
            done = job("fault", outputs, on("cuda", path), fallback=True, FAULT=fault)
            equal(done.code, 0, f"{text}: {done.message} {done.err[-300:]}")
            if done.code:
                continue
            equal(len(done.calls("fault")), 1, f"{text}: faults")
            equal((len(told(done)), done.dropped), (1, 0), f"{text}: told once, nothing lost: {done.warnings}")
            check(not any("does not decode this stream" in w for w in done.warnings), f"{text}: {done.warnings}")
            check(made(outputs, pixels) == wanted, f"{text}: the same pictures at the same times: {[len(f) for f, _ in made(outputs, pixels)]}")
            clean(done, text)

# A picture that cannot be read off the device is decoded again.
for fault in ["DtoH:1=700", "DtoH:40=700", "DtoH:9+=700"]:
    for name in ["open", "bare"]:
        done = job("whole", OUTPUTS["host"], on("software", CLIPS[name]))
        wanted = made(OUTPUTS["host"], "yuv420p")
        done = job("unread", OUTPUTS["host"], on("cuda", CLIPS[name]), fallback=True, FAULT=fault)
        equal((done.code, len(told(done)), done.dropped), (0, 1, 0), f"{name}, {fault}: {done.message} {done.warnings}")
        check(made(OUTPUTS["host"], "yuv420p") == wanted, f"{name}, {fault}: the same pictures at the same times")
        clean(done, f"{name}, {fault}")

# The same in the middle of a file, where the decoder begins before what is wanted.
part = {**on("cuda", CLIPS["open"]), "start": 0.5, "duration": 1}
done = job("part", OUTPUTS["host"], part)
wanted = made(OUTPUTS["host"], "yuv420p")
# A second's pictures, though it begins between two of them.
equal((done.code, len(wanted[0][0])), (0, 25), f"a part: {done.message}")
for fault in ["cuvidDecodePicture:9=999", "cuvidDecodePicture:20=999", "DtoH:12=700"]:
    done = job("part", OUTPUTS["host"], part, fallback=True, FAULT=fault)
    equal((done.code, len(told(done))), (0, 1), f"a part, {fault}: {done.message} {done.warnings}")
    check(made(OUTPUTS["host"], "yuv420p") == wanted, f"a part, {fault}: the same pictures at the same times")
    clean(done, f"a part, {fault}")

# The whole device is lost: the decoder, what scales there, and the encoders. What was on it and not read is lost and counted.
LADDER = [
    output("rung-0", {"codec": "h264", "qp": 20, "b_frames": 0}),
    output("rung-1", {"codec": "h264", "qp": 20, "b_frames": 0, "width": 160, "height": 96}),
]
for name, outputs, most in [
    ("host", OUTPUTS["host"], 0),
    ("scaled", [output("scaled", {"encoder": "libx264", "codec": "h264", "preset": "p1", "width": 160, "height": 96})], 8),
    ("device", OUTPUTS["device"], 16),
    ("ladder", LADDER, 32),
]:
    for fault in ["cuvidDecodePicture:2=lost", "cuvidDecodePicture:30=lost", "NvEncEncodePicture:9=lost", "cuLaunchKernel:12=lost"]:
        text = f"{name}, {fault}"
        done = job("lost", outputs, on("cuda", CLIPS["open"]), fallback=True, FAULT=fault)
        hit = bool(done.calls("fault"))
        equal((done.code, bool(done.warnings)), (0, True) if hit else (done.code, bool(done.warnings)), f"{text}: {done.message} {done.warnings}")
        if done.code or not hit:
            continue
        found = [times(o["path"]) for o in outputs]
        check(all(sorted(set(at)) == at for at in found), f"{text}: times rise")
        equal(sum(len(at) for at in found) + done.dropped, FRAMES * len(outputs), f"{text}: pictures and {done.dropped} lost ones: {done.warnings}")
        check(done.dropped <= most, f"{text}: {done.dropped} lost")
        equal(done.violations, [], f"{text}: violations")

# Nobody allowed software: the job says why it ends.
for fault in [*FAULTS, "DtoH:3=700"]:
    done = job("strict", OUTPUTS["host"], on("cuda", CLIPS["open"]), FAULT=fault)
    check(done.code != 0 and done.message, f"{fault} without fallback: {done.message!r}")
    check(not os.path.exists(OUTPUTS["host"][0]["path"]), f"{fault} without fallback: nothing is left behind")
    equal(told(done), [], f"{fault} without fallback")
    clean(done, f"{fault} without fallback")
finish()
