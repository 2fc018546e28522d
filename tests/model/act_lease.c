#include "model.h"

void act_extend(struct trial *trial)
{
    uint64_t session = trial->sessions[trial_below(trial, trial->flavour.sessions)];
    uint32_t milliseconds = (uint32_t)trial_below(trial, 60000);
    int64_t deadline = trial->moment.monotonic + (int64_t)milliseconds * MILLISECOND;
    trial->call->extend(trial->engine, session, milliseconds);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            struct cell *cell = cell_at(trial, group, offset);
            if (cell->state == STATE_LEASED && cell->session == session && cell->deadline < deadline)
                cell->deadline = deadline;
        }
    }
    trial_say(trial, "extend session %llx by %u ms", (unsigned long long)session, milliseconds);
}

void act_shorten(struct trial *trial)
{
    uint64_t session = trial->sessions[trial_below(trial, trial->flavour.sessions)];
    uint32_t milliseconds = (uint32_t)trial_below(trial, 10000);
    int64_t deadline = trial->moment.monotonic + (int64_t)milliseconds * MILLISECOND;
    trial->call->shorten(trial->engine, session, milliseconds);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            struct cell *cell = cell_at(trial, group, offset);
            if (cell->state == STATE_LEASED && cell->session == session && cell->deadline > deadline)
                cell->deadline = deadline;
        }
    }
    trial_say(trial, "shorten session %llx to %u ms", (unsigned long long)session, milliseconds);
}

void act_release(struct trial *trial)
{
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    uint64_t messages = 0;
    struct fault fault = {0};
    if (trial->call->release(trial->engine, trial->sessions[session], &messages, &fault))
        trial_fail(trial, "a release: %s", fault_text(&fault));
    uint64_t wanted = reference_release(trial, trial->sessions[session]);
    if (messages != wanted)
        trial_fail(trial, "session %u gave back %llu messages instead of %llu", session, (unsigned long long)messages,
                   (unsigned long long)wanted);
    trial_say(trial, "release %llu of session %u", (unsigned long long)messages, session);
}
