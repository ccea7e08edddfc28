"""Exceptions: the right class, the builtin that it also is, the field or file by name."""

from __future__ import annotations

import pytest
from conftest import ffmpeg

import ghoststream as gs


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (gs.Invalid, ValueError),
        (gs.Unsupported, NotImplementedError),
        (gs.NotFound, FileNotFoundError),
        (gs.Memory, MemoryError),
        (gs.Io, OSError),
        (gs.Format, ValueError),
        (gs.Denied, PermissionError),
        (gs.Timeout, TimeoutError),
        (gs.State, RuntimeError),
        (gs.Busy, RuntimeError),
        (gs.Device, RuntimeError),
        (gs.Internal, RuntimeError),
        (gs.Cancelled, gs.Error),
    ],
)
def test_each_kind_is_a_builtin_too(kind, builtin):
    e = kind("why")
    assert isinstance(e, builtin) and isinstance(e, gs.Error) and str(e) == "why"
    assert gs._errors.from_kind(e.kind, "why").__class__ is kind


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.mkv") as e:
        gs.transcode(tmp_path / "nowhere.mkv", tmp_path / "out.mp4")
    assert e.value.kind == "not_found"
    assert not (tmp_path / "out.mp4").exists()


def test_a_file_that_is_no_media(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("This is not a film. " * 500)
    with pytest.raises(gs.Format, match="text.mp4"):
        gs.transcode(text, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == [text]


def test_a_truncated_file(tmp_path, clip):
    cut = tmp_path / "cut.mkv"
    ffmpeg("-i", clip, "-c", "copy", cut)
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(gs.Error, match="cut.mkv"):
        gs.transcode(cut, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"source": {"url": "a"}, "outputs": [{"path": "b.mp4", "video": {"crf": "x"}}]}, r"outputs\[0\]\.video"),
        ({"source": {"url": "a"}, "outputs": [{"path": "b.mp4", "colour": 1}]}, "colour"),
        ({"source": {"url": "a", "timeout": float("nan")}, "outputs": [{"path": "b.mp4"}]}, "NaN|timeout|expected"),
        ({"source": {}, "outputs": [{"path": "b.mp4"}]}, "source"),
        ({"source": {"url": "a"}, "outputs": []}, "outputs"),
        ("{", "EOF"),
        ("[]", "invalid|source"),
        ({"source": ["a.mkv"], "outputs": [{"path": "b.mp4"}]}, "^source: invalid type: sequence"),
        ({"source": {"url": "a"}, "outputs": [{"path": "b.mp4", "video": {"preset": {"p1": None}}}]}, "preset: invalid type: map"),
        ('{"source": {"url": "a", "url": "b"}, "outputs": [{"path": "b.mp4"}]}', "^source.url: duplicate"),
        ({"source": {"pattern": {}, "salvage": True}, "outputs": [{"path": "b.mp4"}]}, "^source.salvage: "),
    ],
)
def test_a_wrong_document_names_the_field(spec, path):
    with pytest.raises(gs.Invalid, match=path):
        gs.Pipeline(spec)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"crf": 23, "bitrate": "2M"}, "crf|bitrate"),
        ({"no_such_option": 1}, "no_such_option"),
        ({"max_bitrate": "fast"}, "max_bitrate"),
        ({"preset": "p9"}, "preset"),
        ({"events": "json"}, "events"),
        ({"audio": "opus:loud"}, "audio"),
    ],
)
def test_a_wrong_option_is_named_as_python_wrote_it(options, named, tmp_path):
    with pytest.raises(gs.Invalid, match=named) as e:
        gs.transcode("in.mkv", tmp_path / "out.mp4", **options)
    assert "--" not in str(e.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps: 0 is not within 0 to 1000"),
        ({"fps": -1}, "fps: -1 is not within"),
        ({"fps": float("nan")}, "fps: nan is not a frame rate"),
        ({"fps": float("inf")}, "fps: inf is not a frame rate"),
        ({"fps": "abc"}, "fps: 'abc' is not a frame rate"),
        ({"fps": "1/0"}, "fps: '1/0' is not a frame rate"),
        ({"fps": None}, "fps: None is not a frame rate"),
        ({"bogus": 1}, "bogus: unknown field `bogus`, expected one of "),
        ({"crf": "x"}, 'crf: invalid type: string "x", expected f64'),
        ({"options": {"a": None}}, "options"),
    ],
)
def test_a_wrong_argument_is_named_as_it_was_given(options, message, tmp_path):
    for make in (gs.Encoder, lambda **o: gs.open(tmp_path / "out.mp4", "w", **o)):
        with pytest.raises(gs.Invalid) as e:
            make(**options)
        assert str(e.value).startswith(message) and "column" not in str(e.value), e.value


def test_wrong_calls():
    with pytest.raises(TypeError):
        gs.transcode("a")
    with pytest.raises(TypeError):
        gs.transcode("a", "b", spec={})
    with pytest.raises(gs.Invalid):
        gs.Encoder(codec="h264", quality=3)
    with pytest.raises(gs.State, match="first picture"):
        gs.Encoder().set(bitrate=1000)


def test_an_existing_output_is_kept(tmp_path, clip):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    with pytest.raises(gs.Error, match="out.mp4"):
        gs.transcode(clip, out)
    assert out.read_bytes() == b"mine"
    assert gs.transcode(clip, out, overwrite=True).outcome == "completed"
