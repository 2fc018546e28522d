#!/usr/bin/env bats
# The torture's checker: it goes red for each thing that must not happen, and
# for nothing else. Histories: tests/torture/history.h.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
    checker=$MSGPIPE_BUILD/tests/torture/checker
}

teardown() {
    tools_teardown
}

# history LINE…: a history in which two messages were sent and acknowledged and
# one was not, and these lines.
history() {
    printf '%s\n' \
        'send 100 p1 t 1 aa' 'send 101 p1 t 2 bb' 'ok 110 p1 1 2' 'send 120 p1 t 3 cc' "$@" >history
}

one='got 200 c1 g t 0 1 p1 1 aa'
two='got 201 c1 g t 1 1 p1 2 bb'

# expect_red CLASS: that class alone, and once.
expect_red() {
    run -1 "$checker" history
    assert_output --partial "1 $1"
    local class
    for class in lost phantom altered duplicated reordered; do
        [ "$class" = "$1" ] || assert_output --partial "0 $class"
    done
}

expect_green() {
    run -0 "$checker" "$@" history
    assert_output --partial '0 lost, 0 phantom, 0 altered, 0 duplicated, 0 reordered'
}

@test "what was acknowledged and came once is well" {
    history "$one" "$two"
    expect_green
    assert_output --partial '3 sent: 2 acknowledged, 0 refused, 1 unknown; 2 deliveries to 1 groups'
}

@test "an unknown message may come, too" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p1 3 cc'
    expect_green
}

@test "lost: acknowledged, and it never came" {
    history "$one"
    expect_red lost
}

@test "lost: one of two groups did not get it" {
    history "$one" "$two" 'got 205 c2 h t 0 1 p1 1 aa'
    expect_red lost
}

@test "lost: a group that was to be there got nothing" {
    history "$one" "$two"
    expect_green --groups 1
    run -1 "$checker" --groups 2 history
    assert_output --partial '1 lost'
}

@test "phantom: nobody sent it" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p9 1 dd'
    expect_red phantom
}

@test "phantom: it was refused, and came" {
    history "$one" "$two" 'failed 130 p1 3 3' 'got 202 c1 g t 2 1 p1 3 cc'
    expect_red phantom
}

@test "phantom: it came from a topic that it was not sent to" {
    history "$one" 'got 201 c1 g u 0 1 p1 2 bb'
    run -1 "$checker" history
    assert_output --partial '1 phantom'
}

@test "altered: other bytes" {
    history "$one" 'got 201 c1 g t 1 1 p1 2 b0'
    expect_red altered
}

@test "duplicated: stored twice" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p1 2 bb'
    expect_red duplicated
}

@test "duplicated: again, and nothing explains it" {
    history "$one" "$two" 'got 300 c2 g t 1 2 p1 2 bb'
    expect_red duplicated
}

@test "duplicated: again after its acknowledgement, kill or not" {
    history "$one" "$two" 'acked 210 c1 g t 1' 'kill 250 c1' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_red duplicated
}

@test "duplicated: as an earlier attempt" {
    history "$one" 'got 201 c1 g t 1 2 p1 2 bb' 'kill 250 c1' 'got 300 c2 g t 1 1 p1 2 bb'
    expect_red duplicated
}

@test "again after a kill is explained" {
    history "$one" "$two" 'kill 250 c1' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_green
    assert_output --partial '1 came again after a kill'
}

@test "a kill before or after explains nothing" {
    history "$one" "$two" 'kill 150 c1' 'got 300 c2 g t 1 2 p1 2 bb' 'kill 350 c2'
    expect_red duplicated
}

@test "again after a lost lease is explained, and again as wished is no duplicate" {
    history "$one" "$two" 'got 300 c2 g t 1 2 p1 2 bb' 'stale 310 c1 g t 1' \
        'retried 320 c1 g t 0' 'got 330 c1 g t 0 2 p1 1 aa'
    expect_green
    assert_output --partial '1 came again after a kill, 1 as wished'
}

@test "two groups get a message each" {
    history "$one" "$two" 'acked 202 c1 g t 0' 'got 300 c2 h t 0 1 p1 1 aa' 'got 301 c2 h t 1 1 p1 2 bb'
    expect_green --groups 2
}

@test "reordered: stored before one that was sent earlier" {
    history 'got 200 c1 g t 1 1 p1 1 aa' 'got 201 c1 g t 0 1 p1 2 bb'
    expect_red reordered
}

@test "histories may be many, and a line that a kill cut short tells nothing" {
    history "$one"
    printf '%s\n%s' "$two" 'got 300 c1 g' >other
    run -0 "$checker" history other
    assert_output --partial '2 deliveries'
}

@test "what is no history is refused" {
    echo 'nonsense 1 2 3' >history
    run -66 "$checker" history
    run -66 "$checker" nothing-there
    run -64 "$checker"
}
