# The model: the engine against a small reference, from a seed.
# `make check` runs a million steps (MSGPIPE_MODEL_STEPS); the long form is
#	tests/model/model --seeds 100000
# a seed that failed is seen again, and made shorter, with
#	tests/model/model --seed N --verbose
#	tests/model/model --seed N --shrink
check_PROGRAMS += %D%/model
TESTS += %D%/model
%C%_model_SOURCES = \
	%D%/act_admin.c \
	%D%/act_grant.c \
	%D%/act_lease.c \
	%D%/act_look.c \
	%D%/act_publish.c \
	%D%/act_settle.c \
	%D%/act_subscribe.c \
	%D%/act_turn.c \
	%D%/cells.c \
	%D%/compare.c \
	%D%/deliveries.c \
	%D%/flow.c \
	%D%/idle.c \
	%D%/letters.c \
	%D%/main.c \
	%D%/model.h \
	%D%/operations.c \
	%D%/reference.c \
	%D%/retention.c \
	%D%/rules.c \
	%D%/schedule.c \
	%D%/trial.c \
	$(empty)
%C%_model_LDADD = $(QUEUE_LIBS)
