# lib/cli: what the mains share: options, help, output, progress.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libcli.la
%C%_libcli_la_SOURCES = \
	%D%/completion.c \
	%D%/exit.c %D%/exit.h \
	%D%/loop.c %D%/loop.h \
	%D%/options.c %D%/options.h \
	%D%/options_help.c \
	%D%/output.c %D%/output.h \
	%D%/relay_link.c %D%/relay_link.h \
	$(empty)
