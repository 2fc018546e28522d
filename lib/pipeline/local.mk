# lib/pipeline: a pipeline's YAML to a model, its checks, its graph.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libpipeline.la
%C%_libpipeline_la_SOURCES = \
	%D%/arena.c %D%/arena.h \
	%D%/check.h \
	%D%/check_addresses.c \
	%D%/check_commands.c \
	%D%/check_graph.c \
	%D%/check_steps.c \
	%D%/check_tests.c \
	%D%/check_topics.c \
	%D%/configure.c \
	%D%/diagnose.c %D%/diagnose.h \
	%D%/find.c \
	%D%/graph.c %D%/graph.h \
	%D%/graph_draw.c \
	%D%/graph_text.c \
	%D%/keys.h \
	%D%/keys_breaker.c \
	%D%/keys_command.c \
	%D%/keys_root.c \
	%D%/keys_sink.c \
	%D%/keys_source.c \
	%D%/keys_stage.c %D%/keys_stage.h \
	%D%/keys_step.c \
	%D%/keys_test.c \
	%D%/keys_where.c \
	%D%/load.c %D%/load.h \
	%D%/model.h \
	%D%/pipeline.h \
	%D%/read.c \
	%D%/manual.c \
	%D%/schema.c \
	%D%/source.c %D%/source.h \
	%D%/value.c \
	%D%/variables.c \
	%D%/yaml.c %D%/yaml.h \
	%D%/yaml_read.c \
	$(empty)

# The JSON Schema of the language: what `mrelay check --schema` prints.
schemadir = $(pkgdatadir)
dist_schema_DATA = pipelines/schema.json
