"""What is in a source, and what this machine can do."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from . import _native
from ._reader import _Seekable
from ._transcode import source

if TYPE_CHECKING:
    from typing_extensions import Buffer


def probe(src: str | os.PathLike[str] | Buffer | _Seekable, *, keyframes: bool = False, **options: Any) -> dict[str, Any]:
    """What a file or URL contains: streams, durations, rates, colour, HDR, chapters … as ``ghoststream probe --json``.
    ``src`` may also be bytes or a file-like object, as for :class:`Reader`.

    ``keyframes`` reads the whole source, lists the key frames and makes durations and counts exact. ``options`` are
    those of the command about opening the input (``header``, ``timeout``, ``input_format`` …).
    """
    spec, data = source(src, options)
    found: dict[str, Any] = json.loads(_native.probe(json.dumps(spec), keyframes, data))
    return found


def devices() -> dict[str, Any]:
    """FFmpeg, the GPUs, and the encoders, decoders and formats that work on this machine, as ``ghoststream devices
    --json``. The first call tries every encoder, which takes seconds; later ones remember."""
    found: dict[str, Any] = json.loads(_native.devices())
    return found


def presets() -> dict[str, dict[str, Any]]:
    """The settings that have names, from ``discord720p`` to ``hdr10-1440p60``: each as the ``video`` of an output."""
    return {row["name"]: row["video"] for row in json.loads(_native.presets())}


def schema() -> dict[str, Any]:
    """The JSON Schema of the job document."""
    found: dict[str, Any] = json.loads(_native.schema())
    return found
