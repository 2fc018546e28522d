#!/usr/bin/env bats
# mretry with a relay: the messages of a topic, and dead letters of stdin in one.
#
# The scripts of the commands are in single quotes: their own shell expands them.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

setting() {
    mrelay set group "$1" "$2" --json | jq -r ".settings[\"$3\"]"
}

@test "messages of a topic are tried until they are done or dead, and only success is printed" {
    start_relay
    seq 5 | msend -t jobs
    run --separate-stderr mretry -t jobs -g work -e --max-retries 2 --initial-interval 1ms --max-interval 1ms -- \
        sh -c 'read -r x; echo "$x: $MSG_ATTEMPT"; [ "$x" = 3 ] && exit 9; [ "$x" != 4 ] || [ "$MSG_ATTEMPT" = 2 ]'
    assert_equal "$status" 65
    assert_equal "$(sort <<<"$output")" '1: 1
2: 1
4: 2
5: 1'
    assert_equal "${stderr##*$'\n'}" 'mretry: 1 of 5 messages were dead-lettered'
    assert_equal "$(mretry list -t jobs.dead --json | jq -c '[.data, .deadreason, .deadattempts, .deadgroup]')" \
        '[3,"retries",3,"work"]'
}

@test "what is said of the policy becomes the group's, and the rest stays" {
    start_relay
    mrelay set group jobs work retry.jitter=0.5 2>/dev/null
    mretry -t jobs -g work -e --max-retries 7 --backoff linear --dead-topic graveyard --timeout 5s -- cat
    assert_equal "$(setting jobs work retry.max_retries)" 7
    assert_equal "$(setting jobs work retry.backoff)" linear
    assert_equal "$(setting jobs work dead_letter)" graveyard
    assert_equal "$(setting jobs work retry.jitter)" 0.5
    assert_equal "$(setting jobs work retry.initial_interval)" 100ms
}

@test "a dead topic that stdin's letters make is one: patterns do not match it" {
    start_relay
    mrecv -t '>' -g all -e
    mretry --max-retries 0 --dead-topic bad -- false <<<one 2>/dev/null || assert_equal $? 65
    assert_equal "$(mrelay topics --json | jq -c '.topics[] | [.name, .letters, .messages]')" '["bad",true,1]'
    assert_equal "$(mrelay groups --json | jq -c '.groups[] | [.topic, .group, .waiting]')" '["bad","mretry",1]'
    assert_equal "$(mrecv -t '>' -e)" ''
    mretry list -t bad --json | jq -e '.time <= .deadfirst' # it keeps the time when the message came
    msend -t orders -d mine
    run --separate-stderr mretry --max-retries 0 --dead-topic orders -- false <<<one
    assert_equal "$status" 65
    assert_regex "$stderr" 'topic orders was there before, with other messages'
    assert_equal "$(mretry list -t orders --reason retries | wc -l)" 1
}

@test "several share the work of a group" {
    start_relay
    seq 100 | msend -t jobs
    start one mretry -t jobs -g work -e -- sh -c 'cat; echo'
    start two mretry -t jobs -g work -e --workers 2 -- sh -c 'cat; echo'
    for pid in "${started[@]:1}"; do
        wait "$pid"
    done
    seq 100 | cmp - <(sort -n one two)
}

@test "a large output of a failed attempt is forgotten, that of a successful one printed" {
    start_relay
    msend -t jobs -d one
    mretry -t jobs -g work -n 2 --initial-interval 1ms --max-interval 1ms -- \
        sh -c 'head -c 3000000 /dev/zero | tr "\0" "$MSG_ATTEMPT"; [ "$MSG_ATTEMPT" = 2 ]' >out 2>/dev/null
    assert_equal "$(wc -c <out)" 3000000
    assert_equal "$(head -c 3 out)" 222
}

@test "dead letters of stdin go to a topic" {
    start_relay
    run --separate-stderr mretry --max-retries 0 --dead-topic bad -- \
        sh -c 'read -r x; [ "$x" != 3 ] || { echo sorry >&2; false; }' < <(seq 5)
    assert_equal "$status" 65
    assert_equal "${stderr##*$'\n'}" 'mretry: 1 of 5 messages died: they are in bad'
    assert_equal "$(mretry list -t bad --json | jq -c '[.data, .deadreason, .deaderror]')" '[3,"retries","sorry"]'
    mretry replay -t bad --all --to again
    run mrecv -t again -e
    assert_output 3
}

@test "many dead letters of stdin go to a topic" {
    start_relay
    seq 20000 >in
    mretry --mode batch --batch 4000 --max-retries 0 --dead-topic bad -- false <in 2>/dev/null || assert_equal $? 65
    mretry list -t bad --json | jq -r .data | sort -n | cmp - in
}

@test "without the relay nothing is begun" {
    run --separate-stderr mretry --dead-topic bad -- touch ran <<<one
    assert_equal "$status" 69
    assert_file_not_exists ran
    run mretry -t jobs -g work -- touch ran
    assert_equal "$status" 69
}

@test "a message dies only when the relay has it, also when that comes back later" {
    start_relay
    mkfifo in
    mretry --max-retries 0 --dead-topic bad -- sh -c 'cat >>tried; false' <in >out 2>out.err 3>&- &
    started+=($!)
    pid=$!
    exec {feed}>in
    echo one >&"$feed"
    until_true test -s tried
    until_true sh -c 'mretry list -t bad | grep -q .'
    end "$relay_pid" KILL
    echo two >&"$feed"
    until_true grep -q two tried
    exec {feed}>&-
    start_relay
    code=0
    wait "$pid" || code=$?
    assert_equal "$code" 65
    assert_equal "$(mretry list -t bad --json | jq -r .data)" $'one\ntwo'
    mtrace audit
}

@test "every wrong command line is told" {
    wrong 'mretry: -t needs -g GROUP: the group that keeps account of what is done' mretry -t x -- cat
    wrong 'mretry: -t and --dedupe exclude each other: the relay does that: mrelay set topic TOPIC dedupe.by=id' \
        mretry -t x -g y --dedupe id -- cat
    wrong 'mretry: -t and -K exclude each other: that is for messages of stdin' mretry -t x -g y -K : -- cat
    wrong 'mretry: --dead-file and --dead-topic exclude each other: letters lie in one place' \
        mretry --dead-file x --dead-topic y -- cat
    wrong 'mretry: -r and --wait go only with -t or --dead-topic: stdin needs no relay' mretry -r x -- cat
    wrong 'mretry: -e goes only with -t: stdin has an end of its own' mretry -e -- cat
    wrong 'mretry: -n goes only with -t, or with a command for dead letters: use head(1)' mretry -n 3 -- cat
    start_relay
    run mretry --dead-topic 'a b' -- cat
    assert_failure 64
    assert_line --partial 'mretry: --dead-topic: '
}
