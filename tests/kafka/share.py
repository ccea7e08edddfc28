"""Nodes with little room: what a full one cannot run another one does, what nobody can run waits, and nothing is a dead letter
that somebody can ever do. Against a real broker."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

from broker import Broker, Topics, until

CLI = os.environ["GS_CLI"]
WORK = pathlib.Path(os.environ["GS_TARGET_DIR"]) / "kafka-suite" / "share"
CONTROL, STATUS, DEAD = "stream_control_events", "stream_status_events", "stream_control_events_dlq"

CONFIG = """
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: "%(work)s/jobs", idle_workers: 0}
hardware: {prefer_hw_accel: false}
security: {state_directory: "%(work)s/state", rate_limit_per_minute: 0}
live: {enabled: true, rtmp_port: null, webrtc_port: null, max_streams: %(room)d, stale_threshold: 2, cleanup_interval: 0.2}
kafka: {brokers: ["%(broker)s"], node: %(name)s, metrics_interval: 0, take_over: true}
"""


class Node:
    """A node that can run so many streams."""

    def __init__(self, name: str, room: int, broker: str) -> None:
        work = WORK / name
        work.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, work / "log"
        config = work / "ghoststream.yaml"
        config.write_text(CONFIG % {"work": work, "broker": broker, "room": room, "name": name})
        self.process = subprocess.Popen([CLI, "serve", "--config", config], stdout=self.log.open("ab"), stderr=subprocess.STDOUT)

        def where() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            found = re.findall(r"listening on (http://127\.0\.0\.1:\d+)", self.log.read_text())
            return found and found[-1]

        self.http = until(f"{name} is up", where)

    def runs(self) -> set[str]:
        with urllib.request.urlopen(self.http + "/streams", timeout=20) as answer:
            return {s["stream_id"] for s in json.load(answer) if s["status"] == "active"}

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        code = self.process.wait(30)
        assert how == signal.SIGKILL or code == 0, self.log.read_text()[-3000:]


def start(stream: str) -> dict:
    return {"command": "START", "stream_id": stream, "source_type": "test", "width": 320, "height": 180, "command_id": f"start-{stream}"}


def told(stream: str, **wanted: str):
    """Whether a status is of that stream and says that."""

    def check(s: dict) -> bool:
        all = {**s, **s["metadata"]}
        return s["stream_id"] == stream and all.items() >= wanted.items()

    return check


def shared(nodes: list[Node], topics: Topics) -> None:
    """Three streams, two nodes with room for one and two: all run, wherever their partition is."""
    for n in range(3):
        topics.send(CONTROL, start(f"s{n}"), f"s{n}")
    until("all run", lambda: set.union(*(node.runs() for node in nodes)) == {"s0", "s1", "s2"}, 60)
    assert [len(node.runs()) for node in nodes] == [1, 2], [node.runs() for node in nodes]
    for node in nodes:
        for stream in node.runs():
            name = f"ask-{stream}"
            topics.send(CONTROL, {"command": "QUERY_STATUS", "stream_id": stream, "command_id": name}, stream)
            answer = topics.wait(STATUS, "who runs it answers", told(stream, command_id=name))
            assert (answer["status"], answer["service_id"]) == ("running", node.name), answer


def waits(nodes: list[Node], topics: Topics) -> None:
    """A fourth waits until one is stopped; a command that makes no sense does not."""
    topics.send(CONTROL, start("s3"), "s3")
    topics.wait(STATUS, "it waits", told("s3", waiting="no node has room"))
    topics.send(CONTROL, {**start("bad"), "qualities": ["999p"]}, "bad")
    letter = topics.wait(DEAD, "a letter", lambda b: True)
    assert "999p" in letter["error"], letter
    # Stopped where it runs, whoever has its partition.
    gone = next(iter(nodes[1].runs()))
    topics.send(CONTROL, {"command": "STOP", "stream_id": gone, "command_id": "stop"}, gone)
    answer = topics.wait(STATUS, "it is stopped", told(gone, command_id="stop"))
    assert (answer["status"], answer["service_id"]) == ("stopped", nodes[1].name), answer
    until("the fourth runs", lambda: "s3" in nodes[1].runs() | nodes[0].runs(), 60)


def killed(nodes: list[Node], topics: Topics, broker: Broker) -> Node:
    """The node with two streams is killed; a third with room for three runs what the first one has no room for."""
    lost = nodes[1].runs()
    assert len(lost) == 2, lost
    nodes[1].end(signal.SIGKILL)
    other = Node("node-c", 3, broker.address)
    until("another node has them", lambda: nodes[0].runs() | other.runs() >= lost, 90)
    assert len(nodes[0].runs()) == 1 and not nodes[0].runs() & other.runs(), (nodes[0].runs(), other.runs())
    assert len(topics.all(DEAD)) == 1, topics.all(DEAD)
    return other


def cut(nodes: list[Node], topics: Topics, broker: Broker) -> None:
    """A node that no broker hears goes on with its streams, which another one takes over; when it is heard again, it gives
    them up."""
    far = Node("node-d", 3, broker.far)
    nodes.append(far)
    until("it has the broker", lambda: "Kafka is there" in far.log.read_text(), 60)
    for n in range(4):
        topics.send(CONTROL, start(f"far{n}"), f"far{n}")
    near = [node for node in nodes if node is not far and node.process.poll() is None]
    runs = lambda: set.union(*(node.runs() for node in near))
    wanted = {f"far{n}" for n in range(4)}
    until("they run", lambda: runs() | far.runs() >= wanted, 60)
    held = until("it has some", lambda: far.runs())
    broker.relay.open.clear()
    roomy = Node("node-e", 9, broker.address)
    nodes.append(roomy)
    near.append(roomy)
    until("others have them", lambda: runs() >= held, 90)
    assert far.runs() == held, (far.runs(), held)
    broker.relay.open.set()
    until("it gives them up", lambda: not far.runs() & runs(), 90)
    assert runs() | far.runs() >= wanted and len(topics.all(DEAD)) == 1, (runs(), far.runs(), topics.all(DEAD))


def main() -> None:
    """All of it, in order."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    broker = Broker(WORK / "broker")
    nodes: list[Node] = []
    topics, begin = None, time.monotonic()

    def done(what: str) -> None:
        nonlocal begin
        print(f"    ok      {what} ({time.monotonic() - begin:.1f} s)", flush=True)
        begin = time.monotonic()

    try:
        broker.start()
        nodes = [Node("node-a", 1, broker.address), Node("node-b", 2, broker.address)]
        for node in nodes:
            until("it has the broker", lambda node=node: "Kafka is there" in node.log.read_text(), 60)
        topics = Topics(broker.address)
        shared(nodes, topics)
        done("a full node hands streams on")
        waits(nodes, topics)
        done("what nobody has room for waits")
        nodes.append(killed(nodes, topics, broker))
        done("a node that is killed, and one that comes")
        cut(nodes, topics, broker)
        done("a node that is cut off, and heard again")
        for node in nodes:
            if node.process.poll() is None:
                node.end()
    except (AssertionError, subprocess.SubprocessError, OSError, KeyError, TypeError) as e:
        line = e.__traceback__.tb_next.tb_lineno if e.__traceback__ and e.__traceback__.tb_next else 0
        print(f"    FAILED  line {line}: {type(e).__name__}: {str(e)[-2500:]}", flush=True)
        for node in nodes:
            print(f"--- {node.name}\n{node.log.read_text()[-1500:]}")
            node.process.kill()
            node.process.wait()
        sys.exit(1)
    finally:
        if topics:
            topics.close()
        broker.stop()


main()
