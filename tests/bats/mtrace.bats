#!/usr/bin/env bats
# mtrace: what became of messages.
#
# The scripts of the commands are in single quotes: their own shell expands them.
# shellcheck disable=SC2016,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    touch go # what waits for it
    tools_teardown
}

# shows TEXT ID...: `mtrace show` has a line with TEXT (a regular expression).
shows() {
    local text=$1
    shift
    run mtrace show "$@"
    assert_success
    assert_line --regexp "$text"
}

showing() {
    mtrace show "$1" | grep -q "$2"
}

# A pipeline whose stage fails once for 3, and rejects what is no number.
retry_pipeline() {
    cat >p.yaml <<'YAML'
name: default
topics:
  in: {external: true}
  in.dead: {external: true}
  middle: {}
  out: {external: true}
stages:
  first:
    from: in
    shell: |
      x=$(cat)
      case $x in *[!0-9]*) echo "'$x' is no number" >&2; exit 65 ;; esac
      [ "$x" != 3 ] || [ "$MSG_ATTEMPT" != 1 ] || { echo busy >&2; exit 75; }
      echo "$x"
    to: middle
    retry: {max_retries: 2, initial_interval: 20ms}
    dead_letter: in.dead
  second:
    from: middle
    command: [cat]
    to: out
YAML
    start p.log mrelay run p.yaml
    timeout 30 sh -c 'until mrelay groups --names 2>/dev/null | grep -q second; do sleep 0.05; done'
}

wait_for_stages() {
    mrelay wait -t in -g first --wait 30s
    mrelay wait -t middle -g second --wait 30s
}

@test "a message that went through a pipeline shows its stages, in one tree" {
    retry_pipeline
    msend -t in --id one -d 1
    wait_for_stages
    shows '^one  in@0$' one
    assert_line --regexp '^  first .* acked: waited .*, worked '
    assert_line --regexp '^└─ [0-9a-f]{32}  middle@0$'
    assert_line --regexp '^     second .* acked'
    assert_line --regexp '^   └─ [0-9a-f]{32}  out@0$'
    assert_line --regexp '^3 messages, '
    # From its end the same tree is found.
    assert_equal "$(mtrace show out@0 | sed -n 's/^.*@\([0-9]\).*/\1/p' | wc -l)" 3
    run mtrace show --json out@0
    assert_equal "$(jq -rc '[.topic, .offset, .parent.topic, .groups[0].state]' <<<"$output" | tr '\n' ' ')" \
        '["in",0,null,"acked"] ["middle",0,"in","acked"] ["out",0,"middle",null] '
}

@test "retries are shown with their errors, dead letters and replays below what they were" {
    retry_pipeline
    printf '3\nzwei\n' | msend -t in
    wait_for_stages
    shows '^  first .* acked after ' in@0
    assert_line --regexp '^    1\. waited .*, worked .*: failed: exit 75: busy$'
    assert_line --regexp '^    2\. waited .*, worked .*: acked$'
    shows '^  first .* dead, rejected after ' in@1
    assert_line --regexp "dead: exit 65: 'zwei' is no number\$"
    assert_line --regexp '^└─ .*  in.dead@0  dead letter$'
    assert_line --regexp '^ +waits for somebody to replay or discard it: mretry$'
    mretry replay -t in.dead --all
    wait_for_stages
    shows '  in@2  replay$' in@1
    assert_line --regexp '  in.dead@1  dead letter$'
    assert_line --regexp '^4 messages, '
}

@test "a message that waits says for what" {
    start_relay
    make_groups jobs work
    mrelay set group jobs work retry.initial_interval=50s retry.jitter=0 order=key
    msend -t jobs -k k -d one
    shows '^  work .* waiting [0-9]' jobs@0
    assert_line '    waits for a consumer: none takes messages of this group'
    start work.log mrecv -t jobs -g work --workers 2 -- sh -c 'until [ -e go ]; do sleep 0.05; done; echo no >&2; exit 3'
    timeout 30 bash -c 'until mtrace show jobs@0 | grep -q "working.*by mrecv"; do sleep 0.05; done'
    msend -t jobs -k k -d two
    shows '^    waits for the message of its key before it, jobs@0$' jobs@1
    assert_equal "$(mtrace show --json jobs@1 | jq -r '.groups[0].waits')" \
        'for the message of its key before it, jobs@0'
    touch go
    timeout 30 bash -c 'until mtrace show jobs@0 | grep -q "waits for its delay: tried again in [45]"; do sleep 0.05; done'
    shows ': failed: exit 3: no$' jobs@0
}

@test "what waits for a stage says what is wrong with that" {
    cat >p.yaml <<'YAML'
name: default
topics:
  in: {external: true}
  narrow: {external: true, max_messages: 1}
  fragile: {external: true}
stages:
  squeeze: {from: in, command: [cat], to: narrow}
  break:
    from: fragile
    shell: exit 1
    retry: {initial_interval: 10ms}
    circuit_breaker: {failures: 2, open: 60s}
YAML
    start p.log mrelay run p.yaml
    timeout 30 sh -c 'until mrelay groups --names 2>/dev/null | grep -q break; do sleep 0.05; done'
    make_groups narrow nobody
    seq 9 | msend -t in
    seq 9 | msend -t fragile
    timeout 30 bash -c 'until mtrace show in@8 | grep -q "waits for its stage, of which an output is full"; do sleep 0.1; done'
    timeout 30 bash -c 'until mtrace show fragile@8 | grep -q "waits for its stage, whose breaker is open"; do sleep 0.1; done'
}

@test "what is scheduled is found, and tells its time" {
    start_relay
    msend -t later --id early --delay 1h -d x
    shows '^early  later$' early
    assert_line --regexp '^  scheduled: it goes into its topic at .*, in (59m|1h)'
    shows '^early  later$' ear
}

@test "ids, their beginnings, places and keys" {
    start_relay
    msend -t t --id alpha-1 -k blue -d one
    msend -t t --id alpha-2 -k blue -d two
    id=$(msend -t t -d three --print-id)
    for name in "$id" "${id:0:20}" t@2; do
        shows "^$id  t@2\$" "$name"
    done
    shows '^alpha-2  t@1$' alpha-2
    run mtrace show alpha
    assert_failure 64
    assert_line 'mtrace: alpha is the beginning of several ids: write more of it'
    assert_line --regexp '^ +alpha-1  t@0, stored '
    assert_line --regexp '^ +alpha-2  t@1, stored '
    shows '^alpha-1  t@0$' --key blue
    assert_line 'alpha-2  t@1'
}

@test "what is not there says where it was looked for, and since when events are kept" {
    start_relay
    msend -t t -d one
    run mtrace show abcdef
    assert_failure 66
    assert_output --regexp '^mtrace: no message with the id abcdef: looked in the log of .*default.db, which has events since 20.*Z'
    run mtrace show t@7
    assert_failure 66
    assert_output 'mtrace: t has no message at offset 7 yet: the next one will be 1'
    run mtrace show u@7
    assert_failure 66
    assert_output --partial 'there is no topic u in '
    msend -t orders.new -d one
    run mtrace list -t orders.mew
    assert_failure 66
    assert_output 'mtrace: there is no topic orders.mew: did you mean orders.new?'
}

@test "a store is read when no relay runs, and what is no store is named" {
    start_relay
    msend -t t --id one -d 1
    kill "$relay_pid"
    wait "$relay_pid" || true
    run --separate-stderr mtrace show one
    assert_success
    assert_line 'one  t@0'
    assert_equal "$stderr" 'mtrace: relay default does not run: this is what its store has'
    run --separate-stderr mtrace show --store s/msgpipe/default.db one
    assert_success
    assert_equal "$stderr" ''
    echo 'no store at all, whatever its name may say' >x.db
    run mtrace show --store x.db one
    assert_failure 66
    assert_output --partial 'x.db: not a store'
    run mtrace list --store nothing.db
    assert_failure 66
    run mtrace show -r nobody one
    assert_failure 69
}

@test "list by state, failures, retries, time, group, attribute and key" {
    retry_pipeline
    printf '1\nzwei\n3\n' | msend -t in -k k -H 'colour: red'
    msend -t in -H 'colour: blue' -d 5
    wait_for_stages
    places() { mtrace list "$@" | cut -f 2 | sort | tr '\n' ' '; }
    assert_equal "$(places -t in -g first)" 'in@0 in@1 in@2 in@3 '
    assert_equal "$(places --failed)" 'in@1 in@2 '
    assert_equal "$(places --retried)" 'in@2 '
    assert_equal "$(places -s dead)" 'in@1 '
    assert_equal "$(places -s acked -g second)" 'middle@0 middle@1 middle@2 '
    assert_equal "$(places -s waiting)" 'in.dead@0 '
    assert_equal "$(places -t in -k k)" 'in@0 in@1 in@2 '
    assert_equal "$(places -t in -a 'colour=b*')" 'in@3 '
    assert_equal "$(places -t in --sort attempts -n 1)" 'in@2 '
    assert_equal "$(places -t in --slower 1h)" ''
    assert_equal "$(places -t in --until 1h)" ''
    assert_equal "$(places -t 'in.*' --since 1h)" 'in.dead@0 '
    assert_equal "$(mtrace list --failed --json | jq -r '.groups[0].attempts[0].error' | sort | tr '\n' ' ')" \
        "'zwei' is no number busy "
    run mtrace list -s deed
    assert_failure 64
    assert_output "mtrace: --state: 'deed' is none: did you mean dead?"
    wrong 'mtrace: -k and operands exclude each other: give ids, or a key' mtrace show --key k orders.new@0
}

@test "what messages and errors contain cannot write to the terminal" {
    start_relay
    make_groups t g
    msend -t t -k "$(printf 'a\xc2\xa0b')" -d x
    mrecv -t t -g g -e -- sh -c 'printf "\033[31mred\007" >&2; exit 65' 2>/dev/null || true
    run mtrace show t@0
    assert_line --partial 'exit 65: \x1b[31mred\x07'
    run mtrace list --failed
    assert_line --partial 'exit 65: \x1b[31mred\x07'
}
