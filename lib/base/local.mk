# lib/base: errors, logging, the clock, buffers, interval sets, the loop.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libbase.la
%C%_libbase_la_SOURCES = \
	%D%/bits.c %D%/bits.h \
	%D%/blob.c %D%/blob.h \
	%D%/buckets.c %D%/buckets.h \
	%D%/buffer.c %D%/buffer.h \
	%D%/clock.c %D%/clock.h \
	%D%/control.c %D%/control.h \
	%D%/error.c \
	%D%/fault.c %D%/fault.h \
	%D%/file.c %D%/file.h \
	%D%/hangup.c %D%/hangup.h \
	%D%/histogram.c %D%/histogram.h \
	%D%/log.c %D%/log.h \
	%D%/map.c %D%/map.h \
	%D%/memory.c %D%/memory.h \
	%D%/path.c %D%/path.h \
	%D%/random.h \
	%D%/spawn.c %D%/spawn.h \
	%D%/turn.c %D%/turn.h \
	%D%/units.c %D%/units.h \
	%D%/utf8.c %D%/utf8.h \
	$(empty)
