#!/usr/bin/env bats
# share/bats/load.bash, the library for those who test pipelines: what it says when something is not as it should be.

setup() {
    load tools
    load "$MSGPIPE_SOURCE/share/bats/load"
    cd "$BATS_TEST_TMPDIR" || return
    bats_require_minimum_version 1.5.0
}

teardown() {
    stop_relay
}

@test "the example of its manual runs as it stands" {
    cp "$MSGPIPE_SOURCE/pipelines/quickstart.yaml" .
    {
        echo '#!/usr/bin/env bats'
        sed -n '/^A test of the quickstart/,$p' "$MSGPIPE_SOURCE/man/msgpipe-bats.7" | sed -n '/^\.Bd/,/^\.Ed/p' |
            sed -e '/^\.[BE]d/d' -e 's/\\en/\\n/g' -e "s|/usr/share/msgpipe/bats|$MSGPIPE_SOURCE/share/bats|"
    } >example.bats
    run -0 env -u BATS_TEST_FILTER -u BATS_RUN_TMPDIR bats example.bats
    assert_output --partial "ok 1 what is said is shouted"
}

@test "messages come out as they went in, and others are told with the difference" {
    start_relay
    send a one two
    printf '%s\n' three four | send a
    assert_topic_has a one two three four
    assert_topic_has empty
    run -1 assert_topic_has a one zwei three four
    assert_output --partial "-zwei"
    assert_output --partial "+two"
    run -1 assert_topic_has a one two three four five
    run -1 assert_topic_has empty something
}

@test "options go before bodies" {
    start_relay
    send a -k 7 --id=x1 -H 'color: red' seven
    assert_equal "$(receive_all a --template '%{key} %{id} %{color} %{body}\n')" "7 x1 red seven"
}

@test "dead letters are shown" {
    cat >die.yaml <<'END'
topics: {jobs: {external: true}}
stages: {work: {from: jobs, shell: 'echo "no such thing" >&2; exit 65'}}
END
    start_pipeline die.yaml
    assert_no_dead_letters
    send jobs one
    wait_until_drained
    run -1 assert_no_dead_letters
    assert_output --partial rejected
}

@test "what never ends is not waited for" {
    start_relay
    mrecv -t a -g g -e
    send a one
    run -1 wait_until_drained 1
    assert_output --partial "after 1 seconds messages still wait"
}

@test "a pipeline that cannot run says why, and nothing is left" {
    run -1 start_pipeline nothing.yaml
    assert_output --partial "there is no file nothing.yaml"
    echo 'topics: [' >wrong.yaml
    run -1 start_pipeline wrong.yaml
    assert_output --partial "wrong.yaml:2:1: error"
    start_relay
    run -1 start_relay
    assert_output --partial "runs already"
    local place=$MSGPIPE_PLACE
    assert [ -d "$place" ]
    stop_relay
    refute [ -d "$place" ]
}
