#!/usr/bin/env bats
# mrecv with commands: what they are given, and what becomes of their messages.
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

# Whether a process has gone; one that nobody has waited for yet has.
gone() {
    ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]
}

@test "a command gets the body on stdin, byte for byte, and its exit 0 acknowledges" {
    start_relay
    head -c 300000 /dev/urandom >body
    msend -t x -F whole body
    mrecv -t x -g g -n 1 -- cat >got
    cmp body got
    assert_equal "$(group_count acked x g)" 1
}

@test "the environment tells of the message" {
    start_relay
    msend -t orders.new -k 42 -H 'x-colour: b lue' --id first -d body
    export MSG_OLD=1
    run mrecv -t orders.new -g g -n 1 -- \
        sh -c 'echo "$MSG_ID|$MSG_TOPIC|$MSG_KEY|$MSG_ATTEMPT|$MSG_OFFSET|$MSG_X_COLOUR|$MSG_OLD|$(cat)"'
    assert_success
    assert_output 'first|orders.new|42|1|0|b lue||body'
}

@test "what a command sends belongs to the trace of its message" {
    start_relay
    TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 TRACESTATE=a=b msend -t x --id first -H 'correlationid: q1' -d one
    # Untouched as long as it is the same message.
    run mrecv -t x -e --template '%{traceparent} %{tracestate}'
    assert_output '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=b'
    mrecv -t x -g g -n 1 --shell 'echo "$TRACEPARENT" >parent; msend -t y'
    # What is sent for it names the delivery as its parent, and the message as its cause.
    run mrecv -t y -e --template '%{traceparent} %{tracestate} %{causationid} %{correlationid} %{body}'
    assert_output "$(cat parent) a=b first q1 one"
    assert_output --regexp '^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01 '
    refute_output --partial b7ad6b7169203331
    msend -t x --id 7 -d two
    run mrecv -t x -g g -n 1 -- sh -c 'echo "$TRACEPARENT"'
    assert_output --regexp '^00-[0-9a-f]{32}-[0-9a-f]{16}-01$'
}

@test "each attempt is a span of its own, and a cause that a user names stands" {
    start_relay
    msend -t x -d one
    run -0 mrecv -t x -g g -e --shell 'echo "$TRACEPARENT" >>parents
        msend -t y -H "causationid: mine" -d own
        printf "%s\n" "{\"specversion\":\"1.0\",\"causationid\":\"theirs\",\"data\":\"json\"}" | msend -t y -F json
        test "$MSG_ATTEMPT" -gt 2'
    run -0 bash -c 'cut -c1-35 parents | sort -u | wc -l; cut -c37-52 parents | sort -u | wc -l'
    assert_output $'1\n3'
    run mrecv -t y -e --template '%{causationid} %{body}\n'
    assert_line 'mine own'
    assert_line 'theirs json'
    refute_line --regexp '^ '
}

@test "what a message contains is never put into a command line" {
    start_relay
    msend -t x -d '$(touch hacked); `touch hacked`'
    mrecv -t x -g g -n 1 --shell 'cat >got'
    assert_equal "$(cat got)" '$(touch hacked); `touch hacked`'
    assert_file_not_exists hacked
}

@test "any exit but 0 and 65 tries again, with a growing attempt" {
    start_relay
    msend -t x -d one
    run --separate-stderr mrecv -t x -g g -e -- sh -c 'echo "attempt $MSG_ATTEMPT"; [ "$MSG_ATTEMPT" = 3 ] || exit 9'
    assert_success
    assert_output $'attempt 1\nattempt 2\nattempt 3'
    assert_regex "$stderr" 'sh exited with 9 at attempt 1: to be tried again'
    assert_regex "$stderr" 'sh exited with 9 at attempt 2: to be tried again'
    assert_equal "$(group_count acked x g)" 1
}

@test "a message that is still to be tried again is no success" {
    start_relay
    msend -t x -d one
    run --separate-stderr mrecv -t x -g g -n 1 -- false
    assert_equal "$status" 75
    assert_regex "$stderr" '1 message failed and will be tried again'
    assert_equal "$(mrecv -t x -g g -n 1 --template '%{body} %{attempt}')" 'one 2'
}

@test "exit 65 makes a dead letter, and is told by the exit code" {
    start_relay
    seq 1 3 | msend -t x
    run --separate-stderr mrecv -t x -g g -e -- sh -c 'read -r n; [ "$n" != 2 ] || exit 65'
    assert_equal "$status" 65
    assert_regex "$stderr" '1 of 3 messages were dead-lettered'
    assert_equal "$(group_count acked x g)" 2
    assert_equal "$(group_count dead x g)" 1
}

@test "a message is tried as often as its group says, and then is a dead letter" {
    start_relay
    mrelay set group -t x -g g retry.max_retries=2 retry.initial_interval=1ms
    seq 1 3 | msend -t x
    run --separate-stderr mrecv -t x -g g -e -- \
        sh -c 'read -r n; echo "$n $MSG_ATTEMPT"; [ "$n" != 2 ] || { echo "no customer $n" >&2; exit 9; }'
    assert_equal "$status" 65
    assert_line '2 3'
    refute_line '2 4'
    assert_regex "$stderr" 'sh exited with 9 at attempt 3, the last: dead-lettered'
    assert_regex "$stderr" '1 of 3 messages were dead-lettered'
    run mrecv -t x.dead -e --template '%{body} %{deadreason} %{deadattempts} %{deadcode} %{deadtopic} %{deadgroup}\n'
    assert_output '2 retries 3 9 x g'
}

@test "the end of what a command said goes with a dead letter, and to the terminal as before" {
    start_relay
    msend -t x -d one
    run --separate-stderr mrecv -t x -g g -e -- sh -c 'seq 1 3000 >&2; printf "the\nend\n" >&2; exit 65'
    assert_equal "$status" 65
    assert_regex "$stderr" $'^1\n2\n3\n'
    run mrecv -t x.dead -e --template '%{deaderror}'
    assert_regex "$output" '^[0-9n\\]*2999\\n3000\\nthe\\nend$'
    assert [ "${#output}" -le 4096 ]
    assert [ "${#output}" -gt 4000 ]
}

@test "without a group a command has mrecv's own stderr" {
    start_relay
    msend -t x -d one
    mrecv -t x -n 1 -- sh -c 'readlink /proc/$$/fd/2 >got' 2>err
    assert_equal "$(cat got)" "$PWD/err"
}

@test "a command killed by a signal is tried again" {
    start_relay
    msend -t x -d one
    run --separate-stderr mrecv -t x -g g -e -- sh -c '[ "$MSG_ATTEMPT" = 2 ] || kill -KILL $$'
    assert_success
    assert_regex "$stderr" 'was ended by signal 9'
}

@test "a command that takes too long is ended with all that it started" {
    start_relay
    msend -t x -d one
    run --separate-stderr mrecv -t x -g g -n 1 --timeout 300ms -- sh -c 'sleep 71 & echo $! >pid; wait'
    assert_equal "$status" 75
    assert_regex "$stderr" 'took longer than 300 ms \(--timeout\)'
    until_true gone "$(cat pid)"
}

@test "a command that is not there is 127 and charges no attempt" {
    start_relay
    seq 1 3 | msend -t x
    run -127 mrecv -t x -g g -- no-such-command
    assert_output 'mrecv: cannot run no-such-command: there is no such command'
    run -127 mrecv -t x -g g --shell 'no-such-command 2>/dev/null'
    assert_equal "$(mrecv -t x -g g -e --template '%{body} %{attempt};')" '1 1;2 1;3 1;'
}

@test "a file that is no command is 126 and charges no attempt" {
    start_relay
    msend -t x -d one
    touch file
    run mrecv -t x -g g -- ./file
    assert_failure 126
    assert_equal "$(mrecv -t x -g g -e --template '%{body} %{attempt};')" 'one 1;'
}

@test "workers run at once, and their outputs do not mix" {
    start_relay
    seq 1 40 | msend -t x
    mrecv -t x -g g -e --workers 4 -- sh -c 'n=$(cat); for i in 1 2 3; do echo "$n $i"; sleep 0.01; done' >got
    assert_equal "$(wc -l <got)" 120
    # lines of one message are neighbours
    assert_equal "$(cut -d' ' -f1 got | uniq | wc -l)" 40
    assert_equal "$(sort -n got | cut -d' ' -f1 | uniq -c | awk '$1 != 3' | wc -l)" 0
}

@test "workers with a lot of output take turns, and nothing of it is lost" {
    start_relay
    seq 1 6 | msend -t x
    mrecv -t x -g g -e --workers 3 -- sh -c 'n=$(cat); yes "$n" | head -n 400000' >got
    assert_equal "$(uniq -c got | awk '{print $1}' | sort -u)" 400000
    assert_equal "$(uniq got | sort -n)" "$(seq 1 6)"
}

@test "a worker holds no more than it should" {
    start_relay
    seq 1 100 | msend -t x
    start got mrecv -t x -g g --workers 2 --max-in-flight 3 -- sh -c 'echo >>begun; sleep 60'
    local pid=$started_pid
    until_true has_lines 2 begun
    until_true group_has 3 leased x g
    assert_equal "$(group_count waiting x g)" 97
    kill "$pid"
    end "$pid" # a second signal ends it at once
    assert_equal "$ended_code" 143
}

@test "a batch is one command for many, with one exit code" {
    start_relay
    seq 1 25 | msend -t x
    run mrecv -t x -g g -e --mode batch --batch 10 -- sh -c 'echo "$MSG_COUNT $MSG_TOPIC $(paste -sd, -)"'
    assert_success
    assert_line '10 x 1,2,3,4,5,6,7,8,9,10'
    assert_line '5 x 21,22,23,24,25'
    assert_equal "$(group_count acked x g)" 25
}

@test "a batch that fails is tried again as a whole" {
    start_relay
    seq 1 4 | msend -t x
    run --separate-stderr mrecv -t x -g g -e --mode batch -- \
        sh -c 'cat >/dev/null; echo "$MSG_COUNT $MSG_ATTEMPT"; [ "$MSG_ATTEMPT" = 2 ]'
    assert_success
    assert_output $'4 1\n4 2'
    assert_regex "$stderr" '4 messages: sh exited with 1 at attempt 1'
}

@test "a batch can be in any format" {
    start_relay
    make_groups x g h i
    seq 1 3 | msend -t x
    run mrecv -t x -g g -e --mode batch -F json -- grep -c '"specversion":"1.0"'
    assert_output 3
    run mrecv -t x -g h -e --mode batch --template '%{offset},' -- cat
    assert_output '0,1,2,'
    run mrecv -t x -g i -n 1 -F json -- grep -o '"data":1'
    assert_output '"data":1'
}

@test "a reader can run commands too, and tells when they fail" {
    start_relay
    seq 1 3 | msend -t x
    run mrecv -t x -e -- cat
    assert_success
    assert_output 123
    run --separate-stderr mrecv -t x -e -- false
    assert_equal "$status" 1
    assert_regex "$stderr" 'the command failed for 3 of 3 messages'
}

@test "interrupted, it lets commands finish and gives back the rest" {
    start_relay
    seq 1 10 | msend -t x
    start got mrecv -t x -g g --workers 2 -- sh -c 'echo >>begun; until [ -e go ]; do sleep 0.05; done; cat; echo'
    local pid=$started_pid
    until_true has_lines 2 begun
    kill "$pid"
    sleep 0.2
    touch go
    ended_code=0
    wait "$pid" || ended_code=$?
    assert_equal "$ended_code" 143
    assert_equal "$(sort got)" $'1\n2'
    assert_equal "$(group_count acked x g)" 2
    assert_equal "$(group_count leased x g)" 0
    assert_equal "$(mrecv -t x -g g -n 1 --template '%{body} %{attempt}')" '3 1'
}

@test "a terminal that is closed sends SIGHUP twice, and commands finish" {
    start_relay
    msend -t x -d one
    start got mrecv -t x -g g -- sh -c 'echo >>begun; until [ -e go ]; do sleep 0.05; done; cat'
    local pid=$started_pid
    until_true has_lines 1 begun
    kill -HUP "$pid"
    sleep 0.2
    kill -HUP "$pid"
    touch go
    ended_code=0
    wait "$pid" || ended_code=$?
    assert_equal "$ended_code" 129
    assert_equal "$(cat got)" one
    assert_equal "$(group_count acked x g)" 1
}

@test "a second signal ends it and its commands at once" {
    start_relay
    msend -t x -d one
    start got mrecv -t x -g g -- sh -c 'trap "" TERM; echo $$ >pid; sleep 72; sleep 72'
    local pid=$started_pid
    until_true has_lines 1 pid
    kill "$pid"
    sleep 0.2
    end "$pid"
    assert_equal "$ended_code" 143
    until_true gone "$(cat pid)"
}

@test "commands without a reader for their output are not begun" {
    start_relay
    seq 1 50 | msend -t x
    run timeout 20 bash -c 'mrecv -t x -g g --workers 2 -- sh -c "cat; echo" | head -1 >/dev/null; echo "${PIPESTATUS[0]}"'
    assert_output 141
    assert [ "$(group_count acked x g)" -lt 50 ]
    assert_equal "$(group_count leased x g)" 0
}

@test "wrong options for commands" {
    wrong 'mrecv: --shell and -- COMMAND exclude each other: give one command' mrecv -t x --shell a -- b
    wrong 'mrecv: no command stands behind --' mrecv -t x --
    wrong "mrecv: --sync and -- COMMAND exclude each other: a command's exit code acknowledges its messages" \
        mrecv -t x --sync -- a
    wrong 'mrecv: --workers goes only with -- COMMAND or --shell: it is about commands' mrecv -t x --workers 2
    wrong 'mrecv: --mode goes only with -- COMMAND or --shell: it is about commands' mrecv -t x --mode batch
    wrong 'mrecv: --batch goes only with -- COMMAND or --shell: it is about commands' mrecv -t x --batch 2
    wrong 'mrecv: --max-in-flight goes only with -- COMMAND or --shell: it is about commands' \
        mrecv -t x --max-in-flight 2
    wrong 'mrecv: --timeout goes only with -- COMMAND or --shell: it bounds one run of a command; --wait bounds the waiting for a message' \
        mrecv -t x --timeout 2s
    wrong 'mrecv: --batch goes only with --mode batch: a command has one message otherwise' mrecv -t x --batch 2 -- a
    wrong 'mrecv: --mode batch and --rep exclude each other: each request has its own answer' \
        mrecv --dial ipc:///x --rep --mode batch -- a
    run mrecv -t x --workers 0 -- a
    assert_failure 64
    run mrecv -t x --mode lines -- a
    assert_failure 64
    assert_output --partial 'each, stream, batch'
    wrong 'mrecv: --rep goes only with -- COMMAND or --shell: a request needs a reply: the output of a command' \
        mrecv --dial ipc:///x --rep
    wrong 'mrecv: --respondent goes only with -- COMMAND or --shell: a survey needs an answer: the output of a command' \
        mrecv --dial ipc:///x --respondent
}

@test "a group that allows no retries has its dead letters told at the first failure" {
    start_relay
    mrelay set group -t x -g g retry.max_retries=0
    seq 1 5 | msend -t x
    run --separate-stderr mrecv -t x -g g -e -- false
    assert_equal "$status" 65
    assert_regex "$stderr" '5 of 5 messages were dead-lettered'
    refute_regex "$stderr" 'tried again'
}

@test "a dead letter that is rejected again does not die again" {
    start_relay
    mrelay set group -t x.dead -g undertaker retry.initial_interval=1ms
    msend -t x -d one
    run mrecv -t x -g g -n 1 -- sh -c 'exit 65'
    assert_failure 65
    run --separate-stderr mrecv -t x.dead -g undertaker -e -- sh -c '[ "$MSG_ATTEMPT" = 3 ] || exit 65'
    assert_success
    assert_regex "$stderr" 'exited with 65 at attempt 2: to be tried again, as a dead letter does not die'
    assert_equal "$(group_count acked x.dead undertaker)" 1
}

@test "what waited for longer than its lease in a consumer that stood still is not begun, but given back" {
    start_relay --lease 1s
    local topic pid others=()
    mkfifo pipe
    exec 9<>pipe
    # Each has one message at work, or in its reader's pipe, and the others here.
    start each mrecv -t each -g g -n 2 -- sh -c '{ cat; echo; } >>each.begun; until [ -e go ]; do sleep 0.02; done'
    start stream mrecv -t stream -g g -n 2 --mode stream -- \
        sh -c 'read -r line; echo "$line" >>stream.begun; until [ -e go ]; do sleep 0.02; done; echo; exec tee -a stream.begun'
    start pipe mrecv -t pipe -g g -n 2
    for topic in each stream pipe; do
        seq 3 | msend -t "$topic"
    done
    until_true has_lines 1 each.begun
    until_true has_lines 1 stream.begun
    until_true group_has 2 leased pipe g
    for pid in "${started[@]:1}"; do
        kill -STOP "$pid"
    done
    touch go
    for topic in each stream pipe; do
        timeout 20 mrecv -t "$topic" -g g -n 3 >"$topic.other" &
        others+=("$!")
    done
    wait "${others[@]}"
    for topic in each stream pipe; do
        run sort "$topic.other"
        assert_output $'1\n2\n3'
    done
    for pid in "${started[@]:1}"; do
        kill -CONT "$pid"
    done
    for topic in each stream pipe; do
        msend -t "$topic" -d 4
    done
    until_true has_lines 2 each.begun
    until_true has_lines 2 stream.begun
    head -2 <&9 >pipe.begun
    for topic in each stream pipe; do
        run cat "$topic.begun"
        assert_output $'1\n4'
    done
    for pid in "${started[@]:1}"; do
        wait "$pid"
    done
    run cat each.err stream.err pipe.err
    assert_output --partial '1 message was settled too late: the lease had ended, and it comes again'
    refute_output --partial '2 messages'
}

# Between two looks nothing was settled.
settles_no_more() {
    local before=${acked-}
    acked=$(mrelay groups --json | jq '.groups[0].acked')
    ((acked > 0)) && [[ $acked == "$before" ]]
}

@test "lines that were made for a full pipe and are not in it are given back when their lease may have ended" {
    start_relay --lease 1s
    local pid
    mkfifo pipe
    exec 9<>pipe
    start pipe mrecv -t t -g g -n 4000
    pid=$started_pid
    seq 4000 | sed 's/.*/&:'"$(printf '%0995d' 0)"'/' | msend -t t
    head -c 2000000 <&9 >taken # from here on nobody reads
    until_true settles_no_more
    kill -STOP "$pid"
    timeout 30 mrecv -t t -g g -e --wait 2s | cut -d: -f1 | sort >other
    kill -CONT "$pid"
    # What is in the pipe cannot be taken back: 64 KiB, or what the system gives it.
    msend -t t -d last
    timeout 20 sed /last/q <&9 >>taken
    run awk 'length < 996' taken
    assert_output last
    cut -d: -f1 taken | sort >mine
    run comm -12 mine other
    ((${#lines[@]} <= 70))
    run diff <(seq 4000 | cat - <(echo last) | sort) <(sort -u mine other)
    assert_output ''
}
