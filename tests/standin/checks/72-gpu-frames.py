#!/usr/bin/env python3
"""Pictures that an application has in CUDA memory: pushed from C, and from Python by DLPack and __cuda_array_interface__, they are
encoded where they are. No byte is copied between host and device, and all memory is given back."""

import os
import subprocess

from standin import WORK, check, equal, finish, run, skip

HERE = os.path.dirname(os.path.abspath(__file__))
FRAMES, WIDTH, HEIGHT, BANDS = 20, 320, 180, 4
os.environ["XDG_CACHE_HOME"] = WORK
target = os.environ["GS_TARGET_DIR"]
build = os.environ["GS_BUILD_DIR"]
python = os.path.join(target, "venv/bin/python")
missing = [path for path in (f"{build}/libghoststream.so", python) if not os.path.exists(path)]
if missing:
    skip(f"not built: {', '.join(missing)} (make stage wheel PROFILE=dev)")


def shown(path):
    """Luma of a row of each band and of chroma, by picture."""
    args = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "nv12", "-"]
    data = subprocess.run(args, check=True, capture_output=True).stdout
    size = WIDTH * HEIGHT * 3 // 2
    pictures = [data[i : i + size] for i in range(0, len(data), size)]
    rows = [band * HEIGHT // BANDS for band in range(BANDS)] + [HEIGHT]
    return [[set(p[(row + 3) * WIDTH : (row + 4) * WIDTH]) for row in rows] for p in pictures]


wanted = [[{20 + 50 * band + n} for band in range(BANDS)] + [{100 + n}] for n in range(FRAMES)]


def coloured(path):
    """R, G and B in the middle of each band, and of the lowest band's right half, by picture."""
    args = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(args, check=True, capture_output=True).stdout
    size = WIDTH * HEIGHT * 3
    places = [(WIDTH // 4, band * HEIGHT // BANDS + 20) for band in range(BANDS)] + [(WIDTH * 3 // 4, HEIGHT - 20)]
    found = []
    for start in range(0, len(data), size):
        found.append([tuple(data[start + (y * WIDTH + x) * 3 :][:3]) for x, y in places])
    return found


def is_coloured(path, blue):
    """Whether they are the application's, within what 8 bits of YUV keep; `blue`: the lowest band's right half is."""
    found = coloured(path)
    near = lambda a, b: max(abs(x - y) for x, y in zip(a, b)) <= 4
    def right(n, picture):
        greys = all(near(picture[band], (20 + 50 * band + n,) * 3) for band in range(BANDS))
        return greys and near(picture[BANDS], (0, 0, 170 + n) if blue else (170 + n,) * 3)
    return len(found) == FRAMES and all(right(n, picture) for n, picture in enumerate(found)), found[:1]


def encode(name, command, path, **knobs):
    done = run(command, timeout=120, **knobs)
    equal(done.code, 0, f"{name}: {done.out.decode()} {done.err[-600:]}")
    equal((done.violations, done.leaks), ([], []), f"{name}: violations and leaks")
    if done.code:
        return
    if path.endswith("rgb.h264"):
        good, first = is_coloured(path, blue=name.startswith("Python"))
        check(good, f"{name}: the pictures are the application's: {first}")
    else:
        check(shown(path) == wanted, f"{name}: the pictures are the application's: {shown(path)[:1]}")
    copied = {kind: done.copies(kind) for kind in ("HtoD", "DtoH", "HtoH")}
    equal(copied, {"HtoD": 0, "DtoH": 0, "HtoH": 0}, f"{name}: bytes copied")
    coded = len(done.calls("standin.coded"))
    equal(coded, FRAMES, f"{name}: pictures coded")
    print(f"{name}: {coded} pictures, no byte between host and device")


client = os.path.join(WORK, "gpu_frames")
# By the name that programs ask for.
os.symlink(f"{build}/libghoststream.so", f"{WORK}/libghoststream.so.0")
compiled = ["cc", "-std=c99", "-Wall", "-Werror", "-o", client, f"{HERE}/gpu_frames.c", f"-I{HERE}/../../../include"]
subprocess.run([*compiled, f"-L{build}", "-lghoststream", f"-Wl,-rpath,{WORK}", "-ldl"], check=True)
for knobs in ({}, {"ASYNC": 300}):
    out = f"{WORK}/c.h264"
    encode(f"C {knobs}", [client, out, str(FRAMES)], out, **knobs)
    out = f"{WORK}/c-rgb.h264"
    encode(f"C, three bytes a pixel {knobs}", [client, out, str(FRAMES), "rgb"], out, **knobs)
for kind in ("dlpack", "versioned", "interface", "rgb"):
    out = f"{WORK}/{kind}.h264"
    encode(f"Python, {kind}", [python, f"{HERE}/gpu_frames.py", kind, out, str(FRAMES)], out)

# A reader decodes where decoders have least to do.
clip, readings = f"{WORK}/clip.mp4", f"{WORK}/readings"
subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:d=0.4", "-pix_fmt", "yuv420p", clip], check=True)
read = f"import ghoststream as gs\nwith gs.open({clip!r}, decoder_device='cuda') as film: print(sum(1 for _ in iter(film.read, None)))"
for busy, idle in ((0, 1), (1, 0)):
    with open(readings, "w", encoding="utf-8") as file:
        file.write(f"{busy}.decoder_utilization=80\n{idle}.decoder_utilization=5\n")
    done = run([python, "-c", read], PROFILE="dual", STATE=readings)
    equal((done.code, done.out.strip()), (0, b"10"), f"a reader: {done.err[-400:]}")
    equal([line["device"] for line in done.calls("standin.decoder")], [idle], f"a reader beside a busy card {busy}: who decoded")
finish()
