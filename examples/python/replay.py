"""Keeps the last seconds, and saves them whenever Enter is pressed: replay.py screen|pattern OUT-{n}.mkv SECONDS"""

import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("usage: replay.py screen|pattern OUT-{n}.mkv SECONDS")
    kind, out, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    source = {"screen": {}} if kind == "screen" else {"pattern": {"tone": True}, "realtime": True}
    video = {"codec": "h264", "preset": "p1", "tune": "ull", "keyframe_interval": 1}
    # The packets are kept as they were encoded: saving costs no quality, and recording goes on meanwhile.
    output = {"path": out, "replay": {"seconds": seconds, "bytes": "500M"}, "video": video}
    try:
        with gs.Pipeline({"source": source, "outputs": [output]}).start() as job:
            for _ in sys.stdin:
                job.save()
                told = next(e for e in job if e.type == "saved" or (e.type == "warning" and e.code == "save"))
                print(told.path if told.type == "saved" else told.message, flush=True)
            job.stop()
    except gs.Error as error:
        sys.exit(f"replay.py: {error}")


if __name__ == "__main__":
    main()
