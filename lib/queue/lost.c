#include "queue/lost.h"

#define LOST_PRODUCER UINT64_C(0x6c6f7374) /* no client's */

enum mp_error lost_frame(struct frame_builder *builder, uint32_t topic, uint64_t first, uint32_t count, int64_t time,
                         struct store_frame *row)
{
    enum mp_error error = frame_begin(builder, LOST_PRODUCER, first);
    for (uint32_t i = 0; !error && i < count; i++)
        error = frame_add(builder, "", 0, NULL, 0);
    if (error)
        return error;
    frame_finish(builder, time);
    *row = (struct store_frame){.topic = topic,
                                .first = first,
                                .count = count,
                                .time = time,
                                .target = STORE_LOST,
                                .data = builder->bytes.data,
                                .size = builder->bytes.size};
    return MP_OK;
}
