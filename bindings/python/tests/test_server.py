"""The server inside a Python process."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import ghoststream as gs
import pytest


def settings(folder: Path) -> dict:
    return {
        "server": {"host": "127.0.0.1", "port": 0},
        "mdns": {"enabled": False, "udp_enabled": False},
        "transcoding": {"temp_directory": str(folder / "jobs"), "segment_duration": 1},
        "hardware": {"prefer_hw_accel": False},
        "security": {"state_directory": str(folder / "state"), "sources": {"local_roots": [str(folder)]}},
    }


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def test_a_stream_is_made_by_workers_of_this_python(tmp_path):
    clip = tmp_path / "a.mp4"
    source = "testsrc2=s=320x180:r=25:d=2"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", str(clip)]
    subprocess.run(command, check=True)
    with gs.Server(settings(tmp_path)) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.status()["active_jobs"] == 0
        body = json.dumps({"source": str(clip)}).encode()
        request = urllib.request.Request(f"{server.url}/api/transcode/start", body, {"Content-Type": "application/json"})
        job = json.loads(get(request))
        assert b"#EXTM3U" in get(job["stream_url"])
        deadline = time.monotonic() + 60
        while json.loads(get(f"{server.url}/api/transcode/{job['job_id']}/status"))["status"] != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = server.url
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/api/health")
    assert server.status() == {"state": "stopped"}
    server.close()


def test_settings_that_make_no_sense(tmp_path):
    with pytest.raises(gs.Invalid, match="did you mean server.port"):
        gs.Server({"server": {"prot": 1}})
    with gs.Server(settings(tmp_path)) as server:
        taken = settings(tmp_path)
        taken["server"]["port"] = server.addresses[0][1]
        with pytest.raises(gs.Busy):
            gs.Server(taken)
