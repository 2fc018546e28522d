# `make bench`: msgpipe beside the peers that are installed, as a table. The
# peers' programs are compiled by the script, each where its library is.
EXTRA_PROGRAMS += %D%/latency
%C%_latency_SOURCES = %D%/latency.c %D%/bench.c %D%/bench.h
%C%_latency_LDADD = libmsgpipe.la

EXTRA_PROGRAMS += %D%/worker
%C%_worker_SOURCES = %D%/worker.c %D%/bench.c %D%/bench.h
%C%_worker_LDADD = $(CLIENT_LIBS)

# The modes of a stage's commands without a relay, for whoever works on them; the rows of pipelines take from it what the
# machine allows.
EXTRA_PROGRAMS += %D%/modes
%C%_modes_SOURCES = %D%/modes.c %D%/bench.c %D%/bench.h
%C%_modes_LDADD = $(STAGE_LIBS)

# By hand: make tests/bench/steps && tests/bench/steps
EXTRA_PROGRAMS += %D%/steps
%C%_steps_SOURCES = %D%/steps.c %D%/bench.c %D%/bench.h
%C%_steps_LDADD = $(STAGE_LIBS)

# Not a second prerequisite: `all` is a make of its own, and the two would build the library at once.
bench: all
	$(MAKE) $(AM_MAKEFLAGS) %D%/latency$(EXEEXT) %D%/worker$(EXEEXT) %D%/modes$(EXEEXT)
	CC='$(CC)' MSGPIPE_BUILD='$(abs_top_builddir)' $(top_srcdir)/tests/bench/run $(BENCH_OPTIONS)
.PHONY: bench
CLEANFILES += bench-results.csv %D%/latency$(EXEEXT) %D%/worker$(EXEEXT) %D%/modes$(EXEEXT) %D%/steps$(EXEEXT)

EXTRA_DIST += \
	%D%/run \
	%D%/build.sh \
	%D%/rows.sh \
	%D%/trace.sh \
	%D%/trust.sh \
	%D%/pipeline.sh \
	%D%/systems.sh \
	%D%/table.sh \
	%D%/table.awk \
	%D%/measure.c \
	%D%/peers/beanstalk.c \
	%D%/peers/mqtt.c \
	%D%/peers/nats.c \
	%D%/peers/nng_raw.c \
	%D%/peers/redis.c \
	%D%/peers/stream.c \
	%D%/peers/stream.h \
	$(empty)
