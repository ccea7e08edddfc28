#!/usr/bin/env python3
"""The engine's filters on CUDA frames do what the same filters do on the host (core/engine/src/filter/tests/cuda.rs)."""

import json
import os
import pathlib
import subprocess

from standin import check, equal, finish, run, skip

ROOT = pathlib.Path(__file__).parents[3]

built = subprocess.run(
    ["cargo", "test", "-q", "-p", "ghoststream", "--lib", "--no-run", "--message-format=json"],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    check=True,
)
programs = [json.loads(line) for line in built.stdout.splitlines() if line.startswith(b"{")]
programs = [p["executable"] for p in programs if p.get("profile", {}).get("test") and p.get("executable")]
if len(programs) != 1:
    skip(f"cargo built {len(programs)} test programs")

os.environ["GS_REQUIRE_GPU"] = "1"
done = run([programs[0], "filter::tests::cuda"], timeout=300)
print(done.out.decode(errors="replace"), done.err)
equal(done.code, 0, "the tests' exit code")
check(len(done.calls("cuLaunchKernel")) > 100, "the kernels ran")
equal(done.violations, [], "violations of CUDA's rules")
equal(done.leaks, [], "leaks")
finish()
