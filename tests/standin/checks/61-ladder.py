#!/usr/bin/env python3
"""A ladder from NVDEC through our kernels into four NVENC sessions: no pixel is copied between host and device, and the
rungs look like those that the CPU makes."""

import json
import os
import re
import subprocess

from standin import WORK, check, equal, finish, run

CLI = os.environ["GS_CLI"]
# What the engine found out on this machine without the stand-in does not count here.
os.environ["XDG_CACHE_HOME"] = WORK
HEIGHTS = [360, 240, 180, 90]
FRAMES = 50


def document(name, video, **more):
    ladder = [{"height": h} for h in HEIGHTS]
    output = {"path": f"{WORK}/{name}", "format": "hls", "audio": False, "copy_conforming": False, "video": video}
    return {"source": {"url": clip}, "fallback": False, "outputs": [{**output, "ladder": ladder, **more}]}


def write(name, spec):
    path = f"{WORK}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec, file)
    return path


def psnr(a, b):
    """Of two rungs, over all planes."""
    done = subprocess.run(
        ["ffmpeg", "-v", "info", "-i", a, "-i", b, "-lavfi", "psnr", "-f", "null", "-"], capture_output=True, text=True
    )
    found = re.search(r"PSNR .*average:(\S+)", done.stderr)
    check(found, f"PSNR of {a} and {b}: {done.stderr[-400:]}")
    return float(found.group(1)) if found else 0.0


def ladder(name, filters, **knobs):
    video = {"codec": "h264", "filters": filters}
    gpu = document(name, {**video, "device": "cuda", "bitrate": "2M"})
    # Each rung by itself: the kernels make all of them from the source, the CPU's ladder each from the one above.
    lossless = {**video, "encoder": "libx264", "lossless": True, "preset": "p1"}
    outputs = [
        {"path": f"{WORK}/{name}-cpu-{height}.mkv", "audio": False, "video": {**lossless, "height": height}} for height in HEIGHTS
    ]
    cpu = {"source": {"url": clip}, "outputs": outputs}
    # The plan first: it tries the encoders, which copies a few pictures, and remembers what it found.
    plan = run([CLI, "transcode", "--plan", "--json", "--spec", write(name, gpu)], timeout=180)
    # The stand-in's sessions lose nothing, so what differs was made by the kernels.
    done = run([CLI, "transcode", "--spec", write(name, gpu)], timeout=180, **knobs)
    equal(done.code, 0, f"{name} on the stand-in: {done.err[-800:]}")
    if plan.code or done.code:
        return
    tracks = json.loads(plan.out)["outputs"][0]["tracks"]
    stages = [stage for track in tracks for stage in track.get("stages", [])]
    check(any("on cuda (kernels)" in s for s in stages), f"{name}: the plan names the kernels: {stages}")
    check(not any("load" in s for s in stages), f"{name}: the plan has no transfer: {stages}")
    subprocess.run([CLI, "transcode", "--spec", write(f"{name}-cpu", cpu)], check=True, capture_output=True)

    equal(done.violations, [], f"{name}: violations")
    equal(done.leaks, [], f"{name}: leaks")
    equal(len(done.calls("NvEncInitializeEncoder")), len(HEIGHTS), f"{name}: sessions")
    launched = [line["kernel"] for line in done.calls("cuLaunchKernel")]
    equal(launched.count("ladder"), FRAMES, f"{name}: launches for all rungs of a picture: {set(launched)}")
    equal(launched.count("scale"), 0, f"{name}: launches for one rung")
    equal(done.copies("HtoD") + done.copies("DtoH") + done.copies("HtoH"), 0, f"{name}: bytes copied from or to the host")
    for height in HEIGHTS:
        quality = psnr(f"{WORK}/{name}/{height}p.m3u8", f"{WORK}/{name}-cpu-{height}.mkv")
        print(f"{name} {height}p: {quality:.1f} dB from the CPU's")
        check(quality > 45, f"{name} {height}p: {quality} dB")


clip = f"{WORK}/clip.webm"
colour = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"]
subprocess.run(
    ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=2", "-pix_fmt", "yuv420p", *colour]
    + ["-c:v", "libvpx-vp9", "-b:v", "2M", "-cpu-used", "8", clip],
    check=True,
)
ladder("ladder", [])
# Work that the device does later than it was asked for shows who does not wait for whom.
ladder("filtered", [{"crop": {"x": 20, "y": 0, "width": 600, "height": 360}}, {"sharpen": {"amount": 0.6}}], ASYNC=300)
finish()
