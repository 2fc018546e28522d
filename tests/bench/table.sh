# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# What the run prints: the machine, and the tables. Sourced by tests/bench/run.

# How much of the cores nobody uses, in percent, over a second: what else runs here decides the figures of all.
measure_idle() {
  local before after
  [[ -r /proc/stat ]] || return 0
  read -r -a before </proc/stat
  sleep 1
  read -r -a after </proc/stat
  awk -v before="${before[*]:1:8}" -v after="${after[*]:1:8}" 'BEGIN {
    fields = split(before, was); split(after, is)
    for (i = 1; i <= fields; i++) all += is[i] - was[i]
    if (all > 0) printf "%.0f", 100 * (is[4] - was[4] + is[5] - was[5]) / all
  }'
}

print_machine() {
  local system version versions='' folder=${TMPDIR:-/var/tmp}
  for system in "${systems[@]}"; do
    [[ -z ${missing[$system]-} ]] || continue
    version=$(version_of "$system" 2>&1)
    [[ $versions == *"$version"* ]] || versions+="$version, "
  done
  printf '%s, %s cores, %s of memory, %s.\n' \
    "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | head -1 | grep . || uname -m)" \
    "$(getconf _NPROCESSORS_ONLN)" \
    "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')" "$(uname -sr)"
  printf 'Data on %s.' "$(df -T "$folder" 2>/dev/null | awk 'NR == 2 { print $2 }')"
  [[ -z $idle_before ]] ||
    printf ' Without the benchmark, the cores were idle to %s %% before it and %s %% after it.' "$idle_before" "$idle_after"
  printf '\n'
  printf '%smessages of 100 bytes; %s.\n\n' "$versions" \
    "$([[ $runs == 1 ]] && echo 'one run' || echo "medians of $runs interleaved runs")"
}

# Everything that the tables need, for awk: a line `system<TAB>name<TAB>promise` each, then the results.
print_tables() {
  local system
  {
    for system in "${systems[@]}"; do
      [[ -n ${missing[$system]-} ]] ||
        printf 'system\t%s\t%s\t%s\n' "$system" "${name_of[$system]}" "${promise_of[$system]}"
    done
    tail -n +2 "$results" | tr ',' '\t'
  } | awk -f "$source_dir/table.awk"
}

print_missing() {
  local what
  for what in "${systems[@]}" latency nng_raw; do
    [[ -z ${missing[$what]-} ]] || printf 'Not measured: %s. It needs %s.\n' "$what" "${missing[$what]}"
  done
}
