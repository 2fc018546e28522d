#!/usr/bin/env bats
# What topics feed outside: files, sockets and commands, with a real relay, and programs of others at the other ends.
#
# shellcheck disable=SC2154 # bats and tools.bash set what is read here

setup() {
    load tools
    tools_setup
    export MSGPIPE_RELAY=default
    runner_pid=
    disk=
}

teardown() {
    tools_teardown
    [[ -z $disk ]] || umount "$disk"
}

start_runner() {
    start runner.log mrelay run --stages-only --state state p.yaml
    runner_pid=$started_pid
}

end_runner() {
    end "$runner_pid" "${1-TERM}"
}

# pipeline: a relay with the topic `t`, and the runner of the sinks on stdin.
pipeline() {
    {
        printf 'name: default\ntopics:\n  t: {external: true}\n'
        cat
    } >p.yaml
    start_relay
    start_runner
    runs() { [[ -n $(mrelay status --json | jq -r '.runners[].stages[].name') ]]; }
    until_true runs
}

# Until the group of the sink has settled all.
settled() {
    mrelay wait -t t -g out --wait 20s
}

sink_says() {
    mrelay status --json | jq -r ".runners[].stages[] | select(.name == \"out\") | .$1"
}

is_paused_for() {
    [[ $(sink_says why) == *"$1"* ]]
}

# ---- files ------------------------------------------------------------------------------------------------------

@test "a file gets each message as a line, in the order of the topic" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt}
YAML
    seq 20000 | msend -t t
    settled
    diff out.txt <(seq 20000)
}

@test "a file in json keeps all of a message" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.ndjson, format: json}
YAML
    msend -t t -H 'type: note' -k 7 -d '{"a":1}'
    settled
    assert_equal "$(jq -c '[.type, .partitionkey, .data.a]' out.ndjson)" '["note","7",1]'
}

@test "a body with a newline is a dead letter, the lines beside it are written" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt}
YAML
    msend -t t -d one -d $'two\nlines' -d three
    settled
    assert_equal "$(cat out.txt)" $'one\nthree'
    run -0 mretry list -t t.dead
    assert_output --partial format
}

@test "a file is rotated by its size, and as many are kept as are wanted" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt, rotate: 1KiB, keep: 3}
YAML
    seq 1001 2000 | msend -t t
    settled
    assert_file_exist out.txt.3
    assert_file_not_exist out.txt.4
    local file
    for file in out.txt out.txt.1 out.txt.2 out.txt.3; do
        assert [ "$(stat -c %s "$file")" -le 1024 ]
    done
    # No line is in two files, and none is missing between them.
    cat out.txt.3 out.txt.2 out.txt.1 out.txt >all
    diff all <(seq "$(head -n 1 all)" 2000)
}

@test "a file that logrotate moves away is made anew" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt}
YAML
    msend -t t -d one
    settled
    mv out.txt out.txt-20260120
    msend -t t -d two
    settled
    cp out.txt out.txt-20260121
    : >out.txt
    msend -t t -d three
    settled
    assert_equal "$(cat out.txt-20260120 out.txt-20260121 out.txt)" $'one\ntwo\nthree'
}

@test "a last line that a crash tore is ended before the next is written" {
    printf 'one\ntw' >out.txt
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt}
YAML
    msend -t t -d three
    settled
    assert_equal "$(cat out.txt)" $'one\ntw\nthree'
    grep 'is ended' runner.log.err
}

@test "what was acknowledged is in the file, though the runner is killed again and again" {
    pipeline <<'YAML'
sinks:
  out: {from: t, file: out.txt, rotate: 64KiB}
YAML
    seq 200000 | msend -t t 3>&- &
    local sender=$!
    for _ in 1 2 3 4 5; do
        sleep 0.$((RANDOM % 2 + 1))
        end_runner KILL
        start_runner
    done
    wait "$sender"
    settled
    cat out.txt* | sort -nu >got
    diff got <(seq 200000)
}

@test "a full disk is waited for, and nothing is lost" {
    mkdir disk
    mount -t tmpfs -o size=256k,mode=700 msgpipe-test disk 2>/dev/null || skip "mounting needs root"
    disk=$PWD/disk
    pipeline <<'YAML'
sinks:
  out: {from: t, file: disk/out.txt}
YAML
    seq 100000 | msend -t t
    until_true is_paused_for "the disk is full"
    mount -o remount,size=4m "$disk"
    settled
    sort -nu disk/out.txt >got
    diff got <(seq 100000)
    run grep -vxE '[0-9]+' disk/out.txt
    assert_output ""
}

@test "a folder that is missing is told, and waited for" {
    mkdir later
    pipeline <<'YAML'
sinks:
  out: {from: t, file: later/out.txt}
YAML
    rmdir later
    msend -t t -d one
    until_true is_paused_for "later/out.txt"
    mkdir later
    settled
    assert_equal "$(cat later/out.txt)" one
}

# ---- sockets ----------------------------------------------------------------------------------------------------

# A pipeline whose sink is the socket PATTERN, which listens at $url.
listening() {
    url=ipc://$XDG_RUNTIME_DIR/s
    pipeline <<YAML
sinks:
  out: {from: t, $1: {listen: "$url"}}
YAML
}

@test "push: nothing is settled before somebody has taken it" {
    listening push
    msend -t t -d one -d two
    until_true is_paused_for "nobody is connected"
    assert_equal "$(mrelay groups --json | jq '.groups[] | select(.group == "out") | .acked // 0')" 0
    run -0 mrecv --dial "$url" -n 2
    assert_output $'one\ntwo'
    settled
}

@test "push: a program on nng takes its messages" {
    command -v nngcat >/dev/null || skip "nngcat is not installed"
    listening push
    start got nngcat --pull0 --dial "$url" --ascii
    msend -t t -d one -d two
    settled
    until_true grep -q two got
}

@test "push: what was not written when the runner ended goes out later" {
    listening push
    msend -t t -d one -d two
    until_true is_paused_for "nobody is connected"
    end_runner
    start_runner
    run -0 mrecv --dial "$url" -n 2
    assert_output $'one\ntwo'
    settled
}

@test "pub: who is connected gets it" {
    listening pub
    start got mrecv --dial "$url" --sub
    arrived() { msend -t t -d tick && [[ -s got ]]; }
    until_true arrived
    settled
    assert_equal "$(sort -u got)" tick
}

@test "req: a message is settled when its answer came" {
    command -v nngcat >/dev/null || skip "nngcat is not installed"
    listening req
    msend -t t -d question
    sleep 0.3
    run mrelay wait -t t -g out --wait 100ms
    assert_equal "$status" 124
    start got nngcat --rep0 --dial "$url" --data answer --ascii
    settled
    assert_equal "$(head -n 1 got)" question
}

@test "surveyor: answers are waited for as long as it says" {
    url=ipc://$XDG_RUNTIME_DIR/s
    pipeline <<YAML
sinks:
  out: {from: t, surveyor: {listen: "$url"}, timeout: 4s, retry: {initial_interval: 10ms}}
YAML
    # Each answer takes longer than the second that is waited for where nothing is said.
    start got mrecv --dial "$url" --respondent -- sh -c 'cat; sleep 1.3'
    msend -t t -d question
    settled
}

@test "a socket sends JSON objects where that is its format" {
    url=ipc://$XDG_RUNTIME_DIR/s
    pipeline <<YAML
sinks:
  out: {from: t, push: {listen: "$url"}, format: json}
YAML
    msend -t t --id one --type order.new -d text
    run -0 mrecv --dial "$url" -n 1
    assert_equal "$(jq -r '.id, .type, .data' <<<"$output")" $'one\norder.new\ntext'
    settled
}

@test "surveyor: without an answer a message is tried again" {
    url=ipc://$XDG_RUNTIME_DIR/s
    pipeline <<YAML
sinks:
  out: {from: t, surveyor: {listen: "$url"}, retry: {initial_interval: 100ms}}
YAML
    msend -t t -d question
    failed() { [[ $(sink_says failed) -gt 0 ]]; }
    until_true failed
    start got mrecv --dial "$url" --respondent -- cat
    settled
}

@test "pair and bus send to others" {
    local pattern
    for pattern in pair bus; do
        listening "$pattern"
        start "got.$pattern" mrecv --dial "$url" "--$pattern"
        arrived() { msend -t t -d "$pattern" && [[ -s got.$pattern ]]; }
        until_true arrived
        settled
        assert_equal "$(sort -u "got.$pattern")" "$pattern"
        end_runner
        end "$relay_pid"
    done
}

# ---- commands ---------------------------------------------------------------------------------------------------

@test "a command takes batches: rows into SQLite" {
    command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"
    sqlite3 rows.db 'create table rows (n integer primary key)'
    cat >load.sh <<'SH'
#!/bin/sh
{ echo 'begin;'; sed 's/.*/insert or ignore into rows values (&);/'; echo 'commit;'; } | sqlite3 -bail rows.db
SH
    chmod +x load.sh
    pipeline <<'YAML'
sinks:
  out: {from: t, mode: batch, shell: "./load.sh"}
YAML
    seq 3000 | msend -t t
    settled
    assert_equal "$(sqlite3 rows.db 'select count(*), min(n), max(n) from rows')" "3000|1|3000"
}

@test "a command that stays acknowledges each message by a line" {
    pipeline <<'YAML'
sinks:
  out: {from: t, mode: stream, shell: "while read -r line; do echo \"$line\" >>seen; echo; done"}
YAML
    seq 50 | msend -t t
    settled
    diff seen <(seq 50)
}
