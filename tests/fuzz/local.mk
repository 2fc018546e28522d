# Fuzzers (libFuzzer): ./configure --enable-fuzzing CC=clang, then `make fuzz`.
# A fuzzer:
#
#	fuzzers += %D%/fuzz_frame
#	%C%_fuzz_frame_SOURCES = %D%/fuzz_frame.c
#	%C%_fuzz_frame_LDADD = $(MESSAGE_LIBS)
#	%C%_fuzz_frame_LDFLAGS = $(FUZZER_LINK)
FUZZER_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzzers =

EXTRA_PROGRAMS += $(fuzzers)
fuzz: $(fuzzers)
.PHONY: fuzz
