"""Nothing leaks: the resident size stays where it is while frames, packets, readers and jobs come and go."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RSS = """
import gc, sys, numpy, ghoststream as gs
def rss():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
def grown(work, warm=3, rounds=12):
    for _ in range(warm):
        work()
    levels = []
    for _ in range(rounds):
        work()
        levels.append(rss())
    # What leaks stays in the lowest of them too; what was in flight at once, more on a busy machine, does not.
    return min(levels[-4:]) - min(levels[:4])
clip = sys.argv[1]
"""

WORK = {
    "frames": """
array = numpy.zeros((720, 1280, 3), numpy.uint8)
def work():
    for _ in range(50):
        frame = gs.Frame.from_numpy(array, copy=True)
        numpy.from_dlpack(frame), frame.to_numpy(), memoryview(frame), frame.__dlpack__(max_version=(1, 0))
""",
    "reading": """
def work():
    with gs.open(clip, format="rgb24") as film:
        for frame in film:
            frame.to_numpy()
        film[30], film.frame_at(1.5)
""",
    "encoding": """
array = numpy.zeros((180, 320, 3), numpy.uint8)
def work():
    with gs.Encoder(codec="h264", preset="p1") as encoder:
        for _ in range(60):
            for packet in encoder.encode(array):
                bytes(packet)
        encoder.encode()
""",
    "jobs": """
def work():
    for _ in range(3):
        with gs.Pipeline({"source": {"url": clip}, "outputs": [{"packets": {}, "audio": False}]}).start() as job:
            list(job.packets()), list(job)
""",
    "failures": """
def work():
    for _ in range(200):
        try:
            gs.Pipeline({"source": {"url": clip}, "outputs": [{"packets": {}, "video": {"crf": "x"}}]})
        except gs.Invalid:
            pass
    for _ in range(3):
        try:
            gs.transcode("nowhere.mkv", "no.mp4")
        except gs.NotFound:
            pass
""",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the resident size")
@pytest.mark.parametrize("what", WORK)
def test_memory_stays_flat(what, clip):
    code = RSS + WORK[what] + "\nprint(grown(work))"
    # One heap: a heap for every thread would be filled one after another, which looks like a leak for a while.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", code, str(clip)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stderr
    # One 720p frame that stayed in each of the eight rounds between would be 22 MB.
    assert int(ended.stdout) < 8_000, f"grew by {ended.stdout} kB"
