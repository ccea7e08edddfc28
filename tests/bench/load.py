"""The server under load: many viewers of finished segments beside nginx, many WebSocket clients, and what the server costs
over the bare command.

    python load.py viewers|sockets|overhead [--viewers 200] [--clients 1000] [--jobs 50] [--seconds 10] [--rounds 3] [--out FOLDER]

GS_CLI is the server's command (a release build), wrk asks. CPU is that of the server's processes only (user + system, from
/proc), so that whoever asks falls on nobody. Run it on a quiet machine.
"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from serving import Server  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        at = waiting.pop()
        found.append(at)
        waiting += children.get(at, [])
    return found


def spent(pids: list[int]) -> float:
    """Seconds of CPU of these processes and of their children that are gone."""
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(n) for n in fields[11:15])
    return total / TICKS


def memory(pid: int) -> float:
    """Resident MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def clip(root: pathlib.Path, seconds: int, size: str = "640x360", rate: int = 25) -> pathlib.Path:
    path = root / f"clip-{seconds}.mp4"
    make = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds},noise=alls=20:allf=t"]
    make += ["-f", "lavfi", "-i", f"sine=d={seconds}", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([*make, "-c:a", "aac", str(path)], check=True)
    return path


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def viewers(options: argparse.Namespace, root: pathlib.Path) -> str:
    """Requests a second and CPU a request, of finished segments, in turns with nginx over the same files."""
    source = clip(root, 60)
    server = Server(root / "server", root)
    body = {"source": str(source), "playback": "growing", "output": {"hw_accel": "software", "bitrate": "1M"}}
    base = server.start(body)
    folder = root / "server" / "jobs" / base.rstrip("/").split("/")[-1]
    names = sorted(path.name for path in folder.glob("segment_*.ts"))
    size = sum((folder / name).stat().st_size for name in names) / len(names)
    # A viewer asks for one segment after the other.
    script = root / "ask.lua"
    listed = ", ".join(f'"{name}"' for name in names)
    script.write_text(
        f"local names = {{{listed}}}\nlocal n = 0\n"
        'request = function() n = n % #names + 1; return wrk.format("GET", base .. names[n]) end\n'
        "init = function(args) base = args[1] end\n"
    )
    port = int(server.base.rsplit(":", 1)[1]) + 1
    nginx = root / "nginx"
    (nginx / "stream").mkdir(parents=True)
    shutil.copytree(folder, nginx / "stream" / folder.name)
    (nginx / "nginx.conf").write_text(
        f"""{"user root; " if os.geteuid() == 0 else ""}worker_processes auto; daemon off; pid {nginx}/pid; error_log {nginx}/error.log;
        events {{ worker_connections 4096; }}
        http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ video/mp2t ts; }}
          client_body_temp_path {nginx}/a; proxy_temp_path {nginx}/b; fastcgi_temp_path {nginx}/c;
          uwsgi_temp_path {nginx}/d; scgi_temp_path {nginx}/e;
          server {{ listen 127.0.0.1:{port}; root {nginx}; }} }}"""
    )
    other = subprocess.Popen(["/usr/sbin/nginx", "-c", str(nginx / "nginx.conf"), "-p", str(nginx)])
    path = f"/stream/{folder.name}/"
    sides = {
        "ghoststream": (server.base, server.process.pid),
        "nginx": (f"http://127.0.0.1:{port}", other.pid),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    try:
        time.sleep(1)
        for turn in range(options.rounds):
            for name in sorted(sides, reverse=turn % 2 == 1):
                url, pid = sides[name]
                pids = family(pid)
                before = spent(pids)
                ask = ["wrk", "-t", "2", "-c", str(options.viewers), "-d", f"{options.seconds:g}s", "-s", str(script), url, "--", path]
                said = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
                used = spent(pids) - before
                count = int(next(line for line in said.splitlines() if " requests in " in line).split()[0])
                took = float(next(line for line in said.splitlines() if line.startswith("Requests/sec")).split()[1])
                if "Non-2xx" in said or count == 0:
                    sys.exit(f"bench: {name}: {said}")
                found[name].append((took, used / count * 1e6))
                print(f"  {name}: {took:.0f} requests/s, {used / count * 1e6:.0f} µs of CPU each", file=sys.stderr)
    finally:
        other.terminate()
        other.wait(10)
        server.end()
    ours, theirs = found["ghoststream"], found["nginx"]
    rows = [
        [name, f"{statistics.median(r for r, _ in side):.0f}", f"{statistics.median(c for _, c in side):.0f}"]
        for name, side in found.items()
    ]
    speed = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs))
    cost = statistics.median(a[1] / b[1] for a, b in zip(ours, theirs))
    rows.append(["ratio", f"**{speed:.2f}**", f"**{cost:.2f}**"])
    head = f"{options.viewers} viewers of segments of {size / 1024:.0f} KiB"
    return head + "\n\n" + table(["", "requests/s", "µs of CPU a request"], rows)


class Slow(threading.Thread):
    """Live sources: every request gets the same MPEG-TS at the speed at which it plays."""

    def __init__(self, media: bytes, seconds: float):
        super().__init__(daemon=True)
        self.media, self.seconds = media, seconds
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        server = await asyncio.start_server(self.one, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
            step = 188 * max(1, int(len(self.media) / self.seconds / 4 / 188))
            for at in range(0, len(self.media), step):
                writer.write(self.media[at : at + step])
                await writer.drain()
                # What is in front is needed to know what it is.
                await asyncio.sleep(0.25 if at > 200_000 else 0.02)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass


async def listen(url: str, ids: list[str], clients: int, seconds: float, ready: asyncio.Event) -> list[int]:
    import websockets

    counts = [0] * clients
    connected = 0

    async def one(n: int) -> None:
        nonlocal connected
        async with websockets.connect(url, open_timeout=60, max_queue=None, ping_interval=None) as socket:
            await socket.send(json.dumps({"type": "subscribe", "job_ids": [ids[n % len(ids)]]}))
            connected += 1
            if connected == clients:
                ready.set()
            await ready.wait()
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                try:
                    message = json.loads(await asyncio.wait_for(socket.recv(), left))
                except asyncio.TimeoutError:
                    return
                if message["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                counts[n] += message["type"] == "progress"

    await asyncio.gather(*(one(n) for n in range(clients)))
    return counts


def sockets(options: argparse.Namespace, root: pathlib.Path) -> str:
    """CPU and memory of the server's process with many WebSocket clients on running jobs."""
    for limit in (resource.RLIMIT_NOFILE,):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (hard, hard))
    media = root / "live.ts"
    length = int(options.seconds * 2 + 60)
    make = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=64x36:r=5:d={length}", "-c:v", "libx264"]
    make += ["-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p", "-muxrate", "200k", str(media)]
    subprocess.run(make, check=True)
    slow = Slow(media.read_bytes(), length)
    slow.start()
    slow.ready.wait()
    settings = {"transcoding": {"max_concurrent_jobs": options.jobs}, "security": {"rate_limit_per_minute": 0}}
    server = Server(root / "server", root, settings)
    try:
        ids = []
        for n in range(options.jobs):
            source = f"http://127.0.0.1:{slow.port}/{n}.ts"
            ids.append(server.ask("/api/transcode/start", {"source": source, "output": {"hw_accel": "software"}})["job_id"])
        end = time.monotonic() + 120
        while time.monotonic() < end:
            running = sum(j["status"] == "processing" for j in server.ask("/api/transcode/jobs")["jobs"])
            if running == options.jobs:
                break
            time.sleep(0.5)
        url = server.base.replace("http", "ws") + "/ws/progress"
        pid = server.process.pid
        idle_memory = memory(pid)
        idle = spent([pid])
        time.sleep(options.seconds)
        idle = spent([pid]) - idle
        result: dict = {}

        async def measured() -> None:
            ready = asyncio.Event()
            task = asyncio.create_task(listen(url, ids, options.clients, options.seconds, ready))
            await asyncio.wait({task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            before = spent([pid])
            result["counts"] = await task
            result["cpu"] = spent([pid]) - before
            result["memory"] = memory(pid)

        asyncio.run(measured())
    finally:
        server.end()
    counts = result["counts"]
    rows = [
        ["jobs that run", f"{running}"],
        ["messages a second, all clients", f"{sum(counts) / options.seconds:.0f}"],
        ["progress messages a client and second (lowest)", f"{statistics.mean(counts) / options.seconds:.2f} ({min(counts) / options.seconds:.2f})"],
        ["CPU of the server, of one core", f"{result['cpu'] / options.seconds * 100:.1f} %"],
        ["the same without clients", f"{idle / options.seconds * 100:.1f} %"],
        ["memory", f"{result['memory']:.0f} MiB"],
        ["the same without clients", f"{idle_memory:.0f} MiB"],
    ]
    return f"{options.clients} WebSocket clients on {options.jobs} jobs\n\n" + table(["", ""], rows)


def overhead(options: argparse.Namespace, root: pathlib.Path) -> str:
    """CPU of a batch job with all of the server, over the command with the same document."""
    source = clip(root, 30, "1280x720")
    cli = os.environ["GS_CLI"]
    document = {
        "source": {"url": str(source), "protocols": ["file"]},
        "outputs": [
            {
                "path": str(root / "bare.mp4"), "overwrite": True, "copy_conforming": False, "subtitles": False,
                "video": {
                    "codec": "h264", "device": "software", "bitrate": 2_000_000, "max_bitrate": 2_000_000,
                    "buffer": 3_000_000, "preset": "p4",
                },
                "audio": [{"codec": "aac"}],
            }
        ],
    }
    found: dict[str, list[float]] = {"server": [], "command": []}
    # A server that sees the command use the CPU would take it for a busy machine, and save.
    server = Server(root / "server", root, {"hardware": {"adapt": False}})
    try:
        time.sleep(3)
        for n in range(options.rounds):
            # Another rate each time: a request that was answered before would be served from what is there.
            rate = 2_000_000 + 1000 * n
            document["outputs"][0]["video"] |= {"bitrate": rate, "max_bitrate": rate, "buffer": rate * 3 // 2}
            (root / "job.json").write_text(json.dumps(document))
            before = spent(family(server.process.pid))
            output = {"format": "mp4", "hw_accel": "software", "bitrate": f"{rate // 1000}k"}
            body = {"source": str(source), "mode": "batch", "output": output}
            job = server.ask("/api/transcode/start", body)["job_id"]
            while server.ask(f"/api/transcode/{job}/status")["status"] not in ("ready", "error"):
                time.sleep(0.5)
            # The worker has gone, and its time is its parent's.
            time.sleep(1.5)
            found["server"].append(spent(family(server.process.pid)) - before)
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            before = usage.ru_utime + usage.ru_stime
            subprocess.run([cli, "transcode", "--spec", str(root / "job.json"), "--quiet"], check=True, stdout=subprocess.DEVNULL)
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            found["command"].append(usage.ru_utime + usage.ru_stime - before)
            print(f"  {found['server'][-1]:.2f} s, {found['command'][-1]:.2f} s", file=sys.stderr)
    finally:
        server.end()
    ratio = statistics.median(a / b for a, b in zip(found["server"], found["command"]))
    rows = [[name, f"{statistics.median(side):.2f} s"] for name, side in found.items()]
    rows.append(["ratio", f"**{ratio:.3f}**"])
    return "one transcode of 30 s of 720p\n\n" + table(["", "CPU"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("viewers", "sockets", "overhead"))
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "viewers" and not (shutil.which("wrk") and pathlib.Path("/usr/sbin/nginx").exists()):
        sys.exit("bench: viewers needs wrk and nginx (tests/setup/setup.sh test)")
    with tempfile.TemporaryDirectory(dir=options.out) as work:
        text = globals()[options.what](options, pathlib.Path(work).resolve())
    text += f"\nload {os.getloadavg()[0]:.2f}\n"
    (options.out / f"{options.what}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
