# lib/client: the relay's protocol, and the client that the tools use.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libclient.la
%C%_libclient_la_SOURCES = \
	%D%/client.c %D%/client.h \
	%D%/client_commit.c \
	%D%/client_fetch.c \
	%D%/client_publish.c \
	%D%/client_settle.c \
	%D%/from.c \
	%D%/library.c %D%/library.h \
	%D%/library_consume.c \
	%D%/library_message.c \
	%D%/library_publish.c \
	%D%/link.c %D%/link.h \
	%D%/private.h \
	%D%/protocol.c %D%/protocol.h \
	%D%/protocol_fetch.c \
	%D%/protocol_private.h \
	%D%/protocol_publish.c \
	%D%/protocol_settle.c \
	$(empty)
