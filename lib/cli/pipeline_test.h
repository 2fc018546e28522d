/*
 * pipeline_test.h: `mrelay test FILE`: the tests of a pipeline's file, and of the *_test.yaml beside it: real stages
 * against a relay of their own, one for each test.
 */
#ifndef CLI_PIPELINE_TEST_H
#define CLI_PIPELINE_TEST_H

#include <stdbool.h>

struct pipeline_test_settings {
    const char *file;
    const char *program; /* argv[0] */
    const char *filter;  /* only tests whose names have this in them; NULL: all */
    bool tap;            /* the Test Anything Protocol, version 14 */
};

/* The exit code: 1 when a test failed, 66 when there is none. */
int pipeline_test(const struct pipeline_test_settings *settings);

#endif
