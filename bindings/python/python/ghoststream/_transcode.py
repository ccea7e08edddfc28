"""Transcoding in one call, with the options of the command."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import _native
from ._errors import Error, Invalid
from ._job import Done, Event, Job, Pipeline

_Path = str | os.PathLike[str]
#: Switches of the command that are written ``--no-…``.
_NEGATED = frozenset(
    ("copy_conforming", "iframes", "faststart", "metadata", "chapters", "attachments", "fallback", "audio_sync")
    + ("auto_rotate", "reconnect")
)
#: Tracks of which ``False`` means none.
_TRACKS = frozenset(("video", "audio", "subtitles"))
#: Options about opening a source.
_OPENING = frozenset(("input_format", "input_option", "protocols", "header", "timeout", "reconnect"))
#: Those for bytes in memory and for file-like objects.
_OF_BYTES = frozenset(("input_format", "input_option"))
#: Options of the command about running it in a terminal.
_COMMAND_ONLY = frozenset(
    ("spec", "plan", "dry_run", "json", "print_spec", "events", "quiet", "verbose", "log_level", "help", "version")
)


def document(src: _Path, dst: _Path | Iterable[_Path], **options: Any) -> dict[str, Any]:
    """The job document for ``src``, ``dst`` and the options of ``ghoststream transcode``, spelled with underscores.

    ``True`` sets a switch, ``False`` is the opposite (``faststart=False`` is ``--no-faststart``) or no such track
    (``audio=False``), a list repeats an option and a dict gives its ``KEY=VALUE`` pairs::

        gs.document("in.mkv", "out.mp4", video="hevc", crf=23, audio="opus:128k", option={"x265-params": "aq-mode=3"})
    """
    targets = [dst] if isinstance(dst, (str, os.PathLike)) else list(dst)
    arguments = ["ghoststream", "transcode"]
    for name, value in options.items():
        if name in _COMMAND_ONLY:
            raise Invalid(f"{name}: is an option of the command only")
        arguments += _arguments(name, value)
    arguments += ["--", os.fspath(src), *(os.fspath(target) for target in targets)]
    try:
        found: dict[str, Any] = json.loads(_native.document(arguments))
    except Invalid as e:
        raise Invalid(_in_python(str(e), options)) from None
    return found


def source(src: Any, options: Mapping[str, Any], *more: str) -> tuple[dict[str, Any], Any]:
    """The source of a document, for what only reads: options about opening it, and ``more``. For what is no path the
    bytes or the object that has them come beside it."""
    held = None if isinstance(src, (str, os.PathLike)) else src
    known = (_OPENING if held is None else _OF_BYTES).union(more)
    for name in options:
        if name not in known:
            raise Invalid(f"{name}: is not an option here; there are {', '.join(sorted(known))}")
    found: dict[str, Any] = document(src if held is None else "-", "read.mkv", **options)["source"]
    if held is not None:
        del found["bytes"]
    return found, held


def transcode(
    src: Any = None,
    dst: _Path | Iterable[_Path] | None = None,
    *,
    spec: Mapping[str, Any] | str | None = None,
    progress: Callable[[Event], object] | None = None,
    on_event: Callable[[Event], object] | None = None,
    **options: Any,
) -> Done:
    """Transcodes ``src`` to ``dst`` and waits for the end.

    ``src`` is a path, a URL, ``pattern:smpte``, or a binary file that is read; ``dst`` a path, or several that are made
    from one decode. Options are those of :func:`document`; or everything is in ``spec``. ``progress`` is called with
    every progress event (twice a second), ``on_event`` with every event. Raises the job's failure; when it is
    interrupted (Ctrl-C, an exception of a callback) nothing half-written stays behind::

        gs.transcode("in.mkv", "out/", ladder="auto", format="hls+dash")
    """
    feed = None
    if spec is not None:
        if src is not None or dst is not None or options:
            raise TypeError("spec excludes src, dst and options")
        pipeline = Pipeline(spec)
    else:
        if src is None or dst is None:
            raise TypeError("transcode needs src and dst, or spec")
        if hasattr(src, "read"):
            src, feed = "-", src
        elif os.fspath(src) == "-":
            raise Invalid("src: pass sys.stdin.buffer for standard input")
        pipeline = Pipeline(document(src, dst, **options))
    with pipeline.start() as job:
        if feed is not None:
            broken: list[BaseException] = []
            threading.Thread(target=_feed, args=(job, feed, broken), daemon=True).start()
        for event in job:
            if on_event is not None:
                on_event(event)
            if progress is not None and event.type == "progress":
                progress(event)
        if feed is not None and broken:
            raise broken[0]
        return job.wait()


def _feed(job: Job, file: Any, broken: list[BaseException]) -> None:
    try:
        while data := file.read(1 << 18):
            job.write(data)
        job.finish_input()
    except Error:
        # The job is over, or reads no more; it tells why itself.
        pass
    except BaseException as e:
        broken.append(e)
        job.cancel()


def _arguments(name: str, value: Any) -> list[str]:
    option = "--" + name.rstrip("_").replace("_", "-")
    if value is None or (value is True and name in _NEGATED):
        return []
    if value is True:
        return [option]
    if value is False:
        if name in _TRACKS:
            return [f"{option}=none"]
        return [f"--no-{option[2:]}"] if name in _NEGATED else []
    if isinstance(value, Mapping):
        separator = ": " if name == "header" else "="
        return [f"{option}={key}{separator}{_text(item)}" for key, item in value.items()]
    if isinstance(value, (list, tuple)) and name in ("size", "tiles"):
        return [f"{option}={value[0]}x{value[1]}"]
    if isinstance(value, (list, tuple)):
        if name in ("ladder", "protocols"):
            return [f"{option}={','.join(map(_text, value))}"]
        return [f"{option}={_text(item)}" for item in value]
    return [f"{option}={_text(value)}"]


def _text(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _in_python(message: str, options: Mapping[str, Any]) -> str:
    """A message about arguments of the command, with the names that Python code wrote."""
    for name in sorted(options, key=len, reverse=True):
        dashed = name.rstrip("_").replace("_", "-")
        message = message.replace(f"--no-{dashed}", name).replace(f"--{dashed}", name)
    return message
