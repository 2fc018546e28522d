/* idle.c: groups whose settings say `expire` go when nobody has used them for so long. */
#include "model.h"

/* One that was in use when it was due is looked at again so much later. */
#define IDLE_STEP (10 * SECOND)

static bool is_in_use(struct trial *trial, unsigned index)
{
    bool leased = false;
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        leased |= trial->now.groups[group].subscription == index && reference_count(trial, group, STATE_LEASED) > 0;
    return leased || trial->waits[index];
}

/* After a start it has as long as after a use. */
static int64_t idle_end(const struct trial *trial, unsigned index)
{
    int64_t from = trial->used[index] > trial->started ? trial->used[index] : trial->started;
    return from + trial->now.subscriptions[index].settings.expire;
}

bool idle_has_gone(struct trial *trial, unsigned index)
{
    struct group_settings settings;
    const char *on = subscription_on(index), *group = subscription_group(index);
    return trial->call->group_settings(trial->engine, on, strlen(on), group, strlen(group), &settings, NULL) ==
           MP_ERR_NOT_FOUND;
}

static void forget(struct trial *trial, unsigned index)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            reference_delete_group(trial, group);
    trial->now.subscriptions[index] = (struct subscription_model){0};
    subscription_gone(trial, index);
    statistics.expired++;
    trial_say(trial, "group %s on %s has expired", subscription_group(index), subscription_on(index));
}

void idle_look(struct trial *trial)
{
    int64_t now = relay_time(trial);
    for (unsigned index = 0; index < SUBSCRIPTIONS; index++) {
        const struct subscription_model *model = &trial->now.subscriptions[index];
        if (!model->made || model->settings.expire == 0)
            continue;
        bool used = is_in_use(trial, index);
        if (used)
            trial->busy[index] = now;
        int64_t end = idle_end(trial, index), late = trial->busy[index] > end ? trial->busy[index] : end;
        if (!idle_has_gone(trial, index)) {
            bool more = local_of(trial->engine)->idle_due <= now; /* the next turn goes on with it */
            if (!used && !more && trial->used[index] > 0 && now > late + IDLE_STEP)
                trial_fail(trial, "group %s on %s is still there at %lld; it should have gone at %lld",
                           subscription_group(index), subscription_on(index), (long long)now, (long long)end);
            continue;
        }
        if (used || now < end)
            trial_fail(trial, "group %s on %s has gone at %lld; it %s", subscription_group(index),
                       subscription_on(index), (long long)now, used ? "was in use" : "was to stay a while");
        forget(trial, index);
    }
}
