#!/usr/bin/env bats
# The trial of power cuts (tests/torture/power) goes red when flushes are left
# out, or replies come too early, and the trial of failing calls when a failure
# is not told. tests/bats/torture.bats has them green.

setup() {
    load tools
    tools_setup
}

teardown() {
    tools_teardown
}

# The same for the files that tools keep by themselves.
finds_in_files() {
    run "$MSGPIPE_BUILD/tests/torture/power_files" --only "$1" --lives 1 --images 40 --plant "$2"
    ((status != 77)) || skip "calls cannot be seen here"
    assert_failure 1
    assert_output --regexp "power_files: $1, seed [0-9]+, cut at step [0-9]+ of [0-9]+: "
    assert_output --partial "--plant $2"
}

# Whether it finds PLANT, and says what, and how to see it again.
finds() {
    run -1 "$MSGPIPE_BUILD/tests/torture/power" --lives 8 --images 40 --plant "$1"
    assert_output --regexp "power: seed [0-9]+, (cut|alive) at step [0-9]+ of [0-9]+: "
    assert_output --partial "--plant $1"
    assert_regex "${lines[-1]}" $'^row\tpower\t'
}

@test "a store that is not flushed is found" {
    finds no-flush
}

@test "a database that is not flushed at a checkpoint is found" {
    finds no-flush-of-database
}

@test "a log that is not flushed at a commit is found" {
    finds no-flush-of-log
}

@test "a log whose name is not flushed is found" {
    finds no-flush-of-directory
}

@test "SQLite's synchronous=OFF is found" {
    finds synchronous-off
}

@test "a reply before the commit is found" {
    finds reply-before-commit
}

@test "files of the tools that are not flushed are found" {
    finds_in_files spool no-flush
    finds_in_files letters no-flush
    finds_in_files seen no-flush
}

@test "files of the tools whose names are not flushed are found" {
    finds_in_files spool no-flush-of-directory
    finds_in_files letters no-flush-of-directory
    finds_in_files seen no-flush-of-directory
}

@test "a commit that fails and is told as done is found" {
    run -1 "$MSGPIPE_BUILD/tests/torture/failing" --only full --most 30 --plant
    assert_output --regexp "failing: seed [0-9]+, full [0-9]+: "
}

@test "what a spool may have taken when its flush failed is not removed" {
    run "$MSGPIPE_SOURCE/tests/torture/failing_tools" --tools "$MSGPIPE_BUILD/bin" --long --only spool --kind flush-for-ever
    ((status != 77)) || skip "nothing can be preloaded here"
    assert_success
}
