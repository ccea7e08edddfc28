"""Runs a job document:  run_spec.py FILE.json"""

import sys

import ghoststream as gs

with open(sys.argv[1], encoding="utf-8") as file:
    document = file.read()
try:
    with gs.Pipeline(document).start() as job:
        done = job.wait()
except gs.Error as error:
    sys.exit(f"{type(error).__name__}: {error}")
sys.exit(done.outcome != "completed")
