"""What a film has besides its pictures: two languages and subtitles, live from a loop, as it is and as a ladder; and the same in
MPEG-TS segments, which FFmpeg plays. The subtitles are WebVTT in HLS and CMAF (`wvtt`) in DASH: hls.js and shaka show the first and dash.js and shaka the second in a
browser, with the pictures that it belongs to, and GStreamer reads the second.

    tracks.py       GS_CLI, GS_LIVE_WORK, GS_NODE_MODULES, GS_CHROMIUM; exit code 77: a peer is missing
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys

import serving
from serving import WORK, Server, listed, until

HERE = pathlib.Path(__file__).resolve().parent
CONFIG = """
live:
  enabled: true
  rtmp_port: null
  webrtc_port: null
  segment_duration: 1
  hls_ts: true
  sources:
    - {name: film, url: "%(film)s"}
    - {name: small, url: "%(film)s", qualities: [240p]}
"""
SRT = """1
00:00:00,500 --> 00:00:02,500
first <i>words</i>

2
00:00:04,200 --> 00:00:05,000
words & more
"""


def attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', line)}


def media(text: str, kind: str) -> list[dict[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("#EXT-X-MEDIA:")]
    return [a for line in lines if (a := attributes(line)).get("TYPE") == kind]


# Words for who does not hear.
DEAF = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
# Run by the system's Python, which GStreamer's bindings are for.
DEMUX = """
import gi, json, sys
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
pipeline = Gst.parse_launch(f"filesrc location={sys.argv[1]} ! qtdemux ! appsink name=out sync=false")
sink, found = pipeline.get_by_name("out"), []
pipeline.set_state(Gst.State.PLAYING)
while sample := sink.emit("try-pull-sample", 5 * Gst.SECOND):
    buffer = sample.get_buffer()
    words = buffer.extract_dup(0, buffer.get_size()).decode()
    found.append((buffer.pts / Gst.SECOND, buffer.duration / Gst.SECOND, words))
pipeline.set_state(Gst.State.NULL)
json.dump(found, sys.stdout)
"""


def gstreamer(data: bytes) -> list[tuple[float, float, str]]:
    """Begin, length (seconds) and words of every buffer that GStreamer's demuxer makes of a track of text."""
    file = WORK / "text.mp4"
    file.write_bytes(data)
    done = subprocess.run(["/usr/bin/python3", "-c", DEMUX, file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def checks(server: Server) -> int:
    base = server.at["http"] + "/streams/"

    def fetch(path: str) -> bytes:
        return serving.get(base + path)

    def get(path: str) -> str:
        return fetch(path).decode()

    for name, size in (("film", "320x180"), ("small", "320x180")):
        master = until(f"{name} is there", lambda: get(f"{name}/playlist.m3u8"))
        (variant,) = [attributes(line) for line in master.splitlines() if line.startswith("#EXT-X-STREAM-INF:")]
        sounds, texts = media(master, "AUDIO"), media(master, "SUBTITLES")
        assert [s.get("LANGUAGE") for s in sounds + texts] == ["en", "de", "de"], master
        assert variant["AUDIO"] == sounds[1]["GROUP-ID"] and variant["RESOLUTION"] == size, master
        assert [s["DEFAULT"] for s in sounds] == ["YES", "NO"], master
        said = [s.get("CHARACTERISTICS") for s in sounds + texts]
        assert said == [None, "public.accessibility.describes-video", DEAF], master
        assert len(texts) == 1 and variant["SUBTITLES"] == texts[0]["GROUP-ID"], master
        playlists = {kind: f"{name}/{of[-1]['URI']}" for kind, of in (("sound", sounds), ("text", texts))}

        def words() -> list[tuple[float, str]]:
            """All cues that the playlist's segments have, with their times."""
            text = get(playlists["text"])
            names = listed(text)
            cues = set()
            for segment in names:
                body = get(f"{name}/{segment}")
                assert body.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"), body
                for h, m, s, line in re.findall(r"(\d\d):(\d\d):(\d\d\.\d+) --> \S+\n(.+)", body):
                    cues.add((int(h) * 3600 + int(m) * 60 + float(s), line))
            return sorted(cues)

        # The film begins again after six seconds, and so do its words.
        cues = until("both cues twice", lambda: c if len(c := words()) >= 4 else None)
        for line in ("first <i>words</i>", "words &amp; more"):
            times = [at for at, said in cues if said == line]
            assert all(5.8 < b - a < 6.3 for a, b in zip(times, times[1:])), cues
        first = [at for at, said in cues if said.startswith("first")]
        other = [at for at, said in cues if said.endswith("more")]
        assert any(abs(b - a - 3.7) < 0.1 for a in first for b in other), cues
        assert "#EXTINF" in get(playlists["sound"])

        # DASH offers it, and what it offers is what another demuxer understands.
        manifest = get(f"{name}/manifest.mpd")
        (text,) = re.findall(r'<AdaptationSet id="\d+" contentType="text" lang="de">.*?</AdaptationSet>', manifest, re.S)
        assert 'mimeType="application/mp4" codecs="wvtt"' in text and '<Role schemeIdUri="urn:mpeg:dash:role:2011" value="caption"/>' in text, text
        roles = re.findall(r'contentType="audio".*?<Role schemeIdUri="urn:mpeg:dash:role:2011" value="(\w+)"/>', manifest, re.S)
        assert roles == ["main", "description"], manifest
        initialization, pattern = re.search(r'initialization="([^"]+)" media="([^"]+)"', text).groups()
        playlist = get(playlists["text"])
        first = int(re.search(r"MEDIA-SEQUENCE:(\d+)", playlist)[1])
        numbers = range(first, first + playlist.count("#EXTINF"))
        names = [initialization, *(pattern.replace("$Number$", str(n)) for n in numbers)]
        boxed = gstreamer(b"".join(fetch(f"{name}/{one}") for one in names))
        # A cue is in pieces, one for each chunk that it is shown in: together they last as long as it.
        for line, length in (("first <i>words</i>", 2.0), ("words &amp; more", 0.8)):
            plain = re.sub(r"<[^>]*>", "", line)
            pieces = [(at, lasts) for at, lasts, said in boxed if plain in re.sub(r"<[^>]*>", "", said) or line in said]
            runs: list[list[float]] = []
            for at, lasts in pieces:
                if runs and abs(runs[-1][1] - at) < 0.002:
                    runs[-1][1] = at + lasts
                else:
                    runs.append([at, at + lasts])
            # Those at the ends may be cut.
            assert any(abs(end - begin - length) < 0.05 for begin, end in runs), (line, runs, boxed[:20])
            assert all(end - begin < length + 0.05 for begin, end in runs), (line, runs)

    # Players show it, at the time of the pictures that it belongs to.
    command = ["node", HERE / "cues.mjs", f"{base}film/"]
    played = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=240)
    assert played.returncode in (0, 77), "a player does not show the text"

    # The same in MPEG-TS: one sound is inside, the other beside it.
    master = until("ts.m3u8", lambda: get("film/ts.m3u8"))
    sounds = media(master, "AUDIO")
    assert sounds[1]["CHARACTERISTICS"] == "public.accessibility.describes-video", master
    assert len(sounds) == 2 and "URI" not in sounds[0] and "URI" in sounds[1], master
    name = listed(master)[0]
    assert "EXT-X-MAP" not in get(f"film/{name}") and ".ts\n" in get(f"film/{name}")
    out = WORK / "played.ts"
    command = ["ffmpeg", "-v", "error", "-y", "-i", f"{base}film/ts.m3u8", "-map", "0:v", "-map", "0:a", "-c", "copy", "-t", "5", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    command = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets", "-of", "json", out]
    streams = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)["streams"]
    counts = [(s["codec_name"], int(s["nb_read_packets"])) for s in streams]
    assert [c for c, _ in counts] == ["h264", "aac", "aac"] and counts[0][1] >= 100 and min(n for _, n in counts[1:]) >= 200, counts
    return played.returncode


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "words.srt").write_text(SRT)
    film = WORK / "film.mkv"
    # Bright while a text is to be shown, and dark while none is.
    bright = "drawbox=c=black:t=fill,drawbox=c=white:t=fill:enable='between(t,0.5,2.499)+between(t,4.2,4.999)'"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d=6,{bright}", "-f", "lavfi", "-i", "sine=440:sample_rate=48000:d=6"]
    source += ["-f", "lavfi", "-i", "sine=880:sample_rate=48000:d=6", "-i", WORK / "words.srt"]
    codecs = ["-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0"]
    codecs += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-c:s", "srt", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *codecs, "-metadata:s:s:0", "language=ger", "-disposition:a:1",
                    "visual_impaired", "-disposition:s:0", "hearing_impaired", film], check=True, timeout=60)
    with Server(CONFIG % {"film": film}) as server:
        return checks(server)


if __name__ == "__main__":
    sys.exit(main())
