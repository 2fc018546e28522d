/* Steps become passages. */
#include "trace/pair.h"

#include "base/bits.h"
#include "base/map.h"
#include "base/memory.h"

#include <string.h>

enum { SHELF_MAX = 65536 };

/* ---- publications ---------------------------------------------------------------------------------------------- */

/* Of a topic, in the order of offsets; the oldest stand at BEGIN. */
struct shelf {
    uint32_t topic;
    struct trace_publication *all;
    size_t begin, end, capacity;
    struct trace_publication found; /* one that was looked up */
    bool has_found;
};

/* What a lease holds: COUNT of the SPAN offsets from FIRST on. */
struct holding {
    struct trace_lease lease;
    uint8_t *mask; /* NULL: all */
};

struct lease_key {
    uint32_t group;
    uint32_t zero;
    uint64_t session;
    uint64_t lease;
};

/* All that one fetch gave to one group. */
struct lease {
    struct lease_key key;
    struct holding *all;
    size_t count, capacity;
};

struct trace_pair {
    struct trace_log *log;
    struct trace_pair_calls calls;
    struct map shelves;
    struct map leases;
    uint8_t *scratch; /* a mask of what an event and a holding have in common, */
    size_t scratch_size;
    uint8_t *part; /* and of the part of it in one publication */
    size_t part_size;
};

enum mp_error trace_pair_open(struct trace_log *log, const struct trace_pair_calls *calls, struct trace_pair **result,
                              struct fault *fault)
{
    struct trace_pair *pair = memory_allocate(sizeof *pair);
    if (!pair)
        return fault_memory(fault);
    pair->log = log;
    pair->calls = *calls;
    *result = pair;
    return MP_OK;
}

static void free_lease(struct lease *lease)
{
    for (size_t i = 0; i < lease->count; i++)
        memory_release(lease->all[i].mask);
    memory_release(lease->all);
    memory_release(lease);
}

void trace_pair_close(struct trace_pair *pair)
{
    if (!pair)
        return;
    size_t at = 0;
    struct shelf *shelf;
    while ((shelf = map_next(&pair->shelves, &at))) {
        memory_release(shelf->all);
        memory_release(shelf);
    }
    struct lease *lease;
    for (at = 0; (lease = map_next(&pair->leases, &at));)
        free_lease(lease);
    map_free(&pair->shelves);
    map_free(&pair->leases);
    memory_release(pair->scratch);
    memory_release(pair->part);
    memory_release(pair);
}

static struct shelf *get_shelf(struct trace_pair *pair, uint32_t topic)
{
    return map_make(&pair->shelves, &topic, sizeof topic, sizeof(struct shelf));
}

/* Makes room for one more: by what was taken off at the beginning, or more memory. */
static bool reserve_shelf(struct shelf *shelf)
{
    if (shelf->end - shelf->begin == SHELF_MAX)
        shelf->begin += SHELF_MAX / 4;
    if (shelf->end < shelf->capacity)
        return true;
    if (shelf->begin > shelf->capacity / 8) {
        memmove(shelf->all, shelf->all + shelf->begin, (shelf->end - shelf->begin) * sizeof *shelf->all);
        shelf->end -= shelf->begin;
        shelf->begin = 0;
        return true;
    }
    struct trace_publication *all = memory_grow(shelf->all, &shelf->capacity, sizeof *all, 64);
    if (!all)
        return false;
    shelf->all = all;
    return true;
}

static struct trace_publication publication_of(const struct store_event *event)
{
    return (struct trace_publication){.event = event->id,
                                      .topic = event->topic,
                                      .first = event->first,
                                      .count = event->count,
                                      .time = event->time,
                                      .taken = event->due,
                                      .session = event->session,
                                      .request = event->request};
}

static enum mp_error add_publication(struct trace_pair *pair, const struct store_event *event, struct fault *fault)
{
    struct shelf *shelf = get_shelf(pair, event->topic);
    if (!shelf)
        return fault_memory(fault);
    const struct trace_publication *last = shelf->end > shelf->begin ? &shelf->all[shelf->end - 1] : NULL;
    if (last && event->first < last->first + last->count) /* another log, or the same one again */
        shelf->begin = shelf->end = 0;
    if (!reserve_shelf(shelf))
        return fault_memory(fault);
    shelf->all[shelf->end++] = publication_of(event);
    return MP_OK;
}

static bool has_offset(const struct trace_publication *publication, uint64_t offset)
{
    return offset >= publication->first && offset - publication->first < publication->count;
}

static enum mp_error take_event(void *context, const struct store_event *event)
{
    *(struct trace_publication *)context = publication_of(event);
    return MP_ERR_CLOSED; /* one is enough */
}

/* In the store: a frame that is there costs one look; only when it has gone the log is searched. */
static bool look_up(struct trace_pair *pair, struct shelf *shelf, uint64_t offset)
{
    struct store_frame frame;
    struct fault ignored;
    if (!pair->log)
        return false;
    struct store *store = trace_log_store(pair->log);
    if (store_find_frame(store, shelf->topic, offset, &frame, &ignored) == MP_OK && frame.first <= offset &&
        offset - frame.first < frame.count) {
        bool delayed = frame.session == 0 && frame.request > 0;
        shelf->found = (struct trace_publication){.topic = shelf->topic,
                                                  .first = frame.first,
                                                  .count = frame.count,
                                                  .time = frame.time,
                                                  .taken = delayed ? frame.time - (int64_t)frame.request : 0,
                                                  .session = frame.session,
                                                  .request = frame.request};
        return true;
    }
    const struct store_event_filter filter = {.kinds = 1u << EVENT_PUBLISHED,
                                              .topics = &shelf->topic,
                                              .topics_count = 1,
                                              .covers = true,
                                              .offset = offset,
                                              .newest_first = true};
    return store_select_events(store, &filter, take_event, &shelf->found, &ignored) == MP_ERR_CLOSED;
}

const struct trace_publication *trace_pair_publication(struct trace_pair *pair, uint32_t topic, uint64_t offset)
{
    struct shelf *shelf = get_shelf(pair, topic);
    if (!shelf)
        return NULL;
    size_t low = shelf->begin, high = shelf->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct trace_publication *one = &shelf->all[middle];
        if (has_offset(one, offset))
            return one;
        if (one->first > offset)
            high = middle;
        else
            low = middle + 1;
    }
    if (!shelf->has_found || !has_offset(&shelf->found, offset))
        shelf->has_found = look_up(pair, shelf, offset);
    return shelf->has_found && has_offset(&shelf->found, offset) ? &shelf->found : NULL;
}

/* ---- passages -------------------------------------------------------------------------------------------------- */

static bool reserve_bits(uint8_t **bits, size_t *size, uint32_t count)
{
    size_t needed = bits_size(count) + 1;
    if (needed <= *size)
        return true;
    uint8_t *grown = memory_reallocate(*bits, needed);
    if (!grown)
        return false;
    *bits = grown;
    *size = needed;
    return true;
}

/* Cuts what PASSAGE has below OFFSET out of it, as *PART. */
static bool cut(struct trace_pair *pair, struct trace_passage *passage, uint64_t offset, struct trace_passage *part)
{
    uint32_t span = (uint32_t)(offset - passage->first);
    *part = *passage;
    part->span = span;
    part->count = span;
    if (passage->mask) {
        if (!reserve_bits(&pair->part, &pair->part_size, passage->span))
            return false;
        part->count = (uint32_t)bits_count(passage->mask, 0, span);
        bits_copy(pair->part, passage->mask, 0, span);
        part->mask = pair->part;
        /* What is left moves to the front, in the scratch that it lies in. */
        bits_copy(pair->scratch, passage->mask, span, passage->span - span);
        passage->mask = pair->scratch;
    }
    passage->first = offset;
    passage->span -= span;
    passage->count -= part->count;
    return true;
}

/* Takes off what is not set at both ends of the mask. */
static void trim(struct trace_pair *pair, struct trace_passage *passage)
{
    if (!passage->mask || passage->count == 0)
        return;
    size_t skip = bits_get(passage->mask, 0) ? 0 : bits_run(passage->mask, 0, passage->span);
    if (skip > 0) {
        if (passage->mask == pair->part) {
            bits_copy(pair->part, passage->mask, skip, passage->span - skip);
        } else {
            bits_copy(pair->scratch, passage->mask, skip, passage->span - skip);
            passage->mask = pair->scratch;
        }
        passage->first += skip;
        passage->span -= (uint32_t)skip;
    }
    while (passage->span > 0 && !bits_get(passage->mask, passage->span - 1))
        passage->span--;
    if (passage->count == passage->span)
        passage->mask = NULL;
}

static enum mp_error give(struct trace_pair *pair, struct trace_passage *passage)
{
    trim(pair, passage);
    return passage->count > 0 && pair->calls.passage ? pair->calls.passage(pair->calls.context, passage) : MP_OK;
}

/* PASSAGE, a publication at a time. Its mask, if it has one, lies in the scratch. */
static enum mp_error give_by_publication(struct trace_pair *pair, struct trace_passage *passage, struct fault *fault)
{
    bool exact = passage->mask || passage->count == passage->span;
    enum mp_error error = MP_OK;
    while (!error && passage->count > 0) {
        trim(pair, passage);
        const struct trace_publication *publication = trace_pair_publication(pair, passage->topic, passage->first);
        uint64_t end = publication ? publication->first + publication->count : UINT64_MAX;
        passage->publication = publication;
        if (!exact || end >= passage->first + passage->span) {
            error = give(pair, passage);
            passage->count = 0;
            break;
        }
        struct trace_passage part;
        if (!cut(pair, passage, end, &part))
            return fault_memory(fault);
        error = give(pair, &part);
    }
    return error;
}

static struct trace_passage passage_of(const struct store_event *event)
{
    return (struct trace_passage){
        .event = event->id,
        .end = event->kind,
        .topic = event->topic,
        .group = event->group,
        .first = event->first,
        .span = event->span,
        .count = event->count,
        .attempt = event->attempt,
        .ended = event->time,
        .due = event->due,
        .code = event->code,
        .session = event->session,
        .lease = event->lease,
        .request = event->request,
        .note = event->note,
        .note_size = event->note_size,
    };
}

/* ---- leases ---------------------------------------------------------------------------------------------------- */

static struct lease_key key_of(const struct store_event *event)
{
    return (struct lease_key){.group = event->group, .session = event->session, .lease = event->lease};
}

static struct lease *get_lease(struct trace_pair *pair, const struct lease_key *key)
{
    return map_make(&pair->leases, key, sizeof *key, sizeof(struct lease));
}

static struct holding *add_holding(struct lease *lease)
{
    if (lease->count == lease->capacity) {
        struct holding *all = memory_grow(lease->all, &lease->capacity, sizeof *all, 1);
        if (!all)
            return NULL;
        lease->all = all;
    }
    struct holding *holding = &lease->all[lease->count];
    *holding = (struct holding){.mask = NULL};
    lease->count++;
    return holding;
}

static enum mp_error add_lease(struct trace_pair *pair, const struct store_event *event, struct fault *fault)
{
    const struct lease_key key = key_of(event);
    struct lease *lease = get_lease(pair, &key);
    struct holding *holding = lease ? add_holding(lease) : NULL;
    if (!holding)
        return fault_memory(fault);
    holding->lease = (struct trace_lease){.event = event->id,
                                          .topic = event->topic,
                                          .group = event->group,
                                          .session = event->session,
                                          .lease = event->lease,
                                          .first = event->first,
                                          .span = event->span,
                                          .count = event->count,
                                          .attempt = event->attempt,
                                          .time = event->time};
    if (!event->mask)
        return MP_OK;
    if (!(holding->mask = memory_allocate(bits_size(event->span) + 1)))
        return fault_memory(fault);
    bits_copy(holding->mask, event->mask, 0, event->span);
    return MP_OK;
}

/* Gives HOLDING a mask, so that single messages can be taken out. */
static bool make_mask(struct holding *holding)
{
    if (holding->mask)
        return true;
    if (!(holding->mask = memory_allocate(bits_size(holding->lease.span) + 1)))
        return false;
    bits_set_range(holding->mask, 0, holding->lease.span);
    return true;
}

/* COUNT messages from the front of HOLDING, which has no gaps, are done with. */
static void take_front(struct holding *holding, uint32_t count)
{
    holding->lease.first += count;
    holding->lease.span -= count;
    holding->lease.count -= count;
}

/* What HOLDING has from FIRST on in SPAN offsets, without gaps in either; it lies at one end of the holding. */
static bool take_end(struct holding *holding, uint64_t first, uint32_t span)
{
    if (holding->mask)
        return false;
    if (first == holding->lease.first) {
        take_front(holding, span);
        return true;
    }
    if (first + span != holding->lease.first + holding->lease.span)
        return false;
    holding->lease.span -= span;
    holding->lease.count -= span;
    return true;
}

/* Takes what PASSAGE, an event's, has in common with HOLDING out of the latter: PASSAGE becomes that. */
static bool take(struct trace_pair *pair, struct holding *holding, const struct store_event *event,
                 struct trace_passage *passage)
{
    const struct trace_lease *lease = &holding->lease;
    uint64_t first = event->first > lease->first ? event->first : lease->first;
    uint64_t event_end = event->first + event->span, lease_end = lease->first + lease->span;
    uint64_t end = event_end < lease_end ? event_end : lease_end;
    passage->count = 0;
    if (first >= end)
        return true;
    uint32_t span = (uint32_t)(end - first);
    passage->first = first;
    passage->span = passage->count = span;
    passage->mask = NULL;
    passage->attempt = lease->attempt;
    passage->leased = lease->time;
    passage->leased_event = lease->event;
    if (!event->mask && take_end(holding, first, span))
        return true;
    if (!make_mask(holding) || !reserve_bits(&pair->scratch, &pair->scratch_size, span))
        return false;
    size_t before = (size_t)(first - lease->first);
    if (event->mask)
        bits_copy(pair->scratch, event->mask, (size_t)(first - event->first), span);
    else
        bits_copy(pair->scratch, holding->mask, before, span);
    passage->count = 0;
    for (uint32_t at = 0, run; at < span; at += run) { /* run by run of what the event means */
        run = (uint32_t)bits_run(pair->scratch, at, span);
        if (!bits_get(pair->scratch, at))
            continue;
        for (uint32_t i = at; i < at + run; i++) {
            if (bits_get(holding->mask, before + i)) {
                bits_clear(holding->mask, before + i);
                passage->count++;
            } else {
                bits_clear(pair->scratch, i);
            }
        }
    }
    holding->lease.count -= passage->count;
    passage->mask = pair->scratch;
    return true;
}

static void drop_holding(struct lease *lease, size_t index)
{
    memory_release(lease->all[index].mask);
    lease->all[index] = lease->all[--lease->count];
}

/* What no lease accounts for: its beginning was not seen. */
static enum mp_error give_rest(struct trace_pair *pair, const struct store_event *event, uint32_t matched,
                               struct fault *fault)
{
    struct trace_passage passage = passage_of(event);
    if (matched >= event->count)
        return MP_OK;
    if (matched > 0) { /* which ones are left is not worth a set of its own */
        passage.count = event->count - matched;
        passage.publication = trace_pair_publication(pair, event->topic, event->first);
        return pair->calls.passage ? pair->calls.passage(pair->calls.context, &passage) : MP_OK;
    }
    if (event->mask) {
        if (!reserve_bits(&pair->scratch, &pair->scratch_size, event->span))
            return fault_memory(fault);
        bits_copy(pair->scratch, event->mask, 0, event->span);
        passage.mask = pair->scratch;
    }
    return give_by_publication(pair, &passage, fault);
}

static enum mp_error end_lease(struct trace_pair *pair, const struct store_event *event, struct fault *fault)
{
    const struct lease_key key = key_of(event);
    struct lease *lease = map_get(&pair->leases, &key, sizeof key);
    uint32_t matched = 0;
    enum mp_error error = MP_OK;
    for (size_t i = 0; lease && !error && i < lease->count;) {
        struct trace_passage passage = passage_of(event);
        if (!take(pair, &lease->all[i], event, &passage))
            return fault_memory(fault);
        matched += passage.count;
        if (lease->all[i].lease.count == 0)
            drop_holding(lease, i);
        else
            i++;
        error = give_by_publication(pair, &passage, fault);
    }
    if (lease && lease->count == 0) {
        map_remove(&pair->leases, &lease->key, sizeof lease->key);
        free_lease(lease);
    }
    return error ? error : give_rest(pair, event, matched, fault);
}

/* The group was made, moved or deleted: what was leased of it is not any more. */
static void drop_group(struct trace_pair *pair, uint32_t group)
{
    size_t at = 0;
    struct lease *lease;
    while ((lease = map_next(&pair->leases, &at))) {
        if (lease->key.group != group)
            continue;
        map_remove(&pair->leases, &lease->key, sizeof lease->key);
        free_lease(lease);
        at = 0; /* the map has changed */
    }
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

enum mp_error trace_pair_event(struct trace_pair *pair, const struct store_event *event, struct fault *fault)
{
    if (event->mask && event->mask_size < bits_size(event->span))
        return fault_set(fault, MP_ERR_DAMAGED, "event %llu: its mask is too short", (unsigned long long)event->id);
    switch (event->kind) {
    case EVENT_PUBLISHED:
        return event->count > 0 ? add_publication(pair, event, fault) : MP_OK;
    case EVENT_LEASED:
        return event->count > 0 ? add_lease(pair, event, fault) : MP_OK;
    case EVENT_ACKED:
    case EVENT_RETRIED:
    case EVENT_RELEASED:
    case EVENT_LAPSED:
    case EVENT_DEAD:
        return end_lease(pair, event, fault);
    case EVENT_EXPIRED:
    case EVENT_DROPPED:
    case EVENT_DUPLICATE:
    case EVENT_FOREIGN:
        return give_rest(pair, event, 0, fault);
    case EVENT_GRANTED:
        drop_group(pair, event->group);
        return MP_OK;
    case EVENT_REPLAYED:
    case EVENT_SESSION:
        return MP_OK;
    }
    return MP_OK; /* of a later version */
}

enum mp_error trace_pair_open_leases(const struct trace_pair *pair,
                                     enum mp_error (*each)(void *context, const struct trace_lease *lease),
                                     void *context)
{
    size_t at = 0;
    const struct lease *lease;
    enum mp_error error = MP_OK;
    while (!error && (lease = map_next(&pair->leases, &at)))
        for (size_t i = 0; !error && i < lease->count; i++) {
            struct trace_lease one = lease->all[i].lease;
            one.mask = lease->all[i].mask;
            error = each(context, &one);
        }
    return error;
}

uint64_t trace_pair_oldest(const struct trace_pair *pair)
{
    size_t at = 0;
    uint64_t oldest = 0;
    const struct lease *lease;
    while ((lease = map_next(&pair->leases, &at)))
        for (size_t i = 0; i < lease->count; i++)
            if (oldest == 0 || lease->all[i].lease.event < oldest)
                oldest = lease->all[i].lease.event;
    return oldest;
}
