/*
 * A collector of spans, for tests: takes what is posted to it, and does with it as it is told.
 *
 *     collector FOLDER [PORT]
 *
 * FOLDER/port gets the port that it listens at (PORT, or any), FOLDER/got a line for each request that it took: the path,
 * a tab, the body. FOLDER/mode says how it answers from then on: ok (also without the file); away: 503, taking nothing;
 * lost: 503, having taken it; hang: not at all; refuse: 400; partial: it takes it and says that it rejects one span.
 * FOLDER/asked has a byte for each request that came.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char *folder;

static FILE *open_in(const char *name, const char *how)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, how);
}

static void read_mode(char mode[16])
{
    FILE *file = open_in("mode", "r");
    if (!file || fscanf(file, "%15s", mode) != 1)
        strcpy(mode, "ok");
    if (file)
        fclose(file);
}

static void note(const char *name, const char *path, struct evbuffer *body)
{
    FILE *file = open_in(name, "a");
    if (!file)
        abort();
    if (path)
        fprintf(file, "%s\t%.*s\n", path, (int)evbuffer_get_length(body), (const char *)evbuffer_pullup(body, -1));
    else
        fputc('.', file);
    if (fclose(file) != 0)
        abort();
}

static void on_request(struct evhttp_request *request, void *context)
{
    (void)context;
    char mode[16];
    struct evbuffer *answer = evbuffer_new();
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    const char *type = evhttp_find_header(evhttp_request_get_input_headers(request), "Content-Type");
    read_mode(mode);
    note("asked", NULL, NULL);
    bool typed =
        type && strcmp(type, "application/json") == 0 && evhttp_request_get_command(request) == EVHTTP_REQ_POST;
    if (strcmp(mode, "hang") == 0) {
        evbuffer_free(answer);
        return; /* its connection is closed by who waits */
    }
    if (!typed || strcmp(mode, "refuse") == 0) {
        evhttp_send_reply(request, 400, "Bad Request", answer);
    } else if (strcmp(mode, "away") == 0) {
        evhttp_send_reply(request, 503, "Service Unavailable", answer);
    } else {
        note("got", evhttp_request_get_uri(request), body);
        if (strcmp(mode, "partial") == 0)
            evbuffer_add_printf(answer, "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"too old\"}}");
        if (strcmp(mode, "lost") == 0)
            evhttp_send_reply(request, 503, "Service Unavailable", answer);
        else
            evhttp_send_reply(request, 200, "OK", answer);
    }
    evbuffer_free(answer);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = base ? evhttp_new(base) : NULL;
    if (argc < 2 || !http)
        return 64;
    folder = argv[1];
    signal(SIGPIPE, SIG_IGN);
    evhttp_set_gencb(http, on_request, NULL);
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(http, "127.0.0.1", (unsigned short)(argc > 2 ? atoi(argv[2]) : 0));
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    if (!bound || getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &size) != 0)
        return 74;
    FILE *file = open_in("port.new", "w");
    char from[4096], to[4096];
    if (!file || fprintf(file, "%d\n", ntohs(address.sin_port)) < 0 || fclose(file) != 0)
        return 74;
    snprintf(from, sizeof from, "%s/port.new", folder);
    snprintf(to, sizeof to, "%s/port", folder);
    if (rename(from, to) != 0)
        return 74;
    event_base_dispatch(base);
    return 0;
}
