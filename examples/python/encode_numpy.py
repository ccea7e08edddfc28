"""Draws pictures with numpy and encodes them into a file: encode_numpy.py OUT"""

import sys

import numpy

import ghoststream as gs

WIDTH, HEIGHT, FRAMES = 640, 360, 100


def picture(n: int) -> numpy.ndarray:
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - 40 - 5 * n) ** 2 + (y - HEIGHT / 2) ** 2 < 30**2
    shades = numpy.stack([x * 255 // WIDTH, y * 255 // HEIGHT, numpy.full_like(x, n * 2)], axis=-1)
    shades[disc] = (255, 255, 255)
    return shades.astype(numpy.uint8)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: encode_numpy.py OUT")
    try:
        with gs.open(sys.argv[1], "w", fps=25, codec="h264", crf=20, overwrite=True) as film:
            for n in range(FRAMES):
                film.write(picture(n))
    except gs.Error as error:
        sys.exit(f"encode_numpy.py: {error}")
    print(f"{FRAMES} frames of {WIDTH}x{HEIGHT} in {sys.argv[1]}")


if __name__ == "__main__":
    main()
