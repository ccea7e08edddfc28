"""Decoding: frames one after another, by index and by time."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, overload

from . import _native
from ._errors import Error, Invalid, natural, optional_natural, without_length
from ._frame import Frame
from ._transcode import source

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Seekable(Protocol):
    def read(self, size: int, /) -> Buffer: ...
    def seek(self, offset: int, whence: int = ..., /) -> object: ...


class Reader:
    """Decodes a source; made by ``gs.open(src)``::

        with gs.open("film.mkv", format="rgb24") as film:
            for frame in film:
                show(frame.to_numpy())
            thumbnail = film.frame_at(12.5)
            last = film[-1]

    Iterating goes on from where reading stands, as with a file; an index, a time or :meth:`seek` moves it. Indexes and
    times are exact: an index counts pictures in the order in which they are shown, a time finds the picture shown then.
    The next pictures are decoded ahead, on the engine's threads: four at most, so that memory stays bounded however slow
    the reader of them is. Times are those of the file's own clock, as frames have them in :attr:`Frame.time`: where a
    file begins at 1.4 s, so does its first picture (``info["start"]``). With ``start``, ``duration`` or ``to`` that part
    is what is read and counted: index 0 is its first picture.

    A source that is no path or URL is the file itself: bytes, a bytearray, a memoryview or a numpy array of uint8, which is
    not copied, kept alive until :meth:`close`, and must not change until then; or a binary object with ``read`` and
    ``seek`` (``io.BytesIO``, an open file, one of fsspec), read from its beginning. Such an object belongs to one reader:
    it is called in the threads that call the reader, while they do, and never at other times; it is not closed. What it
    raises is the ``__cause__`` of the :class:`ghoststream.Io` that the call then raises. Nothing outside the bytes is
    opened (playlists, external references).
    """

    def __init__(
        self,
        src: str | os.PathLike[str] | Buffer | _Seekable,
        *,
        format: str | None = None,
        width: int | None = None,
        height: int | None = None,
        video: bool = True,
        audio: bool = False,
        video_stream: int | None = None,
        audio_stream: int | None = None,
        threads: int = 0,
        **options: Any,
    ) -> None:
        """Pictures come in ``format`` (FFmpeg's name; default as decoded) and in this size (one side given: the other
        follows the display aspect ratio). With ``audio`` sound comes too, interleaved by time. ``options`` are those
        of the command about the input: ``start``, ``duration``, ``input_format``, ``header``, ``timeout`` …"""
        spec, data = source(src, options, "start", "duration", "to", "decoder_device")
        streams = optional_natural("video_stream", video_stream), optional_natural("audio_stream", audio_stream)
        size = optional_natural("width", width), optional_natural("height", height)
        wanted = (video, audio, *streams, format, *size, natural("threads", threads))
        self._inner = _native.Reader(json.dumps(spec), *wanted, data)
        self._video = video
        self._info: dict[str, Any] | None = None
        self._length: int | None = None
        #: Index of the next picture, where known.
        self._position: int | None = 0

    @property
    def info(self) -> dict[str, Any]:
        """What the source says of itself, as :func:`ghoststream.probe` has it."""
        if self._info is None:
            self._info = json.loads(self._inner.info())
        return self._info

    @property
    def duration(self) -> float | None:
        """Length in seconds, where known."""
        return self.info.get("duration")

    def read(self) -> Frame | None:
        """The next frame; ``None`` at the end."""
        return self._read(True)

    def _read(self, ahead: bool) -> Frame | None:
        native = self._inner.next(ahead)
        if native is None:
            return None
        if self._position is not None and native.is_video:
            self._position += 1
        return Frame._wrap(native)

    def _picture(self) -> Frame | None:
        while (frame := self._read(False)) is not None:
            if frame.is_video:
                return frame
        return None

    def __iter__(self) -> Iterator[Frame]:
        """The frames from where reading stands to the end."""
        while (frame := self._read(True)) is not None:
            yield frame

    def seek(self, time: float) -> None:
        """Goes to a time in seconds: the next picture is the one shown then."""
        if not time >= 0 and not time < 0:
            raise Invalid("time: not a number")
        self._inner.seek(float(time))
        self._position = None

    def __len__(self) -> int:
        """The number of pictures, exact. The first call reads the source once, without decoding it. Where there is none
        to be had, the exception is a :class:`TypeError` too, so that ``list(film)`` does without."""
        if self._length is None:
            try:
                self._length = self._inner.len()
            except Error as e:
                raise without_length(e) from e.__cause__
        return self._length

    def __bool__(self) -> bool:
        """True: a reader is there, whatever it holds."""
        return True

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """The picture at an index, or a list of those of a slice."""
        if not self._video:
            raise Invalid("index: the reader has no pictures")
        if isinstance(index, slice):
            return self.frames(range(*index.indices(len(self))))
        asked = index = operator.index(index)
        if index < 0:
            index += len(self)
        if index < 0 or (self._position != index and index >= len(self)):
            raise IndexError(f"frame {asked} of {len(self)}")
        return self._at(index)

    def _at(self, index: int) -> Frame:
        if self._position != index:
            self._position = None
            self._inner.seek_frame(index)
            self._position = index
        frame = self._picture()
        if frame is None:
            raise IndexError(f"frame {index} of {len(self)}")
        return frame

    def frames(self, indexes: Iterable[int]) -> list[Frame]:
        """The pictures at several indexes, in the order given; decoded in one pass where that is possible."""
        wanted = [operator.index(i) for i in indexes]
        found = {i: self[i] for i in sorted(set(wanted))}
        return [found[i] for i in wanted]

    def frame_at(self, time: float) -> Frame:
        """The picture shown at a time in seconds of the file's own clock, which :attr:`Frame.time` counts in too: the
        last that begins at or before it (the first, for times before all)."""
        self.seek(time)
        frame = self._picture()
        if frame is None:
            raise Invalid(f"time: nothing is shown at {time} s")
        return frame

    def frames_at(self, times: Iterable[float]) -> list[Frame]:
        """The pictures shown at several times, in the order given."""
        wanted = [float(t) for t in times]
        found = {t: self.frame_at(t) for t in sorted(set(wanted))}
        return [found[t] for t in wanted]

    def close(self) -> None:
        """Closes the source. Frames that were read stay."""
        self._inner.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
