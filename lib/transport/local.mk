# lib/transport: addresses, the SP server, direct peers, the client's channel.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libtransport.la
%C%_libtransport_la_SOURCES = \
	%D%/address.c %D%/address.h \
	%D%/address_relay.c \
	%D%/channel.c %D%/channel.h \
	%D%/channel_line.c %D%/channel_line.h \
	%D%/channel_poll.c %D%/channel_poll.h \
	%D%/server.c %D%/server.h %D%/server_private.h \
	%D%/server_accept.c \
	%D%/server_read.c \
	%D%/server_write.c \
	%D%/peer.c %D%/peer.h %D%/peer_internal.h \
	%D%/peer_dial.c \
	%D%/peer_link.c \
	%D%/peer_rules.c \
	$(empty)
