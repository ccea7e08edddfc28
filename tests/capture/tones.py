"""Tones in captured sound."""

import numpy

RATE = 48_000


def level(sound: numpy.ndarray, hertz: float) -> float:
    """The amplitude of a tone in a run of samples of 48 kHz. Where a machine was late, sound is played 0.2 % faster or slower
    until it is with the pictures again: the tone may be as far away from `hertz`, and half as far again."""
    window = numpy.hanning(len(sound))
    spectrum = 2 * numpy.abs(numpy.fft.rfft(sound * window, 4 * len(sound))) / window.sum()
    step = RATE / (4 * len(sound))
    low, high = int(hertz * 0.997 / step), int(hertz * 1.003 / step) + 2
    return float(spectrum[low:high].max())
