#!/usr/bin/env bats
# mrecv with a relay, printing what it receives.
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# group_count FIELD TOPIC GROUP: how many messages of the group are waiting,
# leased, acked, ...
@test "without a group it reads and disturbs nobody" {
    start_relay
    seq 1 100 | msend -t x
    mrecv -t x -e >first
    mrecv -t x -e >second
    assert_equal "$(cat first)" "$(seq 1 100)"
    assert_equal "$(cat second)" "$(seq 1 100)"
    run mrelay groups --json
    refute_output --partial '"topic":"x"'
}

@test "with a group it consumes, and the next one goes on" {
    start_relay
    seq 1 100 | msend -t x
    run mrecv -t x -g g -n 30
    assert_success
    assert_output "$(seq 1 30)"
    run mrecv -t x -g g -e
    assert_success
    assert_output "$(seq 31 100)"
    assert_equal "$(group_count acked x g)" 100
    run mrecv -t x -g g -e
    assert_success
    assert_output ''
}

@test "members of a group share the work, and each message comes once" {
    start_relay
    start one mrecv -t x -g g --wait 20s
    local one=$started_pid
    start two mrecv -t x -g g --wait 20s
    local two=$started_pid
    seq 1 20000 | msend -t x
    until_true group_has 20000 acked x g
    end "$one"
    end "$two"
    assert_equal "$(sort -n one two)" "$(seq 1 20000)"
}

@test "groups each see every message" {
    start_relay
    make_groups x a b
    seq 1 10 | msend -t x
    assert_equal "$(mrecv -t x -g a -e)" "$(seq 1 10)"
    assert_equal "$(mrecv -t x -g b -e)" "$(seq 1 10)"
}

@test "a pattern receives from all topics that match" {
    start_relay
    msend -t logs.web -d one
    msend -t logs.db -d two
    msend -t other -d three
    run mrecv -t 'logs.*' -g g -e --template '%{topic} %{body}\n'
    assert_success
    assert_equal "$(sort <<<"$output")" $'logs.db two\nlogs.web one'
    run mrecv -t '>' -e --template '%{body} '
    assert_output --partial three
}

@test "a message that comes later is waited for" {
    start_relay
    start got mrecv -t later -g g -n 1
    local pid=$started_pid
    until_true group_has 0 acked later g
    msend -t later -d hello
    wait "$pid"
    assert_equal "$(cat got)" hello
}

@test "--wait ends the waiting with 124" {
    start_relay
    msend -t x -d only
    run --separate-stderr mrecv -t x -g g -n 2 --wait 300ms
    assert_equal "$status" 124
    assert_equal "$output" only
    assert_equal "$stderr" 'mrecv: waited 300 ms (--wait) in vain for a message: 1 of 2 came'
    assert_equal "$(group_count acked x g)" 1
}

@test "--from chooses where a reader begins" {
    start_relay
    seq 0 9 | msend -t x
    assert_equal "$(mrecv -t x -e --from start)" "$(seq 0 9)"
    assert_equal "$(mrecv -t x -e --from 7)" "$(seq 7 9)"
    assert_equal "$(mrecv -t x -e --from -2)" "$(seq 8 9)"
    assert_equal "$(mrecv -t x -e --from 5m)" "$(seq 0 9)"
    assert_equal "$(mrecv -t x -e --from @4102444800)" ''
    assert_equal "$(mrecv -t x -e --from 2000-01-01T00:00:00Z)" "$(seq 0 9)"
    run mrecv -t x --from new --wait 300ms
    assert_failure 124
}

@test "--from is for new groups only" {
    start_relay
    seq 0 9 | msend -t x
    assert_equal "$(mrecv -t x -g g -e --from -3)" "$(seq 7 9)"
    run --separate-stderr mrecv -t x -g g -e --from start
    assert_equal "$status" 64
    assert_regex "$stderr" 'group g is there already'
    run mrecv -t x --from yesterday
    assert_failure 64
    assert_output --partial 'mrecv: --from:'
}

@test "formats" {
    start_relay
    printf 'ab\0c\0' | msend -t x -F null
    assert_equal "$(mrecv -t x -e -F null | od -An -c | tr -d ' ')" 'ab\0c\0'
    assert_equal "$(mrecv -t x -e -F length | od -An -tx1 | tr -d ' ')" '0000000261620000000163'
    assert_equal "$(mrecv -t x -F whole | od -An -c | tr -d ' ')" 'ab'
    assert_equal "$(mrecv -t x -e -F json | grep -o '"data":"[a-z]*"')" $'"data":"ab"\n"data":"c"'
    assert_equal "$(mrecv -t x -e --template '%{offset}=%{body};')" '0=ab;1=c;'
}

@test "what --format json prints, msend --format json sends again" {
    start_relay
    msend -t x -H 'colour: blue' -k k --type order.new -d '{"a": [1,  2]}'
    head -c 3000 /dev/urandom | msend -t x -F whole
    mrecv -t x -e -F json | msend -t y -F json
    mrecv -t x -e -F length >first
    mrecv -t y -e -F length >second
    cmp first second
    local all='%{id} %{colour} %{key}\n'
    assert_equal "$(mrecv -t y -e --template "$all")" "$(mrecv -t x -e --template "$all")"
}

@test "a body that holds the separator is written as it is, with one warning" {
    start_relay
    printf 'a\nb' | msend -t x -F whole
    printf 'c\nd' | msend -t x -F whole
    run --separate-stderr mrecv -t x -e
    assert_success
    assert_output $'a\nb\nc\nd'
    assert_equal "$stderr" "mrecv: a message holds a newline, so that its end cannot be told from a line's: use -F null, length or json"
}

@test "large bodies come through byte for byte" {
    start_relay
    head -c 5000000 /dev/urandom >large
    msend -t x -F whole large
    echo small | msend -t x
    head -c 200000 /dev/zero | msend -t x -F whole
    mrecv -t x -e >all
    assert_equal "$(wc -c <all)" $((5000001 + 6 + 200001))
    mrecv -t x -e | cmp - all
    mrecv -t x -g g -n 1 -F whole | cmp - large
}

@test "on a terminal control characters are escaped" {
    need_terminal
    start_relay
    printf 'a\033[31mb\rc' | msend -t x -F whole
    script -qec 'mrecv -t x -e' /dev/null >typescript </dev/null
    run tr -d '\r' <typescript
    assert_output 'a\x1b[31mb\rc'
}

@test "mrecv | head -1 takes one message, and gives the others back" {
    start_relay
    seq 1 1000 | msend -t x
    set +o pipefail
    mrecv -t x -g g | head -1 >first
    assert_equal "$(cat first)" 1
    assert_equal "$(group_count acked x g)" 1
    assert_equal "$(group_count leased x g)" 0
    mrecv -t x -g g -e --template '%{body} %{attempt}\n' >rest
    assert_equal "$(cat rest)" "$(seq -f '%g 1' 2 1000)"
}

@test "mrecv | head gives back what head did not take" {
    start_relay
    seq 1 200000 | msend -t x
    set +o pipefail
    mrecv -t x -g g | head -5000 >first
    assert_equal "$(cat first)" "$(seq 1 5000)"
    # head reads a block; what it did not read is there again, from the first such line on
    local acked
    acked=$(group_count acked x g)
    assert [ "$acked" -ge 5000 ]
    assert [ "$acked" -lt 20000 ]
    assert_equal "$(group_count leased x g)" 0
    mrecv -t x -g g -e --template '%{body} %{attempt}\n' >rest
    assert_equal "$(head -1 rest)" "$((acked + 1)) 1"
    assert_equal "$(wc -l <rest)" $((200000 - acked))
}

@test "a pipe's reader that has gone ends it quietly, as any filter" {
    start_relay
    seq 1 200000 | msend -t x
    run bash -c 'mrecv -t x -g g 2>err | true; echo "${PIPESTATUS[0]}"'
    assert_output 141
    assert_equal "$(cat err)" ''
    assert_equal "$(mrecv -t x -g g -n 1 --template '%{body} %{attempt}')" '1 1'
}

@test "a reader that goes while nothing comes is noticed" {
    start_relay
    msend -t x -d one
    run timeout 10 bash -c 'mrecv -t x -g g | head -1; echo "${PIPESTATUS[0]}"'
    assert_success
    assert_output $'one\n141'
}

@test "only what was taken out of the pipe is acknowledged" {
    start_relay
    seq 1000 1999 | msend -t x
    mkfifo pipe
    start recv bash -c 'exec mrecv -t x -g g >pipe'
    local pid=$started_pid
    exec 4<pipe
    head -c 50 <&4 >taken # ten messages
    until_true group_has 10 acked x g
    assert_equal "$(group_count leased x g)" 990
    end "$pid"
    exec 4<&-
    assert_equal "$(cat taken)" "$(seq 1000 1009)"
    assert_equal "$(group_count leased x g)" 0
    assert_equal "$(mrecv -t x -g g -n 1)" 1010
}

@test "a slow reader gets everything before the end" {
    start_relay
    seq 1 30000 | msend -t x
    mrecv -t x -g g -e | { sleep 0.3; cat >all; }
    assert_equal "$(cat all)" "$(seq 1 30000)"
    assert_equal "$(group_count acked x g)" 30000
}

@test "a closed stdout is an output error, and takes nothing" {
    start_relay
    seq 1 10 | msend -t x
    run bash -c 'mrecv -t x -g g -n 1 >&-'
    assert_failure 74
    assert_output 'mrecv: cannot write to stdout: it is closed'
    assert_equal "$(mrecv -t x -g g -n 1)" 1
}

@test "a full disk is an output error, and the messages stay with the relay" {
    [ -e /dev/full ] || skip 'there is no /dev/full'
    start_relay
    seq 1 10 | msend -t x
    run bash -c 'mrecv -t x -g g >/dev/full'
    assert_failure 74
    assert_output --partial 'No space left'
    assert_equal "$(mrecv -t x -g g -e)" "$(seq 1 10)"
}

@test "--sync writes a file" {
    start_relay
    seq 1 10000 | msend -t x
    run bash -c 'mrecv -t x -e --sync | cat'
    assert_success
    assert_output "$(seq 1 10000)"
    mrecv -t x -g g -e --sync >file
    assert_equal "$(cat file)" "$(seq 1 10000)"
}

@test "interrupted, it leaves and dies by the signal" {
    start_relay
    seq 1 10 | msend -t x
    start got mrecv -t x -g g
    local pid=$started_pid
    until_true group_has 10 acked x g
    end "$pid"
    assert_equal "$ended_code" 143
    assert_equal "$(cat got)" "$(seq 1 10)"
    assert_equal "$(cat got.err)" ''
}

@test "a relay that dies in mid-stream is waited for, and nothing is lost or comes twice" {
    start_relay
    seq 1 300000 | msend -t x
    mkfifo pipe
    start recv bash -c 'exec mrecv -t x -g g -n 300000 >pipe'
    local pid=$started_pid
    exec 4<pipe
    head -c 100000 <&4 >all
    end "$relay_pid" KILL
    start_relay
    cat <&4 >>all
    exec 4<&-
    wait "$pid"
    assert_equal "$(md5sum <all)" "$(seq 1 300000 | md5sum)"
    assert_equal "$(group_count acked x g)" 300000
}

@test "a relay that stays away for longer than --wait is 124" {
    start_relay
    msend -t x -d one
    start got mrecv -t x -g g --wait 1s
    local pid=$started_pid
    until_true has_lines 1 got
    end "$relay_pid" KILL
    wait "$pid" || ended_code=$?
    assert_equal "$ended_code" 124
}

@test "a group that makes a topic is told so on a terminal, with the nearest that is there" {
    need_terminal
    start_relay
    msend -t orders.new -d x
    run script -qec 'mrecv -t orders.nwe -g bill -e' /dev/null
    assert_output --partial 'mrecv: topic orders.nwe was not there and has been made: did you mean orders.new?'
    run script -qec 'mrecv -t orders.nwe -g bill -e' /dev/null
    assert_output ''
    run script -qec 'mrecv -t hello -g bill -e' /dev/null
    assert_output --regexp '^mrecv: topic hello was not there and has been made.?$'
    run mrecv -t orders.nee -g bill -e
    assert_output ''
    run script -qec 'mrecv -t orders.new -g bill -e' /dev/null
    refute_output --partial 'made'
}

@test "a topic that does not exist cannot be read to its end, and the nearest is named" {
    start_relay
    msend -t orders.new -d x
    run mrecv -t orders.nwe -e
    assert_failure 66
    assert_output 'mrecv: topic orders.nwe does not exist: did you mean orders.new?'
    run mrecv -t something.else -e
    assert_failure 66
    assert_output 'mrecv: topic something.else does not exist'
    run mrecv -t 'nothing.*' -e
    assert_success
    assert_output ''
    run mrecv -t something.else -g g -e
    assert_success
    assert_output ''
}

@test "without a relay it is 69, and says how to start one" {
    run --separate-stderr mrecv -t x -g g
    assert_equal "$status" 69
    assert_regex "$stderr" "mrelay --background"
}

@test "the output may be a socket or a file opened for appending" {
    start_relay
    seq 1 5 | msend -t x
    echo before >file
    mrecv -t x -g g -e >>file
    assert_equal "$(cat file)" $'before\n1\n2\n3\n4\n5'
}

@test "wrong options of mrecv" {
    wrong 'mrecv: where from? Give a topic (-t TOPIC), or a peer (--dial URL or --listen URL)' mrecv
    wrong 'mrecv: -t and --dial exclude each other: receive by way of a relay, or directly from a peer' \
        mrecv -t x --dial ipc:///x
    wrong 'mrecv: -t and --listen exclude each other: receive by way of a relay, or directly from a peer' \
        mrecv -t x --listen ipc:///x
    wrong 'mrecv: --dial and --listen exclude each other: choose the end that connects or the one that waits' \
        mrecv --dial ipc:///x --listen ipc:///x
    wrong 'mrecv: -r and --dial exclude each other: direct mode has no relay' mrecv -r a --dial ipc:///x
    wrong "mrecv: -g and --dial exclude each other: groups are the relay's" mrecv -g a --dial ipc:///x
    wrong 'mrecv: --from and --dial exclude each other: direct messages are not kept' mrecv --from 1 --dial ipc:///x
    wrong 'mrecv: -e and --dial exclude each other: a peer never says that no more will come: use -n or --wait' \
        mrecv -e --dial ipc:///x
    wrong 'mrecv: -e and --listen exclude each other: a peer never says that no more will come: use -n or --wait' \
        mrecv -e --listen ipc:///x
    local option
    for option in pull sub rep pair pair1 bus respondent; do
        wrong "mrecv: -t and --$option exclude each other: that is for direct mode, with --dial or --listen" \
            mrecv -t x "--$option"
    done
    wrong 'mrecv: --subscribe goes only with --sub: the other patterns receive everything' \
        mrecv --dial ipc:///x --subscribe a
    wrong 'mrecv: --template and -F exclude each other: a template is the format' mrecv -t x --template a -F json
    run mrecv -t x -F jsn
    assert_failure 64
    assert_output --partial 'did you mean json?'
    run mrecv -t x -n 0
    assert_failure 64
    assert_output --partial 'mrecv: -n:'
    run mrecv -t x --wait soon
    assert_failure 64
    run mrecv -t x --template '%{nope'
    assert_failure 64
    assert_output --partial 'mrecv: --template:'
    run mrecv -t x --max-message 1K
    assert_failure 64
}

@test "names are checked before anything happens" {
    run mrecv -t orders. -e
    assert_failure 64
    assert_output --partial '>'
    run mrecv -t 'a b'
    assert_failure 64
    run mrecv -t x -g 'a b'
    assert_failure 64
    run mrecv -t x -g ''
    assert_failure 64
    run mrecv --dial nonsense
    assert_failure 64
    run mrecv -r 'no/such' -t x
    assert_failure 64
}

@test "messages that are passed over leave their offsets out" {
    start_relay
    local topic
    for topic in x y; do
        mrelay set topic $topic dedupe.by=id dedupe.window=10m
        printf '{"n": "%s"}\n' 1 2 1 3 2 4 | msend -t $topic --id-json /n
    done
    run mrecv -t x -e --template '%{offset} %{id}\n'
    assert_output $'0 1\n1 2\n3 3\n5 4'
    run mrecv -t x -g g -e --template '%{offset} %{id}\n'
    assert_output $'0 1\n1 2\n3 3\n5 4'
    assert_equal "$(group_count acked x g)" 4
    run --separate-stderr mrecv -t y -g g -e -- sh -c 'echo "$MSG_OFFSET $MSG_ID"; [ "$MSG_ID$MSG_ATTEMPT" != 31 ]'
    assert_success
    assert_output $'0 1\n1 2\n3 3\n5 4\n3 3'
    assert_equal "$(group_count acked y g)" 4
}
