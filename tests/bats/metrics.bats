#!/usr/bin/env bats
# mrelay --http: metrics for Prometheus, and whether the relay is well.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables
# shellcheck disable=SC1083,SC2093 # `exec {name[i]}<>` opens a descriptor

load tools

setup() {
    tools_setup
    command -v curl >/dev/null || skip "no curl"
}

teardown() {
    tools_teardown
}

# Starts a relay with HTTP at a free port, and these options; $url is where.
start_watched() {
    start_relay --http 127.0.0.1:0 "$@"
    find_url
}

find_url() {
    url=$(mrelay status --json | grep -o '"http":"[^"]*"' | cut -d'"' -f4)
}

# get PATH [CURL-OPTION...]: the body; fails when that is no 2xx.
get() {
    local path=$1
    shift
    curl --silent --show-error --fail-with-body --max-time 60 "$@" "$url$path"
}

# sample NAME[{LABELS}]: its value in the file `metrics`, or else as it is now.
sample() {
    [ -e metrics ] || get /metrics >now
    awk -v name="$1" '$1 == name { print $2 }' "$([ -e metrics ] && echo metrics || echo now)"
}

sample_is() {
    [ "$(sample "$2")" = "$1" ]
}

# status CODE PATH [CURL-OPTION...]: that it is answered with that.
status() {
    local code=$1 path=$2
    shift 2
    assert_equal "$(curl --silent --max-time 60 --output body --write-out '%{http_code}' "$@" "$url$path")" "$code"
}

# What a flow leaves behind: acknowledged, waiting, dead, dropped, a pattern's group.
flow() {
    make_groups x g
    make_groups 'or.*' all
    mrelay set topic or.der max_messages=60 overflow=drop_oldest
    seq 100 | msend -t x
    mrecv -t x -g g -n 40 >/dev/null
    seq 100 | msend -t or.der
    mrelay set group x bad retry.max_retries=0
    seq 7 | msend -t x
    mrecv -t x -g bad -e -- false || true
}

@test "every line passes promtool, and says what mrelay status says" {
    command -v promtool >/dev/null || skip "no promtool (Debian: prometheus)"
    start_watched
    flow
    get /metrics >metrics
    run promtool check metrics <metrics
    assert_success
    assert_output ''
    assert_equal "$(sample 'msgpipe_topic_messages_published_total{topic="x"}')" 107
    assert_equal "$(sample 'msgpipe_topic_end_offset{topic="x"}')" 107
    assert_equal "$(sample 'msgpipe_group_messages_acked_total{topic="x",group="g"}')" "$(group_count acked x g)"
    assert_equal "$(sample 'msgpipe_group_waiting_messages{topic="x",group="g"}')" "$(group_count waiting x g)"
    assert_equal "$(sample 'msgpipe_group_messages_dead_total{topic="x",group="bad",reason="retries"}')" \
        "$(group_count dead x bad)"
    assert_equal "$(sample 'msgpipe_topic_messages_dropped_total{topic="or.der",reason="overflow"}')" 40
    local all='topic="or.der",group="all",pattern="or.*"'
    assert_equal "$(sample "msgpipe_group_messages_dropped_total{$all,reason=\"overflow\"}")" 40
    assert_equal "$(sample "msgpipe_group_waiting_messages{$all}")" 60
    assert_equal "$(sample 'msgpipe_group_waiting_seconds_count{topic="x",group="g"}')" 40
    assert_equal "$(sample 'msgpipe_group_working_seconds_bucket{topic="x",group="g",le="+Inf"}')" 40
    assert_equal "$(sample 'msgpipe_requests_total{type="publish"}')" 3
    assert_equal "$(mrelay status --json | grep -o '"published":[0-9]*' | head -1)" \
        "\"published\":$(awk '/^msgpipe_topic_messages_published_total/ && !/dead/ { n += $2 } END { print n }' metrics)"
}

@test "each family has its samples together, and none comes twice" {
    start_watched
    flow
    get /metrics >metrics
    run awk '/^# HELP/ { if (seen[$3]++) print "twice: " $3; family = $3; next }
        /^#/ { next }
        index($1, family) != 1 { print "elsewhere: " $0 }
        sample[$1]++ { print "again: " $0 }' metrics
    assert_output ''
    assert [ "$(grep -c '^# TYPE' metrics)" -gt 50 ]
}

@test "counters begin at 0 after a restart, and never go back before" {
    start_watched
    make_groups x g
    seq 50 | msend -t x
    mrecv -t x -g g -n 20 >/dev/null
    assert_equal "$(sample 'msgpipe_group_messages_acked_total{topic="x",group="g"}')" 20
    mrelay groups seek x g --from start
    assert_equal "$(sample 'msgpipe_group_messages_acked_total{topic="x",group="g"}')" 20
    end "$relay_pid"
    start_watched
    assert_equal "$(sample 'msgpipe_group_messages_acked_total{topic="x",group="g"}')" 0
    assert_equal "$(sample 'msgpipe_topic_messages_published_total{topic="x"}')" 0
    assert_equal "$(sample 'msgpipe_topic_end_offset{topic="x"}')" 50
}

@test "a Prometheus scrapes it, and answers queries" {
    command -v prometheus >/dev/null || skip "no prometheus"
    start_watched
    flow
    cat >prometheus.yml <<END
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs: [{job_name: msgpipe, static_configs: [{targets: ["${url#http://}"]}]}]
END
    start prometheus.log prometheus --config.file=prometheus.yml --storage.tsdb.path="$PWD/data" \
        --web.listen-address=127.0.0.1:0
    until_true grep -q 'msg="Listening on" address=' prometheus.log.err
    local at
    at=$(sed -n 's/.*msg="Listening on" address=//p' prometheus.log.err)
    until_true answers "$at" 'up{job="msgpipe"}' 1
    until_true answers "$at" 'msgpipe_group_messages_acked_total{topic="x",group="g"}' 40
    until_true answers "$at" 'sum(msgpipe_topic_messages_dropped_total{topic="or.der"})' 40
    until_true answers "$at" 'histogram_quantile(0.5, msgpipe_group_working_seconds_bucket{group="g"}) >= bool 0' 1
    mrecv -t x -g g -n 10 >/dev/null
    until_true answers "$at" 'msgpipe_group_messages_acked_total{topic="x",group="g"}' 50
}

# answers ADDRESS QUERY VALUE: Prometheus has one result, and it is that.
answers() {
    curl --silent --max-time 5 --get --data-urlencode "query=$2" "http://$1/api/v1/query" |
        grep -q '"value":\[[0-9.]*,"'"$3"'"\]'
}

@test "stages of a pipeline are counted, also when their runner dies" {
    cat >p.yaml <<'END'
name: p
relay: {http: 127.0.0.1:0}
topics: {a: {external: true}, b: {external: true}}
stages:
  up: {from: a, command: [tr, a-z, A-Z], to: b}
END
    start run.log mrelay run p.yaml
    mrelay status -r p --wait 30s >/dev/null
    export MSGPIPE_RELAY=p
    find_url
    local labels='pipeline="p",stage="up",kind="stage"'
    until_true sample_is 1 "msgpipe_stage_runners{$labels,state=\"running\"}"
    printf '%s\n' a b c | msend -t a
    until_true sample_is 3 "msgpipe_stage_messages_done_total{$labels}"
    assert_equal "$(sample "msgpipe_stage_messages_in_total{$labels}")" 3
    assert_equal "$(sample "msgpipe_stage_messages_out_total{$labels}")" 3
    assert_equal "$(sample "msgpipe_stage_command_seconds_count{$labels}")" 3
    assert_equal "$(sample 'msgpipe_topic_messages_published_total{topic="b"}')" 3
    kill -KILL "$(mrelay status --json | grep -o '"runner":"[^"]*"' | tail -1 | grep -o '[0-9]*"$' | tr -d '"')"
    printf '%s\n' d e | msend -t a
    until_true sample_is 5 "msgpipe_stage_messages_done_total{$labels}"
}

@test "health and readiness are told in a line" {
    start_watched
    run get /healthz
    assert_success
    assert_output ok
    run get /readyz
    assert_success
    assert_output ready
    run get /readyz --head
    assert_line --regexp '^HTTP/1.1 200 OK'
}

@test "what is not there is 404, what is not allowed 405, what is too much refused" {
    start_watched
    status 404 /
    status 404 /metrics/
    status 404 '/%2e%2e/etc/passwd'
    status 200 '/metrics?a=b'
    status 405 /metrics --request POST --data x
    status 405 /healthz --request DELETE
    status 501 /metrics --request NONSENSE
    run curl --silent --include --request PUT "$url/readyz"
    assert_line --regexp '^Allow: GET, HEAD'
    head -c 20000 /dev/zero | tr '\0' a >much
    status 413 /metrics --data @much
    status 400 /metrics --header "X: $(cat much)"
    status 200 /healthz
}

@test "silent and slow clients are thrown out; meanwhile the relay works, and others wait their turn" {
    start_watched
    local port=${url##*:} i
    local -a sockets
    for ((i = 0; i < 70; i++)); do
        exec {sockets[i]}<>"/dev/tcp/127.0.0.1/$port"
    done
    printf 'GET /metr' >&"${sockets[0]}"
    seq 10 | msend -t x
    assert_equal "$(mrelay topics --names)" x
    run get /healthz
    assert_output ok
    for ((i = 0; i < 70; i++)); do
        exec {sockets[i]}>&-
    done
    until_true sample_is 1 msgpipe_http_connections
}

@test "who reads no answer, or goes before it ends, harms nobody" {
    start_watched
    local port=${url##*:} i
    for ((i = 0; i < 300; i++)); do
        printf '{"verb":"x"}' | msend -t "t.$i"
        ((i % 10)) || mrecv -t "t.$i" -g "g" -e
    done
    for ((i = 0; i < 20; i++)); do
        get /metrics --max-time 0.00$i >/dev/null || true
        exec {socket}<>"/dev/tcp/127.0.0.1/$port"
        printf 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' >&"$socket"
        exec {socket}>&-
    done
    until_true sample_is 1 msgpipe_http_connections
    assert_equal "$(get /metrics | grep -c '^msgpipe_topic_messages{')" 300
    end "$relay_pid"
    assert_equal "$ended_code" 0
}

@test "a port that is taken is named, and so is what to do" {
    start_watched
    run mrelay -r other --http "${url#http://}"
    assert_failure 75
    assert_output "mrelay: --http: tcp://${url#http://}: another process listens there already: choose another port"
}

@test "addresses: a Unix socket, a port alone, and what makes no sense" {
    wrong "mrelay: --http: nonsense: HTTP is served at HOST:PORT, such as 127.0.0.1:9090, or unix:PATH" mrelay --http nonsense
    assert_not_exist "$XDG_STATE_HOME/msgpipe/default.db"
    start_relay --http "unix:$PWD/w.sock"
    assert_file_permission 600 w.sock
    run curl --silent --unix-socket w.sock http://localhost/readyz
    assert_output ready
    end "$relay_pid"
    assert_not_exist w.sock
    start_watched --http 0
    assert_regex "$url" '^http://127\.0\.0\.1:[0-9]+$'
    end "$relay_pid"
    start_relay --http 0.0.0.0:0
    run cat relay.log.err
    assert_line --partial 'level=warning event="HTTP is served to other machines, without encryption or a password"'
}

@test "without --http nothing listens, and nothing is measured" {
    start_relay
    run mrelay status --json
    assert_output --partial '"http":""'
}
