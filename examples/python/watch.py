"""Has a GhostStream server transcode a film for watching, and prints where: watch.py HOST:PORT SOURCE"""

import sys
import time
import urllib.parse
import urllib.request

from ghoststream.client import GhostStreamClient


def first_segment(playlist: str) -> str:
    """The address of the first segment behind a playlist, or behind the first playlist that it names."""
    with urllib.request.urlopen(playlist, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    named = next(line for line in lines if line and not line.startswith("#"))
    address = urllib.parse.urljoin(playlist, named)
    return first_segment(address) if ".m3u8" in named else address


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: watch.py HOST:PORT SOURCE")
    began = time.monotonic()
    with GhostStreamClient(manual_server=sys.argv[1]) as client:
        job = client.transcode_sync(sys.argv[2], mode="abr")
        if not job.stream_url:
            sys.exit(f"watch.py: {job.error_message}")
        with urllib.request.urlopen(first_segment(job.stream_url), timeout=60) as answer:
            size = len(answer.read())
        print(f"the first segment ({size} bytes) was there {time.monotonic() - began:.2f} s after it was asked for")
        print(job.stream_url)


if __name__ == "__main__":
    main()
