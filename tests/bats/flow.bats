#!/usr/bin/env bats
# Flow control: what a topic's limits do to those who send, and what they see of it.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# A column of a table of mrelay, for the topic or group t.
waiting() {
    mrelay groups -t t -g "$1" --json | sed -n 's/.*"waiting":\([0-9]*\).*/\1/p'
}

messages() {
    mrelay topics -t t --json | sed -n 's/.*"messages":\([0-9]*\).*/\1/p'
}

dropped() {
    mrelay topics -t t --json | sed -n 's/.*"dropped":{[^}]*"'"$1"'":\([0-9]*\).*/\1/p'
}

resident() {
    awk '/^VmRSS/ { print $2 }' "/proc/$1/status"
}

# Nothing moves: as many messages as half a second ago.
stands_still() {
    local before
    before=$(messages)
    sleep 0.5
    [ "$before" -gt 0 ] && [ "$(messages)" = "$before" ]
}

@test "a message larger than the limit of its topic goes in among small ones" {
    start_relay
    mrelay set topic t max_bytes=10000
    { head -c 20000 /dev/zero | tr '\0' x; echo; seq 14; } >lines
    mrecv -t t -g g -e
    start got mrecv -t t -g g -n 15
    timeout 20 msend -t t lines
    until_true has_lines 15 got
    assert_equal "$(sort got | cksum)" "$(sort lines | cksum)"
}

@test "a full topic stops the shell pipe with memory flat, and a consumer lets it go on" {
    [[ -r /proc/self/status ]] || skip 'there is no /proc'
    start_relay
    mrelay set topic t max_messages=200000
    mrecv -t t -g g -e
    yes 'a line that comes for ever' | msend -t t 3>&- &
    local sender=$!
    started+=("$sender")
    has_messages() { [ "$(messages)" = "$1" ]; }
    until_true has_messages 200000
    until_true stands_still
    local sent sender_memory relay_memory
    sent=$(messages)
    assert_equal "$sent" 200000
    sender_memory=$(resident "$sender") relay_memory=$(resident "$relay_pid")
    sleep 1
    assert_equal "$(messages)" "$sent"
    assert [ "$(resident "$sender")" -le "$((sender_memory + 1024))" ]
    assert [ "$(resident "$relay_pid")" -le "$((relay_memory + 1024))" ]
    assert [ "$sender_memory" -le 24576 ]
    mrecv -t t -g g -n 1000000 >/dev/null
    until_true stands_still
    assert [ "$(resident "$sender")" -le "$((sender_memory + 4096))" ]
    assert [ "$(waiting g)" -le 200000 ]
}

@test "overflow=reject: msend exits with 75 and says what was taken" {
    start_relay
    mrelay set topic t max_messages=3 overflow=reject
    msend -t t -d 1 -d 2 -d 3
    run --separate-stderr msend -t t -d 4
    assert_failure 75
    assert_equal "$output" ''
    [[ $stderr == *'topic t is full'* && $stderr == *max_messages=3* ]]
    assert_equal "$(mrecv -t t -e)" $'1\n2\n3'
    mrecv -t t -g g -n 1 >/dev/null
    msend -t t -d 5
    run msend -t t -d 6
    assert_failure 75
}

@test "of one piece a full topic takes what fits, and the rest when there is room" {
    start_relay
    mrelay set topic t max_messages=10 retain.age=1h
    mrecv -t t -g g -e
    start sent bash -c 'seq 1 100 | msend -t t --print-id'
    local sender=$started_pid
    has_messages() { [ "$(messages)" = "$1" ]; }
    until_true has_messages 10
    assert_equal "$(mrecv -t t -g g -n 95)" "$(seq 1 95)"
    wait "$sender"
    assert_equal "$(mrecv -t t -g g -e)" "$(seq 96 100)"
    mrelay groups seek t g --from 90
    assert_equal "$(mrecv -t t -g g -e --format json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')" "$(tail -n 10 sent)"
}

@test "overflow=reject: what fits of one piece goes in, and msend says how to go on" {
    start_relay
    mrelay set topic t max_messages=10 overflow=reject
    seq 1 25 >input
    run --separate-stderr msend -t t input
    assert_failure 75
    [[ $stderr == *'--skip 10'* ]]
    mrecv -t t -g g -e >got
    run --separate-stderr msend -t t --skip 10 input
    assert_failure 75
    [[ $stderr == *'--skip 20'* ]]
    mrecv -t t -g g -e >>got
    msend -t t --skip 20 input
    mrecv -t t -g g -e >>got
    cmp got input
}

@test "overflow=drop_oldest: the newest are kept, what a consumer has is kept, drops are counted" {
    start_relay
    mrelay set topic t max_messages=10 overflow=drop_oldest
    local i
    seq 1 10 | msend -t t
    start got mrecv -t t -g g -n 3 -- sh -c '{ cat; echo; } >>taken; until [ -e go ]; do sleep 0.05; done'
    local consumer=$started_pid
    until_true test -s taken
    for i in {11..30}; do
        msend -t t -d "$i"
    done
    touch go
    wait "$consumer"
    local first
    first=$(head -n 1 taken)
    assert_equal "$first" 1
    mrecv -t t -g g -e >rest
    assert_equal "$(tail -n 1 rest)" 30
    local lost=$((30 - $(wc -l <rest) - $(wc -l <taken)))
    assert [ "$lost" -ge 15 ]
    assert_equal "$(dropped overflow)" "$lost"
    run mrelay status
    assert_line --regexp "^t +overflow +$lost\$"
    end "$relay_pid" KILL
    start_relay
    assert_equal "$(dropped overflow)" "$lost"
}

@test "a topic is as full as its slowest group, and what all have settled does not count" {
    start_relay
    mrelay set topic t max_messages=5 overflow=reject retain.age=7d
    mrecv -t t -g slow -e
    mrecv -t t -g fast -e
    seq 1 5 | msend -t t
    mrecv -t t -g fast -e >/dev/null
    run msend -t t -d 6
    assert_failure 75
    mrecv -t t -g slow -n 2 >/dev/null
    msend -t t -d 6 -d 7
    run msend -t t -d 8
    assert_failure 75
    mrecv -t t -g slow -e >/dev/null
    mrecv -t t -g fast -e >/dev/null
    end "$relay_pid"
    start_relay
    msend -t t -d 8 -d 9
    assert_equal "$(mrecv -t t -g slow -e)" $'8\n9'
}

@test "a limit that is lowered below what is there drops nothing" {
    start_relay
    mrecv -t t -g g -e
    seq 1 100 | msend -t t
    mrelay set topic t max_messages=10
    run msend -t t -d more --wait 300ms
    assert_failure
    assert_equal "$(waiting g)" 100
    start sent msend -t t -d later
    mrecv -t t -g g -n 95 >/dev/null
    wait "$started_pid"
    assert_equal "$(mrecv -t t -g g -e | tail -1)" later
}

@test "a topic that is told so takes bytes up to a limit" {
    start_relay
    mrelay set topic t max_bytes=100KiB overflow=reject
    local i taken=0
    for i in {1..12}; do
        head -c 10000 /dev/zero | tr '\0' x | msend -t t --format whole && taken=$((taken + 1))
    done
    assert_equal "$taken" 10
}

@test "a topic's rate holds up who sends more" {
    start_relay
    mrelay set topic t rate=20/s
    local i began=$EPOCHREALTIME
    for i in {1..22}; do
        msend -t t -d "$i"
    done
    local took=$(((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}) / 1000))
    assert [ "$took" -ge 900 ]
    assert_equal "$(mrecv -t t -e | wc -l)" 22
}

@test "a group's rate holds its consumers up, all together" {
    start_relay
    seq 1 22 | msend -t t
    mrelay set group t g rate=20/s
    local began=$EPOCHREALTIME
    start one mrecv -t t -g g -n 11
    local one=$started_pid
    mrecv -t t -g g -n 11 >two
    wait "$one"
    local took=$(((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}) / 1000))
    assert [ "$took" -ge 900 ]
    sort -n one two | cmp - <(seq 1 22)
}

@test "--client-rate holds up each client, and no other" {
    start_relay --client-rate 20/s
    local i began=$EPOCHREALTIME held_up
    refusals() { mrelay status --json | sed -n 's/.*"refused_full":\([0-9]*\).*/\1/p'; }
    seq 1 22 | msend -t a
    local took=$(((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}) / 1000))
    assert [ "$took" -ge 900 ]
    held_up=$(refusals)
    assert [ "$held_up" -ge 1 ]
    for i in {1..5}; do
        msend -t b -d "$i"
    done
    assert_equal "$(refusals)" "$held_up"
    run mrelay --client-rate fast
    assert_failure 64
}
