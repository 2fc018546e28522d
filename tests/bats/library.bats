#!/usr/bin/env bats
# libmsgpipe: C programs as peers. The programs are in tests/examples.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
    examples=$MSGPIPE_BUILD/tests/examples
}

teardown() {
    tools_teardown
}

topic_has_messages() {
    [[ $(mrelay topics -t "$1" --json) =~ \"messages\":[1-9] ]]
}

@test "a C program publishes and consumes" {
    start_relay
    run -0 "$examples/peer" one two "three four"
    assert_line --index 0 --regexp '^[0-9a-f]{32} one$'
    assert_line --index 1 --regexp '^[0-9a-f]{32} two$'
    assert_line --index 2 --regexp '^[0-9a-f]{32} three four$'
    assert_equal "${#lines[@]}" 3

    # What was acknowledged does not come again.
    run -0 "$examples/peer" five
    assert_line --index 0 --regexp '^[0-9a-f]{32} five$'
    assert_equal "${#lines[@]}" 1
}

@test "without a relay it is told which address does not answer" {
    run -1 "$examples/peer" one
    assert_output --partial "no relay answers at ipc://$XDG_RUNTIME_DIR/msgpipe/default.sock"
}

@test "a flood survives a relay that is killed in its midst, whole and in order" {
    start_relay
    start flood.out "$examples/flood" 3000000
    local flood=$started_pid
    until_true topic_has_messages flood
    end "$relay_pid" KILL
    start_relay
    end "$relay_pid" KILL
    start_relay
    wait "$flood"
    run -0 cat flood.out flood.out.err
    assert_output "3000000 in order"
}

@test "what is installed is enough to build a peer" {
    command -v pkg-config >/dev/null || skip "no pkg-config"
    ! grep -q '^#define MSGPIPE_SANITIZERS' "$MSGPIPE_BUILD/config.h" || skip "a library with sanitizers needs their flags"
    local -x DESTDIR=$PWD/root
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$MSGPIPE_BUILD" \
        install-libLTLIBRARIES install-includeHEADERS install-pkgconfigDATA >install.log 2>&1
    local pc
    pc=$(find "$DESTDIR" -name msgpipe.pc)
    local -x PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$DESTDIR
    local -x PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
    local flags
    read -r -a flags <<<"$(pkg-config --cflags --libs msgpipe)"
    # shellcheck disable=SC2086 # $CC may be a command with options
    $CC -o peer "$MSGPIPE_SOURCE/tests/examples/peer.c" "${flags[@]}"

    start_relay
    local -x LD_LIBRARY_PATH=${pc%/pkgconfig/*}
    run -0 ./peer installed
    assert_output --regexp '^[0-9a-f]{32} installed$'
}

@test "only the names that begin with mp_ can be seen" {
    command -v nm >/dev/null || skip "no nm"
    local library
    library=$(find "$MSGPIPE_BUILD/.libs" -name 'libmsgpipe.so' -o -name 'libmsgpipe.dylib')
    [ -n "$library" ]
    nm -D --defined-only "$library" | sed 's/.* //' >names
    assert grep -q '^mp_publish$' names
    run -1 grep -v '^mp_' names
    assert_output ""
}
