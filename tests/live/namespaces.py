"""The live origin on one host, publishers and readers on another one, and a bad link between them: two network namespaces (tests/push/link.py),
between which three of a hundred packets are lost each way, and all are late by differing times, so that some overtake others. The kernel's
netem does that where there is one; where there is none (`tc qdisc add dev lo root netem` says that the kind of qdisc is unknown, as where the
kernel is built without CONFIG_NET_SCH_NETEM), a relay of raw frames between two veth pairs does. What is lost are packets of real
connections, which the kernel's TCP, libsrt and both sides' WebRTC have to repair: network.py's relays end the connections, and need no root.

    namespaces.py [CHECK]...     GS_CLI, GS_LIVE_WORK, GS_FFMPEG9; exit code 77: a peer, or the right to make namespaces, is missing

Each check is a function whose name begins with `check_`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "push"))

from link import FAR, Link, why_not, within  # noqa: E402

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
FFMPEG9 = os.environ.get("GS_FFMPEG9")
if why := why_not() or ("" if FFMPEG9 else "FFmpeg 9 is missing (tests/setup/setup.sh test)"):
    print(f"live: SKIPPED: namespaces.py: {why}")
    sys.exit(77)

CONFIG = """
server: {host: %(host)s, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: 0, rtsp_port: 0, srt_port: 0, webrtc_port: 0, webrtc_addresses: [%(host)s], segment_duration: 1}
"""
RATE = 25
BAD = {"loss": 0.03, "delay": 0.015, "jitter": 0.008}
missing: list[str] = []


class Server:
    """The server on the far host, for the near one."""

    def __init__(self, link: Link) -> None:
        self.link = link
        config, self.log = WORK / "ghoststream.yaml", WORK / "log"
        config.write_text(CONFIG % {"work": WORK, "host": FAR})
        command = [*link.run_in(link.far), CLI, "serve", "--config", config]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        self.ports: dict[str, str] = {}
        for _ in range(400):
            text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
            self.ports = dict(re.findall(rf"listening on (\w+)://{re.escape(FAR)}:(\d+)", text))
            if {"http", "rtmp", "rtsp", "srt"} <= self.ports.keys():
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.http = f"http://{FAR}:{self.ports['http']}"
        self.started: list[subprocess.Popen] = []

    def figure(self, name: str, stream: str) -> float | None:
        """A figure of the server's, asked for where no link is between."""

        def get() -> str:
            with urllib.request.urlopen(self.http + "/metrics", timeout=20) as answer:
                return answer.read().decode()

        found = re.search(rf'^{name}{{stream="{stream}"}} (\S+)$', within(self.link.far, get), re.M)
        return float(found[1]) if found else None

    def run(self, *command: str) -> subprocess.Popen:
        """Starts a program on the near host."""
        command = (*self.link.run_in(self.link.near), *command)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=(WORK / "programs").open("ab"))
        self.started.append(process)
        return process

    def publish(self, name: str, *target: str) -> None:
        """A test picture with a tone; returns when the server has it."""
        source = ["-re", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE},noise=alls=20:allf=t", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(RATE), "-pix_fmt", "yuv420p", "-c:a", "aac"]
        self.run(FFMPEG9, "-v", "error", *source, *codecs, *target)
        end = time.monotonic() + 30
        while self.figure("ghoststream_live_readers", name) is None:
            assert time.monotonic() < end, (name, self.log.read_text()[-2000:], (WORK / "programs").read_text()[-2000:])
            time.sleep(0.2)

    def read(self, out: pathlib.Path, *source: str, seconds: int = 6, more: tuple[str, ...] = ()) -> subprocess.Popen:
        return self.run(FFMPEG9, "-v", "error", "-y", *source, "-t", str(seconds), "-c", "copy", *more, str(out))


def whole(out: pathlib.Path, reader: subprocess.Popen, least: int) -> int:
    """How many pictures a file has; none may be missing."""
    assert reader.wait(90) == 0, (WORK / "programs").read_text()[-2000:]
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "json", out]
    packets = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)["packets"]
    times = sorted(float(p["pts_time"]) for p in packets if "pts_time" in p)
    holes = [(a, b) for a, b in zip(times, times[1:]) if abs(b - a - 1 / RATE) > 0.5 / RATE]
    assert len(times) >= least and not holes, (out.name, len(times), holes)
    return len(times)


def check_srt(server: Server) -> None:
    """What is lost on the way in and on the way out comes again in time."""
    address = lambda mode: f"srt://{FAR}:{server.ports['srt']}?streamid={mode}:net&latency=600000&pkt_size=1316"
    server.publish("net", "-f", "mpegts", address("publish"))
    out = WORK / "srt.ts"
    count = whole(out, server.read(out, "-i", address("read")), 5 * RATE)
    lost, dropped = (server.figure(f"ghoststream_live_publisher_{n}_total", "net") for n in ("lost", "dropped"))
    assert lost > 5 and dropped == 0, (lost, dropped)
    print(f"      SRT: {count} pictures, none missing; {lost:.0f} packets of the publisher's came again")


def check_rtmp_rtsp_and_hls(server: Server) -> None:
    """One publisher by RTMP, readers by RTMP, RTSP and HLS: late, but whole."""
    name = "live/bad"
    server.publish(name, "-f", "flv", f"rtmp://{FAR}:{server.ports['rtmp']}/{name}")
    ways = {
        "rtmp": ["-i", f"rtmp://{FAR}:{server.ports['rtmp']}/{name}"],
        "rtsp": ["-rtsp_transport", "tcp", "-i", f"rtsp://{FAR}:{server.ports['rtsp']}/{name}"],
        "hls": ["-i", f"{server.http}/streams/{name}/playlist.m3u8"],
    }
    readers = {way: server.read(WORK / f"{way}.mkv", *source) for way, source in ways.items()}
    counts = {way: whole(WORK / f"{way}.mkv", reader, 5 * RATE) for way, reader in readers.items()}
    print(f"      RTMP in: {counts}, none missing")


def check_a_cut_is_survived(server: Server) -> None:
    """Nothing passes for four seconds, and nobody is told: the publisher's connection goes on behind it, and so does who reads."""
    name = "live/cut"
    server.publish(name, "-f", "flv", f"rtmp://{FAR}:{server.ports['rtmp']}/{name}")
    out = WORK / "cut.mkv"
    reader = server.read(out, "-i", f"rtmp://{FAR}:{server.ports['rtmp']}/{name}", seconds=14)
    time.sleep(3)
    server.link.set(up=False)
    time.sleep(4)
    server.link.set(up=True)
    print(f"      RTMP over a cut of 4 s: {whole(out, reader, 13 * RATE)} pictures, none missing")


def watched(server: Server, loss: float, viewers: int) -> list[list[float]]:
    """How late pictures come to each of so many viewers, seconds; infinitely where one does not come. Those of the middle: nobody had just
    come, and all had time to arrive. Nothing is lost before the publisher is there."""
    import webrtc as peers

    peers.BASE = server.http

    async def run() -> list[list[float]]:
        sent: dict[int, float] = {}
        publisher = await peers.publisher("/whip/far", "h264", sent)
        await asyncio.sleep(2)
        server.link.set(loss=loss)
        begin = time.monotonic()
        watching = await asyncio.gather(*(peers.watch("/whep/far", 12) for _ in range(viewers)))
        assert await publisher.close() == 200
        wanted = {n: at for n, at in sent.items() if begin + 3 < at < begin + 10}
        return [[seen[n] - at if n in seen else float("inf") for n, at in wanted.items()] for seen, _ in watching]

    server.link.set(loss=0)
    return within(server.link.near, lambda: asyncio.run(run()))


def has_aiortc() -> bool:
    if found := bool(importlib.util.find_spec("aiortc")):
        return found
    print("live: SKIPPED: namespaces.py: aiortc is missing (tests/setup/setup.sh test)")
    missing.append("aiortc")
    return False


def check_webrtc(server: Server) -> None:
    """WHIP in and WHEP out by the link: nearly all pictures arrive, what is lost is asked for again."""
    if not has_aiortc():
        return
    [late] = watched(server, 0.02, 1)
    share = sum(at < float("inf") for at in late) / len(late)
    print(f"      WHIP to WHEP: {share:.1%} of the pictures decoded")
    assert share > 0.9, share


def check_webrtc_on_a_very_bad_link(server: Server) -> None:
    """Where one of ten packets is lost each way, what comes again comes in time: str0m's own limit of what is sent again (15 %) made most
    pictures more than half a second late."""
    if not has_aiortc():
        return
    viewers = watched(server, 0.1, 3)
    shares = sorted(sum(at > 0.5 for at in late) / len(late) for late in viewers)
    print("      later than half a second: " + ", ".join(f"{share:.1%}" for share in shares) + " of the pictures of three viewers")
    assert shares[1] < 0.2, shares


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    named, failed = sys.argv[1:], False
    with Link() as link:
        print(f"    shaped by {link.kind}: {BAD}", flush=True)
        server = Server(link)
        try:
            for name, check in list(globals().items()):
                if not name.startswith("check_") or (named and name not in named):
                    continue
                begin = time.monotonic()
                link.set(**BAD, up=True)
                try:
                    check(server)
                    print(f"    ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
                except Exception:
                    failed = True
                    print(f"    FAILED  {name}")
                    traceback.print_exc()
                    print(server.log.read_text()[-1500:])
                finally:
                    for process in server.started:
                        process.kill()
                        process.wait()
                    server.started.clear()
        finally:
            server.process.terminate()
            assert server.process.wait(30) == 0, server.log.read_text()[-2000:]
    return 1 if failed else 77 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
