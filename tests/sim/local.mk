# The simulation: the core and real clients in one process, from a seed.
# `make check` runs a few thousand seeds (MSGPIPE_SIM_SEEDS); the long form is
#	tests/sim/sim --seeds 100000
# and a seed that failed is seen again with
#	tests/sim/sim --seed N --verbose
check_PROGRAMS += %D%/sim
TESTS += %D%/sim
%C%_sim_SOURCES = \
	%D%/administrator.c \
	%D%/audit.c \
	%D%/bridge.c \
	%D%/broker.c \
	%D%/consumer.c \
	%D%/faults.c \
	%D%/ledger.c \
	%D%/main.c \
	%D%/network.c \
	%D%/producer.c \
	%D%/rules.c \
	%D%/sim.h \
	%D%/stage.c \
	%D%/world.c \
	$(empty)
%C%_sim_LDADD = $(RELAY_LIBS)
