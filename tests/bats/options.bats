#!/usr/bin/env bats
# What the tools say about their command lines. No relay is needed.
#
# shellcheck disable=SC2030,SC2031,SC2154 # Bats and tools.bash set variables

load tools

setup() {
    tools_setup
}

teardown() {
    tools_teardown
}

@test "the short help shows three examples and fits a screen" {
    local tool
    for tool in msend mrecv mrelay mretry; do
        run --separate-stderr "$tool" -h
        assert_success
        assert_output --partial 'Examples:'
        assert_equal "$(grep -c "^  # \|  # " <<<"$output")" 3
        assert [ "${#lines[@]}" -lt 45 ]
    done
}

@test "lines of help fit the terminal, but for words that are longer" {
    local tool
    for tool in msend mrecv mrelay mretry; do
        for help in -h --help; do
            "$tool" "$help" >help
            run awk 'length > 80' help
            assert_output ''
        done
    done
}

@test "a command's help has the options of that command" {
    local help
    for help in -h --help; do
        run --separate-stderr mrelay once "$help"
        assert_success
        assert_line --index 0 'usage: mrelay once [OPTION]... FILE'
        assert_line --index 1 'mrelay once: run it until its sources have ended and nothing waits'
        assert_output --partial -- '--for TIME'
        refute_output --partial -- '--stages-only'
        refute_output --partial -- '--yes'
    done
    run mrelay topics purge --help
    assert_output --partial -- '--yes'
    run mrelay sandbox --help
    assert_line --index 0 'usage: mrelay sandbox [FILE] -- CMD [ARG]...'
    run mretry replay --help
    assert_output --partial -- '--canary'
}

@test "the whole help has every option that the completion knows" {
    local tool option
    for tool in msend mrecv mrelay mretry; do
        "$tool" --help >help
        for option in $("$tool" --completion fish | sed -n 's/.* -l \([a-z0-9-]*\).*/\1/p'); do
            grep -q -e "--$option" help || fail "$tool --help does not show --$option"
        done
    done
}

@test "the version is the same in all tools" {
    run msend --version
    assert_success
    assert_output --regexp '^msend \(msgpipe\) [0-9]+\.[0-9]+\.[0-9]+$'
    local version=${output#msend }
    run mrelay --version
    assert_output "mrelay $version"
}

@test "completion for bash is sound and completes" {
    msend --completion bash >msend.bash
    bash -n msend.bash
    run bash -c '. ./msend.bash; COMP_WORDS=(msend --fo); COMP_CWORD=1; _msend 2>/dev/null; echo "${COMPREPLY[*]}"'
    assert_output '--format='
    run bash -c '. ./msend.bash; COMP_WORDS=(msend -F j); COMP_CWORD=2; _msend; echo "${COMPREPLY[*]}"'
    assert_output 'json'
    run bash -c '. ./msend.bash; COMP_WORDS=(msend --format = l); COMP_CWORD=3; _msend; echo "${COMPREPLY[*]}"'
    assert_output 'lines length'
}

@test "completion for zsh and fish is sound where these shells are" {
    local tool
    for tool in msend mrecv mrelay mretry; do
        "$tool" --completion zsh >"_$tool"
        "$tool" --completion fish >"$tool.fish"
        assert_file_not_empty "_$tool"
        assert_file_not_empty "$tool.fish"
        if type zsh >/dev/null 2>&1; then zsh -n "_$tool"; fi
        if type fish >/dev/null 2>&1; then fish -n "$tool.fish"; fi
    done
}

@test "completion asks for the name of a shell" {
    wrong 'msend: --completion needs the name of a shell: bash, zsh or fish' msend --completion tcsh
    wrong 'msend: --completion needs the name of a shell: bash, zsh or fish' msend --completion
}

@test "a mistyped option gets the nearest one" {
    wrong 'msend: unknown option --topik: did you mean --topic?' msend --topik x
    wrong 'msend: unknown option --zzzzzz: see msend --help' msend --zzzzzz
    wrong 'msend: unknown option -z: see msend -h' msend -z
    wrong 'msend: unknown option -z: see msend -h' msend -zt x
}

@test "long options can be cut as long as they are unique" {
    run msend --vers
    assert_success
    wrong 'msend: --ke could be any of --key --key-separator --key-json: write more of it' msend --ke x
}

@test "an exact name is never ambiguous" {
    run msend -t x. --key k -d d
    assert_failure 64
    assert_output --partial 'ends in a dot'
}

@test "values are asked for, and refused where there are none" {
    wrong 'msend: -t needs a value: -t TOPIC' msend -t
    wrong 'msend: --rate needs a value: --rate RATE' msend --rate
    wrong "msend: --print-id takes no value: leave out '=yes'" msend --print-id=yes -t x
}

@test "values that make no sense are named with their option" {
    wrong "msend: -F: jsn is not one of lines, null, length, whole, json: did you mean json?" msend -t x -F jsn
    wrong "msend: -F: xml-files is not one of lines, null, length, whole, json" msend -t x -F xml-files
    run msend -t x --rate 5
    assert_failure 64
    assert_output --partial "msend: --rate: '5' is not a rate"
    run msend -t x --wait soon
    assert_failure 64
    assert_output --partial 'msend: --wait:'
    run msend -t x --skip -1
    assert_failure 64
    assert_output --partial 'msend: --skip:'
    run msend -t x --max-message 0
    assert_failure 64
    assert_output --partial 'msend: --max-message:'
}

@test "msend has to be told where to" {
    wrong 'msend: where to? Give a topic (-t TOPIC), or a peer (--dial URL or --listen URL)' msend -d x
    wrong 'msend: where to? Give a topic (-t TOPIC), or a peer (--dial URL or --listen URL)' msend
}

@test "a topic and a peer exclude each other" {
    wrong 'msend: -t and --dial exclude each other: send by way of a relay, or directly to a peer' \
        msend -t x --dial ipc:///x
    wrong 'msend: -t and --listen exclude each other: send by way of a relay, or directly to a peer' \
        msend -t x --listen ipc:///x
    wrong 'msend: --dial and --listen exclude each other: choose the end that connects or the one that waits' \
        msend --dial ipc:///x --listen ipc:///x
    wrong 'msend: -r and --dial exclude each other: direct mode has no relay' msend -r a --dial ipc:///x
}

@test "one pattern at a time, and only in direct mode" {
    wrong 'msend: --push and --pub exclude each other: choose one' msend --push --pub --dial ipc:///x
    local pattern
    for pattern in push pub req pair pair1 bus surveyor framed; do
        wrong "msend: -t and --$pattern exclude each other: that is for direct mode, with --dial or --listen" \
            msend -t x "--$pattern"
    done
    wrong "msend: -t and --await exclude each other: that is for direct mode, with --dial or --listen" \
        msend -t x --await 2
}

@test "a bare body carries no attributes" {
    local option
    for option in '-H' '-k' '-K' '--key-json' '--id' '--id-json' '--type' '--source' '--subject'; do
        wrong "msend: $option goes only with -t or --framed: a bare body carries no attributes: add --framed, or send to a topic (-t)" \
            msend --dial ipc:///x "$option" 'a: b'
    done
    wrong 'msend: --print-id and --dial exclude each other: that is for a relay (-t)' msend --dial ipc:///x --print-id
}

@test "there is one kind of input" {
    wrong 'msend: -d and FILE exclude each other: there can be one kind of input' msend -t x -d a file
    wrong 'msend: -d and -- COMMAND exclude each other: there can be one kind of input' msend -t x -d a -- true
    wrong 'msend: -- COMMAND and FILE exclude each other: there can be one kind of input' msend -t x file -- true
    wrong "msend: -- COMMAND and -F exclude each other: a command's output is one message" msend -t x -F null -- true
    wrong "msend: -- COMMAND and --skip exclude each other: a command's output is one message" \
        msend -t x --skip 1 -- true
    wrong 'msend: no command stands behind --' msend -t x --
}

@test "a message has one key and one id" {
    wrong 'msend: -k and -K exclude each other: a message has one key' msend -t x -k a -K :
    wrong 'msend: -k and --key-json exclude each other: a message has one key' msend -t x -k a --key-json /a
    wrong 'msend: -K and --key-json exclude each other: a message has one key' msend -t x -K : --key-json /a
    wrong 'msend: --id and --id-json exclude each other: a message has one id' msend -t x --id a --id-json /a
}

@test "topics are checked before anything happens" {
    run msend -t a..b -d x
    assert_failure 64
    assert_output --partial "topic 'a..b'"
    run msend -t 'a b' -d x
    assert_failure 64
    run msend -t 'orders.>' -d x
    assert_failure 64
    assert_output --partial 'pattern'
    run msend -t "$(printf 'a%.0s' {1..201})" -d x
    assert_failure 64
}

@test "headers, keys and pointers are checked before anything happens" {
    wrong "msend: -H: 'foo' has no name: write -H 'name: value'" msend -t x -H foo -d y
    wrong "msend: -H: ': v' has no name: write -H 'name: value'" msend -t x -H ': v' -d y
    wrong 'msend: -H: a key is set with -k (its attribute is called partitionkey)' msend -t x -H 'key: a' -d y
    wrong "msend: --key-json: 'a' is no JSON pointer, which begins with '/': write '/a'" msend -t x --key-json a -d y
    wrong "msend: --id-json: 'a' is no JSON pointer, which begins with '/': write '/a'" msend -t x --id-json a -d y
    wrong 'msend: -K: the separator is empty: write -K : or the like' msend -t x -K '' -d y
    run msend -t x -H 'a b: c' -d y
    assert_failure 64
    run msend -t x -k $'a\nb' -d y
    assert_failure 64
}

@test "addresses are checked" {
    run msend --dial nonsense -d x
    assert_failure 64
    run msend -r 'no/such' -t x -d x
    assert_failure 64
}

@test "help that cannot be written is an error" {
    [ -e /dev/full ] || skip 'there is no /dev/full'
    run bash -c 'msend --help >/dev/full'
    assert_failure 74
    run bash -c 'msend --version >&-'
    assert_failure 74
}

@test "mrelay: a relay is given to commands that are about one" {
    local verb
    for verb in relays check test sandbox; do
        wrong "mrelay: -r does not go with mrelay $verb: see mrelay $verb --help" mrelay "$verb" -r x
        run mrelay "$verb" -h
        refute_output --partial '--relay'
        MSGPIPE_RELAY=x run mrelay "$verb"
        refute_output --partial 'does not go'
    done
    run mrelay status -h
    assert_output --partial '--relay'
}

@test "mrelay set: the help tells what is set, and names settings" {
    run -0 mrelay set -h
    assert_line --partial 'topic T|group T G [KEY=VALUE]...'
    assert_output --partial 'max_messages='
}
