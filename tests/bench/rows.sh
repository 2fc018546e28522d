# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# The measurements, a function a row. Each works on the broker that runs, and enters what it found with `record`.
# Sourced by tests/bench/run.

all_rows=(publish consume end-to-end one-at-a-time start memory direct retry order dedupe schedule replay
  batch stream each steps rest
  trace query tail)

declare -A result=() # the words of the newest result line

# Reads `result key=value …` from FILE into $result, on top of what is there.
read_result() { # FILE
  local line word
  line=$(grep '^result ' "$1") || return 1
  for word in ${line#result }; do
    result[${word%%=*}]=${word#*=}
  done
}

rate() { # MESSAGES BEGIN END
  awk -v n="$1" -v begin="$2" -v end="$3" 'BEGIN { printf "%.0f", n / ((end - begin) / 1e9) }'
}

# record ROW SYSTEM METRIC VALUE [MESSAGES]
record() {
  printf '%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n' "$run" "$1" "$2" "$3" "$4" "${5-}" \
    "${result[missing]-}" "${result[duplicated]-}" "${result[altered]-}" "${result[reordered]-}" >>"$results"
}

progress() {
  printf '%4d s  run %s of %s: %-16s %s\n' "$SECONDS" "$run" "$runs" "$1" "$2" >&2
}

failed() { # SYSTEM ROW
  printf 'bench: %s: the row %s failed\n' "$1" "$2" >&2
  return 1
}

# How many messages a system gets that works on files of lines and cannot stop by time.
lines_for() { # SYSTEM
  if [[ $1 == msgpipe ]]; then
    echo "$messages"
  else
    echo "$((messages < slow_messages ? messages : slow_messages))"
  fi
}

# A file of COUNT lines, made once.
lines_file() { # COUNT
  local file=$work/lines.$1
  [[ -e $file ]] || "$programs/measure" generate --messages "$1" >"$file"
  printf '%s\n' "$file"
}

# publish and consume. They leave in $published how many there are.
publish_messages() { # SYSTEM
  local count file
  result=()
  case $1 in
  msgpipe | mosquitto-tools)
    count=$(lines_for "$1")
    file=$(lines_file "$count")
    publish_lines "$1" "$file" || return 1
    read_result "$work/published" || return 1
    published=$count
    ;;
  *)
    peer "$1" publish --messages "$messages" --seconds "$seconds" >"$work/published" || return 1
    read_result "$work/published" || return 1
    published=${result[messages]}
    ;;
  esac
}

publish_lines() { # SYSTEM FILE
  local timed=("$programs/measure" timed --address "$work/published" --)
  if [[ $1 == msgpipe ]]; then
    "${timed[@]}" "$tools/msend" -r "$address" -t bench <"$2"
  else
    "${timed[@]}" mosquitto_pub --unix "$address" -q 1 -t bench -l <"$2"
  fi
}

# Starts the tool that receives COUNT lines into a file, in the background.
receive_lines() { # SYSTEM COUNT
  local timed=("$programs/measure" timed --address "$work/consumed" --)
  rm -f "$work/consumed"
  if [[ $1 == msgpipe ]]; then
    "${timed[@]}" "$tools/mrecv" -r "$address" -t bench -g g -n "$2" --wait 20s >"$work/received" &
  else
    "${timed[@]}" mosquitto_sub --unix "$address" -c -i consumer -q 1 -t bench -C "$2" \
      -W "$((20 + $2 / 10000))" >"$work/received" &
  fi
  started[consumer]=$!
}

# Waits for it, and accounts for its lines. A tool that gave up is no error here: the account says what is missing.
await_lines() { # COUNT
  wait "${started[consumer]}"
  unset 'started[consumer]'
  "$programs/measure" check --messages "$1" <"$work/received" >"$work/account" || return 1
  rm "$work/received"
  read_result "$work/account" && read_result "$work/consumed"
}

# What flushing costs just now, on the disk of the measurement that follows.
row_flush() { # SYSTEM
  result=()
  "$programs/measure" flush --address "$work/flush" --messages 100 >"$work/flushes"
  read_result "$work/flushes" && record flush "$1" p50_us "${result[p50_us]}" 100
}

row_publish() { # SYSTEM
  publish_messages "$1" || failed "$1" publish || return
  record publish "$1" rate "$(rate "$published" "${result[begin]}" "${result[end]}")" "$published"
  [[ -z ${result[peak_kib]-} ]] || record publish "$1" sender_peak_kib "${result[peak_kib]}" "$published"
}

row_consume() { # SYSTEM
  result=()
  case $1 in
  msgpipe | mosquitto-tools)
    receive_lines "$1" "$published"
    await_lines "$published" || failed "$1" consume || return
    ;;
  *)
    peer "$1" consume --messages "$published" >"$work/consumed" || failed "$1" consume || return
    read_result "$work/consumed"
    ;;
  esac
  record consume "$1" rate "$(rate "${result[messages]}" "${result[begin]}" "${result[end]}")" "$published"
  [[ -z ${result[peak_kib]-} ]] || record consume "$1" receiver_peak_kib "${result[peak_kib]}" "$published"
}

# The consumer waits first; the time goes from the publisher's first message (for tools: from its start) until the
# consumer has all.
row_end_to_end() { # SYSTEM
  local begin from word
  case $1 in
  msgpipe | mosquitto-tools)
    receive_lines "$1" "$published"
    publish_lines "$1" "$(lines_file "$published")" || failed "$1" end-to-end || return
    result=()
    read_result "$work/published" && begin=${result[begin]}
    await_lines "$published" || failed "$1" end-to-end || return
    ;;
  *)
    exec {from}< <(exec "$programs/${program_of[$1]}" consume --address "$address" --messages "$published")
    started[consumer]=$!
    read -r -u "$from" word || failed "$1" end-to-end || return
    peer "$1" publish --messages "$published" >"$work/published" || failed "$1" end-to-end || return
    cat <&"$from" >"$work/consumed"
    exec {from}<&-
    wait "${started[consumer]}"
    unset 'started[consumer]'
    result=()
    read_result "$work/published" && begin=${result[begin]}
    read_result "$work/consumed" || failed "$1" end-to-end || return
    ;;
  esac
  record end-to-end "$1" rate "$(rate "${result[messages]}" "$begin" "${result[end]}")" "$published"
}

# One at a time, and a tool's start: what counts there is the time that the disk takes to flush, which drifts within
# seconds. So all brokers run, idle but for one, and take turns in short slices, the bare disk among them; the
# percentiles are over the durations of all slices of a run.
measure_in_turns() {
  local system slice measured=(disk)
  rm -f "$work"/*.samples
  for system in "${systems[@]}"; do
    [[ -z ${missing[$system]-} ]] || continue
    start_system "$system"
    setup_system "$system"
    measured+=("$system")
  done
  for ((slice = 1; slice <= slices; slice++)); do
    for system in "${measured[@]}"; do
      progress "$system" "one-at-a-time, start ($slice of $slices)"
      [[ $system == disk ]] || choose_system "$system"
      if wants one-at-a-time; then slice_one_at_a_time "$system" || failed "$system" one-at-a-time; fi
      if wants start; then slice_start "$system" || failed "$system" start; fi
    done
  done
  for system in "${measured[@]}"; do
    record_samples one-at-a-time "$system"
    record_samples start "$system"
    [[ $system == disk ]] || stop_system "$system"
  done
}

record_samples() { # ROW SYSTEM
  local file=$work/$1.$2.samples
  [[ -e $file ]] || return 0
  result=()
  "$programs/measure" percentiles --address "$file" >"$work/percentiles"
  read_result "$work/percentiles" || return
  record "$1" "$2" p50_us "${result[p50_us]}" "${result[messages]}"
  record "$1" "$2" p99_us "${result[p99_us]}" "${result[messages]}"
}

slice_one_at_a_time() { # SYSTEM
  local how=(--messages "$singles" --seconds 0.5 --samples "$work/one-at-a-time.$1.samples")
  case $1 in
  mosquitto-tools) ;;
  disk) "$programs/measure" flush --address "$work/flush" --messages 500 --samples "${how[-1]}" ;;
  msgpipe) [[ -n ${missing[latency]-} ]] || "$latency" latency --address "$address" "${how[@]}" ;;
  *) peer "$1" latency "${how[@]}" ;;
  esac >/dev/null
}

# A whole process that sends one message and knows that it is acknowledged.
slice_start() { # SYSTEM
  local command=()
  case $1 in
  disk | mosquitto) return ;;
  msgpipe) command=("$tools/msend" -r "$address" -t x -d y) ;;
  nats-*) command=("$programs/nats" publish --address "$address" --messages 1) ;;
  redis-*) command=(redis-cli -s "$address" XADD x '*' d y) ;;
  beanstalkd) command=("$programs/beanstalk" publish --address "$address" --messages 1) ;;
  mosquitto-tools) command=(mosquitto_pub --unix "$address" -q 1 -t x -m y) ;;
  esac
  command -v "${command[0]}" >/dev/null || return 0
  "$programs/measure" spawn --messages "$((starts / slices))" --samples "$work/start.$1.samples" -- \
    "${command[@]}" >/dev/null
}

row_memory() { # SYSTEM
  result=()
  case $1 in
  msgpipe)
    "$programs/measure" generate --messages "$backlog" |
      "$programs/measure" timed --address "$work/published" -- "$tools/msend" -r "$address" -t bench ||
      failed "$1" memory || return
    read_result "$work/published" && result[messages]=$backlog
    record memory "$1" sender_peak_kib "${result[peak_kib]}" "$backlog"
    ;;
  *)
    peer "$1" publish --messages "$backlog" --seconds "$backlog_seconds" >"$work/published" ||
      failed "$1" memory || return
    read_result "$work/published"
    ;;
  esac
  record memory "$1" rss_kib "$(broker_memory_kib)" "${result[messages]}"
  [[ ! -e /proc/$broker/status ]] || record memory "$1" peak_kib \
    "$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$broker/status")" "${result[messages]}"
}

# Direct mode: no broker. What libnng reaches by itself stands beside it.
row_direct() {
  local how options
  [[ -n ${missing[msgpipe]-} ]] || for how in framed raw; do
    progress msgpipe "direct $how"
    options=()
    [[ $how == raw ]] || options=(--framed)
    direct_msgpipe "$how" "${options[@]}" || failed msgpipe "direct $how"
  done
  if [[ -z ${missing[nng_raw]-} ]]; then
    progress nng 'direct raw'
    direct_nng || failed nng 'direct raw'
  fi
}

direct_msgpipe() { # framed|raw [OPTION…]
  local how=$1 count=$messages url=ipc://$work/direct.sock begin
  shift
  [[ $how == framed ]] || count=$((messages < raw_messages ? messages : raw_messages))
  lines_file "$count" >/dev/null
  rm -f "$work/direct.sock" "$work/consumed"
  "$programs/measure" timed --address "$work/consumed" -- \
    "$tools/mrecv" --listen "$url" --pull -n "$count" --wait 20s >"$work/received" &
  started[consumer]=$!
  "$programs/measure" connect --address "$work/direct.sock" || return
  "$programs/measure" timed --address "$work/published" -- \
    "$tools/msend" --dial "$url" --push "$@" <"$(lines_file "$count")" || return
  result=()
  read_result "$work/published" && begin=${result[begin]}
  await_lines "$count" || return
  record direct msgpipe "$how" "$(rate "${result[messages]}" "$begin" "${result[end]}")" "$count"
}

direct_nng() {
  local count=$((messages < raw_messages ? messages : raw_messages)) url=ipc://$work/direct.sock from word begin
  rm -f "$work/direct.sock"
  exec {from}< <(exec "$programs/nng_raw" consume --address "$url" --messages "$count")
  started[consumer]=$!
  read -r -u "$from" word || return
  "$programs/nng_raw" publish --address "$url" --messages "$count" >"$work/published" &
  started[publisher]=$!
  cat <&"$from" >"$work/consumed"
  exec {from}<&-
  wait "${started[consumer]}" "${started[publisher]}"
  unset 'started[consumer]' 'started[publisher]'
  result=()
  read_result "$work/published" && begin=${result[begin]}
  read_result "$work/consumed" || return
  record direct nng raw "$(rate "${result[messages]}" "$begin" "${result[end]}")" "$count"
}
