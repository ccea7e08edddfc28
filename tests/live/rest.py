"""Streams asked for over HTTP in both services' words, RTMP's publishers and readers, ladders, recordings, keys and metrics,
on a server of this file's own. What comes out is looked at by Debian's ffprobe and FFmpeg 9.

    rest.py        GS_CLI, GS_LIVE_WORK, GS_FFMPEG9; exit code 77: a peer is missing
"""

from __future__ import annotations

import atexit
import email.message
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import serving
from serving import WORK, listed, until

FFMPEG9 = os.environ.get("GS_FFMPEG9")
if not FFMPEG9:
    print("live: SKIPPED: rest.py: FFmpeg 9 is missing (tests/setup/setup.sh test)")
    sys.exit(77)

CONFIG = """
server: {host: 127.0.0.1, port: 0, max_connections: 300}
live:
  enabled: true
  rtmp_port: 0
  srt_port: null
  webrtc_port: null
  hls_dash_port: 0
  cdn_port: 0
  gstreamer_port: 0
  service_token: s3cret
  recordings: "%(work)s/recordings"
  stale_threshold: %(stale)s
  cleanup_interval: 0.5
  publish_key: %(key)s
  sources: %(sources)s
%(more)s
"""


class Server(serving.Server):
    """A server, and where it listens."""

    all: list[Server] = []

    def __init__(self, name: str, stale: float = 0, key: str = "null", sources: str = "[]", more: str = "") -> None:
        config = CONFIG % {"work": WORK / name, "stale": stale, "key": key, "sources": sources, "more": more}
        super().__init__(config, ("http", "rtmp", "hls_dash", "cdn", "gstreamer"), WORK / name)
        Server.all.append(self)
        self.http, self.rtmp = self.at["http"], self.at["rtmp"]
        self.hls, self.cdn, self.gst = self.at["hls_dash"], self.at["cdn"], self.at["gstreamer"]


def call(method: str, url: str, body: object = None, token: str | None = None) -> tuple[int, object, email.message.Message]:
    """A request with a service's token."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return serving.call(method, url, body, **headers)


def probe(url: str) -> dict[str, dict]:
    """ffprobe's streams by kind."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return {s["codec_type"]: s for s in json.loads(done.stdout)["streams"]}


def decode(url: str, seconds: float) -> None:
    """FFmpeg 9 decodes it without a complaint."""
    command = [FFMPEG9, "-v", "error", "-xerror", "-i", url, "-t", str(seconds), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr[-1500:]


def playlist(url: str) -> str:
    """A playlist once it is there."""

    def fetch() -> str | None:
        status, body, _ = call("GET", url)
        return body if status == 200 else None

    text = until(f"{url} is there", fetch)
    media = listed(text)
    media += re.findall(r'TYPE=AUDIO.*URI="([^"]+)"', text)

    # FFmpeg knows no parts: without a whole segment of everything it sees nothing, so that is waited for.
    for name in media:
        assert "#EXTINF" in call("GET", urllib.parse.urljoin(url, name))[1], name
    return text


def rtmp(server: Server) -> None:
    """What is published is read by RTMP, HLS and DASH, from each port."""
    server.publish("live/a")
    text = playlist(f"{server.http}/streams/live/a/playlist.m3u8")
    assert 'CODECS="avc1.' in text and "mp4a.40.2" in text and "RESOLUTION=320x180" in text, text
    found = probe(f"{server.rtmp}/live/a")
    assert (found["video"]["codec_name"], found["video"]["width"]) == ("h264", 320), found
    assert (found["audio"]["codec_name"], found["audio"]["sample_rate"]) == ("aac", "48000"), found
    decode(f"{server.rtmp}/live/a", 2)
    for base in (server.http, server.hls, server.cdn):
        decode(f"{base}/streams/live/a/playlist.m3u8", 2)
    status, manifest, headers = call("GET", f"{server.cdn}/streams/live/a/manifest.mpd")
    assert status == 200 and 'type="dynamic"' in manifest, manifest
    assert headers["Cache-Control"] == "max-age=1", headers
    assert headers["Access-Control-Allow-Origin"] == "*", headers
    status, body, headers = call("GET", f"{server.cdn}/streams/live/a/nothing.m4s")
    assert status == 404 and isinstance(body, dict), body
    done = subprocess.run(["ffprobe", "-v", "error", f"{server.rtmp}/live/none"], capture_output=True, timeout=20)
    assert done.returncode != 0


def enhanced(server: Server) -> None:
    """Enhanced RTMP: HEVC, AV1 and VP9 with Opus come out as they went in."""
    for codec, name in [("libx265", "hevc"), ("libsvtav1", "av1"), ("libvpx-vp9", "vp9")]:
        codecs = ["-c:v", codec, "-c:a", "libopus"]
        codecs += {"libvpx-vp9": ["-deadline", "realtime", "-cpu-used", "8"], "libsvtav1": ["-preset", "12"]}.get(
            codec, ["-preset", "ultrafast", "-x265-params", "log-level=error"]
        )
        publisher = server.publish(f"live/{name}", *codecs, program=FFMPEG9)
        playlist(f"{server.http}/streams/live/{name}/playlist.m3u8")
        decode(f"{server.rtmp}/live/{name}", 1)
        decode(f"{server.http}/streams/live/{name}/playlist.m3u8", 1)
        publisher.kill()


def takeover(server: Server) -> None:
    """A second publisher replaces the first, and the times of a reader go on."""
    first = server.publish("live/t")
    playlist(f"{server.http}/streams/live/t/playlist.m3u8")
    out = server.work / "take.flv"
    command = ["ffmpeg", "-v", "error", "-y", "-i", f"{server.rtmp}/live/t", "-t", "5", "-c", "copy", out]
    reader = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    time.sleep(1.5)
    server.publish("live/t")
    assert first.wait(10) != 0
    assert reader.wait(30) == 0
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time", "-of", "csv=p=0", out]
    times = [float(t.strip(",")) for t in subprocess.run(command, capture_output=True, text=True).stdout.split()]
    assert times[-1] > 4 and all(a < b for a, b in zip(times, times[1:])), times
    assert max(b - a for a, b in zip(times, times[1:])) < 2, times


def hls_dash(server: Server) -> None:
    """The HLS and DASH service's interface."""
    base = server.hls
    server.publish("live/src")
    until("live/src is published", lambda: 'stream="live/src"' in call("GET", f"{base}/metrics")[1])
    body = {"stream_id": "cam1", "source_url": f"{server.rtmp}/live/src", "qualities": ["360p", "240p"]}
    status, info, _ = call("POST", f"{base}/streams", body)
    assert status == 200 and info["status"] in ("starting", "active"), info
    assert info["hls_url"] == "/streams/cam1/playlist.m3u8" and info["dash_url"] == "/streams/cam1/manifest.mpd", info
    assert isinstance(info["created_at"], float) and isinstance(info["last_update"], float), info
    assert call("POST", f"{base}/streams", body)[:2] == (400, {"detail": "Stream already active"})
    until("active", lambda: call("GET", f"{base}/streams/cam1")[1]["status"] == "active")
    text = playlist(base + info["hls_url"])
    assert text.count("#EXT-X-STREAM-INF") >= 1, text
    decode(base + info["hls_url"], 2)
    assert [s["stream_id"] for s in call("GET", f"{base}/streams")[1]] == ["cam1"]
    for bad, said in [
        ({**body, "stream_id": "b", "source_url": "file:///etc/passwd"}, "Invalid source URL"),
        ({**body, "stream_id": "b", "source_url": "/etc/passwd"}, "Invalid source URL: source_url: "),
        ({**body, "stream_id": "b", "source_url": "cam.mp4"}, "Invalid source URL: source_url: "),
        ({**body, "stream_id": "../b"}, "stream_id"),
        ({**body, "stream_id": "b", "qualities": ["999p"]}, "999p"),
    ]:
        status, answer, _ = call("POST", f"{base}/streams", bad)
        assert status == 400 and said in answer["detail"], answer
    assert call("POST", f"{base}/streams", {"stream_id": "b"})[0] == 422
    assert call("POST", f"{base}/streams/none/heartbeat")[1] == {"status": "ok"}
    assert call("GET", f"{base}/health")[1] == {"status": "healthy", "streams": 1}
    metrics = call("GET", f"{base}/metrics")[1]
    assert "streaming_active_streams 1" in metrics and "streaming_memory_bytes" in metrics, metrics
    no_hls = {**body, "stream_id": "cam2", "qualities": ["240p"], "enable_hls": False}
    assert call("POST", f"{base}/streams", no_hls)[1]["hls_url"] is None
    until("DASH of cam2", lambda: call("GET", f"{base}/streams/cam2/manifest.mpd")[0] == 200)
    assert call("GET", f"{base}/streams/cam2/playlist.m3u8")[0] == 404
    assert call("DELETE", f"{base}/streams/cam2")[1] == {"status": "stopped"}
    assert call("DELETE", f"{base}/streams/cam1")[1] == {"status": "stopped"}
    assert call("DELETE", f"{base}/streams/cam1")[0] == call("GET", f"{base}/streams/cam1")[0] == 404


def gstreamer(server: Server) -> None:
    """The GStreamer service's interface."""
    base, token = server.gst, "s3cret"
    assert call("GET", f"{base}/")[1]["status"] == "running"
    health = call("GET", f"{base}/health")[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", health["timestamp"]), health
    assert health["timestamp"][:13] == time.strftime("%Y-%m-%d %H", time.gmtime()), health
    assert call("GET", f"{base}/streams")[:2] == (401, {"detail": "Unauthorized"})
    body = {
        "stream_id": "g1", "source_type": "test", "output_type": "rtmp", "output_url": f"{server.rtmp}/live/out",
        "width": 320, "height": 180, "framerate": 25, "bitrate": 300000,
        "is_recording": True, "recording_path": "g1.mkv",
    }
    status, answer, _ = call("POST", f"{base}/streams", body, token)
    assert status == 201 and (answer["stream_id"], answer["status"]) == ("g1", "created"), answer
    assert call("GET", f"{base}/streams/g1/status", token=token)[1]["state"] == "stopped"
    status, answer, _ = call("POST", f"{base}/streams/g1/start", token=token)
    assert status == 200 and answer["status"] == "starting", answer
    until("g1 runs", lambda: call("GET", f"{base}/streams/g1/status", token=token)[1]["state"] == "running")
    assert call("GET", f"{base}/streams/g1/status", token=token)[1]["stats"]["sessions"] == []
    # What it sends arrives, on this server's own RTMP.
    playlist(f"{server.http}/streams/live/out/playlist.m3u8")
    found = probe(f"{server.rtmp}/live/out")
    assert (found["video"]["width"], found["video"]["height"]) == (320, 180), found
    assert call("POST", f"{base}/streams", body, token)[0] == 500
    for change, said in [
        ({"source_type": "rtmp"}, "source_url is required for non-test sources"),
        ({"recording_path": "../../x.mkv"}, "recordings are made below"),
        ({"recording_path": "/etc/x.mkv"}, "recordings are made below"),
        ({"output_type": "rtsp"}, "output_type rtsp"),
        # Two recordings in one place would take each other's files.
        ({"recording_path": "./g1.mkv"}, "stream g1 is recorded into"),
    ]:
        status, answer, _ = call("POST", f"{base}/streams", {**body, "stream_id": "g2", **change}, token)
        assert status == 400 and said in answer["detail"], answer
    assert call("PUT", f"{base}/streams/g2/config", body, token)[0] == 400
    # What is refused leaves the stream as it is.
    elsewhere = {**body, "source_type": "rtmp", "source_url": "rtmp://169.254.169.254/live/x"}
    assert call("PUT", f"{base}/streams/g1/config", elsewhere, token)[0] == 400
    nowhere = {**body, "output_url": "http://127.0.0.1/x"}
    assert call("PUT", f"{base}/streams/g1/config", nowhere, token)[0] == 400
    assert call("POST", f"{base}/streams", {**nowhere, "stream_id": "g4"}, token)[0] == 400
    assert call("GET", f"{base}/streams/g1/status", token=token)[1]["state"] == "running"
    assert call("PUT", f"{base}/streams/g1/config", body, token)[1]["status"] == "updated"
    assert call("POST", f"{base}/streams/g1/restart", token=token)[1]["status"] == "restarting"
    assert call("POST", f"{base}/streams/none/restart", token=token)[0] == 404
    until("it runs again", lambda: call("GET", f"{base}/streams/g1/status", token=token)[1]["state"] == "running")
    time.sleep(2)
    silent = {**body, "stream_id": "g3", "source_type": "rtmp", "source_url": f"{server.rtmp}/live/out", "audio_enabled": False}
    silent |= {"framerate": 10, "is_recording": False, "output_url": f"{server.rtmp}/live/silent", "bitrate": 200000}
    assert call("POST", f"{base}/streams", silent, token)[0] == 201
    assert call("POST", f"{base}/streams/g3/start", token=token)[0] == 200
    playlist(f"{server.http}/streams/g3/playlist.m3u8")
    found = probe(f"{server.http}/streams/g3/playlist.m3u8")
    assert list(found) == ["video"] and found["video"]["avg_frame_rate"] == "10/1", found
    assert call("DELETE", f"{base}/streams/g3", token=token)[0] == 200
    assert call("POST", f"{base}/streams/g1/stop", token=token)[1]["status"] == "stopping"
    assert call("POST", f"{base}/streams/none/stop", token=token)[0] == 200
    assert call("DELETE", f"{base}/streams/g1", token=token)[1]["status"] == "deleted"
    assert call("GET", f"{base}/streams", token=token)[1] == {"streams": []}
    files = sorted((server.work / "recordings" / "g1").glob("*.mkv"))
    assert files, list((server.work / "recordings").rglob("*"))
    decode(str(files[-1]), 1)


def stale() -> None:
    """A stream without a heartbeat ends; a key is needed to publish."""
    server = Server("stale", stale=1.5, key="k3y")
    refused = server.publish("live/k", seconds=5)
    assert refused.wait(15) != 0
    server.publish("live/k?key=k3y")
    playlist(f"{server.http}/streams/live/k/playlist.m3u8")
    body = {"stream_id": "s", "source_url": f"{server.rtmp}/live/k", "qualities": ["240p"]}
    assert call("POST", f"{server.http}/streams", body)[0] == 200
    for _ in range(6):
        call("POST", f"{server.http}/streams/s/heartbeat")
        time.sleep(0.5)
    assert call("GET", f"{server.http}/streams/s")[0] == 200
    until("it ends", lambda: call("GET", f"{server.http}/streams/s")[0] == 404, 6)
    assert "k3y" not in server.log.read_text()
    server.end()


def keys() -> None:
    """Keys of single streams, and tokens that are good for one stream and some time."""
    more = "  read_key: all\n  token_secret: t0p\n  keys: [{stream: live/own, publish: pub1, read: rd1}, {stream: 'team/*', publish: pub2}]"
    server = Server("keys", more=more)
    assert server.publish("live/own", seconds=5).wait(20) != 0
    assert server.publish("live/own?key=pub2", seconds=5).wait(20) != 0
    server.publish("live/own?key=pub1")
    there = lambda name, key: call("GET", f"{server.http}/streams/{name}/playlist.m3u8?key={key}")[0] == 200
    until("it is published", lambda: there("live/own", "rd1"))

    def token(act: str, stream: str, seconds: int) -> str:
        until = str(int(time.time()) + seconds)
        mac = hmac.new(b"t0p", f"{act}\n{stream}\n{until}".encode(), hashlib.sha256)
        return f"{until}-{mac.hexdigest()}"

    status = lambda key, base=server.http: call("GET", f"{base}/streams/live/own/playlist.m3u8?key={key}")[0]
    good = token("read", "live/own", 60)
    assert [status(k) for k in ("rd1", "all", good)] == [200] * 3
    bad = ["", "pub1", token("read", "live/own", -5), token("read", "live/other", 60), token("publish", "live/own", 60), good[:-1] + "x"]
    assert [status(k) for k in bad] == [403] * len(bad)
    # The cookie is for this stream only, at the path that was asked for.
    for base, path in ((server.http, "/streams/live/own"), (server.cdn, "/live/own")):
        cookie = call("GET", f"{base}{path}/playlist.m3u8?key=rd1")[2]["Set-Cookie"]
        assert f"Path={path};" in cookie, cookie
    # RTMP's readers, and publishers with a token.
    command = ["ffprobe", "-v", "error", f"{server.rtmp}/live/own?key="]
    assert subprocess.run([*command[:-1], command[-1] + "pub1"], capture_output=True, timeout=30).returncode != 0
    assert subprocess.run([*command[:-1], command[-1] + good], capture_output=True, timeout=30).returncode == 0
    publish = token("publish", "team/x", 60)
    assert server.publish("team/y?key=" + publish, seconds=5).wait(20) != 0
    server.publish("team/x?key=" + publish)
    until("it is published", lambda: there("team/x", "all"))
    listed = call("GET", f"{server.http}/live/streams?key=all")[1]["streams"]
    assert {s["name"] for s in listed} == {"live/own", "team/x"}, listed
    assert call("GET", f"{server.http}/live/streams?key=rd1")[0] == 403
    for secret in ("pub1", "pub2", "rd1", "t0p", good):
        assert secret not in server.log.read_text(), secret
    server.end()


def on_demand() -> None:
    """The operator's own streams: fetched when somebody wants them, let go when nobody does, and found again."""
    film = WORK / "film.mp4"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-c:v", "libx264"]
    subprocess.run([*command, "-g", "25", "-pix_fmt", "yuv420p", film], check=True, timeout=60)
    sources = [
        {"name": "idle", "url": "pattern:320x180@25", "on_demand": True, "idle_timeout": 2, "qualities": ["240p"]},
        {"name": "film", "url": str(film)},
        {"name": "lost", "url": str(WORK / "nowhere.mp4"), "slate": "pattern:320x180@25"},
    ]
    server = Server("on_demand", stale=1, sources=json.dumps(sources))
    running = lambda name: f'media_processor_frame_rate_fps{{stream_id="{name}"}}' in call("GET", f"{server.http}/metrics")[1]
    until("the film runs", lambda: running("film"))
    assert not running("idle")
    for _ in range(2):
        decode(f"{server.http}/streams/idle/playlist.m3u8", 2)
        until("it is fetched", lambda: running("idle"), 5)
        until("it is let go", lambda: not running("idle"), 15)
    # Longer than it is, and than the time without heartbeats that ends what clients ask for.
    decode(f"{server.http}/streams/film/playlist.m3u8", 5)
    assert set(probe(f"{server.http}/streams/lost/playlist.m3u8")) == {"video", "audio"}
    command = ["ffmpeg", "-v", "error", "-i", f"{server.rtmp}/idle", "-t", "1", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and not done.stderr, done.stderr
    server.end()


def main() -> None:
    """All of it; names on the command line pick."""
    checks = [rtmp, enhanced, takeover, hls_dash, gstreamer]
    wanted = sys.argv[1:]
    failed = False
    server = Server("main")
    atexit.register(lambda: [s.kill() for s in Server.all])
    for check in [*checks, stale, keys, on_demand]:
        if wanted and check.__name__ not in wanted:
            continue
        begin = time.monotonic()
        try:
            check(server) if check in checks else check()
            print(f"    ok      {check.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, KeyError, TypeError) as e:
            failed = True
            line = e.__traceback__.tb_next.tb_lineno if e.__traceback__ and e.__traceback__.tb_next else 0
            print(f"    FAILED  {check.__name__}: line {line}: {type(e).__name__}: {str(e)[-1500:]}", flush=True)
    server.end()
    sys.exit(failed)


main()
