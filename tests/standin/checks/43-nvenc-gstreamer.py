"""libnvidia-encode.so.1: GStreamer's nvcuda encoders code on it. Those of GStreamer 1.22 know only the presets from before P1 to P7, so
they run on a driver that still has them, and are refused by a newer one, as on real machines."""

import os
import shutil
import subprocess

from standin import WORK, check, equal, finish, run, skip

if not shutil.which("gst-launch-1.0"):
    skip("GStreamer (tests/setup/setup.sh test)")
os.environ["GST_REGISTRY"] = os.path.join(WORK, "registry")


def pipeline(codec, options, coded, raw):
    source = "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=NV12,width=320,height=184,framerate=25/1 ! tee name=t"
    return ["gst-launch-1.0", "-q", *f"{source} t. ! queue ! filesink location={raw} t. ! queue ! nvcuda{codec}enc {options} ! {codec}parse ! "
            f"video/x-{codec},stream-format=byte-stream ! filesink location={coded}".split()]


for codec, layout in (("h264", "h264"), ("h265", "hevc")):
    for options in ("", "b-frames=2", "b-frames=2 rc-lookahead=8", "rate-control=cbr bitrate=3000 gop-size=12", "preset=low-latency-hq zero-reorder-delay=true",
                    "preset=lossless", "spatial-aq=true repeat-sequence-header=true aud=true"):
        coded, raw = os.path.join(WORK, "coded." + codec), os.path.join(WORK, "given.yuv")
        # Its output thread locks what is not coded yet and waits in the driver.
        r = run(pipeline(codec, options, coded, raw), API="12.1", LOCK_WAITS=1)
        text = f"GStreamer: nvcuda{codec}enc {options}"
        check(r.code == 0 and b"ERROR" not in r.out, f"{text}: {r.out.decode()[-300:]} {r.err[-300:]}")
        equal((r.violations, r.leaks), ([], []), text)
        decoded = subprocess.run(["ffmpeg", "-v", "error", "-f", layout, "-i", coded, "-pix_fmt", "nv12", "-f", "rawvideo", "-"], capture_output=True)
        with open(raw, "rb") as file:
            given = file.read()
        equal(len(given), 30 * 320 * 184 * 3 // 2, f"{text}: bytes given")
        check(decoded.stdout == given, f"{text}: is not what went in ({decoded.stderr.decode()[:200]})")

r = run(pipeline("h264", "", os.path.join(WORK, "none"), os.path.join(WORK, "none.yuv")), API="13.0")
check(r.code != 0, "a driver without the old presets is accepted")
equal(r.violations, [], "a driver without the old presets")
finish()
