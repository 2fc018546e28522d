# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# Compiles the benchmark's programs, each only where its library is: a peer that is not installed is named with the
# package to install, and left out. Sourced by tests/bench/run, which sets source_dir, programs and CC.

declare -A missing=() # system or program: what it needs

can_compile() { # HEADER [FLAG…]
  local header=$1
  shift
  printf '#include <stddef.h>\n#include <stdint.h>\n#include <%s>\nint main(void) { return 0; }\n' "$header" |
    "$CC" -x c -o "$programs/probe" - "$@" >"$programs/probe.log" 2>&1
}

compile() { # PROGRAM SOURCE… [FLAG…]
  local program=$1
  shift
  "$CC" -std=gnu11 -O2 -D_GNU_SOURCE -o "$programs/$program" "$@" || die "$program does not compile"
}

compile_peer() { # PROGRAM PACKAGE HEADER FLAG…
  local program=$1 package=$2 header=$3
  shift 3
  if can_compile "$header" "$@"; then
    compile "$program" "$source_dir/peers/$program.c" "$source_dir/bench.c" "$@"
  else
    missing[$program]="the package $package"
  fi
}

build_programs() {
  local stream=$source_dir/peers/stream.c
  compile measure "$source_dir/measure.c" "$source_dir/bench.c"
  compile beanstalk "$source_dir/peers/beanstalk.c" "$stream" "$source_dir/bench.c"
  compile mqtt "$source_dir/peers/mqtt.c" "$stream" "$source_dir/bench.c"
  compile_peer nats libnats-dev nats/nats.h -lnats -lpthread
  compile_peer redis libhiredis-dev hiredis/hiredis.h -lhiredis
  compile_peer nng_raw libnng-dev nng/nng.h -lnng -lpthread
}

need_command() { # SYSTEM PACKAGE COMMAND…
  local system=$1 package=$2 command
  shift 2
  for command; do
    command -v "$command" >/dev/null || missing[$system]+="${missing[$system]:+, }the package $package"
  done
}

find_missing() {
  need_command nats-lazy nats-server "$NATS_SERVER"
  need_command redis-everysec redis-server redis-server
  need_command beanstalkd beanstalkd beanstalkd
  need_command mosquitto mosquitto mosquitto
  need_command mosquitto-tools mosquitto mosquitto
  need_command mosquitto-tools mosquitto-clients mosquitto_pub
  [[ -z ${missing[nats]-} ]] || missing[nats-lazy]+="${missing[nats-lazy]:+, }${missing[nats]}"
  [[ -z ${missing[redis]-} ]] || missing[redis-everysec]+="${missing[redis-everysec]:+, }${missing[redis]}"
  [[ -z ${missing[redis-everysec]-} ]] || missing[redis-always]=${missing[redis-everysec]}
  if [[ -n ${missing[nats-lazy]-} ]]; then
    missing[nats-always]=${missing[nats-lazy]}
  elif ! nats_can_always_flush; then
    missing[nats-always]="nats-server 2.10 or newer (this is $(version_of nats-lazy); NATS_SERVER can name another)"
  fi
  [[ -x $tools/msend && -x $tools/mrecv && -x $tools/mrelay ]] ||
    missing[msgpipe]="msend, mrecv and mrelay in $tools: build them first, or name their folder with --tools"
  [[ -x $latency ]] || missing[latency]="$latency: \`make bench\` builds it"
}
