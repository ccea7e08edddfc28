"""``python -m ghoststream``: the command, with the same arguments and exit codes; without any it is the server."""

import json
import os
import signal
import sys

from . import _native
from ._server import WORKER


def main() -> int:
    """Runs the command with the arguments of the process and returns its exit code."""
    # The command handles Ctrl-C itself: first finish, then cancel.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A server started from here runs its jobs in this Python again.
    os.environ.setdefault("GHOSTSTREAM_TRANSCODING_WORKER_COMMAND", json.dumps(WORKER))
    sys.stdout.flush()
    # As ever, nothing else said means the server.
    return _native.command(["ghoststream", *(sys.argv[1:] or ["serve"])])


if __name__ == "__main__":
    sys.exit(main())
