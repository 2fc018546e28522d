#!/usr/bin/env bats
# mrelay: serving, and asking a relay that serves.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# Starts a relay in the background, to be ended with the test.
background() {
    mrelay --background "$@"
    local name=default
    [[ ${1-} == -r ]] && name=$2
    started+=("$(status_of "$name" pid)")
}

# One number of `mrelay status --json`.
status_of() {
    mrelay status -r "$1" --json | sed -n 's/.*"'"$2"'":\([0-9]*\).*/\1/p'
}

# Ends the relay (default) that was started in the background, and waits until it has gone.
end_relay() {
    local pid
    pid=$(status_of "${1-default}" pid)
    kill "$pid"
    until_true is_gone "$pid"
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

@test "in the background it returns when it serves, and logs beside its store" {
    background
    msend -t x -d y
    assert_socket_exist "$XDG_RUNTIME_DIR/msgpipe/default.sock"
    assert_file_exist "$XDG_STATE_HOME/msgpipe/default.db"
    assert_file_contains "$XDG_STATE_HOME/msgpipe/default.log" 'event=serving'
}

@test "a store that cannot be there is an error of output, in front and in the background" {
    run mrelay --store "$PWD/nowhere/x.db"
    assert_failure 74
    assert_output --partial "$PWD/nowhere"
}

@test "in the background, a log that cannot be written is named" {
    run mrelay --background --store "$PWD/nowhere/x.db"
    assert_failure 74
    assert_output "mrelay: cannot open the log $PWD/nowhere/x.log: No such file or directory"
}

@test "socket, store and log are their owner's alone" {
    background
    local file
    for file in "$XDG_RUNTIME_DIR"/msgpipe/default.sock "$XDG_STATE_HOME"/msgpipe/default.{db,log}; do
        assert_file_permission 600 "$file"
    done
}

@test "SIGTERM ends it with 0, takes the socket away, and keeps the messages" {
    start_relay
    seq 1 100 | msend -t x
    end "$relay_pid" TERM
    assert_equal "$ended_code" 0
    assert_not_exist "$XDG_RUNTIME_DIR/msgpipe/default.sock"
    start_relay
    run mrelay topics
    assert_line --regexp '^x +100 '
}

@test "a second relay on one store is refused, with the other's pid" {
    start_relay
    run mrelay
    assert_failure 75
    assert_output --partial "another relay has it, process $relay_pid: end that one first, or use another store"
    run mrelay --background
    assert_failure 75
    assert_output --partial "$relay_pid"
    run mrelay -r other --store "$XDG_STATE_HOME/msgpipe/default.db"
    assert_failure 75
}

@test "a socket that a dead relay left is replaced" {
    start_relay
    end "$relay_pid" KILL
    assert_socket_exist "$XDG_RUNTIME_DIR/msgpipe/default.sock"
    start_relay
    msend -t x -d y
}

@test "a file that is no socket is left alone" {
    mkdir -m 700 "$XDG_RUNTIME_DIR/msgpipe"
    echo precious >"$XDG_RUNTIME_DIR/msgpipe/default.sock"
    run mrelay --background
    assert_failure 1
    assert_output --partial 'a file that is no socket is in the way'
    assert_equal "$(cat "$XDG_RUNTIME_DIR/msgpipe/default.sock")" precious
}

@test "a start that does not get its addresses leaves nothing behind" {
    start_relay -r one --listen "ipc://$PWD/taken.sock"
    for url in "ipc://$PWD/taken.sock" tcp://192.0.2.1:1; do
        run mrelay -r two --insecure --background --listen "$url"
        assert_failure
        assert_output --partial "${url#*://}"
        run find s r -name 'two*'
        assert_output ''
    done
    # What was there before is as it was.
    background -r two
    msend -r two -t x -d kept
    end_relay two
    size=$(wc -c <s/msgpipe/two.log)
    run mrelay -r two --background --listen "ipc://$PWD/taken.sock"
    assert_failure
    assert [ "$(wc -c <s/msgpipe/two.log)" -ge "$size" ]
    background -r two
    assert_equal "$(mrecv -r two -t x -n 1)" kept
}

@test "a store that is none is refused, and left as it was" {
    head -c 20000 /dev/zero | tr '\0' z >some.db
    chmod 644 some.db
    cp some.db before.db
    run mrelay --store "$PWD/some.db"
    assert_failure 1
    assert_output --partial "mrelay: $PWD/some.db: not a store: a file of something else"
    assert_not_exist some.db.lock
    run cmp some.db before.db
    assert_success
    # What is no file cannot be salvaged.
    wrong "mrelay: $PWD/r: not a store: not a regular file: name another" mrelay --store "$PWD/r"
}

@test "a store that others may read is refused" {
    mrelay --background --store "$PWD/some.db"
    end_relay
    chmod 644 some.db
    run mrelay --store "$PWD/some.db"
    assert_failure 77
    assert_output --partial 'chmod 600'
}

@test "--store names the file, and the log goes beside it" {
    mrelay --background --store "$PWD/mine.db"
    started+=("$(status_of default pid)")
    msend -t x -d y
    assert_file_exist mine.db
    assert_file_exist mine.log
    assert_not_exist "$XDG_STATE_HOME/msgpipe/default.db"
}

@test "it listens at more addresses, and says which port it was given" {
    background --listen tcp://127.0.0.1:0 --listen "ipc://$PWD/other.sock"
    local url
    url=$(mrelay status | grep -o 'tcp://127.0.0.1:[0-9]*')
    refute [ "$url" = tcp://127.0.0.1:0 ]
    msend -r "$url" -t x -d tcp
    msend -r "ipc://$PWD/other.sock" -t x -d ipc
    msend -t x -d name
    run mrelay topics -r "$url"
    assert_line --regexp '^x +3 '
}

@test "an address that others can reach needs --insecure" {
    run mrelay --listen tcp://0.0.0.0:0
    assert_failure 77
    assert_output --partial -- '--insecure'
    mrelay --background --insecure --listen tcp://0.0.0.0:0
    started+=("$(status_of default pid)")
    msend -t x -d y
}

@test "relays of several names run side by side" {
    background -r one
    background -r two
    msend -r one -t x -d 1
    msend -r two -t x -d 1 -d 2
    run mrelay relays
    assert_output $'one\ntwo'
    run mrelay topics -r two
    assert_line --regexp '^x +2 '
}

@test "no relay runs: 69" {
    run mrelay relays
    assert_failure 69
    assert_output ''
    run mrelay status
    assert_failure 69
    assert_output "mrelay: no relay 'default' is running at $XDG_RUNTIME_DIR/msgpipe/default.sock, and no other here: start it with 'mrelay --background'"
}

@test "status is a table for people and JSON for programs" {
    background
    msend -t orders.new -d y
    run mrelay status
    assert_success
    assert_line --index 0 --regexp '^relay +default \(msgpipe [0-9.]+\), pid [0-9]+, up '
    assert_line --partial 'orders.new'
    assert_line --regexp '^clients +1 connection, [0-9]+ session'
    refute_output --partial $'\033'
    refute_output --partial 'gaps'
    run mrelay status --json
    assert_output --regexp '^\{.*"relay":"default".*\}$'
    assert_equal "${#lines[@]}" 1
}

@test "topics and groups are listed, and chosen by name and pattern" {
    background
    msend -t b -d 1
    msend -t a.two -d 1
    msend -t c -d 1
    msend -t a.one -d 1
    mrecv -t a.one -g g -n 1
    assert_equal "$(mrelay topics --names)" $'a.one\na.two\nb\nc'
    assert_equal "$(mrelay topics --names -t 'a.*')" $'a.one\na.two'
    run mrelay groups
    assert_line --regexp '^a.one +g +0 +0 +0 +1 '
    assert_equal "$(mrelay groups --names)" g
    assert_equal "$(mrelay groups --names -t 'a.*')" g
    run mrelay topics --json -t 'a.*'
    assert_output --partial '"a.one"'
    refute_output --partial '"c"'
}

@test "a name that is not there is told, with the one that may have been meant" {
    background
    msend -t orders.new -d 1
    mrecv -t orders.new -g bill -n 1
    run mrelay topics -t orders.nwe
    assert_failure 66
    assert_output 'mrelay: there is no topic orders.nwe: did you mean orders.new?'
    run mrelay topics -t 'x.*' --names
    assert_failure 66
    assert_output 'mrelay: no topic matches x.*'
    run mrelay groups -g bil
    assert_failure 66
    assert_output 'mrelay: there is no group bil: did you mean bill?'
    run mrelay groups -t order.new -g bill
    assert_failure 66
    assert_output 'mrelay: there is no group bill on order.new: did you mean orders.new?'
    run mrelay topics delete orders.nwe --yes
    assert_failure 66
    assert_output 'mrelay: there is no topic orders.nwe: did you mean orders.new?'
}

@test "wait returns when a group has drained its topic, and 124 when not in time" {
    background
    msend -t x -d 1 -d 2
    mrecv -t x -g g -n 1
    run mrelay wait -t x -g g --wait 100ms
    assert_failure 124
    assert_output 'mrelay: group g has not drained topic x in time (--wait)'
    start out mrelay wait -t x -g g
    mrecv -t x -g g -n 1
    wait "$started_pid"
}

@test "a reader and a wait outlive a relay that is killed" {
    start_relay
    msend -t x -d 1 -d 2
    start read mrecv -t x -n 3
    local reader=$started_pid
    until_true has_lines 2 read
    mrecv -t x -g g -n 1
    local before
    before=$(status_of default connections)
    start waited mrelay wait -t x -g g
    local waiter=$started_pid
    more_connections() { [ "$(status_of default connections)" -gt "$before" ]; }
    until_true more_connections
    end "$relay_pid" KILL
    start_relay
    msend -t x -d 3
    wait "$reader"
    assert_equal "$(cat read)" $'1\n2\n3'
    mrecv -t x -g g -n 2
    wait "$waiter"
    assert_equal "$(cat read.err waited.err)" ''
}

@test "a consumer of a relay that comes back with an empty store begins anew" {
    start_relay
    msend -t x -d old
    start got mrecv -t x -g g -n 2
    local consumer=$started_pid
    until_true has_lines 1 got
    sleep 1.1 # the first greeting may take a second
    end "$relay_pid" KILL
    rm "$XDG_STATE_HOME"/msgpipe/*
    start_relay
    msend -t x -d new
    wait "$consumer"
    assert_equal "$(cat got)" $'old\nnew'
    assert_equal "$(cat got.err)" ''
}

@test "wait needs a topic and a group that can be" {
    run mrelay wait
    assert_failure 64
    assert_output 'mrelay: wait for what? Give a topic and a group: mrelay wait -t TOPIC -g GROUP'
    run mrelay wait -t 'a..b' -g g
    assert_failure 64
    run mrelay wait -t a -g 'g g'
    assert_failure 64
}

@test "bad inputs at the socket harm nobody else" {
    background
    local socket=$XDG_RUNTIME_DIR/msgpipe/default.sock
    type python3 >/dev/null 2>&1 || skip 'there is no python3'
    python3 - "$socket" <<'END'
import socket, sys
for data in (b"GET / HTTP/1.0\r\n\r\n", b"\0SP\0\0\x30\0", b"\0SP\0\0\x30\0\0\1" + b"\xff" * 8,
             b"\0SP\0\0\x30\0\0\1" + (20).to_bytes(8, "big") + b"x" * 5, b"\0SP\0\0\x50\0\0", b""):
    end = socket.socket(socket.AF_UNIX)
    end.connect(sys.argv[1])
    end.sendall(data)
    end.close()
END
    msend -t x -d y
    run mrelay topics
    assert_line --regexp '^x +1 '
}

@test "a verb that does not exist gets the nearest one" {
    run mrelay statsu
    assert_failure 64
    assert_output "mrelay: there is no command 'statsu': did you mean mrelay status?"
    run mrelay zzzzzz
    assert_failure 64
    assert_output "mrelay: there is no command 'zzzzzz': see mrelay -h"
}

@test "options go with their verbs" {
    run mrelay status --store x
    assert_failure 64
    assert_output 'mrelay: --store does not go with mrelay status: see mrelay status --help'
    run mrelay --json
    assert_failure 64
    assert_output 'mrelay: --json does not go with mrelay alone: see mrelay --help'
    run mrelay status extra
    assert_failure 64
    assert_output "mrelay: 'extra' is too much for mrelay status: see mrelay -h"
    run mrelay topics --json --names
    assert_failure 64
    assert_output 'mrelay: --json and --names exclude each other: choose what to print'
}

@test "names, leases and formats are checked" {
    run mrelay -r a/b
    assert_failure 64
    assert_output --partial "mrelay: relay 'a/b': '/' at character 2"
    run mrelay -r tcp://127.0.0.1:1
    assert_failure 64
    assert_output 'mrelay: -r: a relay has a name: addresses to listen at are given with --listen'
    run mrelay --lease 1ms
    assert_failure 64
    assert_output 'mrelay: --lease: a lease takes from 1s to 24h'
    run mrelay --lease 0
    assert_failure 64
    assert_output 'mrelay: --lease: a lease takes from 1s to 24h'
    run mrelay --log-format xml
    assert_failure 64
    run mrelay --log-level infoo
    assert_failure 64
    assert_output --partial 'did you mean info?'
    run mrelay --listen nonsense
    assert_failure 64
    run mrelay --max-connections 0
    assert_failure 64
}

@test "the log can be JSON" {
    background --log-format json
    run head -1 "$XDG_STATE_HOME/msgpipe/default.log"
    assert_output --regexp '^\{.*"event":"serving".*\}$'
}

@test "a relay takes as many descriptors as it may have, whatever others are given by default" {
    [ -r /proc/self/limits ] || skip 'this system does not say what limits a process has'
    start relay.log bash -c 'ulimit -Sn 100 && exec mrelay'
    mrelay status --wait 30s >/dev/null
    run awk '/Max open files/ {print ($4 == $5 && $4 > 100) || $5 == 100 ? "all" : $4 " of " $5}' "/proc/$started_pid/limits"
    assert_output all
}

@test "requests that came while the relay stood still count before leases that ended meanwhile" {
    local i
    start_relay -r default --lease 1s
    seq 40 | msend -t t
    mkfifo go
    for ((i = 0; i < 40; i++)); do
        start "out.$i" mrecv -t t -g g -n 1 -- sh -c 'echo >>got; cat go'
    done
    until_true has_lines 40 got
    kill -STOP "$relay_pid"
    sleep 1.5 # the time that it stands still
    kill -CONT "$relay_pid"
    mrelay status >/dev/null
    exec 9>go
    exec 9>&-
    for ((i = 0; i < 40; i++)); do
        wait "${started[i + 1]}" || { cat out.*.err; false; }
    done
    until_true group_has 40 acked t g
    group_has 0 lapsed t g || mrelay groups --json
    assert_equal "$(wc -l <got)" 40
}
