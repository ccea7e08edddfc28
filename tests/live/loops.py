"""Films that begin again when they are over, played over several ends: one of a whole number of segments, one that is none, whose sound
ends long before its pictures, and one that is as an editing list cuts it. What is heard has no hole and no overlap and stays with its
pictures; dash.js, shaka and hls.js play on without standing still, also those whose segments are not equally long.

    loops.py       GS_CLI, GS_LIVE_WORK, GS_NODE_MODULES, GS_CHROMIUM; exit code 77: a peer is missing
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import urllib.parse

from serving import WORK, Server, get, listed, until

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "setup"))
from machine import Watch  # noqa: E402
CONFIG = """
live:
  enabled: true
  rtmp_port: null
  webrtc_port: null
  segment_duration: 1
  dvr_seconds: 60
  sources:
"""
FRAME = 1024 / 48000
# Length of the pictures and of the sound, in seconds, and the container.
FILMS = {"even": (6.0, 6.0, "mkv"), "odd": (6.4, 6.1, "mkv"), "cut": (6.0, 6.0, "mp4")}


def film(name: str) -> pathlib.Path:
    pictures, sound, container = FILMS[name]
    file = WORK / f"{name}.{container}"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={pictures}", "-f", "lavfi", "-i", f"sine=440:sample_rate=48000:d={sound}"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *codecs, file], check=True, timeout=60)
    return file


def times(url: str, text: str, into: pathlib.Path) -> list[float]:
    """When the packets are shown of all segments that a media playlist from `url` has."""
    names = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', text)[:1] + listed(text)
    into.write_bytes(b"".join(get(urllib.parse.urljoin(url, name)) for name in names))
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", into]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return sorted(float(line.strip(",")) for line in done.stdout.split())


def is_gapless(base: str, name: str) -> None:
    pictures, sound, _ = FILMS[name]
    master = until(f"{name} is there", lambda: get(f"{base}{name}/playlist.m3u8").decode())
    url = f"{base}{name}/"
    heard = re.search(r'TYPE=AUDIO.*URI="([^"]+)"', master)[1]
    count = lambda: get(url + heard).decode().count("#EXTINF")
    # Three times over the end.
    until(f"{name}: three rounds", lambda: count() >= 3 * pictures + 2, 60)
    # At one moment, or one has a segment more.
    lists = {kind: (url + file, get(url + file).decode()) for kind, file in (("v", listed(master)[0]), ("a", heard))}
    seen, heard = (times(*of, WORK / f"{name}-{kind}.mp4") for kind, of in lists.items())
    steps = [b - a for a, b in zip(seen, seen[1:])]
    assert all(abs(step - 0.04) < 0.002 for step in steps), (name, [s for s in steps if abs(s - 0.04) >= 0.002])
    steps = [b - a for a, b in zip(heard, heard[1:])]
    # Where silence was put in, it may be short of the hole by less than half a frame.
    least, most = FRAME - 0.002, FRAME * (1.5 if sound < pictures else 1) + 0.002
    assert all(least < step < most for step in steps), (name, [s for s in steps if not least < s < most])
    # Of sound that is a frame of time for a frame there is neither too much nor too little.
    drift = (heard[-1] - heard[0]) - (len(heard) - 1) * FRAME
    assert abs(drift) < (4 if sound < pictures else 1) * FRAME, (name, drift)
    assert abs(heard[0] - seen[0]) < 0.1 and abs(heard[-1] - seen[-1]) < 0.1, (name, seen[0], heard[0], seen[-1], heard[-1])


def main() -> int:
    sources = "".join(f'    - {{name: {name}, url: "{film(name)}"}}\n' for name in FILMS)
    result = 0
    with Server(CONFIG + sources) as server:
        base = server.at["http"] + "/streams/"
        for name in FILMS:
            is_gapless(base, name)
        # Those with a whole number of segments are told of by their length alone, the others one by one.
        manifests = {name: get(f"{base}{name}/manifest.mpd").decode() for name in FILMS}
        told = {name: "<SegmentTimeline>" in manifest for name, manifest in manifests.items()}
        assert told == {"even": False, "odd": True, "cut": False}, told
        for name in ("odd", "even"):
            # Two ends and more in each player.
            command = ["node", HERE / "players.mjs", f"{base}{name}/", "--seconds", "15", "--still", "2"]
            with Watch() as watch:
                played = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=240, stdout=subprocess.PIPE, text=True)
            print(played.stdout, end="")
            wrong = re.findall("FAILED: (.*)", played.stdout)
            halted = bool(wrong) and all(re.fullmatch(r"stood still for [\d.]+ s", what) for what in wrong)
            if played.returncode not in (0, 77) and halted and not watch.always_had_time(FRAME):
                # A busy machine halts a player once; what is wrong at the end of a round is so every time.
                print("      the machine had no time for it: once more")
                played = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=240)
            assert played.returncode in (0, 77), f"{name}: a player does not play on"
            result = result or played.returncode
    return result


if __name__ == "__main__":
    sys.exit(main())
