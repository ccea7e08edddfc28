#!/usr/bin/env python3
"""NVENC on this machine's own NVIDIA card: what the stand-in driver cannot prove. `make test-gpu` runs it.

A card with an encoder: every codec, lossless bit for bit, the rate controls by rate and quality, B-frames and lookahead,
10 bits, frames that stay on the device. A card without one (A100, H100, H200): the refusal, and what stands in.
Exit: 0 passed, 77 no card (a failure with GS_REQUIRE_GPU=1)."""

import json
import os
import re
import subprocess
import sys
import tempfile

CLI = os.environ.get("GS_CLI", "target/debug/ghoststream")
WORK = tempfile.mkdtemp()
os.environ["XDG_CACHE_HOME"] = WORK
FRAMES, SIZE = 100, (1920, 1080)
failures = []


def check(condition, text):
    print("ok  " if condition else "FAIL", text)
    if not condition:
        failures.append(text)


def job(name, video, source, fallback=False):
    spec = {
        "source": source,
        "fallback": fallback,
        "outputs": [{"path": f"{WORK}/{name}.mkv", "audio": False, "video": {"encoder": "nvenc", **video}}],
    }
    with open(f"{WORK}/{name}.json", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    if os.path.exists(spec["outputs"][0]["path"]):
        os.remove(spec["outputs"][0]["path"])
    command = [CLI, "transcode", "--events", "json", "--spec", file.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    done.events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done


def count(path):
    args = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path]
    return int(subprocess.run(args, capture_output=True, text=True).stdout.strip().rstrip(",") or 0)


def psnr(path, original, pixels):
    graph = f"[0:v]format={pixels}[a];[1:v]format={pixels}[b];[a][b]psnr"
    args = ["ffmpeg", "-v", "info", "-i", path, "-i", original, "-lavfi", graph, "-f", "null", "-"]
    found = re.search(r"PSNR .*average:(\S+)", subprocess.run(args, capture_output=True, text=True).stderr)
    return float(found.group(1)) if found else 0.0


def encoder_works(gpu):
    codecs = list(gpu["codecs"])
    for codec in codecs:
        able = gpu["codecs"][codec]
        cases = {"crf": {"crf": 24}, "vbr": {"bitrate": "6M", "max_bitrate": "8M"}, "cbr": {"bitrate": "6M", "cbr": True}}
        cases["qp"] = {"qp": 60 if codec == "av1" else 20}
        cases["ull"] = {"tune": "ull", "bitrate": "6M", "cbr": True}
        cases["refined"] = {"bitrate": "6M", "preset": "p7", "options": {"multipass": "fullres", "spatial-aq": "1"}}
        if able["lossless"]:
            cases["lossless"] = {"lossless": True}
        if able["max_b_frames"]:
            cases["b"] = {"crf": 24, "b_frames": min(3, able["max_b_frames"])}
        if able["lookahead"]:
            cases["ahead"] = {"bitrate": "6M", "lookahead": 16}
        if able["yuv444"]:
            cases["444"] = {"crf": 20, "pixel_format": "yuv444p"}
        for name, video in cases.items():
            for place, device in [("host", "software"), ("device", "cuda")]:
                if place == "device" and name == "444":
                    continue
                label = f"{codec}-{name}-{place}"
                done = job(label, {"codec": codec, "preset": "p4", **video}, {"url": clip, "decode": {"device": device}})
                if done.returncode:
                    check(False, f"{label}: {(done.stderr or done.stdout)[-400:]}")
                    continue
                quality = psnr(f"{WORK}/{label}.mkv", clip, "yuv444p" if name == "444" else "yuv420p")
                frames = count(f"{WORK}/{label}.mkv")
                wanted = float("inf") if name == "lossless" else 30.0
                check(frames == FRAMES and quality >= wanted, f"{label}: {frames} frames, {quality:.1f} dB")
                if name == "cbr":
                    rate = os.path.getsize(f"{WORK}/{label}.mkv") * 8 / (FRAMES / 25)
                    check(3e6 < rate < 9e6, f"{label}: {rate / 1e6:.1f} Mbit/s of 6")
        if able["ten_bit"]:
            done = job(f"{codec}-ten", {"codec": codec, "bit_depth": 10, "crf": 20}, {"url": clip})
            check(done.returncode == 0, f"{codec} with 10 bits: {done.stderr[-300:]}")


def decoder_works():
    """NVDEC, and the way of its pictures to the host: the same as in software."""
    lossless = {"encoder": "libx264", "lossless": True, "preset": "p1"}
    made = {}
    for device in ("software", "cuda"):
        done = job(f"decode-{device}", lossless, {"url": clip, "decode": {"device": device}})
        check(done.returncode == 0, f"decoding on {device}: {done.stderr[-300:]}")
        args = ["ffmpeg", "-v", "error", "-i", f"{WORK}/decode-{device}.mkv", "-f", "md5", "-"]
        made[device] = subprocess.run(args, capture_output=True, text=True).stdout
    check(made["cuda"] == made["software"] != "", f"NVDEC's pictures are those of the software decoder: {made}")


def encoder_is_missed(gpu):
    done = job("refused", {"codec": "h264"}, {"url": clip})
    check(done.returncode != 0 and not os.path.exists(f"{WORK}/refused.mkv"), f"refused: {done.stderr[-300:].strip()}")
    done = job("instead", {"codec": "h264"}, {"url": clip}, fallback=True)
    told = [e["message"] for e in done.events if e["type"] == "warning"]
    check(done.returncode == 0 and count(f"{WORK}/instead.mkv") == FRAMES, "another encoder stands in")
    check(any("nvenc does not work here" in t for t in told), f"and says so: {told}")


found = json.loads(subprocess.run([CLI, "devices", "--json"], capture_output=True, text=True, check=True).stdout)
if not found["nvidia"]:
    print("nvenc: there is no NVIDIA card here")
    sys.exit(1 if os.environ.get("GS_REQUIRE_GPU") == "1" else 77)
clip = f"{WORK}/clip.mp4"
size = f"size={SIZE[0]}x{SIZE[1]}:rate=25"
subprocess.run(
    ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2={size},format=yuv420p", "-frames:v", str(FRAMES)]
    + ["-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-bf", "2", clip],
    check=True,
)
decoder_works()
for gpu in found["nvidia"]:
    print(f"== {gpu['name']}, driver {gpu.get('driver')}, API {gpu.get('api')}, {gpu['engines']} engines")
    if gpu["codecs"]:
        encoder_works(gpu)
    else:
        encoder_is_missed(gpu)
print(f"nvenc: {len(failures)} failures")
sys.exit(1 if failures else 0)
