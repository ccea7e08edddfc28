#!/usr/bin/env bash
# Builds the stand-in driver into target/standin (or the folder given). Compiles only what changed; a second run does nothing.
# Needs g++ and Debian's libffmpeg-nvenc-dev (the published headers of CUDA's driver API, NVENC and NVDEC).
#   tests/standin/build.sh [FOLDER]
# A library is the .cpp files of its folders here. A folder's own needs stand in FOLDER/flags.sh, which is sourced and may
# add to the arrays `compile` and `link`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-${GS_TARGET_DIR:-${CARGO_TARGET_DIR:-$root/target}}/standin}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Two test runs may build at once.
exec 9>"$out/.lock"
flock 9

# object SOURCE OBJECT FLAGS...: compiles unless the object is newer than all that the last compilation read.
object() {
    local source=$1 object=$2 file fresh=yes
    shift 2
    if [ -e "$object" ] && [ -e "$object.d" ] && [ "$object" -nt "$here/build.sh" ]; then
        for file in $(sed 's/^[^:]*://; s/\\$//' "$object.d"); do
            { [ -e "$file" ] && [ ! "$file" -nt "$object" ]; } || fresh=no
        done
        [ $fresh = no ] || return 0
    fi
    mkdir -p "$(dirname "$object")"
    g++ -std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pthread -I"$here" "$@" \
        -MMD -MF "$object.d" -c -o "$object" "$source"
}

# library NAME FOLDERS LINK-FLAGS...
library() {
    local name=$1 folders=$2 folder source objects=() compile link=() stale=no running=0
    shift 2
    for folder in $folders; do
        compile=()
        # shellcheck source=/dev/null
        [ ! -e "$here/$folder/flags.sh" ] || . "$here/$folder/flags.sh"
        for source in "$here/$folder"/*.cpp; do
            [ -e "$source" ] || continue
            objects+=("$out/obj/$folder/$(basename "$source" .cpp).o")
            object "$source" "${objects[-1]}" ${compile[@]+"${compile[@]}"} &
            running=$((running + 1))
            if [ $running -ge "$(nproc)" ]; then
                wait -n
                running=$((running - 1))
            fi
        done
    done
    while [ $running -gt 0 ]; do
        wait -n
        running=$((running - 1))
    done
    [ ${#objects[@]} -gt 0 ] || return 0
    [ -e "$out/$name" ] || stale=yes
    for source in "${objects[@]}"; do [ ! "$source" -nt "$out/$name" ] || stale=yes; done
    [ $stale = yes ] || return 0
    # nodelete: what was allocated outlives a dlclose, as it does with the real driver.
    g++ -shared -pthread -Wl,-soname,"$name" -Wl,-rpath,"\$ORIGIN" -Wl,-z,defs -Wl,-z,nodelete -o "$out/$name.new" \
        "${objects[@]}" -L"$out" "$@" ${link[@]+"${link[@]}"} -ldl
    mv "$out/$name.new" "$out/$name"
}

library libcuda.so.1 "cuda profiles"
library libnvidia-ml.so.1 nvml -l:libcuda.so.1
library libnvcuvid.so.1 cuvid -l:libcuda.so.1
library libnvidia-encode.so.1 nvenc -l:libcuda.so.1
# EGL on this machine's own, in a folder of its own: only who wants it has that in LD_LIBRARY_PATH.
egl=$(/sbin/ldconfig -p | sed -n 's/.*libEGL\.so\.1 .*x86-64.*=> //p' | head -n 1)
if [ -n "$egl" ]; then
    object "$here/egl/egl.cpp" "$out/obj/egl/egl.o" -DREAL="\"$egl\""
    if [ ! "$out/egl/libEGL.so.1" -nt "$out/obj/egl/egl.o" ]; then
        mkdir -p "$out/egl"
        g++ -shared -pthread -Wl,-soname,libEGL.so.1 -Wl,-z,defs -Wl,-z,nodelete -o "$out/egl/new" "$out/obj/egl/egl.o" -ldl
        mv "$out/egl/new" "$out/egl/libEGL.so.1"
    fi
fi
# The project's CUDA kernels as C++: libcuda.so.1 runs them in place of PTX.
"$root/core/engine/kernels/cpu/build.sh" "$out/libgs_kernels_cpu.so"
