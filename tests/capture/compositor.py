"""A Wayland compositor without a screen: sway with headless outputs and a software renderer, in a runtime directory that
nobody else has.

    with compositor.Compositor(["HEADLESS-1 640x360"]) as sway:
        sway.msg("output HEADLESS-1 transform 90")
        sway.run(["grim", "picture.png"])
"""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from session import skip, wait_for


def need(check: str, *names: str) -> None:
    """Skips the check unless these programs are installed."""
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        skip(check, ", ".join(missing))


class Pointer:
    """A mouse of its own on a compositor (wlr-virtual-pointer), in the few Wayland messages that it takes. It is there as
    long as this object."""

    def __init__(self, env: dict):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(pathlib.Path(env["XDG_RUNTIME_DIR"]) / env["WAYLAND_DISPLAY"]))
        self._send(1, 1, struct.pack("<I", 2))  # wl_display.get_registry
        self._send(1, 0, struct.pack("<I", 3))  # wl_display.sync
        found, data = None, b""
        while found is None:
            data += self.socket.recv(65536)
            while len(data) >= 8 and len(data) >= (size := struct.unpack_from("<HH", data, 4)[1]):
                sender, opcode = struct.unpack_from("<IH", data)
                body, data = data[8:size], data[size:]
                if sender == 2 and opcode == 0:
                    name, length = struct.unpack_from("<II", body)
                    if body[8 : 8 + length - 1] == b"zwlr_virtual_pointer_manager_v1":
                        found = name
                elif sender == 3:
                    assert found is not None, "the compositor has no wlr-virtual-pointer"
        interface = b"zwlr_virtual_pointer_manager_v1\0"
        self._send(2, 0, struct.pack("<II", found, len(interface)) + interface + struct.pack("<II", 1, 4))
        self._send(4, 0, struct.pack("<II", 0, 5))  # create_virtual_pointer

    def _send(self, target: int, opcode: int, body: bytes) -> None:
        self.socket.sendall(struct.pack("<IHH", target, opcode, 8 + len(body)) + body)

    def move(self, x: int, y: int, width: int, height: int) -> None:
        """To (x, y) of a layout of that size."""
        self._send(5, 1, struct.pack("<IIIII", int(time.monotonic() * 1000) & 0xFFFFFFFF, x, y, width, height))
        self._send(5, 4, b"")


class Compositor:
    """Everything it started ends with it. `env` is the environment for its clients. `outputs`: names and sizes, side by
    side from the left. With `env`, it joins a session that is there. With `inside`, its outputs are windows of that
    compositor and can be closed there."""

    def __init__(self, outputs: list[str], env: dict | None = None, config: str = "", inside: "Compositor | None" = None):
        need(pathlib.Path(sys.argv[0]).name, "sway", "swaymsg", "unshare")
        self.own = env is None
        if env is None:
            self.dir = pathlib.Path(tempfile.mkdtemp(prefix="gs-sway-"))
            self.dir.chmod(0o700)
            drop = ["DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "PIPEWIRE_REMOTE"]
            env = {k: v for k, v in os.environ.items() if k not in drop}
            env |= {"XDG_RUNTIME_DIR": str(self.dir)}
        else:
            self.dir = pathlib.Path(env["XDG_RUNTIME_DIR"])
        self.env = {k: v for k, v in env.items() if k not in ("WAYLAND_DISPLAY", "SWAYSOCK")}
        self.env["XDG_CURRENT_DESKTOP"] = "sway"
        self.inside = inside
        self.outputs = [o.split() for o in outputs]
        lines, x = [], 0
        for name, size in self.outputs:
            lines.append(f"output {name} mode {size} position {x} 0")
            x += int(size.split("x")[0])
        self.config = self.dir / "sway.conf"
        self.config.write_text("\n".join([*lines, "default_border none", config, ""]))
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Compositor":
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def _start(self) -> None:
        more = {
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
            "WLR_HEADLESS_OUTPUTS": str(len(self.outputs)),
        }
        if self.inside:
            more |= {
                "WLR_BACKENDS": "wayland",
                "WLR_WL_OUTPUTS": str(len(self.outputs)),
                "WAYLAND_DISPLAY": str(self.inside.dir / self.inside.env["WAYLAND_DISPLAY"]),
            }
        # sway refuses the user 0, so that it is shown another one.
        user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.getuid() == 0 else []
        log = open(self.dir / "sway.log", "ab")
        self.sway = subprocess.Popen(
            [*user, "sway", "-c", str(self.config)], env={**self.env, **more}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )
        self.processes.append(self.sway)
        socket = wait_for("sway's socket", lambda: self._alive() and next(self.dir.glob("sway-ipc.*.sock"), None))
        display = wait_for("sway's display", lambda: self._alive() and next(self.dir.glob("wayland-[0-9]"), None))
        self.env |= {"WAYLAND_DISPLAY": display.name, "SWAYSOCK": str(socket)}
        wait_for("sway's answer", lambda: subprocess.run(
            ["swaymsg", "-t", "get_version"], env=self.env, capture_output=True).returncode == 0)

    def _alive(self) -> bool:
        if self.sway.poll() is not None:
            raise AssertionError("sway ended:\n" + (self.dir / "sway.log").read_text(errors="replace")[-3000:])
        return True

    def msg(self, command: str) -> None:
        """Has sway do `command`."""
        self.run(["swaymsg", command])

    def paint(self, output: str, *colours: str) -> None:
        """Shows vertical bars of these colours (`ff0000`) on a monitor, without windows."""
        size = dict(self.outputs)[output].split("x")
        picture = self.dir / f"{output}.ppm"
        width, height = int(size[0]), int(size[1])
        row = b"".join(bytes.fromhex(colours[x * len(colours) // width]) for x in range(width))
        picture.write_bytes(b"P6 %d %d 255\n" % (width, height) + row * height)
        png = picture.with_suffix(f".{len(self.processes)}.png")
        self.run(["ffmpeg", "-v", "error", "-y", "-i", picture, png])
        self.spawn(["swaybg", "-o", output, "-m", "stretch", "-i", png])

    def spawn(self, command: list, **options) -> subprocess.Popen:
        """Starts a client; it ends with the compositor."""
        options = {"stdout": subprocess.DEVNULL, "stderr": open(self.dir / "clients.log", "ab"), **options}
        env = {**self.env, **options.pop("env", {})}
        process = subprocess.Popen([str(c) for c in command], env=env, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def run(self, command: list, check: bool = True, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        """Runs a client to its end and returns what it said."""
        env = {**self.env, **options.pop("env", {})}
        done = subprocess.run(
            [str(c) for c in command], env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=options.pop("text", True), timeout=timeout, **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def kill(self) -> None:
        """The compositor dies."""
        children = f"/proc/{self.sway.pid}/task/{self.sway.pid}/children"
        for child in pathlib.Path(children).read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.sway.kill()
        self.sway.wait(5)

    def end(self) -> None:
        """Ends what was started, newest first, each by its own process id."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
        if self.own:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __exit__(self, *_) -> None:
        self.end()


if __name__ == "__main__":
    with Compositor(["HEADLESS-1 640x360", "HEADLESS-2 320x240"]) as it:
        it.paint("HEADLESS-1", "ff0000", "00ff00", "0000ff", "808080")
        it.paint("HEADLESS-2", "ffff00", "00ffff")
        time.sleep(0.5)
        sys.exit(subprocess.call(sys.argv[1:] or ["grim", "-"], env=it.env))
