"""Decoding: the same frames as PyAV, exact by index and by time."""

from __future__ import annotations

import io
import itertools
import mmap
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy
import pytest
from conftest import ffmpeg, peer, psnr

import ghoststream as gs

av = peer("av")


@pytest.fixture(scope="module")
def truth(clip):
    """Every frame of the clip as PyAV has it: time, packed planes, RGB."""
    with av.open(str(clip)) as container:
        return [(f.time, f.to_ndarray(), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_all_frames_as_they_are(clip, truth):
    with gs.open(clip) as film:
        frames = list(film)
    assert len(frames) == len(truth) == 60
    for frame, (time, planes, _) in zip(frames, truth):
        assert frame.format == "yuv420p" and frame.time == pytest.approx(time)
        assert (frame.to_numpy() == planes).all()
    assert frames[0].is_keyframe and frames[0].duration == pytest.approx(0.04)


def test_all_frames_as_rgb(clip, truth):
    with gs.open(clip, format="rgb24") as film:
        for frame, (_, _, rgb) in zip(film, truth, strict=True):
            array = frame.to_numpy()
            assert array.shape == (180, 320, 3)
            assert psnr(array, rgb) > 30


def test_memory_of_a_converted_frame_is_ours_to_change(clip):
    with gs.open(clip, format="rgb24") as film:
        frame = film[3]
        array = frame.to_numpy()
        array[:] = 7
        assert (numpy.asarray(frame) == 7).all()
        assert numpy.from_dlpack(frame).__array_interface__["data"] == frame.__array_interface__["data"]
        assert film[4].to_numpy().std() > 0


def test_every_index_in_any_order(clip, truth):
    with gs.open(clip) as film:
        assert len(film) == 60
        for n in [*range(0, 60, 7), *range(59, -1, -11), -1, -60, 20, 19, 21, 0]:
            assert (film[n].to_numpy() == truth[n][1]).all(), n
        for part in (slice(10, 16), slice(None, None, 17), slice(50, 40, -3), slice(5, 5)):
            assert [f.to_numpy().tobytes() for f in film[part]] == [t[1].tobytes() for t in truth[part]]
        picked = [40, 3, 3, 59]
        assert [f.to_numpy().tobytes() for f in film.frames(picked)] == [truth[n][1].tobytes() for n in picked]
        for outside in (60, -61, 10**6):
            with pytest.raises(IndexError, match=f"frame {outside} of 60"):
                film[outside]


def test_every_time_finds_the_picture_shown_then(clip, truth):
    with gs.open(clip) as film:
        for n in [31, 5, 59, 0, 20, 19, 58]:
            for inside in (0.0, 0.02, 0.039):
                assert (film.frame_at(truth[n][0] + inside).to_numpy() == truth[n][1]).all(), (n, inside)
        film.seek(1.0)
        rest = [f.time for f in film]
        assert rest[0] == pytest.approx(1.0) and len(rest) == 35
        times = [2.0, 0.52, 2.0]
        assert [f.time for f in film.frames_at(times)] == pytest.approx(times)
        with pytest.raises(gs.Invalid, match="100"):
            film.frame_at(100)
        assert (film.frame_at(-1).to_numpy() == truth[0][1]).all()
        with pytest.raises(gs.Invalid):
            film.seek(float("nan"))


def test_reading_goes_on_where_it_stands(clip, truth):
    with gs.open(clip) as film:
        film[9]
        assert (next(iter(film)).to_numpy() == truth[10][1]).all()
        assert (film[11].to_numpy() == truth[11][1]).all()
        assert (film.read().to_numpy() == truth[12][1]).all()
        assert len(list(film)) == 47 and film.read() is None
        assert (film[0].to_numpy() == truth[0][1]).all()


def test_size_and_trim(clip, truth):
    with gs.open(clip, width=160, start=1, duration=0.4) as film:
        frames = list(film)
    assert [(f.width, f.height) for f in frames] == [(160, 90)] * 10
    assert frames[0].time == pytest.approx(truth[25][0])


def test_a_part_is_counted_from_its_first_picture(clip, truth):
    for options, first, last in (
        ({"start": 1, "duration": 0.4}, 25, 35),
        ({"start": 1.02, "to": 1.5}, 25, 38),
        ({"duration": 0.5}, 0, 13),
        ({"start": 2}, 50, 60),
        ({"start": 100}, 60, 60),
    ):
        wanted = [t[1].tobytes() for t in truth[first:last]]
        with gs.open(clip, **options) as film:
            assert len(film) == len(wanted), options
            assert [f.to_numpy().tobytes() for f in film[:]] == wanted, options
            for n in (0, -1, len(wanted) // 2) if wanted else ():
                assert film[n].to_numpy().tobytes() == wanted[n], (options, n)
            for outside in (len(wanted), -len(wanted) - 1):
                with pytest.raises(IndexError, match=f"frame {outside} of {len(wanted)}"):
                    film[outside]
        with gs.open(clip, **options) as film:
            assert [f.to_numpy().tobytes() for f in film] == wanted, options
    with gs.open("pattern:gradient?width=64&height=48&frames=50", start=1, duration=0.5) as film:
        assert (len(film), film[0].time) == (len(list(film)) + 1, pytest.approx(1))


def test_times_before_zero(clips):
    path = clips / "wrap.ts"
    # The clock of MPEG-TS ends a second after the clip begins: what is before is told in negative times.
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2.4", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "10"),
        *("-mpegts_copyts", "1", "-muxdelay", "0", "-output_ts_offset", "95442", "-f", "mpegts", path),
    )
    with gs.open(path) as film:
        times = [f.time for f in film]
        assert times[0] < -1 and times[-1] > 0
        for n in (31, 5, 59, 0, 20):
            assert film.frame_at(times[n] + 0.01).time == pytest.approx(times[n])
        for early in (-5000, float("-inf")):
            assert film.frame_at(early).time == pytest.approx(times[0])


def test_a_reader_without_a_length_is_listed_and_is_true(clip):
    with gs.open(clip, video=False, audio=True) as sound:
        assert len([*sound]) > 100 and sound
        with pytest.raises(gs.Unsupported) as e:
            len(sound)
        assert isinstance(e.value, TypeError)
    with gs.open("pattern:smpte?width=64&height=48") as film:
        assert film
        with pytest.raises(gs.Unsupported) as e:
            len(film)
        assert isinstance(e.value, TypeError) and "has no end" in str(e.value)
        first = iter(film)
        assert next(first) is not None
    for make in (list, tuple):
        with gs.open(clip) as film:
            assert len(make(film)) == 60


@pytest.mark.parametrize("options", [{"width": -1}, {"height": 2**32}, {"threads": -1}, {"video_stream": -1}])
def test_numbers_that_nothing_has_are_refused_by_name(clip, options):
    with pytest.raises(gs.Invalid, match=next(iter(options))):
        gs.open(clip, **options)


def test_sound_of_one_channel_is_samples_by_channels(clips):
    path = clips / "mono.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=440:r=48000:d=1", "-c:a", "aac", "-ac", "1", path)
    with gs.open(path, video=False, audio=True) as sound:
        frame = sound.read()
    assert frame.format == "fltp" and frame.channels == 1
    assert frame.to_numpy().shape == numpy.asarray(frame).shape == (frame.samples, 1)


def test_sound(clip):
    with gs.open(clip, audio=True) as film:
        kinds = [(f.is_video, f) for f in film]
    sound = [f for video, f in kinds if not video]
    assert sum(video for video, _ in kinds) == 60
    assert sum(f.samples for f in sound) == pytest.approx(2.4 * 48000, abs=2048)
    assert sound[0].channels == 2 and sound[0].to_numpy().shape == (sound[0].samples, 2)
    assert abs(sound[5].to_numpy()).max() > 0.05
    assert len(sound[0].planes) == 2 and "stereo" in repr(sound[0])


def samples_of(film):
    sound = [f for f in film if not f.is_video]
    return sound[0].time, numpy.concatenate([f.to_numpy() for f in sound])


def test_sound_of_a_part_is_cut_to_the_sample(clips, clip):
    path = clips / "noise.wav"
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=r=44100:d=3:seed=5", "-c:a", "pcm_s16le", path)
    with gs.open(path, video=False, audio=True) as film:
        _, whole = samples_of(film)
    for start, duration in ((0.95, 1.0), (0, 0.51), (2.5, 9), (1.23456, 0.0005)):
        first, last = round(start * 44100), min(round((start + duration) * 44100), len(whole))
        with gs.open(path, video=False, audio=True, start=start, duration=duration) as film:
            time, part = samples_of(film)
            assert time == pytest.approx(start, abs=1 / 44100)
            assert (part == whole[first:last]).all() and len(part) == last - first, (start, duration)
            # Back to the beginning, and to a place before it.
            film.seek(start)
            assert (samples_of(film)[1] == part).all()
            if start > 0.5:
                film.seek(start - 0.5)
                time, earlier = samples_of(film)
                assert time <= start - 0.5 < time + 0.1 and len(earlier) > len(part)
    with gs.open(clip, audio=True, start=0.95, duration=1) as film:
        time, part = samples_of(film)
        assert len(part) == pytest.approx(48000, abs=1) and time == pytest.approx(film.info["start"] + 0.95, abs=1 / 48000)
        film[0]
        assert len(samples_of(film)[1]) <= 48000


def test_info_and_probe(clip):
    with gs.open(clip) as film:
        assert film.duration == pytest.approx(2.4, abs=0.05)
        assert [s["kind"] for s in film.info["streams"]] == ["video", "audio"]
    found = gs.probe(clip, keyframes=True)
    video = found["streams"][0]
    assert video["codec"] == "h264" and video["video"]["width"] == 320
    assert len(video["keyframes"]) == 3
    with pytest.raises(FileNotFoundError):
        gs.probe("nowhere.mkv")


def test_the_pattern_is_a_source():
    with gs.open("pattern:gradient?width=64&height=48&frames=10", format="gray") as film:
        assert len(film) == 10 and film[9].to_numpy().shape == (48, 64)


def test_wrong_use(clip, tmp_path):
    with pytest.raises(gs.NotFound):
        gs.open(tmp_path / "nowhere.mkv")
    with pytest.raises(gs.Invalid, match="rgb25"):
        gs.open(clip, format="rgb25")
    with pytest.raises(gs.Invalid, match="crf"):
        gs.open(clip, crf=23)
    with pytest.raises(gs.Invalid, match="overwrite"):
        gs.probe(clip, overwrite=True)
    film = gs.open(clip)
    frame = film.read()
    film.close()
    film.close()
    for use in (film.read, lambda: film[1], lambda: film.seek(0), lambda: next(iter(film))):
        with pytest.raises(gs.State, match="closed"):
            use()
    assert frame.to_numpy().shape == (270, 320)
    with gs.open(clip, video=False, audio=True) as sound, pytest.raises(gs.Invalid):
        sound[0]


def test_a_reader_serves_one_thread_at_a_time(long_clip):
    refused = []

    def work():
        try:
            for _ in range(50):
                film.read()
                film.seek(1)
        except gs.Busy as e:
            refused.append(e)

    with gs.open(long_clip) as film:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert refused


def test_decoding_lets_other_threads_run(long_clip):
    counted, ended = 0, threading.Event()

    def count():
        nonlocal counted
        while not ended.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    begin = time.monotonic()
    with gs.open(long_clip) as film:
        assert len(film) == 1800
        film[1700]
    elapsed = time.monotonic() - begin
    ended.set()
    thread.join()
    assert counted > elapsed * 100


def test_ctrl_c_ends_a_read_that_hangs():
    class Silent(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(20)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = "import sys, ghoststream as gs; print('running', flush=True); gs.open(sys.argv[1])"
    url = f"http://127.0.0.1:{server.server_port}/a.mp4"
    child = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "running\n"
        time.sleep(0.7)
        child.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, errors = child.communicate(timeout=15)
        assert "KeyboardInterrupt" in errors and time.monotonic() - begin < 5
    finally:
        child.kill()
        server.shutdown()


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path, clip):
    broken = tmp_path / "broken.mkv"
    ffmpeg("-i", clip, "-c", "copy", broken)
    data = bytearray(broken.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    broken.write_bytes(data)
    with gs.open(broken) as film:
        assert 20 <= len(list(film)) <= 60


def test_times_are_those_of_the_files_own_clock(tmp_path, clip):
    late = tmp_path / "late.ts"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(clip), "-c", "copy", "-output_ts_offset", "100", str(late)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with gs.open(late) as film:
        first = next(iter(film))
        assert first.time > 99
        assert first.time == pytest.approx(film.info["start"], abs=0.05)
        begin = first.time
        assert film.frame_at(begin + 0.5).time == pytest.approx(begin + 0.5, abs=0.05)
        # Before all there is: the first.
        assert film.frame_at(1.0).time == begin


def test_arrays_stay_what_they_are_while_reading_goes_on(clip):
    """The memory of packed pictures is used again, but not while an array of it lives."""
    with gs.open(clip) as film:
        arrays = [frame.to_numpy() for frame in itertools.islice(film, 8)]
    copies = [array.copy() for array in arrays]
    arrays[0][:] = 1
    for array, copy in list(zip(arrays, copies))[1:]:
        assert (array == copy).all()


# --- bytes and file-like objects -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds(clips, clip):
    """The clip with its index at the end, and in other containers."""
    paths = [clip]
    for name in ("held.mkv", "held.ts"):
        ffmpeg("-i", clip, "-c", "copy", clips / name)
        paths.append(clips / name)
    return paths


def everything(film):
    """All pictures, then some by index and by time."""
    frames = list(film)
    assert len(film) == len(frames)
    frames += [film[n] for n in (31, 5, len(film) - 1, 0, 20, 19)]
    frames += [film.frame_at(frames[n].time + 0.01) for n in (47, 3, 21)]
    return [(f.time, f.to_numpy().tobytes()) for f in frames]


class Counting(io.BytesIO):
    def __init__(self, data):
        super().__init__(data)
        self.threads = set()

    def read(self, size=-1):
        self.threads.add(threading.get_ident())
        return super().read(size)


def test_bytes_and_objects_give_what_the_path_gives(kinds):
    for path in kinds:
        data = path.read_bytes()
        with gs.open(path) as film:
            truth = everything(film)
        assert len(truth) == 69
        counting = Counting(data)
        with open(path, "rb") as file, open(path, "rb", buffering=0) as raw:
            file.seek(77)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            sources = {
                "bytes": data,
                "bytearray": bytearray(data),
                "memoryview": memoryview(b"xx" + data)[2:],
                "numpy": numpy.frombuffer(data, numpy.uint8),
                "mmap": mapped,
                "BytesIO": counting,
                "file": file,
                "raw file": raw,
            }
            for name, source in sources.items():
                with gs.open(source) as film:
                    assert everything(film) == truth, (path, name)
            mapped.close()
        # In the caller's threads only.
        assert counting.threads == {threading.get_ident()} and not counting.closed
        for source in (data, io.BytesIO(data)):
            info = gs.probe(source, keyframes=True)
            expected = gs.probe(path, keyframes=True)
            assert info.pop("source") == "application bytes" and expected.pop("source") == str(path)
            assert info == expected


def test_options_of_bytes(clip):
    data = clip.read_bytes()
    with gs.open(data, start=0.8, duration=0.4, format="gray", width=160, input_format="mp4") as film:
        assert len(film) == 10 and film[0].time == pytest.approx(0.8)
        assert film[0].to_numpy().shape == (90, 160)
    for option in ({"protocols": ["http"]}, {"timeout": 3}, {"header": ["A: b"]}):
        with pytest.raises(gs.Invalid, match=next(iter(option))):
            gs.open(data, **option)
    with gs.open(data, audio=True, video=False) as film:
        assert sum(f.samples for f in film) >= 2.4 * 48000


def test_memory_is_held_until_closed(clip):
    data = bytearray(clip.read_bytes())
    film = gs.open(data)
    frame = film[3]
    with pytest.raises(BufferError):
        data.append(0)
    film.close()
    data.append(0)
    assert frame.to_numpy().shape == (270, 320)
    with pytest.raises(gs.State):
        film.read()
    film = gs.open(data)
    del film
    data.append(0)


def test_what_is_no_file(tmp_path, clip):
    with pytest.raises(TypeError, match="int is no path"):
        gs.open(5)
    with pytest.raises(TypeError, match="object is no path"):
        gs.probe(object())
    with pytest.raises(gs.Invalid, match="items of 4 bytes"):
        gs.open(numpy.zeros(100, numpy.float32))
    with pytest.raises(gs.Invalid, match="do not follow one another"):
        gs.open(numpy.zeros(100, numpy.uint8)[::2])
    with pytest.raises(BufferError):
        gs.open(numpy.zeros(100, numpy.uint8)[::-1])
    for nothing in (b"", b"no film" * 1000, io.BytesIO(b"")):
        with pytest.raises(gs.Format, match="application bytes"):
            gs.open(nothing)
    with subprocess.Popen(["cat", clip], stdout=subprocess.PIPE) as cat:
        with pytest.raises(gs.Unsupported, match="cannot seek"):
            gs.open(cat.stdout)
        cat.stdout.read()
    text = tmp_path / "a.txt"
    text.write_text("words\n" * 100)
    with open(text) as file, pytest.raises(gs.Io, match="binary mode") as raised:
        gs.open(file)
    assert isinstance(raised.value.__cause__, TypeError)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{clip}\n#EXT-X-ENDLIST\n".encode()
    with pytest.raises(gs.Error):
        gs.open(playlist)


class Breaking(io.BytesIO):
    left = 10**9

    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("the bucket is gone")
        return super().read(size)


def test_an_exception_of_the_object_is_the_cause(clips):
    # Noise: more than any buffer holds.
    for name in ("noise.mp4", "noise.mkv", "noise.ts"):
        path = clips / name
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2.4,noise=alls=60:allf=t", "-pix_fmt", "yuv420p"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-crf", "10", path),
        )
        for operation in (list, len, lambda film: film[-1], lambda film: film.frame_at(2.0)):
            source = Breaking(path.read_bytes())
            with gs.open(source) as film:
                # What was read ahead.
                film.read()
                source.left = 0
                with pytest.raises(gs.Io, match="application bytes: ConnectionError: the bucket is gone") as raised:
                    for _ in range(20):
                        operation(film)
                assert isinstance(raised.value.__cause__, ConnectionError)
                assert isinstance(raised.value, OSError)
                # It works again.
                source.left = 10**9
                film.seek(film.info["start"] or 0)
                assert len(list(film)) == 60 and len(film) == 60
        source.left = 0
        with pytest.raises(gs.Io) as raised:
            gs.open(source)
        assert isinstance(raised.value.__cause__, ConnectionError)
        with pytest.raises(gs.Io) as raised:
            gs.probe(source)
        assert isinstance(raised.value.__cause__, ConnectionError)


def test_ctrl_c_within_the_object_is_itself(clip):
    class Interrupted(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            if self.reads == 1:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        gs.open(Interrupted(clip.read_bytes()))
    with pytest.raises(KeyboardInterrupt):
        gs.probe(Interrupted(clip.read_bytes()))


def test_closing_while_iterating_an_object(kinds):
    for path in kinds:
        film = gs.open(io.BytesIO(path.read_bytes()))
        with pytest.raises(gs.State, match="closed"):
            for n, _ in enumerate(film):
                if n == 7:
                    film.close()
        assert n == 7

    class Slow(io.BytesIO):
        def read(self, size=-1):
            time.sleep(0.02)
            return super().read(size)

    film = gs.open(Slow(kinds[2].read_bytes()))
    closer = threading.Timer(0.1, film.close)
    closer.start()
    with pytest.raises((gs.Cancelled, gs.State)):
        while True:
            film.seek(0.0)
            list(film)
    closer.join()


def test_threads_share_bytes_and_have_objects_of_their_own(clip, truth):
    data = clip.read_bytes()
    wrong = []

    def run(source):
        try:
            for _ in range(3):
                with gs.open(source) as film:
                    for n in (40, 3, 59, 21):
                        assert (film[n].to_numpy() == truth[n][1]).all()
                    film.seek(0)
                    assert len(list(film)) == 60
        except BaseException as e:
            wrong.append(e)

    threads = [threading.Thread(target=run, args=(s,)) for s in (data, data, io.BytesIO(data), io.BytesIO(data))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def test_a_program_ends_with_a_film_of_an_object_open(clip):
    code = """
import io, sys
import ghoststream as gs
film = gs.open(io.BytesIO(open(sys.argv[1], "rb").read()))
frames = iter(film)
next(frames)
kept = gs.open(open(sys.argv[1], "rb").read())
next(iter(kept))
print("end")
"""
    done = subprocess.run([sys.executable, "-c", code, str(clip)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
