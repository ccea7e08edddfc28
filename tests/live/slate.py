"""A slate: what is shown of a stream while its publisher is away. Who reads stays, time goes on, and the publisher replaces it when it comes
back, also where publishers may not replace each other.

    slate.py       GS_CLI, GS_LIVE_WORK
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live:
  enabled: true
  rtmp_port: 0
  webrtc_port: null
  segment_duration: 1
  dvr_seconds: 60
  takeover: false
  slates:
    - {stream: live/cam, url: "pattern:426x240@25", after: 0.5}
    - {stream: live/hello, url: "pattern:426x240@25", at_once: true}
"""


def until(what: str, check, seconds: float = 30):
    end = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < end, what
        time.sleep(0.1)


def checks(server: subprocess.Popen, log: pathlib.Path) -> None:
    def listening() -> dict[str, str] | None:
        assert server.poll() is None, log.read_text()
        found = dict(re.findall(r"listening on (\w+)://(127\.0\.0\.1:\d+)", re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())))
        return found if {"http", "rtmp"} <= found.keys() else None

    where = until("it listens", listening)
    base = f"http://{where['http']}"

    def get(path: str) -> str | None:
        try:
            with urllib.request.urlopen(base + path, timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            return None

    def protocol(name: str = "live/cam") -> str | None:
        lines = json.loads(get("/live/streams") or "{}")["streams"]
        return next((line["protocol"] for line in lines if line["name"] == name), None)

    def publish(seconds: int, *more: str) -> subprocess.Popen:
        source = ["-re", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={seconds}", "-f", "lavfi", "-i", f"sine=sample_rate=48000:d={seconds}"]
        codecs = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac"]
        return subprocess.Popen(["ffmpeg", "-v", "error", *source, *codecs, "-f", "flv", f"rtmp://{where['rtmp']}/live/cam", *more], stdin=subprocess.DEVNULL)

    until("one is shown at once", lambda: protocol("live/hello") == "slate" and get("/streams/live/hello/playlist.m3u8"))
    assert protocol() is None, "nobody was there yet"
    size = lambda: (m := re.search(r"RESOLUTION=(\d+x\d+)", get("/streams/live/cam/playlist.m3u8") or "")) and m[1]
    for turn in range(2):
        publisher = publish(6)
        until(f"it is published, {turn}", lambda: protocol() == "rtmp" and size() == "320x180")
        assert publisher.wait(30) == 0
        gone = time.monotonic()
        until(f"the slate is shown, {turn}", lambda: protocol() == "slate" and size() == "426x240", 10)
        print(f"      shown {time.monotonic() - gone:.1f} s after the publisher went")
        time.sleep(3)
    # One stream to those who play it: all of it, one behind the other.
    master = get("/streams/live/cam/playlist.m3u8")
    playlist = get("/streams/live/cam/" + next(line for line in master.splitlines() if line and line[0] != "#"))
    assert "#EXT-X-ENDLIST" not in playlist and playlist.count("#EXT-X-DISCONTINUITY\n") >= 3, playlist
    begin = [datetime.datetime.fromisoformat(d.replace("Z", "+00:00")).timestamp() for d in re.findall(r"PROGRAM-DATE-TIME:(\S+)", playlist)]
    lasts = [float(d) for d in re.findall(r"#EXTINF:([\d.]+)", playlist)]
    steps = [b - a - length for a, b, length in zip(begin, begin[1:], lasts)]
    assert len(lasts) >= 12 and all(-0.05 < step < 3.5 for step in steps), steps
    assert sum(step > 0.2 for step in steps) <= 4, steps
    # The end of the server is the end of the slates.


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    config, log = WORK / "ghoststream.yaml", WORK / "log"
    config.write_text(CONFIG % {"work": WORK})
    server = subprocess.Popen([CLI, "serve", "--config", config], stdout=log.open("wb"), stderr=subprocess.STDOUT)
    try:
        checks(server, log)
    finally:
        server.terminate()
        code = server.wait(30)
    assert code == 0, (code, log.read_text()[-2000:])
    wrong = WORK / "wrong.yaml"
    for slate, said in (("{stream: ../x, url: pattern}", "../x"), ("{stream: a, url: pattern, after: -1}", "live.slates.0.after"), ("{stream: a, url: pattern, x: 1}", "slates")):
        wrong.write_text(f'server: {{host: 127.0.0.1, port: 0}}\nmdns: {{enabled: false, udp_enabled: false}}\nsecurity: {{state_directory: "{WORK}/state"}}\n'
                         f'transcoding: {{temp_directory: "{WORK}/jobs"}}\nlive: {{enabled: true, rtmp_port: null, webrtc_port: null, slates: [{slate}]}}\n')
        done = subprocess.run([CLI, "serve", "--config", wrong], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and said in done.stderr, (slate, done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
