"""libcuda.so.1: the rules of the driver API, each broken once."""

import os
import signal
import subprocess

from misuse import ANSWERS, MISUSE, UNDEFINED
from standin import STANDIN, WORK, check, equal, finish, run, script

# A tidy client leaves no mark.
r = script("""
context = begin()
p = alloc(1000)
data = bytes(range(250)) * 4
back = c.create_string_buffer(1000)
assert cu.cuMemcpyHtoD_v2(p, data, 1000) == 0 and cu.cuMemcpyDtoH_v2(back, p, 1000) == 0
assert back.raw == data
assert cu.cuMemFree_v2(p) == 0 and cu.cuCtxDestroy_v2(context) == 0
say("done")
""")
equal((r.code, r.violations, r.leaks), (0, [], []), f"a tidy client ({r.err})")
equal((r.copies("HtoD"), r.copies("DtoH")), (1000, 1000), "its copies in the log")

# A device pointer faults on the host.
r = script("begin(); p = alloc(64); say(c.string_at(p, 1)[0])")
equal(r.code, -signal.SIGSEGV, "reading a device pointer on the host")

# Each misuse gets the real driver's status and a line in the log.
for text, status, rule in MISUSE + UNDEFINED:
    r = script(text)
    equal((r.value, r.violations), (status, [rule]), text)

for text in ANSWERS:
    check(script(text).value is not None, f"an answer: {text}")

# What is not given back is told, when the context goes and when the process does.
r = script("x = begin(); alloc(10); cu.cuCtxDestroy_v2(x); begin(); alloc(20)")
equal(sorted(r.leaks), ["context", "memory", "memory"], "leaks")

# Memory is the profile's.
r = script("""
begin()
free, total, p = size(), size(), u64()
cu.cuMemGetInfo_v2(ref(free), ref(total))
first = cu.cuMemAlloc_v2(ref(p), 40 << 20)
second = cu.cuMemAlloc_v2(ref(p), 40 << 20)
cu.cuMemGetInfo_v2(ref(free), ref(total))
say([first, second, free.value >> 20, total.value >> 20])
""", MEMORY="64M")
equal(r.value, [0, 2, 24, 64], "a card of 64 MiB")

# Two-dimensional copies through an array, and pitched memory.
r = script("""
class Copy(c.Structure):
    _fields_ = [("sx", size), ("sy", size), ("st", c.c_int), ("sh", c.c_void_p), ("sd", u64), ("sa", u64), ("sp", size),
                ("dx", size), ("dy", size), ("dt", c.c_int), ("dh", c.c_void_p), ("dd", u64), ("da", u64), ("dp", size),
                ("w", size), ("h", size)]
class Shape(c.Structure):
    _fields_ = [("w", size), ("h", size), ("d", size), ("format", c.c_int), ("channels", c.c_uint), ("flags", c.c_uint)]
begin()
host = c.create_string_buffer(bytes(range(240)), 240)      # 16 rows of 15
p, pitch, array = u64(), size(), u64()
assert cu.cuMemAllocPitch_v2(ref(p), ref(pitch), 15, 16, 4) == 0
assert cu.cuArray3DCreate_v2(ref(array), ref(Shape(20, 20, 0, 1, 1, 0))) == 0
assert cu.cuMemcpy2D_v2(ref(Copy(st=1, sh=c.addressof(host), sp=15, dt=2, dd=p.value, dp=pitch.value, w=15, h=16))) == 0
assert cu.cuMemcpy2D_v2(ref(Copy(st=2, sd=p.value, sp=pitch.value, dt=3, da=array.value, dx=3, dy=2, w=15, h=16))) == 0
back = c.create_string_buffer(30)
assert cu.cuMemcpy2D_v2(ref(Copy(st=3, sa=array.value, sx=5, sy=3, dt=1, dh=c.addressof(back), dp=6, w=6, h=5))) == 0
outside = cu.cuMemcpy2D_v2(ref(Copy(st=2, sd=p.value, sp=pitch.value, dt=3, da=array.value, dx=6, dy=2, w=15, h=16)))
short = cu.cuMemcpy2D_v2(ref(Copy(st=1, sh=c.addressof(host), sp=10, dt=2, dd=p.value, dp=pitch.value, w=15, h=16)))
say([pitch.value, list(back.raw), outside, short])
""")
want = [15 * (y + 1) + x + 2 for y in range(5) for x in range(6)]
equal(r.value, [512, want, 1, 1], f"two-dimensional copies ({r.err})")
equal(r.violations, ["out-of-range", "bad-pitch"], "two-dimensional copies that leave their memory")
equal(r.copies("DtoD"), 15 * 16, "bytes from device to device")

# Streams: with GS_STANDIN_ASYNC whoever does not wait sees old bytes; whoever waits does not.
ORDER = """
begin()
s, event, host = u64(), u64(), u64()
cu.cuStreamCreate(ref(s), 1); cu.cuEventCreate(ref(event), 2)
cu.cuMemHostAlloc(ref(host), 8, 0)
p = alloc(8)
cu.cuMemsetD8Async(p, 7, 8, s)
cu.cuMemcpyDtoHAsync_v2(host, p, 8, s)
cu.cuEventRecord(event, s)
early = [c.string_at(host.value, 1)[0], cu.cuEventQuery(event), cu.cuStreamQuery(s)]
t = u64(); cu.cuStreamCreate(ref(t), 1)
cu.cuStreamWaitEvent(t, event, 0)
cu.cuMemsetD8Async(p, 9, 8, t)
cu.cuStreamSynchronize(t)
late = [c.string_at(host.value, 1)[0], cu.cuEventQuery(event)]
back = c.create_string_buffer(8); cu.cuMemcpyDtoH_v2(back, p, 8)
say([early, late, back.raw[0]])
"""
equal(script(ORDER).value, [[7, 0, 0], [7, 0], 9], "streams, at once")
equal(script(ORDER, ASYNC=20000).value, [[0, 600, 600], [7, 0], 9], "streams, 20 ms late")

# Contexts are a stack of each thread; primary ones are counted.
r = script("""
cu.cuInit(0)
a, b, now = u64(), u64(), u64()
cu.cuDevicePrimaryCtxRetain(ref(a), 0); cu.cuDevicePrimaryCtxRetain(ref(b), 0)
cu.cuCtxPushCurrent_v2(a)
other = []
def thread():
    cu.cuCtxGetCurrent(ref(now)); other.append(now.value)
t = threading.Thread(target=thread); t.start(); t.join()
cu.cuCtxGetCurrent(ref(now)); mine = now.value == a.value
cu.cuDevicePrimaryCtxRelease_v2(0); cu.cuCtxGetCurrent(ref(now)); held = now.value == a.value
cu.cuDevicePrimaryCtxRelease_v2(0); cu.cuCtxGetCurrent(ref(now)); gone = now.value == 0
say([a.value == b.value, other, mine, held, gone])
""")
equal((r.value, r.leaks), ([True, [0], True, True, True], []), "primary contexts")

# Kernels: PTX whose entries have a CPU build; anything else is refused.
with open(os.path.join(WORK, "kernels.cpp"), "w", encoding="utf-8") as file:
    file.write("""
    extern "C" __attribute__((visibility("default"))) void gs_cpu_fill(const unsigned g[3], const unsigned b[3], void **a) {
        unsigned char *p = *(unsigned char **)a[0];
        for (unsigned i = 0; i < g[0] * b[0]; i++) p[i] = (unsigned char)(*(int *)a[1] + i);
    }""")
library = os.path.join(WORK, "kernels.so")
subprocess.run(["g++", "-shared", "-fPIC", "-o", library, os.path.join(WORK, "kernels.cpp")], check=True)
PTX = """
ptx = b'''.version 7.5
.target sm_75 // .entry not_this
.address_size 64
.visible .entry %s(
    .param .u64 fill_0,
    .param .u32 fill_1
) { ret; }
''' + bytes(1)
begin()
module, function = u64(), u64()
loaded = cu.cuModuleLoadData(ref(module), ptx %% b"%s")
found = cu.cuModuleGetFunction(ref(function), module, b"fill") if not loaded else None
"""
LAUNCH = PTX % ("%s", "fill") + """
p = alloc(64); value = c.c_int(5); pointer = u64(p + OFFSET)
arguments = (c.c_void_p * 2)(c.addressof(pointer), c.addressof(value))
rc = cu.cuLaunchKernel(function, 2, 1, 1, 32, 1, 1, 0, None, arguments, None)
back = c.create_string_buffer(64)
cu.cuMemcpyDtoH_v2(back, p, 64)
say([loaded, found, rc, back.raw[63]])
"""
r = script(LAUNCH.replace("OFFSET", "0"), KERNELS=library)
equal((r.value, r.violations), ([0, 0, 0, 68], []), f"a kernel runs ({r.err})")
equal([line["kernel"] for line in r.calls("cuLaunchKernel")], ["fill"], "the kernel's name in the log")
r = script(LAUNCH.replace("OFFSET", "8"), KERNELS=library)
equal(r.violations, ["write-past-end"], "a kernel that writes behind its memory")
r = script(LAUNCH.replace("OFFSET", "0") + "\nc.string_at(p, 1)", KERNELS=library)
equal(r.code, -signal.SIGSEGV, "device memory after a kernel, on the host")
equal(script(PTX % ("%s", "other") + "say(loaded)", KERNELS=library).value, 209, "a kernel without a CPU build")
equal(script("begin(); m = u64(); say(cu.cuModuleLoadData(ref(m), b'\\x7fELF' + bytes(64)))").value, 209, "machine code")
project = os.path.join(os.path.dirname(__file__), "../../../core/engine/kernels/kernels.ptx")
if os.path.exists(project):
    r = script(f"""
begin(); m, f = u64(), u64()
text = open({project!r}, "rb").read() + bytes(1)
import re
loaded = cu.cuModuleLoadData(ref(m), text)
say([loaded] + [cu.cuModuleGetFunction(ref(f), m, name) for name in re.findall(rb"\\.entry (\\w+)", text)])
""")
    check(r.value and not any(r.value) and len(r.value) > 1, f"the project's kernels load: {r.value}")

# Faults on request: call N fails, the others do not.
r = script("begin(); p = u64(); say([cu.cuMemAlloc_v2(ref(p), 8) for i in range(4)])", FAULT="cuMemAlloc_v2:2=2,cuMemAlloc_v2:4+=46")
equal(r.value, [0, 2, 0, 46], "faults")

# No unresolved name and nothing exported but the driver's names and the seam's.
names = subprocess.run(["nm", "-D", "--defined-only", os.path.join(STANDIN, "libcuda.so.1")], capture_output=True, text=True, check=True)
foreign = [name for name in (line.split()[2] for line in names.stdout.splitlines()) if not name.startswith(("cu", "standin_", "_Z"))]
equal(foreign, [], "exported names")
equal(run(["true"]).code, 0, "a program that does not use it")
finish()
