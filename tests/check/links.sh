#!/bin/sh
# What the tools link, and what libmsgpipe shows. (TAP)
set -u
. "$MSGPIPE_SOURCE/tests/check/tap.sh"
if ! command -v readelf >/dev/null 2>&1 || ! command -v nm >/dev/null 2>&1; then
    echo "1..0 # SKIP no readelf (binutils), or this is no ELF system"
    exit 0
fi
links() { # links FILE LIBRARY
    readelf -d "$MSGPIPE_BUILD/$1" | grep -q "(NEEDED).*\\[lib$2"
}
symbols() { # symbols FILE
    nm -D --defined-only "$MSGPIPE_BUILD/$1" | awk '$2 != "A" { print $3 }'
}
own_symbols() {
    symbols "$1" | grep '^mp_'
}
other_symbols() {
    symbols "$1" | grep -v '^mp_'
}

for tool in msend mrecv mretry; do
    holds "$tool does not link SQLite" fails links bin/$tool sqlite3
    holds "$tool does not link a YAML library" fails links bin/$tool fyaml
    holds "$tool links libevent (so what is asked above can be seen)" links bin/$tool event
done
holds "mrelay links SQLite" links bin/mrelay sqlite3
library=.libs/libmsgpipe.so
holds "libmsgpipe shows its mp_ symbols" something own_symbols $library
holds "libmsgpipe shows nothing else" nothing other_symbols $library
holds "libmsgpipe does not link SQLite" fails links $library sqlite3
plan
