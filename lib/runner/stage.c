/* A stage's life: opening, its turn, stopping, what it says of itself. */
#include "runner/stage.h"

#include "base/memory.h"
#include "runner/stage_private.h"

#include <stdio.h>
#include <unistd.h>

enum {
    PACE_TIME = 100000,    /* microseconds over which the pace is taken */
    FADE_AFTER = 30000000, /* microseconds after which times of work count half */
    PACE_MOST = 65536,     /* messages in hand */
    LOOK_EVERY = 20000,    /* while it stops */
    STOP_LINGER = 3000000  /* microseconds for what is settled to reach a relay, after the deadline */
};

void stage_changed(struct runner_stage *stage)
{
    stage->changes++;
    if (stage->settings.changed)
        stage->settings.changed(stage->settings.context);
}

void stage_log_begin(const struct runner_stage *stage, struct log_line *line, enum log_level level, const char *event)
{
    log_begin(line, level, event);
    log_field(line, stage->model->sink ? "sink" : "stage", "%s", stage->model->name);
}

/* ---- what the feeds say --------------------------------------------------------------------------------------- */

static void woken(void *context)
{
    struct runner_stage *stage = context;
    turn_soon(&stage->turn);
}

static void committed(void *context, const struct commit *commit)
{
    struct runner_stage *stage = context;
    stage->counters.done += commit->messages;
    stage->counters.out += commit->outputs.messages;
    for (uint32_t i = 0; i < commit->outputs.count; i++) {
        const struct output *output = &commit->outputs.all[i];
        for (uint32_t to = 0; to < stage->destinations_count; to++) {
            struct destination *destination = &stage->destinations[to];
            if (destination->first && strcmp(destination->topic, output->topic) == 0) {
                destination->messages += output->frame.count;
                break;
            }
        }
    }
    stage_changed(stage);
}

static void refused(void *context, uint64_t messages, const char *words)
{
    struct runner_stage *stage = context;
    struct log_line line;
    stage->counters.dead += messages;
    stage_changed(stage);
    if (log_limited(&stage->failures, clock_monotonic()))
        return;
    stage_log_begin(stage, &line, LOG_WARNING, "output refused, message dead");
    log_field(&line, "messages", "%llu", (unsigned long long)messages);
    log_field(&line, "why", "%s", words);
    log_field_suppressed(&line, &stage->failures);
    log_end(&line);
}

static void full(void *context, const char *words)
{
    struct runner_stage *stage = context;
    snprintf(stage->full, sizeof stage->full, "%s", words ? words : "");
    stage_changed(stage);
}

static void lost(void *context, struct feed *feed)
{
    stage_lose_windows(context, feed);
}

static void failed(void *context, const struct fault *fault)
{
    struct runner_stage *stage = context;
    if (stage->broken)
        return;
    stage->broken = true;
    fault_set(&stage->fault, fault->code, "%s %s: %s", stage->model->sink ? "sink" : "stage", stage->model->name,
              fault_text(fault));
    turn_soon(&stage->turn);
    stage_changed(stage);
}

/* ---- its turn ------------------------------------------------------------------------------------------------- */

/* How many messages it has done in a tenth of a second, lately. */
static void keep_pace(struct runner_stage *stage, int64_t now)
{
    if (now - stage->faded > FADE_AFTER) {
        histogram_fade(&stage->times);
        stage->faded = now;
    }
    int64_t passed = now - stage->pace_since;
    if (passed < PACE_TIME)
        return;
    double pace = (double)stage->worked * (double)PACE_TIME / (double)passed;
    stage->pace = pace < (double)PACE_MOST ? (uint32_t)pace : PACE_MOST;
    stage->pace_since = now;
    stage->worked = 0;
}

/* How many messages it should have in hand, so that its workers have something to do and others get some too. */
static uint32_t ahead(const struct runner_stage *stage)
{
    const struct pipeline_stage *model = stage->model;
    uint32_t workers = model->workers ? model->workers : 1;
    if (!stage->hands.operations)
        return stage->rate ? stage->rate : UINT32_MAX;
    uint64_t least = model->end == PIPELINE_TO_FILE || model->end == PIPELINE_TO_SOCKET
                         ? 1024
                         : (uint64_t)stage->batch * workers * 2 + (stage->batch > 1 ? stage->batch : 0);
    uint64_t most = least > PACE_MOST ? least : PACE_MOST;
    uint64_t wanted = stage->batch > 1 ? least : least + stage->pace;
    return (uint32_t)(wanted < most ? wanted : most);
}

/* How many messages it may have in hand; 0: it works upon none now. */
static uint32_t wanted(struct runner_stage *stage, int64_t now, int64_t *due)
{
    uint32_t lets = stage_breaker_lets(stage, now, due);
    if (stage->broken || stage->phase != PHASE_WORK || lets == 0)
        return 0;
    if (stage->paused[0] != '\0' && !stage_is_falling_back(stage)) {
        uint32_t tries = hands_room(&stage->hands) > 0 ? 1 : 0;
        lets = stage->model->end == PIPELINE_TO_FILE || stage->model->end == PIPELINE_TO_SOCKET ? lets : tries;
    }
    uint32_t most = ahead(stage);
    return lets < most ? lets : most;
}

static void work(struct runner_stage *stage, int64_t now)
{
    int64_t breaker_due;
    for (struct feed *feed = stage->feeds; feed; feed = feed->next)
        feed_check(feed, now);
    (void)stage_tick(stage, now, false);
    keep_pace(stage, now);
    stage_hand_over(stage);
    uint32_t want = wanted(stage, now, &breaker_due);
    if (want > 0 && stage_take(stage, now))
        turn_soon(&stage->turn);
    int64_t due = stage_tick(stage, now, false); /* of those windows too that have begun now */
    want = wanted(stage, now, &breaker_due);
    if (want == 0)
        stage_give_back(stage);
    for (struct feed *feed = stage->feeds; feed; feed = feed->next) {
        feed->want = want;
        int64_t feed_due = feed_pump(feed, now);
        due = feed_due < due ? feed_due : due;
    }
    due = breaker_due < due ? breaker_due : due;
    if (stage->wait_until > now && stage->wait_until < due)
        due = stage->wait_until;
    turn_by(&stage->turn, due);
}

static bool has_commits(const struct runner_stage *stage)
{
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next)
        if (!commit_is_empty(&feed->open) || !commit_is_empty(&feed->sent))
            return true;
    return false;
}

static bool is_at_rest(const struct hands *hands)
{
    return !hands->operations || hands->operations->idle(hands->object);
}

static void finish(struct runner_stage *stage, int64_t now)
{
    for (struct feed *feed = stage->feeds; feed; feed = feed->next)
        (void)feed_pump(feed, now);
    bool works = stage->bundles || !is_at_rest(&stage->hands) || !is_at_rest(&stage->fallback);
    if (works && now >= stage->deadline && !stage->ended) {
        stage->ended = true;
        if (stage->hands.operations)
            stage->hands.operations->end(stage->hands.object);
        if (stage->fallback.operations)
            stage->fallback.operations->end(stage->fallback.object);
    }
    int64_t last = stage->deadline > INT64_MAX - STOP_LINGER - STAGE_GRACE
                       ? CLOCK_NEVER
                       : stage->deadline + STOP_LINGER + (works ? STAGE_GRACE : 0);
    if (!stage->broken && now < last && (works || has_commits(stage))) {
        turn_by(&stage->turn, now + LOOK_EVERY); /* that a stream's process has gone is told by nobody */
        return;
    }
    stage->phase = PHASE_LEAVE;
    stage->deadline = now + STOP_LINGER;
    for (struct feed *feed = stage->feeds; feed; feed = feed->next)
        feed_leave(feed);
    turn_soon(&stage->turn);
}

static void leave(struct runner_stage *stage, int64_t now)
{
    bool left = true;
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next)
        left = left && feed_has_left(feed);
    if (left || now >= stage->deadline) {
        stage->phase = PHASE_STOPPED;
        stage_changed(stage);
        return;
    }
    turn_by(&stage->turn, now + LOOK_EVERY); /* nor is that it has left */
}

static void on_turn(void *context)
{
    struct runner_stage *stage = context;
    int64_t now = clock_monotonic();
    bool away = stage_is_away(stage);
    if (away != stage->away) {
        stage->away = away;
        stage_changed(stage);
    }
    switch (stage->phase) {
    case PHASE_WORK:
        work(stage, now);
        break;
    case PHASE_FINISH:
        finish(stage, now);
        break;
    case PHASE_LEAVE:
        leave(stage, now);
        break;
    case PHASE_STOPPED:
        break;
    }
}

void runner_stage_stop(struct runner_stage *stage, int64_t deadline)
{
    if (stage->phase == PHASE_WORK) {
        stage->phase = PHASE_FINISH;
        stage->deadline = deadline;
        for (struct feed *feed = stage->feeds; feed; feed = feed->next)
            feed->want = 0;
        stage_give_back(stage);
        if (stage->hands.operations)
            stage->hands.operations->stop(stage->hands.object);
        if (stage->fallback.operations)
            stage->fallback.operations->stop(stage->fallback.object);
    } else if (stage->phase == PHASE_FINISH && deadline < stage->deadline) {
        stage->deadline = deadline;
    }
    turn_soon(&stage->turn);
}

bool runner_stage_has_stopped(const struct runner_stage *stage)
{
    return stage->phase == PHASE_STOPPED;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error open_feeds(struct runner_stage *stage, struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    const struct feed_calls calls = {
        .context = stage,
        .woken = woken,
        .committed = committed,
        .refused = refused,
        .full = full,
        .lost = lost,
        .failed = failed,
    };
    char name[NAME_MAX_BYTES + 1];
    snprintf(name, sizeof name, "mrelay run %ld: %.150s", (long)getpid(), model->name);
    struct feed **end = &stage->feeds;
    for (size_t i = 0; i < model->from.count; i++) {
        enum mp_error error = feed_open(stage->settings.base, stage->settings.url, name, model->from.all[i].topic,
                                        model->name, &calls, end, fault);
        if (error)
            return error;
        if (stage->most_at_once > 0)
            (*end)->commit_outputs = stage->most_at_once;
        (*end)->gathers = stage->hands.operations && model->mode == STAGE_EACH && model->end != PIPELINE_TO_FILE &&
                          model->end != PIPELINE_TO_SOCKET;
        (*end)->open.exit_code = (*end)->sent.exit_code = stage->hands.operations ? 0 : -1;
        end = &(*end)->next;
    }
    return MP_OK;
}

enum mp_error runner_stage_open(const struct runner_stage_settings *settings, struct runner_stage **result,
                                struct fault *fault)
{
    struct runner_stage *stage = memory_allocate(sizeof *stage);
    if (!stage)
        return fault_memory(fault);
    stage->settings = *settings;
    stage->model = settings->model;
    stage->deadline = CLOCK_NEVER;
    stage->away = true;
    stage->pace_since = stage->faded = clock_monotonic();
    bool batches = stage->model->mode == STAGE_BATCH && stage->model->end != PIPELINE_TO_FILE &&
                   stage->model->end != PIPELINE_TO_SOCKET;
    stage->batch = batches && stage->model->batch > 0 ? stage->model->batch : 1;
    enum mp_error error = turn_open(&stage->turn, settings->base, on_turn, stage);
    if (error)
        fault_memory(fault);
    else if (!(error = stage_open_routes(stage, fault)) && !(error = stage_open_hands(stage, fault)) &&
             !(error = stage_open_breaker(stage, fault)) && !(error = open_feeds(stage, fault)))
        error = stage_open_steps(stage, fault);
    if (error)
        runner_stage_free(stage);
    else
        *result = stage;
    return error;
}

void runner_stage_free(struct runner_stage *stage)
{
    if (!stage)
        return;
    turn_close(&stage->turn);
    hands_free(&stage->hands);
    hands_free(&stage->fallback);
    while (stage->bundles)
        bundle_drop(stage, stage->bundles);
    while (stage->spare) {
        struct bundle *spare = stage->spare;
        stage->spare = spare->next;
        memory_release(spare);
    }
    stage_free_steps(stage);
    while (stage->feeds) {
        struct feed *feed = stage->feeds;
        stage->feeds = feed->next;
        feed_close(feed);
    }
    stage_free_routes(stage);
    breaker_free(&stage->breaker);
    memory_release(stage);
}

/* ---- what there is to say of it ------------------------------------------------------------------------------- */

uint64_t runner_stage_windowed(const struct runner_stage *stage)
{
    uint64_t windowed = 0;
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next)
        windowed += feed->windowed;
    return windowed;
}

void runner_stage_end_windows(struct runner_stage *stage)
{
    stage_tick(stage, clock_monotonic(), true);
    turn_soon(&stage->turn);
}

bool runner_stage_is_idle(const struct runner_stage *stage)
{
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next)
        if (!feed_is_idle(feed))
            return false;
    return true;
}

const struct fault *runner_stage_failure(const struct runner_stage *stage)
{
    return stage->broken ? &stage->fault : NULL;
}

uint64_t runner_stage_dead(const struct runner_stage *stage)
{
    return stage->counters.dead;
}

uint64_t runner_stage_changes(const struct runner_stage *stage)
{
    return stage->changes;
}
