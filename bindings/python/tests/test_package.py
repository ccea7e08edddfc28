"""The package as it is installed: one wheel for all Pythons, typed, documented, usable in a clean environment."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest
from conftest import probe

import ghoststream as gs

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "python"


def wheel() -> Path:
    target = Path(os.environ.get("GS_TARGET_DIR", ROOT / "target"))
    found = sorted(target.glob("wheels/*/ghoststream-*.whl"), key=lambda p: p.stat().st_mtime)
    if not found:
        pytest.skip("no wheel in target/wheels: make wheel builds it")
    return found[-1]


def test_one_wheel_serves_every_python_from_3_10_on():
    assert "-cp310-abi3-" in wheel().name


def test_a_clean_environment(tmp_path, clip):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "--no-index", "--disable-pip-version-check", wheel()]
    subprocess.run(install, check=True, timeout=120)
    code = """
import sys, ghoststream as gs
gs.transcode(sys.argv[1], sys.argv[2], video="h264", crf=30, preset="p1")
gs.transcode(sys.argv[1], sys.argv[3], video="copy", audio=False)
frame = gs.Frame.from_numpy(bytes(48), "rgb24", width=4, height=4)
assert memoryview(frame).shape == (4, 4, 3)
assert "numpy" not in sys.modules
"""
    outputs = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    subprocess.run([python, "-I", "-c", code, clip, *outputs], check=True, timeout=120, cwd=tmp_path)
    assert probe(outputs[0], "stream=codec_name") == ["h264", "aac"]
    script = tmp_path / "venv" / "bin" / "ghoststream"
    version = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert gs.version in version.stdout


def test_everything_public_is_documented():
    for name in gs.__all__:
        thing = getattr(gs, name)
        if not callable(thing):
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize(
    ("program", "arguments", "made"),
    [
        ("transcode.py", ["{clip}", "{out}/film.mp4"], "film.mp4"),
        ("ladder.py", ["{clip}", "{out}/ladder"], "ladder/master.m3u8"),
        ("encode_numpy.py", ["{out}/pattern.mp4"], "pattern.mp4"),
        ("read_frames.py", ["{clip}", "{out}"], "frame-59.ppm"),
        ("probe.py", ["{clip}"], None),
        ("record.py", ["pattern", "{out}/film-{{n}}.mp4", "1.5"], "film-2.mp4"),
    ],
)
def test_examples(program, arguments, made, tmp_path, clip):
    filled = [a.format(clip=clip, out=tmp_path) for a in arguments]
    command = [sys.executable, EXAMPLES / program, *filled]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    if made:
        assert (tmp_path / made).stat().st_size > 0
    # A wrong call ends with a message, not with a traceback.
    missing = subprocess.run([*command[:2], "nowhere/in.mkv", "nowhere/out"], capture_output=True, text=True, timeout=60)
    assert missing.returncode != 0 and "Traceback" not in missing.stderr and missing.stderr


def test_the_server_example(tmp_path, clip):
    shutil.copy(clip, tmp_path / "film.mp4")
    command = [sys.executable, EXAMPLES / "serve.py", tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        url = running.stdout.readline().strip()
        body = json.dumps({"source": str(tmp_path / "film.mp4")}).encode()
        with urllib.request.urlopen(f"{url}/api/transcode/start", body, timeout=60) as answer:
            stream = json.load(answer)["stream_url"]
        with urllib.request.urlopen(stream, timeout=60) as answer:
            assert b"#EXT-X-ENDLIST" in answer.read()
        running.communicate("", timeout=60)
    assert running.returncode == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_the_replay_example(tmp_path):
    command = [sys.executable, EXAMPLES / "replay.py", "pattern", tmp_path / "r-{n}.mkv", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        time.sleep(2)
        said, _ = running.communicate("\n\n", timeout=60)
    assert running.returncode == 0
    assert said.split() == [str(tmp_path / "r-1.mkv"), str(tmp_path / "r-2.mkv")]
    assert all((tmp_path / name).stat().st_size > 0 for name in ("r-1.mkv", "r-2.mkv"))
