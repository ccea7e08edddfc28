"""A started server as others on the network find it: python-zeroconf, avahi-browse, the UDP question, and GhostStream's own
Python client where it is installed, which then has something transcoded and plays it.

    python discovery.py CLI FOLDER CLIP      exit code 77: a peer is missing

Avahi runs on a D-Bus of its own, so it needs neither systemd nor the system's bus. GS_CLIENT_PYTHON is an interpreter that
has the package `ghoststream`."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import textwrap
import time

NAME = f"GhostStream Test {os.getpid()}"
INSTANCE = NAME.replace(" ", "-")
TYPE = "_ghoststream._tcp"
PATIENCE = 30


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("", 0))
        return s.getsockname()[1]


def start(cli: str, home: pathlib.Path, clips: pathlib.Path, port: int, udp: int, host: str = "0.0.0.0") -> subprocess.Popen:
    home.mkdir(parents=True, exist_ok=True)
    settings = {
        "server": {"host": host, "port": port},
        "mdns": {"enabled": True, "service_name": NAME, "udp_enabled": True, "udp_port": udp},
        "transcoding": {"temp_directory": str(home / "jobs")},
        "hardware": {"prefer_hw_accel": False},
        "security": {"state_directory": str(home / "state"), "sources": {"local_roots": [str(clips)]}},
    }
    (home / "ghoststream.yaml").write_text(json.dumps(settings))
    log = open(home / "log", "w")
    return subprocess.Popen([cli, "serve", "--config", str(home / "ghoststream.yaml")], stdout=log, stderr=log)


def check_zeroconf(port: int) -> bool:
    try:
        from zeroconf import ServiceBrowser, ServiceStateChange, Zeroconf
    except ImportError:
        print("  SKIPPED python-zeroconf is not installed")
        return False
    seen: dict = {}

    def changed(zeroconf, service_type, name, state_change):
        if name.startswith(INSTANCE) and state_change in (ServiceStateChange.Added, ServiceStateChange.Updated):
            seen["info"] = zeroconf.get_service_info(service_type, name, timeout=5000)
        elif name.startswith(INSTANCE):
            seen["gone"] = True

    zeroconf = Zeroconf()
    browser = ServiceBrowser(zeroconf, f"{TYPE}.local.", handlers=[changed])
    until(lambda: seen.get("info"), "python-zeroconf sees the service")
    info = seen["info"]
    said = {k.decode(): (v or b"").decode() for k, v in info.properties.items()}
    assert info.port == port, info
    assert info.server == f"{INSTANCE}.local.", info.server
    assert said["version"] == "1.0.0" and said["api_version"] == "1", said
    assert "software" in said["hw_accels"].split(",") and "h264" in said["video_codecs"].split(","), said
    assert "aac" in said["audio_codecs"].split(",") and int(said["max_jobs"]) >= 1 and said["platform"], said
    addresses = info.parsed_addresses()
    assert any(answers(address, port) for address in addresses), addresses
    print(f"  ok      python-zeroconf: {', '.join(addresses)}, TXT of {len(said)} keys")
    browser.cancel()
    zeroconf.close()
    return True


def check_one_address(cli: str, home: pathlib.Path, clips: pathlib.Path) -> bool:
    """A server on one of this machine's addresses is announced there and nowhere else, and says so from there."""
    try:
        from zeroconf import ServiceBrowser, Zeroconf
    except ImportError:
        print("  SKIPPED python-zeroconf is not installed")
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        # Asks the routing table; nothing is sent.
        s.connect(("192.0.2.1", 9))
        own = s.getsockname()[0]
    port, udp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    server = start(cli, home, clips, port, udp, own)
    seen: dict = {}

    def changed(zeroconf, service_type, name, state_change):
        if name.startswith(INSTANCE):
            seen["info"] = zeroconf.get_service_info(service_type, name, timeout=5000)

    zeroconf = Zeroconf()
    try:
        until(lambda: answers(own, port), "the server answers")
        until(lambda: "announced as" in (home / "log").read_text(), "the server announces itself")
        ServiceBrowser(zeroconf, f"{TYPE}.local.", handlers=[changed])
        until(lambda: seen.get("info") and seen["info"].port == port, "python-zeroconf sees the service")
        # Further addresses would come a moment later.
        time.sleep(2)
        addresses = seen["info"].parsed_addresses()
        assert addresses == [own], addresses
        for target in (own, "255.255.255.255"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                s.settimeout(5)
                s.sendto(b"GHOSTSTREAM_DISCOVER", (target, udp))
                said, (speaker, _) = s.recvfrom(1024)
            assert speaker == own and said.startswith(f"GHOSTSTREAM_ANNOUNCE:{port}:".encode()), (speaker, said)
        print(f"  ok      on one address: {addresses}, and UDP from there")
        return True
    finally:
        zeroconf.close()
        server.terminate()
        server.wait(20)


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=3).close()
        return True
    except OSError:
        return False


def until(good, what: str):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = good()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not in {PATIENCE} s: {what}")


def check_avahi(home: pathlib.Path, port: int) -> bool:
    missing = [p for p in ("avahi-daemon", "avahi-browse", "dbus-daemon") if not shutil.which(p)]
    if missing:
        print(f"  SKIPPED avahi-browse: {', '.join(missing)} missing")
        return False
    bus = home / "bus"
    (home / "bus.conf").write_text(
        textwrap.dedent(f"""\
        <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
          "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
        <busconfig>
          <type>system</type>
          <listen>unix:path={bus}</listen>
          <auth>EXTERNAL</auth>
          <policy context="default">
            <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
          </policy>
        </busconfig>
        """)
    )
    (home / "avahi.conf").write_text(
        "[server]\nuse-ipv4=yes\nuse-ipv6=no\nenable-dbus=yes\ndisallow-other-stacks=no\n[publish]\ndisable-publishing=yes\n"
    )
    environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={bus}")
    # One daemon a machine holds this file; another one may be there for good reasons.
    if pathlib.Path("/run/avahi-daemon/pid").exists() and pathlib.Path("/run/avahi-daemon/socket").is_socket():
        bus_of_ours = None
        environment = dict(os.environ)
        processes = []
    else:
        bus_of_ours = subprocess.Popen(["dbus-daemon", f"--config-file={home}/bus.conf", "--nofork", "--nopidfile"])
        processes = [bus_of_ours]
        until(bus.exists, "D-Bus begins")
        daemon = ["avahi-daemon", "-f", str(home / "avahi.conf"), "--no-drop-root", "--no-chroot", "--no-rlimits"]
        log = open(home / "avahi.log", "w")
        processes.append(subprocess.Popen(daemon, env=environment, stdout=log, stderr=log))
    try:

        def found() -> list[str]:
            browse = ["avahi-browse", "--resolve", "--parsable", "--terminate", TYPE]
            out = subprocess.run(browse, env=environment, capture_output=True, text=True, timeout=PATIENCE)
            return [line for line in out.stdout.splitlines() if line.startswith("=") and INSTANCE in line]

        line = until(found, f"avahi-browse sees the service: {(home / 'avahi.log').read_text() if processes else ''}")[0]
        fields = line.split(";")
        assert fields[4] == TYPE and fields[8] == str(port), line
        assert '"version=1.0.0"' in line and '"api_version=1"' in line and "hw_accels=" in line, line
        print(f"  ok      avahi-browse: {fields[6]} {fields[7]}:{fields[8]}")
        return True
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(10)


def check_udp(port: int, udp: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.settimeout(5)
        s.sendto(b"GHOSTSTREAM_DISCOVER", ("127.0.0.1", udp))
        said = s.recv(1024).decode()
    assert said.startswith(f"GHOSTSTREAM_ANNOUNCE:{port}:1.0.0:"), said
    print(f"  ok      UDP: {said}")


CLIENT = """
import sys, time, urllib.request
from ghoststream.client import GhostStreamClient
instance, port, clip = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = GhostStreamClient()
client.start_discovery()
end = time.monotonic() + 30
while time.monotonic() < end and not any(s.port == port for s in client.get_servers()):
    time.sleep(0.2)
found = [s for s in client.get_servers() if s.port == port]
assert found, client.get_servers()
client.stop_discovery()
client = GhostStreamClient(manual_server=f"{found[0].host}:{port}")
job = client.transcode_sync(clip)
assert job.status != "error", job.error_message
job = client.wait_for_ready_sync(job.job_id, timeout=60)
playlist = urllib.request.urlopen(job.stream_url).read().decode()
first = next(line for line in playlist.splitlines() if line and not line.startswith("#"))
base = job.stream_url.split("?")[0].rsplit("/", 1)[0]
segment = urllib.request.urlopen(f"{base}/{first}").read()
assert segment[0] == 0x47 and len(segment) > 1000, segment[:8]
client.delete_job_sync(job.job_id)
print(f"  ok      the Python client found {found[0].host}:{port}, and a segment of {len(segment)} bytes came")
"""


def check_client(port: int, clip: str) -> bool:
    python = os.environ.get("GS_CLIENT_PYTHON")
    if not python:
        print("  SKIPPED the Python client: GS_CLIENT_PYTHON names no interpreter that has it")
        return False
    subprocess.run([python, "-c", CLIENT, INSTANCE, str(port), clip], check=True, timeout=120)
    return True


def main() -> None:
    cli, home, clip = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    home.mkdir(parents=True, exist_ok=True)
    port, udp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    server = start(cli, home, pathlib.Path(clip).parent, port, udp)
    try:
        until(lambda: answers("127.0.0.1", port), "the server answers")
        # What it announces it has to find out first.
        until(lambda: "announced as" in (home / "log").read_text(), "the server announces itself")
        complete = check_zeroconf(port)
        complete &= check_avahi(home, port)
        check_udp(port, udp)
        complete &= check_client(port, clip)
    finally:
        server.terminate()
        server.wait(20)
    complete &= check_one_address(cli, home / "one", pathlib.Path(clip).parent)
    sys.exit(0 if complete else 77)


if __name__ == "__main__":
    main()
