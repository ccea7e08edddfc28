#!/usr/bin/env python3
"""Screens by ext-image-copy-capture: Debian 12 has no compositor with it, so that the other side is a strict one of our own
(imagecopy_standin.py). Colours, order, the pointer, turned monitors, another mode, and what ends a capture."""

import os
import pathlib
import statistics
import subprocess
import sys

import compositor
import wayland
from imagecopy_standin import BITS, RATE, SQUARE, STRIP, Rude, Standin, XBGR
from session import wait_for
from wayland import COLOURS, bars, begin, check, events, pictures, record, size, warnings

CLI = os.environ["GS_CLI"]
WORK = wayland.WORK = pathlib.Path(os.environ["GS_WORK"]) / "imagecopy"


class Way(Standin):
    """The stand-in, and programs that see nothing else."""

    def run(self, command: list, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run([str(c) for c in command], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}\n{self.violations}"
        return done

    def spawn(self, command: list, **options) -> subprocess.Popen:
        return subprocess.Popen([str(c) for c in command], env=self.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                **options)


def number(picture) -> int:
    width = picture.shape[1]
    bits = [picture[STRIP // 2, width * (2 * i + 1) // (2 * BITS)].mean() > 128 for i in range(BITS)]
    return sum(int(bit) << (BITS - 1 - i) for i, bit in enumerate(bits))


def times(path: pathlib.Path) -> list[float]:
    done = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path],
                          capture_output=True, text=True, check=True)
    return sorted(float(line.split(",")[0]) for line in done.stdout.split())


def square(picture) -> bool:
    left, top, side = SQUARE
    return bool(picture[top + side // 2, left + side // 2].min() > 200)


def strict() -> None:
    """The stand-in refuses what the protocol forbids, or what follows says nothing."""
    rude = {
        "a second frame": ((8, 1), lambda c: c.say(8, 0, "u", 12)),
        "a capture without a buffer": ((9, 1), lambda c: c.say(9, 3)),
        "a part of a buffer that is none": ((9, 2), lambda c: c.say(9, 2, "iiii", 0, 0, 0, 5)),
        "two captures": ((9, 3), lambda c: [c.say(9, 1, "u", 11), c.say(9, 3), c.say(9, 3)]),
        "options that there are not": ((6, 1), lambda c: c.say(c.manager, 0, "uuu", 12, 7, 4)),
        "a buffer that is larger than its memory": ((10, 1), lambda c: c.say(10, 0, "uiiiiu", 12, 0, 320, 181, 1280, XBGR)),
        "an object's number that is not free": ((1, 0), lambda c: c.say(1, 0, "u", 11)),
    }
    for name, (error, do) in rude.items():
        with Standin() as monitor:
            client = Rude(monitor)
            client.session()
            do(client)
            found = client.refused()
            check(f"the stand-in refuses {name}", found == error and len(monitor.violations) == 1, (found, monitor.violations))
            client.socket.close()
    with Standin() as monitor:
        client = Rude(monitor)
        client.session()
        # What is not said to be old is not written again.
        for opcode, values in [(1, "u"), (3, "")]:
            client.say(9, opcode, values, *([11] if values else []))
        first = client.events((9, 3))
        check("and gives a picture to whoever asks as it should be", first[-1][:2] == (9, 3) and not monitor.violations,
              (first, monitor.violations))
        client.socket.close()


def shown() -> None:
    with Way() as monitor:
        done = monitor.run([CLI, "devices", "--json"])
        check("the monitor is listed", '"COPY-1"' in done.stdout, done.stdout[:300])
        path, said = record(monitor, f"screen:COPY-1?fps={RATE}&cursor=0", "moving.mkv", "--duration", "3", "--crf", "4")
        seen = pictures(path)
        found = [number(p) for p in seen]
        check("it is recorded", size(path) == (320, 180) and len(seen) in (3 * RATE - 1, 3 * RATE), (size(path), len(seen)))
        check("with its colours, and without the pointer", all(bars(p) == COLOURS for p in seen) and not square(seen[-1]), bars(seen[-1]))
        check("in order", all(a <= b for a, b in zip(found, found[1:])), found)
        share = len(set(found)) / max(found[-1] - found[0] + 1, 1)
        # A loaded machine may leave some out.
        check("with nearly every picture", share > 0.8, f"{share:.2f} of {found}")
        apart = [at - monitor.times[n] for at, n in zip(times(path), found)]
        middle = statistics.median(apart)
        furthest = max(abs(a - middle) for a in apart)
        print(f"    {share:.3f} of the pictures are there, each at its time within {furthest * 1000:.0f} ms")
        # One frame is what a rate is exact to; the other ones are for pictures that a loaded machine left out.
        check("each at its time", furthest <= 3 / RATE, [round(1000 * (a - middle)) for a in apart])
        check("and nothing is warned of", not warnings(said), warnings(said))
        path, _ = record(monitor, "screen:?fps=30", "pointer.mkv", "--duration", "0.5", "--crf", "4")
        check("the pointer is there where it is asked for", all(square(p) for p in pictures(path)))
        path, _ = record(monitor, "screen:?fps=30&region=160,90 100x60", "part.mkv", "--duration", "0.5", "--crf", "4")
        seen = pictures(path)
        middle = seen[-1][30, 20], seen[-1][30, 90]
        # Blue, then grey.
        check("a region is cut out", size(path) == (100, 60) and middle[0][2] > 200 and abs(int(middle[1][0]) - 128) < 24, middle)
        check("no rule of the protocol was broken", not monitor.violations, monitor.violations)

    with Way(moving=False) as monitor:
        path, _ = record(monitor, "screen:?fps=30", "still.mkv", "--duration", "2", "--crf", "4")
        check("a still monitor is asked once and shown all the time", len(pictures(path)) in (59, 60) and monitor.given == 1,
              (len(pictures(path)), monitor.given))
        for turn in ["90", "180", "270"]:
            monitor.change(transform=turn)
            path, _ = record(monitor, "screen:?fps=30", f"turned-{turn}.mkv", "--duration", "0.4", "--crf", "4")
            wide = (320, 180) if turn == "180" else (180, 320)
            check(f"a monitor that is turned by {turn} is upright", size(path) == wide and bars(pictures(path)[-1]) == COLOURS,
                  (size(path), bars(pictures(path)[-1])))
        check("no rule of the protocol was broken there either", not monitor.violations, monitor.violations)


def changes() -> None:
    with Way() as monitor:
        path = WORK / "resized.mkv"
        job = begin(monitor, "screen:?fps=30&cursor=0", path, "--duration", "3", "--crf", "4")
        before = monitor.given
        wait_for("pictures", lambda: monitor.given > before + 15)
        monitor.change(size=(160, 120))
        said = events(job)
        seen = pictures(path)
        # 4:3 in the middle of 16:9.
        beside, inside = [seen[-1][:, x].max() for x in (10, 30, 290, 310)], [p[:, 40:280] for p in seen[-20:]]
        found = [number(p) for p in inside]
        check("another mode is told of, and the recording goes on", job.returncode == 0 and len(seen) in (89, 90)
              and "is now 160x120, it was 320x180" in warnings(said), (job.returncode, len(seen), warnings(said)))
        check("with bars beside pictures of another shape", bars(inside[-1]) == COLOURS and max(beside) < 32, (bars(inside[-1]), beside))
        check("in new buffers, with new pictures", len(set(found)) > 5 and not monitor.violations, (found, monitor.violations))
    for name, end in [("stopped", Way.stop), ("unplugged", Way.unplug)]:
        with Way() as monitor:
            path = WORK / f"{name}.mkv"
            job = begin(monitor, "screen:?fps=30", path)
            before = monitor.given
            wait_for("pictures", lambda: monitor.given > before + 30)
            end(monitor)
            said = events(job)
            check(f"a capture that is {name} ends, is told and kept", job.returncode == 0 and "COPY-1 was removed" in warnings(said)
                  and len(pictures(path)) > 10 and not monitor.violations, (job.returncode, warnings(said), monitor.violations))


def main() -> int:
    compositor.need("imagecopy.py", "ffmpeg", "ffprobe")
    WORK.mkdir(parents=True, exist_ok=True)
    strict()
    shown()
    changes()
    print(f"    {len(wayland.failed)} failed" if wayland.failed else "    all as it should be")
    return 1 if wayland.failed else 0


if __name__ == "__main__":
    sys.exit(main())
