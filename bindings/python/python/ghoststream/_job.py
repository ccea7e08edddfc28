"""Pipelines and jobs."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import weakref
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any

from . import _native
from ._errors import Cancelled, Error, Timeout, from_kind
from ._frame import Frame
from ._packet import Packet

#: Jobs that may run when the interpreter ends: their threads must be gone before it is.
_running: weakref.WeakSet[Job] = weakref.WeakSet()
#: The process that they run in: a fork has them without their threads.
_process = os.getpid()

#: Seconds between two looks at a job that is awaited: at first, and after a while.
_SOON, _LATER = 0.001, 0.05
#: Packets taken before the event loop has its turn.
_AT_ONCE = 64


class Event(dict[str, Any]):
    """Something that a job has to say: a dict whose keys are attributes too. ``event.type`` is ``state``, ``plan``,
    ``progress``, ``warning``, ``segment``, ``saved`` or ``done``; the other keys are those of ``--events json``."""

    @property
    def type(self) -> str:
        """Which kind of event."""
        return str(self["type"])

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        rest = ", ".join(f"{key}={value!r}" for key, value in self.items() if key != "type")
        return f"<ghoststream.Event {self.type}: {rest}>"


@dataclass(frozen=True)
class Done:
    """How a job ended."""

    #: ``completed``, ``stopped``, ``cancelled`` or ``failed``.
    outcome: str
    #: Files and top-level playlists that were written.
    outputs: list[str] = field(default_factory=list)
    #: Wall time in seconds.
    elapsed: float = 0.0


@dataclass(frozen=True)
class Segment:
    """A finished segment, initialisation section or playlist of an output with ``segments``."""

    #: Path below the output's root.
    name: str
    #: The whole object.
    data: bytes
    #: Start in seconds; 0 for playlists and initialisation sections.
    start: float
    #: Length in seconds; 0 for playlists and initialisation sections.
    duration: float


class Pipeline:
    """A checked job document, inert until :meth:`start`."""

    def __init__(self, spec: Mapping[str, Any] | str) -> None:
        """Checks ``spec``: a dict, or JSON. Raises :class:`Invalid` naming the field that is wrong."""
        text = spec if isinstance(spec, str) else json.dumps(spec, default=_plain)
        self._inner = _native.Pipeline(text)

    @property
    def spec(self) -> dict[str, Any]:
        """The document with every default filled in."""
        found: dict[str, Any] = json.loads(self._inner.spec())
        return found

    def plan(self) -> dict[str, Any]:
        """Opens the source and tells what would be done and why. Writes nothing."""
        found: dict[str, Any] = json.loads(self._inner.plan())
        return found

    def start(self) -> Job:
        """Starts the job and returns at once. A source that cannot be opened fails the job, not this call."""
        return Job(self._inner.start(), self.spec)

    def __repr__(self) -> str:
        return f"<ghoststream.Pipeline {self._inner.spec()}>"


class Job:
    """A running pipeline. Methods may be called from any thread.

    As a context manager it waits for the end, and cancels when the block raises. Iterating gives events, also with
    ``async for``; ``await job`` waits for the end. A job that is forgotten is cancelled.
    """

    def __init__(self, native: _native.Job, spec: Mapping[str, Any]) -> None:
        """Made by :meth:`Pipeline.start`."""
        self._inner = native
        outputs = list(enumerate(spec["outputs"]))
        self._packet_outputs = [i for i, o in outputs if o.get("packets") is not None]
        self._segment_outputs = [i for i, o in outputs if o.get("segments")]
        self._application_only = len(outputs) == len(self._packet_outputs) + len(self._segment_outputs)
        _running.add(self)

    @property
    def id(self) -> int:
        """Identifies the job in this process's logs."""
        return self._inner.id

    @property
    def state(self) -> str:
        """``starting``, ``running``, ``paused``, ``draining`` or ``finished``."""
        return self._inner.state

    def stats(self) -> dict[str, Any]:
        """A snapshot: progress, every stage with its queue, drops and busy time, every track."""
        found: dict[str, Any] = json.loads(self._inner.stats())
        return found

    def set(
        self,
        *,
        output: int = 0,
        rung: int | None = None,
        bitrate: int | str | None = None,
        max_bitrate: int | str | None = None,
        key_frame: bool = False,
        message: tuple[int, bytes] | None = None,
        lost: int | None = None,
        frame_rate: float | str | None = None,
        width: int | None = None,
        height: int | None = None,
        preset: str | None = None,
        drop: bool = False,
        sound: Mapping[str, Any] | None = None,
        sound_track: int | None = None,
        screen: Mapping[str, Any] | None = None,
    ) -> None:
        """Changes a running encoder (all rungs unless one is named). It takes effect with its next frame, and for every
        output that shares the encoder. ``message`` is written beside the next picture: the type and the payload of an SEI
        message (H.264, HEVC) or of a metadata OBU (AV1); ``lost`` is the time of a packet that a receiver did not get, which
        pictures from now on are not predicted from (both with NVENC). ``preset`` (``p1`` to ``p7``) begins with the next key
        frame; ``drop`` encodes a rung of a segmented output no more, whose pictures are from then on those of the next one.
        ``sound`` is what captured track ``sound_track`` hears
        from now on, and ``screen`` what is captured from now on, as the document has them under ``source``."""
        change: dict[str, Any] = {
            "output": output, "rung": rung, "bitrate": bitrate, "max_bitrate": max_bitrate, "frame_rate": frame_rate,
            "width": width, "height": height, "lost": lost, "preset": preset, "drop": drop or None, "sound": sound, "sound_track": sound_track, "screen": screen,
        }
        if message is not None:
            change["message"] = {"type": message[0], "payload": bytes(message[1]).hex()}
        change = {key: value for key, value in change.items() if value is not None}
        self._inner.set(json.dumps({**change, "key_frame": key_frame}))

    def pause(self) -> None:
        """Halts reading; what is inside goes on to the outputs."""
        self._inner.pause()

    def resume(self) -> None:
        """Continues after :meth:`pause`, with a key frame where video of a live source is encoded."""
        self._inner.resume()

    def split(self, output: int = 0) -> None:
        """Lets an output with ``split`` go on in a new file, which begins with the next key frame. Returns at once; the
        file that ends is told by a ``saved`` event."""
        self._inner.split(output)

    def save(self, output: int = 0, seconds: float | None = None) -> None:
        """Saves the last ``seconds`` of an output with ``replay`` (all that it keeps, when ``None``), from the key frame
        before. Returns at once; the file is told by a ``saved`` event, a failure by a ``warning`` with the code ``save``."""
        self._inner.save(output, seconds)

    def stop(self) -> None:
        """Reads no more and finishes every output with what was read. Returns at once; see :meth:`wait`."""
        self._inner.stop()

    def cancel(self) -> None:
        """Ends at once and removes what is half-written. Returns at once; see :meth:`wait`."""
        self._inner.cancel()

    def wait(self, timeout: float | None = None) -> Done:
        """Waits for the end. Raises the job's failure, :class:`Cancelled`, or :class:`Timeout`."""
        text = self._inner.wait(timeout)
        if text is None:
            raise Timeout(f"the job is not done after {timeout} s")
        return _done(json.loads(text))

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; ``None`` after the last. Raises :class:`Timeout`."""
        text = self._inner.next_event(timeout)
        if text is None:
            raise Timeout(f"no event in {timeout} s")
        return Event(json.loads(text)) if text else None

    def __iter__(self) -> Iterator[Event]:
        """Events until the job is over. A failure is in the ``done`` event; :meth:`wait` raises it."""
        while (event := self.next_event()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events until the job is over, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        descriptor = self._inner.watch()

        def readable() -> None:
            os.read(descriptor, 4096)
            ready.set()

        loop.add_reader(descriptor, readable)
        try:
            while True:
                ready.clear()
                while text := self._inner.next_event(0):
                    yield Event(json.loads(text))
                if text is not None:
                    return
                await ready.wait()
        finally:
            loop.remove_reader(descriptor)
            self._inner.unwatch()
            os.close(descriptor)

    def __await__(self) -> Generator[Any, None, Done]:
        """Waits for the end as :meth:`wait` does, without blocking the event loop. Cancelling the wait leaves the job as
        it is: :meth:`cancel` ends that."""
        return self._ended().__await__()

    async def _ended(self) -> Done:
        """As :meth:`_finish`. It asks again and again, as every wait does for the sake of Ctrl-C, because a thread that
        waits would keep the program from ending, and events are for those who iterate."""
        delay = _SOON
        while (text := self._inner.wait(0)) is None:
            if self._take_some():
                delay = _SOON
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(delay)
                delay = min(delay * 1.5, _LATER)
        return _done(json.loads(text))

    def _take_some(self) -> bool:
        """Takes packets and segments that are there and that nobody else takes; whether there were any."""
        outputs: list[tuple[Any, int]] = [(self._inner.next_packet, i) for i in self._packet_outputs]
        outputs += [(self._inner.next_segment, i) for i in self._segment_outputs]
        found = False
        for take, output in outputs:
            for _ in range(_AT_ONCE):
                if not take(output, 0):
                    break
                found = True
        return found

    def write(self, data: Any) -> int:
        """Feeds a ``bytes`` source with anything that has a buffer. Blocks while the job's buffer is full."""
        return self._inner.write(data)

    def push_frame(self, frame: Frame | Any, timeout: float | None = None) -> None:
        """Feeds a ``frames`` source with a :class:`Frame`, or an array that becomes one (and is copied). Blocks while
        the queue is full; raises :class:`Timeout`."""
        if not isinstance(frame, Frame):
            frame = Frame.from_numpy(frame, copy=True)
        if not self._inner.push_frame(frame._inner, timeout):
            raise Timeout(f"no room for a frame in {timeout} s")

    def finish_input(self) -> None:
        """Says that a fed source has ended."""
        self._inner.finish_input()

    def streams(self, output: int = 0, timeout: float | None = None) -> list[dict[str, Any]]:
        """The streams of a packet output once its encoders are open: codec, ``extradata``, ``time_base``, size …"""
        found = self._inner.streams(output, timeout)
        if found is None:
            raise Timeout(f"the encoders are not open after {timeout} s")
        for stream in found:
            stream["time_base"] = Fraction(*stream["time_base"])
            if stream.get("frame_rate"):
                stream["frame_rate"] = Fraction(*stream["frame_rate"])
        return found

    def packets(self, output: int = 0) -> Iterator[Packet]:
        """The packets of an output with ``packets``, until its end. Raises the job's failure."""
        while packet := self._next(self._inner.next_packet, output):
            yield Packet(packet)

    def segments(self, output: int = 0) -> Iterator[Segment]:
        """The segments and playlists of an output with ``segments``, until its end. Raises the job's failure."""
        while segment := self._next(self._inner.next_segment, output):
            name, region, start, duration = segment
            yield Segment(name, bytes(_native_view(region)), start, duration)

    def _next(self, take: Any, output: int) -> Any:
        item = take(output, None)
        # The end comes from the end of the source, or from a failure elsewhere in the job.
        if item is False and (self._application_only or self.state == "finished"):
            self.wait()
        return item

    def _finish(self) -> Done:
        """Waits for the end, taking what nobody else takes."""
        for output in self._packet_outputs:
            while self._inner.next_packet(output, None):
                pass
        for output in self._segment_outputs:
            while self._inner.next_segment(output, None):
                pass
        return self.wait()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish_input()
                self._finish()
        except BaseException:
            self.cancel()
            raise
        finally:
            if kind is not None:
                self._abandon()

    def _abandon(self) -> None:
        self.cancel()
        try:
            self.wait()
        except Error:
            pass

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish_input()
                await self
        except BaseException:
            kind = BaseException
            raise
        finally:
            if kind is not None:
                self.cancel()
                with contextlib.suppress(Error):
                    await self

    def __repr__(self) -> str:
        return f"<ghoststream.Job {self.id} {self.state}>"


def _done(done: dict[str, Any]) -> Done:
    if done["outcome"] == "failed":
        raise from_kind(done.get("error") or "internal", done.get("message") or "the job failed")
    if done["outcome"] == "cancelled":
        raise Cancelled("cancelled")
    return Done(done["outcome"], done["outputs"], done["elapsed"])


def _native_view(region: _native.Region) -> memoryview:
    from ._frame import Plane

    return memoryview(Plane(region))


def _plain(value: Any) -> Any:
    """What documents may hold beside JSON's own types."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


@atexit.register
def _end() -> None:
    if os.getpid() != _process:
        return
    for job in list(_running):
        if job.state != "finished":
            job._abandon()
