# A server that takes spans, for tests/bats/mtrace_export.bats.
check_PROGRAMS += %D%/collector
%C%_collector_SOURCES = %D%/collector.c
%C%_collector_LDADD = $(EVENT_HTTP_LIBS) $(EVENT_LIBS)
