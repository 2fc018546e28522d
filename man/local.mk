# The manual. A tool's page is man/TOOL.1.in, mdoc in which a line `@OPTIONS@`
# stands for what `TOOL --mdoc-options` prints; the finished page is shipped in
# the tarball, so that building from it, also for another machine, runs no tool.
#
# The tool is an order-only prerequisite: it must be there to make the page, but
# that it is newer is no reason to make the page again; its sources are.
man_page = $(AM_V_GEN)$(SHELL) $(top_srcdir)/man/page

dist_man_MANS += %D%/msend.1
EXTRA_DIST += %D%/msend.1.in
%D%/msend.1: %D%/msend.1.in %D%/page $(bin_msend_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/msend$(EXEEXT)
	$(man_page) bin/msend$(EXEEXT) $(srcdir)/%D%/msend.1.in $@ $(PACKAGE_VERSION)

dist_man_MANS += %D%/mrecv.1
EXTRA_DIST += %D%/mrecv.1.in
%D%/mrecv.1: %D%/mrecv.1.in %D%/page $(bin_mrecv_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrecv$(EXEEXT)
	$(man_page) bin/mrecv$(EXEEXT) $(srcdir)/%D%/mrecv.1.in $@ $(PACKAGE_VERSION)

dist_man_MANS += %D%/mrelay.1
EXTRA_DIST += %D%/mrelay.1.in
%D%/mrelay.1: %D%/mrelay.1.in %D%/page $(bin_mrelay_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrelay$(EXEEXT)
	$(man_page) bin/mrelay$(EXEEXT) $(srcdir)/%D%/mrelay.1.in $@ $(PACKAGE_VERSION)

dist_man_MANS += %D%/mretry.1
EXTRA_DIST += %D%/mretry.1.in
%D%/mretry.1: %D%/mretry.1.in %D%/page $(bin_mretry_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mretry$(EXEEXT)
	$(man_page) bin/mretry$(EXEEXT) $(srcdir)/%D%/mretry.1.in $@ $(PACKAGE_VERSION)

dist_man_MANS += %D%/mtrace.1
EXTRA_DIST += %D%/mtrace.1.in
%D%/mtrace.1: %D%/mtrace.1.in %D%/page $(bin_mtrace_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mtrace$(EXEEXT)
	$(man_page) bin/mtrace$(EXEEXT) $(srcdir)/%D%/mtrace.1.in $@ $(PACKAGE_VERSION)

dist_man_MANS += %D%/msgpipe.7
dist_man_MANS += %D%/msgpipe-bats.7
EXTRA_DIST += %D%/page

# The keys of pipelines come from a program that is not installed.
noinst_PROGRAMS = %D%/pipeline_keys
%C%_pipeline_keys_SOURCES = %D%/pipeline_keys.c
%C%_pipeline_keys_LDADD = $(PIPELINE_LIBS)
dist_man_MANS += %D%/mpipeline.5
EXTRA_DIST += %D%/mpipeline.5.in
%D%/mpipeline.5: %D%/mpipeline.5.in %D%/page $(lib_pipeline_libpipeline_la_SOURCES) | %D%/pipeline_keys$(EXEEXT)
	$(man_page) %D%/pipeline_keys$(EXEEXT) $(srcdir)/%D%/mpipeline.5.in $@ $(PACKAGE_VERSION)
