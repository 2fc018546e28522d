#!/bin/sh
# Each header is a page of the manual that can be read, and compiled, alone; the
# public one also as C++ and under -Wpedantic. (TAP)
set -u
scratch=$(mktemp -d "${TMPDIR:-/tmp}/msgpipe-headers.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT

number=0
result() { # result OUTCOME NAME
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        sed 's/^/# /' "$scratch/log"
    fi
}
# alone LANGUAGE HEADER COMPILER…: compiles a file that includes HEADER and nothing else.
alone() {
    language=$1 header=$2
    shift 2
    printf '#include "%s"\ntypedef int file_is_not_empty;\n' "$header" >"$scratch/alone.$language"
    "$@" -I"$MSGPIPE_SOURCE/lib" -Werror -Wall -Wextra -fsyntax-only \
        "$scratch/alone.$language" >"$scratch/log" 2>&1
}

# $CC and the flags may be several words.
# shellcheck disable=SC2086
alone c msgpipe.h ${CC:-cc} -std=c11 -Wpedantic
result $? "msgpipe.h compiles alone as C11"
if command -v "${CXX:-c++}" >/dev/null 2>&1; then
    alone cc msgpipe.h "${CXX:-c++}" -std=c++11 -Wpedantic
    result $? "msgpipe.h compiles alone as C++11"
else
    number=$((number + 1))
    echo "ok $number - msgpipe.h compiles alone as C++11 # SKIP no C++ compiler"
fi
for header in "$MSGPIPE_SOURCE"/lib/*/*.h; do
    header=${header#"$MSGPIPE_SOURCE"/lib/}
    # shellcheck disable=SC2086
    alone c "$header" ${CC:-cc} -std=gnu11 -D_GNU_SOURCE= ${LIBRARY_CFLAGS-}
    result $? "$header compiles alone"
done
echo "1..$number"
