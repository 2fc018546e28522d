#!/usr/bin/env bats
# mrelay check: what is wrong with a pipeline's file.
#
# shellcheck disable=SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "nothing is said of a good file" {
    cat >good.yaml <<'YAML'
topics: {in: {}, out: {external: true}}
stages: {copy: {from: in, command: [cat], to: out}}
YAML
    run --separate-stderr mrelay check good.yaml
    assert_success
    assert_output ''
    [[ -z $stderr ]]
}

@test "all mistakes are told in one run, with their lines and places, and the exit code is 78" {
    cat >bad.yaml <<'YAML'
topics:
  in: {ttl: 5x}
  out: {}
stages:
  work:
    form: in
    command: [no-such-command]
    to: uot
YAML
    run --separate-stderr mrelay check bad.yaml
    assert_failure 78
    assert_output ''
    [[ $stderr == *"bad.yaml:2:13: error: ttl: '5x' is not a duration"* ]]
    [[ $stderr == *"bad.yaml:6:5: error: unknown key 'form' in a stage: did you mean 'from'?"* ]]
    [[ $stderr == *"bad.yaml:7:15: error: no command 'no-such-command'"* ]]
    [[ $stderr == *"bad.yaml:8:9: error: to: no topic 'uot' is declared: did you mean 'out'?"* ]]
    [[ $stderr == *$'    to: uot\n            ^~~'* ]]
    [[ $stderr == *"mrelay: bad.yaml: 4 mistakes" ]]
}

@test "several files are checked; one that cannot be read is an input that is missing" {
    printf 'topics: {a: {external: true}}\n' >a.yaml
    printf 'topics: 5\n' >b.yaml
    run mrelay check a.yaml b.yaml
    assert_failure 78
    run mrelay check a.yaml nowhere.yaml b.yaml
    assert_failure 66
    assert_output --partial 'cannot read nowhere.yaml: No such file or directory'
    assert_output --partial 'b.yaml:1:9: error: topics is a mapping of names'
    run mrelay check - <a.yaml
    assert_success
    run mrelay check
    assert_failure 64
}

@test "there is no colour where nobody sees it" {
    printf 'topic: {}\n' >a.yaml
    run mrelay check a.yaml
    assert_failure 78
    refute_output --partial $'\033'
    assert_output --partial "unknown key 'topic' in a pipeline: did you mean 'topics'?"
}

@test "the schema that is shipped is the one of this program" {
    run --separate-stderr mrelay check --schema
    assert_success
    diff "$BATS_TEST_DIRNAME/../../pipelines/schema.json" - <<<"$output"
}

@test "mpipeline(5) has every key of the schema, with an example" {
    local page=$MSGPIPE_BUILD/man/mpipeline.5 key count=0
    [[ -f $page ]] || page=$BATS_TEST_DIRNAME/../../man/mpipeline.5
    while read -r key; do
        grep -qx "\.It Cm $key : No .*" "$page"
        grep -q "^$key: ." "$page"
        count=$((count + 1))
    done < <(mrelay check --schema | sed -n 's/^ *"\([a-z0-9_]*\)": .*"examples".*/\1/p' | sort -u)
    ((count > 60))
}

@test "the examples of mpipeline(5) are good" {
    local source=$BATS_TEST_DIRNAME/../../man/mpipeline.5.in
    sed -n '/^The smallest useful/,/^\.Ed/p' "$source" | sed '1,2d;$d' >smallest.yaml
    sed -n '/^One of everything/,/^\.Ed/p' "$source" | sed '1,2d;$d' >everything.yaml
    printf '#!/bin/sh\n' | tee price.sh >cached.sh
    chmod +x price.sh cached.sh
    run mrelay check smallest.yaml everything.yaml
    assert_success
    assert_output ''
}

@test "the README's pipeline is good, and does what its test says" {
    sed -n '/^    # shout.yaml/,/^        expect:/s/^    //p' "$BATS_TEST_DIRNAME/../../README.md" >shout.yaml
    run mrelay check shout.yaml
    assert_success
    assert_output ''
    run -0 mrelay test shout.yaml
    assert_output --partial "1 passed, 0 failed"
}
