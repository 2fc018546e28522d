#!/usr/bin/env bats
# What the runner does with messages: mrelay run --stages-only.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# Starts a relay, and a runner with the pipeline on stdin, and waits until it
# has set up its topics. Stages of it take from `in`.
start_pipeline() {
    [[ -n ${relay_pid-} ]] || start_relay
    cat >pipeline.yaml
    : >runner.log.err
    start runner.log mrelay run --stages-only -r default pipeline.yaml
    runner_pid=$started_pid
    until_true grep -q 'stages run' runner.log.err
}

# drained STAGE...: waits until these have settled all of their topics, `in`
# where nothing else is said (STAGE:TOPIC).
drained() {
    local stage
    for stage; do
        local topic=in
        [[ $stage == *:* ]] && topic=${stage#*:}
        mrelay wait -t "$topic" -g "${stage%%:*}" --wait 30s
    done
}

# What is in a topic, all of it.
all_of() {
    mrecv -t "$1" -e "${@:2}"
}

@test "each, stream and batch bring every message through, a stream in order" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, upper: {}, marked: {retain: {age: 1h}}, out: {external: true}}
stages:
  stream: {from: in, command: [sed, -u, 's/$/!/'], mode: stream, to: marked}
  batch: {from: marked, command: [tr, a-z, A-Z], mode: batch, batch: 100, to: upper}
  each: {from: upper, shell: 'read -r x; echo "$x"; echo "$x again"', mode: each, workers: 2, to: out}
YAML
    seq 300 | sed 's/^/line /' | msend -t in
    drained stream batch:marked each:upper
    all_of marked | cmp - <(seq 300 | sed 's/^/line /; s/$/!/')
    all_of out | sort | cmp - <(seq 300 | sed 's/^/LINE /; s/$/!/; p; s/$/ again/' | sort)
}

@test "what a command says by its exit code is done: retries, dead letters, and no route is one" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}, vip: {external: true}}
stages:
  stage:
    from: in
    shell: |
      read -r x
      case $x in
      bad*) echo hopeless >&2; exit 65 ;;
      flaky*) [ "$MSG_ATTEMPT" -ge 3 ] || exit 1 ;;
      never*) echo "no: $x" >&2; exit 1 ;;
      esac
      echo "$x"
    mode: each
    retry: {max_retries: 3, initial_interval: 10ms, max_interval: 20ms}
    route:
      - {where: {body: vip*}, to: vip}
      - {where: {body: {regex: '^(good|flaky)'}}, to: out}
YAML
    printf '%s\n' good bad flaky vip strange never | msend -t in
    drained stage
    run all_of vip
    assert_output vip
    run -0 sort <(all_of out)
    assert_output $'flaky\ngood'
    run mretry list -t in.dead
    assert_line --regexp 'rejected.*hopeless'
    assert_line --regexp 'unrouted.*no route matches'
    assert_line --regexp 'retries.*no: never'
    assert_equal "$(all_of in.dead | sort | xargs)" 'bad never strange'
    grep -q 'event="message not done" stage=stage' runner.log.err
    grep -q 'event=stderr stage=stage text=hopeless' runner.log.err
}

@test "an output inherits its message's key and trace, names it as its cause, and may say otherwise" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}, json: {external: true}}
stages:
  plain: {from: in, command: [cat], mode: each, to: out}
  json:
    from: in
    shell: 'echo "{\"specversion\":\"1.0\",\"id\":\"own\",\"partitionkey\":\"other\",\"data\":1}"'
    mode: each
    format: json
    to: json
YAML
    msend -t in -k alice --id first -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -d hello
    drained plain json
    run all_of out --template '%{body} %{partitionkey} %{causationid} %{traceparent}\n'
    assert_output 'hello alice first 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    run all_of json --template '%{id} %{partitionkey} %{causationid}\n'
    assert_output 'own other first'
}

@test "a traceparent that is none is replaced: by the input's trace, or the message's own; and counted" {
    printf '%s\n' '{"specversion":"1.0","traceparent":"none","data":"from a file"}' >events.ndjson
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}, read: {external: true}}
sources:
  file: {file: events.ndjson, format: json, to: read}
stages:
  printed:
    from: in
    shell: 'echo "{\"specversion\":\"1.0\",\"traceparent\":\"bad\",\"tracestate\":\"a=b\",\"data\":1}"'
    mode: each
    format: json
    to: out
YAML
    msend -t in -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -d x
    drained printed
    run all_of out --template '%{traceparent} %{tracestate}|'
    assert_output '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 |'
    mrecv -t read -n 1 --wait 30s >/dev/null
    run all_of read --template '%{traceparent}|%{body}'
    assert_output '|from a file'
    grep -q 'event="traceparent replaced"' runner.log.err
    until_true bash -c "mrelay status --json | jq -e '[.. | .retraced? // empty] == [1, 1]'"
}

@test "messages that pass through steps keep their ids, and lose what is not theirs" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}, other: {external: true}}
stages:
  stage:
    from: in
    steps:
      - where: {body: {not: skip*}}
      - set: {dataschema: v2, subject: 'was %{body}'}
    route:
      - {where: {body: {above: 250}}, to: other}
      - {to: out}
YAML
    { seq 500; echo skipped; } | msend -t in --print-id >ids
    drained stage
    { all_of out --template '%{id} %{subject}\n'; all_of other --template '%{id} %{subject}\n'; } >passed
    assert_equal "$(wc -l <passed)" 500
    diff <(head -n 500 ids) <(cut -d' ' -f1 passed)
    assert_equal "$(tail -n 1 passed | cut -d' ' -f2-)" 'was 500'
    assert_equal "$(all_of other | head -n 1)" 251
}

@test "a stage takes from several topics and from patterns" {
    start_pipeline <<'YAML'
topics: {a: {external: true}, b: {external: true}, x.1: {external: true}, x.2: {external: true}, out: {external: true}}
stages:
  list: {from: [a, b], command: [cat], mode: stream, to: out}
  pattern: {from: x.*, to: out}
YAML
    msend -t a -d 1
    msend -t b -d 2
    msend -t x.1 -d 3
    msend -t x.2 -d 4
    run -0 sort <(mrecv -t out -n 4 --wait 20s)
    assert_output $'1\n2\n3\n4'
}

@test "a stage whose command is not there pauses, charges nothing, and goes on when it is" {
    printf '#!/bin/sh\ncat\n' >tool
    chmod +x tool
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}}
stages:
  stage: {from: in, command: [./tool], mode: each, to: out, retry: {max_retries: 0}}
YAML
    mv tool gone
    seq 3 | msend -t in
    until_true grep -q 'stage paused' runner.log.err
    sed -n 's/.*why=//p' runner.log.err | grep -q 'there is no such command'
    mv gone tool
    drained stage
    run -0 sort <(all_of out)
    assert_output $'1\n2\n3'
    grep -q 'stage goes on' runner.log.err
}

@test "an open circuit breaker holds messages back, until one that tries succeeds" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}}
stages:
  stage:
    from: in
    shell: 'test -e works && cat'
    mode: each
    to: out
    retry: {max_retries: 20, initial_interval: 10ms, max_interval: 20ms}
    circuit_breaker: {failures: 3, open: 300ms}
YAML
    seq 5 | msend -t in
    until_true grep -q 'state=open' runner.log.err
    run all_of out
    assert_output ''
    touch works
    drained stage
    run -0 sort <(all_of out)
    assert_output $'1\n2\n3\n4\n5'
    grep -q 'state=closed' runner.log.err
}

@test "with a fallback, messages of an open circuit breaker go there" {
    start_relay
    local fallback expected
    for fallback in '[echo, cached]' '{body: none}' '{to: out}'; do
        case $fallback in
        *echo*) expected=cached ;;
        *body*) expected=none ;;
        *) expected=message ;;
        esac
        start_pipeline <<YAML
topics: {in: {external: true}, out: {external: true}}
stages:
  stage:
    from: in
    command: ['false']
    mode: each
    to: out
    retry: {max_retries: 20, initial_interval: 10ms, max_interval: 20ms}
    circuit_breaker: {failures: 2, open: 10m, fallback: $fallback}
YAML
        msend -t in -d message
        msend -t in -d message
        drained stage
        run all_of out
        assert_output "$expected"$'\n'"$expected"
        end "$runner_pid"
        mrelay topics purge out --yes
    done
}

@test "windows are put together, and their messages are settled with what came of them" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}}
stages:
  stage:
    from: in
    steps:
      - aggregate: {by: key, count: 3, window: 1h}
    to: out
YAML
    printf '%s\n' a1 b1 a2 b2 a3 | sed 's/\(.\)/\1 \1/' | msend -t in -K ' '
    run mrecv -t out -n 1 --wait 20s --template '%{partitionkey}: %{body}\n'
    assert_output $'a: a1\na2\na3'
    until_true sh -c 'mrelay groups | grep -qE "stage +0 +2 "' # two wait in a window
    end "$runner_pid"
    assert_equal "$ended_code" 0
    mrelay groups | grep -qE 'stage +2 +0 ' # and are handed out again
}

@test "a full topic makes the stage before it wait, and loses nothing" {
    start_relay
    make_groups out taker
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true, max_messages: 50}}
stages:
  stage: {from: in, command: [cat], mode: stream, to: out}
YAML
    seq 500 | msend -t in
    until_true sh -c 'mrelay groups | grep -qE "taker +[1-5]"' # it gets what there is room for
    mrecv -t out -g taker -n 500 --wait 30s >got
    cmp got <(seq 500)
    drained stage
}

@test "what a topic refuses for good is a dead letter, and its neighbours are not" {
    start_relay
    make_groups out taker
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true, max_messages: 20, overflow: reject}}
stages:
  stage: {from: in, command: [cat], mode: stream, to: out}
YAML
    seq 60 | msend -t in
    drained stage
    local stored dead
    stored=$(all_of out | wc -l)
    dead=$(all_of in.dead | wc -l)
    assert_equal $((stored + dead)) 60
    ((stored >= 20))
    { all_of out; all_of in.dead; } | sort -n | cmp - <(seq 60)
    run mretry list -t in.dead
    assert_output --partial overflow
}

@test "a body that holds the separator is dead, and its neighbours in the batch are not" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}}
stages:
  stage: {from: in, command: [cat], mode: batch, to: out}
YAML
    printf 'one\0two\nlines\0three\0' | msend -t in -F null
    drained stage
    run -0 sort <(all_of out)
    assert_output $'one\nthree'
    run mretry list -t in.dead
    assert_output --partial 'separator'
}

@test "reloaded, what did not change keeps running, and nothing is lost" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, mid: {}, out: {external: true}}
stages:
  keep: {from: in, command: [cat], mode: stream, to: mid}
  change: {from: mid, command: [sed, 's/^/one:/'], mode: each, to: out}
YAML
    seq 50 | msend -t in
    until_true sh -c '[ "$(mrecv -t out -e | wc -l)" -ge 5 ]'
    local kept
    kept=$(pgrep -P "$runner_pid" -x cat)
    sed 's/one:/two:/' pipeline.yaml >next.yaml && mv next.yaml pipeline.yaml
    kill -HUP "$runner_pid"
    until_true grep -q 'event=reloaded' runner.log.err
    echo 'stages: {broken: 1}' >next.yaml && mv next.yaml pipeline.yaml
    kill -HUP "$runner_pid"
    until_true grep -q 'not reloaded' runner.log.err
    seq 51 100 | msend -t in
    drained keep change:mid
    assert_equal "$(pgrep -P "$runner_pid" -x cat)" "$kept"
    all_of out | cut -d: -f2 | sort -n | cmp - <(seq 100)
    all_of out | grep -q '^two:'
}

@test "told to stop, it lets commands finish, gives back what was not begun, and leaves" {
    start_pipeline <<'YAML'
topics: {in: {external: true}, out: {external: true}}
stages:
  stage: {from: in, shell: 'touch begun; while ! test -e go; do sleep 0.05; done; cat', mode: each, to: out}
YAML
    seq 3 | msend -t in
    until_true test -e begun
    kill "$runner_pid"
    until_true sh -c 'mrelay groups | grep -qE "stage +2 +1 "' # two are back, one is at work
    touch go
    wait "$runner_pid"
    run all_of out
    assert_output 1
    mrelay groups | grep -qE 'stage +2 +0 +0 +1 '
}

@test "what waited for longer than its lease in a runner that stood still is not begun, but given back" {
    local stage others=()
    start_relay -r default --lease 1s
    start_pipeline <<'YAML'
topics: {each: {external: true}, stream: {external: true}}
stages:
  each: {from: each, shell: '{ cat; echo; } >>each.begun; until [ -e go ]; do sleep 0.02; done'}
  stream:
    from: stream
    shell: 'while read -r line; do echo "$line" >>stream.begun; until [ -e go ]; do sleep 0.02; done; echo; done'
    mode: stream
YAML
    for stage in each stream; do
        seq 4 | msend -t "$stage"
    done
    until_true group_has 2 leased each each
    until_true group_has 2 leased stream stream
    until_true has_lines 1 each.begun
    until_true has_lines 1 stream.begun
    kill -STOP "$runner_pid"
    touch go
    for stage in each stream; do
        timeout 20 mrecv -t "$stage" -g "$stage" -n 4 >"$stage.other" &
        others+=("$!")
    done
    wait "${others[@]}"
    kill -CONT "$runner_pid"
    for stage in each stream; do
        msend -t "$stage" -d 5
    done
    drained each:each stream:stream
    for stage in each stream; do
        run cat "$stage.begun"
        assert_output $'1\n5'
    done
}
