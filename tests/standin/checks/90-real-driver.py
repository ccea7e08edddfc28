"""Where a real NVIDIA driver is installed: it answers as the stand-in does. Elsewhere there is nothing to compare, which is no skip."""

import json
import os
import subprocess
import sys

from misuse import ANSWERS, MISUSE, NVML
from standin import PRELUDE, equal, finish, script


def real(text):
    env = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    done = subprocess.run([sys.executable, "-c", PRELUDE + text], env=env, capture_output=True, text=True, timeout=120)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else f"ended with {done.returncode}: {done.stderr[-200:]}"


name = real("b = c.create_string_buffer(96); say([cu.cuInit(0), cu.cuDeviceGetName(b, 96, 0), b.value.decode()])")
if not isinstance(name, list) or name[:2] != [0, 0]:
    if os.environ.get("GS_REQUIRE_GPU"):
        equal(name, "a name", "the real driver's device")
        finish()
    print("note: no NVIDIA driver with a device here; nothing to compare with")
    sys.exit(0)
print("note: compared with", name[2])
# The profile that is nearest.
profile = "h200" if "H200" in name[2] or "H100" in name[2] else "rtx4090"
for text, status, _ in MISUSE:
    equal(real(text), status, f"the real driver: {text}")
for text in [*ANSWERS, NVML]:
    equal(script(text, PROFILE=profile).value, real(text), f"the stand-in, not the real driver: {text}")
finish()
