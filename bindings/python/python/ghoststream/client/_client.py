"""The client."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from ._discovery import Discovery
from ._http import RequestFailed, request
from ._models import ClientConfig, GhostStreamServer, ProgressEvent, TranscodeJob, TranscodeStatus

log = logging.getLogger("ghoststream.client")

Callback = Callable[[str, GhostStreamServer], None]


class GhostStreamClient:
    """Uses one server at a time: ``server`` where a method takes one, else the preferred one, else the best one found
    (an encoder in hardware first).

    ``manual_server`` is ``host:port`` or ``https://host:port``. Raises :class:`ValueError` when it is not.
    """

    def __init__(self, manual_server: str | None = None, config: ClientConfig | None = None) -> None:
        self.config = config or ClientConfig()
        self.servers: dict[str, GhostStreamServer] = {}
        self.preferred_server: str | None = None
        self._lock = threading.RLock()
        self._callbacks: list[Callback] = []
        self._tokens: dict[tuple[str, str], str] = {}
        self._discovery: Discovery | None = None
        if manual_server:
            self.servers["manual"] = GhostStreamServer.parse(manual_server)
            self.preferred_server = "manual"

    # Servers

    def start_discovery(self) -> None:
        """Looks for servers on the network from now on. Returns at once; a second call does nothing."""
        with self._lock:
            if self._discovery is None:
                self._discovery = Discovery(self._found, self._removed)

    def stop_discovery(self) -> None:
        """Looks no longer; servers that were found stay known."""
        with self._lock:
            discovery, self._discovery = self._discovery, None
        if discovery:
            discovery.stop()

    def close(self) -> None:
        """Stops discovery."""
        self.stop_discovery()

    def __enter__(self) -> GhostStreamClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> GhostStreamClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def is_discovery_started(self) -> bool:
        """Whether it looks for servers."""
        return self._discovery is not None

    def add_callback(self, callback: Callback) -> None:
        """Calls ``callback("found" | "removed", server)`` on a thread of discovery."""
        with self._lock:
            self._callbacks.append(callback)

    def is_available(self) -> bool:
        """Whether a server is known."""
        return self.get_server() is not None

    def get_server(self) -> GhostStreamServer | None:
        """The server that requests go to."""
        with self._lock:
            preferred = self.servers.get(self.preferred_server or "")
            known = sorted(self.servers.values(), key=lambda s: not s.has_hw_accel)
            return preferred or next(iter(known), None)

    def get_servers(self) -> list[GhostStreamServer]:
        """Every server that is known."""
        with self._lock:
            return list(self.servers.values())

    get_all_servers = get_servers

    def _found(self, server: GhostStreamServer) -> None:
        with self._lock:
            # A server that mDNS and UDP both found is one server; mDNS knows more of it.
            twins = [n for n, s in self.servers.items() if (s.host, s.port) == (server.host, server.port)]
            if any(n != server.name and (n == "manual" or n.endswith(".local.")) for n in twins):
                return
            new = not twins
            for name in twins:
                del self.servers[name]
            self.servers[server.name] = server
            callbacks = list(self._callbacks) if new else []
        for callback in callbacks:
            callback("found", server)

    def _removed(self, name: str) -> None:
        with self._lock:
            server = self.servers.pop(name, None)
            callbacks = list(self._callbacks)
        if server:
            for callback in callbacks:
                callback("removed", server)

    # Requests

    def _request(self, server: GhostStreamServer | None, method: str, path: str, **how: Any) -> Any:
        server = server or self.get_server()
        if server is None:
            raise RequestFailed("no GhostStream server is known")
        return request(self.config, server, method, path, **how)

    def _of_job(self, server: GhostStreamServer | None, method: str, job_id: str, action: str, **how: Any) -> Any:
        path = f"/api/transcode/{urllib.parse.quote(job_id, safe='')}{action}"
        return self._request(server, method, path, headers=self.get_job_auth_headers(job_id, server), **how)

    def get_job_auth_headers(self, job_id: str, server: GhostStreamServer | None = None) -> dict[str, str]:
        """The headers that prove that the job is ours, for requests made without this client."""
        server = server or self.get_server()
        token = self._tokens.get((server.base_url if server else "", job_id))
        return {"X-GhostStream-Control-Token": token} if token else {}

    def _job(self, server: GhostStreamServer | None, answer: dict[str, Any]) -> TranscodeJob:
        job = TranscodeJob.from_json(answer)
        server = server or self.get_server()
        if job.control_token and server:
            self._tokens[server.base_url, job.job_id] = job.control_token
        return job

    def _forget(self, server: GhostStreamServer | None, job_id: str) -> None:
        server = server or self.get_server()
        if server:
            self._tokens.pop((server.base_url, job_id), None)

    def transcode_sync(
        self,
        source: str,
        mode: str = "stream",
        format: str = "hls",
        video_codec: str = "h264",
        audio_codec: str = "aac",
        resolution: str = "original",
        bitrate: str = "auto",
        hw_accel: str = "auto",
        start_time: float = 0,
        tone_map: bool = True,
        two_pass: bool = False,
        max_audio_channels: int = 2,
        session_id: str | None = None,
        subtitles: Iterable[dict[str, Any]] | None = None,
        callback_url: str | None = None,
        server: GhostStreamServer | None = None,
        profile: dict[str, Any] | None = None,
        priority: str | None = None,
        playback: str | None = None,
    ) -> TranscodeJob:
        """Asks for a job; the arguments are the fields of the server's API. ``profile`` says what the player plays (containers,
        codecs, sizes, HDR), ``priority`` is ``low``, ``normal`` or ``high``, ``playback`` ``on_demand`` or ``growing``. The job
        of a failed request has the status ``ERROR`` and the reason."""
        body: dict[str, Any] = {
            "source": source,
            "mode": mode,
            "output": {
                "format": format,
                "video_codec": video_codec,
                "audio_codec": audio_codec,
                "resolution": resolution,
                "bitrate": bitrate,
                "hw_accel": hw_accel,
                "tone_map": tone_map,
                "two_pass": two_pass,
                "max_audio_channels": max_audio_channels,
            },
            "start_time": start_time,
        }
        optional = {
            "session_id": session_id,
            "callback_url": callback_url,
            "profile": profile,
            "priority": priority,
            "playback": playback,
        }
        body.update({key: value for key, value in optional.items() if value is not None})
        if subtitles is not None:
            body["subtitles"] = list(subtitles)
        server = server or self.get_server()
        try:
            return self._job(server, self._request(server, "POST", "/api/transcode/start", body=body, repeat=False))
        except RequestFailed as e:
            return TranscodeJob.failed(str(e))

    def get_job_status_sync(self, job_id: str, server: GhostStreamServer | None = None) -> TranscodeJob | None:
        """The job now; ``None`` when the server does not know it or does not answer."""
        try:
            return self._job(server, self._of_job(server, "GET", job_id, "/status"))
        except RequestFailed as e:
            log.debug("status of %s: %s", job_id, e)
            return None

    def wait_for_ready_sync(
        self,
        job_id: str,
        timeout: float = 300,
        poll_interval: float = 1.0,
        server: GhostStreamServer | None = None,
    ) -> TranscodeJob | None:
        """Waits until the job is over or can be played, whichever is first. ``None`` when it is not within ``timeout``
        seconds or the server no longer knows it."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.get_job_status_sync(job_id, server)
            if job is None or _settled(job):
                return job
            if time.monotonic() + poll_interval > deadline:
                return None
            time.sleep(poll_interval)

    def cancel_job_sync(self, job_id: str, server: GhostStreamServer | None = None) -> bool:
        """Whether the job was cancelled."""
        return self._done(server, "POST", job_id, "/cancel")

    def delete_job_sync(self, job_id: str, server: GhostStreamServer | None = None) -> bool:
        """Whether the job and its files were deleted."""
        deleted = self._done(server, "DELETE", job_id, "")
        if deleted:
            self._forget(server, job_id)
        return deleted

    def _done(self, server: GhostStreamServer | None, method: str, job_id: str, action: str) -> bool:
        try:
            self._of_job(server, method, job_id, action)
        except RequestFailed as e:
            log.debug("%s %s: %s", method, job_id, e)
            return False
        return True

    def leave_stream_sync(
        self, job_id: str, session_id: str | None = None, server: GhostStreamServer | None = None
    ) -> dict[str, Any] | None:
        """Says that a viewer is gone; the answer says how many are left."""
        how: dict[str, Any] = {"body": {"session_id": session_id}} if session_id else {}
        return self._or_none(lambda: self._of_job(server, "POST", job_id, "/leave", **how))

    def get_stream_info_sync(self, job_id: str, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """Where the job's stream is, once there is one."""
        return self._or_none(lambda: self._of_job(server, "GET", job_id, "/stream"))

    def health_check_sync(self, server: GhostStreamServer | None = None) -> bool:
        """Whether the server answers that it is healthy."""
        health = self.get_health_sync(server)
        return health is not None and health["status"] == "healthy"

    def get_health_sync(
        self, server: GhostStreamServer | None = None, tries: int | None = None
    ) -> dict[str, Any] | None:
        """The answer of ``/api/health``. ``tries``: how often a server that does not answer is asked (as configured)."""
        return self._get(server, "/api/health", tries=tries)

    def get_health_detailed_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """The answer of ``/api/health/detailed``."""
        return self._get(server, "/api/health/detailed")

    def get_capabilities_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """What the server can encode."""
        return self._get(server, "/api/capabilities")

    def get_stats_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """The server's counters."""
        return self._get(server, "/api/stats")

    def get_status_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """The server's hardware, load and limits."""
        return self._get(server, "/api/status")

    def get_shared_streams_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """Streams with viewers."""
        return self._get(server, "/api/streams/shared")

    def get_cleanup_stats_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """What there would be to clean up."""
        return self._get(server, "/api/cleanup/stats")

    def run_cleanup_sync(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """Cleans up now."""
        return self._or_none(lambda: self._request(server, "POST", "/api/cleanup/run"))

    def _get(self, server: GhostStreamServer | None, path: str, **how: Any) -> dict[str, Any] | None:
        return self._or_none(lambda: self._request(server, "GET", path, **how))

    @staticmethod
    def _or_none(ask: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            answer = ask()
        except RequestFailed as e:
            log.debug("%s", e)
            return None
        return answer if isinstance(answer, dict) else None

    # The same as coroutines

    async def transcode(self, source: str, **fields: Any) -> TranscodeJob:
        """As :meth:`transcode_sync`, with the same arguments."""
        return await asyncio.to_thread(self.transcode_sync, source, **fields)

    async def get_job_status(self, job_id: str, server: GhostStreamServer | None = None) -> TranscodeJob | None:
        """As :meth:`get_job_status_sync`."""
        return await asyncio.to_thread(self.get_job_status_sync, job_id, server)

    async def wait_for_ready(
        self,
        job_id: str,
        timeout: float = 300,
        poll_interval: float = 1.0,
        server: GhostStreamServer | None = None,
    ) -> TranscodeJob | None:
        """As :meth:`wait_for_ready_sync`; can be cancelled."""
        deadline = time.monotonic() + timeout
        while True:
            job = await self.get_job_status(job_id, server)
            if job is None or _settled(job):
                return job
            if time.monotonic() + poll_interval > deadline:
                return None
            await asyncio.sleep(poll_interval)

    async def cancel_job(self, job_id: str, server: GhostStreamServer | None = None) -> bool:
        """As :meth:`cancel_job_sync`."""
        return await asyncio.to_thread(self.cancel_job_sync, job_id, server)

    async def delete_job(self, job_id: str, server: GhostStreamServer | None = None) -> bool:
        """As :meth:`delete_job_sync`."""
        return await asyncio.to_thread(self.delete_job_sync, job_id, server)

    async def leave_stream(
        self, job_id: str, session_id: str | None = None, server: GhostStreamServer | None = None
    ) -> dict[str, Any] | None:
        """As :meth:`leave_stream_sync`."""
        return await asyncio.to_thread(self.leave_stream_sync, job_id, session_id, server)

    async def health_check(self, server: GhostStreamServer | None = None) -> bool:
        """As :meth:`health_check_sync`."""
        return await asyncio.to_thread(self.health_check_sync, server)

    async def get_health(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """As :meth:`get_health_sync`."""
        return await asyncio.to_thread(self.get_health_sync, server)

    async def get_capabilities(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """As :meth:`get_capabilities_sync`."""
        return await asyncio.to_thread(self.get_capabilities_sync, server)

    async def get_stats(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """As :meth:`get_stats_sync`."""
        return await asyncio.to_thread(self.get_stats_sync, server)

    async def get_status(self, server: GhostStreamServer | None = None) -> dict[str, Any] | None:
        """As :meth:`get_status_sync`."""
        return await asyncio.to_thread(self.get_status_sync, server)

    async def subscribe_progress(
        self, job_ids: Iterable[str] | str, server: GhostStreamServer | None = None
    ) -> AsyncIterator[ProgressEvent]:
        """What happens to the jobs, until all of them are over.

        By WebSocket where the package ``websockets`` is installed; otherwise the jobs are asked twice a second.
        """
        ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        server = server or self.get_server()
        if server is None:
            return
        try:
            import websockets
        except ImportError:
            log.info("websockets is not installed: progress is polled")
            events = self._polled(ids, server)
        else:
            events = self._pushed(websockets, ids, server)
        async for event in events:
            yield event

    async def _pushed(
        self, websockets: Any, ids: list[str], server: GhostStreamServer
    ) -> AsyncIterator[ProgressEvent]:
        url = server.base_url.replace("http", "ws", 1) + "/ws/progress"
        if self.config.api_key:
            url += "?" + urllib.parse.urlencode({"api_key": self.config.api_key})
        tokens = {i: t for i in ids if (t := self._tokens.get((server.base_url, i)))}
        message = {"type": "subscribe", "job_ids": ids, **({"job_tokens": tokens} if tokens else {})}
        left = set(ids)
        tls = {"ssl": self.config.tls_context()} if server.secure else {}
        async with websockets.connect(url, open_timeout=self.config.connect_timeout, **tls) as socket:
            await socket.send(json.dumps(message))
            # What ended before the subscription sends no event any more.
            for job_id in ids:
                job = await self.get_job_status(job_id, server)
                if job is None or job.status.is_over:
                    left.discard(job_id)
                    yield _status(job_id, job)
            while left:
                event = json.loads(await socket.recv())
                if event.get("type") == "ping":
                    await socket.send(json.dumps({"type": "pong"}))
                elif event.get("job_id") in left:
                    yield ProgressEvent(event["type"], event["job_id"], event.get("data", {}))
                    if event["type"] == "status_change" and TranscodeStatus(event["data"]["status"]).is_over:
                        left.discard(event["job_id"])

    async def _polled(self, ids: list[str], server: GhostStreamServer) -> AsyncIterator[ProgressEvent]:
        before: dict[str, TranscodeJob] = {}
        left = list(ids)
        while left:
            for job_id in list(left):
                job = await self.get_job_status(job_id, server)
                last = before.get(job_id)
                if job is None or last is None or last.status != job.status:
                    yield _status(job_id, job)
                if job is None or job.status.is_over:
                    left.remove(job_id)
                    continue
                if last is None or last.progress != job.progress:
                    yield ProgressEvent(
                        "progress", job_id, {"progress": job.progress, "time": job.current_time or 0.0}
                    )
                before[job_id] = job
            if left:
                await asyncio.sleep(0.5)


def _settled(job: TranscodeJob) -> bool:
    return job.status.is_over or (job.status is TranscodeStatus.PROCESSING and bool(job.stream_url))


def _status(job_id: str, job: TranscodeJob | None) -> ProgressEvent:
    """A job that is not known any more was cancelled or deleted."""
    status = job.status if job else TranscodeStatus.CANCELLED
    return ProgressEvent("status_change", job_id, {"status": status.value})
