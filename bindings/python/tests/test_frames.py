"""Frames: memory that is shared, both ways."""

from __future__ import annotations

import gc
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


def test_samples():
    sound = numpy.random.default_rng(3).normal(0, 0.1, (480, 2)).astype(numpy.float32)
    frame = gs.Frame.from_samples(sound, 48000)
    assert (frame.samples, frame.channels, frame.sample_rate, frame.format) == (480, 2, 48000, "flt")
    assert not frame.is_video and (frame.to_numpy() == sound).all()
    assert gs.Frame.from_samples(numpy.zeros(10, numpy.int16), 8000).channels == 1
    with pytest.raises(gs.Invalid):
        gs.Frame.from_samples(numpy.zeros((2, 2), numpy.uint16), 8000)
    with pytest.raises(gs.Invalid):
        gs.Frame.from_samples(numpy.zeros((0, 2), numpy.int16), 8000)


def test_frames_are_not_made_by_hand():
    with pytest.raises(TypeError, match="from_numpy"):
        gs.Frame()
