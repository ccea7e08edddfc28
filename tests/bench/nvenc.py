#!/usr/bin/env python3
"""Our time per picture around NVENC, beside that of FFmpeg's wrapper, on the stand-in driver: pictures lie in device memory, both
submit and retrieve the same number of them, and nothing else is measured. The stand-in codes nothing but key pictures
(GS_STANDIN_CODING=skip) and tells what it took of the processor itself, which is taken off. Runs alternate.

  tests/bench/nvenc.py [--frames 4000] [--rounds 9] [--profile release]"""

import argparse
import json
import os
import statistics
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
TARGET = os.path.abspath(os.environ.get("GS_TARGET_DIR") or os.environ.get("CARGO_TARGET_DIR") or f"{ROOT}/target")


def build(profile):
    """The stand-in and both programs."""
    subprocess.run([f"{ROOT}/tests/standin/build.sh", f"{TARGET}/standin"], check=True)
    scope = ["-p", "ghoststream"] if profile == "release" else ["--workspace"]
    command = ["cargo", "build", "--profile", profile, *scope, "--bench", "nvenc_loop", "--message-format", "json"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    made = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    ours = [m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "nvenc_loop"]
    theirs = f"{TARGET}/bench/nvenc_wrapper"
    os.makedirs(os.path.dirname(theirs), exist_ok=True)
    libraries = ["libavcodec", "libavutil"]
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *libraries], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["cc", "-O2", "-o", theirs, f"{ROOT}/tests/bench/nvenc_wrapper.c", *flags, "-ldl"], check=True)
    return {"ghoststream": ours[-1], "FFmpeg's wrapper": theirs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", default="release", help="Cargo's profile of our side")
    args = parser.parse_args()
    peers = build(args.profile)
    env = dict(os.environ, LD_LIBRARY_PATH=f"{TARGET}/standin", GS_STANDIN_SPENT="1", GS_STANDIN_CODING="skip")
    env.pop("GS_STANDIN_LOG", None)
    print("| around NVENC, per picture | µs outside the driver | quartiles | calls of the driver |\n|---|---|---|---|")
    # An engine that takes no time, so that both threads of ours are always awake, and one that takes as long as a card's.
    for codec, b_frames, engine in [("h264", 0, 0), ("h264", 0, 300), ("h264", 2, 300), ("hevc", 0, 300)]:
        env["GS_STANDIN_FRAME_US"] = str(engine)
        found = {name: [] for name in peers}
        for n in range(args.rounds):
            for name in sorted(peers, reverse=n % 2 == 1):
                command = [peers[name], codec, str(args.frames), str(b_frames)]
                told = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
                found[name].append(json.loads(told))
        for name, runs in found.items():
            outside = sorted(run["outside"] for run in runs)
            low, _, high = statistics.quantiles(outside, n=4) if len(outside) > 1 else (outside[0],) * 3
            calls = statistics.median(run["calls"] for run in runs)
            print(f"| {name}, {codec}, {b_frames} B, engine {engine} µs | {statistics.median(outside):.1f} | {low:.1f} to {high:.1f} | {calls:.1f} |")
        ratios = [a["outside"] / b["outside"] for a, b in zip(found["ghoststream"], found["FFmpeg's wrapper"])]
        print(f"| ratio, {codec}, {b_frames} B, engine {engine} µs | {statistics.median(ratios):.2f} | | |")


main()
