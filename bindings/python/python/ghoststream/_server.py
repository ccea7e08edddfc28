"""The transcoding server inside this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from . import _native

#: Runs one job; the server starts it in processes of its own, so that a crash ends one job only.
WORKER = [sys.executable, "-m", "ghoststream", "worker"]


class Server:
    """A running server; its jobs run in worker processes.

    ``settings`` has the sections and keys of ``ghoststream.yaml``, such as ``{"server": {"port": 0}}``; no file and no
    environment is read. It listens when the constructor returns, and ends with :meth:`close` or at the end of ``with``.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._native = _native.Server(json.dumps(dict(settings or {})), WORKER)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every address that it listens on."""
        return self._native.addresses()

    @property
    def url(self) -> str:
        """The base URL at its first address, as seen from this machine."""
        host, port = self.addresses[0]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def status(self) -> dict[str, Any]:
        """What it does: addresses, uptime and how many jobs run and wait."""
        status: dict[str, Any] = json.loads(self._native.status())
        return status

    def stop(self) -> None:
        """Begins the end and returns at once. Jobs that are not done go on when the next server starts."""
        self._native.stop()

    def close(self) -> None:
        """Ends it and waits, some seconds at most; a second call does nothing."""
        self._native.end()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ghoststream.Server {self.url}>"
