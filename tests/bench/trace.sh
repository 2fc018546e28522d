# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# What tracing costs, and how fast it answers: rows of msgpipe alone. Sourced by tests/bench/run.

# traced_flow FILE [OPTION…]: sends FILE while a consumer takes it, with a relay that is given OPTIONs; leaves the rate in
# $flow_rate and the processor's time of the relay, microseconds a message, in $relay_us.
traced_flow() {
  local file=$1 count begin before
  count=$(wc -l <"$file")
  shift
  relay_options=("$@")
  start_system msgpipe
  relay_options=()
  before=$(processor_time "$broker")
  "$worker" consume --address "$address" --messages "$count" --variant ack >"$work/consumed" &
  started[consumer]=$!
  publish_lines msgpipe "$file" || return 1
  wait "${started[consumer]}"
  unset 'started[consumer]'
  result=()
  read_result "$work/published" && begin=${result[begin]}
  read_result "$work/consumed" || return 1
  flow_rate=$(rate "${result[messages]}" "$begin" "${result[end]}")
  relay_us=$(awk -v n="$count" -v ns="$(($(processor_time "$broker") - before))" 'BEGIN { printf "%.4f", ns / 1000 / n }')
  trace_bytes=$("$tools/mrelay" status --json -r "$address" | jq .event_bytes)
  stop_system msgpipe
}

# The same flow with traces and without, one after the other.
row_trace() {
  local file
  file=$(lines_file "$messages")
  traced_flow "$file" --no-trace || failed msgpipe trace || return
  record trace msgpipe plain "$flow_rate" "$messages"
  record trace msgpipe plain_us "$relay_us" "$messages"
  traced_flow "$file" || failed msgpipe trace || return
  record trace msgpipe rate "$flow_rate" "$messages"
  record trace msgpipe relay_us "$relay_us" "$messages"
  record trace msgpipe bytes "$(awk -v n="$messages" -v b="$trace_bytes" 'BEGIN { print b / n }')" "$messages"
}

# asked NAME COMMAND…: runs it on the store three times, and records the best, in milliseconds.
asked() {
  local name=$1 best='' took begin
  shift
  for _ in 1 2 3; do
    begin=${EPOCHREALTIME/./}
    "$@" --store "$broker_folder/store.db" >"$work/answer" 2>"$work/words" || failed msgpipe query || return
    took=$((${EPOCHREALTIME/./} - begin))
    [[ -n $best ]] && ((best <= took)) || best=$took
  done
  record query msgpipe "$name" "$((best / 1000))" "$backlog"
}

# A store with many messages, of which a part was taken, some failed, and some have ids and keys of their own.
row_query() {
  local part=$((backlog / 10))
  start_system msgpipe
  "$programs/measure" generate --messages "$((backlog - part))" |
    "$tools/msend" -r "$address" -t bench 2>"$work/words" || failed msgpipe query || return
  seq "$part" | sed 's/.*/{"specversion":"1.0","id":"id-&","source":"\/bench","type":"t","partitionkey":"key&","data":&}/' |
    "$tools/msend" -r "$address" -t bench --format json 2>"$work/words" || failed msgpipe query || return
  "$worker" consume --address "$address" --messages "$((backlog / 2))" --variant tenth >"$work/consumed" ||
    failed msgpipe query || return
  asked show_place_ms "$tools/mtrace" show "bench@$((backlog / 3))"
  asked show_id_ms "$tools/mtrace" show "id-$((part / 2))"
  asked list_failed_ms "$tools/mtrace" list --failed -n 20
  asked stats_ms "$tools/mtrace" stats
  asked graph_ms "$tools/mtrace" graph
  beside_flow
  stop_system msgpipe
}

# questions: asks them over and over, until it is ended.
questions() {
  while :; do
    "$tools/mtrace" show "bench@$((backlog / 3))" --store "$broker_folder/store.db"
    "$tools/mtrace" list --failed -n 20 --store "$broker_folder/store.db"
    "$tools/mtrace" stats --store "$broker_folder/store.db"
  done >"$work/answer" 2>"$work/words"
}

# What a flow costs the relay while questions are asked all the time, and while none are, in turns: the least of five, of the
# processor's time of the relay alone, since a question takes a core from everybody.
beside_flow() {
  local count=$((messages / 2)) file turn before asking took
  local -A used=()
  file=$(lines_file "$count")
  for turn in alone beside beside alone alone beside beside alone alone beside; do
    asking=''
    if [[ $turn == beside ]]; then
      set -m # a group of its own, so that what it runs ends with it
      questions &
      asking=$!
      set +m
    fi
    before=$(processor_time "$broker")
    publish_lines msgpipe "$file" || failed msgpipe query || return
    took=$(($(processor_time "$broker") - before))
    [[ -n ${used[$turn]-} ]] && ((used[$turn] <= took)) || used[$turn]=$took
    [[ -z $asking ]] || { kill -- "-$asking" && wait "$asking"; } 2>/dev/null
  done
  for turn in alone beside; do
    record query msgpipe "${turn}_us" "$(awk -v n="$count" -v ns="${used[$turn]}" 'BEGIN { printf "%.4f", ns / 1000 / n }')" "$count"
  done
}

# How many events a second `mtrace tail` reads: of messages that were taken one by one, so that each step is an event.
row_tail() {
  local begin events relay
  start_system msgpipe
  seq "$tailed" | "$tools/msend" -r "$address" -t bench 2>"$work/words" &&
    "$tools/mrecv" -r "$address" -t bench -g one --max-in-flight 1 -n "$tailed" -- true >"$work/received" 2>"$work/words" ||
    failed msgpipe tail || return
  relay=$(processor_time "$broker")
  begin=${EPOCHREALTIME/./}
  events=$("$tools/mtrace" tail --since 1h --until 0s --store "$broker_folder/store.db" | wc -l)
  record tail msgpipe rate "$((events * 1000000 / (${EPOCHREALTIME/./} - begin)))" "$events"
  record tail msgpipe relay_us "$((($(processor_time "$broker") - relay) / 1000))" "$events"
  stop_system msgpipe
}

measure_traces() {
  local row
  for row in trace query tail; do
    wants "$row" || continue
    progress msgpipe "$row"
    "row_$row" || stop_system msgpipe
  done
}
