# lib/relay: the broker: sessions, requests, turns.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/librelay.la
%C%_librelay_la_SOURCES = \
	$(empty)
