"""Requests with repetition, over the standard library."""

from __future__ import annotations

import http.client
import json
import logging
import random
import ssl
import time
import urllib.parse
from typing import Any

from ._models import ClientConfig, GhostStreamServer

log = logging.getLogger("ghoststream.client")


class RequestFailed(Exception):
    """No answer, or one that is an error. ``status`` is 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def request(
    config: ClientConfig,
    server: GhostStreamServer,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    repeat: bool = True,
    tries: int | None = None,
) -> Any:
    """The JSON that ``server`` answers with.

    Repeats what failed to connect and the statuses that ``config`` names, with growing pauses; ``repeat`` false for
    requests that must not be made twice once they may have arrived. ``tries`` goes before ``config.max_retries``.

    Raises :class:`RequestFailed`.
    """
    if query:
        path += "?" + urllib.parse.urlencode(query)
    sent = {"Accept": "application/json", **(headers or {})}
    if config.client_name:
        sent["X-GhostStream-Client"] = config.client_name
    if config.api_key:
        sent["X-API-Key"] = config.api_key
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        sent["Content-Type"] = "application/json"

    pause = config.retry_delay
    tries = config.max_retries + 1 if tries is None else tries
    for attempt in range(tries):
        last = attempt + 1 == tries
        try:
            status, answer = _once(config, server, method, path, data, sent)
        except _Unsent as e:
            if last:
                raise RequestFailed(f"{server.base_url}: {e}") from e
            why = str(e)
        except (OSError, http.client.HTTPException) as e:
            if last or not repeat:
                raise RequestFailed(f"{server.base_url}: {e or type(e).__name__}") from e
            why = str(e) or type(e).__name__
        else:
            if status not in config.retry_on_status or last:
                return _json(status, answer)
            why = f"status {status}"
        log.warning("%s %s%s: %s; trying again", method, server.base_url, path.split("?")[0], why)
        time.sleep(pause + random.uniform(0, pause / 2))
        pause = min(pause * config.retry_multiplier, config.retry_max_delay)
    raise RequestFailed(f"{server.base_url}: max_retries is negative")


class _Unsent(Exception):
    """The server cannot have seen the request."""


def _once(
    config: ClientConfig, server: GhostStreamServer, method: str, path: str, data: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection: http.client.HTTPConnection
    if server.secure:
        try:
            context = config.tls_context()
        except OSError as e:
            raise RequestFailed(f"{server.base_url}: ca_file: {e}") from e
        connection = http.client.HTTPSConnection(
            server.host, server.port, timeout=config.connect_timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=config.connect_timeout)
    try:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as e:
            # It stays the same however often it is asked.
            raise RequestFailed(f"{server.base_url}: {e}") from e
        except OSError as e:
            raise _Unsent(e) from e
        connection.sock.settimeout(config.write_timeout)
        connection.request(method, path, body=data, headers=headers)
        connection.sock.settimeout(config.read_timeout)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _json(status: int, answer: bytes) -> Any:
    try:
        value = json.loads(answer)
    except ValueError:
        value = None
    if 200 <= status < 300 and value is not None:
        return value
    detail = value.get("detail") if isinstance(value, dict) else None
    if isinstance(detail, list):  # Validation: one entry for each field.
        detail = "; ".join(f"{'.'.join(map(str, d.get('loc', [])))}: {d.get('msg')}" for d in detail)
    raise RequestFailed(str(detail or f"status {status}"), status)
