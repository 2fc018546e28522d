#include "queue/local.h"

#include <stdlib.h>

/*
 * How long events are kept. A start needs those since the last snapshot; all others are there for traces, until they are
 * too old, or too many bytes. Who wants less keeps a sample: runs of messages in whole, so that what is kept of one is all
 * of it, and every run in which something failed.
 */
#define AGE (INT64_C(24) * 3600 * 1000 * 1000)
#define BYTES (UINT64_C(1024) * 1024 * 1024)
#define AGE_PERIOD (INT64_C(10) * 60 * 1000 * 1000) /* between two looks at their age */
#define SAMPLE_AGE (INT64_C(60) * 1000 * 1000)      /* until then what fails may still do so */

enum {
    RUN_BITS = 10, /* a run: 1,024 offsets of a topic */
    RUNS_MOST = 64 /* an event that touches more of them is kept */
};

void local_events_settings(struct engine_local_settings *settings)
{
    if (settings->trace_age == 0)
        settings->trace_age = AGE;
    if (settings->trace_bytes == 0)
        settings->trace_bytes = BYTES;
    if (settings->events == 0)
        settings->events = UINT64_MAX / 2;
}

enum mp_error local_events_add(struct local *local, struct store_event *event, struct fault *fault)
{
    enum mp_error error = local_write(local, fault);
    event->id = local->last_event + 1;
    event->time = local->time;
    if (event->span == 0)
        event->span = event->count;
    if (error || (error = store_add_event(local->store, event, fault)))
        return error;
    local->last_event = event->id;
    local_events_added(local, event);
    return MP_OK;
}

/* The bytes as a start will count them: those of the snapshot, and then what was added. */
static enum mp_error save_bytes(struct local *local, struct fault *fault)
{
    return store_put_number(local->store, "event_bytes", (int64_t)local->saved_event_bytes, fault);
}

enum mp_error local_events_save(struct local *local, struct fault *fault)
{
    local->saved_event_bytes = local->event_bytes;
    return save_bytes(local, fault);
}

static void take_off(uint64_t *from, uint64_t bytes)
{
    *from -= bytes < *from ? bytes : *from;
}

/* Something below the snapshot has gone. */
static enum mp_error gone(struct local *local, uint64_t bytes, struct fault *fault)
{
    take_off(&local->event_bytes, bytes);
    take_off(&local->saved_event_bytes, bytes);
    return save_bytes(local, fault);
}

/* ---- what is too old, or too much ----------------------------------------------------------------------------------- */

/* Events below this may go. Never what a start would have to apply. */
static enum mp_error old_below(struct local *local, uint64_t *below, struct fault *fault)
{
    uint64_t count = local->last_event - local->first_event + 1, step = local->settings.events_step;
    *below = 0;
    if (count >= local->settings.events + step)
        *below = local->last_event - local->settings.events + 1;
    if (local->event_bytes > local->settings.trace_bytes && *below < local->first_event + step)
        *below = local->first_event + step;
    if (local->events_due <= local->now.monotonic) {
        struct store_event event;
        enum mp_error error = store_find_event(local->store, local->first_event + step - 1, &event, fault);
        if (error && error != MP_ERR_NOT_FOUND)
            return error;
        if (error || event.time >= local->time - local->settings.trace_age)
            local->events_due = local->now.monotonic + AGE_PERIOD;
        else if (event.id >= *below)
            *below = event.id + 1;
    }
    if (*below > local->snapshot_event + 1)
        *below = local->snapshot_event + 1;
    return MP_OK;
}

static enum mp_error delete_old(struct local *local, struct fault *fault)
{
    uint64_t below;
    struct store_deleted deleted;
    enum mp_error error = old_below(local, &below, fault);
    if (error || below < local->first_event + local->settings.events_step)
        return error;
    if ((error = local_write(local, fault)) ||
        (error = store_delete_events(local->store, below, local->settings.events_step, &deleted, fault)) ||
        deleted.rows == 0)
        return error;
    local->first_event = deleted.end;
    return gone(local, deleted.bytes, fault);
}

/* ---- the sample ------------------------------------------------------------------------------------------------------- */

/* An event that a sample may do without. */
struct candidate {
    uint64_t id;
    uint64_t runs[2]; /* the first and the last that it touches, with the topic above */
    uint32_t bytes;
};

struct sampling {
    struct local *local;
    struct candidate *candidates;
    size_t count;
    uint64_t upto; /* the last event that was looked at */
};

static uint64_t run_of(const struct store_event *event, uint64_t offset)
{
    return (uint64_t)event->topic << 44 | offset >> RUN_BITS;
}

static uint64_t scramble(uint64_t run)
{
    uint64_t bits = run * UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ bits >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return bits ^ bits >> 32;
}

static bool is_of_the_sample(double drop, uint64_t run)
{
    return (double)(scramble(run) >> 11) >= drop * (double)(UINT64_C(1) << 53);
}

/*
 * The runs in which something failed: two Bloom filters, of which the older is emptied when the younger is full. What
 * they take for a failure and is none is kept, and no harm done.
 */
enum { FILTER_BITS = 1 << 18, FILTER_FULL = 1 << 15 };

struct failed_runs {
    uint64_t bits[2][FILTER_BITS / 64];
    unsigned young;
    unsigned count;
};

static bool filter_get(const struct failed_runs *runs, unsigned which, uint64_t bits)
{
    uint64_t a = bits % FILTER_BITS, b = (bits >> 32) % FILTER_BITS;
    return runs->bits[which][a / 64] >> a % 64 & runs->bits[which][b / 64] >> b % 64 & 1;
}

static bool has_failed(const struct failed_runs *runs, uint64_t run)
{
    return filter_get(runs, 0, scramble(run)) || filter_get(runs, 1, scramble(run));
}

static void note_run(struct failed_runs *runs, uint64_t run)
{
    uint64_t bits = scramble(run), a = bits % FILTER_BITS, b = (bits >> 32) % FILTER_BITS;
    if (filter_get(runs, runs->young, bits))
        return;
    if (++runs->count > FILTER_FULL) {
        runs->count = 1;
        runs->young ^= 1;
        memset(runs->bits[runs->young], 0, sizeof runs->bits[0]);
    }
    runs->bits[runs->young][a / 64] |= UINT64_C(1) << a % 64;
    runs->bits[runs->young][b / 64] |= UINT64_C(1) << b % 64;
}

static bool is_failure(enum store_event_kind kind)
{
    return kind == EVENT_RETRIED || kind == EVENT_LAPSED || kind == EVENT_DEAD || kind == EVENT_EXPIRED ||
           kind == EVENT_DROPPED;
}

static void note_failure(struct local *local, const struct store_event *event)
{
    if (local->settings.trace_drop <= 0 || !is_failure(event->kind))
        return;
    if (!local->failed_runs && !(local->failed_runs = calloc(1, sizeof *local->failed_runs)))
        return; /* it may be dropped with its run */
    uint64_t first = run_of(event, event->first), last = run_of(event, event->first + event->span - 1);
    for (uint64_t run = first; run <= last && run - first < RUNS_MOST; run++)
        note_run(local->failed_runs, run);
}

void local_events_added(struct local *local, const struct store_event *event)
{
    local->event_bytes += STORE_EVENT_BYTES + event->mask_size + event->note_size;
    note_failure(local, event);
}

static enum mp_error look_at(void *context, const struct store_event *event)
{
    struct sampling *sampling = context;
    struct local *local = sampling->local;
    uint64_t first = run_of(event, event->first), last = run_of(event, event->first + event->span - 1);
    if (event->id > local->snapshot_event || event->time > local->time - SAMPLE_AGE ||
        sampling->count == local->settings.events_step)
        return MP_ERR_STALE; /* ends the walk, and no more */
    sampling->upto = event->id;
    note_failure(local, event); /* of before the last start */
    bool plain = event->kind == EVENT_PUBLISHED || event->kind == EVENT_LEASED || event->kind == EVENT_ACKED ||
                 event->kind == EVENT_RELEASED;
    for (uint64_t run = first; plain && run <= last; run++)
        plain = run - first < RUNS_MOST && !is_of_the_sample(local->settings.trace_drop, run);
    if (plain)
        sampling->candidates[sampling->count++] = (struct candidate){
            event->id, {first, last}, (uint32_t)(STORE_EVENT_BYTES + event->mask_size + event->note_size)};
    return MP_OK;
}

static bool is_needed(const struct local *local, const struct candidate *candidate)
{
    for (uint64_t run = candidate->runs[0]; local->failed_runs && run <= candidate->runs[1]; run++)
        if (has_failed(local->failed_runs, run))
            return true;
    return false;
}

static enum mp_error delete_candidates(struct sampling *sampling, struct fault *fault)
{
    struct local *local = sampling->local;
    uint64_t bytes = 0;
    enum mp_error error = local_write(local, fault);
    for (size_t i = 0; !error && i < sampling->count; i++) {
        const struct candidate *candidate = &sampling->candidates[i];
        if (is_needed(local, candidate))
            continue;
        error = store_delete_event(local->store, candidate->id, fault);
        bytes += candidate->bytes;
    }
    local->sampled_event = sampling->upto;
    if (!error)
        error = store_put_number(local->store, "sampled_event", (int64_t)sampling->upto, fault);
    return error ? error : gone(local, bytes, fault);
}

/* Goes through what was written since the last time, a step of it. */
static enum mp_error sample(struct local *local, struct fault *fault)
{
    struct sampling sampling = {.local = local, .upto = local->sampled_event};
    if (local->settings.trace_drop <= 0 || local->snapshot_event <= local->sampled_event)
        return MP_OK;
    sampling.candidates = malloc(local->settings.events_step * sizeof *sampling.candidates);
    if (!sampling.candidates)
        return fault_memory(fault);
    enum mp_error error = store_each_event(local->store, local->sampled_event, look_at, &sampling, fault);
    if (error == MP_ERR_STALE)
        error = MP_OK;
    local->sample_more = sampling.count == local->settings.events_step;
    if (!error && sampling.upto > local->sampled_event)
        error = delete_candidates(&sampling, fault);
    free(sampling.candidates);
    return error;
}

/* ---- turns ---------------------------------------------------------------------------------------------------------- */

enum mp_error local_events_tick(struct local *local, struct fault *fault)
{
    enum mp_error error = MP_OK;
    if (local->snapshots != local->sampled_snapshots || local->sample_more) { /* what is before a snapshot can go */
        local->sampled_snapshots = local->snapshots;
        error = sample(local, fault);
    }
    return error ? error : delete_old(local, fault);
}

static enum mp_error get(struct local *local, const char *name, uint64_t *value, struct fault *fault)
{
    int64_t number;
    enum mp_error error = store_get_number(local->store, name, &number, fault);
    if (!error)
        *value = (uint64_t)number;
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

enum mp_error local_events_load_bytes(struct local *local, struct fault *fault)
{
    local->events_due = local->now.monotonic;
    local->sampled_event = 0;
    local->saved_event_bytes = 0;
    struct store_event event;
    enum mp_error error = store_find_event(local->store, 0, &event, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    local->first_event = error ? local->snapshot_event + 1 : event.id;
    if (local->first_event <= local->snapshot_event) /* where no number was kept: about so much */
        local->saved_event_bytes = (local->snapshot_event - local->first_event + 1) * STORE_EVENT_BYTES;
    if ((error = get(local, "event_bytes", &local->saved_event_bytes, fault)))
        return error;
    local->event_bytes = local->saved_event_bytes;
    return get(local, "sampled_event", &local->sampled_event, fault);
}
