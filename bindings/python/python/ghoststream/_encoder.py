"""An encoder: frames in, packets out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any

from . import _native
from ._errors import Error, Invalid, State
from ._frame import Frame
from ._job import Job, Pipeline
from ._packet import Packet


def rate_of(fps: float | str | Fraction) -> Fraction:
    """The exact frame rate that ``fps`` means: 29.97 is 30000/1001."""
    try:
        if isinstance(fps, (str, Fraction, int)):
            rate = Fraction(fps)
        else:
            ntsc = round(fps * 1.001)
            if abs(fps - ntsc / 1.001) < 0.005 and abs(fps - round(fps)) > 1e-9:
                rate = Fraction(ntsc * 1000, 1001)
            else:
                rate = Fraction(fps).limit_denominator(1001)
    except (ValueError, TypeError, ArithmeticError) as e:
        raise Invalid(f"fps: {fps!r} is not a frame rate") from e
    if not 0 < rate <= 1000:
        raise Invalid(f"fps: {fps!r} is not within 0 to 1000")
    return rate


_FIELDS = {
    "source.frames.video.": "",
    "source.frames.audio.": "",
    "outputs[0].video.": "",
    "outputs[0].audio.": "audio.",
    "outputs[0].": "",
}


def pipeline_of(document: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a document that was made of arguments, which errors name instead of its fields."""
    try:
        return Pipeline(document)
    except Error as e:
        message = str(e)
        for field, argument in _FIELDS.items():
            if message.startswith(field):
                raise type(e)(argument + message.removeprefix(field)) from None
        raise


def raw_video(width: int, height: int, format: str, rate: Fraction, colour: Mapping[str, str] | None) -> dict[str, Any]:
    """The part of a document that describes pictures which the application pushes."""
    found: dict[str, Any] = {"width": width, "height": height, "format": format, "frame_rate": rate}
    if colour is not None:
        found["colour"] = dict(colour)
    return found


class Encoder:
    """Encodes pictures on the engine's threads::

        with gs.Encoder(codec="h264", fps=30, crf=23) as encoder:
            for picture in pictures:             # numpy arrays, or frames
                for packet in encoder.encode(picture):
                    out.write(packet)
            for packet in encoder.encode():      # drain
                out.write(packet)

    ``codec`` and the further options are the fields of a video track in the job document (``crf``, ``bitrate``,
    ``preset``, ``gop``, ``encoder``, ``device`` …). Size and pixel format are those of the first picture unless given.
    """

    def __init__(
        self,
        width: int | None = None,
        height: int | None = None,
        *,
        codec: str = "h264",
        fps: float | str | Fraction = 30,
        format: str | None = None,
        bitstream: str = "annex_b",
        colour: Mapping[str, str] | None = None,
        fallback: bool = True,
        **options: Any,
    ) -> None:
        """``format`` is the pixel format of arrays, ``bitstream`` ``annex_b`` or ``length_prefixed``, ``colour`` that of
        the pictures where it is not the usual one. Raises :class:`Invalid` for a wrong option."""
        self._rate = rate_of(fps)
        self._format = format
        self._size = (width, height)
        self._colour = colour
        self._output = {
            "packets": {"format": bitstream},
            "video": {"codec": codec, **options},
            "audio": False,
            "subtitles": False,
        }
        self._fallback = fallback
        self._job: Job | None = None
        self._count = 0
        self._drained = False
        self._pool = _native.Pool()
        # A wrong option is told here, not with the first picture.
        self._pipeline(width or 64, height or 64, format or "yuv420p")

    def _pipeline(self, width: int, height: int, format: str, memory: str = "host") -> Pipeline:
        video = raw_video(width, height, format, self._rate, self._colour)
        if memory == "cuda":
            video["memory"] = memory
        return pipeline_of(
            {"source": {"frames": {"video": video}}, "outputs": [self._output], "fallback": self._fallback}
        )

    def encode(
        self, frame: Frame | Any = None, *, pts: int | None = None, key_frame: bool = False
    ) -> list[Packet]:
        """Encodes a picture and returns the packets that are ready; without a picture, all that are left.

        An array is copied, so that it can be used again at once; :meth:`Frame.from_numpy` shares it instead, and
        :meth:`Frame.from_cuda` takes tensors where they are. Conversion
        and encoding go on in the engine's threads; a few pictures wait there, then the call waits for room. ``pts``
        counts in ``1 / fps``; without it (and without one in the frame) pictures follow one another. One that
        does not come after the one before it is moved behind that, which a warning event tells once, or is an error with
        ``fallback=False``.
        """
        if self._drained:
            raise State("the encoder was drained")
        if frame is None:
            return list(self._drain())
        if not isinstance(frame, Frame):
            frame = Frame._of_array(frame, self._format, None, None, self._pool)
        if not frame.is_video:
            raise Invalid("frame: sound, but this encodes pictures; a Writer or a Pipeline takes both")
        if self._job is None:
            size = self._size[0] or frame.width, self._size[1] or frame.height
            # Frames on a device are called by what their samples are.
            self._job = self._pipeline(*size, frame._inner.host_format, frame._inner.memory).start()
        if pts is not None:
            self._count = pts
        if pts is not None or frame.pts is None:
            frame = frame._timed(self._count, 1 / self._rate, key_frame, 1)
            self._count += 1
        elif key_frame:
            frame = frame._timed(frame.pts, frame.time_base, True, frame._inner.duration)
        return [Packet(p) for p in self._job._inner.exchange(frame._inner)]

    def encode_all(self, frames: Iterable[Frame | Any]) -> Iterator[Packet]:
        """The packets of all ``frames``, drained at the end."""
        for frame in frames:
            yield from self.encode(frame)
        yield from self._drain()

    def _drain(self) -> Iterator[Packet]:
        self._drained = True
        if self._job is not None:
            self._job.finish_input()
            yield from self._job.packets()

    @property
    def stream(self) -> dict[str, Any]:
        """What is made: codec, ``extradata``, size … Waits for the encoder to open, which the first picture makes it
        do."""
        if self._job is None:
            raise State("the encoder opens with the first picture")
        return self._job.streams()[0]

    @property
    def extradata(self) -> bytes:
        """Parameter sets: Annex B, or the configuration record for ``length_prefixed``."""
        return bytes(self.stream["extradata"])

    @property
    def job(self) -> Job | None:
        """The job behind it, once there was a picture: statistics, events."""
        return self._job

    def set(self, *, bitrate: int | str | None = None, max_bitrate: int | str | None = None) -> None:
        """Changes the bit rate from the next picture on."""
        if self._job is None:
            raise State("the encoder opens with the first picture")
        self._job.set(bitrate=bitrate, max_bitrate=max_bitrate)

    def close(self) -> None:
        """Ends the encoder; packets that were not taken are lost."""
        self._drained = True
        if self._job is not None:
            self._job._abandon()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
