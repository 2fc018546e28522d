#!/usr/bin/env bats
# mrelay sandbox: a command with a relay of its own, of which nothing is left.

setup() {
    load tools
    tools_setup
    export TMPDIR=$BATS_TEST_TMPDIR
    ((${#TMPDIR} <= 40)) || TMPDIR=$(mktemp -d /tmp/sandbox.XXXXXX)
}

teardown() {
    tools_teardown
    [[ $TMPDIR == "$BATS_TEST_TMPDIR" ]] || rm -rf "$TMPDIR"
}

@test "the command has a relay, its exit code is passed on, and nothing is left" {
    run -7 mrelay sandbox -- bash -c 'seq 3 | msend -t a; mrecv -t a -e; exit 7'
    assert_output $'1\n2\n3'
    refute compgen -G "$TMPDIR/msgpipe-*"
}

@test "two at once do not meet" {
    start one mrelay sandbox -- bash -c 'echo 1 | msend -t a; mkfifo go; cat go; mrecv -t a -e'
    local first=$started_pid
    until_true test -p go
    run -0 mrelay sandbox -- bash -c 'echo 2 | msend -t a; mrecv -t a -e'
    assert_output 2
    : >go
    wait "$first"
    assert_equal "$(cat one)" 1
}

@test "a command that is not there is 127, one that cannot be run 126" {
    run -127 mrelay sandbox -- ./nothing
    touch plain
    run -126 mrelay sandbox -- ./plain
    run -64 mrelay sandbox
    run -64 mrelay status -- true
}

@test "a pipeline's file that is wrong is told once, with its code" {
    echo 'topcs: {}' >wrong.yaml
    run -78 mrelay sandbox wrong.yaml -- true
    assert_output --partial "did you mean 'topics'?"
    refute_output --partial "ended before"
    run -66 mrelay sandbox nothing.yaml -- true
}

@test "killed, it takes its relay with it" {
    start out mrelay sandbox -- bash -c 'echo "$MSGPIPE_RELAY" >url; exec sleep 60'
    until_true test -s url
    local path
    path=$(cat url)
    path=${path#ipc://}
    until_true mrelay status -r "$(cat url)"
    local sleeper
    sleeper=$(pgrep -P "$started_pid" sleep) && started+=("$sleeper")
    kill -KILL "$started_pid"
    until_true bash -c "! mrelay status -r '$(cat url)' --wait 0s"
    rm -rf "${path%/msgpipe/*}"
}
