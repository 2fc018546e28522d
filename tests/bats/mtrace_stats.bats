#!/usr/bin/env bats
# mtrace stats and mtrace graph: how much went where, and how long it took.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    start_relay
}

teardown() {
    tools_teardown
}

# What `mtrace stats --json` says, by a jq expression.
stat() {
    mtrace stats --since 1h --json | jq -r "$1"
}

@test "numbers of topics and groups are those of what happened" {
    seq 100 | msend -t a
    seq 50 | msend -t b
    mrecv -t a -g g -n 100 >/dev/null
    mrecv -t b -g h -n 1 -- sh -c 'exit 65' 2>/dev/null || true
    mrecv -t b -g h -n 1 -- sh -c 'exit 1' 2>/dev/null || true
    mrecv -t b -g h -n 40 >/dev/null
    assert_equal "$(stat '[.topics[] | select(.topic == "a" or .topic == "b") | .published] | @csv')" 100,50
    assert_equal "$(stat '.groups[] | select(.group == "g") | [.acked, .retried, .dead, .waiting.count, .working.count] | @csv')" \
        100,0,0,100,100
    assert_equal "$(stat '.groups[] | select(.group == "h") | [.acked, .retried, .dead] | @csv')" 40,1,1
    # What took longer, took longer: each share is at least the one before.
    assert_equal "$(stat '[.groups[] | .waiting | .p50 <= .p90 and .p90 <= .p99 and .p99 <= ."p99.9" and ."p99.9" <= .max] | all')" true
    run mtrace stats -t a --since 1h
    assert_output --regexp 'a +100 +[0-9.]+'
    refute_output --regexp 'b +50'
    run mtrace stats --since 1h -g h --histogram
    assert_line --regexp '^b +h +40 '
    assert_output --partial 'h of b'
    run mtrace stats --until 2001-01-01T00:00:00Z
    assert_success
    assert_output 'nothing happened in that time'
}

@test "waiting and working are told apart" {
    msend -t t -d x
    # The message waits for its consumer, and that works on it: both for a time that is known.
    mrecv -t t -g g -n 1 -- sh -c 'sleep 0.3'
    run stat '.groups[0] | .working.max >= 0.3 and .whole.max >= .working.max + .waiting.max - 0.001'
    assert_output true
}

@test "the graph shows producers, topics, stages and consumers as they were" {
    cat >shout.yaml <<'END'
name: shout
topics: {said: {external: true}, shouted: {}, refused: {external: true}}
stages:
  shout: {from: said, command: [tr, a-z, A-Z], to: shouted}
  picky: {from: shouted, shell: 'exit 65', dead_letter: refused}
END
    export MSGPIPE_RELAY=shout
    start run.log mrelay run shout.yaml
    runs() {
        [[ $(mrelay status --json --wait 2s | jq -r .pipeline.state) == running ]]
    }
    until_true runs
    msend -t said -d hello
    msend -t said -d world
    died() {
        [ "$(mtrace stats --json | jq '[.groups[] | select(.group == "picky") | .dead] | add')" = 2 ]
    }
    until_true died
    run mtrace graph
    assert_success
    assert_line --regexp '^msend'
    assert_output --regexp 'msend.*said.*shout.*shouted.*picky.*refused'
    assert_line --regexp '─ 2, .* ─▶ said'
    run mtrace graph --format mermaid
    assert_line --index 0 'flowchart LR'
    assert_output --partial '["shout"]'
    run mtrace graph --format dot
    assert_output --partial 'digraph'
}

@test "--watch redraws until it is ended, and into a pipe it goes on" {
    msend -t t -d x
    start out mtrace stats --watch --json
    enough() {
        [ "$(wc -l <out)" -ge 2 ]
    }
    until_true enough
    end "$started_pid"
    jq -es 'length >= 2 and .[0].topics[0].published == 1' out
}
