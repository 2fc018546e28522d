#!/usr/bin/env bats
# What feeds topics from outside: commands, the clock, files and sockets, with a real relay, and programs of others at
# the other ends of sockets.
#
# shellcheck disable=SC2154 # bats and tools.bash set what is read here

setup() {
    load tools
    tools_setup
    export MSGPIPE_RELAY=default
    runner_pid=
}

teardown() {
    tools_teardown
}

# The runner alone, of the pipeline in p.yaml; what sources remember is in ./state.
start_runner() {
    start runner.log mrelay run --stages-only --state state p.yaml
    runner_pid=$started_pid
}

# Ends it, by a signal (TERM).
end_runner() {
    end "$runner_pid" "${1-TERM}"
}

# pipeline SOURCE-LINES: a relay, and the runner of a pipeline with the topic `t` that nobody takes from.
pipeline() {
    write_pipeline
    [[ -n ${relay_pid-} ]] || start_relay
    start_runner
}

# The rest of the file comes on stdin.
write_pipeline() {
    {
        printf 'name: default\ntopics:\n  t: {external: true%s}\n' "${limits-}"
        cat
    } >p.yaml
}

stored() {
    mrecv -t t --from start -e "$@"
}

# Whether so many messages are stored.
has_stored() {
    [[ $(stored | wc -l) -ge $1 ]]
}

# What the runner says of its source SRC.
source_says() {
    mrelay status --json | jq -r ".runners[].stages[] | select(.kind == \"source\") | .$1"
}

is_waiting_for() {
    [[ $(source_says why) == *"$1"* ]]
}

# A runner that was ended a moment ago may still be reported beside the one that runs.
is_state() {
    source_says state | grep -qx "$1"
}

runner_runs() {
    grep -q 'stages run' runner.log.err
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

# ---- commands ---------------------------------------------------------------------------------------------------

@test "what a command prints becomes messages, and what it says to stderr is logged under the source's name" {
    pipeline <<'YAML'
sources:
  src: {shell: "echo one; echo careful >&2; printf two", to: t}
YAML
    until_true has_stored 2
    assert_equal "$(stored)" $'one\ntwo'
    until_true grep -q 'source=src' runner.log.err
    run grep 'careful' runner.log.err
    assert_output --partial 'source=src'
    until_true is_state ended
}

@test "a command that fails is started again, until it succeeds" {
    pipeline <<'YAML'
sources:
  src:
    shell: 'n=$(cat n 2>/dev/null || echo 0); n=$((n + 1)); echo $n >n; echo run $n; [ $n -ge 3 ]'
    to: t
YAML
    until_true has_stored 3
    until_true is_state ended
    assert_equal "$(stored)" $'run 1\nrun 2\nrun 3'
}

@test "restart: never leaves it at one run, and says how that ended" {
    pipeline <<'YAML'
sources:
  src: {shell: "echo one; exit 7", to: t, restart: never}
YAML
    until_true is_waiting_for "exited with 7"
    assert_equal "$(stored)" one
    run grep -c 'source failed' runner.log.err
    assert_output 1
}

@test "restart: always starts it again also when it succeeds" {
    pipeline <<'YAML'
sources:
  src: {command: [echo, again], to: t, restart: always}
YAML
    until_true has_stored 3
}

@test "a command that cannot be started is told, and tried again" {
    printf '#!%s/interpreter\necho here\n' "$PWD" >later
    chmod +x later
    pipeline <<'YAML'
sources:
  src: {command: [./later], to: t}
YAML
    until_true is_waiting_for "cannot run"
    printf '#!/bin/sh\nexec sh "$@"\n' >interpreter
    chmod +x interpreter
    until_true has_stored 1
}

@test "what a command that dies has not printed completely is no message" {
    pipeline <<'YAML'
sources:
  src: {shell: "printf 'whole\ntorn'; kill -9 $$", to: t, restart: never}
YAML
    until_true is_waiting_for "signal 9"
    assert_equal "$(stored)" whole
    grep 'its last 4 bytes' runner.log.err
}

@test "a command ends with all that it started when the runner ends" {
    pipeline <<'YAML'
sources:
  src: {shell: "sleep 1000 & echo $!; trap '' TERM; while :; do wait; sleep 0.1; done", to: t}
YAML
    until_true has_stored 1
    local child
    child=$(stored)
    kill -0 "$child"
    end_runner
    until_true gone "$child"
}

@test "told to stop while the relay does not answer, it ends in time and says what is not stored" {
    pipeline <<'YAML'
sources:
  src: {shell: 'echo one; until [ -e go ]; do sleep 0.05; done; echo two; : >said; exec sleep 1000', to: t}
YAML
    until_true has_stored 1
    kill -STOP "$relay_pid"
    : >go
    until_true test -e said
    end_runner
    assert_equal "$ended_code" 0
    grep 'messages not stored.*took none of 1 messages' runner.log.err
}

@test "the environment and the directory are the command's own" {
    mkdir -p sub
    pipeline <<'YAML'
sources:
  src: {shell: 'echo "$WHO in ${PWD##*/}"', env: {WHO: me}, directory: sub, to: t}
YAML
    until_true has_stored 1
    assert_equal "$(stored)" "me in sub"
}

@test "a full topic slows the command down, and nothing is lost" {
    limits=', max_messages: 50000, overflow: block'
    pipeline <<'YAML'
sources:
  src: {shell: "seq 1000000; echo done >&2", to: t}
YAML
    until_true is_waiting_for "full"
    run grep -c 'done' runner.log.err
    assert_output 0
    mrecv -t t -g g -n 1000000 >got
    diff got <(seq 1000000)
    until_true is_state ended
}

@test "steps are applied before a message is sent" {
    pipeline <<'YAML'
sources:
  src:
    command: [printf, '{"n":1}\n{"n":2}\n{"n":3}\n']
    to: t
    steps:
      - where: {/n: {above: 1}}
      - set: {type: "number %{/n}", key: k}
YAML
    until_true is_state ended
    assert_equal "$(stored --template '%{type} %{key} %{body}\n')" $'number 2 k {"n":2}\nnumber 3 k {"n":3}'
}

@test "lines that are no CloudEvents are told and left out, the others are sent with their attributes" {
    pipeline <<'YAML'
sources:
  src:
    command: [printf, '%s\n', '{"specversion":"1.0","id":"a1","source":"/x","type":"y","data":[1]}', nonsense,
              '{"specversion":"1.0","id":"a2","source":"/x","type":"y","data":[2]}']
    format: json
    to: t
YAML
    until_true is_state ended
    assert_equal "$(stored --template '%{id} %{type} %{body}\n')" $'a1 y [1]\na2 y [2]'
    grep 'not a message' runner.log.err | grep 'line 2'
}

# ---- the clock --------------------------------------------------------------------------------------------------

@test "every: a body comes at once and each interval, with the time of its tick" {
    pipeline <<'YAML'
sources:
  src: {every: 200ms, body: tick, to: t}
YAML
    until_true has_stored 3
    run -0 stored --template '%{body} %{time}\n'
    assert_line --index 0 --regexp '^tick 20[0-9-]+T[0-9:.]+Z$'
}

@test "every: the interval is kept over a restart" {
    write_pipeline <<'YAML'
sources:
  src: {every: 1h, data: {tick: true}, to: t}
YAML
    start_relay
    start_runner
    until_true grep -rq tick= state # what is stored and not remembered yet would come again
    end_runner KILL
    start_runner
    until_true runner_runs
    end_runner
    assert_equal "$(stored)" '{"tick":true}'
}

@test "every: the output of a command, and the next tick does not wait for its end" {
    pipeline <<'YAML'
sources:
  src: {every: 100ms, shell: "echo $(cat /proc/self/stat | wc -l) line; sleep 0.25", to: t}
YAML
    until_true has_stored 2
    until_true grep -q 'still runs' runner.log.err
    assert_equal "$(stored | sort -u)" "1 line"
}

# ---- files ------------------------------------------------------------------------------------------------------

@test "a file is read once, to its end" {
    printf 'one\ntwo\nthree' >in
    pipeline <<'YAML'
sources:
  src: {file: in, to: t}
YAML
    until_true is_state ended
    assert_equal "$(stored)" $'one\ntwo\nthree'
    end_runner
    echo >>in
    echo four >>in
    start_runner
    until_true has_stored 4
    end_runner
    assert_equal "$(stored | tail -n 1)" four
}

@test "a file that is read once and is not there is told" {
    pipeline <<'YAML'
sources:
  src: {file: none, to: t}
YAML
    until_true is_waiting_for "No such file"
    assert_equal "$(source_says state)" failed
}

@test "a file is followed: missing at first, renamed, and truncated; a line without its end waits" {
    pipeline <<'YAML'
sources:
  src: {file: log, follow: true, to: t}
YAML
    until_true is_waiting_for "No such file"
    echo one >>log
    until_true has_stored 1
    printf tw >>log
    echo o >>log
    until_true has_stored 2
    mv log log.1
    echo three >>log.1
    echo four >>log
    until_true has_stored 4
    : >log
    echo 5 >>log # a truncated file that is as long again before anybody looks would not be seen to be one
    until_true has_stored 5
    assert_equal "$(stored)" $'one\ntwo\nthree\nfour\n5'
}

# Writes lines FROM to TO into `log`, which it rotates now and then, by turns in both ways.
write_and_rotate() {
    local i n
    for ((i = $1; i <= $2; i++)); do
        echo "line $i, with some more words that make it a long one" >>log
        ((i % 400 != 0)) || {
            for ((n = 8; n > 0; n--)); do
                [[ ! -f log.$n ]] || mv "log.$n" "log.$((n + 1))"
            done
            mv log log.1
        }
        ((i % 50 != 0)) || sleep 0.01
    done
}

@test "every line of a rotated file comes through, in order, though the runner is killed again and again" {
    write_pipeline <<'YAML'
sources:
  src: {file: log, follow: true, to: t}
YAML
    start_relay
    write_and_rotate 1 100
    start_runner
    until_true has_stored 100 # who comes later begins with the file that is there then
    end_runner KILL
    write_and_rotate 101 3000 3>&- &
    local writer=$!
    for _ in 1 2 3 4 5; do
        start_runner
        sleep 0.$((RANDOM % 3 + 1))
        end_runner KILL
    done
    wait "$writer"
    start_runner
    last_came() { stored | grep -q '^line 3000,'; }
    until_true last_came
    end_runner
    stored | cut -d ' ' -f 2 | tr -d , >got
    # In the order in which they first came they are all there; what was in flight at a kill is there twice.
    diff <(awk '!seen[$1]++' got) <(seq 3000)
}

# ---- sockets ----------------------------------------------------------------------------------------------------

# Bodies that come by a socket PATTERN that listens.
listening() {
    pipeline <<YAML
sources:
  src: {$1: {listen: "ipc://$XDG_RUNTIME_DIR/s"}, to: t}
YAML
    until_true test -S "$XDG_RUNTIME_DIR/s"
    url=ipc://$XDG_RUNTIME_DIR/s
}

@test "pull: programs on nng, nanomsg and msgpipe push" {
    command -v nngcat nanocat >/dev/null || skip "nngcat and nanocat are not installed"
    listening pull
    nngcat --push0 --dial "$url" --data "from nng" --delay 1 3>&-
    until_true has_stored 1
    start cat.log nanocat --push --connect "$url" --data "from nano" 
    until_true has_stored 2
    printf 'three\nfour\n' | msend --dial "$url"
    until_true has_stored 4
    assert_equal "$(stored)" $'from nng\nfrom nano\nthree\nfour'
}

@test "frames of msend keep their messages' attributes and origins" {
    listening pull
    printf 'a\nb\n' | msend --dial "$url" --framed -H 'type: note' -k k
    until_true has_stored 2
    assert_equal "$(stored --template '%{body} %{type} %{key}\n')" $'a note k\nb note k'
    # The two have one origin's numbers, one after the other.
    run -0 stored --template '%{id}\n'
    assert_equal "${lines[0]:0:31}" "${lines[1]:0:31}"
}

@test "sub: only what is subscribed to" {
    start_relay
    # exec: the process that is ended is msend, and the loop ends by its closed pipe.
    start pub.log bash -c "exec msend --listen ipc://$XDG_RUNTIME_DIR/p --pub < <(while printf 'a 1\nb 2\n'; do sleep 0.05; done)"
    pipeline <<YAML
sources:
  src: {sub: {dial: "ipc://$XDG_RUNTIME_DIR/p", subscribe: ["b"]}, to: t}
YAML
    until_true has_stored 2
    assert_equal "$(stored | sort -u)" "b 2"
}

@test "rep: a request is answered with the id of its message, when that is stored" {
    listening rep
    id=$(msend --dial "$url" --req -d question)
    assert_equal "$(stored --template '%{id} %{body}\n')" "$id question"
    if command -v nngcat >/dev/null; then
        id=$(nngcat --req0 --dial "$url" --data again --raw)
        assert_equal "$(stored --template '%{id} %{body}\n' | tail -n 1)" "$id again"
    fi
    # A frame gets an answer for each of its messages, also when they have ids of their own.
    run -0 msend --dial "$url" --req --framed --id-json /id <<<$'{"id":"x1"}\n{"id":"x2"}'
    assert_output $'x1\nx2'
}

@test "rep: an empty answer says that a message is not stored" {
    pipeline <<YAML
sources:
  src:
    rep: {listen: "ipc://$XDG_RUNTIME_DIR/s"}
    to: t
    steps: [{where: {body: "yes*"}}]
YAML
    until_true test -S "$XDG_RUNTIME_DIR/s"
    run -0 msend --dial "ipc://$XDG_RUNTIME_DIR/s" --req -d no
    assert_output ""
    run -0 msend --dial "ipc://$XDG_RUNTIME_DIR/s" --req -d yes
    assert_output --regexp '^[0-9a-f]{32}$'
    run -0 msend --dial "ipc://$XDG_RUNTIME_DIR/s" --req --framed <<<$'yes 1\nno\nyes 2'
    assert_equal "$(sed 's/[0-9a-f]\{32\}/id/' <<<"$output")" $'id\n\nid'
}

@test "respondent: surveys are answered" {
    listening respondent
    # An answer that comes after the survey's end is none: another is held.
    answered() { [[ $(msend --dial "$url" --surveyor --wait 1s -d survey) =~ ^[0-9a-f]{32}$ ]]; }
    until_true answered
    assert_equal "$(stored | sort -u)" survey
}

@test "pair and bus take what the others send" {
    listening pair
    echo "by pair" | msend --dial "$url" --pair
    until_true has_stored 1
    end_runner
    listening bus
    echo "by bus" | msend --dial "$url" --bus
    until_true has_stored 2
    assert_equal "$(stored)" $'by pair\nby bus'
}

@test "peers are not read while the topic is full, and nothing is lost" {
    limits=', max_messages: 20000, overflow: block'
    listening pull
    start sender.log bash -c "yes 'a line of some length, so that all of them do not fit into the pipes' | head -n 300000 | msend --dial $url"
    until_true is_waiting_for "full"
    until_true has_stored 20000
    sleep 0.5
    assert_equal "$(stored | wc -l)" 20000
    kill -0 "$started_pid"
    mrecv -t t -g g -n 300000 | wc -l >count
    assert_equal "$(cat count)" 300000
}

@test "an address where somebody listens already is told" {
    start_relay
    start other.log mrecv --listen "ipc://$XDG_RUNTIME_DIR/s"
    until_true test -S "$XDG_RUNTIME_DIR/s"
    write_pipeline <<YAML
sources:
  src: {pull: {listen: "ipc://$XDG_RUNTIME_DIR/s"}, to: t}
YAML
    run mrelay run --stages-only --state state p.yaml
    assert_failure
    assert_output --partial "$XDG_RUNTIME_DIR/s"
}
