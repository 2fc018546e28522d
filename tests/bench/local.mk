# `make bench`: msgpipe beside the peers that are installed, as a table.
bench: all
	MSGPIPE_SOURCE='$(abs_top_srcdir)' MSGPIPE_BUILD='$(abs_top_builddir)' \
	PATH='$(abs_top_builddir)/bin':"$$PATH" $(top_srcdir)/tests/bench/run
.PHONY: bench
