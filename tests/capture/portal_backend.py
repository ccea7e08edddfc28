"""A desktop portal's backend for ScreenCast, behind the real front end: it has no dialog but does what files in the folder
of its argument say, and writes what it was asked to `asked.jsonl` there.

    node    the number of the PipeWire node that "the user picks"
    deny    when it is there, the user refuses
    wait    while it is there, the user has not made up his mind
    close   when it appears, the desktop ends all sessions
"""

import asyncio
import json
import pathlib
import sys

from dbus_next import Variant
from dbus_next.aio import MessageBus
from dbus_next.constants import PropertyAccess
from dbus_next.service import ServiceInterface, dbus_property, method, signal

FOLDER = pathlib.Path(sys.argv[1])
NAME = "org.freedesktop.impl.portal.desktop.ghoststreamtest"


def note(what: str, **more) -> None:
    with open(FOLDER / "asked.jsonl", "a") as out:
        out.write(json.dumps({"call": what, **more}) + "\n")


def plain(options: dict) -> dict:
    return {k: v.value if isinstance(v.value, (int, str, bool)) else repr(v.value) for k, v in options.items()}


class Session(ServiceInterface):
    def __init__(self):
        super().__init__("org.freedesktop.impl.portal.Session")
        self.options = {}

    @method()
    def Close(self):
        note("Close")

    @signal()
    def Closed(self):
        pass

    @dbus_property(access=PropertyAccess.READ)
    def version(self) -> "u":
        return 1


class ScreenCast(ServiceInterface):
    def __init__(self, bus: MessageBus):
        super().__init__("org.freedesktop.impl.portal.ScreenCast")
        self.bus = bus
        self.sessions: dict[str, Session] = {}

    @method()
    def CreateSession(self, handle: "o", session: "o", app: "s", options: "a{sv}") -> "ua{sv}":
        self.sessions[session] = Session()
        self.bus.export(session, self.sessions[session])
        note("CreateSession")
        return [0, {"session_id": Variant("s", session)}]

    @method()
    def SelectSources(self, handle: "o", session: "o", app: "s", options: "a{sv}") -> "ua{sv}":
        self.sessions[session].options = options
        note("SelectSources", **plain(options))
        return [0, {}]

    @method()
    async def Start(self, handle: "o", session: "o", app: "s", parent: "s", options: "a{sv}") -> "ua{sv}":
        note("Start")
        while (FOLDER / "wait").exists():
            await asyncio.sleep(0.05)
        if (FOLDER / "deny").exists():
            return [1, {}]
        node = int((FOLDER / "node").read_text())
        size = Variant("(ii)", [320, 180])
        streams = Variant("a(ua{sv})", [[node, {"size": size, "source_type": Variant("u", 1)}]])
        restore = Variant("(suv)", ["ghoststreamtest", 1, Variant("s", "what was picked")])
        return [0, {"streams": streams, "persist_mode": Variant("u", 2), "restore_data": restore}]

    @dbus_property(access=PropertyAccess.READ)
    def AvailableSourceTypes(self) -> "u":
        return 7

    @dbus_property(access=PropertyAccess.READ)
    def AvailableCursorModes(self) -> "u":
        return 7

    @dbus_property(access=PropertyAccess.READ)
    def version(self) -> "u":
        return 4


async def main() -> None:
    bus = await MessageBus().connect()
    cast = ScreenCast(bus)
    bus.export("/org/freedesktop/portal/desktop", cast)
    await bus.request_name(NAME)
    while True:
        await asyncio.sleep(0.05)
        if (FOLDER / "close").exists():
            (FOLDER / "close").unlink()
            for session in cast.sessions.values():
                session.Closed()


asyncio.run(main())
