"""Pushed outputs over a link between two network namespaces (link.py) that loses two percent, gets narrow in steps and is cut
for ten seconds: what arrives at nginx and at srt-live-transmit decodes, picture and sound together, and the bit rate follows.
tests/push/run runs it after push.py; each check is a function whose name begins with `check_`."""

import os
import socket
import subprocess
import sys
import time

import push
from link import FAR, Link, why_not, within
from peers import Nginx, SrtKeeper, streams, wait_for
from push import KEY, VIDEO, Job, encoded, good, in_step, noisy, tempo, whole

# How long the link is cut, which is what is promised.
CUT = 10


def server(folder, link):
    return Nginx(folder / "nginx", inside=link.run_in(link.far), host=FAR)


def job(folder, link, source, outputs):
    return Job(folder, source, outputs, inside=link.run_in(link.near))


def check_link(folder):
    """The link does what it is told, or nothing below means anything."""
    with Link() as link:
        def udp():
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        sink, source = within(link.far, udp), within(link.near, udp)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sink.bind((FAR, 9000))
        sink.settimeout(0.5)

        def arrive(count, pause):
            for _ in range(count):
                source.sendto(b"x" * 1000, (FAR, 9000))
                time.sleep(pause)
            came = 0
            try:
                while True:
                    sink.recv(2000)
                    came += 1
            except TimeoutError:
                return came

        # The first ones wait until it is known where the other side is, and not all of them may.
        arrive(3, 0.2)
        came = arrive(200, 0.0005)
        assert came == 200, f"{came} of 200 came over a link that loses nothing ({link.kind})"
        link.set(loss=0.02)
        came = arrive(2000, 0.0005)
        assert 1920 <= came <= 1985, f"{came} of 2000 came over a link that loses two percent ({link.kind})"
        link.set(loss=0, up=False)
        assert arrive(20, 0.001) == 0, "a link that is cut carries nothing"
        link.set(up=True, rate=1_000_000)
        begin = time.monotonic()
        # The first may fill the link's buffer; the rest is as fast as it.
        came = arrive(500, 0.002)
        rate = came * 1042 * 8 / (time.monotonic() - begin - 0.5)
        assert 600_000 <= rate <= 1_300_000, f"{rate:.0f} bit/s over a link of 1,000,000 ({link.kind})"
        print(f"push: shaped by {link.kind}", flush=True)


def check_rtmp_lossy(folder):
    """Two percent of the packets are lost, both ways: TCP repairs it, and nothing is dropped or apart."""
    with Link() as link:
        nginx = server(folder, link)
        try:
            link.set(loss=0.02)
            source = tempo(folder / "clip.mkv", 8)
            pushed = job(folder, link, source, [{"path": f"rtmp://{FAR}:{nginx.port}/live/{KEY}", **encoded(bitrate="800k")}])
            good(pushed)
            assert pushed.states() == ["connecting", "live", "ended"], pushed.states()
            time.sleep(0.5)
            found = streams(nginx.kept()[0])
            assert found["video"]["packets"] + pushed.stats()[-1]["dropped_frames"] == 200, (found, pushed.stats()[-1])
            assert found["video"]["packets"] >= 190 and found["video"]["rising"], found
            in_step(nginx.kept()[0], 6)
        finally:
            nginx.close()


def check_rtmp_steps(folder):
    """The link gets narrower in steps and wide again: the rate follows each, and what arrives decodes."""
    with Link() as link:
        nginx = server(folder, link)
        try:
            source = {"url": noisy(folder / "noise.mkv", 30), "realtime": True}
            pushed = job(folder, link, source, [
                {"path": f"rtmp://{FAR}:{nginx.port}/live/{KEY}", "push": {"adapt": {"min_bitrate": "150k"}},
                 **encoded(bitrate="1600k", cbr=True, buffer="800k", tune="ll")}])
            pushed.wait_state("live")
            time.sleep(2)
            for rate in [960_000, 480_000]:
                link.set(rate=rate)
                wait_for(f"less than {rate}", lambda: [e for e in pushed.of("bitrate") if e["bitrate"] < rate], 12)
            link.set(rate=None)
            good(pushed, seconds=60)
            rates = [(round(e["at"], 1), e["bitrate"]) for e in pushed.of("bitrate")]
            assert rates[-1][1] > min(rate for _, rate in rates), f"up again: {rates}"
            assert pushed.states() == ["connecting", "live", "ended"], pushed.states()
            time.sleep(0.5)
            found = streams(nginx.kept()[0])
            assert found["video"]["packets"] + pushed.stats()[-1]["dropped_frames"] == 750, (found, pushed.stats()[-1])
            assert abs(found["video"]["last"] - found["audio"]["last"]) < 0.2, found
        finally:
            nginx.close()


def check_rtmp_cut(folder):
    """Nothing passes for ten seconds, and nobody says that: it is noticed, the recording beside it goes on, and the stream
    comes back at a key frame, picture and sound together."""
    with Link() as link:
        nginx = server(folder, link)
        try:
            length = CUT + 14
            push_to = {"first_delay": 0.5, "most_delay": 1, "reconnects": -1, "timeout": 3}
            # Filled up to what it may be.
            coded = encoded(encoder="libx264", bitrate="800k", cbr=True, keyframe_interval=4, options={"nal-hrd": "cbr"})
            pushed = job(folder, link, tempo(folder / "clip.mkv", length), [
                {"path": f"rtmp://{FAR}:{nginx.port}/live/{KEY}", "push": push_to, **coded},
                {"path": str(folder / "kept.mkv"), **coded}])
            pushed.wait_state("live")
            time.sleep(3)
            link.set(up=False)
            began = time.monotonic()
            pushed.wait_state("reconnecting", seconds=CUT)
            time.sleep(max(CUT - (time.monotonic() - began), 0))
            link.set(up=True)
            pushed.wait_state("live", 2, seconds=9)
            good(pushed, seconds=60)
            whole(folder / "kept.mkv", length * 25)
            in_step(folder / "kept.mkv", length - 2)
            stats = pushed.stats()[-1]
            assert stats["connections"] >= 2 and stats["dropped_frames"] > CUT * 25 * 0.5, stats
            time.sleep(0.5)
            after = streams(nginx.kept()[-1])
            assert after["video"]["key_first"] and after["video"]["rising"] and after["video"]["packets"] >= 75, after
            in_step(nginx.kept()[0], 2)
            in_step(nginx.kept()[-1], 2)
        finally:
            nginx.close()


def check_rtmp_quiet_cut(folder):
    """A link that is cut is noticed in time by streams of little, too, which fill no buffer: one of 200 kbit/s, and sound alone."""
    with Link() as link:
        nginx = server(folder, link)
        try:
            timeout = 4
            push_to = {"first_delay": 0.3, "most_delay": 0.5, "reconnects": -1, "timeout": timeout}
            coded = encoded(encoder="libx264", bitrate="150k", cbr=True, options={"nal-hrd": "cbr"})
            pushed = job(folder, link, tempo(folder / "clip.mkv", 20), [
                {"path": f"rtmp://{FAR}:{nginx.port}/live/{KEY}", "push": push_to, **coded},
                {"path": f"rtmp://{FAR}:{nginx.port}/live/{KEY}-sound", "push": push_to, "video": False,
                 "audio": {"codec": "aac", "bitrate": "48k"}}])
            for output in range(2):
                pushed.wait_state("live", output=output)
            time.sleep(3)
            rates = [pushed.stats(output)[-1]["bitrate"] for output in range(2)]
            assert 100_000 < rates[0] < 300_000 and 10_000 < rates[1] < 80_000, rates
            link.set(up=False)
            began = time.monotonic() - pushed.began
            for output in range(2):
                pushed.wait_state("reconnecting", output=output, seconds=timeout + 3)
            noticed = [pushed.of("push", output=o, state="reconnecting")[0]["at"] - began for o in range(2)]
            print(f"push: noticed after {noticed[0]:.1f} s and {noticed[1]:.1f} s, of {timeout} allowed", flush=True)
            assert all(timeout - 0.5 <= after <= timeout + 2 for after in noticed), noticed
            link.set(up=True)
            for output in range(2):
                pushed.wait_state("live", 2, output=output)
            good(pushed, seconds=60)
        finally:
            nginx.close()


def check_srt_lossy(folder):
    """SRT repairs what a link loses that loses two percent, in time."""
    with Link() as link:
        keeper = SrtKeeper(folder / "kept.ts", "srt://0.0.0.0:9001?mode=listener&latency=500", inside=link.run_in(link.far))
        try:
            time.sleep(0.5)
            link.set(loss=0.02)
            pushed = job(folder, link, tempo(folder / "clip.mkv", 8), [
                {"path": f"srt://{FAR}:9001", "push": {"srt": {"latency": 500}}, **encoded()}])
            good(pushed)
            keeper.wait()
            stats = pushed.stats()[-1]
            assert stats["repeated"] > 0 and stats["lost"] > 0 and stats["late"] == 0, stats
            whole(folder / "kept.ts", 200)
            in_step(folder / "kept.ts", 6)
        finally:
            keeper.close()


def check_srt_steps(folder):
    """SRT feels each step of a link that gets narrower, and the rate follows."""
    with Link() as link:
        keeper = SrtKeeper(folder / "kept.ts", "srt://0.0.0.0:9002?mode=listener&latency=400", inside=link.run_in(link.far))
        try:
            time.sleep(0.5)
            pushed = job(folder, link, {"url": noisy(folder / "noise.mkv", 26), "realtime": True}, [
                {"path": f"srt://{FAR}:9002", "push": {"adapt": {"min_bitrate": "150k"}, "srt": {"latency": 400}},
                 "audio": False, "video": {**VIDEO, "bitrate": "1600k", "cbr": True, "buffer": "800k", "tune": "ll"}}])
            pushed.wait_state("live")
            time.sleep(2)
            for rate in [1_000_000, 600_000]:
                link.set(rate=rate)
                wait_for(f"less than {rate}", lambda: [e for e in pushed.of("bitrate") if e["bitrate"] < rate], 12)
            link.set(rate=None)
            good(pushed, seconds=60)
            rates = [(round(e["at"], 1), e["bitrate"]) for e in pushed.of("bitrate")]
            assert rates[-1][1] > min(rate for _, rate in rates), f"up again: {rates}"
        finally:
            keeper.close()


def check_srt_cut(folder):
    """Nothing passes for ten seconds: the connection is made again, and what is kept is in step."""
    with Link() as link:
        inside = link.run_in(link.far)
        # It listens again after a connection broke.
        keeper = subprocess.Popen([*inside, "srt-live-transmit", "-a:yes", "-q", "srt://0.0.0.0:9003?mode=listener", "file://con"],
                                  stdin=subprocess.DEVNULL, stdout=open(folder / "kept.ts", "wb"), stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            length = CUT + 14
            push_to = {"first_delay": 0.3, "most_delay": 0.5, "reconnects": -1, "timeout": 1.5}
            pushed = job(folder, link, tempo(folder / "clip.mkv", length), [
                {"path": f"srt://{FAR}:9003", "push": push_to, **encoded()},
                {"path": str(folder / "kept.mkv"), **encoded()}])
            pushed.wait_state("live")
            time.sleep(3)
            link.set(up=False)
            began = time.monotonic()
            pushed.wait_state("reconnecting", seconds=CUT)
            time.sleep(max(CUT - (time.monotonic() - began), 0))
            link.set(up=True)
            pushed.wait_state("live", 2, seconds=9)
            good(pushed, seconds=60)
            whole(folder / "kept.mkv", length * 25)
            time.sleep(1)
            keeper.terminate()
            keeper.wait(10)
            found = streams(folder / "kept.ts", strict=False)
            assert found["video"]["packets"] >= 150 and found["video"]["last"] - found["video"]["first"] > length - 3, found
            in_step(folder / "kept.ts", 5)
        finally:
            if keeper.poll() is None:
                keeper.kill()


if __name__ == "__main__":
    reason = why_not()
    if reason:
        print(f"push: shaped links: skipped: {reason}")
        sys.exit(77)
    push.run_checks({name: f for name, f in globals().items() if name.startswith("check_")}, sys.argv[1:])
