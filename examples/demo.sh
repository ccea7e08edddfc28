#!/usr/bin/env bash
# `make demo`: one real clip becomes a file and an ABR ladder, from the command, from C and from Python, and a stream of the
# server.
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
# The server: the same clip as a stream that plays at once and can be sought anywhere.
server=
trap '[ -z "$server" ] || kill "$server"' EXIT
mkdir -p "$out/server"
cat >"$out/server/ghoststream.yaml" <<YAML
server: {host: 127.0.0.1, port: 0}
mdns: {enabled: false, udp_enabled: false}
transcoding: {temp_directory: $PWD/$out/server/jobs}
hardware: {tier: ultra}  # every rung, however small this machine is
security: {state_directory: $PWD/$out/server/state, sources: {local_roots: ["$(dirname "$clip")"]}}
YAML
echo
echo "\$ ghoststream serve --config $out/server/ghoststream.yaml &"
"$GS_CLI" serve --config "$out/server/ghoststream.yaml" >"$out/server/log" 2>&1 &
server=$!
url=
for _ in $(seq 200); do
    url=$(sed -n 's/.*listening on \(http:[^" ]*\).*/\1/p' "$out/server/log" | head -1)
    [ -z "$url" ] || break
    kill -0 "$server" 2>/dev/null || { cat "$out/server/log" >&2 && exit 1; }
    sleep 0.05
done
show "$GS_TARGET_DIR/venv/bin/python" examples/python/watch.py "${url#http://}" "$clip"
if [ -n "${GS_NODE_MODULES:-}" ] && [ -n "${GS_CHROMIUM:-}" ]; then
    show node tests/server/shot.mjs "$url" "$clip" "$out/page.png"
fi

echo
echo "Look at: $out/film.mp4, $out/ladder/master.m3u8 (HLS), $out/ladder/manifest.mpd (DASH)"
echo "To watch the ladder in a browser player, serve the folder: python3 -m http.server -d $out/ladder"
[ ! -f "$out/page.png" ] || echo "The server's page while it plays the clip, after a seek to 80 %: $out/page.png"
page="$url/?source=$("$GS_PYTHON" -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1]))' "$clip")"
if [ -t 1 ]; then
    echo "The server runs: open $page and press Start. Ctrl-C stops it."
    wait "$server" || true
else
    echo "The server's page was at $page (run make demo in a terminal to keep it)"
fi
