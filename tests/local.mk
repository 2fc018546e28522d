# What all tests see. They speak TAP, so that each case is counted by itself.
#
# MSGPIPE_SOURCE is the source tree (it may be read-only), MSGPIPE_BUILD the
# build tree; the tools under test are the first in $PATH.
AM_TESTS_ENVIRONMENT = \
	MSGPIPE_SOURCE='$(abs_top_srcdir)'; export MSGPIPE_SOURCE; \
	MSGPIPE_BUILD='$(abs_top_builddir)'; export MSGPIPE_BUILD; \
	PATH='$(abs_top_builddir)/bin':"$$PATH"; export PATH; \
	CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT; \
	CC='$(CC)'; export CC; \
	BUILD_FLAGS='$(CPPFLAGS) $(CFLAGS)'; export BUILD_FLAGS; \
	LIBRARY_CFLAGS='$(EVENT_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(XXHASH_CFLAGS) $(NNG_CFLAGS)'; export LIBRARY_CFLAGS; \
	unset MSGPIPE_RELAY NO_COLOR;

# make looks at config.h each time, and puts off what hangs on it, all tests that are programs: they would start last.
$(TEST_LOGS): config.h

TEST_EXTENSIONS = .bats .sh
TAP_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TAP_DRIVER)
SH_LOG_DRIVER = $(TAP_DRIVER)
SH_LOG_COMPILER = $(SHELL)
BATS_LOG_DRIVER = $(TAP_DRIVER)
BATS_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/check/bats
EXTRA_DIST += tests/check/bats
