"""libnvcuvid.so.1: FFmpeg's own hwaccel (Debian's, and the newest) decodes on it what it decodes in software, bit for bit."""

import os
import subprocess
import sys

from standin import STANDIN, WORK, check, equal, finish, run, script

HERE = os.path.dirname(os.path.abspath(__file__))
FOOTAGE = subprocess.run([sys.executable, os.path.join(HERE, "../../setup/footage.py"), "small"], capture_output=True, text=True,
                         check=True).stdout.strip()
CLIENTS = {"Debian's ffmpeg": "ffmpeg"}
if os.environ.get("GS_FFMPEG9"):
    CLIENTS["FFmpeg 9"] = os.environ["GS_FFMPEG9"]
else:
    print("no FFmpeg 9 (tests/setup/setup.sh test): only Debian's was tried")


def clip(name, *options, seconds="1.2", scale="scale=320:180"):
    path = os.path.join(WORK, name)
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "1", "-t", seconds, "-i", FOOTAGE, "-an", "-vf", scale, *options, path],
                   check=True, stdin=subprocess.DEVNULL)
    return path


def software(path, layout):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-an", "-vf", f"scale=in_range=full:out_range=full,format={layout}"
                           if path.endswith("mjpeg.mkv") else f"format={layout}", "-f", "framemd5", "-"],
                          capture_output=True, text=True, check=True)
    return hashes(done.stdout)


def hashes(text):
    return [line.split()[-1] for line in text.splitlines() if not line.startswith("#")]


VP9 = ["-c:v", "libvpx-vp9", "-b:v", "300k", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "12"]
X264 = ["-c:v", "libx264", "-preset", "medium"]
CLIPS = [
    (clip("vp9.webm", *VP9), "nv12"),
    (clip("vp9-10.webm", *VP9, "-profile:v", "2", "-pix_fmt", "yuv420p10"), "p010"),
    (clip("vp8.webm", "-c:v", "libvpx", "-b:v", "300k", "-auto-alt-ref", "1", "-lag-in-frames", "10"), "nv12"),
    (clip("mjpeg.mkv", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"), "nv12"),
    (clip("high.mp4", *X264, "-bf", "3"), "nv12"),
    (clip("baseline.mp4", *X264, "-profile:v", "baseline"), "nv12"),
    (clip("lists.mp4", *X264, "-x264-params", "cqm=jvt"), "nv12"),
    (clip("interlaced.mp4", *X264, "-x264-params", "interlaced=1:tff=1"), "nv12"),
]
for path, layout in CLIPS:
    name = os.path.basename(path)
    want = software(path, layout)
    check(len(want) > 10, f"{name} has {len(want)} pictures")
    for client, binary in CLIENTS.items():
        r = run([binary, "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", path, "-an", "-vf",
                 f"hwdownload,format={layout}", "-f", "framemd5", "-"])
        check(r.code == 0 and hashes(r.out.decode()) == want, f"{client}: {name} is not what software decodes ({r.err[:300]})")
        equal((r.violations, r.leaks), ([], []), f"{client}: {name}")
        check(len(r.calls("cuvidDecodePicture")) >= len(want), f"{client}: {name} was decoded elsewhere")
        check(not r.calls("decode-error"), f"{client}: {name} had pictures that did not decode")
        # What NVDEC writes is no copy of the host's.
        equal(r.copies("HtoD"), 0, f"{client}: {name}: bytes from the host to the device")

# Late, and still right: the client waits where it has to.
r = run(["ffmpeg", "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", CLIPS[0][0], "-an", "-vf",
         "hwdownload,format=nv12", "-f", "framemd5", "-"], ASYNC=3000)
equal(hashes(r.out.decode()), software(CLIPS[0][0], "nv12"), "3 ms late")

# Up and down again, without a decoder.
up = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-vf"]
plain = subprocess.run(["ffmpeg", "-v", "error", *up, "format=nv12", "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
for client, binary in CLIENTS.items():
    for late in ({}, {"ASYNC": 2000}):
        r = run([binary, "-v", "error", "-init_hw_device", "cuda=c", "-filter_hw_device", "c", *up,
                 "format=nv12,hwupload_cuda,hwdownload,format=nv12", "-f", "framemd5", "-"], **late)
        equal(hashes(r.out.decode()), hashes(plain.stdout), f"{client}: up and down {late} ({r.err[:300]})")
        equal((r.violations, r.leaks), ([], []), f"{client}: up and down {late}")
        equal((r.copies("HtoD"), r.copies("DtoH")), (25 * 320 * 270, 25 * 320 * 270), f"{client}: bytes up and down {late}")

# What it cannot decode is refused, and FFmpeg says so rather than show grey: a codec, a depth, a card without NVDEC memory.
hevc = clip("hevc.mkv", "-c:v", "libx265", "-x265-params", "log-level=none", seconds="0.3")
ten = clip("ten.mp4", *X264, "-pix_fmt", "yuv420p10", seconds="0.3")
for path, knobs in ((hevc, {}), (ten, {}), (CLIPS[0][0], {"FAULT": "cuvidCreateDecoder:1+=2"})):
    r = run(["ffmpeg", "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", path, "-an", "-vf",
             "hwdownload,format=nv12", "-f", "null", "-"], **knobs)
    check(r.code != 0 and not r.calls("cuvidMapVideoFrame64"), f"{os.path.basename(path)} {knobs} is refused")

# FFmpeg's own kernels are machine code of a GPU: refused, not imitated.
r = run(["ffmpeg", "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", CLIPS[0][0], "-an", "-vf",
         "scale_cuda=160:90,hwdownload,format=nv12", "-f", "null", "-"])
check(r.code != 0 and [line["rc"] for line in r.calls("cuModuleLoadData")] == [209], "scale_cuda is refused")
finish()
