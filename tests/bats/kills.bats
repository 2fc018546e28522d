#!/usr/bin/env bats
# SIGKILL at random moments, under load, for the relay and its clients: every
# message is accounted for. MSGPIPE_KILLS says how many (the long form: 200).

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "killed at random moments, relay and clients lose, alter and reorder nothing" {
    run "$MSGPIPE_BUILD/tests/torture/kills" --kills "${MSGPIPE_KILLS:-15}" --tools "$MSGPIPE_BUILD/bin"
    assert_success
    assert_output --partial '0 lost, 0 phantom, 0 altered, 0 duplicated, 0 reordered'
    echo "# ${lines[-2]}" >&3
    echo "# ${lines[-1]}" >&3
}
