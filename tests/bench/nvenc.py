#!/usr/bin/env python3
"""Our time per frame around NVENC, beside that of FFmpeg's wrapper, on the stand-in driver: both decode the same clip by
NVDEC, leave it on the device and encode it. The stand-in codes nothing (GS_STANDIN_CODING=skip), so what differs from a run
that only decodes is what submitting and retrieving cost, plus the same share of the stand-in for both. Runs alternate.

  tests/standin/build.sh && tests/bench/nvenc.py [--frames 1500] [--rounds 7]"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
TARGET = os.environ.get("GS_TARGET_DIR") or os.environ.get("CARGO_TARGET_DIR") or f"{ROOT}/target"
CLI = os.environ.get("GS_CLI", f"{TARGET}/release/ghoststream")


def processor_time(command, work):
    """Seconds of all cores that a command took."""
    env = dict(os.environ, LD_LIBRARY_PATH=f"{TARGET}/standin", GS_STANDIN_CODING="skip", XDG_CACHE_HOME=work)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        clips = {}
        # The same clip at two lengths: what a run costs but for its frames cancels out.
        for name, frames in [("short", args.frames // 10), ("long", args.frames)]:
            clips[name] = f"{work}/{name}.mp4"
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25,format=yuv420p"]
                + ["-frames:v", str(frames), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", clips[name]],
                check=True,
            )
        cuda = ["-hwaccel", "cuda", "-hwaccel_output_format", "cuda"]
        peers = {
            "ghoststream": lambda clip: [CLI, "transcode", clip, f"{work}/a.mkv", "--overwrite", "--audio", "none"]
            + ["--encoder", "nvenc", "--preset", "p1", "--bitrate", "2M", "--b-frames", "0", "--decoder-device", "cuda"],
            "ffmpeg": lambda clip: ["ffmpeg", "-v", "error", "-y", *cuda, "-i", clip, "-c:v", "h264_nvenc", "-preset", "p1"]
            + ["-b:v", "2M", "-bf", "0", f"{work}/b.mkv"],
            "decoding": lambda clip: ["ffmpeg", "-v", "error", "-y", *cuda, "-i", clip, "-f", "null", "-"],
        }
        found = {name: [] for name in peers}
        between = args.frames - args.frames // 10
        for _ in range(args.rounds):
            for name, command in peers.items():
                took = [processor_time(command(clips[length]), work) for length in ("long", "short")]
                found[name].append((took[0] - took[1]) / between * 1e6)
        print("| around NVENC | µs of CPU per frame | of which not decoding |\n|---|---|---|")
        for name in peers:
            # Against the decoding of the same round: a machine that gets slower does so for both.
            rest = statistics.median(a - b for a, b in zip(found[name], found["decoding"]))
            print(f"| {name} | {statistics.median(found[name]):.0f} | {rest:.0f} |")


main()
