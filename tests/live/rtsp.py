"""RTSP with publishers and readers that are not ours: Debian's FFmpeg 5.1, FFmpeg 9 and GStreamer, and what none of them would send. What
comes in is played as HLS, and looked at packet by packet.

    rtsp.py [CHECK]...        GS_CLI, GS_LIVE_WORK, GS_FFMPEG9; exit code 77: a peer is missing

Each check is a function whose name begins with `check_`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.request

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])
FFMPEG9 = os.environ.get("GS_FFMPEG9")
for peer in ("ffmpeg", "ffprobe", FFMPEG9):
    if not peer or not shutil.which(peer):
        print(f"live: SKIPPED: rtsp.py: {peer or 'FFmpeg 9'} is missing (tests/setup/setup.sh test)")
        sys.exit(77)

CONFIG = """
server: {host: "%(host)s", port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: null, webrtc_port: null, rtsp_port: 0, max_connections: 30, publish_key: k3y, segment_duration: 1,
       keys: [{stream: r/own, read: rd1}]}
"""
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25"]
# RTP says when a picture is shown, not when it is decoded: a copy is only made of pictures that are in order.
ORDERED = [*H264[:4], "-bf", "0", "-g", "25"]
HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25:bframes=0"]
AAC, OPUS = ["-c:a", "aac"], ["-c:a", "libopus"]
VP8 = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k", "-g", "25"]
# FFmpeg calls its VP9 and AV1 in RTP experiments.
VP9 = ["-c:v", "libvpx-vp9", *VP8[2:], "-strict", "experimental"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12", "-g", "25", "-strict", "experimental"]
STEPS = {"aac": 1024 / 48000, "opus": 0.02}
missing: list[str] = []


class Server:
    """The server, and where it listens."""

    def __init__(self, host: str = "127.0.0.1", work: pathlib.Path = WORK) -> None:
        work.mkdir(parents=True, exist_ok=True)
        config = work / "ghoststream.yaml"
        config.write_text(CONFIG % {"work": work, "host": host})
        self.log = work / "log"
        # How connections end is said to who asks.
        command = [CLI, "serve", "--config", config, "--log-level", "info,ghoststream_server::live::rtsp=debug"]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        found: dict[str, str] = {}
        for _ in range(400):
            found = dict(re.findall(rf"listening on (\w+)://({re.escape(f'[{host}]' if ':' in host else host)}:\d+)", self.said()))
            if {"http", "rtsp"} <= found.keys():
                break
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        self.http, self.rtsp = "http://" + found["http"], found["rtsp"]
        self.started: list[subprocess.Popen] = []

    def said(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())

    def run(self, *command: str) -> subprocess.Popen:
        """Starts a program that ends with the server."""
        with (WORK / "peers").open("ab") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.started.append(process)
        return process

    def publish(self, name: str, *codecs: str, program: str = "ffmpeg", transport: str = "tcp", key: str = "k3y") -> subprocess.Popen:
        """Publishes a test picture with a tone, in its own time."""
        source = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        to = ["-t", "60", "-f", "rtsp", "-rtsp_transport", transport, f"rtsp://{self.rtsp}/{name}?key={key}"]
        return self.run(program, "-v", "error", *source, "-pix_fmt", "yuv420p", *codecs, *to)

    def ends(self, stream: str) -> list[bool]:
        """Of the connections of a stream's that have ended: whether they took leave (TEARDOWN)."""
        found = re.findall(rf'RTSP connection (?:ended|closed).*stream="{re.escape(stream)}" .*teardown=(true|false)', self.said())
        return [said == "true" for said in found]

    def await_line(self, text: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not re.search(text, self.said()):
            assert time.monotonic() < end, f"{text!r} is not in:\n{self.said()}\n{(WORK / 'peers').read_text()}"
            time.sleep(0.1)

    def talk(self, *requests: str) -> list[int]:
        """The statuses of the answers to requests over one connection."""
        host, port = self.rtsp.split(":")
        statuses = []
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            for number, request in enumerate(requests):
                head, _, body = request.partition("|")
                method, url, *headers = head.split(" ; ")
                lines = [f"{method} {url.replace('HOST', self.rtsp)} RTSP/1.0", f"CSeq: {number}", f"Content-Length: {len(body)}", *headers]
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                answer = b""
                while b"\r\n\r\n" not in answer:
                    got = connection.recv(4096)
                    assert got, f"{request}: no answer"
                    answer += got
                head, _, body = answer.partition(b"\r\n\r\n")
                length = int(re.search(rb"Content-Length: (\d+)", head)[1])
                while len(body) < length:
                    body += connection.recv(4096)
                assert f"CSeq: {number}\r\n".encode() in answer, answer
                statuses.append(int(answer.split()[1]))
        return statuses


def played(server: Server, name: str, seconds: int = 3) -> dict[str, list[float]]:
    """The decode times of each codec's packets in the stream's HLS."""
    out = WORK / f"{name.replace('/', '-')}.mkv"
    source = f"{server.http}/streams/{name}/playlist.m3u8"
    # FFmpeg ends between a picture and those that are decoded behind it and shown before it: half a second more is read than counts.
    command = ["ffmpeg", "-v", "error", "-y", "-i", source, "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-t", str(seconds + 0.5), out]
    for _ in range(100):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            break
        time.sleep(0.2)
    assert done.returncode == 0, (done.stderr, server.said())
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(out)]
    all_of = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    times: dict[str, list[float]] = {}
    for stream in all_of["streams"]:
        own = [float(p["pts_time"]) for p in all_of["packets"] if p["stream_index"] == stream["index"]]
        times[stream["codec_name"]] = sorted(time for time in own if time < min(own) + seconds)
    # And it can be decoded.
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", out, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
    assert not decoded.stderr, decoded.stderr
    return times


def whole(times: dict[str, list[float]], video: str, audio: str, seconds: float = 3, holes: int = 0) -> None:
    """Pictures at 25 a second and sound, together and with no more than `holes` holes, short ones."""
    assert sorted(times) == sorted([audio, video]), list(times)
    assert len(times[video]) >= 25 * seconds * 0.8, len(times[video])
    for codec, step in ((video, 0.04), (audio, STEPS[audio])):
        steps = [b - a for a, b in zip(times[codec], times[codec][1:])]
        found = [between for between in steps if between >= step * 1.6]
        assert len(found) <= holes and sum(found) < 1, f"{codec}: holes of {found} s"
    assert abs(times[video][0] - times[audio][0]) < 0.5, "sound and pictures begin together"


def check_ffmpeg_publishes_h264_with_b_frames(server: Server) -> None:
    server.publish("live/one", *H264, *AAC)
    server.await_line('published.*live/one|live/one.*published')
    whole(played(server, "live/one"), "h264", "aac")


def check_ffmpeg_9_publishes_hevc_and_opus(server: Server) -> None:
    server.publish("two", *HEVC, *OPUS, program=FFMPEG9)
    whole(played(server, "two"), "hevc", "opus")


def check_reordered_pictures_keep_their_times(server: Server) -> None:
    """RTP says when a picture is shown and not when it is decoded. Deep reordering, by FFmpeg's two encoders; as HLS, DASH and a copy of them."""
    deep = ["-preset", "ultrafast", "-g", "50", "-sc_threshold", "0", "-bf", "8", "-b_strategy", "0"]
    x264 = ["-c:v", "libx264", *deep, "-x264-params", "b-pyramid=normal:ref=4"]
    x265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=50:bframes=8:b-adapt=0:b-pyramid=1:ref=4:rc-lookahead=20"]
    for name, codecs in (("deep/h264", x264), ("deep/hevc", x265)):
        publisher = server.publish(name, *codecs, *AAC, program=FFMPEG9 if codecs is x265 else "ffmpeg")
        played(server, name, seconds=1)
        time.sleep(5)
        for kind in ("playlist.m3u8", "manifest.mpd"):
            command = ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time,dts_time,flags", "-select_streams", "v:0", "-of", "json",
                       "-read_intervals", "%+5", f"{server.http}/streams/{name}/{kind}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            packets = json.loads(done.stdout)["packets"]
            shown = sorted(float(p["pts_time"]) for p in packets)
            decoded = [float(p["dts_time"]) for p in packets]
            told = (name, kind, [(p["dts_time"], p["pts_time"], p["flags"]) for p in packets])
            assert len(shown) > 90, told
            assert all(a < b for a, b in zip(decoded, decoded[1:])), ("decode times do not rise", told)
            assert all(d <= float(p["pts_time"]) + 1e-6 for d, p in zip(decoded, packets)), ("shown before it is decoded", told)
            # What FFmpeg has not read yet may be shown between the last ones.
            assert all(abs(b - a - 0.04) < 0.002 for a, b in zip(shown[:-9], shown[1:-9])), ("uneven", shown)
            steps = [b - a for a, b in zip(decoded, decoded[1:])]
            assert max(steps) < 0.09, ("decode times leap", told)
        publisher.kill()
        publisher.wait()


def check_gstreamer_publishes(server: Server) -> None:
    found = shutil.which("gst-inspect-1.0") and subprocess.run(["gst-inspect-1.0", "rtspclientsink"], capture_output=True, check=False)
    if not found or found.returncode != 0:
        print("live: SKIPPED: rtsp.py: gstreamer1.0-rtsp is missing (tests/setup/setup.sh test)")
        missing.append("rtspclientsink")
        return
    clip = WORK / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=20", "-f", "lavfi", "-i", "sine=sample_rate=48000:d=20"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, "-pix_fmt", "yuv420p", *H264, *AAC, clip], check=True)
    server.run(
        *f"gst-launch-1.0 -q filesrc location={clip} ! qtdemux name=d rtspclientsink name=s protocols=tcp".split(),
        f"location=rtsp://{server.rtsp}/gst?key=k3y",
        *"d.video_0 ! queue ! h264parse ! identity sync=true ! s. d.audio_0 ! queue ! aacparse ! s.".split(),
    )  # fmt: skip
    whole(played(server, "gst"), "h264", "aac")


def by_udp(server: Server, name: str, seconds: int = 3) -> dict[str, list[float]]:
    """When what each codec's packets carry is shown, read by UDP by ourselves: no packet may be missing or out of its order, and each picture
    ends with its marker."""
    url, lines, tracks = f"rtsp://{server.rtsp}/{name}", "", {}
    host, port = server.rtsp.split(":")
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        answers = stack.enter_context(connection.makefile("rb"))

        def ask(number: int, method: str, to: str, *headers: str) -> tuple[dict[str, str], str]:
            connection.sendall("\r\n".join([f"{method} {to} RTSP/1.0", f"CSeq: {number}", *headers, "", ""]).encode())
            status = answers.readline().decode()
            assert status.split()[1] == "200", (method, status)
            lines = iter(lambda: answers.readline().decode().strip(), "")
            found = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
            return found, answers.read(int(found.get("content-length", 0))).decode()

        _, lines = ask(1, "DESCRIBE", url, "Accept: application/sdp")
        session: list[str] = []
        for number, media in enumerate(lines.split("m=")[1:], 2):
            codec, clock = re.search(r"a=rtpmap:\d+ (\w+)/(\d+)", media).groups()
            control = re.search(r"a=control:(\S+)", media)[1]
            ports = pair(stack)
            transport = "Transport: RTP/AVP;unicast;client_port=%d-%d" % tuple(one.getsockname()[1] for one in ports)
            found, _ = ask(number, "SETUP", control if "://" in control else f"{url}/{control}", transport, *session)
            session = ["Session: " + found["session"].split(";")[0]]
            tracks[codec.lower()] = (int(clock), *ports)
        ask(number + 1, "PLAY", url, *session)
        got: dict[socket.socket, list[bytes]] = {one: [] for _, *ports in tracks.values() for one in ports}
        end = time.monotonic() + seconds + 2
        while time.monotonic() < end:
            for one in select.select(list(got), [], [], 0.2)[0]:
                got[one].append(one.recv(65536))
    times = {}
    for codec, (clock, rtp, rtcp) in tracks.items():
        order = [int.from_bytes(data[2:4], "big") for data in got[rtp]]
        assert all((b - a) % 65536 == 1 for a, b in zip(order, order[1:])), (codec, order)
        report = next(data for data in got[rtcp] if data[1] == 200)
        told = int.from_bytes(report[8:16], "big") / 2**32, int.from_bytes(report[16:20], "big")
        shown = [int.from_bytes(data[4:8], "big") for data in got[rtp]]
        if codec not in STEPS:
            ends = [data[1] >> 7 for data in got[rtp]]
            assert all(end == (a != b) for a, b, end in zip(shown, shown[1:], ends)), (codec, "markers")
        # Where RTP's times begin anew is not far from what the report tells.
        at = sorted({told[0] + ((time - told[1] + 2**31) % 2**32 - 2**31) / clock for time in shown})
        times[codec] = [time for time in at if time < at[0] + seconds]
    return times


def pair(stack: contextlib.ExitStack) -> list[socket.socket]:
    """Two sockets on an even port and the next one."""
    for _ in range(100):
        first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        try:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except OSError:
            continue
        if first.getsockname()[1] % 2 == 0:
            return [stack.enter_context(first), stack.enter_context(second)]
    raise OSError("no two ports in a row are free")


def read(server: Server, name: str, *options: str, program: str = "ffmpeg", seconds: int = 3, more: tuple[str, ...] = ()) -> dict[str, list[float]]:
    """The presentation times of each codec's packets, read by RTSP."""
    out = WORK / f"read-{name.replace('/', '-')}.mkv"
    command = [program, "-v", "error", "-y", *options, "-i", f"rtsp://{server.rtsp}/{name}", "-map", "0", "-c", "copy", *more, "-t", str(seconds), out]
    for _ in range(60):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            break
        time.sleep(0.3)
    assert done.returncode == 0, (done.stderr, server.said())
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(out)]
    all_of = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    times: dict[str, list[float]] = {}
    for stream in all_of["streams"]:
        own = [float(p["pts_time"]) for p in all_of["packets"] if p["stream_index"] == stream["index"]]
        # FFmpeg dates the first picture before it knows how the tracks lie to each other: the second one counts.
        times[stream["codec_name"]] = sorted(own)[1:]
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", out, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
    assert not decoded.stderr, decoded.stderr
    return times


def check_ffmpeg_reads(server: Server) -> None:
    server.publish("r/one", *ORDERED, *AAC)
    whole(read(server, "r/one", "-rtsp_transport", "tcp"), "h264", "aac")
    whole(read(server, "r/one", "-rtsp_transport", "udp"), "h264", "aac")
    server.publish("r/two", *HEVC, *OPUS, program=FFMPEG9)
    whole(read(server, "r/two", program=FFMPEG9), "hevc", "opus")
    described = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,channels", "-of", "csv=p=0", f"rtsp://{server.rtsp}/r/one"],
                               capture_output=True, text=True, timeout=60, check=True)
    assert {"h264,320", "aac,1"} <= set(described.stdout.split()), described.stdout


def check_vp8_vp9_and_av1_come_and_go(server: Server) -> None:
    for name, codecs, program in (("vp8", VP8, "ffmpeg"), ("vp9", VP9, "ffmpeg"), ("av1", AV1, FFMPEG9)):
        publisher = server.publish(f"r/{name}", *codecs, *OPUS, program=program)
        # FFmpeg does not see which pictures of VP9 in RTP are key frames, and would write none.
        more = ("-copyinkf",) if name == "vp9" else ()
        for transport in ("tcp", "udp"):
            times = read(server, f"r/{name}", "-rtsp_transport", transport, program=program, more=more)
            if (name, transport) == ("av1", "udp"):
                # FFmpeg 9 leaves out pictures of packets that were all there, in order and in time, as seen on the wire: the same ones to the
                # byte of which it leaves out none the next time. By TCP it does not.
                assert sorted(times) == ["av1", "opus"], list(times)
                times = by_udp(server, f"r/{name}")
            whole(times, name, "opus")
        if name != "vp8":
            # No playlist tells of VP8.
            whole(played(server, f"r/{name}"), name, "opus")
        publisher.kill()
        publisher.wait()


def check_gstreamer_reads_vp8_and_vp9(server: Server) -> None:
    if not shutil.which("gst-launch-1.0"):
        missing.append("gst-launch-1.0")
        return
    for name, codecs in (("vp8", VP8), ("vp9", VP9)):
        server.publish(f"r/g-{name}", *codecs, *OPUS)
        read(server, f"r/g-{name}", seconds=1, more=("-copyinkf",))
        # What it decodes is counted: what is damaged is not among it.
        counted = f"rtp{name}depay ! {name}dec ! fakesink name=decoded silent=false sync=false num-buffers=60"
        command = f"gst-launch-1.0 -v rtspsrc location=rtsp://{server.rtsp}/r/g-{name} protocols=tcp ! application/x-rtp,media=video ! {counted}"
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=60, check=False)
        told = (done.stdout[-2000:], done.stderr, server.said()[-2000:])
        pictures = done.stdout.count("GstFakeSink:decoded: last-message = chain")
        assert pictures == 60 and "Got EOS" in done.stdout, (pictures, *told)
        # A connection that we close is a warning, what it cannot decode an error.
        assert "WARNING" not in done.stderr, told
        # GStreamer 1.22 tells of its own PAUSE as an error, twice, where leaving cancels it while it is written.
        cancelled = re.findall(r"gst_rtspsrc_(?:try_send|pause) \(\)[^\n]*\n[^\n]*\(Received end-of-file\)", done.stderr)
        assert done.stderr.count("ERROR") == len(cancelled), told
        assert done.returncode == 0 or "gst_rtspsrc_pause" in done.stderr, told


def check_large_pictures_arrive_by_udp(server: Server) -> None:
    """Key frames of several hundred packets: neither side's buffers hold one at once."""
    noise = ["-re", "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25,noise=alls=60:allf=u", "-pix_fmt", "yuv420p"]
    large = [*ORDERED, "-tune", "zerolatency", "-qp", "20", "-g", "50"]
    server.run("ffmpeg", "-v", "error", *noise, *large, "-f", "rtsp", "-rtsp_transport", "tcp", f"rtsp://{server.rtsp}/r/large?key=k3y")
    server.await_line("r/large.*published|published.*r/large")
    out = WORK / "large.mkv"
    command = ["ffmpeg", "-v", "warning", "-y", "-rtsp_transport", "udp", "-i", f"rtsp://{server.rtsp}/r/large", "-t", "6", "-c", "copy", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=True)
    assert "missed" not in done.stderr and "delay reached" not in done.stderr, done.stderr[-1000:]
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=size,flags,pts_time", "-of", "json", out]
    packets = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)["packets"]
    largest = max(int(p["size"]) for p in packets)
    assert largest > 300_000, f"the largest picture has only {largest} bytes"
    times = sorted(float(p["pts_time"]) for p in packets)[1:]
    assert len(times) > 100 and max(b - a for a, b in zip(times, times[1:])) < 0.1, times
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", out, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
    assert not decoded.stderr, decoded.stderr


def check_link_local_addresses(_: Server) -> None:
    """An address that means nothing without its interface: pictures by UDP find their way back."""
    lines = subprocess.run(["ip", "-6", "-o", "addr", "show", "up", "scope", "link"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^\d+: (\S+)\s+inet6 (fe80::[0-9a-f:]+)/", lines, re.M)
    if not found:
        print("live: SKIPPED: rtsp.py: no interface here has a link-local address")
        missing.append("fe80::/10")
        return
    server = Server("::", WORK / "link")
    try:
        port = server.rtsp.rsplit(":", 1)[1]
        server.rtsp = f"[{found[2]}%{found[1]}]:{port}"
        server.publish("r/link", *ORDERED, *AAC)
        for transport in ("tcp", "udp"):
            whole(read(server, "r/link", "-rtsp_transport", transport), "h264", "aac")
    finally:
        for process in server.started:
            process.kill()
            process.wait()
        server.process.terminate()
        assert server.process.wait(30) == 0, server.said()


def check_gstreamer_reads(server: Server) -> None:
    if not shutil.which("gst-launch-1.0"):
        print("live: SKIPPED: rtsp.py: GStreamer is missing (tests/setup/setup.sh test)")
        missing.append("gst-launch-1.0")
        return
    server.publish("r/gst", *ORDERED, *AAC)
    read(server, "r/gst", seconds=1)
    out = WORK / "gst.mkv"
    # That of an earlier run would be long enough at once.
    out.unlink(missing_ok=True)
    reader = server.run(
        *f"gst-launch-1.0 -q -e rtspsrc location=rtsp://{server.rtsp}/r/gst latency=200 name=s matroskamux name=m ! filesink location={out}".split(),
        *"s. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! queue ! m. s. ! application/x-rtp,media=audio ! rtpmp4gdepay ! aacparse ! queue ! m.".split(),
    )  # fmt: skip
    end = time.monotonic() + 60
    while not out.exists() or out.stat().st_size < 100_000:
        assert time.monotonic() < end and reader.poll() is None, (WORK / "peers").read_text()[-2000:]
        time.sleep(0.1)
    before = len(server.ends("r/gst"))
    reader.send_signal(signal.SIGINT)
    killed = False
    try:
        reader.wait(30)
    except subprocess.TimeoutExpired:
        reader.kill()
        reader.wait(10)
        killed = True
    # On a busy machine rtspsrc now and then never passes the end on, and then takes no leave either: what was written counts. Had it
    # taken leave, whose end of the connection comes behind that, it would be the server that did not let it go.
    end = time.monotonic() + 10
    while len(server.ends("r/gst")) == before:
        assert time.monotonic() < end, "the server does not notice that the reader has gone"
        time.sleep(0.1)
    left = server.ends("r/gst")[before]
    assert left != killed, "it took leave and was not let go" if killed else "it ended without a TEARDOWN"
    if killed:
        print("live: rtsp.py: GStreamer did not end by itself; it had sent no TEARDOWN")
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    counts = dict(line.split(",")[:2] for line in done.stdout.split())
    assert int(counts["h264"]) > 25 and int(counts["aac"]) > 25, (counts, done.stderr)


def check_readers_need_their_key(server: Server) -> None:
    server.publish("r/own", *ORDERED, *AAC)
    read(server, "r/own?key=rd1", seconds=1)
    url = "rtsp://HOST/r/own"
    for key, status in [("", 401), ("?key=wrong", 403), ("?key=k3y", 403), ("?key=rd1", 200)]:
        assert server.talk(f"DESCRIBE ; {url}{key}") == [status], key
    # Nothing is played that was not described.
    tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
    assert server.talk(f"SETUP ; {url}/trackID=0 ; {tcp}", f"PLAY ; {url}")[-1] == 455


def check_readers_come_go_and_are_told(server: Server) -> None:
    publisher = server.publish("r/gone", *ORDERED, *AAC)
    read(server, "r/gone", seconds=1)
    url = "rtsp://HOST/r/gone"
    tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
    for requests, status in [
        ([f"DESCRIBE ; {url}", f"PLAY ; {url}"], 455),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=0 ; Transport: RTP/AVP;unicast;client_port=53-54"], 461),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=0 ; Transport: RTP/AVP;multicast"], 461),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=0 ; Transport: RTP/AVP;unicast;client_port=54000-54001", f"PLAY ; {url}", f"TEARDOWN ; {url}"], 200),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=7 ; {tcp}"], 404),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=0 ; {tcp}", f"SETUP ; {url}/trackID=1 ; {tcp}"], 400),
        ([f"DESCRIBE ; {url}", f"SETUP ; {url}/trackID=0 ; {tcp}", f"RECORD ; {url}"], 455),
        ([f"DESCRIBE ; {url}", f"ANNOUNCE ; {url}?key=k3y|v=0"], 455),
    ]:
        statuses = server.talk(*requests)
        assert statuses[-1] == status and all(s == 200 for s in statuses[:-1]), (requests, statuses)
    # One that takes nothing, and one that goes without a word, hold nobody up.
    host, port = server.rtsp.split(":")
    stuck = socket.create_connection((host, int(port)), timeout=20)
    for request in (f"DESCRIBE rtsp://{server.rtsp}/r/gone", f"SETUP rtsp://{server.rtsp}/r/gone/trackID=0", f"PLAY rtsp://{server.rtsp}/r/gone"):
        stuck.sendall(f"{request} RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n".encode())
        assert b" 200 " in stuck.recv(8192)
    whole(read(server, "r/gone", "-rtsp_transport", "tcp"), "h264", "aac")
    reader = server.run("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", f"rtsp://{server.rtsp}/r/gone", "-f", "null", "-")
    time.sleep(2)
    publisher.kill()
    # Another publisher is waited for, not for ever.
    reader.wait(60)
    stuck.close()


def check_who_publishes_and_reads_is_told(server: Server) -> None:
    """The list of sessions, streams' metrics, and what readers report of their way by UDP: FFmpeg's lost packets, and GStreamer's round trip."""
    get = lambda path: urllib.request.urlopen(server.http + path, timeout=20).read()
    sessions = lambda: json.loads(get("/live/sessions?stream=r%2Ftold"))["sessions"]
    publisher = server.publish("r/told", *ORDERED, *AAC)
    read(server, "r/told", seconds=1)
    url = f"rtsp://{server.rtsp}/r/told"
    sink = ("-f", "null", "-")
    readers = [server.run("ffmpeg", "-v", "error", "-rtsp_transport", way, "-i", url, *sink) for way in ("tcp", "udp")]
    gstreamer = shutil.which("gst-launch-1.0")
    if gstreamer:
        readers.append(server.run(gstreamer, "rtspsrc", f"location={url}", "protocols=udp", "!", "fakesink", "sync=false"))
    else:
        missing.append("gst-launch-1.0")
    told: list[dict] = []
    for _ in range(200):
        told = sessions()
        reads = [s for s in told if not s["publishes"]]
        known = [s for s in reads if s["loss"] is not None], [s for s in reads if s["rtt_ms"] is not None]
        if len(reads) == len(readers) and len(known[0]) >= len(readers) - 1 and (not gstreamer or known[1]):
            break
        time.sleep(0.1)
    else:
        raise AssertionError(told)
    (one,) = [s for s in told if s["publishes"]]
    assert one["protocol"] == "rtsp" and one["connected"] and one["bytes_in"] > 50_000 > one["bytes_out"], one
    assert one["rtt_ms"] is one["loss"] is one["rung"] is None and one["dropped"] == 0, one
    # Where readers have keys and the operator has none, nobody is told where others are.
    assert all(s["peer"] is None and s["uptime"] > 0 for s in told), told
    assert all(s["protocol"] == "rtsp" and s["bytes_out"] > 20_000 and s["bytes_in"] > 100 for s in reads), reads
    assert all(s["loss"] in (0, None) and (s["rtt_ms"] or 0) < 1000 for s in reads), reads
    # In the order in which they came.
    sent = lambda: [s["bytes_out"] for s in sorted(sessions(), key=lambda s: -s["uptime"]) if not s["publishes"]]
    before = sent()
    time.sleep(1)
    after = sent()
    assert len(after) == len(before) and all(b > a for a, b in zip(before, after)), (before, after)
    page = get("/metrics").decode()
    assert 'ghoststream_live_sessions{stream="r/told",protocol="rtsp",kind="publish"} 1' in page, page
    assert f'ghoststream_live_sessions{{stream="r/told",protocol="rtsp",kind="read"}} {len(readers)}' in page, page
    assert 'ghoststream_live_rtsp_readers_loss_ratio{stream="r/told"} 0\n' in page, page
    assert not gstreamer or 'ghoststream_live_rtsp_readers_rtt_seconds{stream="r/told"} 0.' in page, page
    moved = lambda page: int(re.search(r'connection_bytes_total\{protocol="rtsp",direction="out"\} (\d+)', page)[1])
    # One that halts is told so.
    host, port = server.rtsp.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as halts:
        for request in (f"DESCRIBE {url}", f"SETUP {url}/trackID=0", f"PLAY {url}", f"PAUSE {url}"):
            halts.sendall(f"{request} RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n".encode())
            time.sleep(0.2)
        # It came last.
        mine = min(sessions(), key=lambda s: s["uptime"])
        assert mine["connected"] is False and mine["publishes"] is False, mine
    for process in (publisher, *readers):
        process.kill()
        process.wait()
    for _ in range(200):
        if not sessions():
            break
        time.sleep(0.1)
    assert not sessions() and moved(get("/metrics").decode()) >= moved(page), "what was moved stays counted"


def check_a_second_publisher_takes_over(server: Server) -> None:
    first = server.publish("three", *H264, *AAC)
    whole(played(server, "three", 2), "h264", "aac", 2)
    server.publish("three", *H264, *AAC, program=FFMPEG9)
    server.await_line("takes the stream over|has taken the stream over")
    assert first.wait(30) != 0, "the first one is let go"
    # It goes on where it was: nothing is shown before what came earlier, and there is no hole but that of the change.
    after = played(server, "three", 8)
    whole(after, "h264", "aac", 8, holes=1)


def check_who_may_not_is_told_why(server: Server) -> None:
    assert server.publish("four", *H264, *AAC, key="wrong").wait(30) != 0
    server.await_line("a key is needed to publish")
    assert server.publish("four", *H264, *AAC, transport="udp").wait(30) != 0
    server.await_line("only RTP/AVP/TCP")
    sdp = "v=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:t0\r\n"
    url = "rtsp://HOST/five?key=k3y"
    tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
    for requests, status in [
        (["OPTIONS ; *"], 200),
        (["DESCRIBE ; " + url], 404),
        (["DESCRIBE ; rtsp://HOST/../etc"], 404),
        (["PLAY ; " + url], 455),
        (["PAUSE ; " + url], 455),
        (["TEAPOT ; " + url], 501),
        (["SETUP ; " + url], 455),
        (["RECORD ; " + url], 455),
        (["ANNOUNCE ; rtsp://HOST/five|" + sdp], 401),
        (["ANNOUNCE ; rtsp://HOST/five?key=wrong|" + sdp], 403),
        (["ANNOUNCE ; rtsp://HOST/../etc?key=k3y|" + sdp], 400),
        ([f"ANNOUNCE ; rtsp://HOST/{'x' * 300}?key=k3y|" + sdp], 400),
        (["ANNOUNCE ; " + url], 400),
        ([f"ANNOUNCE ; {url}|v=0\r\nm=audio 0 RTP/AVP 0\r\n"], 415),
        ([f"ANNOUNCE ; {url}|{sdp}", f"ANNOUNCE ; {url}|{sdp}"], 455),
        ([f"ANNOUNCE ; {url}|{sdp}", f"RECORD ; {url}"], 455),
        ([f"ANNOUNCE ; {url}|{sdp}", f"SETUP ; {url}/t0 ; {tcp}", f"SETUP ; {url}/t0 ; {tcp}"], 400),
        ([f"ANNOUNCE ; {url}|{sdp}", f"SETUP ; {url}/t0 ; {tcp}", f"RECORD ; {url}", f"TEARDOWN ; {url}"], 200),
    ]:
        statuses = server.talk(*requests)
        assert statuses[-1] == status and all(s == 200 for s in statuses[:-1]), (requests, statuses)


def check_garbage_and_idle_ones_disturb_nobody(server: Server) -> None:
    server.publish("six", *H264, *AAC)
    host, port = server.rtsp.split(":")
    idle = [socket.create_connection((host, int(port)), timeout=20) for _ in range(20)]
    bits = random.Random(1)
    for head in (b"", b"$", b"OPTIONS * RTSP/1.0\r\n", b"\x16\x03\x01", b"A" * 20000):
        with socket.create_connection((host, int(port)), timeout=20) as bad:
            try:
                bad.sendall(head + bits.randbytes(50_000))
                bad.shutdown(socket.SHUT_WR)
                while bad.recv(4096):
                    pass
            except OSError:
                pass
    # Damaged RTP in a session that is in order.
    sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t0\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as bad:
        for request in (
            f"ANNOUNCE rtsp://h/bad?key=k3y RTSP/1.0\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
            "SETUP rtsp://h/bad/t0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
            "RECORD rtsp://h/bad RTSP/1.0\r\n\r\n",
        ):
            bad.sendall(request.encode())
            assert b" 200 " in bad.recv(4096)
        for number in range(2000):
            payload = bits.randbytes(bits.randrange(0, 200))
            packet = b"\x80\xe0" + number.to_bytes(2, "big") + bits.randbytes(8) + payload
            bad.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
    whole(played(server, "six"), "h264", "aac")
    for connection in idle:
        connection.close()


def main() -> int:
    named = sys.argv[1:]
    failed = 0
    server = Server()
    try:
        for name, check in list(globals().items()):
            if not name.startswith("check_") or (named and name not in named):
                continue
            try:
                check(server)
            except Exception:
                failed += 1
                print(f"rtsp.py: {name}:")
                traceback.print_exc()
            finally:
                for process in server.started:
                    if process.poll() is None:
                        process.kill()
                    process.wait()
                server.started.clear()
    finally:
        server.process.terminate()
        assert server.process.wait(30) == 0, server.said()
    return 1 if failed else 77 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
