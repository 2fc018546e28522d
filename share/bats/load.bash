# What tests of pipelines need, for Bats: a relay or a pipeline in a place of its own, messages in and out, and
# assertions about topics. msgpipe-bats(7) is the manual.
#
#     setup() {
#         load /usr/share/msgpipe/bats/load
#         start_pipeline orders.yaml
#     }
#     teardown() { stop_relay; }
#
#     @test "an order that can be paid is confirmed" {
#         send orders.placed '{"order": 1, "items": 2, "amount": 40}'
#         wait_until_drained
#         assert_topic_has orders.confirmed '{"order":1,"items":2,"amount":40,"stock":"reserved"}'
#         assert_no_dead_letters
#     }
#
# Nothing here needs another library; with bats-assert loaded too, its functions and these go together.

# The name of the relay that a test starts, for all tools that it calls.
msgpipe_relay='test'

# Fails the test with these words.
msgpipe_fail() {
    printf '%s\n' "$@" >&2
    return 1
}

# A folder for sockets and stores. A socket's path may not be long, so it is not the test's own.
msgpipe_place() {
    [[ -z ${MSGPIPE_PLACE-} ]] || return 0
    MSGPIPE_PLACE=$(mktemp -d /tmp/msgpipe-bats.XXXXXX) || return
    export XDG_RUNTIME_DIR=$MSGPIPE_PLACE XDG_STATE_HOME=$MSGPIPE_PLACE MSGPIPE_RELAY=$msgpipe_relay
    unset TRACEPARENT TRACESTATE
}

# Starts mrelay with these arguments. Bats waits for whoever has its descriptors 3 and 4: they are closed.
msgpipe_start() {
    msgpipe_place || return
    [[ -z ${msgpipe_pid-} ]] || { msgpipe_fail "a relay runs already: stop_relay ends it"; return 1; }
    mrelay "$@" </dev/null >"$MSGPIPE_PLACE/log" 2>&1 3>&- 4>&- &
    msgpipe_pid=$!
}

# msgpipe_wait COMMAND...: until it succeeds, or the relay has ended, or ten seconds have passed.
msgpipe_wait() {
    local tries
    for ((tries = 0; tries < 500; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        kill -0 "$msgpipe_pid" 2>/dev/null || break
        sleep 0.02
    done
    msgpipe_fail "it does not serve:" "$(cat "$MSGPIPE_PLACE/log")"
    stop_relay
    return 1
}

# start_relay [OPTION...]: a relay without a pipeline. It serves when this returns.
start_relay() {
    msgpipe_start -r "$msgpipe_relay" "$@" && msgpipe_wait mrelay status --wait 2s
}

msgpipe_pipeline_runs() {
    mrelay status --json --wait 2s | grep -q '"state":"running"'
}

# start_pipeline FILE [OPTION...]: a relay and the pipeline in FILE; its stages run when this returns.
start_pipeline() {
    local file=$1
    shift
    [[ -f $file ]] || { msgpipe_fail "start_pipeline: there is no file $file"; return 1; }
    msgpipe_start run -r "$msgpipe_relay" "$@" "$file" && msgpipe_wait msgpipe_pipeline_runs
}

# Ends what was started, and removes its folder; nothing when nothing was. For teardown().
stop_relay() {
    if [[ -n ${msgpipe_pid-} ]]; then
        kill "$msgpipe_pid" 2>/dev/null
        wait "$msgpipe_pid" 2>/dev/null
        msgpipe_pid=
    fi
    if [[ -n ${MSGPIPE_PLACE-} ]]; then
        rm -rf "$MSGPIPE_PLACE"
        MSGPIPE_PLACE=
    fi
    return 0
}

# send TOPIC [BODY...]: a message for each BODY; without one a message for each line of stdin. Options of msend go
# behind the topic, before the bodies: send orders -k 7 '{"order":7}'
send() {
    local topic=$1 body options=() bodies=()
    shift
    while (($#)); do
        case $1 in
        --) shift; bodies+=("$@"); break ;;
        --*=*) options+=("$1") ;;
        -k | -H | -r | --key | --header | --id | --ttl | --delay | --at | --relay | --format)
            options+=("$1" "$2")
            shift
            ;;
        -?*) options+=("$1") ;;
        *) bodies+=("$1") ;;
        esac
        shift
    done
    if ((${#bodies[@]} == 0)); then
        msend -t "$topic" ${options[@]+"${options[@]}"}
        return
    fi
    for body in "${bodies[@]}"; do
        msend -t "$topic" ${options[@]+"${options[@]}"} -d "$body" || return
    done
}

# receive_all TOPIC [OPTION...]: prints the messages that are in a topic, a line each, and disturbs nobody. What every
# consumer has worked off is not there any more, unless the topic has `retain`.
receive_all() {
    local topic=$1
    shift
    [[ -n $(mrelay topics --names -t "$topic" 2>/dev/null) ]] || return 0 # nothing was ever sent there
    mrecv -t "$topic" --from start --exit-at-end "$@"
}

# assert_topic_has TOPIC BODY...: exactly these messages, in this order, are in the topic.
assert_topic_has() {
    local topic=$1 wanted got
    shift
    got=$(receive_all "$topic") || return
    wanted=$( (($# == 0)) || printf '%s\n' "$@")
    [[ $got == "$wanted" ]] && return 0
    msgpipe_fail "-- topic $topic is not as expected --" \
        "$(diff --label expected --label "$topic" -u <(printf '%s\n' "$wanted") <(printf '%s\n' "$got"))" --
}

# assert_no_dead_letters: nothing has died. What did is shown, with its reason.
assert_no_dead_letters() {
    local topic letters
    letters=$(
        for topic in $(mrelay topics --names); do
            if [[ $topic == *.dead ]]; then mretry list -t "$topic"; fi
        done
    )
    [[ -z $letters ]] || msgpipe_fail "-- messages have died --" "$letters" --
}

# wait_until_drained [SECONDS]: until nothing waits for any consumer, ten seconds at most. Dead letters may wait.
wait_until_drained() {
    local limit=${1-10} tries
    for ((tries = 0; tries < limit * 50; tries++)); do
        [[ -n $(mrelay groups | awk 'NR > 1 && $1 !~ /\.dead$/ && $3 + $4 + $5 > 0') ]] || return 0
        sleep 0.02
    done
    msgpipe_fail "-- after $limit seconds messages still wait --" "$(mrelay groups)" --
}
