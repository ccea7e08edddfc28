"""A bad network between the server and those who publish and read: packets of SRT and WebRTC are lost, late and out of order, a
connection of RTMP comes in pieces and stands still. Relays of this file's own do it, which need neither root nor the kernel's netem (the
machines of CI have none: `tc qdisc add dev lo root netem` is refused as of an unknown kind, /proc/config.gz says CONFIG_NET_SCH_NETEM is not
set). namespaces.py has two hosts and a link that loses packets, by netem where there is one.

    network.py     GS_CLI, GS_LIVE_WORK, GS_FFMPEG9; exit code 77: a peer is missing
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
FFMPEG9 = os.environ.get("GS_FFMPEG9")
if not FFMPEG9:
    print("live: SKIPPED: network.py: FFmpeg 9 is missing (tests/setup/setup.sh test)")
    sys.exit(77)

AIORTC = importlib.util.find_spec("aiortc")
if not AIORTC:
    print("live: SKIPPED: network.py: aiortc is missing (tests/setup/setup.sh test)")

CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: 0, webrtc_port: %(webrtc)d, webrtc_addresses: [127.0.0.1], srt_port: 0}
"""
RATE = 25


class Datagrams(asyncio.DatagramProtocol):
    """One end of a relay. What comes by it is lost or late."""

    def __init__(self, relay: Network, to: tuple[str, int] | None) -> None:
        self.relay, self.to = relay, to
        self.peers: dict[tuple[str, int], asyncio.Future] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.relay.passed += 1
        if self.relay.chance.random() < self.relay.loss:
            self.relay.lost += 1
            return
        late = self.relay.chance.uniform(*self.relay.late) + self.detour(data, address)
        asyncio.get_running_loop().call_later(late, self.forward, data, address)

    def detour(self, data: bytes, address: tuple[str, int]) -> float:
        """How much later than others a datagram is."""
        return 0

    def forward(self, data: bytes, address: tuple[str, int]) -> None:
        raise NotImplementedError


def is_dtls(data: bytes) -> bool:
    """How records of DTLS begin (RFC 7983, 7)."""
    return 20 <= data[0] <= 63


class Outside(Datagrams):
    """Where clients send to: each of them has a socket towards the server."""

    def detour(self, data: bytes, address: tuple[str, int]) -> float:
        if not is_dtls(data) or address in self.relay.shaking:
            return 0
        self.relay.shaking.add(address)
        return self.relay.slow_handshake

    def forward(self, data: bytes, address: tuple[str, int]) -> None:
        if address not in self.peers:
            loop = asyncio.get_running_loop()
            self.peers[address] = loop.create_task(loop.create_datagram_endpoint(lambda: Inside(self.relay, address, self), remote_addr=self.to))
        self.peers[address].add_done_callback(lambda done: done.result()[0].sendto(data))


class Inside(Datagrams):
    """Towards the server, for one client."""

    def __init__(self, relay: Network, client: tuple[str, int], outside: Outside) -> None:
        super().__init__(relay, None)
        self.client, self.outside, self.handshake = client, outside, 0

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if is_dtls(data):
            self.handshake += 1
            if self.handshake == self.relay.lost_of_handshake:
                self.relay.lost += 1
                return
        super().datagram_received(data, address)

    def forward(self, data: bytes, address: tuple[str, int]) -> None:
        self.outside.transport.sendto(data, self.client)


class Network(threading.Thread):
    """Relays by UDP and TCP to the server, in a thread of their own."""

    def __init__(self, udp: int, rtmp: int, loss: float, late: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.to_udp, self.to_rtmp, self.loss, self.late = udp, rtmp, loss, late
        self.chance = random.Random(7)
        self.passed = self.lost = 0
        # Which of the server's datagrams of a handshake never comes, counted from 1 for each client, and how late a client's first is.
        self.lost_of_handshake, self.slow_handshake = 0, 0.0
        self.shaking: set[tuple[str, int]] = set()
        self.still = 0.0
        self.ready = threading.Event()
        self.start()
        self.ready.wait(10)

    def run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        outside = lambda: Outside(self, ("127.0.0.1", self.to_udp))
        transport, _ = await loop.create_datagram_endpoint(outside, local_addr=("127.0.0.1", 0))
        server = await asyncio.start_server(self.stream, "127.0.0.1", 0)
        self.udp, self.rtmp = transport.get_extra_info("sockname")[1], server.sockets[0].getsockname()[1]
        self.ready.set()
        await asyncio.Event().wait()

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection whose bytes come in pieces of any size, late, and sometimes not at all for a while."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_rtmp)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(self.chance.randint(1, 6000)):
                    if (left := self.still - time.monotonic()) > 0:
                        await asyncio.sleep(left)
                    await asyncio.sleep(self.chance.uniform(0, 0.004))
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            sink.close()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


class Server:
    """A server with a bad network in front of it."""

    def __init__(self) -> None:
        config = WORK / "ghoststream.yaml"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            webrtc = one.getsockname()[1]
        config.write_text(CONFIG % {"work": WORK, "webrtc": webrtc})
        self.log = WORK / "log"
        self.process = subprocess.Popen([CLI, "serve", "--config", config], stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        found: dict[str, str] = {}
        for _ in range(400):
            text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
            found = dict(re.findall(r"listening on (\w+)://127\.0\.0\.1:(\d+)", text))
            if len(found) == 3:
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.http = f"http://127.0.0.1:{found['http']}"
        # What a bad mobile network does: 3 % are lost each way, some overtake others.
        self.network = Network(int(found["srt"]), int(found["rtmp"]), 0.03, (0.005, 0.03))
        self.webrtc = Network(webrtc, 0, 0.02, (0.005, 0.02))
        self.started: list[subprocess.Popen] = []

    def figure(self, name: str, stream: str) -> float | None:
        with urllib.request.urlopen(self.http + "/metrics", timeout=20) as answer:
            found = re.search(rf'^{name}{{stream="{stream}"}} (\S+)$', answer.read().decode(), re.M)
        return float(found[1]) if found else None

    def run(self, *command: str) -> subprocess.Popen:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=(WORK / "programs").open("ab"))
        self.started.append(process)
        return process

    def publish(self, *target: str) -> subprocess.Popen:
        command = [FFMPEG9, "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE},noise=alls=20:allf=t", "-c:v", "libx264"]
        return self.run(*command, "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(RATE), "-pix_fmt", "yuv420p", *target)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()[-2000:]


def until(what: str, check, seconds: float = 30):
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.1)


def gaps(file: pathlib.Path) -> tuple[int, list[float]]:
    """How many pictures a file has, and the times between them that are not one picture's."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    times = sorted(float(p["pts_time"]) for p in json.loads(done.stdout)["packets"] if "pts_time" in p)
    steps = [b - a for a, b in zip(times, times[1:])]
    return len(times), [s for s in steps if abs(s - 1 / RATE) > 0.5 / RATE]


def srt(server: Server) -> None:
    """Everything that is lost on the way in and on the way out comes again in time: no picture is missing."""
    # A stream in MPEG-TS, with time for repairs.
    latency = 600_000
    address = lambda mode: f"srt://127.0.0.1:{server.network.udp}?streamid={mode}:net&latency={latency}&pkt_size=1316"
    server.publish("-f", "mpegts", address("publish"))
    until("it is published", lambda: server.figure("ghoststream_live_readers", "net") is not None)
    out = WORK / "srt.ts"
    command = [FFMPEG9, "-v", "error", "-y", "-i", address("read"), "-t", "5", "-c", "copy", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    count, holes = gaps(out)
    assert count >= 4 * RATE and not holes, (count, holes)
    lost, dropped = (server.figure(f"ghoststream_live_publisher_{n}_total", "net") for n in ("lost", "dropped"))
    assert lost > 5 and dropped == 0 and server.network.lost > 20, (lost, dropped, server.network.lost)
    print(f"      {server.network.lost} of {server.network.passed} datagrams lost, {count} pictures, none missing")


def rtmp(server: Server) -> None:
    """A connection in pieces that stands still for a second: late, but whole; who reads on a good network is whole too."""
    server.publish("-f", "flv", f"rtmp://127.0.0.1:{server.network.rtmp}/live/net")
    until("it is published", lambda: server.figure("ghoststream_live_readers", "live/net") is not None)
    readers = []
    for name, port in (("far", server.network.rtmp), ("near", server.network.to_rtmp)):
        out = WORK / f"{name}.flv"
        command = [FFMPEG9, "-v", "error", "-y", "-i", f"rtmp://127.0.0.1:{port}/live/net", "-t", "6", "-c", "copy", str(out)]
        readers.append((out, server.run(*command)))
    time.sleep(2)
    server.network.still = time.monotonic() + 1
    for out, reader in readers:
        assert reader.wait(60) == 0
        count, holes = gaps(out)
        assert count >= 5 * RATE and not holes, (out.name, count, holes)


def webrtc(server: Server) -> None:
    """Of 50 datagrams one is lost, each way, and they overtake each other: what is asked for again comes in time for nearly all
    pictures, and nobody on a good network notices."""
    import webrtc as peers

    peers.BASE = server.http
    shares: dict[str, float] = {}

    async def run() -> None:
        far, near = {}, {}
        publishers = [await peers.publisher("/whip/far", "h264", far, server.webrtc.udp), await peers.publisher("/whip/near", "h264", near)]
        await asyncio.sleep(2)
        ways = [("from the bad network", "far", far, None), ("to the bad network", "near", near, server.webrtc.udp), ("beside it", "near", near, None)]
        begin = time.monotonic()
        watched = await asyncio.gather(*(peers.watch(f"/whep/{name}", 12, False, through) for _, name, _, through in ways))
        for (what, _, sent, _), (seen, _) in zip(ways, watched):
            # Those of the middle: nobody had just come, and all had time to arrive.
            wanted = [n for n, at in sent.items() if begin + 3 < at < begin + 10]
            shares[what] = sum(n in seen for n in wanted) / len(wanted)
        for peer in publishers:
            assert await peer.close() == 200

    asyncio.run(run())
    print(f"      {server.webrtc.lost} of {server.webrtc.passed} datagrams lost; decoded: " + ", ".join(f"{what} {share:.1%}" for what, share in shares.items()))
    assert server.webrtc.lost > 10
    assert shares["beside it"] > 0.97 and min(shares.values()) > 0.9, shares
    with urllib.request.urlopen(server.http + "/metrics", timeout=20) as answer:
        found = re.search(r"^media_processor_webrtc_connection_time_seconds_count (\d+)$", answer.read().decode(), re.M)
    assert found and found[1] == "5", found


def handshake(server: Server) -> None:
    """Each of the server's datagrams of a DTLS handshake is lost once: it is sent again when nothing answers it. A server that waits
    until it is asked again is asked after a second (OpenSSL's first timer; browsers begin with 50 ms), and where its own timer, which the
    client's first datagram set, is not over then, after three."""
    import webrtc as peers

    peers.BASE = server.http
    relay = Network(server.webrtc.to_udp, 0, 0, (0, 0))
    relay.slow_handshake = 0.1

    async def run() -> list[float]:
        publisher = await peers.publisher("/whip/shaken", "h264", {})
        took = []
        for relay.lost_of_handshake in range(5):
            peer = peers.Peer(relay.udp)
            peer.connection.addTransceiver("video", direction="recvonly")
            begin = time.monotonic()
            await peer.negotiate("/whep/shaken")
            while peer.connection.connectionState != "connected":
                assert time.monotonic() < begin + 20, peer.connection.connectionState
                await asyncio.sleep(0.01)
            took.append(time.monotonic() - begin)
            assert await peer.close() == 200
        assert await publisher.close() == 200
        return took

    took = asyncio.run(run())
    print("      connected after " + ", ".join(f"{t:.2f}" for t in took) + f" s; {relay.lost} datagrams lost")
    assert relay.lost >= 2 and max(took) < 2, took


def main() -> None:
    """All of it."""
    server, failed = Server(), False
    for check in (srt, rtmp, *([webrtc, handshake] if AIORTC else [])):
        begin = time.monotonic()
        try:
            check(server)
            print(f"    ok      {check.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, KeyError, TypeError) as e:
            failed = True
            line = e.__traceback__.tb_next.tb_lineno if e.__traceback__ and e.__traceback__.tb_next else 0
            print(f"    FAILED  {check.__name__}: line {line}: {type(e).__name__}: {str(e)[-1500:]}", flush=True)
            print(server.log.read_text()[-1500:])
    server.end()
    sys.exit(1 if failed else 0 if AIORTC else 77)


main()
