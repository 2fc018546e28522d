# The torture: programs that write down what they did, kills, and the checker
# that reads it. tests/bats/checker.bats and kills.bats run the short form; the
# long one is
#	tests/torture/kills --kills 200 --tools bin
check_PROGRAMS += %D%/checker %D%/consumer %D%/kills %D%/producer %D%/sender %D%/taker
torture_history = %D%/fate.h %D%/history.c %D%/history.h

%C%_checker_SOURCES = \
	%D%/checker.c \
	%D%/checker.h \
	%D%/checker_end.c \
	%D%/checker_got.c \
	%D%/checker_sent.c \
	$(torture_history)
%C%_checker_LDADD = $(MESSAGE_LIBS)
%C%_consumer_SOURCES = %D%/consumer.c $(torture_history)
%C%_consumer_LDADD = libmsgpipe.la
%C%_kills_SOURCES = \
	%D%/kills.c \
	%D%/kills.h \
	%D%/kills_end.c \
	%D%/kills_plan.c \
	%D%/kills_programs.c \
	$(torture_history)
%C%_kills_LDADD = $(JANSSON_LIBS)
%C%_producer_SOURCES = %D%/producer.c $(torture_history)
%C%_producer_LDADD = libmsgpipe.la
%C%_sender_SOURCES = %D%/sender.c $(torture_history)
%C%_taker_SOURCES = %D%/taker.c $(torture_history)
