"""The live origin under a clock: what RTMP costs in time, what a stream costs in CPU, what viewers leave in memory, and how far
behind players are.

    python live.py delay    [--seconds 20] [--rounds 3]            RTMP in to RTMP out, over the same without a server between
    python live.py streams  [--streams 50] [--seconds 20] [--rounds 3]  copied streams at once; GS_MEDIAMTX and GS_MULTIMUX add those servers
    python live.py memory   [--minutes 5] [--streams 10] [--viewers 30]  viewers that come and go (30 minutes by hand)
    python live.py latency  [--seconds 60] [--joins 1]       hls.js, shaka, dash.js and WHEP in Chromium; GS_MULTIMUX adds that server

All take --out FOLDER and write live-NAME.md there. GS_CLI is the server's command (a release build). CPU and memory are those
of the server's processes only, from /proc. Run it on a quiet machine.
"""

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import measure
from load import family, memory, spent, table

HERE = pathlib.Path(__file__).resolve().parent
LIVE = HERE.parent / "live"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has: none twice, and none that the kernel gives to who connects (it begins at 32768)."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 12_000):
        if len(found) == count:
            break
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]


def answers(port: int, process: subprocess.Popen, log: pathlib.Path) -> None:
    """Waits until somebody listens on `port`."""
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"bench: no server: {log.read_text()[-2000:]}")


class Origin:
    """`ghoststream serve --live` in a directory of its own."""

    name = "ghoststream"
    # What players of HLS and of DASH are given.
    manifests = ("playlist.m3u8", "manifest.mpd")

    def __init__(self, root: pathlib.Path, names: tuple[str, ...] = ()):
        root.mkdir(parents=True, exist_ok=True)
        self.http_port, self.rtmp_port = free_ports(2)
        settings = {
            "server": {"host": "127.0.0.1", "port": self.http_port, "max_connections": 10000},
            "mdns": {"enabled": False, "udp_enabled": False},
            "transcoding": {"temp_directory": str(root / "jobs")},
            "hardware": {"prefer_hw_accel": False},
            "security": {"state_directory": str(root / "state"), "rate_limit_per_minute": 0},
            "live": {"rtmp_port": self.rtmp_port, "webrtc_port": 0},
        }
        (root / "ghoststream.yaml").write_text(json.dumps(settings))
        self.http, self.rtmp = f"http://127.0.0.1:{self.http_port}", f"rtmp://127.0.0.1:{self.rtmp_port}"
        self.log = root / "server.log"
        command = [os.environ["GS_CLI"], "serve", "--live", "--config", str(root / "ghoststream.yaml")]
        with self.log.open("w") as words:
            self.process = subprocess.Popen(command, stdout=words, stderr=words)
        answers(self.http_port, self.process, self.log)

    def publish_at(self, name: str) -> str:
        """Where a stream is published."""
        return f"{self.rtmp}/{name}"

    def folder(self, name: str) -> str:
        """The path under which a stream is played."""
        return f"/streams/{name}/"

    def ready(self, name: str) -> None:
        """Waits until players may have the stream."""
        for _ in range(300):
            with contextlib.suppress(OSError):
                if get(self.http_port, self.folder(name) + self.manifests[0])[0] == 200:
                    return
            time.sleep(0.2)
        sys.exit(f"bench: {name} cannot be played: {self.log.read_text()[-2000:]}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class MediaMtx(Origin):
    """MediaMTX with what it needs for the same: RTMP in, low-latency HLS out."""

    name = "MediaMTX"

    def __init__(self, root: pathlib.Path, names: tuple[str, ...] = ()):
        root.mkdir(parents=True, exist_ok=True)
        self.http_port, self.rtmp_port = free_ports(2)
        settings = {
            "logLevel": "warn", "rtsp": False, "srt": False, "webrtc": False,
            "rtmpAddress": f"127.0.0.1:{self.rtmp_port}",
            "hlsAddress": f"127.0.0.1:{self.http_port}",
            # Made while nobody watches too, as here.
            "hlsAlwaysRemux": True, "hlsVariant": "lowLatency", "hlsPartDuration": "200ms", "hlsSegmentDuration": "2s",
            "paths": {"all_others": {}},
        }  # fmt: skip
        (root / "mediamtx.yml").write_text(json.dumps(settings))
        self.rtmp, self.log = f"rtmp://127.0.0.1:{self.rtmp_port}", root / "server.log"
        with self.log.open("w") as words:
            command = [os.environ["GS_MEDIAMTX"], str(root / "mediamtx.yml")]
            self.process = subprocess.Popen(command, stdout=words, stderr=words)
        answers(self.rtmp_port, self.process, self.log)

    def ready(self, name: str) -> None:
        time.sleep(5)


class Multimux(Origin):
    """multimux with the same: RTMP in, LL-HLS and LL-DASH out. It has a listener for each stream, which is named beforehand."""

    name = "multimux"
    manifests = ("master.m3u8", "manifest-ll.mpd")

    def __init__(self, root: pathlib.Path, names: tuple[str, ...] = ()):
        root.mkdir(parents=True, exist_ok=True)
        self.http_port, *ports = free_ports(1 + len(names))
        self.listeners = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports)}
        routes = [
            {
                "name": name.replace("/", "-"),
                "input": {"type": "rtmp", "listen": listen, "app": name.split("/")[0], "stream_key": name.split("/")[1]},
                "outputs": ["llhls", "ll_dash"],
            }
            for name, listen in self.listeners.items()
        ]
        settings = {
            "bind": f"127.0.0.1:{self.http_port}", "target_duration_secs": 2.0, "part_target_ms": 200, "window_segments": 10, "routes": routes,
        }  # fmt: skip
        (root / "multimux.json").write_text(json.dumps(settings))
        self.http, self.log = f"http://127.0.0.1:{self.http_port}", root / "server.log"
        with self.log.open("w") as words:
            command = [os.environ["GS_MULTIMUX"], "--config", str(root / "multimux.json")]
            environment = {**os.environ, "RUST_LOG": "warn"}
            self.process = subprocess.Popen(command, stdout=words, stderr=words, env=environment)
        answers(self.http_port, self.process, self.log)

    def publish_at(self, name: str) -> str:
        return f"rtmp://{self.listeners[name]}/{name}"

    def folder(self, name: str) -> str:
        return f"/{name.replace('/', '-')}/"


def get(port: int, path: str, connection: http.client.HTTPConnection | None = None) -> tuple[int, bytes]:
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def clip(root: pathlib.Path, size: str, bitrate: str, seconds: int = 10) -> pathlib.Path:
    """Pictures without B-frames and sound, with a key frame a second."""
    path = root / f"clip-{size}.flv"
    make = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds},noise=alls=20:allf=t"]
    make += ["-f", "lavfi", "-i", f"sine=d={seconds}:sample_rate=48000", "-c:v", "libx264", "-preset", "veryfast"]
    make += ["-tune", "zerolatency", "-g", "25", "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate]
    subprocess.run([*make, "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", str(path)], check=True)
    return path


@contextlib.contextmanager
def published(media: pathlib.Path, urls: list[str], log: pathlib.Path):
    """The clip in a loop, copied to all of `urls`: ten to a process."""
    processes = []
    try:
        for at in range(0, len(urls), 10):
            outputs = "|".join(f"[f=flv:flvflags=no_duration_filesize]{url}" for url in urls[at : at + 10])
            command = ["ffmpeg", "-nostdin", "-v", "warning", "-re", "-stream_loop", "-1", "-i", str(media)]
            command += ["-map", "0", "-c", "copy", "-f", "tee", outputs]
            with log.open("a") as words:
                processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words))
        yield
        for process in processes:
            if process.poll() is not None:
                sys.exit(f"bench: the publisher ended: {log.read_text()[-2000:]}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


# --- delay


def mark(packet: bytes) -> bytes:
    """What a packet is known by: its end is the same with start codes and with lengths."""
    return hashlib.sha1(packet[-48:]).digest()[:8]


def read_rtmp(url: str, listen: bool, ready, stop, out) -> None:
    """In a process of its own: when each packet of pictures arrived."""
    import av

    options = {"fflags": "nobuffer", "probesize": "32", "analyzeduration": "0"}
    if listen:
        options["listen"] = "1"
        ready.set()
    arrived = []
    try:
        with av.open(url, options=options, timeout=30) as media:
            ready.set()
            for packet in media.demux(video=0):
                now = time.monotonic()
                if packet.size:
                    arrived.append((mark(bytes(packet)), now))
                if stop.is_set():
                    break
    except av.error.FFmpegError as error:
        print(f"bench: the reader: {error}", file=sys.stderr)
    out.put(arrived)


def once(url: str, listen: bool, clip: pathlib.Path, seconds: float) -> list[float]:
    """The delays of one run, in milliseconds. What is sent was encoded before: an encoder's time is nobody's delay."""
    import av

    context = multiprocessing.get_context("spawn")
    ready, stop, out = context.Event(), context.Event(), context.Queue()
    reader = context.Process(target=read_rtmp, args=(url, listen, ready, stop, out))
    if listen:
        reader.start()
        ready.wait(20)
        time.sleep(0.5)
    sent: dict[bytes, float] = {}
    source = av.open(str(clip))
    media = av.open(url, "w", format="flv", options={"flvflags": "no_duration_filesize", "flush_packets": "1"})
    track = media.add_stream_from_template(source.streams.video[0])
    packets = (packet for packet in source.demux(video=0) if packet.size)
    begin = time.monotonic()
    for number, packet in enumerate(itertools.islice(packets, int(seconds * 25) + 75)):
        if number == 50 and not listen:
            reader.start()
        due = begin + number / 25
        time.sleep(max(0, due - time.monotonic()))
        packet.stream = track
        sent[mark(bytes(packet))] = time.monotonic()
        media.mux(packet)
    stop.set()
    media.close()
    arrived = out.get(timeout=30)
    reader.join(10)
    # The first second is what the server kept for who comes in between.
    return [(at - sent[name]) * 1000 for name, at in arrived[50:] if name in sent]


def delay(options: argparse.Namespace, root: pathlib.Path) -> str:
    """RTMP in to RTMP out: from the call that sends a packet to the one that gives it, less the same without a server."""
    media = clip(root, "640x360", "1500k", int(options.seconds) + 4)
    rows: dict[str, list[list[float]]] = {}
    for turn in range(options.rounds):
        # multimux gives nothing by RTMP.
        for name in sorted(sides(but=Multimux), reverse=turn % 2 == 1) + ["no server between"]:
            if name == "no server between":
                url = f"rtmp://127.0.0.1:{free_port()}/live/delay"
                found = once(url, True, media, options.seconds)
            else:
                server = sides(but=Multimux)[name](root / f"{name}-{turn}")
                try:
                    found = once(f"{server.rtmp}/live/delay", False, media, options.seconds)
                finally:
                    server.end()
            if len(found) < options.seconds * 10:
                sys.exit(f"bench: only {len(found)} packets of {name} were seen again")
            rows.setdefault(name, []).append(found)
            print(f"  {name}: {statistics.median(found):.2f} ms, {len(found)} packets", file=sys.stderr)
    base = statistics.median(statistics.median(r) for r in rows["no server between"])
    lines = []
    for name, rounds in rows.items():
        every = sorted(itertools.chain(*rounds))
        middle = statistics.median(statistics.median(r) for r in rounds)
        row = [name, f"{middle:.2f} ms", f"{every[int(len(every) * 0.99)]:.2f} ms", f"{every[-1]:.2f} ms"]
        lines.append([*row, "" if name == "no server between" else f"**{middle - base:.2f} ms**"])
    head = f"RTMP in to RTMP out, {options.seconds:.0f} s of 640x360 at 25 pictures a second, {options.rounds} rounds"
    return head + "\n\n" + table(["", "median", "99 %", "longest", "added"], lines)


def sides(but: type[Origin] | None = None) -> dict[str, type[Origin]]:
    """Ours and the others that are there, but for one that does not do the job."""
    peers = {"GS_MEDIAMTX": MediaMtx, "GS_MULTIMUX": Multimux}
    found = [Origin, *(side for where, side in peers.items() if os.environ.get(where))]
    return {side.name: side for side in found if side is not but}


# --- streams


def streams(options: argparse.Namespace, root: pathlib.Path) -> str:
    """CPU and memory of copied streams: RTMP in, LL-HLS (and DASH, where the server has it) made of each."""
    media = clip(root, "1280x720", "2M")
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in range(options.rounds):
        for name, side in sorted(sides().items(), reverse=turn % 2 == 1):
            names = tuple(f"live/s{n}" for n in range(options.streams))
            server = side(root / f"{name}-{turn}", names)
            try:
                pid = server.process.pid
                urls = [server.publish_at(name) for name in names]
                before_memory = sum(memory(p) for p in family(pid))
                with published(media, urls, root / "publisher.log"):
                    for n in range(options.streams):
                        server.ready(f"live/s{n}") if name != MediaMtx.name or n == 0 else None
                    # The window fills: segments of two seconds.
                    time.sleep(25)
                    before = spent(family(pid))
                    began = time.monotonic()
                    time.sleep(options.seconds)
                    cpu = (spent(family(pid)) - before) / (time.monotonic() - began) * 100
                    held = sum(memory(p) for p in family(pid)) - before_memory
                found.setdefault(name, []).append((cpu / options.streams, held / options.streams))
                print(f"  {name}: {cpu / options.streams:.3f} % of a core, {held / options.streams:.1f} MiB a stream", file=sys.stderr)
            finally:
                server.end()
    rows = [
        [name, f"{statistics.median(c for c, _ in r):.3f} %", f"{statistics.median(m for _, m in r):.1f} MiB"]
        for name, r in found.items()
    ]
    for name in (name for name in found if name != Origin.name):
        ratios = [statistics.median(a[n] / b[n] for a, b in zip(found[Origin.name], found[name])) for n in (0, 1)]
        rows.append([f"over {name}", *(f"**{ratio:.2f}**" for ratio in ratios)])
    head = f"{options.streams} streams at once, 720p at 2 Mbit/s and AAC, RTMP in, packaged, nothing encoded"
    return head + "\n\n" + table(["", "CPU of one core, a stream", "memory a stream"], rows)


# --- memory


class Viewers(threading.Thread):
    """Somebody who watches a stream for a while, goes, and watches another."""

    def __init__(self, server: Origin, count: int, seed: int):
        super().__init__(daemon=True)
        self.server, self.count = server, count
        self.chance, self.stop = random.Random(seed), threading.Event()
        self.seen: dict[str, int] = {"visits": 0, "requests": 0, "failures": 0}

    def run(self) -> None:
        while not self.stop.is_set():
            name = f"live/s{self.chance.randrange(self.count)}"
            until = time.monotonic() + self.chance.uniform(3, 20)
            try:
                self.watch(name, until)
                self.seen["visits"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen["failures"] += 1
                self.seen["last"] = str(error)
                self.stop.wait(0.5)

    def watch(self, name: str, until: float) -> None:
        """Low-latency HLS as players do it: every part is asked for before it is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=30)
        with contextlib.closing(connection):
            _, text = self.ask(connection, name, "playlist.m3u8")
            media = next(line for line in text.decode().splitlines() if line and not line.startswith("#"))
            asked: set[str] = set()
            query = ""
            while time.monotonic() < until and not self.stop.is_set():
                _, text = self.ask(connection, name, media + query)
                listed = text.decode()
                parts = re.findall(r'#EXT-X-PART:[^\n]*URI="([^"]+)"', listed)
                for part in parts[-3:]:
                    if part not in asked:
                        asked.add(part)
                        self.ask(connection, name, part)
                first = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", listed).group(1))
                whole = listed.count("#EXTINF")
                after = listed.rsplit("#EXTINF", 1)[-1].count("#EXT-X-PART:")
                query = f"?_HLS_msn={first + whole}&_HLS_part={after}"

    def ask(self, connection: http.client.HTTPConnection, name: str, file: str) -> tuple[int, bytes]:
        status, body = get(0, f"/streams/{name}/{file}", connection)
        self.seen["requests"] += 1
        if status != 200:
            raise OSError(f"{file}: {status}")
        return status, body


class RtmpViewers(threading.Thread):
    """FFmpeg that reads a stream by RTMP for some seconds, over and over."""

    def __init__(self, server: Origin, count: int, seed: int):
        super().__init__(daemon=True)
        self.server, self.count, self.chance = server, count, random.Random(seed)
        self.stop, self.seen = threading.Event(), {"visits": 0, "failures": 0}

    def run(self) -> None:
        while not self.stop.is_set():
            url = f"{self.server.rtmp}/live/s{self.chance.randrange(self.count)}"
            command = ["ffmpeg", "-nostdin", "-v", "error", "-i", url, "-t", str(self.chance.randint(2, 8)), "-c", "copy"]
            done = subprocess.run([*command, "-f", "null", "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            self.seen["visits" if done.returncode == 0 else "failures"] += 1


class WhepViewers(threading.Thread):
    """aiortc, which negotiates, watches some seconds and goes, over and over."""

    def __init__(self, server: Origin, count: int, seed: int):
        super().__init__(daemon=True)
        self.server, self.count, self.chance = server, count, random.Random(seed)
        self.stop, self.seen = threading.Event(), {"visits": 0, "failures": 0}

    def run(self) -> None:
        sys.path.insert(0, str(LIVE))
        import webrtc

        webrtc.BASE = self.server.http
        while not self.stop.is_set():
            name = f"live/s{self.chance.randrange(self.count)}"
            try:
                asyncio.run(self.one(webrtc, name))
                self.seen["visits"] += 1
            except Exception as error:  # what a viewer meets is counted, whatever it is
                self.seen["failures"] += 1
                self.seen["last"] = repr(error)
                self.stop.wait(1)

    async def one(self, webrtc, name: str) -> None:
        peer, tracks = webrtc.Peer(), []
        peer.connection.on("track", tracks.append)
        peer.connection.addTransceiver("video", direction="recvonly")
        await peer.negotiate(f"/whep/{name}")
        until = time.monotonic() + self.chance.uniform(2, 6)
        while time.monotonic() < until:
            await asyncio.wait_for(tracks[0].recv(), 10)
        await peer.close()


def soak(options: argparse.Namespace, root: pathlib.Path) -> str:
    """Resident memory of the server over minutes of streams whose viewers come and go."""
    media = clip(root, "320x180", "400k")
    server = Origin(root / "server")
    samples: list[tuple[float, float]] = []
    watchers: list = []
    try:
        urls = [f"{server.rtmp}/live/s{n}" for n in range(options.streams)]
        with published(media, urls, root / "publisher.log"):
            for n in range(options.streams):
                server.ready(f"live/s{n}")
            watchers = [Viewers(server, options.streams, n) for n in range(options.viewers)]
            watchers += [RtmpViewers(server, options.streams, 1000 + n) for n in range(2)]
            try:
                import aiortc  # noqa: F401

                watchers.append(WhepViewers(server, options.streams, 2000))
            except ImportError:
                print("bench: aiortc is missing: nobody watches by WHEP", file=sys.stderr)
            for watcher in watchers:
                watcher.start()
            began = time.monotonic()
            before = spent(family(server.process.pid))
            while (at := time.monotonic() - began) < options.minutes * 60:
                samples.append((at, sum(memory(p) for p in family(server.process.pid))))
                if len(samples) % 60 == 0:
                    print(f"  {at:.0f} s: {samples[-1][1]:.1f} MiB", file=sys.stderr)
                time.sleep(1)
            cpu = (spent(family(server.process.pid)) - before) / (time.monotonic() - began) * 100
            for watcher in watchers:
                watcher.stop.set()
            for watcher in watchers:
                watcher.join(40)
            # Those who watched are gone: what they leave is what leaks.
            time.sleep(10)
            left = sum(memory(p) for p in family(server.process.pid))
    finally:
        server.end()
    half = samples[len(samples) // 2 :]
    rows = [
        ["slope, second half", f"**{measure.slope(samples):+.2f} MiB/min**"],
        ["growth, second half", f"{half[-1][1] - half[0][1]:+.1f} MiB"],
        ["lowest to highest, second half", f"{min(m for _, m in half):.1f}–{max(m for _, m in half):.1f} MiB"],
        ["when they had gone", f"{left:.1f} MiB"],
        ["CPU, of one core", f"{cpu:.1f} %"],
    ]
    for kind in (Viewers, RtmpViewers, WhepViewers):
        mine = [w.seen for w in watchers if type(w) is kind]
        if mine:
            rows.append([f"{kind.__name__}: visits, failures", f"{sum(s['visits'] for s in mine)}, {sum(s['failures'] for s in mine)}"])
            last = {s["last"] for s in mine if "last" in s}
            rows += [[f"{kind.__name__}: a failure", why] for why in sorted(last)[:3]]
    (options.out / "live-memory.json").write_text(json.dumps(samples))
    head = f"{options.streams} streams, {options.viewers} viewers of LL-HLS, two of RTMP, one of WHEP, {options.minutes:g} minutes"
    return head + "\n\n" + table(["", ""], rows)


# --- latency


@contextlib.contextmanager
def encoded(server: Origin, name: str):
    """A test picture that tells its age and a tone, in their own time, which players may have."""
    publisher = subprocess.Popen(["node", str(LIVE / "strip.mjs"), server.publish_at(name)], stdin=subprocess.DEVNULL)
    try:
        server.ready(name)
        time.sleep(8)
        yield
    finally:
        publisher.terminate()
        publisher.wait(10)


def watched(server: Origin, player: str, name: str, seconds: float, joins: int) -> list[str]:
    """A player's row: what it says of a stream that it watches, and in `joins` the middle one, the worst and all stalls."""
    hls, dash = server.manifests
    command = ["node", str(LIVE / "players.mjs"), server.http + server.folder(name), "--hls", hls, "--dash", dash]
    command += ["--seconds", str(int(seconds)), "--only", player, "--json", "1", "--strip", "1"]
    all_seen, problems = [], []
    for _ in range(joins):
        time.sleep(random.uniform(0, 2))
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        print(done.stdout, done.stderr, file=sys.stderr)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            problems.append("a join said nothing")
            continue
        seen = json.loads(lines[-1])
        seen["age"], seen["oldest"] = seen.get("aged") or [None, None]
        all_seen.append(seen)
        problems += seen["problems"] if done.returncode else []

    def number(key: str, of=statistics.median) -> str:
        told = [seen[key] for seen in all_seen if seen.get(key) is not None]
        return f"{of(told):.2f} s" if told else "–"

    stalls = f"{sum(seen.get('stalls') or 0 for seen in all_seen)}, {number('stalled', sum)}"
    good = "; ".join(dict.fromkeys(problems))
    return [number("age"), number("oldest", max), number("middle"), number("startup"), stalls, good]


def latency(options: argparse.Namespace, root: pathlib.Path) -> str:
    """How far behind the publisher's clock players in Chromium are, after they have played for a while."""
    for name in ("GS_NODE_MODULES", "GS_CHROMIUM"):
        if name not in os.environ:
            sys.exit(f"bench: latency needs {name} (tests/setup/setup.sh test)")
    rows, stream = [], "live/bench"
    for player in ("hls.js", "shaka-hls", "dash.js", "shaka-dash"):
        for name, side in sides(but=MediaMtx).items():
            server = side(root / f"{name}-{player}", (stream,))
            try:
                with encoded(server, stream):
                    rows.append([player, name, *watched(server, player, stream, options.seconds, options.joins)])
            finally:
                server.end()
    server = Origin(root / "server")
    try:
        environment = {**os.environ, "GS_LIVE_HTTP": server.http, "GS_LIVE_SECONDS": str(int(options.seconds))}
        command = ["node", str(LIVE / "whep.mjs"), "both", "page/bench", "H264"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        print(done.stdout, done.stderr, file=sys.stderr)
        row = ["WHIP to WHEP", Origin.name]
        if done.returncode == 0:
            seen = json.loads(done.stdout.strip().splitlines()[-1])
            words = f"picture to picture, encoder and decoder too; jitter buffer {seen['jitter_buffer']} ms"
            rows.append([*row, f"{seen['median'] / 1000:.3f} s", f"{seen['worst'] / 1000:.3f} s", "", f"{seen['first'] / 1000:.2f} s", f"{seen['dropped']} dropped", words])
        else:
            rows.append([*row, "failed", "", "", "", "", done.stderr.strip().splitlines()[-1] if done.stderr else ""])
    finally:
        server.end()
    head = f"how old the pictures are that are shown, by the time in them, and what the player takes itself for; {options.joins} joins of {options.seconds:.0f} s each, the first ten of them left out; 2 s segments, 0.2 s parts"
    return head + "\n\n" + table(["player", "server", "median", "worst 95 %", "told", "start", "stalls", ""], rows)


CASES = {"delay": delay, "streams": streams, "memory": soak, "latency": latency}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=CASES)
    parser.add_argument("--seconds", type=float, help="of one measurement [20; latency 60]")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--joins", type=int, default=1, help="how often each player joins (latency)")
    parser.add_argument("--streams", type=int, help="[50; memory 10]")
    parser.add_argument("--viewers", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench"))
    options = parser.parse_args()
    options.seconds = options.seconds or (60 if options.what == "latency" else 20)
    options.streams = options.streams or (10 if options.what == "memory" else 50)
    if "GS_CLI" not in os.environ:
        parser.error("GS_CLI must say where the ghoststream command is")
    for where, cases in (("GS_MEDIAMTX", ("delay", "streams")), ("GS_MULTIMUX", ("streams", "latency"))):
        if options.what in cases and where not in os.environ:
            print(f"bench: {where} is not set: nothing of it beside (tests/setup/setup.sh bench)", file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as work:
        text = CASES[options.what](options, pathlib.Path(work).resolve())
    text += f"\nload {os.getloadavg()[0]:.2f}\n"
    (options.out / f"live-{options.what}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
