# lib/runner: runs a pipeline's stages, sources and sinks.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/librunner.la
%C%_librunner_la_SOURCES = \
	%D%/runner.h \
	%D%/sink.h \
	%D%/source.h \
	%D%/source_follow.c %D%/source_follow.h \
	%D%/source_memory.c %D%/source_memory.h \
	%D%/source_rotated.c %D%/source_rotated.h \
	%D%/source_watch.c %D%/source_watch.h \
	$(empty)
