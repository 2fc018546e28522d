# The tools: a main each. Take the `#` away when the file exists.

bin_PROGRAMS += %D%/msend
%C%_msend_SOURCES = %D%/msend.c
%C%_msend_LDADD = $(CLI_LIBS)

# What msend becomes with --spool: the same main, with SQLite.
pkglibexecdir = $(libexecdir)/msgpipe
pkglibexec_PROGRAMS += %D%/msend-spool
%C%_msend_spool_SOURCES = %D%/msend.c
%C%_msend_spool_CPPFLAGS = $(AM_CPPFLAGS) -DMSEND_SPOOL
%C%_msend_spool_LDADD = $(CLI_LAYER) $(STORE_LIBS)

bin_PROGRAMS += %D%/mrecv
%C%_mrecv_SOURCES = %D%/mrecv.c
%C%_mrecv_LDADD = $(CLI_LIBS)

bin_PROGRAMS += %D%/mrelay
%C%_mrelay_SOURCES = %D%/mrelay.c %D%/mrelay.h %D%/mrelay_options.c %D%/mrelay_verbs.c
%C%_mrelay_LDADD = $(CLI_LAYER) lib/web/libweb.la $(EVENT_HTTP_LIBS) $(RUNNER_LIBS)

bin_PROGRAMS += %D%/mretry
%C%_mretry_SOURCES = %D%/mretry.c
%C%_mretry_LDADD = $(CLI_LIBS)

bin_PROGRAMS += %D%/mtrace
%C%_mtrace_SOURCES = %D%/mtrace.c
%C%_mtrace_LDADD = $(CLI_LAYER) lib/web/libweb.la $(EVENT_HTTP_LIBS) $(TRACE_LIBS)
