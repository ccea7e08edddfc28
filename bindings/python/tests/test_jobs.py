"""Pipelines and jobs: events, control, feeding, packets, what an exception leaves behind."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import probe, python

import ghoststream as gs


def spec(source, out, **output):
    return {"source": {"url": str(source)}, "outputs": [{"path": str(out), **output}]}


def slow(out, frames=None):
    """A job that does not end by itself."""
    pattern = {"kind": "gradient", "width": 320, "height": 180, "burn_in": True}
    if frames is not None:
        pattern["frames"] = frames
    return {"source": {"pattern": pattern, "realtime": True}, "outputs": [{"path": str(out)}]}


def test_transcode(tmp_path, clip):
    seen = []
    out = tmp_path / "out.mkv"
    done = gs.transcode(clip, out, video="hevc", crf=28, preset="p1", audio="opus:64k", progress=seen.append)
    assert done.outcome == "completed" and done.outputs == [str(out)] and done.elapsed > 0
    assert probe(out, "stream=codec_name") == ["hevc", "opus"]
    assert seen and seen[-1].type == "progress" and seen[-1].fraction == 1


def test_a_ladder(tmp_path, clip):
    out = tmp_path / "out"
    rungs = ["320x180@300k", "160x90@100k"]
    gs.transcode(clip, out, ladder=rungs, format="hls+dash", segment_duration=1, preset="p1")
    assert (out / "master.m3u8").exists() and (out / "manifest.mpd").exists()


def test_options_mean_what_they_mean_on_the_command_line(tmp_path):
    options = ["--video", "hevc", "--crf", "23", "--audio", "opus:128k", "--no-faststart", "--size", "640x360"]
    options += ["--crop", "10x20+1+2", "--sharpen", "0.5", "--option", "x265-params=a b", "--header", "X-Key: 1"]
    options += ["--option", "year=1", "--tone-map", "--start", "1:02", "--loop", "2", "--ladder", "480p@1M,copy"]
    command = [sys.executable, "-m", "ghoststream", "transcode", "in.mkv", "out/", "--print-spec", *options]
    printed = subprocess.run([*command, "--format=hls"], capture_output=True, text=True)
    ours = gs.document(
        "in.mkv",
        "out/",
        video="hevc",
        crf=23,
        audio="opus:128k",
        faststart=False,
        size=(640, 360),
        crop="10x20+1+2",
        sharpen=0.5,
        option={"x265-params": "a b", "year": 1},
        header={"X-Key": 1},
        tone_map=True,
        start="1:02",
        loop=2,
        ladder=["480p@1M", "copy"],
        format="hls",
        overwrite=False,
        chapters=True,
    )
    if printed.returncode == 0:
        assert ours == json.loads(printed.stdout)
    else:
        pytest.fail(printed.stderr)
    sheets = gs.document("in.mkv", "s-%d.jpg", tiles=(10, 5), tiles_index=tmp_path / "p.vtt", key_frames_only=True)
    assert sheets["outputs"][0]["tiles"] == {"columns": 10, "rows": 5, "index": str(tmp_path / "p.vtt")}
    assert sheets["source"]["decode"]["key_frames_only"]
    assert gs.document("a", "b.mp4", audio=False, video=None)["outputs"][0]["audio"] is False


def test_events_tell_the_story(tmp_path, clip):
    pipeline = gs.Pipeline(spec(clip, tmp_path / "out.mp4", audio=False))
    assert pipeline.spec["outputs"][0]["faststart"] is True
    plan = pipeline.plan()
    assert plan["outputs"][0]["tracks"][0]["kind"] == "video"
    assert not (tmp_path / "out.mp4").exists()
    with pipeline.start() as job:
        assert job.id > 0
        events = list(job)
        assert events[-1].type == "done" and events[-1].outcome == "completed"
        states = [e.state for e in events if e.type == "state"]
        assert states == sorted(states, key=["starting", "running", "draining", "finished"].index)
        assert any(e.type == "plan" for e in events)
        assert job.state == "finished" and job.next_event() is None
        assert job.stats()["tracks"][0]["packets"] == 60
    with pytest.raises(AttributeError):
        events[0].nothing
    with pytest.raises(gs.State):
        job.pause()


def test_stop_finishes_and_cancel_removes(tmp_path):
    kept, gone = tmp_path / "kept.mp4", tmp_path / "gone.mp4"
    with gs.Pipeline(slow(kept)).start() as job:
        wait_for_frames(job, 10)
        job.stop()
        assert job.wait(20).outcome == "stopped"
    assert len(probe(kept, "packet=pts")) >= 10
    job = gs.Pipeline(slow(gone)).start()
    wait_for_frames(job, 5)
    job.cancel()
    with pytest.raises(gs.Cancelled):
        job.wait(20)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.mp4"]


def wait_for_frames(job, count):
    until = time.monotonic() + 20
    while not any(t["packets"] >= count for t in job.stats()["tracks"]) and time.monotonic() < until:
        time.sleep(0.02)
        assert job.state != "finished", job.wait(1)


def test_an_exception_in_the_block_cancels_and_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
        wait_for_frames(job, 3)
        raise KeyError("mine")
    assert job.state == "finished" and not list(tmp_path.iterdir())


def test_an_exception_of_a_callback_comes_through(tmp_path):
    def callback(event):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        gs.transcode(spec=slow(tmp_path / "out.mp4"), on_event=callback)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_raised_at_the_end_of_the_block(tmp_path):
    with pytest.raises(gs.NotFound, match="nowhere"), gs.Pipeline(spec("nowhere.mp4", tmp_path / "o.mp4")).start():
        pass


def test_timeouts(tmp_path):
    with pytest.raises(KeyError), gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            job.wait(0.2)
        assert 0.15 < time.monotonic() - begin < 2
        with pytest.raises(gs.Timeout):
            while True:
                job.next_event(0)
        with pytest.raises(gs.Invalid):
            job.wait(float("nan"))
        raise KeyError


def test_pause_and_resume(tmp_path):
    with pytest.raises(KeyError), gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
        wait_for_frames(job, 1)
        job.pause()
        assert job.state == "paused"
        job.resume()
        assert job.state == "running"
        raise KeyError


def test_a_forgotten_job_is_cancelled(tmp_path):
    job = gs.Pipeline(slow(tmp_path / "out.mp4")).start()
    wait_for_frames(job, 1)
    del job
    assert not list(tmp_path.iterdir())


def test_a_job_that_runs_at_the_end_of_the_process_is_cancelled(tmp_path):
    code = "import sys, json, ghoststream as gs; job = gs.Pipeline(sys.argv[1]).start(); job.next_event()"
    ended = python(code, json.dumps(slow(tmp_path / "out.mp4")))
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.iterdir())


def test_waiting_lets_other_threads_run(tmp_path):
    counted = 0
    ended = threading.Event()

    def count():
        nonlocal counted
        while not ended.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    with pytest.raises(KeyError), gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
        thread.start()
        with pytest.raises(gs.Timeout):
            job.wait(0.5)
        ended.set()
        thread.join()
        raise KeyError
    assert counted > 100


@pytest.mark.parametrize("way", ["job.wait()", "list(job)", "gs.transcode(spec=json.loads(sys.argv[1]))"])
def test_ctrl_c_ends_a_wait_and_leaves_no_file(tmp_path, way):
    code = f"""
import json, sys, ghoststream as gs
with gs.Pipeline(slow := sys.argv[1]).start() as job:
    print("running", flush=True)
    {way.replace("sys.argv[1]", "sys.argv[2]")}
"""
    documents = [json.dumps(slow(tmp_path / name)) for name in ("a.mp4", "b.mp4")]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *documents], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "running\n"
    time.sleep(0.7)
    child.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors and time.monotonic() - begin < 5
    assert not list(tmp_path.iterdir())


def test_asyncio(tmp_path, clip):
    async def work():
        events, ticks = [], 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticker = asyncio.create_task(tick())
        async with gs.Pipeline(spec(clip, tmp_path / "a.mp4")).start() as job:
            async for event in job:
                events.append(event)
            assert (await job).outcome == "completed"
        two = await asyncio.gather(*(gs.Pipeline(spec(clip, tmp_path / f"{n}.mp4")).start() for n in range(2)))
        assert [d.outcome for d in two] == ["completed"] * 2
        ticker.cancel()
        return events, ticks

    events, ticks = asyncio.run(work())
    assert events[-1].type == "done" and ticks > 5


def test_a_cancelled_task_cancels_its_job(tmp_path):
    async def work():
        async def task():
            async with gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
                async for _ in job:
                    pass

        running = asyncio.create_task(task())
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(work())
    assert not list(tmp_path.iterdir())


def test_awaiting_ends_without_its_job(tmp_path):
    async def work():
        job = gs.Pipeline(slow(tmp_path / "out.mp4")).start()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(job, 0.3)
        assert job.state != "finished"
        job.stop()
        both = await asyncio.gather(job, job)
        assert [d.outcome for d in both] == ["stopped"] * 2
        # Events are for those who iterate.
        assert [e.type async for e in job][-1] == "done"

    asyncio.run(work())


def test_awaiting_takes_packets_and_tells_failures(tmp_path, clip):
    async def work():
        job = gs.Pipeline({"source": {"url": str(clip)}, "outputs": [{"packets": {"queue": 2}}]}).start()
        assert (await job).outcome == "completed"
        with pytest.raises(gs.NotFound, match="nowhere"):
            await gs.Pipeline(spec("nowhere.mp4", tmp_path / "o.mp4")).start()

    asyncio.run(work())


@pytest.mark.parametrize("way", ["await job", "await asyncio.wait_for(job, 0.5)", "async with job: await job"])
def test_a_program_that_awaits_a_job_ends(tmp_path, way):
    code = f"""
import asyncio, sys, ghoststream as gs
async def work():
    job = gs.Pipeline(sys.argv[1]).start()
    print("running", flush=True)
    {way}
asyncio.run(work())
"""
    command = [sys.executable, "-c", code, json.dumps(slow(tmp_path / "out.mp4"))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "running\n"
    time.sleep(0.7)
    if "wait_for" not in way:
        child.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = child.communicate(timeout=30)
    assert ("TimeoutError" if "wait_for" in way else "KeyboardInterrupt") in errors
    assert time.monotonic() - begin < 5 and not list(tmp_path.iterdir())


def test_a_fork_ends_and_leaves_the_job_to_its_process(tmp_path):
    code = """
import os, sys, time, ghoststream as gs
job = gs.Pipeline(sys.argv[1]).start()
film = gs.open(sys.argv[2])
film.read()
time.sleep(0.3)
child = os.fork()
if child == 0:
    for use in (lambda: job.state, film.read):
        try:
            use()
        except gs.State:
            continue
        os._exit(3)
    sys.exit(0)
until, ended = time.monotonic() + 10, (0, 0)
while not ended[0] and time.monotonic() < until:
    ended = os.waitpid(child, os.WNOHANG)
    time.sleep(0.05)
if not ended[0]:
    os.kill(child, 9)
print(ended[0] == child, ended[1], job.state, film.read() is not None)
"""
    pattern = "pattern:gradient?width=64&height=48"
    ended = python(code, json.dumps(slow(tmp_path / "out.mp4")), pattern)
    assert ended.stdout == "True 0 running True\n" and ended.returncode == 0, ended.stderr
    assert "panicked" not in ended.stderr and not list(tmp_path.iterdir())


def test_packets(clip):
    document = {"source": {"url": str(clip)}, "outputs": [{"packets": {}, "audio": {"codec": "aac"}}]}
    with gs.Pipeline(document).start() as job:
        streams = job.streams(0, 20)
        packets = list(job.packets())
    assert [s["kind"] for s in streams] == ["video", "audio"] and streams[0]["width"] == 320
    assert streams[0]["extradata"][:4] == b"\0\0\0\1" or streams[0]["extradata"][:3] == b"\0\0\1"
    video = [p for p in packets if p.stream == 0]
    assert len(video) == 60 and video[0].is_keyframe and video[0].time == pytest.approx(0, abs=0.1)
    assert sorted(round(p.time * 25) for p in video) == list(range(60))
    assert all(p.dts <= p.pts for p in video)
    first = video[0]
    assert bytes(first) == memoryview(first).tobytes() and len(first) == first.size == len(bytes(first))
    assert memoryview(first).readonly


def test_a_block_that_leaves_packets_ends(clip):
    with gs.Pipeline({"source": {"url": str(clip)}, "outputs": [{"packets": {"queue": 2}, "audio": False}]}).start() as job:
        next(job.packets())


def test_segments_to_the_application(clip):
    output = {"segments": True, "format": "hls", "segment": {"duration": 1}}
    with gs.Pipeline({"source": {"url": str(clip)}, "outputs": [output]}).start() as job:
        segments = list(job.segments())
    names = [s.name for s in segments]
    assert any(n.endswith(".m3u8") for n in names) and all(s.data for s in segments)
    assert sum(s.duration > 0 for s in segments) >= 3


def test_bytes_from_a_file_object(tmp_path, clip):
    out = tmp_path / "out.mkv"
    data = clip.with_suffix(".mkv")
    gs.transcode(clip, data, video="copy", audio="copy", overwrite=True)
    assert gs.transcode(io.BytesIO(data.read_bytes()), out, video="copy", audio=False).outcome == "completed"
    assert len(probe(out, "packet=pts")) == 60

    class Broken(io.BytesIO):
        def read(self, n=-1):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        gs.transcode(Broken(), tmp_path / "broken.mkv")
    assert not (tmp_path / "broken.mkv").exists()


def test_write_by_hand(tmp_path, clip):
    data = clip.with_suffix(".hand.mkv")
    gs.transcode(clip, data, video="copy", audio="copy", overwrite=True)
    out = tmp_path / "out.mp4"
    document = {"source": {"bytes": {}}, "outputs": [{"path": str(out), "video": {"codec": "copy"}, "audio": False}]}
    with gs.Pipeline(document).start() as job:
        for at in range(0, data.stat().st_size, 10000):
            assert job.write(data.read_bytes()[at : at + 10000]) > 0
    assert len(probe(out, "packet=pts")) == 60
    with pytest.raises(gs.Error):
        job.write(b"more")


def test_a_change_while_it_runs(tmp_path):
    with pytest.raises(KeyError), gs.Pipeline(slow(tmp_path / "out.mp4")).start() as job:
        wait_for_frames(job, 1)
        job.set(key_frame=True)
        with pytest.raises(gs.Invalid):
            job.set()
        with pytest.raises(gs.NotFound):
            job.set(output=3, key_frame=True)
        job.set(preset="p1")
        with pytest.raises(gs.Invalid, match="preset"):
            job.set(preset="p9")
        with pytest.raises(gs.Unsupported, match="drop"):
            job.set(drop=True, rung=0)
        raise KeyError


def test_a_recording_is_cut_and_a_replay_saved(tmp_path):
    video = {"codec": "h264", "preset": "p1", "tune": "ull"}
    pattern = {"kind": "smpte", "width": 320, "height": 180, "frame_rate": 25}
    outputs = [
        {"path": str(tmp_path / "cut-{n}.mkv"), "video": video, "split": True},
        {"path": str(tmp_path / "saved-{n}.mkv"), "video": video, "replay": {"seconds": 1}},
    ]
    with gs.Pipeline({"source": {"pattern": pattern, "realtime": True}, "outputs": outputs}).start() as job:
        wait_for_frames(job, 30)
        job.split()
        job.save(1, seconds=0.5)
        told = []
        for event in job:
            if event.type == "saved":
                told.append((event.output, event.path))
                assert event.duration > 0.4 and event.bytes > 0
            if len(told) == 2:
                break
        assert sorted(told) == [(0, str(tmp_path / "cut-1.mkv")), (1, str(tmp_path / "saved-1.mkv"))]
        with pytest.raises(gs.Unsupported):
            job.save(0)
        with pytest.raises(gs.Unsupported):
            job.split(1)
        with pytest.raises(gs.NotFound):
            job.split(2)
        with pytest.raises(gs.Invalid):
            job.save(1, seconds=-1)
        job.stop()
    assert probe(tmp_path / "cut-2.mkv", "stream=codec_name") == ["h264"]


def test_presets_are_words_for_documents():
    table = gs.presets()
    assert len(table) == 10 and table["discord720p"]["bitrate"] == 3_000_000
    for video in table.values():
        gs.Pipeline({"source": {"pattern": {}}, "outputs": [{"path": "out.mkv", "video": video}]})


def test_the_command(tmp_path, clip):
    def run(*arguments):
        command = [sys.executable, "-m", "ghoststream", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert gs.version in run("--version").stdout
    assert run("transcode", clip, tmp_path / "out.mp4", "--quiet").returncode == 0
    assert run("transcode", "nowhere.mp4", tmp_path / "no.mp4").returncode == 3
    assert run("transcode", "--no-such").returncode == 2
    assert json.loads(run("schema").stdout) == gs.schema()
