/*
 * lineages.h: the lineages of publications (message/lineage.h), as they are asked for again and again: those that were
 * used last are kept.
 */
#ifndef TRACE_LINEAGES_H
#define TRACE_LINEAGES_H

#include "message/lineage.h"
#include "trace/pair.h"

enum { LINEAGES_SLOTS = 512, LINEAGES_LARGE = 16, LINEAGES_SMALL = 4096 };

struct lineages_slot {
    uint32_t topic;
    uint64_t first;
    bool used;
    struct buffer bytes;
    struct lineage lineage;
};

/* Zeroed, but for the log, it is empty. What is larger than LINEAGES_SMALL bytes has a few slots of its own. */
struct lineages {
    struct trace_log *log;
    struct lineages_slot slots[LINEAGES_SLOTS];
    struct lineages_slot large[LINEAGES_LARGE];
    struct lineages_slot spare;   /* for what would take the place of: */
    const struct lineage *pinned; /* one that has to stay; NULL: none */
};

void lineages_free(struct lineages *lineages);

/* Notes that of a publication. What cannot be read, or kept, is not known. */
void lineages_add(struct lineages *lineages, const struct store_event *event);

/*
 * The lineage of PUBLICATION, from its event, or from its frame; good until the next call of the three, or as long as it
 * is pinned. NULL: neither is there.
 */
const struct lineage *lineages_get(struct lineages *lineages, const struct trace_publication *publication);

/* Keeps LINEAGE, one that lineages_get() gave, until the next is pinned; NULL: none. */
static inline void lineages_pin(struct lineages *lineages, const struct lineage *lineage)
{
    lineages->pinned = lineage;
}

#endif
