#!/usr/bin/env bats
# The examples in pipelines/: `mtrace show` of an input lists exactly the stages and sinks that it went through, with
# what became of it in each, its attempts, and its dead letters.

setup() {
    load tools
    load "$MSGPIPE_SOURCE/share/bats/load"
    cd "$BATS_TEST_TMPDIR" || return
    cp "$MSGPIPE_SOURCE"/pipelines/*.yaml .
    mkdir -m 700 r s
    export XDG_RUNTIME_DIR=$PWD/r XDG_STATE_HOME=$PWD/s
}

teardown() {
    stop_relay
}

# went MESSAGE: where it and all that came of it went, in the order of the tree: topic, group, state, attempts.
went() {
    mtrace show "$@" --json |
        jq -r '.topic as $topic | .groups[] | "\($topic) \(.group) \(.state) \(.attempts | length)"'
}

# The same of a pipeline that has ended: its store is looked at.
went_once() {
    went -r "$@" 2>/dev/null
}

@test "quickstart" {
    start_pipeline quickstart.yaml
    send said --id m1 hello
    wait_until_drained
    assert_equal "$(went m1)" $'said shout acked 1\nshouted wall acked 1'
}

@test "work queue" {
    sed -i 's/7410/0/' work-queue.yaml
    start_pipeline work-queue.yaml
    send jobs --id m1 7
    wait_until_drained
    assert_equal "$(went m1)" 'jobs work acked 1'
}

@test "fan-out: each event goes to those who take it" {
    start_pipeline fan-out.yaml
    send shop.order.placed --id m1 '{"order": 7, "total": 12.5}'
    send shop.user.joined --id m2 '{"user": "ada"}'
    wait_until_drained
    assert_equal "$(went m1 | sort)" $'shop.order.placed audit acked 1\nshop.order.placed confirm acked 1\nshop.order.placed total acked 1'
    assert_equal "$(went m2 | sort)" $'shop.user.joined audit acked 1\nshop.user.joined welcome acked 1'
}

@test "request" {
    start_pipeline request.yaml
    send requests --id q1 -H "callback: $PWD/answer" '6 * 7'
    wait_until_drained
    assert_equal "$(went q1 | sort)" $'requests work acked 1\nworked call-back acked 1\nworked publish acked 1'
}

@test "peak shaving" {
    BURST=20 RATE=1000/s run -0 mrelay once peak-shaving.yaml
    assert_equal "$(went_once peak-shaving orders@3)" $'orders serve acked 1\nserved ledger acked 1'
}

@test "retry: each attempt is listed with its error, and what is hopeless as a dead letter" {
    start_pipeline retry.yaml
    send readings --id m1 1
    send readings --id m2 zwei
    send readings --id m3 3
    wait_until_drained
    assert_equal "$(went m1)" 'readings store acked 1'
    assert_equal "$(went m2)" $'readings store dead 1\nreadings.dead mretry waiting 0'
    assert_equal "$(went m3)" 'readings store acked 2'
    run -0 bash -c "mtrace show m3 --json | jq -r '.groups[]?.attempts[] | \"\(.outcome) \(.exit_code) \(.error // \"-\")\"'"
    assert_output $'retried 75 the service is busy\nacked 0 -'
    run -0 bash -c "mtrace show m2 | grep -c \"'zwei' is no number\""
}

@test "circuit breaker: failures are listed as attempts" {
    printf '#!/bin/sh\nexit 1\n' >service
    chmod +x service
    export SERVICE=$PWD/service
    start_pipeline circuit-breaker.yaml
    send orders --id m1 1
    seq 5 | send orders
    wait_until_drained
    run -0 went m1
    assert_line --regexp '^orders price acked [2-9]$'
    assert_equal "${#lines[@]}" 1
}

@test "versioning: each version goes its own way" {
    start_pipeline versioning.yaml
    send users --id m1 -H 'dataschema: v1' '{"name": "Ada Lovelace"}'
    send users --id m2 -H 'dataschema: v2' '{"first":"Grace","last":"Hopper"}'
    wait_until_drained
    assert_equal "$(went m1 | sort)" $'users lift acked 1\nusers pass acked 1\nusers.lifted label acked 1'
    assert_equal "$(went m2 | sort)" $'users lift acked 1\nusers pass acked 1'
}

@test "etl: a record is loaded, the heading is skipped, what is no record dies" {
    command -v sqlite3 >/dev/null || skip 'sqlite3 is not installed'
    printf '%s\n' name,born,town Ada,1815,London nonsense >people.csv
    run -65 mrelay once etl.yaml
    assert_equal "$(went_once etl csv@0)" 'csv transform acked 1'
    assert_equal "$(went_once etl csv@1)" $'csv transform acked 1\nrows load acked 1'
    assert_equal "$(went_once etl csv@2)" $'csv transform dead 1\ncsv.dead mretry waiting 0'
}

@test "orders: what cannot be paid goes all the way back" {
    start_pipeline orders.yaml
    send orders.placed --id o1 -k 1 '{"order": 1, "items": 2, "amount": 40}'
    send orders.placed --id o2 -k 2 '{"order": 2, "items": 2, "amount": 5000}'
    send orders.placed --id o3 -k 3 '{"order": 3, "items": 11, "amount": 1}'
    wait_until_drained
    assert_equal "$(went o1)" $'orders.placed reserve acked 1\nstock.reserved charge acked 1\npayment.received confirm acked 1'
    assert_equal "$(went o2)" $'orders.placed reserve acked 1\nstock.reserved charge acked 1\npayment.failed release acked 1\nstock.released cancel acked 1'
    assert_equal "$(went o3)" $'orders.placed reserve acked 1\nstock.refused cancel acked 1'
}

@test "weblog: hits go into a window, errors to their file, nonsense dies" {
    export WINDOW=500ms
    printf '10.0.0.9 - - [20/Nov/2026:17:00:00 +0000] "GET /%s HTTP/1.1" %d 12 "-" "-"\n' a 200 bad 500 >access.log
    echo nonsense >>access.log
    start_pipeline weblog.yaml
    until_true test -s top.txt
    until_true test -s errors.ndjson
    until_true bash -c 'mretry list -t web.lines.dead | grep unrouted'
    until_true bash -c 'mtrace show web.lines@1 | grep errors | grep acked'
    assert_equal "$(went web.lines@1)" $'web.lines parse acked 1\nweb.errors errors acked 1'
    assert_equal "$(went web.lines@2)" $'web.lines parse dead 1\nweb.lines.dead mretry waiting 0'
    until_true bash -c 'mtrace show web.minutes@0 | grep report | grep acked'
    # Of a window there are many causes: what it became is shown by itself.
    assert_equal "$(went web.lines@0)" $'web.lines parse acked 1\nweb.hits minute acked 1'
    assert_equal "$(went web.minutes@0)" $'web.minutes top acked 1\nweb.top report acked 1'
}
