#include "sessionless.h"

enum mp_error sessionless_session(void *context, const struct engine_session *session)
{
    (void)context;
    (void)session;
    return MP_OK;
}

enum mp_error sessionless_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                  uint32_t count)
{
    (void)context;
    (void)origin;
    (void)time;
    (void)result;
    (void)count;
    return MP_OK;
}

enum mp_error sessionless_snapshot(void *context)
{
    (void)context;
    return MP_OK;
}

const struct engine_load sessionless_load = {.session = sessionless_session, .applied = sessionless_applied};
