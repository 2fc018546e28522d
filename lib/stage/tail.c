/* The last bytes of a command's stderr. */
#include "stage/tail.h"

#include <string.h>

void stage_tail_add(struct stage_tail *tail, const void *data, size_t size)
{
    const char *from = data;
    if (size > STAGE_TAIL) {
        from += size - STAGE_TAIL;
        size = STAGE_TAIL;
    }
    if (tail->size + size > sizeof(tail->bytes)) {
        /* At least STAGE_TAIL bytes come in before they are moved again. */
        size_t kept = STAGE_TAIL - size;
        memmove(tail->bytes, tail->bytes + tail->size - kept, kept);
        tail->size = kept;
    }
    memcpy(tail->bytes + tail->size, from, size);
    tail->size += size;
}

const char *stage_tail_text(const struct stage_tail *tail, size_t *size)
{
    *size = tail->size < STAGE_TAIL ? tail->size : STAGE_TAIL;
    return tail->bytes + tail->size - *size;
}
