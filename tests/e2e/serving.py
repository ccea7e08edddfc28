"""A server for a test: `ghoststream serve` with everything it writes in one directory."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request


class Server:
    """A server in a directory of its own."""

    def __init__(self, root: pathlib.Path, clips: pathlib.Path, settings: dict | None = None):
        root.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = {
            "transcoding": {"temp_directory": str(root / "jobs")},
            # A ladder is as high as its source, whatever machine this is.
            "hardware": {"tier": "ultra"},
            "security": {"state_directory": str(root / "state"), "sources": {"local_roots": [str(clips)]}},
        }
        for section, values in (settings or {}).items():
            config.setdefault(section, {}).update(values)
        (root / "ghoststream.yaml").write_text(json.dumps(config))
        self.base = f"http://127.0.0.1:{port}"
        self.log = open(root / "server.log", "w")
        command = [os.environ["GS_CLI"], "serve", "--config", str(root / "ghoststream.yaml"), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--no-mdns"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                self.ask("/api/health")
                return
            except OSError:
                time.sleep(0.1)
        self.end()
        sys.exit(f"e2e: FAIL: the server does not answer: {(root / 'server.log').read_text()}")

    def ask(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def start(self, body: dict) -> str:
        """Starts a job and waits until it can be played; gives the URL of its files."""
        job = self.ask("/api/transcode/start", body)["job_id"]
        for _ in range(600):
            status = self.ask(f"/api/transcode/{job}/status")
            if status["status"] in ("ready", "error", "cancelled"):
                break
            time.sleep(0.1)
        if status["status"] != "ready":
            sys.exit(f"e2e: FAIL: {status}")
        return f"{self.base}/stream/{job}/"

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
