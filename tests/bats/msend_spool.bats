#!/usr/bin/env bats
# msend --spool: an outbox that takes at once and delivers when it can.
#
# shellcheck disable=SC2154 # tools.bash and bats set what is read here

setup() {
    load tools
    tools_setup
}

teardown() {
    tools_teardown
}

# Whether N messages wait in the spool (no spool: 0).
waits() {
    local status
    status=$(msend --spool out --status) || return
    case $1 in
    0) [[ $status == "nothing waits in out"* ]] ;;
    *) [[ $status == "$1 message"* ]] ;;
    esac
}

arrived() {
    mrecv -t t -e | grep -q "$1"
}

@test "what it takes is delivered, and it ends when the relay has it" {
    start_relay
    run -0 msend --spool out -t t < <(seq 1000)
    refute_output
    run -0 mrecv -t t -e
    assert_output "$(seq 1000)"
    run -0 msend --spool out --status
    assert_output "nothing waits in out"
}

@test "without a relay it takes everything, and delivers once there is one" {
    seq 5000 >input
    start out.log msend --spool out -t t input
    sender=$started_pid
    until_true waits 5000
    run -0 msend --spool out --status
    assert_line --partial "process $sender is at work"
    start_relay
    wait "$sender"
    run -0 mrecv -t t -e
    assert_output "$(seq 5000)"
}

@test "without a relay it takes all of its input, also when it does not wait for one" {
    seq 1000000 >input
    run -75 msend --spool out -t t --wait 1ms input
    assert_line "msend: not delivered: 1000000 messages are kept in out: msend --spool out delivers them"
}

@test "while there is input a relay that comes later is found" {
    mkfifo pipe
    start sender.log bash -c 'exec msend --spool out -t t --wait 1ms <pipe'
    sender=$started_pid
    exec 9>pipe
    echo one >&9
    until_true waits 1
    start_relay 9>&- # it must not keep the pipe open
    until_true arrived one
    echo two >&9
    exec 9>&-
    wait "$sender"
    run -0 mrecv -t t -e
    assert_output "$(printf 'one\ntwo')"
}

@test "what has waited for longer than its --ttl expires, and that is said" {
    run msend --spool out -t t --ttl 300ms --wait 10ms -d old
    assert_failure 75
    run msend --spool out -t t --ttl 1h --wait 10ms -d young
    assert_failure 75
    taken=$(date +%s.%N)
    sleep 0.4
    start_relay
    mrecv -t t -g g -e
    run -0 msend --spool out
    assert_output 'msend: 1 message had expired in out before the relay could be reached: nobody is given it'
    run -0 mrecv -t t -g g -e --template '%{body} %{time} %{expirytime}\n'
    [[ $output == "young "* ]]
    read -r _ time expiry <<<"$output"
    # It says when it was taken, not when it was delivered, and lives from then on.
    assert [ "$(date -d "$time" +%s%3N)" -le "$(date -d "@$taken" +%s%3N)" ]
    lives=$(($(date -d "$expiry" +%s%3N) - $(date -d "$time" +%s%3N)))
    assert [ "$lives" -gt 3590000 ] && assert [ "$lives" -le 3600000 ]
    assert_equal "$(mrelay groups -t t -g g --json | jq '.groups[0].expired')" 1
}

@test "killed in any state, it loses nothing and sends nothing twice" {
    seq 20000 >input
    start_relay
    for round in 1 2 3 4 5 6; do
        # Of its input each process takes what it can until it is killed: it is told how much only at its end, so a
        # round has an input of its own.
        sed "s/^/$round /" input >part
        start round.log msend --spool out -t t --rate 4000/s part
        until_true arrived "^$round "
        ((round % 2)) || end "$relay_pid" KILL
        end "$started_pid" KILL || true # on a slow machine it may have ended
        ((round % 2)) || start_relay
    done
    run -0 msend --spool out
    run -0 msend --spool out --status
    assert_output "nothing waits in out"
    mrecv -t t -e >arrived
    for round in 1 2 3 4 5 6; do
        grep "^$round " arrived | cut -d' ' -f2 >part
        # What came is the beginning of the input, in order, once.
        head -n "$(wc -l <part)" input | cmp - part
    done
    [[ $(wc -l <arrived) -gt 6 ]]
}

@test "what it took survives its end, and the next one delivers it first" {
    start first.log msend --spool out -t t -d one -d two
    until_true waits 2
    end "$started_pid" TERM
    assert_equal "$ended_code" 143
    run cat first.log.err
    assert_output "msend: interrupted: 2 messages are kept in out: msend --spool out delivers them"
    run -0 msend --spool out --status
    assert_line "nobody delivers them: run msend --spool out"
    start_relay
    echo three | msend --spool out -t t
    run -0 mrecv -t t -e
    assert_output "$(printf 'one\ntwo\nthree')"
}

@test "two at once keep the order in which they began" {
    start one.log msend --spool out -t t -d one
    until_true waits 1
    start two.log msend --spool out -t t -d two
    until_true waits 2
    start_relay
    wait "${started[0]}"
    wait "${started[1]}"
    run -0 mrecv -t t -e
    assert_output "$(printf 'one\ntwo')"
}

@test "one that never ends makes way for others" {
    start_relay
    mkfifo pipe
    start long.log msend --spool out -t t pipe
    exec 5>pipe
    echo first >&5
    until_true arrived first
    run -0 timeout 20 msend --spool out -t t -d second
    echo third >&5
    exec 5>&-
    wait "${started[-1]}"
    run -0 mrecv -t t -e
    assert_output "$(printf 'first\nsecond\nthird')"
}

@test "ids are given when a message is taken, and stay" {
    start out.log msend --spool out -t t -d x
    until_true waits 1
    end "$started_pid" KILL
    start_relay
    msend --spool out
    run -0 mrecv -t t -n 1 --template '%{id}'
    assert_output --regexp '^[0-9a-f]{31}[13579bdf]0*1$|^[0-9a-f]{32}$'
}

@test "--wait bounds the waiting, and what was taken stays" {
    run -75 msend --spool out -t t --wait 300ms -d x
    assert_output --partial "not delivered: 1 message is kept in out: msend --spool out delivers it"
    start_relay
    run -0 msend --spool out
    run -0 mrecv -t t -e
    assert_output x
}

@test "what the relay refuses for good is kept aside, and the rest goes on" {
    head -c 3000 /dev/zero | tr '\0' x >large
    run -75 msend --spool out -t t -F whole --wait 100ms large
    run -75 msend --spool out -t t --wait 100ms -d small
    start_relay --max-message 1KiB
    run -65 msend --spool out
    assert_output --partial "now in out/refused.jsonl: a message of 3000 bytes: the relay takes 1024 at most"
    run -0 mrecv -t t -e
    assert_output small
    run -0 jq -r '.deadreason + " " + .deadtopic + " " + (.data | length | tostring)' out/refused.jsonl
    assert_output "rejected t 3000"
}

@test "the directory is private, and a wrong one is refused" {
    start_relay
    run -0 msend --spool out -t t -d x
    assert_equal "$(stat -c %a out)" 700
    chmod 777 out
    run -77 msend --spool out -t t -d x
    assert_output --partial "run \`chmod go-w out\`"
    run -74 msend --spool /nowhere/out -t t -d x
    assert_output --partial "cannot make the spool /nowhere/out"
    run -66 msend --spool nothing --status
}

@test "what makes no sense with a spool is refused" {
    run -64 msend --spool out --dial ipc:///x -d x
    run -64 msend --spool out -d x
    assert_output --partial "Give a topic (-t TOPIC)"
    run -64 msend --status
    run -64 msend --spool out -t t --print-id -d x
}

@test "a full disk stops the taking with the right words, and what was taken is delivered" {
    mkdir disk
    mount -t tmpfs -o size=64m,mode=700 msgpipe-test disk 2>/dev/null || skip "mounting needs root"
    disk=$PWD/disk
    yes 'a line of some length that fills a disk sooner or later' | head -n 800000 >input
    status=0
    timeout 60 msend --spool disk/out -t t <input 2>words || status=$?
    assert_equal "$status" 75
    grep -q 'nearly full' words
    taken=$(sed -n 's/.*--skip \([0-9]*\) .*/\1/p' words)
    start_relay
    msend --spool disk/out
    mrecv -t t -e >arrived
    umount "$disk"
    assert_equal "$(wc -l <arrived)" "$taken"
    head -n "$taken" input | cmp - arrived
}

@test "a delay begins when the message is taken, not when it is delivered" {
    start out.log msend --spool out -t t --delay 4s -d late
    sender=$started_pid
    until_true waits 1
    taken=${EPOCHREALTIME/./}
    start_relay
    wait "$sender"
    run -0 msend -t t -d soon
    run -0 mrecv -t t -n 2 --wait 20s
    assert_output $'soon\nlate'
    assert [ $((${EPOCHREALTIME/./} - taken)) -ge 2000000 ]
}
