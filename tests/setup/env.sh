# Sourced by the Makefile's recipes, .ci/run and the test drivers: where set-up put things.
# Works in any POSIX shell; exports only variables whose target exists, except the cache itself.
: "${GS_CACHE_DIR:=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/ghoststream}"
export GS_CACHE_DIR
if [ -x "$GS_CACHE_DIR/venv/bin/python" ]; then
    GS_PYTHON="$GS_CACHE_DIR/venv/bin/python"
    export GS_PYTHON
fi
# FFmpeg 9 (static, libvmaf) from the Python package imageio-ffmpeg.
if [ -x "$GS_CACHE_DIR/bin/ffmpeg9" ]; then
    GS_FFMPEG9="$GS_CACHE_DIR/bin/ffmpeg9"
    export GS_FFMPEG9
fi
if [ -d "$GS_CACHE_DIR/node/node_modules" ]; then
    GS_NODE_MODULES="$GS_CACHE_DIR/node/node_modules"
    export GS_NODE_MODULES
fi
if [ -z "${GS_CHROMIUM:-}" ]; then
    for gs_name in chromium chromium-browser google-chrome; do
        if command -v "$gs_name" >/dev/null 2>&1; then
            GS_CHROMIUM=$(command -v "$gs_name")
            export GS_CHROMIUM
            break
        fi
    done
    unset gs_name
fi
# cbindgen at the pinned version, for `make generate`.
if [ -x "$GS_CACHE_DIR/tools/bin/cbindgen" ]; then
    GS_CBINDGEN="$GS_CACHE_DIR/tools/bin/cbindgen"
    export GS_CBINDGEN
fi
# MediaMTX, a peer of pushed and of live streams.
if [ -x "$GS_CACHE_DIR/tools/bin/mediamtx" ]; then
    GS_MEDIAMTX="$GS_CACHE_DIR/tools/bin/mediamtx"
    export GS_MEDIAMTX
fi
# multimux, what the live origin is measured beside.
if [ -x "$GS_CACHE_DIR/tools/bin/multimux" ]; then
    GS_MULTIMUX="$GS_CACHE_DIR/tools/bin/multimux"
    export GS_MULTIMUX
fi
# Apache Kafka: its jars.
if [ -d "$GS_CACHE_DIR/kafka/lib" ]; then
    GS_KAFKA="$GS_CACHE_DIR/kafka/lib"
    export GS_KAFKA
fi
# NVIDIA's headers as packages carry them: <API version>/nvEncodeAPI.h.
if [ -d "$GS_CACHE_DIR/nvenc-headers" ]; then
    GS_NVENC_HEADERS="$GS_CACHE_DIR/nvenc-headers"
    export GS_NVENC_HEADERS
fi
