"""Live streams and finished jobs in an object store: FFmpeg publishes by RTMP, moto is the S3, and FFmpeg plays from its URLs. Between the server
and moto stands a relay that can be cut, as a store that is away.

    store.py       GS_CLI, GS_LIVE_WORK; exit code 77: a peer is missing
"""

from __future__ import annotations

import json
import logging
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
try:
    from moto.server import ThreadedMotoServer
except ImportError:
    print("live: SKIPPED: store.py: moto is missing (tests/setup/setup.sh test)")
    sys.exit(77)

RATE = 25
# Nothing is public by itself; moto takes any signature.
SIGNED = "AWS the-id:signature"
CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", sources: {local_roots: ["%(work)s"]}}
live: {enabled: true, rtmp_port: 0, webrtc_port: null, segment_duration: 1, playlist_size: 4}
store:
  url: "%(url)s"
  endpoint: %(endpoint)s
  allow_http: true
  retries: 1
  window_seconds: %(window)s
  queue_mb: %(queue)s
"""


class Relay:
    """Forwards to the store, until it is cut."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.open = True
        self.connections: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.to))
            self.connections += [client, server]
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a: socket.socket, b: socket.socket) -> None:
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self) -> None:
        self.open = False
        for end in self.connections:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()

    def restore(self) -> None:
        self.open = True


class Server:
    """A server, and where it listens."""

    def __init__(self, name: str, url: str, endpoint: str = "null", window: int = 60, queue: int = 64) -> None:
        self.work = WORK / name
        self.work.mkdir(parents=True, exist_ok=True)
        config = self.work / "ghoststream.yaml"
        values = {"work": self.work, "url": url, "endpoint": endpoint, "window": window, "queue": queue}
        config.write_text(CONFIG % values)
        self.log = self.work / "log"
        environment = os.environ | {"AWS_ACCESS_KEY_ID": "the-id", "AWS_SECRET_ACCESS_KEY": "the-s3cret"}
        self.process = subprocess.Popen(
            [CLI, "serve", "--config", config], env=environment, stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )
        found: dict[str, str] = {}
        for _ in range(400):
            text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
            found = dict(re.findall(r"listening on (http|rtmp)(://127\.0\.0\.1:\d+)", text))
            if len(found) == 2:
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.http, self.rtmp = "http" + found["http"], "rtmp" + found["rtmp"]

    def publish(self, name: str, seconds: int, size: str = "320x180", quality: int = 23) -> subprocess.Popen:
        command = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=s={size}:r={RATE}", "-f", "lavfi"]
        command += ["-i", "sine=sample_rate=48000", "-pix_fmt", "yuv420p", "-g", str(RATE), "-c:v", "libx264"]
        command += ["-preset", "ultrafast", "-qp", str(quality), "-bf", "0", "-c:a", "aac", "-t", str(seconds), "-f", "flv", f"{self.rtmp}/{name}"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def metric(self, name: str, stream: str) -> float:
        status, body, _ = get(f"{self.http}/metrics")
        assert status == 200, body
        found = re.search(rf'^ghoststream_live_store_{name}{{stream="{stream}"}} (\S+)$', body.decode(), re.M)
        return float(found[1]) if found else 0.0

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0, self.log.read_text()[-2000:]
        assert "the-s3cret" not in self.log.read_text()


def get(url: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    try:
        request = urllib.request.Request(url, headers={"Authorization": SIGNED}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as e:
        return e.code, e.read(), {}


def until(what: str, check, seconds: float = 60):
    """Waits for `check` to give something."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.1)


def keys(s3: str, bucket: str) -> set[str]:
    """All keys of a bucket."""
    status, body, _ = get(f"{s3}/{bucket}?list-type=2&max-keys=1000")
    assert status == 200, body
    tree = xml.etree.ElementTree.fromstring(body)
    return {e.text or "" for e in tree.iter() if e.tag.endswith("}Key")}


def media(url: str) -> list[str]:
    """The URLs of the media playlists of a multivariant one that is there; `[]` while it is not."""
    status, body, _ = get(url)
    if status != 200:
        return []
    text = body.decode()
    found = [line for line in text.splitlines() if line and not line.startswith("#")]
    found += re.findall(r'URI="([^"]+)"', text)
    return [urllib.parse.urljoin(url, name) for name in found]


def named(url: str) -> list[str]:
    """What a media playlist names, gaps left out."""
    status, body, _ = get(url)
    assert status == 200, f"{url}: {status}"
    text = body.decode()
    names, gap = re.findall(r'MAP:URI="([^"]+)"', text), False
    for line in text.splitlines():
        if line and line[0] != "#":
            names += [] if gap else [line]
            gap = False
        gap = gap or line == "#EXT-X-GAP"
    return [urllib.parse.urljoin(url, name) for name in dict.fromkeys(names)]


class Watcher(threading.Thread):
    """Looks again and again whether all that playlists name is there at that moment."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.over, self.looks, self.wrong = url, False, 0, []
        self.start()

    def run(self) -> None:
        while not self.over:
            for playlist in media(self.url):
                for file in named(playlist):
                    if get(file, "HEAD")[0] != 200:
                        self.wrong.append(f"{playlist} names {file}")
                    self.looks += 1
            time.sleep(0.3)

    def check(self) -> None:
        self.over = True
        self.join(30)
        assert self.looks > 20 and not self.wrong, (self.looks, self.wrong[:3])


def times(url: str) -> list[float]:
    """When each frame of the pictures is shown."""
    headers = ["-headers", f"Authorization: {SIGNED}\r\n"] if url.startswith("http") else []
    command = ["ffprobe", "-v", "error", *headers, "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "json", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [float(f["pts_time"]) for f in json.loads(done.stdout)["frames"]]


def gapless(server: Server, relay: Relay, s3: str, seconds: int) -> None:
    """All frames of a stream are in the store in the end, though it was away for a while."""
    url = f"{s3}/live/pre/streams/live/a/playlist.m3u8"
    publisher = server.publish("live/a", seconds)
    until("the playlist is in the store", lambda: media(url))
    watcher = Watcher(url)
    files = [file for playlist in media(url) for file in named(playlist)]
    status, _, headers = get(next(f for f in files if f.endswith(".m4s")), "HEAD")
    assert status == 200 and headers["content-type"] in ("video/mp4", "audio/mp4"), headers
    assert headers["cache-control"] == "public, max-age=31536000, immutable", headers
    _, _, headers = get(url, "HEAD")
    assert headers["content-type"] == "application/vnd.apple.mpegurl" and headers["cache-control"] == "max-age=1", headers
    _, manifest, headers = get(url.replace("playlist.m3u8", "manifest.mpd"))
    assert headers["content-type"] == "application/dash+xml" and b"SegmentTimeline" in manifest, manifest
    relay.cut()
    until("it is noticed that the store is away", lambda: server.metric("away", "live/a") == 1)
    time.sleep(3)
    relay.restore()
    until("it is noticed that the store is back", lambda: server.metric("away", "live/a") == 0)
    assert publisher.wait(60) == 0
    ended = lambda: all(b"#EXT-X-ENDLIST" in get(p)[1] for p in media(url))  # noqa: E731
    # The origin's stream ends some time after its publisher.
    server.process.terminate()
    assert server.process.wait(30) == 0, server.log.read_text()[-2000:]
    assert ended(), [get(p)[1] for p in media(url)]
    watcher.check()
    assert all(b"#EXT-X-GAP" not in get(p)[1] for p in media(url))
    found = times(url)
    assert len(found) == seconds * RATE, len(found)
    steps = {round((b - a) * RATE, 2) for a, b in zip(found, found[1:])}
    assert steps == {1.0}, steps


def bounded(server: Server, relay: Relay, s3: str) -> None:
    """More waits than may: what is lost is said, told of as gaps, and the rest goes on; old files are removed."""
    url = f"{s3}/short/streams/b/playlist.m3u8"
    publisher = server.publish("b", 80, "640x360", 4)
    until("the playlist is in the store", lambda: media(url))
    relay.cut()
    until("segments are lost", lambda: server.metric("lost_total", "b") > 0)
    assert server.metric("waiting_bytes", "b") <= 1 << 20
    relay.restore()
    gap = until("a gap is told of", lambda: [p for p in media(url) if b"#EXT-X-GAP" in get(p)[1]])
    watcher = Watcher(url)
    until("the gap is over", lambda: all(b"#EXT-X-GAP" not in get(p)[1] for p in gap))
    until("old files are removed", lambda: server.metric("removed_total", "b") > 6)
    segments = [k for k in keys(s3, "short") if re.search(r"v0_\w+_s\d+\.m4s$", k)]
    # What is listed, and what was for as long.
    assert 6 <= len(segments) <= 16, segments
    watcher.check()
    assert "for s3://short are lost" in server.log.read_text()
    publisher.kill()
    publisher.wait()


def again(server: Server, s3: str) -> None:
    """The next opening of a stream removes what the last one left."""
    before = {k for k in keys(s3, "short") if "/b/" in k and k.endswith(".m4s")}
    assert before
    server.publish("b", 8)
    until("the old files are removed", lambda: not before & keys(s3, "short"))


def directory(server: Server, folder: pathlib.Path) -> None:
    """A directory is a store too."""
    publisher = server.publish("d", 4)
    playlist = folder / "streams/d/playlist.m3u8"
    until("the playlist is in the directory", playlist.exists)
    assert publisher.wait(30) == 0
    server.end()
    assert len(times(str(playlist))) == 4 * RATE


def call(server: Server, path: str, body: dict | None = None, method: str | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.http + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def finished(server: Server, relay: Relay, s3: str) -> None:
    """What a job made is put there, however long the store is away, and removed with it."""
    source = server.work / "film.mkv"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}:d=4", "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-pix_fmt", "yuv420p", source], check=True)
    relay.cut()
    body = {"source": str(source), "mode": "abr", "playback": "growing", "output": {"format": "hls"}}
    job = call(server, "/api/transcode/start", body)["job_id"]
    status = lambda: call(server, f"/api/transcode/{job}/status")  # noqa: E731
    until("it is said that the store is away", lambda: (status()["store"] or {}).get("error"))
    assert status()["status"] == "ready" and status()["store"]["state"] == "uploading", status()
    relay.restore()
    store = until("the job is in the store", lambda: status()["store"]["state"] == "ready" and status()["store"])
    assert store["url"] == f"s3://short/jobs/{job}/master.m3u8" and store["error"] is None, store
    there = {k for k in keys(s3, "short") if k.startswith(f"jobs/{job}/")}
    assert len(there) == store["files"] > 2, (there, store)
    assert len(times(f"{s3}/short/jobs/{job}/master.m3u8")) == 4 * RATE
    _, _, headers = get(f"{s3}/short/jobs/{job}/master.m3u8", "HEAD")
    assert headers["content-type"] == "application/vnd.apple.mpegurl", headers
    call(server, f"/api/transcode/{job}", method="DELETE")
    until("its files are removed", lambda: not any(k.startswith(f"jobs/{job}/") for k in keys(s3, "short")))


def refused() -> None:
    """Settings that make no sense end the start with the key's name."""
    for line, said in [("url: ftp://x", "store.url"), ("urls: s3://x", "did you mean store.url"), ("queue_mb: 0", "store.queue_mb")]:
        config = WORK / "bad.yaml"
        config.write_text(f"store:\n  {line}\n")
        done = subprocess.run([CLI, "serve", "--config", config], capture_output=True, text=True, timeout=30)
        assert done.returncode != 0 and said in done.stderr, done.stderr


def main() -> None:
    refused()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    s3 = f"http://{host}:{port}"
    for bucket in ("live", "short"):
        assert get(f"{s3}/{bucket}", "PUT")[0] == 200
    relays = [Relay(port), Relay(port)]
    folder = WORK / "files"
    first = Server("first", "s3://live/pre", f"http://127.0.0.1:{relays[0].port}")
    second = Server("second", "s3://short", f"http://127.0.0.1:{relays[1].port}", window=6, queue=1)
    third = Server("third", f"file://{folder}")
    failed: list[BaseException] = []

    def run(check, *arguments) -> threading.Thread:
        def task() -> None:
            try:
                check(*arguments)
            except BaseException as e:  # noqa: BLE001
                failed.append(e)

        thread = threading.Thread(target=task)
        thread.start()
        return thread

    threads = [run(gapless, first, relays[0], s3, 20), run(bounded, second, relays[1], s3), run(directory, third, folder)]
    for thread in threads:
        thread.join()
    if not failed:
        finished(second, relays[1], s3)
        again(second, s3)
        second.end()
    for server in (first, second, third):
        server.process.kill()
        server.process.wait()
    moto.stop()
    if failed:
        raise failed[0]


main()
