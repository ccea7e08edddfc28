"""A slate: what is shown of a stream while its publisher is away. Who reads stays, time goes on, and the publisher replaces it when it comes
back, also where publishers may not replace each other.

    slate.py       GS_CLI, GS_LIVE_WORK
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import time
import urllib.error

import serving
from serving import CLI, WORK, Server, listed, until

CONFIG = """
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


def checks(server: Server) -> None:
    def get(path: str) -> str | None:
        try:
            return serving.get(server.at["http"] + path).decode()
        except urllib.error.HTTPError:
            return None

    def protocol(name: str = "live/cam") -> str | None:
        lines = json.loads(get("/live/streams") or "{}")["streams"]
        return next((line["protocol"] for line in lines if line["name"] == name), None)

    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-c:a", "aac"]
    until("one is shown at once", lambda: protocol("live/hello") == "slate" and get("/streams/live/hello/playlist.m3u8"))
    assert protocol() is None, "nobody was there yet"
    size = lambda: (m := re.search(r"RESOLUTION=(\d+x\d+)", get("/streams/live/cam/playlist.m3u8") or "")) and m[1]
    for turn in range(2):
        publisher = server.publish("live/cam", *codecs, seconds=6)
        until(f"it is published, {turn}", lambda: protocol() == "rtmp" and size() == "320x180")
        assert publisher.wait(30) == 0
        gone = time.monotonic()
        until(f"the slate is shown, {turn}", lambda: protocol() == "slate" and size() == "426x240", 10)
        print(f"      shown {time.monotonic() - gone:.1f} s after the publisher went")
        time.sleep(3)
    # One stream to those who play it: all of it, one behind the other.
    master = get("/streams/live/cam/playlist.m3u8")
    playlist = get("/streams/live/cam/" + listed(master)[0])
    assert "#EXT-X-ENDLIST" not in playlist and playlist.count("#EXT-X-DISCONTINUITY\n") >= 3, playlist
    begin = [datetime.datetime.fromisoformat(d.replace("Z", "+00:00")).timestamp() for d in re.findall(r"PROGRAM-DATE-TIME:(\S+)", playlist)]
    lasts = [float(d) for d in re.findall(r"#EXTINF:([\d.]+)", playlist)]
    steps = [b - a - length for a, b, length in zip(begin, begin[1:], lasts)]
    assert len(lasts) >= 12 and all(-0.05 < step < 3.5 for step in steps), steps
    assert sum(step > 0.2 for step in steps) <= 4, steps
    # The end of the server is the end of the slates.


def main() -> int:
    with Server(CONFIG, ("http", "rtmp")) as server:
        checks(server)
    wrong = WORK / "wrong.yaml"
    for slate, said in (("{stream: ../x, url: pattern}", "../x"), ("{stream: a, url: pattern, after: -1}", "live.slates.0.after"), ("{stream: a, url: pattern, x: 1}", "slates")):
        wrong.write_text(f'server: {{host: 127.0.0.1, port: 0}}\nmdns: {{enabled: false, udp_enabled: false}}\nsecurity: {{state_directory: "{WORK}/state"}}\n'
                         f'transcoding: {{temp_directory: "{WORK}/jobs"}}\nlive: {{enabled: true, rtmp_port: null, webrtc_port: null, slates: [{slate}]}}\n')
        done = subprocess.run([CLI, "serve", "--config", wrong], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and said in done.stderr, (slate, done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
