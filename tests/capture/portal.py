#!/usr/bin/env python3
"""Screens through the desktop portal: the real front end and PipeWire, a backend of our own that picks a node without a
dialog, and GStreamer as what is on the screen."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy

import node as desktop
import wayland
from session import Session, skip, wait_for

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_WORK"])
HERE = pathlib.Path(__file__).parent
FRONT_END = "/usr/libexec/xdg-desktop-portal"
BACKEND = "org.freedesktop.impl.portal.desktop.ghoststreamtest"
failed = []


def check(name: str, good: bool, said: object = "") -> None:
    print(f"    {'ok' if good else 'FAILED'}  {name}{'' if good else f': {said}'}")
    if not good:
        failed.append(name)


def owned(desk: Session, name: str) -> bool:
    """Whether somebody has the name on the bus; asking its owner would start it."""
    done = desk.run(["dbus-send", "--session", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/",
                     "org.freedesktop.DBus.NameHasOwner", f"string:{name}"], check=False)
    return "true" in done.stdout


def show(desk: Session, name: str, pattern: str) -> tuple[subprocess.Popen, int]:
    """A node that shows one colour, and its number."""
    player = desk.spawn([
        "gst-launch-1.0", "videotestsrc", f"pattern={pattern}", "is-live=true", "!",
        "video/x-raw,format=BGRx,width=320,height=180,framerate=30/1", "!", "pipewiresink", "mode=provide",
        f"stream-properties=props,media.class=Video/Source,node.name={name}"], log=name)
    return player, wait_for(f"node {name}", lambda: desk.nodes(node_name=name))[0]["id"]


def colour(path: pathlib.Path, at: str = "first") -> tuple[int, list[int]]:
    """How many pictures a file has, and the mean colour of the last one."""
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vf", "scale=320:180", "-vsync", "passthrough", "-f",
                           "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    pictures = numpy.frombuffer(done.stdout, numpy.uint8).reshape(-1, 180, 320, 3)
    return len(pictures), [int(c) for c in pictures[-1].mean(axis=(0, 1)).round()] if len(pictures) else []


def blue(found: tuple[int, list[int]]) -> bool:
    return found[0] > 0 and found[1][2] > 220 and max(found[1][:2]) < 30


def asked(folder: pathlib.Path, call: str) -> list[dict]:
    log = folder / "asked.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line["call"] == call]


def begin(desk: Session, source: str, path: pathlib.Path) -> subprocess.Popen:
    job = desk.spawn([CLI, "transcode", source, path, "--overwrite", "--events", "json"], stdout=subprocess.PIPE, text=True)
    for line in job.stdout:
        if json.loads(line).get("state") == "running":
            return job
    raise AssertionError(f"{source}: the job ended: {job.wait()}")


def ended(job: subprocess.Popen) -> str:
    out, _ = job.communicate(timeout=30)
    lines = [json.loads(line) for line in out.splitlines()]
    return " | ".join(e["message"] for e in lines if e["type"] == "warning")


def main() -> int:
    if not os.access(FRONT_END, os.X_OK):
        skip("portal.py", "xdg-desktop-portal")
    try:
        import dbus_next  # noqa: F401
    except ImportError:
        skip("portal.py", "dbus-next")
    WORK.mkdir(parents=True, exist_ok=True)
    with Session(XDG_CURRENT_DESKTOP="ghoststreamtest") as desk:
        folder = desk.dir / "portal"
        folder.mkdir()
        (folder / "test.portal").write_text(
            f"[portal]\nDBusName={BACKEND}\nInterfaces=org.freedesktop.impl.portal.ScreenCast\nUseIn=ghoststreamtest\n")
        desk.env["XDG_DESKTOP_PORTAL_DIR"] = str(folder)
        desk.spawn([sys.executable, HERE / "portal_backend.py", folder], log="backend")
        wait_for("the portal's backend", lambda: owned(desk, BACKEND))

        done = desk.run([CLI, "transcode", "screen:?backend=portal", WORK / "none.mkv", "--overwrite", "--duration", "1"],
                        check=False, env={"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"})
        check("without a bus it says so", done.returncode != 0 and "message bus" in done.stderr, done.stderr)

        front = desk.spawn([FRONT_END], log="front-end")
        wait_for("the portal", lambda: owned(desk, "org.freedesktop.portal.Desktop"))
        players = []

        def pick() -> int:
            """A new blue node is what the user picks. GStreamer's gives nothing to a second client of the portal."""
            if players:
                desk.stop(players.pop())
            pick.count += 1
            player, node = show(desk, f"picked{pick.count}", "blue")
            players.append(player)
            (folder / "node").write_text(str(node))
            return node

        pick.count = 0
        node = pick()
        path = WORK / "node.mkv"
        desk.run([CLI, "transcode", f"screen:?backend=pipewire&node={node}&fps=30", path, "--overwrite", "--duration", "1"])
        found = colour(path)
        check("a node of PipeWire is recorded", found[0] in (29, 30) and blue(found), found)

        pick()
        path = WORK / "picked.mkv"
        desk.run([CLI, "transcode", "screen:?backend=portal&fps=30&pick=monitor", path, "--overwrite", "--duration", "1"])
        found = colour(path)
        check("what the user picked is recorded", found[0] in (29, 30) and blue(found), found)
        first = asked(folder, "SelectSources")[-1]
        check("the portal is asked for a monitor with its pointer, to be remembered",
              first.get("types") == 1 and first.get("cursor_mode") == 2 and first.get("persist_mode") == 2
              and "restore_data" not in first, first)
        wait_for("the session's end", lambda: asked(folder, "Close"))
        token = desk.dir / "state/ghoststream/portal-ghoststream.token"
        check("a token is kept for the user alone", token.exists() and token.stat().st_mode & 0o777 == 0o600)
        pick()
        desk.run([CLI, "transcode", "screen:?backend=portal&cursor=0", path, "--overwrite", "--duration", "0.5"])
        again = asked(folder, "SelectSources")[-1]
        check("the next time it is restored, and without the pointer",
              "what was picked" in str(again.get("restore_data")) and again.get("cursor_mode") == 1, again)
        pick()
        desk.run([CLI, "transcode", "screen:?backend=portal&application=other&pick=window", path, "--overwrite",
                  "--duration", "0.5"])
        other = asked(folder, "SelectSources")[-1]
        check("another application has to ask", "restore_data" not in other and other.get("types") == 2, other)

        pick()
        path = WORK / "part.mkv"
        desk.run([CLI, "transcode", "screen:?backend=portal&region=20,10 160x90", path, "--overwrite", "--duration", "0.5"])
        size = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", path],
                              capture_output=True, text=True, check=True).stdout.strip()
        check("a part of what was picked is recorded", size.startswith("160,90") and blue(colour(path)), size)
        pick()
        done = desk.run([CLI, "transcode", "screen:?backend=portal&region=300,10 160x90", WORK / "none.mkv", "--overwrite"],
                        check=False)
        check("a part outside of it is refused", done.returncode != 0 and "region" in done.stderr, done.stderr)

        desktop.WORK.mkdir(parents=True, exist_ok=True)
        program = desktop.build()
        shown = desktop.Desktop(desk, program, "beside", "pointer")
        (folder / "node").write_text(str(shown.node))
        path = WORK / "beside.mkv"
        desk.run([CLI, "transcode", "screen:?backend=portal&fps=30&draw_cursor", path, "--overwrite", "--encoder", "libx264",
                  "--crf", "4", "--duration", "1"])
        last = asked(folder, "SelectSources")[-1]
        seen = desktop.pictures(path)
        check("the pointer comes beside the picture when that is wanted, and is drawn", last.get("cursor_mode") == 4
              and len(seen) in (29, 30) and desktop.marks(seen[3], 100, 50), (last, len(seen)))
        shown.end()

        # Numbered pictures, by a camera of our own: what is picked is recorded in order. How many are missing is a matter of speed,
        # of the camera's too, and has the bound of node.py; tests/bench measures it.
        camera = desk.spawn([CLI, "camera", "pattern:smpte?width=640&height=360&fps=30&burn_in", "numbered"], log="numbered")
        wait_for("the camera", lambda: desk.nodes(node_name="numbered"))
        (folder / "node").write_text(str(desk.nodes(node_name="numbered")[0]["id"]))
        path = WORK / "numbered.mkv"
        # Twice as often as they come: each is seen, whatever the two clocks are to each other.
        desk.run([CLI, "transcode", "screen:?backend=portal&fps=60&cursor=0", path, "--overwrite", "--encoder", "libx264",
                  "--crf", "4", "--duration", "4"])
        numbers = [wayland.number(picture) for picture in wayland.pictures(path)]
        there = None not in numbers and len(numbers) > 200
        seen = len(set(numbers)) / (numbers[-1] - numbers[0] + 1) if there else 0
        check("frame numbers through the portal: in order, and most of them", there and numbers == sorted(numbers)
              and seen > 0.8 and 110 <= numbers[-1] - numbers[0] <= 130, (seen, numbers))
        desk.stop(camera)

        pick()
        (folder / "wait").touch()
        path = WORK / "undecided.mkv"
        path.unlink(missing_ok=True)
        before = len(asked(folder, "Start"))
        job = desk.spawn([CLI, "transcode", "screen:?backend=portal", path, "--events", "json"], stdout=subprocess.PIPE,
                         text=True)
        wait_for("the dialog", lambda: len(asked(folder, "Start")) > before)
        job.send_signal(signal.SIGINT)
        said = ended(job)
        check("a stop while the user has not picked is no failure, and leaves no file", job.returncode == 0
              and "nothing is written" in said and not list(WORK.glob("undecided*")), (job.returncode, said))
        (folder / "wait").unlink()

        (folder / "deny").touch()
        done = desk.run([CLI, "transcode", "screen:?backend=portal", WORK / "none.mkv", "--overwrite"], check=False)
        check("a user who refuses is believed", done.returncode != 0 and "picked nothing" in done.stderr, done.stderr)
        (folder / "deny").unlink()

        pick()
        path = WORK / "closed.mkv"
        job = begin(desk, "screen:?backend=portal&fps=30", path)
        time.sleep(0.8)
        (folder / "close").touch()
        said = ended(job)
        check("a session that the desktop ends ends the recording", "ended the session" in said, said)
        found = colour(path)
        check("which is kept", job.returncode == 0 and found[0] > 10 and blue(found), (job.returncode, found))

        pick()
        path = WORK / "gone.mkv"
        webcam, _ = show(desk, "webcam", "red")
        job = begin(desk, "screen:?backend=portal&fps=30", path)
        time.sleep(0.8)
        desk.stop(players.pop())
        said = ended(job)
        found = colour(path)
        check("a node that goes away ends the recording, and no camera takes its place",
              job.returncode == 0 and bool(said) and blue(found), (job.returncode, said, found))

        pick()
        job = begin(desk, "screen:?backend=portal&fps=30", WORK / "dead.mkv")
        time.sleep(0.5)
        front.kill()
        said = ended(job)
        check("a portal that dies ends the recording", job.returncode == 0 and bool(said), said)
        if failed:
            print(desk.log("front-end")[-1500:], desk.log("backend")[-1500:])
    print(f"    {len(failed)} failed" if failed else "    all as it should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
