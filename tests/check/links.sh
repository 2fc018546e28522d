#!/bin/sh
# What the tools link, and what libmsgpipe shows. (TAP)
set -u
if ! command -v readelf >/dev/null 2>&1 || ! command -v nm >/dev/null 2>&1; then
    echo "1..0 # SKIP no readelf (binutils), or this is no ELF system"
    exit 0
fi
number=0
result() { # result OUTCOME NAME
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then echo "ok $number - $2"; else echo "not ok $number - $2"; fi
}
needs() { # needs FILE LIBRARY
    readelf -d "$MSGPIPE_BUILD/$1" | grep -q "(NEEDED).*\\[lib$2"
}

for tool in msend mrecv; do
    for library in sqlite3 fyaml; do
        ! needs "bin/$tool" "$library"
        result $? "$tool does not link $library"
    done
    needs "bin/$tool" nng
    result $? "$tool links nng (so what is asked above can be seen)"
done
needs bin/mrelay sqlite3
result $? "mrelay links SQLite"

library=$MSGPIPE_BUILD/.libs/libmsgpipe.so
nm -D --defined-only "$library" | awk '{ print $3 }' | grep -q '^mp_'
result $? "libmsgpipe shows its mp_ symbols"
others=$(nm -D --defined-only "$library" | awk '$3 !~ /^mp_/ && $2 != "A" { print $3 }')
[ -z "$others" ] || echo "$others" | sed 's/^/# /'
[ -z "$others" ]
result $? "libmsgpipe shows nothing else"
! needs .libs/libmsgpipe.so sqlite3
result $? "libmsgpipe does not link SQLite"
echo "1..$number"
