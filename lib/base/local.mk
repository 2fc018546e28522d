# lib/base: errors, logging, the clock, buffers, interval sets, the loop.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libbase.la
%C%_libbase_la_SOURCES = \
	$(empty)
