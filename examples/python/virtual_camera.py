"""Draws pictures with numpy into a camera that other programs can open: virtual_camera.py NAME [SECONDS]"""

import sys
import time
from fractions import Fraction

import numpy

import ghoststream as gs

WIDTH, HEIGHT, RATE = 640, 360, 30


def picture(n: int) -> numpy.ndarray:
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - (8 * n) % WIDTH) ** 2 + (y - HEIGHT / 2) ** 2 < 40**2
    shades = numpy.stack([x * 255 // WIDTH, y * 255 // HEIGHT, numpy.full_like(x, 96)], axis=-1)
    shades[disc] = (255, 255, 255)
    return shades.astype(numpy.uint8)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: virtual_camera.py NAME [SECONDS]")
    seconds = float(sys.argv[2]) if len(sys.argv) == 3 else 60.0
    pictures = {"width": WIDTH, "height": HEIGHT, "format": "rgb24", "frame_rate": RATE}
    document = {"source": {"frames": {"video": pictures}}, "outputs": [{"camera": {"name": sys.argv[1]}}]}
    shown = 0
    try:
        with gs.Pipeline(document).start() as job:
            begin = time.monotonic()
            while shown < seconds * RATE:
                # The camera shows pictures at their time; pushing waits while enough of them lie ready.
                job.push_frame(gs.Frame.from_numpy(picture(shown), pts=shown, time_base=Fraction(1, RATE)))
                shown += 1
            job.finish_input()
    except gs.Error as error:
        sys.exit(f"virtual_camera.py: {error}")
    print(f"{shown} pictures in {time.monotonic() - begin:.1f} s on the camera {sys.argv[1]}")


if __name__ == "__main__":
    main()
