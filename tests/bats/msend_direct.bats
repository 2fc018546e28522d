#!/usr/bin/env bats
# msend without a relay, with programs of nng (nngcat) and nanomsg (nanocat).
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    url=ipc://$PWD/peer.sock
}

teardown() {
    tools_teardown
}

need() {
    type "$1" >/dev/null 2>&1 || skip "there is no $1"
}

listens() {
    [ -S "$PWD/peer.sock" ]
}

# Starts nngcat or nanocat with a pattern, listening, and waits for its socket.
# Both print what they receive, a line each.
peer_listens() {
    local program=$1 pattern=$2
    shift 2
    need "$program"
    case $program in
    nngcat) start peer "$program" "--$pattern" --listen "$url" --ascii "$@" ;;
    nanocat) start peer "$program" "--$pattern" --bind "$url" --ascii "$@" ;;
    esac
    until_true listens
}

peer_dials() {
    local program=$1 pattern=$2
    shift 2
    need "$program"
    case $program in
    nngcat) start peer "$program" "--$pattern" --dial "$url" --ascii "$@" ;;
    nanocat) start peer "$program" "--$pattern" --connect "$url" --ascii "$@" ;;
    esac
}

# Whether the peer has printed TEXT. nngcat prints no newlines between bodies.
got() {
    [ "$(tr -d '\n' <peer)" = "$1" ]
}

# Sends what stands behind the peer's end of a connection, and stays until it has
# arrived: nanomsg drops what it has received and not given out when a connection
# ends.
passes() {
    mkfifo "pipe.$1"
    start "sender.$1" msend "--$1" "$url" "--$pattern" --wait 30s "pipe.$1"
    local sender=$started_pid
    if [ "$1" = listen ]; then
        until_true listens
        peer_dials "$program" "$other" "${arguments[@]}"
    fi
    exec 4>"pipe.$1"
    printf '%s\n' one two three >&4
    until_true got onetwothree
    exec 4>&-
    wait "$sender"
}

# Sends three messages by PATTERN to what PROGRAM receives by OTHER, both ways
# of connecting.
sends_to() {
    local program=$1 pattern=$2 other=$3
    shift 3
    local arguments=("$@")
    peer_listens "$program" "$other" "$@"
    local listener=$started_pid
    passes dial
    end "$listener"
    rm -f peer.sock peer
    passes listen
}

# Asks PROGRAM, which answers "reply". A survey takes as long as it may.
asks() {
    local program=$1 pattern=$2 other=$3 wait=20s
    [[ $pattern != surveyor ]] || wait=3s
    peer_listens "$program" "$other" --data reply
    run msend --dial "$url" "--$pattern" --wait "$wait" -d question
    assert_success
    assert_output reply
    until_true got question
}

@test "push: nngcat pulls" {
    sends_to nngcat push pull
}

@test "push: nanocat pulls" {
    sends_to nanocat push pull
}

@test "pub: nngcat subscribes" {
    sends_to nngcat pub sub --subscribe ''
}

@test "pub: nanocat subscribes" {
    sends_to nanocat pub sub --subscribe ''
}

@test "pair: nngcat" {
    sends_to nngcat pair pair0
}

@test "pair, version 1: nngcat" {
    sends_to nngcat pair1 pair1
}

@test "pair: nanocat" {
    sends_to nanocat pair pair
}

@test "bus: nngcat" {
    sends_to nngcat bus bus
}

@test "bus: nanocat" {
    sends_to nanocat bus bus
}

@test "req: nngcat replies" {
    asks nngcat req rep
}

@test "req: nanocat replies" {
    asks nanocat req rep
}

@test "surveyor: nngcat responds" {
    asks nngcat surveyor respondent
}

@test "surveyor: nanocat responds" {
    asks nanocat surveyor respondent
}

@test "several requests are answered one after the other" {
    peer_listens nngcat rep --data yes
    run msend --dial "$url" --req --wait 30s -d 1 -d 2 -d 3
    assert_success
    assert_output $'yes\nyes\nyes'
}

@test "nobody there: it waits, and --wait bounds that" {
    run msend --dial "$url" --wait 100ms -d x
    assert_failure 69
    assert_output --partial '(--wait) for pull'
    run msend --listen "$url" --pub --wait 100ms -d x
    assert_failure 69
    assert_output --partial 'nobody is connected'
}

@test "a request without a reply: 124" {
    start peer mrecv --listen "$url" --rep -- sh -c 'until [ -e go ]; do sleep 0.05; done'
    until_true listens
    run msend --dial "$url" --req --wait 1s -d x
    touch go
    assert_failure 124
    assert_output --partial '(--wait) in vain for a reply'
}

@test "a survey that nobody answers: 69" {
    peer_listens nngcat respondent
    run msend --dial "$url" --surveyor --wait 1s -d x
    assert_failure 69
    assert_output --partial 'nobody answered'
}

@test "--await begins when so many peers are there" {
    start sender msend --listen "$url" --pub --await 2 --wait 30s -d both
    local sender=$started_pid
    until_true listens
    start one mrecv --dial "$url" --sub -n 1
    start two mrecv --dial "$url" --sub -n 1
    wait "$sender"
    until_true has_lines 1 one
    until_true has_lines 1 two
}

@test "framed messages carry attributes, and mrecv knows them" {
    start got mrecv --listen "$url" -n 3 -F json
    local receiver=$started_pid
    until_true listens
    printf 'a:1\nb:2\n' | msend --dial "$url" --framed -K : --type t --wait 30s
    msend --dial "$url" --framed --id mine -d 3 --wait 30s
    wait "$receiver"
    assert_equal "$(sed -n 's/.*"partitionkey":"\([^"]*\)".*/\1/p' got)" $'a\nb'
    run grep -c '"type":"t"' got
    assert_output 2
    run sed -n 3p got
    assert_output --partial '"id":"mine"'
}

@test "a flood arrives whole, raw and framed" {
    local framed
    seq 1 100000 >input
    for framed in '' --framed; do
        rm -f peer.sock
        start got mrecv --listen "$url" -n 100000
        local receiver=$started_pid
        until_true listens
        # shellcheck disable=SC2086 # no word when it is empty
        msend --dial "$url" --wait 60s $framed input
        wait "$receiver"
        run cmp input got
        assert_success
    done
}

@test "interrupted it says how many were sent" {
    peer_listens nngcat pull
    mkfifo pipe
    start out msend --dial "$url" pipe
    local sender=$started_pid
    exec 4>pipe
    printf 'one\ntwo\n' >&4
    until_true got onetwo
    end "$sender" TERM
    exec 4>&-
    assert_equal "$ended_code" 143
    run cat out.err
    assert_line --index 0 'msend: interrupted: 2 messages were sent'
    assert_line --index 1 --partial 'msend --skip 2 --dial'
}
