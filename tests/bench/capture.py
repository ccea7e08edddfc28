"""What capturing costs, beside wf-recorder and GStreamer's pipewiresink, on screens and cameras that need no hardware.

    make bench BENCH="--cases capture --seconds 10"
    python tests/bench/capture.py [--seconds 10] [--rounds 3] [--cases screen,copies,latency,camera,replay]

screen   on a 1080p compositor without a screen a window (shown.py) draws another number for each of its 60 pictures a second;
         wf-recorder and ghoststream record it in turn with x264 ultrafast CRF 23. Delivered: the numbers in the file over those
         that the compositor has drawn between the first and the last of them.
copies   bytes that are copied for a picture of that screen, over those that it has; copies.c counts them.
latency  a program of our own draws a number on a 1080p X server 60 times a second and notes when; a job encodes what it
         captures with x264 (ultrafast, zerolatency) and hands the packets to this process, which notes when they come.
camera   CPU of a 1080p60 camera with one program that watches it, by ghoststream and by GStreamer, from the same raw film.
replay   memory that a replay of five minutes grows by, over what it keeps, and over bit rate x time.

A machine that does something else meanwhile makes these figures worthless; the load is printed beside them.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "capture"))
import compositor  # noqa: E402
import session  # noqa: E402

GS = os.environ.get("GS_CLI", "ghoststream")
CASES = ["screen", "copies", "latency", "camera", "replay"]
# Seconds that a replay keeps.
KEPT = 300
# Bits per second of it.
RATE = 8_000_000


def spent(process: subprocess.Popen) -> float:
    """Seconds of CPU of a process that has ended, waited for here."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process that goes on."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def numbers(path: pathlib.Path, crop: str) -> list[int]:
    """The numbers that the pattern has burnt in; pictures without one are left out."""
    import numpy

    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vf", crop, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt",
                          "gray", "-"], capture_output=True, check=True).stdout
    width, height, bits, found = 640, 360, 32, []
    for picture in numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width):
        value = 0
        for bit in range(bits):
            x = width * (2 * bit + 1) // (2 * bits)
            low, high = picture[height - height // 32][x] > 128, picture[height - height * 3 // 32][x] > 128
            if low == high:
                value = None
                break
            value = value * 2 + int(low)
        if value is not None:
            found.append(value)
    return found


def counted(out: pathlib.Path) -> dict[str, str]:
    """The environment in which a program's copies are counted."""
    library = out / "copies.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-fno-builtin", "-o", library, HERE / "copies.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "GS_COPIES_OUT": str(out / "copies")}


def pictures_in(path: pathlib.Path) -> int:
    return int(subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-count_packets", "-show_entries",
                               "stream=nb_read_packets", "-of", "csv=p=0", path], capture_output=True, text=True,
                              check=True).stdout.strip().strip(","))


def screen(out: pathlib.Path, seconds: int, rounds: int, count: bool = False) -> list[dict]:
    """One row a run: who, CPU seconds a second, share delivered; with `count`, pictures copied for each picture instead."""
    drawn = out / "drawn.txt"
    rows = []
    # In a window of its own size: the compositor's scaling would cost more than all that is measured.
    config = 'for_window [shell="xdg_shell"] floating enable, move absolute position 0 0'
    with compositor.Compositor(["HEADLESS-1 1920x1080"], config=config) as way:
        way.msg("output HEADLESS-1 bg #404040 solid_color")
        play = [sys.executable, HERE / "shown.py", drawn]
        for n in range(rounds):
            who = ["ghoststream", "wf-recorder"]
            for name in who if n % 2 == 0 else who[::-1]:
                path = out / f"{name}.mkv"
                player = way.spawn(play)
                time.sleep(1.5)
                env = counted(out) if count else {}
                if name == "ghoststream":
                    job = way.spawn([GS, "transcode", "screen:?fps=60", path, "--overwrite", "--encoder", "libx264", "--crf", "23",
                                     "--option", "preset=ultrafast", "--duration", str(seconds)], env=env)
                else:
                    job = way.spawn(["wf-recorder", "-y", "-o", "HEADLESS-1", "-c", "libx264", "-p", "preset=ultrafast", "-p",
                                     "crf=23", "-f", path], env=env)
                    threading.Timer(seconds, job.send_signal, [signal.SIGINT]).start()
                begin = time.monotonic()
                cpu = spent(job)
                took = time.monotonic() - begin
                player.terminate()
                player.wait(5)
                if count:
                    copied = int((out / "copies").read_text())
                    rows.append({"who": name, "copies": copied / pictures_in(path) / (1920 * 1080 * 4)})
                    print(f"  copies {name}: {rows[-1]['copies']:.2f} of each picture", file=sys.stderr)
                    continue
                found = numbers(path, "crop=640:360:0:0")
                first, last = min(found, default=0), max(found, default=0)
                shown = {int(line) for line in drawn.read_text().split() if first <= int(line) <= last}
                share = len(shown & set(found)) / max(len(shown), 1)
                rows.append({"who": name, "cpu": cpu / took, "delivered": share, "shown": len(shown)})
                print(f"  screen {n + 1}/{rounds} {name}: {cpu / took:.3f} CPU, {share:.4f} of {len(shown)}", file=sys.stderr)
    return rows


class Painter:
    """A client of an X server that fills rectangles, in the few requests that it takes."""

    def __init__(self, number: int, width: int, height: int):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"/tmp/.X11-unix/X{number}")
        self.socket.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        head = self._read(8)
        assert head[0] == 1, "the X server refuses"
        setup = self._read(struct.unpack_from("<H", head, 6)[0] * 4)
        self.base = struct.unpack_from("<I", setup, 4)[0]
        vendor, formats = struct.unpack_from("<H", setup, 16)[0], setup[21]
        root = struct.unpack_from("<I", setup, 32 + (vendor + 3) // 4 * 4 + formats * 8)[0]
        self.window, self.gc = self.base, self.base + 1
        self.socket.sendall(
            # CreateWindow with a background and override-redirect, CreateGC, MapWindow
            struct.pack("<BBHIIhhHHHHIIII", 1, 0, 10, self.window, root, 0, 0, width, height, 0, 1, 0, 0x202, 0, 1)
            + struct.pack("<BxHIII", 55, 4, self.gc, self.window, 0)
            + struct.pack("<BxHI", 8, 2, self.window))
        self._done()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the X server is gone"
            data += more
        return data

    def _done(self) -> None:
        self.socket.sendall(struct.pack("<BxH", 43, 1))  # GetInputFocus: answered when all before it is done
        while True:
            # Errors and events are as long as the answer.
            answer = self._read(32)
            if answer[0] == 1:
                return

    def number(self, n: int) -> None:
        """Sixteen blocks, white for 1, and a bar that moves so that there is something to encode."""
        parts = b""
        for white in (0, 1):
            blocks = [(bit * 32, 0, 32, 32) for bit in range(16) if (n >> bit & 1) == white]
            blocks.append((n * 16 % 1800, 200, 100, 600) if white else (0, 200, 1920, 600))
            parts += struct.pack("<BxHIII", 56, 4, self.gc, 4, 0xFFFFFF if white else 0)  # ChangeGC: foreground
            parts += struct.pack("<BxHII", 70, 3 + 2 * len(blocks), self.window, self.gc)  # PolyFillRectangle
            parts += b"".join(struct.pack("<hhHH", *block) for block in blocks)
        self.socket.sendall(parts)
        self._done()


def latency(out: pathlib.Path, seconds: int) -> dict:
    """Milliseconds from a drawn number to the packet that has it."""
    import numpy

    import ghoststream as gs

    server = subprocess.Popen(["Xvfb", "-noreset", "-displayfd", "1", "-screen", "0", "1920x1080x24", "-nolisten", "tcp"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        display = int(server.stdout.readline())
        painter = Painter(display, 1920, 1080)
        drawn: dict[int, float] = {}
        stop = threading.Event()

        def paint() -> None:
            n, due = 0, time.monotonic()
            while not stop.is_set():
                n = (n + 1) & 0xFFFF
                drawn[n] = time.monotonic()
                painter.number(n)
                due = max(due + 1 / 60, time.monotonic())
                time.sleep(max(0, due - time.monotonic()))

        video = {"encoder": "libx264", "tune": "ull", "crf": 23, "options": {"preset": "ultrafast"}}
        source = {"screen": {"display": f":{display}", "cursor": False, "frame_rate": 60, "backend": "x11"}, "duration": seconds}
        stream, times = out / "latency.h264", []
        thread = threading.Thread(target=paint)
        thread.start()
        output = {"packets": {}, "video": video, "audio": False}
        with gs.Pipeline({"source": source, "outputs": [output]}).start() as job, stream.open("wb") as file:
            for packet in job.packets():
                times.append(time.monotonic())
                file.write(bytes(packet))
        stop.set()
        thread.join()
    finally:
        server.terminate()
        server.wait()
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", stream, "-vf", "crop=512:32:0:0", "-vsync", "passthrough", "-f", "rawvideo",
                          "-pix_fmt", "gray", "-"], capture_output=True, check=True).stdout
    pictures = numpy.frombuffer(raw, numpy.uint8).reshape(-1, 32, 512)
    seen: dict[int, float] = {}
    for picture, at in zip(pictures, times):
        n = sum(int(picture[16, bit * 32 + 16] > 128) << bit for bit in range(16))
        seen.setdefault(n, at)
    found = sorted((at - drawn[n]) * 1000 for n, at in seen.items() if n in drawn)[:]
    # What the encoder thinks of its first pictures is no latency of the capture.
    found = [ms for ms in found if ms > 0]
    return {"pictures": len(found), "p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "most": found[-1]}


def camera(out: pathlib.Path, seconds: int, rounds: int) -> list[dict]:
    """CPU seconds a second of a camera that one program watches."""
    film, rate = out / "camera.yuv", 60
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=1920x1080:r={rate}:d={seconds + 4}", "-f",
                    "rawvideo", "-pix_fmt", "yuv420p", film], check=True)
    rows = []
    with session.Session() as desk:
        for n in range(rounds):
            who = ["ghoststream", "GStreamer"]
            for name in who if n % 2 == 0 else who[::-1]:
                node = f"camera{n}{name}"
                if name == "ghoststream":
                    raw = ["--input-format", "rawvideo", "--input-option", "video_size=1920x1080", "--input-option",
                           f"framerate={rate}", "--input-option", "pixel_format=yuv420p"]
                    shows = desk.spawn([GS, "transcode", film, f"camera:{node}", "--realtime", *raw], log=node)
                else:
                    shows = desk.spawn(["gst-launch-1.0", "filesrc", f"location={film}", "!", "rawvideoparse", "width=1920",
                                        "height=1080", "format=i420", f"framerate={rate}/1", "!", "identity", "sync=true", "!",
                                        "pipewiresink", "mode=provide",
                                        f"stream-properties=props,media.class=Video/Source,node.name={node}"], log=node)
                session.wait_for(node, lambda: desk.nodes(node_name=node))
                watches = desk.spawn(["gst-launch-1.0", "-q", "pipewiresrc", f"target-object={node}", "!", "fakesink"])
                time.sleep(1)
                begin, before = time.monotonic(), cpu_of(shows.pid)
                time.sleep(seconds)
                cpu = (cpu_of(shows.pid) - before) / (time.monotonic() - begin)
                desk.stop(watches)
                desk.stop(shows, signal.SIGINT)
                rows.append({"who": name, "cpu": cpu})
                print(f"  camera {n + 1}/{rounds} {name}: {cpu:.3f} CPU", file=sys.stderr)
    film.unlink()
    return rows


def replay(out: pathlib.Path, seconds: int) -> dict:
    """What a replay of that many seconds of 8 Mbit/s grows by, over what it is given. Faster than they pass."""
    spec = out / "replay.json"
    spec.write_text(json.dumps({
        "source": {"pattern": {"kind": "gradient", "width": 640, "height": 360, "frame_rate": 30}},
        "outputs": [{"path": str(out / "r-{n}.mkv"), "replay": {"seconds": seconds + 60}, "audio": False, "video": {
            "encoder": "libx264", "preset": "p1", "tune": "ull", "bitrate": RATE, "cbr": True,
            "options": {"nal-hrd": "cbr"}}}]}))
    job = subprocess.Popen([GS, "transcode", "--spec", spec, "--events", "json"], stdout=subprocess.PIPE, text=True)
    first = last = None
    for line in job.stdout:
        event = json.loads(line)
        if event["type"] != "progress":
            continue
        status = pathlib.Path(f"/proc/{job.pid}/status").read_text()
        anonymous = int(status.split("RssAnon:")[1].split()[0]) * 1024
        last = (event["time"], event["bytes"], anonymous)
        if first is None and event["time"] > 2:
            first = last
        if event["time"] > seconds:
            break
    job.kill()
    job.wait()
    kept, grown = last[1] - first[1], last[2] - first[2]
    took = last[0] - first[0]
    return {"seconds": took, "kept": kept, "grown": grown, "ratio": grown / kept, "nominal": grown / (RATE / 8 * took)}


def run(out: pathlib.Path, seconds: int, rounds: int, cases: list[str]) -> dict:
    """Every case that can run here, as rows of a table."""
    out.mkdir(parents=True, exist_ok=True)
    rows, load = [], os.getloadavg()[0]

    def median(found: list[dict], who: str, key: str) -> float:
        return statistics.median(row[key] for row in found if row["who"] == who)

    def beside(found: list[dict], key: str, other: str) -> float:
        pairs = zip((r[key] for r in found if r["who"] == "ghoststream"), (r[key] for r in found if r["who"] == other))
        return statistics.median(a / b if b else float("nan") for a, b in pairs)

    if "screen" in cases:
        found = screen(out, seconds, rounds)
        for key, what in [("delivered", "screen, delivered of what was shown"), ("cpu", "screen, CPU seconds a second")]:
            rows.append([what, f"{median(found, 'ghoststream', key):.3f}", f"wf-recorder {median(found, 'wf-recorder', key):.3f}",
                         f"{beside(found, key, 'wf-recorder'):.2f}"])
    if "copies" in cases:
        found = screen(out, min(seconds, 5), 1, count=True)
        rows.append(["screen, copies of each picture", f"{median(found, 'ghoststream', 'copies'):.2f}",
                     f"wf-recorder {median(found, 'wf-recorder', 'copies'):.2f}", ""])
    if "latency" in cases:
        found = latency(out, seconds)
        rows.append(["drawn to packet", f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms", f"{found['pictures']} pictures", ""])
    if "camera" in cases:
        found = camera(out, seconds, rounds)
        rows.append(["camera 1080p60, CPU seconds a second", f"{median(found, 'ghoststream', 'cpu'):.3f}",
                     f"GStreamer {median(found, 'GStreamer', 'cpu'):.3f}", f"{beside(found, 'cpu', 'GStreamer'):.2f}"])
    if "replay" in cases:
        found = replay(out, KEPT)
        kept = f"{found['kept'] / 1e6:.0f} MB in {found['seconds']:.0f} s"
        rows.append(["replay, memory over what it keeps", f"{found['ratio']:.3f}", kept, ""])
        rows.append(["replay, memory over bit rate x time", f"{found['nominal']:.3f}", kept, ""])
    return {"rows": rows, "load": [load, os.getloadavg()[0]]}


def table(found: dict) -> list[str]:
    """As Markdown."""
    lines = [f"Load {found['load'][0]:.2f} before and {found['load'][1]:.2f} after.", "", "| | ghoststream | beside | ratio |", "|---|---|---|---|"]
    return lines + ["| " + " | ".join(row) + " |" for row in found["rows"]] + [""]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench/capture"))
    options = parser.parse_args()
    print("\n".join(table(run(options.out.resolve(), options.seconds, options.rounds, options.cases.split(",")))))
