#!/usr/bin/env bash
# `make demo`: one real clip becomes a file and an ABR ladder, from the command, from C and from Python.
set -euo pipefail
cd "$(dirname "$0")/.."

out=demo-out
clip=$("$GS_PYTHON" tests/setup/footage.py demo)
rm -rf "$out"
mkdir -p "$out"
show() {
    echo
    echo "\$ $*"
    "$@"
}

show "$GS_CLI" transcode "$clip" "$out/film.mp4" --video h264 --crf 23 --audio aac:128k
show "$GS_CLI" transcode "$clip" "$out/ladder/" --ladder auto --format hls+dash

export PKG_CONFIG_PATH=$GS_STAGE/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
# shellcheck disable=SC2046 # a list of flags
show cc -std=c99 -Wall -Wextra -o "$GS_TARGET_DIR/demo-transcode" examples/c/transcode.c \
    $(pkg-config --cflags --libs ghoststream) "-Wl,-rpath,$GS_STAGE/lib"
show "$GS_TARGET_DIR/demo-transcode" "$clip" "$out/from-c.mp4"
show "$GS_TARGET_DIR/venv/bin/python" examples/python/transcode.py "$clip" "$out/from-python.mp4"

echo
echo "What was made, as ffprobe sees it:"
for file in "$out"/*.mp4 "$out"/ladder/*.m3u8; do
    printf '  %-28s ' "$file"
    ffprobe -v error -show_entries stream=codec_name,width,height:format=duration -of csv=p=0:s=x "$file" |
        paste -sd ' '
done
echo
echo "Look at: $out/film.mp4, $out/ladder/master.m3u8 (HLS), $out/ladder/manifest.mpd (DASH)"
echo "To watch the ladder in a browser player, serve the folder: python3 -m http.server -d $out/ladder"
