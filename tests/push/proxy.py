"""Proxies on loopback that narrow, lose and cut: one for TCP, one for UDP. Attributes may change at any time."""

import random
import selectors
import socket
import threading
import time


class Bucket:
    """Bytes that may pass: `rate` bytes a second, None = any."""

    def __init__(self):
        self.rate = None
        self.level = 0.0
        self.at = time.monotonic()

    def take(self, most):
        if self.rate is None:
            return most
        now = time.monotonic()
        self.level = min(self.level + (now - self.at) * self.rate, max(self.rate * 0.05, 3000))
        self.at = now
        took = min(most, int(self.level))
        self.level -= took
        return took


class TcpProxy:
    """Forwards connections to `target`; small buffers, so that the sender soon feels a narrow link."""

    def __init__(self, target):
        self.target = target
        self.bucket = Bucket()
        self.up = True
        self.pairs = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(self.target)
            self.connections += 1
            self.pairs.append((near, far))
            threading.Thread(target=self._forward, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(far, near, False), daemon=True).start()

    def _forward(self, source, sink, shaped):
        try:
            while True:
                data = source.recv(4096)
                if not data:
                    break
                while data:
                    n = self.bucket.take(len(data)) if shaped else len(data)
                    if n == 0:
                        time.sleep(0.005)
                        continue
                    sink.sendall(data[:n])
                    data = data[n:]
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Breaks what is connected, and refuses what comes until `mend`."""
        self.up = False
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def mend(self):
        self.up = True

    def close(self):
        self.cut()
        self.listener.close()


class UdpProxy:
    """Forwards datagrams to `target` and back. What is beyond `rate` waits in a short queue, and is lost beyond that, as in a
    router; `loss` of all is lost anyway. The same seed loses the same."""

    QUEUE = 60_000

    def __init__(self, target, seed=1):
        self.target = target
        self.bucket = Bucket()
        self.loss = 0.0
        self.up = True
        self.random = random.Random(seed)
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", 0))
        self.port = self.near.getsockname()[1]
        self.peers = {}
        self.queue = []
        self.lost = 0
        self.running = True
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        poll = selectors.DefaultSelector()
        self.near.setblocking(False)
        poll.register(self.near, selectors.EVENT_READ, None)
        while self.running:
            for key, _ in poll.select(0.002):
                if key.data is None:
                    self._outward(poll)
                else:
                    self._inward(key)
            self._drain()

    def _outward(self, poll):
        for _ in range(64):
            try:
                data, peer = self.near.recvfrom(65536)
            except BlockingIOError:
                return
            if peer not in self.peers:
                far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                far.connect(self.target)
                far.setblocking(False)
                poll.register(far, selectors.EVENT_READ, peer)
                self.peers[peer] = far
            if not self.up or self.random.random() < self.loss:
                self.lost += 1
            elif sum(len(d) for _, d in self.queue) + len(data) > self.QUEUE:
                self.lost += 1
            else:
                self.queue.append((peer, data))

    def _inward(self, key):
        for _ in range(64):
            try:
                data = key.fileobj.recv(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if self.up and self.random.random() >= self.loss:
                self.near.sendto(data, key.data)

    def _drain(self):
        while self.queue:
            peer, data = self.queue[0]
            if self.bucket.rate is not None:
                if self.bucket.take(0) or self.bucket.level < len(data):
                    return
                self.bucket.level -= len(data)
            self.queue.pop(0)
            try:
                self.peers[peer].send(data)
            except OSError:
                pass

    def close(self):
        self.running = False
