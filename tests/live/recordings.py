"""Recordings played by time: a publisher with its frames' numbers in the pictures is recorded, and a range of it is asked for
while it goes on and after, also with the reader's key, and over two files with a gap, as a playlist and as one file. What is
recorded of everything that is published is dated as the stream is. MKV and MPEG-TS are played too. FFmpeg reads what comes out.

    recordings.py       GS_CLI, GS_LIVE_WORK
"""

from __future__ import annotations

import datetime
import pathlib
import re
import subprocess
import time
import urllib.parse
import urllib.request

from serving import WORK, Server, call, listed, until

RATE = 25
CONFIG = """
live:
  enabled: true
  rtmp_port: 0
  webrtc_port: null
  gstreamer_port: 0
  recordings: "%(work)s/recordings"
  record: {all: mp4}
  stale_threshold: 0
  read_key: k3y
"""
KEY = "key=k3y"
LISTENERS = ("http", "rtmp", "gstreamer")


def number(picture: bytes) -> int:
    """The number in a picture: 16 squares in a row, the highest bit first."""
    bits = [picture[8 * 320 + 20 * i + 10] > 128 for i in range(16)]
    return int("".join("1" if bit else "0" for bit in bits), 2)


def numbers(url: str) -> list[int]:
    """The numbers of all pictures."""
    command = ["ffmpeg", "-v", "error", "-i", url, "-map", "0:v", "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr[-1000:]
    size = 320 * 64
    return [number(done.stdout[i : i + size]) for i in range(0, len(done.stdout), size)]


def fetched(http: str, url: str, into: pathlib.Path) -> str:
    """A playlist and what it names, which carries the key and needs no cookie; kept without it, as names of files."""
    with urllib.request.urlopen(urllib.parse.urljoin(http, f"{url}&{KEY}" if "?" in url else f"{url}?{KEY}"), timeout=20) as answer:
        text = answer.read().decode()
        base = answer.url
    names = re.findall(r'URI="([^"]+)"', text) + listed(text)
    for name in dict.fromkeys(names):
        assert name.endswith("?" + KEY), name
        file = into / urllib.parse.unquote(name.removesuffix("?" + KEY))
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(urllib.parse.urljoin(base, name), timeout=20) as answer:
            file.write_bytes(answer.read())
    into.mkdir(parents=True, exist_ok=True)
    text = text.replace("?" + KEY, "")
    (into / "playlist.m3u8").write_text(text)
    return text


def downloaded(http: str, query: str, into: pathlib.Path) -> tuple[list[int], list[float]]:
    """What was recorded as one file: the numbers of its pictures, and when each is shown."""
    with urllib.request.urlopen(f"{http}/recordings/cam/download.mp4?{query}&{KEY}", timeout=20) as answer:
        data, headers = answer.read(), answer.headers
    assert int(headers["content-length"]) == len(data) and headers["content-type"] == "video/mp4", headers
    assert headers["content-disposition"].startswith("attachment; filename=\"cam-20"), headers
    into.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", into]
    done = subprocess.run(command, capture_output=True, timeout=60, text=True)
    times = sorted(float(line.strip(",")) for line in done.stdout.split())
    assert done.returncode == 0 and not done.stderr, done.stderr[-1000:]
    assert abs(times[-1] - times[0] + 1 / RATE - float(headers["x-duration"])) < 0.1, (times[0], times[-1], headers["x-duration"])
    return numbers(str(into)), times


def moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def crashed(form: str) -> None:
    """What was recorded until the server was killed is played by the next one, and grows old though nobody records any more."""
    work, name = WORK / f"crash-{form}", "live/a.b~c-d_1"
    path = f"/recordings/{name}?{KEY}"

    def served(**change: str) -> Server:
        text = (CONFIG % {"work": work}).replace("all: mp4", f"all: {form}")
        for old, new in change.items():
            text = re.sub(rf"^  {old}: .*$", f"  {old}: {new}", text, flags=re.M)
        return Server(text, LISTENERS, work)

    def ranges(http: str, seconds: float) -> list[dict] | None:
        status, body, _ = call("GET", http + path)
        all = body.get("ranges", []) if status == 200 else []
        return all if all and all[0]["duration"] > seconds else None

    server = served()
    try:
        command = ("ffmpeg", "-v", "error", "-re", "-i", WORK / "film.mp4", "-c", "copy", "-f", "flv")
        publisher = server.run(*command, f"{server.at['rtmp']}/{name}")
        began = time.time()
        if form == "mp4":
            (before,) = until("6 s are recorded", lambda: ranges(server.at["http"], 6))
        else:
            # It is not seen before it is complete.
            until("it is recorded", lambda: list((work / "recordings" / name).glob(f"*.{form}")))
            time.sleep(8)
            told = call("GET", server.at["http"] + path)[1]
            assert told["recording"] and not told["ranges"], told
            before = None
        server.process.kill()
        publisher.wait(20)
    finally:
        server.kill()
    with served() as server:
        told = call("GET", server.at["http"] + path)[1]
        (now,) = told["ranges"]
        assert told["recording"] is False and now["duration"] >= 6, told
        if before:
            assert now["start"] == before["start"] and now["duration"] >= before["duration"], (told, before)
        assert abs(moment(now["start"]) - began) < 3, (now, began)
        text = fetched(server.at["http"], f"/recordings/{name}/playlist.m3u8", work / "played")
        shown, _ = pictures(text, work / "played")
        assert len(shown) >= 6 * RATE and shown == list(range(shown[0], shown[0] + len(shown))), shown
    with served(record=f"{{all: {form}, keep_seconds: 1}}\n  cleanup_interval: 0.5") as server:
        until("it is too old", lambda: not (work / "recordings" / name).exists())
        assert (work / "recordings").exists() and call("GET", server.at["http"] + path)[0] == 404, server.said()


def pictures(text: str, folder: pathlib.Path) -> tuple[list[int], list[float]]:
    """The numbers of the pictures of a playlist that was fetched, file by file, and how long its segments are told to be."""
    shown, init, files = [], "", {}
    for line in text.splitlines():
        if found := re.match(r'#EXT-X-MAP:URI="([^"]+)"', line):
            init = found[1]
        elif line and line[0] != "#":
            files.setdefault(init, []).append(line)
    for init, segments in files.items():
        one = folder / "one.mp4"
        one.write_bytes(b"".join((folder / urllib.parse.unquote(name)).read_bytes() for name in (init, *segments)))
        shown += numbers(str(one))
    return shown, [float(length) for length in re.findall(r"#EXTINF:([\d.]+)", text)]


def others(form: str) -> None:
    """Recordings in MKV and MPEG-TS: files that are complete are played by time, over their ends, as if they were MP4."""
    work = WORK / form
    text = (CONFIG % {"work": work}).replace("record: {all: mp4}", f"record: {{all: {form}, segment_seconds: 5}}")
    path = "/recordings/live/cam"
    with Server(text, LISTENERS, work) as server:
        http = server.at["http"]
        command = ("ffmpeg", "-v", "error", "-re", "-i", WORK / "film.mp4", "-c", "copy", "-f", "flv", f"{server.at['rtmp']}/live/cam")
        publisher = server.run(*command)
        ranges = lambda: call("GET", f"{http}{path}?{KEY}")[1].get("ranges", [])
        until("10 s are recorded", lambda: sum(r["duration"] for r in ranges()) > 9.9)
        # One that grows is not played yet.
        newest = sorted((work / "recordings/live/cam").glob(f"*.{form}"))[-1].name
        assert call("GET", f"{http}{path}/{newest}/init.mp4?{KEY}")[0] == 404
        recording = lambda: call("GET", f"{http}{path}?{KEY}")[1]["recording"]
        assert recording()
        time.sleep(1.5)
        publisher.kill()
        (whole,) = until("all files are complete", lambda: r if (r := ranges()) and r[0]["files"] == 3 and not recording() else None)
        begin = moment(whole["start"])
        text = fetched(http, f"{path}/playlist.m3u8", work / "all")
        assert "#EXT-X-ENDLIST" in text and text.count("#EXT-X-DISCONTINUITY\n") == 2, text
        shown, lengths = pictures(text, work / "all")
        assert shown == list(range(shown[0], shown[0] + len(shown))), shown
        assert abs(len(shown) / RATE - sum(lengths)) < 0.1 and abs(sum(lengths) - whole["duration"]) < 0.1, (len(shown), lengths, whole)
        assert len(lengths) > 6 and max(lengths) < 4, lengths
        # A range over the end of a file, as a playlist and as one file.
        asked = begin + 3.5
        text = fetched(http, f"{path}/playlist.m3u8?start={asked:.3f}&duration=4", work / "some")
        first = moment(re.findall(r"PROGRAM-DATE-TIME:(\S+)", text)[0])
        some, lengths = pictures(text, work / "some")
        assert asked - 2.1 <= first <= asked and 4 <= sum(lengths) < 9, (asked, first, lengths)
        assert "#EXT-X-START:TIME-OFFSET=" in text, text
        assert some == list(range(some[0], some[0] + len(some))) and abs((some[0] - shown[0]) / RATE - (first - begin)) < 0.1, (some, first)
        address = f"{http}{path}/download.mp4?start={asked:.3f}&duration=4&{KEY}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            (work / "some.mp4").write_bytes(answer.read())
            assert int(answer.headers["content-length"]) == (work / "some.mp4").stat().st_size
        one = numbers(str(work / "some.mp4"))
        assert one == list(range(one[0], one[0] + len(one))) and some[0] <= one[0] <= shown[0] + 3.5 * RATE and len(one) >= 4 * RATE, one
        for name in ("init.mp4?", f"0-2000000.m4s?{KEY}x", f"0-0.m4s?{KEY}", f"9999000000-9999900000.m4s?{KEY}"):
            file = listed(text)[0].split("/")[0]
            assert call("GET", f"{http}{path}/{file}/{name}")[0] in (403, 404), name
        assert call("GET", f"{http}/recordings?{KEY}")[1]["recordings"] == ["live/cam"]
    assert not list((work / "recordings").glob(".played-*")), "what was made to be played goes with the server"


def main() -> None:
    with Server(CONFIG % {"work": WORK}, LISTENERS) as server:
        checks(server)
    for form in ("mkv", "ts"):
        others(form)
    for form in ("mp4", "mkv", "ts"):
        crashed(form)


def checks(server: Server) -> None:
    http, gst, rtmp = server.at["http"], server.at["gstreamer"], server.at["rtmp"]

    # A film of 70 s whose pictures have their number in them: 16 squares of 20 pixels.
    film = WORK / "film.mp4"
    squares = "255*gt(mod(floor(N/pow(2,15-floor(X/20))),2),0.5)"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"nullsrc=s=320x64:r={RATE},format=gray,geq=lum='{squares}',format=yuv420p"]
    command += ["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "70", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-g", str(RATE), "-bf", "0", "-c:a", "aac", film]
    subprocess.run(command, check=True, timeout=60)
    publisher = server.run("ffmpeg", "-v", "error", "-re", "-i", film, "-c", "copy", "-f", "flv", f"{rtmp}/live/cam")

    def recorded() -> list[dict]:
        status, body, _ = call("GET", f"{http}/recordings/cam?{KEY}")
        return body["ranges"] if status == 200 else []

    # Copied: a file of bits is what came in.
    body = {"stream_id": "rec", "source_type": "rtmp", "source_url": f"{rtmp}/live/cam?{KEY}", "output_type": "file"}
    body |= {"output_url": "cam.mp4", "width": 320, "height": 64}
    bare = {k: v for k, v in body.items() if k not in ("width", "height")}
    time.sleep(1)
    status, answer, _ = call("POST", f"{gst}/streams", bare)
    assert status == 201, answer
    assert call("POST", f"{gst}/streams/rec/start")[0] == 200
    (now,) = until("12 s are recorded", lambda: [r for r in recorded() if r["duration"] > 12], 60)

    # While it is recorded: 4 s from the fifth on.
    begin = moment(now["start"])
    asked = begin + 5
    text = fetched(http, f"/recordings/cam/playlist.m3u8?start={asked:.3f}&duration=4", WORK / "during")
    assert "#EXT-X-ENDLIST" in text and "#EXT-X-DISCONTINUITY\n" not in text, text
    first = moment(re.findall(r"PROGRAM-DATE-TIME:(\S+)", text)[0])
    assert asked - 1.1 <= first <= asked + 0.001, (asked, first)
    lengths = sum(map(float, re.findall(r"#EXTINF:([\d.]+)", text)))
    assert 4 <= lengths <= 6.1, text
    shown = numbers(str(WORK / "during/playlist.m3u8"))
    assert len(shown) == round(lengths * RATE) and shown == list(range(shown[0], shown[0] + len(shown))), shown
    whole = numbers(str(WORK / fetched_all(http)))
    # The picture that stands there is the one that came then.
    assert abs((shown[0] - whole[0]) / RATE - (first - begin)) < 0.05, (shown[0], whole[0], first - begin)

    # The same as one file.
    one, times = downloaded(http, f"start={asked:.3f}&duration=4", WORK / "during.mp4")
    assert one == shown and abs(times[0]) < 0.1, (one[:3], shown[:3], times[:3])

    # What is recorded of everything that is published has the stream's own time, from its first picture on.
    text = fetched(http, "/streams/live/cam/playlist.m3u8", WORK / "live")
    (name,) = listed(text)
    text = fetched(http, f"/streams/live/cam/{name}", WORK / "live")
    dated = moment(re.findall(r"PROGRAM-DATE-TIME:(\S+)", text)[0])
    segment = next(line for line in text.splitlines() if line.endswith(".m4s") and line[0] != "#")
    init = re.findall(r'EXT-X-MAP:URI="([^"]+)"', text)[0]
    (WORK / "live/one.mp4").write_bytes((WORK / "live" / init).read_bytes() + (WORK / "live" / segment).read_bytes())
    zero = dated - numbers(str(WORK / "live/one.mp4"))[0] / RATE
    everything = call("GET", f"{http}/recordings/live/cam?{KEY}")[1]["ranges"]
    fetched(http, "/recordings/live/cam/playlist.m3u8", WORK / "everything")
    first = numbers(str(WORK / "everything/playlist.m3u8"))[0]
    assert len(everything) == 1 and first <= RATE, (everything, first)
    assert abs(moment(everything[0]["start"]) - first / RATE - zero) < 0.1, (everything[0]["start"], first, zero)

    # The recording ends, and another file of the same name begins: a gap, and a discontinuity.
    assert call("POST", f"{gst}/streams/rec/stop")[0] == 200
    until("the file is complete", lambda: not call("GET", f"{http}/recordings/cam?{KEY}")[1]["recording"])
    (before,) = recorded()
    time.sleep(2)
    assert call("POST", f"{gst}/streams/rec/start")[0] == 200
    ranges = until("there are two ranges", lambda: r if len(r := recorded()) == 2 and r[1]["duration"] > 3 else None)
    assert moment(ranges[0]["start"]) == begin and ranges[0]["duration"] == before["duration"], ranges
    text = fetched(http, f"/recordings/cam/playlist.m3u8?start={urllib.parse.quote(ranges[0]['start'])}", WORK / "both")
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1, text
    shown = numbers(str(WORK / "both/playlist.m3u8"))
    jumps = [(a, b) for a, b in zip(shown, shown[1:]) if b != a + 1]
    assert len(jumps) == 1 and jumps[0][1] > jumps[0][0], jumps
    one, times = downloaded(http, "start=" + urllib.parse.quote(ranges[0]["start"]), WORK / "both.mp4")
    # FFmpeg 5.1 shows the second file of the playlist from its second key frame on; in the download it has all of it.
    breaks = [(a, b) for a, b in zip(one, one[1:]) if b != a + 1]
    assert len(breaks) == 1 and breaks[0][0] == jumps[0][0] and jumps[0][1] - breaks[0][1] in (0, RATE), (breaks, jumps)
    assert set(shown) <= set(one) and len(one) == len(set(one)), (one[0], shown[0], len(one), len(shown))
    gap = max(b - a for a, b in zip(times, times[1:]))
    assert abs(gap - (moment(ranges[1]["start"]) - moment(ranges[0]["end"]))) < 0.2, (gap, ranges)
    # The same range is the same when its file is complete.
    again = fetched(http, f"/recordings/cam/playlist.m3u8?start={asked:.3f}&duration=4", WORK / "again")
    assert numbers(str(WORK / "again/playlist.m3u8"))[:100] == numbers(str(WORK / "during/playlist.m3u8"))[:100], again

    # What there is not, and who may not.
    for path, status in [
        (f"/recordings/cam/playlist.m3u8?start=2001-01-01T00:00:00Z&duration=5&{KEY}", 404),
        (f"/recordings/none/playlist.m3u8?{KEY}", 404),
        (f"/recordings/cam/download.mp4?start=2001-01-01T00:00:00Z&duration=5&{KEY}", 404),
        (f"/recordings/cam/download.mp4?duration=0&{KEY}", 400),
        ("/recordings/cam/download.mp4", 403),
        (f"/recordings/cam/playlist.m3u8?start=soon&{KEY}", 400),
        (f"/recordings/%2e%2e/%2e%2e/etc/passwd?{KEY}", 404),
        ("/recordings/cam/playlist.m3u8", 403),
        ("/recordings/cam", 403),
    ]:
        code, answer, _ = call("GET", http + path)
        assert code == status and "detail" in answer, (path, code, answer)
    assert call("GET", f"{http}/recordings?{KEY}")[1]["recordings"] == ["cam", "live/cam", "rec"]
    # Retention removes a file: the rest plays on.
    for file in sorted((WORK / "recordings/cam").glob("*.mp4"))[:1]:
        file.unlink()
    assert len(recorded()) == 1


def fetched_all(http: str) -> str:
    fetched(http, "/recordings/cam/playlist.m3u8", WORK / "all")
    return "all/playlist.m3u8"


main()
