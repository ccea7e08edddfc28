"""Looks at a screen (or a camera) as numpy arrays and tells when something on it changes:

screen_numpy.py [screen:?fps=10 | camera:/dev/video0] [SECONDS]
"""

import sys
import time

import numpy

import ghoststream as gs


def main() -> None:
    if len(sys.argv) > 3:
        sys.exit("usage: screen_numpy.py [SOURCE] [SECONDS]")
    source = sys.argv[1] if len(sys.argv) > 1 else "screen:?fps=10"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    before = None
    pictures = changes = 0
    try:
        with gs.open(source, format="rgb24") as screen:
            end = time.monotonic() + seconds
            # Whatever is done with one picture, the next one is the newest.
            while time.monotonic() < end and (frame := screen.read()) is not None:
                now = frame.to_numpy()
                pictures += 1
                if before is not None and before.shape == now.shape:
                    differs = numpy.any(now != before, axis=2)
                    if differs.any():
                        changes += 1
                        rows, columns = numpy.nonzero(differs)
                        print(f"{frame.time:6.2f} s: {columns.min()},{rows.min()} to {columns.max()},{rows.max()} changed")
                before = now
    except gs.Error as error:
        sys.exit(f"screen_numpy.py: {error}")
    height, width = before.shape[:2] if before is not None else (0, 0)
    print(f"{pictures} pictures of {width}x{height}, {changes} with something new")


if __name__ == "__main__":
    main()
