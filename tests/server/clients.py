"""The calls that the original server's clients make, as they make them: the Python SDKs of both generations, the JavaScript
SDK, and GhostHub in its two lines. What each reads of the answers is checked, not more.

    clients.py URL CLIP [--tokens] [--key KEY]

With --tokens the server requires capability tokens, which only the second generation sends.
"""

from __future__ import annotations

import argparse
import time
import urllib.parse

import requests

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("clip")
parser.add_argument("--tokens", action="store_true")
parser.add_argument("--key")
options = parser.parse_args()
session = requests.Session()
if options.key:
    session.headers["X-API-Key"] = options.key


def call(method: str, path: str, token: str | None = None, expect: int = 200, **kwargs) -> requests.Response:
    headers = {"X-GhostStream-Control-Token": token} if token else {}
    url = path if path.startswith("http") else options.url + path
    answer = session.request(method, url, headers=headers, timeout=60, **kwargs)
    assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
    return answer


def wait(job: str, token: str | None, *states: str) -> dict:
    deadline = time.monotonic() + 120
    while True:
        status = call("GET", f"/api/transcode/{job}/status", token).json()
        if status["status"] in states:
            return status
        assert status["status"] != "error" and time.monotonic() < deadline, status
        time.sleep(0.2)


def sdk(output: dict, token: bool, **more) -> None:
    """ghoststream.client: start, wait until it can be watched, play, cancel or delete."""
    body = {"source": options.clip, "mode": "stream", "output": output, "start_time": 0, **more}
    job = call("POST", "/api/transcode/start", json=body).json()
    control = job["control_token"] if token else None
    assert job["status"] in ("queued", "processing", "ready") and job["progress"] >= 0
    # The SDK returns as soon as there is something to play.
    status = wait(job["job_id"], control, "processing", "ready")
    assert status["stream_url"] and status["duration"] >= 0
    playlist = call("GET", job["stream_url"]).text
    assert playlist.startswith("#EXTM3U"), playlist
    lines = [line for line in playlist.splitlines() if line and not line.startswith("#")]
    segment = call("GET", urllib.parse.urljoin(job["stream_url"], lines[0]))
    assert segment.content[:1] == b"G" or b"#EXTM3U" in segment.content, segment.content[:20]
    call("DELETE", f"/api/transcode/{job['job_id']}", control)
    gone = 403 if options.tokens else 404
    call("GET", f"/api/transcode/{job['job_id']}/status", control, expect=gone)


def first_generation() -> None:
    """1.2.2: every option spelled out, no token; unknown jobs are 404, what is over cannot be cancelled."""
    output = {
        "format": "hls", "video_codec": "h264", "audio_codec": "aac", "resolution": "480p", "bitrate": "auto",
        "hw_accel": "auto", "two_pass": False, "tone_map": True, "max_audio_channels": 2,
    }
    sdk(output, token=False, callback_url=None, session_id=None, subtitles=None)
    call("GET", "/api/transcode/no-such-job/status", expect=404)
    call("POST", "/api/transcode/no-such-job/cancel", expect=400)
    call("POST", "/api/transcode/start", json={}, expect=422)


def second_generation() -> None:
    """1.2.3 and later: tokens everywhere, the session in the body of leave."""
    sdk({"resolution": "720p"}, token=True, session_id="viewer")
    job = call("POST", "/api/transcode/start", json={"source": options.clip, "session_id": "viewer"}).json()
    path = f"/api/transcode/{job['job_id']}"
    left = call("POST", f"{path}/leave", job["control_token"], json={"session_id": "viewer"}).json()
    assert left == {"job_id": job["job_id"], "viewers_remaining": 0, "is_shared": False}, left
    info = wait(job["job_id"], job["control_token"], "processing", "ready")
    assert info["control_token"]
    stream = call("GET", f"{path}/stream", info["control_token"]).json()
    assert "gst=" in stream["stream_url"], stream
    for name in ("/api/health", "/api/health/detailed", "/api/stats", "/api/streams/shared", "/api/clients", "/api/cleanup/stats"):
        answer = session.get(options.url + name, timeout=60)
        assert answer.status_code in (200, 503), name
    assert set(call("POST", "/api/cleanup/run").json()) == {"stale_jobs_cleaned", "orphaned_dirs_cleaned"}
    call("DELETE", path, info["control_token"])


def batch(token: bool) -> None:
    """The load balancer and GhostHub's downloads: a file, fetched whole."""
    body = {"source": options.clip, "mode": "batch", "output": {"format": "mp4", "resolution": "original"}, "start_time": 10}
    job = call("POST", "/transcode", json=body).json()
    control = job["control_token"] if token else None
    assert job["stream_url"] is None and job["download_url"] is None
    status = wait(job["job_id"], control, "ready")
    file = call("GET", status["download_url"])
    assert file.headers["Content-Disposition"] == 'attachment; filename="output.mp4"' and b"ftyp" in file.content[:12]
    assert int(file.headers["Content-Length"]) == len(file.content)


def ghosthub() -> None:
    """Its proxy: the stream's address is taken apart, the query is lost, 307 would be followed; it cancels at the end."""
    job = call("POST", "/api/transcode/start", json={"source": options.clip, "mode": "stream", "output": {"resolution": "480p"}}).json()
    control = job["control_token"]
    path = urllib.parse.urlparse(job["stream_url"]).path
    playlist = call("GET", path, control if options.tokens else None).text
    assert "://" not in playlist, "its proxy needs relative addresses"
    jobs = call("GET", "/api/transcode/jobs").json()["jobs"]
    assert any(j["job_id"] == job["job_id"] and "status" in j for j in jobs)
    # Whether it is done or not, the hub wants it gone.
    answer = session.post(
        f"{options.url}/api/transcode/{job['job_id']}/cancel", headers={"X-GhostStream-Control-Token": control}, timeout=60
    )
    assert answer.status_code in (200, 400), answer.text


def javascript() -> None:
    """Its waitForReady: processing is enough when there is an address and progress above 5, else ready."""
    body = {"source": options.clip, "mode": "stream", "output": {"format": "hls", "resolution": "1080p", "video_codec": "h264",
            "audio_codec": "aac", "bitrate": "auto", "hw_accel": "auto", "tone_map": True, "two_pass": False}, "start_time": 2}
    job = call("POST", "/api/transcode/start", json=body).json()
    assert job["start_time"] == 2
    deadline = time.monotonic() + 60
    while True:
        status = call("GET", f"/api/transcode/{job['job_id']}/status").json()
        if status["status"] == "ready" or (status["status"] == "processing" and status["stream_url"] and status["progress"] > 5):
            break
        assert status["status"] in ("queued", "processing") and time.monotonic() < deadline, status
        time.sleep(0.1)
    call("GET", status["stream_url"])


if options.tokens:
    second_generation()
    batch(token=True)
    ghosthub()
else:
    first_generation()
    second_generation()
    batch(token=False)
    ghosthub()
    javascript()
