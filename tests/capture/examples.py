#!/usr/bin/env python3
"""The programs of examples/ that capture, record, keep, show and stream what happens now, in C, Python and Rust, on a screen and
to a camera of a session of their own, and to nginx."""

import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import numpy

import compositor
import session
import tones

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "push"))
import peers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ["GS_WORK"]) / "examples"
STAGE = pathlib.Path(os.environ["GS_STAGE"])
BUILD = pathlib.Path(os.environ["GS_BUILD_DIR"])
PYTHON = pathlib.Path(os.environ["GS_TARGET_DIR"]) / "venv/bin/python"
failed = []


def check(name: str, good: bool, said: object = "") -> None:
    print(f"    {'ok' if good else 'FAILED'}  {name}{'' if good else f': {said}'}", flush=True)
    if not good:
        failed.append(name)


def programs() -> dict[str, dict[str, list[str]]]:
    """How each example is started, by language."""
    found: dict[str, dict[str, list[str]]] = {"C": {}, "Python": {}}
    env = os.environ | {"PKG_CONFIG_PATH": f"{STAGE}/lib/pkgconfig"}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ghoststream"], env=env, capture_output=True, text=True,
                           check=True).stdout.split()
    for name in ["capture_frames", "record", "replay", "stream", "virtual_camera"]:
        out = WORK / name
        subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-o", out, ROOT / f"examples/c/{name}.c", *flags],
                       check=True)
        found["C"][name] = [str(out)]
    for name in ["screen_numpy", "record", "replay", "stream", "virtual_camera"]:
        found["Python"][name] = [str(PYTHON), str(ROOT / f"examples/python/{name}.py")]
    return found


def facts(path: pathlib.Path) -> tuple[str, int]:
    """Codec and size, and how many pictures."""
    shown = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
                            "stream=codec_name,width,height,nb_read_frames", "-of", "csv=p=0", path], capture_output=True,
                           text=True).stdout.strip().split("\n")[0]
    what, _, count = shown.rpartition(",")
    return what, int(count or 0)


def bars(path: pathlib.Path, count: int) -> list[str]:
    """The colours of bars in the last picture, as far from black and white as they come."""
    width, height = 640, 360
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True,
                         check=True).stdout
    row = numpy.frombuffer(raw[-width * height * 3:], numpy.uint8).reshape(height, width, 3)[height // 2]
    middles = [row[(2 * i + 1) * width // (2 * count)] > 128 for i in range(count)]
    return ["".join("ff" if c else "00" for c in middle) for middle in middles]


def screens(found: dict, desk: session.Session) -> None:
    colours = ["ff0000", "00ff00", "0000ff", "ffff00"]
    with compositor.Compositor(["HEADLESS-1 640x360"], env=desk.env) as way:
        way.paint("HEADLESS-1", *colours)
        painted = way.processes[-1]
        time.sleep(0.5)
        env = {"LD_LIBRARY_PATH": f"{STAGE}/lib"}
        out = WORK / "screen.y4m"
        done = way.run([*found["C"]["capture_frames"], "screen:?fps=30&cursor=0", out, "15"], check=False, env=env)
        check("C: frames of the screen", done.returncode == 0 and facts(out) == ("rawvideo,640,360", 15)
              and bars(out, 4) == colours, (done.stderr, facts(out)))
        for language in ["C", "Python"]:
            for file in WORK.glob("film-*"):
                file.unlink()
            done = way.run([*found[language]["record"], "screen", WORK / "film-{n}.mp4", "3"], check=False, env=env)
            files = sorted(WORK.glob("film-*.mp4"))
            seen = [facts(file) for file in files]
            check(f"{language}: the screen is recorded in two files", done.returncode == 0 and len(files) == 2
                  and all(what == "h264,640,360" and count > 40 for what, count in seen), (done.stderr, seen))
            for file in WORK.glob("last-*"):
                file.unlink()
            keeps = subprocess.Popen([*found[language]["replay"], "screen", WORK / "last-{n}.mkv", "5"], env={**way.env, **env},
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(3)
            _, said = keeps.communicate("\n", timeout=30)
            seen = [facts(file) for file in WORK.glob("last-*.mkv")]
            check(f"{language}: the last seconds of the screen are saved", keeps.returncode == 0 and len(seen) == 1
                  and seen[0][0] == "h264,640,360" and seen[0][1] > 60, (said, seen))
        # What was painted goes.
        turn = threading.Timer(1.5, painted.terminate)
        turn.start()
        done = way.run([*found["Python"]["screen_numpy"], "screen:?fps=20&cursor=0", "4"], check=False, env=env)
        turn.join()
        said = done.stdout.strip().split("\n")
        check("Python: the screen as numpy, and what changes on it", done.returncode == 0
              and "of 640x360" in said[-1] and "0,0 to 639,359 changed" in done.stdout, (done.stdout, done.stderr))


def replays(found: dict) -> None:
    env = os.environ | {"LD_LIBRARY_PATH": f"{STAGE}/lib"}
    for language in ["C", "Python"]:
        for file in WORK.glob("last-*"):
            file.unlink()
        job = subprocess.Popen([*found[language]["replay"], "pattern", WORK / "last-{n}.mkv", "2"], env=env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(4)
        try:
            job.communicate("\n\n", timeout=30)
        finally:
            job.kill()
        code = job.returncode
        seen = [facts(file) for file in sorted(WORK.glob("last-*.mkv"))]
        check(f"{language}: the last seconds are saved, twice", code == 0 and len(seen) == 2
              and all(what == "h264,1280,720" and count >= 45 for what, count in seen), (code, seen))


def cameras(found: dict, desk: session.Session) -> None:
    env = {"LD_LIBRARY_PATH": f"{STAGE}/lib"}
    for language in ["C", "Python"]:
        name = f"drawn-in-{language}"
        shows = desk.spawn([*found[language]["virtual_camera"], name, "8"], env=env, log=name)
        try:
            session.wait_for(name, lambda: desk.nodes(node_name=name))
            raw = WORK / f"{name}.raw"
            desk.run(["gst-launch-1.0", "-q", "pipewiresrc", f"target-object={name}", "num-buffers=20", "!", "videoconvert", "!",
                      "video/x-raw,format=GRAY8", "!", "filesink", f"location={raw}"], timeout=30)
            seen = numpy.fromfile(raw, numpy.uint8).reshape(-1, 360, 640)
            check(f"{language}: another program sees the camera", len(seen) == 20 and seen[-1].std() > 20
                  and (seen[0] != seen[-1]).any(), seen.shape)
        except (TimeoutError, subprocess.SubprocessError, AssertionError) as e:
            check(f"{language}: another program sees the camera", False, f"{e}\n{desk.log(name)}")
        check(f"{language}: the camera ends with its pictures", shows.wait(30) == 0, desk.log(name))


def samples(path: pathlib.Path) -> numpy.ndarray:
    """All sound of a file, as one channel."""
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-ac", "1", "-ar", str(tones.RATE), "-f", "f32le", "-"],
                         capture_output=True, check=True).stdout
    return numpy.frombuffer(raw, numpy.float32)


def seeds(desk: session.Session) -> None:
    """The programs of GhostStream's own description, as they stand there: the screen as a camera, and with another's sound."""
    colours = ["ff0000", "00ff00", "0000ff", "ffff00"]
    camera, sound = BUILD / "seed_camera", BUILD / "seed_sound"
    with compositor.Compositor(["HEADLESS-1 640x360"], env=desk.env) as way:
        way.paint("HEADLESS-1", *colours)
        time.sleep(0.5)
        shows = way.spawn([camera, "10"], stderr=open(WORK / "seed_camera.log", "w"))
        name = "GhostStream Camera"
        raw = WORK / "seed_camera.raw"
        try:
            session.wait_for(name, lambda: desk.nodes(node_name=name) or shows.poll() is not None)
            desk.run(["gst-launch-1.0", "-q", "pipewiresrc", f"target-object={name}", "num-buffers=5", "!", "videoconvert", "!",
                      "video/x-raw,format=RGB", "!", "filesink", f"location={raw}"], timeout=30)
            seen = numpy.fromfile(raw, numpy.uint8).reshape(-1, 1080, 1920, 3)[-1][540]
            middles = ["".join("ff" if c else "00" for c in seen[(2 * i + 1) * 240] > 128) for i in range(4)]
            check("Basic Usage runs: the screen is a camera of 1920x1080", middles == colours, middles)
        except (TimeoutError, subprocess.SubprocessError, AssertionError, ValueError) as e:
            check("Basic Usage runs: the screen is a camera of 1920x1080", False,
                  f"{e}\n{(WORK / 'seed_camera.log').read_text()}")
        check("and ends when it is stopped", shows.wait(30) == 0, (WORK / "seed_camera.log").read_text())

        for node, hertz in [("golf", 400), ("hotel", 3000)]:
            tone = WORK / f"{node}.wav"
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"sine=frequency={hertz}:d=90", "-ac", "2", tone],
                           check=True)
            desk.spawn(["pw-play", "-P", f"node.name={node}", tone])
        golf, _ = (session.wait_for(node, lambda: desk.nodes(node_name=node))[0] for node in ["golf", "hotel"])
        out = WORK / "seed_sound.mkv"
        out.unlink(missing_ok=True)
        # A busy machine's PipeWire links the other one in its own time: it is heard at the end, four seconds later.
        done = way.run([sound, out, golf["id"], "hotel", "8"], check=False)
        sound = samples(out) if out.exists() else numpy.zeros(0)
        parts = [sound[tones.RATE : tones.RATE * 5 // 2], sound[-tones.RATE * 17 // 10 : -tones.RATE // 5]]
        heard = [tones.level(part, hertz) for part in parts for hertz in [400, 3000] if len(part)]
        check("sound is set before the start, and another while it runs", done.returncode == 0 and len(heard) == 4
              and heard[0] > 0.05 and heard[1] < 0.002 and heard[2] < 0.002 and heard[3] > 0.05, (done.stderr, heard))


def streams(found: dict) -> None:
    folder = WORK / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    WORK.chmod(0o755)
    env = os.environ | {"LD_LIBRARY_PATH": f"{STAGE}/lib"}
    for language in ["C", "Python"]:
        nginx = peers.Nginx(folder / language)
        try:
            url = f"rtmp://127.0.0.1:{nginx.port}/live/key"
            done = subprocess.run([*found[language]["stream"], "pattern", url, "3"], env=env, capture_output=True, text=True,
                                  timeout=60)
            time.sleep(0.5)
            seen = peers.streams(nginx.kept()[0]) if nginx.kept() else {}
            check(f"{language}: a server receives the stream", done.returncode == 0 and seen
                  and seen["video"]["packets"] >= 50 and seen["audio"]["codec"] == "aac" and "live" in done.stdout,
                  (done, seen))
        finally:
            nginx.close()


def main() -> int:
    compositor.need("examples.py", "cc", "pkg-config", "ffmpeg", "ffprobe", "swaybg", "gst-launch-1.0")
    if not (STAGE / "lib/pkgconfig/ghoststream.pc").exists():
        session.skip("examples.py", "an installation in GS_STAGE (make stage)")
    if not PYTHON.exists():
        session.skip("examples.py", "the Python package in target/venv (make wheel)")
    WORK.mkdir(parents=True, exist_ok=True)
    found = programs()
    replays(found)
    has_rtmp = os.path.exists("/usr/lib/nginx/modules/ngx_rtmp_module.so")
    if has_rtmp:
        streams(found)
    with session.Session() as desk:
        cameras(found, desk)
        screens(found, desk)
        desk.sink("speakers")
        seeds(desk)
    print(f"    {len(failed)} failed" if failed else "    all as it should be")
    if not has_rtmp and not failed:
        session.skip("examples.py: streams", "nginx's RTMP module")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
