# lib/pipeline: a pipeline's YAML to a model, its checks, its graph.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libpipeline.la
%C%_libpipeline_la_SOURCES = \
	%D%/find.c \
	%D%/model.h \
	%D%/pipeline.h \
	$(empty)
