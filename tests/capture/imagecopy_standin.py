"""A Wayland compositor for tests that hands out its pictures by ext-image-copy-capture, which no compositor of Debian 12 has.

It speaks the protocol to the letter and shows nothing: its monitor's picture is four bars, the number of the picture in the upper
rows, and where the pointer is asked for a white square. What a compositor may leave out it leaves out: it writes into a buffer what
has changed and what the client says is old, and nothing else; without a change it does not answer. What a client must not do ends
its connection by a protocol error, which `violations` keeps.

    with Standin(WORK) as monitor:
        subprocess.run([..., "screen:"], env=monitor.env)
"""

import array
import collections
import contextlib
import mmap
import os
import pathlib
import selectors
import socket
import struct
import tempfile
import threading
import time

import numpy

# wl_shm has two formats with numbers of their own; the others are DRM's.
ARGB, XRGB, XBGR, NV12 = 0, 1, 0x34324258, 0x3231564E
RATE = 60
STRIP = 20  # rows of the number
BITS = 16
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]
SQUARE = (80, 60, 16)  # left, top, side
TRANSFORMS = ["normal", "90", "180", "270"]  # quarters of a turn, counter-clockwise

# Requests by interface, in order: name, arguments. n new id, o object, u/i number, s text, h descriptor.
REQUESTS = {
    "wl_display": [("sync", "n"), ("get_registry", "n")],
    "wl_registry": [("bind", "usun")],
    "wl_callback": [],
    "wl_shm": [("create_pool", "nhi")],
    "wl_shm_pool": [("create_buffer", "niiiiu"), ("destroy", ""), ("resize", "i")],
    "wl_buffer": [("destroy", "")],
    "wl_output": [("release", "")],
    "ext_output_image_capture_source_manager_v1": [("create_source", "no"), ("destroy", "")],
    "ext_image_capture_source_v1": [("destroy", "")],
    "ext_image_copy_capture_manager_v1": [("create_session", "nou"), ("create_pointer_cursor_session", "noo"), ("destroy", "")],
    "ext_image_copy_capture_session_v1": [("create_frame", "n"), ("destroy", "")],
    "ext_image_copy_capture_frame_v1": [("destroy", ""), ("attach_buffer", "o"), ("damage_buffer", "iiii"), ("capture", "")],
}
# What the registry names, with the version of each.
GLOBALS = {1: ("wl_shm", 1), 2: ("wl_output", 4), 3: ("ext_output_image_capture_source_manager_v1", 1),
           4: ("ext_image_copy_capture_manager_v1", 1)}
OUTPUT = 2


class Refused(Exception):
    """A protocol error: the object, its code, and why."""

    def __init__(self, who: int, code: int, why: str):
        super().__init__(why)
        self.who, self.code = who, code


class Thing:
    """An object of a client."""

    def __init__(self, kind: str, version: int = 1, **more):
        self.kind, self.version, self.alive = kind, version, True
        self.__dict__.update(more)


class Client:
    """One connection."""

    def __init__(self, standin: "Standin", connection: socket.socket):
        self.standin, self.socket = standin, connection
        self.data, self.fds = b"", collections.deque()
        self.things: dict[int, Thing] = {1: Thing("wl_display")}
        self.registries: list[int] = []
        self.highest = 1

    def event(self, who: int, opcode: int, form: str = "", *values) -> None:
        body = b""
        for kind, value in zip(form, values):
            if kind in "sa":
                raw = value.encode() + b"\0" if kind == "s" else value
                body += struct.pack("<I", len(raw)) + raw + bytes(-len(raw) % 4)
            else:
                body += struct.pack("<i" if kind == "i" else "<I", value)
        with contextlib.suppress(OSError):
            self.socket.sendall(struct.pack("<IHH", who, opcode, 8 + len(body)) + body)

    def hear(self) -> bool:
        """Does what the client says; `False` at its end."""
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 28)
        except OSError:
            return False
        self.fds.extend(fds)
        self.data += data
        if not data:
            return False
        while len(self.data) >= 8:
            who, opcode, size = struct.unpack_from("<IHH", self.data)
            if len(self.data) < size:
                break
            body, self.data = self.data[8:size], self.data[size:]
            try:
                self.request(who, opcode, body)
            except Refused as e:
                self.standin.violations.append(f"{e} (code {e.code})")
                self.event(1, 0, "ous", e.who, e.code, str(e))
                return False
            except Exception as e:  # the stand-in's own fault fails the check too
                self.standin.violations.append(repr(e))
                return False
        return True

    def request(self, who: int, opcode: int, body: bytes) -> None:
        thing = self.things.get(who)
        if not thing:
            raise Refused(1, 0, f"request {opcode} to {who}, which does not exist")
        known = REQUESTS[thing.kind]
        if opcode >= len(known):
            raise Refused(1, 1, f"{thing.kind} has no request {opcode}")
        name, form = known[opcode]
        values, at, made = [], 0, []
        for kind in form:
            if kind == "h":
                if not self.fds:
                    raise Refused(1, 1, f"{thing.kind}.{name} without a descriptor")
                values.append(self.fds.popleft())
                continue
            if at + 4 > len(body):
                raise Refused(1, 1, f"{thing.kind}.{name} is too short")
            value = struct.unpack_from("<i" if kind == "i" else "<I", body, at)[0]
            at += 4
            if kind == "s":
                text, at = body[at : at + value], at + value + -value % 4
                if len(text) != value or text[-1:] != b"\0":
                    raise Refused(1, 1, f"{thing.kind}.{name} with a text that has no end")
                value = text[:-1].decode()
            elif kind == "o" and value not in self.things:
                raise Refused(1, 0, f"{thing.kind}.{name} names {value}, which does not exist")
            elif kind == "n":
                # As libwayland has it: numbers are used again only when their object is gone, and without holes.
                if value in self.things or not 1 < value <= self.highest + 1:
                    raise Refused(1, 0, f"{thing.kind}.{name}: {value} is no number for a new object")
                self.highest = max(self.highest, value)
                made.append(value)
            values.append(value)
        if at != len(body):
            raise Refused(1, 1, f"{thing.kind}.{name} is too long")
        getattr(self, f"{thing.kind}_{name}")(who, thing, *values)
        assert all(n in self.things or thing.kind == "wl_display" for n in made), (thing.kind, name)

    def gone(self, who: int) -> None:
        self.things.pop(who).alive = False
        self.event(1, 1, "u", who)

    def of(self, kind: str, who: int, asker: int) -> Thing:
        if self.things[who].kind != kind:
            raise Refused(asker, 0, f"{who} is a {self.things[who].kind} and no {kind}")
        return self.things[who]

    def wl_display_sync(self, who, thing, new):
        self.event(new, 0, "u", 0)
        self.event(1, 1, "u", new)

    def wl_display_get_registry(self, who, thing, new):
        self.things[new] = Thing("wl_registry")
        self.registries.append(new)
        for name, (kind, version) in self.standin.globals.items():
            self.event(new, 0, "usu", name, kind, version)

    def wl_registry_bind(self, who, thing, name, kind, version, new):
        offered = self.standin.globals.get(name)
        if not offered or offered[0] != kind or not 1 <= version <= offered[1]:
            raise Refused(who, 0, f"there is no {kind} {version} with the name {name}, but {offered}")
        self.things[new] = Thing(kind, version)
        if kind == "wl_shm":
            for known in [ARGB, XRGB, XBGR]:
                self.event(new, 0, "u", known)
        elif kind == "wl_output":
            self.describe(new)

    def describe(self, who: int) -> None:
        """What an output says of itself."""
        standin, version = self.standin, self.things[who].version
        self.event(who, 0, "iiiiissi", 0, 0, 300, 200, 0, "GhostStream", "stand-in", TRANSFORMS.index(standin.transform))
        self.event(who, 1, "uiii", 3, *standin.size, RATE * 1000)
        if version >= 2:
            self.event(who, 3, "i", 1)
        if version >= 4:
            self.event(who, 4, "s", "COPY-1")
            self.event(who, 5, "s", "a monitor that is none")
        if version >= 2:
            self.event(who, 2)

    def wl_shm_create_pool(self, who, thing, new, fd, size):
        if size <= 0 or os.fstat(fd).st_size < size:
            raise Refused(who, 2, f"a pool of {size} bytes in memory of {os.fstat(fd).st_size}")
        self.things[new] = Thing("wl_shm_pool", size=size, memory=mmap.mmap(fd, size))
        os.close(fd)

    def wl_shm_pool_create_buffer(self, who, pool, new, offset, width, height, stride, form):
        if form not in [ARGB, XRGB, XBGR]:
            raise Refused(who, 0, f"a buffer of the format {form:#x}")
        if width <= 0 or height <= 0 or offset < 0 or stride < width * 4 or offset + stride * height > pool.size:
            raise Refused(who, 1, f"a buffer of {width}x{height}, {stride} bytes a row from {offset}, in {pool.size} bytes")
        rows = numpy.frombuffer(pool.memory, numpy.uint8, stride * height, offset).reshape(height, stride)
        self.things[new] = Thing("wl_buffer", size=(width, height), form=form, pixels=rows[:, : width * 4])

    def wl_shm_pool_destroy(self, who, thing):
        self.gone(who)

    def wl_shm_pool_resize(self, who, thing, size):
        raise Refused(who, 0, "pools are not resized here")

    def wl_buffer_destroy(self, who, buffer):
        if any(t.kind.endswith("frame_v1") and t.asked and t.buffer is buffer for t in self.things.values()):
            raise Refused(who, 0, "a buffer is destroyed that a picture is to be written to")
        self.gone(who)

    def wl_output_release(self, who, thing):
        self.gone(who)

    def ext_output_image_capture_source_manager_v1_create_source(self, who, thing, new, output):
        self.of("wl_output", output, who)
        self.things[new] = Thing("ext_image_capture_source_v1")

    def ext_output_image_capture_source_manager_v1_destroy(self, who, thing):
        self.gone(who)

    def ext_image_capture_source_v1_destroy(self, who, thing):
        self.gone(who)

    def ext_image_copy_capture_manager_v1_create_session(self, who, thing, new, source, options):
        self.of("ext_image_capture_source_v1", source, who)
        if options & ~1:
            raise Refused(who, 1, f"the options {options:#x}")
        session = Thing("ext_image_copy_capture_session_v1", who=new, pointer=bool(options & 1), frame=None, changed="all",
                        stopped=self.standin.stopped)
        self.things[new] = session
        if session.stopped:
            self.event(new, 5)
        else:
            self.constrain(session)

    def ext_image_copy_capture_manager_v1_create_pointer_cursor_session(self, who, *_):
        raise Refused(who, 1, "there is no pointer to be captured alone")

    def ext_image_copy_capture_manager_v1_destroy(self, who, thing):
        self.gone(who)

    def constrain(self, session: Thing) -> None:
        """Says how buffers have to be."""
        session.size = self.standin.size
        # In no particular order, and of more kinds than the client takes.
        self.event(session.who, 1, "u", NV12)
        self.event(session.who, 2, "a", struct.pack("<Q", 0xE280))
        self.event(session.who, 3, "ua", XBGR, struct.pack("<QQ", 0, 0x0300000000606014))
        self.event(session.who, 0, "uu", *session.size)
        self.event(session.who, 1, "u", XBGR)
        self.event(session.who, 4)

    def ext_image_copy_capture_session_v1_create_frame(self, who, session, new):
        if session.frame:
            raise Refused(who, 1, "a frame before the one before was destroyed")
        frame = Thing("ext_image_copy_capture_frame_v1", who=new, session=session, buffer=None, old=[], asked=False, over=False)
        self.things[new] = session.frame = frame

    def ext_image_copy_capture_session_v1_destroy(self, who, thing):
        self.gone(who)

    def ext_image_copy_capture_frame_v1_destroy(self, who, frame):
        frame.session.frame = None
        self.gone(who)

    def ext_image_copy_capture_frame_v1_attach_buffer(self, who, frame, buffer):
        self.before(who, frame)
        frame.buffer = self.of("wl_buffer", buffer, who)

    def ext_image_copy_capture_frame_v1_damage_buffer(self, who, frame, x, y, width, height):
        self.before(who, frame)
        if x < 0 or y < 0 or width <= 0 or height <= 0:
            raise Refused(who, 2, f"{width}x{height} at {x},{y} are no part of a buffer")
        frame.old.append((slice(y, y + height), slice(x * 4, (x + width) * 4)))

    def ext_image_copy_capture_frame_v1_capture(self, who, frame):
        self.before(who, frame)
        if not frame.buffer:
            raise Refused(who, 1, "a capture without a buffer")
        frame.asked = True
        self.standin.asked += 1
        if not frame.session.alive or frame.session.stopped:
            self.fail(frame, 2)

    def before(self, who: int, frame: Thing) -> None:
        if frame.asked or frame.over:
            raise Refused(who, 3, "a frame that was asked for already")

    def fail(self, frame: Thing, reason: int) -> None:
        frame.asked, frame.over = False, True
        self.event(frame.who, 4, "u", reason)

    def serve(self, now: float) -> None:
        """Gives every picture that was asked for and that is there."""
        for frame in [t for t in self.things.values() if t.kind.endswith("frame_v1") and t.asked]:
            session, buffer = frame.session, frame.buffer
            if buffer.size != self.standin.size or buffer.form != XBGR:
                self.fail(frame, 1)
                continue
            if not session.changed:
                continue
            picture = self.standin.picture(session.pointer)
            strip = (slice(0, STRIP), slice(0, None))
            everything = (slice(0, None), slice(0, None))
            upright = self.standin.transform == "normal"
            news = strip if session.changed == "number" and upright else everything
            for rows, columns in [*frame.old, news]:
                buffer.pixels[rows, columns] = picture[rows, columns]
            session.changed = None
            frame.asked, frame.over = False, True
            width, height = self.standin.size
            self.event(frame.who, 0, "u", TRANSFORMS.index(self.standin.transform))
            self.event(frame.who, 1, "iiii", 0, 0, width, height if news is everything else STRIP)
            seconds, nanos = divmod(int(now * 1e9), 10**9)
            self.event(frame.who, 2, "uuu", seconds >> 32, seconds & 0xFFFFFFFF, nanos)
            self.event(frame.who, 3)
            self.standin.given += 1


class Standin:
    """The compositor, in a thread of its own. `env` leads programs to it; `asked` and `given` count pictures."""

    def __init__(self, size: tuple[int, int] = (320, 180), moving: bool = True):
        self.size, self.moving, self.transform = size, moving, "normal"
        self.number = self.asked = self.given = 0
        self.violations: list[str] = []
        self.times: dict[int, float] = {}  # when each number was shown
        self.stopped = False
        self.globals = dict(GLOBALS)
        self.clients: list[Client] = []
        self.folder = tempfile.TemporaryDirectory(prefix="gs-copy-")
        path = pathlib.Path(self.folder.name) / "wayland-7"
        drop = ["DISPLAY", "DBUS_SESSION_BUS_ADDRESS"]
        self.env = {k: v for k, v in os.environ.items() if k not in drop}
        self.env |= {"XDG_RUNTIME_DIR": self.folder.name, "WAYLAND_DISPLAY": path.name}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.lock = threading.Lock()
        self.over = False

    def __enter__(self) -> "Standin":
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over = True
        self.thread.join(5)
        for client in self.clients:
            client.socket.close()
        self.listener.close()
        self.folder.cleanup()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            tick = time.monotonic()
            while not self.over:
                ready = selector.select(max(tick - time.monotonic(), 0))
                with self.lock:
                    for key, _ in ready:
                        if key.fileobj is self.listener:
                            client = Client(self, self.listener.accept()[0])
                            self.clients.append(client)
                            selector.register(client.socket, selectors.EVENT_READ, client)
                        elif not key.data.hear():
                            selector.unregister(key.fileobj)
                            self.clients.remove(key.data)
                            key.fileobj.close()
                    now = time.monotonic()
                    if now >= tick:
                        tick = max(tick + 1 / RATE, now - 1)
                        self._next(now)

    def _next(self, now: float) -> None:
        if self.moving:
            self.number += 1
            self.times[self.number] = now
            for session in self._sessions():
                session.changed = session.changed or "number"
        for client in self.clients:
            client.serve(now)

    def _sessions(self) -> list[Thing]:
        return [t for c in self.clients for t in c.things.values() if t.kind.endswith("session_v1") and not t.stopped]

    def picture(self, pointer: bool) -> numpy.ndarray:
        """The picture as bytes of a buffer: red, green, blue and one that is not read."""
        quarters = TRANSFORMS.index(self.transform)
        width, height = self.size if quarters % 2 == 0 else self.size[::-1]
        shown = numpy.zeros((height, width, 4), numpy.uint8)
        for i, colour in enumerate(COLOURS):
            shown[:, width * i // 4 : width * (i + 1) // 4, :3] = colour
        for bit in range(BITS):
            white = self.number >> (BITS - 1 - bit) & 1
            shown[:STRIP, width * bit // BITS : width * (bit + 1) // BITS, :3] = 255 * white
        if pointer:
            left, top, side = SQUARE
            shown[top : top + side, left : left + side, :3] = 255
        return numpy.rot90(shown, quarters).reshape(self.size[1], -1)

    def change(self, size: tuple[int, int] | None = None, transform: str | None = None) -> None:
        """Another mode, or turned. Pictures that are waited for do not fit any more."""
        with self.lock:
            self.size, self.transform = size or self.size, transform or self.transform
            for client in self.clients:
                for who, thing in client.things.items():
                    if thing.kind == "wl_output":
                        client.describe(who)
                    elif thing.kind.endswith("session_v1") and not thing.stopped:
                        thing.changed = "all"
                        if thing.size != self.size:
                            client.constrain(thing)

    def stop(self) -> None:
        """Ends what is captured, as users do."""
        with self.lock:
            self.stopped = True
            for client in self.clients:
                for who, thing in client.things.items():
                    if thing.kind.endswith("session_v1") and not thing.stopped:
                        thing.stopped = True
                        client.event(who, 5)
                        if thing.frame and thing.frame.asked:
                            client.fail(thing.frame, 2)

    def unplug(self) -> None:
        """The monitor goes away."""
        self.stop()
        with self.lock:
            self.globals.pop(OUTPUT)
            for client in self.clients:
                for registry in client.registries:
                    client.event(registry, 1, "u", OUTPUT)


class Rude:
    """A client that says what it is told to. It has bound everything: `shm`, `output`, `sources`, `manager`."""

    def __init__(self, standin: Standin):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{standin.folder.name}/wayland-7")
        self.socket.settimeout(5)
        self.say(1, 1, "u", 2)
        self.shm, self.output, self.sources, self.manager = 3, 4, 5, 6
        for new, (name, (kind, version)) in enumerate(GLOBALS.items(), 3):
            self.say(2, 0, "usuu", name, kind, version, new)

    def say(self, who: int, opcode: int, form: str = "", *values, fd: int | None = None) -> None:
        body = b""
        for kind, value in zip(form, values):
            if kind == "s":
                raw = value.encode() + b"\0"
                body += struct.pack("<I", len(raw)) + raw + bytes(-len(raw) % 4)
            else:
                body += struct.pack("<i" if kind == "i" else "<I", value)
        more = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.socket.sendmsg([struct.pack("<IHH", who, opcode, 8 + len(body)) + body], more)

    def session(self) -> None:
        """Session 8 of source 7, its frame 9, and buffer 11 of pool 10, which fits."""
        self.say(self.sources, 0, "uu", 7, self.output)
        self.say(self.manager, 0, "uuu", 8, 7, 0)
        self.say(8, 0, "u", 9)
        fd = os.memfd_create("rude")
        os.ftruncate(fd, 320 * 180 * 4)
        self.say(self.shm, 0, "ui", 10, 320 * 180 * 4, fd=fd)
        os.close(fd)
        self.say(10, 0, "uiiiiu", 11, 0, 320, 180, 320 * 4, XBGR)

    def events(self, until) -> list[tuple[int, int, bytes]]:
        """What comes until there is one that `until` (object, event) names, or the end."""
        data, found = b"", []
        while True:
            more = self.socket.recv(65536)
            data += more
            while len(data) >= 8 and len(data) >= (size := struct.unpack_from("<HH", data, 4)[1]):
                who, opcode = struct.unpack_from("<IH", data)
                found.append((who, opcode, data[8:size]))
                data = data[size:]
                if (who, opcode) == until:
                    return found
            if not more:
                return found

    def refused(self) -> tuple[int, int] | None:
        """The object and the code of the protocol error that comes."""
        last = self.events((1, 0))[-1]
        return struct.unpack_from("<II", last[2]) if last[:2] == (1, 0) else None
