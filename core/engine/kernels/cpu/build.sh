#!/usr/bin/env bash
# Builds the kernels for the CPU: FILE, by default libgs_kernels_cpu.so in target/standin. A second run does nothing.
#   core/engine/kernels/cpu/build.sh [FILE]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
out=${1:-${GS_TARGET_DIR:-${CARGO_TARGET_DIR:-$root/target}}/standin/libgs_kernels_cpu.so}
mkdir -p "$(dirname "$out")"
newer=$(find "$here" "$here/.." -maxdepth 1 \( -name '*.cu*' -o -name '*.cpp' -o -name '*.h' -o -name build.sh \) \
    -newer "$out" 2>&1 || true)
[ -e "$out" ] && [ -z "$newer" ] && exit 0
g++ -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Wl,-z,defs -o "$out.$$" "$here/launch.cpp"
mv "$out.$$" "$out"
