"""A desktop session of its own for a check: a message bus, PipeWire, WirePlumber and PipeWire's PulseAudio server, all in a
runtime directory that nobody else has. Nothing of the machine's own session is seen or touched.

    with session.Session() as desk:
        desk.sink("speakers")
        desk.spawn(["pw-play", "--target", "speakers", "tone.wav"])
        desk.run([os.environ["GS_CLI"], "transcode", "sound:desktop", "out.wav", "--duration", "2"])

By hand, a command in such a session:  python3 tests/capture/session.py pw-cli ls Node
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NEEDED = ["dbus-daemon", "pipewire", "wireplumber", "pipewire-pulse", "pw-cli", "pw-dump"]


def skip(check: str, peer: str) -> None:
    """Ends this check: `peer` is not installed."""
    print(f"{check}: SKIPPED: {peer} is missing (tests/setup/setup.sh test)")
    sys.exit(77)


def wait_for(what: str, test, seconds: float = 15.0):
    """Polls `test` until it gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.03)


class Session:
    """Everything it started ends with it. `env` is the environment for programs in it, `dir` its runtime directory."""

    def __init__(self, **more_env: str):
        missing = [name for name in NEEDED if not shutil.which(name)]
        if missing:
            skip(pathlib.Path(sys.argv[0]).name, ", ".join(missing))
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="gs-session-"))
        self.dir.chmod(0o700)
        for sub in ["home", "state", "config", "cache", "data"]:
            (self.dir / sub).mkdir()
        drop = ["WAYLAND_DISPLAY", "DISPLAY", "PIPEWIRE_REMOTE", "PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS"]
        self.env = {k: v for k, v in os.environ.items() if k not in drop}
        self.env |= {
            "XDG_RUNTIME_DIR": str(self.dir),
            "PIPEWIRE_RUNTIME_DIR": str(self.dir),
            "PULSE_RUNTIME_PATH": str(self.dir / "pulse"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.dir}/bus",
            "HOME": str(self.dir / "home"),
            "XDG_STATE_HOME": str(self.dir / "state"),
            "XDG_CONFIG_HOME": str(self.dir / "config"),
            "XDG_CACHE_HOME": str(self.dir / "cache"),
            "XDG_DATA_HOME": str(self.dir / "data"),
            # GStreamer looks at all its plugins when there is no registry, which takes long.
            "GST_REGISTRY": os.environ.get("GST_REGISTRY")
            or str(pathlib.Path(os.environ.get("GS_CACHE_DIR") or tempfile.gettempdir()) / "gstreamer-registry.bin"),
            # No real-time scheduling service and no devices of the machine are asked for.
            "DISABLE_RTKIT": "1",
            **more_env,
        }
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Session":
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def _start(self) -> None:
        bus = self.dir / "bus.conf"
        bus.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
            '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">'
            f"<busconfig><type>session</type><listen>unix:path={self.dir}/bus</listen><auth>EXTERNAL</auth>"
            f"<standard_session_servicedirs/><servicedir>{self.dir}/data/dbus-1/services</servicedir>"
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            '<allow own="*"/></policy></busconfig>'
        )
        (self.dir / "data/dbus-1/services").mkdir(parents=True)
        self.spawn(["dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile"], log="dbus")
        wait_for("dbus-daemon", (self.dir / "bus").exists)
        self.spawn(["pipewire"], log="pipewire")
        wait_for("pipewire", (self.dir / "pipewire-0").exists)
        self.spawn(["wireplumber"], log="wireplumber")
        self.spawn(["pipewire-pulse"], log="pipewire-pulse")
        wait_for("pipewire-pulse", (self.dir / "pulse/native").exists)
        # The metadata is what its policy of linking works with.
        wait_for("wireplumber", self._has_policy)

    def __exit__(self, *_) -> None:
        self.end()

    def end(self) -> None:
        """Ends what was started, newest first, each by its own process id, and removes the runtime directory."""
        for process in reversed(self.processes):
            self.stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self, process: subprocess.Popen, sig: int = signal.SIGTERM) -> int:
        """Ends one process and what it started; its exit code."""
        if process.poll() is None:
            process.send_signal(sig)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        return process.returncode

    def spawn(self, command: list, log: str | None = None, **options) -> subprocess.Popen:
        """Starts a program in the session; its output goes to the file `log`.log in the runtime directory, else nowhere."""
        if log:
            out = open(self.dir / f"{log}.log", "ab")
            options = {"stdout": out, "stderr": out, **options}
        else:
            options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        env = {**self.env, **options.pop("env", {})}
        process = subprocess.Popen([str(c) for c in command], env=env, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def run(self, command: list, check: bool = True, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        """Runs a program in the session to its end and returns what it said."""
        env = {**self.env, **options.pop("env", {})}
        done = subprocess.run(
            [str(c) for c in command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def log(self, name: str) -> str:
        """What the program started with `log=name` has said so far."""
        return (self.dir / f"{name}.log").read_text(errors="replace")

    # --- PipeWire ---------------------------------------------------------------------------------------

    def objects(self) -> list[dict]:
        """PipeWire's objects, as pw-dump shows them."""
        done = self.run(["pw-dump"], check=False)
        # What changes meanwhile follows as further lists.
        found, rest = {}, done.stdout.strip() if done.returncode == 0 else ""
        while rest:
            part, end = json.JSONDecoder().raw_decode(rest)
            found |= {item["id"]: item for item in part}
            rest = rest[end:].lstrip()
        return [item for item in found.values() if item.get("type")]

    def nodes(self, **wanted: str) -> list[dict]:
        """Nodes with these properties (`media_class="Audio/Sink"`, `node_name="x"`): id, and properties by their own names."""
        found = []
        for item in self.objects():
            if item.get("type") != "PipeWire:Interface:Node":
                continue
            props = {"id": item["id"], **(item.get("info") or {}).get("props", {})}
            if all(props.get(k.replace("_", ".", 1)) == v for k, v in wanted.items()):
                found.append(props)
        return found

    def links(self) -> list[tuple[int, int]]:
        """Pairs of node ids that are linked, output first."""
        infos = [o["info"] for o in self.objects() if o.get("type") == "PipeWire:Interface:Link" and o.get("info")]
        return [(i["output-node-id"], i["input-node-id"]) for i in infos]

    def _has_policy(self) -> bool:
        named = [(o.get("props") or {}).get("metadata.name") for o in self.objects()]
        return "default" in named and len(self.nodes(media_class="Audio/Sink")) > 0

    def sink(self, name: str) -> int:
        """A sound card without a card: a sink that plays to nobody and whose monitor can be recorded. Its node id."""
        return self._null(name, "Audio/Sink")

    def source(self, name: str) -> int:
        """A microphone that hears nothing."""
        return self._null(name, "Audio/Source/Virtual")

    def _null(self, name: str, media_class: str) -> int:
        self.run([
            "pw-cli", "create-node", "adapter",
            f"{{ factory.name=support.null-audio-sink node.name={name} node.description={name} "
            f"media.class={media_class} object.linger=true audio.position=[FL FR] monitor.channel-volumes=true }}",
        ])
        return wait_for(f"node {name}", lambda: self.nodes(node_name=name))[0]["id"]


if __name__ == "__main__":
    with Session() as session:
        sys.exit(subprocess.call(sys.argv[1:] or ["pw-cli", "ls", "Node"], env=session.env))
