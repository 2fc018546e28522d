#include "model.h"

/* ---- the part of the relay: what it keeps of sessions ---------------------------------------------------------- */

static enum mp_error save_sessions(void *context)
{
    struct trial *trial = context;
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < SESSIONS; i++) {
        struct engine_session row = {.id = trial->sessions[i]};
        for (unsigned lane = 0; lane < ENGINE_LANES; lane++) {
            row.numbers[lane] = trial->now.lanes[i][lane].number;
            row.results[lane] = trial->now.lanes[i][lane].result;
            row.counts[lane] = trial->now.lanes[i][lane].count;
        }
        trial->now.saved[i] = row.numbers[ENGINE_LANE_SETTLE];
        error = trial->call->put_session(trial->engine, &row, NULL);
    }
    return error;
}

static struct lane *loaded_lanes(struct trial *trial, uint64_t session)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        if (trial->sessions[i] == session)
            return trial->loaded[i];
    trial_fail(trial, "session %llx was loaded, and there is none", (unsigned long long)session);
}

static enum mp_error load_session(void *context, const struct engine_session *row)
{
    struct lane *lanes = loaded_lanes(context, row->id);
    for (unsigned lane = 0; lane < ENGINE_LANES; lane++)
        lanes[lane] = (struct lane){row->numbers[lane], row->results[lane], row->counts[lane]};
    return MP_OK;
}

static enum mp_error load_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                  uint32_t count)
{
    struct lane *lane = &loaded_lanes(context, origin->session)[origin->lane];
    bool settles = origin->lane == ENGINE_LANE_SETTLE;
    (void)time;
    if (origin->number == lane->number && settles)
        lane->result += count;
    else if (origin->number > lane->number)
        *lane = (struct lane){origin->number, settles ? count : result, settles ? 0 : count};
    return MP_OK;
}

/* A repeat of the last request of each lane must be known after a start, with its result. */
static void check_sessions(struct trial *trial)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        for (unsigned lane = 0; lane < ENGINE_LANES; lane++) {
            const struct lane *is = &trial->loaded[i][lane], *should = &trial->now.lanes[i][lane];
            bool numbers_only = lane == ENGINE_LANE_FETCH;
            if (is->number != should->number ||
                (!numbers_only && (is->result != should->result || is->count != should->count)))
                trial_fail(trial,
                           "lane %u of session %u is at %llu (%llu, %u) after a start, and was at %llu (%llu, %u)",
                           lane, i, (unsigned long long)is->number, (unsigned long long)is->result, is->count,
                           (unsigned long long)should->number, (unsigned long long)should->result, should->count);
        }
}

/* ---- starts ---------------------------------------------------------------------------------------------------- */

int64_t relay_time(const struct trial *trial)
{
    return trial->moment.monotonic + trial->offset;
}

static int64_t newest_message(const struct trial *trial)
{
    int64_t newest = 0;
    for (unsigned topic = 0; topic < TOPICS; topic++)
        if (trial->now.topics[topic].last_time > newest)
            newest = trial->now.topics[topic].last_time;
    return newest;
}

/* EXACT: relay time has to go on; otherwise it follows the wall clock, but falls behind nothing that was stored. */
static void take_time(struct trial *trial, bool exact, int64_t before)
{
    int64_t now = trial->call->time(trial->engine);
    if (exact ? now != relay_time(trial)
              : now < trial->moment.wall || now < newest_message(trial) || (now > trial->moment.wall && now > before))
        trial_fail(trial, "after a start relay time is %lld; before it was %lld, and it would be %lld", (long long)now,
                   (long long)before, (long long)relay_time(trial));
    trial->offset = now - trial->moment.monotonic;
    trial->exact = exact;
    trial->went_back |= now < before;
}

static void load(struct trial *trial, bool exact, int64_t before)
{
    const struct engine_load back = {.context = trial, .session = load_session, .applied = load_applied};
    struct fault fault = {0};
    memset(trial->loaded, 0, sizeof trial->loaded);
    memset(trial->rates, 0, sizeof trial->rates);
    memset(trial->real, 0, sizeof trial->real);
    reference_rollback(trial);
    if (trial->call->load(trial->engine, trial->moment, &back, &fault))
        trial_fail(trial, "loading: %s", fault_text(&fault));
    trial->loaded_now = true;
    take_time(trial, exact, before);
    if (trial->started == 0)
        trial->started = relay_time(trial);
    check_sessions(trial);
    reference_loaded(trial);
    trial->call->begin(trial->engine, trial->moment);
}

static void start(struct trial *trial, bool exact, int64_t before)
{
    struct fault fault = {0};
    if (engine_local_open(trial->store, &trial->settings, &trial->engine, &fault))
        trial_fail(trial, "opening: %s", fault_text(&fault));
    trial->call = trial->engine->operations;
    memset(trial->handles, 0, sizeof trial->handles);
    memset(trial->waits, 0, sizeof trial->waits);
    memset(trial->positions, 0, sizeof trial->positions);
    trial->started = 0;
    load(trial, exact, before);
}

void engine_start(struct trial *trial)
{
    start(trial, false, 0);
}

/* The process ends at once: what was not committed is gone. */
static void stop(struct trial *trial)
{
    struct fault fault = {0};
    statistics.restarts++;
    engine_deliveries_clear(&trial->deliveries);
    trial->call->close(trial->engine);
    if (store_rollback(trial->store, &fault))
        trial_fail(trial, "the store cannot be rolled back: %s", fault_text(&fault));
}

void act_restart(struct trial *trial)
{
    int64_t before = relay_time(trial);
    trial_say(trial, "restart");
    stop(trial);
    int64_t away = (int64_t)trial_below(trial, (uint64_t)trial->flavour.slow);
    trial->moment.monotonic += away;
    trial->moment.wall += away;
    start(trial, trial->remembered && trial->moment.boot != 0, before + away);
}

/* The monotonic clock begins anew somewhere. */
void act_reboot(struct trial *trial)
{
    int64_t away = (int64_t)trial_below(trial, (uint64_t)trial->flavour.slow), before = relay_time(trial) + away;
    trial_say(trial, "reboot");
    stop(trial);
    trial->moment.wall += away;
    trial->moment.monotonic = (int64_t)trial_below(trial, 1000 * (uint64_t)SECOND);
    if (trial->moment.boot != 0)
        trial->moment.boot += 2;
    trial->remembered = false;
    start(trial, false, before);
}

/* ---- ends of turns --------------------------------------------------------------------------------------------- */

/* When some message expires, relay time; 0: never. */
static int64_t some_end(struct trial *trial)
{
    unsigned topic = choose_topic(trial);
    const struct topic_model *model = &trial->now.topics[topic];
    if (model->end == model->first)
        return 0;
    const struct message *message =
        &trial->messages[topic][model->end - 1 - trial_below(trial, model->end - model->first)];
    return model->settings.ttl > 0 && trial_chance(trial, 50) ? message->time + model->settings.ttl : message->expires;
}

/* Time passes: not at all, a little, long, or until the engine wants to be called again, as the relay waits. */
static void next_turn(struct trial *trial)
{
    uint64_t most = (uint64_t)(trial_chance(trial, 5) ? trial->flavour.slow : trial->flavour.quick);
    int64_t passed = trial_chance(trial, 20) ? 0 : (int64_t)trial_below(trial, most);
    int64_t due = trial->call->due(trial->engine), now = trial->moment.monotonic;
    if (due > now && due - now < trial->flavour.slow && trial_chance(trial, 10))
        passed = due - now;
    int64_t ends = some_end(trial) - relay_time(trial);
    if (ends > 0 && ends < trial->flavour.slow && trial_chance(trial, 10))
        passed = ends;
    trial->moment.monotonic += passed;
    trial->moment.wall += passed;
    trial->call->begin(trial->engine, trial->moment);
}

void act_commit(struct trial *trial)
{
    struct fault fault = {0};
    bool changed = trial->call->changed(trial->engine);
    if (trial->call->commit(trial->engine, save_sessions, trial, &fault))
        trial_fail(trial, "a commit: %s", fault_text(&fault));
    trial->remembered |= changed;
    letters_send(trial);
    reference_commit(trial);
    next_turn(trial);
    statistics.commits++;
    trial_say(trial, "commit; it is %lld", (long long)relay_time(trial));
}

static void undo(struct trial *trial)
{
    struct fault fault = {0};
    statistics.undone++;
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->rollback(trial->engine, &fault))
        trial_fail(trial, "a rollback: %s", fault_text(&fault));
    load(trial, true, relay_time(trial));
}

void act_undo(struct trial *trial)
{
    trial_say(trial, "undo");
    undo(trial);
}

void act_fail_commit(struct trial *trial)
{
    struct fault fault = {0};
    if (!trial->call->changed(trial->engine))
        return;
    store_fail_commit(trial->store, 1);
    if (!trial->call->commit(trial->engine, save_sessions, trial, &fault))
        trial_fail(trial, "a commit that should fail ended well");
    store_fail_commit(trial->store, 0);
    trial_say(trial, "a commit fails");
    undo(trial);
}

/* What is more than belongs in a turn is left for the next, which is due at once: but not for ever. */
void act_tick(struct trial *trial)
{
    struct fault fault = {0};
    unsigned turns = 0;
    trial->moves = local_of(trial->engine)->schedule_due <= relay_time(trial);
    if (trial->moves)
        trial->moved = trial->moment.monotonic;
    do {
        if (trial->call->tick(trial->engine, &fault))
            trial_fail(trial, "a tick: %s", fault_text(&fault));
    } while (!local_of(trial->engine)->ready && trial->call->due(trial->engine) <= trial->moment.monotonic &&
             ++turns < 1000);
    reference_tick(trial);
    idle_look(trial);
    trial->ticked = true;
    trial_say(trial, "tick at %lld", (long long)relay_time(trial));
}

/* The wall clock is set; a turn's time does not change, so a new turn begins. */
void act_step_wall(struct trial *trial)
{
    int64_t step = (int64_t)trial_below(trial, (uint64_t)(trial_chance(trial, 50) ? 10 * SECOND : 100000 * SECOND));
    if (!trial->flavour.wall_steps)
        return;
    act_commit(trial);
    trial->moment.wall += trial_chance(trial, 50) ? step : -step;
    trial->call->begin(trial->engine, trial->moment);
    trial_say(trial, "the wall clock is set to %lld", (long long)trial->moment.wall);
}
