"""libnvidia-encode.so.1: FFmpeg's own NVENC encoders (Debian's, and the newest) code on it; what they wrote decodes, in software and
without the stand-in, to what they were given, bit for bit."""

import os
import subprocess

from standin import WORK, check, equal, finish, run

FRAMES = 30
CLIENTS = {"Debian's ffmpeg": "ffmpeg"}
if os.environ.get("GS_FFMPEG9"):
    CLIENTS["FFmpeg 9"] = os.environ["GS_FFMPEG9"]
else:
    print("no FFmpeg 9 (tests/setup/setup.sh test): only Debian's was tried")
# What each needs of the driver at least; an older one is refused.
API = {"Debian's ffmpeg": "11.1", "FFmpeg 9": "13.1"}
OLDER = {"Debian's ffmpeg": "11.0", "FFmpeg 9": "13.0"}
_sources = {}


def source(layout, size="322x182"):
    """Raw video of a picture that moves in part: what does not move may be skipped."""
    key = layout + size
    if key not in _sources:
        path = os.path.join(WORK, key + ".yuv")
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25", "-frames:v", str(FRAMES), "-vf",
                        "drawbox=x=0:y=0:w=iw/2:h=ih:c=gray:t=fill", "-pix_fmt", layout, "-f", "rawvideo", path], check=True)
        _sources[key] = path
    return _sources[key]


def probe(path, entries):
    done = subprocess.run(["ffprobe", "-v", "error", "-show_entries", entries, "-of", "csv=p=0", path], capture_output=True, text=True)
    return [line.rstrip(",") for line in done.stdout.split()]


def same(path, layout, raw, text, size="322x182"):
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-pix_fmt", layout, "-f", "rawvideo", "-"], capture_output=True)
    check(decoded.returncode == 0 and not decoded.stderr, f"{text}: does not decode: {decoded.stderr.decode()[:300]}")
    with open(raw, "rb") as file:
        check(decoded.stdout == file.read(), f"{text}: is not what went in")


def code(client, codec, options, layout="yuv420p", size="322x182", **knobs):
    knobs.setdefault("API", "13.1")
    path = os.path.join(WORK, "coded.mkv")
    if os.path.exists(path):
        os.remove(path)
    raw = source(layout, size)
    text = f"{client}: {codec} {' '.join(options)} {layout} {knobs or ''}"
    r = run([CLIENTS[client], "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", layout, "-s", size, "-r", "25", "-i", raw, "-c:v", codec,
             *options, path], **knobs)
    equal((r.code, r.violations, r.leaks), (0, [], []), f"{text} ({r.err[:300]})")
    check(r.code != 0 or os.path.exists(path), f"{text}: wrote nothing")
    if r.code == 0:
        same(path, layout, raw, text, size)
        equal(len(r.calls("standin.coded")), FRAMES, f"{text}: pictures coded")
        stamps = [tuple(map(int, line.split(","))) for line in probe(path, "packet=pts,dts") if "N/A" not in line]
        check(all(a[1] < b[1] for a, b in zip(stamps, stamps[1:])), f"{text}: DTS goes back")
        equal(len({pts for pts, _ in stamps}), len(stamps), f"{text}: time stamps")
    return path, r


def types(path):
    if not os.path.exists(path):
        return ""
    return "".join(probe(path, "frame=pict_type"))


BOTH = [
    ["-bf", "0"],
    ["-bf", "3"],
    ["-bf", "3", "-b_ref_mode", "middle"],
    ["-bf", "2", "-rc-lookahead", "10"],
    ["-bf", "0", "-rc-lookahead", "20"],
    ["-rc", "cbr", "-b:v", "2M", "-bf", "2"],
    ["-rc", "vbr", "-cq", "20", "-b:v", "0"],
    ["-rc", "constqp", "-qp", "20", "-preset", "p7", "-tune", "hq"],
    ["-preset", "p1", "-tune", "ull", "-zerolatency", "1"],
    ["-tune", "lossless"],
    ["-spatial-aq", "1", "-temporal-aq", "1", "-weighted_pred", "1", "-bf", "0"],
    ["-aud", "1", "-bf", "0", "-dpb_size", "4"],
    ["-multipass", "fullres", "-rc", "vbr", "-b:v", "1M", "-maxrate", "2M", "-bufsize", "2M"],
]
for client in CLIENTS:
    for codec in ("h264_nvenc", "hevc_nvenc"):
        for options in BOTH:
            code(client, codec, options)
        code(client, codec, ["-bf", "2"], API=API[client])
        code(client, codec, ["-intra-refresh", "1", "-bf", "0"])
        code(client, codec, [], "nv12")
        code(client, codec, [], "yuv444p")
        path, _ = code(client, codec, ["-g", "12", "-bf", "2"])
        equal(types(path), "IBBPBBPBBPBPIBBPBBPBBPBPIBBPBP", f"{client}: {codec}: closed groups of 12 with two B frames")
        path, _ = code(client, codec, ["-g", "250", "-bf", "0", "-forced-idr", "1", "-force_key_frames", "0.4,0.6"])
        equal(types(path), "I" + "P" * 9 + "I" + "P" * 4 + "I" + "P" * 14, f"{client}: {codec}: forced key frames")
        path, _ = code(client, codec, ["-bf", "3"])
        check(types(path).startswith("IBBBPBBBP"), f"{client}: {codec}: three B frames: {types(path)}")
        # What the stream says of its colours.
        path, _ = code(client, codec, ["-vf", "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"])
        equal(probe(path, "stream=color_range,color_space,color_transfer,color_primaries"), ["tv,bt709,bt709,bt709"], f"{client}: {codec}: colour")
        # Late pictures: the client waits in the lock.
        code(client, codec, ["-bf", "2"], LATENCY_US=3000)
    code(client, "hevc_nvenc", ["-bf", "2", "-pix_fmt", "p010le"], "yuv420p10le")
    code(client, "hevc_nvenc", ["-profile:v", "main10", "-pix_fmt", "p010le"], "yuv420p10le")

# Coding that costs nothing: every picture shows the key frame before it.
for codec in ("h264_nvenc", "hevc_nvenc"):
    path = os.path.join(WORK, "skip.mkv")
    r = run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "322x182", "-i", source("yuv420p"), "-c:v", codec, "-bf", "2",
             path], CODING="skip")
    equal((r.code, r.violations, r.leaks), (0, [], []), f"CODING=skip: {codec}")
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "framemd5", "-"], capture_output=True, text=True)
    pictures = {line.split()[-1] for line in done.stdout.splitlines() if not line.startswith("#")}
    equal((len(pictures), done.stderr, done.stdout.count("\n") >= FRAMES), (1, "", True), f"CODING=skip: {codec}: one picture, shown throughout")

# A card's limits: FFmpeg asks for the caps, or is refused by Initialize.
for client in CLIENTS:
    for options, knobs, wanted in (
            (["-c:v", "hevc_nvenc", "-bf", "2"], {"PROFILE": "gtx1650", "API": "13.1"}, "B-frames"),
            (["-c:v", "h264_nvenc"], {"PROFILE": "h200", "API": "13.1"}, ""),
            (["-c:v", "h264_nvenc"], {"API": OLDER[client]}, "API version")):
        r = run([CLIENTS[client], "-v", "verbose", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "322x182", "-i", source("yuv420p"), *options,
                 os.path.join(WORK, "none.mkv")], **knobs)
        check(r.code != 0 and wanted in r.err, f"{client}: {options} {knobs} is not refused")
        equal(r.violations, [], f"{client}: {options} {knobs}")

# AV1 and what only the newest FFmpeg does: HDR metadata, UHQ.
if "FFmpeg 9" in CLIENTS:
    for options in ([], ["-bf", "2", "-rc-lookahead", "8"], ["-g", "10", "-forced-idr", "1"], ["-rc", "cbr", "-b:v", "1M"]):
        code("FFmpeg 9", "av1_nvenc", options, size="320x180")
    code("FFmpeg 9", "av1_nvenc", ["-pix_fmt", "p010le"], "yuv420p10le", size="320x180")
    code("FFmpeg 9", "hevc_nvenc", ["-tune", "uhq"])
    code("FFmpeg 9", "h264_nvenc", ["-bf", "2", "-pix_fmt", "p010le"], "yuv420p10le", PROFILE="rtx5090")
    for surface, layout in (("nv16", "yuv422p"), ("p210le", "yuv422p10le")):
        for codec in ("h264_nvenc", "hevc_nvenc"):
            code("FFmpeg 9", codec, ["-bf", "2", "-pix_fmt", surface], layout, PROFILE="rtx5090")
finish()
