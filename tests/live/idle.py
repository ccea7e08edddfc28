"""Ten thousand connections that say nothing, and names that lead elsewhere: who publishes and who plays notices nothing of it.

    idle.py       GS_CLI, GS_LIVE_WORK; exit code 77: so many files cannot be open here
"""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import time

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
MANY = 10_000
CONFIG = """
server: {host: 127.0.0.1, port: 0, max_connections: 8000}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: 0, rtsp_port: 0, webrtc_port: null, segment_duration: 1, max_connections: 4000, recordings: "%(work)s/recordings"}
"""
LOCAL = [f"127.0.0.{n}" for n in range(1, 9)]


def memory(process: subprocess.Popen) -> int:
    """Resident bytes."""
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s*(\d+)", text)[0]) * 1024


def main() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 2000:
        print(f"live: SKIPPED: idle.py: {hard} files may be open")
        return 77
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 2000), hard))
    WORK.mkdir(parents=True, exist_ok=True)
    config, log = WORK / "ghoststream.yaml", WORK / "log"
    config.write_text(CONFIG % {"work": WORK})
    server = subprocess.Popen([CLI, "serve", "--config", config], stdout=log.open("wb"), stderr=subprocess.STDOUT)
    publisher = None
    idle: list[socket.socket] = []
    try:
        found: dict[str, str] = {}
        for _ in range(400):
            found = dict(re.findall(r"listening on (\w+)://127\.0\.0\.1:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())))
            if {"http", "rtmp", "rtsp"} <= found.keys():
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        ports = {scheme: int(port) for scheme, port in found.items()}
        source = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        codecs = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-c:a", "aac"]
        to = f"rtmp://127.0.0.1:{ports['rtmp']}/live/cam"
        publisher = subprocess.Popen(["ffmpeg", "-v", "error", *source, *codecs, "-f", "flv", to], stdin=subprocess.DEVNULL)
        web = http.client.HTTPConnection("127.0.0.1", ports["http"], timeout=20)

        def get(path: str) -> tuple[int, bytes]:
            nonlocal web
            for attempt in range(2):
                try:
                    web.request("GET", path)
                    answer = web.getresponse()
                    return answer.status, answer.read()
                except (http.client.HTTPException, OSError):
                    # A connection that was kept may have been closed since.
                    web.close()
                    assert attempt == 0, path
            raise AssertionError(path)

        def newest() -> int:
            """The number of the newest whole segment."""
            status, text = get("/streams/live/cam/playlist.m3u8")
            if status != 200:
                return -1
            name = next(line for line in text.decode().splitlines() if line and line[0] != "#")
            text = get(f"/streams/live/cam/{name}")[1].decode()
            return int(re.findall(r"MEDIA-SEQUENCE:(\d+)", text)[0]) + text.count("#EXTINF")

        end = time.monotonic() + 30
        while newest() < 2:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        before = memory(server)
        # Some have begun to ask for something, most say nothing at all.
        begun = [b"", b"", b"GET /streams/live/cam/playlist.m3u8 HTTP/1.1\r\nHost: x\r\n", b"\x03"]
        schemes = ["http", "http", "rtmp", "rtsp"]
        for n in range(MANY):
            address = (LOCAL[n % len(LOCAL)], 0)
            scheme = schemes[n % 4]
            connection = socket.create_connection(("127.0.0.1", ports[scheme]), timeout=20, source_address=address)
            data = begun[n // 4 % 4] if scheme == "http" else b""
            if data:
                connection.sendall(data)
            idle.append(connection)
        there, now = newest(), time.monotonic()
        while newest() < there + 3:
            assert time.monotonic() < now + 15, f"it stands still at {there}"
            time.sleep(0.2)
        grown = (memory(server) - before) / MANY
        assert grown < 60_000, f"{grown:.0f} bytes per connection"
        # Names that lead elsewhere, or nowhere.
        for path in [
            "/streams/../../etc/passwd",
            "/streams/live/cam/..%2f..%2fetc%2fpasswd",
            "/streams/%2e%2e/%2e%2e/playlist.m3u8",
            "/streams/live/cam/" + "x" * 5000,
            "/streams/" + "a/" * 2000 + "playlist.m3u8",
            "/recordings/..%2f..%2f/state/playlist.m3u8",
            "/recordings/" + "x" * 5000,
            "/streams/live/cam/v0_x_s1.m4s%00.m3u8",
        ]:
            status, body = get(path)
            assert status in (400, 404, 414) and b"root:" not in body, (path[:60], status, body[:200])
        assert publisher.poll() is None and server.poll() is None
        return 0
    finally:
        for connection in idle:
            connection.close()
        if publisher:
            publisher.kill()
            publisher.wait()
        server.terminate()
        code = server.wait(30)
        assert code == 0, (code, log.read_text()[-2000:])


if __name__ == "__main__":
    sys.exit(main())
