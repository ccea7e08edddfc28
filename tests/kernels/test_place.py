"""`place` copies samples exactly."""

import numpy as np
import pytest
from pictures import FORMATS, Image, PlaceArgs, launch

FORMATS_HERE = ["nv12", "p010", "yuv420p", "yuv444p16", "rgba"]


def run(a, b, left=0, top=0, turn=0, fill=(7, 8, 9, 10), mirror=0):
    sub = FORMATS[a.name][2]
    args = PlaceArgs(a.picture(), b.picture(), turn=turn, mirror=mirror)
    args.left[:], args.top[:], args.fill[:] = (left, left >> sub), (top, top >> sub), fill
    launch("place", args, *b.size, depth=2)
    assert b.padding_is_whole()


@pytest.mark.parametrize("name", FORMATS_HERE)
@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [0, 1])
def test_turns(name, turn, mirror):
    a = Image(name, 70, 34).noise(41)
    b = Image(name, *((34, 70) if turn % 2 else (70, 34)))
    run(a, b, turn=turn, mirror=mirror)
    for i in a.at:
        codes = np.fliplr(a.codes(i)) if mirror else a.codes(i)
        assert (b.codes(i) == np.rot90(codes, -turn)).all()


@pytest.mark.parametrize("name", FORMATS_HERE)
def test_a_canvas_and_a_rectangle(name):
    a, canvas, cut = Image(name, 40, 20).noise(42), Image(name, 64, 48), Image(name, 12, 10)
    run(a, canvas, left=10, top=6)
    run(canvas, cut, left=-14, top=-8)
    sub = FORMATS[name][2]
    for i in a.at:
        s = sub if i else 0
        want = np.full(canvas.view(i).shape, (7, 8, 9, 10)[i], float)
        h, w = a.view(i).shape
        want[6 >> s : (6 >> s) + h, 10 >> s : (10 >> s) + w] = a.codes(i)
        assert (canvas.codes(i) == want).all()
        assert (cut.codes(i) == a.codes(i)[2 >> s : 12 >> s, 4 >> s : 16 >> s]).all()
