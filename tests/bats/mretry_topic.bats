#!/usr/bin/env bats
# Dead letters of a relay's topic: listing, showing, replaying, discarding.
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

# Messages of these ids on `jobs`, of which group `work` rejects all but those that are `good`; group `other` has taken
# all of them.
kill_messages() {
    mrelay set group jobs work retry.max_retries=1 retry.initial_interval=1ms retry.max_interval=1ms 2>/dev/null
    for id in "$@"; do
        msend -t jobs --id "$id" -H "colour: c$id" -d "body $id"
    done
    mrecv -t jobs -g work -e -- \
        sh -c 'echo "no $MSG_ID" >&2; case $MSG_ID in good*) exit 0;; 4) exit 3;; esac; exit 65' 2>/dev/null ||
        assert_equal $? 65
    mrecv -t jobs -g other -e >/dev/null
}

ids() {
    mretry list -t jobs.dead "$@" | cut -f 1 | sort | tr '\n' ' '
}

fewer_than() {
    [ "$(mretry list -t many.dead | wc -l)" -lt "$1" ]
}

replayed_all() {
    mretry replay -t many.dead --all
    [ "$(mretry list -t many.dead | wc -l)" = 0 ]
}

# What a group has to do: its messages, which it takes.
taken_by() {
    mrecv -t jobs -g "$1" -e --template '%{id}:%{body}:%{colour}:%{deadreason}\n'
}

@test "list and show tell what is known, and disturb nobody" {
    start_relay
    kill_messages 1 good 4
    run mretry list -t jobs.dead
    assert_line --regexp $'^1\t.* ago\tjobs work\trejected\t1\t65\tno 1$'
    assert_line --regexp $'^4\t.* ago\tjobs work\tretries\t2\t3\tno 4$'
    assert_equal "${#lines[@]}" 2
    run mretry show -t jobs.dead 4
    assert_line --regexp '^lies in +jobs.dead, offset [01]$'
    assert_line --regexp '^from +jobs, offset 2$'
    assert_line --regexp '^group +work$'
    assert_line --regexp '^attempts +2$'
    assert_line --regexp '^first +[0-9-]*T.*Z \(.* ago\): attempt 1 failed$'
    assert_line --regexp '^last +[0-9-]*T.*Z \(.* ago\): attempt 2 failed, .* later$'
    assert_line --regexp '^origin +[0-9a-f]{32}$'
    assert_line --regexp '^colour +c4$'
    assert_line '  no 4'
    assert_line '  body 4'
    run mrelay groups --json
    assert_output --regexp '"topic":"jobs.dead","group":"mretry","pattern":"","waiting":2'
}

@test "letters are chosen as those of a file are" {
    start_relay
    kill_messages 1 4 5
    assert_equal "$(ids)" '1 4 5 '
    assert_equal "$(ids --reason retries)" '4 '
    assert_equal "$(ids --came-from 'job*')" ''
    assert_equal "$(ids --came-from '*')" '1 4 5 '
    assert_equal "$(ids --where colour=c5)" '5 '
    assert_equal "$(mretry list -t jobs.dead --json 5 | jq -r .deadtopic)" jobs
}

@test "replay sends a message back to its topic, as it was, for its group alone" {
    start_relay
    kill_messages 1 4 5
    run mretry replay -t jobs.dead 4
    assert_success
    assert_equal "$(ids)" '1 5 '
    assert_equal "$(taken_by work)" '4:body 4:c4:'
    assert_equal "$(taken_by other)" ''
    mretry replay -t jobs.dead --all
    assert_equal "$(ids)" ''
    assert_equal "$(taken_by work)" '1:body 1:c1:
5:body 5:c5:'
    assert_equal "$(taken_by other)" ''
}

@test "a replayed message keeps its time, and an expirytime that is past is taken off" {
    start_relay
    mrelay set group jobs work retry.max_retries=0 2>/dev/null
    msend -t jobs --id 1 -d one
    run mrecv -t jobs -n 1 --template '%{time}'
    time=$output
    soon=$(date -u -d '+2 seconds' +%FT%T.%NZ)
    msend -t jobs --id 2 -H "expirytime: $soon" -d two
    mrecv -t jobs -g work -e -- false 2>/dev/null || assert_equal $? 65
    until_true sh -c "[ \$(date -u +%FT%T.%NZ) \> $soon ]"
    run mretry replay -t jobs.dead --all
    assert_success
    assert_line 'mretry: 1 of them had expired: their expirytime was taken off, so that they are not dropped again'
    run mrecv -t jobs -g work -e --template '%{id} %{time} %{expirytime}\n'
    assert_line --index 0 "1 $time "
    assert_line --index 1 --regexp '^2 [^ ]* $'
}

@test "replay --to sends messages to another topic, for all" {
    start_relay
    kill_messages 1 4
    mretry replay -t jobs.dead --all --to again
    run mrecv -t again -g g -e --template '%{id} %{deadreason}|%{body}\n'
    assert_output '1 |body 1
4 |body 4'
    assert_equal "$(ids)" ''
}

@test "a message whose topic or group is gone stays where it is, and that is said" {
    start_relay
    kill_messages 1 4
    mrelay groups delete jobs work --force
    run mretry replay -t jobs.dead --all
    assert_failure 65
    assert_line 'mretry: group work of topic jobs is gone: its letters stay where they are'
    assert_line 'mretry: 0 letters were replayed; the others stay where they are'
    mrelay topics delete jobs --yes --force
    run mretry replay -t jobs.dead --all
    assert_failure 65
    assert_line 'mretry: topic jobs is gone (--to TOPIC sends them to another): its letters stay where they are'
    assert_equal "$(ids)" '1 4 '
    run mrelay topics --names
    refute_line jobs
}

@test "a canary goes first, and the others only if it is acknowledged" {
    start_relay
    kill_messages 1 4 5
    start first mretry replay -t jobs.dead --all --canary
    mrecv -t jobs -g work -n 1 --wait 30s -- sh -c 'exit 65' 2>/dev/null || assert_equal $? 65
    first=0
    wait "$started_pid" || first=$?
    assert_equal "$first" 65
    grep -Fx 'mretry: the first letter, 1, was not acknowledged: it died again; the others stay where they are' first.err
    assert_equal "$(ids | wc -w)" 3
    start second mretry replay -t jobs.dead --all --canary
    mrecv -t jobs -g work -n 1 --wait 30s >/dev/null
    wait "$started_pid"
    assert_equal "$(ids)" ''
    assert_equal "$(taken_by work | wc -l)" 2
}

@test "a canary that nobody takes is not waited for longer than --wait says" {
    start_relay
    kill_messages 1 4
    run mretry replay -t jobs.dead --all --canary --wait 300ms
    assert_failure 124
    assert_line --partial 'waited in vain (--wait)'
    assert_equal "$(ids | wc -w)" 1
}

@test "a canary that is waited for says so, and interrupted the others stay" {
    start_relay
    kill_messages 1 4
    start out mretry replay -t jobs.dead --all --canary
    until_true grep -qx 'mretry: waiting for group work of jobs to acknowledge 1: nobody consumes from it now (--wait bounds it)' out.err
    end "$started_pid" TERM
    assert_equal "$ended_code" 143
    assert_equal "$(ids)" '4 '
}

@test "a canary that expires or is dropped is not taken for acknowledged" {
    start_relay
    kill_messages 1 4 5
    mrelay set topic jobs ttl=200ms
    run mretry replay -t jobs.dead --all --canary --wait 30s
    assert_failure 65
    assert_line --partial 'was not acknowledged: it expired, if it was not acknowledged just before; the others stay'
    assert_equal "$(ids)" '4 5 '
    mrelay set topic jobs ttl=
    start out mretry replay -t jobs.dead --all --canary
    until_true grep -q 'waiting for group work' out.err
    mrelay topics purge jobs --yes
    code=0
    wait "$started_pid" || code=$?
    assert_equal "$code" 65
    grep -F 'was not acknowledged: it was dropped' out.err
    assert_equal "$(ids)" '4 '
}

@test "a terminal is shown how far a replay has come" {
    need_terminal
    start_relay
    mrelay set group many work retry.max_retries=0 2>/dev/null
    seq 100 | msend -t many
    mrecv -t many -g work -e --mode batch -- sh -c 'cat >/dev/null; exit 65' 2>/dev/null || assert_equal $? 65
    run script -qec 'stty columns 120; mretry replay -t many.dead --all --rate 50/s' /dev/null
    assert_output --regexp 'replayed [0-9]+ of 100 messages, [^,]*, [^,]*/s, \[#+-+\] [0-9]+ %, [0-9]+ s left'
    assert_output --partial '100 letters were replayed'
}

@test "a rate is kept, and not waited for when there is nothing left" {
    start_relay
    kill_messages 1
    timeout 10 mretry replay -t jobs.dead --all --rate 2/h
    timeout 10 mretry replay -t jobs.dead --all --rate 2/h
    assert_equal "$(taken_by work)" '1:body 1:c1:'
    kill_messages 4 5
    start out mretry replay -t jobs.dead --all --rate 2/h
    only_one_left() { [ "$(ids | wc -w)" = 1 ]; }
    until_true only_one_left
    end "$started_pid"
    assert_file_contains out.err '1 letter was replayed; the others stay where they are'
}

@test "a message can be edited before it goes back" {
    start_relay
    kill_messages 1 4
    EDITOR='sed -i s/body/edited/' mretry replay -t jobs.dead --all --edit
    assert_equal "$(taken_by work)" '1:edited 1:c1:
4:edited 4:c4:'
}

@test "an editor that fails leaves the letter where it is" {
    start_relay
    kill_messages 1 4
    VISUAL=false run mretry replay -t jobs.dead --all --edit
    assert_failure 1
    assert_line 'mretry: the editor (false) exited with 1: nothing was replayed'
    assert_equal "$(ids)" '1 4 '
}

@test "a dry run changes nothing" {
    start_relay
    kill_messages 1 4
    run mretry replay -t jobs.dead --reason retries --dry-run
    assert_success
    assert_output --regexp $'^4\t'
    assert_equal "$(ids)" '1 4 '
}

@test "a replay that is killed at any moment neither doubles nor loses one" {
    start_relay
    mrelay set group many work retry.max_retries=0 2>/dev/null
    seq 20000 | msend -t many
    mrecv -t many -g work -e --mode batch --batch 20000 -- sh -c 'cat >/dev/null; exit 65' 2>/dev/null ||
        assert_equal $? 65
    before=20000
    for signal in KILL TERM KILL; do
        start out mretry replay -t many.dead --all --rate 1500/s
        until_true fewer_than "$before"
        end "$started_pid" "$signal"
        before=$(mretry list -t many.dead | wc -l)
        assert [ "$before" -gt 0 ]
    done
    # What a killed one had leased comes back when its connection has been gone for some seconds.
    until_true replayed_all
    mrecv -t many -g work -e | sort -n >got
    seq 20000 | cmp - got
    mtrace audit
}

@test "a relay that is killed during a replay loses and doubles nothing" {
    start_relay
    mrelay set group many work retry.max_retries=0 2>/dev/null
    seq 20000 | msend -t many
    mrecv -t many -g work -e --mode batch --batch 20000 -- sh -c 'cat >/dev/null; exit 65' 2>/dev/null ||
        assert_equal $? 65
    start out mretry replay -t many.dead --all --rate 5000/s
    pid=$started_pid
    until_true fewer_than 20000
    end "$relay_pid" KILL
    start_relay
    wait "$pid" || true # done or given up: what counts is what is where
    until_true replayed_all
    mrecv -t many -g work -e | sort -n >got
    seq 20000 | cmp - got
    mtrace audit
}

@test "discard asks, and --yes does not" {
    start_relay
    kill_messages 1 4 5
    run mretry discard -t jobs.dead 4 5
    assert_failure 64
    assert_output 'mretry: to discard 2 dead letters of jobs.dead, add --yes: there is no terminal to ask on'
    mretry discard -t jobs.dead --yes 4 5
    assert_equal "$(ids)" '1 '
    run mretry discard -t jobs.dead --yes --reason format
    assert_output 'mretry: no dead letters are like that: nothing was done'
    assert_equal "$(taken_by work)" ''
}

@test "a topic that has no dead letters is told from one that is none" {
    start_relay
    kill_messages 1
    mretry discard -t jobs.dead --yes --all
    run mretry list -t jobs.dead
    assert_success
    assert_output ''
    run mretry list -t nope
    assert_failure 66
    assert_output 'mretry: there is no topic nope'
    run mretry list -t jobs
    assert_failure 66
    assert_output 'mretry: topic jobs is no dead-letter topic: did you mean jobs.dead?'
    run mretry list -t jobs.daed
    assert_failure 66
    assert_output 'mretry: there is no topic jobs.daed: did you mean jobs.dead?'
    run mretry list -t jobs.dead --wait 10ms -r none
    assert_failure 69
}

@test "every wrong command line is told" {
    wrong 'mretry: which dead letters? Give their topic (-t TOPIC), or a file (--dead-file FILE)' mretry list
    wrong 'mretry: --dead-file and -t exclude each other: a topic'"'"'s dead letters are the relay'"'"'s' \
        mretry list -t x --dead-file y
    wrong 'mretry: --canary and --to exclude each other: no group is known that would acknowledge it' \
        mretry replay -t x --all --canary --to y
    wrong 'mretry: --edit goes only with -t: the letters of a file are changed in the file' \
        mretry replay --dead-file x --all --edit
    wrong 'mretry: --canary goes only with -t: a group acknowledges it; a file'"'"'s letters have none' \
        mretry replay --dead-file x --all --canary
    wrong 'mretry: the letters of a topic go back to where they came from, or to another topic (--to): a command is for those of a file' \
        mretry replay -t x --all -- cat
}
