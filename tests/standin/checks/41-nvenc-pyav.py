"""libnvidia-encode.so.1: the FFmpeg inside the PyAV wheel codes on it, AV1 included, from host frames."""

import json
import sys

from standin import check, equal, finish, run, skip

try:
    import av  # noqa: F401
    import numpy  # noqa: F401
except ImportError as missing:
    skip(f"{missing} (tests/setup/setup.sh test)")

CLIENT = """
import io, json, sys
import av, numpy
codec, options, layout = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
width, height = 320, 184
file = io.BytesIO()
out = av.open(file, "w", format="matroska")
stream = out.add_stream(codec, rate=25, options=options)
stream.width, stream.height, stream.pix_fmt = width, height, layout
y, x = numpy.mgrid[0:height * 3 // 2, 0:width]
given, keys = [], 0
for i in range(30):
    picture = (x * 3 + y * 5 + i * 7).astype(numpy.uint8)
    picture[:, :width // 3] = 77
    frame = av.VideoFrame.from_ndarray(picture, "yuv420p").reformat(format=layout)
    frame.pts = i
    given.append(frame.to_ndarray())
    out.mux(stream.encode(frame))
out.mux(stream.encode(None))
out.close()
file.seek(0)
same = count = 0
with av.open(file) as back:
    for frame in back.decode(video=0):
        keys += frame.key_frame
        same += numpy.array_equal(frame.reformat(format=layout).to_ndarray(), given[count])
        count += 1
print(json.dumps([count, same, keys]))
"""
for codec in ("h264_nvenc", "hevc_nvenc", "av1_nvenc"):
    for options, layout in (({}, "yuv420p"), ({"bf": "2", "rc-lookahead": "8"}, "yuv420p"), ({"g": "10", "forced-idr": "1"}, "yuv420p"),
                            ({"rc": "cbr", "b": "2000000"}, "nv12"), ({"rc": "constqp", "qp": "20"}, "yuv420p"), ({}, "yuv444p")):
        if layout == "yuv444p" and codec == "av1_nvenc":
            continue  # NVENC has no 4:4:4 AV1
        r = run([sys.executable, "-c", CLIENT, codec, json.dumps(options), layout])
        text = f"{codec} {options} {layout}"
        check(r.code == 0, f"{text}: {r.err[-400:]}")
        equal((r.violations, r.leaks), ([], []), text)
        if r.code == 0:
            equal(json.loads(r.out)[:2], [30, 30], f"{text}: pictures, and those that are what went in")
            if "g" in options:
                equal(json.loads(r.out)[2], 3, f"{text}: key frames")
finish()
