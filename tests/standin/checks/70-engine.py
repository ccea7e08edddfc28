#!/usr/bin/env python3
"""The engine drives NVENC itself: codecs, rate controls, structure, depths and kinds of input, profiles of GPUs, limits and
faults. The stand-in's sessions lose nothing, so what comes out is what went in, frame by frame."""

import os
import re
import subprocess
import time

from engine import clean, ffmpeg, frames, job, output
from standin import WORK, check, equal, finish

FRAMES = 25

source = f"{WORK}/clip.mp4"
size = "size=320x180:rate=25:duration=1"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size}", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-pix_fmt", "yuv420p", source)
deep = f"{WORK}/deep.mkv"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv420p10le", "-c:v", "ffv1", "-level", "3", deep)
wide = f"{WORK}/wide.mkv"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv444p", "-c:v", "ffv1", "-level", "3", wide)
# 4:2:2, in both depths, and what NVDEC decodes in ten bits.
half = f"{WORK}/half.mkv"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv422p", "-c:v", "ffv1", "-level", "3", half)
half_deep = f"{WORK}/half-deep.mkv"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv422p10le", "-c:v", "ffv1", "-level", "3", half_deep)
wide_deep = f"{WORK}/wide-deep.mkv"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv444p10le", "-c:v", "ffv1", "-level", "3", wide_deep)
vp9 = f"{WORK}/deep.webm"
ffmpeg("-f", "lavfi", "-i", f"testsrc2={size},format=yuv420p10le", "-c:v", "libvpx-vp9", "-b:v", "1M", "-cpu-used", "8", "-profile:v", "2", vp9)
on_host = {"url": source, "decode": {"device": "software"}}
on_device = {"url": source, "decode": {"device": "cuda"}}

RATES = {
    "crf": {"crf": 24},
    "vbr": {"bitrate": "2M"},
    "peak": {"bitrate": "2M", "max_bitrate": "3M", "buffer": "1M"},
    "capped": {"crf": 24, "max_bitrate": "3M"},
    "cbr": {"bitrate": "2M", "cbr": True},
    "qp": {"qp": 20},
    "lossless": {"lossless": True},
}
STRUCTURES = {
    "none": {"b_frames": 0},
    "b": {"b_frames": 3},
    "ahead": {"b_frames": 0, "lookahead": 8},
    "both": {"b_frames": 3, "lookahead": 6, "gop": 12},
    "ull": {"tune": "ull"},
}


def matrix(name, codec, extra, place, original, pixels, rates, structures, **knobs):
    wanted = frames(original, pixels)
    equal(len(wanted), FRAMES, f"{original}: frames")
    outputs, names = [], []
    for rate in rates:
        for structure in structures:
            label = f"{name}-{rate}-{structure}"
            outputs.append(output(label, {"codec": codec, **RATES[rate], **STRUCTURES[structure], **extra}))
            names.append(label)
    done = job(name, outputs, place, SESSIONS=0, **knobs)
    equal(done.code, 0, f"{name}: {done.message} {done.err[-600:]}")
    clean(done, name)
    if done.code:
        return done
    for label in names:
        found = frames(f"{WORK}/{label}.mkv", pixels)
        check(found == wanted, f"{label}: {len(found)} frames, {sum(a == b for a, b in zip(found, wanted))} as they were")
    print(f"{name}: {len(names)} encodes, {len(wanted)} frames each, bit-exact")
    return done


ALL, SOME = list(RATES), ["crf", "cbr"]
matrix("h264-host", "h264", {}, on_host, source, "yuv420p", ALL, list(STRUCTURES))
matrix("hevc-host", "hevc", {}, on_host, source, "yuv420p", ALL, ["none", "both"])
matrix("hevc-deep", "hevc", {}, {"url": deep}, deep, "yuv420p10le", ["crf", "cbr", "lossless"], ["none", "b", "both"])
matrix("h264-444", "h264", {"pixel_format": "yuv444p"}, {"url": wide}, wide, "yuv444p", ["crf", "lossless"], ["none", "b"])
matrix("av1-host", "av1", {}, on_host, source, "yuv420p", SOME, ["none", "both"])
for codec in ["h264", "hevc"]:
    done = matrix(f"{codec}-device", codec, {}, on_device, source, "yuv420p", SOME, list(STRUCTURES))
    # Decoded, perhaps copied, and encoded on the device.
    equal(done.copies("HtoD") + done.copies("DtoH"), 0, f"{codec}-device: bytes between host and device")

# Options by name, and what the plan calls the encoder.
done = job(
    "options",
    [
        output("options", {
            "codec": "hevc", "bitrate": "3M", "b_frames": 3, "lookahead": 8, "preset": "p6", "level": "5.1", "profile": "main",
            "options": {"multipass": "fullres", "b_ref_mode": "middle", "spatial-aq": "1", "aq-strength": "8", "temporal-aq": "1",
                        "tier": "high", "qmin": "5", "qmax": "45", "no-scenecut": "1"},
        }),
        output("refresh", {"codec": "h264", "bitrate": "2M", "gop": 10, "b_frames": 0, "options": {"intra-refresh": "1", "aud": "1"}}),
    ],
    on_host,
)
equal(done.code, 0, f"options: {done.message}")
clean(done, "options")
plans = [e["plan"] for e in done.events if e["type"] == "plan"]
equal([o["tracks"][0]["encoder"] for o in plans[-1]["outputs"]], ["nvenc", "nvenc"], "the plan's encoders")
for name in ["options", "refresh"]:
    equal(frames(f"{WORK}/{name}.mkv"), frames(source), name)

# Key frames come where segments begin, and nowhere else.
segments = {"path": f"{WORK}/hls", "format": "hls", "audio": False, "segment": {"duration": 0.5}, "video": {"encoder": "nvenc", "bitrate": "1M", "b_frames": 2}}
done = job("segments", [segments], on_host)
equal(done.code, 0, f"segments: {done.message} {done.err[-300:]}")
clean(done, "segments")

# What a GPU lacks is refused by the field's name before a session opens.
for profile, video, field in [
    ("gtx1650", {"codec": "hevc", "b_frames": 2}, "outputs[0].video.b_frames"),
    ("gtx1650", {"codec": "av1"}, "GTX 1650 does not encode av1"),
    ("rtx3060", {"codec": "h264", "profile": "high10", "bit_depth": 10}, "bit_depth"),
    ("rtx4090", {"codec": "av1", "options": {"split_encode_mode": "3"}}, "options.split_encode_mode"),
    ("rtx4090", {"codec": "h264", "options": {"no-such": "1"}}, "options.no-such"),
    ("h200", {"codec": "h264"}, "H200"),
    ("none", {"codec": "h264"}, "CUDA"),
]:
    done = job("refused", [output("refused", video)], on_host, PROFILE=profile)
    check(done.code != 0, f"{profile} {video}: refused")
    said = done.message + done.err
    check(field in said, f"{profile} {video}: {field!r} is in {said[-300:]!r}")
    equal(done.calls("NvEncInitializeEncoder"), [], f"{profile} {video}: sessions configured")
    check(not os.path.exists(f"{WORK}/refused.mkv"), f"{profile} {video}: nothing is left behind")
    equal(done.violations, [], f"{profile}: violations")
    equal(done.leaks, [], f"{profile}: leaks")

# Every card with what only some have: depths and chroma by its capabilities, from the host and from NVDEC.
DEPTHS = {
    "hevc-10": ("hevc", {}, deep, "yuv420p10le"),
    "hevc-444": ("hevc", {"pixel_format": "yuv444p"}, wide, "yuv444p"),
    "hevc-444-10": ("hevc", {"pixel_format": "yuv444p10le", "profile": "main444-10"}, wide_deep, "yuv444p10le"),
    "h264-444": ("h264", {"pixel_format": "yuv444p"}, wide, "yuv444p"),
    "av1-10": ("av1", {}, deep, "yuv420p10le"),
    "h264-10": ("h264", {"bit_depth": 10, "profile": "high10"}, deep, "yuv420p10le"),
    "h264-422": ("h264", {"pixel_format": "yuv422p", "profile": "high422"}, half, "yuv422p"),
    "h264-422-10": ("h264", {"pixel_format": "yuv422p10le", "profile": "high422"}, half_deep, "yuv422p10le"),
    "hevc-422": ("hevc", {"pixel_format": "yuv422p", "profile": "main422-10"}, half, "yuv422p"),
    "hevc-422-10": ("hevc", {"pixel_format": "yuv422p10le", "profile": "main422-10"}, half_deep, "yuv422p10le"),
}
# Formats that no FFmpeg before 6 makes are made as their twins, which the encoder lays out.
TWINS = {
    "hevc-nv16": ("hevc", {"pixel_format": "nv16", "profile": "main422-10"}, half, "yuv422p"),
    "h264-p210": ("h264", {"pixel_format": "p210le", "profile": "high422"}, half_deep, "yuv422p10le"),
    "hevc-444-16": ("hevc", {"pixel_format": "yuv444p16le", "profile": "main444-10"}, wide_deep, "yuv444p10le"),
}
DEPTHS.update(TWINS)
# What the host makes of the chroma that the kernels make on the device.
whole = f"{WORK}/whole.mkv"
done = job("whole", [output("whole", {"encoder": "libx264", "codec": "h264", "lossless": True, "pixel_format": "yuv444p"})], on_host)
equal(done.code, 0, f"4:4:4 from the host: {done.message}")
OLD, ADA = ["hevc-10", "hevc-444", "hevc-444-10", "h264-444"], ["av1-10"]
BLACKWELL = ["h264-10", "h264-422", "h264-422-10", "hevc-422", "hevc-422-10"]
begun = time.monotonic()
for profile, api, names in [
    ("gtx1650", "12.2", OLD),
    ("gtx1660", "12.2", OLD),
    ("rtx2060", "13.0", OLD),
    ("rtx3060", "13.1", OLD),
    ("rtx4090", "12.2", OLD + ADA),
    ("l4", "13.0", OLD + ADA),
    ("rtx5090", "13.1", OLD + ADA + BLACKWELL + list(TWINS)),
    ("dual", "13.0", OLD),
]:
    for name in names:
        codec, video, original, pixels = DEPTHS[name]
        structures = ["none"] if profile == "gtx1650" else ["none", "both"]
        rates = ["crf"] if codec == "av1" else ["crf", "lossless"]
        matrix(f"{profile}-{name}", codec, video, {"url": original}, original, pixels, rates, structures, PROFILE=profile, API=api)
    # What NVDEC decodes stays where it is, in eight bits and in ten.
    for name, codec, clip, pixels in [("h264", "h264", source, "yuv420p"), ("hevc-10", "hevc", vp9, "yuv420p10le"), ("av1-10", "av1", vp9, "yuv420p10le")]:
        if codec == "av1" and "av1-10" not in names:
            continue
        place = {"url": clip, "decode": {"device": "cuda"}}
        structures = ["none"] if profile == "gtx1650" else ["none", "both"]
        done = matrix(f"{profile}-{name}-device", codec, {}, place, clip, pixels, ["crf"], structures, PROFILE=profile, API=api)
        equal(done.copies("HtoD") + done.copies("DtoH"), 0, f"{profile}-{name}-device: bytes between host and device")
    # 4:4:4 from the device is made there by the kernels, of 4:2:0.
    done = job(f"{profile}-444-device", [output(f"{profile}-444-device", {"codec": "h264", "pixel_format": "yuv444p", "qp": 20})], on_device, PROFILE=profile, API=api)
    equal(done.code, 0, f"{profile}: 4:4:4 from the device: {done.message}")
    clean(done, f"{profile}: 4:4:4 from the device")
    equal(done.copies("HtoD") + done.copies("DtoH"), 0, f"{profile}: 4:4:4 from the device: bytes between host and device")
    shown = subprocess.run(
        ["ffmpeg", "-v", "info", "-i", f"{WORK}/{profile}-444-device.mkv", "-i", whole, "-lavfi", "psnr", "-f", "null", "-"],
        capture_output=True, text=True,
    )
    quality = re.search(r"PSNR y:(\S+) u:(\S+) v:(\S+)", shown.stderr)
    check(quality and quality[1] == "inf" and min(float(quality[2]), float(quality[3])) > 45, f"{profile}: 4:4:4 from the device: {quality and quality[0]}")
print(f"note: depths and chroma on 8 profiles in {time.monotonic() - begun:.0f} s")

# What a card or its driver has not is refused by name.
for profile, api, name, field in [
    ("rtx4090", "13.0", "h264-422", "pixel_format"),
    ("rtx4090", "13.0", "h264-10", "bit_depth"),
    ("rtx5090", "12.2", "hevc-422", "pixel_format"),
    ("rtx3060", "13.0", "av1-10", "does not encode av1"),
]:
    codec, video, original, _ = DEPTHS[name]
    done = job("lacks", [output("lacks", {"codec": codec, **video})], {"url": original}, PROFILE=profile, API=api)
    check(done.code != 0 and field in done.message + done.err, f"{profile}, API {api}: {name} is refused by {field}: {done.message}")
    equal(done.calls("NvEncInitializeEncoder"), [], f"{profile}, API {api}: {name}: sessions configured")

# Every profile encodes what it can by every rate control, with and without B-frames, by the oldest interface and the newest.
wanted = frames(source)


def streams(paths):
    """As frames(), of several files at once."""
    inputs = [word for path in paths for word in ("-i", path)]
    maps = [word for n in range(len(paths)) for word in ("-map", f"{n}:v")]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", *inputs, *maps, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "framemd5", "-"],
        capture_output=True,
        text=True,
    )
    check(done.returncode == 0 and not done.stderr, f"{paths} decode: {done.stderr[-300:]}")
    found = [[] for _ in paths]
    for line in done.stdout.splitlines():
        if not line.startswith("#"):
            found[int(line.split(",")[0])].append(line.rsplit(",", 1)[1].strip())
    return found


begun, made = time.monotonic(), 0
for profile, api, codecs in [
    ("gtx1650", "12.2", ["h264", "hevc"]),
    ("gtx1660", "12.2", ["h264", "hevc"]),
    ("rtx2060", "13.0", ["h264", "hevc"]),
    ("rtx3060", "13.1", ["h264", "hevc"]),
    ("rtx4090", "12.2", ["h264", "hevc", "av1"]),
    ("l4", "13.0", ["h264", "hevc", "av1"]),
    ("rtx5090", "13.1", ["h264", "hevc", "av1"]),
    ("dual", "13.0", ["h264", "hevc"]),
]:
    outputs = []
    for codec in codecs:
        rates = [rate for rate in RATES if codec != "av1" or rate != "lossless"]
        for n, rate in enumerate(rates):
            # The GTX 1650 has no B-frames in HEVC.
            reordered = n % 2 == 1 and (profile, codec) != ("gtx1650", "hevc")
            structure = {"b_frames": 2, "lookahead": 4} if reordered else {"b_frames": 0}
            outputs.append(output(f"{profile}-{codec}-{rate}", {"codec": codec, **RATES[rate], **structure}))
    done = job(profile, outputs, on_host, PROFILE=profile, API=api, SESSIONS=0)
    equal(done.code, 0, f"{profile}, API {api}: {done.message}")
    clean(done, f"{profile}, API {api}")
    if done.code:
        continue
    paths = [one["path"] for one in outputs]
    for path, found in zip(paths, streams(paths), strict=True):
        check(found == wanted, f"{path}, API {api}: {sum(a == b for a, b in zip(found, wanted))} of {FRAMES} frames as they were")
    made += len(outputs)
print(f"note: {made} encodes on 8 profiles in {time.monotonic() - begun:.0f} s")
done = job("old", [output("old", {"codec": "h264"})], on_host, API="12.1")
check("550.54.14" in done.message + done.err, f"an old driver is told which is needed: {done.message}")

# Ten bits in H.264 and 4:2:2 come with Blackwell.
done = job("blackwell", [output("ten", {"codec": "h264", "bit_depth": 10, "profile": "high10"})], {"url": deep}, PROFILE="rtx5090", API="13.0")
equal(done.code, 0, f"H.264 of 10 bits: {done.message}")
clean(done, "H.264 of 10 bits")
equal(frames(f"{WORK}/ten.mkv", "yuv420p10le"), frames(deep, "yuv420p10le"), "H.264 of 10 bits")

# No card: another encoder does it, and says so.
for profile in ["h200", "none"]:
    done = job(f"instead-{profile}", [output(f"instead-{profile}", {"codec": "h264", "crf": 20})], on_host, fallback=True, PROFILE=profile)
    equal(done.code, 0, f"{profile}: {done.message}")
    check(any("nvenc does not work here" in w for w in done.warnings), f"{profile}: the fallback is told: {done.warnings}")
    equal(len(frames(f"{WORK}/instead-{profile}.mkv")), FRAMES, f"{profile}: frames")

# The driver allows one session: the second output goes on in software, or waits for the first.
for code in [10, 21]:
    outputs = [output(f"one-{code}", {"codec": "h264", "bitrate": "2M"}), output(f"two-{code}", {"codec": "hevc", "bitrate": "1M"})]
    done = job(f"limit-{code}", outputs, on_host, fallback=True, SESSIONS=1, SESSION_CODE=code)
    equal(done.code, 0, f"limit, code {code}: {done.message}")
    clean(done, f"limit, code {code}")
    check(any("goes on" in w for w in done.warnings), f"limit, code {code}: told: {done.warnings}")
    for name in [f"one-{code}", f"two-{code}"]:
        equal(len(frames(f"{WORK}/{name}.mkv")), FRAMES, f"{name}: frames")

# A level that the bit rate is above is refused by name before a session opens, and so is a tier that it has not.
for video, field in [
    ({"codec": "h264", "level": "4.1", "bitrate": "70M", "max_bitrate": "70M"}, "outputs[0].video.level: 4.1 allows 62500000 bits a second, not 70000000"),
    ({"codec": "hevc", "level": "4.0", "bitrate": "13M", "cbr": True}, "outputs[0].video.level: 4 allows 12000000 bits a second in the main tier"),
    ({"codec": "av1", "level": "3.0", "bitrate": "1M", "options": {"tier": "high"}}, "outputs[0].video.options.tier: level 3 has no high tier"),
    ({"codec": "h264", "level": "4.0", "bitrate": "10M", "buffer": "32M"}, "outputs[0].video.buffer: level 4 allows a buffer of 31250000 bits, not 32000000"),
    ({"codec": "hevc", "level": "4.0", "bitrate": "10M", "cbr": True, "buffer": "13M"}, "outputs[0].video.buffer: level 4 allows a buffer of 12000000 bits in the main tier, not 13000000"),
    ({"codec": "av1", "level": "4.0", "bitrate": "10M", "buffer": "13M"}, "outputs[0].video.buffer: level 4 allows a buffer of 12000000 bits in the main tier, not 13000000"),
]:
    done = job("level", [output("level", video)], on_host)
    check(done.code != 0 and field in done.message + done.err, f"{video}: {done.message}")
    equal(done.calls("NvEncInitializeEncoder"), [], f"{video}: sessions configured")
done = job("tier", [output("tier", {"codec": "hevc", "level": "4.0", "bitrate": "13M", "cbr": True, "options": {"tier": "high"}})], on_host)
equal((done.code, frames(f"{WORK}/tier.mkv") == frames(source)), (0, True), f"the high tier: {done.message}")
done = job("buffer", [output("buffer", {"codec": "h264", "level": "4.0", "bitrate": "10M", "buffer": "31250000"})], on_host)
told = [line["buffer"] for line in done.calls("standin.config")]
equal((done.code, told), (0, [31250000]), f"the largest buffer of a level: {done.message}")

# A fault in mid-stream: another encoder goes on, and every frame is there or told as lost.
for fault in [
    "NvEncInitializeEncoder:1=10",
    "NvEncEncodePicture:1=20",
    "NvEncEncodePicture:10=20",
    "NvEncEncodePicture:10=5",
    "NvEncEncodePicture:25=10",
    "NvEncLockBitstream:1=20",
    "NvEncLockBitstream:7=20",
    "NvEncMapInputResource:9=16",
    "NvEncRegisterResource:2=23",
    "NvEncCreateBitstreamBuffer:2=10",
    "cuMemcpy2DAsync_v2:12=700",
    "cuMemHostAlloc:1=2",
]:
    for structure in ["none", "both"]:
        name = f"fault {fault} {structure}"
        video = {"codec": "h264", "bitrate": "2M", **STRUCTURES[structure]}
        done = job("fault", [output("fault", video)], on_host, fallback=True, FAULT=fault)
        equal(done.code, 0, f"{name}: {done.message} {done.err[-300:]}")
        if done.code:
            continue
        told = [w for w in done.warnings if "goes on" in w]
        equal(len(told), 1, f"{name}: told once: {done.warnings}")
        lost = sum(int(n) for w in told for n in re.findall(r"(\d+) frames were lost", w))
        equal(len(frames(f"{WORK}/fault.mkv")) + lost, FRAMES, f"{name}: frames and {lost} lost ones")
        check(structure == "both" or lost == 0, f"{name}: nothing is lost without B-frames")
        equal(done.dropped, lost, f"{name}: the job's count of lost frames")
        equal(done.leaks, [], f"{name}: leaks")
        equal(done.violations, [], f"{name}: violations")
    done = job("failed", [output("failed", {"codec": "h264", "bitrate": "2M"})], on_host, FAULT=fault)
    check(done.code != 0 and done.message, f"{fault} without fallback: {done.message!r}")
    check(not os.path.exists(f"{WORK}/failed.mkv"), f"{fault} without fallback: nothing is left behind")
    equal(done.leaks, [], f"{fault} without fallback: leaks")
    equal(done.violations, [], f"{fault} without fallback: violations")

finish()
