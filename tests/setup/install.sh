#!/usr/bin/env bash
# Copies what was built to its place: called by `make install` and `make uninstall` with the folders in the
# environment (OUT, VERSION, DESTDIR, PREFIX, BINDIR, LIBDIR, INCLUDEDIR, DATADIR).
set -euo pipefail
cd "$(dirname "$0")/../.."

remove=""
[ "${1:-}" = --remove ] && remove=1

put() { # MODE SOURCE TARGET
    if [ -n "$remove" ]; then
        rm -f "$DESTDIR$3"
    else
        install -D -m "$1" "$2" "$DESTDIR$3"
        echo "  $DESTDIR$3"
    fi
}
link() { # CONTENT TARGET
    if [ -n "$remove" ]; then
        rm -f "$DESTDIR$2"
    else
        ln -sfn "$1" "$DESTDIR$2"
        echo "  $DESTDIR$2 -> $1"
    fi
}
# A template's @NAME@ are filled in; one that nobody knows is a mistake, not an empty string.
fill() { # SOURCE TARGET
    local text
    text=$(mktemp)
    sed -e "s|@PREFIX@|$PREFIX|g; s|@BINDIR@|$BINDIR|g; s|@LIBDIR@|$LIBDIR|g; s|@INCLUDEDIR@|$INCLUDEDIR|g; s|@VERSION@|$VERSION|g" \
        -e "s|@SONAME@|$soname|g" "$1" >"$text"
    if grep -nE '@[A-Z_]+@' "$text" >&2; then
        echo "install: $1 has a placeholder that install does not know" >&2
        rm -f "$text"
        exit 1
    fi
    put 644 "$text" "$2"
    rm -f "$text"
}

put 755 "$OUT/ghoststream" "$BINDIR/ghoststream"

library=$OUT/libghoststream.so
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
case $soname in
    libghoststream.so.[0-9]*) ;;
    *)
        echo "install: $library has no versioned SONAME (found '$soname')" >&2
        exit 1
        ;;
esac
real=libghoststream.so.$VERSION
put 755 "$library" "$LIBDIR/$real"
[ "$soname" = "$real" ] || link "$real" "$LIBDIR/$soname"
link "$soname" "$LIBDIR/libghoststream.so"
put 644 "$OUT/libghoststream.a" "$LIBDIR/libghoststream.a"
put 644 include/ghoststream.h "$INCLUDEDIR/ghoststream.h"
put 644 bindings/c/ghoststream.hpp "$INCLUDEDIR/ghoststream.hpp"
fill bindings/c/ghoststream.pc.in "$LIBDIR/pkgconfig/ghoststream.pc"
for template in bindings/c/cmake/*.cmake.in; do
    fill "$template" "$LIBDIR/cmake/ghoststream/$(basename "$template" .in)"
done

# Completions and the man page come from the command itself, so they cannot disagree with it.
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
for shell in bash zsh fish; do "$OUT/ghoststream" completions $shell >"$made/$shell"; done
"$OUT/ghoststream" man >"$made/man"
put 644 "$made/bash" "$DATADIR/bash-completion/completions/ghoststream"
put 644 "$made/zsh" "$DATADIR/zsh/site-functions/_ghoststream"
put 644 "$made/fish" "$DATADIR/fish/vendor_completions.d/ghoststream.fish"
put 644 "$made/man" "$DATADIR/man/man1/ghoststream.1"
fill core/server/service/ghoststream.service.in "$PREFIX/lib/systemd/system/ghoststream.service"
fill core/server/service/ghoststream-replay.service.in "$PREFIX/lib/systemd/user/ghoststream-replay.service"
