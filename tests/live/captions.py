"""Captions that are in the pictures (CEA-608, and CEA-708 beside it): a film with some is played live as it is and as a ladder. The
playlists and the manifest tell of them, and FFmpeg reads the words of the first from the segments of both.

    captions.py       GS_CLI, GS_LIVE_WORK
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import urllib.parse

from serving import WORK, Server, get, listed, until

WORDS = "GHOSTS STREAM"
CONFIG = """
live:
  enabled: true
  rtmp_port: null
  webrtc_port: null
  segment_duration: 1
  sources:
    - {name: film, url: "%(film)s"}
    - {name: small, url: "%(film)s", qualities: [240p]}
    - {name: plain, url: "%(plain)s"}
"""


def pairs() -> list[bytes]:
    """The words as a caption that pops on in channel 1, two bytes for each picture; commands are sent twice."""
    odd = lambda byte: byte | (0x80 if bin(byte).count("1") % 2 == 0 else 0)
    both = lambda a, b: bytes([odd(a), odd(b)])
    text = WORDS + " " * (len(WORDS) % 2)
    found = [both(0x14, 0x20)] * 2 + [both(0x14, 0x70)] * 2
    found += [both(ord(a), ord(b)) for a, b in zip(text[::2], text[1::2])]
    found += [both(0x14, 0x2F)] * 2 + [both(0, 0)] * 20
    return found + [both(0x14, 0x2C)] * 2


# A packet of CEA-708 with two bytes of service 1: as much as is in a picture.
SERVICE = b"\xff\x02\x22" + b"\xfeOK"


def message(pair: bytes) -> bytes:
    """SEI with a pair of CEA-608 and a packet of CEA-708."""
    data = b"\xb5\x00\x31GA94\x03\x43\xff\xfc" + pair + SERVICE + b"\xff"
    payload = b"\x04" + bytes([len(data)]) + data + b"\x80"
    assert b"\0\0" not in payload, "it would look like a start code"
    return b"\0\0\0\1\x06" + payload


def films() -> tuple[pathlib.Path, pathlib.Path]:
    """One with captions and one without."""
    plain, raw, film = WORK / "plain.mkv", WORK / "film.h264", WORK / "film.mkv"
    source = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=8", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "30"]
    more = ["-x264-params", "aud=1:slices=1:sliced-threads=0", "-pix_fmt", "yuv420p", "-f", "h264", raw]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *more], check=True, timeout=60)
    wrap = ["-c", "copy"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-r", "30", "-i", raw, *wrap, plain], check=True, timeout=60)
    words, number, out = pairs(), 0, b""
    for unit in re.split(rb"\x00\x00\x00?\x01", raw.read_bytes())[1:]:
        if unit[0] & 31 in (1, 5):
            out += message(words[number % len(words)])
            number += 1
        out += b"\0\0\0\1" + unit
    assert number == 240, number
    raw.write_bytes(out)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-r", "30", "-i", raw, *wrap, film], check=True, timeout=60)
    return film, plain


def said(media: pathlib.Path) -> str:
    """What FFmpeg finds in the pictures of a file."""
    graph = f"movie={media}[out0+subcc]"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", graph, "-map", "0:s", "-c:s", "srt", "-f", "srt", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return done.stdout


def checks(server: Server) -> None:
    base = server.at["http"] + "/streams/"
    for name, size in (("film", "640x360"), ("small", "426x240")):
        url = f"{base}{name}/playlist.m3u8"
        master = until(f"{name}: captions", lambda: t if "TYPE=CLOSED-CAPTIONS" in (t := get(url).decode()) else None)
        assert re.findall('INSTREAM-ID="([^"]+)"', master) == ["CC1", "SERVICE1"], master
        assert int(re.search(r"EXT-X-VERSION:(\d+)", master)[1]) >= 7, master
        variants = [line for line in master.splitlines() if line.startswith("#EXT-X-STREAM-INF")]
        assert f"RESOLUTION={size}" in variants[0] and all('CLOSED-CAPTIONS="captions"' in v for v in variants), master
        manifest = until(f"{name}: manifest", lambda: get(f"{base}{name}/manifest.mpd").decode())
        for scheme, value in (("608", "CC1=und"), ("708", "1=lang:und")):
            assert f'<Accessibility schemeIdUri="urn:scte:dash:cc:cea-{scheme}:2015" value="{value}"/>' in manifest, manifest
        media = urllib.parse.urljoin(url, listed(master)[0])
        playlist = until(f"{name}: four segments", lambda: t if (t := get(media).decode()).count("#EXTINF") >= 4 else None)
        names = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)[-1:] + listed(playlist)
        out = WORK / f"{name}.mp4"
        out.write_bytes(b"".join(get(urllib.parse.urljoin(media, one)) for one in names))
        text = said(out)
        assert WORDS in text, f"{name}: {text!r}"
    plain = until("plain", lambda: get(f"{base}plain/playlist.m3u8").decode())
    assert "CLOSED-CAPTIONS=NONE" in plain and "TYPE=CLOSED" not in plain, plain


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    film, plain = films()
    assert WORDS in said(film), "the film of this test has no captions"
    with Server(CONFIG % {"film": film, "plain": plain}) as server:
        checks(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
