#!/bin/sh
# Each header is a page of the manual that can be read, and compiled, alone; the
# public one also as C++ and under -Wpedantic. (TAP)
set -u
. "$MSGPIPE_SOURCE/tests/check/tap.sh"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/msgpipe-headers.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT

# alone LANGUAGE HEADER COMPILER…: compiles a file that includes HEADER and nothing else.
alone() {
    language=$1 header=$2
    shift 2
    printf '#include "%s"\ntypedef int file_is_not_empty;\n' "$header" >"$scratch/alone.$language"
    "$@" -I"$MSGPIPE_SOURCE/lib" -Werror -Wall -Wextra -fsyntax-only "$scratch/alone.$language"
}

all_alone() {
    outcome=0
    for header in "$MSGPIPE_SOURCE"/lib/*/*.h; do
        # $CC and the flags may be several words.
        # shellcheck disable=SC2086
        alone c "${header#"$MSGPIPE_SOURCE"/lib/}" ${CC:-cc} -std=gnu11 -D_GNU_SOURCE= ${LIBRARY_CFLAGS-} || outcome=1
    done
    return $outcome
}

# shellcheck disable=SC2086
holds "msgpipe.h compiles alone as C11" alone c msgpipe.h ${CC:-cc} -std=c11 -Wpedantic
name="msgpipe.h compiles alone as C++11"
if command -v "${CXX:-c++}" >/dev/null 2>&1; then
    holds "$name" alone cc msgpipe.h "${CXX:-c++}" -std=c++11 -Wpedantic
else
    skip "$name" "no C++ compiler"
fi
holds "every other header compiles alone" all_alone
plan
