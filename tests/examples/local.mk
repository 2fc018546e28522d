# C programs on libmsgpipe, which tests/bats/library.bats runs.
check_PROGRAMS += %D%/peer %D%/flood
%C%_peer_SOURCES = %D%/peer.c
%C%_peer_LDADD = libmsgpipe.la
%C%_flood_SOURCES = %D%/flood.c
%C%_flood_LDADD = libmsgpipe.la
