"""What the checks of the live origin share: a server of a check's own, programs beside it, questions to it, and patience.

Not a check: tests/live/run leaves it out.
"""

from __future__ import annotations

import email.message
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import TypeVar

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_LIVE_WORK"])

# What every server of a check has: it is heard by nobody else, leaves nothing behind and counts no requests.
COMMON = """
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
"""
# Where it listens, where a check does not say otherwise.
HERE = "server: {host: 127.0.0.1, port: 0}\n"

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], seconds: float = 60) -> T:
    """Waits for `look` to give something; what is not there, or does not answer, may still come."""
    end = time.monotonic() + seconds
    while True:
        error = None
        try:
            if found := look():
                return found
        except (urllib.error.URLError, TimeoutError) as e:
            error = e
        assert time.monotonic() < end, f"{what}: {error}" if error else what
        time.sleep(0.1)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def call(method: str, url: str, body: object = None, **headers: str) -> tuple[int, object, email.message.Message]:
    """A request; the answer's status, body (JSON where it is that, else text where it is that) and headers."""
    data = None if body is None else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"content-type": "application/json", **names}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, raw, got = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as e:
        status, raw, got = e.code, e.read(), e.headers
    try:
        return status, json.loads(raw), got
    except ValueError:
        pass
    try:
        return status, raw.decode(), got
    except UnicodeDecodeError:
        return status, raw, got


def listed(playlist: str) -> list[str]:
    """What a playlist names."""
    return [line for line in playlist.splitlines() if line and line[0] != "#"]


def port() -> int:
    """One that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """`ghoststream serve` with a configuration, and where it listens: `at["http"]`, `at["rtmp"]`, `at["cdn"]` …, as URLs. With
    `with` it ends in order, and all that was run beside it ends before it."""

    def __init__(
        self,
        config: str,
        listeners: Iterable[str] = ("http",),
        work: pathlib.Path = WORK,
        flags: Iterable[object] = (),
        variables: dict[str, object] | None = None,
        up: int | None = None,
    ) -> None:
        """`config` stands behind [`COMMON`]; `listeners` is who must listen, `up` a port that must answer instead."""
        self.work = work
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / "ghoststream.yaml"
        here = "" if re.search("^server:", config, re.M) else HERE
        file.write_text(here + COMMON % {"work": self.work} + config)
        self.log = self.work / "log"
        self.started: list[subprocess.Popen] = []
        environment = None
        if variables is not None:
            environment = {k: v for k, v in os.environ.items() if k not in ("GS_LOG", "LOG_LEVEL")}
            environment |= {k: str(v) for k, v in variables.items()}
        command = [CLI, "serve", "--config", file, *flags]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, env=environment)
        self.at: dict[str, str] = {}
        try:
            until(f"{self.work.name} listens", lambda: self._listens(set(listeners), up))
        except BaseException:
            self.kill()
            raise

    def _listens(self, listeners: set[str], up: int | None) -> bool:
        assert self.process.poll() is None, self.said()
        if up is not None:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", up)) == 0
        for label, scheme, where in re.findall(r"(?:(hls_dash|cdn|gstreamer|metrics): )?listening on (\w+)://(127\.0\.0\.1:\d+)", self.said()):
            self.at[label or scheme] = f"{scheme}://{where}"
        return listeners <= self.at.keys()

    def said(self) -> str:
        """Its log, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())

    def run(self, *command: object) -> subprocess.Popen:
        """Starts a program that ends before the server does, at the latest."""
        with (self.work / "programs").open("ab") as out:
            process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stderr=out)
        self.started.append(process)
        return process

    def publish(self, name: str, *codecs: str, program: str = "ffmpeg", seconds: int = 60) -> subprocess.Popen:
        """Publishes a test picture with a tone by RTMP, in its own time."""
        codecs = codecs or ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac")
        source = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        more = ["-pix_fmt", "yuv420p", "-g", "25", *codecs, "-t", seconds, "-f", "flv", f"{self.at['rtmp']}/{name}"]
        return self.run(program, "-v", "error", *source, *more)

    def kill(self) -> None:
        for process in [*self.started, self.process]:
            process.kill()
            process.wait()

    def end(self) -> None:
        """Ends what was run beside it, then itself, in order."""
        for process in self.started:
            process.kill()
            process.wait()
        self.process.terminate()
        code = self.process.wait(30)
        assert code == 0, (code, self.said()[-2000:])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if not failed:
            return self.end()
        self.kill()
        print(self.said()[-2000:], flush=True)
