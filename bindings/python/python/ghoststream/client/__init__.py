"""The network client: finds GhostStream servers, has them transcode, and follows the jobs.

    from ghoststream.client import GhostStreamClient

    client = GhostStreamClient(manual_server="192.168.4.2:8765")   # or client.start_discovery()
    job = await client.transcode(source="http://192.168.4.1:5000/media/video.mkv", resolution="1080p")
    print(job.stream_url)

Every request is a coroutine with a twin that ends in ``_sync`` for programs without an event loop. As in the client of
the original server, a failure is an answer, not an exception: a job whose ``status`` is ``ERROR`` and whose
``error_message`` says why, ``False``, or ``None``. Requests are repeated after connection failures and after 502, 503 and
504, as :class:`ClientConfig` says.

Finding servers by mDNS needs the package ``zeroconf`` and progress by WebSocket needs ``websockets``
(``pip install ghoststream[client]``). Without them servers are found by UDP broadcast and progress is polled.

A client may be used from several threads.
"""

from __future__ import annotations

from ._balance import GhostStreamLoadBalancer, LoadBalanceStrategy
from ._client import GhostStreamClient
from ._models import (
    ClientConfig,
    GhostStreamServer,
    ProgressEvent,
    ServerStats,
    TranscodeJob,
    TranscodeStatus,
)

__all__ = [
    "ClientConfig",
    "GhostStreamClient",
    "GhostStreamLoadBalancer",
    "GhostStreamServer",
    "LoadBalanceStrategy",
    "ProgressEvent",
    "ServerStats",
    "TranscodeJob",
    "TranscodeStatus",
]
