"""What the client is set up with and what it answers."""

from __future__ import annotations

import dataclasses
import enum
import os
import ssl
import urllib.parse
from dataclasses import dataclass, field
from typing import Any


class TranscodeStatus(str, enum.Enum):
    """The life of a job: queued, processing, then one of the other three."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing is going to change any more."""
        return self in (TranscodeStatus.READY, TranscodeStatus.ERROR, TranscodeStatus.CANCELLED)


@dataclass
class ClientConfig:
    """Times in seconds."""

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    write_timeout: float = 30.0
    max_retries: int = 3
    retry_delay: float = 1.0
    retry_max_delay: float = 30.0
    retry_multiplier: float = 2.0
    retry_on_status: list[int] = field(default_factory=lambda: [502, 503, 504])
    #: Shown in the server's list of clients.
    client_name: str | None = None
    #: Sent with every request, for servers that ask for one.
    api_key: str | None = None
    #: Of ``https`` servers: whether their certificate is checked. Without it anybody can pretend to be the server.
    verify: bool = True
    #: A PEM file (or a directory) of authorities to trust instead of the system's.
    ca_file: str | os.PathLike[str] | None = None

    def tls_context(self) -> ssl.SSLContext:
        """What connections to ``https`` servers are made with. Raises :class:`OSError` when ``ca_file`` cannot be used."""
        path = None if self.ca_file is None else os.fspath(self.ca_file)
        folder = path is not None and os.path.isdir(path)
        context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass
class GhostStreamServer:
    """A server, found or given."""

    name: str
    host: str
    port: int
    version: str = ""
    hw_accels: list[str] = field(default_factory=list)
    video_codecs: list[str] = field(default_factory=list)
    max_jobs: int = 2
    #: Whether it is asked over TLS.
    secure: bool = False

    @property
    def base_url(self) -> str:
        """``http://host:port`` (or ``https``); an IPv6 address gets its brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"

    @property
    def has_hw_accel(self) -> bool:
        """Whether an encoder in hardware works there."""
        return any(name not in ("", "software") for name in self.hw_accels)

    @classmethod
    def parse(cls, address: str) -> GhostStreamServer:
        """From ``host``, ``host:port``, ``[v6]:port``, ``http://host:port`` or ``https://host:port``; the port's default is
        8765, and 443 for ``https``.

        Raises :class:`ValueError` for anything else.
        """
        url = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
        if url.scheme not in ("", "http", "https") or not url.hostname or url.path.strip("/"):
            raise ValueError(f"{address!r} is no host:port")
        secure = url.scheme == "https"
        return cls(name="manual", host=url.hostname, port=url.port or (443 if secure else 8765), secure=secure)


@dataclass
class ServerStats:
    """How busy a server is; -1 where it does not answer."""

    active_jobs: int = 0
    queued_jobs: int = 0
    total_processed: int = 0
    last_health_check: float = 0
    is_healthy: bool = True


@dataclass
class TranscodeJob:
    """A job as the server told it last."""

    job_id: str
    status: TranscodeStatus
    progress: float = 0
    stream_url: str | None = None
    download_url: str | None = None
    duration: float | None = None
    current_time: float | None = None
    eta_seconds: int | None = None
    hw_accel_used: str | None = None
    error_message: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    start_time: float = 0
    is_shared: bool = False
    viewer_count: int = 1
    control_token: str | None = None
    variants: list[dict[str, Any]] | None = None
    media_info: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    subtitles: list[dict[str, Any]] | None = None
    #: ``stream``, ``abr`` or ``batch``.
    mode: str | None = None
    #: Fallbacks, ignored fields and what limits took away.
    warnings: list[str] = dataclasses.field(default_factory=list)
    #: What has to happen before it goes on: a free place, its next try, the end of a more urgent job.
    waiting_for: str | None = None
    #: ``method`` (``direct``, ``remux``, ``transcode``) and ``reason``: how the source reaches the player.
    playback: dict[str, str] | None = None

    @classmethod
    def from_json(cls, answer: dict[str, Any]) -> TranscodeJob:
        """From a server's answer; fields that this client does not know are left out."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {key: value for key, value in answer.items() if key in known}
        values["status"] = TranscodeStatus(values["status"])
        return cls(**values)

    @classmethod
    def failed(cls, message: str) -> TranscodeJob:
        """The answer to a request that did not make a job."""
        return cls(job_id="error", status=TranscodeStatus.ERROR, error_message=message)


@dataclass
class ProgressEvent:
    """Something that happened to a job: ``type`` is ``progress``, ``status_change``, or ``adaptation`` where the job makes less
    for the state of the machine, or no longer does."""

    type: str
    job_id: str
    data: dict[str, Any]
