#!/usr/bin/env python3
"""How near the kernels come to the card's own copy: device time of each for one 2160p frame, the bytes that it must read
and write over that time, and the ratio to cuMemcpyDtoD's. A table on standard output; needs a GPU.

    GS_KERNELS_GPU=1 tests/kernels/bandwidth.py [RUNS]
"""

import ctypes
import sys

import numpy as np
import pictures
from machine import MACHINE
from pictures import Axis, ConvertArgs, Image, LadderArgs, Rung, ScaleArgs, SharpenArgs, TapsArgs, ToneMapArgs, axis
from test_colour import GAMUT, affine, decoder, encoder
from test_scale import geometry

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
SIZE = (3840, 2160)


class Picture:
    """As an `Image`, in device memory, with nothing in it but what a copy of one row of noise makes."""

    def __init__(self, name, size):
        self.shape = Image(name, 2, 2)
        self.name, self.size, self.max = name, size, self.shape.max
        sub = pictures.FORMATS[name][2]
        self.chroma = tuple((n + sub) >> sub for n in size)
        item = np.dtype(self.shape.dtype).itemsize
        self.args = pictures.Picture(wide={1: 0, 2: 1, 4: 2}[item], shift=self.shape.shift, max=self.shape.max)
        self.bytes = 0
        for i in range(2):
            self.args.width[i], self.args.height[i] = self.size if i == 0 else self.chroma
        bases = {}
        for c, (p, k, n, _) in self.shape.at.items():
            w, h = self.size if p == 0 else self.chroma
            pitch = -(-w * n * item // 256) * 256
            if p not in bases:
                bases[p] = MACHINE.device(pitch * h)
                self.bytes += w * n * item * h
                MACHINE.call("cuMemsetD8_v2", ctypes.c_uint64(bases[p]), 96, ctypes.c_size_t(pitch * h))
            self.args.component[c] = pictures.Component(bases[p] + k * item, pitch, n * item)


def grid(to, depth):
    return (-(-to.size[0] // 32), -(-to.size[1] // 8), depth)


def scale(a, b, shape):
    args = ScaleArgs(a.args, b.args)
    for g, axes in enumerate(geometry(a, b, "left")):
        args.across[g], args.down[g] = (table(shape, *x) for x in axes)
        args.gain[g] = 2.0 ** (b.shape.bits - a.shape.bits)
    return "scale", args, grid(b, 2)


def ladder(a, rungs):
    args = LadderArgs(a.args, count=len(rungs))
    for k, b in enumerate(rungs):
        args.rung[k] = Rung(b.args)
        for g, axes in enumerate(geometry(a, b, "left")):
            args.rung[k].across[g], args.rung[k].down[g] = (table("bicubic", *x) for x in axes)
            args.rung[k].gain[g] = 1.0
    return "ladder", args, (-(-a.size[0] // 64), -(-a.size[1] // 32), 2)


def table(shape, length, count, ratio, shift):
    host = axis(shape, length, count, ratio, shift)
    start, weight = host.keep
    out = Axis(MACHINE.device(start.nbytes), MACHINE.device(weight.nbytes), host.taps, count)
    sharpness, kind = 0.6, pictures.SHAPES[shape] if host.taps > 1 else 0
    MACHINE.launch("taps", TapsArgs(out, ratio, shift, length, kind, sharpness), (-(-count // 32), 1, 1), (32, 1, 1))
    return out


def convert(a, b):
    first, second = decoder("709", a.shape.bits, False, a.name == "rgba"), encoder("709", b.shape.bits, False)
    return "convert", ConvertArgs(a.args, b.args, affine(second[0] @ first[0], second[1])), grid(b, 1)


def tone_map(a, b):
    args = ToneMapArgs(a.args, b.args, affine(*decoder("2020", 16, False)), affine(GAMUT, np.zeros(3)))
    args.encode, args.peak, args.curve = affine(*encoder("709", 16, False)), 10.0, 3
    return "tone_map", args, grid(b, 1)


def sharpen(a, b):
    args = SharpenArgs(a.args, b.args, size=5, amount=0.5)
    args.blur[:5] = [w / 16 for w in (1, 4, 6, 4, 1)]
    return "sharpen", args, grid(b, 2)


def main():
    if not hasattr(MACHINE, "milliseconds"):
        sys.exit("bandwidth: GS_KERNELS_GPU=1 and a GPU are needed")
    nv12, other, p010 = Picture("nv12", SIZE), Picture("nv12", SIZE), Picture("p010", SIZE)
    wide, wider, rgba = Picture("between", SIZE), Picture("between", SIZE), Picture("rgba", SIZE)
    size = 1 << 28
    a, b = MACHINE.device(size), MACHINE.device(size)
    copy = lambda: MACHINE.call("cuMemcpyDtoD_v2", ctypes.c_uint64(a), ctypes.c_uint64(b), ctypes.c_size_t(size))
    rows = [("cuMemcpyDtoD, 256 MiB", 2 * size, MACHINE.milliseconds(copy, RUNS))]
    rungs = [Picture("nv12", s) for s in ((2560, 1440), (1920, 1080), (1280, 720), (854, 480))]
    works = [(f"scale nv12 {s}, 1080p", [(nv12, rungs[1], scale(nv12, rungs[1], s))]) for s in pictures.SHAPES]
    cascade = zip([nv12, *rungs], rungs)
    works += [
        ("ladder of four, bicubic, cascade", [(x, y, scale(x, y, "bicubic")) for x, y in cascade]),
        ("ladder of four, bicubic, one pass", [(nv12, rungs[0], ladder(nv12, rungs)), *((None, r, None) for r in rungs[1:])]),
        ("p010 to nv12", [(p010, other, scale(p010, other, "bicubic"))]),
        ("rgba to 4:4:4, floats", [(rgba, wide, convert(rgba, wide))]),
        ("tone_map bt2390, floats", [(wide, wider, tone_map(wide, wider))]),
        ("sharpen 5x5", [(nv12, other, sharpen(nv12, other))]),
    ]
    for name, steps in works:
        ready = [(MACHINE.function(w[0]), *w[1:]) for _, _, w in steps if w]
        run = lambda: [MACHINE.start(function, args, blocks, (32, 8, 1)) for function, args, blocks in ready]
        moved = sum((x.bytes if x else 0) + y.bytes for x, y, _ in steps)
        rows.append((name, moved, MACHINE.milliseconds(run, RUNS)))
    best = rows[0][1] / rows[0][2]
    print(f"{MACHINE.name}, one {SIZE[0]}x{SIZE[1]} frame, median of {RUNS}")
    print("| kernel | ms | GB/s | of the copy's |\n|---|---|---|---|")
    for name, amount, time in rows:
        print(f"| {name} | {time:.4f} | {amount / time / 1e6:.0f} | {amount / time / best:.2f} |")


main()
