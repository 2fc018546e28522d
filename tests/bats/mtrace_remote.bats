#!/usr/bin/env bats
# mtrace of a relay whose store cannot be read from here: the relay reads it.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# A relay that is to be reached by TCP (at $url, also the next time), and takes this machine for another one's. While
# none listened there, a connection of somebody may have been given that port: then once more.
start_far_relay() {
    local port=0 tries
    [[ ! -f port ]] || port=$(cat port)
    serves_or_ended() {
        mrelay status || ! kill -0 "$relay_pid"
    }
    for ((tries = 0; tries < 20; tries++)); do
        start relay.log mrelay --listen "tcp://127.0.0.1:$port"
        relay_pid=$started_pid
        until_true serves_or_ended
        ! kill -0 "$relay_pid" 2>/dev/null || break
        cat relay.log.err
        sleep 0.2
    done
    url=$(mrelay status | grep -o 'tcp://127.0.0.1:[0-9]*')
    echo "${url##*:}" >port
    echo 1 >s/msgpipe/default.db.lock
}

# The processes that the relay has started; `none_runs`, `one_runs`.
readings() {
    pgrep -P "$relay_pid"
}

none_runs() {
    [[ -z $(readings) ]]
}

one_runs() {
    [[ $(readings | wc -l) -eq 1 ]]
}

# Whether so many seconds have passed since $began.
has_passed() {
    ((SECONDS > began + $1))
}

# asked REQUEST...: what the relay answers to each.
asked() {
    printf '%s\n' "$@" | "$MSGPIPE_BUILD/tests/asker/asker" "$url"
}

# Something of all that verbs look at, and nothing that changes by itself.
make_history() {
    seq 5 | msend -t numbers
    mrecv -t numbers -g sum -n 5 >/dev/null
    mrelay set group orders bill retry.max_retries=0
    msend -t orders -k c1 -H 'region: eu' -d $'h\033[31mello'
    msend -t orders -k c2 -d two
    # shellcheck disable=SC2016 # it is the inner shell's
    mrecv -t orders -g bill -n 2 -- sh -c 'read -r n; echo "no luck with $n" >&2; [ "$n" = two ]' 2>/dev/null || true
    mretry discard -t orders.dead --all --yes >/dev/null
}

# same ARGUMENT...: mtrace prints the same, on stdout and stderr, and exits alike, through the relay. Times of day are
# left out: each process makes them of the relay's time anew, to the microsecond.
same() {
    local near=0 far=0
    mtrace "$@" >near.out 2>near.err || near=$?
    mtrace "$@" -r "$url" >far.out 2>far.err || far=$?
    sed -E 's/ at [-0-9:. ]+, read in .*/ at TIME/; s/[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}|1[0-9]{15}|[0-9]{19}/TIME/g
        s/("time"|"held"):[0-9]+/\1/g' -i near.out far.out
    diff near.out far.out
    diff near.err far.err
    assert_equal "$far" "$near"
    same_code=$far
}

@test "each verb prints what it prints of the store itself, and exits alike" {
    start_far_relay
    make_history
    local now
    now=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
    local -a span=(--since 1h --until "$now")
    same list
    same list --failed -n 1
    assert_equal "$same_code" 0
    same list -t orders --state dead --state acked --sort took --json
    same list -a 'region=e*' --slower 1us "${span[@]}"
    same show orders@0
    same show --json numbers@0 orders@1
    same show --key c1
    same stats "${span[@]}" --histogram
    same graph "${span[@]}"
    same graph --format mermaid "${span[@]}"
    same tail "${span[@]}" --body
    same tail "${span[@]}" --json -n 3
    same tail "${span[@]}" --kind dead
    same audit
    assert_equal "$same_code" 0
    same audit -t orders --json
    same export --otlp
    same export --zipkin
    same export --otlp -g bill
    assert_equal "$same_code" 0
    # What it says when it cannot.
    same show orders@7
    assert_equal "$same_code" 66
    same list -t ordrs
    assert_equal "$same_code" 66
    same stats --since yesterday
    assert_equal "$same_code" 64
    same show
    assert_equal "$same_code" 64
    same list --key nobody
    same tail --since 1h --until 0s -t orders --after '{"event":1}' --marks
    until_true none_runs
}

@test "files are written here: spans, and a picture" {
    start_far_relay
    make_history
    mtrace export --zipkin --to near.json
    mtrace export --zipkin --to far.json -r "$url"
    cmp near.json far.json
    mkdir bin
    # shellcheck disable=SC2016 # it is the script's
    printf '%s\n' '#!/bin/sh' 'echo "$*" >&2' 'cat >&2' >bin/dot
    chmod +x bin/dot
    PATH=$PWD/bin:$PATH run mtrace graph --svg far.svg -r "$url"
    assert_success
    assert_line '-Tsvg -o far.svg'
    assert_line --regexp '^digraph '
}

@test "a tail goes on when its relay is killed and comes back, without a step twice or missing" {
    start_far_relay
    start out mtrace tail -r "$url"
    local tail_pid=$started_pid round
    until_true one_runs
    sent() {
        msend -t first -d x
        grep -q 'published first@' out
    }
    until_true sent
    for round in 1 2 3; do
        seq 20 | msend -t t --rate 200/s --wait 20s
        end "$relay_pid" KILL
        start_far_relay
    done
    msend -t t -d last
    until_true grep -q 'published t@60 ' out
    # Lines are of one message or of several.
    run bash -c "sed -nE 's/.* published t@([0-9]+)(\.\.([0-9]+))?.*/\1 \3/p' out |
        while read -r first last; do seq \"\$first\" \"\${last:-\$first}\"; done"
    assert_output "$(seq 0 60)"
    run cat out.err
    assert_output ''
    end "$tail_pid"
    assert_equal "$ended_code" 143
    until_true none_runs
}

@test "what came in part when the relay was killed is not shown twice" {
    start_far_relay
    mrelay set topic x retain.age=1h
    seq 300000 | msend -t x
    mkfifo pipe
    mtrace tail --since 1h --body -r "$url" >pipe &
    started+=($!)
    exec 8<pipe
    read -r -u 8
    # Its reader reads no further, so all of them stand, the one at the relay in the middle of a batch: it stays there.
    is_standing() {
        local before
        before=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
        sleep 0.2
        [[ $(awk '{ print $14 + $15 }' "/proc/$pid/stat") == "$before" ]]
    }
    local pid
    pid=$(readings)
    [[ -r /proc/$pid/stat ]] || skip 'no /proc here'
    until_true is_standing
    kill -STOP "$pid"
    # What lies between them comes out, and then nothing more.
    cat <&8 >out 3>&- 8<&- &
    started+=($!)
    exec 8<&-
    has_come() {
        local before
        before=$(wc -c <out)
        sleep 0.2
        [[ $before -gt 0 && $(wc -c <out) == "$before" ]]
    }
    until_true has_come
    end "$relay_pid" KILL
    kill -KILL "$pid"
    start_far_relay
    until_true grep -qx '  299999 300000' out
    run bash -c "sed -n 's/^  \([0-9]*\) .*/\1/p' out | cmp - <(seq 0 299999)"
    assert_success
}

@test "what has an end is not taken for whole when the relay was started anew in its middle" {
    start_far_relay
    mrelay set topic x retain.age=1h
    seq -f '%0100.0f' 20000 | msend -t x
    mkfifo pipe
    mtrace list -n 20000 --json -r "$url" >pipe 2>err &
    local lister=$!
    started+=("$lister")
    exec 8<pipe
    read -r -u 8
    end "$relay_pid" KILL
    start_far_relay
    # What it has not asked for yet was never there: the end is told, and is no success.
    cat <&8 >out 3>&- &
    exec 8<&-
    local code=0
    wait "$lister" || code=$?
    assert_equal "$code" 69
    run cat err
    assert_output 'mtrace: the relay has ended this before all had come: what stands here is not the whole; ask again'
}

@test "an export to a collector goes on behind its position, whatever is killed, and drops nothing" {
    start_far_relay
    mrelay set topic x retain.age=1h
    mkdir collector
    start collector.log "$MSGPIPE_BUILD/tests/collector/collector" "$PWD/collector" 0
    until_true test -s collector/port
    local to
    to=http://127.0.0.1:$(cat collector/port)
    exporting() {
        start export mtrace export --otlp --follow --to "$to" --position position -r "$url"
        exporter=$started_pid
    }
    local round
    exporting
    for round in 1 2 3 4; do
        seq 10 | msend -t x --rate 100/s --wait 20s
        mrecv -t x -g g -n 10 --wait 20s >/dev/null
        case $round in
        1 | 3)
            until_true test -s position
            end "$exporter" KILL
            exporting
            ;;
        2)
            end "$relay_pid" KILL
            start_far_relay
            ;;
        esac
    done
    ids() {
        jq -r '.resourceSpans[].scopeSpans[].spans[].spanId' | sort -u
    }
    all_there() {
        mtrace export --otlp | ids >whole
        cut -f2 collector/got | ids >got
        [[ -s whole ]] && cmp -s whole got
    }
    until_true all_there
    # The same of the position: nothing is sent again.
    end "$exporter"
    run --separate-stderr mtrace export --otlp --position position -r "$url"
    assert_success
    assert_output ''
}

@test "where an export was interrupted, it says how to go on" {
    start_far_relay
    msend -t x -d one
    start out mtrace export --otlp --follow -r "$url"
    until_true grep -q '"publish x"' out
    end "$started_pid"
    assert_equal "$ended_code" 143
    run cat out.err
    assert_output --regexp '^mtrace: 1 spans were exported; to go on: --from-event [0-9]+$'
    msend -t x -d two
    run mtrace export --otlp -r "$url" --from-event "$(grep -o '[0-9]*$' out.err)"
    assert_success
    assert_output --partial '"messaging.msgpipe.message.offset","value":{"intValue":"1"}'
    refute_output --partial '"intValue":"0"'
}

@test "stats --watch comes again and again, and outlives its relay" {
    start_far_relay
    msend -t first -d x
    start out mtrace stats --watch --since 1h -r "$url"
    twice() {
        [[ $(grep -c "^$1 " out) -ge 2 ]]
    }
    until_true twice first
    end "$relay_pid" KILL
    start_far_relay
    msend -t second -d x
    until_true twice second
    end "$started_pid"
    until_true none_runs
}

@test "on a terminal it is drawn for that terminal, and NO_COLOR is obeyed" {
    need_terminal
    start_far_relay
    make_history
    shown() {
        script -qec "stty cols $1 rows 24; $2 mtrace list $3" /dev/null </dev/null | tr -d '\r'
    }
    assert_equal "$(shown 60 '' "-r $url")" "$(shown 60 '' '')"
    shown 60 '' "-r $url" | grep -q $'\033\\['
    shown 60 NO_COLOR=1 "-r $url" >plain
    run grep -c $'\033' plain
    assert_output 0
    run bash -c "tr -d '\r' <plain | awk '{ if (length > 60) print }'"
    assert_output ''
    # Its times are of this side's zone.
    export TZ=XYZ-5:30
    assert_equal "$(mtrace list -n 1 -r "$url" | cut -d. -f1)" "$(mtrace list -n 1 | cut -d. -f1)"
}

@test "only what reads may be asked for, by its whole name" {
    start_far_relay
    msend -t x -d one
    local id=0123456789abcdef0123456789abcdef
    refused() {
        run asked "{\"verb\":\"trace\",\"reading\":\"$id\",$1}"
        assert_success
        assert_output --regexp "^$2 "
        until_true none_runs
    }
    # Verbs: none but those of mtrace, in whole.
    refused '"command":"sho"' 2
    refused '"command":"--help"' 2
    refused '"command":"show;id"' 2
    refused '"command":""' 2
    refused '"command":["show"]' 2
    refused '"options":{}' 2
    # Options: whole names, of that verb, and none that writes, posts, or names a file or a relay.
    local option
    for option in to position from-event timeout svg store relay wait help version completion mdoc-options \
        t top topi -t --topic 'topic=x --to' '' follow; do
        refused "\"command\":\"list\",\"options\":{\"$option\":\"/etc/passwd\"}" 2
    done
    refused '"command":"export","options":{"otlp":true,"to":"/tmp/x"}' 2
    refused '"command":"graph","options":{"svg":"/tmp/x"}' 2
    refused '"command":"stats","options":{"watch":"yes"}' 2
    refused '"command":"stats","options":{"watch":false}' 2
    refused '"command":"list","options":{"topic":{"a":1}}' 2
    refused '"command":"list","options":{"topic":[1]}' 2
    refused '"command":"list","operands":["x"]' 2
    refused '"command":"show","operands":[{"store":"x"}]' 2
    # Names of readings, and amounts.
    id=../../etc/passwd refused '"command":"list"' 2
    id=0123 refused '"command":"list"' 2
    id=0123456789ABCDEF0123456789abcdef refused '"command":"list"' 2
    many() {
        seq -f '"%.0f"' "$1" | paste -sd,
    }
    refused "\"command\":\"list\",\"options\":{\"topic\":[$(many 300)]}" 4
    refused "\"command\":\"show\",\"operands\":[$(many 4000)]" 2
    refused "\"command\":\"list\",\"options\":{\"key\":\"$(head -c 17000 /dev/zero | tr '\0' x)\"}" 4
    refused '"command":"list","options":{"key":"a\u0000b"}' 3
    # A value is never taken for anything but a value: of this the process itself says what is wrong.
    local exit_code
    id=00000000000000000000000000000001
    for option in '"list","options":{"topic":"--store=/etc/passwd"}' '"show","operands":["--store=/etc/passwd"]' \
        '"show","operands":["-r","tcp://127.0.0.1:1"]'; do
        run asked "{\"verb\":\"trace\",\"reading\":\"$id\",\"command\":$option}"
        assert_output 'ok {}'
        read_all
        [[ $exit_code == 64 || $exit_code == 66 ]]
        id=${id%?}$((${id: -1} + 1))
    done
    # The relay is as well as before.
    run mtrace list -r "$url"
    assert_success
}

@test "what may be asked for are all the options of mtrace but those that are the client's" {
    start_far_relay
    local verb name known
    for verb in show list stats graph tail audit export; do
        mtrace "$verb" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE '[a-z-]{3,}$' | sed 's/^--//' >options
        # A number is the value of none, so that nothing is started.
        while read -r name; do
            echo "{\"verb\":\"trace\",\"reading\":\"00112233445566778899aabbccddeeff\",\"command\":\"$verb\",\"options\":{\"$name\":1}}"
        done <options | "$MSGPIPE_BUILD/tests/asker/asker" "$url" >answers
        known=$(paste -d' ' options answers | grep -v 'does not know the option' | cut -d' ' -f1)
        run grep -vxF "$known" options
        case $verb in
        graph) assert_output $'svg\nrelay\nstore\nwait' ;;
        export) assert_output $'to\nposition\nfrom-event\ntimeout\nrelay\nstore\nwait' ;;
        *) assert_output $'relay\nstore\nwait' ;;
        esac
    done
}

# Fetches what $id has read, piece by piece; its exit code is in $exit_code.
read_all() {
    local number line
    exit_code=
    for ((number = 1; number < 100; )); do
        line=$(asked "{\"verb\":\"trace_read\",\"reading\":\"$id\",\"number\":$number,\"wait_ms\":2000}")
        [[ $line == ok* ]] || return 1
        [[ $line != *"\"number\":$number,"* ]] || number=$((number + 1))
        if [[ $line == *'"exit":'* ]]; then
            exit_code=${line##*\"exit\":}
            exit_code=${exit_code%%\}*}
            return 0
        fi
    done
    return 1
}

@test "requests can be repeated; a piece is to be had until the next one" {
    start_far_relay
    seq 3 | msend -t x
    local id=00112233445566778899aabbccddeeff
    local begin="{\"verb\":\"trace\",\"reading\":\"$id\",\"command\":\"list\",\"options\":{}}"
    piece() {
        echo "{\"verb\":\"trace_read\",\"reading\":\"$id\",\"number\":$1,\"wait_ms\":5000}"
    }
    run asked "$begin" "$begin" "$(piece 1)" "$(piece 1)" "$(piece 1)"
    assert_line --index 0 'ok {}'
    assert_line --index 1 'ok {}'
    assert_line --index 2 --regexp '^ok \{"number":1,"output":[0-9]+,"errors":0'
    assert_equal "${lines[3]}" "${lines[2]}"
    assert_equal "${lines[4]}" "${lines[2]}"
    # Neither what is far ahead nor what was is there, nor another's.
    run asked "$(piece 7)" "$(piece 0)" "$(piece -1)" "$(id=ffeeddccbbaa99887766554433221100 piece 1)"
    assert_line --index 0 --regexp '^2 '
    assert_line --index 1 --regexp '^2 '
    assert_line --index 2 --regexp '^2 '
    assert_line --index 3 --regexp '^16 '
}

@test "of two connections that wait for the same, one can go" {
    start_far_relay
    msend -t x -d one
    local id=00112233445566778899aabbccddeeff piece
    piece="{\"verb\":\"trace_read\",\"reading\":\"$id\",\"number\":1,\"wait_ms\":5000}"
    # Nothing happens in that topic: both wait.
    asked "{\"verb\":\"trace\",\"reading\":\"$id\",\"command\":\"tail\",\"options\":{\"topic\":\"x\"}}"
    echo "$piece" >question
    asking() {
        # shellcheck disable=SC2016 # it is the inner shell's
        start "$1" bash -c 'exec "$0" "$1" <question' "$MSGPIPE_BUILD/tests/asker/asker" "$url"
    }
    asking first
    local first=$started_pid
    asking second
    connected() {
        [[ $(mrelay status --json | jq .connections) -ge 3 ]]
    }
    until_true connected
    end "$first"
    local began=$SECONDS
    until_true has_passed 4
    one_runs
}

@test "a reading that nobody asks for ends, and so do those of a relay that stops" {
    start_far_relay
    msend -t x -d one
    # Begun, and never asked for.
    asked '{"verb":"trace","reading":"00112233445566778899aabbccddeeff","command":"tail","options":{}}'
    until_true one_runs
    until_true none_runs
    # A client that is killed.
    start out mtrace tail -r "$url"
    until_true one_runs
    end "$started_pid" KILL
    until_true none_runs
    # A relay that ends.
    start out mtrace tail -r "$url"
    until_true one_runs
    local pid
    pid=$(readings)
    end "$relay_pid"
    run ps -p "$pid"
    assert_failure
    # And one that is killed: what it had started sees it.
    start_far_relay
    until_true one_runs
    pid=$(readings)
    end "$relay_pid" KILL
    gone() {
        ! ps -p "$pid"
    }
    until_true gone
}

@test "so many at a time and no more; the next one waits for its turn" {
    start_far_relay
    msend -t x -d one
    local number begun=()
    for ((number = 10; number < 26; number++)); do
        begun+=("{\"verb\":\"trace\",\"reading\":\"000000000000000000000000000000$number\",\"command\":\"tail\",\"options\":{}}")
    done
    all_run() {
        asked "${begun[@]}"
        [[ $(readings | wc -l) -eq 16 ]]
    }
    until_true all_run
    run asked "${begun[0]/00010/000ff}"
    assert_output --regexp '^17 16 others read through that relay now'
    run mtrace list -r "$url" --wait 300ms
    assert_failure 75
    assert_output 'mtrace: 16 others read through that relay now, as many as may: try again later'
    # Nobody asks for those: their places become free while this one waits.
    run mtrace list -r "$url"
    assert_success
    assert_output --partial 'x@0'
}

@test "a reader that does not read makes the reading stand, for as long as it likes, and takes no memory" {
    start_far_relay
    mrelay set topic x retain.age=1h
    seq -f '%0100.0f' 200000 | msend -t x
    local before
    before=$(awk '/^VmRSS/ { print $2 }' "/proc/$relay_pid/status" 2>/dev/null) || skip 'no /proc here'
    mkfifo pipe
    mtrace tail --since 1h --until 0s --body -r "$url" >pipe 2>err &
    started+=($!)
    exec 8<pipe
    until_true one_runs
    # Longer than a reading is kept that nobody asks for.
    local began=$SECONDS
    until_true has_passed 6
    one_runs
    local after
    after=$(awk '/^VmRSS/ { print $2 }' "/proc/$relay_pid/status")
    echo "relay: $before KiB before, $after KiB then"
    [[ $((after - before)) -lt 12288 ]]
    run bash -c 'grep -c "^  [0-9]* " <&8'
    exec 8<&-
    assert_output 200000
    wait "${started[-1]}"
    run cat err
    assert_output ''
}

@test "a relay without mtrace beside it says so" {
    mkdir alone
    cp "$MSGPIPE_BUILD/bin/mrelay" alone/
    PATH=$PWD/alone:$PATH start_far_relay
    msend -t x -d one
    run mtrace list -r "$url"
    assert_failure 66
    assert_output --regexp '^mtrace: that relay has no mtrace to read with: cannot run .*/mtrace: No such file or directory there$'
}
