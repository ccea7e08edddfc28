"""The network client against small servers of its own; tests/server runs it against a real one."""

import asyncio
import http.server
import json
import socket
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
    ],
)
def test_addresses(address, url):
    assert GhostStreamServer.parse(address).base_url == url


@pytest.mark.parametrize("address", ["", "https://a", "a:b", "a:99999", "http://a/path"])
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
