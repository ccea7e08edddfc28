"""libnvcuvid.so.1: GStreamer's stateless NVDEC decoders decode on it what software decodes, bit for bit."""

import os
import shutil
import subprocess
import sys

from standin import WORK, check, equal, finish, run, skip

if not shutil.which("gst-launch-1.0"):
    skip("GStreamer (tests/setup/setup.sh test)")
os.environ["GST_REGISTRY"] = os.path.join(WORK, "registry")
HERE = os.path.dirname(os.path.abspath(__file__))
footage = subprocess.run([sys.executable, os.path.join(HERE, "../../setup/footage.py"), "small"], capture_output=True, text=True,
                         check=True).stdout.strip()
quick = ["-b:v", "300k", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "10"]
for name, options, pipeline in [
    ("high.mp4", ["-c:v", "libx264", "-bf", "2"], "qtdemux ! h264parse ! nvh264sldec"),
    ("vp9.webm", ["-c:v", "libvpx-vp9", *quick], "matroskademux ! vp9parse ! nvvp9sldec"),
    ("vp8.webm", ["-c:v", "libvpx", *quick], "matroskademux ! nvvp8sldec"),
]:
    clip, raw = os.path.join(WORK, name), os.path.join(WORK, name + ".yuv")
    subprocess.run(["ffmpeg", "-v", "error", "-t", "1", "-i", footage, "-an", "-vf", "scale=320:180", *options, clip], check=True,
                   stdin=subprocess.DEVNULL)
    want = subprocess.run(["ffmpeg", "-v", "error", "-i", clip, "-pix_fmt", "nv12", "-f", "rawvideo", "-"], capture_output=True, check=True)
    r = run(["gst-launch-1.0", "-q", *f"filesrc location={clip} ! {pipeline} ! cudadownload ! video/x-raw,format=NV12 ! "
             f"filesink location={raw}".split()])
    check(r.code == 0 and os.path.exists(raw), f"{name}: {r.out.decode()[-300:]} {r.err[-300:]}")
    with open(raw, "rb") as file:
        check(len(want.stdout) > 20 * 320 * 270 and file.read() == want.stdout, f"{name} is not what software decodes")
    equal((r.violations, r.leaks), ([], []), name)
    check(r.calls("cuvidDecodePicture"), f"{name} was decoded elsewhere")
finish()
