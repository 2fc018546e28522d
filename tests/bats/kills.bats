#!/usr/bin/env bats
# SIGKILL at random moments, under load, for the relay and its clients, with
# retries, dead letters, order by key, ids, times to live, delays and limits:
# every message is accounted for, and every dead letter is replayed once.
# MSGPIPE_KILLS says how many (the long form: 200).

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "killed at random moments, relay and clients do all that they promise" {
    run "$MSGPIPE_BUILD/tests/torture/kills" --kills "${MSGPIPE_KILLS:-40}" --tools "$MSGPIPE_BUILD/bin"
    assert_success
    assert_output --partial \
        '0 lost, 0 phantom, 0 altered, 0 duplicated, 0 reordered, 0 untimely, 0 charged, 0 overfull, 0 miscounted'
    echo "# ${lines[-2]}" >&3
    echo "# ${lines[-1]}" >&3
}
