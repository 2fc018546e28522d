# lib/runner: runs a pipeline's stages, sources and sinks.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/librunner.la
%C%_librunner_la_SOURCES = \
	%D%/commit.c %D%/commit.h \
	%D%/feed.c %D%/feed.h \
	%D%/flusher.c %D%/flusher.h \
	%D%/hands.c %D%/hands.h \
	%D%/outputs.c %D%/outputs.h \
	%D%/runner.c %D%/runner.h \
	%D%/runner_ask.c \
	%D%/runner_members.c \
	%D%/runner_private.h \
	%D%/sink.c %D%/sink.h \
	%D%/sink_file.c \
	%D%/sink_private.h \
	%D%/sink_rotate.c %D%/sink_rotate.h \
	%D%/sink_socket.c \
	%D%/source.c %D%/source.h \
	%D%/source_clock.c \
	%D%/source_command.c \
	%D%/source_file.c \
	%D%/source_follow.c %D%/source_follow.h \
	%D%/source_frames.c %D%/source_frames.h \
	%D%/source_memory.c %D%/source_memory.h \
	%D%/source_private.h \
	%D%/source_process.c %D%/source_process.h \
	%D%/source_rotated.c %D%/source_rotated.h \
	%D%/source_socket.c \
	%D%/source_tick.c %D%/source_tick.h \
	%D%/source_watch.c %D%/source_watch.h \
	%D%/stage.c %D%/stage.h \
	%D%/stage_breaker.c \
	%D%/stage_bundle.c \
	%D%/stage_emit.c \
	%D%/stage_private.h \
	%D%/stage_report.c \
	%D%/stage_take.c \
	%D%/stage_task.c \
	%D%/staging.c %D%/staging.h \
	%D%/trial.c %D%/trial.h \
	$(empty)
