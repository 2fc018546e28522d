# lib/message: a message, the frame, formats, trace context.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libmessage.la
%C%_libmessage_la_SOURCES = \
	%D%/attributes.c %D%/attributes.h \
	%D%/frame.c %D%/frame.h \
	%D%/names.c %D%/names.h \
	$(empty)
