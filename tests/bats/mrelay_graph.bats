#!/usr/bin/env bats
# mrelay graph: a pipeline drawn as text, in DOT and in Mermaid.

setup() {
    load tools
    tools_setup
    cat >shop.yaml <<'END'
name: shop
topics: {orders: {external: true}, vip: {}, bulk: {}, failed: {}}
stages:
  triage:
    from: orders
    dead_letter: failed
    route:
      - {where: {type: "vip", region: [eu, us]}, to: vip}
      - {to: bulk}
sinks:
  archive: {from: [vip, bulk], file: archive.ndjson, format: json}
  "alarm": {from: failed, command: [cat, "a \"quoted\" <word>"]}
END
}

teardown() {
    tools_teardown
}

@test "as a tree: what stands in it already is named only" {
    run -0 mrelay graph shop.yaml
    assert_output "$(
        cat <<'END'
orders
└─▶ [triage]
    ├─ type=vip, region=eu|us ─▶ vip
    │   └─▶ (archive)    file archive.ndjson
    ├─ else ─▶ bulk
    │   └─▶ (archive) ↑
    └╌ dead ╌▶ failed
        └─▶ (alarm)    each: cat a "quoted" <word>
END
    )"
}

@test "in DOT, which Graphviz draws" {
    run -0 mrelay graph shop.yaml --format dot
    assert_line --index 0 'digraph "shop" {'
    assert_output --partial 'label="type=vip, region=eu|us"'
    assert_output --partial 'each: cat a \"quoted\" <word>'
    if command -v dot >/dev/null; then
        run -0 mrelay graph shop.yaml --svg shop.svg
        assert grep -q '<svg' shop.svg
    else
        run -127 mrelay graph shop.yaml --svg shop.svg
        assert_output --partial "needs Graphviz"
    fi
}

@test "in Mermaid: what means something there is written as entities" {
    run -0 mrelay graph shop.yaml --format mermaid
    assert_line --index 0 'flowchart LR'
    assert_output --partial '#quot;quoted#quot;' || assert_output --partial '#34;quoted#34; #60;word#62;'
    assert_output --partial '-.->|"dead"|'
}

@test "a circle is drawn once" {
    cat >loop.yaml <<'END'
topics: {a: {external: true}, b: {}}
stages:
  there: {from: a, to: b}
  back: {from: b, to: a, cycle: allowed}
END
    run -0 timeout 10 mrelay graph loop.yaml
    assert_output "$(
        cat <<'END'
a
└─▶ [there]
    └─▶ b
        └─▶ [back]
            └─▶ a ↑
END
    )"
}

@test "a wrong file is told as check tells it" {
    echo 'stages: {a: {form: b}}' >wrong.yaml
    run -78 mrelay graph wrong.yaml
    assert_output --partial "did you mean 'from'"
    run -66 mrelay graph nothing.yaml
}
