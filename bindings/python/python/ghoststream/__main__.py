"""``python -m ghoststream``: the command, with the same arguments and exit codes."""

import signal
import sys

from . import _native


def main() -> int:
    """Runs the command with the arguments of the process and returns its exit code."""
    # The command handles Ctrl-C itself: first finish, then cancel.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    return _native.command(["ghoststream", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
