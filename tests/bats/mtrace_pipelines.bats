#!/usr/bin/env bats
# For every pipeline in pipelines/: `mtrace show` of an input lists the stages that it went through, and no others, with
# retries and dead letters where the example has them.
#
# shellcheck disable=SC2154 # Bats sets variables

setup() {
    load tools
    load "$MSGPIPE_SOURCE/share/bats/load"
    cd "$BATS_TEST_TMPDIR" || return
    cp "$MSGPIPE_SOURCE"/pipelines/*.yaml .
    mkdir -m 700 r s
    export XDG_RUNTIME_DIR=$PWD/r XDG_STATE_HOME=$PWD/s # also for what runs once, whose store is looked at
}

teardown() {
    stop_relay
}

# stations ID: what `mtrace show` lists, in the order of topics: topic, then the groups with states and attempts.
stations() {
    mtrace show --json "$@" | jq -r '.topic + ([.groups[] | select(.state != "not for it") |
        " \(.group):\(.state)\(if (.attempts | length) > 1 then "*\(.attempts | length)" else "" end)"] | sort | add // "")' |
        sort
}

# went STATIONS ID
went() {
    local expected=$1
    shift
    assert_equal "$(stations "$@")" "$expected"
}

@test "quickstart: a stage and a sink" {
    start_pipeline quickstart.yaml
    send said hello world
    wait_until_drained
    went $'said shout:acked\nshouted wall:acked' said@0
    went $'said shout:acked\nshouted wall:acked' shouted@1
}

@test "work queue: a stage" {
    sed -i 's/7410/0/' work-queue.yaml
    start_pipeline work-queue.yaml
    seq 20 | send jobs
    wait_until_drained
    went $'jobs work:acked\nresults' jobs@7
}

@test "fan-out: each stage that there is for an event, and the audit" {
    start_pipeline fan-out.yaml
    send shop.order.placed '{"order": 7, "total": 12.5}'
    send shop.user.joined '{"user": "ada"}'
    wait_until_drained
    went $'mails\nshop.order.placed audit:acked confirm:acked total:acked\ntotals' shop.order.placed@0
    went $'mails\nshop.user.joined audit:acked welcome:acked' shop.user.joined@0
}

@test "request: the work, the answer for those who look, and the callback" {
    start_pipeline request.yaml
    send requests --id q1 -H "callback: $PWD/answer" '6 * 7'
    wait_until_drained
    went $'requests work:acked\nresponses\nworked call-back:acked publish:acked' q1
}

@test "peak shaving: a source, a stage and a sink" {
    export BURST=200 RATE=1000/s
    run -0 mrelay once peak-shaving.yaml
    went $'orders serve:acked\nserved ledger:acked' -r peak-shaving orders@150
}

@test "retry: a second attempt, a dead letter" {
    start_pipeline retry.yaml
    printf '%s\n' 1 zwei 3 | send readings
    wait_until_drained
    went $'readings store:acked\nstored' readings@0
    went $'readings store:dead\nreadings.dead mretry:waiting' readings@1
    went $'readings store:acked*2\nstored' readings@2
    run -0 mtrace show readings@2
    assert_line --regexp '1\. .*: failed: exit 75: the service is busy$'
}

@test "circuit breaker: one stage, whatever became of its command" {
    printf '#!/bin/sh\nexit 1\n' >service
    chmod +x service
    export SERVICE=$PWD/service
    start_pipeline circuit-breaker.yaml
    seq 9 | send orders
    wait_until_drained
    for i in 0 4 8; do
        assert_equal "$(stations orders@$i | sed 's/\*.*//')" $'orders price:acked\nprices'
    done
    assert_equal "$(mtrace list -t orders --retried -n 100 | grep -c 'exit 1')" "$(mtrace list -t orders --failed -n 100 | wc -l)"
}

@test "versioning: what is old is lifted, what is new passes" {
    start_pipeline versioning.yaml
    send users -H 'dataschema: v1' '{"name": "Ada Lovelace"}'
    send users -H 'dataschema: v2' '{"first":"Grace","last":"Hopper"}'
    wait_until_drained
    went $'users lift:acked pass:acked\nusers.current\nusers.lifted label:acked' users@0
    went $'users lift:acked pass:acked\nusers.current' users@1
    went $'users lift:acked pass:acked\nusers.current' \
        "users.current@$(mtrace show --json users@1 | jq 'select(.topic == "users.current").offset')" # the other one may be first
}

@test "etl: from a file into a database, and what is no record to the dead letters" {
    printf '%s\n' name,born,town Ada,1815,London nonsense >people.csv
    run -65 mrelay once etl.yaml
    went 'csv transform:acked' -r etl csv@0
    went $'csv transform:acked\nrows load:acked' -r etl csv@1
    went $'csv transform:dead\ncsv.dead mretry:waiting' -r etl csv@2
}

@test "orders: paid, not paid, refused" {
    start_pipeline orders.yaml
    send orders.placed -k 1 '{"order": 1, "items": 2, "amount": 40}'
    send orders.placed -k 2 '{"order": 2, "items": 2, "amount": 5000}'
    send orders.placed -k 3 '{"order": 3, "items": 11, "amount": 1}'
    wait_until_drained
    went $'orders.confirmed\norders.placed reserve:acked\npayment.received confirm:acked\nstock.reserved charge:acked' orders.placed@0
    went $'orders.cancelled\norders.placed reserve:acked\npayment.failed release:acked\nstock.released cancel:acked\nstock.reserved charge:acked' orders.placed@1
    went $'orders.cancelled\norders.placed reserve:acked\nstock.refused cancel:acked' orders.placed@2
    # All that happened to one customer's order is found by its key.
    assert_equal "$(mtrace show --json --key 3 | jq -r .topic | sort -u)" $'orders.cancelled\norders.placed\nstock.refused'
}

@test "weblog: a line, through its windows, to the report; errors apart" {
    export WINDOW=300ms FOLLOW=false
    printf '%s\n' '10.0.0.1 - - [20/Nov/2026:17:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "-"' \
        '10.0.0.9 - - [20/Nov/2026:17:00:00 +0000] "GET /bad HTTP/1.1" 500 12 "-" "-"' nonsense >access.log
    start_pipeline weblog.yaml
    until_true grep -q . top.txt
    wait_until_drained
    went $'web.hits minute:acked\nweb.lines parse:acked\nweb.minutes top:acked\nweb.top report:acked' web.lines@0
    went $'web.errors errors:acked\nweb.lines parse:acked' web.lines@1
    # What came out of the window leads back to all that went into it, and to nothing else.
    went $'web.hits minute:acked\nweb.lines parse:acked\nweb.minutes top:acked\nweb.top report:acked' web.top@0
    went $'web.lines parse:dead\nweb.lines.dead mretry:waiting' web.lines@2
}

@test "an aggregate's output leads back to all that went into it, each input to it alone" {
    cat >sums.yaml <<'YAML'
name: sums
topics: {numbers: {external: true}, sums: {}, told: {external: true}}
stages:
  sum:
    from: numbers
    steps:
      - aggregate: {count: 3, window: 1h, format: lines}
    to: sums
  tell: {from: sums, command: [wc, -l], to: told}
YAML
    start_pipeline sums.yaml
    seq 3 | send numbers
    until_true mtrace show told@0
    seq 4 6 | send numbers
    until_true mtrace show told@1
    wait_until_drained
    went $'numbers sum:acked\nnumbers sum:acked\nnumbers sum:acked\nsums tell:acked\ntold' told@1
    assert_equal "$(mtrace show --json told@1 | jq -c 'select(.made_of) | [.topic, [.made_of[].offset]]')" '["sums",[3,4,5]]'
    run -0 mtrace show sums@0
    assert_line --partial 'made of 3 messages: numbers@0, numbers@1, numbers@2'
    went $'numbers sum:acked\nsums tell:acked\ntold' numbers@4
}
