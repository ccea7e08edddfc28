"""Readers of HLS playlists and DASH manifests, written from RFC 8216 and ISO 23009-1, not from GhostStream."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)(?:,|$)')
MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def attributes(text: str) -> dict[str, str]:
    """An attribute list; what does not parse is an error."""
    found, at = {}, 0
    while at < len(text):
        match = ATTRIBUTE.match(text, at)
        assert match, f"not an attribute list: {text[at:]!r}"
        assert match[1] not in found, f"{match[1]} twice"
        found[match[1]] = match[2].strip('"')
        at = match.end()
    return found


@dataclass
class Media:
    """A media playlist."""

    map: Path | None = None
    target: int = 0
    version: int = 1
    kind: str | None = None
    ended: bool = False
    segments: list[tuple[Path, float]] = field(default_factory=list)


@dataclass
class Master:
    """A multivariant playlist."""

    variants: list[tuple[dict[str, str], Path]] = field(default_factory=list)
    iframes: list[dict[str, str]] = field(default_factory=list)
    media: list[dict[str, str]] = field(default_factory=list)


def lines(path: Path) -> list[str]:
    found = path.read_text(encoding="utf-8").splitlines()
    assert found and found[0] == "#EXTM3U", f"{path} does not begin with #EXTM3U"
    return found[1:]


def master(path: Path) -> Master:
    """Reads a multivariant playlist."""
    found, pending = Master(), None
    for line in lines(path):
        if line.startswith("#EXT-X-STREAM-INF:"):
            pending = attributes(line.split(":", 1)[1])
        elif line.startswith("#EXT-X-I-FRAME-STREAM-INF:"):
            found.iframes.append(attributes(line.split(":", 1)[1]))
        elif line.startswith("#EXT-X-MEDIA:"):
            found.media.append(attributes(line.split(":", 1)[1]))
        elif line and not line.startswith("#"):
            assert pending is not None, f"{line} without EXT-X-STREAM-INF"
            found.variants.append((pending, path.parent / line))
            pending = None
    return found


def media(path: Path) -> Media:
    """Reads a media playlist. Byte ranges (I-frame playlists) are not read."""
    found, duration = Media(), None
    for line in lines(path):
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-TARGETDURATION":
                found.target = int(value)
            case "#EXT-X-VERSION":
                found.version = int(value)
            case "#EXT-X-PLAYLIST-TYPE":
                found.kind = value
            case "#EXT-X-MAP":
                found.map = path.parent / attributes(value)["URI"]
            case "#EXTINF":
                duration = float(value.split(",")[0])
            case "#EXT-X-ENDLIST":
                found.ended = True
            case _ if line and not line.startswith("#"):
                assert duration is not None, f"{line} without EXTINF"
                found.segments.append((path.parent / line, duration))
                duration = None
    return found


def seconds(text: str) -> float:
    """An ISO 8601 duration such as PT1M2.5S."""
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", text)
    assert match, f"{text!r} is not a duration"
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


@dataclass
class Representation:
    """One representation with the files that its template names."""

    attributes: dict[str, str]
    kind: str
    init: Path
    scale: int
    offset: int  # presentationTimeOffset
    segments: list[tuple[Path, int, int]]  # with S@t and S@d in ticks


def manifest(path: Path) -> tuple[float, list[Representation]]:
    """The duration and the representations of a static manifest with a SegmentTimeline."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == MPD + "MPD" and root.get("type", "static") == "static", root.tag
    found = []
    for group in root.iterfind(f"{MPD}Period/{MPD}AdaptationSet"):
        for item in group.iterfind(MPD + "Representation"):
            template = item.find(MPD + "SegmentTemplate")
            template = group.find(MPD + "SegmentTemplate") if template is None else template
            if template is None:
                continue  # a text file as a whole
            name = item.attrib["id"]
            scale = int(template.get("timescale", "1"))
            number, time, parts = int(template.get("startNumber", "1")), 0, []
            for entry in template.iterfind(f"{MPD}SegmentTimeline/{MPD}S"):
                time = int(entry.get("t", time))
                for _ in range(int(entry.get("r", "0")) + 1):
                    file = path.parent / expand(template.attrib["media"], name, number, time)
                    parts.append((file, time, int(entry.attrib["d"])))
                    time += int(entry.attrib["d"])
                    number += 1
            merged = {**group.attrib, **item.attrib}
            kind = merged.get("contentType") or merged.get("mimeType", "").split("/")[0]
            init = path.parent / expand(template.attrib["initialization"], name, 0, 0)
            offset = int(template.get("presentationTimeOffset", "0"))
            found.append(Representation(merged, kind, init, scale, offset, parts))
    return seconds(root.attrib["mediaPresentationDuration"]), found


def expand(template: str, name: str, number: int, time: int) -> str:
    """Fills in a segment template."""
    values = {"RepresentationID": name, "Number": number, "Time": time}

    def one(match: re.Match[str]) -> str:
        value = values[match[1]]
        return f"{value:0{match[2]}d}" if match[2] else str(value)

    return re.sub(r"\$(\w+?)(?:%0(\d+)d)?\$", one, template)
