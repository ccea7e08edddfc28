"""Players and publishers of other houses: mpv and streamlink play what FFmpeg publishes, by everything that they know; GStreamer
publishes by RTMP, and its RTSP server is pulled from; so is MPEG-TS by UDP.

    others.py [CHECK]...      GS_CLI, GS_LIVE_WORK; exit code 77: a peer is missing

Each check is a function whose name begins with `check_`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
RATE = 25
CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: 0, rtsp_port: 0, srt_port: 0, webrtc_port: null, segment_duration: 1, hls_ts: true,
       sources: [{name: udp, url: "udp://127.0.0.1:%(udp)d"}]}
"""
# GStreamer's RTSP server, in the system's Python.
RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(sys.argv[1])
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
missing: list[str] = []


def need(what: str, there: object) -> bool:
    """Whether a peer is there; that it is not is said."""
    if not there:
        print(f"live: SKIPPED: others.py: {what} is missing (tests/setup/setup.sh test)")
        missing.append(what)
    return bool(there)


class Server:
    """The server, and where it listens."""

    def __init__(self) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        config = WORK / "ghoststream.yaml"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            self.udp = one.getsockname()[1]
        config.write_text(CONFIG % {"work": WORK, "udp": self.udp})
        self.log = WORK / "log"
        self.process = subprocess.Popen([CLI, "serve", "--config", config], stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        self.at: dict[str, str] = {}
        for _ in range(400):
            text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
            self.at = {scheme: f"{scheme}://{where}" for scheme, where in re.findall(r"listening on (\w+)://(127\.0\.0\.1:\d+)", text)}
            if {"http", "rtmp", "rtsp", "srt"} <= self.at.keys():
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.started: list[subprocess.Popen] = []

    def run(self, *command: object, **options) -> subprocess.Popen:
        """Starts a program that ends with the check."""
        with (WORK / "peers").open("ab") as out:
            process = subprocess.Popen([str(c) for c in command], **({"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out} | options))
        self.started.append(process)
        return process

    def publish(self, name: str, *to: str) -> None:
        source = ["-re", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        codecs = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(RATE), "-c:a", "aac"]
        self.run("ffmpeg", "-v", "error", *source, *codecs, *(to or ("-f", "flv", f"{self.at['rtmp']}/{name}")))

    def playlist(self, name: str, file: str = "playlist.m3u8", seconds: float = 60) -> str:
        """A stream's playlist or manifest, once four segments are there."""
        url = f"{self.at['http']}/streams/{name}/"
        end = time.monotonic() + seconds
        while True:
            try:
                text = self.get(url + "playlist.m3u8")
                media = self.get(url + next(line for line in text.splitlines() if line and line[0] != "#"))
                if media.count("#EXTINF") >= 4:
                    return url + file
            except urllib.error.HTTPError:
                pass
            assert time.monotonic() < end, (WORK / "peers").read_text()[-1500:] + self.log.read_text()[-1500:]
            time.sleep(0.2)

    def get(self, url: str) -> str:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()

    def looked_at(self, name: str) -> dict[str, dict]:
        """ffprobe's streams of its HLS by kind, and that FFmpeg decodes them."""
        url = self.playlist(name)
        command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", url]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)["streams"]
        command = ["ffmpeg", "-v", "error", "-xerror", "-i", url, "-t", "2", "-f", "null", "-"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return {s["codec_type"]: s for s in found}


def check_mpv_plays(server: Server) -> None:
    """Three seconds of pictures with their sound, by every way, in the time that they take."""
    if not need("mpv", shutil.which("mpv")):
        return
    server.publish("live/cam")
    server.publish("cam")
    base = server.playlist("live/cam", "")
    server.playlist("cam")
    ways = [base + "playlist.m3u8", base + "ts.m3u8", base + "manifest.mpd", f"{server.at['rtmp']}/live/cam"]
    ways += [f"{server.at['srt']}?streamid=read:cam", f"{server.at['rtsp']}/cam"]
    for url in ways:
        command = ["mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn,cplayer=info", f"--frames={3 * RATE}"]
        command += ["--demuxer-lavf-o=rtsp_transport=tcp"] if url.startswith("rtsp") else []
        begin = time.monotonic()
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
        took = time.monotonic() - begin
        said = done.stdout + done.stderr
        assert done.returncode == 0, (url, said[-1500:])
        # Neither the video nor the sound was given up.
        assert "(h264 320x180" in said and "(aac " in said, (url, said[-1500:])
        assert not re.search(r"\[(vd|ad|demux|cplayer)[^]]*\].*([Ee]rror|[Ff]ailed|[Ii]nvalid)", said), (url, said[-1500:])
        assert took > 2, f"{url}: {took:.1f} s: they were not played in their time"
        print(f"      mpv: {url.split(':')[0]} {url.rsplit('/', 1)[1].split('?')[0]}: {took:.1f} s")


def check_streamlink_plays(server: Server) -> None:
    """It picks a quality of the playlist, and writes what it fetches."""
    if not need("streamlink", importlib.util.find_spec("streamlink")):
        return
    server.publish("live/link")
    url = server.playlist("live/link")
    link = [sys.executable, "-m", "streamlink", "--loglevel", "warning"]
    found = json.loads(subprocess.run([*link, "--json", url], capture_output=True, text=True, timeout=60, check=True).stdout)
    assert "best" in found["streams"] and "180p" in found["streams"], found
    out = WORK / "link.mp4"
    done = subprocess.run([*link, "-f", "-o", out, "--stream-segmented-duration", "4", url, "best"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0 and out.stat().st_size > 20_000, (done.stdout, done.stderr)
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    counts = dict(line.split(",")[:2] for line in done.stdout.split())
    assert int(counts["h264"]) >= 3 * RATE, (counts, done.stderr)


def check_gstreamer_publishes_by_rtmp(server: Server) -> None:
    found = shutil.which("gst-inspect-1.0") and subprocess.run(["gst-inspect-1.0", "rtmp2sink"], capture_output=True).returncode == 0
    if not need("GStreamer's rtmp2sink", found):
        return
    clip = WORK / "clip.mp4"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}:d=30", "-f", "lavfi", "-i", "sine=sample_rate=48000:d=30"]
    codecs = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", str(RATE), "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *codecs, clip], check=True, timeout=60)
    server.run(
        *f"gst-launch-1.0 -q filesrc location={clip} ! qtdemux name=d flvmux name=m streamable=true ! rtmp2sink sync=true".split(),
        f"location={server.at['rtmp']}/live/gst",
        *"d.video_0 ! queue ! h264parse ! m. d.audio_0 ! queue ! aacparse ! m.".split(),
    )  # fmt: skip
    found = server.looked_at("live/gst")
    assert (found["video"]["codec_name"], found["audio"]["codec_name"]) == ("h264", "aac"), found


def check_gstreamers_rtsp_server_is_pulled_from(server: Server) -> None:
    probe = ["/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"]
    if not need("gir1.2-gst-rtsp-server-1.0", subprocess.run(probe, capture_output=True).returncode == 0):
        return
    clip = WORK / "vp8.webm"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}:d=60", "-f", "lavfi", "-i", "sine=sample_rate=48000:d=60"]
    codecs = ["-pix_fmt", "yuv420p", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-g", str(RATE), "-c:a", "libopus"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *codecs, clip], check=True, timeout=120)
    pipeline = f"( filesrc location={clip} ! matroskademux name=d d.video_0 ! queue ! rtpvp8pay name=pay0 pt=96 d.audio_0 ! queue ! rtpopuspay name=pay1 pt=97 )"
    peer = server.run("/usr/bin/python3", "-c", RTSP_SERVER, pipeline, stdout=subprocess.PIPE, text=True)
    assert peer.stdout
    port = int(peer.stdout.readline())
    # VP8 is in no playlist as it is: it becomes what was asked for.
    body = {"stream_id": "gst-rtsp", "source_url": f"rtsp://127.0.0.1:{port}/cam", "qualities": ["240p"]}
    request = urllib.request.Request(f"{server.at['http']}/streams", json.dumps(body).encode(), {"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    found = server.looked_at("gst-rtsp")
    assert (found["video"]["codec_name"], found["video"]["height"], found["audio"]["codec_name"]) == ("h264", 180, "aac"), found


def check_mpeg_ts_by_udp_is_pulled(server: Server) -> None:
    server.publish("udp", "-f", "mpegts", f"udp://127.0.0.1:{server.udp}?pkt_size=1316")
    found = server.looked_at("udp")
    assert (found["video"]["codec_name"], found["audio"]["codec_name"]) == ("h264", "aac"), found


def main() -> int:
    named, failed = sys.argv[1:], 0
    server = Server()
    try:
        for name, check in list(globals().items()):
            if not name.startswith("check_") or (named and name not in named):
                continue
            begin = time.monotonic()
            try:
                check(server)
                print(f"    ok      {name.removeprefix('check_')} ({time.monotonic() - begin:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"    FAILED  {name}:")
                traceback.print_exc()
            finally:
                for process in server.started:
                    if process.poll() is None:
                        process.kill()
                    process.wait()
                server.started.clear()
    finally:
        server.process.terminate()
        assert server.process.wait(30) == 0, server.log.read_text()[-2000:]
    return 1 if failed else 77 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
