#!/usr/bin/env bats
# mrelay: changing what a relay keeps: settings, groups, topics.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "the settings of a topic are shown with their defaults, and changed together or not at all" {
    start_relay
    mrelay set topic t max_messages=1000 overflow=reject
    run mrelay set topic t
    assert_success
    assert_line --index 0 --regexp '^SETTING +VALUE +DEFAULT$'
    assert_line --regexp '^max_messages +1000 +0$'
    assert_line --regexp '^overflow +reject +block$'
    run mrelay set topic t overflow=block max_messages=-1
    assert_failure 64
    assert_output --partial 'max_messages'
    run mrelay set topic t --json
    assert_output --partial '"max_messages":"1000","max_bytes":"0","overflow":"reject"'
    mrelay set topic t overflow= max_messages=
    run mrelay set topic t
    assert_line --regexp '^overflow +block +block$'
}

@test "settings of a group and of a pattern's group hold, also after the relay was killed" {
    start_relay
    msend -t a.one -d 1
    mrelay set group a.one g retry.max_retries=3
    mrelay set group 'a.*' p retry.backoff=linear dead_letter=a.bad 2>err
    assert_equal "$(cat err)" 'mrelay: group p on a.* was not there and has been made'
    end "$relay_pid" KILL
    start_relay
    run mrelay set group a.one g
    assert_line --regexp '^retry.max_retries +3 +20$'
    run mrelay set group 'a.*' p
    assert_line --regexp '^retry.backoff +linear +exponential$'
    run mrelay status
    assert_line --regexp '^a.one +g +retry.max_retries=3$'
    assert_line --regexp '^a.\* +p +dead_letter=a.bad$'
}

@test "keys, values and names that are wrong are told with what is right" {
    start_relay
    msend -t orders.new -d 1
    run mrelay set topic orders.new max_mesages=3
    assert_failure 64
    assert_output --partial 'did you mean max_messages?'
    run mrelay set topic orders.new overflow=dropold
    assert_failure 64
    assert_output --partial 'drop_oldest'
    run mrelay set group orders.new g retry.initial_interval=10s retry.max_interval=1s
    assert_failure 64
    assert_output --partial '10s'
    assert_output --partial '1s'
    run mrelay set group orders.new g rate=-5/s
    assert_failure 64
    run mrelay set topic orders.new max_messages
    assert_failure 64
    assert_output "mrelay: 'max_messages' is no setting: write KEY=VALUE, or KEY= for the default"
    run mrelay set topic orders.new max_messages=1 max_messages=2
    assert_failure 64
    run mrelay set topic orders.nwe
    assert_failure 66
    assert_output 'mrelay: there is no topic orders.nwe: did you mean orders.new?'
    run mrelay set topic orders.nwe max_messages=3
    assert_success
    assert_output 'mrelay: topic orders.nwe was not there and has been made (there is also orders.new)'
    run mrelay set topic 'orders.*' max_messages=3
    assert_failure 64
    run mrelay set topci x
    assert_failure 64
    assert_output "mrelay: there is no command 'set topci': did you mean set topic?"
    run mrelay set
    assert_failure 64
    run mrelay set group orders.new
    assert_failure 64
    assert_output --partial 'the group is missing'
}

@test "a dead-letter topic that is its own source is refused" {
    start_relay
    run mrelay set group t g dead_letter=t
    assert_failure 64
    assert_output --partial 'dead letters'
}

@test "a group is moved back and ahead" {
    start_relay
    mrelay set topic t retain.age=1h # what it has settled is still there
    seq 1 10 | msend -t t
    mrecv -t t -g g -n 10 >/dev/null
    mrelay groups seek t g --from 7
    assert_equal "$(mrecv -t t -g g -e)" $'8\n9\n10'
    mrelay groups seek -t t -g g --from -2
    assert_equal "$(mrecv -t t -g g -e)" $'9\n10'
    mrelay groups seek t g --from start
    mrelay groups seek t g --from new
    assert_equal "$(mrecv -t t -g g -e)" ''
    mrelay groups seek t g --from 1h
    end "$relay_pid" KILL
    start_relay
    assert_equal "$(mrecv -t t -g g -e | wc -l)" 10
    run mrelay groups seek t g
    assert_failure 64
    assert_output --partial 'where to?'
    run mrelay groups seek t g --from nowhere
    assert_failure 64
    run mrelay groups seek t gg --from start
    assert_failure 66
    assert_output 'mrelay: there is no group gg on t: did you mean g on t?'
}

@test "a group that is in use is deleted with --force only, and its consumer is told" {
    start_relay
    msend -t t -d 1
    start got mrecv -t t -g g -n 5
    until_true has_lines 1 got
    run mrelay groups delete t g
    assert_failure 75
    assert_output --partial 'in use'
    mrelay groups delete t g --force
    wait "$started_pid" && fail 'the consumer has ended well'
    assert_file_contains got.err 'group g on t has been deleted'
    run mrelay groups --names
    assert_output ''
    run mrelay groups delete t g
    assert_failure 66
}

@test "a group that nobody uses expires" {
    start_relay
    msend -t t -d 1
    mrelay set group t g expire=1s
    mrelay set group t other expire=1d
    gone() { [ "$(mrelay groups --json | jq -r '.groups[].group')" = other ]; }
    until_true gone
}

@test "a topic is purged: what is there goes, what comes stays" {
    start_relay
    seq 1 100 | msend -t t
    mrecv -t t -g g -n 10 >/dev/null
    run -0 --separate-stderr mrelay topics purge t --yes
    assert_equal "$output" ''
    assert_equal "$stderr" 'mrelay: topic t: 90 messages were dropped'
    msend -t t -d new
    assert_equal "$(mrecv -t t -e)" new
    assert_equal "$(mrecv -t t -g other -e)" new
    end "$relay_pid" KILL
    start_relay
    assert_equal "$(mrecv -t t -e)" new
    assert_equal "$(mrecv -t t -g g -e)" new
    assert_equal "$(mrecv -t t -e)" ''
}

@test "a topic is deleted with its groups, and its name is free" {
    start_relay
    seq 1 100 | msend -t t
    mrecv -t t -g g -n 10 >/dev/null
    mrelay topics delete t --yes
    run mrelay topics --names
    assert_output ''
    msend -t t -d again
    assert_equal "$(mrecv -t t -g g -e)" again
}

@test "purge and delete need --yes where nobody can be asked" {
    start_relay
    seq 1 100 | msend -t t
    run mrelay topics purge t </dev/null
    assert_failure 64
    assert_output 'mrelay: to drop the 100 messages of topic t, add --yes: there is no terminal to ask on'
    run mrelay topics delete t </dev/null
    assert_failure 64
    run mrelay topics delete </dev/null
    assert_failure 64
    assert_output 'mrelay: the topic is missing: mrelay topics delete TOPIC [--yes] [--force]'
    run mrelay topics delet t
    assert_failure 64
    assert_output "mrelay: there is no command 'topics delet': did you mean topics delete?"
    assert_equal "$(mrelay topics --names)" t
}

@test "purge asks on a terminal" {
    need_terminal
    start_relay
    seq 1 100 | msend -t t
    script -qec 'mrelay topics purge t' /dev/null <<<n >answer || true
    assert_file_contains answer 'drop the 100 messages of topic t? \[y/N\]'
    assert_file_contains answer 'nothing was done'
    run mrelay topics
    assert_line --regexp '^t +100 '
    script -qec 'mrelay topics purge t' /dev/null <<<y >answer
    run mrelay topics
    assert_line --regexp '^t +0 '
}

@test "deleting a group asks on a terminal, and where there is none it is done" {
    need_terminal
    start_relay
    make_groups t one two three
    script -qec 'mrelay groups delete t one' /dev/null <<<n >answer || true
    assert_file_contains answer 'delete group one on t? \[y/N\]'
    assert_file_contains answer 'nothing was done'
    assert_equal "$(mrelay groups --names | wc -l)" 3
    script -qec 'mrelay groups delete t one' /dev/null <<<y >answer
    script -qec 'mrelay groups delete t two --yes' /dev/null </dev/null >answer
    refute [ -s answer ]
    mrelay groups delete t three </dev/null
    assert_equal "$(mrelay groups --names)" ''
}

@test "names of groups are looked for where they may have been meant" {
    start_relay
    msend -t a.one -d 1
    mrecv -t 'a.*' -g g -n 1
    run mrelay wait -t a.one -g g
    assert_failure 66
    assert_output 'mrelay: there is no group g on a.one: did you mean g on a.*?'
    run mrelay wait -t 'a.*' -g gg
    assert_failure 66
    assert_output 'mrelay: there is no group gg on a.*: did you mean g on a.*?'
    run mrelay wait -t 'zzzzzz' -g bill
    assert_failure 66
    assert_output 'mrelay: there is no group bill on zzzzzz'
}
