#!/usr/bin/env bats
# msend with a relay.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# What is in a topic, a body a line.
bodies() {
    mrecv -t "$1" -e
}

# One attribute of each message of a topic, a line each.
attribute() {
    mrecv -t "$1" -e --template "%{$2}\n"
}

# How many messages a topic has got.
count() {
    mrelay topics -t "$1" --json | sed -n 's/.*"name":"'"$1"'"[^}]*"messages":\([0-9]*\).*/\1/p'
}

@test "lines of stdin are messages, in their order" {
    start_relay
    seq 1 2000 | msend -t numbers
    run bodies numbers
    assert_success
    assert_output "$(seq 1 2000)"
}

@test "a last line without a newline counts, an empty line too" {
    start_relay
    printf 'one\n\nthree' | msend -t x
    run bodies x
    assert_output $'one\n\nthree'
}

@test "files come one after the other, and - is stdin" {
    start_relay
    echo a >first
    echo c >third
    echo b | msend -t x first - third
    run bodies x
    assert_output $'a\nb\nc'
}

@test "stdin can be a regular file, and is read from where it stands" {
    start_relay
    seq 1 10 >numbers
    { read -r _ && msend -t x; } <numbers
    assert_equal "$(count x)" 9
    msend -t y <numbers
    assert_equal "$(count y)" 10
}

@test "an empty input is no message" {
    start_relay
    run msend -t x </dev/null
    assert_success
    assert_output ''
    run count x
    assert_output ''
}

@test "-d sends an argument as it stands, as often as it is given" {
    start_relay
    msend -t x -d one -d $'two\nlines' -d ''
    run mrecv -t x -e -F json
    assert_line --index 0 --partial '"data":"one"'
    assert_line --index 1 --partial '"data":"two\nlines"'
    assert_equal "${#lines[@]}" 3
}

@test "the format null takes NUL, length takes lengths, whole takes all" {
    start_relay
    printf 'a\nb\0c\0' | msend -t null -F null
    printf '\0\0\0\3abc\0\0\0\1d' | msend -t length -F length
    printf 'x\ny\n' | msend -t whole -F whole
    assert_equal "$(count null)" 2
    run bodies length
    assert_output $'abc\nd'
    run mrecv -t whole -e -F json
    assert_output --partial '"data":"x\ny\n"'
}

@test "what mrecv prints as json, msend sends again, losing nothing" {
    start_relay
    printf 'plain\0{"a": 1}\0\377\376\0' | msend -t x -F null -k key -H 'colour: blue'
    mrecv -t x -e -F json >first
    msend -t y -F json <first
    mrecv -t y -e -F json | sed 's/"msgpipetopic":"y"/"msgpipetopic":"x"/' >second
    run diff first second
    assert_success
    assert_equal "$(wc -l <second)" 3
}

@test "a line that is no CloudEvent is named, and the others are sent" {
    start_relay
    printf '%s\n' '{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}' '{bad' \
        '{"specversion":"1.0","id":"2","source":"/s","type":"t","data":2}' >events
    run msend -t x -F json events
    assert_failure 65
    assert_output --regexp '^msend: events: line 2, column [0-9]+: .*: not sent$'
    assert_equal "$(count x)" 2
}

@test "lines given as json are told about --format lines" {
    start_relay
    run bash -c "echo '{\"a\": 1}' | msend -t x -F json"
    assert_failure 65
    assert_output --partial '--format lines'
}

@test "a body over the limit is named with the limit, and the others are sent" {
    start_relay --max-message 1KiB
    { echo before && head -c 2000 /dev/zero | tr '\0' z && echo && echo after; } >mixed
    run msend -t x mixed
    assert_failure 65
    assert_output --partial 'mixed: line 2 is longer than the limit of 1 KiB'
    run bodies x
    assert_output $'before\nafter'
    run msend -t x -d "$(head -c 2000 /dev/zero | tr '\0' z)"
    assert_failure 65
    run msend -t x --max-message 3 -d four
    assert_failure 65
}

@test "only the first rejected messages are named, then they are counted" {
    start_relay
    seq 1 25 | sed 's/^/{/' >bad
    run msend -t x -F json bad
    assert_failure 65
    assert_equal "${#lines[@]}" 11
    assert_line --index 10 'msend: 25 messages in all were not sent'
}

@test "-k gives a key, -K takes it from each line, --key-json from each body" {
    start_relay
    msend -t x -k one -d a
    printf 'two:b\nno key\nthree:c:d\n' | msend -t x -K :
    msend -t x --key-json /user/id -d '{"user": {"id": 4}}'
    run attribute x partitionkey
    assert_output $'one\ntwo\n\nthree\n4'
    run bodies x
    assert_output $'a\nb\nno key\nc:d\n{"user": {"id": 4}}'
}

@test "a body without the value that --key-json points to is not sent" {
    start_relay
    run msend -t x --key-json /a -d '{"a": "k"}' -d '{"b": 1}' -d '[1,'
    assert_failure 65
    assert_line --partial 'msend: -d, number 2: --key-json /a:'
    assert_line --partial 'msend: -d, number 3: --key-json /a: '
    run msend -t x --key-json /a <<<$'{"a": 1}\n{"b": 1}'
    assert_failure 65
    assert_line --partial 'msend: stdin: line 2: --key-json /a: '
    assert_equal "$(count x)" 2
}

@test "attributes come from options, and the trace from the environment" {
    start_relay
    export TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    msend -t x --type order.new --source /shop --subject 'order 7' -H 'region: eu' -d x
    run mrecv -t x -e --template '%{type}|%{source}|%{subject}|%{region}|%{traceparent}\n'
    assert_output "order.new|/shop|order 7|eu|$TRACEPARENT"
}

@test "--print-id prints the ids that the messages have" {
    start_relay
    msend -t x --print-id -d a -d b >ids
    assert_equal "$(wc -l <ids)" 2
    assert_equal "$(attribute x id)" "$(cat ids)"
    assert_equal "$(msend -t y --print-id --id-json /n -d '{"n": "first"}' -d '{"n": "second"}')" $'first\nsecond'
    assert_equal "$(msend -t y --print-id --id third -d c)" third
    assert_equal "$(attribute y id)" $'first\nsecond\nthird'
}

@test "--id is for one message; with more, nothing is sent" {
    start_relay
    run msend -t x --id one -d a -d b
    assert_failure 64
    assert_output --partial '--id names one message, and the input has more'
    run count x
    assert_output ''
}

@test "a command's output is one message, with its exit code and duration" {
    start_relay
    msend -t x -- sh -c 'echo out; echo two; exit 3'
    msend -t x -- sh -c 'kill -9 $$'
    run attribute x exitcode
    assert_output $'3\n137'
    run attribute x duration
    assert_line --index 0 --regexp '^[0-9]+\.[0-9]+$'
    run mrecv -t x -e -n 1 -F json
    assert_output --partial '"data":"out\ntwo\n"'
}

@test "a command that cannot be run sends nothing" {
    start_relay
    run -127 msend -t x -- ./nothing-here
    assert_output 'msend: cannot run ./nothing-here: there is no such command'
    echo text >text
    run msend -t x -- ./text
    assert_failure 126
    run count x
    assert_output ''
}

@test "a command is not run when there is no relay" {
    run msend -t x -- touch ran
    assert_failure 69
    assert_file_not_exist ran
}

@test "without a relay: 69, which relays run, and how to start one" {
    run msend -t x -d y
    assert_failure 69
    assert_output "msend: no relay 'default' is running at $XDG_RUNTIME_DIR/msgpipe/default.sock, and no other here: start it with 'mrelay --background'"
    start_relay -r orders
    run msend -t x -d y
    assert_failure 69
    assert_output "msend: no relay 'default' is running at $XDG_RUNTIME_DIR/msgpipe/default.sock, but orders is: choose with -r, or start it with 'mrelay --background'"
    run msend -r order -t x -d y
    assert_failure 69
    assert_output --partial "start it with 'mrelay -r order --background'"
    run msend -r tcp://127.0.0.1:1 -t x -d y
    assert_failure 69
    assert_output "msend: no relay answers at tcp://127.0.0.1:1: start one there with 'mrelay -r NAME --listen tcp://127.0.0.1:1 --background', or choose one that runs here with -r: orders"
    run msend -r 'tcp://[::1%none]:1' -t x -d y
    assert_failure 69
    assert_output --partial 'no relay answers at tcp://[::1%none]:1: cannot look up its host: '
}

@test "the relay can be named by the environment, and -r goes before it" {
    start_relay -r orders
    export MSGPIPE_RELAY=orders
    msend -t x -d one
    MSGPIPE_RELAY=nosuch msend -r orders -t x -d two
    assert_equal "$(count x)" 2
    msend -r "ipc://$XDG_RUNTIME_DIR/msgpipe/orders.sock" -t x -d three
    assert_equal "$(count x)" 3
}

@test "a relay that starts within the wait is found" {
    start out msend -t x --wait 20s -d patient
    local sender=$started_pid
    start_relay
    wait "$sender"
    assert_equal "$(count x)" 1
}

@test "an unreadable input is 66, and nothing of the others is sent" {
    start_relay
    echo a >good
    run msend -t x good nothing
    assert_failure 66
    assert_output 'msend: cannot read nothing: No such file or directory'
    run msend -t x .
    assert_failure 66
    assert_output 'msend: cannot read .: it is a directory'
    run bash -c 'msend -t x <&-'
    assert_failure 66
    assert_output 'msend: cannot read stdin: it is closed'
    run count x
    assert_output ''
}

@test "output that cannot be written is 74" {
    start_relay
    run bash -c 'msend -t x --print-id -d a >&-'
    assert_failure 74
    assert_line --index 0 'msend: cannot write to stdout: it is closed'
    assert_line --index 1 --partial 'the messages are stored, but their ids could not be printed: 1 message was acknowledged'
    if [ -e /dev/full ]; then
        run bash -c 'msend -t x --print-id -d a >/dev/full'
        assert_failure 74
    fi
}

@test "--rate slows down, evenly" {
    start_relay
    local begin=${EPOCHREALTIME/./}
    seq 1 11 | msend -t x --rate 20/s
    local took=$((${EPOCHREALTIME/./} - begin))
    assert [ "$took" -ge 450000 ]
    assert_equal "$(count x)" 11
    # When nothing more comes, it is not waited for when more could go.
    timeout 20 msend -t x --rate 2/h -d only
    timeout 20 msend -t x --rate 2/h --spool out -d only
    assert_equal "$(count x)" 13
    start sent msend -t x --rate 2/h -d one -d two
    until_true test_count x 14
    end "$started_pid"
    assert_file_contains sent.err 'interrupted: 1 message was acknowledged'
    assert_file_contains sent.err 'msend --skip 1 -t x --rate 2/h -d one -d two'
}

@test "a lone line goes at once, while the input goes on" {
    start_relay
    mkfifo pipe
    start out msend -t x pipe
    exec 4>pipe
    echo one >&4
    until_true test_count x 1
    echo two >&4
    until_true test_count x 2
    exec 4>&-
    wait "$started_pid"
}

test_count() {
    [ "$(count "$1")" = "$2" ]
}

@test "interrupted it says how far it came, how to go on, and dies by the signal" {
    start_relay
    seq 1 100 >input
    mkfifo pipe
    start out msend -t x pipe
    local sender=$started_pid
    exec 4>pipe
    seq 1 60 >&4
    until_true test_count x 60
    end "$sender" TERM
    exec 4>&-
    assert_equal "$ended_code" 143
    run cat out.err
    assert_line --index 0 'msend: interrupted: 60 messages were acknowledged'
    assert_line --index 1 'msend: to go on with the same input: msend --skip 60 -t x pipe'
    msend --skip 60 -t x input
    run bodies x
    assert_output "$(seq 1 100)"
}

@test "--skip counts from the start of the input also when it is used twice" {
    start_relay
    mkfifo pipe
    start out msend --skip=2 -t 'x' pipe -H 'a: b c'
    local sender=$started_pid
    exec 4>pipe
    seq 1 5 >&4
    until_true test_count x 3
    end "$sender" TERM
    exec 4>&-
    assert_equal "$ended_code" 143
    run cat out.err
    assert_line --index 1 "msend: to go on with the same input: msend --skip 5 -t x pipe -H 'a: b c'"
    run bodies x
    assert_output $'3\n4\n5'
}

@test "a relay that is killed in mid-stream is waited for: nothing is lost, nothing comes twice" {
    start_relay
    seq 1 300000 >input
    start out msend -t x --rate 200000/s input
    local sender=$started_pid
    until_true has_some x
    end "$relay_pid" KILL
    start_relay
    wait "$sender"
    bodies x >got
    run cmp input got
    assert_success
}

has_some() {
    [ "$(count "$1")" -gt 0 ]
}

@test "--wait bounds the wait for a relay that has gone" {
    start_relay
    mkfifo pipe
    start out msend -t x --wait 300ms pipe
    local sender=$started_pid
    exec 4>pipe
    echo one >&4
    until_true test_count x 1
    end "$relay_pid" KILL
    local code=0
    wait "$sender" || code=$?
    exec 4>&-
    assert_equal "$code" 124
    run cat out.err
    assert_line --partial '(--wait)'
    assert_line --partial '1 message was acknowledged'
}

@test "several senders at once lose nothing" {
    start_relay
    local i
    local senders=()
    for i in 1 2 3 4; do
        seq "$((i * 10000))" "$((i * 10000 + 4999))" >"in.$i"
        start "out.$i" msend -t x "in.$i"
        senders+=("$started_pid")
    done
    for i in "${senders[@]}"; do
        wait "$i"
    done
    assert_equal "$(bodies x | sort -n | cksum)" "$(cat in.1 in.2 in.3 in.4 | sort -n | cksum)"
}
