"""NVDEC to four NVENC sessions in FFmpeg: what is decoded on the device is encoded there, and no picture crosses to the host."""

import os
import subprocess
import sys

from standin import STANDIN, WORK, check, equal, finish, run, skip

if not os.path.exists(os.path.join(STANDIN, "libnvidia-encode.so.1")):
    skip("there is no libnvidia-encode.so.1")
HERE = os.path.dirname(os.path.abspath(__file__))
footage = subprocess.run([sys.executable, os.path.join(HERE, "../../setup/footage.py"), "small"], capture_output=True, text=True,
                         check=True).stdout.strip()
source = os.path.join(WORK, "source.webm")
subprocess.run(["ffmpeg", "-v", "error", "-t", "1.5", "-i", footage, "-an", "-vf", "scale=320:180", "-c:v", "libvpx-vp9", "-b:v", "300k",
                "-deadline", "realtime", "-cpu-used", "8", source], check=True, stdin=subprocess.DEVNULL)


def pictures(path):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-pix_fmt", "yuv420p", "-f", "framemd5", "-"], capture_output=True,
                          text=True, check=True)
    return [line.split()[-1] for line in done.stdout.splitlines() if not line.startswith("#")]


outputs = [[os.path.join(WORK, name), *options] for name, *options in [
    ("a.mp4", "-c:v", "h264_nvenc", "-tune", "lossless"),
    ("b.mp4", "-c:v", "hevc_nvenc", "-tune", "lossless"),
    ("c.mp4", "-c:v", "h264_nvenc", "-b:v", "1M", "-bf", "2"),
    ("d.mp4", "-c:v", "h264_nvenc", "-rc", "constqp", "-qp", "30", "-bf", "0"),
]]
command = ["ffmpeg", "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", source]
for path, *options in outputs:
    command += ["-an", *options, path]
r = run(command)
equal(r.code, 0, f"FFmpeg ({r.err[:500]})")
equal((r.violations, r.leaks), ([], []), "violations and leaks")
equal({kind: r.copies(kind) for kind in ("HtoD", "DtoH", "HtoH")}, {"HtoD": 0, "DtoH": 0, "HtoH": 0}, "bytes that crossed")
want = pictures(source)
check(len(want) > 30, "the source has pictures")
for path, *_ in outputs[:2]:
    equal(pictures(path), want, f"{os.path.basename(path)}: lossless")
for path, *_ in outputs[2:]:
    equal(len(pictures(path)), len(want), f"{os.path.basename(path)}: pictures")

# With work that is late: the encoders wait for the streams, so that the pictures are the same.
r = run([*command[:1], "-y", *command[1:]], ASYNC=1000)
equal((r.code, r.violations, r.leaks), (0, [], []), f"1 ms late ({r.err[:500]})")
for path, *_ in outputs[:2]:
    equal(pictures(path), want, f"{os.path.basename(path)}: lossless, 1 ms late")
finish()
