# lib/queue: topics, groups, leases, schedule, dead letters.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libqueue.la
%C%_libqueue_la_SOURCES = \
	%D%/dedupe.c %D%/dedupe.h \
	%D%/engine.c %D%/engine.h \
	%D%/examine.h %D%/local_examine.c \
	%D%/local.c %D%/local.h \
	%D%/local_config.c \
	%D%/local_apply.c \
	%D%/local_dedupe.c \
	%D%/local_dead.c \
	%D%/local_describe.c \
	%D%/local_events.c \
	%D%/local_expire.c \
	%D%/local_flow.c \
	%D%/local_frames.c \
	%D%/local_drop.c \
	%D%/local_give.c %D%/local_give.h \
	%D%/local_grant.c %D%/local_grant.h \
	%D%/local_read.c \
	%D%/local_group.c \
	%D%/local_lease.c \
	%D%/local_meter.c \
	%D%/meter.c %D%/meter.h \
	%D%/figures.h \
	%D%/local_remove.c \
	%D%/local_repair.c \
	%D%/lost.c %D%/lost.h \
	%D%/local_retain.c \
	%D%/local_save.c \
	%D%/local_nearest.c \
	%D%/local_hold.c \
	%D%/local_order.c %D%/local_order.h \
	%D%/local_trace.c \
	%D%/local_publish.c \
	%D%/local_schedule.c \
	%D%/local_settle.c \
	%D%/local_time.c \
	%D%/local_topic.c \
	%D%/recover.c %D%/recover.h %D%/recover_private.h \
	%D%/recover_frames.c \
	%D%/recover_groups.c \
	%D%/order.c %D%/order.h \
	%D%/settings.c %D%/settings.h \
	%D%/states.c %D%/states.h %D%/states_private.h \
	%D%/states_bulk.c \
	%D%/states_rows.c \
	$(empty)
