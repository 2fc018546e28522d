#!/usr/bin/env bats
# Policies that make no sense, dead letters that would go in a circle, and letters that have nowhere to go.
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

refused() {
    local text=$1
    shift
    run --separate-stderr "$@" </dev/null
    assert_equal "$status" 64
    assert_equal "$output" ''
    assert_equal "$stderr" "$text"
}

@test "a longest wait below the first one is refused, with both values" {
    refused 'mretry: --max-interval (5.0 s) is below --initial-interval (1m 0s)' \
        mretry --initial-interval 1m --max-interval 5s -- cat
    refused 'mretry: --max-interval (1m 0s, the default) is below --initial-interval (2m 0s)' \
        mretry --initial-interval 2m -- cat
    start_relay
    refused 'mretry: --max-interval (5.0 s) is below --initial-interval (1m 0s)' \
        mretry -t jobs -g work --initial-interval 1m --max-interval 5s -- cat
    refused 'mrelay: retry.max_interval (5s) is below retry.initial_interval (1m)' \
        mrelay set group jobs work retry.initial_interval=1m retry.max_interval=5s
    mrelay set group jobs work retry.max_interval=5s 2>/dev/null
    refused 'mrelay: retry.max_interval (5s) is below retry.initial_interval (1m)' \
        mrelay set group jobs work retry.initial_interval=1m
    refused 'mrelay: retry.initial_interval is 0, which retry.backoff=exponential never makes longer: say retry.backoff=none to try again at once' \
        mrelay set group jobs work retry.initial_interval=0
}

@test "a rate that is negative or nothing is refused" {
    start_relay
    refused "mrelay: rate: '-5/s' is not a rate: write 500/s, 30/m or 7200/h" mrelay set topic jobs rate=-5/s
    refused "mrelay: rate: '0/s' is no possible rate: more than 0, and at most 1000000000/s" \
        mrelay set group jobs work rate=0/s
    refused "mretry: --rate: '-1/s' is not a rate: write 500/s, 30/m or 7200/h" \
        mretry replay -t jobs.dead --all --rate -1/s
    refused "msend: --rate: '0/s' is no possible rate: more than 0, and at most 1000000000/s" msend -t jobs --rate 0/s
    run mrelay topics --names
    assert_output ''
}

@test "a window of no time is refused, with what it is for" {
    refused 'mretry: --window is 0 but --dedupe is key: within no time nothing comes twice: say how long, as 1h' \
        mretry -K : --dedupe key --window 0 -- cat
    start_relay
    refused 'mrelay: dedupe.window is 0 but dedupe.by is id: within no time nothing comes twice: say how long, as dedupe.window=10m' \
        mrelay set topic jobs dedupe.by=id dedupe.window=0
    refused 'mrelay: dedupe.window is 5m but dedupe.by is none: say dedupe.by=id or dedupe.by=key, or leave out the window' \
        mrelay set topic jobs dedupe.window=5m
    refused 'mrelay: expire is 1ms: a group that is idle for less than 1s would go between two fetches' \
        mrelay set group jobs work expire=1ms
}

@test "dead letters cannot go to where they come from" {
    start_relay
    msend -t jobs.new -d 1
    refused 'mrelay: dead_letter: the dead letters of topic jobs.new cannot go to jobs.new itself: name another topic' \
        mrelay set group jobs.new work dead_letter=jobs.new
    refused 'mrelay: dead_letter: jobs.new is one of the topics of jobs.*, whose dead letters cannot go back there: name another topic' \
        mrelay set group 'jobs.*' work dead_letter=jobs.new
    refused 'mretry: dead_letter: the dead letters of topic jobs.new cannot go to jobs.new itself: name another topic' \
        mretry -t jobs.new -g work --dead-topic jobs.new -- false
    mrelay set group jobs.new work retry.max_retries=0 2>/dev/null
    mrecv -t jobs.new -g work -e -- false 2>/dev/null || assert_equal $? 65
    refused 'mrelay: dead_letter: topic jobs.new.dead holds dead letters, of which none are made again: leave out dead_letter=elsewhere' \
        mrelay set group jobs.new.dead mretry dead_letter=elsewhere
    run mrelay groups --names
    refute_output --partial elsewhere
}

@test "a letter whose topic is gone is told, and stays" {
    start_relay
    msend -t jobs -d 1
    mrelay set group jobs work retry.max_retries=0 2>/dev/null
    mrecv -t jobs -g work -e -- false 2>/dev/null || assert_equal $? 65
    mrelay topics delete jobs --yes --force
    for how in '' --canary '--rate 10/s'; do
        # shellcheck disable=SC2086 # none, one or two words
        run mretry replay -t jobs.dead --all $how
        assert_failure 65
        assert_line 'mretry: topic jobs is gone (--to TOPIC sends them to another): its letters stay where they are'
    done
    assert_equal "$(mretry list -t jobs.dead | wc -l)" 1
    mretry replay -t jobs.dead --all --to again
    run mrecv -t again -e
    assert_output 1
}
