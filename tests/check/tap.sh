# What the checks of this directory share: TAP, the Test Anything Protocol.
# shellcheck shell=sh
number=0

# holds NAME COMMAND…: a test that passes when COMMAND succeeds; what it printed
# stands as a comment under one that fails.
holds() {
    number=$((number + 1))
    name=$1
    shift
    if said=$("$@" 2>&1); then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        [ -z "$said" ] || echo "$said" | sed 's/^/# /'
    fi
}

# nothing COMMAND…: succeeds when COMMAND prints nothing.
nothing() {
    printed=$("$@" 2>&1)
    [ -z "$printed" ] || { echo "$printed" && false; }
}

# something COMMAND…: succeeds when COMMAND prints something.
something() {
    [ -n "$("$@" 2>/dev/null)" ]
}

# fails COMMAND…: succeeds when COMMAND does not.
fails() {
    ! "$@"
}

skip() { # skip NAME WHY
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

plan() {
    echo "1..$number"
}
