# lib/stage: how a command meets messages.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libstage.la
%C%_libstage_la_SOURCES = \
	%D%/command.c %D%/command.h \
	%D%/command_pipes.c %D%/command_pipes.h \
	%D%/environment.c %D%/environment.h \
	%D%/glob.c %D%/glob.h \
	%D%/inherit.c %D%/inherit.h \
	%D%/lines.c %D%/lines.h \
	%D%/matcher.c \
	%D%/parcel.c %D%/parcel.h \
	%D%/step_aggregate.c \
	%D%/step_dedupe.c \
	%D%/step_log.c \
	%D%/step_rate_limit.c \
	%D%/step_rename.c \
	%D%/step_set.c \
	%D%/step_split.c \
	%D%/step_where.c \
	%D%/steps.c %D%/steps.h %D%/steps_private.h \
	%D%/tail.c %D%/tail.h \
	%D%/task_queue.c %D%/task_queue.h \
	%D%/windows.c %D%/windows.h \
	%D%/work.c %D%/work.h %D%/work_private.h \
	%D%/work_answer.c \
	%D%/work_run.c \
	%D%/work_stream.c %D%/work_stream.h \
	$(empty)
