"""SRT with programs that are not ours: Debian's FFmpeg 5.1, FFmpeg 9, GStreamer and srt-live-transmit, against servers of this
file's own. What one of them publishes another one reads; HLS is played too.

    srt.py [CHECK]...        GS_CLI, GS_LIVE_WORK, GS_FFMPEG9; exit code 77: a peer is missing

Each check is a function whose name begins with `check_`.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import traceback
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
FFMPEG9 = os.environ.get("GS_FFMPEG9")
for peer in ("ffmpeg", "ffprobe", FFMPEG9, "gst-launch-1.0", "srt-live-transmit"):
    if not peer or not shutil.which(peer):
        print(f"live: SKIPPED: srt.py: {peer or 'FFmpeg 9'} is missing (tests/setup/setup.sh test)")
        sys.exit(77)

CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: null, webrtc_port: null, srt_port: 0, srt_passphrase: %(passphrase)s}
"""
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-c:a", "aac"]
HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25", "-c:a", "aac"]


class Server:
    """A server, and where it listens."""

    def __init__(self, name: str, passphrase: str = "null") -> None:
        self.work = WORK / name
        self.work.mkdir(parents=True, exist_ok=True)
        config = self.work / "ghoststream.yaml"
        config.write_text(CONFIG % {"work": self.work, "passphrase": passphrase})
        self.log = self.work / "log"
        self.process = subprocess.Popen(
            [CLI, "serve", "--config", config], stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )
        found: dict[str, str] = {}
        for _ in range(400):
            found = dict(re.findall(r"listening on (\w+)://(127\.0\.0\.1:\d+)", self.said()))
            if {"http", "srt"} <= found.keys():
                break
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        self.http, self.srt = "http://" + found["http"], "srt://" + found["srt"]
        self.started: list[subprocess.Popen] = []

    def said(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.process.terminate()
        assert self.process.wait(30) == 0, self.said()

    def run(self, *command: str) -> subprocess.Popen:
        """Starts a program that ends with the server."""
        with (self.work / "peers").open("ab") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.started.append(process)
        return process

    def publish(self, name: str, codecs: list[str], program: str = "ffmpeg", seconds: int = 60, more: str = "") -> subprocess.Popen:
        """Publishes a test picture with a tone, in its own time."""
        source = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        to = f"{self.srt}?streamid=publish:{name}{more}"
        return self.run(program, "-v", "error", *source, "-pix_fmt", "yuv420p", *codecs, "-t", str(seconds), "-f", "mpegts", to)

    def await_line(self, text: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text not in self.said():
            assert time.monotonic() < end, f"{text!r} is not in:\n{self.said()}\n{(self.work / 'peers').read_text()}"
            time.sleep(0.1)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.http + path, timeout=10) as answer:
            return answer.read().decode()

    def figure(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics"), re.M)
        assert found, f"{name}:\n{self.get('/metrics')}"
        return float(found[1])


def looked_at(path: pathlib.Path) -> dict[str, list[float]]:
    """The decode times of each codec's packets, which rise; ffprobe finds nothing wrong with the file."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr, done.stderr
    all_of = json.loads(done.stdout)
    times: dict[str, list[float]] = {}
    for stream in all_of["streams"]:
        own = [float(p["dts_time"]) for p in all_of["packets"] if p["stream_index"] == stream["index"]]
        assert all(a < b for a, b in zip(own, own[1:])), f"{stream['codec_name']}: times do not rise"
        times[stream["codec_name"]] = own
    return times


def whole(times: dict[str, list[float]], video: str, seconds: float) -> None:
    """Pictures at 25 a second and AAC at 48 kHz, together and without holes."""
    assert sorted(times) == sorted(["aac", video]), list(times)
    assert len(times[video]) >= 25 * seconds * 0.9, len(times[video])
    assert len(times["aac"]) >= 48000 / 1024 * seconds * 0.9, len(times["aac"])
    for codec, step in ((video, 0.04), ("aac", 1024 / 48000)):
        steps = [b - a for a, b in zip(times[codec], times[codec][1:])]
        assert max(steps) < step * 1.6, f"{codec}: a hole of {max(steps):.3f} s"
    assert abs(times[video][0] - times["aac"][0]) < 0.5, "sound and pictures begin together"


def read_by_ffmpeg(server: Server, program: str, stream_id: str, seconds: int, more: str = "") -> dict[str, list[float]]:
    out = server.work / f"{pathlib.Path(program).name}.ts"
    command = [program, "-v", "error", "-y", "-i", f"{server.srt}?streamid={stream_id}{more}", "-map", "0", "-c", "copy", "-t", str(seconds)]
    done = subprocess.run([*command, out], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    return looked_at(out)


def check_ffmpeg_publishes_and_another_ffmpeg_reads() -> None:
    with Server("h264") as server:
        server.publish("live/cam", H264)
        server.await_line("published")
        whole(read_by_ffmpeg(server, FFMPEG9, "read:live/cam", 4), "h264", 4)
        # In the words of SRT's access control.
        whole(read_by_ffmpeg(server, "ffmpeg", "#!::r=live/cam,m=request", 4), "h264", 4)
        assert 0 <= server.figure("ghoststream_live_publisher_rtt_seconds") < 0.5
        assert server.figure("ghoststream_live_publisher_dropped_total") == 0
        assert server.figure("ghoststream_live_srt_connections") >= 1


def check_hevc_is_read_by_gstreamer() -> None:
    with Server("hevc") as server:
        server.publish("cam", HEVC, FFMPEG9)
        server.await_line("published")
        out = server.work / "gst.ts"
        reader = server.run("gst-launch-1.0", "-q", "srtsrc", f"uri={server.srt}?streamid=read:cam", "!", "filesink", f"location={out}", "buffer-mode=unbuffered")
        end = time.monotonic() + 30
        while not out.exists() or out.stat().st_size < 300_000:
            assert time.monotonic() < end and reader.poll() is None, (server.work / "peers").read_text()
            time.sleep(0.1)
        reader.kill()
        reader.wait()
        # What was written last is cut off somewhere.
        whole_packets = out.read_bytes()
        out.write_bytes(whole_packets[: len(whole_packets) // 188 * 188])
        times = looked_at(out)
        assert sorted(times) == ["aac", "hevc"] and len(times["hevc"]) > 25, {k: len(v) for k, v in times.items()}


def check_gstreamer_publishes_and_hls_is_played() -> None:
    with Server("gst") as server:
        clip = server.work / "clip.mp4"
        source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=20", "-f", "lavfi", "-i", "sine=sample_rate=48000:d=20"]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *source, "-pix_fmt", "yuv420p", *H264, clip], check=True)
        server.run(
            *f"gst-launch-1.0 -q filesrc location={clip} ! qtdemux name=d mpegtsmux name=m alignment=7 ! srtsink sync=true".split(),
            f"uri={server.srt}?streamid=publish:cam", "wait-for-connection=false",
            *"d.video_0 ! queue ! h264parse config-interval=-1 ! m. d.audio_0 ! queue ! aacparse ! m.".split(),
        )  # fmt: skip
        server.await_line("published")
        whole(read_by_ffmpeg(server, "ffmpeg", "read:cam", 3), "h264", 3)
        out = server.work / "hls.ts"
        command = ["ffmpeg", "-v", "error", "-y", "-i", f"{server.http}/streams/cam/playlist.m3u8", "-map", "0:v:0", "-map", "0:a:0"]
        subprocess.run([*command, "-c", "copy", "-t", "4", out], check=True, timeout=60, stdin=subprocess.DEVNULL)
        whole(looked_at(out), "h264", 4)


def check_passphrases() -> None:
    with Server("locked", passphrase="correct-horse") as server:
        for wrong in ("", "&passphrase=battery-staple"):
            refused = server.publish("cam", H264, more=wrong)
            assert refused.wait(30) != 0
        server.await_line("its passphrase is missing or wrong")
        server.publish("cam", H264, more="&passphrase=correct-horse")
        server.await_line("published")
        whole(read_by_ffmpeg(server, FFMPEG9, "read:cam", 2, "&passphrase=correct-horse"), "h264", 2)
        assert "correct-horse" not in server.said() and "battery" not in server.said()


def check_a_second_publisher_takes_over() -> None:
    with Server("takeover") as server:
        first = server.publish("cam", H264)
        server.await_line("published")
        reader = server.run("srt-live-transmit", "-q", f"{server.srt}?streamid=read:cam", "file://con")
        server.publish("cam", H264, FFMPEG9, seconds=4)
        server.await_line("takes the stream over")
        assert first.wait(20) != 0, "the first one is let go"
        server.await_line("unpublished")
        assert reader.poll() is None, "the reader waits for the next"


def check_random_bytes() -> None:
    with Server("random") as server:
        server.publish("good", H264)
        server.await_line("published")
        noise = subprocess.Popen(
            ["srt-live-transmit", "-q", "file://con", f"{server.srt}?streamid=publish:bad"], stdin=subprocess.PIPE
        )
        bits = random.Random(1)
        end = time.monotonic() + 20
        while "this is no MPEG transport stream" not in server.said():
            assert time.monotonic() < end, server.said()
            try:
                noise.stdin.write(bits.randbytes(1316))
                noise.stdin.flush()
            except BrokenPipeError:
                pass
            time.sleep(0.002)
        noise.kill()
        noise.communicate()
        whole(read_by_ffmpeg(server, "ffmpeg", "good", 2), "h264", 2)


def main() -> int:
    named = sys.argv[1:]
    failed = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_") or (named and name not in named):
            continue
        try:
            check()
        except Exception:
            failed += 1
            print(f"srt.py: {name}:")
            traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
