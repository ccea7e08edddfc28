"""libnvidia-encode.so.1: a client that breaks one rule of the API a run, compiled against each published header: the status is the
documented one and the violation is recorded. And: what a clean client does records nothing."""

import os
import subprocess

from standin import WORK, check, equal, finish, run, skip

HERE = os.path.dirname(os.path.abspath(__file__))
HEADERS = os.environ.get("GS_NVENC_HEADERS")
if not HEADERS:
    skip("NVIDIA's headers (tests/setup/setup.sh test)")

# rule: (what it prints, the violations, knobs)
RULES = {
    "clean": ("0 0 0 0 0 0 0 0 0", [], {}),
    # One output at once, then nothing until the P picture came; at the end the rest. Coding order, with the time stamps of the input.
    "reorder": ("0 17 17 0 17 17 0 0 t3@100 0 t0@103 0 t1@101 0 t1@102 0 t0@105 0 t1@104 0", [], {}),
    "version": ("0 15 15 0", ["struct-version"] * 2, {}),
    "uninitialized": ("0 11 0", ["not-initialized"], {}),
    "twice": ("9 0", ["initialized-twice"], {}),
    "lock-order": ("0 0 9 0 0 0", ["lock-order"], {}),
    "lock-early": ("0 17 0 9 13 0 0 0", ["lock-before-coded"], {}),
    "lock-unused": ("8 0", ["lock-unused"], {}),
    "output-in-use": ("0 9 0 9 0 0", ["output-in-use", "output-locked"], {}),
    "input-locked": ("0 0 9 0 0 0 0 0", ["input-locked"], {}),
    "unmap-early": ("0 17 9 0 0 0 0 0", ["unmap-in-flight", "unmap-before-lock"], {}),
    "unregister-mapped": ("9 0", ["unregister-mapped"], {}),
    "format": ("8 8 0", ["buffer-format", "picture-size"], {}),
    "register": ("8 23 8 0 16 0 0", ["pitch", "out-of-range", "use-after-free"], {}),
    "reconfigure": ("0 0 0 0 0 0 t0 0 0 0 t3 8 8 8 0 0 0 t3 0", ["reconfigure"] * 3, {}),
    "sessions": ("0 0 21 21 0 0 0 0", [], {"SESSIONS": 2}),
    "dead-context": ("5 0", ["dead-context"], {}),
    "after-destroy": ("0 3 3", ["unknown-session"] * 2, {}),
    "caps": ("0 8 8 Frame Dimension less than the minimum supported value. 8 12 8 8 8 12 12 0", ["no-tuning"], {}),
    "windows": ("7 12 0", ["event", "encode-stats"], {}),
    "reserved": ("0 0 0", ["reserved"], {}),
    "fault": ("0 0 0 0 10 0", [], {"FAULT": "NvEncEncodePicture:3=10"}),
    # Of a session that fails once, all is coded and read before it is let go of; of one that goes on failing, what is coded.
    "stuck-once": ("0 17 20 9 0 0 0 0 0", ["unmap-in-flight"], {"FAULT": "NvEncEncodePicture:3=20"}),
    "stuck-for-good": ("0 17 20 9 20 0 0 0", ["unmap-in-flight", "unmap-before-lock"], {"FAULT": "NvEncEncodePicture:3+=20"}),
    "stuck-gone": ("0 17 5 0 5 0 0", [], {"FAULT": "NvEncEncodePicture:3+=5"}),
    "memory": ("0 10 0", [], {"MEMORY": "16M"}),
    "headers": ("14 0 1 0", [], {}),
    "nothing": ("0 6 0 6 6 6 0 0 4", ["null-pointer"] * 4 + ["null-device"], {}),
    "again": ("16 23 9 0 0 9 9 0 17 9 0 0 0", ["mapped-twice", "registered-twice", "not-locked", "locked-twice", "destroy-locked", "input-in-flight"], {}),
    "input-buffer": ("8 0 0 17 18 18 9 9 0 0 0 0 0", ["input-size", "lock-in-flight", "destroy-in-flight", "not-locked"], {}),
    "picture": ("8 8 8 6 0", ["intra-refresh", "long-term", "empty-sei", "qp-map"], {}),
    "surface": ("0 0 8 0 0 0 8 0 0 t3 0", ["chroma-format", "picture-type"], {}),
    "headers-first": ("0 0 0 0 1 0", [], {}),
    # After the invalidation nothing refers to what is not there: an intra picture.
    "invalidate": ("0 0 t3 0 0 t0 0 0 t0 0 8 0 0 t2 0", [], {}),
}
LEFT = ["nvenc-mapped-resource", "nvenc-registered-resource", "nvenc-bitstream-buffer"]


def probe(path, *entries):
    done = subprocess.run(["ffprobe", "-v", "error", "-show_entries", ":".join(entries), "-of", "csv=p=0", path], capture_output=True, text=True)
    equal(done.stderr, "", f"{path} does not decode cleanly")
    return done.stdout


def hdr(path, *facts):
    shown = subprocess.run(["ffprobe", "-v", "error", "-show_frames", path], capture_output=True, text=True).stdout
    for fact in ("max_content=1000", "max_average=400", *facts):
        check(fact in shown, f"{path}: {fact} is not among the HDR metadata")


versions = sorted(os.listdir(HEADERS))
check(len(versions) >= 3, f"headers of {versions}")
for version in versions:
    client = os.path.join(WORK, "client-" + version)
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", os.path.join(HEADERS, version), "-o", client,
                    os.path.join(HERE, "nvenc/rules.cpp"), "-ldl"], check=True)
    for rule, (said, violations, knobs) in RULES.items():
        r = run([client, rule], **knobs)
        text = f"API {version}: {rule}"
        equal(r.code, 0, f"{text}: exit code")
        equal(" ".join(r.out.decode().split()), said, f"{text}: statuses")
        equal(r.violations, violations, f"{text}: violations")
        # A destroyed context takes all of its own with it, and the session's: that is told too.
        if rule != "dead-context":
            equal([leak for leak in r.leaks if leak.startswith("nvenc")], [], f"{text}: leaks")
    # A driver that is older than the client.
    r = run([client, "clean"], API="11.0")
    equal(" ".join(r.out.decode().split()), "15", f"API {version} on a driver of 11.0")
    # The older code of the same refusal.
    r = run([client, "sessions"], SESSIONS=2, SESSION_CODE=10)
    equal(" ".join(r.out.decode().split()), "0 0 10 10 0 0 0 0", f"API {version}: too many sessions, by their older code")
    r = run([client, "sessions"], PROFILE="h200")
    check(r.out.decode().startswith("2 2 2 2 "), f"API {version}: a card without engines: {r.out}")
    # Two sessions on two engines, and on one: pictures wait for each other there.
    for profile, engines, least in (("rtx4090", 2, 200_000), ("rtx3060", 1, 400_000)):
        r = run([client, "engines"], PROFILE=profile, FRAME_US=40_000)
        equal(" ".join(r.out.decode().split()), " ".join(["0"] * 18 + ["13"] + ["0"] * 4), f"API {version}: two sessions on {profile}")
        begin, end = r.calls("NvEncEncodePicture")[0]["us"], r.calls("NvEncLockBitstream")[-1]["us"]
        equal(len({line["engine"] for line in r.calls("standin.coded")}), engines, f"API {version}: engines of {profile}")
        check(end - begin >= least, f"API {version}: ten pictures on {engines} engines took {end - begin} us")
    r = run([client, "leak"])
    equal(sorted(leak for leak in r.leaks if leak.startswith("nvenc")), sorted(LEFT), f"API {version}: what was left")
    r = run([client, "never-closed"])
    check("nvenc-session" in r.leaks, f"API {version}: a session that was never destroyed: {r.leaks}")
    r = run([client, "dangling"])
    check(r.code == -11, f"API {version}: the pointer of an unlocked bitstream is followed: {r.code}")

    for codec in ("h264", "hevc"):
        path = os.path.join(WORK, f"metadata.{codec}")
        r = run([client, "metadata", path])
        equal((r.code, r.violations, r.leaks), (0, [], []), f"API {version}: metadata in {codec}")
        frames = probe(path, "frame=pict_type,key_frame").split()
        equal(["".join(frame.rstrip(",").split(",")) for frame in frames], ["1I", "0P", "1I", "0P"], f"API {version}: {codec}: types")
        equal(probe(path, "stream=color_space,color_transfer,color_primaries").strip(), "bt2020nc,smpte2084,bt2020", f"API {version}: {codec}: colour")
        with open(path, "rb") as file:
            stream = file.read()
        # With the emulation prevention of the stream between its zeros.
        equal(stream.count(b"GhostStream-test\x01\x00\x00\x03\x01payload"), 4, f"API {version}: {codec}: SEI messages")
        if codec == "hevc" and version == "13.0":
            hdr(path, "min_luminance=50/10000", "max_luminance=10000000/10000", "red_x=35400/50000", "blue_y=2300/50000")

    for codec in ("h264", "hevc"):
        path = os.path.join(WORK, f"slices.{codec}")
        r = run([client, "slices", path])
        equal((r.code, r.violations, r.leaks), (0, [], []), f"API {version}: slices in {codec}")
        equal(" ".join(r.out.decode().split()), "0 0 0 0 slices/intra 0 0 0 slices/inter 0 0 0 slices/intra 0 0",
              f"API {version}: slices in {codec}")
        equal(len(probe(path, "frame=pict_type").split()), 3, f"API {version}: slices in {codec}: pictures")

    if version == "11.1":
        continue  # before AV1
    path = os.path.join(WORK, "metadata.obu")
    r = run([client, "metadata-av1", path])
    equal((r.code, r.violations, r.leaks), (0, [], []), f"API {version}: metadata in AV1")
    frames = probe(path, "frame=pict_type,key_frame").split()
    equal(["".join(frame.rstrip(",").split(",")) for frame in frames], ["1I", "0P", "1I", "0P"], f"API {version}: AV1: types")
    equal(probe(path, "stream=color_space,color_transfer,color_primaries").strip(), "bt2020nc,smpte2084,bt2020", f"API {version}: AV1: colour")
    with open(path, "rb") as file:
        equal(file.read().count(b"\x04\xb5\x7f\xffGhostStream-test\x80"), 4, f"API {version}: AV1: metadata OBUs")
    if version == "13.0":
        hdr(path, "red_x=46399/65536", "blue_y=3015/65536", "max_luminance=256000/256", "min_luminance=82/16384")
finish()
