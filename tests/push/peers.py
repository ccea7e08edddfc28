"""The receivers: nginx with its RTMP module, srt-live-transmit; and FFmpeg's tools to look at what they kept."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import time


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def listens_in(pid, port):
    """Whether somebody listens to a port in the network namespace of a process."""
    table = pathlib.Path(f"/proc/{pid}/net/tcp")
    lines = table.read_text().splitlines()[1:] if table.exists() else []
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


class Nginx:
    """Keeps each published stream in a file of its own, as it comes."""

    CONF = """
daemon off; worker_processes 1; master_process off; error_log {dir}/error.log notice; pid {dir}/pid;
load_module {module};
{user}
events {{ worker_connections 64; }}
rtmp {{ server {{ listen {host}:{port}; ping 2s; ping_timeout 1s;
  application live {{ live on; record all; record_path {dir}/kept; record_suffix -%s.flv; record_unique on; {more} }} }} }}
"""

    def __init__(self, folder, more="", inside=(), host="127.0.0.1"):
        self.folder = pathlib.Path(folder)
        (self.folder / "kept").mkdir(parents=True)
        self.port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        conf = self.CONF.format(
            dir=self.folder, port=self.port, host=host, module="/usr/lib/nginx/modules/ngx_rtmp_module.so", user=user, more=more
        )
        (self.folder / "nginx.conf").write_text(conf)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen(
            [*inside, nginx, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "stderr", "w"),
        )
        wait_for("nginx", lambda: listens_in(self.process.pid, self.port) if inside else listens(self.port))

    def kept(self):
        return sorted((p for p in (self.folder / "kept").glob("*.flv")), key=lambda p: p.stat().st_mtime)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class SrtKeeper:
    """srt-live-transmit, which keeps what it receives in a file."""

    def __init__(self, path, url, inside=()):
        self.path = pathlib.Path(path)
        self.out = open(path, "wb")
        self.process = subprocess.Popen(
            [*inside, "srt-live-transmit", "-a:no", "-q", url, "file://con"], stdin=subprocess.DEVNULL, stdout=self.out,
            stderr=subprocess.DEVNULL,
        )

    def wait(self, seconds=15):
        self.process.wait(seconds)
        self.out.close()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.out.close()


def streams(path, strict=True):
    """Decodes all of a file: codec, packets, first and last time of each stream. Damage is an error, if `strict`."""
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-f", "null", "-"], capture_output=True, text=True
    )
    clean = decoded.returncode == 0 and not decoded.stderr.strip()
    assert clean or not strict, f"{path}: {decoded.stderr[-2000:]}"
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_packets", "-show_streams", "-of", "json", str(path)],
        capture_output=True, text=True, check=True,
    )
    data = json.loads(shown.stdout)
    result = {}
    for stream in data["streams"]:
        packets = [p for p in data["packets"] if p["stream_index"] == stream["index"]]
        times = [float(p["pts_time"]) for p in packets if "pts_time" in p]
        result[stream["codec_type"]] = {
            "codec": stream["codec_name"],
            "packets": len(packets),
            "first": min(times),
            "last": max(times),
            "key_first": packets[0]["flags"].startswith("K"),
            "rising": all(
                float(a["dts_time"]) <= float(b["dts_time"]) for a, b in zip(packets, packets[1:])
                if "dts_time" in a and "dts_time" in b
            ),
        }
    return result


def flashes_and_beeps(path):
    """When the picture turns white and when the tone begins, in seconds, for clips made with both at once."""
    found = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-copyts", "-i", str(path), "-vf", "blackdetect=d=0.05:pix_th=0.3", "-af",
         "silencedetect=n=-30dB:d=0.1", "-f", "null", "-"],
        capture_output=True, text=True,
    ).stderr
    def after(word):
        return [float(line.split(word)[1].split()[0]) for line in found.splitlines() if word in line]
    return after("black_end:"), after("silence_end: ")
