"""Decodes to numpy and encodes from numpy, with PyAV or with ghoststream; prints one JSON object.

    python_frames.py av|ghoststream decode|encode CLIP
"""

import fractions
import json
import sys
import time

import numpy

COUNT = 240


def pyav_decode(clip: str) -> int:
    import av

    frames = 0
    with av.open(clip) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frames += frame.to_ndarray(format="rgb24").shape[0] > 0
    return frames


def pyav_encode(pictures: list[numpy.ndarray]) -> int:
    import av

    height, width, _ = pictures[0].shape
    size = 0
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.framerate = fractions.Fraction(1, 30), fractions.Fraction(30)
    codec.options = {"preset": "veryfast", "crf": "23"}
    for n in range(COUNT):
        frame = av.VideoFrame.from_ndarray(pictures[n % len(pictures)], format="rgb24")
        frame.pts = n
        size += sum(packet.size for packet in codec.encode(frame))
    return size + sum(packet.size for packet in codec.encode(None))


def ghoststream_decode(clip: str) -> int:
    import ghoststream as gs

    frames = 0
    with gs.open(clip, format="rgb24") as film:
        for frame in film:
            frames += frame.to_numpy().shape[0] > 0
    return frames


def ghoststream_encode(pictures: list[numpy.ndarray]) -> int:
    import ghoststream as gs

    size = 0
    with gs.Encoder(encoder="libx264", fps=30, crf=23, pixel_format="yuv420p", options={"preset": "veryfast"}) as encoder:
        for n in range(COUNT):
            size += sum(packet.size for packet in encoder.encode(pictures[n % len(pictures)]))
        return size + sum(packet.size for packet in encoder.encode())


def pictures(clip: str) -> list[numpy.ndarray]:
    """Thirty real pictures as RGB, decoded by PyAV for both sides."""
    import av

    with av.open(clip) as container:
        found = []
        for frame in container.decode(video=0):
            found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == 30:
                return found
    return found


def main() -> None:
    side, what, clip = sys.argv[1:]
    jobs = {
        ("av", "decode"): pyav_decode,
        ("av", "encode"): pyav_encode,
        ("ghoststream", "decode"): ghoststream_decode,
        ("ghoststream", "encode"): ghoststream_encode,
    }
    given = clip if what == "decode" else pictures(clip)
    begin, cpu = time.monotonic(), time.process_time()
    done = jobs[side, what](given)
    wall, cpu = time.monotonic() - begin, time.process_time() - cpu
    frames = done if what == "decode" else COUNT
    print(json.dumps({"frames": frames, "fps": frames / wall, "cpu_ms_per_frame": cpu / frames * 1000}))


if __name__ == "__main__":
    main()
