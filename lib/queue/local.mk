# lib/queue: topics, groups, leases, schedule, dead letters.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libqueue.la
%C%_libqueue_la_SOURCES = \
	$(empty)
