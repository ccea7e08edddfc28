"""Spreads jobs over several servers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import random
import threading
import time
from collections.abc import Iterable
from typing import Any

from ._client import GhostStreamClient
from ._models import GhostStreamServer, ServerStats, TranscodeJob

#: Seconds for which a server's answer about its load counts.
FRESH = 5.0


class LoadBalanceStrategy(str, enum.Enum):
    """How a server is chosen for a job."""

    ROUND_ROBIN = "round_robin"
    LEAST_BUSY = "least_busy"
    #: An encoder in hardware first, then the least busy.
    FASTEST = "fastest"
    RANDOM = "random"


class GhostStreamLoadBalancer:
    """Chooses a server for each job among ``manual_servers`` (``host:port``) and those that ``client`` finds. Servers
    that do not answer get nothing. May be used from several threads."""

    def __init__(
        self,
        strategy: LoadBalanceStrategy | str = LoadBalanceStrategy.LEAST_BUSY,
        manual_servers: Iterable[str] | None = None,
        client: GhostStreamClient | None = None,
    ) -> None:
        self.strategy = LoadBalanceStrategy(strategy)
        self.client = client or GhostStreamClient()
        for number, address in enumerate(manual_servers or []):
            server = GhostStreamServer.parse(address)
            server.name = f"manual_{number}"
            self.client.servers[server.name] = server
        self._lock = threading.Lock()
        self._stats: dict[str, ServerStats] = {}
        self._jobs: dict[str, GhostStreamServer] = {}
        self._turn = 0

    def start_discovery(self) -> None:
        """As the client's."""
        self.client.start_discovery()

    def stop_discovery(self) -> None:
        """As the client's."""
        self.client.stop_discovery()

    def get_server_stats(self) -> dict[str, ServerStats]:
        """How busy each server is, at most five seconds old."""
        return {server.name: stats for server, stats in self._loads()}

    def _loads(self) -> list[tuple[GhostStreamServer, ServerStats]]:
        # All at once: one that does not answer holds up no other.
        servers = self.client.get_servers()
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(len(servers), 16))) as asking:
            return list(zip(servers, asking.map(self._load, servers)))

    def _load(self, server: GhostStreamServer) -> ServerStats:
        with self._lock:
            stats = self._stats.get(server.name)
        if stats and time.monotonic() - stats.last_health_check < FRESH:
            return stats
        health = self.client.get_health_sync(server, tries=1)
        stats = ServerStats(
            active_jobs=health["current_jobs"] if health else -1,
            queued_jobs=health["queued_jobs"] if health else -1,
            total_processed=stats.total_processed if stats else 0,
            last_health_check=time.monotonic(),
            is_healthy=health is not None and health["status"] == "healthy",
        )
        with self._lock:
            self._stats[server.name] = stats
        return stats

    def select_server(self) -> GhostStreamServer | None:
        """The server that the next job goes to; ``None`` when none answers."""
        healthy = [(server, stats) for server, stats in self._loads() if stats.is_healthy]
        if not healthy:
            return None
        if self.strategy is LoadBalanceStrategy.RANDOM:
            return random.choice(healthy)[0]
        if self.strategy is LoadBalanceStrategy.ROUND_ROBIN:
            with self._lock:
                self._turn += 1
                return healthy[(self._turn - 1) % len(healthy)][0]

        def busy(pair: tuple[GhostStreamServer, ServerStats]) -> tuple[bool, float]:
            server, stats = pair
            slow = self.strategy is LoadBalanceStrategy.FASTEST and not server.has_hw_accel
            return slow, (stats.active_jobs + stats.queued_jobs) / max(1, server.max_jobs)

        return min(healthy, key=busy)[0]

    def transcode_sync(self, source: str, **fields: Any) -> TranscodeJob:
        """As :meth:`GhostStreamClient.transcode_sync`, on the server that the strategy chooses."""
        server = self.select_server()
        if server is None:
            return TranscodeJob.failed("no GhostStream server answers")
        job = self.client.transcode_sync(source, server=server, **fields)
        if job.job_id != "error":
            with self._lock:
                self._jobs[job.job_id] = server
                stats = self._stats[server.name]
                # Until the server is asked again, what was just sent there counts.
                stats.queued_jobs += 1
                stats.total_processed += 1
        return job

    def batch_transcode_sync(
        self, jobs: Iterable[dict[str, Any]], parallel: bool = True, timeout: float = 3600
    ) -> list[TranscodeJob]:
        """One job for each dictionary of arguments (``source`` and what :meth:`transcode_sync` takes; a file in MP4 by
        default), in their order. With ``parallel`` false each waits for the one before, ``timeout`` seconds at most."""
        started = []
        for fields in jobs:
            job = self.transcode_sync(**{"mode": "batch", "format": "mp4", **fields})
            if not parallel and job.job_id != "error":
                job = self.wait_for_all_sync([job], timeout)[0]
            started.append(job)
        return started

    def get_job_status_sync(self, job_id: str) -> TranscodeJob | None:
        """The job now, asked of the server that has it."""
        return self.client.get_job_status_sync(job_id, self._jobs.get(job_id))

    def cancel_job_sync(self, job_id: str) -> bool:
        """Whether the job was cancelled."""
        return self.client.cancel_job_sync(job_id, self._jobs.get(job_id))

    def wait_for_all_sync(
        self, jobs: Iterable[TranscodeJob], timeout: float = 3600, poll_interval: float = 5.0
    ) -> list[TranscodeJob]:
        """The jobs as they are when all are over, or after ``timeout`` seconds."""
        now = list(jobs)
        deadline = time.monotonic() + timeout
        while True:
            for at, job in enumerate(now):
                if not job.status.is_over:
                    now[at] = self.get_job_status_sync(job.job_id) or TranscodeJob.failed(
                        f"{job.job_id}: its server does not answer"
                    )
            if all(job.status.is_over for job in now) or time.monotonic() + poll_interval > deadline:
                return now
            time.sleep(poll_interval)

    async def transcode(self, source: str, **fields: Any) -> TranscodeJob:
        """As :meth:`transcode_sync`."""
        return await asyncio.to_thread(self.transcode_sync, source, **fields)

    async def batch_transcode(
        self, jobs: Iterable[dict[str, Any]], parallel: bool = True, timeout: float = 3600
    ) -> list[TranscodeJob]:
        """As :meth:`batch_transcode_sync`."""
        return await asyncio.to_thread(self.batch_transcode_sync, list(jobs), parallel, timeout)

    async def get_job_status(self, job_id: str) -> TranscodeJob | None:
        """As :meth:`get_job_status_sync`."""
        return await asyncio.to_thread(self.get_job_status_sync, job_id)

    async def cancel_job(self, job_id: str) -> bool:
        """As :meth:`cancel_job_sync`."""
        return await asyncio.to_thread(self.cancel_job_sync, job_id)

    async def wait_for_all(
        self, jobs: Iterable[TranscodeJob], timeout: float = 3600, poll_interval: float = 5.0
    ) -> list[TranscodeJob]:
        """As :meth:`wait_for_all_sync`."""
        return await asyncio.to_thread(self.wait_for_all_sync, list(jobs), timeout, poll_interval)
