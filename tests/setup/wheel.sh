#!/usr/bin/env bash
# Builds the Python package and installs it into target/venv, which also sees the packages of the shared
# environment in the cache (numpy, pytest, ...), so that each checkout has its own ghoststream.
#   tests/setup/wheel.sh PROFILE
set -euo pipefail
cd "$(dirname "$0")/../.."

wheels=$GS_TARGET_DIR/wheels/$1
venv=$GS_TARGET_DIR/venv
rm -rf "$wheels"
# The libraries of FFmpeg are the system's, so the wheel is for this machine: no audit, no bundling.
"$(dirname "$GS_PYTHON")/maturin" build -q -m bindings/python/Cargo.toml --profile "$1" --auditwheel skip -o "$wheels"

if [ ! -x "$venv/bin/python" ]; then
    "$GS_PYTHON" -m venv "$venv"
    shared=$("$GS_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$shared" >"$own/set-up.pth"
fi
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
echo "wheel: $(ls "$wheels"/*.whl)"
