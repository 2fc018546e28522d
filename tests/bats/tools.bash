# What the Bats files share. Each test has a place of its own: per-user folders,
# and a relay if it starts one; what it started is ended by its process id.
#
# shellcheck disable=SC2034,SC2154 # the tests read what is set here, and Bats sets what is read

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

tools_setup() {
    cd "$BATS_TEST_TMPDIR" || return
    mkdir -m 700 r s
    export XDG_RUNTIME_DIR=$PWD/r XDG_STATE_HOME=$PWD/s
    unset MSGPIPE_RELAY TRACEPARENT TRACESTATE NO_COLOR
    export SHELL=/bin/sh TERM=xterm
    started=()
}

# In reverse order: what was started last, such as a runner, still has the relay that it needs to end at once.
tools_teardown() {
    local i pid
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        pid=${started[i]}
        kill -CONT "$pid" 2>/dev/null
        kill "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    return 0
}

# Starts a command in the background; its pid is in $started_pid. Its output
# goes to the file named first.
start() {
    local output=$1
    shift
    "$@" >"$output" 2>"$output.err" 3>&- &
    started_pid=$!
    started+=("$started_pid")
}

# Starts a relay with these options and waits until it serves.
start_relay() {
    start relay.log mrelay "$@"
    relay_pid=$started_pid
    local name=default
    [[ ${1-} == -r ]] && name=$2
    mrelay status -r "$name" --wait 30s >/dev/null
}

# group_count FIELD TOPIC GROUP: what `mrelay groups` says, such as acked.
group_count() {
    mrelay groups --json | grep -o '{"topic":"'"$2"'","group":"'"$3"'"[^}]*' | grep -o '"'"$1"'":[0-9]*' |
        cut -d: -f2
}

# group_has NUMBER FIELD TOPIC GROUP
group_has() {
    [ "$(group_count "$2" "$3" "$4")" = "$1" ]
}

# wrong TEXT COMMAND...: the command exits 64 and says TEXT, on stderr only.
wrong() {
    local text=$1
    shift
    run --separate-stderr "$@" </dev/null
    assert_equal "$status" 64
    assert_equal "$output" ''
    assert_equal "$stderr" "$text"
}

# make_groups TOPIC GROUP...: groups that are there before the messages, so that
# none of these goes before all of them have settled it.
make_groups() {
    local topic=$1 group
    shift
    for group; do
        mrecv -t "$topic" -g "$group" -e
    done
}

# Ends a process that was started, by a signal (TERM), and waits for it; its
# exit code is in $ended_code.
end() {
    local pid=$1 number=${2-TERM}
    kill -"$number" "$pid"
    ended_code=0
    wait "$pid" || ended_code=$?
}

# Waits until a condition holds: `until_true COMMAND ...`, 20 seconds at most.
until_true() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    echo "never became true: $*" >&2
    return 1
}

# Whether a file has at least so many lines.
has_lines() {
    [[ -f $2 && $(wc -l <"$2") -ge $1 ]]
}

# Skips the test where script(1) is not there, is another one, or has no terminals to give (a bare chroot).
need_terminal() {
    script -qec true /dev/null >/dev/null 2>&1 </dev/null || skip 'script(1) makes no terminal here'
}
