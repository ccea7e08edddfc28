"""Measures how soon a player has something after a seek to where nothing is made yet, and after the start.

    python seek.py CLIP [--seeks 50] [--starts 5] [--height 720] [--rate 4000] [--out FOLDER]

Each seek is done twice, in turns: the server is asked for a segment that it has not made (request to last byte), and
FFmpeg's command is started anew at that time for HLS, as servers do that restart it (start to first segment closed). Both
encode with x264 at the same size and rate; FFmpeg with its veryfast preset and segments of 4 s, the server with its default
settings (segments of 2 s on demand, for this very reason). The same for the start: a request for a new job
to the first segment served, against FFmpeg from the beginning. GS_CLI is the server's command. Run it on a quiet machine.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from serving import Server  # noqa: E402

SEGMENT = 4
# As the server has them by default: one second first, then two each.
MINE = 2


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=120) as answer:
        return answer.read()


def restarted(clip: pathlib.Path, at: float, options: argparse.Namespace, root: pathlib.Path) -> float:
    """Seconds from the start of FFmpeg at `at` to its first closed segment."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=root))
    rate = f"{options.rate}k"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-ss", str(at), "-i", str(clip), "-map", "0:v:0", "-map", "0:a:0?"]
    command += ["-vf", f"scale=-2:{options.height}", "-c:v", "libx264", "-preset", "veryfast", "-b:v", rate, "-maxrate", rate]
    command += ["-bufsize", f"{options.rate * 3 // 2}k", "-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT})", "-c:a", "aac"]
    command += ["-f", "hls", "-hls_time", str(SEGMENT), "-hls_list_size", "0", "-hls_flags", "temp_file"]
    command += [str(folder / "list.m3u8")]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        # The playlist is written when the first segment has its name.
        while not (folder / "list.m3u8").exists():
            if process.poll() is not None and not (folder / "list.m3u8").exists():
                sys.exit(f"bench: ffmpeg ended with {process.returncode}")
            time.sleep(0.001)
        return time.monotonic() - begin
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def percentile(values: list[float], share: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def row(what: str, mine: list[float], theirs: list[float]) -> str:
    cells = [what]
    for share in (0.5, 0.95):
        a, b = percentile(mine, share), percentile(theirs, share)
        cells += [f"{a:.2f} s", f"{b:.2f} s", f"**{a / b:.2f}**"]
    cells.append(f"{statistics.median(x / y for x, y in zip(mine, theirs)):.2f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clip", type=pathlib.Path)
    parser.add_argument("--seeks", type=int, default=50)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--height", type=int, default=720, choices=(480, 720, 1080))
    parser.add_argument("--rate", type=int, default=4000, help="kbit/s")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench/seek"))
    options = parser.parse_args()
    clip = options.clip.resolve()
    root = options.out.resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    # What else runs here is no reason to make less.
    server = Server(root, clip.parent, {"hardware": {"adapt": False}})
    dice = random.Random(1)
    output = {"resolution": f"{options.height}p", "bitrate": f"{options.rate}k", "hw_accel": "software"}
    try:
        count = 0

        def begin_job() -> str:
            """A job that nobody can share; gives the URL of its files."""
            nonlocal count
            count += 1
            body = {"source": str(clip), "playback": "on_demand", "output": {**output, "bitrate": f"{options.rate + count}k"}}
            return f"{server.base}/stream/{server.ask('/api/transcode/start', body)['job_id']}/"

        def end_job(base: str) -> None:
            server.ask(f"/api/transcode/{base.split('/')[-2]}/cancel", {})

        starts: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.starts):
            begin = time.monotonic()
            base = begin_job()
            fetch(base + "master.m3u8")
            fetch(base + "segment_00000.ts")
            starts[0].append(time.monotonic() - begin)
            end_job(base)
            time.sleep(0.5)
            starts[1].append(restarted(clip, 0, options, root))
        seeks: tuple[list[float], list[float]] = ([], [])
        base, names = "", []
        while len(seeks[0]) < options.seeks:
            made = root / "jobs" / base.split("/")[-2] / "video" if base else root
            if not base or sum(1 for _ in made.glob("*.ts")) > len(names) / 2:
                # Too little of it is left unmade.
                if base:
                    end_job(base)
                base = begin_job()
                names = [line for line in fetch(base + "master.m3u8").decode().splitlines() if line.startswith("segment_")]
                fetch(base + names[0])
                continue
            number = dice.randrange(1, len(names))
            if any((made / f"{n:05}.ts").exists() for n in (number, number - 1)):
                continue
            begin = time.monotonic()
            fetch(base + names[number])
            seeks[0].append(time.monotonic() - begin)
            # What the server makes ahead must not compete with the other side.
            quiet = -1
            while quiet != (quiet := sum(1 for _ in made.glob("*.ts"))):
                time.sleep(0.6)
            seeks[1].append(restarted(clip, (number - 1) * MINE, options, root))
            said = f"{seeks[0][-1]:.2f} s, {seeks[1][-1]:.2f} s"
            print(f"  {len(seeks[0])}/{options.seeks} at {(number - 1) * MINE} s: {said}", file=sys.stderr)
    finally:
        server.end()
    head = ["", "p50", "p50, ffmpeg", "ratio", "p95", "p95, ffmpeg", "ratio", "median of ratios"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [row(f"seek to an unmade segment ({options.seeks})", *seeks), row(f"start to first segment ({options.starts})", *starts)]
    text = f"{options.height}p at {options.rate} kbit/s, load {os.getloadavg()[0]:.2f}\n\n" + "\n".join(lines) + "\n"
    (root / "seek.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
