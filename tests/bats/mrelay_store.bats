#!/usr/bin/env bats
# mrelay backup and restore: copies of a store, and back.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "a backup that is made while messages flow has a beginning of them, whole" {
    start_relay
    seq 1 100000 | msend -t t
    mrecv -t t -g g -n 10 >/dev/null
    start sent bash -c 'seq 100001 600000 | msend -t t'
    mrelay backup copy.db
    assert_file_permission 600 copy.db
    mtrace audit --store copy.db
    mtrace audit
    wait "$started_pid"
    end "$relay_pid"
    start_relay -r copy --store "$PWD/copy.db"
    mrecv -r copy -t t -e >got
    local count
    count=$(wc -l <got)
    assert [ "$count" -ge 99990 ] # ten were settled, and are gone
    cmp got <(seq 11 "$((count + 10))")
    assert_equal "$(mrecv -r copy -t t -g g -n 1)" 11
}

@test "a backup is put back, and what was there is kept" {
    start_relay
    msend -t t -d one
    mrelay backup copy.db
    msend -t t -d two
    run mrelay restore copy.db --force
    assert_failure 75
    assert_output 'mrelay: relay default is running: end it first'
    end "$relay_pid"
    run mrelay restore copy.db
    assert_failure 64
    assert_output --partial -- '--force'
    mrelay restore copy.db --force
    start_relay
    assert_equal "$(mrecv -t t -e)" one
    msend -t t -d three
    assert_equal "$(mrecv -t t -e)" $'one\nthree'
    end "$relay_pid"
    start_relay -r old --store "$XDG_STATE_HOME/msgpipe/default.db.replaced"
    assert_equal "$(mrecv -r old -t t -e)" $'one\ntwo'
}

@test "a backup is restored where nothing was" {
    start_relay
    msend -t t -d one
    mrelay backup copy.db
    mrelay restore copy.db -r new
    start_relay -r new
    assert_equal "$(mrecv -r new -t t -e)" one
}

@test "the store of a relay with --store is found by asking it" {
    start_relay --store mine.db
    msend -t t -d one
    cd /
    mrelay backup "$BATS_TEST_TMPDIR/copy.db"
    cd - >/dev/null
    mrelay restore "$BATS_TEST_TMPDIR/copy.db" --store other.db
    assert_file_exist other.db
    assert_file_exist copy.db
    run mrelay restore copy.db --store mine.db --force
    assert_failure 75
}

@test "what cannot be backed up or restored is told, and nothing is changed" {
    run mrelay backup copy.db
    assert_failure 66
    assert_output --partial "$XDG_STATE_HOME/msgpipe/default.db"
    run mrelay backup
    assert_failure 64
    run mrelay restore nothing.db
    assert_failure 66
    start_relay
    seq 1 100000 | msend -t t
    mrelay backup copy.db
    end "$relay_pid"
    local at
    at=$(grep -abo 54321 copy.db | head -1)
    printf X | dd of=copy.db bs=1 seek="${at%%:*}" conv=notrunc status=none
    cp "$XDG_STATE_HOME/msgpipe/default.db" before.db
    run mrelay restore copy.db --force
    assert_failure 1
    assert_output --partial 'copy.db'
    cmp before.db "$XDG_STATE_HOME/msgpipe/default.db"
    echo text >text.db
    run mrelay restore text.db --force
    assert_failure 1
    cmp before.db "$XDG_STATE_HOME/msgpipe/default.db"
    assert_not_exist "$XDG_STATE_HOME/msgpipe/default.db.replaced"
}
