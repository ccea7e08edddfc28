"""Streams a screen to a server, which may be twitch:KEY or youtube:KEY, and tells how it goes:

stream.py screen|pattern rtmp://HOST/APP/KEY|srt://HOST:PORT SECONDS
"""

import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("usage: stream.py screen|pattern URL SECONDS")
    kind, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    source = {"screen": {}} if kind == "screen" else {"pattern": {"tone": True}, "realtime": True}
    video = {"codec": "h264", "preset": "p1", "tune": "ll", "bitrate": "2M", "cbr": True, "keyframe_interval": 2}
    # The bit rate follows the network down to 500 kbit/s and up again; a connection that breaks is made again.
    push = {"adapt": {"min_bitrate": "500k"}, "reconnects": 10}
    output = {"path": url, "video": video, "audio": {"codec": "aac"}, "push": push}
    try:
        with gs.Pipeline({"source": source, "outputs": [output]}).start() as job:
            for event in job:
                if event.type == "push":
                    print(f"{event.state}", flush=True)
                elif event.type == "bitrate":
                    print(f"{event.before} -> {event.bitrate} bit/s", flush=True)
                elif event.type == "progress" and event.time >= seconds:
                    job.stop()
    except gs.Error as error:
        sys.exit(f"stream.py: {error}")


if __name__ == "__main__":
    main()
