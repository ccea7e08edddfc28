"""What tests/push/run runs: each check is a function whose name begins with `check_`."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from peers import Nginx, SrtKeeper, flashes_and_beeps, free_port, streams, wait_for
from proxy import TcpProxy, UdpProxy
import socket

CLI = os.environ.get("GS_CLI", "target/debug/ghoststream")
KEY = "s3cret-stream-key"
# How long a link is cut; the ten seconds that are promised are for who has the time.
CUT = float(os.environ.get("GS_CUT_SECONDS", "2"))


class Job:
    """`ghoststream transcode --spec` in the background, and everything that it says."""

    def __init__(self, folder, source, outputs, inside=()):
        self.folder = pathlib.Path(folder)
        path = self.folder / "job.json"
        path.write_text(json.dumps({"source": source, "outputs": outputs}))
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*inside, CLI, "-vv", "transcode", "--spec", str(path), "--events", "json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(self.folder / "log", "w"), text=True,
        )
        self.events = []
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            event["at"] = time.monotonic() - self.began
            with self.lock:
                self.events.append(event)

    def of(self, kind, **fields):
        with self.lock:
            return [e for e in self.events if e["type"] == kind and all(e.get(k) == v for k, v in fields.items())]

    def states(self, output=0):
        return [e["state"] for e in self.of("push", output=output)]

    def stats(self, output=0):
        pushes = [p for e in self.of("progress") for p in e.get("pushes", []) if p["output"] == output]
        assert pushes, "no statistics"
        return pushes

    def wait_state(self, state, count=1, output=0, seconds=10):
        wait_for(f"output {output} {state}", lambda: self.states(output).count(state) >= count, seconds)

    def done(self, seconds=40):
        self.process.wait(seconds)
        self.reader.join(5)
        done = self.of("done")
        assert done, f"no end: {(self.folder / 'log').read_text()[-3000:]}"
        said = (self.folder / "log").read_text() + json.dumps(self.events)
        assert KEY not in said, "the key is shown: " + said[max(0, said.find(KEY) - 300):][:400]
        return done[0]

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(5)


def good(job, outcome="completed", seconds=40):
    done = job.done(seconds)
    assert done["outcome"] == outcome, done
    return done


def pattern(seconds, rate=25):
    return {"pattern": {"width": 320, "height": 180, "frame_rate": rate, "frames": seconds * rate, "tone": True}, "realtime": True}


VIDEO = {"codec": "h264", "preset": "p1", "keyframe_interval": 1}


def encoded(**more):
    return {"video": {**VIDEO, **more}, "audio": {"codec": "aac"}}


def tempo(clip, seconds):
    """A clip that is white, and sounds, for the first 0.2 s of each second."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", f"color=black:s=320x180:r=25:d={seconds}", "-f",
         "lavfi", "-i", f"aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(2*PI*1000*t),0)':s=48000:d={seconds}", "-vf",
         "drawbox=t=fill:c=white:enable='lt(mod(t,1),0.2)'", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a",
         "pcm_s16le", str(clip)],
        check=True,
    )
    return {"url": str(clip), "realtime": True}


def in_step(path, least):
    """Flashes and beeps of a recording come together, to a frame."""
    flashes, beeps = flashes_and_beeps(path)
    # The end of a file is the end of its dark and of its silence, too.
    end = max(s["last"] for s in streams(path, strict=False).values()) - 0.3
    pairs = [(f, b) for f in flashes for b in beeps if abs(f - b) < 0.3 and max(f, b) < end]
    assert len(pairs) >= least, f"{path}: {flashes} {beeps}"
    apart = max(abs(f - b) for f, b in pairs)
    assert apart <= 0.041, f"{path}: {apart * 1000:.0f} ms apart: {pairs}"


def whole(path, frames):
    found = streams(path)
    assert found["video"]["packets"] == frames, f"{path}: {found}"
    assert found["video"]["key_first"] and "audio" in found


def check_rtmp(folder):
    """A stream arrives whole, and the key is shown nowhere."""
    nginx = Nginx(folder / "nginx")
    try:
        job = Job(folder, pattern(3), [{"path": f"rtmp://127.0.0.1:{nginx.port}/live/{KEY}", **encoded()}])
        done = good(job)
        assert done["outputs"] == [f"rtmp://127.0.0.1:{nginx.port}/live/***"], done
        assert job.states() == ["connecting", "live", "ended"], job.states()
        assert job.stats()[-1]["bytes"] > 1000 and job.stats()[-1]["dropped_frames"] == 0
        # The system tells how long the way is, over TCP too.
        told = [stats["rtt"] for stats in job.stats() if stats.get("rtt") is not None]
        assert told and all(0 < rtt < 1000 for rtt in told), job.stats()
        wait_for("the recording", lambda: nginx.kept())
        time.sleep(0.3)
        whole(nginx.kept()[0], 75)
    finally:
        nginx.close()


def check_stream_command(folder):
    """`ghoststream stream`: the key comes from a file, stands in no process list, and the line of statistics and `ctl status`
    say how the push is."""
    nginx = Nginx(folder / "nginx")
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    (folder / "key").write_text(KEY + "\n")
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    url = f"rtmp://127.0.0.1:{nginx.port}/live/{{file:{folder / 'key'}}}"
    log = open(folder / "log", "w+")
    process = subprocess.Popen(
        [CLI, "stream", "pattern:smpte?width=320&height=180&fps=25&tone", url, "--bitrate", "600k", "--adapt", "--reconnects", "3",
         "--encoder", "libx264", "--speed", "p1", "--tune", "ull"],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    try:
        def status(*more):
            done = subprocess.run([CLI, "ctl", "status", *more], env=env, capture_output=True, text=True)
            return done.stdout if done.returncode == 0 else ""
        wait_for("the stream", lambda: "kbit/s of 600 kbit/s" in status())
        line = status()
        assert f"rtmp://127.0.0.1:{nginx.port}/live/***: " in line and KEY not in line, line
        pushes = json.loads(status("--json"))["progress"]["pushes"]
        assert pushes[0]["state"] == "live" and pushes[0]["target_bitrate"] == 600_000, pushes
        assert KEY not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        said = (folder / "log").read_text()
        assert "kbit/s of 600 kbit/s" in said and KEY not in said, said
        wait_for("the recording", lambda: nginx.kept())
        assert nginx.kept()[0].name.startswith(KEY), nginx.kept()
    finally:
        process.kill()
        process.wait(5)
        nginx.close()


def check_srt_rendezvous(folder):
    """Both sides call at once: all of it arrives."""
    ours, theirs = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    keeper = SrtKeeper(folder / "kept.ts", f"srt://127.0.0.1:{ours}?mode=rendezvous&port={theirs}&adapter=127.0.0.1")
    try:
        job = Job(folder, pattern(4), [
            {"path": f"srt://127.0.0.1:{theirs}?localport={ours}", "push": {"srt": {"mode": "rendezvous"}}, **encoded()}])
        good(job)
        assert job.states() == ["connecting", "live", "ended"], job.states()
        keeper.wait()
        found = streams(folder / "kept.ts")
        assert found["video"]["packets"] == 100 and found["video"]["key_first"], found
    finally:
        keeper.close()


def noisy(clip, seconds):
    """A clip that no encoder makes small."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i",
         f"testsrc2=s=320x180:r=25:d={seconds},noise=alls=40:allf=t", "-f", "lavfi", "-i", f"sine=d={seconds}", "-c:v", "libx264",
         "-preset", "ultrafast", "-crf", "10", "-c:a", "pcm_s16le", str(clip)],
        check=True,
    )
    return str(clip)


def check_rtmp_faster_than_the_clock(folder):
    """A file that is not live waits for the network: nothing is dropped, also where it is narrow and is cut."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    proxy.bucket.rate = 150_000
    source = {"url": noisy(folder / "noise.mkv", 6)}
    try:
        job = Job(folder, source, [{"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", **encoded(bitrate="800k", cbr=True)}])
        good(job)
        assert job.stats()[-1]["dropped_frames"] == 0 and job.of("done")[0]["at"] > 2.5
        time.sleep(0.3)
        whole(nginx.kept()[0], 150)
    finally:
        proxy.close()
        nginx.close()


def check_rtmp_cut(folder):
    """The network is gone for some seconds: the recording beside it goes on, the stream comes back at a key frame, and
    picture and sound are still together."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    try:
        length = int(8 + CUT)
        source = tempo(folder / "clip.mkv", length)
        push = {"first_delay": 0.5, "most_delay": 1, "reconnects": 20}
        job = Job(folder, source, [
            {"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", "push": push, **encoded(keyframe_interval=4)},
            {"path": str(folder / "kept.mkv"), **encoded(keyframe_interval=4)},
        ])
        job.wait_state("live")
        time.sleep(2.4)
        proxy.cut()
        time.sleep(CUT)
        proxy.mend()
        job.wait_state("live", 2)
        good(job)
        whole(folder / "kept.mkv", length * 25)
        in_step(folder / "kept.mkv", length - 2)
        assert "reconnecting" in job.states() and job.states()[-1] == "ended", job.states()
        assert all(e["retry_in"] <= 1 for e in job.of("push") if "retry_in" in e)
        assert job.stats()[-1]["connections"] == 2 and job.stats()[-1]["dropped_frames"] > 0, job.stats()[-1]
        time.sleep(0.3)
        first, second = nginx.kept()
        before, after = streams(first), streams(second)
        assert after["video"]["key_first"] and after["video"]["rising"], after
        # nginx counts each stream from where the publisher does: the job's clock went on.
        assert after["video"]["packets"] >= 60, after
        # A key frame was made at once: with one each 4 seconds there was none to wait for.
        live = job.of("push", state="live")[1]["at"]
        assert after["video"]["packets"] / 25 >= length - (live - job.of("push", state="live")[0]["at"]) - 0.6, after
        in_step(first, 2)
        in_step(second, 2)
    finally:
        proxy.close()
        nginx.close()


def check_rtmp_gone_for_good(folder):
    """An output that is given up is an error that names it, without its key; another output goes on to its end."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    try:
        push = {"first_delay": 0.2, "most_delay": 0.2, "reconnects": 2}
        job = Job(folder, pattern(5), [
            {"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", "push": push, **encoded()},
            {"path": str(folder / "kept.mkv"), **encoded()},
        ])
        job.wait_state("live")
        proxy.close()
        done = job.done()
        assert done["outcome"] == "failed" and "given up after 2 reconnects" in done["message"], done
        assert "/live/***" in done["message"] and job.states()[-1] == "failed"
        whole(folder / "kept.mkv", 125)
        alone = folder / "alone"
        alone.mkdir()
        job = Job(alone, pattern(60), [{"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", **encoded()}])
        done = job.done(10)
        assert done["outcome"] == "failed" and job.states() == ["connecting", "failed"], (done, job.states())
        assert done["elapsed"] < 5, "what never was there is not waited for"
    finally:
        nginx.close()


def check_rtmp_narrow(folder):
    """A link that gets narrow and wide again is followed: the rate goes down, and up again, and nothing breaks."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    try:
        source = {"url": noisy(folder / "noise.mkv", 18), "realtime": True}
        push = {"adapt": {"min_bitrate": "200k"}}
        job = Job(folder, source, [
            {"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", "push": push,
             **encoded(bitrate="1600k", cbr=True, buffer="800k", tune="ll")},
        ])
        job.wait_state("live")
        time.sleep(3)
        assert not job.of("bitrate"), job.of("bitrate")
        proxy.bucket.rate = 80_000  # 640 kbit/s
        wait_for("a lower rate", lambda: [e for e in job.of("bitrate") if e["bitrate"] < 700_000], 7)
        proxy.bucket.rate = None
        good(job)
        rates = [(round(e["at"], 1), e["bitrate"]) for e in job.of("bitrate")]
        lowest = min(rate for _, rate in rates)
        assert 200_000 <= lowest < 700_000, rates
        ups = [e for e in job.of("bitrate") if e["bitrate"] > e["before"]]
        assert ups and rates[-1][1] > lowest, rates
        turns = sum(1 for a, b in zip(job.of("bitrate"), job.of("bitrate")[1:])
                    if (a["bitrate"] > a["before"]) != (b["bitrate"] > b["before"]))
        assert turns <= 2, rates
        assert job.states() == ["connecting", "live", "ended"], job.states()
        time.sleep(0.3)
        # What was dropped are whole ends of groups and pictures that no other needs: what is left decodes.
        found = streams(nginx.kept()[0])
        assert found["video"]["packets"] + job.stats()[-1]["dropped_frames"] == 450, (found, job.stats()[-1])
    finally:
        proxy.close()
        nginx.close()


def check_rtmp_steps(folder):
    """A link that gets narrower in steps, as mobile ones do: each step is followed, picture and sound stay together, and
    what arrives decodes."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    try:
        source = {"url": noisy(folder / "noise.mkv", 24), "realtime": True}
        push = {"adapt": {"min_bitrate": "150k"}}
        job = Job(folder, source, [
            {"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", "push": push,
             **encoded(bitrate="1600k", cbr=True, buffer="800k", tune="ll")},
        ])
        job.wait_state("live")
        time.sleep(2)
        for rate in [120_000, 60_000]:  # 960 and 480 kbit/s
            proxy.bucket.rate = rate
            wait_for(f"less than {rate * 8}", lambda: [e for e in job.of("bitrate") if e["bitrate"] < rate * 8], 9)
        proxy.bucket.rate = None
        good(job)
        rates = [(round(e["at"], 1), e["bitrate"]) for e in job.of("bitrate")]
        assert rates[-1][1] > min(rate for _, rate in rates), f"up again: {rates}"
        assert job.states() == ["connecting", "live", "ended"], job.states()
        time.sleep(0.3)
        found = streams(nginx.kept()[0])
        assert found["video"]["packets"] + job.stats()[-1]["dropped_frames"] == 600, (found, job.stats()[-1])
        assert abs(found["video"]["last"] - found["audio"]["last"]) < 0.2, found
    finally:
        proxy.close()
        nginx.close()


def check_srt(folder):
    """A stream arrives encrypted over a link that loses two percent."""
    port = free_port(socket.SOCK_DGRAM)
    secret = "passphrase-of-ten"
    keeper = SrtKeeper(folder / "kept.ts", f"srt://127.0.0.1:{port}?mode=listener&passphrase={secret}&latency=400")
    proxy = UdpProxy(("127.0.0.1", port))
    proxy.loss = 0.02
    try:
        time.sleep(0.5)
        srt = {"passphrase": secret, "latency": 400, "key_length": 32, "stream_id": KEY}
        job = Job(folder, pattern(5), [{"path": f"srt://127.0.0.1:{proxy.port}", "push": {"srt": srt}, **encoded()}])
        good(job)
        keeper.wait()
        assert proxy.lost > 3, "the link lost nothing"
        stats = job.stats()[-1]
        assert stats["repeated"] > 0 and stats["lost"] > 0 and stats["late"] == 0 and stats["rtt"] > 0, stats
        whole(folder / "kept.ts", 125)
        said = (folder / "log").read_text() + json.dumps(job.events)
        assert secret not in said
    finally:
        proxy.close()
        keeper.close()


def check_srt_refused(folder):
    """A wrong passphrase is told as one."""
    port = free_port(socket.SOCK_DGRAM)
    keeper = SrtKeeper(folder / "kept.ts", f"srt://127.0.0.1:{port}?mode=listener&passphrase=passphrase-of-ten")
    try:
        time.sleep(0.5)
        job = Job(folder, pattern(60), [
            {"path": f"srt://127.0.0.1:{port}?passphrase={KEY}", **encoded()}])
        done = job.done(10)
        assert done["outcome"] == "failed" and done["error"] == "denied" and "passphrase" in done["message"], done
    finally:
        keeper.close()


def check_srt_listener(folder):
    """It waits to be called, and goes on when the caller has gone and another comes."""
    port = free_port(socket.SOCK_DGRAM)
    job = Job(folder, pattern(9), [
        {"path": f"srt://127.0.0.1:{port}", "push": {"first_delay": 0.1, "most_delay": 0.1, "srt": {"mode": "listener"}},
         **encoded()}])
    keepers = []
    try:
        for i in range(2):
            keepers.append(SrtKeeper(folder / f"kept{i}.ts", f"srt://127.0.0.1:{port}?mode=caller"))
            job.wait_state("live", i + 1)
            time.sleep(2)
            if i == 0:
                keepers[0].close()
                job.wait_state("reconnecting")
        good(job)
        keepers[1].wait()
        second = streams(folder / "kept1.ts")
        assert second["video"]["packets"] >= 40 and second["video"]["rising"], second
        assert streams(folder / "kept0.ts")["video"]["packets"] >= 20
    finally:
        job.kill()
        for keeper in keepers:
            keeper.close()


def check_srt_cut(folder):
    """The link is dead for some seconds: the connection is made again, and what is kept decodes, in step."""
    port = free_port(socket.SOCK_DGRAM)
    # It listens again after a connection broke.
    keeper = subprocess.Popen(
        ["srt-live-transmit", "-a:yes", "-q", f"srt://127.0.0.1:{port}?mode=listener", "file://con"],
        stdin=subprocess.DEVNULL, stdout=open(folder / "kept.ts", "wb"), stderr=subprocess.DEVNULL)
    proxy = UdpProxy(("127.0.0.1", port))
    try:
        time.sleep(0.5)
        length = int(12 + CUT)
        source = tempo(folder / "clip.mkv", length)
        push = {"first_delay": 0.3, "most_delay": 0.5, "reconnects": -1, "timeout": 1.5}
        job = Job(folder, source, [
            {"path": f"srt://127.0.0.1:{proxy.port}", "push": push, **encoded()},
            {"path": str(folder / "kept.mkv"), **encoded()},
        ])
        job.wait_state("live")
        time.sleep(2.5)
        proxy.up = False
        job.wait_state("reconnecting", seconds=6)
        time.sleep(max(CUT - 2, 0))
        proxy.up = True
        job.wait_state("live", 2, seconds=9)
        good(job)
        whole(folder / "kept.mkv", length * 25)
        assert job.stats()[-1]["connections"] >= 2
        time.sleep(1)
        keeper.terminate()
        keeper.wait(10)
        shown = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0",
             str(folder / "kept.ts")], capture_output=True, text=True, check=True).stdout.split()
        times = [float(t.strip(",")) for t in shown]
        assert 150 <= len(times) < length * 25 and times[-1] - times[0] > length - 3, (len(times), times[0], times[-1])
        in_step(folder / "kept.ts", 4)
    finally:
        job.kill()
        proxy.close()
        if keeper.poll() is None:
            keeper.kill()


def check_srt_narrow(folder):
    """SRT feels a narrow link too: the rate follows."""
    port = free_port(socket.SOCK_DGRAM)
    keeper = SrtKeeper(folder / "kept.ts", f"srt://127.0.0.1:{port}?mode=listener&latency=300")
    proxy = UdpProxy(("127.0.0.1", port))
    try:
        time.sleep(0.3)
        push = {"adapt": {"min_bitrate": "200k"}, "srt": {"latency": 300}}
        job = Job(folder, {"url": noisy(folder / "noise.mkv", 16), "realtime": True}, [
            {"path": f"srt://127.0.0.1:{proxy.port}", "push": push, "audio": False,
             "video": {**VIDEO, "bitrate": "1600k", "cbr": True, "buffer": "800k", "tune": "ll"}},
        ])
        job.wait_state("live")
        time.sleep(3)
        assert not job.of("bitrate"), job.of("bitrate")
        proxy.bucket.rate = 110_000
        wait_for("a lower rate", lambda: [e for e in job.of("bitrate") if e["bitrate"] < 900_000], 8)
        proxy.bucket.rate = None
        good(job)
        rates = [(round(e["at"], 1), e["bitrate"]) for e in job.of("bitrate")]
        assert all(200_000 <= rate <= 1_600_000 for _, rate in rates), rates
        assert job.states() == ["connecting", "live", "ended"], job.states()
    finally:
        proxy.close()
        keeper.close()


def check_adapt_beside_a_recording(folder):
    """A stream follows a network that gets narrow, and what is recorded beside it keeps its rate."""
    nginx = Nginx(folder / "nginx")
    proxy = TcpProxy(("127.0.0.1", nginx.port))
    try:
        one = encoded(bitrate="1600k", cbr=True, buffer="800k", tune="ll")
        push = {"adapt": {"min_bitrate": "200k"}}
        job = Job(folder, {"url": noisy(folder / "noise.mkv", 12), "realtime": True}, [
            {"path": f"rtmp://127.0.0.1:{proxy.port}/live/{KEY}", "push": push, **one},
            {"path": str(folder / "kept.mkv"), **one},
        ])
        job.wait_state("live")
        time.sleep(2)
        proxy.bucket.rate = 80_000
        wait_for("a lower rate", lambda: [e for e in job.of("bitrate") if e["bitrate"] < 800_000], 8)
        proxy.bucket.rate = None
        good(job)
        assert {e["output"] for e in job.of("bitrate")} == {0} and not job.of("warning", code="network"), job.events
        plan = job.of("plan")[0]["plan"]["outputs"]
        told = [(track["action"], track["reason"]) for track in plan[1]["tracks"]]
        assert [action for action, _ in told] == ["encode", "share"] and "follows its network" in told[0][1], told
        whole(folder / "kept.mkv", 300)
        shown = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,size", "-of", "csv=p=0",
             str(folder / "kept.mkv")], capture_output=True, text=True, check=True).stdout.split()
        sizes = {}
        for line in shown:
            at, size = line.strip(",").split(",")[:2]
            sizes[int(float(at))] = sizes.get(int(float(at)), 0) + int(size) * 8
        rates = [sizes[second] for second in range(2, 11)]
        assert min(rates) > 1_200_000, rates
    finally:
        proxy.close()
        nginx.close()


def run_checks(named, wanted):
    """Runs checks by their names, all or those with one of the words, and ends with what came of it."""
    checks = list(named.values())
    if wanted:
        checks = [f for f in checks if any(w in f.__name__ for w in wanted)]
    failed = []
    for check in checks:
        name = check.__name__.removeprefix("check_")
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"gs-push-{name}-"))
        folder.chmod(0o755)
        began = time.monotonic()
        try:
            check(folder)
            print(f"push: {name}: ok in {time.monotonic() - began:.1f} s", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
        except Exception:
            failed.append(name)
            print(f"push: {name}: FAIL in {time.monotonic() - began:.1f} s ({folder})", flush=True)
            traceback.print_exc()
            log = folder / "log"
            if log.exists():
                print("\n".join(log.read_text().splitlines()[-15:]), flush=True)
    if not checks:
        print("push: no such check")
        sys.exit(2)
    print(f"push: {len(checks) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_checks({name: f for name, f in globals().items() if name.startswith("check_")}, sys.argv[1:])
