#!/usr/bin/env bats
# SIGKILL at random moments for the relay, the runner and the commands of a
# pipeline of three stages, one in each mode, under load: every input is in the
# last topic exactly once. MSGPIPE_KILLS says how many (the long form: 200),
# MSGPIPE_SEED which.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
    kills=${MSGPIPE_KILLS:-30}
    RANDOM=${MSGPIPE_SEED:-1}
    sent=$((kills * 50))
}

teardown() {
    tools_teardown
}

begin_relay() {
    start relay.log mrelay
    relay_pid=$started_pid
    mrelay status --wait 20s >/dev/null
}

begin_runner() {
    start runner.log mrelay run --stages-only -r default pipeline.yaml
    runner_pid=$started_pid
}

# Kills a program and waits for its end; then it is out of `started`.
kill_one() {
    local pid=$1 other left=()
    kill -KILL "$pid"
    wait "$pid" || true
    for other in "${started[@]}"; do
        [[ $other == "$pid" ]] || left+=("$other")
    done
    started=("${left[@]}")
}

# Kills one of the commands that run, if there is one.
kill_command() {
    local commands
    mapfile -t commands < <(pgrep -P "$runner_pid")
    ((${#commands[@]} == 0)) || kill -KILL "${commands[RANDOM % ${#commands[@]}]}" 2>/dev/null || true
}

@test "killed at random moments in every stage, each message arrives exactly once" {
    cat >pipeline.yaml <<'YAML'
topics: {in: {}, mid: {}, up: {}, out: {external: true}}
stages:
  each:
    from: in
    shell: sed 's/^/(/'
    mode: each
    workers: 2
    to: mid
    retry: {max_retries: unlimited, initial_interval: 10ms, max_interval: 100ms}
  stream:
    from: mid
    command: [sed, -u, 's/$/)/']
    mode: stream
    to: up
    retry: {max_retries: unlimited, initial_interval: 10ms, max_interval: 100ms}
  batch:
    from: up
    shell: sed 's/^/</'
    mode: batch
    batch: 20
    to: out
    retry: {max_retries: unlimited, initial_interval: 10ms, max_interval: 100ms}
YAML
    begin_relay
    begin_runner
    seq "$sent" >lines
    start send.log msend -t in --rate 1500/s lines
    local sender=$started_pid killed runners=0 relays=0
    for ((killed = 0; killed < kills; killed++)); do
        sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
        case $((RANDOM % 4)) in
        0)
            kill_one "$relay_pid"
            ((RANDOM % 2)) || sleep "0.$((RANDOM % 5))"
            begin_relay
            relays=$((relays + 1))
            ;;
        1)
            kill_one "$runner_pid"
            begin_runner
            runners=$((runners + 1))
            ;;
        *) kill_command ;;
        esac
    done
    wait "$sender"
    mrelay wait -t in -g each --wait 5m
    mrelay wait -t mid -g stream --wait 1m
    mrelay wait -t up -g batch --wait 1m
    echo "# $kills kills: relay $relays, runner $runners, the rest commands" >&3
    mrecv -t out -e | sort >came
    sed 's/.*/<(&)/' lines | sort | cmp - came
    end "$runner_pid"
    assert_equal "$ended_code" 0
    mtrace audit
    kill_one "$relay_pid"
    mtrace audit
}
