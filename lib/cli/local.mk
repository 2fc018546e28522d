# lib/cli: what the mains share: options, help, output, progress.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libcli.la
%C%_libcli_la_SOURCES = \
	$(empty)
