"""Where the kernels run: their build for the CPU (GS_KERNELS_CPU), or the committed PTX on a GPU (GS_KERNELS_GPU=1)."""

import ctypes
import os
import pathlib

import numpy as np

PTX = pathlib.Path(__file__).parents[2] / "core/engine/kernels/kernels.ptx"
u64 = ctypes.c_uint64
triple = ctypes.c_uint * 3


class Cpu:
    """One thread after the other."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)

    def has(self, name):
        return hasattr(self.library, f"gs_cpu_{name}")

    def array(self, shape, dtype):
        return np.empty(shape, dtype)

    def launch(self, name, args, grid, block):
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(args))
        getattr(self.library, f"gs_cpu_{name}")(triple(*grid), triple(*block), pointers)


class Gpu:
    """The driver's device 0. Arrays lie in page-locked memory, which has one address for the host and the device."""

    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 256, device)
        self.name = name.value.decode()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(self.module), PTX.read_bytes() + b"\0")

    def call(self, name, *arguments):
        code = getattr(self.cuda, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: CUDA error {code}")

    def function(self, name):
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), self.module, name.encode())
        return function

    def has(self, name):
        return bool(self.function(name))

    def array(self, shape, dtype):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        at = ctypes.c_void_p()
        # Never given back: the tests' arrays are small, and numpy keeps views of them.
        self.call("cuMemHostAlloc", ctypes.byref(at), ctypes.c_size_t(size), 3)
        return np.frombuffer((ctypes.c_uint8 * size).from_address(at.value), dtype).reshape(shape)

    def device(self, size):
        """Bytes of device memory."""
        at = u64()
        self.call("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(size))
        return at.value

    def start(self, function, args, grid, block):
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(args))
        self.call("cuLaunchKernel", function, *grid, *block, 0, None, pointers, None)

    def launch(self, name, args, grid, block):
        self.start(self.function(name), args, grid, block)
        self.call("cuCtxSynchronize")

    def milliseconds(self, work, times):
        """Device time of one `work()`, as the median of `times` runs."""
        begin, end, taken = ctypes.c_void_p(), ctypes.c_void_p(), []
        for event in (begin, end):
            self.call("cuEventCreate", ctypes.byref(event), 0)
        for _ in range(times):
            self.call("cuEventRecord", begin, None)
            work()
            self.call("cuEventRecord", end, None)
            self.call("cuEventSynchronize", end)
            one = ctypes.c_float()
            self.call("cuEventElapsedTime", ctypes.byref(one), begin, end)
            taken.append(one.value)
        return sorted(taken)[times // 2]


MACHINE = Gpu() if os.environ.get("GS_KERNELS_GPU") == "1" else Cpu(os.environ["GS_KERNELS_CPU"])
