#!/usr/bin/env bats
# The examples in pipelines/: each is checked, tested and run, as its comment tells people to.

setup() {
    load tools
    load "$MSGPIPE_SOURCE/share/bats/load"
    cd "$BATS_TEST_TMPDIR" || return
    cp "$MSGPIPE_SOURCE"/pipelines/*.yaml .
}

teardown() {
    stop_relay
}

# Whether a file has exactly so many lines.
has_just() {
    [[ -f $2 && $(wc -l <"$2") -eq $1 ]]
}

# Whether the pages that were counted in all windows together are these.
counted() {
    [[ $(awk '{ count[$2] += $1 } END { for (page in count) print page, count[page] }' top.txt | sort) == "$1" ]]
}

@test "every example checks without a word" {
    local file
    for file in *.yaml; do
        echo "$file"
        run -0 mrelay check "$file"
        assert_output ""
    done
}

@test "every example passes its tests" {
    local file
    for file in *.yaml; do
        echo "$file"
        run mrelay test --tap "$file"
        assert_success
        assert_output --partial "TAP version 14"
        refute_output --partial "not ok"
    done
}

@test "quickstart: what is said is shouted" {
    start_pipeline quickstart.yaml
    send said hello world
    wait_until_drained
    assert_no_dead_letters
    assert_equal "$(sort shouted.txt)" $'HELLO\nWORLD'
}

@test "work queue: each job is done once, by some worker" {
    sed -i 's/7410/0/' work-queue.yaml
    start_pipeline work-queue.yaml
    seq 20 | send jobs
    wait_until_drained
    run -0 receive_all results
    assert_equal "$(cut -d ' ' -f 4 <<<"$output" | sort -n)" "$(for i in $(seq 20); do echo $((i * i)); done)"
}

@test "fan-out: everybody gets each event, the audit gets all" {
    start_pipeline fan-out.yaml
    send shop.order.placed '{"order": 7, "total": 12.5}'
    send shop.user.joined '{"user": "ada"}'
    wait_until_drained
    assert_equal "$(receive_all mails | sort)" $'order 7 is on its way\nto ada: welcome!'
    assert_topic_has totals 12.5
    assert_equal "$(jq -r .msgpipetopic audit.ndjson | sort | tr '\n' ' ')" "shop.order.placed shop.user.joined "
}

@test "request: the answer comes by a callback, and is there for those who look" {
    start_pipeline request.yaml
    send requests --id q1 -H "callback: $PWD/answer" '6 * 7'
    send requests --id q2 '3 * 5'
    wait_until_drained
    assert_equal "$(cat answer)" 42
    run -0 bash -c "mrecv -t responses --from start -e --format json | jq -r 'select(.correlationid == \"q2\") | .data'"
    assert_output 15
    assert_no_dead_letters
}

@test "peak shaving: a burst of 100,000 waits, its source is slowed, and nothing is lost" {
    export RATE=40000/s
    start_pipeline peak-shaving.yaml
    # The topic is full, and the source stands.
    until_true bash -c "mrelay groups --json | jq -e '.groups[] | select(.group == \"serve\" and .waiting + .leased > 5000)'"
    run -0 mrelay status --json
    assert [ "$(jq '[.groups[] | select(.group == "serve") | .waiting + .leased] | add' <<<"$output")" -le 10000 ]
    until_true has_just 100000 served.txt
    assert_equal "$(sort -n served.txt | md5sum)" "$(seq 100000 | md5sum)"
    assert_no_dead_letters
}

@test "peak shaving: half a thousand a second, not more" {
    export BURST=2000
    local begin
    begin=$(date +%s%N)
    run -0 mrelay once peak-shaving.yaml
    assert [ $(($(date +%s%N) - begin)) -gt 3500000000 ]
    assert_equal "$(wc -l <served.txt)" 2000
}

@test "retry: what fails is tried again, what is hopeless is put aside with its reason" {
    start_pipeline retry.yaml
    printf '%s\n' 1 zwei 3 | send readings
    wait_until_drained
    assert_equal "$(receive_all stored | sort)" $'1\n3'
    run -0 mretry list -t readings.dead
    assert_output --partial rejected
    run -0 mretry show -t readings.dead
    assert_output --partial "'zwei' is no number"
}

@test "circuit breaker: a service that is down costs three attempts, and everybody gets a price" {
    cat >service <<'END'
#!/bin/sh
echo x >>"$CALLS"
exit 1
END
    chmod +x service
    export SERVICE=$PWD/service CALLS=$PWD/calls
    start_pipeline circuit-breaker.yaml
    seq 50 | send orders
    wait_until_drained
    assert_equal "$(receive_all prices | wc -l)" 50
    assert [ "$(wc -l <calls)" -lt 20 ]
    assert_no_dead_letters
}

@test "versioning: consumers of v2 see v1 and v2 alike" {
    start_pipeline versioning.yaml
    send users -H 'dataschema: v1' '{"name": "Ada Lovelace"}'
    send users -H 'dataschema: v2' '{"first":"Grace","last":"Hopper"}'
    wait_until_drained
    assert_equal "$(receive_all users.current | sort)" $'{"first":"Ada","last":"Lovelace"}\n{"first":"Grace","last":"Hopper"}'
}

@test "etl: a file goes into a database, what is no record is told" {
    printf '%s\n' name,born,town Ada,1815,London Grace,1906,'New York' nonsense >people.csv
    run -65 mrelay once etl.yaml
    assert_output --partial "1 message died"
    assert_equal "$(sqlite3 people.db 'select * from people order by name')" $'Ada|211|London\nGrace|120|New York'
}

@test "orders: what cannot be paid gives its stock back and is cancelled" {
    start_pipeline orders.yaml
    send orders.placed -k 1 '{"order": 1, "items": 2, "amount": 40}'
    send orders.placed -k 2 '{"order": 2, "items": 2, "amount": 5000}'
    send orders.placed -k 3 '{"order": 3, "items": 11, "amount": 1}'
    wait_until_drained
    assert_topic_has orders.confirmed '{"order":1,"items":2,"amount":40,"stock":"reserved","payment":"received"}'
    assert_equal "$(receive_all orders.cancelled | jq -r '"\(.order) \(.stock)"' | sort)" $'2 released\n3 refused'
    assert_no_dead_letters
}

@test "weblog: the busiest pages of a window, errors apart" {
    local i
    export WINDOW=500ms
    for i in $(seq 30); do
        printf '10.0.0.%d - - [20/Nov/2026:17:00:00 +0000] "GET /%d HTTP/1.1" 200 512 "-" "-"\n' "$i" $((i % 3))
    done >access.log
    printf '%s\n' '10.0.0.9 - - [20/Nov/2026:17:00:00 +0000] "GET /bad HTTP/1.1" 500 12 "-" "-"' nonsense >>access.log
    start_pipeline weblog.yaml
    # On a slow machine these are several windows.
    until_true counted $'/0 10\n/1 10\n/2 10'
    until_true has_just 1 errors.ndjson
    assert_equal "$(jq -r .path errors.ndjson)" /bad
    until_true bash -c 'mretry list -t web.lines.dead | grep unrouted'
}
