"""The same jobs, said to each tool: GhostStream's document and FFmpeg's command line.

Every job is a function of a tool and a folder to write to; it returns the command. Settings that decide speed or
quality are stated in both dialects here, side by side, so that a comparison can be checked by reading one page.
"""

import dataclasses
import json
import pathlib
import subprocess

# width, height, kbit/s, top first
RUNGS = [(1920, 1080, 5000), (1280, 720, 2800), (854, 480, 1400), (640, 360, 800)]
SEGMENT = 2  # seconds; 60 frames at 30 fps


@dataclasses.dataclass(frozen=True)
class Tool:
    """A command and the dialect it speaks."""

    name: str
    path: str
    dialect: str  # "ghoststream" or "ffmpeg"

    def version(self) -> str:
        flag = "--version" if self.dialect == "ghoststream" else "-version"
        answer = subprocess.run([self.path, flag], capture_output=True, text=True, check=True)
        return answer.stdout.splitlines()[0]


def _ghoststream(tool: Tool, out: pathlib.Path, source: dict, output: dict) -> list[str]:
    spec = out / "job.json"
    spec.write_text(json.dumps({"source": source, "outputs": [{"overwrite": True, **output}]}, indent=2))
    return [tool.path, "transcode", "--spec", str(spec)]


def _ffmpeg(tool: Tool, *arguments: str) -> list[str]:
    return [tool.path, "-nostdin", "-y", "-v", "error", *arguments]


def _x264(kilobits: int) -> dict:
    return {
        "codec": "h264",
        "encoder": "libx264",
        "bitrate": f"{kilobits}k",
        "max_bitrate": f"{kilobits}k",
        "buffer": f"{2 * kilobits}k",
        "options": {"preset": "veryfast"},
    }


def ladder(tool: Tool, out: pathlib.Path, source: pathlib.Path, copy_top: bool = False) -> list[str]:
    """A four-rung x264 veryfast ladder as fMP4 HLS, key frames every two seconds, no sound."""
    media = out / "media"
    media.mkdir()
    if tool.dialect == "ghoststream":
        rungs = [{"width": w, "height": h, **_x264(k)} for w, h, k in RUNGS]
        if copy_top:
            rungs[0] = {"codec": "copy"}
        output = {
            "path": f"{media}/",
            "format": "hls",
            "ladder": rungs,
            "copy_conforming": False,
            "audio": False,
            "segment": {"duration": SEGMENT, "iframes": False},
        }
        return _ghoststream(tool, out, {"url": str(source), "decode": {"device": "software"}}, output)

    encoded = RUNGS[1:] if copy_top else RUNGS
    graph = f"[0:v]split={len(encoded)}" + "".join(f"[s{i}]" for i in range(len(encoded)))
    for i, (w, h, _) in enumerate(encoded):
        scale = "null" if (w, h) == RUNGS[0][:2] else f"scale={w}:{h}"
        graph += f";[s{i}]{scale}[v{i}]"
    arguments = ["-i", str(source), "-filter_complex", graph]
    if copy_top:
        arguments += ["-map", "0:v", "-c:v:0", "copy"]
    for i, (_, _, kilobits) in enumerate(encoded):
        n = i + 1 if copy_top else i
        arguments += ["-map", f"[v{i}]", f"-c:v:{n}", "libx264", f"-preset:v:{n}", "veryfast"]
        arguments += [f"-b:v:{n}", f"{kilobits}k", f"-maxrate:v:{n}", f"{kilobits}k"]
        arguments += [f"-bufsize:v:{n}", f"{2 * kilobits}k"]
        arguments += [f"-g:v:{n}", "60", f"-keyint_min:v:{n}", "60", f"-sc_threshold:v:{n}", "0"]
    arguments += ["-f", "hls", "-hls_time", str(SEGMENT), "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"]
    arguments += ["-master_pl_name", "master.m3u8", "-hls_segment_filename", f"{media}/%v-%05d.m4s"]
    arguments += ["-var_stream_map", " ".join(f"v:{i}" for i in range(len(RUNGS))), f"{media}/%v.m3u8"]
    return _ffmpeg(tool, *arguments)


def ladder_copy(tool: Tool, out: pathlib.Path, source: pathlib.Path) -> list[str]:
    """The same ladder with its top rung copied."""
    return ladder(tool, out, source, copy_top=True)


def transcode(tool: Tool, out: pathlib.Path, source: pathlib.Path) -> list[str]:
    """One 1080p x264 veryfast CRF 23 file."""
    target = out / "out.mp4"
    if tool.dialect == "ghoststream":
        video = {"codec": "h264", "encoder": "libx264", "crf": 23, "gop": 60, "options": {"preset": "veryfast"}}
        output = {"path": str(target), "video": video, "audio": False}
        return _ghoststream(tool, out, {"url": str(source), "decode": {"device": "software"}}, output)
    return _ffmpeg(
        tool,
        *["-i", str(source), "-map", "0:v", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", "60"],
        *["-movflags", "+faststart", str(target)],
    )


def remux(tool: Tool, out: pathlib.Path, source: pathlib.Path) -> list[str]:
    """MP4 to Matroska, everything copied."""
    target = out / "out.mkv"
    if tool.dialect == "ghoststream":
        output = {"path": str(target), "video": {"codec": "copy"}, "audio": [{"codec": "copy"}]}
        return _ghoststream(tool, out, {"url": str(source)}, output)
    return _ffmpeg(tool, "-i", str(source), "-map", "0:v", "-map", "0:a", "-c", "copy", str(target))


def looped(tool: Tool, out: pathlib.Path, source: pathlib.Path, times: int) -> list[str]:
    """A short clip played `times` times into one transport stream: for the memory's slope."""
    target = out / "out.ts"
    if tool.dialect == "ghoststream":
        output = {"path": str(target), "video": _x264(800), "audio": [{"codec": "aac", "bitrate": "96k"}]}
        return _ghoststream(tool, out, {"url": str(source), "loop": times - 1}, output)
    return _ffmpeg(
        tool,
        *["-stream_loop", str(times - 1), "-i", str(source), "-map", "0:v", "-map", "0:a"],
        *["-c:v", "libx264", "-preset", "veryfast", "-b:v", "800k", "-maxrate", "800k", "-bufsize", "1600k"],
        *["-c:a", "aac", "-b:a", "96k", str(target)],
    )
