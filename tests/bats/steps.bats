#!/usr/bin/env bats
# What stages do without a process: conditions, attributes, pieces and windows,
# from topic to topic.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# Starts the stages of a pipeline's file; the pid is in $stages_pid.
start_stages() {
    start stages.log mrelay run --stages-only -r steps "$1"
    stages_pid=$started_pid
}

# The lines that came of all windows, in order.
in_windows() {
    mrecv -r steps -t sums -e --template '%{body}' | sort -n
}

# stage_says STAGE WHAT: in the runner's report.
stage_says() {
    mrelay status -r steps --json | jq -r ".runners[].stages[] | select(.name == \"$1\") | $2"
}

# Whether so many messages have died.
letters() {
    [[ $(mrecv -r steps -t dead -e --template '%{id}\n' | wc -l) -ge $1 ]]
}

# Waits until the stages work and sum have done all.
all_done() {
    mrelay wait -r steps -t orders -g work --wait 20s
    mrelay wait -r steps -t pairs -g sum --wait 20s
}

# Whether so many lines came out.
came_out() {
    [[ $(in_windows | wc -l) -ge $1 ]]
}

@test "steps choose, dress, take apart and put together" {
    cat >pipeline.yaml <<'YAML'
name: steps
topics:
  orders: {external: true}
  items: {}
  large: {external: true}
  sums: {external: true}
stages:
  open:
    from: orders
    steps:
      - where: {type: order.*, /items: {exists: true}}
      - dedupe: {by: id, window: 1h}
      - set: {key: "%{/customer}", dataschema: v2}
      - set: {correlationid: "%{id}"}
      - rename: {region: area}
    route:
      - {where: {/total: {above: 100}}, to: large}
      - {to: items}
  sum:
    from: items
    steps:
      - aggregate: {by: key, count: 2, format: array}
      - set: {subject: "%{count} of %{key}"}
    to: sums
YAML
    start_relay -r steps
    start_stages pipeline.yaml
    msend -r steps -t orders --type order.new --id 1 -d '{"customer":"ada","total":7,"items":[1]}'
    msend -r steps -t orders --type order.new --id 2 -H 'region: eu' -d '{"customer":"bob","total":500,"items":[2]}'
    msend -r steps -t orders --type order.new --id 1 -d '{"customer":"ada","total":7,"items":[1]}'
    msend -r steps -t orders --type order.new --id 3 -d '{"customer":"ada","total":8}'
    msend -r steps -t orders --type bill.new --id 4 -d '{"customer":"ada","total":9,"items":[]}'
    msend -r steps -t orders --type order.old --id 5 -d '{"customer":"ada","total":10,"items":[3]}'
    run mrecv -r steps -t sums -n 1 --wait 20s --template '%{key} %{count} %{subject} %{body}\n'
    assert_success
    assert_output 'ada 2 2 of ada [{"customer":"ada","total":7,"items":[1]},{"customer":"ada","total":10,"items":[3]}]'
    run mrecv -r steps -t large -n 1 --wait 20s --template '%{id} %{key} %{dataschema} %{correlationid} %{area}%{region}|\n'
    assert_output '2 bob v2 2 eu|'
}

@test "dedupe remembers what is done, and forgets what is tried again or died behind it" {
    cat >pipeline.yaml <<'YAML'
name: steps
topics: {orders: {external: true}, pairs: {external: true}, dead: {external: true},
  sums: {external: true, max_messages: 1, overflow: reject}}
stages:
  work:
    from: orders
    steps:
      - dedupe: {by: id, window: 1h}
    shell: |
      echo "$MSG_ID $MSG_ATTEMPT" >>tried
      [ ! -e "refuse-$MSG_ID" ] || exit 65
      [ "$MSG_ID" != b ] || [ "$MSG_ATTEMPT" -gt 1 ]
    retry: {max_retries: 3, initial_interval: 1ms}
    dead_letter: dead
  sum:
    from: pairs
    steps:
      - dedupe: {by: id, window: 1h}
      - aggregate: {count: 2}
    to: sums
    dead_letter: dead
YAML
    local id
    start_relay -r steps
    mrelay set group sums keeper max_in_flight=0 -r steps
    msend -r steps -t sums -d $'0\n'
    start_stages pipeline.yaml
    : >refuse-a
    for id in a b; do msend -r steps -t orders --id "$id" -d x; done
    for id in 1 2; do msend -r steps -t pairs --id "$id" -d "$id"; done
    # a dies of its command, 1 and 2 of what came of them, and b fails once.
    until_true letters 3
    rm refuse-a
    mrelay set topic sums max_messages=1000 -r steps
    run -0 mretry replay -r steps -t dead --all
    all_done
    run sort tried
    assert_output $'a 1\na 1\nb 1\nb 2'
    run in_windows
    assert_output $'0\n1\n2'
    # What is done is remembered.
    for id in a b; do msend -r steps -t orders --id "$id" -d x; done
    for id in 1 2; do msend -r steps -t pairs --id "$id" -d "$id"; done
    all_done
    run sort tried
    assert_output $'a 1\na 1\nb 1\nb 2'
    run in_windows
    assert_output $'0\n1\n2'
    duplicates_are() { [[ $(stage_says work .steps.duplicates) == 2 && $(stage_says sum .steps.duplicates) == 2 ]]; }
    until_true duplicates_are
}

@test "what comes of a window fits into what the relay takes" {
    cat >pipeline.yaml <<'YAML'
name: steps
topics: {numbers: {external: true}, sums: {external: true}, dead: {external: true}}
stages:
  sum:
    from: numbers
    steps:
      - aggregate: {count: 5}
    to: sums
    dead_letter: dead
YAML
    # The runner is told by the relay alone how much it takes.
    start_relay -r steps --max-message 1000
    start_stages pipeline.yaml
    # Two of four hundred bytes fit, with a newline each, and three do not; a thousand have no room for the newline.
    for n in 1 2 3 4; do printf '%0400d\n' "$n"; done | msend -r steps -t numbers
    printf '%01000d\n' 5 | msend -r steps -t numbers
    until_true came_out 4
    run mrecv -r steps -t sums -e --template '%{count}\n'
    assert_output $'2\n2'
    until_true letters 1
    run mretry list -r steps -t dead
    assert_output --partial overflow
    assert_output --partial 'the body is longer than a message may be'
}

@test "each message is in one window, whatever is killed" {
    cat >pipeline.yaml <<'YAML'
name: steps
topics: {numbers: {external: true}, sums: {external: true}}
stages:
  sum:
    from: numbers
    steps:
      - aggregate: {by: key, count: 7, window: 200ms}
    to: sums
YAML
    local round
    start_relay -r steps --lease 3s
    start_stages pipeline.yaml
    for ((round = 0; round < 10; round++)); do
        seq $((round * 300 + 1)) $((round * 300 + 300)) | sed 's/.*\(.\)$/\1:&/' | msend -r steps -t numbers -K :
        if ((round % 4 == 3)); then
            end "$stages_pid" KILL
            start_stages pipeline.yaml
        fi
        end "$relay_pid" KILL
        start_relay -r steps --lease 3s
    done
    until_true came_out 3000
    in_windows >windows
    seq 3000 >sent
    assert_files_equal windows sent
    # Each has lines of its key alone, in order, as many as it says, and seven at most.
    mrecv -r steps -t sums -e --template 'window %{key} %{count}\n%{body}' >all
    run awk '$1 == "window" { if (left != 0) print "short"; key = $2; left = $3; last = 0; if (left > 7) print "long"; next }
        { left--; if ($1 % 10 != key) print "not of " key ": " $1; if ($1 <= last) print "order"; last = $1 }
        END { if (left != 0) print "short" }' all
    assert_output ''
}
