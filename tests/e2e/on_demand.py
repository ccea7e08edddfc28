"""Plays jobs of a server that makes segments when they are asked for: in Chromium, and with FFmpeg over HTTP.

    python on_demand.py CLIP DIRECTORY

GS_CLI is the command; play.mjs plays. Everything is below DIRECTORY.
"""

import pathlib
import subprocess
import sys

from serving import Server

HERE = pathlib.Path(__file__).resolve().parent


def probe(path: str, *more: str) -> list[str]:
    command = ["ffprobe", "-v", "error", *more, "-of", "csv=p=0", path]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    if answer.stderr.strip():
        sys.exit(f"e2e: FAIL: {path}: {answer.stderr}")
    return answer.stdout.split()


def frames(path: str) -> int:
    count = probe(path, "-select_streams", "v:0", "-count_frames", "-show_entries", "stream=nb_read_frames")
    return int(count[0].strip(","))


def main() -> None:
    clip, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    source = frames(str(clip))
    server = Server(root, clip.parent)
    try:
        requests = {
            "cmaf": {"mode": "abr", "output": {"format": "dash", "hw_accel": "software"}},
            "ts": {"mode": "abr", "output": {"hw_accel": "software"}},
        }
        for name, body in requests.items():
            url = server.start({"source": str(clip), "playback": "on_demand", **body})
            command = ["node", str(HERE / "play.mjs"), url, "--seek", "0.8", "--shots", str(root / f"shots-{name}")]
            if name == "cmaf":
                command += ["--duration", "20"]
            if subprocess.run(command).returncode != 0:
                sys.exit(f"e2e: FAIL: on demand, {name}")
        # One quality: a media playlist, read from end to end, in which nothing was made but its beginning.
        url = server.start({"source": str(clip), "playback": "on_demand", "output": {"hw_accel": "software"}})
        found = frames(url + "master.m3u8")
        if found != source:
            sys.exit(f"e2e: FAIL: {found} frames over HTTP, {source} in the source")
        times = [float(t.strip(",")) for t in probe(url + "master.m3u8", "-select_streams", "v:0", "-show_entries", "packet=pts_time")]
        times.sort()
        steps = {round(b - a, 3) for a, b in zip(times, times[1:])}
        if max(steps) > 2 * min(steps):
            sys.exit(f"e2e: FAIL: frames are {sorted(steps)} s apart")
        print(f"PASS on demand over HTTP: {found} frames, every {min(steps)} s")
    finally:
        server.end()


main()
