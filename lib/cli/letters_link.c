/* A client that is waited for. */
#include "cli/letters_link.h"

#include "cli/exit.h"

#include <stdio.h>
#include <string.h>

enum { LINGER = 3000000 }; /* microseconds that an interrupted tool waits for an answer that matters */

bool letters_link_fail(struct letters_link *link, const struct fault *fault)
{
    if (link->exit < 0)
        link->exit = relay_link_tell(link->relay, fault);
    return false;
}

/* ---- what the client tells ------------------------------------------------------------------------------------ */

static void on_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                       struct client_hold *hold)
{
    struct letters_link *link = context;
    if (link->chunks_count == LETTERS_CHUNKS) {
        /* A fetch is asked for fewer bytes than so many frames have; what is leased goes back at the end. */
        client_hold_free(hold);
        return;
    }
    link->chunks[link->chunks_count++] =
        (struct letters_chunk){.chunk = *chunk, .frame = *frame, .lease = lease, .hold = hold};
}

static void on_fetch_done(void *context, unsigned flags, uint64_t waiting)
{
    (void)waiting;
    struct letters_link *link = context;
    link->flags = flags;
    link->fetched = true;
    client_stop_fetching(link->client);
}

static void answer(struct letters_link *link, enum mp_error error, const char *text)
{
    link->answered = true;
    link->error = error;
    snprintf(link->text, sizeof(link->text), "%s", text ? text : "");
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)count;
    (void)duplicates;
    answer(context, MP_OK, NULL);
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    answer(context, error, text);
}

static void on_committed(void *context, enum mp_error error, const char *text)
{
    answer(context, error, text);
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct letters_link *link = context;
    char words[FAULT_TEXT];
    snprintf(words, sizeof(words), "%.*s", (int)(size < sizeof(words) ? size : sizeof(words) - 1), text);
    answer(link, status, words);
    if (status == MP_OK)
        link->answer = json_loadb(text, size, 0, NULL);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct letters_link *link = context;
    struct fault fault = {0};
    fault_set(&fault, error, "%s", text);
    letters_link_fail(link, &fault);
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

static bool step(void *context, int64_t now, int64_t *due)
{
    struct letters_link *link = context;
    struct fault fault = {0};
    if (relay_link_check(link->link, now, &fault))
        return letters_link_fail(link, &fault);
    if (link->exit >= 0 || link->ready(link))
        return false;
    if (link->until != CLOCK_NEVER) {
        *due = link->until;
        return now < link->until && !link->loop.interrupted;
    }
    if (link->loop.interrupted) {
        link->give_up = link->give_up ? link->give_up : now + LINGER;
        *due = link->give_up;
        return now < link->give_up;
    }
    return true;
}

/* Whether READY holds; false: it has ended. */
static bool wait_for(struct letters_link *link, bool (*ready)(const struct letters_link *link))
{
    struct fault fault = {0};
    if (link->exit >= 0)
        return false;
    link->ready = ready;
    if (loop_run(&link->loop, step, link, &fault))
        return letters_link_fail(link, &fault);
    if (link->loop.interrupted && !link->signal)
        link->signal = link->loop.interrupted;
    if (link->exit < 0 && ready(link))
        return true;
    if (link->exit < 0)
        link->exit = EXIT_FAILED;
    return false;
}

static bool is_welcome(const struct letters_link *link)
{
    return client_is_welcome(link->client);
}

static bool is_answered(const struct letters_link *link)
{
    return link->answered;
}

static bool is_fetched(const struct letters_link *link)
{
    return link->fetched;
}

static bool is_settled(const struct letters_link *link)
{
    return !client_is_settling(link->client);
}

static bool has_left(const struct letters_link *link)
{
    return client_has_left(link->client);
}

static bool is_past(const struct letters_link *link)
{
    return clock_monotonic() >= link->until;
}

bool letters_link_open(struct letters_link *link, const char *relay, int64_t wait)
{
    struct fault fault = {0};
    *link = (struct letters_link){.relay = relay, .exit = -1, .until = CLOCK_NEVER};
    if (loop_open(&link->loop, &fault))
        return letters_link_fail(link, &fault);
    struct relay_link_settings settings = {
        .loop = &link->loop,
        .relay = relay,
        .wait = wait,
        .client = {.context = link,
                   .fetched = on_fetched,
                   .fetch_done = on_fetch_done,
                   .published = on_published,
                   .refused = on_refused,
                   .committed = on_committed,
                   .answered = on_answered,
                   .failed = on_failed},
    };
    if (relay_link_open(&settings, &link->link, &fault))
        return letters_link_fail(link, &fault);
    link->client = relay_link_client(link->link);
    return wait_for(link, is_welcome);
}

void letters_link_close(struct letters_link *link)
{
    letters_link_drop(link);
    if (link->client && relay_link_connected(link->link) && client_is_welcome(link->client) &&
        client_leave(link->client) == MP_OK) {
        link->exit = -1;
        link->give_up = 0;
        if (!link->loop.interrupted)
            link->loop.interrupted = -1; /* it is not waited for longer than an interrupted tool does */
        wait_for(link, has_left);
    }
    relay_link_close(link->link);
    loop_close(&link->loop);
}

bool letters_link_pause(struct letters_link *link, int64_t until)
{
    link->until = until;
    bool passed = wait_for(link, is_past);
    link->until = CLOCK_NEVER;
    return passed;
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

void letters_link_drop(struct letters_link *link)
{
    for (size_t i = 0; i < link->chunks_count; i++)
        client_hold_free(link->chunks[i].hold);
    link->chunks_count = 0;
}

bool letters_link_fetch(struct letters_link *link)
{
    struct fault fault = {0};
    letters_link_drop(link);
    link->fetched = false;
    if (link->exit >= 0)
        return false;
    if (client_fetch(link->client, 0, 0, &fault))
        return letters_link_fail(link, &fault);
    return wait_for(link, is_fetched);
}

bool letters_link_claim(struct letters_link *link, uint64_t first, uint32_t count)
{
    struct fault fault = {0};
    letters_link_drop(link);
    link->fetched = false;
    if (link->exit >= 0)
        return false;
    if (client_claim(link->client, first, count, &fault))
        return letters_link_fail(link, &fault);
    return wait_for(link, is_fetched);
}

bool letters_link_settled(struct letters_link *link)
{
    return wait_for(link, is_settled);
}

bool letters_link_publish(struct letters_link *link, const struct client_publication *publication,
                          struct frame_builder *frame)
{
    struct fault fault = {0};
    link->answered = false;
    if (client_publish(link->client, publication, frame, &fault))
        return letters_link_fail(link, &fault);
    return wait_for(link, is_answered);
}

bool letters_link_commit(struct letters_link *link, const struct protocol_settlement *settlements, uint32_t count,
                         const struct client_output *outputs, uint32_t outputs_count)
{
    struct fault fault = {0};
    link->answered = false;
    if (client_settle_publish(link->client, settlements, count, outputs, outputs_count, &fault))
        return letters_link_fail(link, &fault);
    return wait_for(link, is_answered);
}

bool letters_link_ask(struct letters_link *link, const char *verb, json_t **result)
{
    struct fault fault = {0};
    char request[80];
    int size = snprintf(request, sizeof(request), "{\"verb\":\"%s\"}", verb);
    link->answered = false;
    link->answer = NULL;
    if (client_ask(link->client, request, (size_t)size, &fault))
        return letters_link_fail(link, &fault);
    if (!wait_for(link, is_answered))
        return false;
    if (!link->answer)
        fault_set(&fault, link->error ? link->error : MP_ERR_INTERNAL, "%s",
                  link->error ? link->text : "the relay's answer is no JSON");
    *result = link->answer;
    return link->answer ? true : letters_link_fail(link, &fault);
}
