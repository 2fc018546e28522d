#!/usr/bin/env bats
# The trials themselves are tried: each fault that is put into a relay on
# purpose (tests/torture/faulty.c) turns the simulation and the kill trial red,
# each for its own reason. What is not flushed is for the power-loss trial.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
    trials=$MSGPIPE_BUILD/tests/torture
    [[ -x $trials/mrelay-faulty ]] || skip 'the linker cannot put a function in the place of another (--wrap)'
    export TMPDIR=$PWD
}

teardown() {
    tools_teardown
}

# A fault, what the kill trial finds at least (of those words), and what the simulation says.
planted() {
    cat <<'TABLE'
early-ack lost the store does not know it|offsets were stored, and
no-sessions duplicated|lost answered .* and later
bit-flip altered altered|a phantom
lost-settlement revived|lost was stored twice|settled|the store does not know it
endless-leases lost it is not done
TABLE
}

@test "without a fault that relay is one like any other, and a fault that is none is refused" {
    run -0 "$trials/sim-faulty" --seeds 20
    MSGPIPE_PLANT=nonsense run -64 "$trials/mrelay-faulty" -r x
    assert_output --partial 'there is no fault "nonsense"'
}

@test "the simulation finds each planted fault" {
    local fault class words
    while read -r fault class words; do
        echo "$fault"
        MSGPIPE_PLANT=$fault run "$trials/sim-faulty" --seeds 300
        refute [ "$status" -eq 0 ]
        assert_output --regexp "$words"
    done < <(planted)
}

# All at once: they wait more than they work.
@test "the kill trial finds each planted fault" {
    local fault class words pid
    ! grep -q '^#define MSGPIPE_SANITIZERS' "$MSGPIPE_BUILD/config.h" || skip "takes long with sanitizers"
    while read -r fault class words; do
        MSGPIPE_PLANT=$fault start "$fault.out" "$trials/kills" --until-red --kills 300 --round 30 --rate 600 \
            --pace 60 --waiting 0 --patience 8 --relay "$trials/mrelay-faulty" --tools "$MSGPIPE_BUILD/bin"
    done < <(planted)
    for pid in "${started[@]}"; do
        wait "$pid" || true
    done
    while read -r fault class words; do
        run tail -n 2 "$fault.out"
        echo "$fault: $output"
        assert_output --partial "row"
        run grep -h '^[0-9]* sent: ' "$fault.out"
        assert_output --regexp "[1-9][0-9]* ($class)"
    done < <(planted)
}
