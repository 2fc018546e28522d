/*
 * asker URL: sends each line of stdin to a relay as an administrative request, one after the other, and prints what comes
 * back: `ok` and the reply, or the number of its error and words. What a reply has behind its first line is counted.
 */
#include "client/link.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 20 };

static struct event_base *base;
static bool answered;

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    const char *end = memchr(text, '\n', size);
    size_t line = end ? (size_t)(end - text) : size;
    (void)context;
    if (status == MP_OK)
        printf("ok %.*s", (int)line, text);
    else
        printf("%d %.*s", (int)status, (int)line, text);
    if (end)
        printf(" +%zu", size - line - 1);
    putchar('\n');
    answered = true;
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    (void)context;
    fprintf(stderr, "asker: %d: %s\n", (int)error, text);
    exit(1);
}

/* Runs the loop until the client is welcome, or an answer has come. */
static void wait_for(struct client_link *link, bool welcome)
{
    struct timeval patience = {.tv_sec = PATIENCE};
    event_base_loopexit(base, &patience);
    while (welcome ? !client_is_welcome(client_link_client(link)) : !answered) {
        if (event_base_loop(base, EVLOOP_ONCE) != 0 || event_base_got_exit(base)) {
            fprintf(stderr, "asker: no answer\n");
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    const struct client_settings settings = {.name = "asker", .answered = on_answered, .failed = on_failed};
    struct client_link *link;
    struct fault fault = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    base = event_base_new();
    if (argc != 2 || !base || client_link_open(base, argv[1], &settings, &link, &fault)) {
        fprintf(stderr, "asker: %s\n", argc == 2 ? fault_text(&fault) : "asker URL < requests");
        return 1;
    }
    wait_for(link, true);
    while ((size = getline(&line, &capacity, stdin)) > 0) {
        answered = false;
        if (client_ask(client_link_use(link), line, (size_t)size, &fault)) {
            fprintf(stderr, "asker: %s\n", fault_text(&fault));
            return 1;
        }
        wait_for(link, false);
    }
    free(line);
    client_link_close(link);
    event_base_free(base);
    return 0;
}
