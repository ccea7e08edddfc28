"""Tells what is in a film: probe.py IN"""

import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: probe.py IN")
    try:
        found = gs.probe(sys.argv[1])
    except gs.Error as error:
        sys.exit(f"probe.py: {error}")
    print(f"{found['source']}: {found['format']}, {found['duration']} s")
    for stream in found["streams"]:
        line = f"  {stream['index']} {stream['kind']} {stream['codec']}"
        if video := stream.get("video"):
            line += f" {video['width']}x{video['height']} {video['pixel_format']}"
        if audio := stream.get("audio"):
            line += f" {audio['sample_rate']} Hz {audio['layout']}"
        print(line)


if __name__ == "__main__":
    main()
