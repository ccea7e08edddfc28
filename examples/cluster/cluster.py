"""Three nodes share a film; one of them is killed; the result is complete. See ./run.

With --namespaces each of them is on a host of its own, a network namespace, and it is the host that is lost: nobody is told, neither by the
node nor by its kernel."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from broker import Broker, Topics, missing, until
from hosts import BRIDGE, Hosts, why_not

CONFIG = """
server: {host: %(host)s, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(node)s/jobs", segment_duration: 2}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(node)s/state", sources: {local_roots: ["%(films)s"]}}
live: {enabled: true, rtmp_port: null, webrtc_port: null}
store: {url: "file://%(store)s"}
kafka: {brokers: ["%(broker)s"], node: "%(name)s", take_over: true, task_seconds: %(task)g, partitions: 12}
"""
CONTROL, STATUS = "stream_control_events", "stream_status_events"


class Node:
    """One `ghoststream serve` of the group."""

    def __init__(self, name: str, hosts: Hosts | None, **settings: object) -> None:
        self.name, folder, self.hosts = name, pathlib.Path(str(settings["work"])) / name, hosts
        folder.mkdir(parents=True)
        self.place, self.host = hosts.add() if hosts else ("", "127.0.0.1")
        (folder / "ghoststream.yaml").write_text(CONFIG % {"name": name, "node": folder, "host": self.host, **settings})
        self.log = folder / "log"
        command = [*(hosts.inside(self.place) if hosts else []), os.environ["GS_CLI"], "serve", "--config", folder / "ghoststream.yaml"]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)

    def ready(self) -> str:
        """Its address, once it serves and has found Kafka."""

        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
            at = re.search(rf"listening on (http://{re.escape(self.host)}:\d+)", text)
            return at[1] if at and "Kafka is there" in text else None

        return until(f"{self.name} is up", found)

    def end(self, how: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def die(self) -> str:
        """As by a power cut; says what that was."""
        if self.hosts:
            self.hosts.lose(self.place)
        self.end(signal.SIGKILL)
        return f"is lost with its host {self.host}" if self.hosts else "is killed"


def frames(source: str) -> list[float]:
    """The times of all pictures, decoded; FFmpeg must have nothing to say."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr.strip(), done.stderr[-2000:]
    return sorted(float(line.strip(",")) for line in done.stdout.split() if line.strip(","))


def check(film: pathlib.Path, made: pathlib.Path) -> None:
    """Every rendition has every picture of the source, evenly, and its sound; every file that a playlist names is there."""
    want = frames(str(film))
    step = (want[-1] - want[0]) / (len(want) - 1)
    master = (made / "master.m3u8").read_text()
    lists = [line for line in master.splitlines() if line and not line.startswith("#")]
    lists += re.findall(r'URI="([^"]+\.m3u8)"', master)
    assert len(lists) >= 3, master
    for name in lists:
        text = (made / name).read_text()
        files = [line for line in text.splitlines() if line and not line.startswith("#")] + re.findall(r'URI="([^"]+)"', text)
        absent = [f for f in files if not (made / f).is_file()]
        assert not absent and "#EXT-X-ENDLIST" in text, (name, absent)
    for name in [line for line in master.splitlines() if line and not line.startswith("#")]:
        got = frames(str(made / name))
        assert len(got) == len(want), f"{name}: {len(got)} pictures, the source has {len(want)}"
        gaps = [(a, b) for a, b in zip(got, got[1:]) if abs(b - a - step) > step / 4]
        assert not gaps, f"{name}: not even at {gaps[:5]}"
        print(f"  {name}: {len(got)} pictures, as many as the source, none missing, none twice")
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(made / "master.m3u8"), "-map", "0:v", "-map", "0:a", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr[-2000:]
    # FFmpeg does not open WebVTT in a manifest unless it is told to.
    dash = subprocess.run(["ffprobe", "-v", "error", "-allowed_extensions", "ALL", "-show_entries", "format=duration", "-of", "csv=p=0", str(made / "manifest.mpd")],
                          capture_output=True, text=True, check=True).stdout
    print(f"  master.m3u8 and manifest.mpd ({float(dash):.2f} s) decode without a complaint")


def check_served(made: pathlib.Path, url: str) -> None:
    """A node gives every file that a playlist names, as it is in the store, and nothing else of the film."""

    def get(name: str) -> bytes:
        with urllib.request.urlopen(url + name, timeout=20) as answer:
            return answer.read()

    lists, seen = ["master.m3u8"], set()
    while lists:
        name = lists.pop()
        text = get(name).decode()
        folder = name.rpartition("/")[0]
        files = [line for line in text.splitlines() if line and not line.startswith("#")] + re.findall(r'URI="([^"]+)"', text)
        for file in {f"{folder}/{f}".lstrip("/") for f in files} - seen:
            seen.add(file)
            if file.endswith(".m3u8"):
                lists.append(file)
            else:
                assert get(file) == (made / file).read_bytes(), file
    assert len(seen) > 10 and b"<MPD" in get("manifest.mpd"), seen
    for file in (str(f.relative_to(made)) for f in made.rglob("*") if f.suffix == ".json"):
        try:
            get(file)
        except urllib.error.HTTPError as e:
            assert e.code == 404, (file, e.code)
        else:
            raise AssertionError(f"{file} is nobody's business")


def cues(seconds: int) -> str:
    """Subtitles: a cue every two seconds, each across the border of a segment."""
    clock = lambda t: f"00:{t // 60:02}:{t % 60:02}"  # noqa: E731
    each = [f"{n}\n{clock(t)},500 --> {clock(t + 1)},500\nWord {n}.\n" for n, t in enumerate(range(1, seconds - 1, 2))]
    return "\n".join(each)


def check_texts(made: pathlib.Path, seconds: int, languages: set[str]) -> None:
    """The one playlist has the film's text, whoever made its pictures: every cue, in every segment that it is shown in."""
    master = (made / "master.m3u8").read_text()
    lines = [line for line in master.splitlines() if "TYPE=SUBTITLES" in line]
    assert {re.search(r'LANGUAGE="([^"]+)"', line)[1] for line in lines} == languages, lines
    assert all('SUBTITLES="subs"' in line for line in master.splitlines() if line.startswith("#EXT-X-STREAM-INF")), master
    for line in lines:
        name = re.search(r'URI="([^"]+)"', line)[1]
        at, found = 0.0, {}
        for length, file in re.findall(r"#EXTINF:([\d.]+),.*\n(.+)", (made / name).read_text()):
            for n in re.findall(r"Word (\d+)\.", (made / file).read_text()):
                found.setdefault(int(n), []).append((at, at + float(length)))
            at += float(length)
        for n, t in enumerate(range(1, seconds - 1, 2)):
            shown = found.get(n, [])
            assert shown and shown[0][0] <= t + 0.5 < shown[0][1] and shown[-1][0] < t + 1.5 <= shown[-1][1], (name, n, shown)
        print(f"  {name}: {len(found)} cues, all of the source's")


def main() -> None:
    """The demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", nargs="?", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(os.environ["GS_TARGET_DIR"]) / "cluster")
    parser.add_argument("--seconds", type=int, default=60, help="length of the film that is made when none is named")
    parser.add_argument("--task", type=float, default=6, help="about the seconds of a part")
    parser.add_argument("--namespaces", action="store_true", help="a network namespace for each node; needs root")
    arguments = parser.parse_args()
    why = missing() or (why_not() if arguments.namespaces else "")
    if why:
        print(f"cluster: SKIPPED: {why}")
        sys.exit(77)
    work = arguments.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    (work / "store").mkdir(parents=True)
    film = arguments.film
    if film is None:
        film = work / "films" / "film.mp4"
        film.parent.mkdir()
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"]
        words = film.parent / "words.srt"
        words.write_text(cues(arguments.seconds))
        command += ["-i", words, "-map", "0", "-map", "1", "-map", "2", "-c:s", "mov_text", "-metadata:s:s:0", "language=ger"]
        command += ["-t", str(arguments.seconds), "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", film]
        subprocess.run(command, check=True)
    film = film.absolute()
    hosts = Hosts() if arguments.namespaces else None
    broker, topics, nodes = Broker(work / "broker", BRIDGE if hosts else "127.0.0.1"), None, []
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", flush=True)

    try:
        broker.start()
        say(f"Apache Kafka at {broker.address}")
        for name in ("node-a", "node-b", "node-c"):
            settings = {"work": work, "films": film.parent, "store": work / "store", "broker": broker.address, "task": arguments.task}
            nodes.append(Node(name, hosts, **settings))
        for node in nodes:
            say(f"{node.name} at {node.ready()}")
        topics = Topics(broker.address)
        stream = {"command": "START", "stream_id": "camera", "source_type": "test", "width": 320, "height": 180, "version": 1}
        topics.send(CONTROL, stream, "camera")
        live = topics.wait(STATUS, "the live stream", lambda s: s["stream_id"] == "camera" and s["status"] == "running")
        say(f"the live stream runs on {live['service_id']}")
        request = {"source": str(film), "mode": "abr", "output": {"format": "hls", "video_codec": "h264"}}
        if arguments.film is None:
            request["subtitles"] = [{"url": str(film.parent / "words.srt"), "language": "en", "label": "Words"}]
        topics.send(CONTROL, {"command": "TRANSCODE", "stream_id": "film", "request": request, "version": 1}, "film")

        def told(state: str):
            return lambda s: s["stream_id"] == "film" and s["status"] == state

        started = topics.wait(STATUS, "the film is planned", told("starting"))
        parts = int(started["metadata"]["parts"])
        say(f"the film is cut into {parts} parts")

        def runs() -> str:
            """The node that told last that the live stream runs."""
            told = [b for _, b in topics.all(STATUS) if b["stream_id"] == "camera" and b["status"] == "running"]
            return told[-1]["service_id"]

        topics.wait(STATUS, "a part", told("running"))
        victim = next(n for n in nodes if n.name == runs())
        seen = len(topics.all(STATUS))
        say(f"{victim.name}, which has the live stream, {victim.die()}")
        done = topics.wait(STATUS, "the film is complete", lambda s: s["stream_id"] == "film" and s["status"] in ("completed", "error"), seconds=300)
        assert done["status"] == "completed", done
        say(f"the film is complete, says {done['service_id']}")
        live = topics.wait(
            STATUS, "the live stream is taken over", lambda s: s["stream_id"] == "camera" and s["status"] == "running"
            and s["service_id"] != victim.name, seen,
        )
        heir = next(n for n in nodes if n.name == live["service_id"])

        def plays(node: Node) -> str | None:
            """The stream's media playlist at a node; its name is another one each time that the stream begins."""
            try:
                with urllib.request.urlopen(node.ready() + "/streams/camera/playlist.m3u8", timeout=20) as answer:
                    return next(line for line in answer.read().decode().splitlines() if line.endswith(".m3u8"))
            except urllib.error.HTTPError:
                return None

        name = until("it plays there", lambda: plays(heir))
        say(f"the live stream goes on at {heir.name}")
        other = next(n for n in nodes if n not in (victim, heir))
        until("it plays at a node that does not run it", lambda: plays(other) == name)
        say(f"{other.name} serves it too, from the store")
        makers: dict[str, set[str]] = {}
        for node in nodes:
            text = re.sub(r"\x1b\[[0-9;]*m", "", node.log.read_text())
            makers[node.name] = set(re.findall(r" made .*?\bpart=(\d+)", text))
        print("parts by node: " + ", ".join(f"{name} {len(made)}" for name, made in makers.items()))
        assert sum(1 for made in makers.values() if made) >= 2, makers
        assert done["service_id"] != victim.name
        made = work / "store" / "films" / "film"
        check(film, made)
        if arguments.film is None:
            check_texts(made, arguments.seconds, {"de", "en"})
        for node in (heir, other):
            check_served(made, node.ready() + "/films/film/")
            print(f"  {node.name} serves all of it")

        def asked(command: str, name: str) -> dict:
            """What is answered to a command for a film."""
            topics.send(CONTROL, {"command": command, "stream_id": name, "command_id": f"{command} {name}", "version": 1}, name)
            return topics.wait(STATUS, "an answer", lambda s: s["metadata"].get("command_id") == f"{command} {name}")

        answer = asked("QUERY_STATUS", "film")
        assert (answer["status"], answer["metadata"]["percent"]) == ("completed", "100"), answer
        # Another one, which is stopped: what is being made is finished, and no more.
        topics.send(CONTROL, {"command": "TRANSCODE", "stream_id": "other", "request": request, "version": 1}, "other")
        topics.wait(STATUS, "it is planned", lambda s: s["stream_id"] == "other" and s["status"] == "starting")
        answer = asked("STOP", "other")
        assert answer["status"] == "stopped" and int(answer["metadata"]["percent"]) < 100, answer
        answer = asked("QUERY_STATUS", "other")
        say(f"another film is stopped after {answer['metadata']['percent']} %")
        assert answer["status"] == "stopped" and not (work / "store" / "films" / "other" / "master.m3u8").exists(), answer
        print(f"look at it: mpv {made}/master.m3u8; states: {json.dumps(done)}")
        for node in nodes:
            if node is not victim:
                node.end()
                assert node.process.returncode == 0, node.log.read_text()[-2000:]
    finally:
        if topics:
            topics.close()
        for node in nodes:
            node.end(signal.SIGKILL)
        broker.stop()
        if hosts:
            hosts.close()


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, subprocess.SubprocessError, OSError, StopIteration) as e:
        sys.exit(f"cluster: FAILED: {type(e).__name__}: {str(e)[-3000:]}")
