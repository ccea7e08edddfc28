"""Decodes a film to numpy, then picks frames by index and by time: read_frames.py IN FOLDER"""

import sys
from pathlib import Path

import ghoststream as gs


def save(frame: gs.Frame, path: Path) -> None:
    """As a PPM picture, straight from the frame's memory."""
    with path.open("wb") as file:
        file.write(f"P6 {frame.width} {frame.height} 255\n".encode())
        file.write(frame.to_numpy().tobytes())


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: read_frames.py IN FOLDER")
    folder = Path(sys.argv[2])
    try:
        with gs.open(sys.argv[1], format="rgb24") as film:
            brightness = [float(frame.to_numpy()[::8, ::8].mean()) for frame in film]
            brightest = max(range(len(brightness)), key=brightness.__getitem__)
            print(f"{len(brightness)} frames, {film.duration:.2f} s; the brightest is frame {brightest}")
            save(film[brightest], folder / "brightest.ppm")
            save(film[-1], folder / f"frame-{len(film) - 1}.ppm")
            middle = film.frame_at((film.duration or 0) / 2)
            save(middle, folder / "middle.ppm")
            print(f"the middle is the frame at {middle.time:.3f} s")
    except (gs.Error, OSError) as error:
        sys.exit(f"read_frames.py: {error}")


if __name__ == "__main__":
    main()
