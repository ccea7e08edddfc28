"""WHIP and WHEP with clients that are not ours: aiortc, FFmpeg's WHIP muxer, and Chromium (whep.mjs).

    GS_PYTHON tests/live/webrtc.py [CHECK]...

Each check is a function whose name begins with `check_`. The server runs already, at $GS_LIVE_HTTP (tests/live/run).
"""

import asyncio
import contextlib
import fractions
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
BASE = os.environ.get("GS_LIVE_HTTP", "")
WIDTH, HEIGHT, RATE = 320, 180, 25
CELL, BITS = 16, 16


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


def post(path, offer, wanted=201):
    """The answer to an offer. A stream that is just about to be published is waited for."""
    import requests

    for _ in range(60):
        answer = requests.post(BASE + path, data=offer, headers={"Content-Type": "application/sdp"}, timeout=10)
        if answer.status_code not in (404, 503) or wanted == answer.status_code:
            break
        time.sleep(0.25)
    assert answer.status_code == wanted, f"{path}: {answer.status_code} {answer.text}"
    return answer.text, answer.headers.get("Location")


class Peer:
    """An aiortc connection to the server; `through` is the port of a relay that its media take."""

    def __init__(self, through=None):
        from aiortc import RTCPeerConnection, jitterbuffer

        # aiortc 1.16 takes a packet that comes a second time, over 100 packets late, for a stream that begins anew, and then waits for 512 more:
        # seconds without a picture. It happens where a key frame's packets overtake each other, are asked for and come twice.
        jitterbuffer.MAX_MISORDER = 1 << 15
        self.connection = RTCPeerConnection()
        self.through = through

    async def negotiate(self, path):
        from aiortc import RTCSessionDescription

        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.offer = self.connection.localDescription.sdp
        answer, self.location = await asyncio.to_thread(post, path, self.offer)
        if self.through:
            lines = [line for line in answer.split("\r\n") if not line.startswith("a=candidate:")]
            relay = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {self.through} typ host"
            answer = "\r\n".join(line + ("\r\n" + relay if line.startswith("a=ice-pwd:") else "") for line in lines)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self):
        import requests

        status = (await asyncio.to_thread(requests.delete, BASE + self.location, timeout=5)).status_code
        await self.connection.close()
        return status


def prefer(transceiver, name):
    from aiortc import RTCRtpSender

    kinds = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([c for c in kinds if c.mimeType.lower() in (f"video/{name}", "video/rtx")])


async def publisher(path, codec, sent, through=None):
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

    peer = Peer(through)
    peer.connection.addTrack(Pictures())
    peer.connection.addTrack(AudioStreamTrack())
    prefer(peer.connection.getTransceivers()[0], codec)
    await peer.negotiate(path)
    return peer


async def watch(path, seconds, audio=True, through=None):
    """Watches for `seconds`: the time of each picture's number, and how many pieces of sound came."""
    peer = Peer(through)
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


def delays(sent, seen):
    return [seen[n] - sent[n] for n in seen if n in sent and n > 20]


def sessions(name):
    """What the server tells of those who publish and watch a stream."""
    import requests

    return requests.get(f"{BASE}/live/sessions", params={"stream": name}, timeout=10).json()["sessions"]


def carried(codec):
    async def run():
        sent, name = {}, f"aiortc/{codec}"
        peer = await publisher(f"/whip/{name}", codec, sent)
        await asyncio.sleep(2)
        watching = asyncio.create_task(watch(f"/whep/{name}", 9))
        await asyncio.sleep(3)
        # The round trip is known once reports have come, which are sent when a peer finds time for them.
        for _ in range(10):
            told = await asyncio.to_thread(sessions, name)
            if all(one["rtt_ms"] is not None for one in told if one["protocol"] == "whep"):
                break
            await asyncio.sleep(0.5)
        seen, sounds = await watching
        late = delays(sent, seen)
        assert {one["protocol"] for one in told} == {"whip", "whep"} and len(told) == 2, told
        for one in told:
            viewer = one["protocol"] == "whep"
            assert one["connected"] and one["publishes"] != viewer and one["rung"] == (0 if viewer else None), one
            assert one["bytes_out" if viewer else "bytes_in"] > 10_000, one
            # aiortc answers nothing to a server that asks for the way of what it publishes.
            assert not viewer or 0 < one["rtt_ms"] < 500, one
        assert len(late) > RATE * 2, f"{len(late)} of {len(seen)} pictures"
        assert sounds > 100, f"{sounds} pieces of sound"
        middle = statistics.median(late)
        print(f"   aiortc {codec} WHIP to WHEP: {len(late)} pictures, {middle * 1e3:.0f} ms (median, encoder and decoder too)")
        assert middle < 0.5, late
        viewer = Peer()
        viewer.connection.addTransceiver("video", direction="recvonly")
        await viewer.connection.setLocalDescription(await viewer.connection.createOffer())
        assert await peer.close() == 200
        await asyncio.sleep(1)
        await asyncio.to_thread(post, f"/whep/{name}", viewer.connection.localDescription.sdp, 404)
        await viewer.connection.close()

    asyncio.run(run())


def check_aiortc_h264():
    """aiortc publishes H.264 and Opus by WHIP and plays it by WHEP."""
    carried("h264")


def check_aiortc_vp8():
    """The same with VP8."""
    carried("vp8")


@contextlib.contextmanager
def ffmpeg_publishes(name, *video):
    command = [
        os.environ["GS_FFMPEG9"], "-hide_banner", "-loglevel", "warning", "-re",
        "-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE}",
        "-f", "lavfi", "-i", "sine=sample_rate=48000", "-pix_fmt", "yuv420p", *video,
        "-c:a", "libopus", "-ar", "48000", "-ac", "2", "-b:a", "64k", "-f", "whip", "-whip_flags", "dtls_active",
        f"{BASE}/whip/{name}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "50")


def check_ffmpeg_whip():
    """FFmpeg's WHIP muxer publishes; a viewer counts its pictures."""

    async def run():
        peer = Peer()
        tracks = []
        peer.connection.on("track", tracks.append)
        peer.connection.addTransceiver("video", direction="recvonly")
        await peer.negotiate("/whep/ff/x264")
        began, arrivals = time.monotonic(), []
        while time.monotonic() < began + 5:
            frame = await asyncio.wait_for(tracks[0].recv(), 5)
            arrivals.append((time.monotonic(), frame.width))
        assert {w for _, w in arrivals} == {WIDTH}
        print(f"   FFmpeg WHIP to WHEP: {len(arrivals)} pictures in 5 s, first after {arrivals[0][0] - began:.2f} s")
        assert len(arrivals) > 4 * RATE
        await peer.close()

    with ffmpeg_publishes("ff/x264", *X264):
        asyncio.run(run())


def chromium(*arguments):
    command = ["node", str(HERE / "whep.mjs"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"   Chromium {' '.join(arguments)}: {result}")
    return result


def browser_pair(codec, limit=0.5):
    result = chromium("both", f"page/{codec.lower()}", codec)
    assert result["frames"] > 50, result
    assert result["codec"].endswith(codec), result
    assert result["median"] < limit * 1e3, result
    # The publisher's congestion control hears from the server: without feedback it stays where it begins.
    # Chromium does not tell that of all codecs.
    assert result["feedback"], result
    assert not result["outgoing"] or abs(result["outgoing"] - 300_000) > 3000, result


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
    with ffmpeg_publishes("ff/page", *X264):
        result = chromium("play", "ff/page")
        assert result["frames"] > 50 and result["width"] == WIDTH and result["samples"] > 20000, result
        assert result["first"] < 2000, result


def check_chromium_camera():
    """Chromium publishes its fake camera and microphone; aiortc gets both."""
    page = subprocess.Popen(["node", str(HERE / "whep.mjs"), "camera", "page/camera", "20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        seen, sounds = asyncio.run(watch("/whep/page/camera", 8))
        assert seen and sounds > 100, (len(seen), sounds)
    finally:
        page.terminate()
        page.wait(10)


def missing():
    lacks = []
    for module in ("aiortc", "requests", "numpy"):
        try:
            __import__(module)
        except ImportError:
            lacks.append(module)
    lacks += [name for name in ("GS_LIVE_HTTP", "GS_FFMPEG9", "GS_CHROMIUM", "GS_NODE_MODULES") if name not in os.environ]
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
