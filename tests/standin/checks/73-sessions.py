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


def job(name, outputs, fallback=False, url=source, device="software", **knobs):
    """Runs a job; its events come back too."""
    path = f"{WORK}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"source": {"url": url, "decode": {"device": device}}, "fallback": fallback, "outputs": outputs}, file)
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



def cards(done):
    """Which card coded each session's pictures, in the order of the sessions."""
    by = {}
    for line in done.calls("standin.coded"):
        by.setdefault(line["encoder"], set()).add(line["device"])
    return [places for _, places in sorted(by.items())]


def readings(values):
    """What NVML tells of the cards, other programs' part included: `0.encoder_sessions` and so on."""
    path = f"{WORK}/readings"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    return path


# Sessions go to the card with most to spare: of a 4090 with two engines and a 3060 with one, the third.
outputs = [output(f"dual-{n}", codec="h264", bitrate=f"{n + 1}M") for n in range(3)]
done = job("dual", outputs, PROFILE="dual")
clean(done, "two cards")
opened = [line["rc"] for line in done.calls("NvEncInitializeEncoder")]
equal(opened, [0, 0, 0], "two cards: sessions")
equal(sorted(min(places) for places in cards(done)), [0, 0, 1], "two cards: who coded each session")

# What other programs do counts: their sessions, the time that the engines are busy, and the memory.
for name, state in [
    ("others' sessions", {"0.encoder_sessions": 12, "1.encoder_sessions": 0}),
    ("others' load", {"0.encoder_sessions": 2, "0.encoder_utilization": 95, "1.encoder_sessions": 0, "1.encoder_utilization": 0}),
    ("no memory", {"0.memory_used": 25_700_000_000}),
]:
    done = job("busy", [output("busy", codec="h264")], PROFILE="dual", STATE=readings(state))
    clean(done, name)
    equal(cards(done), [{1}], f"{name}: who coded it")
    # So do decoder and kernels, where the job is on the device.
    ladder = [output("busy-a", codec="h264"), output("busy-b", codec="hevc", height=120)]
    done = job("busy-device", ladder, device="cuda", PROFILE="dual", STATE=readings(state))
    clean(done, f"{name}, on the device")
    equal(cards(done), [{1}, {1}], f"{name}, on the device: who coded it")
    equal(done.copies("HtoD") + done.copies("DtoH"), 0, f"{name}, on the device: bytes between host and device")
    equal([line["device"] for line in done.calls("standin.decoder")], [1], f"{name}, on the device: who decoded it")
done = job("idle", [output("idle", codec="h264")], device="cuda", PROFILE="dual", STATE=readings({"1.encoder_sessions": 9}))
equal(cards(done), [{0}], "an idle card: who coded it")
# A card that is named is the job's, and one track's may be another: its frames go by way of the host.
done = job("named", [output("named", codec="h264", options={"gpu": "1"})], device="cuda", PROFILE="dual")
clean(done, "a named card")
equal((cards(done), done.copies("DtoH")), ([{1}], 0), "a named card: who coded it, bytes to the host")
both = [output("named-a", codec="h264", options={"gpu": "1"}), output("named-b", codec="hevc", options={"gpu": "0"})]
done = job("named-both", both, device="cuda", PROFILE="dual")
clean(done, "two named cards")
equal(sorted(min(c) for c in cards(done)), [0, 1], "two named cards: who coded")
check("frames are on GPU 1" in " ".join(done.warnings.values()), f"two named cards: the transfer is told: {done.warnings}")
equal([frames(f"{WORK}/named-{n}.mkv") for n in "ab"], [25, 25], "two named cards: frames")

# A card that fails in the middle: the next one goes on, then software; without a fallback the job ends.
for device in ("software", "cuda"):
    for fault in ("NvEncEncodePicture:10=20", "NvEncInitializeEncoder:1=10", "NvEncLockBitstream:4=20", "NvEncEncodePicture:10=5"):
        for structure in ({"b_frames": 0}, {"b_frames": 3, "lookahead": 6}):
            name = f"{device}, {fault}, {structure}"
            done = job("next", [output("next", codec="h264", **structure)], fallback=True, device=device, PROFILE="dual", FAULT=fault)
            equal((done.code, done.leaks), (0, []), f"{name}: {done.message} {done.err[-300:]}")
            told = done.warnings.get("fallback", "")
            check("nvenc on RTX 3060 goes on" in told, f"{name}: the next card goes on: {done.warnings}")
            lost = int((re.findall(r"(\d+) frames were lost", told) or [0])[0])
            equal(frames(f"{WORK}/next.mkv") + lost, 25, f"{name}: frames and {lost} lost ones")
            equal(cards(done)[-1], {1}, f"{name}: who coded at last")
# What is in a card's memory is read when only its encoder failed; what cannot be read is lost, counted and told.
for structure in ({"b_frames": 0}, {"b_frames": 3, "lookahead": 6}):
    for fault, least in (("NvEncEncodePicture:12=20", 0), ("NvEncEncodePicture:12=20,DtoH:1=700", 1), ("NvEncLockBitstream:4=20,DtoH:1=700", 1)):
        name = f"memory of a card, {fault}, {structure}"
        done = job("read", [output("read", codec="h264", **structure)], fallback=True, device="cuda", FAULT=fault)
        equal((done.code, done.violations, done.leaks), (0, [], []), f"{name}: {done.message} {done.err[-300:]}")
        told = done.warnings.get("fallback", "")
        check("libx264 goes on" in told, f"{name}: software goes on: {done.warnings}")
        lost = int((re.findall(r"(\d+) frames were lost", told) or [0])[0])
        equal(frames(f"{WORK}/read.mkv") + lost, 25, f"{name}: frames and {lost} lost ones")
        check(least <= lost <= least + (3 if structure["b_frames"] else 0), f"{name}: {lost} frames were lost")
        counted = [e["dropped"] for e in done.events if e["type"] == "progress"][-1]
        equal(counted, lost, f"{name}: the job's count of lost frames")
# Nothing of it can be read any more: the job ends and says why.
done = job("dead", [output("dead", codec="h264")], fallback=True, device="cuda", FAULT="NvEncEncodePicture:12=20,DtoH:1+=700")
check(done.code != 0 and "download" in done.message, f"a card that is dead: {done.code} {done.message}")
equal((done.leaks, os.path.exists(f"{WORK}/dead.mkv")), ([], False), "a card that is dead: what is left behind")

done = job("last", [output("last", codec="h264")], fallback=True, PROFILE="dual", FAULT="NvEncEncodePicture:10+=20")
equal((done.code, frames(f"{WORK}/last.mkv")), (0, 25), f"two cards that fail: {done.message}")
check("libx264 goes on" in " ".join(e["message"] for e in done.events if e["type"] == "warning"), f"two cards that fail: {done.events}")
done = job("strict", [output("strict", codec="h264")], PROFILE="dual", FAULT="NvEncEncodePicture:10=20")
check(done.code != 0 and not os.path.exists(f"{WORK}/strict.mkv"), "a card that fails, without fallback")

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
