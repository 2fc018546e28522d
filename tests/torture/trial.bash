# What the trials in Bash share: options, a folder of their own, what was started and is ended, what was found, the row.
#
#	. "$(dirname "${BASH_SOURCE[0]}")/trial.bash"
#	declare -A option=([minutes]=60)                # options of its own with their defaults: --minutes N
#	trial_open NAME "$@"                            # the present folder is the trial's, and this user's place for relays
#	start LOG COMMAND...                            # in the background; its pid is in $started_pid
#	find_one 'what was found'
#	trial_close 'what was tried' 'what was found'   # prints the row, ends the program
#
# --short is the default; --tools DIR: where the tools are; --build DIR: the build folder (that of the tools); --seed N;
# --keep: leave the folder. Where something was found it stays as well.
#
# shellcheck shell=bash disable=SC2034 # the trials read what is set here
set -u
set -o pipefail

trial_die() {
  printf '%s: %s\n' "$trial" "$*" >&2
  exit 64
}

# 12345678 as 12,345,678
figure() {
  local text=$1 out=
  while ((${#text} > 3)); do
    out=,${text: -3}$out
    text=${text:0:-3}
  done
  printf '%s\n' "$text$out"
}

trial_options() {
  while (($# > 0)); do
    case $1 in
    --short | --long) form=${1#--} ;;
    --keep) keep=yes ;;
    --*)
      local name=${1#--}
      (($# > 1)) || trial_die "$1 needs a value"
      case $name in
      tools) tools=$(cd "$2" 2>/dev/null && pwd) || trial_die "there is no folder $2" ;;
      build) build=$(cd "$2" 2>/dev/null && pwd) || trial_die "there is no folder $2" ;;
      seed) seed=$2 ;;
      *)
        [[ -n ${option[$name]+set} ]] || trial_die "there is no option $1"
        option[$name]=$2
        ;;
      esac
      shift
      ;;
    *) trial_die "there is no option $1" ;;
    esac
    shift
  done
}

trial_open() { # trial_open NAME OPTION...
  trial=$1
  shift
  form=short keep=no found=0 started=() tools='' build='' seed=$RANDOM
  source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd) || exit 1
  declare -p option >/dev/null 2>&1 || declare -gA option=()
  trial_options "$@"
  [[ -n $tools ]] || tools=$(cd "${MSGPIPE_BUILD:-$PWD}/bin" 2>/dev/null && pwd) || trial_die 'where are the tools? --tools DIR'
  [[ -n $build ]] || build=$(cd "$tools/.." && pwd)
  [[ -x $tools/mrelay ]] || trial_die "there is no mrelay in $tools"
  local above=${TMPDIR:-/tmp}
  [[ -n ${TMPDIR-} || ! -w /dev/shm ]] || above=/dev/shm
  folder=$(mktemp -d "$above/msgpipe-$trial.XXXXXX") || exit 1
  cd "$folder" || exit 1
  mkdir -m 700 run state
  export XDG_RUNTIME_DIR=$folder/run XDG_STATE_HOME=$folder/state PATH=$tools:$PATH
  unset MSGPIPE_RELAY TRACEPARENT TRACESTATE
  trap trial_end EXIT
  trap 'exit 130' INT TERM HUP
}

start() { # start LOG COMMAND...
  local log=$1
  shift
  "$@" >>"$log" 2>&1 </dev/null &
  started_pid=$!
  started+=("$started_pid")
}

# Ends what was started, the last first, and removes the folder.
trial_end() {
  local i code=$?
  trap - EXIT
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null && wait "${started[i]}" 2>/dev/null
  done
  cd / || exit 1
  if [[ $keep == yes ]] || ((found > 0)); then
    printf '%s: what there is to look at is in %s\n' "$trial" "$folder" >&2
  else
    rm -rf "$folder"
  fi
  exit "$code"
}

find_one() {
  ((++found))
  printf '%s: %s (again: tests/torture/%s --%s --seed %s)\n' "$trial" "$1" "$trial" "$form" "$seed"
}

# The machine lacks what the trial needs.
trial_skip() {
  printf 'row\t%s\tnot tried\t%s\n' "$trial" "$1"
  exit 77
}

trial_close() { # trial_close TRIED FOUND
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null && wait "${started[i]}" 2>/dev/null
  done
  started=()
  printf 'row\t%s\t%s\t%s\n' "$trial" "$1" "$2"
  exit $((found > 0))
}

until_true() { # until_true COMMAND...: a minute at most
  local tries
  for ((tries = 0; tries < 1200; tries++)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.05
  done
  return 1
}
