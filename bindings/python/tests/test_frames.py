"""Frames: memory that is shared, both ways."""

from __future__ import annotations

import gc
import time
import weakref
from fractions import Fraction

import numpy
import pytest

import ghoststream as gs


def address(array: numpy.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.fixture
def rgb() -> numpy.ndarray:
    return numpy.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=numpy.uint8)


def test_an_array_becomes_a_frame_and_back_without_a_copy(rgb):
    frame = gs.Frame.from_numpy(rgb, pts=7, time_base=Fraction(1, 25))
    assert (frame.width, frame.height, frame.format) == (160, 90, "rgb24")
    assert (frame.pts, frame.time_base, frame.time) == (7, Fraction(1, 25), 0.28)
    for back in (frame.to_numpy(), numpy.asarray(frame), numpy.array(frame, copy=False), numpy.from_dlpack(frame)):
        assert address(back) == address(rgb)
        assert back.shape == rgb.shape and (back == rgb).all()
        # The engine may read it at any time.
        assert not back.flags.writeable
    assert address(numpy.asarray(memoryview(frame))) == address(rgb)
    assert frame.__array_interface__["data"] == (address(rgb), True)
    assert numpy.asarray(frame, dtype=float).dtype == float


def test_a_copy_is_one_when_asked_for(rgb):
    frame = gs.Frame.from_numpy(rgb, copy=True)
    before = rgb.copy()
    rgb[:] = 0
    assert (frame.to_numpy() == before).all()


def test_the_array_lives_as_long_as_somebody_needs_it():
    class Array(numpy.ndarray):
        pass

    array = numpy.zeros((16, 16, 3), numpy.uint8).view(Array)
    gone = weakref.ref(array)
    frame = gs.Frame.from_numpy(array)
    view = frame.to_numpy()
    del array, frame
    gc.collect()
    assert gone() is not None and view.sum() == 0
    del view
    gc.collect()
    assert gone() is None


def test_padded_rows_are_shared_and_other_gaps_copied(rgb):
    cut = rgb[10:50, 20:100]
    frame = gs.Frame.from_numpy(cut)
    assert (frame.width, frame.height) == (80, 40)
    assert address(frame.to_numpy()) == address(cut) and (frame.to_numpy() == cut).all()
    for odd in (rgb[:, ::2], rgb[::-1], rgb[:, :, ::-1]):
        frame = gs.Frame.from_numpy(odd)
        assert (frame.to_numpy() == odd).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "format"),
    [
        ((4, 6), "u1", "gray"),
        ((4, 6, 1), "u1", "gray"),
        ((4, 6, 4), "u1", "rgba"),
        ((4, 6), "u2", "gray16le"),
        ((4, 6, 3), "u2", "rgb48le"),
        ((4, 6, 4), "u2", "rgba64le"),
    ],
)
def test_the_shape_tells_the_format(shape, dtype, format):
    array = numpy.arange(numpy.prod(shape), dtype=dtype).reshape(shape)
    frame = gs.Frame.from_numpy(array)
    assert (frame.format, frame.width, frame.height) == (format, 6, 4)
    assert (frame.to_numpy() == array.reshape(frame.to_numpy().shape)).all()
    assert frame.to_numpy().dtype == array.dtype


@pytest.mark.parametrize(
    ("format", "shape", "dtype", "planes"),
    [
        ("yuv420p", (12, 6), "u1", [(8, 6), (4, 3), (4, 3)]),
        ("nv12", (12, 6), "u1", [(8, 6), (4, 3, 2)]),
        ("p010le", (12, 6), "u2", [(8, 6), (4, 3, 2)]),
        ("yuv420p10le", (12, 6), "u2", [(8, 6), (4, 3), (4, 3)]),
        ("yuv422p", (16, 6), "u1", [(8, 6), (8, 3), (8, 3)]),
        ("yuv444p", (3, 8, 6), "u1", [(8, 6)] * 3),
        ("gbrp", (3, 8, 6), "u1", [(8, 6)] * 3),
        ("bgr24", (8, 6, 3), "u1", [(8, 6, 3)]),
        ("bgra", (8, 6, 4), "u1", [(8, 6, 4)]),
        ("yuyv422", (8, 6, 2), "u1", [(8, 6, 2)]),
    ],
)
def test_every_layout_comes_back_as_it_was(format, shape, dtype, planes):
    array = numpy.random.default_rng(2).integers(0, 255, shape, dtype=dtype)
    frame = gs.Frame.from_numpy(array, format)
    assert (frame.width, frame.height, frame.format) == (6, 8, format)
    assert [p.shape for p in frame.planes] == planes
    assert (frame.to_numpy() == array).all()
    assert numpy.concatenate([p.to_numpy().ravel() for p in frame.planes]).tolist() == array.ravel().tolist()
    assert (numpy.asarray(frame) == array).all()


def test_several_planes_are_not_one_buffer():
    frame = gs.Frame.from_numpy(numpy.zeros((12, 6), numpy.uint8), "yuv420p")
    assert not hasattr(frame, "__array_interface__")
    with pytest.raises(BufferError, match="planes"):
        memoryview(frame)
    with pytest.raises(BufferError, match="planes"):
        numpy.from_dlpack(frame)


def test_dlpack_of_old_and_new_consumers(rgb):
    frame = gs.Frame.from_numpy(rgb)
    assert frame.__dlpack_device__() == (1, 0)
    # A tensor of DLPack before 1.0 cannot say that it is read-only.
    with pytest.raises(BufferError, match="read-only"):
        frame.__dlpack__()
    assert "dltensor_versioned" in repr(frame.__dlpack__(max_version=(1, 1)))
    with pytest.raises(BufferError):
        frame.__dlpack__(max_version=(1, 0), dl_device=(2, 0))
    gc.collect()
    assert gs.Frame.from_numpy(_OnlyDlpack(rgb)).to_numpy().sum() == rgb.sum()


class _OnlyDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_bytes_of_any_kind():
    assert gs.Frame.from_numpy(bytes(range(24)), "rgb24", width=4, height=2).to_numpy()[1, 3, 2] == 23
    assert gs.Frame.from_numpy(bytearray(24), "yuv420p", width=4, height=4).planes[1].shape == (2, 2)


@pytest.mark.parametrize(
    ("array", "format"),
    [
        (numpy.zeros((4, 4, 5), numpy.uint8), None),
        (numpy.zeros((4, 4), numpy.float64), None),
        (numpy.zeros((4, 4, 3), numpy.uint8), "rgb25"),
        (numpy.zeros((4, 4, 3), numpy.uint8), "cuda"),
        (numpy.zeros((4, 4, 3), numpy.uint8), "rgba"),
        (numpy.zeros((0, 4, 3), numpy.uint8), "rgb24"),
        (numpy.zeros((7, 4), numpy.uint8), "yuv420p"),
        (numpy.zeros((4, 4, 3), numpy.uint16), "rgb24"),
        (b"123", "rgb24"),
        ("text", "rgb24"),
    ],
)
def test_what_is_no_picture_is_refused(array, format):
    with pytest.raises(gs.Invalid):
        gs.Frame.from_numpy(array, format)


@pytest.mark.parametrize("dtype", [">u2", "f2", "?", "i1", "i2", "S1", "f4", "i8", "u4", "M8[s]"])
def test_items_that_would_be_read_as_what_they_are_not_are_refused_by_name(dtype, tmp_path):
    array = numpy.zeros((32, 32, 3), dtype)
    name = f"array: .*{array.dtype}".replace("|", r"\|").replace("[", r"\[")
    with pytest.raises(gs.Invalid, match=name):
        gs.Frame.from_numpy(array)
    with gs.Encoder() as encoder, pytest.raises(gs.Invalid, match=name):
        encoder.encode(array)
    with gs.open(tmp_path / "out.mp4", "w") as film, pytest.raises(gs.Invalid, match=name):
        film.write(array)


@pytest.mark.parametrize(
    ("dtype", "format", "fits"),
    [
        ("u1", "gray", True),
        ("i1", "gray", False),
        ("?", "gray", False),
        ("u2", "gray16le", True),
        (">u2", "gray16le", False),
        (">u2", "gray16be", True),
        ("u2", "gray16be", False),
        ("i2", "gray16le", False),
        ("f2", "gray16le", False),
        ("f4", "grayf32le", True),
        ("u4", "grayf32le", False),
        ("u4", "x2rgb10le", True),
    ],
)
def test_items_are_what_the_format_is_made_of(dtype, format, fits):
    array = numpy.ones((4, 6), dtype)
    for given in (array, array[:, ::-1]):
        if not fits:
            with pytest.raises(gs.Invalid, match=str(array.dtype)):
                gs.Frame.from_numpy(given, format)
        else:
            assert (gs.Frame.from_numpy(given, format).to_numpy() == given).all()


def test_sizes_that_no_picture_has_are_refused():
    for options in ({"width": -1, "height": 4}, {"width": 4, "height": 2**40}):
        with pytest.raises(gs.Invalid, match="width|height"):
            gs.Frame.from_numpy(bytes(48), "rgb24", **options)
    with pytest.raises(gs.Invalid, match="sample_rate"):
        gs.Frame.from_samples(numpy.zeros(10, numpy.int16), -1, time_base=Fraction(1, 8000))


def test_memory_is_readonly_while_somebody_else_has_it(rgb):
    frame = gs.Frame.from_numpy(rgb, copy=True)
    plane = frame.planes[0]
    # Views are the same owner's.
    first = frame.to_numpy()
    assert first.flags.writeable and frame.to_numpy().flags.writeable and not plane.readonly
    other = frame.at(5, Fraction(1, 25))
    assert plane.readonly and not frame.to_numpy().flags.writeable and other.planes[0].readonly
    assert frame.__array_interface__["data"][1] and memoryview(frame).readonly
    del other
    assert not plane.readonly and frame.to_numpy().flags.writeable


def test_memory_is_readonly_while_the_engine_has_it(rgb):
    video = {"width": 160, "height": 90, "format": "rgb24", "frame_rate": 25}
    output = {"packets": {"queue": 1}, "video": {"codec": "mjpeg"}}
    last = None
    with gs.Pipeline({"source": {"frames": {"video": video}}, "outputs": [output]}).start() as job:
        # Nobody takes packets, so that the last picture stays where it is.
        with pytest.raises(gs.Timeout):
            for n in range(1000):
                frame = gs.Frame.from_numpy(rgb, copy=True).at(n, Fraction(1, 25))
                plane = frame.planes[0]
                assert not plane.readonly
                job.push_frame(frame, 1)
                last = frame, plane
        frame, plane = last
        assert plane.readonly and not frame.to_numpy().flags.writeable
        with pytest.raises(BufferError):
            frame.__dlpack__()
    until = time.monotonic() + 10
    while plane.readonly and time.monotonic() < until:
        time.sleep(0.01)
    assert not plane.readonly and frame.to_numpy().flags.writeable


def test_samples():
    sound = numpy.random.default_rng(3).normal(0, 0.1, (480, 2)).astype(numpy.float32)
    frame = gs.Frame.from_samples(sound, 48000)
    assert (frame.samples, frame.channels, frame.sample_rate, frame.format) == (480, 2, 48000, "flt")
    assert not frame.is_video and (frame.to_numpy() == sound).all()
    mono = gs.Frame.from_samples(numpy.zeros(10, numpy.int16), 8000)
    assert mono.channels == 1 and mono.to_numpy().shape == (10, 1)
    with pytest.raises(gs.Invalid):
        gs.Frame.from_samples(numpy.zeros((2, 2), numpy.uint16), 8000)
    with pytest.raises(gs.Invalid):
        gs.Frame.from_samples(numpy.zeros((0, 2), numpy.int16), 8000)


def test_frames_are_not_made_by_hand():
    with pytest.raises(TypeError, match="from_numpy"):
        gs.Frame()


class OnDevice:
    """What says that it is in CUDA memory. Nothing reads it: the check comes before."""

    def __init__(self, array):
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3, "strides": array.strides}


@pytest.mark.parametrize(
    "make, format, why",
    [
        (lambda: numpy.zeros((64, 64, 3), numpy.float32), "rgb24", "items of 1 bytes, not 4"),
        (lambda: numpy.zeros((64, 64, 4), numpy.uint16), "rgba", "items of 1 bytes, not 2"),
        (lambda: numpy.zeros((96, 64), numpy.uint8), "p010le", "items of 2 bytes, not 1"),
        (lambda: numpy.zeros((96, 64), numpy.int32), "p010le", "items of 2 bytes, not 4"),
        (lambda: numpy.zeros((96, 64), numpy.uint16), "nv12", "items of 1 bytes, not 2"),
        (lambda: numpy.zeros((3, 64, 64), numpy.float32), "yuv444p", "items of 1 bytes, not 4"),
        (lambda: numpy.zeros((64, 64, 2), numpy.uint8), "rgb24", "rows of 192 bytes, not 128"),
        (lambda: numpy.zeros((64, 64, 4), numpy.uint8)[..., :3], "rgb24", "side by side"),
        (lambda: numpy.zeros((3, 64, 64), numpy.uint8).transpose(1, 2, 0), "rgb24", "side by side"),
        (lambda: numpy.zeros((64, 128), numpy.uint8)[:, ::2], "gray", "side by side"),
        (lambda: numpy.zeros((64, 64, 4), numpy.uint8)[::-1], "rgba", "begin -256 bytes apart"),
        (lambda: numpy.broadcast_to(numpy.zeros((1, 64, 4), numpy.uint8), (64, 64, 4)), "rgba", "begin 0 bytes apart"),
        (lambda: [numpy.zeros((64, 64), numpy.uint8), numpy.zeros((32, 32), numpy.uint8)], "nv12", "rows of 64 bytes, not 32"),
        (lambda: [numpy.zeros((64, 64), numpy.uint16), numpy.zeros((32, 64), numpy.uint8)], "p010le", "items of 2 bytes, not 1"),
    ],
)
def test_what_does_not_hold_the_picture_is_refused(make, format, why):
    made = make()
    on_device = [OnDevice(a) for a in made] if isinstance(made, list) else OnDevice(made)
    size = {"width": 64, "height": 64}
    with pytest.raises(gs.Invalid, match=why):
        gs.Frame.from_cuda(on_device, format, **size)


def test_what_holds_the_picture_is_found_where_it_is():
    from ghoststream import _native
    from ghoststream._frame import _device_memory, _device_planes

    def planes(array, format):
        parts = array if isinstance(array, list) else [array]
        layouts, sample = _native.plane_layouts(format, 64, 64)
        found = _device_planes([_device_memory(OnDevice(a)) for a in parts], layouts, sample, 64, "it")
        return [(at - parts[0].__array_interface__["data"][0], pitch) for at, pitch in found]

    assert planes(numpy.zeros((64, 64, 3), numpy.uint8), "rgb24") == [(0, 192)]
    assert planes(numpy.zeros((64, 80, 4), numpy.uint8)[:, :64], "rgba") == [(0, 320)]
    assert planes(numpy.zeros((64, 64), numpy.uint32), "rgba") == [(0, 256)]
    assert planes(numpy.zeros((96, 64), numpy.uint8), "nv12") == [(0, 64), (64 * 64, 64)]
    assert planes(numpy.zeros((96, 64), numpy.uint16), "p010le") == [(0, 128), (64 * 128, 128)]
    assert planes(numpy.zeros((3, 64, 64), numpy.uint8), "yuv444p") == [(n * 4096, 64) for n in range(3)]
    both = numpy.zeros((96, 64), numpy.uint8)
    assert planes([both[:64], both[64:].reshape(32, 32, 2)], "nv12") == [(0, 64), (4096, 64)]
