#include "cuts.h"

#include "client/link.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { GIVEN_MAX = 16, PATIENCE = 20 * 1000 * 1000 /* microseconds */, EXTENDED_LEASE = 900 /* ms */ };

/* A message that was fetched. */
struct given {
    uint32_t group;
    uint64_t lease, offset, number; /* number: what its body says */
    unsigned attempt;
};

struct play {
    struct stand *stand;
    struct between *between;
    struct client_link *link;
    struct frame_builder frame;
    int64_t longest;
    const char *step;
    bool over; /* something went wrong: the rest makes no sense */

    bool welcome, stored, answered, committed, fetched;
    uint64_t offset;
    uint32_t count, applied;
    struct given given[GIVEN_MAX];
    unsigned given_count;
};

static void fail(struct play *play, const char *words)
{
    const struct between *between = play->between;
    static const char *const manners[] = {"closed", "reset", "late"};
    if (play->over)
        return;
    play->over = true;
    stand_find(play->stand, "%s: %s (cut %s the relay at byte %" PRIu64 ", %s)", play->step, words,
               between->way == TO_RELAY ? "to" : "from", between->at, manners[between->manner]);
}

/* ---- what the client is told ----------------------------------------------------------------------------------- */

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    struct play *play = context;
    (void)welcome;
    if (play->welcome)
        fail(play, "the relay has forgotten the session");
    play->welcome = true;
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    struct play *play = context;
    if (play->count == 0)
        play->offset = offset;
    play->count += count;
    if (duplicates > 0)
        fail(play, "it is told of duplicates");
    play->stored = client_can_publish(client_link_client(play->link));
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    (void)error;
    fail(context, text);
}

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct play *play = context;
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint64_t offset = chunk->first;
    while (frame_next(&cursor, &record)) {
        char text[24] = "";
        offset = protocol_chunk_next(chunk, offset);
        memcpy(text, record.body, record.size < sizeof text - 1 ? record.size : sizeof text - 1);
        struct given given = {chunk->group, lease, offset++, UINT64_MAX, chunk->attempt};
        if (sscanf(text, "%" SCNu64, &given.number) != 1)
            fail(play, "a message is not what it was");
        if (play->given_count < GIVEN_MAX)
            play->given[play->given_count++] = given;
    }
    client_hold_free(hold);
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    struct play *play = context;
    (void)flags;
    (void)waiting;
    play->fetched = play->given_count > 0;
}

static void on_settled(void *context, uint32_t applied, uint32_t stale)
{
    struct play *play = context;
    play->applied += applied;
    if (stale > 0)
        fail(play, "a lease had ended");
}

static void on_committed(void *context, enum mp_error error, const char *text)
{
    struct play *play = context;
    if (error)
        fail(play, text);
    play->committed = true;
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct play *play = context;
    (void)text;
    (void)size;
    if (status)
        fail(play, "the relay refuses an administrative request");
    play->answered = true;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    (void)error;
    fail(context, text);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* Lets everything go on while CONDITION holds; notes how long that took after a cut. (The base has a tick.) */
static void go_on_while(struct play *play, bool (*condition)(const struct play *play))
{
    int64_t began = stand_now();
    while (!play->over && condition(play)) {
        event_base_loop(play->between->base, EVLOOP_ONCE);
        if (stand_now() - began > PATIENCE)
            fail(play, "it does not go on");
    }
    int64_t cut = play->between->cut;
    if (cut >= began && stand_now() - cut > play->longest)
        play->longest = stand_now() - cut;
}

static bool is_stranger(const struct play *play)
{
    return !play->welcome;
}

static bool is_storing(const struct play *play)
{
    return !play->stored;
}

static bool is_fetching(const struct play *play)
{
    return !play->fetched;
}

static bool is_settling(const struct play *play)
{
    return client_is_settling(client_link_client(play->link));
}

static bool is_committing(const struct play *play)
{
    return !play->committed;
}

static bool is_asking(const struct play *play)
{
    return !play->answered;
}

static bool is_leaving(const struct play *play)
{
    return !client_has_left(client_link_client(play->link));
}

/* Publishes COUNT messages to TOPIC, whose numbers go on from *NEXT, its end. */
static void publish(struct play *play, const char *topic, unsigned count, uint64_t *next, enum protocol_when when)
{
    const struct client_publication to = {.topic = topic, .when = when, .value = when ? 1000 : 0};
    struct client *client = client_link_use(play->link);
    uint64_t producer, sequence;
    if (play->over)
        return;
    client_origin(client, &producer, &sequence);
    enum mp_error error = frame_begin(&play->frame, producer, sequence);
    for (unsigned i = 0; i < count && !error; i++) {
        char body[24];
        int size = snprintf(body, sizeof body, "%" PRIu64, *next + i);
        error = frame_add(&play->frame, body, (size_t)size, NULL, 0);
    }
    frame_finish(&play->frame, 1);
    play->stored = false;
    play->count = 0;
    if (error || client_publish(client, &to, &play->frame, NULL))
        fail(play, "a publication is not taken");
}

static void await_stored(struct play *play, unsigned count, uint64_t *next, enum protocol_when when)
{
    go_on_while(play, is_storing);
    if (!play->over && (play->count != count || play->offset != (when ? PROTOCOL_SCHEDULED : *next)))
        fail(play, "what was stored is not what was sent");
    *next += count;
}

/* Fetches until COUNT messages came, which are to be those from FIRST on. */
static void fetch(struct play *play, const struct client_subscription *subscription, unsigned count, uint64_t first)
{
    struct client *client = client_link_use(play->link);
    play->given_count = 0;
    if (!play->over && client_subscribe(client, subscription, NULL))
        fail(play, "it cannot subscribe");
    while (play->given_count < count && !play->over) {
        play->fetched = false;
        client = client_link_use(play->link);
        if (client_fetch(client, count - play->given_count, 10000, NULL))
            fail(play, "it cannot fetch");
        go_on_while(play, is_fetching);
    }
    for (unsigned i = 0; i < count && !play->over; i++)
        if (play->given[i].offset != first + i || (first != UINT64_MAX && play->given[i].number != first + i))
            fail(play, "other messages come than were sent");
}

/* The settlement of message INDEX of those given. */
static struct protocol_settlement settlement(const struct play *play, unsigned index, enum protocol_action action)
{
    const struct given *given = &play->given[index];
    return (struct protocol_settlement){.group = given->group,
                                        .lease = given->lease,
                                        .first = given->offset,
                                        .count = 1,
                                        .action = action,
                                        .reason = action == PROTOCOL_DEAD ? PROTOCOL_REASON_REJECTED : 0,
                                        .exit_code = -1};
}

static void settle(struct play *play, unsigned index, enum protocol_action action)
{
    struct protocol_settlement item = settlement(play, index, action);
    struct client *client = client_link_use(play->link);
    play->applied = 0;
    if (!play->over && client_settle(client, &item))
        fail(play, "a settlement is not taken");
    go_on_while(play, is_settling);
    if (!play->over && play->applied != 1)
        fail(play, "a settlement counts for more than a message, or none");
}

/* Settles what was given and stores as many messages in `out`, in one step. */
static void commit(struct play *play, unsigned from, unsigned count, uint64_t *next)
{
    struct protocol_settlement items[GIVEN_MAX];
    struct frame_builder frame = {0};
    struct client *client = client_link_use(play->link);
    uint64_t producer, sequence;
    if (play->over)
        return;
    client_origin(client, &producer, &sequence);
    enum mp_error error = frame_begin(&frame, producer, sequence);
    for (unsigned i = 0; i < count && !error; i++) {
        char body[24];
        items[i] = settlement(play, from + i, PROTOCOL_ACK);
        int size = snprintf(body, sizeof body, "%" PRIu64, *next + i);
        error = frame_add(&frame, body, (size_t)size, NULL, 0);
    }
    frame_finish(&frame, 1);
    const struct client_output output = {.publication = {.topic = "cuts.out"}, .frame = &frame};
    play->committed = false;
    if (error || client_settle_publish(client, items, count, &output, 1, NULL))
        fail(play, "a settlement with a publication is not taken");
    go_on_while(play, is_committing);
    frame_builder_free(&frame);
    *next += count;
}

static void expect_attempt(struct play *play, unsigned attempt)
{
    for (unsigned i = 0; i < play->given_count && !play->over; i++)
        if (play->given[i].attempt != attempt)
            fail(play, "an attempt is counted that was none, or is not counted");
}

static void ask(struct play *play, const char *json)
{
    if (!play->over && client_ask(client_link_use(play->link), json, strlen(json), NULL))
        fail(play, "an administrative request is not taken");
    play->answered = false;
    go_on_while(play, is_asking);
}

/* ---- plays ----------------------------------------------------------------------------------------------------- */

static void begin(struct play *play, struct stand *stand, struct between *between)
{
    *play = (struct play){.stand = stand, .between = between, .step = "hello"};
    const struct client_settings settings = {.name = "cuts",
                                             .context = play,
                                             .welcomed = on_welcomed,
                                             .published = on_published,
                                             .refused = on_refused,
                                             .fetched = on_fetched,
                                             .fetch_done = on_fetch_done,
                                             .settled = on_settled,
                                             .committed = on_committed,
                                             .answered = on_answered,
                                             .failed = on_failed};
    struct fault fault = {0};
    if (client_link_open(between->base, between->listen.text, &settings, &play->link, &fault))
        stand_give_up(stand, "%s", fault.text);
    go_on_while(play, is_stranger);
}

static int64_t end(struct play *play)
{
    play->step = "leave";
    if (!play->over && client_leave(client_link_use(play->link)))
        fail(play, "it cannot leave");
    go_on_while(play, is_leaving);
    client_link_close(play->link);
    frame_builder_free(&play->frame);
    return play->longest;
}

/* Publishes and consumes: once plainly, with an output; looks, reads. */
static void play_flow(struct play *play, struct stock *stock)
{
    uint64_t first = stock->in;
    play->step = "publish";
    publish(play, "cuts.in", 3, &stock->in, PROTOCOL_WHEN_NOW);
    await_stored(play, 3, &stock->in, PROTOCOL_WHEN_NOW);
    play->step = "publish for later";
    publish(play, "cuts.later", 1, &stock->later, PROTOCOL_WHEN_DELAY);
    await_stored(play, 1, &stock->later, PROTOCOL_WHEN_DELAY);
    play->step = "peek";
    fetch(play,
          &(struct client_subscription){
              .topic = "cuts.in", .group = "all", .peek = true, .from = PROTOCOL_FROM_OFFSET, .value = first},
          3, first);
    play->step = "fetch";
    fetch(play, &(struct client_subscription){.topic = "cuts.in", .group = "all"}, 3, first);
    expect_attempt(play, 1);
    play->step = "settle";
    settle(play, 0, PROTOCOL_ACK);
    play->step = "settle and publish";
    commit(play, 1, 2, &stock->out);
    play->step = "read";
    fetch(play,
          &(struct client_subscription){.topic = "cuts.out", .from = PROTOCOL_FROM_OFFSET, .value = stock->out - 2}, 2,
          stock->out - 2);
}

/* One message that is given back, tried again, and dies. */
static void play_death(struct play *play, struct stock *stock)
{
    const struct client_subscription subscription = {.topic = "cuts.in", .group = "all"};
    uint64_t first = stock->in;
    play->step = "publish";
    publish(play, "cuts.in", 1, &stock->in, PROTOCOL_WHEN_NOW);
    await_stored(play, 1, &stock->in, PROTOCOL_WHEN_NOW);
    for (unsigned round = 0; round < 3; round++) {
        play->step = "fetch again";
        fetch(play, &subscription, 1, first);
        expect_attempt(play, round < 2 ? 1 : 2);
        play->step = round == 0 ? "release" : round == 1 ? "retry" : "reject";
        settle(play, 0, round == 0 ? PROTOCOL_RELEASE : round == 1 ? PROTOCOL_RETRY : PROTOCOL_DEAD);
    }
    stock->letters++;
}

/* A topic that is full: the second publication waits for room, which the settlement of the first makes. */
static void play_room(struct play *play, struct stock *stock)
{
    const struct client_subscription subscription = {.topic = "cuts.tight", .group = "all"};
    uint64_t first = stock->tight, second = first + 2;
    play->step = "publish to a tight topic";
    publish(play, "cuts.tight", 2, &stock->tight, PROTOCOL_WHEN_NOW);
    await_stored(play, 2, &stock->tight, PROTOCOL_WHEN_NOW);
    publish(play, "cuts.tight", 2, &second, PROTOCOL_WHEN_NOW);
    play->step = "make room";
    fetch(play, &subscription, 2, first);
    settle(play, 0, PROTOCOL_ACK);
    settle(play, 1, PROTOCOL_ACK);
    play->step = "publish when there is room";
    await_stored(play, 2, &stock->tight, PROTOCOL_WHEN_NOW);
    play->step = "take the rest";
    fetch(play, &subscription, 2, second);
    settle(play, 0, PROTOCOL_ACK);
    settle(play, 1, PROTOCOL_ACK);
}

int64_t play_all(struct stand *stand, struct between *between, struct stock *stock)
{
    struct play play;
    begin(&play, stand, between);
    play_flow(&play, stock);
    play_death(&play, stock);
    play_room(&play, stock);
    play.step = "admin";
    ask(&play, "{\"verb\":\"topics\"}");
    return end(&play);
}

int64_t play_extension(struct stand *stand, struct between *between, struct stock *stock)
{
    struct play play;
    begin(&play, stand, between);
    uint64_t first = stock->in;
    play.step = "publish";
    publish(&play, "cuts.in", 1, &stock->in, PROTOCOL_WHEN_NOW);
    await_stored(&play, 1, &stock->in, PROTOCOL_WHEN_NOW);
    play.step = "fetch";
    fetch(&play, &(struct client_subscription){.topic = "cuts.in", .group = "all", .lease = EXTENDED_LEASE}, 1, first);
    play.step = "extend";
    int64_t extended = stand_now() + EXTENDED_LEASE * 1000 / 3 + 50 * 1000;
    while (stand_now() < extended && !play.over) /* the time that is to pass, not a wait for something */
        event_base_loop(between->base, EVLOOP_ONCE);
    play.step = "settle";
    settle(&play, 0, PROTOCOL_ACK);
    return end(&play);
}
