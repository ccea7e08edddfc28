"""A Wayland window that draws a number for every picture of the compositor, and writes down which of them were shown.

    WAYLAND_DISPLAY=... python shown.py FILE

640x360, floating wherever the compositor puts it. The number changes when the compositor asks for the next picture, which it
does when it has drawn the one before: none is lost on the way there. (Headless outputs of wlroots 0.15 leave the questions of
presentation-time without an answer, so they are not asked.) FILE has one number a line, those that were drawn; it is written when
the process is told to end (SIGTERM). The numbers are those of the engine's test pattern: 32 cells at the bottom, most
significant bit first, white for 1, with the inverse in a row above. The protocol is spoken here, without a library: a client
library would have to be installed for this alone.
"""

import mmap
import os
import pathlib
import signal
import socket
import struct
import sys

import numpy

WIDTH, HEIGHT, BITS = 640, 360, 32
BUFFERS = 4


class Wire:
    """Requests and events of a Wayland connection; all objects by their number."""

    def __init__(self) -> None:
        name = os.environ.get("WAYLAND_DISPLAY", "wayland-0")
        path = name if name.startswith("/") else f"{os.environ['XDG_RUNTIME_DIR']}/{name}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.last = 1
        self.data = b""

    def new(self) -> int:
        # Numbers are not used again: there are enough of them.
        self.last += 1
        return self.last

    def send(self, target: int, code: int, body: bytes = b"", fd: int | None = None) -> None:
        message = struct.pack("<IHH", target, code, 8 + len(body)) + body
        with_fd = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))] if fd is not None else []
        self.socket.sendmsg([message], with_fd)

    def events(self):
        """What has come, waiting for at least something: target, code, body."""
        self.data += self.socket.recv(65536) or sys.exit("shown: the compositor is gone")
        while len(self.data) >= 8:
            target, code, size = struct.unpack_from("<IHH", self.data)
            if len(self.data) < size:
                return
            body, self.data = self.data[8:size], self.data[size:]
            if target == 1 and code == 0:
                sys.exit(f"shown: the compositor refuses: {body[12:]!r}")
            yield target, code, body


def text(value: str) -> bytes:
    raw = value.encode() + b"\0"
    return struct.pack("<I", len(raw)) + raw + b"\0" * (-len(raw) % 4)


class Window:
    """The window, and what became of its numbers."""

    def __init__(self) -> None:
        self.wire = Wire()
        registry = self.wire.new()
        self.wire.send(1, 1, struct.pack("<I", registry))
        self.sync = self.wire.new()
        self.wire.send(1, 0, struct.pack("<I", self.sync))
        offered: dict[str, tuple[int, int]] = {}
        while self.sync:
            for target, code, body in self.wire.events():
                if target == registry and code == 0:
                    name, length = struct.unpack_from("<II", body)
                    interface = body[8:8 + length - 1].decode()
                    offered[interface] = (name, struct.unpack_from("<I", body, 8 + (length + 3) // 4 * 4)[0])
                elif target == self.sync:
                    self.sync = 0

        def bind(interface: str, version: int) -> int:
            if interface not in offered:
                sys.exit(f"shown: the compositor has no {interface}")
            number = self.wire.new()
            name, most = offered[interface]
            body = struct.pack("<I", name) + text(interface) + struct.pack("<II", min(version, most), number)
            self.wire.send(registry, 0, body)
            return number

        compositor, shm = bind("wl_compositor", 4), bind("wl_shm", 1)
        self.base = bind("xdg_wm_base", 1)
        size = WIDTH * HEIGHT * 4
        fd = os.memfd_create("shown")
        os.ftruncate(fd, size * BUFFERS)
        memory = mmap.mmap(fd, size * BUFFERS)
        self.pictures = numpy.frombuffer(memory, numpy.uint8).reshape(BUFFERS, HEIGHT, WIDTH, 4)
        pool = self.wire.new()
        self.wire.send(shm, 0, struct.pack("<II", pool, size * BUFFERS), fd)
        self.free = {}
        for n in range(BUFFERS):
            buffer = self.wire.new()
            self.wire.send(pool, 0, struct.pack("<IiiiiI", buffer, n * size, WIDTH, HEIGHT, WIDTH * 4, 1))
            self.free[buffer] = n
        self.buffers = dict(self.free)
        self.surface, self.role, toplevel = self.wire.new(), self.wire.new(), self.wire.new()
        self.wire.send(compositor, 0, struct.pack("<I", self.surface))
        self.wire.send(self.base, 2, struct.pack("<II", self.role, self.surface))
        self.wire.send(self.role, 1, struct.pack("<I", toplevel))
        self.wire.send(self.surface, 6)
        self.number = 0
        self.callback = 0
        self.shown: list[int] = []
        self.due = False

    def draw(self) -> None:
        """Commits the next number, and asks to be told when it is drawn."""
        if not self.free:
            return
        buffer, n = self.free.popitem()
        picture, number = self.pictures[n], self.number
        # Something that moves all over, so that there is something to encode.
        picture[:, :, :3] = (numpy.arange(WIDTH) + number * 4)[None, :, None] & 0xFF
        bits = numpy.array([number >> (BITS - 1 - bit) & 1 for bit in range(BITS)], numpy.uint8) * 255
        cells = numpy.repeat(bits, WIDTH // BITS)[None, :, None]
        picture[HEIGHT - HEIGHT // 16:, :, :3] = cells
        picture[HEIGHT - HEIGHT // 8:HEIGHT - HEIGHT // 16, :, :3] = 255 - cells
        self.callback = self.wire.new()
        self.wire.send(self.surface, 1, struct.pack("<Iii", buffer, 0, 0))
        self.wire.send(self.surface, 9, struct.pack("<iiii", 0, 0, WIDTH, HEIGHT))
        self.wire.send(self.surface, 3, struct.pack("<I", self.callback))
        self.wire.send(self.surface, 6)
        self.number += 1
        self.due = False

    def run(self) -> None:
        while True:
            for target, code, body in self.wire.events():
                if target == self.base and code == 0:
                    self.wire.send(self.base, 3, body)
                elif target == self.role and code == 0:
                    self.wire.send(self.role, 4, body)
                    self.due = self.due or self.number == 0
                elif target == self.callback and code == 0:
                    self.shown.append(self.number - 1)
                    self.due = True
                elif target in self.buffers and code == 0:
                    self.free[target] = self.buffers[target]
            if self.due:
                self.draw()


def main() -> None:
    window = Window()

    def end(*_: object) -> None:
        pathlib.Path(sys.argv[1]).write_text("".join(f"{n}\n" for n in window.shown))
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    window.run()


if __name__ == "__main__":
    main()
