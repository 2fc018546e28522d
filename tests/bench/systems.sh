# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # it shares its variables with tests/bench/run
# Starting and stopping the systems. Each runs on a Unix socket where it can, or on a free loopback port, with its data
# in a folder of its own, tuned as its manual advises for this work. Sourced by tests/bench/run.

all_systems=(msgpipe nats-lazy nats-always redis-everysec redis-always beanstalkd mosquitto mosquitto-tools)

# shellcheck disable=SC2016  # the backticks are Markdown
declare -A name_of=(
  [msgpipe]='**msgpipe**'
  [nats-lazy]='NATS JetStream'
  [nats-always]='NATS JetStream, `sync_interval: always`'
  [redis-everysec]='Redis Streams, `appendfsync everysec`'
  [redis-always]='Redis Streams, `appendfsync always`'
  [beanstalkd]='beanstalkd `-f 0`'
  [mosquitto]='mosquitto, QoS 1, C client'
  [mosquitto-tools]='mosquitto, QoS 1, its own tools'
)
declare -A promise_of=(
  [msgpipe]='flushed'
  [nats-lazy]='written; flushed every minute or two'
  [nats-always]='flushed'
  [redis-everysec]='written within a second, flushed each second'
  [redis-always]='flushed'
  [beanstalkd]='flushed'
  [mosquitto]='in memory; saved every 30 min'
  [mosquitto-tools]='in memory; saved every 30 min'
)
# Which program speaks with it; none where its own tools do.
declare -A program_of=(
  [nats-lazy]=nats [nats-always]=nats [redis-everysec]=redis [redis-always]=redis
  [beanstalkd]=beanstalk [mosquitto]=mqtt
)

version_of() { # SYSTEM
  case $1 in
  msgpipe) "$tools/msend" --version | head -1 ;;
  nats-*) "$NATS_SERVER" --version ;;
  redis-*) redis-server --version | sed 's/^\(Redis server v=[^ ]*\).*/\1/' ;;
  beanstalkd) beanstalkd -v ;;
  mosquitto*) mosquitto -h | sed -n 's/^mosquitto version/mosquitto/p' ;;
  esac
}

nats_configuration() { # FOLDER SYSTEM
  printf 'listen: "127.0.0.1:-1"\nports_file_dir: "%s"\njetstream {\n  store_dir: "%s"\n' "$1" "$1/store"
  [[ $2 != nats-always ]] || printf '  sync_interval: always\n'
  printf '}\n'
}

nats_can_always_flush() {
  nats_configuration "$work" nats-always >"$work/nats.conf"
  "$NATS_SERVER" -c "$work/nats.conf" -t >/dev/null 2>&1
}

mosquitto_configuration() { # FOLDER
  printf '%s\n' "listener 0 $1/sock" 'allow_anonymous true' 'persistence true' "persistence_location $1/" \
    'max_queued_messages 0' 'max_inflight_messages 1000' 'log_type error' "user $(id -un)"
}

# Of the system that was started or chosen last:
broker=        # its process
address=       # how its program reaches it
broker_folder= # its data
declare -A address_of=()

# Starts a command in the background as the broker of SYSTEM.
launch() { # SYSTEM COMMAND…
  local system=$1
  shift
  "$@" >"$broker_folder/log" 2>&1 </dev/null &
  broker=$!
  started["$system"]=$broker
}

# Several run at once where the measurements take turns.
choose_system() { # SYSTEM
  broker=${started[$1]}
  broker_folder=$work/broker.$1
  address=${address_of[$1]}
}

start_system() { # SYSTEM
  broker_folder=$work/broker.$1
  rm -rf "$broker_folder"
  mkdir "$broker_folder"
  address=$broker_folder/sock
  case $1 in
  msgpipe)
    launch "$1" "$tools/mrelay" --listen "ipc://$address" --store "$broker_folder/store.db" "${relay_options[@]}"
    await_broker "$1"
    address=ipc://$address
    ;;
  nats-*)
    nats_configuration "$broker_folder" "$1" >"$broker_folder/conf"
    launch "$1" "$NATS_SERVER" -c "$broker_folder/conf"
    await_ports_file "$1"
    ;;
  redis-*)
    launch "$1" redis-server --port 0 --unixsocket "$address" --dir "$broker_folder" --save '' --appendonly yes \
      --appendfsync "${1#redis-}" --auto-aof-rewrite-percentage 0
    await_broker "$1"
    ;;
  beanstalkd)
    mkdir "$broker_folder/log.d"
    launch "$1" beanstalkd -l "unix:$address" -b "$broker_folder/log.d" -f 0
    await_broker "$1"
    ;;
  mosquitto*)
    mosquitto_configuration "$broker_folder" >"$broker_folder/conf"
    launch "$1" mosquitto -c "$broker_folder/conf"
    await_broker "$1"
    ;;
  esac
  address_of[$1]=$address
}

await_broker() { # SYSTEM
  "$programs/measure" connect --address "$address" || broker_failed "$1"
}

await_ports_file() { # SYSTEM
  local attempt
  address=
  for ((attempt = 0; attempt < 200; attempt++)); do
    kill -0 "$broker" 2>/dev/null || broker_failed "$1"
    address=$(sed -n 's/.*"\(nats:[^"]*\)".*/\1/p' "$broker_folder"/*.ports 2>/dev/null | head -1)
    [[ -z $address ]] || return 0
    sleep 0.05
  done
  broker_failed "$1"
}

broker_failed() { # SYSTEM
  sed 's/^/  /' "$broker_folder/log" >&2
  die "$1 does not start"
}

# Makes the stream and the group, where they are to be made beforehand.
setup_system() { # SYSTEM
  case $1 in
  msgpipe) ;; # a topic is made by its first message, a group by its first consumer
  mosquitto-tools)
    mosquitto_sub --unix "$address" -c -i consumer -q 1 -t bench -E >/dev/null
    ;;
  *) peer "$1" setup ;;
  esac
}

peer() { # SYSTEM ROLE [OPTION…]
  local program=${program_of[$1]} role=$2
  shift 2
  "$programs/$program" "$role" --address "$address" "$@"
}

stop_system() { # SYSTEM
  stop_process "$1"
  # What a lazy system left unwritten must not burden the next one.
  rm -rf "$work/broker.$1"
  sync
}

broker_memory_kib() {
  ps -o rss= -p "$broker" | tr -d ' '
}
