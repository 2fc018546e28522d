/* What groups have done, as the relay counts it. */
#include "cli/letters_topic.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/admin_ask.h"

#include <stdio.h>
#include <string.h>

bool letters_accounts_ask(struct letters_topic *topic, struct letters_accounts *accounts)
{
    *accounts = (struct letters_accounts){.topics = NULL};
    return letters_link_ask(&topic->link, "topics", &accounts->topics) &&
           letters_link_ask(&topic->link, "groups", &accounts->groups);
}

void letters_accounts_free(struct letters_accounts *accounts)
{
    json_decref(accounts->topics);
    json_decref(accounts->groups);
    *accounts = (struct letters_accounts){.topics = NULL};
}

static const json_t *find_topic(const struct letters_accounts *accounts, const char *topic)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(accounts->topics, "topics"), i, row)
    {
        if (!strcmp(admin_string(row, "name"), topic))
            return row;
    }
    return NULL;
}

uint64_t letters_accounts_end(const struct letters_accounts *accounts, const char *topic)
{
    const json_t *row = find_topic(accounts, topic);
    return row ? admin_number(row, "end") : 0;
}

int64_t letters_accounts_life(const struct letters_accounts *accounts, const char *topic)
{
    const json_t *row = find_topic(accounts, topic);
    int64_t life;
    const char *text = row ? admin_string(json_object_get(row, "settings"), "ttl") : "";
    return *text && units_duration(text, &life, NULL) == MP_OK && life > 0 ? life : CLOCK_NEVER;
}

bool letters_accounts_of(const struct letters_accounts *accounts, const char *topic, const char *group,
                         struct letters_account *account)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(accounts->groups, "groups"), i, row)
    {
        if (strcmp(admin_string(row, "topic"), topic) != 0 || strcmp(admin_string(row, "group"), group) != 0)
            continue;
        const char *letters = admin_string(json_object_get(row, "settings"), "dead_letter");
        *account = (struct letters_account){
            .open = admin_number(row, "waiting") + admin_number(row, "leased") + admin_number(row, "delayed"),
            .settled = admin_number(row, "settled_to"),
            .acked = admin_number(row, "acked"),
            .dropped = admin_number(row, "dropped"),
            .in_use = json_is_true(json_object_get(row, "in_use")),
        };
        snprintf(account->letters, sizeof(account->letters), "%s%s", *letters ? letters : topic,
                 *letters ? "" : ".dead");
        return true;
    }
    return false;
}
