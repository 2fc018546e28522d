# The torture: trials of what a relay must survive. Each is a program or script
# here with a line in `trials`; `torture` runs them and prints a table:
#	make torture                                  all, the long form: hours
#	make torture TORTURE_OPTIONS='--short kills'  one, the short form
# `make check` runs the short forms (short.sh).
#
# A trial in C is a check program; one in Bash goes into torture_scripts.
torture_scripts = %D%/torture
torture_scripts += %D%/failing_tools
torture_scripts += %D%/fuzz
torture_scripts += %D%/memory
torture_scripts += %D%/races
torture_scripts += %D%/sim
torture_scripts += %D%/soak

torture: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS=
	MSGPIPE_BUILD='$(abs_top_builddir)' $(top_srcdir)/tests/torture/torture $(TORTURE_OPTIONS)
.PHONY: torture

TESTS += %D%/short.sh
EXTRA_DIST += $(torture_scripts) %D%/trial.bash %D%/short.sh %D%/trials

# The folder that a trial works in.
torture_scratch = %D%/scratch.c %D%/scratch.h

# Races.
check_PROGRAMS += %D%/threads
%C%_threads_SOURCES = %D%/threads.c
%C%_threads_LDADD = libmsgpipe.la $(SYSTEM_LIBS)

# Kills: programs that write down what they did, and the checker that reads it.
check_PROGRAMS += %D%/checker %D%/consumer %D%/kills %D%/producer %D%/sender %D%/taker
torture_history = %D%/fate.h %D%/history.c %D%/history.h

%C%_checker_SOURCES = \
	%D%/checker.c \
	%D%/checker.h \
	%D%/checker_end.c \
	%D%/checker_got.c \
	%D%/checker_read.c \
	%D%/checker_sent.c \
	$(torture_history)
%C%_checker_LDADD = $(MESSAGE_LIBS)
%C%_consumer_SOURCES = %D%/consumer.c $(torture_history)
%C%_consumer_LDADD = $(CLIENT_LIBS)
%C%_kills_SOURCES = \
	%D%/kills.c \
	%D%/kills.h \
	%D%/kills_end.c \
	%D%/kills_kill.c \
	%D%/kills_pipe.c \
	%D%/kills_plan.c \
	%D%/kills_programs.c \
	%D%/kills_tell.c \
	$(torture_scratch) \
	$(torture_history)
%C%_kills_LDADD = $(CLIENT_LIBS)
%C%_producer_SOURCES = %D%/producer.c $(torture_history)
%C%_producer_LDADD = $(CLIENT_LIBS)
%C%_sender_SOURCES = %D%/sender.c $(torture_history)
%C%_taker_SOURCES = %D%/taker.c $(torture_history)

# Cuts, and what trials in C stand on.
check_PROGRAMS += %D%/cuts
torture_stand = %D%/stand.c %D%/stand.h $(torture_scratch)
%C%_cuts_SOURCES = \
	%D%/cuts.c \
	%D%/cuts.h \
	%D%/cuts_between.c \
	%D%/cuts_play.c \
	$(torture_stand)
%C%_cuts_LDADD = $(CLIENT_LIBS)

# What happens to links; the programs of kills are at work meanwhile.
check_PROGRAMS += %D%/network
torture_crew = %D%/crew.c %D%/crew.h %D%/history.c %D%/history.h $(torture_stand)
%C%_network_SOURCES = %D%/network.c $(torture_crew)
%C%_network_LDADD = $(MESSAGE_LIBS)

# What stops and goes on.
check_PROGRAMS += %D%/pauses
%C%_pauses_SOURCES = %D%/pauses.c $(torture_crew)
%C%_pauses_LDADD = $(MESSAGE_LIBS)

# What clocks do.
check_PROGRAMS += %D%/clocks
%C%_clocks_SOURCES = %D%/clocks.c $(torture_crew)
%C%_clocks_LDADD = $(MESSAGE_LIBS)

# What it bears.
check_PROGRAMS += %D%/load
%C%_load_SOURCES = %D%/load.c %D%/load.h %D%/load_crowd.c $(torture_stand)
%C%_load_LDADD = $(CLIENT_LIBS)
# Power cuts and failing calls, on a disk in memory (disk.h) and in one process;
# failing_tools preloads failing_calls into real programs.
check_PROGRAMS += %D%/failing %D%/power
check_LTLIBRARIES = %D%/failing_calls.la
torture_power = \
	%D%/disk.c \
	%D%/disk.h \
	%D%/disk_cut.c \
	%D%/disk_vfs.c \
	%D%/power.h \
	%D%/power_actor.c \
	%D%/power_facts.c \
	%D%/power_life.c \
	%D%/power_look.c \
	$(torture_scratch)
%C%_failing_SOURCES = %D%/failing.c %D%/failing.h %D%/failing_memory.c $(torture_power)
%C%_failing_LDADD = $(TRACE_LIBS)
%C%_failing_calls_la_SOURCES = %D%/failing_calls.c
%C%_failing_calls_la_LDFLAGS = -module -shared -avoid-version -rpath $(libdir)
%C%_power_SOURCES = %D%/power.c %D%/power_old.c $(torture_power)
%C%_power_LDADD = $(TRACE_LIBS)

# Power cuts under the files that tools keep by themselves.
check_PROGRAMS += %D%/power_files
%C%_power_files_SOURCES = \
	%D%/disk.c \
	%D%/disk.h \
	%D%/disk_calls.c \
	%D%/disk_calls.h \
	%D%/disk_cut.c \
	%D%/power_files.c \
	%D%/power_files.h \
	%D%/power_files_letters.c \
	$(torture_scratch) \
	%D%/power_files_seen.c \
	%D%/power_files_spool.c
%C%_power_files_LDADD = $(CLI_LAYER) $(STORE_LIBS)

# Other brokers, killed as well.
check_PROGRAMS += %D%/peers
%C%_peers_SOURCES = %D%/peers.c %D%/peers.h %D%/peers_talk.c $(torture_stand)
%C%_peers_LDADD = $(CLIENT_LIBS)

# A relay and a simulation with faults put in on purpose: faulty.c. The tools
# have no trace of it; it needs a linker with --wrap.
EXTRA_PROGRAMS += %D%/mrelay-faulty %D%/sim-faulty
if HAVE_WRAP
check_PROGRAMS += %D%/mrelay-faulty %D%/sim-faulty
endif
faulty_ldflags = $(AM_LDFLAGS) \
	-Wl,--wrap=store_commit -Wl,--wrap=store_add_frame -Wl,--wrap=store_prepare_schema \
	-Wl,--wrap=core_number -Wl,--wrap=local_settle -Wl,--wrap=local_tick
%C%_mrelay_faulty_SOURCES = $(bin_mrelay_SOURCES) %D%/faulty.c
%C%_mrelay_faulty_LDADD = $(bin_mrelay_LDADD)
%C%_mrelay_faulty_LDFLAGS = $(faulty_ldflags)
%C%_sim_faulty_SOURCES = $(tests_sim_sim_SOURCES) %D%/faulty.c
%C%_sim_faulty_LDADD = $(RELAY_LIBS)
%C%_sim_faulty_LDFLAGS = $(faulty_ldflags)
# What becomes of damaged stores; the long form is
#	tests/torture/damage --long --tools bin
check_PROGRAMS += %D%/damage
%C%_damage_SOURCES = \
	%D%/damage.c \
	%D%/damage.h \
	%D%/damage_make.c \
	%D%/damage_salvage.c \
	%D%/damage_serve.c \
	$(sessionless) \
	$(torture_scratch)
%C%_damage_LDADD = $(TRACE_LIBS)
check_PROGRAMS += %D%/hostile
%C%_hostile_SOURCES = %D%/hostile.c $(torture_stand)
%C%_hostile_LDADD = $(CLIENT_LIBS)
