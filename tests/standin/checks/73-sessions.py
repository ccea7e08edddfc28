#!/usr/bin/env python3
"""Sessions and engines: streams side by side on a card's engines and on two cards, one stream on several engines, and what
happens when the driver allows no further session: it is waited for, done in software, or refused, as the document says."""

import json
import os
import re
import subprocess
import threading
import time

from standin import WORK, check, equal, finish, run

CLI = os.environ["GS_CLI"]
os.environ["XDG_CACHE_HOME"] = WORK


def ffmpeg(*args):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *args], check=True, capture_output=True).stdout


def clip(name, seconds):
    size = f"size=320x180:rate=25:duration={seconds}"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2={size}", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", f"{WORK}/{name}")
    return f"{WORK}/{name}"


source = clip("clip.mp4", 1)


def frames(path):
    args = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path]
    return int(subprocess.run(args, capture_output=True, text=True).stdout.strip().rstrip(",") or 0)


def output(name, **video):
    return {"path": f"{WORK}/{name}.mkv", "audio": False, "video": {"encoder": "nvenc", "preset": "p1", "bitrate": "2M", **video}}


def job(name, outputs, fallback=False, url=source, **knobs):
    """Runs a job; its events come back too."""
    path = f"{WORK}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"source": {"url": url, "decode": {"device": "software"}}, "fallback": fallback, "outputs": outputs}, file)
    for made in outputs:
        if os.path.exists(made["path"]):
            os.remove(made["path"])
    done = run([CLI, "transcode", "--events", "json", "--spec", path], timeout=240, **knobs)
    lines = [line for line in done.out.decode(errors="replace").splitlines() if line.startswith("{")]
    done.events = [json.loads(line) for line in lines]
    done.warnings = {e["code"]: e["message"] for e in done.events if e["type"] == "warning"}
    last = [e for e in done.events if e["type"] == "done"]
    done.message = (last[-1].get("message") or "") if last else ""
    return done


def clean(done, name):
    equal(done.code, 0, f"{name}: {done.message} {done.err[-400:]}")
    equal((done.violations, done.leaks), ([], []), f"{name}: violations and leaks")


def engines(done):
    """Which engines coded pictures, by session."""
    by = {}
    for line in done.calls("standin.coded"):
        by.setdefault(line["encoder"], set()).add((line["engine"], line["strips"]))
    return sorted(min(places) for places in by.values())


# Two streams on a card with two engines.
done = job("side", [output("side-a", codec="h264"), output("side-b", codec="hevc", bitrate="1M")], PROFILE="rtx4090")
clean(done, "two streams")
equal(engines(done), [(0, 1), (1, 1)], "two streams: engine and strips of each session")

# One stream on two, and on three, where it is asked for.
for profile, codec, mode, strips in [("rtx4090", "hevc", "2", 2), ("rtx4090", "av1", "forced", 2), ("rtx5090", "hevc", "3", 3)]:
    name = f"split-{codec}-{mode}"
    done = job(name, [output(name, codec=codec, options={"split_encode_mode": mode})], PROFILE=profile, API="13.0", FRAME_US=2000)
    clean(done, name)
    equal([s for _, s in engines(done)], [strips], f"{name}: engines of a picture")
    equal(frames(f"{WORK}/{name}.mkv"), 25, f"{name}: frames")
done = job("whole", [output("whole", codec="hevc", options={"split_encode_mode": "disabled"})], PROFILE="rtx4090")
equal([s for _, s in engines(done)], [1], "split encoding switched off")

# Sessions go to the card with most to spare: of a 4090 with two engines and a 3060 with one, the third.
outputs = [output(f"dual-{n}", codec="h264", bitrate=f"{n + 1}M") for n in range(3)]
done = job("dual", outputs, PROFILE="dual")
clean(done, "two cards")
opened = [line["rc"] for line in done.calls("NvEncInitializeEncoder")]
equal(opened, [0, 0, 0], "two cards: sessions")
primary = len({line["encoder"] for line in done.calls("standin.coded")})
equal(primary, 3, "two cards: sessions that coded")
check(len(done.calls("cuDevicePrimaryCtxRetain")) >= 2, "two cards: contexts")

# A limit that the job itself reaches: no waiting helps, and it says so at once.
for code in (10, 21):
    begun = time.monotonic()
    two = [output("limit-a", codec="h264"), output("limit-b", codec="hevc", bitrate="1M")]
    done = job("limit", two, SESSIONS=1, SESSION_CODE=code)
    took = time.monotonic() - begun
    check(done.code != 0 and "no more than 1 encode sessions" in done.message, f"limit, code {code}: {done.code} {done.message}")
    check(took < 60, f"limit, code {code}: told after {took:.0f} s")
    equal(done.violations, [], f"limit, code {code}: violations")
    # Where another encoder may, it does.
    done = job("limit", two, fallback=True, SESSIONS=1, SESSION_CODE=code)
    clean(done, f"limit with fallback, code {code}")
    check("goes on" in " ".join(done.warnings.values()), f"limit with fallback, code {code}: {done.warnings}")
    equal([frames(f"{WORK}/limit-{n}.mkv") for n in "ab"], [25, 25], f"limit with fallback, code {code}: frames")

# A limit that another program has reached: its session is waited for, and the job says that it waits.
holder = subprocess.Popen(
    ["ffmpeg", "-v", "error", "-y", "-re", "-stream_loop", "-1", "-i", source, "-c:v", "h264_nvenc", "-f", "null", "-"],
    env={**os.environ, "LD_LIBRARY_PATH": os.environ["STANDIN"], "GS_STANDIN_SESSIONS": "1", "GS_STANDIN_SESSIONS_FILE": f"{WORK}/sessions",
         "GS_STANDIN_LOG": f"{WORK}/holder.jsonl"},
    stdin=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.path.exists(f"{WORK}/holder.jsonl") and "standin.coded" in open(f"{WORK}/holder.jsonl", encoding="utf-8").read():
        break
    time.sleep(0.1)
else:
    check(False, "another program holds the only session")
result = {}


def queued():
    result["done"] = job("queued", [output("queued", codec="h264")], SESSIONS=1, SESSIONS_FILE=f"{WORK}/sessions")


thread = threading.Thread(target=queued)
thread.start()


def refusals():
    """How often a session was refused so far, by the logs of all runs."""
    count = 0
    for name in os.listdir(WORK):
        if re.fullmatch(r"log-\d+\.jsonl", name):
            with open(f"{WORK}/{name}", encoding="utf-8") as file:
                count += sum('"NvEncOpenEncodeSessionEx"' in line and '"rc":21' in line for line in file)
    return count


before, end = refusals(), time.monotonic() + 60
while time.monotonic() < end and refusals() < before + 3:
    time.sleep(0.2)
check(thread.is_alive(), "the job waits while another program has the session")
holder.terminate()
holder.wait(30)
thread.join(200)
done = result["done"]
clean(done, "queued")
check("waiting for an encode session" in done.warnings.get("waiting", ""), f"queued: it says that it waits: {done.warnings}")
equal(frames(f"{WORK}/queued.mkv"), 25, "queued: frames")
finish()
