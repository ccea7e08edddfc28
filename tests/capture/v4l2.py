#!/usr/bin/env python3
"""Cameras as sources: V4L2 devices, which a stand-in below the C library plays here (v4l2_standin.c), v4l2loopback devices as
outputs, and a camera of PipeWire, which is GhostStream's own virtual one."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy

import session

GS = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"]) / "v4l2"
WORK.mkdir(parents=True, exist_ok=True)
HERE = pathlib.Path(__file__).parent
CAMERA, LOOPBACK = "/dev/video-standin-camera", "/dev/video-standin-loopback"
failed = []


def check(name: str, good: bool, said: object = "") -> None:
    print(f"    {'ok' if good else 'FAILED'}  {name}{'' if good else f': {said}'}", flush=True)
    if not good:
        failed.append(name)


def standin(**more: str) -> dict:
    """The environment in which there are a camera and a loopback device."""
    library = WORK / "standin.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, HERE / "v4l2_standin.c", "-ldl"], check=True)
    return os.environ | {"LD_PRELOAD": str(library), "GS_V4L2_CAMERA": CAMERA, "GS_V4L2_LOOPBACK": LOOPBACK,
                         "GS_V4L2_KEPT": str(WORK / "kept.yuv")} | more


def record(env: dict, source: str, *options: str) -> tuple[subprocess.CompletedProcess, pathlib.Path]:
    path = WORK / "recorded.mkv"
    path.unlink(missing_ok=True)
    command = [GS, "transcode", source, path, "--overwrite", "--events", "json", *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60), path


def greys(path: pathlib.Path) -> list[tuple[int, int, float]]:
    """Size and mean grey of each picture."""
    entries = ["-show_entries", "stream=width,height", "-of", "csv=p=0"]
    size = subprocess.run(["ffprobe", "-v", "error", *entries, path], capture_output=True, text=True, check=True).stdout
    width, height = (int(n) for n in size.strip().split(",")[:2])
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray",
                          "-"], capture_output=True, check=True).stdout
    found = numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width)
    return [(width, height, float(picture.mean())) for picture in found]


def levels_of(seen: list[tuple[int, int, float]]) -> list[int]:
    """Numbers of the camera's pictures: they get lighter, and begin again at black after 50 of them."""
    return [round(grey * 219 / 255 / 4) for _, _, grey in seen]


def steps_of(levels: list[int]) -> list[int]:
    return [(b - a) % 50 for a, b in zip(levels, levels[1:])]


def of_the_kernel() -> None:
    env = standin()
    done, path = record(env, f"camera:{CAMERA}?fps=30", "--duration", "2", "--crf", "4", "--preset", "p1")
    seen = greys(path) if done.returncode == 0 else []
    check("a camera is recorded at its rate", len(seen) == 60 and seen[0][:2] == (320, 180), (len(seen), done.stderr[-500:]))
    levels = levels_of(seen)
    steps = steps_of(levels)
    check("its pictures come in their order, nearly all of them", all(s in (0, 1, 2, 3) for s in steps)
          and sum(s == 1 for s in steps) > len(steps) * 0.6, levels)
    done, path = record(env, f"camera:{CAMERA}?size=160x90&fps=25", "--duration", "1", "--preset", "p1")
    seen = greys(path) if done.returncode == 0 else []
    check("in a size that it offers", len(seen) == 25 and seen[0][:2] == (160, 90), (len(seen), seen[:1], done.stderr[-500:]))
    done, path = record(env, f"camera:{CAMERA}?size=200x100&fps=25", "--duration", "0.4", "--preset", "p1")
    check("another size is told", done.returncode == 0 and "no pictures of 200x100: they are 320x180" in done.stdout,
          (done.stdout[-400:], done.stderr[-300:]))
    done, _ = record(env, f"camera:{CAMERA}?format=mjpeg", "--duration", "1")
    check("a coding that it has not is refused", done.returncode != 0 and "mjpeg" in done.stderr and CAMERA in done.stderr,
          done.stderr)
    done, path = record(standin(GS_V4L2_UNPLUG="30"), f"camera:{CAMERA}?fps=30", "--duration", "20", "--preset", "p1")
    seen = greys(path) if done.returncode == 0 else []
    check("a camera that is unplugged ends the recording, which is kept",
          done.returncode == 0 and "is gone" in done.stdout and 20 <= len(seen) <= 32,
          (done.returncode, len(seen), done.stdout[-300:], done.stderr[-300:]))


def after_standstills() -> None:
    """A machine that stands still for a moment loses no picture: the device keeps them, with their times."""
    path = WORK / "stopped.mkv"
    command = [GS, "transcode", f"camera:{CAMERA}?fps=30", path, "--overwrite", "--duration", "4", "--crf", "4", "--preset", "p1"]
    path.unlink(missing_ok=True)
    job = subprocess.Popen(command, env=standin(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session.wait_for("the recording", path.exists)
    for _ in range(4):
        time.sleep(0.6)
        job.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        job.send_signal(signal.SIGCONT)
    code = job.wait(30)
    levels = levels_of(greys(path)) if code == 0 else []
    # Of the 24 of those moments. One or two, where the machine is busy as well.
    lost = sum(max(step - 1, 0) for step in steps_of(levels))
    check("pictures of moments at which everything stood still are not lost", len(levels) > 110 and lost <= 8,
          (code, lost, levels))


def into_a_loopback() -> None:
    kept = WORK / "kept.yuv"
    kept.unlink(missing_ok=True)
    env = standin()
    done = subprocess.run([GS, "transcode", "pattern:smpte?size=320x180&fps=30&frames=45", f"camera:{LOOPBACK}?format=yuy2",
                           "--realtime"], env=env, capture_output=True, text=True, timeout=60)
    size = 320 * 180 * 2
    pictures = kept.stat().st_size // size if kept.exists() else 0
    check("a loopback device is written to at the camera's rate", done.returncode == 0 and 35 <= pictures <= 50
          and kept.stat().st_size % size == 0, (done.returncode, pictures, done.stderr[-500:]))
    check("in the format that was asked for", "320x180 YUYV, 640 bytes a row, 115200 in all" in done.stderr, done.stderr)
    if pictures:
        raw = kept.read_bytes()[-size:]
        rgb = subprocess.run(["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuyv422", "-s", "320x180", "-i", "-",
                              "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], input=raw, capture_output=True, check=True).stdout
        row = numpy.frombuffer(rgb, numpy.uint8).reshape(180, 320, 3)[60]
        bars = [row[int((i + 0.5) / 7 * 320)].astype(int) for i in range(7)]
        right = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
        off = max(int(abs(a - numpy.array(b)).max()) for a, b in zip(bars, right))
        check("with the pattern's colours", off <= 8, bars)
    done = subprocess.run([GS, "transcode", "pattern:smpte?frames=5", f"camera:{CAMERA}"], env=env, capture_output=True,
                          text=True, timeout=60)
    check("a camera is no place for pictures", done.returncode == 4 and "not a v4l2loopback device" in done.stderr, done.stderr)


def without_any() -> None:
    done, path = record(dict(os.environ), "camera:/dev/video-none")
    check("a device that is not there is named", done.returncode == 3 and "/dev/video-none" in done.stderr, done.stderr)
    done, path = record(dict(os.environ), "camera:/dev/null")
    check("what is no camera is said to be none", done.returncode != 0 and "no video device" in done.stderr, done.stderr)
    check("and leaves no file", not path.exists())
    found = json.loads(subprocess.run([GS, "devices", "--json"], capture_output=True, text=True, check=True).stdout)
    check("devices are listed", isinstance(found["video_devices"], list), found.get("video_devices"))
    if not any(d["kind"] == "camera" for d in found["video_devices"]):
        done, _ = record(dict(os.environ), "camera:")
        check("where there is none it says so", done.returncode == 3 and "no V4L2 camera" in done.stderr, done.stderr)


def of_pipewire() -> None:
    with session.Session() as desk:
        shown = desk.spawn([GS, "camera", "pattern:smpte?size=320x180&fps=30", "ghost-cam", "--name", "cam"], log="camera")
        session.wait_for("the camera", lambda: desk.nodes(node_name="ghost-cam"))
        listed = json.loads(desk.run([GS, "devices", "--json"]).stdout)["cameras"]
        check("PipeWire's cameras are listed", [c["name"] for c in listed] == ["ghost-cam"], listed)
        path = WORK / "pipewire.mkv"
        done = desk.run([GS, "record", "camera:ghost-cam?fps=30", path, "-y", "--duration", "2"], check=False)
        seen = greys(path) if done.returncode == 0 else []
        check("one camera's pictures are recorded from the other side", len(seen) == 60 and seen[-1][:2] == (320, 180),
              (len(seen), done.stderr[-500:]))
        done = desk.run([GS, "record", "camera:other", path, "-y", "--duration", "2"], check=False)
        check("a camera that is not there is named with those that are", done.returncode == 3 and "ghost-cam" in done.stderr,
              done.stderr)
        told = desk.run([GS, "ctl", "--to", "cam", "status", "--json"], check=False)
        check("`ghoststream camera` is told what to do like the others", told.returncode == 0 and "running" in told.stdout,
              (told.stdout, told.stderr))
        desk.run([GS, "ctl", "--to", "cam", "stop"], check=False)
        check("and stops", shown.wait(10) == 0, desk.log("camera"))


for what in ["cc", "ffmpeg", "ffprobe"]:
    if not shutil.which(what):
        session.skip("v4l2.py", what)
for part in [of_the_kernel, after_standstills, into_a_loopback, without_any, of_pipewire]:
    if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
        part()
print(f"    {len(failed)} failed" if failed else "    all as it should be")
sys.exit(1 if failed else 0)
