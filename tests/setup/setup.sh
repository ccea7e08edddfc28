#!/bin/sh
# Installs what is missing, and only that. `make demo` and `make test` both start here.
#
#   tests/setup/setup.sh build   compilers, FFmpeg and its headers
#   tests/setup/setup.sh gpu     for `make test-gpu`: what `test` sets up; where that was done once, nothing but build's is asked for
#   tests/setup/setup.sh demo    build + a Python environment with maturin and numpy
#   tests/setup/setup.sh test    demo + peers: FFmpeg 9, PyAV, Chromium and players, Zig, valgrind, cbindgen, Vulkan in software,
#                                NVIDIA's published headers and clients for the stand-in driver, Apache Kafka, MediaMTX
#   tests/setup/setup.sh bench   test + what is only measured beside: multimux
#
# Each need is probed by what it provides (a command, a header, a pkg-config module), so a machine that has
# it from elsewhere is left alone. Packages come from apt where there is one. Everything else is kept outside
# the tree in $GS_CACHE_DIR (default ~/.cache/ghoststream). Running it again when nothing is missing takes
# a fraction of a second and touches nothing.
set -eu

level=${1:-build}
measured=""
case $level in
    build | gpu | demo | test) ;;
    bench) level=test measured=yes ;;
    *)
        echo "usage: $0 build|gpu|demo|test|bench" >&2
        exit 2
        ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/env.sh"

# The stand-in's headers and the tests' Python live in the cache. Whoever has neither is set up as for all the tests.
if [ "$level" = gpu ]; then
    for stamp in python-test nvenc-headers; do
        ls "$GS_CACHE_DIR/stamps/$stamp"-* >/dev/null 2>&1 || level=test
    done
fi

say() { echo "setup: $*" >&2; }
die() {
    echo "setup: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- system packages -------------------------------------------------------------------------------------

missing=""
# want PACKAGE TEST...: PACKAGE is missing when TEST fails.
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
want_module() { # PACKAGE MODULE
    case $modules in ok) ;; *) want "$1" pkg-config --exists "$2" ;; esac
}
certificates() { test -s /etc/ssl/certs/ca-certificates.crt || test -d /etc/pki; }
dejavu() {
    test -f /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf || { have fc-list && fc-list | grep -q DejaVuSans; }
}
# By the names that bindgen looks for: LLVM and Mesa bring a libclang-cpp, which is another library.
libclang() {
    ls /usr/lib/llvm-*/lib/libclang* /usr/lib/*/libclang* /usr/local/lib/libclang* 2>/dev/null |
        grep -qE '/libclang(-[0-9.]+)?\.so(\.[0-9.]+)?$'
}
# A driver that Vulkan's loader finds; Mesa's has one in software.
vulkan_driver() { ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json 2>/dev/null | grep -q .; }
gst_plugin() { ls /usr/lib/*/gstreamer-1.0/"libgst$1.so" /usr/local/lib/gstreamer-1.0/"libgst$1.so" 2>/dev/null | grep -q .; }
node_is_new() { have node && node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)'; }

find_missing() {
    missing=""
    modules=""
    if pkg-config --exists libavcodec libavformat libavfilter libavutil libswscale libswresample libavdevice \
        2>/dev/null; then modules=ok; fi
    want pkg-config have pkg-config
    want gcc have gcc
    want g++ have g++
    want libc6-dev test -f /usr/include/stdio.h
    want cmake have cmake
    want make have make
    want ca-certificates certificates
    for library in avcodec avformat avfilter avutil swscale swresample avdevice; do
        want_module "lib$library-dev" "lib$library"
    done
    want ffmpeg have ffmpeg
    # PipeWire's headers, and the library that makes Rust of them when the `pipewire` crate is built.
    want libpipewire-0.3-dev pkg-config --exists libpipewire-0.3
    want libclang-dev libclang
    # DTLS and SRTP of WebRTC are sealed by the system's OpenSSL.
    want libssl-dev pkg-config --exists openssl
    # Kafka's client; the system's takes no time, its sources eight minutes.
    want librdkafka-dev pkg-config --exists rdkafka
    [ "$level" = build ] && return
    if [ "$level" = gpu ]; then
        want python3 have python3
        want python3-numpy "${GS_PYTHON:-python3}" -c 'import numpy'
        want python3-pytest "${GS_PYTHON:-python3}" -c 'import pytest'
        want libffmpeg-nvenc-dev test -f /usr/include/ffnvcodec/nvEncodeAPI.h
        return
    fi
    want python3 have python3
    want python3-venv python3 -c 'import venv, ensurepip'
    want fonts-dejavu-core dejavu
    [ "$level" = demo ] && return
    want nodejs node_is_new
    want npm have npm
    want chromium test -n "${GS_CHROMIUM:-}"
    want systemd have systemd-analyze
    want xvfb have Xvfb
    want valgrind have valgrind
    # Receivers of streams: nginx's RTMP module, and SRT's own tool.
    want nginx-light test -x /usr/sbin/nginx
    want libnginx-mod-rtmp test -f /usr/lib/nginx/modules/ngx_rtmp_module.so
    want srt-tools have srt-live-transmit
    # A broker: Apache Kafka is Java's, and comes with Maven.
    want default-jre-headless have java
    want maven have mvn
    # Another stack of mDNS, and a load generator for the server's benchmarks.
    want avahi-daemon test -x /usr/sbin/avahi-daemon
    want avahi-utils have avahi-browse
    want wrk have wrk
    want openssl have openssl
    want curl have curl
    want clang have clang
    want mesa-vulkan-drivers vulkan_driver
    # EGL and OpenGL in software, over which the stand-in GPU imports DMA-BUFs.
    want libegl1 test -e /usr/lib/x86_64-linux-gnu/libEGL.so.1 -o -e /usr/lib64/libEGL.so.1
    want libegl-mesa0 test -e /usr/lib/x86_64-linux-gnu/libEGL_mesa.so.0 -o -e /usr/lib64/libEGL_mesa.so.0
    want libgl1-mesa-dri test -e /usr/lib/x86_64-linux-gnu/dri/swrast_dri.so -o -d /usr/lib64/dri
    want libgles2 test -e /usr/lib/x86_64-linux-gnu/libGLESv2.so.2 -o -e /usr/lib64/libGLESv2.so.2
    want libffmpeg-nvenc-dev test -f /usr/include/ffnvcodec/nvEncodeAPI.h
    # The stand-in for NVIDIA's driver (tests/standin) codes AV1 with libaom, and GStreamer's nvcodec plugin is one of its clients.
    want libaom-dev pkg-config --exists aom
    want gstreamer1.0-plugins-bad gst_plugin nvcodec
    want gstreamer1.0-plugins-base gst_plugin videotestsrc
    want gstreamer1.0-plugins-good gst_plugin matroska
    want gstreamer1.0-rtsp gst_plugin rtspclientsink
    want gstreamer1.0-tools have gst-launch-1.0
    # GStreamer's RTSP server, and a player that is no browser.
    want gir1.2-gst-rtsp-server-1.0 /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")'
    want mpv have mpv
    # A session of its own for captured sound and the virtual camera (tests/capture).
    want dbus have dbus-daemon
    want pipewire have pipewire
    want pipewire-bin have pw-play
    want pipewire-pulse have pipewire-pulse
    want pulseaudio-utils have pactl
    want wireplumber have wireplumber
    want gstreamer1.0-pipewire gst_plugin pipewire
    # Chromium comes to cameras through the portal; its backend in tests/capture is run by the system's Python.
    want xdg-desktop-portal test -x /usr/libexec/xdg-desktop-portal
    want python3-dbus /usr/bin/python3 -c 'import dbus'
    want python3-gi /usr/bin/python3 -c 'import gi'
    # A compositor without a screen, something to show on it, and peers that capture it.
    want sway have sway
    want swaybg have swaybg
    want grim have grim
    want wf-recorder have wf-recorder
}

find_missing
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # a list of package names
    set -- $missing
    if ! have apt-get; then
        die "these are missing and there is no apt-get to install them with; install them or their equivalents: $*"
    fi
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "these packages are missing: $*. Run as root: apt-get install --no-install-recommends $*"
        sudo="sudo"
    fi
    say "installing $*"
    $sudo apt-get update -qq -o DPkg::Lock::Timeout=300 || say "apt-get update failed; trying with the lists there are"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" >&2 ||
        die "apt-get could not install: $*"
    . "$here/env.sh"
    find_missing
    [ -z "$missing" ] || die "still missing after the installation:$missing (too old a release?)"
fi

have cargo || die "Rust is missing: install it with rustup, 1.95 or newer, and run this again"

case $level in build | gpu) exit 0 ;; esac

# --- what lives in the cache -----------------------------------------------------------------------------

venv=$GS_CACHE_DIR/venv
stamps=$GS_CACHE_DIR/stamps

# stamp FILE...: a name that changes with the content of the files.
stamp() { cat "$@" | cksum | tr -d ' '; }
requirements=$(stamp "$here"/requirements-*.txt)
python_stamp=$stamps/python-$level-$requirements
node_stamp=$stamps/node-$(stamp "$root/tests/e2e/package-lock.json")
cbindgen_version=$(cat "$here/cbindgen-version")
cbindgen_stamp=$stamps/cbindgen-$cbindgen_version
kafka_stamp=$stamps/kafka-$(stamp "$here/kafka/pom.xml")
mediamtx_stamp=$stamps/mediamtx-$(stamp "$here/mediamtx.sh")
multimux_version=0.12.0
multimux_stamp=$stamps/multimux-$multimux_version
nvenc_stamp=$stamps/nvenc-headers-$(stamp "$here/nvenc-headers.sh" "$here/nvenc-headers/Cargo.lock")

# Whether MediaMTX is there, or could not be made less than a day ago.
mediamtx_is_done() {
    [ -e "$mediamtx_stamp" ] || [ -n "$(find "$mediamtx_stamp.failed" -mmin -1440 2>/dev/null)" ]
}
fresh() {
    [ -e "$python_stamp" ] && [ -x "$venv/bin/python" ] || return 1
    [ "$level" = demo ] && return 0
    [ -e "$node_stamp" ] && [ -e "$cbindgen_stamp" ] && [ -x "$GS_CACHE_DIR/bin/ffmpeg9" ] &&
        [ -e "$nvenc_stamp" ] && [ -e "$kafka_stamp" ] && mediamtx_is_done || return 1
    [ -z "$measured" ] || [ -e "$multimux_stamp" ]
}
if fresh; then exit 0; fi

mkdir -p "$stamps" "$GS_CACHE_DIR/bin"
# Two checkouts may set up at once; they share the cache.
if have flock; then
    exec 9>"$GS_CACHE_DIR/.lock"
    flock 9
fi

if [ ! -e "$python_stamp" ] || [ ! -x "$venv/bin/python" ]; then
    say "Python environment ($level) in $venv"
    # `python -m venv` repairs one that is there; one whose interpreter is gone has to be made anew.
    "$venv/bin/python" -c 'import pip' 2>/dev/null || rm -rf "$venv"
    [ -d "$venv" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements-$level.txt"
    : >"$python_stamp"
    : >"$stamps/python-demo-$requirements" # what tests need includes what the demo needs
fi
[ "$level" = demo ] && exit 0

ln -sfn "$("$venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" \
    "$GS_CACHE_DIR/bin/ffmpeg9"

if [ ! -e "$node_stamp" ]; then
    say "browser players in $GS_CACHE_DIR/node"
    mkdir -p "$GS_CACHE_DIR/node"
    cp "$root/tests/e2e/package.json" "$root/tests/e2e/package-lock.json" "$GS_CACHE_DIR/node/"
    # Scripts are off: nothing here needs a build step, and playwright-core must not look for its own browser.
    (cd "$GS_CACHE_DIR/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
    : >"$node_stamp"
fi

if [ ! -e "$cbindgen_stamp" ]; then
    say "cbindgen $cbindgen_version in $GS_CACHE_DIR/tools"
    cargo install --quiet --locked --version "$cbindgen_version" --root "$GS_CACHE_DIR/tools" \
        --target-dir "$GS_CACHE_DIR/tools/target" cbindgen >&2
    rm -rf "$GS_CACHE_DIR/tools/target"
    : >"$cbindgen_stamp"
fi

if ! mediamtx_is_done; then
    say "MediaMTX in $GS_CACHE_DIR/tools"
    # Its proxy may not answer, which is no reason to do without the rest: what wants it says that it is missing.
    if "$here/mediamtx.sh" "$GS_CACHE_DIR/tools/bin/mediamtx" >&2; then
        : >"$mediamtx_stamp"
    else
        say "MediaMTX could not be built: what needs it is skipped, and it is tried again in a day"
        : >"$mediamtx_stamp.failed"
    fi
fi

if [ -n "$measured" ] && [ ! -e "$multimux_stamp" ]; then
    say "multimux $multimux_version in $GS_CACHE_DIR/tools"
    # Not --locked: it names versions that a registry's mirror may not have.
    cargo install --quiet --version "$multimux_version" --root "$GS_CACHE_DIR/tools" \
        --target-dir "$GS_CACHE_DIR/tools/target" multimux-cli >&2
    rm -rf "$GS_CACHE_DIR/tools/target"
    : >"$multimux_stamp"
fi

if [ ! -e "$kafka_stamp" ]; then
    say "Apache Kafka in $GS_CACHE_DIR/kafka"
    rm -rf "$GS_CACHE_DIR/kafka"
    # Built from a copy: the tree stays as it is. Maven's own settings say from where.
    mkdir -p "$GS_CACHE_DIR/kafka"
    cp "$here/kafka/pom.xml" "$GS_CACHE_DIR/kafka/"
    (cd "$GS_CACHE_DIR/kafka" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >&2
    : >"$kafka_stamp"
fi

if [ ! -e "$nvenc_stamp" ]; then
    say "NVIDIA's headers, as packages carry them, in $GS_CACHE_DIR/nvenc-headers"
    rm -rf "$GS_CACHE_DIR/nvenc-headers"
    "$here/nvenc-headers.sh" "$GS_CACHE_DIR/nvenc-headers"
    : >"$nvenc_stamp"
fi
