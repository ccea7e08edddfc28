"""What checks of the engine on the stand-in share: jobs of the command, and what is in the files that they make."""

import json
import os
import subprocess

from standin import WORK, check, equal, run

CLI = os.environ["GS_CLI"]
# What the engine found out on this machine without the stand-in does not count.
os.environ["XDG_CACHE_HOME"] = WORK


def ffmpeg(*args):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *args], check=True, capture_output=True).stdout


def frames(path, pixels="yuv420p"):
    """What each picture of a file hashes to, in the order in which it is shown."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", pixels]
        + ["-f", "framemd5", "-"],
        capture_output=True,
        text=True,
    )
    check(done.returncode == 0 and not done.stderr, f"{path} decodes: {done.stderr[-300:]}")
    return [line.rsplit(",", 1)[1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


def job(name, outputs, source, timeout=240, fallback=False, **knobs):
    """Runs a job; its events come back too."""
    spec = {"source": source, "fallback": fallback, "outputs": outputs}
    path = f"{WORK}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec, file)
    for made in outputs:
        if os.path.isfile(made["path"]):
            os.remove(made["path"])
    done = run([CLI, "transcode", "--events", "json", "--spec", path], timeout=timeout, **knobs)
    lines = [line for line in done.out.decode(errors="replace").splitlines() if line.startswith("{")]
    done.events = [json.loads(line) for line in lines]
    done.warnings = [e["message"] for e in done.events if e["type"] == "warning"]
    last = [e for e in done.events if e["type"] == "done"]
    done.message = (last[-1].get("message") or "") if last else ""
    progress = [e for e in done.events if e["type"] == "progress"]
    done.dropped = progress[-1]["dropped"] if progress else None
    return done


def clean(done, name):
    equal(done.violations, [], f"{name}: violations")
    equal(done.leaks, [], f"{name}: leaks")


def output(name, video):
    return {"path": f"{WORK}/{name}.mkv", "audio": False, "video": {"encoder": "nvenc", "preset": "p1", **video}}
