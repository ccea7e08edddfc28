"""The committed PTX: which kernels it has, and that their structures are those that the tests (and the CPU build) use."""

import ctypes
import re

import pictures
from machine import MACHINE, PTX


def test_the_kernels_and_their_arguments():
    text = PTX.read_text()
    entries = dict(re.findall(r"\.entry (\w+)\(\s*\.param \.align 8 \.b8 \w+\[(\d+)\]\s*\)", text))
    kernels = {
        "taps": pictures.TapsArgs,
        "scale": pictures.ScaleArgs,
        "ladder": pictures.LadderArgs,
        "convert": pictures.ConvertArgs,
        "place": pictures.PlaceArgs,
        "tone_map": pictures.ToneMapArgs,
        "sharpen": pictures.SharpenArgs,
    }
    assert {name: int(size) for name, size in entries.items()} == {n: ctypes.sizeof(a) for n, a in kernels.items()}
    assert all(MACHINE.has(name) for name in entries)


def test_what_it_asks_of_a_gpu_and_its_driver():
    text = PTX.read_text()
    assert ".target sm_75" in text and ".version 8.2" in text
    # Local memory would mean registers that spill or structures that are copied; shared memory the CPU build has not.
    assert ".local" not in text and ".shared" not in text and "bar.sync" not in text
