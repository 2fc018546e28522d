# Fuzzers, a file for each kind of input that a stranger gives. `make check` runs
# them on their seeds and on mutations (replay.c); `make fuzz` builds them for
# libFuzzer, after ./configure --enable-fuzzing CC=clang.
#
# Inputs that once were wrong are kept in corpus/NAME/, for both; libFuzzer
# writes into the first folder that it is given:
#	tests/fuzz/fuzz_frame $(mktemp -d) tests/fuzz/corpus/frame
#
# A fuzzer:
#	fuzzers += %D%/fuzz_frame
#	%C%_fuzz_frame_SOURCES = %D%/fuzz_frame.c $(fuzz_main)
#	%C%_fuzz_frame_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)
fuzzers =

if ENABLE_FUZZING
fuzz_main = %D%/fuzz.h %D%/fit.h
EXTRA_PROGRAMS += $(fuzzers)
else
fuzz_main = %D%/fuzz.h %D%/fit.h %D%/replay.c
check_PROGRAMS += $(fuzzers)
TESTS += $(fuzzers)
endif

fuzzers += %D%/fuzz_attributes
%C%_fuzz_attributes_SOURCES = %D%/fuzz_attributes.c $(fuzz_main)
%C%_fuzz_attributes_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_format_json
%C%_fuzz_format_json_SOURCES = %D%/fuzz_format_json.c $(fuzz_main)
%C%_fuzz_format_json_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_frame
%C%_fuzz_frame_SOURCES = %D%/fuzz_frame.c $(fuzz_main)
%C%_fuzz_frame_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_protocol
%C%_fuzz_protocol_SOURCES = %D%/fuzz_protocol.c $(fuzz_main)
%C%_fuzz_protocol_LDADD = $(CLIENT_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_formats
%C%_fuzz_formats_SOURCES = %D%/fuzz_formats.c $(fuzz_main)
%C%_fuzz_formats_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_words
%C%_fuzz_words_SOURCES = %D%/fuzz_words.c $(fuzz_main)
%C%_fuzz_words_LDADD = $(TRANSPORT_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_steps
%C%_fuzz_steps_SOURCES = %D%/fuzz_steps.c $(fuzz_main)
%C%_fuzz_steps_LDADD = $(STAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_pipeline
%C%_fuzz_pipeline_SOURCES = %D%/fuzz_pipeline.c $(fuzz_main)
%C%_fuzz_pipeline_LDADD = $(PIPELINE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_server
%C%_fuzz_server_SOURCES = %D%/fuzz_server.c $(fuzz_main)
%C%_fuzz_server_LDADD = $(TRANSPORT_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_lineage
%C%_fuzz_lineage_SOURCES = %D%/fuzz_lineage.c $(fuzz_main)
%C%_fuzz_lineage_LDADD = $(MESSAGE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_client
%C%_fuzz_client_SOURCES = %D%/fuzz_client.c $(fuzz_main)
%C%_fuzz_client_LDADD = $(CLIENT_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_rows
%C%_fuzz_rows_SOURCES = %D%/fuzz_rows.c $(fuzz_main)
%C%_fuzz_rows_LDADD = $(QUEUE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_core
%C%_fuzz_core_SOURCES = %D%/fuzz_core.c tests/unit/core_rig.c tests/unit/core_rig.h $(fuzz_main)
%C%_fuzz_core_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_store
%C%_fuzz_store_SOURCES = %D%/fuzz_store.c %D%/fuzz_store_spans.c $(sessionless) $(fuzz_main)
%C%_fuzz_store_LDADD = $(TRACE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_letters
%C%_fuzz_letters_SOURCES = %D%/fuzz_letters.c %D%/flush.c $(fuzz_main)
%C%_fuzz_letters_LDADD = $(CLI_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_spool
%C%_fuzz_spool_SOURCES = %D%/fuzz_spool.c %D%/flush.c $(fuzz_main)
%C%_fuzz_spool_LDADD = $(CLI_LAYER) $(STORE_LIBS) $(FUZZER_LIBS)

fuzzers += %D%/fuzz_options
%C%_fuzz_options_SOURCES = %D%/fuzz_options.c $(fuzz_main)
%C%_fuzz_options_LDADD = $(CLI_LIBS) $(FUZZER_LIBS)
fuzzers += %D%/fuzz_readings
%C%_fuzz_readings_SOURCES = %D%/fuzz_readings.c $(fuzz_main)
%C%_fuzz_readings_LDADD = $(RELAY_LIBS) $(FUZZER_LIBS)

EXTRA_DIST += %D%/corpus

fuzz: $(fuzzers)
.PHONY: fuzz
