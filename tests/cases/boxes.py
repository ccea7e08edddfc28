"""A small reader of ISO base media files: enough to check CMAF segments and MP4 files without FFmpeg."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts"}


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Name, first byte of the body and end of every box from `start` to `end`, which must fit exactly."""
    end = len(data) if end is None else end
    while start < end:
        size, name = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - start
        assert body - start <= size <= end - start, f"box {name!r} at {start} does not fit"
        yield name.decode("latin-1"), body, start + size
        start += size


def top(path: Path) -> list[str]:
    """The names of the boxes of a file."""
    return [name for name, _, _ in boxes(path.read_bytes())]


def find(data: bytes, *path: str) -> Iterator[tuple[int, int]]:
    """Bodies of all boxes at a path such as `moov`, `trak`."""

    def walk(start: int, end: int, rest: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        for name, body, stop in boxes(data, start, end):
            if name == rest[0]:
                if len(rest) == 1:
                    yield body, stop
                else:
                    yield from walk(body, stop, rest[1:])

    return walk(0, len(data), path)


def timescale(init: bytes) -> int:
    """Ticks per second of the one track of an initialisation section."""
    ((body, _),) = find(init, "moov", "trak", "mdia", "mdhd")
    return struct.unpack_from(">I", init, body + (20 if init[body] == 1 else 12))[0]


def edit(init: bytes) -> int:
    """The media time that the edit list presents first: priming and reorder delay; 0 without one."""
    for body, _ in find(init, "moov", "trak", "edts", "elst"):
        long = init[body] == 1
        (time,) = struct.unpack_from(">q" if long else ">i", init, body + (16 if long else 12))
        return max(time, 0)
    return 0


def avc_codec(init: bytes) -> str | None:
    """The RFC 6381 name of an H.264 track, from its avcC record."""
    for body, end in find(init, "moov", "trak", "mdia", "minf", "stbl", "stsd"):
        for name, entry, stop in boxes(init, body + 8, end):
            if name in ("avc1", "avc3"):
                for inner, record, _ in boxes(init, entry + 78, stop):
                    if inner == "avcC":
                        return f"{name}." + init[record + 1 : record + 4].hex()
    return None


def trex_flags(init: bytes) -> tuple[int, int]:
    """Default sample duration and flags of an initialisation section."""
    for body, _ in find(init, "moov", "mvex", "trex"):
        duration, _, flags = struct.unpack_from(">III", init, body + 12)
        return duration, flags
    return 0, 0


@dataclass
class Segment:
    """What the fragments of one media segment say, in ticks."""

    start: int
    duration: int
    earliest: int  # the least presentation time
    samples: int
    sync: bool  # the first sample is a key frame


def segment(data: bytes, init: bytes) -> Segment:
    """Adds up the fragments of a segment; they must follow each other without a gap."""
    default_duration, default_flags = trex_flags(init)
    start: int | None = None
    at = samples = 0
    earliest: int | None = None
    sync = False
    for body, end in find(data, "moof", "traf"):
        duration, flags = default_duration, default_flags
        time = None
        for name, b, _ in boxes(data, body, end):
            bits = struct.unpack_from(">I", data, b)[0] & 0xFFFFFF
            p = b + 4
            if name == "tfhd":
                p += 4
                p += 8 if bits & 0x1 else 0
                p += 4 if bits & 0x2 else 0
                if bits & 0x8:
                    (duration,) = struct.unpack_from(">I", data, p)
                    p += 4
                p += 4 if bits & 0x10 else 0
                if bits & 0x20:
                    (flags,) = struct.unpack_from(">I", data, p)
            elif name == "tfdt":
                (time,) = struct.unpack_from(">Q" if data[b] == 1 else ">I", data, p)
                assert start is None or time == at, f"a fragment begins at {time}, the one before ends at {at}"
                start = time if start is None else start
                at = time
            elif name == "trun":
                assert time is not None, "trun before tfdt"
                (count,) = struct.unpack_from(">I", data, p)
                p += 4 + (4 if bits & 0x1 else 0)
                first = None
                if bits & 0x4:
                    (first,) = struct.unpack_from(">I", data, p)
                    p += 4
                for i in range(count):
                    length, mark = duration, first if i == 0 and first is not None else flags
                    if bits & 0x100:
                        (length,) = struct.unpack_from(">I", data, p)
                        p += 4
                    p += 4 if bits & 0x200 else 0
                    if bits & 0x400:
                        (mark,) = struct.unpack_from(">I", data, p)
                        p += 4
                    shift = 0
                    if bits & 0x800:
                        (shift,) = struct.unpack_from(">i", data, p)
                        p += 4
                    earliest = at + shift if earliest is None else min(earliest, at + shift)
                    if samples + i == 0:
                        sync = not mark & 0x10000
                    at += length
                samples += count
    assert start is not None and earliest is not None, "no fragment with a time"
    return Segment(start, at - start, earliest, samples, sync)
