"""The expectations of the table, each a function that raises `Wrong`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import boxes
import media
import numpy
import playlists
from media import Wrong

#: 75 % white, yellow, cyan, green, magenta, red and blue as R'G'B'.
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
LUMA = {"709": (0.2126, 0.0722), "601": (0.299, 0.114)}


def same(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise Wrong(f"{what} is {found!r}, not {wanted!r}")


def near(what: str, found: float, wanted: float, tolerance: float) -> None:
    if not abs(found - wanted) <= tolerance:
        raise Wrong(f"{what} is {found:g}, not {wanted:g} ± {tolerance:g}")


def length(stream: dict[str, Any], path: Path, frame: float) -> float:
    """The time from the first packet of a stream to the end of the last, from the packets themselves."""
    selected = {"video": "v:0", "audio": "a:0"}[stream["codec_type"]]
    found = media.probe(path, "-select_streams", selected, "-show_entries", "packet=pts_time,duration_time")["packets"]
    ends = [float(p["pts_time"]) + float(p.get("duration_time", frame)) for p in found if "pts_time" in p]
    return max(ends) - min(float(p["pts_time"]) for p in found if "pts_time" in p)


def check(expect: dict[str, Any], root: Path, sources: Path) -> None:
    """Checks one output."""
    path = root / expect["path"]
    if not path.is_file():
        raise Wrong(f"{expect['path']} was not written")
    media.decodes(path)
    if "hls" in expect:
        hls(path, expect["hls"])
    if "dash" in expect:
        dash(path, expect["dash"])
    found = media.streams(path)
    video = [s for s in found["streams"] if s["codec_type"] == "video"]
    audio = [s for s in found["streams"] if s["codec_type"] == "audio"]
    frame = 1 / float(Fraction(video[0]["r_frame_rate"])) if video else 0.0
    if "format" in expect and expect["format"] not in found["format"]["format_name"].split(","):
        raise Wrong(f"the format is {found['format']['format_name']}")
    if "video" in expect:
        same("the number of video tracks", len(video), 1)
        for key, wanted in expect["video"].items():
            match key:
                case "frames":
                    same("the number of frames", int(video[0]["nb_read_frames"]), wanted)
                case "rate":
                    same("the frame rate", Fraction(video[0]["r_frame_rate"]), Fraction(wanted))
                    same("the average frame rate", Fraction(video[0]["avg_frame_rate"]).limit_denominator(1001), Fraction(wanted))
                case _:
                    same(key, video[0].get(key), wanted)
    if "audio" in expect:
        same("the number of sound tracks", len(audio), len(expect["audio"]))
        for number, (stream, wanted) in enumerate(zip(audio, expect["audio"], strict=True)):
            sound(stream, number, wanted, path)
    if "subtitles" in expect:
        same("the subtitle tracks", [s["codec_name"] for s in found["streams"] if s["codec_type"] == "subtitle"], expect["subtitles"])
    if "words" in expect:
        text = media.call("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:s:0", "-f", "srt", "-").decode()
        if expect["words"] not in text:
            raise Wrong(f"the subtitles say {text!r}")
    if "duration" in expect:
        near("the duration of the file", float(found["format"]["duration"]), expect["duration"], max(frame, 0.06))
        if video:
            near("the duration of the pictures", length(video[0], path, frame), expect["duration"], frame)
    for key, wanted in expect.get("tags", {}).items():
        same(f"the tag {key}", found["format"].get("tags", {}).get(key), wanted)
    if "size" in expect:
        low, high = expect["size"]
        if not low <= path.stat().st_size <= high:
            raise Wrong(f"it has {path.stat().st_size} bytes")
    if expect.get("faststart"):
        order = boxes.top(path)
        if order.index("moov") > order.index("mdat"):
            raise Wrong(f"the index is at the end: {order}")
    if expect.get("fragmented") and "moof" not in boxes.top(path):
        raise Wrong("it is not fragmented")
    if "key_frames" in expect:
        grid(path, expect["key_frames"], frame)
    if "psnr" in expect:
        wanted = expect["psnr"]
        value = media.psnr(path, sources / wanted["source"], wanted.get("skip", 0), wanted.get("filter", ""))
        if value < float(wanted["floor"]):
            raise Wrong(f"the PSNR is {value:.2f} dB, below {wanted['floor']}")
    if "same_times" in expect:
        ours, theirs = ([float(p["pts_time"]) for p in media.packets(p)] for p in (path, sources / expect["same_times"]))
        for n, (a, b) in enumerate(zip(sorted(ours), sorted(theirs), strict=True)):
            near(f"the time of picture {n}", a - min(ours), b - min(theirs), 0.0015)
    if "same_packets" in expect:
        ours, theirs = (media.packets(p) for p in (path, sources / expect["same_packets"]))
        same("the number of packets", len(ours), len(theirs))
        if not path.name.endswith(".m3u8"):
            same("the coded bytes", [p["data_hash"] for p in ours], [p["data_hash"] for p in theirs])
        shift = float(ours[0]["pts_time"]) - float(theirs[0]["pts_time"])
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            near(f"the time of packet {n}", float(a["pts_time"]) - shift, float(b["pts_time"]), 0.0015)
    if "bars" in expect:
        bars(path, video[0]["width"], video[0]["height"], **expect["bars"])
    if "hdr10" in expect:
        hdr10(path, expect["hdr10"])
    if "flash" in expect:
        sync(path, expect, frame)


def sound(stream: dict[str, Any], number: int, expect: dict[str, Any], path: Path) -> None:
    for key, wanted in expect.items():
        match key:
            case "language":
                same("the language", stream.get("tags", {}).get("language"), wanted)
            case "duration":
                # A coded frame of priming or padding may stand at either end.
                near("the duration of the sound", length(stream, path, 0.02), wanted, 0.05)
            case "samples":
                select = ("-select_streams", f"a:{number}", "-show_entries", "frame=nb_samples")
                same("the number of samples", sum(f["nb_samples"] for f in media.probe(path, *select)["frames"]), wanted)
            case _:
                same(key, stream.get(key), wanted)


def grid(path: Path, interval: float, frame: float) -> None:
    """Key frames at the first picture and then every `interval` seconds exactly; between them only where that is allowed."""
    found = media.packets(path)
    keys = [float(p["pts_time"]) for p in found if p["flags"].startswith("K")]
    times = [float(p["pts_time"]) for p in found]
    end = max(times) + frame
    wanted = [min(times) + n * interval for n in range(int((end - min(times) - 0.001) / interval) + 1)]
    same("the number of key frames", len(keys), len(wanted))
    for a, b in zip(keys, wanted, strict=True):
        # The frame that begins on the grid, or the first one after it.
        if not -0.002 <= a - b < frame:
            raise Wrong(f"a key frame is at {a - min(times):g}, not at {b - min(times):g}")


def bars(path: Path, width: int, height: int, tolerance: float, matrix: str = "709", full: bool = False) -> None:
    """The seven upper bars have the code values that the standard gives them."""
    kr, kb = LUMA[matrix]
    picture = media.picture(path, width, height)
    for n, rgb in enumerate(BARS):
        red, green, blue = (0.75 * part for part in rgb)
        y = kr * red + (1 - kr - kb) * green + kb * blue
        cb, cr = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
        wanted = (255 * y, 128 + 255 * cb, 128 + 255 * cr) if full else (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)
        x, w = (2 * n + 1) * width // 14, width // 28
        patch = picture[height // 8 : height // 2, x - w : x + w].reshape(-1, 3)
        off = numpy.abs(patch.mean(0) - wanted).max()
        if off > tolerance:
            found = ", ".join(f"{v:.1f}" for v in patch.mean(0))
            raise Wrong(f"bar {n} is ({found}), not ({', '.join(f'{v:.1f}' for v in wanted)}) ± {tolerance}")


def hdr10(path: Path, expect: dict[str, Any]) -> None:
    shown = media.probe(path, "-select_streams", "v:0", "-read_intervals", "%+#1", "-show_frames", "-show_streams")
    data = {d["side_data_type"]: d for part in ("streams", "frames") for s in shown[part] for d in s.get("side_data_list", [])}
    light = data.get("Content light level metadata", {})
    for key in ("max_content", "max_average"):
        same(key, light.get(key), expect[key])
    display = data.get("Mastering display metadata", {})
    same("the mastering display", Fraction(display.get("max_luminance", "0")), Fraction(expect["max_luminance"]))


def sync(path: Path, expect: dict[str, Any], frame: float) -> None:
    """The white picture and the tone come together, and where the source has them."""
    seen, heard = media.flash(path), media.beep(path)
    near("sound after picture", heard - seen, expect["beep"] - expect["flash"], frame / 2 + 0.005)
    if not expect.get("offset_only"):
        near("the white picture", seen, expect["flash"], frame)


def hls(path: Path, expect: dict[str, Any]) -> None:
    """A multivariant playlist and everything below it."""
    top = playlists.master(path)
    sizes = [v["RESOLUTION"] for v, _ in top.variants]
    if "variants" in expect:
        same("the variants", sizes, expect["variants"])
    if "first" in expect:
        same("the top variant", sizes[0], expect["first"])
    if expect.get("no_upscale"):
        widths = [tuple(int(n) for n in s.split("x")) for s in sizes]
        if len(widths) < 2 or widths != sorted(widths, reverse=True) or any(n % 2 for s in widths for n in s):
            raise Wrong(f"the ladder is {sizes}")
    sounds = [m for m in top.media if m["TYPE"] == "AUDIO"]
    same("whether there is sound of its own", bool(sounds), expect.get("audio", False))
    if "subtitles" in expect:
        words = [m for m in top.media if m["TYPE"] == "SUBTITLES"]
        same("the subtitle languages", [m.get("LANGUAGE") for m in words], [expect["subtitles"]])
        texts = [file.read_text() for file, _ in playlists.media(path.parent / words[0]["URI"]).segments]
        if not all(t.startswith("WEBVTT") for t in texts) or not any("Fish &amp; chips" in t for t in texts):
            raise Wrong(f"the WebVTT segments are {texts}")
    if expect.get("iframes"):
        same("the I-frame variants", [m["RESOLUTION"] for m in top.iframes], sizes)
    sound_rate = 0.0
    for item in sounds:
        list_ = playlists.media(path.parent / item["URI"])
        sound_rate = max(sound_rate, *(file.stat().st_size * 8 / d for file, d in list_.segments))
    starts: list[list[float]] = []
    for attributes, list_path in top.variants:
        list_ = playlists.media(list_path)
        same("the playlist type", (list_.kind, list_.ended), ("VOD", True))
        durations = [d for _, d in list_.segments]
        same(f"the number of segments of {list_path.name}", len(durations), len(expect["segments"]))
        for n, (d, wanted) in enumerate(zip(durations, expect["segments"], strict=True)):
            near(f"segment {n} of {list_path.name}", d, wanted, 0.0015)
            if round(d) > list_.target:
                raise Wrong(f"segment {n} of {list_path.name} is longer than the target duration")
        near("FRAME-RATE", float(attributes["FRAME-RATE"]), expect["rate"], 0.0005)
        codecs = attributes["CODECS"].split(",")
        starts.append([])
        if expect.get("ts"):
            for file, _ in list_.segments:
                first = media.packets(file)
                if not first[0]["flags"].startswith("K"):
                    raise Wrong(f"{file.name} does not begin with a key frame")
                starts[-1].append(float(first[0]["pts_time"]))
        else:
            assert list_.map is not None
            init = list_.map.read_bytes()
            same(f"CODECS of {list_path.name}", codecs[0], boxes.avc_codec(init))
            scale, at = boxes.timescale(init), None
            for (file, d) in list_.segments:
                part = boxes.segment(file.read_bytes(), init)
                if not part.sync:
                    raise Wrong(f"{file.name} does not begin with a key frame")
                near(f"the samples of {file.name}", part.duration / scale, d, 0.0015)
                if at is not None:
                    same(f"the start of {list_path.name}, {file.name}", part.start, at)
                at = part.start + part.duration
                starts[-1].append(part.start / scale)
        same("the number of codecs", len(codecs), 1 + (bool(sounds) or bool(expect.get("ts"))))
        rate = max(file.stat().st_size * 8 / d for file, d in list_.segments) + sound_rate
        near(f"BANDWIDTH of {list_path.name}", int(attributes["BANDWIDTH"]) / rate, 1, 0.02)
        if int(attributes["AVERAGE-BANDWIDTH"]) > int(attributes["BANDWIDTH"]):
            raise Wrong("AVERAGE-BANDWIDTH is above BANDWIDTH")
    for row in starts[1:]:
        for a, b in zip(row, starts[0], strict=True):
            near("the start of a segment against the top rung's", a, b, 0.0015)


def dash(path: Path, expect: dict[str, Any]) -> None:
    """A static manifest; the files that its templates name are there, whole, and as long as it says."""
    duration, found = playlists.manifest(path)
    near("mediaPresentationDuration", duration, expect["duration"], 0.05)
    video = [r for r in found if r.kind == "video"]
    same("the video representations", [f"{r.attributes['width']}x{r.attributes['height']}" for r in video], expect["video"])
    same("the sound representations", sum(r.kind == "audio" for r in found), expect["audio"])
    for item in found:
        init = item.init.read_bytes()
        if item.kind == "video":
            same("codecs", item.attributes["codecs"], boxes.avc_codec(init))
        same("the timescale", item.scale, boxes.timescale(init))
        for file, time, d in item.segments:
            part = boxes.segment(file.read_bytes(), init)
            # Presentation times are composition times after the edit list; what lies before it (priming) is not shown.
            first = boxes.edit(init) + item.offset
            begin = max(part.earliest - first, 0)
            if expect.get("times", True):
                same(f"the presentation time of {item.attributes['id']}, {file.name}", time, begin)
            near(f"the samples of {file.name}", d, part.duration - max(first - part.earliest, 0), 1)
    for row in video[1:]:
        for one, other in zip(row.segments, video[0].segments, strict=True):
            near("the length of a segment against the top rung's", one[2] / row.scale, other[2] / video[0].scale, 0.0001)
