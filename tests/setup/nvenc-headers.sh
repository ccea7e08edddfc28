#!/bin/sh
# Puts the published copies of NVIDIA's headers into FOLDER/<API version>/ (nvEncodeAPI.h, and cuviddec.h and nvcuvid.h where
# the package has them): 11.1 from Debian's libffmpeg-nvenc-dev, 12.1 and 13.0 from crates that carry them.
#   tests/setup/nvenc-headers.sh FOLDER
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
manifest=$here/nvenc-headers/Cargo.toml

# take EXPECTED HEADER: EXPECTED is the API version that the copy must have.
take() {
    found=$(sed -n 's/^#define NVENCAPI_M[AJINOR]*_VERSION *\([0-9]*\).*/\1/p' "$2" | paste -sd.)
    if [ "$found" != "$1" ]; then
        echo "setup: $2 is API $found and not $1" >&2
        exit 1
    fi
    mkdir -p "$folder/$1"
    cp "$2" "$folder/$1/"
    for beside in cuviddec.h nvcuvid.h; do
        [ ! -f "$(dirname "$2")/$beside" ] || cp "$(dirname "$2")/$beside" "$folder/$1/"
    done
}

cargo fetch --quiet --locked --manifest-path "$manifest"
sources=$(cargo metadata --quiet --locked --offline --format-version 1 --manifest-path "$manifest" |
    grep -o '"manifest_path":"[^"]*"' | sed 's/^"manifest_path":"//; s/"$//; s|/Cargo.toml$||')
# of PACKAGE: its folder among the fetched sources.
of() { echo "$sources" | grep "/$1-[0-9.]*\$"; }

take 12.1 "$(of moq-nvenc)/src/sys/headers/nvEncodeAPI.h"
take 13.0 "$(of shiguredo_nvcodec)/third_party/nvcodec/include/nvEncodeAPI.h"
cmp "$(of moq-nvenc)/src/sys/headers/nvEncodeAPI.h" "$(of nvidia-video-codec-sdk)/src/sys/headers/nvEncodeAPI.h" >&2 || {
    echo "setup: the two copies of nvEncodeAPI.h 12.1 differ" >&2
    exit 1
}
# Debian 12 has 11.1; a later Debian has a later one, under which name it is put.
debian=/usr/include/ffnvcodec/nvEncodeAPI.h
take "$(sed -n 's/^#define NVENCAPI_M[AJINOR]*_VERSION *\([0-9]*\).*/\1/p' "$debian" | paste -sd.)" "$debian"
