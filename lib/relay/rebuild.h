/*
 * rebuild.h: a damaged store, taken to pieces and put together again in a new file: `mrelay salvage`.
 */
#ifndef RELAY_REBUILD_H
#define RELAY_REBUILD_H

#include "base/clock.h"
#include "queue/recover.h"

/*
 * Takes every sound row of the store at FROM, which is read only and not changed, into a new store at TO, checks that, and flushes it. REPORT's
 * `loss` and `context` are the caller's; the rest is what was taken. FIGURES: what there was to look at. PROGRESS may be NULL.
 * MP_ERR_EXISTS: there is a file at TO; MP_ERR_BUSY: a relay has FROM; MP_ERR_NOT_FOUND; MP_ERR_DAMAGED: there is not one sound
 * row in it; MP_ERR_INTERRUPTED; MP_ERR_FULL, MP_ERR_IO. There is nothing at TO then.
 */
enum mp_error rebuild_store(const char *from, const char *to, struct moment now, store_progress *progress,
                            void *context, struct recover_report *report, struct salvage_figures *figures,
                            struct fault *fault);

#endif
