"""WHIP and WHEP with clients that are not ours: aiortc, FFmpeg's WHIP muxer, and Chromium (whep.mjs).

    GS_PYTHON tests/live/webrtc.py [CHECK]...

Each check is a function whose name begins with `check_`. The server is `$GS_WEBRTC HTTP UDP` (cargo run --example webrtc).
"""

import asyncio
import fractions
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
SERVER = os.environ.get("GS_WEBRTC", "target/debug/examples/webrtc")
WIDTH, HEIGHT, RATE = 320, 180, 25
CELL, BITS = 16, 16


class Server:
    """The server while it runs."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [SERVER, "127.0.0.1:0", "0.0.0.0:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.base = self.process.stdout.readline().strip()
        assert self.base.startswith("http"), "the server did not start"
        self.last = []
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        for line in self.process.stdout:
            self.last = json.loads(line)

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)


def numbered_picture(number):
    """A grey picture with `number` in it, as cells of black and white."""
    import numpy

    picture = numpy.full((HEIGHT, WIDTH, 3), 96, numpy.uint8)
    picture[100:, :, 1] = (numpy.arange(WIDTH) + number * 5) % 256
    for bit in range(BITS):
        picture[0:CELL, bit * CELL : (bit + 1) * CELL] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture):
    grey = picture[CELL // 4 : CELL * 3 // 4, :, :].mean(axis=(0, 2))
    return sum(1 << bit for bit in range(BITS) if grey[bit * CELL + 4 : bit * CELL + 12].mean() > 128)


def post(url, offer):
    import requests

    answer = requests.post(url, data=offer, headers={"Content-Type": "application/sdp"}, timeout=10)
    assert answer.status_code == 201, f"{url}: {answer.status_code} {answer.text}"
    return answer.text, answer.headers["Location"]


class Peer:
    """An aiortc connection to the server."""

    def __init__(self, server):
        from aiortc import RTCPeerConnection

        self.server, self.connection = server, RTCPeerConnection()

    async def negotiate(self, path):
        from aiortc import RTCSessionDescription

        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = self.connection.localDescription.sdp
        answer, self.location = await asyncio.to_thread(post, self.server.base + path, offer)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self):
        import requests

        url = self.server.base + self.location
        status = (await asyncio.to_thread(requests.delete, url, timeout=5)).status_code
        await self.connection.close()
        return status


def prefer(transceiver, name):
    from aiortc import RTCRtpSender

    kinds = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([c for c in kinds if c.mimeType.lower() in (f"video/{name}", "video/rtx")])


async def publisher(server, path, codec, sent):
    """Publishes numbered pictures and silence; `sent` gets the time of each number."""
    import av
    from aiortc import AudioStreamTrack, VideoStreamTrack

    class Pictures(VideoStreamTrack):
        number, began = 0, None

        async def recv(self):
            self.began = self.began or time.monotonic()
            await asyncio.sleep(max(0, self.began + self.number / RATE - time.monotonic()))
            frame = av.VideoFrame.from_ndarray(numbered_picture(self.number), format="rgb24")
            frame.pts, frame.time_base = self.number * 90000 // RATE, fractions.Fraction(1, 90000)
            sent[self.number] = time.monotonic()
            self.number += 1
            return frame

    peer = Peer(server)
    peer.connection.addTrack(Pictures())
    peer.connection.addTrack(AudioStreamTrack())
    prefer(peer.connection.getTransceivers()[0], codec)
    await peer.negotiate(path)
    return peer


async def watch(server, path, seconds, audio=True):
    """Watches for `seconds`: the time of each picture's number, and how many pieces of sound came."""
    peer = Peer(server)
    tracks = []
    peer.connection.on("track", tracks.append)
    peer.connection.addTransceiver("video", direction="recvonly")
    if audio:
        peer.connection.addTransceiver("audio", direction="recvonly")
    await peer.negotiate(path)
    seen, sounds, first = {}, 0, None
    end = time.monotonic() + seconds

    async def pictures(track):
        while True:
            frame = await track.recv()
            seen.setdefault(number_of(frame.to_ndarray(format="rgb24")), time.monotonic())

    async def sound(track):
        nonlocal sounds
        while True:
            await track.recv()
            sounds += 1

    tasks = [asyncio.create_task((pictures if t.kind == "video" else sound)(t)) for t in tracks]
    await asyncio.sleep(max(0, end - time.monotonic()))
    for task in tasks:
        task.cancel()
    assert await peer.close() == 200
    return seen, sounds


async def wait_stream(server, name, protocol="whip"):
    for _ in range(100):
        if any(s["stream"] == name and s["connected"] and s["packets_in"] > 20 for s in server.last):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} is not published: {server.last}")


def delays(sent, seen):
    return [seen[n] - sent[n] for n in seen if n in sent and n > 20]


def carried(codec):
    async def run():
        with Server() as server:
            sent = {}
            peer = await publisher(server, f"/whip/{codec}", codec, sent)
            await wait_stream(server, codec)
            seen, sounds = await watch(server, f"/whep/{codec}", 5)
            late = delays(sent, seen)
            assert len(late) > RATE * 2, f"{len(late)} of {len(seen)} pictures"
            assert sounds > 100, f"{sounds} pieces of sound"
            middle = statistics.median(late)
            print(f"   aiortc {codec} WHIP to WHEP: {len(late)} pictures, {middle * 1e3:.0f} ms (median, encoder and decoder too)")
            assert middle < 0.5, late
            assert await peer.close() == 200
            await asyncio.sleep(2.5)
            assert server.last == [], "the sessions are over"

    asyncio.run(run())


def check_aiortc_h264():
    """aiortc publishes H.264 and Opus by WHIP and plays it by WHEP."""
    carried("h264")


def check_aiortc_vp8():
    """The same with VP8."""
    carried("vp8")


def ffmpeg_publishes(server, name, *video):
    command = [
        os.environ["GS_FFMPEG9"], "-hide_banner", "-loglevel", "warning", "-re",
        "-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE}",
        "-f", "lavfi", "-i", "sine=sample_rate=48000", "-pix_fmt", "yuv420p", *video,
        "-c:a", "libopus", "-ar", "48000", "-ac", "2", "-b:a", "64k", "-f", "whip", f"{server.base}/whip/{name}",
    ]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "50")


def check_ffmpeg_whip():
    """FFmpeg's WHIP muxer publishes; aiortc and FFmpeg's own frames are counted at a viewer."""

    async def run():
        with Server() as server:
            process = ffmpeg_publishes(server, "ff", *X264)
            try:
                await wait_stream(server, "ff")
                peer = Peer(server)
                tracks = []
                peer.connection.on("track", tracks.append)
                peer.connection.addTransceiver("video", direction="recvonly")
                await peer.negotiate("/whep/ff")
                began, arrivals = time.monotonic(), []
                while time.monotonic() < began + 5:
                    frame = await asyncio.wait_for(tracks[0].recv(), 5)
                    arrivals.append((time.monotonic(), frame.width))
                assert {w for _, w in arrivals} == {WIDTH}
                print(f"   FFmpeg WHIP to WHEP: {len(arrivals)} pictures in 5 s, first after {arrivals[0][0] - began:.2f} s")
                assert len(arrivals) > 4 * RATE
                await peer.close()
            finally:
                process.terminate()
                process.wait(10)

    asyncio.run(run())


def chromium(server, *arguments):
    command = ["node", str(HERE / "whep.mjs"), server.base, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"   Chromium {' '.join(arguments)}: {result}")
    return result


def browser_pair(codec, limit=0.5):
    with Server() as server:
        result = chromium(server, "both", f"page-{codec.lower()}", codec)
        assert result["frames"] > 50, result
        assert result["codec"].endswith(codec), result
        assert result["median"] < limit * 1e3, result


def check_chromium_h264():
    """Chromium publishes a drawn picture by WHIP in H.264 and plays it by WHEP; the delay is what the page sees."""
    browser_pair("H264")


def check_chromium_vp8():
    """The same with VP8."""
    browser_pair("VP8")


def check_chromium_vp9():
    """The same with VP9."""
    browser_pair("VP9")


def check_chromium_av1():
    """The same with AV1, whose encoder is slow in software."""
    browser_pair("AV1", 1.0)


def check_chromium_plays_ffmpeg():
    """Chromium plays what FFmpeg publishes, with its sound."""
    with Server() as server:
        process = ffmpeg_publishes(server, "ff", *X264)
        try:
            asyncio.run(wait_stream(server, "ff"))
            result = chromium(server, "play", "ff")
            assert result["frames"] > 50 and result["width"] == WIDTH and result["samples"] > 20000, result
            assert result["first"] < 2000, result
        finally:
            process.terminate()
            process.wait(10)


def check_chromium_camera():
    """Chromium publishes its fake camera and microphone; aiortc gets both."""

    async def run():
        with Server() as server:
            page = subprocess.Popen(["node", str(HERE / "whep.mjs"), server.base, "camera", "cam", "20"])
            try:
                await wait_stream(server, "cam")
                seen, sounds = await watch(server, "/whep/cam", 4)
                assert seen and sounds > 100, (len(seen), sounds)
            finally:
                page.terminate()
                page.wait(10)

    asyncio.run(run())


def missing():
    lacks = []
    for module in ("aiortc", "requests", "numpy"):
        try:
            __import__(module)
        except ImportError:
            lacks.append(module)
    lacks += [name for name in ("GS_FFMPEG9", "GS_CHROMIUM", "GS_NODE_MODULES") if name not in os.environ]
    if not pathlib.Path(SERVER).exists():
        lacks.append(SERVER)
    return lacks


def main():
    lacks = missing()
    if lacks:
        print(f"live/webrtc: skipped: missing {', '.join(lacks)} (tests/setup/setup.sh test)")
        return 1 if os.environ.get("GS_REQUIRE_PEERS") == "1" else 77
    checks = {n.removeprefix("check_"): f for n, f in globals().items() if n.startswith("check_")}
    failed = []
    for name in sys.argv[1:] or checks:
        began = time.monotonic()
        try:
            checks[name]()
            print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}", flush=True)
            failed.append(name)
    print(f"live/webrtc: {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
