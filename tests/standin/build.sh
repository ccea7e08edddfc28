#!/usr/bin/env bash
# Builds the stand-in driver into target/standin (or $1). Compiles only what is older than its sources; a second run
# does nothing. Needs g++ and Debian's libffmpeg-nvenc-dev (the published headers of CUDA's driver API, NVENC, NVDEC).
#   tests/standin/build.sh [FOLDER]
# A library is a folder here: every .cpp in it, plus what the table at the end says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-${GS_TARGET_DIR:-${CARGO_TARGET_DIR:-$root/target}}/standin}
mkdir -p "$out"
out=$(cd "$out" && pwd)

flags=(-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pthread -I"$here" -isystem /usr/include)

# Two test runs may build at once.
exec 9>"$out/.lock"
flock 9

# library NAME SOURCES LINK-FLAGS...
library() {
    local name=$1 target=$out/$1 sources=() source newer=no
    read -ra sources <<<"$2"
    shift 2
    if [ -e "$target" ]; then
        for source in "${sources[@]}" "$here"/*/*.h "$here"/build.sh; do
            [ "$source" -nt "$target" ] && newer=yes
        done
        [ $newer = no ] && return
    fi
    rm -f "$target"
    g++ "${flags[@]}" -shared -Wl,-soname,"$name" -Wl,-rpath,'$ORIGIN' -Wl,-z,defs -o "$target.new" "${sources[@]}" \
        -L"$out" "$@" -ldl
    mv "$target.new" "$target"
}
cpp() { printf '%s ' "$here/$1"/*.cpp; }
present() { compgen -G "$here/$1/*.cpp" >/dev/null; }

library libcuda.so.1 "$(cpp cuda) $(cpp profiles)"
if present nvml; then library libnvidia-ml.so.1 "$(cpp nvml)" -l:libcuda.so.1; fi
if present cuvid; then library libnvcuvid.so.1 "$(cpp cuvid)" -l:libcuda.so.1; fi
if present nvenc; then library libnvidia-encode.so.1 "$(cpp nvenc)" -l:libcuda.so.1; fi
