"""Measures how long a viewer waits for the first picture after asking for a job, beside FFmpeg's command behind a web server.

    python first_frame.py CLIP [--rounds 7] [--height 720] [--rate 4000] [--out FOLDER]

Both encode with x264 at the same size and rate, and headless Chromium plays with hls.js: what is measured ends when the first
picture is painted. GS_CLI is the server's command. Run it on a quiet machine.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from serving import Server  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clip", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--height", type=int, default=720, choices=(480, 720, 1080))
    parser.add_argument("--rate", type=int, default=4000, help="kbit/s")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench/first-frame"))
    options = parser.parse_args()
    clip, root = options.clip.resolve(), options.out.resolve()
    shutil.rmtree(root, ignore_errors=True)
    (root / "ffmpeg").mkdir(parents=True)
    # What else runs here is no reason to make less.
    server = Server(root / "server", clip.parent, {"hardware": {"adapt": False}})
    try:
        script = pathlib.Path(__file__).with_suffix(".mjs")
        words = ["node", script, server.base, clip, root / "ffmpeg", options.rounds, options.height, options.rate]
        said = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, text=True, check=True).stdout
    finally:
        server.end()
    pairs = json.loads(said)
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    lines = [
        f"{options.height}p at {options.rate} kbit/s, load {os.getloadavg()[0]:.2f}\n",
        "| request to the first painted picture | median |",
        "|---|---|",
        f"| ghoststream | {statistics.median(ours):.2f} s |",
        f"| ffmpeg, spawned | {statistics.median(theirs):.2f} s |",
        f"| ratio | **{statistics.median(a / b for a, b in pairs):.2f}** |",
    ]
    text = "\n".join(lines) + "\n"
    (root / "first-frame.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
