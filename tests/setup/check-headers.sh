#!/usr/bin/env bash
# The public headers, alone, as every C and C++ standard that they promise, with every warning an error,
# through gcc and clang.
set -euo pipefail
cd "$(dirname "$0")/../.."

strict=(-Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -Ibindings/c)
count=0
check() { # COMPILER LANGUAGE STANDARD HEADER
    command -v "$1" >/dev/null || return 0
    echo "#include \"$4\"" | "$1" -x "$2" -std="$3" "${strict[@]}" -
    count=$((count + 1))
}
for standard in c99 c11 c17; do
    check gcc c $standard ghoststream.h
    check clang c $standard ghoststream.h
done
for standard in c++11 c++14 c++17 c++20; do
    check g++ c++ $standard ghoststream.h
    check clang++ c++ $standard ghoststream.h
done
for standard in c++17 c++20; do
    check g++ c++ $standard ghoststream.hpp
    check clang++ c++ $standard ghoststream.hpp
done
echo "headers: $count compilations without a warning"
