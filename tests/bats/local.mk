# Bats tests, a line each; helpers that they load go into bats_helpers.
# One file alone: make check TESTS=tests/bats/msend.bats
bats_tests =
# Those that take longest start first.
bats_tests += %D%/sources.bats
bats_tests += %D%/planted.bats
bats_tests += %D%/mtrace_remote.bats
bats_tests += %D%/steps.bats
bats_tests += %D%/sinks.bats
bats_tests += %D%/security.bats
bats_tests += %D%/mrelay_run.bats
bats_tests += %D%/pipelines.bats
bats_tests += %D%/msend_direct.bats
bats_tests += %D%/flow.bats
bats_tests += %D%/mretry_topic.bats
# The others.
bats_tests += %D%/bats_library.bats
bats_tests += %D%/checker.bats
bats_tests += %D%/dead.bats
bats_tests += %D%/disk.bats
bats_tests += %D%/hangup.bats
bats_tests += %D%/library.bats
bats_tests += %D%/metrics.bats
bats_tests += %D%/mrecv.bats
bats_tests += %D%/mrecv_commands.bats
bats_tests += %D%/mrecv_direct.bats
bats_tests += %D%/mrecv_stream.bats
bats_tests += %D%/mrelay.bats
bats_tests += %D%/mrelay_change.bats
bats_tests += %D%/mrelay_check.bats
bats_tests += %D%/mrelay_graph.bats
bats_tests += %D%/mrelay_sandbox.bats
bats_tests += %D%/mrelay_store.bats
bats_tests += %D%/mretry.bats
bats_tests += %D%/mretry_dead.bats
bats_tests += %D%/mretry_nonsense.bats
bats_tests += %D%/mretry_relay.bats
bats_tests += %D%/msend.bats
bats_tests += %D%/msend_spool.bats
bats_tests += %D%/msend_when.bats
bats_tests += %D%/mtrace_export.bats
bats_tests += %D%/mtrace.bats
bats_tests += %D%/mtrace_pipelines.bats
bats_tests += %D%/mtrace_stats.bats
bats_tests += %D%/mtrace_tail.bats
bats_tests += %D%/mtrace_audit.bats
bats_tests += %D%/mtrace_bad.bats
bats_tests += %D%/options.bats
bats_tests += %D%/power.bats
bats_tests += %D%/runner.bats
bats_tests += %D%/salvage.bats

bats_helpers =
bats_helpers += %D%/tools.bash

if HAVE_BATS
TESTS += $(bats_tests)
endif
EXTRA_DIST += $(bats_tests) $(bats_helpers)
