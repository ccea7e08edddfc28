#!/usr/bin/env python3
"""Screens of a real Wayland compositor (sway, headless) through wlr-screencopy: colours, parts, turned and scaled monitors,
the pointer, still and moving pictures, and monitors and compositors that go away. Peers: grim, wf-recorder."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy

import compositor
from session import wait_for

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"])
COLOURS = ["ff0000", "00ff00", "0000ff", "808080"]
BITS = 32
failed = []


def check(name: str, good: bool, said: object = "") -> None:
    print(f"    {'ok' if good else 'FAILED'}  {name}{'' if good else f': {said}'}")
    if not good:
        failed.append(name)


def record(way, source: str, name: str, *options: str, **more) -> tuple[pathlib.Path, list[dict]]:
    """Records to the end of what `options` say; the file and what the job said."""
    path = WORK / name
    done = way.run([CLI, "transcode", source, path, "--overwrite", "--events", "json", *options], **more)
    return path, [json.loads(line) for line in done.stdout.splitlines()]


def begin(way, source: str, path: pathlib.Path, *options: str) -> subprocess.Popen:
    """Starts a recording and waits until it runs."""
    path.unlink(missing_ok=True)
    job = way.spawn([CLI, "transcode", source, path, "--overwrite", "--events", "json", *options],
                    stdout=subprocess.PIPE, text=True)
    for line in job.stdout:
        if json.loads(line).get("state") == "running":
            return job
    raise AssertionError(f"{source}: the job ended: {job.wait()}")


def events(job: subprocess.Popen) -> list[dict]:
    """What a job says until its end."""
    out, _ = job.communicate(timeout=30)
    return [json.loads(line) for line in out.splitlines()]


def warnings(said: list[dict]) -> str:
    return " | ".join(e["message"] for e in said if e["type"] == "warning")


def size(path: pathlib.Path) -> tuple[int, int]:
    entries = ["-show_entries", "stream=width,height", "-of", "csv=p=0"]
    done = subprocess.run(["ffprobe", "-v", "error", *entries, path], capture_output=True, text=True, check=True)
    width, height = done.stdout.strip().split("\n")[0].split(",")[:2]
    return int(width), int(height)


def pictures(path: pathlib.Path, pixel: str = "rgb24", filters: str = "null") -> numpy.ndarray:
    """All pictures of a file or a PNG: count, height, width, channels."""
    width, height = size(path)
    channels = 3 if pixel == "rgb24" else 1
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-vf", filters, "-vsync", "passthrough", "-f", "rawvideo",
         "-pix_fmt", pixel, "-"], capture_output=True, check=True)
    return numpy.frombuffer(done.stdout, numpy.uint8).reshape(-1, height, width, channels)


def near(a: numpy.ndarray, b: numpy.ndarray) -> bool:
    """Whether two pictures look the same: chroma is halved on the way, so that edges may differ."""
    if a.shape != b.shape:
        return False
    wrong = (numpy.abs(a.astype(int) - b.astype(int)).max(axis=2) > 24).mean()
    return wrong < 0.04


def bars(picture: numpy.ndarray) -> list[str]:
    """The colours of four bars, rounded."""
    width = picture.shape[1]
    middle = picture[picture.shape[0] // 2]
    seen = [middle[width * (2 * i + 1) // 8] for i in range(4)]
    known = {c: numpy.frombuffer(bytes.fromhex(c), numpy.uint8).astype(int) for c in [*COLOURS, "ffff00", "00ffff", "000000"]}
    return [min(known, key=lambda c: numpy.abs(known[c] - s).max()) for s in seen]


def number(picture: numpy.ndarray) -> int | None:
    """The frame number that GhostStream's pattern has burnt in; `None` where there is none."""
    height, width = picture.shape[:2]
    value = 0
    for bit in range(BITS):
        x = width * (2 * bit + 1) // (2 * BITS)
        low, high = picture[height - height // 32][x][0] > 128, picture[height - height * 3 // 32][x][0] > 128
        if low == high:
            return None
        value = value * 2 + int(low)
    return value


def stills() -> None:
    with compositor.Compositor(["HEADLESS-1 640x360", "HEADLESS-2 320x240"]) as way:
        way.paint("HEADLESS-1", *COLOURS)
        way.paint("HEADLESS-2", "ffff00", "00ffff")
        time.sleep(0.5)

        path, said = record(way, "screen:HEADLESS-1?fps=60", "left.mkv", "--duration", "1", "--crf", "4")
        seen = pictures(path)
        check("a still screen has a constant rate", len(seen) in (59, 60), len(seen))
        check("colours of the first monitor", size(path) == (640, 360) and bars(seen[-1]) == COLOURS, bars(seen[-1]))
        check("nothing is warned of", not warnings(said), warnings(said))
        job = begin(way, "screen:HEADLESS-1?fps=60", WORK / "stood.mkv", "--duration", "2", "--preset", "p1")
        time.sleep(0.7)
        job.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        job.send_signal(signal.SIGCONT)
        told, seen = warnings(events(job)), len(pictures(WORK / "stood.mkv"))
        check("also where the job stood still for a moment", seen in (119, 120) and not told, (seen, told))
        slow = ["--duration", "3", "--video", "h265", "--preset", "p7", "--crf", "4", "--size", "1920x1080"]
        path, said = record(way, "screen:HEADLESS-1?fps=60", "slow.mkv", *slow)
        told, lost = warnings(said), said[-1].get("dropped", 0) or max(e.get("dropped", 0) for e in said)
        check("an encoder that is too slow for the screen is told", "left out" in told and lost > 60, (told, lost))
        path, _ = record(way, "screen:HEADLESS-1?fps=60&variable", "still.mkv", "--duration", "2.5")
        check("a variable rate shows a still screen once a second", len(pictures(path)) in (3, 4), len(pictures(path)))
        path, _ = record(way, "screen:HEADLESS-2", "right.mkv", "--duration", "0.3", "--crf", "4")
        seen = bars(pictures(path)[-1])
        check("the second monitor by its name", size(path) == (320, 240) and seen == ["ffff00"] * 2 + ["00ffff"] * 2, seen)

        path, said = record(way, "screen:", "first.mkv", "--duration", "0.3", "--crf", "4")
        seen, told = bars(pictures(path)[-1]), warnings(said)
        check("several monitors and none named: the first of the layout, which is told with the others",
              size(path) == (640, 360) and seen == COLOURS and "HEADLESS-1" in told and "HEADLESS-2" in told, (seen, told))
        job = way.spawn([CLI, "record", "screen:HEADLESS-1", WORK / "status.mkv", "-y", "--no-cursor"])
        wait_for("the recording", lambda: " taken, " in way.run([CLI, "ctl", "status"], check=False).stdout)
        time.sleep(1)
        line = way.run([CLI, "ctl", "status"]).stdout
        counts = json.loads(way.run([CLI, "ctl", "status", "--json"]).stdout)["screen"]
        job.send_signal(signal.SIGINT)
        check("what became of the screen's pictures is told", "; wlr-screencopy: " in line and " late), " in line and counts["taken"] in (1, 2, 3)
              and counts["repeated"] > 30 and job.wait(10) == 0, (line, counts))
        done = way.run([CLI, "transcode", "screen:DP-7", WORK / "none.mkv", "--overwrite"], check=False)
        check("a monitor that is not there is named",
              done.returncode != 0 and "DP-7" in done.stderr and "HEADLESS-1" in done.stderr, done.stderr)
        done = way.run([CLI, "transcode", "screen:?region=600,10 80x50", WORK / "none.mkv", "--overwrite"], check=False)
        check("a region on two monitors is refused", done.returncode != 0 and "several monitors" in done.stderr, done.stderr)

        same_as_grim(way, "a region", "100,50 400x200")
        same_as_grim(way, "a region of the second monitor", "700,50 100x100")
        for turn in ["90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270"]:
            way.msg(f"output HEADLESS-1 transform {turn}")
            time.sleep(0.2)
            same_as_grim(way, f"turned by {turn}", None)
        way.msg("output HEADLESS-1 transform 90")
        time.sleep(0.2)
        same_as_grim(way, "a region of a turned monitor", "20,30 200x100")
        way.msg("output HEADLESS-1 transform normal")
        way.msg("output HEADLESS-1 scale 1.5")
        time.sleep(0.2)
        same_as_grim(way, "a region of a scaled monitor", "100,50 200x100")
        way.msg("output HEADLESS-1 scale 1")

        # A headless wlroots draws the pointer itself, so that it is in the picture either way: that it is not when it
        # shall not cannot be seen here.
        before, _ = record(way, "screen:HEADLESS-1", "before.mkv", "--duration", "0.3", "--crf", "4")
        pointer = compositor.Pointer(way.env)
        pointer.move(300, 100, 960, 360)
        time.sleep(0.3)
        after, _ = record(way, "screen:HEADLESS-1", "after.mkv", "--duration", "0.3", "--crf", "4")
        differ = numpy.abs(pictures(before)[-1].astype(int) - pictures(after)[-1]).max(axis=2) > 60
        rows, columns = numpy.nonzero(differ)
        there = len(rows) > 8 and 95 < rows.mean() < 130 and 295 < columns.mean() < 330
        check("the pointer is in the picture", there, (len(rows), rows[:1], columns[:1]))


def same_as_grim(way, name: str, region: str | None) -> None:
    png = WORK / "grim.png"
    source = f"screen:?region={region}" if region else "screen:HEADLESS-1"
    way.run(["grim", *(["-g", region] if region else ["-o", "HEADLESS-1"]), png])
    path, _ = record(way, source, "same.mkv", "--duration", "0.2", "--crf", "4")
    theirs, ours = pictures(png)[0], pictures(path)[-1]
    # Sides are made even for the encoder.
    theirs = theirs[: ours.shape[0], : ours.shape[1]]
    check(f"{name}: as grim sees it", near(theirs, ours), (theirs.shape, ours.shape))


def moving() -> None:
    """A film with frame numbers, played on the screen at 60 a second."""
    compositor.need("wayland.py", "gst-launch-1.0", "wf-recorder")
    film = WORK / "film.yuv"
    seconds, rate = 6, 60
    subprocess.run(
        [CLI, "transcode", f"pattern:gradient?size=640x360&fps={rate}&frames={seconds * rate}&burn_in", WORK / "film.mkv", "--overwrite",
         "--crf", "4"], check=True, capture_output=True)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", WORK / "film.mkv", "-f", "rawvideo", "-pix_fmt", "yuv420p", film],
                   check=True)
    with compositor.Compositor(["HEADLESS-1 640x360"]) as way:
        way.msg("output HEADLESS-1 bg #000000 solid_color")
        play = ["gst-launch-1.0", "filesrc", f"location={film}", "!", "rawvideoparse", "width=640", "height=360",
                "format=i420", f"framerate={rate}/1", "!", "videoconvert", "!", "video/x-raw,format=BGRx", "!", "waylandsink"]
        shown = {}
        for who in ["ghoststream", "wf-recorder"]:
            player = way.spawn(play)
            time.sleep(1.2)
            path = WORK / f"moving-{who}.mkv"
            if who == "ghoststream":
                record(way, "screen:HEADLESS-1?fps=60&cursor=0", path.name, "--duration", "3", "--preset", "p1")
            else:
                job = way.spawn(["wf-recorder", "-y", "-o", "HEADLESS-1", "-c", "libx264", "-p", "preset=ultrafast", "-f", path])
                time.sleep(3.2)
                way_stop(job)
            numbers = [number(p) for p in pictures(path, "gray")]
            shown[who] = [n for n in numbers if n is not None]
            way_stop(player)
            time.sleep(0.3)
        ours = shown["ghoststream"]
        check("pictures are in their order", len(ours) > 100 and all(a <= b for a, b in zip(ours, ours[1:])), ours)
        different = len(set(ours))
        spread = max(ours, default=0) - min(ours, default=0) + 1
        print(f"    of {spread} pictures that were shown, {different} are in the recording ({different / max(spread, 1):.3f}); "
              f"wf-recorder: {len(set(shown['wf-recorder']))} of "
              f"{max(shown['wf-recorder'], default=0) - min(shown['wf-recorder'], default=0) + 1}")
        # What a loaded machine delivers is no promise; that most come is.
        check("most pictures are in the recording", different / max(spread, 1) > 0.6, f"{different} of {spread}")


def way_stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(2)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def ends() -> None:
    with compositor.Compositor(["HEADLESS-1 640x360", "HEADLESS-2 320x240"]) as way:
        way.paint("HEADLESS-1", *COLOURS)
        way.paint("HEADLESS-2", "ffff00", "00ffff")
        time.sleep(0.5)
        path = WORK / "resized.mkv"
        job = begin(way, "screen:HEADLESS-1?fps=30", path, "--duration", "2", "--crf", "4")
        time.sleep(0.6)
        way.msg("output HEADLESS-1 mode 800x600")
        said = events(job)
        seen = pictures(path)
        check("a monitor with a new mode is told of", "is now 800x600, it was 640x360" in warnings(said), warnings(said))
        check("and the recording goes on", job.returncode == 0 and len(seen) in (59, 60) and bars(seen[-1]) == COLOURS,
              (job.returncode, len(seen), bars(seen[-1])))

        # Headless outputs of this sway cannot be removed; windows of another compositor that are its outputs can.
        path = WORK / "unplugged.mkv"
        with compositor.Compositor(["WL-1 320x240", "WL-2 320x240"], inside=way) as inner:
            time.sleep(0.5)
            job = begin(inner, "screen:WL-2?fps=30", path)
            time.sleep(0.8)
            way.msg('[title="WL-2"] kill')
            said = events(job)
        check("a monitor that is unplugged ends the recording", "WL-2 was removed" in warnings(said), warnings(said))
        check("which is kept", job.returncode == 0 and len(pictures(path)) > 15, job.returncode)

        path = WORK / "killed.mp4"
        job = begin(way, "screen:HEADLESS-1?fps=30", path)
        time.sleep(0.8)
        way.kill()
        said = events(job)
        check("a compositor that dies ends the recording", "the compositor is gone" in warnings(said), warnings(said))
        check("and that is kept, too", job.returncode == 0 and len(pictures(path)) > 15, job.returncode)


def main() -> int:
    compositor.need("wayland.py", "grim", "swaybg", "ffmpeg", "ffprobe")
    WORK.mkdir(parents=True, exist_ok=True)
    for part in [stills, moving, ends]:
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part()
    print(f"    {len(failed)} failed" if failed else "    all as it should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
