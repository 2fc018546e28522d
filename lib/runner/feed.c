#include "runner/feed.h"

#include "base/clock.h"
#include "base/memory.h"
#include "stage/steps.h"

enum {
    POLL = 60000,                    /* milliseconds that the relay waits for messages */
    POLL_WINDOWS = 1000,             /* the same while messages wait in windows */
    AHEAD = 2 * FRAME_TARGET,        /* bytes in the queue from which on nothing is fetched */
    COMMIT_BYTES = 2 * FRAME_TARGET, /* the relay takes eight times as much, and one message of any size */
    COMMIT_TASKS = 8192,
    COMMIT_PARTS = PROTOCOL_SETTLEMENTS_MAX / 2,
    GATHER = 10000 /* microseconds that a commit waits for more */
};

static void wake(const struct feed *feed)
{
    feed->calls.woken(feed->calls.context);
}

static void fail(struct feed *feed, enum mp_error error, const char *text)
{
    struct fault fault;
    fault_set(&fault, error, "%s", text);
    feed->broken = true;
    feed->calls.failed(feed->calls.context, &fault);
}

/* ---- parcels -------------------------------------------------------------------------------------------------- */

static void free_hold(void *owner)
{
    client_hold_free(owner);
}

static void unload(struct stage_parcel *parcel)
{
    const struct feed *feed = parcel->feed;
    bool looked_at = feed->looked && feed->queue.first == parcel;
    if (parcel->taken == parcel->count && parcel->pins == 0 && !looked_at && !feed->keeps)
        stage_parcel_unload(parcel);
}

/* COUNT of its messages are nobody's business any more. */
static void settled(struct stage_parcel *parcel, uint32_t count)
{
    parcel->settled += count;
    if (parcel->settled == parcel->count && parcel->pins == 0)
        stage_parcel_free(parcel);
}

void feed_pin(struct stage_parcel *parcel)
{
    parcel->pins++;
}

void feed_unpin(struct stage_parcel *parcel)
{
    parcel->pins--;
    if (parcel->settled == parcel->count && parcel->pins == 0)
        stage_parcel_free(parcel);
    else
        unload(parcel);
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct feed *feed = context;
    struct stage_parcel *parcel = stage_parcel_new();
    if (!parcel) {
        /* They stay leased, and come again when that ends. */
        client_abandon(client_link_client(feed->link), lease, frame->count);
        client_hold_free(hold);
        return;
    }
    stage_parcel_frame(parcel, frame);
    parcel->release = free_hold;
    parcel->owner = hold;
    stage_parcel_chunk(parcel, chunk, feed->group);
    parcel->lease = lease;
    parcel->delivery = lease ? client_delivery(client_link_client(feed->link), lease) : 0;
    parcel->feed = feed;
    parcel->ticket = feed->tickets;
    feed->tickets += frame->count;
    stage_queue_add(&feed->queue, parcel);
    feed->trimmed = false;
}

const struct format_item *feed_look(struct feed *feed, struct stage_parcel **first, uint32_t *index)
{
    struct stage_parcel *parcel = feed->queue.first;
    if (!parcel)
        return NULL;
    if (!feed->looked) {
        struct record record;
        if (!stage_parcel_take(parcel, &record))
            return NULL; /* it was opened deep: this cannot be */
        feed->item = stage_parcel_item(parcel, &record, parcel->taken - 1);
        feed->looked = true;
    }
    *first = parcel;
    *index = parcel->taken - 1;
    return &feed->item;
}

void feed_take(struct feed *feed)
{
    const struct stage_parcel *parcel = feed->queue.first;
    feed->looked = false;
    feed->working++;
    feed->queue.messages--;
    if (parcel->taken == parcel->count)
        stage_queue_shift(&feed->queue);
}

/* Takes what is left of the first parcel in the queue. */
static struct part take_rest(struct feed *feed)
{
    struct stage_parcel *parcel = feed->queue.first;
    uint32_t taken = parcel->taken - (feed->looked ? 1 : 0);
    struct part rest = {parcel, taken, parcel->count - taken};
    feed->looked = false;
    feed->queue.messages -= rest.count;
    parcel->taken = parcel->count;
    stage_queue_shift(&feed->queue);
    return rest;
}

/* ---- what becomes of messages --------------------------------------------------------------------------------- */

/* The steps forget PART, which comes again, or died: neither it nor another one of its id is a duplicate then. */
static void undo(struct feed *feed, const struct part *part)
{
    struct stage_parcel *parcel = part->parcel;
    if (!feed->keeps || !feed->steps)
        return;
    struct frame_cursor cursor = frame_cursor(&parcel->frame);
    struct record record;
    int64_t now = clock_monotonic();
    if (part->index > 0 && !frame_skip(&cursor, part->index))
        return;
    for (uint32_t i = part->index; i < part->index + part->count && frame_next(&cursor, &record); i++) {
        const struct format_item item = stage_parcel_item(parcel, &record, i);
        stage_steps_forget(feed->steps, &item, parcel->ticket + i, now);
    }
}

static void settle_part(struct feed *feed, const struct part *part, const struct protocol_settlement *how)
{
    if (!feed->broken && !feed_has_lost(feed, part->parcel) && !feed_has_left(feed)) {
        enum mp_error error = part_settle(part, client_link_use(feed->link), how);
        if (error && error != MP_ERR_CLOSED) /* no memory: they come again when their lease ends */
            client_abandon(client_link_client(feed->link), part->parcel->lease, part->count);
    }
    settled(part->parcel, part->count);
}

void feed_settle(struct feed *feed, const struct part *part, const struct protocol_settlement *how)
{
    feed->working -= part->count;
    undo(feed, part);
    settle_part(feed, part, how);
}

void feed_drop(struct feed *feed, const struct part *part)
{
    feed->working -= part->count;
    undo(feed, part);
    settled(part->parcel, part->count);
}

static void return_first(struct feed *feed)
{
    static const struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct part rest = take_rest(feed);
    settle_part(feed, &rest, &how);
}

void feed_return(struct feed *feed)
{
    while (feed->queue.first)
        return_first(feed);
}

bool feed_holds(const struct feed *feed, const struct stage_parcel *parcel, int64_t now)
{
    return !feed_has_lost(feed, parcel) && client_lease_holds(client_link_client(feed->link), parcel->lease, now);
}

void feed_check(struct feed *feed, int64_t now)
{
    while (feed->queue.first && !feed_holds(feed, feed->queue.first, now))
        return_first(feed);
}

void feed_commit(struct feed *feed, const struct part *parts, uint32_t count)
{
    if (commit_is_empty(&feed->open))
        feed->open_since = clock_monotonic();
    commit_add(&feed->open, parts, count);
    for (uint32_t i = 0; i < count; i++) {
        feed->working -= parts[i].count;
        unload(parts[i].parcel);
    }
}

bool feed_is_full(const struct feed *feed)
{
    const struct commit *open = &feed->open;
    return open->outputs.bytes >= COMMIT_BYTES || open->outputs.messages >= feed->commit_outputs ||
           open->tasks >= COMMIT_TASKS || open->count >= COMMIT_PARTS || (feed->alone > 0 && open->count > 0);
}

/* ---- windows -------------------------------------------------------------------------------------------------- */

enum mp_error feed_hold(struct feed *feed, struct stage_parcel *parcel)
{
    if (parcel->held == 0) {
        if (feed->windows_count == feed->windows_capacity) {
            struct stage_parcel **windows = memory_grow(feed->windows, &feed->windows_capacity, sizeof *windows, 16);
            if (!windows)
                return MP_ERR_MEMORY;
            feed->windows = windows;
        }
        /* Parcels are taken one after the other: but for one that had left, the last is this one's neighbour. */
        size_t at = feed->windows_count;
        while (at > 0 && feed->windows[at - 1]->ticket > parcel->ticket)
            at--;
        memmove(feed->windows + at + 1, feed->windows + at, (feed->windows_count - at) * sizeof(*feed->windows));
        feed->windows[at] = parcel;
        feed->windows_count++;
    }
    parcel->held++;
    feed->working--;
    feed->windowed++;
    unload(parcel);
    return MP_OK;
}

/* The place of the parcel that TICKET belongs to. */
static size_t find_window(const struct feed *feed, uint64_t ticket)
{
    size_t low = 0, high = feed->windows_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (feed->windows[middle]->ticket <= ticket)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void remove_window(struct feed *feed, size_t at)
{
    feed->windows_count--;
    memmove(feed->windows + at, feed->windows + at + 1, (feed->windows_count - at) * sizeof(*feed->windows));
}

struct part feed_held(const struct feed *feed, uint64_t ticket)
{
    struct stage_parcel *parcel = feed->windows[find_window(feed, ticket)];
    return (struct part){parcel, (uint32_t)(ticket - parcel->ticket), 1};
}

void feed_unhold(struct feed *feed, uint64_t ticket)
{
    size_t at = find_window(feed, ticket);
    feed->windowed--;
    feed->working++;
    if (--feed->windows[at]->held == 0)
        remove_window(feed, at);
}

void feed_drop_windows(struct feed *feed)
{
    while (feed->windows_count > 0) {
        struct stage_parcel *parcel = feed->windows[--feed->windows_count];
        uint32_t held = parcel->held;
        parcel->held = 0;
        settled(parcel, held);
    }
    feed->windowed = 0;
}

/* ---- commits -------------------------------------------------------------------------------------------------- */

static void drop_parts(struct commit *commit)
{
    for (uint32_t i = 0; i < commit->count; i++)
        settled(commit->parts[i].parcel, commit->parts[i].count);
}

static void settle_parts(struct feed *feed, const struct commit *commit, const struct protocol_settlement *how)
{
    for (uint32_t i = 0; i < commit->count; i++) {
        undo(feed, &commit->parts[i]);
        settle_part(feed, &commit->parts[i], how);
    }
}

/*
 * What came of the messages is refused for good. Which of them it was is not known, unless they were alone: until they
 * have all come again they are worked upon one by one. Whether they are dead.
 */
static bool refused(struct feed *feed, enum mp_error error, const char *words)
{
    struct commit *sent = &feed->sent;
    struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = sent->exit_code};
    size_t size = strlen(words);
    bool guilty = sent->messages == 1 || (feed->alone > 0 && sent->tasks == 1);
    if (guilty) {
        how.action = PROTOCOL_DEAD;
        how.reason =
            error == MP_ERR_OVERFLOW || error == MP_ERR_TOO_LARGE ? PROTOCOL_REASON_OVERFLOW : PROTOCOL_REASON_REJECTED;
        how.note = words;
        how.note_size = (uint16_t)(size < PROTOCOL_NOTE_MAX ? size : PROTOCOL_NOTE_MAX);
    } else if (feed->alone < sent->messages) {
        feed->alone = sent->messages;
    }
    settle_parts(feed, sent, &how);
    if (guilty)
        feed->calls.refused(feed->calls.context, sent->messages, words);
    return guilty;
}

void feed_give_up(struct feed *feed, const struct protocol_settlement *how)
{
    settle_parts(feed, &feed->open, how);
    commit_clear(&feed->open, false);
}

static void ended(struct feed *feed, enum mp_error error, const char *words)
{
    static const struct protocol_settlement again = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct commit *sent = &feed->sent;
    uint64_t messages = sent->messages;
    bool done = error == MP_OK;
    if (error == MP_OK) {
        drop_parts(sent);
        feed->calls.committed(feed->calls.context, sent);
    } else if (error == MP_ERR_STALE || error == MP_ERR_SESSION || error == MP_ERR_FULL || error == MP_ERR_CLOSED ||
               error == MP_ERR_MEMORY) {
        /* Those whose leases have not ended come again at once. */
        settle_parts(feed, sent, &again);
    } else {
        done = refused(feed, error, words);
    }
    if (done)
        feed->alone -= feed->alone < messages ? feed->alone : messages;
    commit_clear(sent, false);
}

static void on_committed(void *context, enum mp_error error, const char *text)
{
    struct feed *feed = context;
    ended(feed, error, text);
    wake(feed);
}

/*
 * When the commit that is being filled is to be sent. Where processes make it, a commit a message or two costs more than
 * the messages. As long as more wait here for a process than it has, nobody waits for it: nothing would be begun earlier.
 */
static int64_t send_at(const struct feed *feed, int64_t now)
{
    bool waits = feed->gathers && !feed->leaving && feed->queue.messages > feed->open.messages && !feed_is_full(feed);
    return waits ? feed->open_since + GATHER : now;
}

static int64_t send(struct feed *feed, int64_t now)
{
    struct client *client = client_link_client(feed->link);
    if (commit_is_empty(&feed->open) || !commit_is_empty(&feed->sent) || feed->broken)
        return CLOCK_NEVER;
    if (feed->open.outputs.count > 0 && !client_can_commit(client))
        return CLOCK_NEVER;
    int64_t due = send_at(feed, now);
    if (due > now)
        return due;
    bool was_full = feed_is_full(feed);
    struct commit spare = feed->sent;
    feed->sent = feed->open;
    feed->open = spare;
    feed->open.exit_code = feed->sent.exit_code;
    struct fault fault = {0};
    bool answered;
    enum mp_error error = commit_send(&feed->sent, client_link_use(feed->link), &answered, &fault);
    if (error || !answered)
        ended(feed, error, fault_text(&fault));
    if (was_full)
        feed->calls.woken(feed->calls.context); /* who found it full may go on */
    return CLOCK_NEVER;
}

/* ---- the session ---------------------------------------------------------------------------------------------- */

/* The relay gave another session: all leases have ended. */
static void lose(struct feed *feed)
{
    feed->lost = feed->tickets;
    while (feed->queue.first) {
        struct part rest = take_rest(feed);
        settled(rest.parcel, rest.count);
    }
    for (uint32_t i = 0; i < feed->open.count; i++)
        undo(feed, &feed->open.parts[i]);
    drop_parts(&feed->open);
    commit_clear(&feed->open, false);
    feed->calls.lost(feed->calls.context, feed);
}

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    struct feed *feed = context;
    struct client *client = client_link_client(feed->link);
    struct client_subscription subscription = {.topic = feed->topic, .group = feed->group};
    struct fault fault = {0};
    if (feed->subscribed) {
        lose(feed);
    } else if (client_subscribe(client, &subscription, &fault)) {
        fail(feed, fault.code, fault_text(&fault));
        return;
    }
    if (feed->steps)
        stage_steps_limit(feed->steps, welcome->max_message);
    feed->subscribed = true;
    wake(feed);
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct feed *feed = context;
    bool empty = feed->tickets == feed->asked_at;
    feed->at_end = (flags & PROTOCOL_FETCH_END) != 0;
    feed->starved = feed->starved || (empty && feed->patience == 0 && waiting > 0);
    feed->doubts = empty && feed->patience > 0 && feed->windowed > 0;
    if (empty && feed->patience < POLL)
        client_stop_fetching(client_link_client(feed->link)); /* it would ask the same again */
    if (feed->want == 0 || feed->leaving)
        feed_return(feed);
    wake(feed);
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    (void)applied;
    (void)stale;
    const struct feed *feed = context;
    if (feed_is_idle(feed))
        wake(feed);
}

static void on_full(void *context, bool full, const char *text)
{
    struct feed *feed = context;
    feed->calls.full(feed->calls.context, full ? text : NULL);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    fail(context, error, text);
}

enum mp_error feed_open(struct event_base *base, const char *url, const char *name, const char *topic,
                        const char *group, const struct feed_calls *calls, struct feed **result, struct fault *fault)
{
    struct feed *feed = memory_allocate(sizeof *feed);
    if (!feed)
        return fault_memory(fault);
    feed->calls = *calls;
    feed->topic = topic;
    feed->group = group;
    feed->commit_outputs = UINT64_MAX;
    const struct client_settings settings = {
        .name = name,
        .context = feed,
        .welcomed = on_welcomed,
        .fetched = on_fetched,
        .fetch_done = on_fetch_done,
        .settled = on_settled,
        .full = on_full,
        .committed = on_committed,
        .failed = on_failed,
    };
    enum mp_error error = client_link_open(base, url, &settings, &feed->link, fault);
    if (error)
        feed_close(feed);
    else
        *result = feed;
    return error;
}

void feed_close(struct feed *feed)
{
    if (!feed)
        return;
    feed_drop_windows(feed);
    drop_parts(&feed->open);
    drop_parts(&feed->sent);
    while (feed->queue.first) {
        struct part rest = take_rest(feed);
        settled(rest.parcel, rest.count);
    }
    client_link_close(feed->link);
    commit_free(&feed->open);
    commit_free(&feed->sent);
    memory_release(feed->windows);
    memory_release(feed);
}

static void fetch(struct feed *feed)
{
    uint32_t want = feed->alone > 0 && feed->want > 1 ? 1 : feed->want;
    uint64_t in_hand = feed->queue.messages + feed->working;
    struct fault fault;
    if (!feed->subscribed || feed->leaving || feed->broken || in_hand >= want || feed->queue.bytes >= AHEAD ||
        feed_is_full(feed) || client_is_fetching(client_link_client(feed->link)))
        return;
    uint32_t most = want == UINT32_MAX ? 0 : want - (uint32_t)in_hand;
    if (most > 0 && most < want / 2 && feed->queue.messages > 0)
        return; /* many at a time */
    feed->patience = feed->windowed == 0 ? POLL : feed->doubts ? 0 : POLL_WINDOWS;
    feed->asked_at = feed->tickets;
    enum mp_error error = client_fetch(client_link_use(feed->link), most, feed->patience, &fault);
    if (error && error != MP_ERR_CLOSED)
        fail(feed, error, fault_text(&fault));
}

/* A stage that rests holds no memory for what may come: a pipeline has many. */
static void rest(struct feed *feed)
{
    if (feed->trimmed || feed->broken || !feed_is_idle(feed) || client_is_settling(client_link_client(feed->link)))
        return;
    commit_clear(&feed->open, true);
    commit_clear(&feed->sent, true);
    client_trim(client_link_client(feed->link));
    feed->trimmed = true;
}

int64_t feed_pump(struct feed *feed, int64_t now)
{
    int64_t due = send(feed, now);
    fetch(feed);
    rest(feed);
    return due;
}

bool feed_is_idle(const struct feed *feed)
{
    return feed->queue.messages == 0 && feed->working == 0 && commit_is_empty(&feed->open) &&
           commit_is_empty(&feed->sent);
}

void feed_leave(struct feed *feed)
{
    if (feed->leaving)
        return;
    feed->leaving = true;
    feed_return(feed);
    if (!feed->broken)
        client_leave(client_link_use(feed->link));
}

bool feed_has_left(const struct feed *feed)
{
    return feed->broken || client_has_left(client_link_client(feed->link));
}
