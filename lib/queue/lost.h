/*
 * lost.h: frames that stand where messages were lost by damage: empty ones, for nobody (STORE_LOST).
 */
#ifndef QUEUE_LOST_H
#define QUEUE_LOST_H

#include "message/frame.h"
#include "store/store.h"

/*
 * Builds with BUILDER, which has to be freed at the end, the row of COUNT (FRAME_COUNT_MAX at most) lost messages of TOPIC
 * from FIRST on. ROW's bytes are the builder's. MP_ERR_MEMORY.
 */
enum mp_error lost_frame(struct frame_builder *builder, uint32_t topic, uint64_t first, uint32_t count, int64_t time,
                         struct store_frame *row);

#endif
