"""`ghoststream serve --profile gstreamer|hls-dash`: the variables and flags of the services that it replaces, on servers of this
file's own. Ports are chosen here, except 8083 and 8084, which nothing moves.

    profiles.py    GS_CLI, GS_LIVE_WORK
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import subprocess
import sys
import time

import serving
from serving import CLI, WORK, call, listed, port, until

CONFIG = """
live: {rtmp_port: %(rtmp)d, srt_port: null, webrtc_port: 0}
"""

# Every name of the two services' figures, contracts.md parts 4 and 5.
FIGURES = """
streaming_active_streams streaming_ffmpeg_processes streaming_cpu_percent streaming_memory_bytes
media_processor_active_pipelines media_processor_pipeline_events_total media_processor_webrtc_signals_processed_total
media_processor_pipeline_cpu_usage media_processor_pipeline_memory_usage_bytes media_processor_frame_processing_latency_ms
media_processor_video_bitrate_kbps media_processor_frame_rate_fps media_processor_video_resolution
media_processor_audio_bitrate_kbps media_processor_audio_sample_rate_hz media_processor_pipeline_health_score
media_processor_webrtc_connection_time_seconds
""".split()


class Server(serving.Server):
    """A server with an environment and flags, whose port `up` answers."""

    all: list[Server] = []

    def __init__(self, name: str, flags: list[str], variables: dict[str, object], up: int) -> None:
        self.rtmp = port()
        super().__init__(CONFIG % {"rtmp": self.rtmp}, work=WORK / name, flags=["--log-format", "json", *flags], variables=variables, up=up)
        Server.all.append(self)

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def variables() -> None:
    """The GStreamer service by its environment."""
    api, figures, page = port(), port(), "http://page.example"
    environment = {
        "API_PORT": api, "METRICS_PORT": figures, "CORS_ORIGINS": f"{page},http://other.example", "LOG_LEVEL": "WARNING",
        "ENABLE_RECORDING": "true", "RECORDING_PATH": WORK / "variables" / "rec", "GST_DEBUG": 0, "USE_KAFKA": "false",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "BACKEND_API_URL": "http://backend:8000",
    }  # fmt: skip
    server = Server("variables", ["--profile", "gstreamer", "--test-pipeline"], environment, api)
    base = f"http://127.0.0.1:{api}"
    said = server.lines()
    assert any("BACKEND_API_URL is not used" in line["message"] for line in said), said
    # The runner's test pipeline.
    state = lambda name: call("GET", f"{base}/streams/{name}/status")[1].get("state")
    until("the test pipeline runs", lambda: state("test") == "running")
    # Pages: those that may, and others.
    status, _, headers = call("OPTIONS", f"{base}/streams", Origin=page, Access_Control_Request_Method="POST")
    assert status == 200 and headers["Access-Control-Allow-Origin"] == page, (status, headers)
    assert "PUT" in headers["Access-Control-Allow-Methods"], headers
    status, _, headers = call("OPTIONS", f"{base}/streams", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert status == 400 and headers["Access-Control-Allow-Origin"] is None, (status, headers)
    assert call("GET", f"{base}/streams", Origin=page)[2]["Access-Control-Allow-Origin"] == page
    assert call("POST", f"{base}/streams/test/stop", Origin="http://evil.example")[0] == 403
    assert state("test") == "running"
    # The example of the service's own README, which it refused.
    example = {
        "stream_id": "test-stream-1", "source_type": "rtmp", "source_url": "live/mystream", "output_type": "rtmp",
        "output_url": "rtmp://target-server/live/mystream", "width": 1280, "height": 720, "framerate": 30,
        "bitrate": 2000000, "is_recording": True,
    }  # fmt: skip
    status, answer, _ = call("POST", f"{base}/streams", example)
    assert status == 201 and answer["status"] == "created", answer
    assert call("DELETE", f"{base}/streams/test-stream-1")[0] == 200
    # A recording without a path is found by the stream's name.
    body = {"stream_id": "kept", "source_type": "test", "output_type": "webrtc", "output_url": "", "width": 320, "height": 180}
    assert call("POST", f"{base}/streams", {**body, "is_recording": True})[0] == 201
    assert call("POST", f"{base}/streams/kept/start")[0] == 200
    until("it is recorded", lambda: list((WORK / "variables" / "rec" / "kept").glob("*.mp4")))
    # What the service's own runner asks for: a file anywhere. It is below the recordings, and the answer says so.
    theirs = {"stream_id": "theirs", "source_type": "test", "output_type": "file", "width": 320, "height": 180, "framerate": 30}
    # As that runner does: over one connection object, the first answer not read.
    runner = http.client.HTTPConnection("localhost", api, timeout=20)
    kind = {"Content-type": "application/json"}
    runner.request("POST", "/streams", json.dumps({**theirs, "output_url": "/tmp/test_stream_theirs.mp4"}), kind)
    assert runner.getresponse().status == 201
    runner.request("POST", "/streams/theirs/start", "", kind)
    assert runner.getresponse().status == 200
    status, answer, _ = call("POST", f"{base}/streams", {**theirs, "stream_id": "more", "output_url": "/tmp/more.mp4"})
    assert status == 201 and "rec/more" in answer["message"], answer
    assert call("DELETE", f"{base}/streams/more")[0] == 200
    until("its file is there", lambda: list((WORK / "variables" / "rec" / "test_stream_theirs").glob("*.mp4")))
    assert call("DELETE", f"{base}/streams/theirs")[0] == 200
    status, answer, _ = call("POST", f"{base}/streams", {**theirs, "output_url": "/tmp/../etc/x.mp4"})
    assert status == 400 and "below" in answer["detail"], answer
    # The port for figures, and every name on it.
    for path in ("/metrics", "/"):
        status, text, headers = call("GET", f"http://127.0.0.1:{figures}{path}")
        assert status == 200 and headers["Content-Type"].startswith("text/plain"), (status, headers)
    names = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    assert not set(FIGURES) - names, set(FIGURES) - names
    line = lambda name, labels="": re.search(rf"^{name}{re.escape(labels)} (\S+)$", call("GET", f"http://127.0.0.1:{figures}/metrics")[1], re.M)
    until("a health score", lambda: (m := line("media_processor_pipeline_health_score", '{stream_id="test"}')) and m[1] == "100")
    assert line("media_processor_pipeline_events_total", '{stream_id="kept",event_type="start"}')[1] == "1"
    assert line("media_processor_video_resolution", '{stream_id="test"}')[1] == str(640 * 480)
    assert line("media_processor_audio_sample_rate_hz", '{stream_id="test"}')[1] in ("44100", "48000")
    until("CPU is measured", lambda: float(line("media_processor_pipeline_cpu_usage", '{stream_id="test"}')[1]) > 0)
    assert float(line("media_processor_pipeline_memory_usage_bytes", '{stream_id="test"}')[1]) > 1 << 20
    assert call("GET", f"http://127.0.0.1:{figures}/health")[0] == 200
    assert call("GET", f"http://127.0.0.1:{figures}/api/stats")[0] == 404
    assert call("GET", f"{base}/metrics")[0] == 404
    assert not [line for line in server.lines() if line["target"] == "ffmpeg"], "GST_DEBUG=0"
    assert not [line for line in server.lines() if line["level"] in ("INFO", "DEBUG")], "LOG_LEVEL"
    assert "kafka" not in call("GET", f"http://127.0.0.1:{figures}/metrics")[1], "USE_KAFKA"
    server.end()


def flags() -> None:
    """The GStreamer service by its runner's flags, which win over the environment."""
    api, figures, kept = port(), port(), WORK / "flags" / "rec"
    given = ["--profile", "gstreamer", "--log-level", "CRITICAL", "--api-port", str(api), "--metrics-port", str(figures)]
    given += ["--enable-recording", "--recording-path", str(kept), "--no-kafka", "--gst-debug-level", "9"]
    environment = {"API_PORT": port(), "METRICS_PORT": port(), "GST_DEBUG": 0, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    server = Server("flags", given, environment, api)
    base = f"http://127.0.0.1:{api}"
    body = {
        "stream_id": "a", "source_type": "test", "output_type": "file", "output_url": "a.mkv", "width": 320, "height": 180,
        "bitrate": 200000,
    }  # fmt: skip
    assert call("POST", f"{base}/streams", body)[0] == 201
    assert call("POST", f"{base}/streams/a/start")[0] == 200
    until("it is recorded", lambda: list(kept.rglob("*.mkv")))
    until("the media libraries speak", lambda: any(line["target"] == "ffmpeg" for line in server.lines()))
    assert not [line for line in server.lines() if line["target"] != "ffmpeg" and line["level"] != "ERROR"], "CRITICAL"
    until("a pipeline", lambda: "media_processor_active_pipelines 1" in call("GET", f"http://127.0.0.1:{figures}/metrics")[1])
    assert call("POST", f"{base}/streams/a/stop")[0] == 200
    server.end()


def refused() -> None:
    """What makes no sense is said by its name, and nothing starts."""
    for given, environment, said in [
        (["--api-port", "1"], {}, "--api-port"),
        (["--test-pipeline"], {}, "--test-pipeline"),
        (["--profile", "gstreamer"], {"METRICS_PORT": "many"}, "METRICS_PORT"),
        (["--profile", "gstreamer"], {"GST_DEBUG": "11"}, "GST_DEBUG"),
        (["--profile", "gstreamer"], {"CORS_ORIGINS": "page.example"}, "CORS_ORIGINS"),
        (["--profile", "gstreamer", "--gst-debug-level", "10"], {}, "--gst-debug-level"),
        (["--profile", "hls-dash"], {"LOW_LATENCY_HLS": "perhaps"}, "LOW_LATENCY_HLS"),
        (["--profile", "hls-dash"], {"SEGMENT_DURATION": "0"}, "segment_duration"),
    ]:
        config = WORK / "none.yaml"
        config.write_text("")
        done = subprocess.run(
            [CLI, "serve", "--config", config, *given],
            capture_output=True, text=True, timeout=20, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 2 and said in done.stderr, (given, environment, done)


def hls_dash() -> None:
    """The HLS and DASH service by its environment: ports 8083 and 8084."""
    root = WORK / "hls_dash" / "www" / "streams"
    root.mkdir(parents=True, exist_ok=True)
    environment = {
        "SEGMENT_DURATION": 1, "PLAYLIST_SIZE": 4, "LOW_LATENCY_HLS": "false", "CLEANUP_INTERVAL": 0.5, "STALE_THRESHOLD": 6,
        "LOG_LEVEL": "INFO", "OUTPUT_DIR": root, "CORS_ORIGINS": "http://page.example", "REDIS_URL": "redis://redis:6379",
    }  # fmt: skip
    server = Server("hls_dash", ["--profile", "hls-dash"], environment, 8083)
    assert any("REDIS_URL is not used" in line["message"] for line in server.lines())
    command = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-c:v", "libx264", "-g", "25"]
    command += ["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-f", "flv", f"rtmp://127.0.0.1:{server.rtmp}/live/src"]
    server.run(*command)
    api, edge = "http://127.0.0.1:8083", "http://127.0.0.1:8084"
    until("it is published", lambda: call("GET", f"{api}/streams/live/src/playlist.m3u8")[0] == 200)
    body = {"stream_id": "cam1", "source_url": f"rtmp://127.0.0.1:{server.rtmp}/live/src", "qualities": ["240p"]}
    # Its web server had the interface below another path.
    status, info, _ = call("POST", f"{api}/api/streaming/streams", body)
    assert status == 200 and info["stream_id"] == "cam1", info
    assert call("DELETE", f"{api}/streams/cam1", Origin="http://evil.example")[0] == 403
    beat = lambda: call("POST", f"{api}/streams/cam1/heartbeat")
    # The edge has streams at its root.
    found = until("the edge has it", lambda: beat() and (a := call("GET", f"{edge}/cam1/playlist.m3u8"))[0] == 200 and a)
    assert found[2]["Cache-Control"] == "max-age=1" and found[2]["Access-Control-Allow-Origin"] == "*", found[2].items()
    media = listed(found[1])[0]

    def segments() -> str | None:
        beat()
        text = call("GET", f"{edge}/cam1/{media}")[1]
        return text if text.count("#EXTINF") >= 4 else None

    text = until("four segments", segments)
    assert "#EXT-X-TARGETDURATION:1" in text and "#EXT-X-PART" not in text and text.count("#EXTINF") <= 6, text
    file = listed(text)[-1]
    status, _, headers = call("HEAD", f"{edge}/cam1/{file}")
    assert status == 200 and "max-age=31536000" in headers["Cache-Control"] and headers["ETag"], headers.items()
    status, body, _ = call("GET", f"{edge}/cam1/none.ts")
    assert status == 404 and isinstance(body, dict), body
    until("OUTPUT_DIR has it", lambda: beat() and (root / "cam1" / "playlist.m3u8").exists() and len(list((root / "cam1").iterdir())) > 4)
    until("nobody cares", lambda: call("GET", f"{api}/streams/cam1")[0] == 404)
    server.end()


def main() -> None:
    """All of it; names on the command line pick."""
    atexit.register(lambda: [s.kill() for s in Server.all])
    failed = False
    for check in (refused, variables, flags, hls_dash):
        if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        try:
            check()
            print(f"    ok      {check.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, KeyError, TypeError, StopIteration) as e:
            failed = True
            line = e.__traceback__.tb_next.tb_lineno if e.__traceback__ and e.__traceback__.tb_next else 0
            print(f"    FAILED  {check.__name__}: line {line}: {type(e).__name__}: {str(e)[-1500:]}", flush=True)
            for server in Server.all[-1:]:
                print(server.log.read_text()[-1500:])
    sys.exit(failed)


main()
