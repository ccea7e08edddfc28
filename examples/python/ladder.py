"""Makes an adaptive ladder for HLS and DASH from one decode, and says why it is as it is: ladder.py IN FOLDER"""

import sys

import ghoststream as gs


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: ladder.py IN FOLDER")
    try:
        pipeline = gs.Pipeline(
            {
                "source": {"url": sys.argv[1]},
                "outputs": [{"path": sys.argv[2], "format": "hls+dash", "ladder": "auto", "overwrite": True}],
            }
        )
        for track in pipeline.plan()["outputs"][0]["tracks"]:
            print(f"{track['kind']} {track['name']}: {track['action']} {track['codec']} {track['detail']}")
        with pipeline.start() as job:
            segments = 0
            for event in job:
                if event.type == "warning":
                    print(f"warning: {event.message}", file=sys.stderr)
                segments += event.type == "segment"
            done = job.wait()
    except gs.Error as error:
        sys.exit(f"ladder.py: {error}")
    print(f"{segments} segments in {done.elapsed:.1f} s; play {', '.join(done.outputs)}")


if __name__ == "__main__":
    main()
