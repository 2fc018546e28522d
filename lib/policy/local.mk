# lib/policy: backoff, rate limits, breakers, times, windows: pure functions of state and now.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libpolicy.la
%C%_libpolicy_la_SOURCES = \
	%D%/backoff.c %D%/backoff.h \
	%D%/breaker.c %D%/breaker.h \
	%D%/cron.c %D%/cron.h \
	%D%/rate.c %D%/rate.h \
	%D%/seen.c %D%/seen.h \
	%D%/window.c %D%/window.h \
	$(empty)
