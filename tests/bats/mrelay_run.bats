#!/usr/bin/env bats
# mrelay run and once: the processes of a pipeline, what they do when one is killed, and what they can be asked.

setup() {
    load tools
    tools_setup
    cat >shout.yaml <<'END'
name: shout
topics: {said: {external: true}, shouted: {external: true}}
stages:
  shout: {from: said, command: [tr, a-z, A-Z], to: shouted}
END
    export MSGPIPE_RELAY=shout
}

teardown() {
    tools_teardown
}

# Starts a pipeline, and waits until its stages run; its pid is in $supervisor.
run_pipeline() {
    start run.log mrelay run "$@"
    supervisor=$started_pid
    until_true is_running
}

is_running() {
    [[ $(mrelay status --json --wait 2s | jq -r .pipeline.state) == running ]]
}

generation() {
    mrelay status --json | jq .pipeline.generation
}

# Prints the pid of the supervisor's child whose command line has this in it.
child_with() {
    pgrep -P "$supervisor" -f -- "$1"
}

# Whether exactly these messages are in the topic.
topic_has() {
    [[ $(mrecv -t "$1" -e | sort) == "$2" ]]
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

@test "what is sent to one topic comes out of the other; SIGTERM ends it all, with 0" {
    run_pipeline shout.yaml
    local relay runner
    relay=$(child_with '-r shout')
    runner=$(child_with --stages-only)
    msend -t said -d hello
    until_true topic_has shouted HELLO
    end "$supervisor"
    assert_equal "$ended_code" 0
    assert gone "$relay"
    assert gone "$runner"
}

@test "a relay that is killed is started again, and nothing is lost" {
    run_pipeline shout.yaml
    msend -t said -d one
    kill -KILL "$(child_with '-r shout')"
    until_true is_running
    msend -t said --wait 30s -d two
    until_true topic_has shouted $'ONE\nTWO'
    assert grep -q 'part=relay signal=9' run.log.err
}

@test "a runner that is killed is started again, and does what the first had begun" {
    cat >slow.yaml <<'END'
name: shout
topics: {said: {external: true}, shouted: {external: true}}
stages:
  shout: {from: said, shell: 'touch begun; sleep 1; tr a-z A-Z', to: shouted}
END
    run_pipeline slow.yaml
    msend -t said -d hello
    until_true test -e begun
    kill -KILL "$(child_with --stages-only)"
    until_true topic_has shouted HELLO
}

@test "a supervisor that is killed takes its relay and its runner with it" {
    run_pipeline shout.yaml
    local relay runner
    relay=$(child_with '-r shout')
    runner=$(child_with --stages-only)
    kill -KILL "$supervisor"
    until_true gone "$relay"
    until_true gone "$runner"
}

@test "reload: what changed is exchanged, the rest goes on" {
    sed -i '/^stages:/a\  keep: {from: said, mode: stream, command: [sed, -u, "s/^/kept /"], to: shouted}' shout.yaml
    run_pipeline shout.yaml
    msend -t said -d one
    until_true topic_has shouted $'ONE\nkept one'
    local sed
    sed=$(pgrep -P "$(child_with --stages-only)" sed)
    sed -i 's/\[tr, a-z, A-Z\]/[rev]/' shout.yaml
    run -0 mrelay reload
    msend -t said -d two
    until_true topic_has shouted $'ONE\nkept one\nkept two\nowt'
    assert kill -0 "$sed"
}

@test "a reload of a file with mistakes is 78, and it goes on as before" {
    run_pipeline shout.yaml
    sed -i 's/from: said/form: said/' shout.yaml
    run -78 mrelay reload
    assert_output --partial "it goes on as before"
    kill -HUP "$supervisor"
    until_true grep -q "did you mean 'from'" run.log.err
    msend -t said -d hello
    until_true topic_has shouted HELLO
    run -0 mrelay status
    assert_output --partial "not reloaded"
}

@test "SIGHUP reloads" {
    run_pipeline shout.yaml
    local before
    before=$(generation)
    sed -i 's/\[tr, a-z, A-Z\]/[rev]/' shout.yaml
    kill -HUP "$supervisor"
    until_true bash -c "[[ \$(mrelay status --json | jq .pipeline.generation) -gt $before ]]"
    msend -t said -d hello
    until_true topic_has shouted olleh
}

@test "drain: the sources end, what waits is worked off, then it ends" {
    cat >lines.yaml <<'END'
name: shout
topics: {said: {}, shouted: {external: true}}
sources: {counter: {shell: 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done', to: said}}
stages: {shout: {from: said, mode: stream, command: [sed, -u, s/l/L/], to: shouted}}
sinks: {file: {from: shouted, file: out}}
END
    run_pipeline lines.yaml
    until_true has_lines 20 out
    run -0 mrelay drain --wait 20s
    wait "$supervisor"
    assert_equal "$(cut -d ' ' -f 2 out | sort -n)" "$(seq "$(wc -l <out)")"
    run -69 mrelay drain --wait 1s
}

@test "once ends when its source has ended and nothing waits" {
    sed -i '/^stages:/i sources: {three: {command: [seq, "3"], to: said}}' shout.yaml
    sed -i '$a sinks: {file: {from: shouted, file: out}}' shout.yaml
    run -0 mrelay once shout.yaml
    assert_equal "$(sort out)" $'1\n2\n3'
}

@test "once is 65 when something has died, and says what" {
    cat >die.yaml <<'END'
name: shout
topics: {said: {}}
sources: {three: {command: [seq, "3"], to: said}}
stages: {check: {from: said, shell: 'test $(cat) != 2 || exit 65'}}
END
    run -65 mrelay once die.yaml
    assert_output --partial "1 message died: see above; to have it back: \`mrelay -r shout --background\`"
    # What it says is what helps.
    start_relay -r shout
    run -0 mretry list -r shout -t said.dead
    assert_output --regexp "said.check.rejected"
}

@test "once goes on where it was in a file, and says so" {
    cat >lines.yaml <<'END'
name: shout
topics: {said: {}}
sources: {lines: {file: in, to: said}}
sinks: {file: {from: said, file: out}}
END
    seq 3 >in
    run -0 mrelay once lines.yaml
    refute_output --partial "reads on"
    run -0 mrelay once lines.yaml
    assert_output --regexp 'event="reads on where it was" source=lines file=.*/in offset=6'
    assert_equal "$(cat out)" $'1\n2\n3'
    rm "$XDG_STATE_HOME/msgpipe/shout.state/source-lines"
    run -0 mrelay once lines.yaml
    assert_equal "$(cat out)" $'1\n2\n3\n1\n2\n3'
}

@test "once is 1 when a source cannot do what it should" {
    cat >gone.yaml <<'END'
name: shout
topics: {said: {external: true}}
sources: {lines: {file: gone.txt, to: said}}
END
    run -1 mrelay once gone.yaml
    assert_output --partial "gone.txt"
    assert_output --partial "1 source failed"
}

@test "once with a source that never ends is 78, unless it is told for how long" {
    sed -i '/^stages:/i sources: {tick: {every: 50ms, body: tick, to: said}}' shout.yaml
    sed -i '$a sinks: {file: {from: shouted, file: out}}' shout.yaml
    run -78 mrelay once shout.yaml
    assert_output --partial "source tick never ends"
    run -0 mrelay once --for 1s shout.yaml
    assert has_lines 5 out
    refute has_lines 40 out
}

@test "in the background it returns when its stages run" {
    run -0 mrelay run --background shout.yaml
    run -0 mrelay status --json
    local pid
    pid=$(jq .pipeline.pid <<<"$output")
    msend -t said -d hello
    until_true topic_has shouted HELLO
    kill "$pid"
    until_true gone "$pid"
}

@test "what cannot be run says why, with its code" {
    run -66 mrelay run nothing.yaml
    run -64 mrelay run
    run -64 mrelay run -
    echo 'topics: [' >wrong.yaml
    run -78 mrelay run wrong.yaml
    run_pipeline shout.yaml
    run -75 mrelay run shout.yaml
    assert_output "mrelay: a relay named shout runs already: give the pipeline another name, by \`name:\` in shout.yaml or by -r NAME
mrelay: or have its stages work for that relay: mrelay run --stages-only -r shout shout.yaml"
    end "$supervisor"
}

@test "status shows the parts, what they did, and why one stands still" {
    cat >two.yaml <<'END'
name: shout
topics: {said: {external: true}, shouted: {external: true}, lost: {external: true}}
stages:
  shout: {from: said, command: [tr, a-z, A-Z], to: shouted}
  broken: {from: said, command: [./gone], to: lost}
END
    printf '#!/bin/sh\n' >gone
    chmod +x gone
    run_pipeline two.yaml
    rm gone
    msend -t said -d hello
    until_true topic_has shouted HELLO
    until_true bash -c 'mrelay status | grep -E "^broken +stage .* (paused|waiting)"'
    until_true bash -c 'mrelay status | grep -E "^shout +stage +1 +1 +0 +0 +0"'
    run -0 mrelay status
    assert_output --partial "gone"
}

@test "graph --live draws what has flowed" {
    run_pipeline shout.yaml
    seq 3 | msend -t said
    until_true topic_has shouted $'1\n2\n3'
    until_true bash -c 'mrelay graph shout.yaml --live | grep -F "└─ 3 ─▶ shouted"'
}

@test "what graph --live counts adds up also when the pipeline was started again" {
    run_pipeline shout.yaml
    seq 3 | msend -t said
    until_true topic_has shouted $'1\n2\n3'
    end "$supervisor"
    run_pipeline shout.yaml
    seq 4 5 | msend -t said
    until_true bash -c 'mrelay graph shout.yaml --live | grep -F "└─ 2 ─▶ shouted"'
    run -0 mrelay graph shout.yaml --live
    assert_output --partial "└─ 2 ─▶ [shout]"
}

@test "a runner that was started again says soon that it runs" {
    run_pipeline shout.yaml
    local runner
    runner=$(child_with --stages-only)
    kill -KILL "$runner"
    # At rest it tells how it is every 15 seconds: the younger of the two is the one that lives.
    SECONDS=0
    until_true bash -c "[[ \$(mrelay status --json | jq -r '.runners[] | select(.runner | endswith(\":$runner\") | not) |
        .stages[].state') == running ]]"
    assert [ "$SECONDS" -lt 10 ]
}

@test "status --watch stays within the terminal" {
    need_terminal
    run_pipeline shout.yaml
    start typescript script -qec 'stty rows 8 cols 30; exec mrelay status --watch' /dev/null
    local watch=$started_pid
    until_true bash -c 'tr -d "\r" <typescript | grep -E "^\.\.\. and [0-9]+ lines more"'
    end "$watch"
    run awk '{ gsub(/\r|\033\[[HKJ]/, "") } length > 30' typescript
    assert_output ''
    run awk '/\033\[H/ { lines = 0 } ++lines > 8' typescript
    assert_output ''
}

@test "where no relay runs it is said how the pipeline is started" {
    run -69 mrelay -r shout graph shout.yaml --live
    assert_output --partial "start it with 'mrelay run -r shout shout.yaml'"
    unset MSGPIPE_RELAY
    run -69 mrelay graph shout.yaml --live
    assert_output --partial "start it with 'mrelay run shout.yaml'"
    run -69 mrelay reload -r shout
    assert_output --partial "start it with 'mrelay run FILE'"
    run -69 mrelay status -r shout
    assert_output --partial "start it with 'mrelay -r shout --background'"
}

@test "several runners share the work" {
    run_pipeline shout.yaml
    start second.log mrelay run --stages-only shout.yaml
    local second=$started_pid
    until_true bash -c '[[ $(mrelay status --json | jq ".runners | length") -eq 2 ]]'
    seq 200 | msend -t said
    until_true bash -c '[[ $(mrecv -t shouted -e | sort -n | md5sum) == $(seq 200 | md5sum) ]]'
    end "$second"
    assert_equal "$ended_code" 0
}

@test "stages whose relay is not there say that they wait for it, and run when it is" {
    start stages.log mrelay run --stages-only -r later shout.yaml
    until_true grep -q 'event="no relay answers: it is waited for" relay=later' stages.log.err
    refute grep 'stages run' stages.log.err
    local stages=$started_pid
    start_relay -r later
    until_true grep -q 'event="stages run"' stages.log.err
    end "$stages"
    # One that was ended before has not run.
    start stages.log mrelay run --stages-only -r never shout.yaml
    until_true grep -q 'waited for" relay=never' stages.log.err
    end "$started_pid"
    refute grep 'stages run' stages.log.err
}

@test "how much of the traces is kept goes to the relay" {
    sed -i '1a trace: {retain: {age: 2h, bytes: 1MiB}, sample: 0.25}' shout.yaml
    run_pipeline shout.yaml
    child_with '--trace-age 7200000000us --trace-bytes 1048576 --trace-sample 0.250000'
    run -64 mrelay --trace-sample 2
    assert_output --partial "--trace-sample: '2' is no share: write a number from 0 to 1"
    run -64 mrelay --trace-age 1ms
    assert_output 'mrelay: --trace-age: 1ms is too little: at least 1s'
}
