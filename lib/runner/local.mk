# lib/runner: runs a pipeline's stages, sources and sinks.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_HEADERS += %D%/runner.h
