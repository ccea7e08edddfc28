"""What the stand-in's checks in Python share: clients in a process of their own, and their call log."""

import json
import os
import subprocess
import sys

STANDIN = os.environ["STANDIN"]
WORK = os.environ["STANDIN_WORK"]


class Run:
    """One client that ran on the stand-in: its exit code, its output, and what the log says of it."""

    def __init__(self, code, out, err, lines):
        self.code, self.out, self.err, self.lines = code, out, err, lines

    def calls(self, name):
        return [line for line in self.lines if line.get("call") == name]

    def copies(self, kind):
        """Bytes copied in a direction: HtoD, DtoH, DtoD, HtoH."""
        return sum(line["bytes"] for line in self.lines if line.get("kind") == kind and line["rc"] == 0)

    @property
    def violations(self):
        return [line["violation"] for line in self.lines if "violation" in line]

    @property
    def leaks(self):
        return [line["leak"] for line in self.lines if "leak" in line]


_number = 0


def run(command, timeout=60, **knobs):
    """Runs a command on the stand-in; PROFILE="h200" sets GS_STANDIN_PROFILE, and so on."""
    global _number
    _number += 1
    log = os.path.join(WORK, f"log-{_number}.jsonl")
    env = dict(os.environ, LD_LIBRARY_PATH=STANDIN, GS_STANDIN_LOG=log)
    for knob, value in knobs.items():
        env["GS_STANDIN_" + knob] = str(value)
    done = subprocess.run(command, env=env, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
    lines = []
    if os.path.exists(log):
        with open(log, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"), lines)


def script(text, **knobs):
    """Runs Python on the stand-in with `cu`, `ml` and `u64` at hand (see PRELUDE); the value printed last comes back."""
    done = run([sys.executable, "-c", PRELUDE + text], **knobs)
    done.value = None
    if done.code == 0 and done.out.strip():
        done.value = json.loads(done.out.strip().splitlines()[-1])
    return done


PRELUDE = """
import ctypes, ctypes as c, json, sys, threading, time
u64, size, ref = c.c_uint64, c.c_size_t, c.byref
class Library:
    # A function returns its status; integers pass as 64 bits.
    def __init__(self, name):
        self.lib = c.CDLL(name)
    def __getattr__(self, name):
        function = getattr(self.lib, name)
        return lambda *a: function(*[u64(x & (1 << 64) - 1) if isinstance(x, int) else x for x in a])
cu = Library("libcuda.so.1")
def say(value): print(json.dumps(value))
def begin(ordinal=0):
    context = u64()
    assert cu.cuInit(0) == 0 and cu.cuCtxCreate_v2(ref(context), 0, ordinal) == 0
    return context
def alloc(bytes):
    p = u64()
    status = cu.cuMemAlloc_v2(ref(p), bytes)
    assert status == 0, status
    return p.value
"""

_failures = []


def check(condition, text):
    """A finding: printed when it does not hold, and the check fails at its end."""
    if not condition:
        print("FAIL:", text)
        _failures.append(text)


def equal(found, wanted, text):
    check(found == wanted, f"{text}: {found!r}, not {wanted!r}")


def skip(text):
    print("skipped:", text)
    sys.exit(77)


def finish():
    if _failures:
        sys.exit(1)
    print("ok")
