"""Numpy in: packets and files out, checked by PyAV and FFmpeg."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy
import pytest
from conftest import peer, probe, psnr

import ghoststream as gs

av = peer("av")


def pictures(count, width=320, height=180):
    """Smooth pictures, each another."""
    y, x = numpy.mgrid[0:height, 0:width]
    for n in range(count):
        planes = ((x + 4 * n) % 256, (y + 2 * n) % 256, (x + y) // 2 % 256)
        yield numpy.stack(planes, axis=-1).astype(numpy.uint8)


def decoded(path, format="rgb24"):
    with av.open(str(path)) as container:
        return [f.to_ndarray(format=format) for f in container.decode(video=0)]


@pytest.mark.parametrize(
    ("codec", "format", "pixel_format"),
    [("ffv1", "gray", "gray"), ("ffv1", "yuv420p", "yuv420p"), ("ffv1", "yuv444p10le", None), ("h264", "yuv420p", None)],
)
def test_a_lossless_round_trip_is_exact(tmp_path, codec, format, pixel_format):
    deep = format.endswith("10le")
    shape = {"gray": (90, 160), "yuv420p": (135, 160), "yuv444p10le": (3, 90, 160)}[format]
    rng = numpy.random.default_rng(5)
    given = [rng.integers(0, 1024 if deep else 256, shape, dtype=numpy.uint16 if deep else numpy.uint8) for _ in range(5)]
    path = tmp_path / "out.mkv"
    options = {"lossless": True} if codec == "h264" else {}
    with gs.open(path, "w", fps=25, codec=codec, pixel_format=format, **options) as film:
        for picture in given:
            film.write(picture)
    with gs.open(path, format=pixel_format) as film:
        back = list(film)
    assert [f.format for f in back] == [format] * 5
    for frame, picture in zip(back, given):
        assert (frame.to_numpy() == picture).all()
    assert [f.time for f in back] == pytest.approx([n / 25 for n in range(5)], abs=0.001)


def test_rgb_becomes_a_film_that_others_read(tmp_path):
    path = tmp_path / "out.mp4"
    with gs.open(path, "w", fps=29.97, crf=12) as film:
        for picture in pictures(30):
            film.write(picture)
    assert probe(path, "stream=codec_name,r_frame_rate,nb_frames") == ["h264,30000/1001,30"]
    back = decoded(path)
    assert len(back) == 30
    for ours, theirs in zip(pictures(30), back):
        assert psnr(ours, theirs) > 30


def test_sound_beside_the_picture(tmp_path):
    path = tmp_path / "out.mp4"
    tone = (0.2 * numpy.sin(numpy.arange(48000) * 2 * numpy.pi * 440 / 48000)).astype(numpy.float32)
    with gs.open(path, "w", fps=25, crf=30, sample_rate=48000, audio="aac") as film:
        for n, picture in enumerate(pictures(25)):
            film.write(picture)
            film.write_audio(numpy.stack([tone, tone], axis=-1)[n * 1920 : (n + 1) * 1920])
    assert probe(path, "stream=codec_name") == ["h264", "aac"]
    durations = [float(d) for d in probe(path, "stream=duration")]
    assert durations == pytest.approx([1, 1], abs=0.05)
    with gs.open(path, video=False, audio=True) as sound:
        heard = numpy.concatenate([f.to_numpy()[:, 0] for f in sound])
    peak = numpy.argmax(numpy.abs(numpy.fft.rfft(heard[4800:43200])))
    assert peak * 48000 / 38400 == pytest.approx(440, abs=3)


def test_sound_alone(tmp_path):
    path = tmp_path / "out.flac"
    noise = numpy.random.default_rng(6).integers(-20000, 20000, (10000, 1), dtype=numpy.int16)
    with gs.open(path, "w", video=False, sample_rate=44100) as film:
        film.write_audio(noise[:6000])
        film.write_audio(noise[6000:])
    with gs.open(path, video=False, audio=True) as sound:
        assert (numpy.concatenate([f.to_numpy() for f in sound]) == noise).all()


def test_an_exception_removes_the_file(tmp_path):
    with pytest.raises(KeyError), gs.open(tmp_path / "out.mp4", "w") as film:
        for picture in pictures(40):
            film.write(picture)
        raise KeyError
    assert not list(tmp_path.iterdir())
    with gs.open(tmp_path / "empty.mp4", "w"):
        pass
    assert not list(tmp_path.iterdir())


def test_wrong_use_of_a_writer(tmp_path):
    with pytest.raises(gs.Invalid, match="quality"):
        gs.open(tmp_path / "a.mp4", "w", quality=3)
    with pytest.raises(gs.Invalid):
        gs.open(tmp_path / "a.mp4", "w", video=False)
    with pytest.raises(gs.Invalid, match="mode"):
        gs.open(tmp_path / "a.mp4", "a")
    with gs.open(tmp_path / "a.mp4", "w") as film, pytest.raises(gs.State):
        film.write_audio(numpy.zeros(100, numpy.int16))
    with pytest.raises(gs.State):
        film.write(next(pictures(1)))
    with pytest.raises(gs.Error), gs.open(tmp_path / "no" / "folder.mp4", "w") as film:
        for picture in pictures(30):
            film.write(picture)


def test_an_encoder_gives_packets_that_decode(tmp_path):
    with gs.Encoder(codec="h264", fps=25, crf=12, gop=10) as encoder:
        packets = [p for picture in pictures(25) for p in encoder.encode(picture)]
        assert encoder.stream["codec"] == "h264" and encoder.stream["width"] == 320
        packets += encoder.encode()
        with pytest.raises(gs.State):
            encoder.encode(next(pictures(1)))
    assert len(packets) == 25 and packets[0].is_keyframe
    assert packets[0].picture_type == "I" and {p.picture_type for p in packets} <= {"I", "P", "B"}
    # x264 says 0, which is no answer, of pictures in which everything is skipped, and with several threads nothing of its first ones.
    told = [p.qp for p in packets if p.qp is not None]
    assert told and all(0 < qp <= 51 for qp in told), told
    assert all(p.gpu_time is None for p in packets)
    assert sorted(round(p.time * 25) for p in packets) == list(range(25))
    path = tmp_path / "out.h264"
    with path.open("wb") as file:
        for packet in packets:
            file.write(packet)
    for ours, theirs in zip(pictures(25), decoded(path), strict=True):
        assert psnr(ours, theirs) > 30


def test_each_packet_tells_the_quantiser_of_its_picture():
    # A texture that moves under a little noise: pictures are predicted from others, and no block is skipped.
    random = numpy.random.default_rng(1)
    texture = random.integers(20, 230, (180, 320, 3), numpy.int16)
    moved = (numpy.roll(texture, 2 * n, axis=1) + random.integers(-9, 10, texture.shape) for n in range(20))
    film = [picture.astype(numpy.uint8) for picture in moved]
    # With several threads x264 tells the quantiser of the picture that the next thread is at: those of its first ones are lost.
    for threads in (1, 3):
        with gs.Encoder(codec="h264", fps=25, qp=20, b_frames=2, gop=10, threads=threads) as encoder:
            packets = [p for picture in film for p in encoder.encode(picture)] + list(encoder.encode())
        assert len(packets) == 20
        assert [p.qp is None for p in packets] == [n < threads - 1 for n in range(20)]
        told = {kind: {p.qp for p in packets[threads - 1 :] if p.picture_type == kind} for kind in "IPB"}
        # x264's own factors between the kinds: 1.4 and 1.3, in quantisers; B pictures that others refer to are in between.
        assert (told["I"], told["P"]) == ({17}, {20}) and told["B"] <= {21, 22}, told
    with gs.Encoder(codec="h264", fps=25, bitrate="300k", gop=10, threads=1) as encoder:
        packets = [p for picture in film for p in encoder.encode(picture)] + list(encoder.encode())
    assert len(packets) == 20 and all(0 < p.qp <= 51 for p in packets), [p.qp for p in packets]
    assert max(p.qp for p in packets) > 30, [p.qp for p in packets]


def test_length_prefixed_packets_and_their_record():
    with gs.Encoder(320, 180, codec="h264", format="rgb24", bitstream="length_prefixed") as encoder:
        packets = list(encoder.encode_all(pictures(5)))
        assert encoder.extradata[0] == 1
    assert int.from_bytes(bytes(packets[0])[:4], "big") < packets[0].size


def test_times_and_key_frames_are_as_asked():
    with gs.Encoder(fps=Fraction(50), codec="h264", gop=1000, tune="ull") as encoder:
        packets = []
        for n, picture in enumerate(pictures(12)):
            packets += encoder.encode(picture, pts=2 * n, key_frame=n == 7)
        packets += encoder.encode()
    assert [p.time for p in packets] == pytest.approx([n / 25 for n in range(12)])
    assert [n for n, p in enumerate(packets) if p.is_keyframe] == [0, 7]


def test_an_array_can_be_used_again_at_once(tmp_path):
    path = tmp_path / "out.mkv"
    canvas = numpy.zeros((64, 64), numpy.uint8)
    with gs.open(path, "w", codec="ffv1") as film:
        for n in range(40):
            canvas[:] = n
            film.write(canvas)
    with gs.open(path) as film:
        assert [int(f.to_numpy()[0, 0]) for f in film] == list(range(40))


def test_frames_are_encoded_without_a_copy():
    import gc
    import weakref

    class Array(numpy.ndarray):
        pass

    array = numpy.zeros((180, 320, 3), numpy.uint8).view(Array)
    gone = weakref.ref(array)
    with gs.Encoder(codec="h264", tune="ull") as encoder:
        encoder.encode(gs.Frame.from_numpy(array))
        encoder.encode()
        del array
    gc.collect()
    assert gone() is None, "the engine has given the memory back"


def test_decoded_frames_go_into_an_encoder(tmp_path, clip):
    with gs.open(clip) as film, gs.open(tmp_path / "out.mkv", "w", codec="ffv1") as copy:
        for frame in film:
            copy.write(frame)
    with gs.open(clip) as a, gs.open(tmp_path / "out.mkv") as b:
        for x, y in zip(a, b, strict=True):
            assert (x.to_numpy() == y.to_numpy()).all() and x.time == pytest.approx(y.time, abs=0.001)


def test_a_failing_encoder_says_why():
    with pytest.raises(gs.Error, match="(?i)no_such|libno"), gs.Encoder(encoder="libno_such") as encoder:
        for picture in pictures(30):
            encoder.encode(picture)
        encoder.encode()


def test_closing_early_and_dropping_do_not_hang():
    begin = time.monotonic()
    for close in (True, False):
        encoder = gs.Encoder(codec="h264")
        for picture in pictures(10):
            encoder.encode(picture)
        if close:
            encoder.close()
        del encoder
    assert time.monotonic() - begin < 10


def test_ctrl_c_while_encoding():
    code = """
import numpy, ghoststream as gs
picture = numpy.zeros((720, 1280, 3), numpy.uint8)
with gs.Encoder(codec="h264", preset="p7") as encoder:
    print("running", flush=True)
    while True:
        encoder.encode(picture)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "running\n"
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors


def test_times_that_go_back_are_told():
    blank = numpy.zeros((64, 64, 3), numpy.uint8)
    with gs.Encoder(codec="h264", fps=25) as encoder:
        for pts in (0, 1, 2, 1, 3):
            encoder.encode(blank, pts=pts)
        encoder.encode()
        told = [e.message for e in encoder.job if e.type == "warning"]
    assert len(told) == 1 and told[0].startswith("frame.pts: 0.040000 s does not come after 0.080000 s")
    with pytest.raises(gs.Invalid, match="frame.pts"):
        with gs.Encoder(codec="h264", fps=25, fallback=False) as encoder:
            for pts in (0, 1, 2, 1, 3):
                encoder.encode(blank, pts=pts)
            encoder.encode()


def test_sound_is_no_picture():
    sound = gs.Frame.from_samples(numpy.zeros((1024, 2), numpy.int16), 48000)
    with gs.Encoder(codec="h264") as encoder:
        encoder.encode(numpy.zeros((64, 64, 3), numpy.uint8))
        with pytest.raises(gs.Invalid, match="frame: sound"):
            encoder.encode(sound)
        assert len(encoder.encode()) == 1
    with gs.Encoder(codec="h264") as encoder, pytest.raises(gs.Invalid, match="frame: sound"):
        encoder.encode(sound)


def test_a_colon_in_a_name_makes_no_address_of_it(tmp_path, monkeypatch, clip):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "http:c.mkv", "12:30.ts", "tee:d.mp4", "e:f:g.mov", "pipe:1.mkv", "C:x.webm"):
        with gs.open(name, "w", codec="vp9" if name.endswith("webm") else "h264", preset="p1") as film:
            for picture in pictures(12):
                film.write(picture)
        with gs.open(name) as film:
            assert len(film) == 12, name
        with pytest.raises(gs.Invalid) as raised, gs.open(name, "w") as film:
            film.write(numpy.zeros((64, 64, 3), numpy.uint8))
        assert str(raised.value) == f"outputs[0].path: {name}: exists; say overwrite to replace it"
    gs.transcode(clip, "y:z.mp4", video="copy", audio="copy")
    gs.transcode(clip, "file:plain.mp4", video="copy", audio="copy")
    made = sorted(p.name for p in tmp_path.iterdir())
    assert made == ["12:30.ts", "C:x.webm", "a:b.mp4", "e:f:g.mov", "http:c.mkv", "pipe:1.mkv", "plain.mp4", "tee:d.mp4", "y:z.mp4"]
