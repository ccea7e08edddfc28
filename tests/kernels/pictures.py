"""Pictures in numpy and as the kernels' structures, and what runs the kernels."""

import ctypes

import numpy as np
from machine import MACHINE

u32, f32 = ctypes.c_uint, ctypes.c_float


class Component(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("pitch", u32), ("step", u32)]


class Picture(ctypes.Structure):
    _fields_ = [
        ("component", Component * 4),
        ("width", u32 * 2),
        ("height", u32 * 2),
        ("wide", u32),
        ("shift", u32),
        ("max", u32),
        ("reserved", u32),
    ]


class Axis(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("weight", ctypes.c_void_p), ("taps", u32), ("count", u32)]


class Affine(ctypes.Structure):
    _fields_ = [("row", (f32 * 4) * 3)]


class TapsArgs(ctypes.Structure):
    _fields_ = [
        ("axis", Axis),
        ("ratio", ctypes.c_double),
        ("shift", ctypes.c_double),
        ("length", u32),
        ("shape", u32),
        ("sharpness", ctypes.c_double),
    ]


class ScaleArgs(ctypes.Structure):
    _fields_ = [
        ("from_", Picture),
        ("to", Picture),
        ("across", Axis * 2),
        ("down", Axis * 2),
        ("gain", f32 * 2),
        ("offset", f32 * 2),
        ("dither", u32),
        ("reserved", u32),
    ]


class Rung(ctypes.Structure):
    _fields_ = [
        ("to", Picture),
        ("across", Axis * 2),
        ("down", Axis * 2),
        ("gain", f32 * 2),
        ("offset", f32 * 2),
        ("dither", u32),
        ("reserved", u32),
    ]


class LadderArgs(ctypes.Structure):
    _fields_ = [("from_", Picture), ("rung", Rung * 4), ("count", u32), ("reserved", u32)]


class ConvertArgs(ctypes.Structure):
    _fields_ = [("from_", Picture), ("to", Picture), ("colour", Affine), ("dither", u32), ("reserved", u32)]


class PlaceArgs(ctypes.Structure):
    _fields_ = [
        ("from_", Picture),
        ("to", Picture),
        ("left", ctypes.c_int * 2),
        ("top", ctypes.c_int * 2),
        ("turn", u32),
        ("fill", f32 * 4),
        ("mirror", u32),
    ]


class ToneMapArgs(ctypes.Structure):
    _fields_ = [
        ("from_", Picture),
        ("to", Picture),
        ("decode", Affine),
        ("gamut", Affine),
        ("encode", Affine),
        ("luma", f32 * 3),
        ("fade", f32),
        ("peak", f32),
        ("transfer", u32),
        ("curve", u32),
        ("dither", u32),
    ]


class SharpenArgs(ctypes.Structure):
    _fields_ = [
        ("from_", Picture),
        ("to", Picture),
        ("blur", f32 * 24),
        ("size", u32),
        ("amount", f32),
        ("all", u32),
        ("reserved", u32),
    ]


# Name: bits, shift, log2 of the chroma subsampling, planes as lists of (component, sample within the step), step.
FORMATS = {
    "nv12": (8, 0, 1, [[0], [1, 2]]),
    "p010": (10, 6, 1, [[0], [1, 2]]),
    "p016": (16, 0, 1, [[0], [1, 2]]),
    "yuv420p": (8, 0, 1, [[0], [1], [2]]),
    "yuv444p": (8, 0, 0, [[0], [1], [2]]),
    "yuv444p16": (16, 0, 0, [[0], [1], [2]]),
    # Floats, as between two steps.
    "between": (16, 0, 0, [[0], [1], [2]]),
    "rgba": (8, 0, 0, [[0, 1, 2, 3]]),
    "bgra": (8, 0, 0, [[2, 1, 0, 3]]),
    "rgb0": (8, 0, 0, [[0, 1, 2, None]]),
}

PADDING = 0xAA


class Image:
    """A picture of a format, with padded rows whose padding must stay what it is."""

    def __init__(self, name, width, height):
        self.name = name
        self.bits, self.shift, sub, planes = FORMATS[name]
        self.max = (1 << self.bits) - 1
        self.dtype = np.float32 if name == "between" else np.uint16 if self.bits > 8 else np.uint8
        self.size = (width, height)
        self.chroma = ((width + sub) >> sub, (height + sub) >> sub)
        self.planes = []
        self.at = {}
        for p, components in enumerate(planes):
            w, h = self.size if p == 0 else self.chroma
            samples = w * len(components)
            row = samples + 24
            memory = MACHINE.array((h, row), self.dtype)
            memory[...] = self.fill()
            self.planes.append((memory, samples))
            for k, c in enumerate(components):
                if c is not None:
                    self.at[c] = (p, k, len(components), w)

    def fill(self):
        return PADDING if self.dtype == np.uint8 else PADDING << 8 | PADDING

    def view(self, c):
        """The component's words, writable."""
        p, k, n, w = self.at[c]
        return self.planes[p][0][:, k : k + n * w : n][:, :w]

    def codes(self, c):
        view = self.view(c)
        return (view >> self.shift if self.shift else view).astype(np.float64)

    def set(self, c, codes):
        codes = np.asarray(codes).astype(self.dtype)
        self.view(c)[...] = codes << self.shift if self.shift else codes
        return self

    def noise(self, seed):
        """Noise, smoothed so that it has both edges and slopes."""
        random = np.random.default_rng(seed)
        for c in sorted(self.at):
            h, w = self.view(c).shape
            n = random.random((h, w))
            n[: h // 2] = (n[: h // 2] + np.roll(n[: h // 2], 1, 1) + np.roll(n[: h // 2], 2, 1)) / 3
            self.set(c, np.round(n * self.max))
        return self

    def padding_is_whole(self):
        return all((memory[:, samples:] == self.fill()).all() for memory, samples in self.planes)

    def picture(self):
        out = Picture(wide=2 if self.dtype == np.float32 else self.bits > 8, shift=self.shift, max=self.max)
        for i in range(2):
            (out.width[i], out.height[i]) = self.size if i == 0 else self.chroma
        for c, (p, k, n, _) in self.at.items():
            memory = self.planes[p][0]
            item = memory.itemsize
            out.component[c] = Component(memory.ctypes.data + k * item, memory.strides[0], n * item)
        return out


def launch(name, args, width, height, depth=1):
    """Runs a kernel over `width` by `height`, in blocks that do not divide it."""
    MACHINE.launch(name, args, (-(-width // 32), -(-height // 4), depth), (32, 4, 1))


SHAPES = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}
RADIUS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}


def axis(shape, length, count, ratio, shift, sharpness=0.6):
    """The kernel's table; keeps its memory alive in the result."""
    if ratio == 1 and shift == 0:
        shape = "nearest"
    reach = 1 if shape == "nearest" else 2 * int(np.ceil(RADIUS[shape] * max(ratio, 1.0)))
    n = min(reach, length)
    start, weight = MACHINE.array((count,), np.int32), MACHINE.array((n, count), np.float32)
    start[...], weight[...] = -1, np.nan
    table = Axis(start.ctypes.data, weight.ctypes.data, n, count)
    launch("taps", TapsArgs(table, ratio, shift, length, SHAPES[shape], sharpness), count, 1)
    assert (start >= 0).all() and (start + n <= length).all() and np.isfinite(weight).all()
    table.keep = (start, weight)
    return table
