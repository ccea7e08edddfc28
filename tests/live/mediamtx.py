"""MediaMTX as the other side of everything: it is pulled by RTSP, RTMP, SRT and HLS, it pulls by RTSP, RTMP, SRT and WHEP, and
it is pushed to by RTMP, SRT and RTSP. FFmpeg publishes to one of the two and reads at the other one.

    mediamtx.py [CHECK]...        GS_CLI, GS_LIVE_WORK, GS_MEDIAMTX; exit code 77: a peer is missing

Each check is a function whose name begins with `check_`.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import traceback
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
MEDIAMTX = os.environ.get("GS_MEDIAMTX")
if not MEDIAMTX:
    print("live: SKIPPED: mediamtx.py: MediaMTX is missing (tests/setup/setup.sh test)")
    sys.exit(77)

THEIRS = """
logLevel: info
rtspAddress: 127.0.0.1:{rtsp}
rtspTransports: [tcp]
rtmpAddress: 127.0.0.1:{rtmp}
srtAddress: 127.0.0.1:{srt}
hlsAddress: 127.0.0.1:{hls}
hlsVariant: fmp4
hlsSegmentDuration: 1s
hlsAlwaysRemux: yes
webrtcAddress: 127.0.0.1:{whep}
webrtcLocalUDPAddress: 127.0.0.1:{udp}
authInternalUsers:
  - {{user: any, permissions: [{{action: publish, path: "~^(own|pushed-(rtmp|srt|rtsp|vp9))$"}}, {{action: read}}]}}
  - {{user: me, pass: "s@cret", permissions: [{{action: publish}}]}}
rtspAuthMethods: [digest]
paths:
  by-rtsp: {{source: "rtsp://127.0.0.1:{our_rtsp}/own", sourceOnDemand: yes, rtspTransport: tcp}}
  by-rtmp: {{source: "rtmp://127.0.0.1:{our_rtmp}/live/own", sourceOnDemand: yes}}
  by-srt: {{source: "srt://127.0.0.1:{our_srt}?streamid=read:own", sourceOnDemand: yes}}
  by-whep: {{source: "whep://127.0.0.1:{our_http}/whep/own", sourceOnDemand: yes}}
  all_others:
"""
OURS = """
server: {{host: 127.0.0.1, port: {our_http}}}
mdns: {{enabled: false, udp_enabled: false}}
transcoding: {{temp_directory: "{work}/jobs", idle_workers: 0}}
hardware: {{prefer_hw_accel: false}}
security: {{state_directory: "{work}/state", rate_limit_per_minute: 0}}
live:
  enabled: true
  rtmp_port: {our_rtmp}
  rtsp_port: {our_rtsp}
  srt_port: {our_srt}
  webrtc_port: 0
  webrtc_addresses: [127.0.0.1]
  gstreamer_port: {our_service}
  segment_duration: 1
  sources:
    - {{name: by/rtsp, url: "rtsp://127.0.0.1:{rtsp}/own", on_demand: true}}
    - {{name: by/rtmp, url: "rtmp://127.0.0.1:{rtmp}/own", on_demand: true}}
    - {{name: by/srt, url: "srt://127.0.0.1:{srt}?streamid=read:own", on_demand: true}}
    - {{name: by/hls, url: "http://127.0.0.1:{hls}/own/index.m3u8", on_demand: true}}
"""
RATE = 25


def free(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(what: str, check, seconds: float = 40):
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: {found}"
        time.sleep(0.2)


class Both:
    """The two servers, each of which knows the other one's ports."""

    def __init__(self) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        streams = ("rtsp", "rtmp", "hls", "whep", "our_http", "our_rtmp", "our_rtsp", "our_service")
        self.ports = {name: free() for name in streams} | {name: free(socket.SOCK_DGRAM) for name in ("srt", "udp", "our_srt")}
        self.started: list[subprocess.Popen] = []
        for name, text, command in (("theirs.yml", THEIRS, [MEDIAMTX]), ("ours.yaml", OURS, [CLI, "serve", "--config"])):
            (WORK / name).write_text(text.format(work=WORK, **self.ports))
            log = (WORK / name).with_suffix(".log").open("wb")
            process = subprocess.Popen([*command, WORK / name], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            setattr(self, name.split(".")[0], process)
        until("both listen", lambda: self.listens("rtsp") and self.listens("our_http"))

    def listens(self, name: str) -> bool:
        for process in (self.ours, self.theirs):
            assert process.poll() is None, self.logs()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.ports[name])) == 0

    def logs(self) -> str:
        return "\n".join((WORK / f"{name}.log").read_text()[-2500:] for name in ("ours", "theirs"))

    def publish(self, url: str, *codecs: str) -> subprocess.Popen:
        """Publishes a test picture with a tone, in its own time."""
        command = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        command += ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", str(RATE)]
        process = subprocess.Popen([*command, *codecs, *self.to(url)], stdin=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def to(self, url: str) -> list[str]:
        kind = {"rtsp": "rtsp", "rtmp": "flv"}[url.split(":")[0]]
        return ["-f", kind, *(["-rtsp_transport", "tcp"] if kind == "rtsp" else []), url.format(**self.ports)]

    def read(self, url: str, sound: str = "aac", seconds: int = 3, wait: float = 1) -> None:
        """Pictures and sound at `url`, without holes, and decodable; asked for until they come. Pictures may begin `wait` seconds
        later than sound, with a key frame."""
        url = url.format(**self.ports)
        out = WORK / "read.mkv"
        options = ["-rtsp_transport", "tcp"] if url.startswith("rtsp") else []
        command = ["ffmpeg", "-v", "error", "-y", *options, "-i", url, "-map", "0:v", "-map", "0:a", "-c", "copy", "-t", str(seconds), out]
        errors: list[str] = []

        def taken() -> bool:
            assert self.ours.poll() is None and self.theirs.poll() is None, self.logs()
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                errors.append("no end in 30 s")
                return False
            errors.append(done.stderr[-500:])
            return done.returncode == 0 and out.stat().st_size > 10_000

        try:
            until(url, taken, 90)
        except AssertionError:
            raise AssertionError(f"{url}: {errors[-1]}\n{self.logs()}") from None
        show = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", out]
        found = json.loads(subprocess.run(show, capture_output=True, text=True, timeout=60, check=True).stdout)
        assert [s["codec_name"] for s in found["streams"]] == ["h264", sound], found["streams"]
        for index, step in ((0, 1 / RATE), (1, {"aac": 1024 / 48000, "opus": 0.02}[sound])):
            times = sorted(float(p["pts_time"]) for p in found["packets"] if p["stream_index"] == index)
            steps = [b - a for a, b in zip(times, times[1:])]
            assert len(times) > (seconds - wait) / step and max(steps) < step * 2.1, (url, index, len(times), max(steps))
        decode = subprocess.run(["ffmpeg", "-v", "error", "-i", out, "-vsync", "passthrough", "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
        # WHEP begins with a key frame and hurries to the present: pictures may be shown closer together than a null output likes.
        said = [line for line in decode.stderr.splitlines() if "monotonically" not in line and "repeated" not in line]
        assert not said, said
        print(f"      {url.split(':')[0]}: pictures and {sound}, no holes")

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        self.theirs.terminate()
        self.theirs.wait(20)
        self.ours.terminate()
        assert self.ours.wait(30) == 0, self.logs()
        assert not re.search(r"panicked", self.logs())


def check_it_is_pulled(both: Both) -> None:
    """What is published to MediaMTX is fetched by RTSP, RTMP, SRT and HLS, when somebody wants it."""
    publisher = both.publish("rtsp://127.0.0.1:{rtsp}/own", "-c:a", "aac")
    for protocol in ("rtsp", "rtmp", "srt", "hls"):
        both.read("http://127.0.0.1:{our_http}/streams/by/%s/playlist.m3u8" % protocol)
    publisher.kill()


def check_it_pulls(both: Both) -> None:
    """What is published here is fetched by MediaMTX by RTSP, RTMP and SRT."""
    publisher = both.publish("rtmp://127.0.0.1:{our_rtmp}/own", "-c:a", "aac")
    rtmp = both.publish("rtmp://127.0.0.1:{our_rtmp}/live/own", "-c:a", "aac")
    for protocol in ("rtsp", "rtmp", "srt"):
        both.read("rtsp://127.0.0.1:{rtsp}/by-%s" % protocol)
    publisher.kill()
    rtmp.kill()


def check_it_pulls_by_whep(both: Both) -> None:
    """MediaMTX is a WHEP client: H.264 as it is, the sound as Opus."""
    publisher = both.publish("rtsp://127.0.0.1:{our_rtsp}/own", "-c:a", "libopus")
    both.read("rtsp://127.0.0.1:{rtsp}/by-whep", "opus")
    publisher.kill()


def check_it_is_pushed_to(both: Both) -> None:
    """Streams that were asked for are delivered to MediaMTX by RTMP, SRT and RTSP, where it wants to know who comes too."""
    service = f"http://127.0.0.1:{both.ports['our_service']}/streams"
    for name, kind, url in (
        ("rtmp", "rtmp", "rtmp://127.0.0.1:{rtmp}/pushed-rtmp"),
        ("srt", "rtmp", "srt://127.0.0.1:{srt}?streamid=publish:pushed-srt"),
        ("rtsp", "rtsp", "rtsp://127.0.0.1:{rtsp}/pushed-rtsp"),
        ("closed", "rtsp", "rtsp://me:s%40cret@127.0.0.1:{rtsp}/pushed-closed"),
    ):
        body = {"stream_id": f"push-{name}", "source_type": "test", "output_type": kind, "output_url": url.format(**both.ports)}
        for path, content in (("", json.dumps(body | {"width": 320, "height": 180, "framerate": RATE}).encode()), (f"/push-{name}/start", b"")):
            request = urllib.request.Request(service + path, content, {"Content-Type": "application/json"}, method="POST")
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.status in (200, 201)
        both.read("rtsp://127.0.0.1:{rtsp}/pushed-%s" % name, seconds=5, wait=3)
    assert "s@cret" not in both.logs() and "s%40cret" not in both.logs()


def main() -> int:
    named, failed = sys.argv[1:], 0
    both = Both()
    try:
        for name, check in list(globals().items()):
            if not name.startswith("check_") or (named and name not in named):
                continue
            begin = time.monotonic()
            try:
                check(both)
                print(f"    ok      {name.removeprefix('check_')} ({time.monotonic() - begin:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"    FAILED  {name}:")
                traceback.print_exc()
    finally:
        both.end()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
