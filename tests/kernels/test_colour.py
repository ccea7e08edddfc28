"""`convert`, `tone_map` and `sharpen` against double precision, and known colours."""

import numpy as np
import pytest
from machine import MACHINE, Cpu
from pictures import Affine, ConvertArgs, Image, SharpenArgs, ToneMapArgs, launch

# Kr and Kb of the matrices.
WEIGHTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}


def luma(matrix):
    red, blue = WEIGHTS[matrix]
    return np.array([red, 1 - red - blue, blue])


def to_yuv(matrix):
    y = luma(matrix)
    u = (np.array([0, 0, 1]) - y) / (2 * (1 - y[2]))
    v = (np.array([1, 0, 0]) - y) / (2 * (1 - y[0]))
    return np.array([y, u, v])


def scales(bits, full, rgb=False):
    """Codes of 0 to 1 (or -0.5 to 0.5): what to multiply with and to add."""
    top = 2.0**bits - 1
    if rgb:
        return np.full(3, top), np.zeros(3)
    if full:
        return np.full(3, top), np.array([0, 2.0 ** (bits - 1), 2.0 ** (bits - 1)])
    unit = 2.0 ** (bits - 8)
    return np.array([219, 224, 224]) * unit, np.array([16, 128, 128]) * unit


def affine(m, o):
    out = Affine()
    for i in range(3):
        for j in range(3):
            out.row[i][j] = m[i][j]
        out.row[i][3] = o[i]
    return out


def decoder(matrix, bits, full, rgb=False):
    """Codes to R'G'B' from 0 to 1."""
    s, o = scales(bits, full, rgb)
    m = (np.eye(3) if rgb else np.linalg.inv(to_yuv(matrix))) / s
    return m, -m @ o


def encoder(matrix, bits, full, rgb=False):
    s, o = scales(bits, full, rgb)
    return (np.eye(3) if rgb else to_yuv(matrix)) * s[:, None], o


def convert(a, b, matrix, full, dither=False, matrix_to=None):
    dm, do = decoder(matrix, a.bits, full, a.name in ("rgba", "bgra", "rgb0"))
    em, eo = encoder(matrix_to or matrix, b.bits, full, b.name in ("rgba", "bgra", "rgb0"))
    m, o = em @ dm, em @ do + eo
    launch("convert", ConvertArgs(a.picture(), b.picture(), affine(m, o), dither), *b.size)
    assert b.padding_is_whole()
    codes = np.stack([a.codes(i) for i in range(3)])
    return np.clip(np.einsum("ij,jyx->iyx", m, codes) + o[:, None, None], 0, b.max)


# R, G, B and Y, U, V in eight bits, limited range, as tables of test signals have them.
KNOWN = {
    "601": {(255, 0, 0): (81, 90, 240), (0, 255, 0): (145, 54, 34), (0, 0, 255): (41, 240, 110)},
    "709": {(255, 0, 0): (63, 102, 240), (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118)},
    "2020": {(255, 0, 0): (74, 97, 240), (0, 255, 0): (164, 47, 25), (0, 0, 255): (29, 240, 119)},
}


@pytest.mark.parametrize("matrix", KNOWN)
@pytest.mark.parametrize("packed", ["rgba", "bgra"])
def test_bars(matrix, packed):
    known = {**KNOWN[matrix], (255, 255, 255): (235, 128, 128), (0, 0, 0): (16, 128, 128)}
    a, b = Image(packed, len(known) * 8, 4), Image("yuv444p", len(known) * 8, 4)
    for i in range(3):
        a.set(i, np.tile(np.repeat([rgb[i] for rgb in known], 8), (4, 1)))
    a.set(3, np.full((4, len(known) * 8), 77))
    convert(a, b, matrix, False)
    for k, (rgb, yuv) in enumerate(known.items()):
        got = tuple(int(b.codes(i)[1, k * 8 + 3]) for i in range(3))
        assert got == yuv, (matrix, rgb)


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        ("rgba", "yuv444p"),
        ("bgra", "yuv444p16"),
        ("rgb0", "yuv444p16"),
        ("yuv444p", "rgba"),
        ("yuv444p16", "bgra"),
        ("yuv444p16", "yuv444p"),
        ("rgba", "bgra"),
    ],
)
def test_matrices_ranges_and_depths(matrix, full, names):
    a, b = Image(names[0], 61, 9).noise(11), Image(names[1], 61, 9)
    want = convert(a, b, matrix, full)
    assert max(np.abs(b.codes(i) - want[i]).max() for i in range(3)) <= 0.5 + b.max * 1e-6
    if names[1] in ("rgba", "bgra"):
        alpha = a.codes(3) if names[0] == "rgba" else np.full((9, 61), 255)
        assert (b.codes(3) == alpha).all()


def test_from_one_matrix_to_another():
    a, b = Image("yuv444p16", 33, 5).noise(12), Image("yuv444p16", 33, 5)
    want = convert(a, b, "601", False, matrix_to="709")
    assert max(np.abs(b.codes(i) - want[i]).max() for i in range(3)) <= 0.6


def test_there_and_back():
    a, middle, b = Image("rgba", 64, 16).noise(13), Image("yuv444p16", 64, 16), Image("rgba", 64, 16)
    convert(a, middle, "709", False)
    convert(middle, b, "709", False)
    assert all((a.codes(i) == b.codes(i)).all() for i in range(3))


# Linear BT.2020 to linear BT.709, from the chromaticities.
def primaries(red, green, blue, white=(0.3127, 0.3290)):
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    w = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    return xyz * np.linalg.solve(xyz, w)


BT709 = primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
BT2020 = primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
GAMUT = np.linalg.inv(BT709) @ BT2020


def pq(light):
    y = np.clip(light, 0, 1) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def unpq(code):
    p = np.maximum(code, 0) ** (32 / 2523)
    return (np.maximum(p - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * p)) ** (16384 / 2610)


def hlg(code):
    code = np.maximum(code, 0)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def curve(name, x, peak):
    if name == "hable":
        h = lambda v: (v * (0.15 * v + 0.5 * 0.1) + 0.2 * 0.02) / (v * (0.15 * v + 0.5) + 0.2 * 0.3) - 0.02 / 0.3
        return h(x) / h(peak)
    if name == "reinhard":
        return x / (x + 1) * (peak + 1) / peak
    if name == "mobius":
        j = 0.3
        a = -j * j * (peak - 1) / (j * j - 2 * j + peak)
        b = (j * j - 2 * j * peak + peak) / max(peak - 1, 1e-6)
        return np.where(x <= j, x, (b * b + 2 * b * j + j * j) / (b - a) * (x + a) / (x + b))
    top = pq(peak / 100)
    most = pq(0.01) / top
    knee = 1.5 * most - 0.5
    e = pq(x / 100) / top
    t = (e - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return np.where(x >= peak, 1, np.where(e < knee, x, unpq(bent * top) * 100))


def tone_mapped(codes, decode, encode, transfer, name, peak, fade):
    rgb = np.einsum("ij,jyx->iyx", decode[0], codes) + decode[1][:, None, None]
    if transfer == "hlg":
        light = 10 * hlg(rgb) ** 1.2
    else:
        light = 100 * unpq(rgb)
    light = np.einsum("ij,jyx->iyx", GAMUT, light)
    if fade:
        y = np.einsum("i,iyx->yx", luma("2020"), light)
        mix = np.maximum(y - fade, 1e-6) / np.maximum(y, 1e-6)
        light = light + (y - light) * mix
    signal = np.maximum(light.max(0), 1e-6)
    light = light * curve(name, signal, peak) / signal
    sdr = np.sign(light) * np.abs(light) ** (1 / 2.4)
    return np.einsum("ij,jyx->iyx", encode[0], sdr) + encode[1][:, None, None]


CURVES = ["hable", "mobius", "reinhard", "bt2390"]

# By CUDA's tables a card's powers are off by up to four units in the last place, a C library's by one.
POWERS = 1 if isinstance(MACHINE, Cpu) else 4


def tone_map(a, b, transfer, name, peak, fade=0.0, dither=False):
    decode, encode = decoder("2020", a.bits, False), encoder("709", b.bits, False)
    args = ToneMapArgs(a.picture(), b.picture(), affine(*decode), affine(GAMUT, np.zeros(3)), affine(*encode))
    args.luma[:] = luma("2020")
    args.fade, args.peak, args.dither = fade, peak, dither
    args.transfer, args.curve = ("pq", "hlg").index(transfer), CURVES.index(name)
    launch("tone_map", args, *b.size)
    assert b.padding_is_whole()
    codes = np.stack([a.codes(i) for i in range(3)])
    return np.clip(tone_mapped(codes, decode, encode, transfer, name, peak, fade), 0, b.max)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("fade", [0.0, 2.0])
def test_tone_map(transfer, name, fade):
    a = Image("yuv444p16", 512, 256).noise(21)
    # Chroma as real pictures have it: most random colours are out of every gamut.
    for i in (1, 2):
        a.set(i, 32768 + (a.codes(i) - 32768) * 0.2)
    eight, sixteen = Image("yuv444p", 512, 256), Image("yuv444p16", 512, 256)
    want = tone_map(a, eight, transfer, name, 10.0, fade)
    assert max(np.abs(eight.codes(i) - want[i]).max() for i in range(3)) <= 0.5 + 0.02 * POWERS
    # What lies between two steps: the roots are steep at 0, where matrices leave what is left of larger numbers.
    want = tone_map(a, sixteen, transfer, name, 10.0, fade)
    assert max(np.abs(sixteen.codes(i) - want[i]).max() for i in range(3)) <= 8 * POWERS, "a thirtieth of an 8-bit code"
    # The thresholds lie between 1/128 and 127/128.
    want = tone_map(a, eight, transfer, name, 10.0, fade, dither=True)
    assert max(np.abs(eight.codes(i) - want[i]).max() for i in range(3)) <= (127 + POWERS) / 128


@pytest.mark.parametrize("name", CURVES)
def test_black_white_and_peak(name):
    # PQ codes of 0 and of the peak (1000 cd/m²).
    greys = [0.0, float(pq(0.1))]
    a, b = Image("yuv444p16", 2, 1), Image("yuv444p", 2, 1)
    a.set(0, [np.round((np.array(greys) * 219 + 16) * 256)])
    for i in (1, 2):
        a.set(i, [[32768, 32768]])
    tone_map(a, b, "pq", name, 10.0)
    assert b.codes(0).tolist() == [[16, 235]]
    assert (b.codes(1) == 128).all() and (b.codes(2) == 128).all()


@pytest.mark.parametrize("name", ["nv12", "p010", "yuv444p16"])
@pytest.mark.parametrize("size", [3, 5, 23])
@pytest.mark.parametrize("amount", [1.2, -0.8])
def test_sharpen(name, size, amount):
    a, b = Image(name, 75, 41).noise(31), Image(name, 75, 41)
    blur = np.array([1.0])
    for _ in range(size - 1):
        blur = np.convolve(blur, [0.5, 0.5])
    every = name == "yuv444p16"
    args = SharpenArgs(a.picture(), b.picture(), size=size, amount=amount, all=every)
    args.blur[:size] = blur
    launch("sharpen", args, *a.size, depth=2)
    assert b.padding_is_whole()
    for i in range(3):
        codes = a.codes(i)
        if i and not every:
            assert (b.codes(i) == codes).all()
            continue
        wide = np.pad(codes, size // 2, mode="edge")
        soft = np.apply_along_axis(lambda v: np.convolve(v, blur, "valid"), 0, wide)
        soft = np.apply_along_axis(lambda v: np.convolve(v, blur, "valid"), 1, soft)
        want = np.clip(codes + amount * (codes - soft), 0, a.max)
        assert np.abs(b.codes(i) - want).max() <= 0.5 + a.max * 1e-6
