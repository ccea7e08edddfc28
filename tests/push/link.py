"""Two network namespaces with a shaped link between them: `near`, where what is tested runs, and `far`, where servers run.

The kernel's own netem shapes where there is one (`tc qdisc add … netem`). Many kernels have none: then a relay of our own
passes each frame from one side to the other, late, or not at all. Both lose real packets of real connections, which the
kernel's TCP and libsrt have to repair; a proxy, which ends connections, would hide that."""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

NEAR, FAR = "10.77.0.1", "10.77.0.2"
ETH_P_ALL = 3
PACKET_OUTGOING = 4
CLONE_NEWNET = 0x40000000


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_not():
    """Why there can be no such link here; empty when there can."""
    name = f"gs{os.getpid()}try"
    try:
        ip("netns", "add", name)
    except FileNotFoundError:
        return "iproute2 is missing"
    except subprocess.CalledProcessError as e:
        return f"network namespaces cannot be made here ({e.stderr.strip()}); it needs root"
    ip("netns", "del", name)
    return ""


def within(namespace, call):
    """What `call` gives in a namespace; its sockets stay there."""
    result = []

    def run():
        try:
            with open(f"/run/netns/{namespace}") as handle:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            result.append((call(), None))
        except Exception as e:  # handed to whoever asked
            result.append((None, e))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = result[0]
    if error:
        raise error
    return value


def no_offloads(device):
    """Packets are to be of the size that a wire has, with their checksums: the other end of a pair would take anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        # Checksums, scatter-gather, and the two ways to send more than a packet at once.
        for command in [0x17, 0x19, 0x1F, 0x24]:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP8x", device.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):
                fcntl.ioctl(s, 0x8946, request)


class Way:
    """One direction of a relay."""

    # How long a packet may wait for a narrow link before it is dropped, as the buffers of routers do.
    BUFFER = 0.3

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.waiting = []
        self.count = itertools.count()
        self.free = 0.0

    def take(self, shape, chance):
        data, about = self.source.recvfrom(65536)
        if about[2] == PACKET_OUTGOING or not shape["up"] or chance.random() < shape["loss"]:
            return
        now = time.monotonic()
        begin = max(now, self.free)
        if shape["rate"]:
            if begin - now > self.BUFFER:
                return
            self.free = begin + len(data) * 8 / shape["rate"]
        # As with netem, what is later may overtake what is late.
        late = shape["delay"] + chance.uniform(-shape["jitter"], shape["jitter"])
        heapq.heappush(self.waiting, (max(self.free, now) + late, next(self.count), data))

    def give(self):
        """Passes on what is due; seconds until the next."""
        while self.waiting:
            wait = self.waiting[0][0] - time.monotonic()
            if wait > 0:
                return wait
            with contextlib.suppress(OSError):
                self.sink.send(heapq.heappop(self.waiting)[2])
        return 1.0


class Link:
    """`near` and `far` are names of namespaces; `kind` says what shapes. Everything is gone with its end."""

    def __init__(self):
        self.shape = {"rate": None, "loss": 0.0, "delay": 0.01, "jitter": 0.0, "up": True}
        tag = f"gs{os.getpid() % 100000}"
        self.near, self.far = f"{tag}near", f"{tag}far"
        self.ends = [(self.near, f"{tag}n0", NEAR), (self.far, f"{tag}f0", FAR)]
        self.middle = [f"{tag}n1", f"{tag}f1"]
        self.over = False
        self.thread = None

    def __enter__(self):
        try:
            for namespace, _, _ in self.ends:
                ip("netns", "add", namespace)
            self.kind = "netem" if self._has_netem() else "relay"
            (near, near_end, _), (far, far_end, _) = self.ends
            if self.kind == "netem":
                ip("link", "add", near_end, "netns", near, "type", "veth", "peer", "name", far_end, "netns", far)
            else:
                for (namespace, end, _), middle in zip(self.ends, self.middle):
                    ip("link", "add", middle, "type", "veth", "peer", "name", end, "netns", namespace)
                    ip("link", "set", middle, "up")
            for namespace, end, address in self.ends:
                ip("-n", namespace, "addr", "add", f"{address}/24", "dev", end)
                ip("-n", namespace, "link", "set", "lo", "up")
                ip("-n", namespace, "link", "set", end, "up")
                within(namespace, lambda end=end: no_offloads(end))
            if self.kind == "relay":
                self.thread = threading.Thread(target=self._relay, daemon=True)
                self.thread.start()
            else:
                self._netem("add")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.over = True
        if self.thread:
            self.thread.join(5)
        for middle in self.middle:
            subprocess.run(["ip", "link", "del", middle], capture_output=True)
        for namespace, _, _ in self.ends:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)

    def set(self, **shape):
        """`rate` (bits a second, None = any), `loss` (0 to 1), `delay` (seconds one way), `jitter` (as much more or less), `up`."""
        self.shape |= shape
        if self.kind == "netem":
            self._netem("change")

    def run_in(self, namespace):
        """What a command begins with that is to run there."""
        return ["ip", "netns", "exec", namespace]

    def _has_netem(self):
        done = subprocess.run(["tc", "-n", self.near, "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%"],
                              capture_output=True)
        subprocess.run(["tc", "-n", self.near, "qdisc", "del", "dev", "lo", "root"], capture_output=True)
        return done.returncode == 0

    def _netem(self, verb):
        shape = self.shape
        words = ["delay", f"{shape['delay'] * 1000:.0f}ms", f"{shape['jitter'] * 1000:.0f}ms"]
        words += ["loss", f"{100 * (shape['loss'] if shape['up'] else 1):.2f}%"]
        # What is not limited is given a rate that nothing here comes to.
        words += ["rate", f"{shape['rate'] or 1_000_000_000:.0f}bit", "limit", "200"]
        for namespace, end, _ in self.ends:
            subprocess.run(["tc", "-n", namespace, "qdisc", verb, "dev", end, "root", "netem", *words], check=True,
                           capture_output=True, text=True)

    def _relay(self):
        chance = random.Random(1)
        sockets = []
        for device in self.middle:
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            s.bind((device, ETH_P_ALL))
            sockets.append(s)
        ways = {sockets[0]: Way(*sockets), sockets[1]: Way(*reversed(sockets))}
        while not self.over:
            wait = min(way.give() for way in ways.values())
            for source in select.select(sockets, [], [], min(wait, 0.2))[0]:
                ways[source].take(self.shape, chance)
        for s in sockets:
            s.close()
