/*
 * sessionless.h: what an engine calls back where there is no relay above it: sessions, requests and snapshots are of no
 * interest.
 */
#ifndef SESSIONLESS_H
#define SESSIONLESS_H

#include "queue/engine.h"

/* For load(). */
extern const struct engine_load sessionless_load;

/* Its two parts, for who wants to know of one of them. */
enum mp_error sessionless_session(void *context, const struct engine_session *session);
enum mp_error sessionless_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                  uint32_t count);

/* For commit(): saves nothing. */
enum mp_error sessionless_snapshot(void *context);

#endif
