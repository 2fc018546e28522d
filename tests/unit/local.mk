# Unit tests: cmocka programs. Three lines each; link the layer that is tested:
#
#	unit_tests += %D%/test_buffer
#	%C%_test_buffer_SOURCES = %D%/test_buffer.c
#	%C%_test_buffer_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
#
# One program alone: make check TESTS=tests/unit/test_buffer
unit_tests =

if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
else
EXTRA_PROGRAMS += $(unit_tests)
endif
