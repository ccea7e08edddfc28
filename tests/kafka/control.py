"""Commands by Kafka, and what is told of them: against a real broker that goes away and comes back."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from broker import Broker, Topics, until

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_TARGET_DIR"]) / "kafka-suite"
CONTROL, STATUS, DEAD = "stream_control_events", "stream_status_events", "stream_control_events_dlq"

CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs"}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: null, webrtc_port: null, segment_duration: 1, stale_threshold: 2, cleanup_interval: 0.2}
kafka: {brokers: ["%(broker)s"], node: node-a, metrics_interval: 1}
logging: {format: json}
"""


class Server:
    """`ghoststream serve` with Kafka in its settings."""

    def __init__(self, broker: str) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        config = WORK / "ghoststream.yaml"
        config.write_text(CONFIG % {"work": WORK, "broker": broker})
        self.log = WORK / "log"
        self.process = subprocess.Popen([CLI, "serve", "--config", config], stdout=self.log.open("wb"), stderr=subprocess.STDOUT)

        def where() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", self.log.read_text())
            return found and found[1]

        self.http = until("the server is up", where)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.http + path, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def logged(self, text: str) -> int:
        return self.log.read_text().count(text)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()[-3000:]


def start(stream: str, **more: object) -> dict:
    """The command in the service's own words, null fields and all."""
    body = {"command": "START", "stream_id": stream, "stream_key": None, "source_type": "test", "width": 320, "height": 180}
    return {**body, "rtmp_url": None, "is_recorded": False, "user_id": "u1", "room_id": "r1", "version": 1, **more}


def answered(name: str):
    return lambda s: s["metadata"].get("command_id") == name


def without_a_broker(server: Server, _: Broker) -> None:
    """It serves, and says once that there is no broker."""
    assert server.get("/api/health")[0] == 200
    until("it is said", lambda: server.logged("Kafka is away"), 30)
    assert "ghoststream_kafka_connected 0" in server.get("/metrics")[1]


def started(server: Server, topics: Topics) -> None:
    """A command starts a stream, which is played and told of; the second and third one change nothing."""
    topics.send(CONTROL, start("cam", command_id="s1"), "cam")
    answer = topics.wait(STATUS, "the answer", answered("s1"))
    assert answer["status"] in ("starting", "running") and answer["version"] == 1, answer
    assert answer["service_id"] == "node-a" and answer["metadata"]["user_id"] == "u1", answer
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["timestamp"]), answer
    topics.wait(STATUS, "it runs", lambda s: s["stream_id"] == "cam" and s["status"] == "running" and s["metadata"]["event"] == "state")
    until("HLS", lambda: "#EXT-X-STREAM-INF" in server.get("/streams/cam/playlist.m3u8")[1])
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width", "-of", "json"]
    done = subprocess.run([*command, f"{server.http}/streams/cam/playlist.m3u8"], capture_output=True, text=True, timeout=60)
    found = {s["codec_name"]: s for s in json.loads(done.stdout)["streams"]}
    assert found["h264"]["width"] == 320 and "aac" in found, done
    begun = json.loads(server.get("/streams/cam")[1])["created_at"]
    topics.send(CONTROL, start("cam", command_id="s1"), "cam")
    topics.send(CONTROL, start("cam", command_id="s2"), "cam")
    answer = topics.wait(STATUS, "an answer to the other one", answered("s2"))
    assert answer["status"] == "running" and float(answer["metadata"]["uptime"]) > 0, answer
    both = [b for _, b in topics.all(STATUS) if answered("s1")(b)]
    assert len(both) == 2, both
    streams = json.loads(server.get("/streams")[1])
    assert [s["stream_id"] for s in streams] == ["cam"] and streams[0]["created_at"] == begun, streams
    figures = topics.wait(STATUS, "figures", lambda s: s["metadata"]["event"] == "metrics" and s["stream_id"] == "cam")["metadata"]
    assert figures["video_codec"] == "h264" and int(figures["video_bytes"]) > 0, figures
    keys = {key for key, body in topics.all(STATUS) if body["stream_id"] == "cam"}
    assert keys == {"cam"}, keys


def asked(server: Server, topics: Topics) -> None:
    """States are told when they are asked for."""
    topics.send(CONTROL, {"command": "QUERY_STATUS", "stream_id": "cam", "command_id": "q1"}, "cam")
    assert topics.wait(STATUS, "the state", answered("q1"))["status"] == "running"
    topics.send(CONTROL, {"command": "QUERY_STATUS", "stream_id": "none", "command_id": "q2"}, "none")
    assert topics.wait(STATUS, "no state", answered("q2"))["status"] == "not_found"


def refused(server: Server, topics: Topics) -> None:
    """What cannot be carried out is kept with the reason, and nothing stops at it."""
    bad = [
        (b"\xff\xfenonsense", "expected"),
        (b"", "EOF"),
        ({"command": "DANCE", "stream_id": "x"}, "command: unknown variant"),
        ({**start("x"), "colour": 1}, "colour"),
        ({**start("x"), "version": 9}, "version"),
        (start("../x"), "stream_id"),
        (start("x", source_type="rtmp", width=None, height=None), "stream_key"),
        (start("x", source_type="url", stream_key="http://169.254.169.254/", width=None, height=None), "source_url"),
        (start("x", qualities=["999p"]), "999p"),
        (start("x", is_recorded=True), "is_recorded"),
        (start("again", qualities=["998p"], command_id="f1"), "998p"),
        ({"command": "TRANSCODE", "stream_id": "x", "version": 1}, "store.url"),
    ]
    for body, said in bad:
        topics.send(CONTROL, body, "k")
        letter = topics.wait(DEAD, f"a letter about {body}", lambda b, said=said: said in b["error"])
        assert letter["original_topic"] == CONTROL and letter["consumer_group"] == "ghoststream", letter
    letter = topics.wait(DEAD, "the body", lambda b: "DANCE" in b["value"])
    assert json.loads(letter["value"])["stream_id"] == "x" and letter["service_id"] == "node-a", letter
    topics.wait(STATUS, "an error", lambda s: s["status"] == "error" and "999p" in s["metadata"]["error"])
    assert [s["stream_id"] for s in json.loads(server.get("/streams")[1])] == ["cam"]
    page = server.get("/metrics")[1]
    count = dict(re.findall(r"^(media_processor_\w+\{.*?\}) (\d+)$", page, re.M))
    assert int(count['media_processor_dlq_messages_sent_total{original_topic="%s"}' % CONTROL]) == len(bad), page
    assert int(count['media_processor_kafka_messages_consumed_total{topic="%s",consumer_group="ghoststream"}' % CONTROL]) >= 15
    assert int(count['media_processor_kafka_messages_produced_total{topic="%s"}' % STATUS]) > 5
    assert int(count['media_processor_kafka_errors_total{operation="process",topic="%s"}' % CONTROL]) == len(bad)
    # What failed had no effect: under the same name it is carried out when it is right.
    topics.send(CONTROL, start("again", command_id="f1"), "again")
    topics.wait(STATUS, "the second try", lambda s: answered("f1")(s) and s["status"] in ("starting", "running"))
    request = urllib.request.Request(f"{server.http}/streams/again", method="DELETE")
    assert urllib.request.urlopen(request, timeout=20).status == 200


def restarted(server: Server, topics: Topics, broker: Broker) -> Topics:
    """The broker goes away and comes back: the stream goes on, then its state is told anew and commands work."""
    seen = len(topics.all(STATUS))
    topics.close()
    away, there = server.logged("Kafka is away"), server.logged("Kafka is there")

    def reached() -> int:
        playlist = server.get("/streams/cam/playlist.m3u8")[1]
        media = next(line for line in playlist.splitlines() if line.endswith(".m3u8"))
        return int(re.search(r"MEDIA-SEQUENCE:(\d+)", server.get(f"/streams/cam/{media}")[1])[1])

    broker.stop()
    until("it is noticed", lambda: server.logged("Kafka is away") == away + 1, 30)
    before = reached()
    until("the stream goes on", lambda: reached() > before + 1, 60)
    assert server.get("/api/health")[0] == 200
    broker.start()
    until("it is noticed", lambda: server.logged("Kafka is there") == there + 1, 60)
    topics = Topics(broker.address)
    topics.wait(STATUS, "its state, anew", lambda s: s["metadata"]["event"] == "snapshot" and s["status"] == "running", seen)
    assert server.logged("Kafka is away") == away + 1, "said more than once"
    topics.send(CONTROL, {"command": "QUERY_STATUS", "stream_id": "cam", "command_id": "q3"}, "cam")
    assert topics.wait(STATUS, "an answer", answered("q3"))["status"] == "running"
    return topics


def stopped(server: Server, topics: Topics) -> None:
    """A command stops it; the second changes nothing."""
    for name in ("e1", "e2"):
        topics.send(CONTROL, {"command": "STOP", "stream_id": "cam", "command_id": name}, "cam")
        assert topics.wait(STATUS, "it is over", answered(name))["status"] == "stopped"
    topics.wait(STATUS, "it is told", lambda s: s["status"] == "stopped" and s["metadata"]["event"] == "state")
    topics.send(CONTROL, start("last", command_id="s9"), "last")
    topics.wait(STATUS, "the last one runs", lambda s: s["stream_id"] == "last" and s["status"] == "running")


def main() -> None:
    """All of it, in order: each part needs those before."""
    broker = Broker(WORK / "broker")
    server = Server(broker.address)
    topics, begin = None, time.monotonic()

    def done(what: str) -> None:
        nonlocal begin
        print(f"    ok      {what} ({time.monotonic() - begin:.1f} s)", flush=True)
        begin = time.monotonic()

    try:
        without_a_broker(server, broker)
        done("it goes on without a broker")
        broker.start()
        until("it is noticed", lambda: server.logged("Kafka is there"), 60)
        topics = Topics(broker.address)
        done("it finds a broker that comes")
        started(server, topics)
        done("START")
        asked(server, topics)
        done("QUERY_STATUS")
        refused(server, topics)
        done("dead letters")
        topics = restarted(server, topics, broker)
        done("the broker goes and comes")
        stopped(server, topics)
        done("STOP")
        server.end()
        topics.wait(STATUS, "the end", lambda s: s["stream_id"] == "last" and s["status"] == "stopped")
        done("SIGTERM")
        # What is done is not done again.
        server = Server(broker.address)
        topics.send(CONTROL, {"command": "QUERY_STATUS", "stream_id": "last", "command_id": "q4"}, "last")
        assert topics.wait(STATUS, "an answer", answered("q4"))["status"] == "not_found"
        assert json.loads(server.get("/streams")[1]) == []
        server.end()
        done("a second run begins where the first ended")
    except (AssertionError, subprocess.SubprocessError, OSError, KeyError, TypeError) as e:
        line = e.__traceback__.tb_next.tb_lineno if e.__traceback__ and e.__traceback__.tb_next else 0
        print(f"    FAILED  line {line}: {type(e).__name__}: {str(e)[-2500:]}", flush=True)
        print(server.log.read_text()[-2500:])
        server.process.kill()
        server.process.wait()
        sys.exit(1)
    finally:
        if topics:
            topics.close()
        broker.stop()


main()
