#include "model.h"

/* Their order is that of --without's bits. */
const struct operation operations[] = {
    {"publish", 20, act_publish},
    {"schedule", 4, act_schedule},
    {"subscribe", 4, act_subscribe},
    {"grant", 20, act_grant},
    {"serve", 15, act_serve},
    {"regrant", 4, act_regrant},
    {"settle", 40, act_settle},
    {"extend", 2, act_extend},
    {"shorten", 2, act_shorten},
    {"release", 2, act_release},
    {"tick", 12, act_tick},
    {"claim", 4, act_claim},
    {"peek", 3, act_peek},
    {"replay", 2, act_replay},
    {"configure_topic", 2, act_configure_topic},
    {"configure_group", 2, act_configure_group},
    {"read", 5, act_read},
    {"drained", 2, act_drained},
    {"purge", 1, act_purge},
    {"delete_topic", 1, act_delete_topic},
    {"seek", 1, act_seek},
    {"delete_group", 1, act_delete_group},
    {"commit", 20, act_commit},
    {"fail_commit", 2, act_fail_commit},
    {"undo", 2, act_undo},
    {"restart", 2, act_restart},
    {"reboot", 1, act_reboot},
    {"step_wall", 1, act_step_wall},
};

unsigned operations_count(void)
{
    return sizeof operations / sizeof *operations;
}
