#!/usr/bin/env python3
"""Picture and sound of a recording belong together: GStreamer plays a film that flashes and beeps once a second on a screen
and a loudspeaker, and the recording has both at the same time, at its beginning and at its end. GS_AV_SECONDS: how long (60)."""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import time

import compositor
import session

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent / folder) for folder in ("push", "setup")]
from machine import Watch  # noqa: E402
from peers import flashes_and_beeps  # noqa: E402

GS = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"]) / "offset"
SECONDS = int(os.environ.get("GS_AV_SECONDS", "60"))
# A frame of 30 a second, and what is measured at the 60 a second of the recording.
FRAME, GRID = 1 / 30, 1 / 60


def film(seconds: int) -> pathlib.Path:
    path = WORK / "film.mkv"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", f"color=black:s=320x180:r=60:d={seconds}", "-f", "lavfi",
         "-i", f"aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(2*PI*1000*t),0)':s=48000:d={seconds}", "-vf",
         "drawbox=t=fill:c=white:enable='lt(mod(t,1),0.2)'", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le", path],
        check=True,
    )
    return path


def record(clip: pathlib.Path, out: pathlib.Path) -> tuple[str, Watch, float]:
    """Records the film being played. What the recorder said, how the machine was, and about when the recording began."""
    with session.Session() as desk:
        desk.sink("speakers")
        desk.run(["pactl", "set-default-sink", "speakers"])
        with compositor.Compositor(["HEADLESS-1 320x180"], env=desk.env) as way:
            desk.spawn(
                ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "matroskademux", "name=d", "d.", "!", "queue", "!",
                 "jpegdec", "!", "videoconvert", "!", "video/x-raw,format=BGRx", "!", "queue", "!", "waylandsink", "d.", "!",
                 "queue", "!", "audioconvert", "!", "audioresample", "!", "pulsesink", "buffer-time=80000",
                 "latency-time=10000"], log="player", env=way.env)
            session.wait_for("the player", lambda: desk.nodes(media_class="Stream/Output/Audio"))
            with Watch() as watch:
                done = way.run([GS, "record", "screen:", out, "-y", "--fps", "60", "--audio", "desktop", "--duration",
                                str(SECONDS), "-e", "libx264", "--tune", "ull", "--audio-codec", "flac", "--speed", "p1", "-vv"],
                               check=False, timeout=SECONDS + 40)
            if done.returncode != 0:
                print(f"    FAILED  the recording: {done.stderr}\n{desk.log('player')[-500:]}")
                sys.exit(1)
            return done.stderr, watch, time.monotonic() - SECONDS


def are_together(out: pathlib.Path, watch: Watch, began: float) -> bool:
    """Measures the recording."""
    flashes, beeps = flashes_and_beeps(out)
    # The first second is the player's, which is still finding its pace, and the last one may be cut.
    pairs = [(f, b) for f in flashes for b in beeps if abs(f - b) < 0.4 and 1.5 < f < SECONDS - 0.7]
    held = [(f, b) for f, b in pairs if watch.had_time(began + f, FRAME)]
    print(f"    {len(pairs)} of {SECONDS} flashes have their beep, {len(held)} where the machine had time")
    if len(pairs) < SECONDS * 0.6 or len(held) < SECONDS * 0.3:
        print(f"    too few: {flashes} {beeps}")
        return False
    apart = [f - b for f, b in held]
    third = max(len(apart) // 3, 1)
    begin, middle, end = (statistics.median(part) for part in (apart[:third], apart, apart[-third:]))
    print(f"    pictures are {middle * 1000:+.0f} ms from their sound ({min(apart) * 1000:+.0f} to {max(apart) * 1000:+.0f}); "
          f"{(end - begin) * 1000:+.0f} ms between beginning and end")
    far = [(round(f, 3), round(b, 3)) for f, b in held if abs(f - b) > FRAME + GRID]
    if far:
        print(f"    not with their beep: {far}")
    return abs(middle) <= FRAME and abs(end - begin) <= FRAME and not far


def main() -> int:
    compositor.need("offset.py", "gst-launch-1.0", "ffmpeg", "pactl")
    inspect = subprocess.run(["gst-inspect-1.0", "pulsesink"], capture_output=True)
    if inspect.returncode != 0:
        session.skip("offset.py", "GStreamer's pulsesink")
    # The film is to be played in time, whatever else the machine does.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    WORK.mkdir(parents=True, exist_ok=True)
    clip, out = film(SECONDS + 10), WORK / "recorded.mkv"
    for attempt in range(3):
        said, watch, began = record(clip, out)
        good = are_together(out, watch, began)
        print("    " + " ".join(line for line in said.splitlines() if "captured taken=" in line))
        stumbled = not all(watch.had_time(began + second, FRAME) for second in range(SECONDS))
        if good or not stumbled:
            break
        # A player that had to wait once is not with itself for a while: its sound goes on late, or its pictures.
        print(f"    the machine had no time at moments{': once more' if attempt < 2 else ''}")
    print(f"    {'ok' if good else 'FAILED'}  picture and sound are together, each flash with its beep, to a frame")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
