"""A cache in front of the origin: 60 viewers of low-latency HLS behind nginx, and how often nginx asks for each file.

    cdn.py         GS_LIVE_URL (the folder of a stream with pictures), GS_LIVE_WORK; exit code 77: a peer is missing
"""

from __future__ import annotations

import collections
import http.client
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

URL = urllib.parse.urlsplit(os.environ["GS_LIVE_URL"])
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
VIEWERS = 60
PARTS = 20
if not NGINX:
    print("live: SKIPPED: cdn.py: nginx is missing (tests/setup/setup.sh test)")
    sys.exit(77)

CONFIG = """
daemon off;
error_log %(work)s/error.log;
pid %(work)s/nginx.pid;
worker_processes 1;
events { worker_connections 512; }
http {
    log_format cache '$request_uri $status $upstream_addr';
    access_log %(work)s/access.log cache;
    proxy_cache_path %(work)s/cache keys_zone=live:1m use_temp_path=off;
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://%(origin)s;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache live;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 30s;
        }
    }
}
"""


class Viewer(threading.Thread):
    """Plays the low-latency playlist: every next part is asked for before it is there."""

    def __init__(self, port: int, start: threading.Barrier) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.barrier = start
        self.parts: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def get(self, name: str) -> bytes:
        """One file of the stream."""
        self.connection.request("GET", urllib.parse.urljoin(URL.path, name))
        answer = self.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (name, answer.status, body[:200])
        return body

    def run(self) -> None:
        """Notes the name and size of every part."""
        try:
            self.barrier.wait(30)
            text = self.get("playlist.m3u8").decode()
            media = re.search(r"#EXT-X-STREAM-INF.*\n(.+)", text)[1]
            text, known = self.get(media).decode(), set()
            while len(self.parts) < PARTS:
                for part in re.findall(r'#EXT-X-PART:.*URI="([^"]+)"', text):
                    if part not in known:
                        known.add(part)
                        self.parts.append((part, len(self.get(part))))
                sequence = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)[1]) + text.count("#EXTINF")
                tail = text.rsplit("#EXTINF", 1)[-1].split("\n", 2)[-1]
                following = tail.count("#EXT-X-PART:")
                text = self.get(f"{media}?_HLS_msn={sequence}&_HLS_part={following}").decode()
        except BaseException as e:  # noqa: BLE001 told to who waits
            self.error = e


def main() -> None:
    """60 viewers at once; one request to the origin for each file that may be kept."""
    (WORK / "cache").mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = WORK / "nginx.conf"
    config.write_text(CONFIG % {"work": WORK, "port": port, "origin": URL.netloc})
    nginx = subprocess.Popen([NGINX, "-p", WORK, "-c", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        barrier = threading.Barrier(VIEWERS)
        viewers = [Viewer(port, barrier) for _ in range(VIEWERS)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join(60)
    finally:
        nginx.terminate()
        nginx.wait(10)
    wrong = [v.error for v in viewers if v.error or v.is_alive()]
    assert not wrong, wrong[:3]
    sizes = collections.defaultdict(set)
    for viewer in viewers:
        for part, size in viewer.parts:
            sizes[part].add(size)
    assert all(len(of) == 1 for of in sizes.values()), sizes
    served, fetched = collections.Counter(), collections.Counter()
    for line in (WORK / "access.log").read_text().splitlines():
        uri, _, upstream = line.split(" ", 2)
        served[uri] += 1
        fetched[uri] += upstream != "-"
    # Parts, segments, and playlists that were waited for; a playlist as it is now may be asked for again.
    kept = [uri for uri in served if not uri.endswith(".m3u8")]
    often = {uri: fetched[uri] for uri in kept if fetched[uri] != 1}
    assert len(kept) >= PARTS and not often, often
    shared = max(served[uri] for uri in kept)
    assert shared == VIEWERS, shared
    asked, given = sum(fetched.values()), sum(served.values())
    print(f"    ok      {VIEWERS} viewers behind nginx: {given} requests, {asked} to the origin, one for each file that may be kept")


main()
