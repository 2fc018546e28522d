#!/usr/bin/env bats
# What others on the machine, and those who send, must not be able to do. DESIGN.md, Security, has the whole list.
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # what stands quoted is meant so; Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

# Those of the files and folders below here that others may read or write, but for those of the test itself.
open_to_others() {
    find "$@" -perm /077 ! -name '*.err' ! -name '*.out' -printf '%M %P\n'
}

# A message that does harm where its bytes are shown, or become part of a command.
harmful() {
    printf 'a\033]0;owned\007\302\233mred$(touch owned)`touch owned`;touch owned'
}

# on_terminal COMMAND: what a shell's COMMAND shows there is in $output.
on_terminal() {
    TERM=dumb timeout 60 script -qec "$1" shown >/dev/null 2>&1 </dev/null || true
    output=$(sed '1d;$d' shown)
}

# Neither escapes nor bells, nor the one-character form of an escape.
refute_harm() {
    refute_output --partial $'\033'
    refute_output --partial $'\007'
    refute_output --partial $'\302\233'
    [ -n "$output" ]
}

# Runs a command as a user who is nobody here; skips the test where that cannot be.
as_stranger() {
    setpriv --reuid=54321 --regid=54321 --clear-groups -- "$@"
}
need_stranger() {
    [ "$(id -u)" = 0 ] || skip 'needs root, to be somebody else'
    as_stranger env mrelay --version >/dev/null 2>&1 || skip 'setpriv is not there, or others may not run the tools'
    stranger=$(mktemp -d /tmp/msgpipe-stranger.XXXXXX)
    chown 54321:54321 "$stranger"
}

@test "what is kept is the user's alone, whatever the umask" {
    umask 000
    mkdir -m 700 mine
    mrelay --background --store "$PWD/mine/store.db"
    started+=("$(cat mine/store.db.lock)")
    echo 1 | msend -t t
    mrelay backup mine/copy.db
    echo x | mretry --max-retries 0 --dead-file mine/dead -- false || assert_equal $? 65
    echo k:x | mretry -K : --dedupe key --dedupe-file mine/seen -- true
    echo x | msend --spool mine/out -t t
    echo y | msend -r nobody --wait 0s --spool mine/out -t t || true
    run open_to_others mine "$XDG_RUNTIME_DIR"
    assert_output ''
    assert_file_exist mine/dead
    assert_file_exist mine/seen
    assert_file_exist mine/store.log
}

@test "a store is refused in a directory that others may write to" {
    mkdir open
    chmod 777 open
    run mrelay --store "$PWD/open/store.db"
    assert_failure 77
    assert_output --partial "other users may write to $PWD/open: run chmod go-w $PWD/open"
    assert_file_not_exist open/store.db
    chmod 1777 open # as /tmp
    mrelay --background --store "$PWD/open/store.db"
    started+=("$(cat open/store.db.lock)")
}

@test "a store is refused in a directory as /tmp that is somebody else's, who may remove what is in it" {
    need_stranger
    mkdir "$stranger/open"
    chmod 1777 "$stranger/open"
    chown 54322 "$stranger/open"
    run as_stranger env HOME="$stranger" XDG_RUNTIME_DIR="$stranger" timeout 10 mrelay --store "$stranger/open/store.db"
    rm -r "$stranger"
    assert_failure 77
    assert_output --partial "open belongs to another user (54322)"
}

@test "a store is refused where somebody else has made files of its name" {
    need_stranger
    mkdir "$stranger/open"
    chmod 1777 "$stranger/open"
    : >"$stranger/open/store.db-wal"
    chown 54322 "$stranger/open/store.db-wal"
    run as_stranger env HOME="$stranger" XDG_RUNTIME_DIR="$stranger" mrelay --store "$stranger/open/store.db"
    rm -r "$stranger"
    assert_failure 77
    assert_output --partial "store.db-wal belongs to another user (54322)"
}

@test "nothing is sent to a relay in a directory that somebody else has made in /tmp" {
    need_stranger
    rmdir "$stranger"
    [[ ! -e /run/user/54321 ]] || skip 'there is a user 54321'
    mkdir /tmp/msgpipe-54321
    run as_stranger env -u XDG_RUNTIME_DIR HOME=/ msend -t t -d secret
    rmdir /tmp/msgpipe-54321
    assert_failure 77
    assert_output --partial "/tmp/msgpipe-54321 is not this user's"
}

@test "a spool that belongs to somebody else is refused" {
    need_stranger
    mkdir -m 755 "$stranger/out"
    chown 54322 "$stranger/out"
    run as_stranger env HOME="$stranger" XDG_RUNTIME_DIR="$stranger" msend --spool "$stranger/out" -t t -d x
    rm -r "$stranger"
    assert_failure 77
    assert_output --partial "belongs to another user (54322)"
}

@test "attributes with control characters are refused where they come in" {
    start_relay
    wrong "msend: -H: attribute 'x': byte 2 of the value is a control character: attributes hold none" \
        msend -t t -H $'x: a\033b' -d y
    printf '{"specversion":"1.0","id":"a\\u001bb","source":"s","type":"t","data":1}\n' >event
    run msend -t t -F json event
    assert_failure 65
    refute_output --partial $'\033'
    run mrelay topics -t t
    assert_failure 66
}

@test "on a terminal no message does harm, whatever shows it" {
    need_terminal
    start_relay
    harmful | msend -t t -F whole
    harmful >bytes
    start replies.out mrecv --listen "ipc://$PWD/peer.sock" --rep -- cat
    for command in "mrecv -t t -e" "mrecv -t t -e --template '%{body}\n'" "mrecv -t t -e -F json" \
        "msend --dial ipc://$PWD/peer.sock --req -F whole bytes"; do
        on_terminal "$command"
        refute_harm
        assert_output --partial 'owned'
    done
}

@test "on a terminal no failure does harm: the words of commands stand escaped in lists and logs" {
    need_terminal
    start_relay
    mrelay set group t g retry.max_retries=0
    harmful >bytes
    msend -t t -d x
    mrecv -t t -g g -n 1 -- sh -c "cat '$PWD/bytes' >&2; exit 65" 2>/dev/null || true
    for command in "mretry list -t t.dead" "mretry show -t t.dead" "mtrace list --failed" "mtrace show t@0"; do
        on_terminal "$command"
        refute_harm
    done
    cat >p.yaml <<END
name: default
topics: {u: {external: true}}
stages:
  s: {from: u, shell: 'cat "$PWD/bytes" >&2; exit 65'}
END
    on_terminal "mrelay run --stages-only p.yaml & msend -t u -d x
        until mrelay wait -t u -g s --wait 20s 2>/dev/null; do sleep 0.1; done; kill \$!; wait"
    refute_harm
    assert_output --partial owned
}

@test "no message becomes part of a command line" {
    start_relay
    cat >p.yaml <<'END'
name: default
topics: {t: {external: true}, u: {}, v: {}, w: {}}
stages:
  argument: {from: t, command: [printf, '%s %s\n', '%{body}', '{body}'], to: u}
  shell: {from: t, shell: 'printf "%s\n" "%{body} {body}"; cat >/dev/null', to: v}
  body: {from: t, shell: cat, format: whole, to: w}
END
    start run.log mrelay run --stages-only p.yaml
    harmful | msend -t t -F whole -k '$(touch owned)' -H 'x: `touch owned`'
    for stage in body shell argument; do
        until_true mrelay wait -t t -g "$stage" --wait 5s # there is no such group until the stages run
    done
    run mrecv -t u -e
    assert_output '%{body} {body}'
    run mrecv -t v -e
    assert_output '%{body} {body}'
    mrecv -t w -e -F whole | cmp - <(harmful)
    run mrecv -t w -g g -n 1 --shell 'printf "%s\n" "$MSG_KEY"'
    assert_output '$(touch owned)'
    harmful | mretry -F whole -- printf '%s\n' '%{body}' >printed
    assert_equal "$(cat printed)" '%{body}'
    assert_file_not_exist owned
}

@test "an attribute cannot set a variable of its own choice" {
    start_relay
    msend -t t -H 'PATH: /evil' -H 'LD_PRELOAD: /evil' -k mine -d x
    run mrecv -t t -g g -n 1 --shell 'env | grep evil; printf "%s\n" "$MSG_KEY"'
    assert_line 'MSG_PATH=/evil'
    assert_line 'MSG_LD_PRELOAD=/evil'
    assert_line 'mine'
    assert_equal "$(printf '%s\n' "$output" | wc -l)" 3
}

# Becomes COMMAND, with nothing of this test's but the first three descriptors: for a subshell.
alone() {
    local descriptor
    for descriptor in /proc/"$BASHPID"/fd/*; do
        descriptor=${descriptor##*/}
        ((descriptor <= 2)) || eval "exec $descriptor>&-"
    done
    exec "$@"
}

# What N commands said of themselves in $output: three descriptors, no signal blocked, SIGPIPE not ignored.
assert_clean() {
    local line
    for line in "${lines[@]}"; do
        if [[ $line =~ ^SigIgn:.([0-9a-f]+)$ ]]; then
            assert_equal $((0x${BASH_REMATCH[1]} & 0x1000)) 0
        elif [[ $line != '0, 1, 2' && ! $line =~ ^SigBlk:.0+$ ]]; then
            fail "not clean: $line"
        fi
    done
    assert_equal "${#lines[@]}" $(($1 * 3))
}

@test "commands are started with three descriptors, and with signals as they should be" {
    [[ -r /proc/self/status && -d /proc/self/fd ]] || skip 'there is no /proc'
    local look='cat >/dev/null; ls -m /proc/$$/fd; grep -E "^Sig(Blk|Ign)" /proc/self/status'
    start_relay
    cat >p.yaml <<END
name: default
topics: {t: {external: true}, u: {}}
sources:
  source: {shell: '$look', to: u, restart: never}
stages:
  each: {from: t, shell: '$look', to: u}
  batch: {from: t, shell: '$look', mode: batch, to: u}
END
    start run.log alone mrelay run --stages-only p.yaml
    msend -t t -d x
    run mrecv -t u -g g -n 9 --wait 20s
    assert_clean 3
    msend -t v -d x
    run alone mrecv -t v -g g -n 1 --shell "$look"
    assert_clean 1
    run alone mretry --shell "$look" <<<x
    assert_clean 1
}
