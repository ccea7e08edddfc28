#!/usr/bin/env python3
"""What the engine's owner changes while NVENC runs: rates, sizes, key frames; and that packets do not wait for frames."""

import json
import os
import subprocess

from standin import STANDIN, equal, finish, run, skip

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
build = ["cargo", "test", "-q", "-p", "ghoststream", "--test", "standin", "--no-run", "--message-format", "json"]
try:
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
except FileNotFoundError:
    skip("cargo is missing")
made = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
tests = [m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "standin"]
equal(len(tests), 1, "test programs")
os.environ["GS_STANDIN"] = STANDIN
for test in tests:
    done = run([test, "--ignored", "--test-threads", "1"], timeout=240)
    equal(done.code, 0, f"{done.out.decode()[-2000:]} {done.err[-2000:]}")
    equal(done.violations, [], "violations")
    equal(done.leaks, [], "leaks")
    invalidated = [call["rc"] for call in done.calls("NvEncInvalidateRefFrames")]
    equal(invalidated, [0], "pictures that were lost, told to the driver")
finish()
