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
# Also with work that is done 1 ms late, so that who forgets to wait for a stream is found out.
for late in ({}, {"ASYNC": 1000}):
    done = run([programs[0], "filter::tests::cuda"], timeout=300, **late)
    print(done.out.decode(errors="replace"), done.err)
    equal(done.code, 0, f"the tests' exit code {late}")
    check(len(done.calls("cuLaunchKernel")) > 100, f"the kernels ran {late}")
    equal(done.violations, [], f"violations of CUDA's rules {late}")
    equal(done.leaks, [], f"leaks {late}")
finish()
