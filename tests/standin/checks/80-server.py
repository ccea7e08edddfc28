#!/usr/bin/env python3
"""The transcoding server on machines with and without an NVIDIA card: tiers, heat, jobs on NVENC, and what happens to a job whose
encoder fails."""

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request

from standin import STANDIN, WORK, check, equal, finish, skip

CLI = os.environ.get("GS_CLI", "")
if not os.access(CLI, os.X_OK):
    skip("the ghoststream command is not built (GS_CLI)")

CLIP = os.path.join(WORK, "clip.mp4")
subprocess.run(
    "ffmpeg -v error -y -f lavfi -i testsrc2=s=640x360:r=25:d=8 -f lavfi -i sine=frequency=440:sample_rate=48000:d=8"
    f" -c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -c:a aac {CLIP}".split(),
    check=True,
)


class Server:
    """`ghoststream serve` on the stand-in. Its workers are confined and could not write a call log: violations are read from what
    the server says."""

    def __init__(self, name, **knobs):
        home = os.path.join(WORK, name)
        os.makedirs(home)
        with open(os.path.join(home, "ghoststream.yaml"), "w", encoding="utf-8") as file:
            file.write(
                "server: {host: 127.0.0.1, port: 0}\n"
                "mdns: {enabled: false, udp_enabled: false}\n"
                # The stand-in's device memory is a large sparse file.
                "limits: {max_file_size_gb: 0}\n"
                f"transcoding: {{temp_directory: {home}/jobs, retry_count: 1, retry_delay: 0.1}}\n"
                f"security: {{state_directory: {home}/state, rate_limit_per_minute: 0, sources: {{local_roots: [{WORK}]}}}}\n"
            )
        self.said = os.path.join(home, "log")
        self.readings = os.path.join(home, "readings")
        self.read(temperature=45)
        env = dict(os.environ, LD_LIBRARY_PATH=STANDIN, XDG_CACHE_HOME=home)
        env["GS_STANDIN_STATE"] = self.readings
        # What workers say on their standard error is told to those who ask for it only.
        env["GS_LOG"] = "info,ghoststream_server::worker=debug"
        env.update({"GS_STANDIN_" + knob: str(value) for knob, value in knobs.items()})
        with open(self.said, "w", encoding="utf-8") as log:
            command = [CLI, "serve", "--config", os.path.join(home, "ghoststream.yaml")]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.url = None
        for _ in range(200):
            with open(self.said, encoding="utf-8") as log:
                found = re.search(r"listening on (http://[\d.:]+)", log.read())
            if found:
                self.url = found[1]
                break
            time.sleep(0.05)
        assert self.url, open(self.said, encoding="utf-8").read()

    def read(self, **readings):
        """What NVML reads from now on."""
        with open(self.readings + ".new", "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in readings.items())
        os.replace(self.readings + ".new", self.readings)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def until(self, what, condition, seconds=30):
        """The status, once `condition` of it holds."""
        end = time.monotonic() + seconds
        while True:
            status = self.get("/api/status")
            if condition(status):
                return status
            if time.monotonic() > end:
                check(False, f"{what}: {status}")
                return status
            time.sleep(0.3)

    def job(self, source=CLIP, **output):
        """A file made of the clip; the job at its end, and where its file is."""
        body = {"source": source, "mode": "batch", "output": {"format": "mp4", **output}}
        request = urllib.request.Request(
            self.url + "/api/transcode/start", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            job = json.load(answer)
        end = time.monotonic() + 120
        while job["status"] not in ("ready", "error", "cancelled") and time.monotonic() < end:
            time.sleep(0.2)
            job = self.get(f"/api/transcode/{job['job_id']}/status")
        path = os.path.join(WORK, job["job_id"] + ".mp4")
        if job["status"] == "ready":
            with urllib.request.urlopen(f"{self.url}/download/{job['job_id']}", timeout=60) as answer:
                with open(path, "wb") as file:
                    file.write(answer.read())
        return job, path

    def film(self, source=CLIP, **output):
        """A film on demand, seen from its beginning to its end; the job then, and the file of what was seen."""
        body = {"source": source, "output": {"video_codec": "h264", **output}}
        request = urllib.request.Request(
            self.url + "/api/transcode/start", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            job = json.load(answer)
        place = f"{self.url}/stream/{job['job_id']}/"
        with urllib.request.urlopen(place + "master.m3u8", timeout=60) as answer:
            listed = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
        path = os.path.join(WORK, job["job_id"] + ".ts")
        with open(path, "wb") as file:
            for name in listed:
                with urllib.request.urlopen(place + name, timeout=60) as answer:
                    file.write(answer.read())
        return self.get(f"/api/transcode/{job['job_id']}/status"), path

    def stop(self):
        self.process.terminate()
        equal(self.process.wait(30), 0, "the server's exit code")
        with open(self.said, encoding="utf-8") as log:
            # Whether CUDA was begun in a process is asked before it is.
            asked = "not-initialised in cuDeviceGetCount"
            found = [line.strip() for line in log if "violation" in line and asked not in line]
        equal(found, [], f"violations of {self.said}")


def shape(path):
    """Size and frames of a file's pictures, and its sound."""
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", path],
        capture_output=True,
        check=True,
    )
    streams = {s["codec_type"]: s for s in json.loads(shown.stdout)["streams"]}
    video = streams["video"]
    return video["codec_name"], video["width"], video["height"], int(video["nb_read_frames"]), streams["audio"]["channels"]


# A card: its tier, its heat, and a job on it.
server = Server("card", PROFILE="rtx4090")
status = server.until("the card is known", lambda s: s["hardware"]["gpu_name"])
hardware = status["hardware"]
equal((hardware["tier"], hardware["recommended_encoder"]), ("ultra", "h264_nvenc"), "the card")
card = next(a for a in server.get("/api/capabilities")["hw_accels"] if a["type"] == "nvenc")["gpu_info"]
check(re.fullmatch(r"1\d\.\d+", card["cuda_version"] or ""), f"CUDA's version: {card}")
check("4090" in hardware["gpu_name"] and hardware["gpu_vram_mb"] > 20_000, f"the card: {hardware}")
equal(status["jobs"]["quality_factor"], 1.0, "the quality of a cool card")
job, path = server.job(resolution="480p", bitrate="1M", max_audio_channels=1)
equal((job["status"], job["hw_accel_used"]), ("ready", "nvenc"), f"a job on the card: {job}")
if job["status"] == "ready":
    equal(shape(path), ("h264", 640, 360, 200, 1), "what the card made")
seen, path = server.film(resolution="480p", bitrate="1M", max_audio_channels=1)
equal((seen["status"], seen["hw_accel_used"], seen["warnings"]), ("ready", "nvenc", []), "a film on demand on the card")
equal(shape(path), ("h264", 640, 360, 200, 1), "what was seen of it")
server.read(temperature=86)
hot = server.until("heat lowers the quality", lambda s: s["jobs"]["quality_factor"] < 1.0)
equal(hot["realtime"]["gpu_temperature_c"], 86, "the temperature")
check(hot["jobs"]["max_concurrent_jobs"] < status["jobs"]["max_concurrent_jobs"] or hot["jobs"]["max_concurrent_jobs"] == 1, f"hot: {hot}")
server.stop()

# A running ladder on a machine that gets too hot: its largest rung is encoded no more, and goes on with the next one's pictures.
# The source comes at about the speed of the clock, so that the job still runs when the heat is noticed.
SLOW = os.path.join(WORK, "slow.ts")
subprocess.run(
    "ffmpeg -v error -y -f lavfi -i testsrc2=s=1280x720:r=25:d=30 -f lavfi -i sine=frequency=440:sample_rate=48000:d=30"
    f" -c:v libx264 -preset ultrafast -g 25 -b:v 2M -pix_fmt yuv420p -c:a aac -f mpegts {SLOW}".split(),
    check=True,
)


class Slowly(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(SLOW, "rb") as file:
            data = file.read()
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        step = len(data) // 300
        try:
            for at in range(0, len(data), step):
                self.wfile.write(data[at : at + step])
                time.sleep(0.08)
        except OSError:
            pass

    def log_message(self, *_):
        pass


source = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slowly)
threading.Thread(target=source.serve_forever, daemon=True).start()


def heat(name, accel, **knobs):
    """The ladder on `accel`, while the machine gets hot: its sizes, its warnings."""
    server = Server(name, PROFILE="rtx4090", **knobs)
    server.until("the card is known", lambda s: s["hardware"]["gpu_name"])
    body = {"source": f"http://127.0.0.1:{source.server_port}/slow.ts", "mode": "abr", "playback": "growing", "output": {"hw_accel": accel}}
    request = urllib.request.Request(server.url + "/api/transcode/start", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        job = json.load(answer)
    state = lambda: server.get(f"/api/transcode/{job['job_id']}/status")
    end = time.monotonic() + 60
    while not (running := state())["current_time"] and running["status"] != "error" and time.monotonic() < end:
        time.sleep(0.2)
    check(len(running["variants"] or []) >= 2, f"a ladder runs: {running}")
    server.read(temperature=95)
    end = time.monotonic() + 120
    while (done := state())["status"] not in ("ready", "error") or done["progress"] < 100:
        if time.monotonic() > end or done["status"] == "error":
            break
        time.sleep(0.3)
    check(any("is encoded no more" in text for text in done["warnings"]), f"the largest rung was dropped: {done}")
    base = f"{server.url}/stream/{job['job_id']}/"
    master = urllib.request.urlopen(base + "master.m3u8", timeout=30).read().decode()
    lists = [line for line in master.splitlines() if line and not line.startswith("#")]
    sizes = []
    for playlist in lists[:2]:
        command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=width", "-of", "csv=p=0", base + playlist]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        equal(shown.stderr, "", f"what ffprobe has against {playlist}")
        sizes.append([int(w.strip(",")) for w in shown.stdout.split()])
    equal(len(sizes[0]), len(sizes[1]), "pictures of the two largest rungs")
    equal((sizes[0][0], sizes[0][-1]), (1280, sizes[1][0]), "the largest rung's first and last picture")
    server.stop()
    return done, server.said


heat("heat", "software")
# The presets of NVENC's sessions change too: each rung that goes on gets a faster one, in its session or in a new one.
done, said = heat("heat-nvenc", "nvenc", TELL=1)
equal(done["hw_accel_used"], "nvenc", "what encodes the hot ladder")
equal([text for text in done["warnings"] if "preset" in text or "while it runs" in text], [], "changes that NVENC refused")
presets = {}
for number, width in re.findall(r"standin: preset p(\d) by \w+ of (\d+)x", open(said, encoding="utf-8").read()):
    presets.setdefault(int(width), []).append(int(number))
check(len(presets) >= 2, f"sessions of several sizes: {presets}")
largest = max(presets, default=0)
for width, given in sorted(presets.items()):
    if width != largest:
        check(len(given) > 1 and given[-1] < given[0], f"the preset of the rung of {width} pixels becomes a faster one: {given}")
source.shutdown()

# A card whose encoder fails in the middle: the job is completed in software with everything that was asked for.
server = Server("fault", PROFILE="rtx4090", FAULT="NvEncEncodePicture:60+=8")
server.until("the card is known", lambda s: s["hardware"]["gpu_name"])
job, path = server.job(resolution="480p", bitrate="1M", max_audio_channels=1)
equal(job["status"], "ready", f"a job whose encoder fails: {job}")
if job["status"] == "ready":
    equal(shape(path), ("h264", 640, 360, 200, 1), "what was made after the encoder failed")
seen, path = server.film(resolution="480p", bitrate="1M", max_audio_channels=1)
equal(seen["status"], "ready", f"a film on demand whose encoder fails: {seen}")
check(any("software" in text or "libx264" in text for text in seen["warnings"]), f"who goes on is told: {seen['warnings']}")
equal(shape(path), ("h264", 640, 360, 200, 1), "what was seen of it")
# Jobs and films count together: after three failures the card is left alone, by both, and that is told.
cooling = lambda: server.get("/api/status")["hardware"]["cooling_down"]
for _ in range(3):
    if not cooling():
        server.job(resolution="480p", bitrate="1M", max_audio_channels=1)
check(0 < cooling().get("nvenc", 0) <= 300, f"an encoder that keeps failing is off: {cooling()}")
for made, path in (server.job(resolution="480p", max_audio_channels=1), server.film(resolution="480p", max_audio_channels=1)):
    equal((made["status"], made["hw_accel_used"]), ("ready", "software"), f"what is asked for then: {made}")
    check(any("nvenc keeps failing and is off" in text for text in made["warnings"]), f"that is told: {made['warnings']}")
server.stop()

# A card whose decoder alone fails: software decodes to the end, the card encodes. After three films, of jobs and on demand together,
# nothing is given to its decoder for a while, and the card goes on encoding. One film alone may itself be what is broken: it counts once.
server = Server("decoder", PROFILE="rtx4090", FAULT="cuvidDecodePicture:20+=999")
server.until("the card is known", lambda s: s["hardware"]["gpu_name"])
off = lambda: server.get("/api/status")["hardware"]["decoders_cooling_down"]
asked = {"hw_accel": "nvenc", "resolution": "480p", "max_audio_channels": 1}
films = [CLIP, *(os.path.join(WORK, f"clip-{n}.mp4") for n in (2, 3))]
for path in films[1:]:
    shutil.copyfile(CLIP, path)
tries = [(server.job, 0), (server.film, 0), (server.job, 0), (server.job, 0), (server.film, 1), (server.job, 2)]
for count, (make, film) in enumerate(tries):
    equal(off(), {}, f"decoders that are left alone after {count} failures")
    made, path = make(films[film], **asked)
    equal((made["status"], made["hw_accel_used"]), ("ready", "nvenc"), f"what is asked of a card whose decoder fails: {made}")
    check(any("cuda no longer decodes" in text for text in made["warnings"]), f"that is told: {made['warnings']}")
    equal(shape(path), ("h264", 640, 360, 200, 1), f"what was made with it, {count}")
check(0 < off().get("cuda", 0) <= 300, f"a decoder that keeps failing is left alone: {off()}")
with urllib.request.urlopen(server.url + "/metrics", timeout=30) as answer:
    check('decoder_cooldown_seconds{device="cuda"}' in answer.read().decode(), "the metrics tell it")
equal(server.get("/api/status")["hardware"]["cooling_down"], {}, "encoders that are left alone")
# Another film: the one that is there is seen as it is.
for made, path in (server.job(**asked), server.film(**asked, bitrate="1M")):
    equal((made["status"], made["hw_accel_used"]), ("ready", "nvenc"), f"what is asked for then: {made}")
    check(any("decoding on cuda keeps failing" in text for text in made["warnings"]), f"that is told: {made['warnings']}")
    check(not any("no longer decodes" in text for text in made["warnings"]), f"its decoder is left alone: {made['warnings']}")
    equal(shape(path), ("h264", 640, 360, 200, 1), "what was made then")
server.stop()

# Cards without engines, and no card.
for profile in ("h200", "none"):
    server = Server(profile, PROFILE=profile)
    job, path = server.job(hw_accel="nvenc", resolution="480p", max_audio_channels=1)
    equal((job["status"], job["hw_accel_used"]), ("ready", "software"), f"a job on {profile}: {job}")
    if job["status"] == "ready":
        equal(shape(path), ("h264", 640, 360, 200, 1), f"what {profile} made")
    seen, path = server.film(hw_accel="nvenc", resolution="480p", max_audio_channels=1)
    equal((seen["status"], seen["hw_accel_used"]), ("ready", "software"), f"a film on demand on {profile}: {seen}")
    equal(shape(path), ("h264", 640, 360, 200, 1), f"what was seen of it on {profile}")
    server.stop()
finish()
