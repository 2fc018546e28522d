#!/usr/bin/env bats
# mretry on its standard input: attempts, output, dead letters, and how it ends.
#
# The scripts of the commands are in single quotes: their own shell expands them.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    quick=(--initial-interval 1ms --max-interval 1ms)
}

teardown() {
    tools_teardown
}

# Whether a process has gone; one that nobody has waited for yet has.
gone() {
    ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]
}

# Starts a command in the background that reads a file or a pipe.
start_reading() {
    local input=$1 output=$2
    shift 2
    "$@" <"$input" >"$output" 2>"$output.err" 3>&- &
    started_pid=$!
    started+=("$started_pid")
}

# A value of each dead letter.
letters() {
    jq -r "$1" "${2-dead}"
}

@test "each message is done once, and outputs come in the order of the input" {
    seq 200 | mretry --workers 4 -- sh -c 'cat; echo' >out
    seq 200 | cmp - out
}

@test "a command gets the message byte for byte" {
    head -c 300000 /dev/urandom >body
    mretry -F whole -- cat <body >out
    cmp body out
}

@test "what fails is tried again, and only the successful attempt's output is printed" {
    run --separate-stderr mretry "${quick[@]}" -- \
        sh -c 'echo "attempt $MSG_ATTEMPT"; echo "$MSG_ATTEMPT" >>tries; [ $MSG_ATTEMPT -ge 3 ]' <<<one
    assert_success
    assert_output 'attempt 3'
    assert_equal "$(cat tries)" $'1\n2\n3'
    assert_regex "$stderr" 'mretry: message 1: sh exited with 1 \(attempt 1 of 21\): again in '
}

@test "without a place for dead letters the first hopeless message stops it" {
    run --separate-stderr mretry --max-retries 0 -- sh -c 'read -r x; [ "$x" != 3 ] && echo "$x"' < <(seq 5)
    assert_equal "$status" 1
    assert_output $'1\n2'
    assert_regex "$stderr" 'message 3: sh exited with 1: stopping: with --dead-file FILE'
    assert_regex "$stderr" 'ended early: 2 messages were done, 0 died; not done: 3, and what follows message 3'
    assert_regex "$stderr" 'to go on with the same input: add --skip 2'
}

@test "what is told to go on with does the rest" {
    seq 100 >in
    run mretry --max-retries 0 -- sh -c 'read -r x; [ "$x" != 50 ] && echo "$x" >>done' <in
    assert_failure 1
    skip=${output##*--skip }
    mretry --skip "$skip" -- sh -c 'read -r x; echo "$x" >>done' <in
    sort -nu 'done' | cmp - in
}

@test "with a dead file the others go on, and the exit code is 65" {
    run --separate-stderr mretry "${quick[@]}" --max-retries 2 --dead-file dead -- \
        sh -c 'read -r x; case $x in 2) echo "so: \"bad\"" >&2; exit 4;; 4) exit 65;; esac; echo "$x"' < <(seq 5)
    assert_equal "$status" 65
    assert_output $'1\n3\n5'
    assert_equal "${stderr##*$'\n'}" "mretry: 2 of 5 messages died: they are in dead"
    assert_equal "$(letters '[.data, .deadreason, .deadattempts, .deadcode, .deaderror] | tojson' | sort)" \
        '[2,"retries",3,4,"so: \"bad\""]
[4,"rejected",1,65,null]'
    assert_equal "$(letters 'select(.deadfirst > .deadlast)')" ''
}

@test "a dead letter is the message as it was, for msend to send again" {
    printf '%s\n' '{"specversion":"1.0","id":"a","source":"/s","type":"t","x":7,"data":{"b": 1.0}}' |
        mretry -F json --max-retries 0 --dead-file dead -- false || assert_equal $? 65
    assert_equal "$(letters '[.id, .source, .type, .x] | tojson')" '["a","/s","t",7]'
    grep -F '"data":{"b": 1.0}' dead
}

@test "dead letters are added behind what a torn write left" {
    printf '{"torn' >dead
    mretry --max-retries 0 --dead-file dead -- false <<<one || assert_equal $? 65
    assert_equal "$(head -1 dead)" '{"torn'
    assert_equal "$(tail -n +2 dead | jq -r .data)" one
}

@test "several mretry add to one dead file" {
    seq 40 >in
    for name in a b c; do
        start_reading in "$name.out" mretry --workers 2 --max-retries 0 --dead-file dead --unordered -- false
    done
    for pid in "${started[@]}"; do
        wait "$pid" || assert_equal $? 65
    done
    assert_equal "$(letters .data | sort -n | uniq -c | awk '{print $1}' | sort -u)" 3
    assert_equal "$(wc -l <dead)" 120
}

@test "a dead file that cannot be written ends it before a command has run" {
    run --separate-stderr mretry --dead-file no/such/dead -- touch ran <<<one
    assert_equal "$status" 74
    assert_equal "$stderr" 'mretry: cannot write dead letters to no/such/dead: No such file or directory'
    assert_file_not_exists ran
}

@test "a full disk loses no letter silently" {
    [[ -w /dev/full ]] || skip 'there is no /dev/full'
    run --separate-stderr mretry --max-retries 0 --dead-file /dev/full -- false <<<one
    assert_equal "$status" 74
    assert_regex "$stderr" 'cannot write a dead letter to /dev/full'
    assert_regex "$stderr" 'not done: 1'
}

@test "a full disk behind stdout ends it, and tells whose output is lost" {
    [[ -w /dev/full ]] || skip 'there is no /dev/full'
    run timeout 20 bash -c 'seq 3 | mretry --workers 3 -- cat 2>&1 >/dev/full'
    assert_failure 74
    assert_line --index 0 --partial 'cannot write to stdout: make room and try again: No space left on device'
    assert_line --index 1 --partial 'ended early'
    assert_line --index 2 --regexp '^mretry: done, but not printed, or not all of it: [1-3]'
}

@test "a slow message holds the output of the others, unless they are unordered" {
    mkfifo gate
    script='read -r x; [ "$x" = 1 ] && read -r _ <gate; echo "$x"'
    seq 4 >in
    start_reading in out mretry --workers 2 -- sh -c "$script"
    pid=$started_pid
    start_reading in free mretry --workers 2 --unordered -- \
        sh -c 'read -r x; [ "$x" = 1 ] && until [ -s go ]; do sleep 0.02; done; echo "$x"'
    until_true has_lines 3 free
    assert_equal "$(cat free)" $'2\n3\n4'
    assert_equal "$(cat out)" ''
    echo >gate
    echo yes >go
    wait "$pid"
    wait "$started_pid"
    assert_equal "$(cat out)" $'1\n2\n3\n4'
    assert_equal "$(cat free)" $'2\n3\n4\n1'
}

@test "a batch is one command for many, tried again and dead together" {
    run --separate-stderr mretry --mode batch --batch 4 -- sh -c 'echo "$MSG_COUNT: $(tr "\n" " ")"' < <(seq 10)
    assert_success
    assert_output $'4: 1 2 3 4 \n4: 5 6 7 8 \n2: 9 10 '
    run mretry "${quick[@]}" --mode batch --batch 2 --max-retries 1 --dead-file dead -- sh -c '! grep -q 3' < <(seq 5)
    assert_failure 65
    assert_equal "$(letters '[.data, .deadattempts] | tojson')" $'[3,2]\n[4,2]'
}

@test "a command that takes too long is ended with all that it started" {
    run --separate-stderr mretry --max-retries 0 --timeout 200ms --dead-file dead -- \
        sh -c 'sleep 60 & echo $! >child; wait' <<<one
    assert_equal "$status" 65
    assert_regex "$stderr" 'message 1: sh took longer than 200 ms \(--timeout\)'
    until_true gone "$(cat child)"
}

@test "a command that cannot be run charges nothing and ends it" {
    run --separate-stderr mretry --dead-file dead -- no-such-command < <(seq 3)
    assert_equal "$status" 127
    assert_equal "${stderr%%$'\n'*}" 'mretry: cannot run no-such-command: there is no such command'
    assert_equal "$(cat dead)" ''
    run mretry -- "$PWD" <<<one
    assert_failure 126
    run mretry --shell no-such-command <<<one
    assert_failure 127
    assert_line "mretry: the shell cannot run 'no-such-command' (it exited with 127)"
}

@test "interrupted, it ends its commands, tells what is not done, and dies by the signal" {
    script='read -r x; [ "$x" = 2 ] && { echo $$ >pid; exec sleep 60; }; echo "$x"'
    mkfifo in
    start_reading in out mretry --workers 2 -- sh -c "$script"
    exec {feed}>in
    seq 3 >&"$feed"
    until_true test -s pid
    until_true has_lines 1 out
    end "$started_pid" TERM
    assert_equal "$ended_code" 143
    until_true gone "$(cat pid)"
    exec {feed}>&-
    assert_equal "$(cat out)" $'1\n3'
    assert_equal "$(cat out.err)" 'mretry: interrupted: 2 messages were done, 0 died; not done: 2, and what follows message 3
mretry: to go on with the same input: add --skip 1'
}

@test "memory has a bound: the input waits, and large outputs are kept in files" {
    yes "$(head -c 2000 /dev/zero | tr '\0' x)" | head -c 60000000 >in
    start_reading in out mretry --workers 2 --unordered -- sh -c 'echo >>begun; exec sleep 60'
    until_true has_lines 2 begun
    before=$(awk '/^VmHWM/ {print $2}' "/proc/$started_pid/status")
    assert [ "$before" -lt 40000 ]
    end "$started_pid" KILL
    mretry -F whole -- sh -c 'cat; cat in in' <in >big
    assert_equal "$(wc -c <big)" 180000000
}

@test "the reader of the output may go" {
    run bash -c 'yes | mretry -- sh -c "cat; echo" | head -3; echo "${PIPESTATUS[1]}"'
    assert_output $'y\ny\ny\n141'
}

@test "dedupe leaves out what was done, and not what died" {
    run --separate-stderr mretry -K : --dedupe key -- sh -c 'cat; echo' < <(printf '%s\n' a:1 b:2 a:3 c:4 b:5)
    assert_success
    assert_output $'1\n2\n4'
    run --separate-stderr mretry -K : --dedupe key --max-retries 0 --dead-file dead --workers 3 -- \
        sh -c 'read -r x; sleep 0.1; [ "$x" = 3 ] && echo "$x"' < <(printf '%s\n' a:1 a:2 a:3 a:4)
    assert_equal "$status" 65
    assert_output 3
    assert_equal "$(letters .data)" $'1\n2'
}

@test "dedupe forgets what is older than its window" {
    run mretry -K : --dedupe key --window 1ms -- sh -c 'cat; echo; sleep 0.02' < <(printf '%s\n' a:1 b:2 a:3 a:4)
    assert_output $'1\n2\n3'
}

@test "with a dedupe file what was done is not done again when it is started again" {
    printf '%s\n' a:1 b:2 c:3 >in
    script='read -r x; [ "$x" = 2 ] && [ ! -e mended ] && exit 65; echo "$x"'
    file=(-K : --dedupe key --dedupe-file seen)
    run --separate-stderr mretry "${file[@]}" --dead-file dead -- sh -c "$script" <in
    assert_equal "$status" 65
    assert_output $'1\n3'
    touch mended
    run --separate-stderr mretry "${file[@]}" --window 1h -- sh -c "$script" <in
    assert_success
    assert_output 2
    run --separate-stderr mretry "${file[@]}" -- sh -c "$script" <in
    assert_success
    assert_output ''
    sleep 0.02
    run --separate-stderr mretry "${file[@]}" --window 10ms -- sh -c "$script" <in
    assert_output $'1\n2\n3'
}

@test "killed at any moment, what had printed its output is not done again" {
    seq 2000 | sed 's/.*/k&:&/' >in
    for round in 1 2 3 4; do
        start_reading in "out$round" mretry -K : --dedupe key --dedupe-file seen --window 1h --workers 2 -- \
            sh -c 'read -r x; echo "$x"; echo "$x" >>done'
        until_true has_lines 5 "out$round"
        end "$started_pid" KILL
        # The end of a line may be torn by the kill.
        head -n -1 "out$round" >>printed
    done
    mretry -K : --dedupe key --dedupe-file seen --window 1h --workers 2 -- sh -c 'read -r x; echo "$x"' <in >>printed
    sort -n printed | uniq -d >twice
    assert_equal "$(cat twice)" ''
}

@test "a dedupe file is for one at a time and for one kind" {
    mkfifo in
    start_reading in out mretry -F json --dedupe id --dedupe-file seen -- cat
    exec {feed}>in
    until_true test -s seen
    run mretry -F json --dedupe id --dedupe-file seen -- cat <<<one
    assert_failure 75
    assert_output 'mretry: seen is in use by another mretry: each needs a file of its own'
    exec {feed}>&-
    wait "$started_pid"
    run mretry -F json --dedupe key --dedupe-file seen -- cat <<<one
    assert_failure 64
    assert_output 'mretry: seen was written with another --dedupe: name another file'
    echo text >other
    run mretry -F json --dedupe key --dedupe-file other -- cat <<<one
    assert_failure 64
    assert_output 'mretry: other is no file of --dedupe-file: name another'
    run mretry -F json --dedupe key --dedupe-file no/such -- cat <<<one
    assert_failure 74
    assert_output 'mretry: cannot open no/such: No such file or directory'
}

@test "input that is no message is told, and stops it without a dead file" {
    printf '%s\n' '{"specversion":"1.0","id":"a","source":"/","type":"t","data":1}' no >in
    run --separate-stderr mretry -F json -- sh -c 'cat; echo' <in
    assert_equal "$status" 1
    assert_output 1
    assert_regex "$stderr" 'stdin: line 2, column 1: .*: left out'
    run --separate-stderr mretry -F json --dead-file dead -- sh -c 'cat; echo' <in
    assert_equal "$status" 65
    assert_output 1
}

@test "every wrong command line is told" {
    wrong "mretry: there is no command 'cat': see mretry -h (a program to be run stands behind --)" mretry cat
    wrong "mretry: --workers: '0' is not a whole number from 1 to 1024" mretry --workers 0 -- cat
    wrong 'mretry: --max-message: 0 is too little: at least 1 B' mretry --max-message 0 -- cat
    wrong 'mretry: --shell: the command is empty' mretry --shell ''
    wrong 'mretry: --dead-file: the name is empty' mretry --dead-file '' -- cat
    wrong 'mretry: --dedupe-file goes only with --dedupe: it keeps what --dedupe remembers' mretry --dedupe-file x -- cat
    wrong 'mretry: which command? Give one after -- (mretry -- curl ...), or with --shell' mretry
    wrong 'mretry: --shell and -- COMMAND exclude each other: give one command' mretry --shell a -- b
    wrong 'mretry: --batch goes only with --mode batch: a command has one message otherwise' mretry --batch 3 -- cat
    wrong "mretry: --max-retries: 'many' is neither a number nor 'unlimited'" mretry --max-retries many -- cat
    wrong "mretry: --max-retries: '-1' is neither a number nor 'unlimited'" mretry --max-retries -1 -- cat
    wrong "mretry: --jitter: '1.5' is not a share: write a number from 0 to 1, as 0.2" mretry --jitter 1.5 -- cat
    wrong 'mretry: --max-interval (1.0 s) is below --initial-interval (5.0 s)' \
        mretry --max-interval 1s --initial-interval 5s -- cat
    wrong 'mretry: --max-interval (1m 0s, the default) is below --initial-interval (2m 0s)' \
        mretry --initial-interval 2m -- cat
    wrong 'mretry: --backoff: square is not one of exponential, linear, none' mretry --backoff square -- cat
    wrong 'mretry: --window is 0 but --dedupe is key: within no time nothing comes twice: say how long, as 1h' \
        mretry -K : --dedupe key --window 0 -- cat
    wrong 'mretry: --window goes only with --dedupe: it says how long --dedupe remembers' mretry --window 1h -- cat
    wrong 'mretry: --dedupe id: where is the id? Read -F json, or name its place with --id-json' \
        mretry --dedupe id -- cat
    wrong 'mretry: --dedupe key: where is the key? Read -F json, or name its place with -K or --key-json' \
        mretry --dedupe key -- cat
    wrong 'mretry: --timeout: 0 is no time for a command: leave it out for no limit' mretry --timeout 0 -- cat
}
