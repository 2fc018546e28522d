# lib/cli: what the mains share: options, help, output, progress.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libcli.la
%C%_libcli_la_SOURCES = \
	%D%/admin.c %D%/admin.h \
	%D%/admin_ask.c %D%/admin_ask.h \
	%D%/admin_change.c \
	%D%/admin_pipeline.c %D%/admin_pipeline.h \
	%D%/admin_salvage.c \
	%D%/admin_show.c \
	%D%/admin_store.c \
	%D%/become.c %D%/become.h \
	%D%/child.c %D%/child.h \
	%D%/child_groups.c %D%/child_groups.h \
	%D%/command.c %D%/command.h \
	%D%/completion.c \
	%D%/confirm.c %D%/confirm.h \
	%D%/dead_file.c %D%/dead_file.h \
	%D%/draw.c %D%/draw.h \
	%D%/exit.c %D%/exit.h \
	%D%/letter_filter.c \
	%D%/letter_print.c \
	%D%/letters.c %D%/letters.h \
	%D%/letters_account.c \
	%D%/letters_by_command.c \
	%D%/letters_canary.c \
	%D%/letters_edit.c \
	%D%/letters_file.c %D%/letters_file.h \
	%D%/letters_in_file.c \
	%D%/letters_link.c %D%/letters_link.h \
	%D%/letters_publish.c \
	%D%/letters_return.c \
	%D%/letters_topic.c %D%/letters_topic.h \
	%D%/loop.c %D%/loop.h \
	%D%/options.c %D%/options.h \
	%D%/options_help.c \
	%D%/output.c %D%/output.h \
	%D%/receive.c %D%/receive.h %D%/receive_engine.h \
	%D%/receive_direct.c \
	%D%/receive_output.c %D%/receive_output.h \
	%D%/receive_relay.c \
	%D%/receive_run.c \
	%D%/receive_runner.c %D%/receive_runner.h %D%/receive_runner_private.h \
	%D%/receive_sink.c %D%/receive_sink.h \
	%D%/receive_stream.c \
	%D%/relay_link.c %D%/relay_link.h \
	%D%/pace.h \
	%D%/pipeline_check.c %D%/pipeline_check.h \
	%D%/pipeline_compare.c %D%/pipeline_compare.h \
	%D%/pipeline_file.c %D%/pipeline_file.h \
	%D%/pipeline_graph.c %D%/pipeline_graph.h \
	%D%/pipeline_stages.c %D%/pipeline_stages.h \
	%D%/pipeline_test.c %D%/pipeline_test.h \
	%D%/retry.c %D%/retry.h \
	%D%/retry_attempt.c \
	%D%/retry_input.c \
	%D%/retry_job.c %D%/retry_job.h \
	%D%/retry_output.c %D%/retry_output.h \
	%D%/retry_post.c %D%/retry_post.h \
	%D%/retry_relay.c \
	%D%/retry_work.c %D%/retry_work.h \
	%D%/sandbox.c %D%/sandbox.h \
	%D%/screen.c %D%/screen.h \
	%D%/seen_file.c %D%/seen_file.h \
	%D%/send.c %D%/send.h %D%/send_engine.h \
	%D%/send_direct.c \
	%D%/send_dress.c %D%/send_dress.h \
	%D%/send_relay.c \
	%D%/send_source.c %D%/send_source.h \
	%D%/send_spool.c %D%/send_spool.h \
	%D%/serve.c %D%/serve.h \
	%D%/spool.c %D%/spool.h \
	%D%/spool_refused.c %D%/spool_refused.h \
	%D%/supervise.c %D%/supervise.h \
	%D%/supervise_part.c %D%/supervise_part.h \
	%D%/table.c %D%/table.h \
	%D%/trace.h \
	%D%/trace_audit.c \
	%D%/trace_export.c %D%/trace_export.h \
	%D%/trace_export_log.c \
	%D%/trace_list.c %D%/trace_list.h \
	%D%/trace_show.c %D%/trace_show.h \
	%D%/trace_show_json.c \
	%D%/trace_show_text.c \
	%D%/trace_event.c %D%/trace_event.h \
	%D%/trace_graph.c \
	%D%/trace_mark.c %D%/trace_mark.h \
	%D%/trace_home.c %D%/trace_home.h \
	%D%/trace_remote.c %D%/trace_remote.h \
	%D%/trace_remote_export.c \
	%D%/trace_remote_print.c \
	%D%/trace_stats.c \
	%D%/trace_tail.c \
	%D%/trace_view.c %D%/trace_view.h \
	%D%/trace_wait.c \
	$(empty)
