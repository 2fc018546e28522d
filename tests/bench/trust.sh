# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# What delivery that can be trusted costs: rows of msgpipe alone, each beside the same work without it. Sourced by
# tests/bench/run.

worker=$build_dir/tests/bench/worker

# work VARIANT COUNT: consumes `bench` as group g; leaves the result in $work/consumed.
work_on() { # VARIANT COUNT
  "$worker" consume --address "$address" --messages "$2" --variant "$1" >"$work/consumed"
}

# flow VARIANT FILE: sends FILE while the worker consumes; leaves the rate in $flow_rate.
flow() { # VARIANT FILE
  local count begin
  count=$(wc -l <"$2")
  start_system msgpipe
  "$worker" consume --address "$address" --messages "$count" --variant "$1" >"$work/consumed" &
  started[consumer]=$!
  publish_lines msgpipe "$2" || return 1
  wait "${started[consumer]}"
  unset 'started[consumer]'
  result=()
  read_result "$work/published" && begin=${result[begin]}
  read_result "$work/consumed" || return 1
  flow_rate=$(rate "${result[messages]}" "$begin" "${result[end]}")
  stop_system msgpipe
}

row_retry() {
  local file
  file=$(lines_file "$trust_messages")
  flow ack "$file" || failed msgpipe retry || return
  record retry msgpipe plain "$flow_rate" "$trust_messages"
  flow tenth "$file" || failed msgpipe retry || return
  record retry msgpipe rate "$flow_rate" "$trust_messages"
}

row_order() {
  local file=$work/keyed.$trust_messages
  # 10,000 keys in no order, the same in each run.
  [[ -e $file ]] ||
    awk 'BEGIN { srand(1) } { printf "k%d\t%s\n", int(rand() * 10000), $0 }' "$(lines_file "$trust_messages")" >"$file"
  start_system msgpipe
  "$tools/mrelay" set group bench g order=key -r "$address" 2>"$work/words" &&
    "$tools/msend" -r "$address" -t bench -K $'\t' <"$file" && work_on ack "$trust_messages" ||
    failed msgpipe order || return
  result=()
  read_result "$work/consumed"
  record order msgpipe rate "$(rate "${result[messages]}" "${result[begin]}" "${result[end]}")" "$trust_messages"
  stop_system msgpipe
}

row_dedupe() {
  start_system msgpipe
  "$tools/mrelay" set topic bench dedupe.by=id dedupe.window=1h -r "$address" 2>"$work/words" &&
    "$programs/measure" generate --messages "$backlog" |
    "$programs/measure" timed --address "$work/published" -- "$tools/msend" -r "$address" -t bench ||
    failed msgpipe dedupe || return
  result=()
  read_result "$work/published" || return
  record dedupe msgpipe rate "$(rate "$backlog" "${result[begin]}" "${result[end]}")" "$backlog"
  record dedupe msgpipe rss_kib "$(broker_memory_kib)" "$backlog"
  stop_system msgpipe
}

# A million messages at 10,000 times within ten seconds, while others flow by at 200,000 a second.
row_schedule() {
  start_system msgpipe
  "$worker" schedule --address "$address" --messages "$scheduled" --window 100 --seconds 10 >"$work/scheduled" ||
    failed msgpipe schedule || return
  result=()
  read_result "$work/scheduled"
  record schedule msgpipe rate "$(rate "${result[messages]}" "${result[begin]}" "${result[end]}")" "$scheduled"
  record schedule msgpipe rss_kib "$(broker_memory_kib)" "$scheduled"
  "$programs/measure" generate --messages 4000000 |
    "$tools/msend" -r "$address" -t bench --rate 200000/s 2>"$work/words" &
  started[publisher]=$!
  "$worker" late --address "$address" --messages "$scheduled" >"$work/late" || failed msgpipe schedule || return
  result=()
  read_result "$work/late"
  record schedule msgpipe late_p50_us "${result[p50_us]}" "${result[messages]}"
  record schedule msgpipe late_p99_us "${result[p99_us]}" "${result[messages]}"
  record schedule msgpipe late_max_us "${result[max_us]}" "${result[messages]}"
  stop_process publisher
  stop_system msgpipe
}

row_replay() {
  start_system msgpipe
  "$tools/msend" -r "$address" -t bench <"$(lines_file "$letters")" && work_on dead "$letters" ||
    failed msgpipe replay || return
  "$programs/measure" timed --address "$work/published" -- \
    "$tools/mretry" replay -r "$address" -t bench.dead --all >"$work/words" 2>&1 || failed msgpipe replay || return
  result=()
  read_result "$work/published" || return
  record replay msgpipe rate "$(rate "$letters" "${result[begin]}" "${result[end]}")" "$letters"
  # All of them are there again, for this group.
  work_on ack "$letters" || failed msgpipe replay || return
  result=()
  read_result "$work/consumed"
  record replay msgpipe again "$(rate "${result[messages]}" "${result[begin]}" "${result[end]}")" "$letters"
  stop_system msgpipe
}

measure_trust() {
  local row
  for row in retry order dedupe schedule replay; do
    wants "$row" || continue
    progress msgpipe "$row"
    "row_$row" || stop_system msgpipe
  done
}
