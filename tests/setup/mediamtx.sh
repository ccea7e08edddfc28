#!/bin/sh
# Builds MediaMTX, a peer of pushed and of live streams, from Go's module proxy:  mediamtx.sh FILE
# It needs Go 1.24: the machine's own, or where that is older or there is none, Go's toolchain from the same proxy, which is only
# kept for the build. The module lacks two files that its own releases make: its version, and a player that nobody here asks for.
set -eu
version=v1.12.3
toolchain=go1.24.11
sum=8a9685c09d449928863152512648530dafde05e7d41fcbb21baba3a852e84ef4
out=$1
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# is_new GO: whether it is 1.24 or newer.
is_new() {
    minor=$(GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 24 ]
}
go=
for found in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    if is_new "$found"; then
        go=$found
        break
    fi
done
if [ -z "$go" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || {
        echo "MediaMTX: Go 1.24 is missing, and its toolchain is only fetched for Linux on x86-64" >&2
        exit 1
    }
    proxy=${GOPROXY:-https://proxy.golang.org}
    echo "MediaMTX: fetching $toolchain" >&2
    python3 - "${proxy%%[,|]*}/golang.org/toolchain/@v/v0.0.1-$toolchain.linux-amd64.zip" "$sum" "$work" <<'PYTHON'
import hashlib, pathlib, shutil, sys, urllib.request, zipfile

url, wanted, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
with urllib.request.urlopen(url, timeout=60) as answer, open(work / "go.zip", "wb") as file:
    shutil.copyfileobj(answer, file)
with open(work / "go.zip", "rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()
if found != wanted:
    sys.exit(f"MediaMTX: Go's toolchain has the checksum {found} and not {wanted}")
with zipfile.ZipFile(work / "go.zip") as archive:
    archive.extractall(work / "toolchain")
root = next((work / "toolchain/golang.org").iterdir())
# Modules know no permissions.
for tool in [*(root / "bin").iterdir(), *(root / "pkg/tool").rglob("*")]:
    tool.chmod(0o755)
(work / "go.zip").unlink()
root.rename(work / "go")
PYTHON
    go=$work/go/bin/go
fi

export GOMODCACHE="$work/mod" GOCACHE="$work/cache" GOFLAGS="-modcacherw -mod=mod" GOTOOLCHAIN=local CGO_ENABLED=0
"$go" mod download "github.com/bluenviron/mediamtx@$version"
cp -r "$work/mod/github.com/bluenviron/mediamtx@$version" "$work/source"
chmod -R u+w "$work/source"
cd "$work/source"
echo "$version" >internal/core/VERSION
: >internal/servers/hls/hls.min.js
mkdir -p "$(dirname "$out")"
"$go" build -ldflags "-s -w" -o "$out.part" .
mv "$out.part" "$out"
