"""GhostStream: decode, filter, encode and package video, on the GPU where there is one.

:func:`transcode` does a whole job in one call. :class:`Pipeline` and :class:`Job` are the same with events and control;
:func:`open` decodes to frames and writes frames to files; :class:`Encoder` turns frames into packets. Frames share their
memory with numpy, DLPack and whatever speaks the buffer protocol. Blocking calls let other threads run and end with
Ctrl-C.
"""

from __future__ import annotations

from . import _native
from ._encoder import Encoder
from ._errors import (
    Busy,
    Cancelled,
    Denied,
    Device,
    Error,
    Format,
    Internal,
    Invalid,
    Io,
    Memory,
    NotFound,
    State,
    Timeout,
    Unsupported,
)
from ._frame import Frame, Plane
from ._info import devices, presets, probe, schema
from ._job import Done, Event, Job, Pipeline, Segment
from ._open import open
from ._packet import Packet
from ._reader import Reader
from ._server import Server
from ._transcode import document, transcode
from ._writer import Writer

__version__ = version = _native.version

__all__ = [
    "Busy",
    "Cancelled",
    "Denied",
    "Device",
    "Done",
    "Encoder",
    "Error",
    "Event",
    "Format",
    "Frame",
    "Internal",
    "Invalid",
    "Io",
    "Job",
    "Memory",
    "NotFound",
    "Packet",
    "Pipeline",
    "Plane",
    "Reader",
    "Segment",
    "Server",
    "State",
    "Timeout",
    "Unsupported",
    "Writer",
    "devices",
    "presets",
    "document",
    "open",
    "probe",
    "schema",
    "transcode",
    "version",
]
