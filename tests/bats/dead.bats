#!/usr/bin/env bats
# Retries by a group's policy, dead letters, and consumers that die of a message.
#
# The scripts of the commands are in single quotes: their own shell expands them.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# letters TOPIC TEMPLATE: what its dead letters say, one a line.
letters() {
    mrecv -t "$1" -e --template "$2\n"
}

@test "a message that fails is tried as often as the policy says, then it is a dead letter" {
    start_relay
    mrelay set group orders bill retry.max_retries=2 retry.initial_interval=10ms retry.max_interval=10ms
    seq 3 | msend -t orders
    run mrecv -t orders -g bill -e -- sh -c \
        'read -r n; echo "$n $MSG_ATTEMPT" >>tries; [ "$n" != 2 ] || { echo "cannot: $n" >&2; exit 7; }'
    assert_equal "$status" 65
    assert_equal "$(sort tries | tr '\n' ',')" '1 1,2 1,2 2,2 3,3 1,'
    run letters orders.dead '%{deadtopic} %{deadgroup} %{deadoffset} %{deadreason} %{deadattempts} %{deadcode} %{deaderror} %{body}'
    assert_output 'orders bill 1 retries 3 7 cannot: 2 2'
}

@test "what is rejected is a dead letter at once, with its identity" {
    start_relay
    msend -t x --id first -H 'colour: red' -d body
    mrecv -t x -g g -n 1 -- sh -c 'exit 65' || assert_equal "$?" 65
    run letters x.dead '%{id} %{colour} %{deadreason} %{deadattempts} %{body}'
    assert_output 'first red rejected 1 body'
}

@test "dead letters outlive a relay that is killed" {
    start_relay
    seq 100 | msend -t x
    mrecv -t x -g g -e -- sh -c 'exit 65' || assert_equal "$?" 65
    end "$relay_pid" KILL || true
    start_relay
    assert_equal "$(letters x.dead '%{deadoffset}' | sort -n | tr '\n' ',')" "$(seq 0 99 | tr '\n' ',')"
    run mrelay groups --json
    assert_output --partial '"topic":"x.dead","group":"mretry"'
}

@test "letters go to the topic that the group names, which no pattern matches" {
    start_relay
    mrelay set group 'a.*' g dead_letter=a.bad
    make_groups 'a.*' others
    msend -t a.1 -d one
    msend -t a.2 -d two
    mrecv -t 'a.*' -g g -n 2 -- sh -c 'exit 65' || assert_equal "$?" 65
    assert_equal "$(letters a.bad '%{deadtopic}' | sort | tr '\n' ',')" 'a.1,a.2,'
    assert_equal "$(mrecv -t 'a.*' -e | sort | tr '\n' ',')" 'one,two,'
    assert_equal "$(mrecv -t 'a.*' -g others -e | sort | tr '\n' ',')" 'one,two,'
}

@test "policies that make no sense are refused, with both values" {
    start_relay
    msend -t x -d one
    run mrelay set group x g retry.initial_interval=2m retry.max_interval=1m
    assert_failure
    assert_output --partial 'retry.max_interval (1m) is below retry.initial_interval (2m)'
    run mrelay set group x g dead_letter=x
    assert_failure
    assert_output --partial 'the dead letters of topic x cannot go to x itself'
    run mrelay set group x g retry.max_retris=1
    assert_failure
    assert_output --partial 'did you mean retry.max_retries?'
}

# One of twelve messages kills mrecv itself, each time.
@test "a message that kills its consumer ends as a dead letter, and its neighbours do not" {
    start_relay --lease 1s
    mrelay set group x g retry.max_retries=1
    seq 12 | msend -t x
    until mrelay wait -t x -g g --wait 0; do
        mrecv -t x -g g -e --workers 4 -- sh -c 'read -r n; [ "$n" != 5 ] || kill -9 "$PPID"; echo "$n" >>finished' || true
    done
    run letters x.dead '%{body} %{deadreason} %{deadattempts}'
    assert_output '5 retries 2'
    assert_equal "$(sort -nu finished | tr '\n' ',')" "$(seq 12 | tr '\n' ',')"
}
