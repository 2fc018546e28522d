# lib/message: a message, the frame, formats, trace context.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libmessage.la
%C%_libmessage_la_SOURCES = \
	%D%/attributes.c %D%/attributes.h \
	%D%/format_common.c %D%/format_private.h %D%/formats.h \
	%D%/format_escape.c \
	%D%/format_json_read.c \
	%D%/format_json_write.c \
	%D%/format_pointer.c \
	%D%/format_read.c \
	%D%/format_template.c \
	%D%/format_value.c \
	%D%/format_write.c \
	%D%/frame.c %D%/frame.h \
	%D%/json_scan.c %D%/json_scan.h \
	%D%/letter.c %D%/letter.h \
	%D%/lineage.c %D%/lineage.h \
	%D%/names.c %D%/names.h \
	%D%/text.c %D%/text.h \
	%D%/trace.c %D%/trace.h \
	$(empty)
