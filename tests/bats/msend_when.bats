#!/usr/bin/env bats
# msend: messages for later, messages that expire, topics that refuse.

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# Whether a topic has nothing to read.
is_empty() {
    [ -z "$(mrecv -t "$1" -e 2>/dev/null)" ]
}

@test "--delay is acknowledged at once, and given out when it is due" {
    start_relay
    local begin=${EPOCHREALTIME/./}
    seq 1 3 | msend -t x --delay 3s
    msend -t x -d now
    run mrecv -t x -n 4 --wait 20s
    assert_success
    assert_output $'now\n1\n2\n3'
    assert [ $((${EPOCHREALTIME/./} - begin)) -ge 3000000 ]
}

@test "what is delayed outlives the relay" {
    start_relay
    msend -t x --delay 5s -d late
    end "$relay_pid" KILL
    start_relay
    assert is_empty x
    assert_equal "$(mrecv -t x -n 1 --wait 20s)" late
}

@test "--at names a time, and one that is past is now" {
    start_relay
    msend -t x --at 2020-02-02T02:02:02Z -d past
    assert_equal "$(mrecv -t x -e)" past
    local at=$(($(date +%s) + 4))
    msend -t x --at "@$at" -d later
    assert_equal "$(mrecv -t x -e)" past
    assert_equal "$(mrecv -t x -n 2 --wait 20s)" $'past\nlater'
    assert [ "$(date +%s)" -ge "$at" ]
}

@test "--print-id tells the ids of messages that are still to come" {
    start_relay
    msend -t x --print-id --delay 500ms -d a -d b >ids
    assert_equal "$(wc -l <ids)" 2
    assert_equal "$(mrecv -t x -n 2 --wait 20s --template '%{id}\n')" "$(cat ids)"
}

@test "after its --ttl nobody is given a message" {
    start_relay
    msend -t x --ttl 1h -d long
    msend -t x --ttl 300ms -d short
    assert_equal "$(mrecv -t x -n 1 --template '%{body} %{expirytime}' | grep -cE '^long 20[0-9]{2}-.*Z$')" 1
    is_long() { [ "$(mrecv -t x -e)" = long ]; }
    until_true is_long
    assert_equal "$(mrecv -t x -g g -e)" long
}

@test "--ttl goes with messages in frames to a peer, too" {
    start got mrecv --listen "ipc://$PWD/peer" -n 1 --template '%{expirytime}\n'
    msend --dial "ipc://$PWD/peer" --framed --ttl 1h -d a
    wait "$started_pid"
    assert_regex "$(cat got)" '^20[0-9]{2}-.*Z$'
}

@test "times that make no sense are named, and nothing is sent" {
    start_relay
    while IFS='|' read -r options words; do
        run --separate-stderr msend -t x -d a $options
        assert_failure 64
        assert_equal "$stderr" "msend: $words"
    done <<'END'
--ttl 1s --delay 2s|--ttl 1.0 s is over before --delay 2.0 s: every message would expire unseen
--ttl 5s --at 2199-01-01T00:00:00Z|--ttl 5.0 s is over before --at 2199-01-01T00:00:00Z: every message would expire unseen
--ttl 0|--ttl 0: every message would have expired before it came
--delay 1s --at @5|--delay and --at exclude each other: say how long from now, or when
--at tomorrow|--at: 'tomorrow' is not a time: write 2026-11-20T17:00:00Z, or @1795194000
--delay soon|--delay: 'soon' is not a duration: write 500ms, 5s, 1m, 2h or 7d
END
    run msend --dial "ipc://$PWD/peer" --delay 1s -d a
    assert_failure 64
    assert_output 'msend: --delay and --dial exclude each other: that is for a relay (-t)'
    run msend --dial "ipc://$PWD/peer" --ttl 1s -d a
    assert_failure 64
    assert_output --partial 'a bare body carries no attributes: add --framed, or send to a topic (-t)'
    run mrecv -t x -e
    assert_failure 66 # nothing has made the topic
}

@test "a topic that refuses what does not fit is 75, in words" {
    start_relay
    mrelay set topic x max_messages=2 overflow=reject
    seq 1 2 | msend -t x
    run msend -t x -d 3
    assert_failure 75
    assert_output --regexp 'msend: the relay refused the messages: .*topic x.*max_messages'
    assert_output --partial 'given up: 0 messages were acknowledged'
    assert_equal "$(mrecv -t x -e)" $'1\n2'
}

@test "a traceparent that is none is refused" {
    run msend -t x -H 'traceparent: 00-abc' -d a
    assert_failure 64
    assert_output --partial "-H: '00-abc' is no traceparent: write 00-TRACE-PARENT-01"
    run msend -t x -H 'traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01' -d a
    assert_failure 64
    start_relay
    msend -t x -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -d a
    assert_equal "$(mrecv -t x -e --template '%{traceparent}')" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

@test "a traceparent that is none, in JSON or in the environment, is left out and counted" {
    start_relay
    local good=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    printf '%s\n' '{"specversion":"1.0","traceparent":"00-abc","tracestate":"a=b","data":1}' \
        "{\"specversion\":\"1.0\",\"traceparent\":\"$good\",\"tracestate\":\"A B\",\"data\":2}" \
        "{\"specversion\":\"1.0\",\"traceparent\":\"$good\",\"tracestate\":\"a=b\",\"data\":3}" >events
    run msend -t x -F json events
    assert_success
    assert_output 'msend: 2 messages came with a traceparent or tracestate that is none: they were sent without it'
    run mrecv -t x -e --template '%{body}|%{traceparent}|%{tracestate}\n'
    assert_output "1||"$'\n'"2|$good|"$'\n'"3|$good|a=b"

    TRACEPARENT=nonsense run msend -t y -d a -d b
    assert_success
    assert_output 'msend: $TRACEPARENT is no traceparent (00-TRACE-PARENT-01, in lower-case hex digits): 2 messages are of traces of their own'
    # What a message says of itself stands before the environment, and that before nothing.
    TRACEPARENT=00-11111111111111111111111111111111-2222222222222222-00 TRACESTATE=c=d msend -t z -F json events
    run mrecv -t z -e --template '%{body}|%{traceparent}|%{tracestate}\n'
    assert_line '1|00-11111111111111111111111111111111-2222222222222222-00|c=d'
    assert_line "3|$good|a=b"
}

@test "mrelay status says how many are for later, also after a kill" {
    start_relay
    msend -t x --delay 1h -d a -d b
    msend -t x --delay 2h -d c
    end "$relay_pid" KILL
    start_relay
    run mrelay status
    assert_success
    assert_line --regexp '^scheduled  3 messages for later, the next in (1h|59m)'
    msend -t x -d now
    assert_equal "$(mrecv -t x -e)" now
}

@test "a topic with dedupe.by=id gives each id out once, whoever sends it again" {
    start_relay
    mrelay set topic x dedupe.by=id dedupe.window=1h
    msend -t x --id order-1 -d first
    msend -t x --id order-2 -d second
    end "$relay_pid" KILL
    start_relay
    msend -t x --id order-1 -d again
    msend -t x --id order-3 -d third
    assert_equal "$(mrecv -t x -e)" $'first\nsecond\nthird'
    assert_equal "$(mrecv -t x -g g -e)" $'first\nsecond\nthird'
    run mrelay status
    assert_success
    assert_output --partial duplicate
}
