#!/bin/sh
# The layers point one way: a directory of lib/ includes its own headers and
# those of the directories above it in the list below, and each foreign library
# that belongs to one layer is seen by that layer alone. (TAP)
set -u
. "$MSGPIPE_SOURCE/tests/check/tap.sh"

# From the bottom to the top; the same list is in DESIGN.md.
layers="base message transport client store policy queue relay stage pipeline runner saga trace web cli"

# violations TREE: prints one line for each include that breaks the rule.
# shellcheck disable=SC2016
violations() {
    (cd "$1" && find lib -name '*.[ch]' | LC_ALL=C sort | xargs awk -v layers="$layers" '
    function wrong(why) {
        printf "%s:%d: %s: %s\n", FILENAME, FNR, why, $0
    }
    BEGIN {
        count = split(layers, name, " ")
        for (i = 1; i <= count; i++)
            height[name[i]] = i
        owner["nng"] = "transport"
        owner["sqlite3.h"] = "store"
        owner["libfyaml.h"] = "pipeline"
        owner["event2/http.h"] = "web"
    }
    !/^[ \t]*#[ \t]*include/ { next }
    {
        split(FILENAME, part, "/")
        here = part[3] == "" ? "" : part[2]         # lib/msgpipe.h is in no layer
        target = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target)
        quoted = target ~ /^"/
        sub(/^["<]/, "", target)
        sub(/[">].*/, "", target)
    }
    here != "" && !(here in height) { wrong("this directory is not in the list of layers"); next }
    !quoted {
        first = target
        sub(/\/.*/, "", first)
        of = (target in owner) ? owner[target] : (first in owner) ? owner[first] : ""
        if (of != "" && of != here)
            wrong("only lib/" of " includes this")
        next
    }
    here == "" { wrong("the public header includes none of ours"); next }
    target == "config.h" || target == "msgpipe.h" { next }
    target !~ /^[a-z]+\/[a-z0-9_]+\.h$/ { wrong("write includes from lib/, as \"base/buffer.h\""); next }
    {
        there = target
        sub(/\/.*/, "", there)
        if (!(there in height))
            wrong("no such layer")
        else if (height[there] > height[here])
            wrong("lib/" there " stands on lib/" here)
    }')
}

holds "every include points to the same layer or one above it in the list" nothing violations "$MSGPIPE_SOURCE"

# The check itself can fail: each rule is broken once.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/msgpipe-layers.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lib/base" "$scratch/lib/relay" "$scratch/lib/mystery"
planted() { # planted FILE LINE…: the only file of a tree, with these lines
    rm -f "$scratch"/lib/*.h "$scratch"/lib/*/*.c
    planted_file=$scratch/$1
    shift
    printf '%s\n' "$@" >"$planted_file"
    violations "$scratch"
}
holds "an include of a higher layer is found" something planted lib/base/a.c '#include "relay/turn.h"'
holds "nng outside lib/transport is found" something planted lib/relay/a.c '#include <nng/nng.h>'
holds "SQLite outside lib/store is found" something planted lib/relay/a.c '  #  include <sqlite3.h>'
holds "a relative include is found" something planted lib/relay/a.c '#include "../base/buffer.h"'
holds "an include without its layer is found" something planted lib/relay/a.c '#include "buffer.h"'
holds "a directory that is in no list is found" something planted lib/mystery/a.c '#include "base/buffer.h"'
holds "an include in the public header is found" something planted lib/msgpipe.h '#include "base/buffer.h"'
holds "what is allowed is not complained of" nothing planted lib/relay/a.c \
    '#include "config.h"' '#include "base/buffer.h"' '#include <stdio.h>' '#include "relay/turn.h"'
plan
