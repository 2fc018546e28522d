# lib/relay: the broker: sessions, requests, turns.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/librelay.la
%C%_librelay_la_SOURCES = \
	%D%/admin.c %D%/admin.h \
	%D%/admin_change.c \
	%D%/admin_pipeline.c \
	%D%/admin_trace.c \
	%D%/alarm.c %D%/alarm.h \
	%D%/background.c \
	%D%/core.c %D%/core.h \
	%D%/core_fetch.c \
	%D%/core_publish.c \
	%D%/core_session.c \
	%D%/core_settle.c \
	%D%/figures.c %D%/figures.h \
	%D%/notify.c %D%/notify.h \
	%D%/private.h \
	%D%/readers.c %D%/readers.h \
	%D%/readers_arguments.c %D%/readers_arguments.h \
	%D%/readers_process.c %D%/readers_process.h \
	%D%/rebuild.c %D%/rebuild.h \
	%D%/relay.c %D%/relay.h \
	$(empty)
