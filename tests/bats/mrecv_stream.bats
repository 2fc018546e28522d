#!/usr/bin/env bats
# mrecv --mode stream: commands that stay, and answer each line with a line.
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

# A group g on x that tries again at once, twice.
start_with_group() {
    start_relay
    mrelay set group -t x -g g retry.max_retries=2 retry.initial_interval=1ms
}

@test "a command that stays gets each message as a line, and its line is the answer" {
    start_relay
    seq 1 2000 | msend -t x
    mrecv -t x -g g -e --mode stream -- sed -u 's/^/got /' >got
    assert_equal "$(cat got)" "$(seq 1 2000 | sed 's/^/got /')"
    assert_equal "$(group_count acked x g)" 2000
}

@test "an empty line acknowledges, and prints nothing" {
    start_relay
    seq 1 10 | msend -t x
    run mrecv -t x -g g -e --mode stream -- sed -u '/[13579]$/s/.*//'
    assert_success
    assert_output $'2\n4\n6\n8\n10'
    assert_equal "$(group_count acked x g)" 10
}

@test "one process answers them all, and sees the end of its input" {
    start_relay
    seq 1 100 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode stream -- \
        sh -c 'while read -r n; do echo "$$"; done; echo the end >&2'
    assert_success
    assert_equal "$(uniq <<<"$output" | wc -l)" 1
    assert_equal "$stderr" 'the end'
}

@test "workers share the messages" {
    start_relay
    seq 1 500 | msend -t x
    mrecv -t x -g g -e --mode stream --workers 3 -- \
        sh -c 'while read -r n; do : >"w.$$"; until [ -e w.go ] || [ "$(ls w.* | wc -l)" -ge 3 ]; do :; done; : >w.go; echo "$n"; done' >got
    assert_equal "$(sort -n got)" "$(seq 1 500)"
    local -a processes=(w.[0-9]*)
    assert_equal "${#processes[@]}" 3
    assert_equal "$(group_count acked x g)" 500
}

@test "a message that kills its command each time is a dead letter, and its neighbours are not" {
    start_with_group
    seq 1 300 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode stream -- \
        sh -c 'while read -r n; do [ "$n" = 150 ] && echo "not $n" >&2 && exit 9; echo "$n"; done'
    assert_equal "$status" 65
    assert_equal "$(sort -n <<<"$output")" "$(seq 1 300 | grep -vx 150)"
    assert_regex "$stderr" 'sh exited with 9 at attempt 1: to be tried again'
    assert_regex "$stderr" 'sh exited with 9 at attempt 3, the last: dead-lettered'
    assert_regex "$stderr" '1 of 300 messages were dead-lettered'
    assert_equal "$(group_count acked x g)" 299
    run mrecv -t x.dead -e --template '%{body} %{deadreason} %{deadattempts} %{deadcode} %{deaderror}\n'
    assert_output '150 retries 3 9 exited with 9\nnot 150'
}

@test "exit 65 makes a dead letter of the one message" {
    start_relay
    seq 1 50 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode stream --shell \
        'while read -r n; do [ "$n" = 20 ] && exit 65; echo "$n"; done'
    assert_equal "$status" 65
    assert_regex "$stderr" 'the command exited with 65: dead-lettered'
    assert_equal "$(group_count acked x g)" 49
    assert_equal "$(group_count dead x g)" 1
}

@test "an answer that takes longer than --timeout ends the command" {
    start_with_group
    seq 1 5 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode stream --timeout 1s --shell \
        'while read -r n; do [ "$n" = 3 ] && [ ! -e once ] && : >once && sleep 73; echo "$n"; done'
    # It was among others, and then alone: nobody was to blame.
    assert_equal "$status" 0
    assert_equal "$(sort -n <<<"$output")" "$(seq 1 5)"
    assert_equal "$(group_count acked x g)" 5
}

@test "more lines than messages are no answers" {
    start_with_group
    seq 1 2 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode stream --shell \
        'while read -r n; do printf "%s\nagain\n" "$n"; done'
    assert_equal "$status" 65
    assert_output ''
    assert_regex "$stderr" 'printed more than one answer to a message at attempt 1'
    assert_equal "$(group_count acked x g)" 0
}

@test "a message that holds a newline is a dead letter" {
    start_relay
    make_groups x g h
    printf 'two\nlines\0one line\0' | msend -t x -F null
    run --separate-stderr mrecv -t x -g g -e --mode stream -- cat -u
    assert_equal "$status" 65
    assert_output 'one line'
    assert_regex "$stderr" 'holds a newline, which ends a message in this format: take the format length or json: dead-lettered'
    assert_equal "$(mrecv -t x.dead -e --template '%{deadreason}')" format
    run mrecv -t x -g h -e --mode stream -F null -- cat -u
    assert_success
}

@test "the other formats go both ways" {
    start_relay
    make_groups x n l
    printf 'two\nlines\0one' | msend -t x -F null
    mrecv -t x -g n -e --mode stream -F null -- cat -u >got
    assert_equal "$(tr '\0' '|' <got)" $'two\nlines|one|'
    mrecv -t x -g l -e --mode stream -F length -- cat -u | msend -t y -F length
    assert_equal "$(mrecv -t y -e --template '%{body};')" $'two\nlines;one;'
}

@test "json shows whose answer it is, and msend takes the answers" {
    start_with_group
    make_groups x h
    seq 1 20 | msend -t x -H 'colour: blue'
    mrecv -t x -g g -e --mode stream -F json -- sed -u 's/"data":/"data":1/' | msend -t y -F json
    assert_equal "$(mrecv -t y -e --template '%{colour} %{body}\n')" "$(seq 1 20 | sed 's/^/blue 1/')"
    mrelay set group -t x -g h retry.max_retries=0
    run --separate-stderr mrecv -t x -g h -e --mode stream -F json -- sed -u '/"data":7}/s/"id":"[^"]*"/"id":"other"/'
    assert_equal "$status" 65
    assert_regex "$stderr" 'sed answered with the id other where [0-9a-f]{32} was due at attempt 1, the last: dead-lettered'
    assert_equal "$(group_count acked x h)" 19
}

@test "a command that is not there is 127 and charges no attempt" {
    start_relay
    seq 1 3 | msend -t x
    run -127 mrecv -t x -g g --mode stream -- no-such-command
    assert_output 'mrecv: cannot run no-such-command: there is no such command'
    run -127 mrecv -t x -g g --mode stream --shell 'no-such-command 2>/dev/null'
    assert_equal "$(mrecv -t x -g g -e --template '%{body} %{attempt};')" '1 1;2 1;3 1;'
}

@test "it holds no more than it should" {
    start_relay
    seq 1 100 | msend -t x
    start got mrecv -t x -g g --mode stream --max-in-flight 3 --shell 'read -r n; : >begun; sleep 74'
    local pid=$started_pid
    until_true test -e begun
    until_true group_has 3 leased x g
    assert_equal "$(group_count waiting x g)" 97
    kill "$pid"
    end "$pid" # a second signal ends it at once
    assert_equal "$ended_code" 143
}

@test "interrupted, it takes the answers to what was begun, and gives back the rest" {
    start_relay
    seq 1 100 | msend -t x
    start got mrecv -t x -g g --mode stream --max-in-flight 10 --shell \
        'read -r n; echo "$n"; read -r n; : >begun; until [ -e go ]; do sleep 0.05; done; echo "$n"; exec cat -u'
    local pid=$started_pid
    until_true test -e begun
    kill "$pid"
    sleep 0.2
    : >go
    ended_code=0
    wait "$pid" || ended_code=$?
    assert_equal "$ended_code" 143
    assert_equal "$(cat got)" "$(seq 1 "$(wc -l <got)")"
    assert_equal "$(group_count acked x g)" "$(wc -l <got)"
    assert_equal "$(group_count leased x g)" 0
}

@test "a reader without a group can have one, too" {
    start_relay
    seq 1 5 | msend -t x
    run mrecv -t x -e --mode stream -- sed -u 's/$/!/'
    assert_success
    assert_output $'1!\n2!\n3!\n4!\n5!'
}

@test "answers that nobody reads hold the messages back" {
    start_relay
    seq 1 5000 | sed 's/$/ and a thousand bytes/;s/a/&'"$(printf 'x%.0s' {1..1000})"'/' | msend -t x
    run timeout 20 bash -c 'mrecv -t x -g g --mode stream -- cat -u | head -1 >/dev/null; echo "${PIPESTATUS[0]}"'
    assert_output 141
    assert [ "$(group_count acked x g)" -lt 5000 ]
    until_true group_has 0 leased x g
}

@test "answers are replies" {
    url=ipc://$PWD/socket
    start got mrecv --listen "$url" --rep -n 3 --wait 30s --mode stream -- sed -u 's/^/re /'
    local pid=$started_pid
    run bash -c "printf '%s\n' one two three | msend --dial '$url' --req --wait 30s"
    assert_success
    assert_output $'re one\nre two\nre three'
    wait "$pid"
}

@test "wrong options" {
    wrong 'mrecv: --mode stream and --template exclude each other: answers are in the format, too' \
        mrecv -t x --mode stream --template '%{body}' -- cat
    wrong 'mrecv: --mode stream and --format whole exclude each other: nothing would tell one message from the next' \
        mrecv -t x --mode stream -F whole -- cat
    wrong 'mrecv: --batch goes only with --mode batch: a command has one message otherwise' \
        mrecv -t x --mode stream --batch 2 -- cat
}
