"""libnvidia-ml.so.1 and the profiles: both libraries tell the same of each card."""

import os

from standin import WORK, check, equal, finish, script

ASK = """
ml = Library("libnvidia-ml.so.1")
def text(f, *a):
    b = c.create_string_buffer(96); rc = f(*a, b, 96); return b.value.decode() if rc == 0 else rc
def number(f, *a):
    n = c.c_uint(0); rc = f(*a, ref(n)); return n.value if rc == 0 else [rc]
rc = ml.nvmlInit_v2()
"""
DEVICE = ASK + """
count = number(ml.nvmlDeviceGetCount_v2)
cu.cuInit(0)
out = []
for i in range(count):
    h = u64(); assert ml.nvmlDeviceGetHandleByIndex_v2(i, ref(h)) == 0
    memory = (u64 * 3)(); ml.nvmlDeviceGetMemoryInfo(h, memory)
    total, uuid = size(), c.create_string_buffer(16)
    cu.cuDeviceTotalMem_v2(ref(total), i); cu.cuDeviceGetUuid(uuid, i)
    cc = [c.c_int(), c.c_int()]; cu.cuDeviceGetAttribute(ref(cc[0]), 75, i); cu.cuDeviceGetAttribute(ref(cc[1]), 76, i)
    bus = c.create_string_buffer(20); cu.cuDeviceGetPCIBusId(bus, 20, i)
    by_bus, by_uuid = u64(), u64()
    ml.nvmlDeviceGetHandleByPciBusId_v2(bus, ref(by_bus))
    ml.nvmlDeviceGetHandleByUUID(text(ml.nvmlDeviceGetUUID, h).encode(), ref(by_uuid))
    out.append(dict(name=text(ml.nvmlDeviceGetName, h), cuda=text(lambda b, n: cu.cuDeviceGetName(b, 96, i)),
        memory=memory[0] >> 20, total=total.value >> 20, cc=[x.value for x in cc],
        uuid=text(ml.nvmlDeviceGetUUID, h).replace("-", "")[3:] == uuid.raw.hex(),
        found=[by_bus.value == h.value, by_uuid.value == h.value],
        driver=text(ml.nvmlSystemGetDriverVersion), encoder=[number(ml.nvmlDeviceGetEncoderCapacity, h, k) for k in range(3)]))
say(out)
"""
FULL, NONE = 100, [3]
PROFILES = {
    "gtx1650": [("NVIDIA GeForce GTX 1650", 4096, [7, 5], "550.54.14", [FULL, FULL, NONE])],
    "gtx1660": [("NVIDIA GeForce GTX 1660", 6144, [7, 5], "560.35.03", [FULL, FULL, NONE])],
    "rtx2060": [("NVIDIA GeForce RTX 2060", 6144, [7, 5], "550.54.14", [FULL, FULL, NONE])],
    "rtx3060": [("NVIDIA GeForce RTX 3060", 12288, [8, 6], "570.133.07", [FULL, FULL, NONE])],
    "rtx4090": [("NVIDIA GeForce RTX 4090", 24564, [8, 9], "570.133.07", [FULL, FULL, FULL])],
    "rtx5090": [("NVIDIA GeForce RTX 5090", 32607, [12, 0], "610.00", [FULL, FULL, FULL])],
    "l4": [("NVIDIA L4", 23034, [8, 9], "570.133.07", [FULL, FULL, FULL])],
    "h200": [("NVIDIA H200", 143771, [9, 0], "570.133.07", [NONE, NONE, NONE])],
    "dual": [("NVIDIA GeForce RTX 4090", 24564, [8, 9], "570.133.07", [FULL, FULL, FULL]),
             ("NVIDIA GeForce RTX 3060", 12288, [8, 6], "570.133.07", [FULL, FULL, NONE])],
}
for profile, cards in PROFILES.items():
    r = script(DEVICE, PROFILE=profile)
    want = [dict(name=name, cuda=name, memory=memory, total=memory, cc=cc, uuid=True, found=[True, True], driver=driver,
                 encoder=encoder) for name, memory, cc, driver, encoder in cards]
    equal(r.value, want, f"{profile} ({r.err[:200]})")

# An older driver, chosen by its API; a machine without a card; a typing error.
r = script(ASK + "say(text(ml.nvmlSystemGetDriverVersion))", API="11.1")
equal(r.value, "470.57.02", "the driver of API 11.1")
r = script(ASK + "say([rc, cu.cuInit(0)])", PROFILE="none")
equal(r.value, [9, 100], "a machine without a card")
r = script("say(cu.cuInit(0))", PROFILE="rtx9999")
check(r.code != 0 and "rtx9999" in r.err, "an unknown profile ends the process and is named")
r = script("begin()", MEMORY="lots")
check(r.code != 0 and "GS_STANDIN_MEMORY" in r.err, "a knob that is no number ends the process and is named")

# What changes while a card works comes from a file.
state = os.path.join(WORK, "state")
with open(state, "w", encoding="utf-8") as file:
    file.write("temperature=71\n1.temperature=88\npower=123000\n")
r = script(ASK + f"""
h = [u64(), u64()]
for i in range(2): ml.nvmlDeviceGetHandleByIndex_v2(i, ref(h[i]))
def look(): return [number(ml.nvmlDeviceGetTemperature, x, 0) for x in h]
before = look() + [number(ml.nvmlDeviceGetPowerUsage, h[0])]
open({state!r}, "w").write("temperature=95\\n0.lost=1\\n")
say([before, look()])
""", PROFILE="dual", STATE=state)
equal(r.value, [[71, 88, 123000], [[15], 95]], f"readings from a file ({r.err[:200]})")

# Sessions are counted over all processes that share a file, as a driver does; those of a process that ended do not count.
shared = os.path.join(WORK, "sessions")
r = script(f"""
import subprocess
first = [cu.standin_session_open(0) > 0 for i in range(2)]
text = "import ctypes; cu = ctypes.CDLL('libcuda.so.1'); print([cu.standin_session_open(0) > 0 for i in range(2)])"
def other(): return eval(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout)
second, third = other(), other()
cu.standin_session_close(1)
say([first, second, third, other(), cu.standin_session_open(0) > 0, cu.standin_session_open(0) > 0, cu.standin_session_open(0)])
""", SESSIONS=3, SESSIONS_FILE=shared)
equal(r.value, [[True, True], [True, False], [True, False], [True, True], True, True, 0], f"a limit of 3 sessions ({r.err[:300]})")

# Memory that CUDA has allocated is NVML's used memory.
r = script(ASK + """
begin(); h = u64(); ml.nvmlDeviceGetHandleByIndex_v2(0, ref(h))
m = (u64 * 3)(); p = alloc(5 << 20); ml.nvmlDeviceGetMemoryInfo(h, m); say(m[2] >> 20)
""")
equal(r.value, 5, "used memory")
finish()
