"""Decodes to numpy and encodes from numpy, with PyAV or with ghoststream; prints one JSON object.

    python_frames.py ghoststream|av|av-tuned CASE CLIP

Both decode and encode in software, on as many threads as each takes by itself (``AUTO`` where PyAV has to be told).

- ``ghoststream`` converts by the matrix and range of the clip, and takes untagged RGB for what it will be shown as
  (BT.709 from 720 lines up), and writes those tags.
- ``av`` is PyAV as its documentation has it: ``to_ndarray`` and ``from_ndarray``. Its conversions are swscale's,
  bilinear; decoding follows the clip's matrix, encoding takes every picture for BT.601 and tags nothing, and x264 gets
  slice threads.
- ``av-tuned`` is PyAV as somebody writes it who has read its source: one reformatter for all pictures, arrays shared
  instead of copied (``from_numpy_buffer``), x264 with frame threads as ghoststream has it.

What a case does is in CASES; ``bytes`` in the output of encoding shows that the sides do the same work.
"""

import fractions
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator

import numpy

COUNT = 240
SEEKS = 60

#: What each case does: for the table.
CASES = {
    "rgb": "decode all to rgb24 arrays",
    "rgb-sum": "the same, and numpy sums up each picture",
    "rgb-half": "decode all to rgb24 arrays of half the size (ghoststream: bicubic, PyAV: bilinear)",
    "gray": "decode all to grey arrays",
    "planes": "decode all, arrays over the planes as decoded",
    "packed": "decode all, the planes as one array",
    "nv12": "decode all to nv12, as one array",
    "seek": f"{SEEKS} pictures at random times, exact, to rgb24 arrays",
    "encode-rgb": "encode rgb24 arrays, x264 veryfast CRF 23 in yuv420p",
    "encode-yuv": "encode yuv420p arrays, the same",
}


class PyAv:
    def __init__(self, tuned: bool):
        import av

        self.av = av
        self.tuned = tuned

    def convert(self, **to) -> Callable:
        if not self.tuned:
            return lambda frame: frame.to_ndarray(**to)
        reformatter = self.av.video.reformatter.VideoReformatter()
        return lambda frame: reformatter.reformat(frame, **to).to_ndarray()

    def decode(self, clip: str, make: Callable) -> Iterator:
        with self.av.open(clip) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                yield make(frame)

    def rgb(self, clip: str) -> Iterator:
        return self.decode(clip, self.convert(format="rgb24"))

    def rgb_half(self, clip: str) -> Iterator:
        return self.decode(clip, self.convert(format="rgb24", width=640, height=360))

    def gray(self, clip: str) -> Iterator:
        return self.decode(clip, self.convert(format="gray"))

    def planes(self, clip: str) -> Iterator:
        def over(plane) -> numpy.ndarray:
            array = numpy.frombuffer(plane, numpy.uint8)
            return array.reshape(plane.height, plane.line_size)[:, : plane.width]

        return self.decode(clip, lambda frame: [over(plane) for plane in frame.planes][0])

    def packed(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_ndarray())

    def nv12(self, clip: str) -> Iterator:
        return self.decode(clip, self.convert(format="nv12"))

    def seek(self, clip: str, times: list[float]) -> Iterator:
        convert = self.convert(format="rgb24")
        with self.av.open(clip) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for at in times:
                wanted = round(at / stream.time_base)
                container.seek(wanted, stream=stream)
                yield convert(next(f for f in container.decode(stream) if f.pts + f.duration > wanted))

    def encode(self, pictures: Iterator[numpy.ndarray], format: str, size: tuple[int, int]) -> int:
        codec = self.av.CodecContext.create("libx264", "w")
        (codec.width, codec.height), codec.pix_fmt = size, "yuv420p"
        codec.time_base, codec.framerate = fractions.Fraction(1, 30), fractions.Fraction(30)
        codec.options = {"preset": "veryfast", "crf": "23"}
        if self.tuned:
            codec.thread_type = "FRAME"
        frame_of = self.av.VideoFrame
        make = frame_of.from_numpy_buffer if self.tuned else frame_of.from_ndarray
        done = 0
        for n, picture in enumerate(pictures):
            frame = make(picture, format=format)
            frame.pts = n
            done += sum(packet.size for packet in codec.encode(frame))
        return done + sum(packet.size for packet in codec.encode(None))


class GhostStream:
    def __init__(self) -> None:
        import ghoststream

        self.gs = ghoststream

    def decode(self, clip: str, make: Callable, **options) -> Iterator:
        with self.gs.open(clip, decoder_device="software", **options) as film:
            for frame in film:
                yield make(frame)

    def rgb(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_numpy(), format="rgb24")

    def rgb_half(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_numpy(), format="rgb24", width=640, height=360)

    def gray(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_numpy(), format="gray")

    def planes(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: [plane.to_numpy() for plane in frame.planes][0])

    def packed(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_numpy())

    def nv12(self, clip: str) -> Iterator:
        return self.decode(clip, lambda frame: frame.to_numpy(), format="nv12")

    def seek(self, clip: str, times: list[float]) -> Iterator:
        with self.gs.open(clip, format="rgb24", decoder_device="software") as film:
            for at in times:
                yield film.frame_at(at).to_numpy()

    def encode(self, pictures: Iterator[numpy.ndarray], format: str, size: tuple[int, int]) -> int:
        done = 0
        options = {"encoder": "libx264", "crf": 23, "pixel_format": "yuv420p", "options": {"preset": "veryfast"}}
        with self.gs.Encoder(fps=30, format=format, **options) as encoder:
            for picture in pictures:
                done += sum(packet.size for packet in encoder.encode(picture))
            return done + sum(packet.size for packet in encoder.encode())


def pictures(clip: str, format: str) -> list[numpy.ndarray]:
    """Thirty real pictures, decoded by PyAV for all sides."""
    import av

    with av.open(clip) as container:
        return [f.to_ndarray(format=format) for f in itertools.islice(container.decode(video=0), 30)]


def facts(clip: str) -> tuple[float, float, tuple[int, int]]:
    """First time, length (seconds) and size."""
    import av

    with av.open(clip) as container:
        stream = container.streams.video[0]
        start = float((stream.start_time or 0) * stream.time_base)
        return start, float(container.duration / 1_000_000), (stream.width, stream.height)


def main() -> None:
    side, case, clip = sys.argv[1:]
    worker = GhostStream() if side == "ghoststream" else PyAv(tuned=side == "av-tuned")
    start, length, size = facts(clip)
    kind, _, format = case.partition("-")
    given = pictures(clip, {"rgb": "rgb24", "yuv": "yuv420p"}[format]) if kind == "encode" else []
    chance = random.Random(1)
    times = [start + chance.uniform(0, length - 0.1) for _ in range(SEEKS)]

    begin, before = time.monotonic(), os.times()
    done = 0
    found: dict[str, int] = {}
    if kind == "encode":
        names = {"rgb": "rgb24", "yuv": "yuv420p"}
        done = COUNT
        found["bytes"] = worker.encode(itertools.islice(itertools.cycle(given), COUNT), names[format], size)
    elif case == "rgb-sum":
        total = 0
        for array in worker.rgb(clip):
            total += int(array.sum(dtype=numpy.uint32))
            done += 1
        found["sum"] = total
    else:
        method = getattr(worker, case.replace("-", "_"))
        for array in method(clip, times) if case == "seek" else method(clip):
            done += array.shape[0] > 0
    wall, after = time.monotonic() - begin, os.times()
    cpu = after.user - before.user + after.system - before.system
    print(json.dumps({"frames": done, "fps": done / wall, "cpu_ms_per_frame": cpu / done * 1000, **found}))


if __name__ == "__main__":
    main()
