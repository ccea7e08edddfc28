#!/usr/bin/env python3
"""Every option of the document reaches the driver as the field that it means. What the stand-in makes nothing of (AQ, multipass,
lookahead levels, filters …) is seen nowhere else: it tells what each session was configured with."""

from engine import clean, ffmpeg, frames, job, output
from standin import WORK, check, equal, finish

source = f"{WORK}/clip.mp4"
ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", source)
on_host = {"url": source, "decode": {"device": "software"}}
wanted = frames(source)
INFINITE = 0xFFFFFFFF


def option(**options):
    return {"options": {name.replace("_", "-") if name in DASHED else name: value for name, value in options.items()}}


DASHED = {"spatial_aq", "aq_strength", "temporal_aq", "no_scenecut", "intra_refresh", "single_slice_intra_refresh", "repeat_headers"}
CASES = [
    # codec, what the document says, the driver's fields. The preset is P4 unless said: two B pictures in the stand-in's.
    ("h264", option(multipass="disabled") | {"preset": "p7"}, {"multipass": 0}),
    ("h264", option(multipass="qres"), {"multipass": 1}),
    ("hevc", option(multipass="fullres"), {"multipass": 2}),
    ("av1", option(multipass="fullres"), {"multipass": 2}),
    ("h264", option(spatial_aq="1"), {"spatial_aq": 1, "aq_strength": 0}),
    ("hevc", option(spatial_aq="1", aq_strength="9"), {"spatial_aq": 1, "aq_strength": 9}),
    ("av1", option(temporal_aq="1"), {"temporal_aq": 1, "spatial_aq": 0}),
    ("h264", option(temporal_aq="1"), {"temporal_aq": 1}),
    ("hevc", {"lookahead": 8} | option(lookahead_level="2"), {"lookahead": 1, "lookahead_depth": 8, "lookahead_level": 2}),
    ("av1", {"lookahead": 8} | option(lookahead_level="3"), {"lookahead_level": 3}),
    ("h264", {"lookahead": 12} | option(no_scenecut="1"), {"lookahead_depth": 12, "no_adaptive_i": 1, "no_adaptive_b": 0}),
    ("h264", {"lookahead": 12} | option(b_adapt="0"), {"no_adaptive_i": 0, "no_adaptive_b": 1}),
    ("hevc", option(tf_level="4"), {"temporal_filter": 4, "interval": 5}),
    ("hevc", {"b_frames": 5} | option(tf_level="4"), {"temporal_filter": 4, "interval": 6}),
    ("h264", option(weighted_pred="1"), {"weighted": 1, "interval": 1}),
    ("hevc", option(weighted_pred="1"), {"weighted": 1, "interval": 1}),
    # Room for B pictures that only the preset wanted is not asked for by refusing.
    ("h264", {"lookahead": 30}, {"lookahead_depth": 30, "interval": 2}),
    ("h264", {"lookahead": 31}, {"lookahead_depth": 31, "interval": 1}),
    ("h264", {"profile": "baseline"}, {"profile": 66, "interval": 1, "entropy": 2}),
    ("hevc", option(tune="uhq"), {"tuning": 5, "temporal_filter": 4, "interval": 6, "lookahead_depth": 16}),
    ("hevc", {"b_frames": 0} | option(tune="uhq"), {"tuning": 5, "temporal_filter": 0, "interval": 1}),
    ("h264", option(qmin="5", qmax="45"), {"min_qp_set": 1, "min_qp": [5] * 3, "max_qp_set": 1, "max_qp": [45] * 3}),
    ("av1", option(qmin="20"), {"min_qp_set": 1, "min_qp": [20] * 3, "max_qp_set": 0}),
    ("hevc", option(qmax="40"), {"min_qp_set": 0, "max_qp_set": 1, "max_qp": [40] * 3}),
    ("h264", {"cbr": True} | option(cbr_padding="1"), {"rate_mode": 2, "filler": 1}),
    ("hevc", {"cbr": True} | option(cbr_padding="1"), {"rate_mode": 2, "filler": 1}),
    ("av1", {"cbr": True} | option(cbr_padding="1"), {"rate_mode": 2, "filler": 1}),
    ("h264", {"cbr": True}, {"rate_mode": 2, "filler": 0, "average": 2_000_000, "maximum": 2_000_000, "buffer": 2_000_000}),
    ("hevc", {"level": "5.1"} | option(tier="high"), {"level": 153, "tier": 1}),
    ("av1", {"level": "5.1"} | option(tier="high"), {"level": 13, "tier": 1}),
    ("h264", {"level": "4.1"}, {"level": 41, "tier": 0}),
    ("h264", option(coder="cavlc"), {"entropy": 2}),
    ("h264", option(coder="cabac"), {"entropy": 1}),
    ("h264", option(dpb_size="3"), {"references": 3}),
    ("hevc", {"b_frames": 3} | option(b_ref_mode="middle"), {"bframe_reference": 2, "interval": 4}),
    ("h264", {"b_frames": 3} | option(b_ref_mode="disabled"), {"bframe_reference": 0}),
    ("h264", option(aud="1"), {"delimiter": 1}),
    ("hevc", option(repeat_headers="1"), {"repeat_headers": 1}),
    ("h264", {"b_frames": 0} | option(nonref_p="1", strict_gop="1"), {"nonref_p": 1, "strict_gop": 1}),
    ("hevc", option(split_encode_mode="2"), {"split": 2}),
    ("av1", option(split_encode_mode="disabled"), {"split": 15}),
    ("h264", {"b_frames": 0} | option(intra_refresh="1"),
     {"intra_refresh": 1, "single_slice_refresh": 0, "gop": INFINITE, "idr_period": INFINITE, "refresh_period": "gop", "refresh_count": "gop-1"}),
    ("hevc", {"b_frames": 0} | option(intra_refresh="1", single_slice_intra_refresh="1"), {"intra_refresh": 1, "single_slice_refresh": 1}),
    ("h264", {"tune": "ll"}, {"tuning": 2}),
    ("hevc", {"tune": "ull"}, {"tuning": 3, "zero_reorder": 1, "interval": 1}),
    ("h264", {"bitrate": None, "lossless": True}, {"tuning": 4, "lossless": 1, "rate_mode": 0, "qp": [0] * 3}),
    ("hevc", {"bitrate": None, "qp": 20}, {"rate_mode": 0, "qp": [20] * 3}),
    ("h264", {"bitrate": None, "crf": 24.5, "max_bitrate": "3M", "buffer": "1M"},
     {"rate_mode": 1, "average": 0, "quality": 24, "quality_lsb": 128, "maximum": 3_000_000, "buffer": 1_000_000}),
    ("hevc", {"max_bitrate": "3M", "buffer": "1500k"} | option(cq="20"),
     {"rate_mode": 1, "average": 2_000_000, "maximum": 3_000_000, "buffer": 1_500_000, "quality": 20}),
    ("hevc", option(highbitdepth="1"), {"depth": 10, "input_depth": 8, "profile": 2}),
    ("h264", {"frame_rate": 50}, {"fps_num": 50, "fps_den": 1}),
    ("h264", {"profile": "main"}, {"profile": 77}),
]

outputs = []
for n, (codec, video, _) in enumerate(CASES):
    # The distance of key pictures tells the sessions apart.
    video = {"codec": codec, "preset": "p4", "bitrate": "2M", "gop": 100 + n, **video}
    video = {name: value for name, value in video.items() if value is not None}
    outputs.append(output(f"case-{n}", video))
done = job("options", outputs, on_host, SESSIONS=0, API="13.0")
equal(done.code, 0, f"options: {done.message} {done.err[-600:]}")
clean(done, "options")
sessions = done.calls("standin.config")
equal(len(sessions), len(CASES), "sessions that were configured")
for n, (codec, video, fields) in enumerate(CASES):
    name, gop = f"{codec} {video}", 100 + n
    refresh = "intra-refresh" in video.get("options", {})
    mine = [s for s in sessions if (s["refresh_period"] if refresh else s["gop"]) == gop and s["codec"] == codec]
    equal(len(mine), 1, f"{name}: its session")
    for field, value in fields.items():
        value = {"gop": gop, "gop-1": gop - 1}.get(value, value) if isinstance(value, str) else value
        for session in mine:
            equal(session[field], value, f"{name}: {field}")
    if codec != "av1" and "frame_rate" not in video and "highbitdepth" not in str(video):
        equal(frames(f"{WORK}/case-{n}.mkv"), wanted, f"{name}: the pictures")

# What does not go together is refused by name before a session opens, and is no failure of the device.
for codec, video, expected in [
    ("h264", {"lookahead": 32}, "video.lookahead: 31 pictures are the most"),
    ("h264", {"lookahead": 29, "b_frames": 3}, "video.lookahead: 28 pictures are the most with 3 B pictures"),
    ("h264", {"b_frames": 2} | option(weighted_pred="1"), "video.options.weighted_pred: "),
    ("hevc", {"b_frames": 2} | option(tf_level="4"), "video.options.tf_level: it needs 4 B pictures"),
    ("h264", {"level": "1.1"}, "video.level: 1.1 allows 3000 macroblocks a second"),
    ("hevc", {"level": "1"}, "video.level: 1 allows pictures of 36864 samples"),
    # Without a fallback the device answers, with one what comes instead.
    ("av1", {"level": "2.3"}, ("video.level: av1 on this device has no such level", "video.level: there is no level 2.3; there are 2, 2.1")),
    ("h264", {"profile": "baseline"} | option(coder="cabac"), "video.options.coder: "),
]:
    for fallback in (False, True):
        # AV1's smallest pictures are wider than others'.
        done = job("refused", [output("refused", {"codec": codec, "bitrate": "1M", **video})], on_host, fallback=fallback, API="13.0")
        said = done.message + done.err if not fallback else " ".join(done.warnings) + done.message
        field = expected if isinstance(expected, str) else expected[fallback]
        check(field.removeprefix("video.") in said, f"{codec} {video}: {field!r} is in {said[-400:]!r}")
        equal(done.calls("NvEncInitializeEncoder"), [], f"{codec} {video}: sessions configured")
        check(fallback or done.code != 0, f"{codec} {video}: refused")
# What only the driver knows: it does not take the configuration, and nothing is wrong with the device.
done = job("unknown", [output("unknown", {"codec": "h264", "bitrate": "1M"})], on_host, FAULT="NvEncInitializeEncoder:1=12")
check(done.code != 0 and "unsupported parameter" in done.message, f"a configuration that the driver refuses: {done.message}")
equal([e["error"] for e in done.events if e["type"] == "done"], ["unsupported"], "a configuration that the driver refuses: the class")
done = job("unknown", [output("unknown", {"codec": "h264", "bitrate": "1M"})], on_host, fallback=True, FAULT="NvEncInitializeEncoder:1=12")
equal((done.code, len(frames(f"{WORK}/unknown.mkv"))), (0, 25), f"the same with a fallback: {done.message}")
check(any("goes on" in w for w in done.warnings), f"the same with a fallback: told: {done.warnings}")
finish()
