"""Pushed outputs and MediaMTX, over RTMP and SRT: what it records is what was sent, also after it was away. tests/push/run
runs it after push.py; each check is a function whose name begins with `check_`."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import push
from peers import free_port, listens, streams, wait_for
from push import KEY, Job, encoded, good, in_step, pattern, tempo

PROGRAM = os.environ.get("GS_MEDIAMTX", "")


class MediaMtx:
    """Records what is published to it, each connection in a file of its own. It can be ended and begun again."""

    CONF = """
logLevel: info
rtsp: no
hls: no
webrtc: no
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
{more}srt: yes
srtAddress: 127.0.0.1:{srt}
pathDefaults:
  record: yes
  recordPath: {folder}/kept/%path-%s-%f
  recordFormat: fmp4
  recordPartDuration: 200ms
  recordSegmentDuration: 1h
paths:
  all_others:
"""

    def __init__(self, folder: pathlib.Path, more: str = ""):
        self.folder = folder
        self.rtmp, self.srt = free_port(), free_port(socket.SOCK_DGRAM)
        folder.mkdir()
        (folder / "conf.yml").write_text(self.CONF.format(rtmp=self.rtmp, srt=self.srt, folder=folder, more=more))
        self.begin()

    def begin(self):
        self.process = subprocess.Popen([PROGRAM, self.folder / "conf.yml"], stdin=subprocess.DEVNULL,
                                        stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT)
        wait_for("MediaMTX", lambda: listens(self.rtmp))
        # SRT comes after RTMP, and nobody can ask whether a UDP port is listened to.
        wait_for("its SRT", lambda: "[SRT] listener opened" in (self.folder / "log").read_text())

    def end(self):
        """Ends it, with what it records whole."""
        self.process.terminate()
        self.process.wait(10)

    def kept(self):
        return sorted(self.folder.glob("kept/**/*.mp4"), key=lambda p: p.stat().st_mtime)


def check_rtmp(folder):
    """RTMP arrives, picture and sound together. MediaMTX looks at the first two seconds and records what comes after."""
    server = MediaMtx(folder / "server")
    try:
        job = Job(folder, tempo(folder / "clip.mkv", 8), [{"path": f"rtmp://127.0.0.1:{server.rtmp}/live/{KEY}", **encoded()}])
        good(job)
        assert job.states() == ["connecting", "live", "ended"], job.states()
        server.end()
        kept = server.kept()
        assert len(kept) == 1, list(server.folder.rglob("*"))
        found = streams(kept[0], strict=False)
        assert found["video"]["packets"] >= 120 and found["video"]["rising"], found
        in_step(kept[0], 4)
    finally:
        server.end()


def certificates(folder):
    """A CA, and what it has signed for localhost: files of both."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj",
            "/CN=GhostStream test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "ext").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem",
            "-days", "2", "-extfile", "ext")
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"


def check_rtmps(folder):
    """A server whose certificate is signed by somebody who is believed is streamed to; any other only when that is said."""
    ca, certificate, key = certificates(folder)
    port = free_port()
    server = MediaMtx(folder / "server", f"rtmpEncryption: optional\nrtmpsAddress: 127.0.0.1:{port}\n"
                                         f"rtmpServerKey: {key}\nrtmpServerCert: {certificate}\n")
    try:
        wait_for("its RTMPS", lambda: listens(port))

        def stream(host, push, **env):
            below = folder / f"job{len(list(folder.glob('job*')))}"
            below.mkdir()
            os.environ.update(env)
            job = Job(below, pattern(3), [{"path": f"rtmps://{host}:{port}/live/{KEY}", "push": push, **encoded()}])
            for name in env:
                del os.environ[name]
            return job.done()

        for push, env in [({"ca_file": str(ca)}, {}), ({}, {"SSL_CERT_FILE": str(ca)}), ({"tls_verify": False}, {})]:
            done = stream("localhost", push, **env)
            assert done["outcome"] == "completed", (push, done)
        for host, push in [("localhost", {}), ("127.0.0.1", {"ca_file": str(ca)})]:
            done = stream(host, push)
            assert done["outcome"] == "failed" and "certificate" in done["message"], (host, push, done)
        server.end()
        assert len(server.kept()) == 3, server.kept()
    finally:
        server.end()


def check_enhanced(folder):
    """HEVC, AV1 and VP9 over Enhanced RTMP, whatever FFmpeg has of it."""
    server = MediaMtx(folder / "server")
    try:
        for codec, encoder in [("hevc", "libx265"), ("av1", "libsvtav1"), ("vp9", "libvpx-vp9")]:
            below = folder / codec
            below.mkdir()
            outputs = [{"path": f"rtmp://127.0.0.1:{server.rtmp}/{codec}/{KEY}",
                        **encoded(codec=codec, encoder=encoder, bitrate="400k", preset="p1")}]
            good(Job(below, tempo(below / "clip.mkv", 10), outputs))
        server.end()
        for codec in ["hevc", "av1", "vp9"]:
            kept = [p for p in server.kept() if codec in str(p)]
            assert len(kept) == 1, (codec, list(server.folder.rglob("*")), (server.folder / "log").read_text()[-2000:])
            found = streams(kept[0], strict=False)
            assert found["video"]["codec"] == codec and found["video"]["packets"] >= 90, (codec, found)
            assert found["video"]["rising"] and found["audio"]["codec"] == "aac", (codec, found)
            in_step(kept[0], 3)
    finally:
        server.end()


def check_srt(folder):
    """SRT arrives whole, with picture and sound together."""
    server = MediaMtx(folder / "server")
    try:
        srt = {"stream_id": "publish:film", "latency": 200}
        job = Job(folder, tempo(folder / "clip.mkv", 6), [
            {"path": f"srt://127.0.0.1:{server.srt}", "push": {"srt": srt}, **encoded()}])
        good(job)
        server.end()
        kept = server.kept()
        assert len(kept) == 1, list(server.folder.rglob("*"))
        found = streams(kept[0], strict=False)
        assert found["video"]["packets"] >= 100 and found["video"]["rising"], found
        in_step(kept[0], 4)
    finally:
        server.end()


def check_away(folder):
    """MediaMTX is begun again in the middle: both streams come back."""
    server = MediaMtx(folder / "server")
    try:
        push_to = {"first_delay": 0.3, "most_delay": 0.5, "reconnects": -1, "timeout": 2}
        job = Job(folder, tempo(folder / "clip.mkv", 14), [
            {"path": f"rtmp://127.0.0.1:{server.rtmp}/live", "push": push_to, **encoded()},
            {"path": f"srt://127.0.0.1:{server.srt}", "push": {**push_to, "srt": {"stream_id": "publish:film"}}, **encoded()}])
        for output in range(2):
            job.wait_state("live", output=output)
        time.sleep(3)
        server.end()
        for output in range(2):
            job.wait_state("reconnecting", output=output)
        server.begin()
        for output in range(2):
            job.wait_state("live", 2, output=output)
        good(job)
        server.end()
        for name in ["live", "film"]:
            kept = [p for p in server.kept() if p.name.startswith(name)]
            assert len(kept) >= 2, [p.name for p in server.kept()]
            after = streams(kept[-1], strict=False)
            assert after["video"]["packets"] >= 50, (name, after)
            in_step(kept[-1], 2)
    finally:
        server.end()


if __name__ == "__main__":
    if not PROGRAM:
        print("push: MediaMTX: skipped: it is missing (tests/setup/setup.sh test)")
        sys.exit(77)
    push.run_checks({name: f for name, f in globals().items() if name.startswith("check_")}, sys.argv[1:])
