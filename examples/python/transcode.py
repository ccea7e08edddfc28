"""Turns a film into an MP4 file, showing how far it is: transcode.py IN OUT"""

import sys

import ghoststream as gs


def show(event: gs.Event) -> None:
    percent = f"{event.fraction:4.0%}" if event.fraction is not None else f"{event.time:.1f} s"
    print(f"\r{percent}  {event.fps:.0f} frames/s", end="", file=sys.stderr)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: transcode.py IN OUT")
    try:
        done = gs.transcode(
            sys.argv[1], sys.argv[2], video="h264", crf=23, audio="aac:128k", overwrite=True, progress=show
        )
    except gs.Error as error:
        sys.exit(f"transcode.py: {error}")
    print(f"\n{', '.join(done.outputs)} in {done.elapsed:.1f} s")


if __name__ == "__main__":
    main()
