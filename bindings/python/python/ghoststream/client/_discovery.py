"""Finds servers: mDNS where ``zeroconf`` is installed, and a UDP broadcast in any case."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from ._models import GhostStreamServer

log = logging.getLogger("ghoststream.client")

SERVICE = "_ghoststream._tcp.local."
UDP_PORT = 8766
#: Seconds between two broadcasts, and after how many without an answer a server is gone.
INTERVAL = 10.0
MISSED = 3


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


class Discovery:
    """Runs until :meth:`stop`. ``found`` and ``removed`` are called on threads of its own."""

    def __init__(
        self,
        found: Callable[[GhostStreamServer], None],
        removed: Callable[[str], None],
        targets: list[tuple[str, int]] | None = None,
    ) -> None:
        self._found = found
        self._removed = removed
        self._targets = targets if targets is not None else [("255.255.255.255", UDP_PORT)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._broadcast, name="ghoststream-discovery", daemon=True)
        self._zeroconf: Any = None
        self._thread.start()
        self._browse()

    def stop(self) -> None:
        """Returns when no more callbacks come."""
        self._stop.set()
        if self._zeroconf is not None:
            self._zeroconf.close()
        self._thread.join()

    def _browse(self) -> None:
        try:
            import zeroconf
        except ImportError:
            log.info("zeroconf is not installed: servers are found by UDP broadcast only")
            return
        try:
            self._zeroconf = zeroconf.Zeroconf()
        except OSError as e:
            log.warning("mDNS: %s", e)
            return

        def changed(
            zeroconf: Any, service_type: str, name: str, state_change: Any
        ) -> None:  # Called by keyword.
            if state_change.name == "Removed":
                self._removed(name)
                return
            info = zeroconf.get_service_info(service_type, name)
            addresses = info.parsed_addresses() if info else []
            if not addresses:
                return
            text = {k.decode(): (v or b"").decode(errors="replace") for k, v in info.properties.items()}
            self._found(
                GhostStreamServer(
                    name=name,
                    host=next((a for a in addresses if ":" not in a), addresses[0]),
                    port=info.port,
                    version=text.get("version", ""),
                    hw_accels=_words(text.get("hw_accels", "")),
                    video_codecs=_words(text.get("video_codecs", "")),
                    max_jobs=int(text["max_jobs"]) if text.get("max_jobs", "").isdigit() else 2,
                )
            )

        zeroconf.ServiceBrowser(self._zeroconf, SERVICE, handlers=[changed])

    def _broadcast(self) -> None:
        missed: dict[str, int] = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.settimeout(0.2)
            wait = 0.0
            while not self._stop.is_set():
                if wait <= 0:
                    for name in [name for name, count in missed.items() if count >= MISSED]:
                        del missed[name]
                        self._removed(name)
                    missed = {name: count + 1 for name, count in missed.items()}
                    for target in self._targets:
                        try:
                            sock.sendto(b"GHOSTSTREAM_DISCOVER", target)
                        except OSError as e:
                            log.debug("UDP discovery: %s", e)
                    wait = INTERVAL
                try:
                    answer, (host, _) = sock.recvfrom(1024)
                except TimeoutError:
                    wait -= 0.2
                    continue
                except OSError as e:
                    log.debug("UDP discovery: %s", e)
                    self._stop.wait(0.2)
                    wait -= 0.2
                    continue
                server = _announced(answer, host)
                if server:
                    missed[server.name] = 0
                    self._found(server)


def _announced(answer: bytes, host: str) -> GhostStreamServer | None:
    """From ``GHOSTSTREAM_ANNOUNCE:port:version:accelerators``."""
    parts = answer.decode(errors="replace").strip().split(":")
    if len(parts) < 3 or parts[0] != "GHOSTSTREAM_ANNOUNCE" or not parts[1].isdigit():
        return None
    port = int(parts[1])
    if not 0 < port < 65536:
        return None
    accelerators = _words(parts[3]) if len(parts) > 3 else []
    return GhostStreamServer(
        name=f"{host}:{port}", host=host, port=port, version=parts[2], hw_accels=accelerators
    )
