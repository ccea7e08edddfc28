#!/usr/bin/env python3
"""What the engine's owner changes while NVENC runs: rates, sizes, key frames; and that packets do not wait for frames."""

import json
import os
import subprocess

from standin import STANDIN, check, equal, finish, run, skip

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
build = ["cargo", "test", "-q", "--workspace", "--test", "standin", "--no-run", "--message-format", "json"]
try:
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
except FileNotFoundError:
    skip("cargo is missing")
made = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
tests = [m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "standin"]
equal(len(tests), 1, "test programs")
os.environ["GS_STANDIN"] = STANDIN
ALONE = "nothing_is_allocated_for_a_picture_once_it_runs"
AGAIN = "a_session_that_does_not_open_again_ends_no_job"
for test in tests:
    # It counts what its whole process takes; the encoder is slower than its owner, and its pictures are small.
    done = run([test, "--ignored", "--exact", ALONE], timeout=240, CODING="skip", FRAME_US=3000, PROFILE="rtx5090", API="13.0")
    check(b"1 passed" in done.out, f"{ALONE}: {done.out.decode()[-2000:]} {done.err[-2000:]}")
    equal((done.code, done.violations, done.leaks), (0, [], []), f"{ALONE}: code, violations, leaks")
    done = run([test, "--ignored", "--test-threads", "1", "--skip", ALONE, "--skip", AGAIN], timeout=240)
    equal(done.code, 0, f"{done.out.decode()[-2000:]} {done.err[-2000:]}")
    equal(done.violations, [], "violations")
    equal(done.leaks, [], "leaks")
    # A session that does not open again: the one before goes on, or another encoder.
    for fault in ("NvEncInitializeEncoder:2=8", "NvEncInitializeEncoder:2+=8"):
        reopened = run([test, "--ignored", "--exact", AGAIN], timeout=240, FAULT=fault)
        check(b"1 passed" in reopened.out, f"{fault}: {reopened.out.decode()[-2000:]} {reopened.err[-2000:]}")
        equal((reopened.code, reopened.violations, reopened.leaks), (0, [], []), f"{fault}: code, violations, leaks")
    invalidated = [call["rc"] for call in done.calls("NvEncInvalidateRefFrames")]
    equal(invalidated, [0], "pictures that were lost, told to the driver")
finish()
