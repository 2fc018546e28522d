#!/usr/bin/env bats
# mrecv without a relay, with msend, nngcat (nng) and nanocat (nanomsg).
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
    url=ipc://$PWD/peer.sock
}

teardown() {
    tools_teardown
}

need() {
    local package=nng-utils
    [ "$1" = nanocat ] && package=nanomsg-utils
    type "$1" >/dev/null 2>&1 || skip "there is no $1: it is in $package"
}

listens() {
    [ -S "$PWD/peer.sock" ]
}

# Starts mrecv at one end with these options; it waits for messages in vain for
# ten seconds at most.
receiver() {
    local end=$1
    shift
    start got mrecv "--$end" "$url" --wait 30s "$@"
    receiver_pid=$started_pid
    [ "$end" = dial ] || until_true listens
}

# Starts nngcat or nanocat as a sender of "hello" every 100 ms at the other end.
cat_sends() {
    local program=$1 pattern=$2 end=$3
    case $program-$end in
    nngcat-dial) start cat "$program" "--$pattern" --dial "$url" --data hello --interval 1 ;;
    nngcat-listen) start cat "$program" "--$pattern" --listen "$url" --data hello --interval 1 ;;
    nanocat-dial) start cat "$program" "--$pattern" --connect "$url" --data hello --interval 1 ;;
    nanocat-listen) start cat "$program" "--$pattern" --bind "$url" --data hello --interval 1 ;;
    esac
}

# PROGRAM's PATTERN sends what our OTHER receives, both ways of connecting.
receives_from() {
    local program=$1 pattern=$2
    shift 2
    need "$program"
    receiver listen -n 1 "$@"
    cat_sends "$program" "$pattern" dial
    wait "$receiver_pid"
    assert_equal "$(cat got)" hello
    end "$started_pid"
    rm -f peer.sock
    cat_sends "$program" "$pattern" listen
    until_true listens
    receiver dial -n 1 "$@"
    wait "$receiver_pid"
    assert_equal "$(cat got)" hello
}

# PROGRAM asks by PATTERN; our command answers. A survey that was sent before
# the connection stood is heard by nobody: it is asked again.
answers() {
    local program=$1 pattern=$2 ours=$3
    need "$program"
    # A survey ends after a second, heard or not: it is asked again then, so mrecv must not have gone.
    local count=(-n 1)
    [[ $ours != respondent ]] || count=(-n 100)
    receiver listen "--$ours" "${count[@]}" -- sh -c 'echo "you said $(cat)"'
    local tries
    for ((tries = 0; tries < 8; tries++)); do
        case $program in
        nngcat) run "$program" "--$pattern" --dial "$url" --ascii --data hello ;;
        nanocat) run "$program" "--$pattern" --connect "$url" --ascii --data hello ;;
        esac
        [[ $output == *'you said hello'* ]] && break
    done
    assert_output --partial 'you said hello'
    if [[ $ours == respondent ]]; then
        end "$receiver_pid"
    else
        wait "$receiver_pid"
    fi
}

# Three messages from msend to mrecv, by these patterns, bare and framed.
between_us() {
    local sends=$1 receives=$2
    shift 2
    local framed
    for framed in '' --framed; do
        receiver listen "--$receives" -n 3 "$@"
        printf '%s\n' one two three | msend --dial "$url" "--$sends" ${framed:+"$framed"} --wait 30s
        wait "$receiver_pid"
        assert_equal "$(cat got)" $'one\ntwo\nthree'
        rm -f peer.sock
        start got mrecv --dial "$url" "--$receives" -n 3 --wait 30s "$@"
        receiver_pid=$started_pid
        printf '%s\n' one two three | msend --listen "$url" "--$sends" ${framed:+"$framed"} --wait 30s
        wait "$receiver_pid"
        assert_equal "$(cat got)" $'one\ntwo\nthree'
        rm -f peer.sock
    done
}

@test "pull: nngcat pushes" {
    receives_from nngcat push
}

@test "pull: nanocat pushes" {
    receives_from nanocat push
}

@test "sub: nngcat publishes" {
    receives_from nngcat pub --sub --subscribe hel
}

@test "sub: nanocat publishes" {
    receives_from nanocat pub --sub
}

@test "pair: nngcat" {
    receives_from nngcat pair0 --pair
}

@test "pair, version 1: nngcat" {
    receives_from nngcat pair1 --pair1
}

@test "pair: nanocat" {
    receives_from nanocat pair --pair
}

@test "bus: nngcat" {
    receives_from nngcat bus --bus
}

@test "bus: nanocat" {
    receives_from nanocat bus --bus
}

@test "rep: nngcat asks" {
    answers nngcat req rep
}

@test "rep: nanocat asks" {
    answers nanocat req rep
}

@test "respondent: nngcat surveys" {
    answers nngcat surveyor respondent
}

@test "respondent: nanocat surveys" {
    answers nanocat surveyor respondent
}

@test "push and pull between msend and mrecv" {
    between_us push pull
}

@test "pub and sub between msend and mrecv" {
    between_us pub sub
}

@test "pair between msend and mrecv" {
    between_us pair pair
    between_us pair1 pair1
}

@test "bus between msend and mrecv" {
    between_us bus bus
}

@test "req and rep between msend and mrecv, bare and framed" {
    local framed
    for framed in '' --framed; do
        receiver listen --rep -n 3 --workers 2 -- sh -c 'echo "re $(cat)"'
        run bash -c "printf '%s\n' one two three | msend --dial '$url' --req --wait 30s $framed"
        assert_success
        assert_output $'re one\nre two\nre three'
        wait "$receiver_pid"
    done
}

@test "surveyor and respondent between msend and mrecv" {
    receiver listen --respondent -n 1 --shell 'tr a-z A-Z'
    run msend --dial "$url" --surveyor --wait 3s -d ping
    assert_success
    assert_output PING
}

@test "a subscription chooses messages, inside of frames too" {
    local framed
    for framed in '' --framed; do
        receiver listen --sub --subscribe a --subscribe bc -n 3
        printf '%s\n' a1 b1 bc1 c a2 | msend --dial "$url" --pub ${framed:+"$framed"}
        wait "$receiver_pid"
        assert_equal "$(cat got)" $'a1\nbc1\na2'
    done
}

@test "frames carry attributes and origins, bare bodies none" {
    receiver listen -n 1 --template '%{colour} %{body}'
    msend --dial "$url" --framed -H 'colour: blue' -d body
    wait "$receiver_pid"
    assert_equal "$(cat got)" 'blue body'
    receiver listen -n 1 -F json
    msend --dial "$url" -d body
    wait "$receiver_pid"
    run cat got
    assert_output --partial '"data":"body"'
}

@test "what looks like a frame and is none is a body" {
    receiver listen -n 1 -F whole
    { printf 'mpf1' && head -c 32 /dev/zero && printf '\5\0\0\0' && head -c 24 /dev/zero && printf hello; } >body
    msend --dial "$url" -F whole body
    wait "$receiver_pid"
    cmp body got
    assert_file_contains got.err 'taken as a bare body'
}

@test "a command works on direct messages" {
    receiver listen -n 3 --workers 2 -- sh -c 'read -r n; echo "$MSG_ID$MSG_COLOUR $n"; [ "$n" != two ]'
    printf '%s\n' one two three | msend --dial "$url"
    ended_code=0
    wait "$receiver_pid" || ended_code=$?
    assert_equal "$ended_code" 1
    assert_equal "$(sort got)" $' one\n three\n two'
    assert_file_contains got.err 'the command failed for 1 of 3 messages'
}

@test "a peer that cannot be reached for as long as --wait says is 69, and why" {
    run mrecv --dial "ipc://$PWD/nobody.sock" --wait 200ms
    assert_failure 69
    assert_output --partial "mrecv: waited 200 ms (--wait) for a peer at ipc://$PWD/nobody.sock: cannot connect to"
}

@test "--wait ends the waiting for a peer with 124" {
    run mrecv --listen "$url" --wait 200ms
    assert_failure 124
}

@test "interrupted, a direct mrecv dies by the signal, and its socket goes" {
    receiver listen
    end "$receiver_pid"
    assert_equal "$ended_code" 143
    refute listens
}

@test "an address that cannot be listened at is told" {
    run mrecv --listen ipc:///no/such/folder/x.sock
    assert_failure
    assert_output --partial '/no/such/folder'
    receiver listen
    run mrecv --listen "$url"
    assert_failure 75
}

@test "a stdout that is closed or full ends a direct mrecv with 74" {
    run bash -c "mrecv --listen '$url' >&-"
    assert_failure 74
    [ -e /dev/full ] || return 0
    start got bash -c "exec mrecv --listen '$url' >/dev/full"
    receiver_pid=$started_pid
    until_true listens
    msend --dial "$url" -d x || true
    ended_code=0
    wait "$receiver_pid" || ended_code=$?
    assert_equal "$ended_code" 74
}

@test "many messages come through, framed and bare" {
    seq 1 200000 >numbers
    receiver listen -n 200000
    msend --dial "$url" --framed numbers
    wait "$receiver_pid"
    cmp numbers got
    receiver listen -n 200000
    msend --dial "$url" numbers
    wait "$receiver_pid"
    cmp numbers got
}
