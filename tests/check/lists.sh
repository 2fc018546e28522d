#!/bin/sh
# Nothing is forgotten: each source file and each test is named in its
# directory's local.mk, so that it is built, run and shipped. (TAP)
set -u
. "$MSGPIPE_SOURCE/tests/check/tap.sh"
cd "$MSGPIPE_SOURCE" || exit 99

forgotten() { # forgotten FILE…: prints those that no list has
    for file; do
        [ -e "$file" ] || continue
        grep -v '^#' "$(dirname "$file")/local.mk" | tr -s '[:blank:]' '[\n*]' |
            grep -qxF "%D%/$(basename "$file")" || echo "$file"
    done
}

holds "every source file is in a list" nothing forgotten lib/*.h lib/*/*.[ch] bin/*.[ch]
holds "every test is in a list" nothing forgotten tests/*/*.[ch] tests/bats/*.b* tests/check/*.sh
holds "a file that is in no list is found" something forgotten lib/base/local.mk
plan
