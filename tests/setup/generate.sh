#!/usr/bin/env bash
# Rewrites the committed files that are made from the code. CI runs this and fails when git sees a change.
#   --list   only name them
set -euo pipefail
cd "$(dirname "$0")/../.."

header=include/ghoststream.h
symbols=tests/abi/symbols.txt
schema=core/engine/schema/pipeline.schema.json
openapi=core/server/schema/openapi.json
kafka=core/server/schema/kafka.schema.json
ptx=core/engine/kernels/kernels.ptx
if [ "${1:-}" = --list ]; then
    printf '%s\n' "$header" "$symbols" "$schema" "$openapi" "$kafka" "$ptx"
    exit 0
fi

# into FILE COMMAND...: FILE is replaced only when the command worked.
into() {
    local file=$1 part=$1.part
    shift
    mkdir -p "$(dirname "$file")"
    if ! "$@" >"$part"; then
        rm -f "$part"
        echo "generate: could not make $file" >&2
        exit 1
    fi
    mv "$part" "$file"
    echo "  $file"
}

# The test that compares the header and the symbol table with the code also writes them.
# All packages, as `make test` has built them: another choice would build the dependencies anew.
GS_REGENERATE=1 cargo test -q --workspace --test header >/dev/null
echo "  $header"
echo "  $symbols"
cargo build -q --workspace
command=${CARGO_TARGET_DIR:-target}/debug/ghoststream
into "$schema" "$command" schema
into "$openapi" "$command" config --print-openapi
into "$kafka" "$command" config --print-kafka-schema

# Without NVRTC (a machine that is neither x86-64 nor arm64 Linux) the committed text stays.
code=0
"${GS_PYTHON:-python3}" core/engine/kernels/generate.py || code=$?
[ $code != 77 ] || [ "${GS_REQUIRE_PEERS:-}" = 1 ] || code=0
[ $code = 0 ] || exit $code
echo "  $ptx"
