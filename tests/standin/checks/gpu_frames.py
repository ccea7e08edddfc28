"""Pictures that are in CUDA memory already become a bare H.264 stream by the Python package: gpu_frames.py KIND OUT FRAMES.
KIND: dlpack, versioned or interface, how the tensors are handed over, or rgb, which hands over height x width x 3 by DLPack. They
are filled on the device."""

import ctypes as c
import gc
import sys

import ghoststream as gs

WIDTH, HEIGHT, BANDS = 320, 180, 4
cuda = c.CDLL("libcuda.so.1")
u64 = c.c_uint64
context = c.c_void_p()
assert cuda.cuInit(0) == 0 and cuda.cuDevicePrimaryCtxRetain(c.byref(context), 0) == 0
given = 0


class Buffer:
    """Device memory, filled by bands; freed with its last owner, on whatever thread."""

    def __init__(self, n):
        self.address = u64()
        cuda.cuCtxPushCurrent_v2(context)
        assert cuda.cuMemAlloc_v2(c.byref(self.address), c.c_size_t(WIDTH * HEIGHT * 3 // 2)) == 0
        for band in range(BANDS):
            self.fill(band * HEIGHT // BANDS, 20 + 50 * band + n, HEIGHT // BANDS)
        self.fill(HEIGHT, 100 + n, HEIGHT // 2)
        cuda.cuCtxPopCurrent_v2(c.byref(c.c_void_p()))

    def fill(self, row, value, rows):
        at, wide = u64(self.address.value + row * WIDTH), c.c_size_t(WIDTH)
        assert cuda.cuMemsetD2D8_v2(at, wide, c.c_ubyte(value), wide, c.c_size_t(rows)) == 0

    def free(self):
        global given
        cuda.cuCtxPushCurrent_v2(context)
        assert cuda.cuMemFree_v2(self.address) == 0
        cuda.cuCtxPopCurrent_v2(c.byref(c.c_void_p()))
        given += 1


SHAPE = (HEIGHT * 3 // 2, WIDTH)


class Interface(Buffer):
    def __init__(self, n):
        super().__init__(n)
        data = (self.address.value, True)
        self.__cuda_array_interface__ = {"shape": SHAPE, "typestr": "|u1", "data": data, "version": 3}

    def __del__(self):
        self.free()


class Tensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("device_type", c.c_int32), ("device_id", c.c_int32), ("ndim", c.c_int32)]
    _fields_ += [("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16), ("shape", c.POINTER(c.c_int64))]
    _fields_ += [("strides", c.POINTER(c.c_int64)), ("byte_offset", c.c_uint64)]


DELETER = c.CFUNCTYPE(None, c.c_void_p)


class Plain(c.Structure):
    _fields_ = [("tensor", Tensor), ("context", c.c_void_p), ("deleter", DELETER)]


class Versioned(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("context", c.c_void_p), ("deleter", DELETER)]
    _fields_ += [("flags", c.c_uint64), ("tensor", Tensor)]


new_capsule = c.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = c.py_object, [c.c_void_p, c.c_char_p, c.c_void_p]
NAMES = {Plain: b"dltensor", Versioned: b"dltensor_versioned"}
kept = {}


class DLPack(Buffer):
    """A tensor as PyTorch hands it over: freed when its deleter is called."""

    kind = Plain

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None, **_):
        assert stream == 1, stream
        return self._capsule(SHAPE)

    def _capsule(self, axes):
        shape = (c.c_int64 * len(axes))(*axes)
        managed = self.kind()
        managed.tensor = Tensor(self.address.value, 2, 0, len(axes), 1, 8, 1, shape, None, 0)
        if self.kind is Versioned:
            managed.major = 1
        address = c.addressof(managed)

        def deleter(_):
            buffer, *_ = kept.pop(address)
            buffer.free()

        managed.deleter = DELETER(deleter)
        # The callback is not freed while it runs.
        callbacks.append(managed.deleter)
        kept[address] = (self, managed, shape)
        return new_capsule(address, NAMES[self.kind], None)


callbacks = []


class Colours(DLPack):
    """Three bytes a pixel: the bands as greys, and one byte that is only blue, so that the order shows."""

    def __init__(self, n):
        self.address = u64()
        cuda.cuCtxPushCurrent_v2(context)
        assert cuda.cuMemAlloc_v2(c.byref(self.address), c.c_size_t(WIDTH * HEIGHT * 3)) == 0
        for band in range(BANDS):
            at, wide = u64(self.address.value + band * HEIGHT // BANDS * WIDTH * 3), c.c_size_t(WIDTH * 3)
            assert cuda.cuMemsetD2D8_v2(at, wide, c.c_ubyte(20 + 50 * band + n), wide, c.c_size_t(HEIGHT // BANDS)) == 0
        # The right half of the lowest band has no red and no green.
        lowest = self.address.value + (BANDS - 1) * HEIGHT // BANDS * WIDTH * 3
        for row in range(HEIGHT // BANDS):
            for byte in (0, 1):
                at = u64(lowest + (row * WIDTH + WIDTH // 2) * 3 + byte)
                assert cuda.cuMemsetD2D8_v2(at, c.c_size_t(3), c.c_ubyte(0), c.c_size_t(1), c.c_size_t(WIDTH // 2)) == 0
        cuda.cuCtxPopCurrent_v2(c.byref(c.c_void_p()))

    def __dlpack__(self, *, stream=None, **_):
        return self._capsule((HEIGHT, WIDTH, 3))


class VersionedDLPack(DLPack):
    kind = Versioned


kind, path, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
make = {"dlpack": DLPack, "versioned": VersionedDLPack, "interface": Interface, "rgb": Colours}[kind]
form = "rgb24" if kind == "rgb" else "nv12"
packets = []
with open(path, "wb") as out:
    with gs.Encoder(codec="h264", fps=25, encoder="h264_nvenc", lossless=True, fallback=False) as encoder:
        for n in range(frames):
            frame = gs.Frame.from_cuda(make(n), form)
            assert (frame.memory, frame.width, frame.height) == ("cuda", WIDTH, HEIGHT), frame
            for packet in encoder.encode(frame):
                packets.append((packet.picture_type, packet.qp, packet.gpu_time))
                out.write(bytes(packet))
            del frame
        for packet in encoder.encode():
            packets.append((packet.picture_type, packet.qp, packet.gpu_time))
            out.write(bytes(packet))
# Each picture says how it was coded, and how long the GPU had it.
assert packets[0][0] == "I" and all(kind in ("I", "P", "B") and qp == 0 and time > 0 for kind, qp, time in packets), packets
gc.collect()
assert given == frames and not kept, f"{given} of {frames} given back"
cuda.cuDevicePrimaryCtxRelease_v2(0)
print(f"{given} pictures given back")
