#!/usr/bin/env bats
# mtrace audit: a store in which all is used is green, and red after any row of it was removed or altered by hand.
#
# The scripts of the commands are in single quotes: their own shell expands them.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown || :
}

# The store of all tests here: made once, by a relay that was stopped and one that was killed. base.db: the whole of it;
# early.db: as it was in between.
setup_file() {
    command -v sqlite3 >/dev/null || return 0
    local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
    tools_setup
    make_store
}

first_relay() {
    start_relay
    mrelay set topic once dedupe.by=id dedupe.window=1h retain.age=1h
    mrelay set topic short ttl=1ms
    mrelay set topic few max_messages=5 overflow=drop_oldest
    mrelay set group keyed k order=key max_in_flight=4
    mrelay set group orders bill retry.max_retries=1 retry.initial_interval=1ms retry.max_interval=1ms
    mrelay set group orders ship retry.initial_interval=1h retry.max_interval=1h
    make_groups 'logs.*' watch
    make_groups once g
    make_groups short g
    make_groups few g
    make_groups gone g
    make_groups orders all
    seq 40 | msend -t orders
    printf 'a 1\nb 2\na 3\n' | msend -t keyed -K ' '
    seq 9 | msend -t few
    seq 5 | msend -t gone
    msend -t logs.a -d one
    msend -t logs.b -d two
    msend -t once --id 1 -d one
    msend -t once --id 2 -d two
    msend -t once --id 1 -d one
    msend -t short -d late
    msend -t orders --delay 1h -d 'not yet'
    msend -t logs.a --delay 2h -d 'not yet'
    msend -t orders --spool spool -d spooled
    mrecv -t orders -g bill -n 20 -- sh -c 'read -r n; [ "$((n % 7))" != 0 ]' || :
    mrecv -t once -g g -n 2 >/dev/null
    mrecv -t short -g g -e >/dev/null
    mrecv -t few -g g -n 3 >/dev/null
    mrecv -t gone -g g -n 3 >/dev/null
    mrelay topics delete gone -y
    mretry replay -t orders.dead "$(mretry list -t orders.dead --json | head -1 | grep -o '"id":"[^"]*' | cut -d\" -f4)"
}

second_relay() {
    start_relay
    seq 41 60 | msend -t orders
    printf 'a 4\nc 5\n' | msend -t keyed -K ' '
    msend -t once --id 3 -d three
    msend -t logs.c -d three
    msend -t orders --delay 3h -d 'not yet'
    mrecv -t keyed -g k -n 2 >/dev/null
    mrecv -t orders -g ship -n 3 -- false || :
    mrecv -t once -g g -e >/dev/null
    mrecv -t orders -g all -e >/dev/null
    mrecv -t orders -g bill -n 5 -- sh -c 'read -r n; [ "$((n % 7))" != 0 ]' || :
    start held mrecv -t orders -g ship -- sh -c 'echo began; exec sleep 5'
    holder_pid=$started_pid
    until_true grep -q began held
    msend -t orders -d last
}

make_store() {
    first_relay
    end "$relay_pid"
    cp s/msgpipe/default.db early.db
    second_relay
    end "$relay_pid" KILL || true
    end "$holder_pid" KILL || true
    tools_teardown || :
    cp s/msgpipe/default.db base.db
    cp s/msgpipe/default.db-wal base.db-wal
    sqlite3 base.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
    rm -f base.db-*
}

needs_sqlite() {
    command -v sqlite3 >/dev/null || skip 'sqlite3 is not installed'
}

assert_output_has() {
    grep -qF -- "$1" out || { cat out && return 1; }
}

# Rows of TABLE that are there early and late, and are not the same, as conditions.
changed() {
    local key=id
    [[ $1 != numbers ]] || key=name
    sqlite3 "$BATS_FILE_TMPDIR/base.db" "ATTACH '$BATS_FILE_TMPDIR/early.db' AS early; \
        SELECT '$key = ' || quote(e.$key) FROM early.$1 e JOIN main.$1 m ON e.$key = m.$key WHERE e.checksum <> m.checksum"
}

# audited SQL: 1 when the audit of a copy of the store, to which SQL was done, is red; its output is in out.
audited() {
    rm -f t.db*
    cp "$BATS_FILE_TMPDIR/base.db" t.db
    sqlite3 -bail t.db "$1" || { echo "cannot: $1" && return 2; }
    local code=0
    mtrace audit --store t.db >out 2>&1 || code=$?
    echo "$code"
}

# red SQL...: each is found.
red() {
    local sql code failed=0
    for sql; do
        code=$(audited "$sql")
        [[ $code == 1 ]] && continue
        echo "not found ($code): $sql"
        failed=1
    done
    return "$failed"
}

# rows TABLE: the keys of its rows, as conditions.
rows() {
    if [[ $1 == numbers ]]; then
        sqlite3 "$BATS_FILE_TMPDIR/base.db" "SELECT 'name = ''' || name || '''' FROM numbers"
    else
        sqlite3 "$BATS_FILE_TMPDIR/base.db" "SELECT 'id = ' || id FROM $1 ORDER BY id"
    fi
}

tables='numbers topics patterns groups blocks sessions schedule hashes frames events'

# columns TABLE: their names.
columns() {
    sqlite3 "$BATS_FILE_TMPDIR/base.db" "SELECT name FROM pragma_table_info('$1')"
}

# What makes another value of a column.
altered() {
    local column=$1
    if [[ $column == id ]]; then
        echo "id = id + 100000"
    else
        echo "$column = CASE typeof($column) WHEN 'integer' THEN $column + 1 WHEN 'text' THEN $column || 'x'" \
            "WHEN 'blob' THEN randomblob(length($column)) ELSE x'01' END"
    fi
}

# every NTH: of the lines that it reads the first, the last, and each NTH.
every() {
    awk -v nth="$1" '{ line[NR] = $0 } END { for (i = 1; i <= NR; i++) if (i == 1 || i == NR || i % nth == 0) print line[i] }'
}

@test "a store in which all is used is green, and its messages are counted by state" {
    needs_sqlite
    run mtrace audit --store "$BATS_FILE_TMPDIR/base.db"
    assert_success
    assert_line --regexp '^orders +bill +63 +40 +1 +0 +20 +2 '
    assert_line --regexp '^short +g +1 '
    assert_line 'every message is in exactly one state, and every row is as it was written'
    run mtrace audit --store "$BATS_FILE_TMPDIR/early.db"
    assert_success
}

@test "a row that was removed by hand is known, whichever it is" {
    needs_sqlite
    local table row wrong=()
    for table in $tables; do
        while read -r row; do
            wrong+=("DELETE FROM $table WHERE $row")
        done < <(rows "$table" | every 9)
        wrong+=("DELETE FROM $table")
    done
    assert [ "${#wrong[@]}" -gt 30 ]
    red "${wrong[@]}"
}

@test "a column that was altered by hand is known, whichever it is, and its row is named" {
    needs_sqlite
    local table column row wrong=()
    for table in $tables; do
        for column in $(columns "$table"); do
            row=$(rows "$table" | if ((${#wrong[@]} % 2)); then head -1; else tail -1; fi)
            wrong+=("UPDATE $table SET $(altered "$column") WHERE $row")
        done
    done
    assert [ "${#wrong[@]}" -gt 80 ]
    red "${wrong[@]}"
    red "UPDATE groups SET floor = floor + 1 WHERE id = 1"
    assert_output_has 'row 1 of groups is damaged: its checksum does not fit'
}

@test "a row that was moved, or is as it was earlier, is known" {
    needs_sqlite
    local table rest row wrong=()
    for table in topics patterns groups blocks sessions schedule hashes frames events; do
        rest=$(columns "$table" | grep -v '^id$' | paste -sd ,)
        while read -r row; do
            wrong+=("INSERT OR REPLACE INTO $table(id, $rest) SELECT id + 1, $rest FROM $table WHERE $row")
        done < <(rows "$table" | every 30)
    done
    for table in numbers topics groups blocks sessions; do
        while read -r row; do
            wrong+=("ATTACH '$BATS_FILE_TMPDIR/early.db' AS early; INSERT OR REPLACE INTO main.$table SELECT * FROM early.$table WHERE $row")
        done < <(changed "$table")
    done
    assert [ "${#wrong[@]}" -gt 30 ]
    red "${wrong[@]}"
}

# A message and one that dies, with a relay of these options that is killed.
live_and_die() {
    start_relay --store gaps.db "$@"
    msend -t orders -d more
    run -65 mrecv -t orders -g work -n 1 --wait 20s -- sh -c 'exit 65'
    msend -t orders -d more
    mrecv -t orders -g work -n 1 --wait 20s >/dev/null
    kill -9 "$relay_pid"
    wait "$relay_pid" || true
}

@test "a relay that wrote nothing for traces has an audit without findings, and so has the next that does" {
    for options in --no-trace '' --no-trace ''; do
        # shellcheck disable=SC2086 # none is no word
        live_and_die $options
        run mtrace audit --store gaps.db
        assert_success
    done
}
