#!/usr/bin/env bats
# Dead letters in a file: listing, showing, replaying, discarding.
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

# A dead file of these messages, which are their own ids; 4 was rejected, the others were tried twice.
kill_messages() {
    for id in "$@"; do
        printf '{"specversion":"1.0","id":"%s","source":"/","type":"t","colour":"c%s","data":"%s"}\n' "$id" "$id" "$id"
    done >in
    mretry -F json --max-retries 1 --initial-interval 0 --max-interval 0 --dead-file dead -- \
        sh -c 'echo "no $MSG_ID" >&2; [ "$MSG_ID" != 4 ] || exit 65; exit 3' <in 2>/dev/null || assert_equal $? 65
    jq -sc 'sort_by(.id) | .[]' dead >sorted
    mv sorted dead
}

ids() {
    mretry list --dead-file dead "$@" | cut -f 1 | tr '\n' ' '
}

@test "list has a line for each letter" {
    kill_messages 3 4
    run mretry list --dead-file dead
    assert_line --index 0 --regexp $'^3\t[^\t]* ago\t-\tretries\t2\t3\tno 3$'
    assert_line --index 1 --regexp $'^4\t[^\t]* ago\t-\trejected\t1\t65\tno 4$'
}

@test "on a terminal of 80 columns the list says what went wrong" {
    need_terminal
    kill_messages 3
    script -qec 'stty cols 80; mretry list --dead-file dead' /dev/null </dev/null | tr -d '\r' | grep ago >narrow
    assert_regex "$(cat narrow)" '^3 {32} *[0-9].* ago +2  retries, exit 3: no 3$'
    script -qec 'stty cols 132; mretry list --dead-file dead' /dev/null </dev/null | tr -d '\r' | grep ago >wide
    assert_regex "$(cat wide)" ' ago +- +retries +2 +3  no 3$'
}

@test "letters are chosen by id, reason, age, attempts and attribute" {
    kill_messages 3 4 41 5
    assert_equal "$(ids)" '3 4 41 5 '
    assert_equal "$(ids 3)" '3 '
    assert_equal "$(ids 4)" '4 '
    assert_equal "$(ids --reason rejected)" '4 '
    assert_equal "$(ids --reason unrouted)" ''
    assert_equal "$(ids --attempts 2)" '3 41 5 '
    assert_equal "$(ids --older 1h)" ''
    assert_equal "$(ids --newer 1h -n 2)" '3 4 '
    assert_equal "$(ids --where colour=c5)" '5 '
    assert_equal "$(ids --where colour=c5 --where type=x)" ''
    assert_equal "$(ids --where id=3)" '3 '
    assert_equal "$(ids --came-from orders.new)" ''
}

@test "letters of a topic are chosen by where they came from" {
    printf '{"specversion":"1.0","id":"1","source":"/","type":"t","deadreason":"retries","deadtopic":"%s"}\n' \
        orders.new orders.old jobs >dead
    assert_equal "$(ids --came-from orders.new | wc -w)" 1
    assert_equal "$(ids --came-from 'orders.*' | wc -w)" 2
}

@test "an id can be cut short as long as it is clear" {
    kill_messages abc abd x
    run mretry show --dead-file dead x
    assert_line --index 0 --regexp '^id +x$'
    wrong "mretry: 'ab' could be abc or abd: write more of it" mretry show --dead-file dead ab
    run mretry show --dead-file dead abc abd
    assert_success
    run mretry show --dead-file dead q
    assert_failure 66
    assert_output "mretry: no dead letter there has an id that begins with 'q'"
}

@test "show tells all that is known" {
    printf 'two\nlines' | mretry -F whole --max-retries 0 --dead-file dead -- \
        sh -c 'printf "first\n\tthen \033[31mred\n" >&2; exit 9' 2>/dev/null || assert_equal $? 65
    run mretry show --dead-file dead
    assert_line --regexp '^reason +retries$'
    assert_line --regexp '^attempts +1$'
    assert_line --regexp '^exit code +9$'
    assert_line --regexp '^last +[0-9-]*T.*Z \(.* ago\): attempt 1 failed$'
    assert_line '  first'
    assert_line $'  \tthen \033[31mred'
    assert_line 'body, 9 B'
    assert_line '  two'
    assert_line '  lines'
}

@test "what a letter holds is harmless on a terminal" {
    need_terminal
    printf '\033]0;title\007' | mretry -F whole --max-retries 0 --dead-file dead -- \
        sh -c 'printf "\033[31mred" >&2; exit 9' 2>/dev/null || assert_equal $? 65
    run script -qec 'NO_COLOR=1 mretry list --dead-file dead; NO_COLOR=1 mretry show --dead-file dead' /dev/null
    refute_output --partial $'\033'
    assert_output --partial '\x1b[31mred'
    assert_output --partial '\x1b]0;title'
}

@test "replay runs a command for them, and what succeeds leaves the file" {
    kill_messages 3 4 5
    run --separate-stderr mretry replay --dead-file dead --all --max-retries 0 -- sh -c '[ "$MSG_ID" = 4 ] && cat'
    assert_equal "$status" 65
    assert_output 4
    assert_equal "${stderr##*$'\n'}" 'mretry: 1 letter was replayed; the others stay where they are'
    assert_equal "$(ids)" '3 5 '
    run --separate-stderr mretry replay --dead-file dead 5 -- sh -c 'env | grep MSG_ | grep -v MSG_TIME | sort'
    assert_success
    assert_output 'MSG_ATTEMPT=1
MSG_COLOUR=c5
MSG_ID=5
MSG_SOURCE=/
MSG_TYPE=t'
    assert_equal "$(ids)" '3 '
    assert_equal "$(wc -l <dead)" 1
}

@test "a dry run prints what would be replayed, and changes nothing" {
    kill_messages 3 4 5
    cp dead before
    run mretry replay --dead-file dead --reason retries --dry-run -- touch ran
    assert_success
    assert_equal "${#lines[@]}" 2
    assert_file_not_exists ran
    cmp dead before
}

@test "a replay that is interrupted neither doubles nor loses one" {
    kill_messages 1 2 3 5 6 7
    start out mretry replay --dead-file dead --all --workers 2 -- \
        sh -c 'echo "$MSG_ID" >>begun; [ "$MSG_ID" -lt 5 ] || exec sleep 60; echo "$MSG_ID" >>done'
    until_true has_lines 5 begun
    end "$started_pid" TERM
    assert_equal "$ended_code" 143
    assert_equal "$(sort 'done' | tr '\n' ' ')" '1 2 3 '
    assert_equal "$(ids)" '5 6 7 '
}

@test "a replay that is killed has taken out what was done" {
    kill_messages 1 2 3 5 6 7
    start out mretry replay --dead-file dead --all -- \
        sh -c '[ "$MSG_ID" -lt 5 ] || { echo $$ >pid; exec sleep 60; }; echo "$MSG_ID" >>done'
    until_true test -s pid
    end "$started_pid" KILL
    kill "$(cat pid)"
    assert_equal "$(cat 'done' | tr '\n' ' ')" '1 2 3 '
    assert_equal "$(ids)" '5 6 7 '
    assert_equal "$(jq -c .id dead | wc -l)" 3
    mretry replay --dead-file dead --all -- sh -c 'echo "$MSG_ID" >>done'
    assert_equal "$(cat 'done' | tr '\n' ' ')" '1 2 3 5 6 7 '
    assert_equal "$(wc -c <dead)" 0
}

@test "one tool replays at a time, and others add letters meanwhile" {
    kill_messages 1 2
    mkfifo gate
    start out mretry replay --dead-file dead --all -- sh -c 'echo >>begun; read -r _ <gate'
    pid=$started_pid
    until_true has_lines 1 begun
    run mretry discard --dead-file dead --all --yes
    assert_failure 75
    assert_output 'mretry: dead: another mretry replays or discards from it: try again when it has ended'
    mretry --max-retries 0 --dead-file dead -- false <<<new 2>/dev/null || assert_equal $? 65
    echo >gate
    until_true has_lines 2 begun
    echo >gate
    until_true has_lines 3 begun
    echo >gate
    wait "$pid"
    assert_equal "$(wc -c <dead)" 0
}

@test "letters that come while the file is written anew are not lost" {
    kill_messages 1 2 3
    seq 300 >in
    start_pids=()
    for _ in a b; do
        mretry --max-retries 0 --dead-file dead -- false <in >/dev/null 2>&1 3>&- &
        started+=($!)
        start_pids+=($!)
    done
    for _ in 1 2 3 4 5 6 7 8; do
        mretry replay --dead-file dead -n 3 --all -- cat >/dev/null
    done
    for pid in "${start_pids[@]}"; do
        wait "$pid" || assert_equal $? 65
    done
    assert_equal "$(jq -c .id dead | wc -l)" $((603 - 24))
}

@test "discard asks, and --yes does not" {
    kill_messages 3 4 5
    run mretry discard --dead-file dead 4
    assert_failure 64
    assert_output 'mretry: to discard 1 dead letter of dead, add --yes: there is no terminal to ask on'
    assert_equal "$(ids)" '3 4 5 '
    mretry discard --dead-file dead --yes 4
    assert_equal "$(ids)" '3 5 '
    run mretry discard --dead-file dead --yes --reason format
    assert_success
    assert_output 'mretry: no dead letters are like that: nothing was done'
    mretry discard --dead-file dead --yes --all
    assert_equal "$(wc -c <dead)" 0
}

@test "the file keeps its mode, and a link stays one" {
    kill_messages 3 4
    chmod 640 dead
    ln -s dead link
    mretry discard --dead-file link --yes 3
    assert_equal "$(stat -c %a dead)" 640
    assert_link_exists link
    assert_equal "$(ids)" '4 '
}

@test "lines that are no letters are left alone, and told" {
    kill_messages 3 4
    { echo '{"torn'; cat dead; } >other
    mv other dead
    run --separate-stderr mretry list --dead-file dead
    assert_success
    assert_equal "${#lines[@]}" 2
    assert_equal "$stderr" 'mretry: 1 line of dead is no dead letter: left alone'
    mretry discard --dead-file dead --yes --all
    assert_equal "$(cat dead)" '{"torn'
}

@test "replay sends letters to a topic, as the messages that they were, and they leave the file" {
    kill_messages 3 4 5
    start_relay
    run --separate-stderr mretry replay --dead-file dead --reason retries --to again
    assert_success
    assert_equal "$(ids)" '4 '
    run mrecv -t again -e -F json
    assert_equal "$(jq -c '[.id, .colour, .deadreason, .data]' <<<"$output")" '["3","c3",null,3]
["5","c5",null,5]'
}

@test "without a relay replay --to leaves all letters where they are" {
    kill_messages 3 4
    run mretry replay --dead-file dead --all --to again --wait 10ms
    assert_failure 69
    assert_equal "$(ids)" '3 4 '
}

@test "what msend sends again is the message with what it died of" {
    kill_messages 3
    start_relay
    msend -t again -F json dead
    run mrecv -t again -e --template '%{id} %{deadreason} %{body}\n'
    assert_output '3 retries 3'
}

@test "every wrong command line is told" {
    wrong 'mretry: which ones? Give their ids, or what they have in common (--reason, --older, --where, ...), or --all' \
        mretry discard --dead-file dead
    kill_messages 3
    wrong 'mretry: replay how? Give a command after --, or a topic that they are sent to (--to TOPIC)' \
        mretry replay --dead-file dead --all
    wrong 'mretry: replay to a command or to a topic (--to), not both' \
        mretry replay --dead-file dead --all --to x -- cat
    wrong 'mretry: mretry list runs no command: mretry replay does' mretry list --dead-file dead -- cat
    wrong "mretry: --where: 'colour' is no condition: write NAME=VALUE" mretry list --dead-file dead --where colour
    wrong "mretry: there is no command 'lits': did you mean mretry list?" mretry lits
    wrong 'mretry: --older and --newer leave nothing: what is older than the one must be newer than the other' \
        mretry list --dead-file dead --older 2h --newer 1h
    wrong 'mretry: --workers does not go with mretry list: see mretry list --help' mretry list --workers 2 --dead-file dead
    run mretry list --dead-file nope
    assert_failure 66
    assert_output 'mretry: cannot read nope: No such file or directory'
}
