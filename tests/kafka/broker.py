"""A real Apache Kafka, one node in KRaft mode, on free ports of this machine."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable

import kafka

# Small and soon there: a test's broker.
JAVA = ["java", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
JAVA += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%(host)s:%(controller)d
listeners=PLAINTEXT://%(host)s:%(port)d,FAR://127.0.0.1:%(behind)d,CONTROLLER://%(host)s:%(controller)d
advertised.listeners=PLAINTEXT://%(host)s:%(port)d,FAR://127.0.0.1:%(far)d
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT
log.dirs=%(folder)s/data
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


def missing() -> str | None:
    """Why there can be no broker, if so."""
    if not shutil.which("java"):
        return "java is missing (tests/setup/setup.sh test)"
    if not os.environ.get("GS_KAFKA"):
        return "Apache Kafka was not fetched (tests/setup/setup.sh test)"
    return None


def free() -> int:
    """A port that nobody has."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what: str, check: Callable, seconds: float = 60):
    """Waits for `check` to give something."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.1)


class Relay:
    """A way to a port of this machine, until it is cut: then nothing comes by, and nobody is told."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, a: socket.socket, b: socket.socket) -> None:
        try:
            while data := a.recv(65536):
                self.open.wait()
                b.sendall(data)
        except OSError:
            pass
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Broker:
    """A broker. It keeps its ports and its data from one start to the next. `far` leads to it by a relay that can be cut."""

    def __init__(self, folder: pathlib.Path, host: str = "127.0.0.1") -> None:
        self.folder, self.host = folder, host
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.port, controller, behind = free(), free(), free()
        self.address = f"{host}:{self.port}"
        self.relay = Relay(behind)
        self.far = f"127.0.0.1:{self.relay.port}"
        self.properties = folder / "server.properties"
        self.properties.write_text(PROPERTIES % {
            "host": host, "port": self.port, "behind": behind, "far": self.relay.port, "controller": controller, "folder": folder,
        })
        self.process: subprocess.Popen | None = None
        self.formatted = False

    def java(self, *arguments: str | pathlib.Path) -> list[str]:
        return [*JAVA, os.environ["GS_KAFKA"] + "/*", *map(str, arguments)]

    def launch(self) -> None:
        """Starts it without waiting for it."""
        log = (self.folder / "log").open("ab")
        if not self.formatted:
            command = self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.properties)
            subprocess.run(command, check=True, stdout=log, stderr=log)
            self.formatted = True
        self.process = subprocess.Popen(self.java("kafka.Kafka", self.properties), stdout=log, stderr=log)

    def ready(self) -> None:
        """Waits until it answers."""

        def answers() -> bool:
            assert self.process and self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return True
            except OSError:
                return False

        until("Kafka is up", answers, 90)

    def start(self) -> None:
        self.launch()
        self.ready()

    def stop(self) -> None:
        """At once, as by a power cut."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Topics:
    """Sends to topics and reads them from their beginning."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.producer = until("a producer", self._producer)
        self.consumers: dict[str, kafka.KafkaConsumer] = {}
        self.read: dict[str, list[tuple[str | None, object]]] = {}

    def _producer(self) -> kafka.KafkaProducer | None:
        try:
            return kafka.KafkaProducer(bootstrap_servers=self.address, acks="all", linger_ms=0)
        except kafka.errors.KafkaError:
            return None

    def send(self, topic: str, body: object, key: str | None = None) -> None:
        """A JSON body, or bytes as they are; waits until the broker has them."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.producer.send(topic, data, key.encode() if key else None).get(30)

    def all(self, topic: str) -> list[tuple[str | None, object]]:
        """Everything that has come to a topic so far: keys and bodies."""
        if topic not in self.consumers:
            consumer = kafka.KafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
            partitions = until(f"{topic} is there", lambda: consumer.partitions_for_topic(topic), 30)
            consumer.assign([kafka.TopicPartition(topic, p) for p in sorted(partitions)])
            self.consumers[topic], self.read[topic] = consumer, []
        for messages in self.consumers[topic].poll(timeout_ms=100).values():
            for m in messages:
                self.read[topic].append((m.key.decode() if m.key else None, json.loads(m.value)))
        return self.read[topic]

    def wait(self, topic: str, what: str, check: Callable, since: int = 0, seconds: float = 60) -> dict:
        """The first body after the first `since` that `check` likes."""

        def found() -> dict | None:
            return next((body for _, body in self.all(topic)[since:] if check(body)), None)

        try:
            return until(what, found, seconds)
        except AssertionError:
            raise AssertionError(f"{what}: {json.dumps([b for _, b in self.all(topic)[since:]][-12:])}") from None

    def close(self) -> None:
        self.producer.close(timeout=1)
        for consumer in self.consumers.values():
            consumer.close(timeout_ms=1000)
