/* protocol_ends.h: requests and replies of tests/unit/test_protocol*, read as the other end does. */
#ifndef TESTS_PROTOCOL_ENDS_H
#define TESTS_PROTOCOL_ENDS_H

#include "client/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static inline struct protocol_request request_of(const struct buffer *bytes)
{
    struct protocol_request request;
    assert_int_equal(protocol_read_request(bytes->data, bytes->size, &request), MP_OK);
    return request;
}

static inline struct protocol_reply reply_of(const struct buffer *bytes)
{
    struct protocol_reply reply;
    assert_int_equal(protocol_read_reply(bytes->data, bytes->size, &reply), MP_OK);
    return reply;
}

#endif
