#include "model.h"

/* An offset of GROUP that is leased, from a random one on; the topic's end: none is. */
static uint64_t some_leased(struct trial *trial, unsigned group)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t end = trial->now.topics[model->topic].end, from = model->low + trial_below(trial, end - model->low);
    for (uint64_t offset = from; offset < end; offset++)
        if (cell_at(trial, group, offset)->state == STATE_LEASED)
            return offset;
    for (uint64_t offset = model->low; offset < from; offset++)
        if (cell_at(trial, group, offset)->state == STATE_LEASED)
            return offset;
    return end;
}

/* A range around OFFSET: one message, a few, all that may belong to the lease, or what nobody would ask for. */
static void choose_range(struct trial *trial, uint64_t offset, bool small, struct engine_settlement *settlement)
{
    uint64_t before = 0, behind = 0;
    switch (trial_below(trial, small ? 2 : 4)) {
    case 0:
        break;
    case 1:
        before = trial_below(trial, 4);
        behind = trial_below(trial, 8);
        break;
    case 2:
        behind = trial->flavour.topic_max;
        break;
    default:
        before = trial_below(trial, 300);
        behind = trial_below(trial, 300);
        break;
    }
    settlement->first = offset - (before < offset ? before : offset);
    settlement->count = (uint32_t)(offset - settlement->first + 1 + behind);
}

static void choose_action(struct trial *trial, struct engine_settlement *settlement)
{
    static const enum engine_action actions[] = {ENGINE_ACK,   ENGINE_ACK,   ENGINE_ACK,     ENGINE_ACK,
                                                 ENGINE_RETRY, ENGINE_RETRY, ENGINE_RELEASE, ENGINE_DEAD};
    settlement->action = actions[trial_below(trial, 8)];
    settlement->exit_code = (int32_t)trial_below(trial, 256);
    settlement->reason = (enum engine_reason)trial_below(trial, ENGINE_REASONS);
    if (trial_chance(trial, 30)) {
        settlement->note = NOTE;
        settlement->note_size = sizeof NOTE - 1;
    }
    if (settlement->action == ENGINE_RETRY && trial_chance(trial, 70))
        settlement->delay = trial_chance(trial, 50) ? ENGINE_DELAY_POLICY : (uint32_t)trial_below(trial, 30000);
}

/*
 * What SETTLEMENT, which says all of its range, says: as many as that, or as many as the lease holds there (WANTED), or
 * a few more, of a span.
 */
static void choose_count(struct trial *trial, uint32_t wanted, struct engine_settlement *settlement)
{
    uint64_t stale = trial_chance(trial, 80) ? 0 : trial_below(trial, 3);
    if (wanted == 0 || wanted + stale > settlement->count || trial_chance(trial, 50))
        return;
    settlement->span = settlement->count;
    settlement->count = wanted + (uint32_t)stale;
}

/* Messages that are to be settled: those around OFFSET, which were leased when that was decided. */
struct target {
    unsigned group;
    uint64_t offset;
    uint64_t session, lease;
};

/* A request as it goes on. */
struct request {
    struct engine_origin origin;
    struct lane result;
    bool small;     /* ranges are: so that they lie apart within a lease */
    bool more;      /* another range follows */
    bool gathering; /* ranges were said to be followed by others: what is held is not known before the last */
};

/* One range. */
static void settle_range(struct trial *trial, struct request *request, const struct target *target)
{
    static const char *const names[] = {"", "ack", "retry", "release", "dead"};
    const struct engine_origin *origin = &request->origin;
    const unsigned group = target->group;
    const struct group *real = trial_real(trial, group);
    struct engine_settlement settlement = {.group = real->id, .lease = target->lease, .more = request->more};
    struct fault fault = {0};
    uint32_t applied = 0;
    choose_range(trial, target->offset, request->small, &settlement);
    choose_action(trial, &settlement);
    if (trial_chance(trial, 3))
        settlement.lease += trial_below(trial, 3) - 1;
    if (trial_chance(trial, 1))
        settlement.group += 1000;
    bool there = settlement.group == real->id;
    uint32_t span = settlement.count;
    uint32_t wanted = there ? reference_settle(trial, group, origin->session, &settlement, span, false) : 0;
    choose_count(trial, wanted, &settlement);
    uint32_t held = request->gathering ? wanted : trial->call->held(trial->engine, origin->session, &settlement);
    if (held != wanted)
        trial_fail(trial, "%u messages are said to be held instead of %u", held, wanted);
    if (trial->call->settle(trial->engine, origin, &settlement, &applied, &fault))
        trial_fail(trial, "a settlement: %s", fault_text(&fault));
    if (there)
        reference_settle(trial, group, origin->session, &settlement, span, true);
    trial->used[trial->now.groups[group].subscription] = relay_time(trial);
    if (applied != wanted)
        trial_fail(trial, "%u messages were settled instead of %u", applied, wanted);
    request->gathering = settlement.more;
    request->result.result += applied;
    request->result.count += settlement.count - applied;
    trial_say(trial, "%s %u of %u at %llu, applied %u%s, of group %s on %s: session %llx, lease %llu, delay %u ms",
              names[settlement.action], settlement.count, span, (unsigned long long)settlement.first, applied,
              settlement.more ? " (more)" : "", real->name, real->topic->name, (unsigned long long)origin->session,
              (unsigned long long)settlement.lease, settlement.delay);
}

/*
 * What was applied of the session's last settlement is not in the row when its events will be read again; they are when
 * it is younger than the last snapshot.
 */
void keep_number(struct trial *trial, unsigned session, const struct engine_origin *origin)
{
    struct engine_session row = {.id = origin->session};
    const struct lane *lanes = trial->now.lanes[session];
    struct fault fault = {0};
    for (unsigned lane = 0; lane < ENGINE_LANES; lane++) {
        row.numbers[lane] = lanes[lane].number;
        row.results[lane] = lanes[lane].result;
        row.counts[lane] = lanes[lane].count;
    }
    if (trial->now.saved[session] != lanes[ENGINE_LANE_SETTLE].number)
        row.results[ENGINE_LANE_SETTLE] = 0;
    if (trial->call->put_session(trial->engine, &row, &fault))
        trial_fail(trial, "a session's row: %s", fault_text(&fault));
}

enum { RANGES = 12 };

/* Chooses up to COUNT targets: of the same group as the first one often, and often in order. Returns how many. */
static unsigned choose_targets(struct trial *trial, struct target *targets, unsigned count)
{
    unsigned chosen = 0;
    bool ascending = trial_chance(trial, 70);
    for (unsigned i = 0; i < count; i++) {
        unsigned group = chosen > 0 && trial_chance(trial, 80) ? targets[0].group
                                                               : (unsigned)trial_below(trial, trial->now.groups_count);
        uint64_t offset = some_leased(trial, group);
        if (trial->now.groups[group].subscription == NOBODY ||
            offset == trial->now.topics[trial->now.groups[group].topic].end)
            continue;
        const struct cell *cell = cell_at(trial, group, offset);
        struct target target = {group, offset, cell->session, cell->lease};
        unsigned at = chosen++;
        for (; ascending && at > 0 && targets[at - 1].offset > offset; at--)
            targets[at] = targets[at - 1];
        targets[at] = target;
    }
    return chosen;
}

/* Whose lease TARGET is; now and then somebody else's. */
static unsigned choose_owner(struct trial *trial, const struct target *target)
{
    unsigned owner = 0;
    while (owner < SESSIONS && trial->sessions[owner] != target->session)
        owner++;
    return owner < SESSIONS && trial_chance(trial, 97) ? owner : (unsigned)trial_below(trial, SESSIONS);
}

/* A request: some ranges, mostly of one session's leases, and sometimes a publication together with them. */
void act_settle(struct trial *trial)
{
    struct target targets[RANGES];
    unsigned ranges = 1 + (unsigned)trial_below(trial, trial_chance(trial, 25) ? RANGES : 1);
    unsigned count = choose_targets(trial, targets, trial->now.groups_count > 0 ? ranges : 0);
    struct request request = {.origin = {.lane = ENGINE_LANE_SETTLE}};
    size_t changes = trial->changes_count;
    bool together = trial_chance(trial, 80), published = false;
    if (count == 0)
        return;
    unsigned session = choose_owner(trial, &targets[0]);
    request.small = count > 1 && trial_chance(trial, 80);
    request.origin.session = trial->sessions[session];
    request.origin.number = trial->now.lanes[session][ENGINE_LANE_SETTLE].number + 1;
    for (unsigned i = 0; i < count; i++) {
        request.more = together && i + 1 < count;
        settle_range(trial, &request, &targets[i]);
        if (!request.more)
            reference_settled(trial, changes);
    }
    if (trial_chance(trial, 15)) {
        struct lane unused;
        published = publish_frame(trial, (unsigned)trial_below(trial, trial->flavour.topics), session, &request.origin,
                                  0, GROUPS_MAX, &unused);
    }
    request.result.number = request.origin.number;
    trial->now.lanes[session][ENGINE_LANE_SETTLE] = request.result;
    if (request.result.count > 0 || (request.result.result == 0 && !published))
        keep_number(trial, session, &request.origin);
}
