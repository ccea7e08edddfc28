"""The transcoding server in your own program: serve.py FOLDER [PORT]

Films below FOLDER may be asked for; what is made of them is kept in FOLDER/.ghoststream. Without a port a free one is taken.
Prints where it listens, and ends when standard input does.
"""

import os
import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: serve.py FOLDER [PORT]")
    folder = os.path.abspath(sys.argv[1])
    kept = os.path.join(folder, ".ghoststream")
    settings = {
        "server": {"host": "127.0.0.1", "port": int(sys.argv[2]) if len(sys.argv) > 2 else 0},
        "mdns": {"enabled": False, "udp_enabled": False},
        "transcoding": {"temp_directory": kept},
        "security": {"state_directory": kept, "sources": {"local_roots": [folder]}},
    }
    try:
        with gs.Server(settings) as server:
            print(server.url, flush=True)
            sys.stdin.read()
            # Films that are being made go on with the next start.
    except gs.Error as error:
        sys.exit(f"serve.py: {error}")


if __name__ == "__main__":
    main()
