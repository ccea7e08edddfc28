# The published headers that set-up fetched: <API version>/nvEncodeAPI.h.
. "$root/tests/setup/env.sh"
if [ -z "${GS_NVENC_HEADERS:-}" ]; then
    echo "standin: GS_NVENC_HEADERS is not set: run tests/setup/setup.sh test" >&2
    exit 1
fi
compile+=(-isystem "$GS_NVENC_HEADERS")
