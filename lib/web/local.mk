# lib/web: what a relay shows by HTTP: metrics, and whether it is well; and what is given to others by it.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libweb.la
%C%_libweb_la_SOURCES = \
	%D%/door.c %D%/door.h \
	%D%/http.c %D%/http.h \
	%D%/metrics.c %D%/metrics.h %D%/metrics_private.h \
	%D%/metrics_table.c \
	%D%/post.c %D%/post.h \
	%D%/text.c %D%/text.h \
	$(empty)
