#!/usr/bin/env bats
# mrelay salvage: what is sound of a damaged store, in a new one; and what a relay says of such a store.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# The place of the words in the file, in bytes.
place_of() {
    grep -abo -m 1 -- "$1" "$2" | head -1 | cut -d: -f1
}

# spoil FILE PLACE [BYTES]: overwrites what is there.
spoil() {
    printf '%*s' "${3:-1}" '' | tr ' ' '#' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Two topics, a group that has settled some, and one that came later, in a store at rest: store.db. Frames of one message each, and the body tells which.
make_store() {
    local i
    start_relay
    make_groups orders bill
    for i in {0..9}; do
        msend -t orders -d "order-$i-$(printf 'x%.0s' {1..300})"
        seq "$((i * 100))" "$((i * 100 + 99))" | msend -t numbers
    done
    mrecv -t orders -g bill -n 3 >/dev/null
    mrecv -t orders -g late --from new -e
    end "$relay_pid"
    cp s/msgpipe/default.db store.db
}

@test "all of a sound store is taken, and the store is left as it is" {
    make_store
    sha256sum store.db >before
    run mrelay salvage new.db --store store.db
    assert_success
    assert_line 'nothing is missing'
    assert_line --partial 'taken: 1010 messages (20 frames, '
    sha256sum -c --quiet before
    assert_file_permission 600 new.db
    mtrace audit --store new.db
    start_relay -r new --store "$PWD/new.db"
    cmp <(mrecv -r new -t numbers -e) <(seq 0 999)
    assert_equal "$(mrecv -r new -t orders -g bill -n 1 | cut -c 1-8)" order-3-
}

@test "a message that is damaged is named, and all others are taken" {
    make_store
    spoil store.db "$(place_of order-5- store.db)"
    run mrelay salvage new.db --store store.db
    assert_failure 1
    assert_line 'missing: topic orders, offset 5: these messages are lost'
    mtrace audit --store new.db
    run mrelay salvage other.db --store store.db --json
    assert_failure 1
    assert_output --partial '"whole":false'
    assert_output --partial '"lost":1,"damaged":{"frames":1}'
    assert_output --partial '"topic":"orders","first":5,"last":5,"messages":1,"settled":false'
    mrelay restore new.db --store s/msgpipe/default.db --force
    start_relay
    # Groups and readers pass what is lost; it is counted, and traces say so.
    assert_equal "$(mrecv -t orders -g bill -e | cut -c 1-8 | tr '\n' ' ')" 'order-3- order-4- order-6- order-7- order-8- order-9- '
    assert_equal "$(mrecv -t orders -e | wc -l)" 0 # all settled
    assert_equal "$(mrecv -t numbers -e | wc -l)" 1000
    group_has 1 dropped orders bill
    run mtrace show orders@5
    assert_output --partial 'dropped, damaged'
    mtrace audit
}

@test "turns that a damaged log would lose are not lost without a word" {
    start_relay
    for i in {1..20}; do msend -t t -d "message-$i."; done
    end "$relay_pid" KILL || :
    cp s/msgpipe/default.db-wal sound.wal
    spoil s/msgpipe/default.db-wal "$(place_of message-7. s/msgpipe/default.db-wal)"
    rm s/msgpipe/default.db-shm
    run timeout 20 mrelay
    assert_failure 1
    assert_output --partial 'default.db-wal: the log is damaged at page '
    assert_output --partial 'turns from there on would be lost'
    assert_output --partial "mrelay salvage FILE --store $PWD/s/msgpipe/default.db"
    run mrelay salvage new.db
    start_relay -r new --store "$PWD/new.db"
    mrecv -r new -t t -e >got
    assert_equal "$(grep -c '^message-.*\.$' got)" 20
    end "$relay_pid"
    # A log that was cut, of which it is known how long it was.
    cp sound.wal s/msgpipe/default.db-wal
    start_relay
    for i in {21..30}; do msend -t t -d "message-$i."; done
    end "$relay_pid" KILL || :
    truncate -s 100000 s/msgpipe/default.db-wal
    run timeout 20 mrelay
    assert_failure 1
    assert_output --partial 'pages were on the disk'
}

@test "who only reads a store does not pass over the end of its log either" {
    start_relay
    local i store=$PWD/s/msgpipe/default.db
    for i in {1..5}; do msend -t t -d "message-$i."; done
    mrelay backup sound.db
    msend -t t -d message-6.
    end "$relay_pid" KILL || :
    # Of the last turn only the index knows that it was whole; SQLite writes that anew for whoever opens the store.
    spoil "$store-wal" "$(place_of message-6. "$store-wal")"
    run mtrace list
    assert_failure 66
    assert_output --partial 'pages were on the disk, and it is sound up to page'
    assert_output --partial "mrelay salvage FILE --store $store"
    run mrelay backup copy.db --store "$store"
    assert_failure
    assert_output --partial 'pages were on the disk'
    assert_not_exist copy.db
    run timeout 20 mrelay
    assert_failure 1
    assert_output --partial 'pages were on the disk'
    # What is kept of it is kept as it was.
    cp "$store-wal" damaged.wal
    mrelay restore sound.db --store "$store" --force
    cmp damaged.wal "$store.replaced-wal"
    start_relay
    assert_equal "$(mrecv -t t -e | wc -l)" 5
}

@test "a store whose first page is gone is refused by name, and salvaged" {
    make_store
    spoil store.db 0 16384
    run timeout 20 mrelay --store "$PWD/store.db"
    assert_failure 1
    assert_output --partial "$PWD/store.db: not a store"
    assert_output --partial 'mrelay salvage'
    run mrelay salvage new.db --store store.db
    mtrace audit --store new.db
    start_relay -r new --store "$PWD/new.db"
    cmp <(mrecv -r new -t numbers -e) <(seq 0 999)
}

# Where the first page of a table begins in store.db.
page_of() {
    echo $((($(sqlite3 store.db "SELECT rootpage FROM sqlite_schema WHERE name = '$1'") - 1) * 16384))
}

# A store with five messages, store.db, and what became of it with five more, later.db.
make_small_store() {
    local i
    start_relay
    for i in {1..5}; do msend -t orders -d "order-$i"; done
    end "$relay_pid"
    cp s/msgpipe/default.db store.db
    start_relay
    for i in {6..10}; do msend -t orders -d "order-$i"; done
    end "$relay_pid"
    cp s/msgpipe/default.db later.db
}

@test "what a page was before is no row, but where the page is damaged its rows are found" {
    make_small_store
    # SQLite leaves what was on a page before: a message's body, say, with rows of a store in it.
    local page content table
    for table in frames events; do
        page=$(page_of "$table")
        content=$(od -An -tu1 -j $((page + 5)) -N 2 later.db | awk '{ print $1 * 256 + $2 }')
        dd if=later.db of=store.db bs=1 skip=$((page + content)) seek=$((page + 2000)) count=400 conv=notrunc status=none
    done
    assert_equal "$(sqlite3 store.db 'PRAGMA integrity_check')" ok
    run mrelay salvage new.db --store store.db
    assert_success
    assert_line --partial 'taken: 5 messages (5 frames, '
    assert_equal "$(sqlite3 new.db 'SELECT max(id) FROM events')" "$(sqlite3 store.db 'SELECT max(id) FROM events')"
    # Without the rows' places.
    spoil later.db $(($(page_of frames) + 8)) 20
    run mrelay salvage other.db --store later.db
    assert_line --partial 'taken: 10 messages (10 frames, '
}

@test "a row that says of itself more than can be is none" {
    make_small_store
    # A name of 805 million bytes, in the free bytes of a page whose account is damaged.
    local page table
    for table in numbers topics events; do
        page=$(page_of "$table")
        printf '\x83\x80\x80\x80\x08\x08\x86\x80\x80\x80\x0d\x08\x08' |
            dd of=store.db bs=1 seek=$((page + 2000)) conv=notrunc status=none
        printf '\x01' | dd of=store.db bs=1 seek=$((page + 7)) conv=notrunc status=none
    done
    run mrelay salvage new.db --store store.db
    assert_line --partial 'taken: 5 messages (5 frames, '
}

@test "what is damaged is missed also where nothing comes behind it" {
    # The last event of a store at rest.
    make_store
    local page content i log=s/msgpipe/default.db-wal
    page=$(page_of events)
    content=$(od -An -tu1 -j $((page + 5)) -N 2 store.db | awk '{ print $1 * 256 + $2 }')
    spoil store.db $((page + content + 30))
    run mrelay salvage new.db --store store.db
    assert_failure 1
    assert_line 'missing: 1 events are missing: traces have gaps'
    mtrace audit --store new.db
    # The last message of one whose relay was killed. Its id is in its event as well: its bytes, from the last to the first.
    start_relay
    for i in {1..5}; do msend -t orders -d "message-$i."; done
    msend -t orders -d message-6. --id 4142434445464748494a4b4c4d4e4f50
    end "$relay_pid" KILL || :
    spoil "$log" "$(place_of message-6. "$log")"
    spoil "$log" "$(place_of HGFEDCBA "$log")"
    run mrelay salvage other.db
    assert_failure 1
    assert_line --partial 'taken: 1015 messages'
    assert_line 'missing: 1 rows of frames are missing or damaged'
    assert_line 'missing: 1 events are missing, so groups may be given messages again'
    mtrace audit --store other.db
}

@test "what cannot be salvaged is told" {
    make_store
    wrong 'mrelay: into which file? mrelay salvage FILE [-r RELAY | --store STORE]' mrelay salvage
    wrong 'mrelay: salvage works on a file: give the relay'"'"'s name, or the file with --store' \
        mrelay salvage new.db -r tcp://127.0.0.1:1
    echo mine >mine
    wrong 'mrelay: mine is there: name a file that is not' mrelay salvage mine --store store.db
    assert_equal "$(cat mine)" mine
    run mrelay salvage new.db --store nothing.db
    assert_failure 66
    head -c 100000 /dev/zero >zeros.db
    run mrelay salvage new.db --store zeros.db
    assert_failure 1
    assert_output 'mrelay: nothing can be taken: zeros.db: there is not one row of a store in it'
    assert_not_exist new.db
    start_relay
    run mrelay salvage new.db
    assert_failure 75
    assert_output 'mrelay: relay default is running: end it first'
    run mrelay salvage new.db --store s/msgpipe/default.db
    assert_failure 75
    assert_output --partial 'a relay has it, process'
    assert_not_exist new.db
}

@test "a relay whose store turns out to be damaged says so, and ends" {
    make_store
    # A list of free pages that begins beyond the file: what is there can be read, and nothing can be added.
    printf '\x00\xff\xff\xff\x00\x00\x00\x05' | dd of=store.db bs=1 seek=32 conv=notrunc status=none
    start_relay -r ruined --store "$PWD/store.db" --http unix:web.sock
    assert_equal "$(mrecv -r ruined -t numbers -e | wc -l)" 1000
    start sent bash -c "head -c 3000000 /dev/zero | msend -r ruined -t t --format whole --wait 20s"
    local code=0 seen=
    while kill -0 "$relay_pid" 2>/dev/null; do
        if mrelay status -r ruined 2>/dev/null | grep -q '^damaged '; then
            seen=yes
            [ -s ready ] || curl --silent --include --unix-socket web.sock http://localhost/readyz >ready || :
        fi
        sleep 0.1
    done
    wait "$relay_pid" || code=$?
    assert_equal "$code" 74
    assert_equal "$seen" yes
    run cat ready
    assert_output --partial 503
    assert_output --partial 'the store is damaged'
    run cat relay.log.err
    assert_output --partial "$PWD/store.db: the file is damaged"
    assert_output --partial "mrelay salvage FILE --store $PWD/store.db"
    mrelay salvage new.db --store store.db
    mtrace audit --store new.db
}

@test "a damaged message is given up by repair, and groups go on" {
    make_store
    spoil store.db "$(place_of order-5- store.db)"
    start_relay --store "$PWD/store.db"
    # Those before it are given; then a consumer is told of the damage, and comes no further.
    run mrecv -t orders -g bill -n 2
    assert_output --partial order-4-
    run mrecv -t orders -g bill -n 1 --wait 2s
    assert_failure
    assert_output --partial 'damaged'
    run mrelay topics repair orders </dev/null
    assert_failure 64
    run -0 --separate-stderr mrelay topics repair orders --yes
    assert_equal "$output" 'orders: gave up offsets 5 to 5 (1 messages); groups dropped 1'
    assert_equal "$stderr" 'mrelay: topic orders: 1 message was given up'
    assert_equal "$(mrecv -t orders -g bill -e | cut -c 1-8 | tr '\n' ' ')" 'order-6- order-7- order-8- order-9- '
    group_has 1 dropped orders bill
    run mtrace show orders@5
    assert_output --partial 'dropped, damaged'
    mtrace audit
    run -0 mrelay topics repair numbers --yes
    assert_output 'mrelay: topic numbers: nothing is damaged'
    # Also after a start, and for a group that begins with it.
    end "$relay_pid"
    start_relay --store "$PWD/store.db"
    mtrace audit --store store.db
    run mrelay topics repair nothing --yes
    assert_failure 66
}

@test "a damaged frame in whose middle the topic begins is given up as a whole" {
    start_relay
    make_groups numbers half
    seq 1000 1099 | msend -t numbers
    seq 1100 1199 | msend -t numbers
    mrecv -t numbers -g half -n 50 >/dev/null
    end "$relay_pid"
    spoil s/msgpipe/default.db "$(place_of 1070 s/msgpipe/default.db)"
    start_relay
    run --separate-stderr mrelay topics repair numbers --yes
    assert_output 'numbers: gave up offsets 50 to 99 (50 messages); groups dropped 50'
    assert_equal "$(mrecv -t numbers -g half -n 1)" 1100
    mtrace audit
}

@test "what is lost may be sent again, also where duplicates are dropped" {
    start_relay
    mrelay set topic t dedupe.by=id dedupe.window=1h
    make_groups t g
    local i
    for i in {1..5}; do msend -t t --id "id-$i" -d "body-$i-"; done
    mrecv -t t -g g -n 2 >/dev/null
    end "$relay_pid"
    cp s/msgpipe/default.db store.db
    for i in 1 4; do
        spoil store.db "$(place_of "body-$i-" store.db)"
    done
    run mrelay salvage new.db --store store.db
    assert_failure 1
    spoil s/msgpipe/default.db "$(place_of body-4- s/msgpipe/default.db)"
    start_relay
    mrelay topics repair t --yes
    start_relay -r new --store "$PWD/new.db"
    local relay
    for relay in default new; do
        for i in {1..5}; do msend -r "$relay" -t t --id "id-$i" -d "again-$i"; done
        assert_equal "$(mrecv -r "$relay" -t t -g g -e | tr '\n' ' ')" 'body-3- body-5- again-4 '
        mtrace audit -r "$relay"
    done
}
