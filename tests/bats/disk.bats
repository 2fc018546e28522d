#!/usr/bin/env bats
# Full disks, on either side: nothing acknowledged is lost, nothing lost looks
# like success, and work goes on when there is room again.
#
# shellcheck disable=SC2154 # tools.bash and bats set what is read here

setup() {
    load tools
    tools_setup
    disk=
}

teardown() {
    tools_teardown
    [[ -z $disk ]] || umount "$disk"
}

# A small file system for the store, ext4 on a loop device, or in memory where that cannot be; what is left of it is then
# easy to choose.
small_disk() {
    mkdir disk
    truncate -s "$1" disk.image
    if ! mkfs.ext4 -q -m 0 -E root_owner disk.image 2>/dev/null || ! mount -o loop disk.image disk 2>/dev/null; then
        mount -t tmpfs -o size="$1" msgpipe-test disk 2>/dev/null || skip "mounting needs root"
    fi
    disk=$PWD/disk
    chmod 700 disk
    rm -rf disk/lost+found
}

# Fills the disk until less than this many KiB are left, and waits until the relay has to look again: it asks the file
# system ten times a second at most. Of what it writes meanwhile the filler may find the end a little earlier.
fill_up_to() {
    local free
    free=$(df --output=avail -k "$disk" | tail -n 1)
    dd if=/dev/zero of="$disk/filler" bs=1024 count=$((free - $1)) status=none || (($1 == 0))
    sleep 0.2
}

counter() {
    mrelay status --json | jq ".counters.$1"
}

refused_once() {
    (($(counter refused_full) > 0))
}

group_leases() {
    (($(mrelay groups --json | jq '[.groups[].leased] | add') >= $1))
}

undone_once() {
    (($(counter undone) > 0))
}

@test "a nearly full disk refuses publications and still lets consumers work" {
    small_disk 160m
    start_relay --store disk/store.db
    seq 3 | msend -t numbers
    fill_up_to 40000

    start four.log msend -t numbers -d 4
    sender=$started_pid
    until_true refused_once
    kill -0 "$sender" # it waits, and has not given up
    # Who looks after the relay is told.
    until_true grep -q 'event="publications are refused" reason="the disk of the relay.s store is nearly full' relay.log.err
    run -0 mrelay status
    assert_line 'full       publications wait: the disk of the relay'"'"'s store is nearly full: less than 64 MiB are free'

    run -0 --separate-stderr mrecv -t numbers -g work -n 3 --wait 20s
    assert_output "$(seq 3)"
    run -0 mrelay topics --json
    assert_equal "$(jq '.topics[0].end' <<<"$output")" 3

    rm disk/filler
    wait "$sender"
    until_true grep -q 'event="publications are taken again"' relay.log.err
    run -0 --separate-stderr mrecv -t numbers -g work -n 1 --wait 20s
    assert_output 4
}

@test "a disk that messages have filled has room again when they are settled" {
    small_disk 300m
    start_relay --store disk/store.db
    make_groups numbers work
    local half=$((100 * 1024 * 1024))
    yes 'a line of a message that is long enough to fill a disk before long' | head -c "$half" | msend -t numbers
    fill_up_to 40000

    start more.log msend -t numbers -d more
    sender=$started_pid
    until_true refused_once
    mrecv -t numbers -g work -n "$((half / 68))" --wait 60s >/dev/null
    wait "$sender" # the file is as large as before
    run -0 --separate-stderr mrecv -t numbers -g work -e
    assert_regex "$output" 'more$'
}

@test "on a disk without a byte left nothing is lost, and work goes on when there is room" {
    small_disk 160m
    start_relay --store disk/store.db
    seq 1000 | msend -t numbers
    fill_up_to 0

    # A lease is a row: it cannot be written now, and is not given.
    start got mrecv -t numbers -g work -n 1000 --wait 60s
    receiver=$started_pid
    # Rows that fit into pages that are there already may go through for a while.
    for i in $(seq 200); do
        timeout 5 mrecv -t numbers -g "group$i" -n 1 >/dev/null 2>&1 || true
        ! undone_once || break
    done
    undone_once

    rm disk/filler
    wait "$receiver"
    diff <(seq 1000) got
    run -0 mrelay wait -t numbers -g work --wait 20s
}

@test "a nearly full disk refuses no dead letter" {
    small_disk 160m
    start_relay --store disk/store.db
    seq 100 | msend -t numbers
    fill_up_to 40000

    run --separate-stderr mrecv -t numbers -g work -n 100 --wait 20s -- sh -c 'exit 65'
    assert_equal "$status" 65
    run -0 --separate-stderr mrecv -t numbers.dead -e
    assert_equal "$(sort -n <<<"$output")" "$(seq 100)"
}

@test "a message that dies on a disk without a byte left has its letter when there is room" {
    small_disk 160m
    start_relay --store disk/store.db
    head -c 3000 /dev/zero | tr '\0' x >body
    for i in $(seq 40); do echo "$i $(cat body)"; done | msend -t numbers
    mkfifo go

    # Each command waits until the disk is full, and then rejects its message.
    start out mrecv -t numbers -g work -n 40 --workers 4 --wait 60s -- sh -c 'read -r line <go; exit 65'
    receiver=$started_pid
    until_true group_leases 4
    fill_up_to 0
    start filled sh -c 'exec 4<>go; exec yes >&4' # a reader of its own: it does not end when there is no other
    until_true undone_once

    rm disk/filler
    wait "$receiver" || assert_equal "$?" 65
    run -0 --separate-stderr mrecv -t numbers.dead -e
    assert_equal "$(cut -d ' ' -f 1 <<<"$output" | sort -n)" "$(seq 40)"
    run -0 mrelay groups --json
    assert_equal "$(jq '.groups[] | select(.topic == "numbers") | .dead' <<<"$output")" 40
}

@test "a spool on a disk that fills up says how far it came, and what it took is delivered" {
    small_disk 80m
    run bash -c 'seq -f "a line of a message that is long enough to fill a disk before long %.0f" 1000000 |
        msend --spool disk/spool -t numbers --wait 60s'
    assert_equal "$status" 75
    assert_output --partial "the disk of the spool disk/spool is nearly full: less than 32 MiB are free"
    assert_output --regexp 'given up: [0-9]+ messages are kept in disk/spool'
    kept=$(grep -o '[0-9]* messages are kept' <<<"$output" | cut -d ' ' -f 1)
    ((kept > 100000))

    start_relay # its store is on another disk
    run -0 msend --spool disk/spool --wait 20s
    mrecv -t numbers -e | sed 's/.* //' >got
    diff <(seq "$kept") got
}

@test "dead letters that do not fit on a full disk are 74, and those before them are whole" {
    small_disk 4m
    head -c 100000 /dev/zero | tr '\0' x >body
    for i in $(seq 60); do echo "$i $(cat body)"; done >input
    run --separate-stderr mretry --max-retries 0 --dead-file disk/dead -- false <input
    assert_equal "$status" 74
    [[ $stderr == *"No space left on device"* ]]
    run -0 --separate-stderr mretry list --dead-file disk/dead --json
    local letters=${#lines[@]}
    ((letters > 10 && letters < 60))

    # With room again, the next letter stands in a line of its own.
    truncate -s 0 input
    for i in $(seq 3); do echo "more $i"; done >input
    cp disk/dead dead
    run -65 --separate-stderr mretry --max-retries 0 --dead-file dead -- false <input
    run -0 --separate-stderr mretry list --dead-file dead --json
    assert_equal "${#lines[@]}" $((letters + 3))
}

@test "a backup that does not fit on its disk fails, and leaves nothing behind" {
    small_disk 4m
    start_relay
    head -c 8000000 /dev/zero | tr '\0' x | msend -t numbers -F whole
    run mrelay backup disk/copy
    assert_equal "$status" 74
    assert_output --partial "the disk is full"
    assert_equal "$(ls disk)" ''
}

@test "output to a full disk is 74, and what was not taken stays with the relay" {
    [[ -c /dev/full ]] || skip "there is no /dev/full"
    start_relay
    seq 5 | msend -t numbers
    run -74 bash -c 'mrecv -t numbers -g work -n 5 --wait 20s >/dev/full'
    assert_output --partial "No space left on device"
    run -0 --separate-stderr mrecv -t numbers -g work -n 5 --wait 20s
    assert_output "$(seq 5)"
}

@test "a closed stdout is 74, and what was not taken stays with the relay" {
    start_relay
    seq 5 | msend -t numbers
    run -74 bash -c 'mrecv -t numbers -g work -n 5 --wait 20s >&-'
    run -0 --separate-stderr mrecv -t numbers -g work -n 5 --wait 20s
    assert_output "$(seq 5)"
}

@test "on a disk that is nearly full the relay is well, and not ready" {
    command -v curl >/dev/null || skip "no curl"
    small_disk 160m
    start_relay --store disk/store.db --http "unix:$PWD/w"
    get() { curl --silent --fail-with-body --max-time 60 --unix-socket w "http://relay$1"; }
    run -0 get /readyz
    fill_up_to 40000
    run -22 get /readyz
    assert_output "the disk of the relay's store is nearly full: less than 64 MiB are free"
    run -0 get /healthz
    assert_equal "$(get /metrics | awk '$1 == "msgpipe_store_free_disk_bytes" { print ($2 < 64 * 1024 * 1024) }')" 1
    rm disk/filler
    until_true get /readyz
}
