/* The verbs on a dead-letter topic. */
#include "cli/letters_topic.h"

#include "base/memory.h"
#include "cli/admin_ask.h"
#include "cli/confirm.h"
#include "cli/exit.h"
#include "cli/retry.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_BYTES = 1024 * 1024, BATCH = 65536, NAMES_SHOWN = 5 };

/* ---- looking -------------------------------------------------------------------------------------------------- */

/* From now on fetches look at what is there from OFFSET on. */
static bool look_from(struct letters_topic *topic, uint64_t offset)
{
    struct fault fault = {0};
    struct client_subscription subscription = {
        .topic = topic->topic,
        .group = topic->group,
        .peek = true,
        .from = PROTOCOL_FROM_OFFSET,
        .value = offset,
        .max_bytes = LOOK_BYTES,
    };
    if (topic->link.exit >= 0)
        return false;
    return client_subscribe(topic->link.client, &subscription, &fault) == MP_OK ||
           letters_link_fail(&topic->link, &fault);
}

/* Calls VISIT for each message of CHUNK. */
static enum mp_error visit_chunk(struct letters_topic *topic, const struct letters_chunk *chunk, letters_visit visit,
                                 struct fault *fault)
{
    struct frame_cursor cursor = frame_cursor(&chunk->frame);
    struct letter_entry entry;
    struct format_item item = {.topic = topic->topic, .time = chunk->frame.time};
    enum mp_error error = MP_OK;
    uint64_t offset = chunk->chunk.first;
    while (!error && frame_next(&cursor, &item.record)) {
        offset = protocol_chunk_next(&chunk->chunk, offset);
        item.offset = offset;
        letter_entry_set(&entry, &item);
        entry.place = offset++;
        topic->next = offset;
        error = visit(topic->letters, &entry, fault);
    }
    return error;
}

/* Asks for more, and shows it. */
static bool look(struct letters_topic *topic, letters_visit visit)
{
    struct letters_link *link = &topic->link;
    struct fault fault = {0};
    if (!letters_link_fetch(link))
        return false;
    if ((link->flags & PROTOCOL_FETCH_NEW_TOPIC) && link->chunks_count == 0) {
        tell("topic %s does not exist", topic->topic);
        link->exit = EXIT_NO_INPUT;
        return false;
    }
    topic->ended = link->chunks_count == 0;
    for (size_t i = 0; i < link->chunks_count; i++)
        if (visit_chunk(topic, &link->chunks[i], visit, &fault))
            return letters_link_fail(link, &fault);
    letters_link_drop(link);
    return true;
}

bool letters_topic_walk(struct letters_topic *topic, letters_visit visit)
{
    topic->next = 0;
    topic->ended = false;
    if (!look_from(topic, 0))
        return false;
    while (!topic->ended)
        if (!look(topic, visit))
            return false;
    topic->next = 0;
    topic->ended = false;
    return true;
}

static enum mp_error note_meant(struct letters *letters, const struct letter_entry *entry, struct fault *fault)
{
    if ((letters->most && letters->filter.taken == letters->most) || !letter_filter_takes(&letters->filter, entry))
        return MP_OK;
    return buffer_put_u64(letters->meant, entry->place) ? fault_memory(fault) : MP_OK;
}

bool letters_topic_look(struct letters_topic *topic)
{
    topic->meant.size = 0;
    topic->letters->meant = &topic->meant;
    return look_from(topic, topic->next) && look(topic, note_meant);
}

/* ---- list, show ----------------------------------------------------------------------------------------------- */

static enum mp_error see(struct letters *letters, const struct letter_entry *entry, struct fault *fault)
{
    return letter_filter_see(&letters->filter, entry) ? fault_memory(fault) : MP_OK;
}

static enum mp_error print(struct letters *letters, const struct letter_entry *entry, struct fault *fault)
{
    return letter_filter_takes(&letters->filter, entry) ? letter_print(&letters->printer, entry, fault) : MP_OK;
}

static int print_all(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    if (!letters_topic_walk(topic, print))
        return topic->link.exit;
    if (letters->printer.printed == 0 && letters->printer.terminal)
        tell("no dead letters%s", letter_filter_is_narrow(&letters->filter) ? " are like that" : "");
    return EXIT_DONE;
}

/* ---- replay, discard ------------------------------------------------------------------------------------------ */

static enum mp_error count(struct letters *letters, const struct letter_entry *entry, struct fault *fault)
{
    (void)fault;
    letters->left += letter_filter_takes(&letters->filter, entry);
    return MP_OK;
}

/* Asks before letters are discarded. The exit code, or -1 to go on. */
static int ask(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    if (!letters_topic_walk(topic, count))
        return topic->link.exit;
    uint64_t meant = letters->left;
    letters->left = letters->filter.taken = 0;
    letters->most = meant; /* those that come meanwhile were not asked about */
    if (meant == 0) {
        tell("%s: nothing was done",
             letter_filter_is_narrow(&letters->filter) ? "no dead letters are like that" : "there are no dead letters");
        return EXIT_DONE;
    }
    int code = confirm(letters->settings->letters.yes, "discard %" PRIu64 " dead %s of %s", meant,
                       meant == 1 ? "letter" : "letters", topic->topic);
    return code == EXIT_DONE ? -1 : code;
}

/* COUNT more were taken: notes when the next may be. */
static void pace(struct letters_topic *topic, uint64_t count)
{
    double rate = topic->letters->settings->letters.rate;
    int64_t now = clock_monotonic();
    int64_t earliest = now - 100000;
    const char *deed = topic->letters->verb == LETTERS_REPLAY ? "replayed" : "discarded";
    if (rate > 0)
        topic->paced = (topic->paced > earliest ? topic->paced : earliest) + (int64_t)(1e6 * (double)count / rate);
    if (topic->progress.expected)
        progress_share(&topic->progress, topic->letters->done, topic->progress.expected);
    progress_show(&topic->progress, deed, topic->bytes, topic->letters->done, now);
}

/* How much there is to do, as far as it can be known before: letters, or else offsets to look through. */
static bool expect(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    struct letters_accounts accounts;
    struct letters_account account;
    if (!topic->progress.wanted)
        return true;
    uint64_t count = letters->settings->letters.count;
    bool asked = letters_accounts_ask(topic, &accounts);
    if (asked && letters_accounts_of(&accounts, topic->topic, topic->group, &account)) {
        topic->progress.expected = letters->most                                ? letters->most
                                   : !letter_filter_is_narrow(&letters->filter) ? account.open
                                   : count < account.open                       ? count
                                                                                : 0;
        topic->scanned_from = account.settled;
        topic->scanned_to = letters_accounts_end(&accounts, topic->topic);
    }
    letters_accounts_free(&accounts);
    return asked;
}

/* The line shows how far the look through the topic has come, when that is all that is known. */
static void show_scan(struct letters_topic *topic)
{
    if (topic->progress.expected || topic->next <= topic->scanned_from)
        return;
    progress_share(&topic->progress, topic->next - topic->scanned_from, topic->scanned_to - topic->scanned_from);
    pace(topic, 0);
}

/* How many may be taken at once: with a rate a tenth of a second's worth. False: the link has ended. */
static bool may_take(struct letters_topic *topic, uint32_t *most)
{
    const struct letters_settings *settings = &topic->letters->settings->letters;
    *most = settings->edit ? 1 : BATCH;
    if (settings->rate <= 0)
        return topic->link.signal == 0;
    if (settings->rate < 10.0 * *most)
        *most = (uint32_t)(settings->rate / 10) + 1;
    return letters_link_pause(&topic->link, topic->paced);
}

/* Takes what was looked at and is meant, as fast as it may go. */
static bool take_meant(struct letters_topic *topic)
{
    size_t count = topic->meant.size / 8;
    uint32_t most;
    for (size_t at = 0, now; at < count; at += now) {
        if (!may_take(topic, &most))
            return false;
        now = count - at < most ? count - at : most;
        if (!letters_topic_take(topic, at, now))
            return false;
        pace(topic, now);
    }
    return true;
}

/*
 * Takes all that there are from here on, as long as they lie together. Not with a rate: that would be waited for before it
 * is known whether there are more.
 */
static bool take_any(struct letters_topic *topic)
{
    bool any = true;
    while (any) {
        uint64_t before = topic->letters->done;
        if (topic->link.signal || !letters_topic_take_any(topic, BATCH, &any))
            return false;
        pace(topic, topic->letters->done - before);
    }
    return true;
}

static int take_all(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    struct letters_link *link = &topic->link;
    const struct letters_settings *settings = &letters->settings->letters;
    bool canary = settings->canary;
    bool everyone = !letter_filter_is_narrow(&letters->filter) && !settings->edit && settings->rate <= 0 &&
                    letters->verb == LETTERS_REPLAY;
    topic->next = 0;
    while (!topic->ended && link->signal == 0) {
        if (!letters_topic_look(topic))
            return link->exit;
        show_scan(topic);
        if (canary && topic->meant.size) {
            canary = false;
            int code = letters_topic_canary(topic);
            if (code != EXIT_DONE)
                return code;
            buffer_consume(&topic->meant, 8);
        }
        if (!take_meant(topic) || (everyone && !topic->ended && !take_any(topic)))
            return link->exit >= 0 ? link->exit : EXIT_FAILED;
        if (settings->count && letters->filter.taken == settings->count)
            break;
    }
    return letters->left ? EXIT_REJECTED : EXIT_DONE;
}

static int change(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    bool replays = letters->verb == LETTERS_REPLAY;
    int code = replays ? -1 : ask(topic);
    if (code >= 0)
        return code;
    if (replays && !letters->settings->letters.to && !letters_topic_learn(topic))
        return topic->link.exit;
    int64_t now = clock_monotonic();
    topic->paced = now;
    progress_begin(&topic->progress, 0, now);
    code = expect(topic) ? take_all(topic) : topic->link.exit;
    progress_end(&topic->progress);
    if (topic->expired)
        tell("%" PRIu64 " of them had expired: their expirytime was taken off, so that they are not dropped again",
             topic->expired);
    if (letters->left || topic->link.signal || output_is_terminal(STDERR_FILENO))
        tell("%" PRIu64 " %s %s%s", letters->done, letters->done == 1 ? "letter was" : "letters were",
             replays ? "replayed" : "discarded",
             letters->left || topic->link.signal ? "; the others stay where they are" : "");
    return code;
}

/* ---- whether it is there ---------------------------------------------------------------------------------------- */

static const json_t *find(const json_t *topics, const char *name)
{
    const json_t *row;
    size_t i;
    json_array_foreach(topics, i, row)
    {
        if (!strcmp(admin_string(row, "name"), name))
            return row;
    }
    return NULL;
}

/* Says why there can be no letters in a topic that is there. */
static int tell_no_letters(const json_t *topics, const char *name)
{
    char letters[NAME_MAX_BYTES + sizeof ".dead"];
    snprintf(letters, sizeof(letters), "%s.dead", name);
    if (find(topics, letters)) {
        tell("topic %s is no dead-letter topic: did you mean %s?", name, letters);
        return EXIT_NO_INPUT;
    }
    char all[NAMES_SHOWN * (NAME_MAX_BYTES + 2)] = "";
    size_t used = 0, count = 0, i;
    const json_t *row;
    json_array_foreach(topics, i, row)
    {
        if (json_is_true(json_object_get(row, "letters")) && count++ < NAMES_SHOWN)
            used +=
                (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "", admin_string(row, "name"));
    }
    tell("topic %s is no dead-letter topic%s%s%s", name, count ? ": those are " : ", and there is none here", all,
         count > NAMES_SHOWN ? " and others" : "");
    return EXIT_NO_INPUT;
}

/* Looks whether there are letters to be found at all, in better words than the relay would. False: it is over. */
static bool check_topic(struct letters_topic *topic)
{
    struct letters_link *link = &topic->link;
    struct letters_accounts accounts;
    struct letters_account account;
    if (letters_accounts_ask(topic, &accounts)) {
        const json_t *topics = json_object_get(accounts.topics, "topics");
        const json_t *row = find(topics, topic->topic);
        if (!row)
            link->exit = admin_tell_no_topic(topic->topic, topics);
        else if (!topic->letters->settings->group && !json_is_true(json_object_get(row, "letters")) &&
                 !letters_accounts_of(&accounts, topic->topic, topic->group, &account))
            link->exit = tell_no_letters(topics, topic->topic);
    }
    letters_accounts_free(&accounts);
    return link->exit < 0;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

static int run(struct letters_topic *topic)
{
    struct letters *letters = topic->letters;
    struct fault fault = {0};
    if (!check_topic(topic))
        return topic->link.exit;
    if (letters->filter.wanted_count) {
        if (!letters_topic_walk(topic, see))
            return topic->link.exit;
        if (letter_filter_resolve(&letters->filter, &fault))
            return tell_fault(&fault);
    }
    if (letters->verb == LETTERS_LIST || letters->verb == LETTERS_SHOW || letters->settings->letters.dry_run)
        return print_all(topic);
    return change(topic);
}

static enum mp_error check_names(const struct retry_settings *settings, struct fault *fault)
{
    enum mp_error error = name_check_topic(settings->topic, strlen(settings->topic), fault);
    if (!error && settings->group)
        error = name_check_group(settings->group, strlen(settings->group), fault);
    if (error || !settings->letters.to)
        return error;
    error = name_check_topic(settings->letters.to, strlen(settings->letters.to), fault);
    return error ? fault_set(fault, error, "--to: %s", fault->text) : MP_OK;
}

int letters_on_topic(struct letters *letters)
{
    const struct retry_settings *settings = letters->settings;
    struct letters_topic topic = {
        .letters = letters, .topic = settings->topic, .group = settings->group ? settings->group : LETTERS_GROUP};
    struct fault fault = {0};
    if (check_names(settings, &fault))
        return tell_fault(&fault);
    int code = letters_link_open(&topic.link, settings->relay, settings->wait) ? run(&topic) : topic.link.exit;
    letters->signal = topic.link.signal;
    letters_link_close(&topic.link);
    for (size_t i = 0; i < LETTERS_PLACES; i++)
        frame_builder_free(&topic.places[i].frame);
    buffer_free(&topic.meant);
    buffer_free(&topic.settlements);
    buffer_free(&topic.block);
    buffer_free(&topic.body);
    map_free(&topic.known);
    void *told;
    for (size_t at = 0; (told = map_next(&topic.told, &at));)
        memory_release(told);
    map_free(&topic.told);
    buffer_free(&topic.known_text);
    return code;
}
