# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# What pipelines can do: rows of msgpipe alone, from topic to topic, each stage's outputs stored and its input settled in
# one transaction, beside what the machine allows where a command is the limit. Sourced by tests/bench/run.

modes=$build_dir/tests/bench/modes

# Nanoseconds of processor time that a process has used, with all of its threads; the commands it started are not in it.
processor_time() { # PROCESS
  cat "/proc/$1"/task/*/schedstat 2>/dev/null | awk '{ used += $1 } END { printf "%.0f", used }'
}

# A pipeline of one stage from `input` to `bench`; its other keys are the lines on stdin.
one_stage() {
  printf '%s\n' 'name: bench' 'topics: {input: {external: true}, bench: {external: true}, other: {external: true}}' \
    'stages:' '  work:' '    from: input'
  sed 's/^/    /'
}

# Runs the stage on stdin over COUNT messages that wait already, from the start of its runner until all are settled.
# Leaves the times in $result and the microseconds a message that relay and runner computed in $relay_us and $runner_us.
through_stage() { # COUNT
  local before
  one_stage >"$work/stage.yaml"
  start_system msgpipe
  "$tools/msend" -r "$address" -t input -H 'type: line' <"$(lines_file "$1")" &&
    "$tools/mrelay" set group input work max_in_flight=0 -r "$address" 2>"$work/words" || return
  before=$(processor_time "$broker")
  "$tools/mrelay" run "$work/stage.yaml" --stages-only -r "$address" >"$work/stages" 2>&1 </dev/null &
  started[stages]=$!
  "$programs/measure" timed --address "$work/published" -- \
    "$tools/mrelay" wait -t input -g work -r "$address" --wait 2m || return
  relay_us=$(($(processor_time "$broker") - before))
  runner_us=$(processor_time "${started[stages]}")
  relay_us=$(awk -v n="$1" -v used="$relay_us" 'BEGIN { printf "%.3f", used / 1000 / n }')
  runner_us=$(awk -v n="$1" -v used="$runner_us" 'BEGIN { printf "%.3f", used / 1000 / n }')
  stop_process stages
  result=()
  read_result "$work/published"
}

# The same, then accounts for what came out, and enters it.
row_through() { # ROW COUNT, the stage on stdin
  local stage_rate
  through_stage "$2" || failed msgpipe "$1" || return
  stage_rate=$(rate "$2" "${result[begin]}" "${result[end]}")
  work_on ack "$2" && result=() && read_result "$work/consumed" || failed msgpipe "$1" || return
  record "$1" msgpipe rate "$stage_rate" "$2"
  record "$1" msgpipe relay_us "$relay_us" "$2"
  record "$1" msgpipe runner_us "$runner_us" "$2"
  stop_system msgpipe
}

# What `modes ROLE` says of the machine by itself.
bare_rate() { # ROLE COUNT [OPTION…]
  local role=$1 count=$2
  shift 2
  "$modes" "$role" --messages "$count" "$@" | sed -n 's/^[a-z]*: \([0-9]*\)\/s.*/\1/p'
}

row_batch() {
  row_through batch "$staged" <<<$'mode: batch\nbatch: 10000\ncommand: [cat]\nto: bench'
}

row_stream() {
  local bare
  bare=$(bare_rate pipe "$streamed")
  row_through stream "$streamed" <<<$'mode: stream\ncommand: ["'"$modes"$'", filter]\nto: bench' || return
  record stream msgpipe bare "$bare" "$streamed"
}

row_steps() {
  row_through steps "$staged" <<'TEXT'
steps:
  - where: {type: line}
  - set: {subject: "a %{type}"}
route:
  - {where: {subject: a word}, to: other}
  - {where: {subject: a line}, to: bench}
TEXT
}

# Processes drift with whatever else the machine does, so the bare ones are started before the stage's and after them.
row_each() {
  local cores before after each_rate
  cores=$(getconf _NPROCESSORS_ONLN)
  before=$(bare_rate spawn "$spawned" --connections "$cores")
  through_stage "$spawned" <<<$'command: [/bin/true]\nworkers: '"$cores" || failed msgpipe each || return
  each_rate=$(rate "$spawned" "${result[begin]}" "${result[end]}")
  record each msgpipe rate "$each_rate" "$spawned"
  record each msgpipe relay_us "$relay_us" "$spawned"
  record each msgpipe runner_us "$runner_us" "$spawned"
  stop_system msgpipe
  after=$(bare_rate spawn "$spawned" --connections "$cores")
  record each msgpipe bare "$(((before + after) / 2))" "$spawned"
  record each msgpipe share "$((200 * each_rate / (before + after)))" "$spawned"
}

large_pipeline() { # STAGES
  awk -v stages="$1" 'BEGIN {
    print "name: rest\ntopics:"
    for (i = 1; i <= 2 * stages; i++) printf "  t%d: {external: true}\n", i
    print "stages:"
    for (i = 1; i <= stages; i++) printf "  s%d: {from: t%d, command: [cat], to: t%d}\n", i, i, stages + i
  }'
}

# Memory and processor time of the three processes of a pipeline: its supervisor, its relay and its runner.
row_rest() {
  local file=$work/rest.yaml process processes kib all=0 before=0 after=0 i names=(supervisor relay runner)
  large_pipeline 200 >"$file"
  "$programs/measure" spawn --messages 20 -- "$tools/mrelay" check "$file" >"$work/checked" || failed msgpipe rest || return
  result=()
  read_result "$work/checked" && record rest msgpipe check_us "${result[p50_us]}" 20
  result=()
  "$tools/mrelay" run "$file" --store "$work/rest.db" >"$work/stages" 2>&1 </dev/null &
  started[stages]=$!
  "$tools/mrelay" status -r rest --wait 10s >"$work/words" 2>&1 || failed msgpipe rest || return
  sleep 3 # to rest: the first commits and the flushes after them are done
  # All of it has to be there, or little memory would be no news.
  [[ $("$tools/mrelay" topics -r rest | tail -n +2 | wc -l) == 400 &&
    $("$tools/mrelay" groups -r rest | tail -n +2 | wc -l) == 200 ]] || failed msgpipe rest || return
  # The supervisor starts the relay first: the lower number, as far as numbers do not begin anew.
  mapfile -t processes < <(echo "${started[stages]}" && pgrep -P "${started[stages]}" | sort -n)
  ((${#processes[@]} == 3)) || failed msgpipe rest || return
  for process in "${processes[@]}"; do ((before += $(processor_time "$process"))); done
  sleep 10
  for i in "${!processes[@]}"; do
    kib=$(ps -o rss= -p "${processes[i]}" | tr -d ' ')
    [[ -n $kib ]] || failed msgpipe rest || return
    ((all += kib, after += $(processor_time "${processes[i]}")))
    record rest msgpipe "${names[i]}_kib" "$kib"
  done
  record rest msgpipe rss_kib "$all"
  record rest msgpipe busy_ppm "$(((after - before) / 10000))"
  stop_process stages
  rm -rf "$work"/rest.*
}

measure_pipelines() {
  local row
  for row in batch stream each steps rest; do
    wants "$row" || continue
    [[ $row != rest || $run == 1 ]] || continue # it does not vary
    progress msgpipe "$row"
    "row_$row" || {
      stop_process stages
      stop_system msgpipe
    }
  done
}
