/* Messages from the feeds through the steps, to tasks. */
#include "base/memory.h"
#include "message/attributes.h"
#include "runner/stage_private.h"

enum {
    TURN_MESSAGES = 16384,   /* after so many others have their turn */
    NO_MEMORY_WAIT = 100000, /* microseconds */
    VALUE_SHOWN = 512        /* bytes of a value in the log */
};

/* ---- what the steps say --------------------------------------------------------------------------------------- */

/* The steps of one feed. */
struct window_context {
    struct runner_stage *stage;
    struct feed *feed;
};

/* What comes of the message that is being taken: its bytes are the parcel's, or go when the call ends. */
static enum mp_error emitted(void *context, const struct format_item *item)
{
    const struct runner_stage *stage = ((const struct window_context *)context)->stage;
    const struct stage_parcel *parcel = stage->taking;
    return staging_add_copy(stage->settings.staging, item, parcel->frame.data, parcel->frame.size);
}

/* Makes BUNDLE of the messages in WINDOW and what comes of them. */
static enum mp_error fill_of_window(const struct runner_stage *stage, struct bundle *bundle,
                                    const struct stage_window *window)
{
    struct staging *staging = stage->settings.staging;
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < window->count; i++)
        error = bundle_add_part(bundle, feed_held(bundle->feed, window->tickets[i]));
    if (error || !window->item)
        return error;
    struct keep spare = staging->keep;
    staging->keep = bundle->keep;
    error = staging_add_copy(staging, window->item, NULL, 0);
    if (!error)
        error = bundle_add_item(bundle, &staging->all[--staging->count].item, 0);
    bundle->keep = staging->keep;
    staging->keep = spare;
    return error;
}

static enum mp_error window_ended(void *context, const struct stage_window *window)
{
    const struct window_context *own = context;
    struct runner_stage *stage = own->stage;
    struct bundle *bundle = bundle_new(stage, own->feed);
    if (!bundle)
        return MP_ERR_MEMORY;
    enum mp_error error = fill_of_window(stage, bundle, window);
    if (error) {
        bundle_free(stage, bundle);
        return error;
    }
    for (size_t i = 0; i < window->count; i++)
        feed_unhold(own->feed, window->tickets[i]);
    if (window->dead) {
        stage_bury(stage, own->feed, bundle->parts, bundle->parts_count, (enum protocol_reason)window->result->reason,
                   window->result->note);
        bundle_free(stage, bundle);
    } else if (!window->item && commit_reserve(&own->feed->open, bundle->parts_count) == MP_OK) {
        feed_commit(own->feed, bundle->parts, bundle->parts_count);
        bundle_free(stage, bundle);
    } else {
        stage_begin(stage, bundle);
    }
    return MP_OK;
}

/* NAME as a log's field can have it: of a JSON Pointer its slashes are none. */
static const char *log_name(const char *name, char text[ATTRIBUTE_NAME_MAX + 1])
{
    size_t size = 0;
    for (name += *name == '/'; *name && size < ATTRIBUTE_NAME_MAX; name++)
        text[size++] = *name == '_' || *name == '-' || (*name >= '0' && *name <= '9') ||
                               ((*name | 32) >= 'a' && (*name | 32) <= 'z')
                           ? *name
                           : '_';
    text[size] = '\0';
    return text;
}

static void said_of_message(void *context, const struct stage_field *fields, size_t count)
{
    struct log_line line;
    stage_log_begin(((const struct window_context *)context)->stage, &line, LOG_INFO, "message");
    for (size_t i = 0; i < count; i++) {
        char name[ATTRIBUTE_NAME_MAX + 1];
        log_field(&line, log_name(fields[i].name, name), "%.*s",
                  (int)(fields[i].size < VALUE_SHOWN ? fields[i].size : VALUE_SHOWN), fields[i].value);
    }
    log_end(&line);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error open_steps(struct runner_stage *stage, struct window_context *context, struct stage_steps **steps,
                                struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    const struct stage_steps_settings settings = {
        .steps = model->steps,
        .count = model->steps_count,
        .held_messages = model->group.max_in_flight,
        .context = context,
        .emit = emitted,
        .window = window_ended,
        .log = said_of_message,
    };
    return stage_steps_open(&settings, steps, fault);
}

enum mp_error stage_open_steps(struct runner_stage *stage, struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    size_t feeds = model->from.count, number = 0;
    bool dedupes = false;
    stage->has_steps = model->steps_count > 0;
    for (size_t i = 0; i < model->steps_count; i++) {
        const struct stage_step *step = &model->steps[i];
        dedupes = dedupes || step->kind == STAGE_STEP_DEDUPE;
        stage->has_windows = stage->has_windows || step->kind == STAGE_STEP_AGGREGATE;
        uint32_t rate = step->kind == STAGE_STEP_RATE_LIMIT ? (uint32_t)(step->rate < 1e6 ? step->rate : 1e6) + 1 : 0;
        if (rate > 0 && (stage->rate == 0 || rate < stage->rate))
            stage->rate = rate;
    }
    if (!stage->has_steps)
        return MP_OK;
    stage->contexts = memory_allocate_array(feeds, sizeof *stage->contexts);
    if (!stage->contexts)
        return fault_memory(fault);
    enum mp_error error = MP_OK;
    for (struct feed *feed = stage->feeds; !error && feed; feed = feed->next, number++) {
        feed->keeps = dedupes;
        stage->contexts[number] = (struct window_context){stage, feed};
        if (stage->has_windows || number == 0)
            error = open_steps(stage, &stage->contexts[number], &feed->steps, fault);
        else
            feed->steps = stage->feeds->steps;
    }
    return error;
}

void stage_free_steps(struct runner_stage *stage)
{
    for (struct feed *feed = stage->feeds; feed; feed = feed->next) {
        if (stage->has_windows || feed == stage->feeds)
            stage_steps_free(feed->steps);
        feed->steps = NULL;
    }
    memory_release(stage->contexts);
    stage->contexts = NULL;
}

void stage_lose_windows(struct runner_stage *stage, struct feed *feed)
{
    size_t number = 0;
    struct fault fault;
    for (const struct feed *at = stage->feeds; at != feed; at = at->next)
        number++;
    feed_drop_windows(feed);
    if (!stage->has_windows)
        return;
    struct stage_steps *steps;
    if (open_steps(stage, &stage->contexts[number], &steps, &fault)) {
        stage->broken = true; /* it could not be known what is in the windows */
        stage->fault = fault;
        stage_changed(stage);
        return;
    }
    stage_steps_free(feed->steps);
    feed->steps = steps;
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

/* One message, as it is taken. */
struct taking {
    struct feed *feed;
    struct part part;
    int64_t now;
    int64_t wall;
};

/* What is to be done with a message that the steps made nothing of. */
static void settle_alone(struct runner_stage *stage, const struct taking *taking, enum stage_verdict verdict,
                         const struct stage_result_of_steps *result)
{
    static const struct protocol_settlement again = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct feed *feed = taking->feed;
    if (verdict == STAGE_DEAD)
        stage_bury(stage, feed, &taking->part, 1, (enum protocol_reason)result->reason, result->note);
    else if (verdict == STAGE_HELD && feed_hold(feed, taking->part.parcel) == MP_OK)
        return;
    else if (verdict == STAGE_DONE && commit_reserve(&feed->open, 1) == MP_OK)
        feed_commit(feed, &taking->part, 1);
    else
        feed_settle(feed, &taking->part, &again);
}

/*
 * Takes the next message of the feed through the steps; what comes of it is staged. False: not now. *DONE: nothing comes
 * of it, and it is settled.
 */
static bool apply(struct runner_stage *stage, struct taking *taking, bool *done)
{
    struct feed *feed = taking->feed;
    struct stage_result_of_steps result = {.due = 0};
    enum stage_verdict verdict = STAGE_DONE;
    uint64_t ticket = taking->part.parcel->ticket + taking->part.index;
    stage->taking = taking->part.parcel;
    enum mp_error error =
        stage_steps_apply(feed->steps, &feed->item, ticket, taking->now, taking->wall, &verdict, &result);
    if (error || verdict == STAGE_WAIT) {
        stage->settings.staging->count = 0;
        stage->wait_until = error ? taking->now + NO_MEMORY_WAIT : result.due;
        return false;
    }
    feed_take(feed);
    stage->counters.in++;
    *done = verdict != STAGE_DONE || stage->settings.staging->count == 0;
    if (*done)
        settle_alone(stage, taking, verdict, &result);
    if (verdict == STAGE_HELD && stage_steps_due(feed->steps) <= taking->now)
        stage->window_full = true;
    return true;
}

/* Whether the next message of the feed can go with those that BUNDLE has. */
static bool joins(const struct bundle *bundle, const struct stage_parcel *parcel)
{
    if (bundle->parts_count == 0)
        return true;
    const struct stage_parcel *last = bundle->parts[bundle->parts_count - 1].parcel;
    return last == parcel || (last->attempt == parcel->attempt && strcmp(last->topic, parcel->topic) == 0);
}

/* Puts what is staged, or the message as it is, into BUNDLE. */
static enum mp_error put(const struct runner_stage *stage, struct bundle *bundle, const struct taking *taking,
                         const struct format_item *item)
{
    const struct staging *staging = stage->settings.staging;
    uint32_t input = bundle->inputs;
    enum mp_error error = bundle_add_part(bundle, taking->part);
    if (!stage->has_steps)
        return error ? error : bundle_add_item(bundle, item, input);
    for (size_t i = 0; !error && i < staging->count; i++)
        error = bundle_add_item(bundle, &staging->all[i].item, input);
    return error;
}

/* Takes one message into BUNDLE. False: there is none that can be taken now. */
static bool take_into(struct runner_stage *stage, struct bundle *bundle, struct taking *taking)
{
    static const struct protocol_settlement again = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct feed *feed = taking->feed;
    struct staging *staging = stage->settings.staging;
    bool done = false, taken = true;
    const struct format_item *item = feed_look(feed, &taking->part.parcel, &taking->part.index);
    if (!item || !joins(bundle, taking->part.parcel))
        return false;
    if (stage->has_steps) {
        struct keep spare = staging->keep;
        staging->keep = bundle->keep;
        taken = apply(stage, taking, &done);
        bundle->keep = staging->keep;
        staging->keep = spare;
    } else {
        feed_take(feed);
        stage->counters.in++;
    }
    uint32_t before = bundle->inputs;
    if (taken && !done && put(stage, bundle, taking, item)) {
        if (bundle->inputs == before)
            feed_settle(feed, &taking->part, &again);
        bundle->end = STAGE_NOT_BEGUN; /* no memory: all of them come again */
        stage->wait_until = taking->now + NO_MEMORY_WAIT;
        taken = false;
    }
    staging->count = 0;
    return taken;
}

/* Takes messages for a task and begins it; how many. */
static uint32_t take_task(struct runner_stage *stage, struct taking *taking, uint32_t most)
{
    static const struct protocol_settlement again = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct bundle *bundle = bundle_new(stage, taking->feed);
    uint32_t limit = taking->feed->alone > 0 ? 1 : stage->batch;
    uint32_t taken = 0;
    if (!bundle) {
        stage->wait_until = taking->now + NO_MEMORY_WAIT;
        return 0;
    }
    /* Also those that come to nothing end a turn some time. */
    while (bundle->items_count < limit && taken < most + limit && !stage->window_full &&
           take_into(stage, bundle, taking))
        taken++;
    if (bundle->end != STAGE_SUCCEEDED)
        stage_settle_bundle(stage, bundle, &again);
    else if (bundle->items_count == 0)
        bundle_free(stage, bundle);
    else
        stage_begin(stage, bundle);
    return taken;
}

/* Takes messages that only steps work upon; how many. */
static uint32_t take_directly(struct runner_stage *stage, struct taking *taking, uint32_t most)
{
    struct feed *feed = taking->feed;
    struct staging *staging = stage->settings.staging;
    uint32_t taken = 0;
    while (taken < most && !feed_is_full(feed) && !stage->window_full) {
        bool done = false;
        const struct format_item *item = feed_look(feed, &taking->part.parcel, &taking->part.index);
        if (!item)
            break;
        if (stage->has_steps) {
            if (!apply(stage, taking, &done))
                break;
        } else if (staging_add(staging, item, true)) {
            stage->wait_until = taking->now + NO_MEMORY_WAIT;
            break;
        } else {
            feed_take(feed);
            stage->counters.in++;
        }
        if (!done)
            stage_emit(stage, feed, &taking->part, 1);
        staging_clear(staging);
        taken++;
    }
    return taken;
}

/*
 * Whether a task of what FEED has is worth beginning: a small batch only when a worker has nothing else to do, as the
 * next one may be larger.
 */
static bool is_worth_it(const struct runner_stage *stage, const struct feed *feed)
{
    if (feed->queue.messages == 0 || feed_is_full(feed))
        return false;
    return stage->batch == 1 || !stage->hands.operations || stage->at_work < stage->model->workers ||
           feed->queue.messages >= stage->batch;
}

/* The next feed that has something, beginning with the one whose turn it is. */
static struct feed *choose_feed(struct runner_stage *stage)
{
    struct feed *first = stage->next_feed ? stage->next_feed : stage->feeds;
    for (struct feed *feed = first; feed; feed = feed->next)
        if (is_worth_it(stage, feed))
            return feed;
    for (struct feed *feed = stage->feeds; feed != first; feed = feed->next)
        if (is_worth_it(stage, feed))
            return feed;
    return NULL;
}

bool stage_take(struct runner_stage *stage, int64_t now)
{
    struct taking taking = {.part.count = 1, .now = now, .wall = clock_wall()};
    uint32_t left = TURN_MESSAGES;
    while (left > 0) {
        if (stage->wait_until > now || !stage_has_room(stage) || !(taking.feed = choose_feed(stage)))
            return false;
        uint32_t taken =
            stage->hands.operations ? take_task(stage, &taking, left) : take_directly(stage, &taking, left);
        if (stage->window_full)
            stage_tick(stage, now, false);
        stage->window_full = false;
        stage->next_feed = taking.feed->next;
        left -= taken < left ? taken : left;
    }
    return true;
}

int64_t stage_tick(struct runner_stage *stage, int64_t now, bool all)
{
    int64_t due = CLOCK_NEVER;
    for (struct feed *feed = stage->feeds; stage->has_windows && feed; feed = feed->next) {
        int64_t next = stage_steps_due(feed->steps);
        bool ends = all || (feed->starved && stage->model->group.rate <= 0);
        if (ends || next <= now) {
            if (stage_steps_tick(feed->steps, now, clock_wall(), ends))
                return now + NO_MEMORY_WAIT;
            feed->starved = false;
            next = stage_steps_due(feed->steps);
        }
        due = next < due ? next : due;
    }
    return due;
}
