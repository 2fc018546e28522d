#!/usr/bin/env bats
# The torture's checker: it goes red for each thing that must not happen, and
# for nothing else. Histories: tests/torture/history.h.

# shellcheck disable=SC2154 # what tools.bash sets
load tools

setup() {
    tools_setup
    checker=$MSGPIPE_BUILD/tests/torture/checker
}

teardown() {
    tools_teardown
}

classes=(lost phantom altered duplicated revived reordered premature untimely charged overfull miscounted)
printf -v none ', 0 %s' "${classes[@]}"

# history LINE…: a history in which two messages were sent and acknowledged and
# one was not, and these lines.
history() {
    printf '%s\n' \
        'send 100 p1 t 1 aa' 'send 101 p1 t 2 bb' 'ok 110 p1 1 2' 'send 120 p1 t 3 cc' "$@" >history
}

one='got 200 c1 g t 0 1 p1 1 aa'
two='got 201 c1 g t 1 1 p1 2 bb'

# expect_red CLASS: that class alone, and once.
expect_red() {
    run -1 "$checker" history
    assert_output --partial "1 $1"
    local class
    for class in "${classes[@]}"; do
        [ "$class" = "$1" ] || assert_output --partial "0 $class"
    done
}

expect_green() {
    run -0 "$checker" "$@" history
    assert_output --partial "${none#, }"
}

@test "what was acknowledged and came once is well" {
    history "$one" "$two"
    expect_green
    assert_output --partial '3 sent: 2 acknowledged, 0 refused, 1 unknown; 2 deliveries to 1 groups'
}

@test "an unknown message may come, too" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p1 3 cc'
    expect_green
}

@test "a send that timed out is unknown: it may come or not" {
    history "$one" "$two" 'unknown 130 p1 3 3'
    expect_green
    assert_output --partial '1 unknown'
    history "$one" "$two" 'unknown 130 p1 3 3' 'got 202 c1 g t 2 1 p1 3 cc'
    expect_green
    history "$one" "$two" 'unknown 130 p1 3 4'
    run -66 "$checker" history
}

@test "lost: acknowledged, and it never came" {
    history "$one"
    expect_red lost
}

@test "lost: one of two groups did not get it" {
    history "$one" "$two" 'got 205 c2 h t 0 1 p1 1 aa'
    expect_red lost
}

@test "lost: a group that was to be there got nothing" {
    history "$one" "$two"
    expect_green --groups 1
    run -1 "$checker" --groups 2 history
    assert_output --partial '1 lost'
}

@test "phantom: nobody sent it" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p9 1 dd'
    expect_red phantom
}

@test "phantom: it was refused, and came" {
    history "$one" "$two" 'failed 130 p1 3 3' 'got 202 c1 g t 2 1 p1 3 cc'
    expect_red phantom
}

@test "phantom: it came from a topic that it was not sent to" {
    history "$one" 'got 201 c1 g u 0 1 p1 2 bb'
    run -1 "$checker" history
    assert_output --partial '1 phantom'
}

@test "altered: other bytes" {
    history "$one" 'got 201 c1 g t 1 1 p1 2 b0'
    expect_red altered
}

@test "duplicated: stored twice" {
    history "$one" "$two" 'got 202 c1 g t 2 1 p1 2 bb'
    expect_red duplicated
}

@test "duplicated: again, and nothing explains it" {
    history "$one" "$two" 'got 300 c2 g t 1 1 p1 2 bb'
    expect_red duplicated
}

@test "revived: delivered after it was settled, kill or not" {
    history "$one" "$two" 'acked 210 c1 g t 1' 'kill 250 c1' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_red revived
}

@test "duplicated: as an earlier attempt" {
    history "$one" 'got 201 c1 g t 1 2 p1 2 bb' 'kill 250 c1' 'got 300 c2 g t 1 1 p1 2 bb'
    expect_red duplicated
}

@test "again after a kill is explained" {
    history "$one" "$two" 'kill 250 c1' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_green
    assert_output --partial '1 kills, 0 cuts, 0 pauses; 1 came again after one'
}

@test "again after a cut of its consumer's connection, or after a pause, is explained" {
    history "$one" "$two" 'cut 250 c1 g' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_green
    history "$one" "$two" 'pause 250 c1 g' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_green
    assert_output --partial '0 kills, 0 cuts, 1 pauses; 1 came again after one'
}

@test "who was stopped may look at what another has had since, if it is told so" {
    local late=('pause 220 c1 g' 'got 300 c2 g t 1 2 p1 2 bb' 'acked 310 c2 g t 1' 'got 400 c1 g t 1 1 p1 2 bb'
        'doing 401 c1 g t 1 ack')
    history "$one" "${late[@]}" 'stale 410 c1 g t 1'
    expect_green
    assert_output --partial '1 pauses; 1 came again after one'
    history "$one" "${late[@]}"
    run -1 "$checker" history
    assert_output --partial '1 revived'
    history "$one" "${late[@]:1}" 'stale 410 c1 g t 1'
    run -1 "$checker" history
    assert_output --partial '1 revived'
}

@test "revived: settled by one who had lost it" {
    history "$one" "$two" 'pause 250 c1 g' 'got 300 c2 g t 1 2 p1 2 bb' 'acked 310 c1 g t 1'
    expect_red revived
}

@test "the kill of another explains nothing, one of nobody known everything" {
    history "$one" "$two" 'kill 250 c2 g' 'kill 251 c1.1 g' 'kill 252 c g' 'kill 253 relay -' \
        'got 300 c2 g t 1 2 p1 2 bb'
    expect_red duplicated
    history "$one" "$two" 'kill 250 relay' 'got 300 c2 g t 1 2 p1 2 bb'
    expect_green
}

@test "a command is killed by itself, or with the tool that started it" {
    history "$one" 'got 201 take7.9 g t 1 1 p1 2 bb' 'kill 250 take7.9 g' 'got 300 take7.10 g t 1 2 p1 2 bb'
    expect_green
    sed -i 's/kill 250 take7.9/kill 250 take7/' history
    expect_green
    sed -i 's/kill 250 take7/kill 250 take7.8/' history
    expect_red duplicated
}

@test "a command may outlive the one that started it, and was killed" {
    history "$one" "$two" 'kill 150 c1 g' 'got 300 c2 g t 1 1 p1 2 bb'
    expect_red duplicated
    sed -i 's/c1/take7/' history
    expect_green
    sed -i 's/kill 150 take7/kill 150 take8/' history
    expect_red duplicated
}

@test "a kill before or after explains nothing" {
    history "$one" "$two" 'kill 150 c1' 'got 300 c2 g t 1 2 p1 2 bb' 'kill 350 c2'
    expect_red duplicated
}

@test "again after a lost lease is explained, and again as wished is no duplicate" {
    history "$one" "$two" 'got 300 c2 g t 1 2 p1 2 bb' 'stale 310 c1 g t 1' \
        'retried 320 c1 g t 0' 'got 330 c1 g t 0 2 p1 1 aa'
    expect_green
    assert_output --partial '1 came again after one, 1 as wished'
}

@test "two groups get a message each" {
    history "$one" "$two" 'acked 202 c1 g t 0' 'got 300 c2 h t 0 1 p1 1 aa' 'got 301 c2 h t 1 1 p1 2 bb'
    expect_green --groups 2
}

@test "reordered: stored before one that was sent earlier" {
    history 'got 200 c1 g t 1 1 p1 1 aa' 'got 201 c1 g t 0 1 p1 2 bb'
    expect_red reordered
}

# ---- dead letters and attempts -------------------------------------------------

# A history of these lines alone.
only() {
    printf '%s\n' "$@" >history
}

x=eaf06c6480b2cd11 # the hash of the body "x"
rule='group 1 g t retries=1'
sent=("send 100 p1 t 1 $x" 'ok 110 p1 1 1')
first="got 200 c1 g t 0 1 p1 1 $x i1"
second="got 300 c1 g t 0 2 p1 1 $x i1"
wish='retried 210 c1 g t 0'
died=("$rule" "${sent[@]}" "$first" "$wish" "$second" 'retried 310 c1 g t 0')
letter='letter 1 g t 0 retries 2 i1 x'
rejected=("$rule" "${sent[@]}" "$first" 'doing 210 c1 g t 0 reject')

@test "what failed as often as the policy says is dead, and so is what was rejected" {
    only "${died[@]}" "$letter" 'drained 500 g'
    expect_green
    assert_output --partial '1 dead'
    only "${rejected[@]}" 'letter 1 g t 0 rejected 1 i1 x' 'drained 500 g'
    expect_green
}

@test "lost: dead, and no letter tells of it" {
    only "${rejected[@]}" 'drained 500 g'
    expect_red lost
    only "${died[@]}" 'drained 500 g'
    expect_red lost
}

@test "lost: given out, and it never ended" {
    only "$rule" "${sent[@]}" "$first" 'kill 250 c1' 'drained 500 g'
    expect_red lost
}

@test "phantom: a letter of what nobody got" {
    only "${died[@]}" "$letter" 'letter 1 g t 7 rejected 1 i1 x'
    expect_red phantom
}

@test "altered: a letter with other bytes, or another id" {
    only "${died[@]}" 'letter 1 g t 0 retries 2 i1 y'
    expect_red altered
    only "${died[@]}" 'letter 1 g t 0 retries 2 i2 x'
    expect_red altered
}

@test "duplicated: two letters of one death, or a letter of what was done" {
    only "${died[@]}" "$letter" "$letter"
    expect_red duplicated
    only "${died[@]}" "$letter" 'acked 320 c1 g t 0'
    expect_red duplicated
}

@test "charged: a letter with fewer attempts than the policy gives, or than there were" {
    only "$rule" "${sent[@]}" "$first" "$wish" 'letter 1 g t 0 retries 1 i1 x'
    expect_red charged
    only "${died[@]:1}" 'letter 1 g t 0 retries 1 i1 x'
    expect_red charged
}

@test "charged: nobody rejected it, or it is dead for no reason that there was" {
    only "${died[@]}" 'letter 1 g t 0 rejected 2 i1 x'
    expect_red charged
    only "${died[@]}" 'letter 1 g t 0 overflow 2 i1 x'
    expect_red charged
}

@test "charged: an attempt counts that nobody made" {
    only "$rule" "${sent[@]}" "$second"
    expect_red charged
}

@test "charged: a message that kills pays for itself, not its neighbours" {
    only "$rule" "${sent[@]}" "$first" 'doing 210 c1 g t 0 die' "$second" 'acked 310 c1 g t 0'
    expect_green
    only "$rule" "${sent[@]}" "send 101 p1 t 2 $x" 'ok 111 p1 2 2' "$first" 'doing 210 c1 g t 0 die' "$second" \
        "got 301 c1 g t 1 2 p1 2 $x" 'acked 310 c1 g t 0'
    expect_red charged
}

@test "charged: a kill explains one attempt, of the group that it hit" {
    only "$rule" "${sent[@]}" "$first" 'kill 250 c1 g' "$second"
    expect_green
    only "$rule" "${sent[@]}" "$first" 'kill 250 c1 -' "$second"
    expect_red charged
    only "$rule" "${sent[@]}" "send 101 p1 t 2 $x" 'ok 111 p1 2 2' "$first" 'kill 250 c1 g' "$second" \
        "got 301 c1 g t 1 2 p1 2 $x"
    expect_red charged
}

# ---- replays ---------------------------------------------------------------------

replayed=("${died[@]}" "$letter" 'calm 400 all')
again="got 410 c1 g t 5 1 p1 1 $x i1"

@test "a replay comes to its group, once" {
    only "${replayed[@]}" "$again" 'acked 420 c1 g t 5' 'replayed 450 all' 'drained 500 g'
    expect_green
}

@test "lost: replayed, and it never came" {
    only "${replayed[@]}" 'replayed 450 all'
    expect_red lost
}

@test "duplicated: replayed twice, or without a death" {
    only "${replayed[@]}" "$again" "got 411 c1 g t 6 1 p1 1 $x i1"
    expect_red duplicated
    only "${sent[@]}" "$first" "$again"
    expect_red duplicated
}

@test "phantom: another group gets the replay" {
    only "${replayed[@]}" 'group 1 h t' "got 204 c2 h t 0 1 p1 1 $x i1" "$again" "got 412 c2 h t 5 1 p1 1 $x i1"
    expect_red phantom
}

@test "altered: replayed under another id" {
    only "${replayed[@]}" "got 410 c1 g t 5 1 p1 1 $x i2"
    expect_red altered
}

# ---- order by key ----------------------------------------------------------------

keyed=('group 1 g t order' 'send 100 p1 t 1 aa key=k' 'send 101 p1 t 2 bb key=k' 'send 102 p1 t 3 cc key=l'
    'ok 110 p1 1 3' "$one")

@test "one message of a key at a time, other keys beside it" {
    only "${keyed[@]}" 'got 201 c2 g t 2 1 p1 3 cc' 'doing 202 c1 g t 0 ack' 'got 203 c2 g t 1 1 p1 2 bb'
    expect_green
}

@test "reordered: a message before an earlier one of its key was done" {
    only "${keyed[@]}" 'got 201 c2 g t 1 1 p1 2 bb' 'got 202 c2 g t 2 1 p1 3 cc'
    expect_red reordered
    only "${keyed[@]}" 'retried 201 c1 g t 0' 'got 202 c2 g t 1 1 p1 2 bb' 'got 203 c2 g t 2 1 p1 3 cc'
    expect_red reordered
}

@test "reordered: a later message of the key came first" {
    only "${keyed[@]/$one/}" 'got 150 c1 g t 1 1 p1 2 bb' 'doing 151 c1 g t 1 ack' "$one" 'got 203 c2 g t 2 1 p1 3 cc'
    sed -i '/^$/d' history
    expect_red reordered
}

@test "reordered: a key that is held" {
    local told=("${keyed[@]}" "got 201 c2 g t 2 1 p1 3 cc" 'doing 202 c1 g t 0 reject')
    only "${told[@]}" 'got 203 c2 g t 1 1 p1 2 bb' 'letter 1 g t 0 rejected 1 i1 x'
    sed -i "s/ aa\\b/ $x/" history
    expect_green
    sed -i 's/order$/order hold/' history
    expect_red reordered
}

# ---- pipelines -------------------------------------------------------------------

# Two stages: t to u, and u to v.
piped=('pipe 1 t u first' 'pipe 1 u v second' 'group 1 g v' 'send 100 p1 t 1 aa' 'ok 110 p1 1 1')
through='got 200 c1 g v 0 1 p1 1 aa'

@test "what goes through a pipeline comes out of each stage once" {
    only "${piped[@]}" "$through" 'acked 210 c1 g v 0' 'state 500 t first 0 1 0 0 0 0 0 1' \
        'state 500 v g 0 1 0 0 0 0 0 1'
    expect_green
    assert_output --partial '1 sent: 1 acknowledged'
    only "${piped[@]}" "$through" 'group 1 h u' 'got 190 c2 h u 0 1 p1 1 aa'
    expect_green
}

@test "lost: a stage has lost it" {
    only "${piped[@]}"
    expect_red lost
    only "${piped[@]}" "$through" 'group 1 h u'
    expect_red lost
}

@test "duplicated: a stage's output is there twice" {
    only "${piped[@]}" "$through" 'got 201 c1 g v 1 1 p1 1 aa'
    expect_red duplicated
}

@test "altered: a stage's output has other bytes" {
    only "${piped[@]}" 'got 200 c1 g v 0 1 p1 1 ab'
    expect_red altered
}

@test "phantom: a stage's output of what was refused" {
    only "${piped[@]/ok/failed}" "$through"
    expect_red phantom
}

@test "reordered: a stage that keeps the order of keys has not" {
    local told=('pipe 1 t u first order' 'group 1 g u' 'send 100 p1 t 1 aa key=k' 'send 101 p1 t 2 bb key=l'
        'send 102 p1 t 3 cc key=k' 'ok 110 p1 1 3')
    only "${told[@]}" 'got 200 c1 g u 1 1 p1 1 aa' 'got 201 c1 g u 0 1 p1 2 bb' 'got 202 c1 g u 2 1 p1 3 cc'
    expect_green
    only "${told[@]}" 'got 200 c1 g u 2 1 p1 1 aa' 'got 201 c1 g u 0 1 p1 2 bb' 'got 202 c1 g u 1 1 p1 3 cc'
    expect_red reordered
    sed -i 's/ order$//' history
    expect_green
}

@test "miscounted: a stage leaves something, or gives it up" {
    only "${piped[@]}" "$through" 'state 500 t first 1 0 0 0 0 0 0 1'
    expect_red miscounted
    only "${piped[@]}" "$through" 'state 500 t first 0 0 1 0 0 0 0 1'
    expect_red miscounted
}

# ---- times, ids, limits ----------------------------------------------------------

@test "untimely: before the end of its delay" {
    only 'send 100 p1 t 1 aa delay=1' 'ok 110 p1 1 1' 'got 1100 c1 g t 0 1 p1 1 aa'
    expect_green
    sed -i 's/1100/1099/' history
    expect_red untimely
}

@test "a delayed message is in nobody's order" {
    only 'send 100 p1 t 1 aa delay=1' 'send 101 p1 t 2 bb' 'ok 110 p1 1 2' 'got 200 c1 g t 0 1 p1 2 bb' \
        'got 2000 c1 g t 1 1 p1 1 aa'
    expect_green
}

@test "what has expired need not come; what has not must" {
    only 'topic 1 t ttl=5' "${sent[@]}" "$rule" 'drained 6000 g'
    expect_green
    assert_output --partial '1 expired'
    only 'topic 1 t ttl=5' "${sent[@]}" "$rule" 'drained 5000 g'
    expect_red premature
    only "${sent[@]}" "$rule" 'drained 6000 g'
    expect_red lost
}

@test "untimely: given out after it had expired" {
    only 'topic 1 t ttl=5' "${sent[@]}" 'late 5111 g' "got 5200 c1 g t 0 1 p1 1 $x"
    expect_red untimely
    only 'topic 1 t ttl=5' "${sent[@]}" 'late 5110 g' "got 5200 c1 g t 0 1 p1 1 $x"
    expect_green
}

@test "premature: a later one came, before it had expired" {
    local told=('topic 1 t ttl=5' 'send 100 p1 t 1 aa' 'send 101 p1 t 2 bb' 'ok 110 p1 1 2' 'late 120 h'
        'got 200 c1 g t 0 1 p1 1 aa' 'got 201 c1 g t 1 1 p1 2 bb')
    only "${told[@]}" 'got 5100 c2 h t 1 1 p1 2 bb'
    expect_green
    only "${told[@]}" 'got 5099 c2 h t 1 1 p1 2 bb'
    expect_red premature
}

twins=('topic 1 t window=1' 'send 100 p1 t 1 aa id=i' 'send 200 p2 t 1 bb id=i' 'ok 210 p1 1 1' 'ok 210 p2 1 1')

@test "of messages with one id one comes, as long as the window is open" {
    only "${twins[@]}" 'got 300 c1 g t 0 1 p2 1 bb i'
    expect_green
    assert_output --partial '1 duplicates'
    only "${twins[@]}" 'send 1500 p1 t 2 cc id=i' 'ok 1510 p1 2 2' 'got 300 c1 g t 0 1 p2 1 bb i' \
        'got 1600 c1 g t 1 1 p1 2 cc i'
    expect_green
}

@test "duplicated: two with one id in the window" {
    only "${twins[@]}" 'got 300 c1 g t 0 1 p2 1 bb i' 'got 301 c1 g t 1 1 p1 1 aa i'
    expect_red duplicated
}

@test "lost: taken for a duplicate, and nothing with its id is there" {
    only "${twins[@]}" 'send 90 p3 t 1 dd' 'ok 91 p3 1 1' 'got 300 c1 g t 0 1 p3 1 dd'
    run -1 "$checker" history
    assert_output --partial '2 lost'
    only "${twins[@]}" 'send 1500 p1 t 2 cc id=i' 'ok 1510 p1 2 2' 'got 300 c1 g t 0 1 p2 1 bb i'
    expect_red lost
}

@test "overfull: more than the limit" {
    only 'topic 1 t max=5' 'depth 10 t g 5'
    expect_green
    only 'topic 1 t max=5' 'depth 10 t g 6'
    expect_red overfull
}

@test "miscounted: the relay's numbers are not what happened" {
    local told=("${sent[@]}" "$first" 'acked 210 c1 g t 0')
    only "${told[@]}" 'state 500 t g 0 1 0 0 0 0 0 1' 'kept 500 t 0'
    expect_green
    local numbers
    for numbers in '0 1 0 0 0 0 0 2' '0 1 1 0 0 0 0 2' '0 0 0 1 0 0 0 1' '0 1 0 0 1 0 0 2' '0 1 0 0 0 1 0 2' \
        '1 1 0 0 0 0 0 2'; do
        only "${told[@]}" "state 500 t g $numbers"
        run -1 "$checker" history
        refute_output --partial ' 0 miscounted'
    done
    only "${told[@]}" 'kept 500 t 1'
    expect_red miscounted
}

@test "histories may be many, and a line that a kill cut short tells nothing" {
    history "$one"
    printf '%s\n%s' "$two" 'got 300 c1 g' >other
    run -0 "$checker" history other
    assert_output --partial '2 deliveries'
}

@test "what is no history is refused" {
    echo 'nonsense 1 2 3' >history
    run -66 "$checker" history
    run -66 "$checker" nothing-there
    run -64 "$checker"
}
