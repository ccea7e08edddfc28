"""`taps` and `scale` against a dense resampling matrix in double precision."""

import numpy as np
import pytest
from machine import MACHINE
from pictures import FORMATS, Image, LadderArgs, Rung, ScaleArgs, axis, launch

SITING = {"left": (-0.5, 0.0), "centre": (0.0, 0.0), "topleft": (-0.5, -0.5)}


def kernel(shape, x, c):
    x = np.abs(x)
    if shape == "bilinear":
        return np.maximum(1 - x, 0)
    if shape == "lanczos":
        return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)
    # Mitchell and Netravali's, B = 0.
    near = (12 - 6 * c) * x**3 + (-18 + 6 * c) * x**2 + 6
    far = -6 * c * x**3 + 30 * c * x**2 - 48 * c * x + 24 * c
    return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6


def matrix(shape, length, count, ratio, shift, c=0.6):
    """What one axis is multiplied with: `count` rows of `length` weights, mirrored at the ends."""
    out = np.zeros((count, length))
    for i in range(count):
        p = (i + 0.5) * ratio + shift
        if shape == "nearest" or (ratio == 1 and shift == 0):
            out[i, min(max(int(np.floor(p)), 0), length - 1)] = 1
            continue
        wide = max(ratio, 1)
        at = np.arange(int(np.floor(p - 4 * wide)) - 2, int(np.ceil(p + 4 * wide)) + 2)
        w = kernel(shape, (at + 0.5 - p) / wide, c)
        for k, v in zip(at, w / w.sum()):
            k = -1 - k if k < 0 else k
            k = 2 * length - 1 - k if k >= length else k
            out[i, min(max(k, 0), length - 1)] += v
    return out


def geometry(a, b, siting):
    """For luma and chroma, for both axes: input samples, output samples, ratio, shift."""
    groups = []
    for g in range(2):
        axes = []
        for d in range(2):
            length, count = ((a.size, a.chroma)[g][d], (b.size, b.chroma)[g][d])
            luma = a.size[d] / b.size[d]
            if g == 0:
                axes.append((length, count, luma, 0.0))
                continue
            # A chroma sample covers s luma samples and lies d from their middle.
            s, t = 1 << FORMATS[a.name][2], 1 << FORMATS[b.name][2]
            ds, dt = (SITING[siting][d] if s > 1 else 0, SITING[siting][d] if t > 1 else 0)
            axes.append((length, count, luma * t / s, (dt * luma - ds) / s))
        groups.append(axes)
    return groups


def run(a, b, shape, siting="left", gain=(1, 1), offset=(0, 0), dither=False, c=0.6):
    args = ScaleArgs(a.picture(), b.picture(), dither=dither)
    tables = []
    for g, axes in enumerate(geometry(a, b, siting)):
        across, down = (axis(shape, *x, c) for x in axes)
        tables += [across, down]
        args.across[g], args.down[g] = across, down
        args.gain[g], args.offset[g] = gain[g], offset[g]
    launch("scale", args, *b.size, depth=2)
    assert b.padding_is_whole()


def run_ladder(a, rungs, shape, gain=(1, 1), tile=(64, 32)):
    """All of `rungs` in one launch, over parts of the source of `tile` samples."""
    args = LadderArgs(a.picture(), count=len(rungs))
    tables = []
    for k, b in enumerate(rungs):
        args.rung[k] = Rung(b.picture())
        for g, axes in enumerate(geometry(a, b, "left")):
            across, down = (axis(shape, *x) for x in axes)
            tables += [across, down]
            args.rung[k].across[g], args.rung[k].down[g] = across, down
            args.rung[k].gain[g] = gain[g]
    grid = (-(-a.size[0] // tile[0]), -(-a.size[1] // tile[1]), 2)
    MACHINE.launch("ladder", args, grid, (32, 8, 1))
    assert all(b.padding_is_whole() for b in rungs)


def expected_whole(a, b, component, shape, siting="left", c=0.6):
    across, down = (matrix(shape, *x, c) for x in geometry(a, b, siting)[1 if component else 0])
    return down @ a.codes(component) @ across.T


def expected(a, b, component, shape, siting="left", gain=(1, 1), offset=(0, 0), c=0.6):
    g = 1 if component else 0
    return np.clip(expected_whole(a, b, component, shape, siting, c) * gain[g] + offset[g], 0, b.max)


def apart(a, b, *rest, **named):
    return max(np.abs(b.codes(i) - expected(a, b, i, *rest, **named)).max() for i in range(3))


@pytest.mark.parametrize("shape", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("to", [(96, 54), (64, 36), (144, 80), (30, 18), (288, 162), (97, 55), (144, 30)])
def test_sizes(shape, to):
    a, b = Image("nv12", 144, 80).noise(1), Image("nv12", *to)
    run(a, b, shape)
    assert apart(a, b, shape) <= 0.501


@pytest.mark.parametrize("name", ["p010", "p016", "yuv420p", "yuv444p", "yuv444p16"])
@pytest.mark.parametrize("shape", ["bilinear", "bicubic", "lanczos"])
def test_formats(name, shape):
    a, b = Image(name, 128, 72).noise(2), Image(name, 84, 46)
    run(a, b, shape)
    assert apart(a, b, shape) <= 0.5 + a.max * 1e-6


def test_what_lies_between_is_neither_rounded_nor_clipped():
    # Edges from black to white: a sharp filter goes beyond both.
    a, between, b = Image("nv12", 64, 32), Image("between", 96, 48), Image("nv12", 96, 48)
    for i in range(3):
        h, w = a.view(i).shape
        a.set(i, np.tile((np.arange(w) // 3 % 2) * 255, (h, 1)))
    run(a, between, "lanczos", gain=(257, 257))
    for i in range(3):
        wanted = expected_whole(a, between, i, "lanczos") * 257
        assert np.abs(between.codes(i) - wanted).max() < 0.1
        assert wanted.min() < -2000 and wanted.max() > 67000
    run(between, b, "bilinear", gain=(1 / 257, 1 / 257))
    for i in range(3):
        back = expected_whole(between, b, i, "bilinear") / 257
        assert np.abs(b.codes(i) - np.clip(back, 0, 255)).max() <= 0.501


@pytest.mark.parametrize("siting", SITING)
@pytest.mark.parametrize("names", [("nv12", "yuv444p"), ("yuv444p16", "p010"), ("p010", "nv12"), ("nv12", "p010")])
def test_siting_and_depth(siting, names):
    a, b = (Image(name, 96, 64) for name in names)
    a.noise(3)
    gain = [2.0 ** (b.bits - a.bits)] * 2
    run(a, b, "bicubic", siting, gain)
    assert apart(a, b, "bicubic", siting, gain) <= 0.5 + b.max * 1e-6


def test_chroma_stays_where_it_is():
    # An edge of chroma under the same edge of luma: it must not move when the picture shrinks, however it is sited.
    a, b = Image("yuv444p", 128, 16), Image("nv12", 128, 16)
    ramp = np.tile(np.arange(128) * 1.5 + 10, (16, 1)).round()
    for i in range(3):
        a.set(i, ramp)
    for siting, d in (("left", 0.0), ("centre", 0.75)):
        run(a, b, "bilinear", siting)
        inside = b.codes(1)[4, 8:56]
        assert np.abs(inside - (np.arange(8, 56) * 3 + 10 + d)).max() <= 1.01, siting
        small = Image("nv12", 64, 8)
        run(b, small, "bicubic", siting)
        # Luma sample 2k lies at 2 * 2k + 0.5 of the source; chroma k where it is sited.
        sited = 0.5 if siting == "left" else 1.0
        want = [(2 * (2 * k + sited) - 0.5) * 1.5 + 10 for k in range(6, 26)]
        assert np.abs(small.codes(1)[2, 6:26] - want).max() <= 1.51, siting


def test_sharper_second_pass():
    a, b = Image("nv12", 128, 72).noise(5), Image("nv12", 96, 54)
    run(a, b, "bicubic", c=0.75)
    assert apart(a, b, "bicubic", c=0.75) <= 0.501
    assert apart(a, b, "bicubic", c=0.6) > 0.6


def test_a_ladder_in_a_cascade():
    rungs = [(96, 54), (64, 36), (32, 18)]
    last = Image("nv12", 144, 80).noise(6)
    for k, size in enumerate(rungs):
        c = 0.6 if k == 0 else 0.75
        rung = Image("nv12", *size)
        run(last, rung, "bicubic", c=c)
        assert apart(last, rung, "bicubic", c=c) <= 0.501
        last = rung


@pytest.mark.parametrize("shape", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("name", ["nv12", "p010", "yuv444p"])
def test_a_ladder_in_one_pass(name, shape):
    # Whole fractions of the source, sizes that nothing divides, one that is larger, and the source's own.
    for sizes in [[(96, 54), (72, 40), (48, 26), (36, 20)], [(97, 55), (30, 18), (288, 162)], [(144, 80), (2, 2)]]:
        a = Image(name, 144, 80).noise(9)
        rungs = [Image(name, *size) for size in sizes]
        run_ladder(a, rungs, shape)
        for b in rungs:
            assert apart(a, b, shape) <= 0.5 + a.max * 2e-6, b.size


def test_a_ladder_leaves_nothing_out():
    # However the source is cut into parts, each sample of each rung is written, and once is enough.
    a = Image("nv12", 130, 70).noise(10)
    for tile in [(64, 32), (32, 8), (200, 100), (7, 5)]:
        one, two = [[Image("nv12", *size) for size in [(130, 70), (65, 35), (33, 17), (3, 1)]] for _ in range(2)]
        run_ladder(a, one, "bicubic", tile=tile)
        for b in two:
            run(a, b, "bicubic")
        for b, c in zip(one, two):
            assert all((b.view(i) == c.view(i)).all() for i in range(3)), (tile, b.size)


def test_a_ladder_of_another_depth():
    a, rungs = Image("p010", 96, 54).noise(11), [Image("nv12", 64, 36), Image("nv12", 32, 18)]
    run_ladder(a, rungs, "bicubic", gain=(0.25, 0.25))
    for b in rungs:
        assert apart(a, b, "bicubic", gain=(0.25, 0.25)) <= 0.501


def test_dither_keeps_the_mean_and_whole_codes():
    a, b = Image("p010", 64, 64), Image("nv12", 64, 64)
    for code in (400, 401, 402, 403):
        for i in range(3):
            a.set(i, np.full(a.view(i).shape, code))
        run(a, b, "bicubic", gain=[0.25, 0.25], dither=True)
        assert abs(b.codes(0).mean() - code / 4) < 0.01
        assert np.abs(b.codes(0) - code / 4).max() < 1
        assert code % 4 or (b.codes(0) == code / 4).all()


def test_smaller_than_the_filter():
    a, b = Image("nv12", 6, 4).noise(7), Image("nv12", 2, 2)
    run(a, b, "lanczos")
    for i in range(3):
        assert 0 <= b.codes(i).min()
    a, b = Image("nv12", 2, 2).noise(8), Image("nv12", 64, 64)
    run(a, b, "bicubic")
    assert apart(a, b, "bicubic") <= 0.501
