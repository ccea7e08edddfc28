"""Records for some seconds, in two files with a pause between: record.py screen|pattern OUT-{n}.mp4 SECONDS"""

import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("usage: record.py screen|pattern OUT-{n}.mp4 SECONDS")
    kind, out, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    source = {"screen": {}} if kind == "screen" else {"pattern": {"tone": True}, "realtime": True}
    # What is written survives a crash; `split` lets the file be cut while it is made.
    video = {"codec": "h264", "preset": "p1", "tune": "ll"}
    output = {"path": out, "split": True, "crash_safe": True, "video": video}
    cut = False
    try:
        with gs.Pipeline({"source": source, "outputs": [output]}).start() as job:
            for event in job:
                if event.type == "saved":
                    print(f"{event.path}: {event.duration:.2f} s, {event.bytes} bytes")
                elif event.type == "progress" and event.time >= seconds:
                    job.stop()
                elif event.type == "progress" and event.time > seconds / 2 and not cut:
                    cut = True
                    job.split()
                    # Whatever happened between these two would be in neither file.
                    job.pause()
                    job.resume()
    except gs.Error as error:
        sys.exit(f"record.py: {error}")


if __name__ == "__main__":
    main()
