# lib/trace: what happened to messages, from the store's log of events.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libtrace.la
%C%_libtrace_la_SOURCES = \
	%D%/audit.c %D%/audit.h %D%/audit_private.h \
	%D%/audit_events.c \
	%D%/audit_frames.c \
	%D%/audit_messages.c \
	%D%/audit_rows.c \
	%D%/audit_schedule.c \
	%D%/audit_states.c \
	%D%/bisect.c %D%/bisect.h \
	%D%/find.c %D%/find.h \
	%D%/flow.c %D%/flow.h \
	%D%/history.c %D%/history.h \
	%D%/follow.c %D%/follow.h \
	%D%/kin.c %D%/kin.h \
	%D%/lineages.c %D%/lineages.h \
	%D%/list.c %D%/list.h \
	%D%/log.c %D%/log.h \
	%D%/otlp.c %D%/otlp.h \
	%D%/spans.c %D%/spans.h \
	%D%/zipkin.c \
	%D%/pair.c %D%/pair.h \
	%D%/search.c %D%/search.h \
	%D%/select.c %D%/select.h \
	%D%/stats.c %D%/stats.h \
	%D%/tree.c %D%/tree.h \
	%D%/tail.c %D%/tail.h \
	$(empty)
