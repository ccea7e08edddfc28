"""Frames: pictures and runs of samples, in memory that numpy and others share."""

from __future__ import annotations

import operator
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._errors import Invalid, natural

if TYPE_CHECKING:
    import numpy
    import numpy.typing

_SAMPLE_FORMATS = {"|u1": "u8", "<i2": "s16", "<i4": "s32", "<f4": "flt", "<f8": "dbl"}


class _Span(NamedTuple):
    """Device memory of another library's."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    item: int
    device: int
    owner: Any


def _device_memory(array: Any) -> _Span:
    if hasattr(array, "__dlpack__"):
        # 1 is CUDA's default stream: what the other library has queued is in order before it.
        tensor = _native.DeviceTensor(array.__dlpack__(stream=1))
        address, lengths, steps, width, device = tensor.parts
        return _Span(address, tuple(lengths), tuple(steps), width, device, tensor)
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        raise Invalid(f"array: {type(array).__name__} is not in CUDA memory")
    shape, item = tuple(interface["shape"]), int(interface["typestr"][2:])
    strides = interface.get("strides")
    if strides is None:
        rows = [item]
        for length in reversed(shape[1:]):
            rows.insert(0, rows[0] * length)
        strides = tuple(rows)
    index = getattr(getattr(array, "device", None), "id", None)
    return _Span(interface["data"][0], shape, tuple(strides), item, int(index or 0), array)


def _device_size(spans: list[_Span], format: str) -> tuple[int, int]:
    shape = spans[0].shape
    if len(spans) > 1 and len(shape) >= 2:
        return shape[1], shape[0]
    if len(shape) == 3 and shape[0] == 3 and "444" in format:
        return shape[2], shape[1]
    if len(shape) == 2 and format in ("nv12", "p010le", "yuv420p"):
        return shape[1], shape[0] * 2 // 3
    if len(shape) == 2 and format in ("nv16", "p210le"):
        return shape[1], shape[0] // 2
    if len(shape) == 3:
        return shape[1], shape[0]
    raise Invalid(f"array: an array of shape {shape} does not tell the size of a {format} picture; say width and height")


def _device_planes(
    spans: list[_Span], layouts: list[tuple[int, int]], sample: int, width: int, what: str
) -> list[tuple[int, int]]:
    """Where each plane begins and the distance of its rows. Nothing else looks at memory that is not the host's: what does
    not hold the picture is refused here."""
    planes: list[tuple[int, int]] = []
    # For each plane the bytes of its row that there are.
    lengths: list[int] = []
    stacked = len(spans) == 1 and len(spans[0].shape) == 3 and spans[0].shape[0] == len(layouts) > 1
    if len(spans) == len(layouts) and len(spans) > 1 or len(layouts) == 1 and len(spans) == 1:
        for span, (rows, _) in zip(spans, layouts):
            if not span.shape or span.shape[0] != rows:
                raise Invalid(f"array: {what} has {rows} rows in this plane, not {span.shape}")
            planes.append((span.address, span.strides[0]))
            lengths.append(_row(span, 1))
    elif stacked:
        span = spans[0]
        if any(rows != span.shape[1] for rows, _ in layouts):
            raise Invalid(f"array: {what} has planes of {layouts[0][0]} and fewer rows, not {span.shape}")
        planes = [(span.address + i * span.strides[0], span.strides[1]) for i in range(len(layouts))]
        lengths = [_row(span, 2)] * len(layouts)
    elif len(spans) == 1 and len(spans[0].shape) == 2:
        span, at = spans[0], 0
        if span.shape[0] < sum(rows for rows, _ in layouts):
            raise Invalid(f"array: {what} has {sum(rows for rows, _ in layouts)} rows, not {span.shape[0]}")
        for rows, _ in layouts:
            planes.append((span.address + at * span.strides[0], span.strides[0]))
            lengths.append(_row(span, 1))
            at += rows
    else:
        raise Invalid(f"array: {what} has {len(layouts)} planes, {len(spans)} given")
    # A picture in one plane may be an array of whole pixels.
    pixel = layouts[0][1] // width if len(layouts) == 1 and width else 0
    for span in spans:
        if span.item not in (sample, pixel):
            raise Invalid(f"array: {what} has items of {sample} bytes, not {span.item}")
        step = span.item
        # Outside, rows and planes may have gaps.
        outer = 2 if stacked else 1
        for count, stride in reversed(list(zip(span.shape, span.strides))[outer:]):
            if count > 1 and stride != step:
                raise Invalid("array: pixels of a row do not lie side by side")
            step *= count
    for (_, pitch), length, (rows, needed) in zip(planes, lengths, layouts):
        if length < needed:
            raise Invalid(f"array: {what} has rows of {needed} bytes, not {length}")
        if pitch < needed and rows > 1:
            raise Invalid(f"array: {what} has rows of {needed} bytes, which begin {pitch} bytes apart")
    return planes


def _row(span: _Span, outer: int) -> int:
    """The bytes of a row, where the first ``outer`` axes are not within it."""
    length = span.item
    for count in span.shape[outer:]:
        length *= count
    return length


class Plane(_native.Buffer):
    """One plane of a frame, without a copy: rows and columns (and components, where they lie side by side)."""

    __slots__ = ("_inner",)

    def __init__(self, region: _native.Region) -> None:
        self._inner = region

    def _region(self) -> _native.Region:
        return self._inner

    @property
    def shape(self) -> tuple[int, ...]:
        """Items along each axis."""
        return self._inner.shape

    @property
    def readonly(self) -> bool:
        """Whether the memory may not be written to now, because the engine or another frame may still read it. Arrays
        that were made before keep what they were told then."""
        return self._inner.readonly

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._inner.__array_interface__

    def __array__(self, dtype: numpy.typing.DTypeLike | None = None, copy: bool | None = None) -> numpy.ndarray:
        return _as_array(self, dtype, copy)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        return _capsule(self._inner, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def to_numpy(self) -> numpy.ndarray:
        """The plane as an array that shares its memory."""
        return _as_array(self, None, None)

    def __repr__(self) -> str:
        return f"<ghoststream.Plane {'x'.join(map(str, self.shape))}>"


class Frame(_native.Buffer):
    """A picture, or a run of audio samples.

    A picture whose pixels lie in one plane (``rgb24``, ``rgba``, ``gray`` …) speaks the buffer protocol,
    ``__array_interface__`` and DLPack, without a copy: rows, columns and components. Planar pictures do so plane by
    plane (:attr:`planes`); :meth:`to_numpy` packs them into one array. Memory that the engine may still read is
    read-only.
    """

    __slots__ = ("_inner",)

    _inner: _native.Frame

    def __init__(self) -> None:
        raise TypeError("frames come from a Reader, or from Frame.from_numpy and Frame.from_samples")

    @classmethod
    def _wrap(cls, native: _native.Frame) -> Frame:
        frame = cls.__new__(cls)
        frame._inner = native
        return frame

    @classmethod
    def from_numpy(
        cls,
        array: Any,
        format: str | None = None,
        *,
        pts: int | None = None,
        time_base: Fraction | None = None,
        key_frame: bool = False,
        width: int | None = None,
        height: int | None = None,
        copy: bool = False,
    ) -> Frame:
        """A picture over the memory of ``array``: anything that speaks the buffer protocol, DLPack (host memory) or
        ``__array_interface__``.

        No copy is made where rows are contiguous, so do not write to the array before the encoder is done with it, or
        pass ``copy=True``. Without ``format``, two axes are ``gray``, a third of 3 or 4 is ``rgb24`` or ``rgba``
        (``gray16le``, ``rgb48le``, ``rgba64le`` for 16-bit items). Items of a type that ``format`` is not made of
        (signed, of another byte order) are refused. The planes of a planar format lie one below the
        other: ``yuv420p`` and ``nv12`` are ``(height * 3 // 2, width)``, ``yuv444p`` is ``(3, height, width)``.
        ``width`` and ``height`` are needed only when the shape does not tell them (one axis).
        """
        pool = _native.Pool() if copy else None
        return cls._of_array(array, format, width, height, pool)._timed(pts, time_base, key_frame)

    @classmethod
    def _of_array(
        cls, array: Any, format: str | None, width: int | None, height: int | None, pool: _native.Pool | None
    ) -> Frame:
        """Over the memory of ``array``, or copied from it into memory of ``pool``."""
        source = _memory_of(array)
        view = memoryview(source)
        shape, item = view.shape or (), view.itemsize
        letter = _item_letter(array, view, format)
        if format is None:
            format = _guess(shape, item)
        if width is None or height is None:
            width, height = _size(shape, item, format)
        width, height = natural("width", width), natural("height", height)
        if not _rows_contiguous(view):
            source = view.tobytes()
            source = memoryview(source).cast(letter, shape)  # type: ignore[call-overload]
            pool = None
        return cls._wrap(_native.Frame.from_array(source, format, width, height, pool))

    @classmethod
    def from_cuda(
        cls,
        array: Any,
        format: str,
        *,
        pts: int | None = None,
        time_base: Fraction | None = None,
        key_frame: bool = False,
        width: int | None = None,
        height: int | None = None,
    ) -> Frame:
        """A picture over CUDA memory, without a copy: a tensor of PyTorch, CuPy, Numba or JAX (anything that speaks DLPack
        or ``__cuda_array_interface__``), or a sequence of them, one a plane.

        One tensor holds the planes of a planar format one below the other: ``nv12`` is ``(height * 3 // 2, width)``,
        ``yuv444p`` ``(3, height, width)``. Pictures of three bytes a pixel, ``(height, width, 3)`` as ``rgb24`` or ``bgr24``,
        are copied on the device to ones of four (``rgb0``, ``bgr0``) before this returns. Any other tensor is kept, and must
        not be written to, until the engine is done with it. The encoder is told by ``memory="cuda"`` that its frames are
        there.
        """
        parts = list(array) if isinstance(array, (list, tuple)) else [array]
        spans = [_device_memory(part) for part in parts]
        device = spans[0].device
        if any(span.device != device for span in spans):
            raise Invalid("array: planes on different devices")
        if width is None or height is None:
            width, height = _device_size(spans, format)
        width, height = natural("width", width), natural("height", height)
        layouts, sample = _native.plane_layouts(format, width, height)
        planes = _device_planes(spans, layouts, sample, width, f"a {width}x{height} {format} picture")
        owner = [span.owner for span in spans]
        native = _native.frame_from_device(planes, format, width, height, device, owner)
        return cls._wrap(native)._timed(pts, time_base, key_frame)

    @classmethod
    def from_samples(
        cls, array: Any, sample_rate: int, *, pts: int | None = None, time_base: Fraction | None = None
    ) -> Frame:
        """Sound made from an array of samples by channels (one axis for one channel): int16, int32, float32, float64
        or uint8. Copies. ``pts`` counts samples unless ``time_base`` says otherwise."""
        import numpy

        array = numpy.ascontiguousarray(array)
        format = _SAMPLE_FORMATS.get(array.dtype.str)
        if format is None:
            raise Invalid(f"array: {array.dtype} is not a type of samples")
        native = _native.Frame.from_samples(array, format, natural("sample_rate", sample_rate))
        return cls._wrap(native)._timed(pts, time_base or Fraction(1, sample_rate), False)

    def _timed(self, pts: int | None, time_base: Fraction | None, key_frame: bool, duration: int = 0) -> Frame:
        base = Fraction(time_base) if time_base is not None else Fraction(1, 1_000_000)
        pts = None if pts is None else operator.index(pts)
        native = self._inner.at(pts, duration, (base.numerator, base.denominator), key_frame)
        return Frame._wrap(native)

    def at(
        self, pts: int, time_base: Fraction, *, duration: int = 0, key_frame: bool = False
    ) -> Frame:
        """The same picture or sound at another time; shares the memory. ``key_frame`` asks the encoder for one."""
        return self._timed(pts, time_base, key_frame, duration)

    @property
    def is_video(self) -> bool:
        """Whether it is a picture (else sound)."""
        return self._inner.is_video

    @property
    def width(self) -> int:
        """Pixels; 0 for sound."""
        return self._inner.width

    @property
    def height(self) -> int:
        """Pixels; 0 for sound."""
        return self._inner.height

    @property
    def format(self) -> str:
        """Pixel or sample format by FFmpeg's name."""
        return self._inner.format

    @property
    def pts(self) -> int | None:
        """Presentation time in :attr:`time_base`."""
        return self._inner.pts

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
        """Whether it was coded as a key frame."""
        return self._inner.is_keyframe

    @property
    def samples(self) -> int:
        """Samples per channel; 0 for pictures."""
        return self._inner.samples

    @property
    def sample_rate(self) -> int:
        """Samples per second; 0 for pictures."""
        return self._inner.sample_rate

    @property
    def channels(self) -> int:
        """Channels; 0 for pictures."""
        return self._inner.channels

    @property
    def layout(self) -> str:
        """Channel layout by FFmpeg's name."""
        return self._inner.layout

    @property
    def memory(self) -> str:
        """Where the memory is: ``host``, ``cuda``, ``dmabuf`` or ``device``."""
        return self._inner.memory

    @property
    def colour(self) -> dict[str, Any]:
        """``primaries``, ``transfer`` and ``matrix`` as numbers of ITU-T H.273, and ``range``."""
        return self._inner.colour

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes, in the order of the format."""
        return tuple(Plane(self._inner.plane(i)) for i in range(self._inner.plane_count))

    def _region(self) -> _native.Region:
        if self._inner.plane_count > 1:
            raise BufferError(f"{self.format} has several planes; use .planes or .to_numpy()")
        return self._inner.plane(0)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if self._inner.plane_count != 1:
            raise AttributeError("__array_interface__")
        return self._inner.plane(0).__array_interface__

    def __array__(self, dtype: numpy.typing.DTypeLike | None = None, copy: bool | None = None) -> numpy.ndarray:
        if self._inner.plane_count == 1:
            return _as_array(Plane(self._inner.plane(0)), dtype, copy)
        if copy is False:
            raise ValueError(f"{self.format} has several planes, which only a copy can put into one array")
        array = self.to_numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        self.__dlpack_device__()
        return _capsule(self._region(), stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        if self._inner.memory != "host":
            raise BufferError(f"the frame is in {self._inner.memory} memory, which is not exported yet")
        return (1, 0)

    def to_numpy(self) -> numpy.ndarray:
        """The picture or the sound as one array.

        Shares the memory where there is one plane: ``(height, width, components)``, or ``(height, width)`` for grey.
        Planar pictures are copied: 4:2:0 as ``(height * 3 // 2, width)``, 4:2:2 as ``(height * 2, width)``, planes of
        one size as ``(planes, height, width)``. Sound is ``(samples, channels)``, planar sound a copy of it.
        """
        native = self._inner
        count = native.plane_count
        if count == 1:
            return _as_array(Plane(native.plane(0)), None, None)
        import numpy

        first = native.plane(0).__array_interface__
        if not native.is_video:
            return numpy.frombuffer(native.packed(), dtype=first["typestr"]).reshape(count, -1).T
        bytes_of_it = _as_array(Plane(native.packed_picture()), None, None)
        packed: numpy.ndarray[Any, Any] = bytes_of_it.view(numpy.dtype(str(first["typestr"])))
        width, height = native.width, native.height
        rows, rest = divmod(packed.size, width)
        if packed.size == count * width * height:
            return packed.reshape(count, height, width)
        if rest or packed.size * 2 not in (3 * width * height, 4 * width * height):
            raise Invalid(f"a {width}x{height} {native.format} picture is not one array; use .planes")
        return packed.reshape(rows, width)

    def __repr__(self) -> str:
        time = "" if self.time is None else f" at {self.time:.3f} s"
        if self.is_video:
            return f"<ghoststream.Frame {self.width}x{self.height} {self.format}{time}>"
        return f"<ghoststream.Frame {self.samples} samples {self.format} {self.sample_rate} Hz {self.layout}{time}>"


def _as_array(plane: Plane, dtype: Any, copy: bool | None) -> numpy.ndarray:
    import numpy

    array: numpy.ndarray[Any, Any] = numpy.asarray(memoryview(plane))
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("another type needs a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def _capsule(
    region: _native.Region,
    stream: Any,
    max_version: tuple[int, int] | None,
    dl_device: tuple[int, int] | None,
    copy: bool | None,
) -> Any:
    if stream is not None:
        raise BufferError("host memory has no stream")
    if dl_device is not None and tuple(dl_device) != (1, 0):
        raise BufferError("only host memory (kDLCPU) is exported")
    if copy:
        raise BufferError("the memory is shared, not copied")
    return _native.Frame.dlpack(region, max_version is not None and max_version[0] >= 1)


def _memory_of(array: Any) -> Any:
    """An object with a buffer that holds what ``array`` holds, shared where possible."""
    try:
        memoryview(array)
        return array
    except TypeError:
        pass
    except ValueError as e:
        # Dates and the like.
        raise Invalid(f"array: {getattr(array, 'dtype', type(array).__name__)}: {e}") from None
    import numpy

    if hasattr(array, "__dlpack__"):
        return numpy.from_dlpack(array)
    found = numpy.asarray(array)
    if found.dtype.kind not in "uif":
        raise Invalid(f"array: {type(array).__name__} is not an array of pixels")
    return found


#: What memoryview calls whole numbers without a sign, and floating-point numbers of 16 and 32 bits.
_UNSIGNED, _FLOATS = "BHILQN", {"e": "f16", "f": "f32"}


def _item_letter(array: Any, view: memoryview, format: str | None) -> str:
    """The type of the items, which must be what ``format`` is made of: others would be read as what they are not."""
    code = view.format
    letter = code.lstrip("@=<>!")
    swapped = view.itemsize > 1 and code[0] in (">!" if sys.byteorder == "little" else "<")
    big = (sys.byteorder == "little") == swapped
    name = getattr(array, "dtype", None) or repr(code)
    if letter == "c":
        letter = "B"
    if letter not in _UNSIGNED and letter not in _FLOATS:
        raise Invalid(f"array: items of type {name} are no pixels; uint8, uint16 or what the format is made of are")
    if format is None:
        if swapped or letter not in "BH":
            raise Invalid(f"array: what items of type {name} show must be said with format=; uint8 and uint16 are known")
        return letter
    kind = next((f for f in _FLOATS.values() if f in format), None)
    # Bytes are bytes of whatever it is.
    if letter != "B" and (_FLOATS.get(letter) != kind or view.itemsize > 1 and big != format.endswith("be")):
        raise Invalid(f"array: items of type {name} are not those of {format}")
    return letter


def _guess(shape: tuple[int, ...], item: int) -> str:
    names = {1: ("gray", "rgb24", "rgba"), 2: ("gray16le", "rgb48le", "rgba64le")}.get(item)
    if names and len(shape) == 2:
        return names[0]
    if names and len(shape) == 3 and shape[2] in (1, 3, 4):
        return names[{1: 0, 3: 1, 4: 2}[shape[2]]]
    raise Invalid(f"array: what an array of shape {shape} and {item}-byte items shows must be said with format=")


def _size(shape: tuple[int, ...], item: int, format: str) -> tuple[int, int]:
    """Width and height of the picture that an array of ``shape`` holds."""
    if len(shape) == 3 and shape[0] == 3 and ("444" in format or format.startswith("gbrp")):
        return shape[2], shape[1]
    if len(shape) not in (2, 3):
        raise Invalid(f"array: the size of a picture in an array of shape {shape} must be said with width= and height=")
    height, width = shape[0], shape[1]
    if format.startswith(("yuv420", "yuvj420", "nv12", "nv21", "p010", "p016")):
        return width, height * 2 // 3
    if format.startswith(("yuv422", "yuvj422", "nv16", "p210")):
        return width, height // 2
    if len(shape) == 2 and ("444" in format or format.startswith("gbrp")):
        return width, height // 3
    return width, height


def _rows_contiguous(view: memoryview) -> bool:
    if view.ndim == 0 or view.c_contiguous:
        return True
    expected = view.itemsize
    shape, strides = view.shape or (), view.strides or ()
    for size, stride in zip(reversed(shape[1:]), reversed(strides[1:])):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return strides[0] >= expected
