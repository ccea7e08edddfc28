#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, from real streams that ffmpeg makes, and the dictionary of the document.

    corpus.py OUT       OUT/TARGET/NAME, OUT/spec_json.dict
"""

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PICTURE = "-f lavfi -i testsrc2=s=64x48:r=10:d=1"
TONE = "-f lavfi -i sine=d=1:r=48000"
X264 = "-c:v libx264 -preset ultrafast -tune zerolatency -g 5 -crf 40 -pix_fmt yuv420p"
MEDIA = {
    "h264-aac.mp4": f"{PICTURE} {TONE} {X264} -c:a aac -b:a 32k",
    "h264-bframes.mp4": f"{PICTURE} -c:v libx264 -preset veryfast -g 5 -bf 2 -crf 40 -pix_fmt yuv420p",
    "fragmented.mp4": f"{PICTURE} {TONE} {X264} -c:a aac -b:a 32k -movflags frag_keyframe+empty_moov",
    "hevc-ac3.mp4": f"{PICTURE} {TONE} -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5 "
    "-pix_fmt yuv420p -c:a ac3 -b:a 64k",
    "av1.mp4": f"{PICTURE} -c:v libaom-av1 -cpu-used 8 -g 5 -crf 60 -b:v 0 -pix_fmt yuv420p -frames:v 5",
    "opus.mp4": f"{TONE} -c:a libopus -b:a 16k",
    "flac.mp4": f"{TONE} -t 0.3 -c:a flac -strict experimental",
    "h264-pcm.mov": f"{PICTURE} {TONE} {X264} -c:a pcm_s16le -t 0.3",
    "vp9-opus.webm": f"{PICTURE} {TONE} -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -g 5 -b:v 30k -c:a libopus -b:a 16k",
    "ffv1-flac.mkv": f"{PICTURE} {TONE} -t 0.2 -c:v ffv1 -c:a flac",
    "subtitles.mkv": f"{PICTURE} -i {{srt}} {X264} -c:s srt",
    "h264-mp3.ts": f"{PICTURE} {TONE} {X264} -c:a mp3 -b:a 32k",
    "mpeg2-mp2.mpg": f"{PICTURE} {TONE} -r 25 -c:v mpeg2video -g 5 -c:a mp2 -b:a 32k",
    "h264-aac.flv": f"{PICTURE} {TONE} {X264} -c:a aac -b:a 32k",
    "mpeg4-mp3.avi": f"{PICTURE} {TONE} -c:v mpeg4 -g 5 -c:a mp3 -b:a 32k",
    "vorbis.ogg": f"{TONE} -c:a libvorbis",
    "pcm.wav": f"{TONE} -t 0.1",
    "aac.aac": f"{TONE} -c:a aac -b:a 32k",
    "eac3.eac3": f"{TONE} -c:a eac3 -b:a 64k",
    "mp3.mp3": f"{TONE} -c:a mp3 -b:a 32k",
    "raw.h264": f"{PICTURE} {X264}",
    "picture.y4m": f"{PICTURE} -frames:v 1 -pix_fmt yuv420p -f yuv4mpegpipe",
    "picture.gif": f"{PICTURE} -frames:v 2",
    "picture.png": f"{PICTURE} -frames:v 1 -f image2",
}

SRT = "1\n00:00:00,100 --> 00:00:00,500\n<i>Tom</i> & <b>Jerry</b>\n\n2\n00:00:00,600 --> 00:00:00,900\na < b\n\n"
TEXTS = {
    "srt": SRT,
    "vtt": "WEBVTT\n\nNOTE x\n\nid\n00:00.100 --> 00:00:01.500 line:0 align:start\n<v Bob>x</v> &amp; y\n\n"
    "00:01:00.000 --> 00:01:01.000\nlast\n",
    "ass": "[Script Info]\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:03.00,0:00:04.00,D,,0,0,0,,{\\an8\\i1}Hi{\\i0}, you\\Nthere\\h& \n",
    "event": "0,0,Default,,0,0,0,,{\\p1}m 0 0{\\p0}x, {\\b1}y",
    "movtext": "\0\3a<b",
}

# As targets/packager/input.rs numbers them.
CODECS = ["h264", "hevc", "av1", "vp9", "aac", "opus", "flac", "ac3", "eac3", "mp3"]
HEADERS, TEXT, SEGMENTS = b"\0", b"\1", b"\2"


def media(folder):
    """Makes the clips; what this ffmpeg cannot make is named and left out."""
    srt = folder / "words.srt"
    srt.write_text(SRT)
    made = []
    for name, arguments in MEDIA.items():
        path = folder / name
        command = ["ffmpeg", "-v", "error", "-y", *arguments.format(srt=srt).split()]
        # Nothing that differs from build to build.
        command += ["-fflags", "+bitexact", "-flags", "+bitexact", "-threads", "1", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            print(f"corpus: without {name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        else:
            made.append(path)
    srt.unlink()
    return made


def dump(text):
    """The bytes of one of ffprobe's hexadecimal dumps."""
    rows = (line.split(": ", 1)[1][:41] for line in text.splitlines() if ": " in line)
    return bytes.fromhex("".join(rows).replace(" ", ""))


def probe(path):
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-show_data", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ratio(text):
    num, den = (int(n) for n in text.split("/"))
    return struct.pack(">ii", num, den)


def segments(found, flags):
    """A run of the segmenter as targets/packager/segments.rs reads it, or None for other codecs."""
    streams = [s for s in found["streams"] if s.get("codec_name") in CODECS][:3]
    if not streams:
        return None
    out = struct.pack(">BHqBBB", flags, 500, 0, 0, 200, len(streams))
    for s in streams:
        extradata = dump(s.get("extradata", ""))
        out += struct.pack(">B", CODECS.index(s["codec_name"])) + ratio(s["time_base"])
        if s["codec_type"] == "video":
            out += struct.pack(">HH", s["width"], s["height"]) + ratio(s["r_frame_rate"])
        else:
            out += struct.pack(">HHii", 1024, s["channels"], int(s["sample_rate"]), 0)
        out += struct.pack(">H", len(extradata)) + extradata
    places = [s["index"] for s in streams]
    for p in found["packets"]:
        if p["stream_index"] in places:
            data = dump(p.get("data", ""))[:65535]
            flags = places.index(p["stream_index"]) | 4 * ("K" in p["flags"]) | 8 * ("pts" in p) | 16 * ("dts" in p)
            times = struct.pack(">qqi", p.get("pts", 0), p.get("dts", 0), p.get("duration", 0))
            out += struct.pack(">B", flags) + times + struct.pack(">H", len(data)) + data
    return out


def packager(clips, folder):
    for name, text in TEXTS.items():
        (folder / f"text-{name}").write_bytes(TEXT + text.encode())
    for clip in clips:
        found = probe(clip)
        for i, s in enumerate(found["streams"]):
            if s.get("codec_name") not in CODECS:
                continue
            first = next((dump(p["data"]) for p in found["packets"] if p["stream_index"] == i), b"")
            for part, data in (("extradata", dump(s.get("extradata", ""))), ("packet", first)):
                if data:
                    (folder / f"{part}-{clip.name}-{i}").write_bytes(HEADERS + data[:4096])
        # CMAF, MPEG-TS, and CMAF in parts, eagerly.
        for flags in (0b0001_0000, 0b0000_0001, 0b0000_0110):
            run = segments(found, flags)
            if run:
                (folder / f"segments-{clip.name}-{flags}").write_bytes(SEGMENTS + run)


def tags(flv):
    """The bodies of an FLV file's tags, which are those of RTMP's messages: (kind, time, body)."""
    data, at = flv.read_bytes(), 13
    while at + 11 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        yield kind, int.from_bytes(data[at + 4 : at + 7], "big"), data[at + 11 : at + 11 + size]
        at += 11 + size + 4


def chunks(kind, time, body):
    """A message of RTMP in chunks of 128 bytes."""
    lane = 6 if kind == 9 else 4
    out = bytes([lane]) + time.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([kind, 1, 0, 0, 0])
    return out + bytes([0xC0 | lane]).join(body[i : i + 128] for i in range(0, len(body), 128))


OFFER = """v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=rtpmap:111 opus/48000/2
a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host
m=video 9 UDP/TLS/RTP/SAVPF 96
a=mid:1
a=sendonly
a=rtpmap:96 H264/90000
a=rid:h send
a=simulcast:send h;m;l
"""
IDS = ["#!::r=live/cam,m=publish,key=abc", "publish:live/cam:user:key", "read/cam?token=x", "live/cam"]


ANNOUNCED = """v=0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAFdkBQfsBEAAAAwAQAAADA8DxYuSA,aMuDyyA=
a=control:streamid=0
m=video 0 RTP/AVP 98
a=rtpmap:98 H265/90000
a=fmtp:98 sprop-vps=QAEMAf//; sprop-sps=QgEBAWA=; sprop-pps=RAHA8vA7JA==
m=audio 0 RTP/AVP 97
a=rtpmap:97 MPEG4-GENERIC/48000/2
a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190
m=audio 0 RTP/AVP 99
a=rtpmap:99 opus/48000/2
m=audio 0 RTP/AVP 96
a=rtpmap:96 MP4A-LATM/48000
a=fmtp:96 cpresent=0;config=400023103fc0
"""
# H.264 (two sets in one, a unit in pieces, one alone), H.265, AAC, Opus, AAC in LATM, VP8, VP9 and AV1 in pieces.
RTP = [
    [b"\x18\0\2\x67\1\0\2\x68\2", b"\x7c\x85abc", b"\x7c\5def", b"\x7c\x45ghi", b"\x41jkl"],
    [b"\x60\1\0\3\x40\1\x09\0\3\x42\1\x09", b"\x62\1\x93abc", b"\x62\1\x53def"],
    [b"\0\x20\0\x10\0\x08abc", b"\0\x10\0\x20ab", b"\0\x10\0\x20cd"],
    [b"\xfcabcd"],
    [b"\x03abc\x02ab"],
    [b"\x90\xf0\x81\2\3\4\x10abc", b"\0def"],
    [b"\xaa\x81\2\0\5\x18\1\x40\0\xb4\1\4\x09\x82\x49\x83\x42\0\x13\xf0\x0b\x30", b"\xdc\5\3\2\x86a"],
    [b"\x48\3\x08ab\2\x30\x10", b"\x80\3abc", b"\x20\2\x32a\x30\x30b"],
]
CHALLENGE = 'Digest realm="a \\"b\\", c", nonce=x, qop="auth, auth-int", algorithm=SHA-256, stale'
STUN = b"\0\1\0\x14\x21\x12\xa4\x42" + bytes(12) + b"\x80\x22\0\3xyz\0\0\6\0\5ab:cd\0\0\0"


def live(clips, folder):
    """As targets/live/main.rs numbers the parsers: chunks, video and audio tags, AMF, stream ids, MPEG-TS, RTSP,
    its SDP and RTP, WebRTC's SDP and STUN, challenges, names of files, priorities, reports."""
    flv = next((c for c in clips if c.suffix == ".flv"), None)
    found = list(tags(flv)) if flv else []
    (folder / "chunks").write_bytes(b"\0" + b"".join(chunks(*tag) for tag in found)[:20000])
    for n, (kind, _, body) in enumerate(found[:12]):
        (folder / f"tag-{n}").write_bytes({9: b"\1", 8: b"\2", 18: b"\3"}[kind] + body[:4096])
    for name, head in (("av01", b"\x90av01"), ("hvc1", b"\x91hvc1\0\0\0"), ("multi", b"\x96\1avc1\0"), ("modex", b"\x97\2\0\0\1\1av01")):
        (folder / f"enhanced-{name}").write_bytes(b"\1" + head + bytes(range(32)))
    for name, head in (("Opus", b"\x90Opus"), ("mp4a", b"\x91mp4a")):
        (folder / f"enhanced-{name}").write_bytes(b"\2" + head + b"OpusHead\1\2\0\0\x80\xbb\0\0\0\0\0")
    for n, text in enumerate(IDS):
        (folder / f"id-{n}").write_bytes(b"\4" + text.encode())
    for clip in clips:
        if clip.suffix == ".ts":
            (folder / clip.name).write_bytes(b"\5" + clip.read_bytes()[:10000])
    (folder / "rtsp").write_bytes(b"\6ANNOUNCE rtsp://h/live/cam?key=x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nv=0$\1\0\4abcd")
    (folder / "announced").write_bytes(b"\7" + ANNOUNCED.encode())
    for kind, payloads in enumerate(RTP):
        packets = [b"\x80\xe0\0" + bytes([n]) + b"\0\0\0\7\0\0\0\1" + payload for n, payload in enumerate(payloads)]
        (folder / f"rtp-{kind}").write_bytes(bytes([8, kind]) + b"".join(bytes([len(p)]) + p for p in packets))
    (folder / "offer").write_bytes(b"\x09" + OFFER.encode())
    (folder / "answer").write_bytes(f"\6RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: {CHALLENGE}\r\n\r\n".encode())
    (folder / "stun").write_bytes(b"\x0a" + STUN)
    (folder / "challenge").write_bytes(b"\x0b" + CHALLENGE.encode())
    for n, said in enumerate(("u=1, i", "i=?0;x=1,u=7", "u=8,j")):
        (folder / f"priority-{n}").write_bytes(b"\x0d" + said.encode())
    block = bytes(4) + b"\x40\0\0\x09" + bytes(16)
    (folder / "report").write_bytes(b"\x0e\x81\xc9\0\x07" + bytes(4) + block + b"\x81\xc8\0\x0c" + bytes(24) + block)
    for n, name in enumerate(("v0_abc.m3u8", "v0_abc_keys.m3u8", "a1_abc_i0.mp4", "ta0_abc_s12.ts", "s0_abc_s3.vtt", "v0_abc_p7.m4s")):
        (folder / f"name-{n}").write_bytes(b"\x0c" + name.encode())


def documents(folder):
    cases = json.loads((ROOT / "tests/cases/cases.json").read_text())
    count = 0

    def walk(value):
        nonlocal count
        if isinstance(value, dict):
            if "outputs" in value:
                spec = {k: v for k, v in value.items() if k in SPEC}
                spec.setdefault("source", {"url": "in.mkv"})
                if isinstance(spec["source"], str):
                    spec["source"] = {"url": spec["source"]}
                (folder / f"case-{count}.json").write_text(json.dumps(spec))
                count += 1
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                walk(item)

    walk(cases)
    assert count, "cases.json has no documents"
    for name, source in (
        ("pattern", {"pattern": {"kind": "smpte", "frames": 9, "frame_rate": "30000/1001", "tone": True}}),
        ("bytes", {"bytes": {"buffer": 1}, "start": 1.5, "duration": "00:00:02", "loop": -1}),
        ("frames", {"frames": {"video": {"width": 64, "height": 48, "format": "nv12", "frame_rate": 25}}}),
    ):
        output = {"path": "o.mp4", "video": {"codec": "hevc", "crf": 23}, "audio": [{"codec": "opus", "bitrate": "128k"}]}
        (folder / name).write_text(json.dumps({"source": source, "outputs": [output, {"packets": {}}]}))


SCHEMA = json.loads((ROOT / "core/engine/schema/pipeline.schema.json").read_text())
SPEC = set(SCHEMA["properties"])


def dictionary(path):
    """Every key and every word of the document's schema."""
    words = set()

    def walk(value, key=""):
        if isinstance(value, dict):
            if key == "properties":
                words.update(value)
            for k, v in value.items():
                walk(v, k)
        elif isinstance(value, list):
            for v in value:
                walk(v, key)
        elif isinstance(value, str) and key in ("const", "enum", "default"):
            words.add(value)

    walk(SCHEMA)
    words = sorted(w for w in words if re.fullmatch(r"[\w.+-]{1,40}", w))
    path.write_text("".join(f'"\\"{w}\\""\n' for w in words))


def main():
    out = Path(sys.argv[1])
    folders = {name: out / name for name in ("spec_json", "packager", "demux_decode", "remux", "live")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    clips = media(folders["demux_decode"])
    if len(clips) < len(MEDIA) // 2:
        sys.exit("corpus: this ffmpeg makes too few of the clips")
    for clip in clips:
        (folders["remux"] / clip.name).write_bytes(clip.read_bytes())
    packager(clips, folders["packager"])
    live(clips, folders["live"])
    documents(folders["spec_json"])
    dictionary(out / "spec_json.dict")


if __name__ == "__main__":
    main()
