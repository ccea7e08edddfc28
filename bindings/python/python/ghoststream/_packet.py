"""Coded packets."""

from __future__ import annotations

from fractions import Fraction

from . import _native


class Packet(_native.Buffer):
    """One coded access unit: a picture, or one or more audio frames.

    Speaks the buffer protocol (``bytes(packet)``, ``file.write(packet)``) without a copy. H.264 and HEVC are Annex B or
    length-prefixed, as the output was asked for.
    """

    __slots__ = ("_inner",)

    def __init__(self, native: _native.Packet) -> None:
        self._inner = native

    def _region(self) -> _native.Region:
        return self._inner.region()

    def __len__(self) -> int:
        return self._inner.size

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._inner.size

    @property
    def pts(self) -> int | None:
        """Presentation time in :attr:`time_base`."""
        return self._inner.pts

    @property
    def dts(self) -> int | None:
        """Decode time in :attr:`time_base`."""
        return self._inner.dts

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(*self._inner.time_base)

    @property
    def time(self) -> float | None:
        """Presentation time in seconds."""
        pts = self._inner.pts
        num, den = self._inner.time_base
        return None if pts is None else pts * num / den

    @property
    def duration(self) -> float:
        """Length in seconds; 0 when unknown."""
        num, den = self._inner.time_base
        return self._inner.duration * num / den

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding can start here."""
        return self._inner.is_keyframe

    @property
    def picture_type(self) -> str | None:
        """``"I"``, ``"P"`` or ``"B"``: from what the picture is predicted; ``None`` where the encoder does not say."""
        return self._inner.picture_type

    @property
    def qp(self) -> float | None:
        """The picture's quantiser on average, in the codec's own scale; ``None`` where the encoder does not say."""
        return self._inner.qp

    @property
    def gpu_time(self) -> float | None:
        """Seconds that the GPU had the picture; ``None`` for encoders that do not work on one, or do not say."""
        return self._inner.gpu_time

    @property
    def stream(self) -> int:
        """Index into the output's streams."""
        return self._inner.stream

    def __repr__(self) -> str:
        time = "" if self.time is None else f" at {self.time:.3f} s"
        return f"<ghoststream.Packet {self.size} bytes{time}{' key' if self.is_keyframe else ''}>"
