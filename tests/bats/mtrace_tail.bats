#!/usr/bin/env bats
# mtrace tail: what happens, as it happens.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    start_relay
}

teardown() {
    tools_teardown
}

# Whether the file $1 has a line with $2 in it.
has() {
    grep -qF -- "$2" "$1"
}

@test "each step of a message is a line, when it happens" {
    start out mtrace tail
    # It begins with what comes after it: send until it has seen something.
    sent() {
        msend -t first -d x
        has out 'published first@'
    }
    until_true sent
    msend -t t -d hello
    mrecv -t t -g g -n 1 -- sh -c 'echo "no luck" >&2; exit 75' 2>/dev/null || true
    mrecv -t t -g g -n 1 --wait 30s >/dev/null
    until_true has out 'acked     t@0 → g with mrecv'
    run grep ' t@0' out
    assert_line --index 0 --regexp '^[0-9:.]+ published t@0 by msend [0-9]+$'
    assert_line --index 1 --regexp 'leased    t@0 → g with mrecv [0-9]+$'
    assert_line --index 2 --regexp 'retried   t@0 → g, attempt 1, exit 75, again in .* with mrecv [0-9]+: no luck$'
    assert_line --index 3 --regexp 'leased    t@0 → g, attempt 2 with mrecv'
    end "$started_pid"
    assert_equal "$ended_code" 143
}

@test "ranges are one line; filters and --count; what was before by --since" {
    seq 1000 | msend -t numbers
    msend -t other -k k1 -H 'region: eu' -d a
    msend -t other -k k2 -H 'region: us' -d b
    run mtrace tail --since 1h -t numbers -n 1
    assert_output --partial 'published numbers@0..999 (1000) by msend'
    run mtrace tail --since 1h --until 0s -k k2
    assert_line --regexp 'published other@1 by'
    refute_output --partial 'other@0'
    run mtrace tail --since 1h --until 0s -a 'region=e*' --body
    assert_output --partial 'published other@0 by'
    assert_line '  0 a'
    refute_output --partial 'other@1'
    run mtrace tail --since 1h --until 0s --kind acked
    assert_success
    assert_output ''
    run -66 mtrace tail -t numbrs
    assert_output --partial 'did you mean numbers?'
    run -64 mtrace tail --kind pubished
    run -64 mtrace tail --since yesterday
}

@test "JSON, an object a step" {
    msend -t t -d a
    mrecv -t t -g g -n 1 -- sh -c 'echo bad >&2; exit 65' || true
    run mtrace tail --since 1h --until 0s --json -t t
    assert_success
    jq -es 'map(.kind) == ["published", "leased", "dead"]' <<<"$output"
    jq -es '.[2] | .topic == "t" and .offset == 0 and .count == 1 and .group == "g" and .attempt == 1
        and .reason == "rejected" and .exit == 65 and .error == "bad" and (.client | startswith("mrecv "))
        and (.time | test("^20.*Z$"))' <<<"$output"
}

@test "what messages and commands say never reaches the terminal raw" {
    printf 'a\033[31mb' | msend -t t --format whole
    mrecv -t t -g g -n 1 -- printf '' >/dev/null
    msend -t u -d x
    mrecv -t u -g g -n 1 -- sh -c "printf '\\033]0;owned\\007' >&2; exit 65" 2>/dev/null || true
    mtrace tail --since 1h --until 0s --body >out
    has out '\x1b[31m'
    run grep -c $'\033' out
    assert_output 0
    has out 'owned'
}

@test "a reader that has gone ends it" {
    start count bash -c 'mtrace tail --since 1h | head -n 1'
    msend -t t -d a
    until_true has count published
    sent() {
        msend -t t -d b
        ! kill -0 "$started_pid" 2>/dev/null
    }
    until_true sent
}

@test "the store of a relay that does not run is read, and so is a copy" {
    msend -t t -d a
    mrelay backup copy.db
    end "$relay_pid"
    run --separate-stderr mtrace tail --since 1h --until 0s
    assert_output --partial 'published t@0'
    assert_equal "$stderr" 'mtrace: relay default does not run: this is what its store has'
    run mtrace tail --since 1h --until 0s --store copy.db
    assert_output --partial 'published t@0'
    run -66 mtrace tail --store nothing.db
}
