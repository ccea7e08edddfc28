"""libnvidia-encode.so.1: NVIDIA's own Python client, PyNvVideoCodec, codes on it from host arrays and device memory."""

import importlib.util
import json
import os
import subprocess
import sys

from standin import WORK, check, equal, finish, run, skip

if not importlib.util.find_spec("PyNvVideoCodec"): # importing it loads the driver
    skip("PyNvVideoCodec (tests/setup/setup.sh test)")

CLIENT = """
import json, sys
import numpy
import PyNvVideoCodec as nvc
codec, options, to, raw = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
width, height = 322, 182
encoder = nvc.CreateEncoder(width, height, "NV12", True, codec=codec, **options)
y, x = numpy.mgrid[0:height * 3 // 2, 0:width]
with open(to, "wb") as coded, open(raw, "wb") as given:
    def write(packets):
        for packet in packets:
            coded.write(bytes(packet["data"]))
    for i in range(20):
        picture = (x * 3 + y * 5 + i * 7).astype(numpy.uint8)
        picture[:, :100] = 77
        given.write(picture.tobytes())
        write(encoder.Encode(picture))
    write(encoder.EndEncode())
"""
# From device memory, in the context that the caller names.
ON_DEVICE = """
import ctypes, sys
import numpy
import PyNvVideoCodec as nvc
codec, to, raw = sys.argv[1:]
width, height = 320, 192
cu = ctypes.CDLL("libcuda.so.1")
context, memory = ctypes.c_void_p(), ctypes.c_uint64()
assert cu.cuInit(0) == 0 and cu.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0 and cu.cuCtxSetCurrent(context) == 0
assert cu.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(width * height * 3 // 2)) == 0
class Plane:
    def __init__(self, offset, shape, strides):
        self.__cuda_array_interface__ = {"shape": shape, "strides": strides, "data": (memory.value + offset, False), "typestr": "|u1",
                                         "version": 3, "stream": 1}
class Frame:
    def cuda(self):
        return [Plane(0, (height, width, 1), (width, 1, 1)), Plane(width * height, (height // 2, width // 2, 2), (width, 2, 1))]
encoder = nvc.CreateEncoder(width, height, "NV12", False, codec=codec, cudacontext=context.value)
y, x = numpy.mgrid[0:height * 3 // 2, 0:width]
with open(to, "wb") as coded, open(raw, "wb") as given:
    for i in range(13):
        packets = []
        if i < 12:
            picture = (x * 3 + y * 5 + i * 7).astype(numpy.uint8)
            given.write(picture.tobytes())
            assert cu.cuMemcpyHtoD_v2(memory, picture.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(picture.nbytes)) == 0
            packets = encoder.Encode(Frame())
        else:
            packets = encoder.EndEncode()
        for packet in packets:
            coded.write(bytes(packet["data"]))
"""
FORMATS = {"h264": "h264", "hevc": "hevc", "av1": "obu"}
for codec in FORMATS:
    for options in ({}, {"preset": "P1", "tuning_info": "ultra_low_latency"}, {"preset": "P4", "bf": 2, "gop": 10},
                    {"rc": "cbr", "bitrate": 2000000}, {"rc": "constqp", "constqp": 20}):
        for api in ("13.0", "12.1"):
            to, raw = os.path.join(WORK, "coded." + codec), os.path.join(WORK, "given.yuv")
            r = run([sys.executable, "-c", CLIENT, codec, json.dumps(options), to, raw], API=api)
            text = f"PyNvVideoCodec: {codec} {options} on API {api}"
            check(r.code == 0, f"{text}: {r.err[-400:]}")
            equal(r.violations, [], text)
            # It forgets a stream of its own; what is NVENC's it gives back.
            equal([leak for leak in r.leaks if leak.startswith("nvenc")], [], text)
            if r.code == 0:
                decoded = subprocess.run(["ffmpeg", "-v", "error", "-f", FORMATS[codec], "-i", to, "-pix_fmt", "nv12", "-f", "rawvideo", "-"],
                                         capture_output=True)
                with open(raw, "rb") as file:
                    check(decoded.stdout == file.read(), f"{text}: is not what went in ({decoded.stderr.decode()[:200]})")
    to, raw = os.path.join(WORK, "device." + codec), os.path.join(WORK, "given.yuv")
    r = run([sys.executable, "-c", ON_DEVICE, codec, to, raw])
    equal((r.code, r.violations), (0, []), f"PyNvVideoCodec: {codec} from device memory ({r.err[-300:]})")
    equal((r.copies("HtoD"), r.copies("DtoH")), (12 * 320 * 288, 0), f"PyNvVideoCodec: {codec} from device memory: only the test's own copies")
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-f", FORMATS[codec], "-i", to, "-pix_fmt", "nv12", "-f", "rawvideo", "-"], capture_output=True)
    with open(raw, "rb") as file:
        check(decoded.stdout == file.read(), f"PyNvVideoCodec: {codec} from device memory: is not what went in")
finish()
