#!/usr/bin/env bats
# What the end of a terminal means for who serves in it, and what SIGHUP means otherwise.
#
# shellcheck disable=SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    need_terminal
}

teardown() {
    tools_teardown
}

# Runs a shell's line in a terminal of its own. It is $started_pid that holds the terminal: its end closes it.
terminal() {
    start typescript script -qfec "$1" /dev/null
}

# Waits until the relay x serves; its pid is in $relay_pid.
until_it_serves() {
    relay_pid=$(mrelay status -r x --json --wait 30s | jq .pid)
    started+=("$relay_pid")
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

@test "a relay whose terminal is closed ends in order" {
    terminal 'mrelay -r x'
    until_it_serves
    msend -r x -t t -d hello
    end "$started_pid" KILL
    until_true gone "$relay_pid"
    assert_not_exist r/msgpipe/x.sock
    assert_not_exist s/msgpipe/x.db-wal
}

@test "so does one whose shell passes the signal on" {
    terminal "bash -c 'set -m; mrelay -r x; true'"
    until_it_serves
    end "$started_pid" KILL
    until_true gone "$relay_pid"
    assert_not_exist r/msgpipe/x.sock
}

@test "a pipeline whose terminal is closed ends in order" {
    cat >x.yaml <<'END'
name: x
topics: {said: {external: true}, shouted: {external: true}}
stages:
  shout: {from: said, command: [tr, a-z, A-Z], to: shouted}
END
    terminal 'mrelay run x.yaml 2>log'
    until_it_serves
    until_true grep -q event=running log
    local supervisor runner
    supervisor=$(mrelay status -r x --json | jq .pipeline.pid)
    runner=$(pgrep -P "$supervisor" -f -- --stages-only)
    started+=("$supervisor")
    end "$started_pid" KILL
    until_true gone "$supervisor"
    assert gone "$relay_pid"
    assert gone "$runner"
    assert_file_contains log 'event="its terminal has gone"'
    assert_file_contains log 'event=stopping'
    refute grep killed log
}

@test "while the terminal is there, SIGHUP asks to reload" {
    terminal 'mrelay -r x 2>log & mrelay status -r x --wait 30s; kill -HUP $!; wait'
    until_it_serves
    until_true grep -q 'SIGHUP: there is no configuration' log
    msend -r x -t t -d hello
    assert_equal "$(mrecv -r x -t t -e)" hello
}

@test "a relay that was left behind is told to reload by who comes from elsewhere" {
    terminal "bash -c 'set -m; mrelay -r x 2>log & disown; mrelay status -r x --wait 30s'"
    wait "$started_pid"
    until_it_serves
    kill -HUP "$relay_pid"
    until_true grep -q 'SIGHUP: there is no configuration' log
    msend -r x -t t -d hello
    refute grep terminal log
}

@test "nohup keeps a relay whose terminal is closed" {
    terminal 'nohup mrelay -r x >log 2>&1'
    until_it_serves
    end "$started_pid" KILL
    msend -r x -t t -d hello
    assert_equal "$(mrecv -r x -t t -e)" hello
}
