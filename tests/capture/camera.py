"""The virtual camera, opened by other programs: GStreamer, headless Chromium, both at once."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import session

GS = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"]) / "camera"
WORK.mkdir(parents=True, exist_ok=True)
WIDTH, HEIGHT, RATE = 320, 180, 30
# 75 % bars: white, yellow, cyan, green, magenta, red, blue.
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]


def camera(desk: session.Session, name: str, source: str = "", *more) -> subprocess.Popen:
    """A camera that shows bars, and how it is stopped."""
    source = source or f"pattern:smpte?size={WIDTH}x{HEIGHT}&fps={RATE}"
    process = desk.spawn([GS, "transcode", source, f"camera:{name}", *more, "--events", "json"], log=name)
    plain = name.split("?")[0]
    try:
        session.wait_for(plain, lambda: desk.nodes(node_name=plain))
    except TimeoutError as e:
        raise AssertionError(f"no camera: {desk.log(name)}") from e
    return process


def pictures(desk: session.Session, name: str, count: int, caps: str = "", timeout: float = 20) -> tuple[np.ndarray, float]:
    """RGB pictures of a camera by GStreamer, and how many came in a second."""
    out = WORK / f"{name}.rgb"
    pipeline = [
        "gst-launch-1.0", "-q", "pipewiresrc", f"target-object={name}", f"num-buffers={count}", "!",
        *([caps, "!"] if caps else []), "videoconvert", "!", "video/x-raw,format=RGB", "!", "filesink", f"location={out}",
    ]
    begin = time.monotonic()
    desk.run(pipeline, timeout=timeout)
    took = time.monotonic() - begin
    raw = np.fromfile(out, np.uint8)
    # GStreamer's rows of RGB begin at multiples of four bytes, which these are.
    got = raw.reshape(-1, HEIGHT, WIDTH, 3)
    assert len(got) == count, f"{len(got)} of {count} pictures"
    return got, count / took


def check_bars(row: list, tolerance: int = 6) -> None:
    for i, (seen, right) in enumerate(zip(row, BARS)):
        off = max(abs(int(a) - b) for a, b in zip(seen, right))
        assert off <= tolerance, f"bar {i} is {tuple(seen)} and not {right}"


def bars_of(picture: np.ndarray) -> list:
    return [picture[HEIGHT // 3, int((i + 0.5) / 7 * WIDTH)] for i in range(7)]


def formats(desk: session.Session) -> None:
    """Each format, with the colours right and the rate the camera's."""
    for form, gst in [("i420", "I420"), ("nv12", "NV12"), ("yuy2", "YUY2")]:
        process = camera(desk, f"cam-{form}?format={form}")
        got, rate = pictures(desk, f"cam-{form}", 60, f"video/x-raw,format={gst}")
        check_bars(bars_of(got[-1]))
        assert rate > RATE * 0.75, f"{form}: {rate:.1f} pictures a second"
        assert desk.stop(process, signal.SIGINT) in (0, 130), desk.log(f"cam-{form}?format={form}")
        session.wait_for("its end", lambda: not desk.nodes(node_name=f"cam-{form}"))


def two_at_once(desk: session.Session) -> None:
    """Two programs at once; one of them goes and the other goes on; then a third comes."""
    process = camera(desk, "shared")
    count = RATE * 4
    first = desk.spawn(["gst-launch-1.0", "-q", "pipewiresrc", "target-object=shared", f"num-buffers={count}", "!", "video/x-raw", "!", "fakesink"], log="first")
    second = desk.spawn(["gst-launch-1.0", "-q", "pipewiresrc", "target-object=shared", "!", "video/x-raw", "!", "fakesink"], log="second")
    node = desk.nodes(node_name="shared")[0]["id"]
    session.wait_for("two", lambda: sum(a == node for a, _ in desk.links()) == 2)
    time.sleep(1)
    begin = time.monotonic()
    desk.stop(second, signal.SIGKILL)
    assert first.wait(15) == 0, desk.log("first")
    assert time.monotonic() - begin < 8
    got, _ = pictures(desk, "shared", 10)
    check_bars(bars_of(got[-1]))
    desk.stop(process, signal.SIGINT)


def keeps_the_still(desk: session.Session) -> None:
    """A source that stands still is shown on, at the camera's rate."""
    # Standard input that stays open after ten pictures.
    clip = WORK / "ten.mkv"
    subprocess.run(
        [GS, "transcode", f"pattern:smpte?size={WIDTH}x{HEIGHT}&fps={RATE}&frames=10", clip, "-y", "-q", "--video", "ffv1"], check=True
    )
    command = [GS, "transcode", "-", "camera:still", "--stall-timeout", "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=desk.env, stderr=subprocess.PIPE)
    try:
        process.stdin.write(clip.read_bytes())
        process.stdin.flush()
        session.wait_for("still", lambda: desk.nodes(node_name="still"))
        time.sleep(1)
        got, rate = pictures(desk, "still", 45)
        check_bars(bars_of(got[-1]))
        assert rate > RATE * 0.7, rate
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


PORTAL = "/usr/libexec/xdg-desktop-portal"


def portal(desk: session.Session) -> None:
    """The desktop's portal, through which Chromium comes to cameras, with a backend that grants what it is asked."""
    if not os.path.exists(PORTAL):
        session.skip("camera.py", "xdg-desktop-portal")
    if subprocess.run(["/usr/bin/python3", "-c", "import dbus, gi"], capture_output=True).returncode != 0:
        session.skip("camera.py", "python3-dbus or python3-gi")
    portals = desk.dir / "portals"
    portals.mkdir()
    (portals / "yes.portal").write_text(
        "[portal]\nDBusName=org.freedesktop.impl.portal.desktop.yes\n"
        "Interfaces=org.freedesktop.impl.portal.Access;\nUseIn=yes\n"
    )
    desk.env["XDG_DESKTOP_PORTAL_DIR"] = str(portals)

    def owned(name: str) -> bool:
        ask = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
        return "true" in desk.run([*ask, "org.freedesktop.DBus.NameHasOwner", f"string:{name}"], check=False).stdout

    desk.spawn(["/usr/bin/python3", "tests/capture/access.py"], log="access")
    session.wait_for("the backend", lambda: owned("org.freedesktop.impl.portal.desktop.yes"))
    desk.spawn([PORTAL], log="portal")
    session.wait_for("the portal", lambda: owned("org.freedesktop.portal.Desktop"))


def chromium(desk: session.Session) -> None:
    """A web page opens it; a picture of that is kept."""
    if not (os.environ.get("GS_NODE_MODULES") and os.environ.get("GS_CHROMIUM") and shutil.which("node")):
        session.skip("camera.py", "Chromium or node")
    portal(desk)
    process = camera(desk, "GhostCam", "pattern:smpte?size=640x360&fps=30")
    shot = WORK / "chromium.png"
    done = desk.run(["node", "tests/capture/camera.mjs", "GhostCam", shot], timeout=60)
    seen = json.loads(done.stdout)
    assert any("GhostCam" in label for label in seen["labels"]), seen
    assert (seen["width"], seen["height"]) == (640, 360), seen
    assert seen["fps"] > 20, seen
    check_bars(seen["colours"], 10)
    desk.stop(process, signal.SIGINT)


def listed(desk: session.Session) -> None:
    """`ghoststream devices` names it; a wrong one is refused."""
    process = camera(desk, "listed")
    devices = json.loads(desk.run([GS, "devices", "--json"]).stdout)
    assert any(c["name"] == "listed" for c in devices["cameras"]), devices["cameras"]
    desk.stop(process, signal.SIGINT)
    env = {"XDG_RUNTIME_DIR": "/nonexistent", "PIPEWIRE_RUNTIME_DIR": "/nonexistent"}
    done = desk.run([GS, "transcode", "pattern:smpte?frames=3", "camera:x"], check=False, env=env)
    assert done.returncode not in (0, 2) and "no PipeWire" in done.stderr, done.stderr


failed = False
with session.Session(XDG_CURRENT_DESKTOP="yes") as desk:
    for check in [formats, two_at_once, keeps_the_still, chromium, listed]:
        if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
            continue
        before = len(desk.processes)
        try:
            check(desk)
            print(f"    ok      {check.__name__}", flush=True)
        except (AssertionError, TimeoutError, subprocess.SubprocessError, IndexError, ValueError) as e:
            failed = True
            print(f"    FAILED  {check.__name__}: {type(e).__name__}: {e}", flush=True)
        for process in desk.processes[before:]:
            desk.stop(process)
sys.exit(failed)
