#!/usr/bin/env bats
# mtrace on what is no store, or a damaged one: it is named as such, and never a crash. MSGPIPE_FLIPS says how many
# stores are damaged (the long form: 300).
#
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# A store with something of all that verbs look at: store.db, and live.db with a log beside it.
make_stores() {
    start_relay
    mrelay set topic once dedupe.by=id
    mrelay set group orders bill retry.max_retries=0
    seq 3000 | msend -t orders
    seq 20 | msend -t once
    msend -t orders --delay 1h -d later
    mrecv -t orders -g bill -n 5 -- sh -c 'read -r n; [ "$n" != 3 ]' || :
    end "$relay_pid"
    cp s/msgpipe/default.db store.db
    start_relay
    seq 500 | msend -t orders
    mrecv -t orders -g bill -n 100 >/dev/null
    end "$relay_pid" KILL || :
    cp s/msgpipe/default.db live.db
    cp s/msgpipe/default.db-wal live.db-wal
}

# every_verb FILE: each ends by itself, with an exit code that means something.
every_verb() {
    local arguments code
    while read -r -a arguments; do
        code=0
        timeout 60 mtrace "${arguments[@]}" --store "$1" </dev/null >out 2>err || code=$?
        case $code in
        0 | 1 | 64 | 66 | 74 | 77) ;;
        *) echo "${arguments[*]}: exit $code" && cat err && return 1 ;;
        esac
        if grep -E 'Sanitizer|runtime error' err; then
            cat err
            return 1
        fi
        [[ $code == 0 || $code == 1 || -s err ]] || { echo "${arguments[*]}: exit $code without a word" && return 1; }
    done <<'VERBS'
audit
audit --json
show orders@2
list
stats
graph
VERBS
}

# refused FILE EXIT WORDS
refused() {
    run mtrace audit --store "$1"
    assert_equal "$status" "$2"
    assert_output --partial "$3"
    every_verb "$1"
}

@test "what is no store, or one of another version, is named" {
    make_stores
    echo 'these are lines of something else altogether' >lines.txt
    refused lines.txt 66 'lines.txt: not a store: a file of something else'
    : >empty.db
    refused empty.db 66 'empty.db: there is nothing in it yet'
    mkdir folder
    refused folder 66 'folder: not a store: a directory'
    mkfifo pipe
    refused pipe 66 'pipe: not a store: not a regular file'
    refused missing.db 66 'cannot read missing.db: No such file'
    head -c 50 store.db >begun.db
    refused begun.db 66 'begun.db: the file is damaged'
    head -c 30000 store.db >cut.db
    refused cut.db 66 'cut.db: the file is damaged'
    cp store.db newer.db
    printf '\x00\x00\x00\x63' | dd of=newer.db bs=1 seek=60 conv=notrunc status=none # sqlite.org/fileformat: user_version
    refused newer.db 66 'newer.db: a store of version 99, and version'
    cp store.db older.db
    printf '\x00\x00\x00\x02' | dd of=older.db bs=1 seek=60 conv=notrunc status=none
    refused older.db 66 'start its relay once'
    cp store.db other.db
    printf 'abcd' | dd of=other.db bs=1 seek=68 conv=notrunc status=none # application_id
    refused other.db 66 'not a store: a database of another program'
}

@test "the store of a relay on another machine is not looked for on this one" {
    start_relay --listen tcp://127.0.0.1:0
    local url
    url=$(mrelay status | grep -o 'tcp://127.0.0.1:[0-9]*')
    msend -t orders -d one
    run mtrace show -r "$url" orders@0
    assert_success
    assert_output --partial 'orders@0'
    run mtrace audit -r "$url"
    assert_success
    echo 1 >s/msgpipe/default.db.lock # so it is another's, which reads its own: here, one that is none
    mv s/msgpipe/default.db kept.db
    printf 'not that one' >s/msgpipe/default.db
    run mtrace show -r "$url" orders@0
    assert_failure 66
    assert_output "mtrace: $PWD/s/msgpipe/default.db: not a store: a file of something else"
    mv kept.db s/msgpipe/default.db
}

@test "a store that may not be read is named" {
    [[ $(id -u) != 0 ]] || skip 'root may read everything'
    make_stores
    chmod 000 store.db
    refused store.db 77 'cannot read store.db: Permission denied'
}

@test "a store whose bytes are damaged anywhere never crashes a verb" {
    make_stores
    RANDOM=${MSGPIPE_SEED:-1}
    local flips=${MSGPIPE_FLIPS:-60} number file size place
    for ((number = 0; number < flips; number++)); do
        rm -f bad.db*
        cp live.db bad.db
        cp live.db-wal bad.db-wal
        file=bad.db
        ((number % 3)) || file=bad.db-wal
        size=$(wc -c <"$file")
        place=$(((RANDOM << 15 | RANDOM) % size))
        ((number % 5)) || place=$((RANDOM % 4096)) # headers
        printf "\\x$(printf %02x $((RANDOM % 256)))" | dd of="$file" bs=1 seek="$place" conv=notrunc status=none
        every_verb bad.db || { echo "byte $place of $file (flip $number)" && return 1; }
    done
}

@test "a store on which a relay is just starting or recovering is read or waited for" {
    make_stores
    local round code
    for round in 1 2 3 4 5; do
        cp live.db s/msgpipe/default.db
        cp live.db-wal s/msgpipe/default.db-wal
        rm -f s/msgpipe/default.db-shm
        start relay.log mrelay
        every_verb s/msgpipe/default.db
        code=0
        mtrace audit --store s/msgpipe/default.db >out 2>err || code=$?
        assert_equal "$code" 0
        end "$started_pid" KILL || :
    done
}
