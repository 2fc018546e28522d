#!/usr/bin/env bats
# mtrace export: what happened as spans, in files and to collectors.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    collector=$PWD/collector
    mkdir collector
}

teardown() {
    tools_teardown
}

# Starts a collector (at the port of the one before it) and waits until it
# listens; `answers MODE` says how it answers.
start_collector() {
    local port=0
    [[ ! -f collector/port ]] || port=$(cat collector/port)
    rm -f collector/port
    start collector.log "$MSGPIPE_BUILD/tests/collector/collector" "$collector" "$port"
    collector_pid=$started_pid
    until_true test -s collector/port
    url=http://127.0.0.1:$(cat collector/port)
}

answers() {
    echo "$1" >collector/mode.new
    mv collector/mode.new collector/mode
}

# spans FILTER...: the OTLP on stdin as an array of flat spans, and what jq makes of it.
flat='[.[].resourceSpans[] | .resource.attributes as $resource | .scopeSpans[].spans[]
    | . + {service: ($resource | from_entries_otlp | .["service.name"]), tags: (.attributes | from_entries_otlp)}]'
spans() {
    jq -s -c 'def from_entries_otlp: map({key: .key, value: (.value.stringValue // .value.intValue)}) | from_entries; '"$flat | $1" "${@:2}"
}

# What an orders pipeline did with one order that is paid, and one that is too dear.
run_orders() {
    cp "$MSGPIPE_SOURCE/pipelines/orders.yaml" .
    start run.log mrelay run orders.yaml
    until_true grep -q 'stages run' run.log.err
    msend -r orders -t orders.placed -k 1 -d '{"order": 1, "items": 2, "amount": 40}'
    msend -r orders -t orders.placed -k 2 --id order-2 -H 'correlationid: c-2' -d '{"order": 2, "items": 2, "amount": 5000}'
    mrecv -r orders -t orders.confirmed -n 1 --wait 20s >/dev/null
    mrecv -r orders -t orders.cancelled -n 1 --wait 20s >/dev/null
    mrelay wait -r orders -t orders.placed -g reserve --wait 10s
    mrelay wait -r orders -t stock.released -g cancel --wait 10s
}

@test "orders as OTLP: every field of every span" {
    run_orders
    mtrace export --otlp -r orders >otlp
    # A request a line, and nothing in it that the format does not have.
    jq -s -e 'all(.[]; keys == ["resourceSpans"] and all(.resourceSpans[];
            keys == ["resource", "scopeSpans"] and (.scopeSpans | length) == 1
            and .scopeSpans[0].scope.name == "msgpipe"
            and ([.resource.attributes[] | .key] == ["service.name", "service.namespace"])
            and .resource.attributes[1].value.stringValue == "orders"))' otlp
    spans 'all(.[];
        (.traceId | test("^[0-9a-f]{32}$")) and (.spanId | test("^[0-9a-f]{16}$"))
        and (.parentSpanId == null or (.parentSpanId | test("^[0-9a-f]{16}$")))
        and (.kind | type) == "number"
        and (.startTimeUnixNano | type == "string" and test("^[0-9]{19}$"))
        and (.endTimeUnixNano | type == "string" and test("^[0-9]{19}$"))
        and (.startTimeUnixNano | tonumber) <= (.endTimeUnixNano | tonumber)
        and (now - (.endTimeUnixNano | tonumber) / 1e9 | . > -2 and . < 60)
        and all(.attributes[]; (.value | keys) == ["stringValue"] or (.value | keys) == ["intValue"])
        and all(.attributes[].value; all(.[]; type == "string"))
        and .status == {}
        and .tags["messaging.system"] == "msgpipe"
        and (.name == .tags["messaging.operation.name"] + " " + .tags["messaging.destination.name"]))' <otlp | grep -qx true
    # Each id once, kinds and types as the conventions have them.
    spans 'map(.spanId) | length == (unique | length)' <otlp | grep -qx true
    run spans 'group_by(.tags["messaging.operation.name"])[] | [.[0].tags["messaging.operation.name"],
        (map(.kind) | unique), (map(.tags["messaging.operation.type"]) | unique), length]' <otlp
    assert_output '["ack",[3],["settle"],7]
["process",[5],["process"],7]
["publish",[4],["send"],9]
["receive",[3],["receive"],7]'
    # Consumers' spans have links to what published the message, in its trace, and no parents; publications of stages are
    # children of the attempt that made them.
    spans '(map(select(.kind == 4)) | map({(.spanId): .}) | add) as $published
        | (map(select(.kind == 5)) | map({(.spanId): .}) | add) as $processed
        | all(.[] | select(.kind != 4); .parentSpanId == null and (.links | length) == 1
            and .links[0].traceId == .traceId
            and $published[.links[0].spanId].tags["messaging.destination.name"] == .tags["messaging.destination.name"]
            and $published[.links[0].spanId].traceId == .traceId
            and .service == .tags["messaging.consumer.group.name"])
        and all(.[] | select(.kind == 4 and .service != "msend"); .links == null
            and $processed[.parentSpanId].traceId == .traceId
            and $processed[.parentSpanId].service == .service)
        and (map(select(.kind == 4 and .parentSpanId == null) | [.service, .name]) == [["msend", "publish orders.placed"], ["msend", "publish orders.placed"]])' <otlp |
        grep -qx true
    # Two traces: the way of each order.
    run spans 'group_by(.traceId)[] | map(select(.kind == 4)) | sort_by(.endTimeUnixNano | tonumber) | map(.tags["messaging.destination.name"]) | join(" ")' <otlp
    assert_line '"orders.placed stock.reserved payment.received orders.confirmed"'
    assert_line '"orders.placed stock.reserved payment.failed stock.released orders.cancelled"'
    # Ids: a message's own, or that of its origin, which is its trace; exit codes where a command ran.
    run spans 'map(select(.name == "process orders.placed")) | map([.tags["messaging.message.id"] == .traceId,
        .tags["messaging.message.id"] == "order-2", .tags["messaging.message.conversation_id"], .tags["process.exit.code"],
        .tags["messaging.msgpipe.delivery_attempt"], .tags["messaging.msgpipe.message.offset"]])[]' <otlp
    assert_line '[true,false,null,"0","1","0"]'
    assert_line '[false,true,"c-2","0","1","1"]'
    # What has no command has no exit code.
    run spans 'map(select(.service == "confirm" and .kind == 5) | .tags["process.exit.code"])' <otlp
    assert_output '[null]'

    # Again: the same, and by group and by trace what belongs to it alone.
    run mtrace export --otlp -r orders
    assert_output "$(cat otlp)"
    run spans 'map(.service) | unique' < <(mtrace export --otlp -r orders -g charge)
    assert_output '["charge"]'
    local trace
    trace=$(spans 'map(select(.tags["messaging.message.id"] == "order-2"))[0].traceId' <otlp | tr -d '"')
    run spans 'map(.traceId) | unique' < <(mtrace export --otlp -r orders --trace "$trace")
    assert_output "[\"$trace\"]"
}

@test "orders as Zipkin's JSON: every field of every span" {
    run_orders
    mtrace export --zipkin -r orders --to zipkin.json
    mtrace export --otlp -r orders >otlp
    jq -e 'type == "array" and length == 30 and all(.[];
        (keys - ["kind", "parentId"] == ["duration", "id", "localEndpoint", "name", "tags", "timestamp", "traceId"])
        and (.traceId | test("^[0-9a-f]{32}$")) and (.id | test("^[0-9a-f]{16}$"))
        and (.timestamp | . == floor and . > 1e15 and . < 1e16)
        and (.duration | . == floor and . >= 1)
        and (.kind | IN("CLIENT", "PRODUCER", "CONSUMER"))
        and all(.tags[]; type == "string")
        and .tags["service.namespace"] == "orders"
        and (.localEndpoint | keys == ["serviceName"]))' zipkin.json
    # The same spans; the parent of a consumer's is what OTLP links it to.
    diff <(jq -c 'sort_by(.id)[] | [.traceId, .id, .name, .parentId, .localEndpoint.serviceName, .timestamp]' zipkin.json) \
        <(spans 'sort_by(.spanId)[] | [.traceId, .spanId, .name, (.parentSpanId // .links[0].spanId), .service, (.startTimeUnixNano[:-3] | tonumber)]' <otlp)
}

@test "failures: each attempt is a span, with why; and the dead letter is a child of the last one" {
    start_relay
    msend -t x -d bad
    fail_once() {
        mrecv -t x -g g -n 1 --wait 10s --shell 'printf "no such \033[1mfile\n" >&2; exit 3' 2>/dev/null || true
    }
    fail_once
    mrelay set group x g retry.max_retries=1 dead_letter=x.dead
    fail_once
    group_has 1 dead x g
    mtrace export --otlp >otlp
    run spans 'map(select(.kind == 5 and .tags["error.type"])) | sort_by(.startTimeUnixNano)[]
        | [.name, .tags["error.type"], .tags["process.exit.code"], .tags["messaging.msgpipe.delivery_attempt"], .status]' <otlp
    assert_output '["process x","exit","3","1",{"code":2,"message":"no such \\x1B[1mfile"}]
["process x","retries","3","2",{"code":2,"message":"no such \\x1B[1mfile"}]'
    run spans '(map(select(.tags["error.type"] == "retries"))[0].spanId) as $last
        | map(select(.name == "publish x.dead"))[] | [.parentSpanId == $last, .service]' <otlp
    assert_output '[true,"g"]'
    run spans 'map(select(.tags["messaging.operation.type"] == "settle").name) | unique' <otlp
    assert_output '["dead x","retry x"]'
    # Zipkin's pages show an error by its tag.
    run jq -c 'map(select(.tags["error.type"] == "retries").tags.error)' < <(mtrace export --zipkin)
    assert_output '["no such \\x1B[1mfile"]'
}

@test "what a command sends is a child of the attempt that it ran in" {
    start_relay
    msend -t x -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -d one
    mrecv -t x -g g -n 1 --shell 'msend -t y'
    mtrace export --otlp >otlp
    run spans '(map(select(.kind == 5))[0].spanId) as $attempt | map(select(.kind == 4))[]
        | [.name, .traceId, .parentSpanId == "b7ad6b7169203331", .parentSpanId == $attempt]' <otlp
    assert_output '["publish x","0af7651916cd43dd8448eb211c80319c",true,false]
["publish y","0af7651916cd43dd8448eb211c80319c",false,true]'
}

@test "a delayed message was published by its sender, and that was over when the relay had taken it" {
    start_relay
    msend -t x --delay 2s -d later
    mrecv -t x -g g -n 1 --wait 10s >/dev/null
    run spans 'map(select(.kind == 4))[] | [.name, .service, ((.endTimeUnixNano[:-3] | tonumber) - (.startTimeUnixNano[:-3] | tonumber) < 150000)]' < <(mtrace export --otlp)
    assert_output '["publish x","msend",true]'
}

@test "of many messages that went together there is one span, with links to 64" {
    start_relay
    seq 1000 | msend -t x
    mrecv -t x -g g -n 1000 >/dev/null
    mtrace export --otlp >otlp
    spans 'all(.[]; .tags["messaging.batch.message_count"] != null or .tags["messaging.message.id"] != null)' <otlp |
        grep -qx true
    # The first line went alone: the rest while it was being flushed.
    run spans 'map(select(.kind == 4) | .tags["messaging.batch.message_count"] // "1" | tonumber) | add' <otlp
    assert_output 1000
    run spans 'map(select(.kind == 5) | .tags["messaging.batch.message_count"] // "1" | tonumber) | add' <otlp
    assert_output 1000
    run spans 'map(select(.kind == 5 and (.links | length) == 64))[0]
        | [(.tags["messaging.batch.message_count"] | tonumber) == .droppedLinksCount + 64, .links[0].traceId == .traceId]' <otlp
    assert_output '[true,true]'
}

@test "a collector that is away misses nothing, and is told of once" {
    start_relay
    msend -t x -d one
    answers away
    start_collector
    start export mtrace export --otlp --follow --to "$url" --position position
    exporter=$started_pid
    until_true test -s collector/asked
    msend -t x -d two
    # Then one that takes them and whose answer is lost, one that says nothing, none at all.
    answers lost
    until_true test -s collector/got
    assert_file_not_exist position
    end "$collector_pid" KILL
    answers ok
    start_collector
    until_true bash -c "cut -f2 collector/got | jq -s -e '[.[].resourceSpans[].scopeSpans[].spans[].attributes[] | select(.key == \"messaging.msgpipe.message.offset\").value.intValue] | index(\"1\")'"
    cut -f1 collector/got | sort -u | grep -qx /v1/traces
    until_true test -s position
    run cat export.err
    assert_line --index 0 --regexp "^mtrace: $url/v1/traces: 503 .*: trying again; nothing is left out meanwhile\$"
    assert_line --index 1 "mtrace: $url/v1/traces takes spans again"
    assert_equal "${#lines[@]}" 2
    end "$exporter" TERM
    assert_equal "$ended_code" 143
    # Gone on with, it sends what is new alone.
    : >collector/got
    msend -t x -d three
    start export mtrace export --otlp --follow --to "$url" --position position
    until_true test -s collector/got
    run spans 'map(.tags["messaging.msgpipe.message.offset"])' < <(cut -f2 collector/got)
    assert_output '["2"]'
    run cat export.err
    assert_output ''
}

@test "a collector that hangs is given up after its time; one that refuses, at once" {
    start_relay
    msend -t x -d one
    answers hang
    start_collector
    run -69 mtrace export --otlp --to "$url" --timeout 200ms
    assert_output "mtrace: $url/v1/traces: no answer in time"
    answers refuse
    run -1 mtrace export --zipkin --follow --to "$url" --position position
    assert_output "mtrace: $url/api/v2/spans: 400 Bad Request: it will not take these spans: is it the address of a collector for Zipkin's spans?"
    assert_file_not_exist position
    answers partial
    run -65 mtrace export --otlp --to "$url/other?x=1"
    assert_line --index 0 "mtrace: $url/other?x=1 rejects spans: too old"
    assert_line --index 1 'mtrace: 1 spans in all were rejected'
    cut -f1 collector/got | grep -qxF '/other?x=1'
    end "$collector_pid" TERM
    run -69 mtrace export --otlp --to "$url"
    assert_output "mtrace: $url/v1/traces: nobody listens there"
}

@test "followed into a file: a line that a kill has torn is taken off, positions of others are refused" {
    start_relay
    msend -t x -d one
    start export mtrace export --otlp -f --to spans --position position
    until_true test -s position
    end "$started_pid" KILL
    printf '{"resourceSpans":[{"torn' >>spans
    msend -t x -d two
    start export mtrace export --otlp -f --to spans --position position
    until_true has_lines 2 spans
    run spans 'map(.tags["messaging.msgpipe.message.offset"])' <spans
    assert_output '["0","1"]'
    end "$started_pid" TERM
    echo something >position
    run -64 mtrace export --otlp -f --to spans --position position
    assert_output 'mtrace: position: no position of an export: name another file, or remove it'
    echo '{"event":1000000,"from":0,"offset":0}' >position
    start export mtrace export --otlp -f --to other --position position
    until_true test -s other
    run cat export.err
    assert_output 'mtrace: position is of another store, or of a later state of this one: everything is exported from the beginning'
}

@test "what makes no sense is refused" {
    run -64 mtrace export
    assert_output --partial 'in which form? --otlp or --zipkin'
    run -64 mtrace export --otlp --zipkin
    run -64 mtrace export --otlp --follow --until 5m
    run -64 mtrace export --otlp -n 5
    start_relay
    run mtrace export --otlp --to https://host
    assert_failure
    assert_output --partial 'https://host: TLS is not spoken here: let a collector on this machine'
    run mtrace export --otlp --to ftp://host
    assert_failure
    assert_output --partial 'no URL: write http://HOST:PORT'
    run -0 mtrace export --zipkin
    assert_output '[]'
    run -0 mtrace export --otlp
    assert_output ''
}

@test "whatever is killed, each span comes once at least, and no id with two contents" {
    start_relay
    mrelay set topic x retain.age=1h
    start_collector
    # A first attempt fails now and then; the exporter is started again whenever it ends.
    exporting() {
        until [[ -f enough ]]; do
            mtrace export --otlp --follow --to "$url" --position position 2>>exporter.err &
            echo $! >exporter.pid.new && mv exporter.pid.new exporter.pid
            wait $! || true
        done
    }
    exporting 3>&- &
    started+=($!)
    consume() {
        until [[ -f enough ]]; do
            mrecv -t x -g g -n 15 --wait 5s --workers 2 --shell 'read -r n; test $((n % 7)) -ne 3 || test "$MSG_ATTEMPT" -gt 1' >/dev/null 2>&1 || true
        done
    }
    consume 3>&- &
    started+=($!)
    local round
    for round in 1 2 3 4 5 6; do
        seq $((round * 10)) $((round * 10 + 9)) | msend -t x --rate 60/s --wait 20s
        case $round in
        1 | 4) until_true test -s exporter.pid && kill -KILL "$(cat exporter.pid)" ;;
        2 | 5)
            end "$relay_pid" KILL
            start_relay
            ;;
        3)
            end "$collector_pid" KILL
            answers lost
            start_collector
            until_true test -s collector/got
            answers ok
            ;;
        esac
    done
    until_true group_has 60 acked x g
    mtrace export --otlp >whole
    until_true all_there
    touch enough
    kill "$(cat exporter.pid)"
    # No id with two contents.
    run spans 'group_by(.spanId) | map(select((unique | length) > 1)) | length' < <(cut -f2 collector/got)
    assert_output 0
}

# Whether every span of the whole has come to the collector.
all_there() {
    mtrace export --otlp >whole
    comm -23 <(spans 'map(.spanId)[]' <whole | sort -u) <(cut -f2 collector/got | spans 'map(.spanId)[]' | sort -u) >missing
    [[ ! -s missing && -s whole ]]
}

@test "what a moved group is given again has spans of its own, which its commands are told" {
    start_relay
    mrelay set topic t retain.age=1h
    msend -t t -d x
    for round in 1 2; do
        mrecv -t t -g g -n 1 -- sh -c 'echo "$TRACEPARENT"; msend -t made -d "$TRACEPARENT"' >>told
        mrelay groups seek t g --from 0
    done
    mtrace export --otlp -g g >otlp
    run -0 spans '[.[] | select(.tags["messaging.operation.name"] == "process") | "00-\(.traceId)-\(.spanId)-01"] | .[]' <otlp
    assert_equal "${output//\"/}" "$(cat told)"
    assert_equal "$(sort -u told | wc -l)" 2
    assert_equal "$(spans 'map(.spanId) | length - (unique | length)' <otlp)" 0
    assert_equal "$(mtrace show --json t@0 | jq -r .topic | sort | uniq -c | tr -s ' ')" $' 2 made\n 1 t'
}
