#!/bin/sh
# What makes faults harder to use: the unit's sandbox, and how the programs are built. (TAP)
set -u
. "$MSGPIPE_SOURCE/tests/check/tap.sh"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/msgpipe-hardening.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT

# ---- the unit ---------------------------------------------------------------------------------------------------------

# exposure FILE LIMIT: whether the unit's exposure, in tenths, is LIMIT at most.
exposure() {
    systemd-analyze security --offline=true --no-pager --threshold="$2" "$1" >"$scratch/exposure" 2>&1 || {
        grep -a -e '✗' -e Overall -e rror "$scratch/exposure"
        return 1
    }
}

# with_drop_in NAME: the unit, with the block of mrelay(1) behind it that says NAME.
with_drop_in() {
    mkdir -p "$scratch/$1" && {
        cat "$MSGPIPE_BUILD/systemd/mrelay.service"
        awk -v name="$1" '
            /^\[Service\]/ { block = "" ; inside = 1 }
            /^\.Ed/ { if (inside && index(block, name)) printf "%s", block; inside = 0 }
            inside { block = block $0 "\n" }' "$MSGPIPE_SOURCE/man/mrelay.1.in"
    } >"$scratch/$1/mrelay.service" && grep -q "^$1" "$scratch/$1/mrelay.service"
}

open_unit() {
    mkdir -p "$scratch/open" && printf '[Service]\nExecStart=/bin/true\n' >"$scratch/open/mrelay.service" &&
        exposure "$scratch/open/mrelay.service" 20
}

if ! systemd-analyze security --help 2>/dev/null | grep -q -e --threshold; then
    skip "the unit's sandbox is tight" "no systemd-analyze, or one that cannot tell"
elif [ ! -e "$MSGPIPE_BUILD/systemd/mrelay.service" ]; then
    skip "the unit's sandbox is tight" "no unit was made"
else
    holds "the unit's exposure is 1.0 at most" exposure "$MSGPIPE_BUILD/systemd/mrelay.service" 10
    holds "the manual shows a drop-in for a port" with_drop_in PrivateNetwork=no
    holds "with it the exposure is 2.0 at most" exposure "$scratch/PrivateNetwork=no/mrelay.service" 20
    holds "a unit without a sandbox is told from it" fails open_unit
fi

# ---- the programs -----------------------------------------------------------------------------------------------------

position_independent() {
    readelf -hW "$1" | grep -q 'Type: *DYN'
}
relocations_read_only() {
    readelf -lW "$1" | grep -q GNU_RELRO && readelf -dW "$1" | grep -q -e BIND_NOW -e 'Flags:.*NOW'
}
stack_not_executable() {
    readelf -lW "$1" | grep -q 'GNU_STACK.* RW '
}
stack_protected() {
    readelf -sW "$1" | grep -q __stack_chk_fail
}
calls_fortified() {
    readelf -sW "$1" | grep -v __stack_chk_fail | grep -q '__[a-z]*_chk\b'
}
no_paths_inside() {
    ! readelf -dW "$1" | grep -e RPATH -e RUNPATH
}

if ! command -v readelf >/dev/null 2>&1; then
    skip "the programs are hardened" "no readelf (binutils), or this is no ELF system"
    plan
    exit 0
fi

# What this compiler can do it does for a small program; so much is asked of ours. And of one that is soft nothing holds.
cat >"$scratch/probe.c" <<'END'
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    char text[64];
    memset(text, argc, (size_t)argc);
    strcpy(text, argv[0]);
    return printf("%s\n", text) < 0;
}
END
# probe NAME FLAG…
probe() {
    made=$scratch/$1
    shift
    # $CC and the flags may be several words.
    # shellcheck disable=SC2086
    ${CC:-cc} ${BUILD_FLAGS-} "$@" -o "$made" "$scratch/probe.c" 2>"$scratch/words"
}
fortify=
case ${BUILD_FLAGS-} in
*-O[1-9s]* | *-Og*) fortify=-D_FORTIFY_SOURCE=2 ;;
esac
case ${BUILD_FLAGS-} in
*_FORTIFY_SOURCE*) fortify= ;;
esac
grep -q 'define MSGPIPE_SANITIZERS' "$MSGPIPE_BUILD/config.h" && fortify=
probe soft -w -U_FORTIFY_SOURCE -fno-stack-protector -no-pie -fno-pie -Wl,-z,norelro -Wl,-z,lazy -Wl,-z,execstack \
    -Wl,-rpath,"$scratch" || rm -f "$scratch/soft"
probe hard -w $fortify -fstack-protector-strong -fPIE -pie -Wl,-z,relro -Wl,-z,now ||
    rm -f "$scratch/hard"

# all PROPERTY: whether all that is installed has it.
all() {
    outcome=0
    for file in bin/msend bin/msend-spool bin/mrecv bin/mrelay bin/mretry bin/mtrace .libs/libmsgpipe.so; do
        { [ -e "$MSGPIPE_BUILD/$file" ] && "$1" "$MSGPIPE_BUILD/$file"; } || { echo "not $file" && outcome=1; }
    done
    return $outcome
}

# check PROPERTY WORDS
check() {
    if [ -e "$scratch/hard" ] && ! "$1" "$scratch/hard"; then
        skip "$2" "the compiler does not do that here"
        return
    fi
    holds "$2" all "$1"
    if [ -e "$scratch/soft" ]; then
        holds "$2: where not, that is found" fails "$1" "$scratch/soft"
    else
        skip "$2: where not, that is found" "the compiler makes no such program"
    fi
}
check position_independent "programs lie at any address"
check relocations_read_only "what the linker fills in is read-only"
check stack_not_executable "the stack is not executable"
check stack_protected "the stack is protected"
check calls_fortified "calls are checked (_FORTIFY_SOURCE)"
check no_paths_inside "no directory for libraries is named"
plan
