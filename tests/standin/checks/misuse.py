"""Programs that break one rule of CUDA's driver API each, the status that answers it, and the stand-in's name for the rule."""

# A real driver answers these in the same way (90-real-driver.py asks one where there is one).
MISUSE = [
    ("begin(); p = alloc(100); cu.cuMemFree_v2(p); say(cu.cuMemFree_v2(p))", 1, "double-free"),
    ("begin(); p = alloc(100); cu.cuMemFree_v2(p); say(cu.cuMemsetD8_v2(p, 0, 1))", 1, "use-after-free"),
    ("begin(); p = alloc(100); say(cu.cuMemFree_v2(p + 4))", 1, "bad-free"),
    ("p = u64(); cu.cuInit(0); say(cu.cuMemAlloc_v2(ref(p), 4))", 201, "no-context"),
    ("p = c.c_int(); say(cu.cuDeviceGetCount(ref(p)))", 3, "not-initialised"),
    ("cu.cuInit(0); say(cu.cuDevicePrimaryCtxRelease_v2(0))", 201, "double-release"),
]

# Here a real driver may do anything: read on to the end of its page, crash, or answer something else.
UNDEFINED = [
    ("begin(); p = alloc(100); b = c.create_string_buffer(200); say(cu.cuMemcpyDtoH_v2(b, p, 101))", 1, "out-of-range"),
    ("begin(); p = alloc(100); q = alloc(100); say(cu.cuMemcpyHtoD_v2(p, c.c_void_p(q), 4))", 1, "device-as-host"),
    ("x = begin(); cu.cuCtxDestroy_v2(x); say(cu.cuCtxPushCurrent_v2(x))", 201, "use-after-destroy"),
    ("begin(); say(cu.cuCtxPushCurrent_v2(c.c_void_p(12345)))", 201, "bad-handle"),
    ("begin(); s = u64(); cu.cuStreamCreate(ref(s), 0); cu.cuStreamDestroy_v2(s); say(cu.cuStreamSynchronize(s))", 400,
     "use-after-destroy"),
]

# What is no misuse but has an answer that clients act upon.
ANSWERS = [
    "begin(); p = u64(); say([cu.cuMemAlloc_v2(ref(p), 0), cu.cuMemAlloc_v2(ref(p), 1 << 50)])",
    "begin(); p, pitch = u64(), size(); say([cu.cuMemAllocPitch_v2(ref(p), ref(pitch), 15, 16, 3), "
    "cu.cuMemAllocPitch_v2(ref(p), ref(pitch), 1000, 16, 4), pitch.value])",
    "begin(); m = u64(); say([cu.cuModuleLoadData(ref(m), b'no module' + bytes(64)), "
    "cu.cuModuleLoadData(ref(m), b'.version 7.5\\n.target sm_75\\n.address_size 64\\n' + bytes(64))])",
    "cu.cuInit(0); d = c.c_int(); say([cu.cuCtxGetDevice(ref(d)), cu.cuDeviceGet(ref(d), 99), cu.cuCtxSynchronize()])",
    "cu.cuInit(0); x = u64(); say([cu.cuCtxGetCurrent(ref(x)), x.value, cu.cuCtxPopCurrent_v2(ref(x))])",
    "begin(); k = c.c_int(); say([cu.cuPointerGetAttribute(ref(k), 2, 4096), cu.cuCtxEnablePeerAccess(None, 0) != 0])",
    "begin(); a, b, f = u64(), u64(), c.c_float(); cu.cuEventCreate(ref(a), 2); cu.cuEventCreate(ref(b), 2); "
    "cu.cuEventRecord(a, None); cu.cuEventRecord(b, None); say([cu.cuEventElapsedTime(ref(f), a, b), cu.cuEventQuery(b)])",
    "begin(); s = u64(); say([cu.cuStreamCreate(ref(s), 77), cu.cuStreamQuery(None), cu.cuStreamSynchronize(None)])",
    "p = u64(); say(cu.cuGetExportTable(ref(p), bytes(16)))",
    "begin(); h = u64(); assert cu.cuMemHostAlloc(ref(h), 64, 0) == 0; d = u64(); k = c.c_int(); "
    "say([cu.cuMemHostGetDevicePointer_v2(ref(d), h, 0), d.value == h.value, cu.cuPointerGetAttribute(ref(k), 2, h), k.value, "
    "cu.cuMemFreeHost(h), cu.cuMemHostUnregister(h) != 0])",
]

# NVML on a card without encoders, and with.
NVML = """
ml = Library("libnvidia-ml.so.1"); assert ml.nvmlInit_v2() == 0
h = u64(); assert ml.nvmlDeviceGetHandleByIndex_v2(0, ref(h)) == 0
n = [c.c_uint() for i in range(3)]; b = c.create_string_buffer(96)
say([ml.nvmlDeviceGetEncoderUtilization(h, ref(n[0]), ref(n[1])), ml.nvmlDeviceGetEncoderStats(h, ref(n[0]), ref(n[1]), ref(n[2])),
     [ml.nvmlDeviceGetEncoderCapacity(h, k, ref(n[0])) for k in range(3)], ml.nvmlDeviceGetTemperature(h, 0, ref(n[0])),
     ml.nvmlDeviceGetTemperature(h, 7, ref(n[0])), ml.nvmlDeviceGetName(h, b, 2), ml.nvmlDeviceGetHandleByIndex_v2(99, ref(h))])
"""
