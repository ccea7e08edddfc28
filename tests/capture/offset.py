#!/usr/bin/env python3
"""Picture and sound of a recording belong together: GStreamer plays a film that flashes and beeps once a second on a screen
and a loudspeaker, and the recording has both at the same time, at its beginning and at its end. GS_AV_SECONDS: how long (60)."""

import os
import pathlib
import statistics
import subprocess
import sys

import compositor
import session

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "push"))
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


def used() -> tuple[int, int]:
    """What the machine's processors did so far: idle, and altogether."""
    spent = [int(n) for n in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return spent[3] + spent[4], sum(spent)


def main() -> int:
    compositor.need("offset.py", "gst-launch-1.0", "ffmpeg", "pactl")
    inspect = subprocess.run(["gst-inspect-1.0", "pulsesink"], capture_output=True)
    if inspect.returncode != 0:
        session.skip("offset.py", "GStreamer's pulsesink")
    WORK.mkdir(parents=True, exist_ok=True)
    clip = film(SECONDS + 10)
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
            out = WORK / "recorded.mkv"
            before = used()
            done = way.run([GS, "record", "screen:", out, "-y", "--fps", "60", "--audio", "desktop", "--duration",
                            str(SECONDS), "-e", "libx264", "--tune", "ull", "--audio-codec", "flac", "--speed", "p1", "-vv"],
                           check=False, timeout=SECONDS + 40)
            idle, whole = (b - a for a, b in zip(before, used()))
            if done.returncode != 0:
                print(f"    FAILED  the recording: {done.stderr}\n{desk.log('player')[-500:]}")
                return 1
    flashes, beeps = flashes_and_beeps(out)
    # The first second is the player's, which is still finding its pace, and the last one may be cut.
    pairs = [(f, b) for f in flashes for b in beeps if abs(f - b) < 0.4 and 1.5 < f < SECONDS - 0.7]
    if len(pairs) < SECONDS * 0.6:
        print(f"    FAILED  {len(pairs)} flashes with beeps in {SECONDS} s: {flashes} {beeps}")
        return 1
    apart = [f - b for f, b in pairs]
    third = max(len(apart) // 3, 1)
    begin, middle, end = (statistics.median(part) for part in (apart[:third], apart, apart[-third:]))
    print(f"    {len(apart)} flashes: pictures are {middle * 1000:+.0f} ms from their sound ({min(apart) * 1000:+.0f} to "
          f"{max(apart) * 1000:+.0f}); {(end - begin) * 1000:+.0f} ms between beginning and end")
    print("    " + " ".join(line for line in done.stderr.splitlines() if "captured taken=" in line))
    good = abs(middle) <= FRAME and abs(end - begin) <= FRAME
    print(f"    {'ok' if good else 'FAILED'}  picture and sound are together, to a frame")
    far = [(round(f, 3), round(b, 3)) for f, b in pairs if abs(f - b) > FRAME + GRID]
    # On a machine that has no time for it the player stumbles itself: film and beeps come late on the screen, too.
    if far and idle < whole * 0.4:
        print(f"    {len(far)} flashes are not with their beep, with {100 * idle / whole:.0f} % of the machine idle: not held against it")
        far = []
    else:
        print(f"    {'FAILED' if far else 'ok'}  each flash with its beep{f': {far}' if far else ''}")
    return 0 if good and not far else 1


if __name__ == "__main__":
    sys.exit(main())
