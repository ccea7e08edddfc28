"""The network client against small servers of its own; tests/server runs it against a real one."""

import asyncio
import dataclasses
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time

import pytest
from ghoststream.client import (
    ClientConfig,
    GhostStreamClient,
    GhostStreamLoadBalancer,
    GhostStreamServer,
    TranscodeStatus,
)
from ghoststream.client._discovery import Discovery

QUICK = ClientConfig(connect_timeout=2, read_timeout=2, retry_delay=0.01)


class Answers(http.server.ThreadingHTTPServer):
    """Answers each request with the next of ``answers`` (status, JSON) and keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"

    def __exit__(self, *why):
        self.shutdown()
        super().__exit__(*why)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, body, dict(self.headers)))
        answers = self.server.answers
        status, value = answers.pop(0) if len(answers) > 1 else answers[0]
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def job(**fields):
    return {"job_id": "j", "status": "processing", "progress": 1.5, "stream_url": None, **fields}


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.2:8080", "http://10.0.0.2:8080"),
        ("media.local", "http://media.local:8765"),
        ("[::1]:80", "http://[::1]:80"),
        ("http://10.0.0.2:1/", "http://10.0.0.2:1"),
        ("https://media.example", "https://media.example:443"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
    ],
)
def test_addresses(address, url):
    assert GhostStreamServer.parse(address).base_url == url


@pytest.mark.parametrize("address", ["", "ftp://a", "a:b", "a:99999", "http://a/path"])
def test_bad_addresses_are_refused(address):
    with pytest.raises(ValueError):
        GhostStreamClient(manual_server=address or ":")


def test_the_job_carries_its_token_from_start_to_delete():
    answers = [(200, job(control_token="secret", new_field=1)), (200, job(status="ready")), (200, {})]
    with Answers(*answers) as server:
        client = GhostStreamClient(server.address, QUICK)
        started = client.transcode_sync("http://a/b.mkv", resolution="720p", session_id="s")
        assert (started.status, started.progress) == (TranscodeStatus.PROCESSING, 1.5)
        assert client.get_job_status_sync("j").status is TranscodeStatus.READY
        assert client.delete_job_sync("j")
        method, path, body, headers = server.asked[0]
        assert (method, path, body["output"]["resolution"]) == ("POST", "/api/transcode/start", "720p")
        assert body["session_id"] == "s" and "callback_url" not in body
        assert "X-GhostStream-Control-Token" not in headers
        assert [a[3]["X-GhostStream-Control-Token"] for a in server.asked[1:]] == ["secret", "secret"]
        assert client.get_job_auth_headers("j") == {}


def test_statuses_of_the_moment_are_asked_again():
    with Answers((503, {"detail": "full"}), (502, {}), (200, job())) as server:
        assert GhostStreamClient(server.address, QUICK).get_job_status_sync("j").job_id == "j"
        assert len(server.asked) == 3


def test_failures_are_answers():
    refused = {"detail": [{"loc": ["body", "output", "format"], "msg": "Input should be 'hls'"}]}
    with Answers((422, refused)) as server:
        client = GhostStreamClient(server.address, QUICK)
        failed = client.transcode_sync("x")
        assert failed.status is TranscodeStatus.ERROR
        assert failed.error_message == "body.output.format: Input should be 'hls'"
        assert not client.cancel_job_sync("j")
        assert client.get_capabilities_sync() is None
        assert len(server.asked) == 3
    gone = GhostStreamClient("127.0.0.1:1", ClientConfig(retry_delay=0.01, max_retries=1))
    assert "127.0.0.1:1" in gone.transcode_sync("x").error_message
    assert GhostStreamClient().transcode_sync("x").error_message == "no GhostStream server is known"


def test_waiting_ends_as_soon_as_the_job_can_be_played():
    with Answers((200, job()), (200, job(stream_url="http://s/m.m3u8"))) as server:
        client = GhostStreamClient(server.address, QUICK)
        assert asyncio.run(client.wait_for_ready("j", poll_interval=0.01)).stream_url
        assert len(server.asked) == 2
    with Answers((200, job())) as server:
        assert GhostStreamClient(server.address, QUICK).wait_for_ready_sync("j", 0.05, 0.02) is None


def test_polled_progress_ends_with_the_job():
    answers = [(200, job(progress=p)) for p in (1, 1, 2)] + [(200, job(status="ready"))]
    with Answers(*answers) as server:
        client = GhostStreamClient(server.address, QUICK)

        async def events():
            return [e async for e in client._polled(["j"], client.get_server())]

        told = [(e.type, e.data.get("status") or e.data["progress"]) for e in asyncio.run(events())]
    assert told == [("status_change", "processing"), ("progress", 1), ("progress", 2), ("status_change", "ready")]


def test_the_least_busy_server_that_answers_gets_the_job():
    def health(current):
        return 200, {"status": "healthy", "current_jobs": current, "queued_jobs": 0}

    with Answers(health(2)) as busy, Answers(health(0), (200, job())) as idle:
        balancer = GhostStreamLoadBalancer("least_busy", [busy.address, "127.0.0.1:1", idle.address])
        begin = time.monotonic()
        assert balancer.transcode_sync("x", priority="high", profile={"video_codecs": ["h264"]}).job_id == "j"
        # A server that is gone is asked once, beside the others, with the usual settings too.
        assert time.monotonic() - begin < 3
        body = idle.asked[1][2]
        assert (body["priority"], body["profile"]) == ("high", {"video_codecs": ["h264"]})
        assert [path for _, path, *_ in idle.asked] == ["/api/health", "/api/transcode/start"]
        stats = balancer.get_server_stats()
        assert [stats[f"manual_{i}"].is_healthy for i in range(3)] == [True, False, True]
        assert stats["manual_2"].queued_jobs == 1


def test_a_broadcast_finds_a_server_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))
        responder.settimeout(5)
        client = GhostStreamClient()
        told = []
        client.add_callback(lambda what, server: told.append((what, server.base_url)))
        found = threading.Event()
        client.add_callback(lambda *_: found.set())
        discovery = Discovery(client._found, client._removed, [responder.getsockname()])
        question, asker = responder.recvfrom(100)
        assert question == b"GHOSTSTREAM_DISCOVER"
        for answer in (b"noise", b"GHOSTSTREAM_ANNOUNCE:x:1", b"GHOSTSTREAM_ANNOUNCE:8765:1.0.0:nvenc,software"):
            responder.sendto(answer, asker)
        responder.sendto(b"GHOSTSTREAM_ANNOUNCE:8765:1.0.0:nvenc,software", asker)
        assert found.wait(5)
        discovery.stop()
        assert told == [("found", "http://127.0.0.1:8765")]
        assert client.get_server().has_hw_accel
        client._removed("127.0.0.1:8765")
        assert told[-1][0] == "removed" and not client.is_available()


def certificate(folder):
    """A certificate of its own authority for localhost, and its key."""
    paths = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=here", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def test_certificates_are_checked(tmp_path):
    cert, key = certificate(tmp_path)
    with Answers((200, {"status": "healthy"})) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"

        def client(address=url, **how):
            return GhostStreamClient(address, dataclasses.replace(QUICK, **how))

        refused = client().transcode_sync("a.mkv")
        assert refused.status is TranscodeStatus.ERROR and "certificate" in refused.error_message
        assert not client().health_check_sync()
        # The name counts too.
        other = client(url.replace("localhost", "127.0.0.1"), ca_file=cert).transcode_sync("a.mkv")
        assert "certificate" in other.error_message
        missing = client(ca_file=tmp_path / "none.pem").transcode_sync("a.mkv")
        assert "ca_file" in missing.error_message
        assert server.asked == []
        assert client(ca_file=cert).health_check_sync()
        assert client(verify=False).health_check_sync()
        assert [asked[1] for asked in server.asked] == ["/api/health"] * 2


def test_a_real_server_over_tls(tmp_path):
    gs = pytest.importorskip("ghoststream")
    cert, key = certificate(tmp_path)
    clip = tmp_path / "a.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-pix_fmt", "yuv420p", clip]
    subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "server": {
            "host": "localhost", "port": 0, "tls_port": port, "tls_certificate": str(cert), "tls_key": str(key),
        },
        "mdns": {"enabled": False, "udp_enabled": False},
        "transcoding": {"temp_directory": str(tmp_path / "jobs")},
        "hardware": {"prefer_hw_accel": False},
        "security": {"state_directory": str(tmp_path / "state"), "sources": {"local_roots": [str(tmp_path)]}},
    }
    with gs.Server(settings):
        client = GhostStreamClient(f"https://localhost:{port}", ClientConfig(ca_file=cert))
        begun = client.transcode_sync(str(clip), mode="batch", format="mp4")
        assert begun.status is not TranscodeStatus.ERROR, begun.error_message

        async def events():
            return [event async for event in client.subscribe_progress(begun.job_id)]

        seen = asyncio.run(events())
        assert seen[-1].data["status"] == "ready", seen
        done = client.get_job_status_sync(begun.job_id)
        assert done.download_url.startswith(f"https://localhost:{port}/download/")
