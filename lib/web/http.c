#include "web/http.h"

#include "base/clock.h"
#include "base/memory.h"
#include "relay/figures.h"
#include "transport/address.h"
#include "web/door.h"
#include "web/metrics.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SILENCE = 10, /* seconds */
    HEADERS_MAX = 8 * 1024,
    BODY_MAX = 4 * 1024,
    URL_BYTES = 320
};

#define ALL_METHODS                                                                                                    \
    (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |    \
     EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH)

struct web;

/* An answer that is written slice by slice. */
struct scrape {
    struct scrape *next, *previous; /* of the web */
    struct web *web;
    struct evhttp_request *request;
    struct metrics *metrics;
};

struct web {
    struct relay_view view;
    struct evhttp *http;
    struct door *door;
    struct address address;
    char url[URL_BYTES];
    struct scrape *scrapes;
    int64_t started; /* wall */
    uint64_t requests;
};

/* ---- answers -------------------------------------------------------------------------------------------------- */

static void set_header(struct evhttp_request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* Each answer is fresh, and the last of its connection. */
static void set_headers(struct evhttp_request *request, const char *type)
{
    set_header(request, "Content-Type", type);
    set_header(request, "Cache-Control", "no-store");
    set_header(request, "X-Content-Type-Options", "nosniff");
    set_header(request, "Connection", "close");
}

/* TEXT and an end of line. */
static void answer(struct evhttp_request *request, int code, const char *reason, const char *text)
{
    struct evbuffer *body = evbuffer_new();
    set_headers(request, "text/plain; charset=utf-8");
    if (body)
        evbuffer_add_printf(body, "%s\n", text);
    evhttp_send_reply(request, code, reason, body);
    if (body)
        evbuffer_free(body);
}

static void answer_health(struct web *web, struct evhttp_request *request)
{
    (void)web;
    answer(request, HTTP_OK, "OK", "ok");
}

static void answer_ready(struct web *web, struct evhttp_request *request)
{
    struct fault fault = {0};
    if (core_ready(web->view.core, clock_moment(), &fault) == MP_OK) {
        answer(request, HTTP_OK, "OK", "ready");
        return;
    }
    set_header(request, "Retry-After", "5");
    answer(request, HTTP_SERVUNAVAIL, "Service Unavailable", fault_text(&fault));
}

/* ---- metrics -------------------------------------------------------------------------------------------------- */

static void scrape_free(struct scrape *scrape)
{
    if (scrape->previous)
        scrape->previous->next = scrape->next;
    else
        scrape->web->scrapes = scrape->next;
    if (scrape->next)
        scrape->next->previous = scrape->previous;
    metrics_free(scrape->metrics);
    memory_release(scrape);
}

static void scrape_end(struct scrape *scrape)
{
    struct evhttp_request *request = scrape->request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    scrape_free(scrape);
    evhttp_send_reply_end(request);
}

/* The connection goes before all was written. evhttp leaves a request that is still worked on to its owner. */
static void on_scraper_gone(struct evhttp_connection *connection, void *context)
{
    struct scrape *scrape = context;
    struct evhttp_request *request = scrape->request;
    (void)connection;
    scrape_free(scrape);
    if (!evhttp_request_get_connection(request))
        evhttp_send_reply_end(request);
}

/*
 * Writes the next slice when the one before it has gone out, so that of a slow reader only that waits here, and the relay
 * takes a turn in between.
 */
static void scrape_on(struct evhttp_connection *connection, void *context)
{
    struct scrape *scrape = context;
    struct evbuffer *slice = evbuffer_new();
    struct buffer *text = NULL;
    (void)connection;
    bool failed = !slice || metrics_next(scrape->metrics, &text) || evbuffer_add(slice, text->data, text->size);
    if (failed) /* no memory: a part must not look like the whole */
        evhttp_connection_free(evhttp_request_get_connection(scrape->request));
    else if (text->size > 0)
        evhttp_send_reply_chunk_with_cb(scrape->request, slice, scrape_on, scrape);
    else
        scrape_end(scrape);
    if (slice)
        evbuffer_free(slice);
}

static void answer_metrics(struct web *web, struct evhttp_request *request)
{
    const struct metrics_owner owner = {web->started, web->requests, door_connections(web->door)};
    struct scrape *scrape = memory_allocate(sizeof *scrape);
    if (!scrape || !(scrape->metrics = metrics_new(&web->view, &owner))) {
        memory_release(scrape);
        answer(request, HTTP_SERVUNAVAIL, "Service Unavailable", "no memory");
        return;
    }
    scrape->web = web;
    scrape->request = request;
    scrape->next = web->scrapes;
    if (scrape->next)
        scrape->next->previous = scrape;
    web->scrapes = scrape;
    set_headers(request, "text/plain; version=0.0.4; charset=utf-8");
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_scraper_gone, scrape);
    evhttp_send_reply_start(request, HTTP_OK, "OK");
    if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD)
        scrape_end(scrape);
    else
        scrape_on(NULL, scrape);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    void (*answer)(struct web *web, struct evhttp_request *request);
} pages[] = {
    {"/metrics", answer_metrics},
    {"/healthz", answer_health},
    {"/readyz", answer_ready},
};

static void on_request(struct evhttp_request *request, void *context)
{
    struct web *web = context;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    size_t page = 0, count = sizeof pages / sizeof *pages;
    web->requests++;
    while (page < count && (!path || strcmp(pages[page].path, path) != 0))
        page++;
    if (page == count) {
        answer(request, HTTP_NOTFOUND, "Not Found", "there is /metrics, /healthz and /readyz");
    } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        set_header(request, "Allow", "GET, HEAD");
        answer(request, HTTP_BADMETHOD, "Method Not Allowed", "this can only be read: GET, HEAD");
    } else {
        pages[page].answer(web, request);
    }
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void name(struct web *web)
{
    const struct address *address = &web->address;
    if (address->kind == ADDRESS_TCP)
        snprintf(web->url, sizeof web->url, "http://%s", address->text + strlen("tcp://"));
    else
        snprintf(web->url, sizeof web->url, "unix:%s", address->path);
    /* It goes into JSON: what would need an escape there is shown as '?'. */
    for (char *at = web->url; *at; at++)
        if (*at == '"' || *at == '\\')
            *at = '?';
}

static enum mp_error listen_at(struct web *web, struct fault *fault)
{
    struct fault detail = {0};
    int descriptor = -1;
    enum mp_error error = address_listen(&web->address, &descriptor, &detail);
    if (error)
        return fault_set(fault, error, "--http: %s", fault_text(&detail));
    struct evhttp_bound_socket *socket = evhttp_accept_socket_with_handle(web->http, descriptor);
    if (!socket) {
        close(descriptor);
        return fault_memory(fault);
    }
    name(web);
    return door_open(web->view.base, web->http, socket, &web->door, fault);
}

static void web_close(void *object)
{
    struct web *web = object;
    if (!web)
        return;
    if (web->http)
        evhttp_free(web->http);
    while (web->scrapes)
        scrape_free(web->scrapes);
    door_close(web->door);
    if (web->url[0] && web->address.kind == ADDRESS_IPC)
        unlink(web->address.path);
    memory_release(web);
}

static enum mp_error web_open(const char *address, const struct relay_view *view, void **result, struct fault *fault)
{
    struct web *web = memory_allocate(sizeof *web);
    if (!web)
        return fault_memory(fault);
    web->view = *view;
    web->started = clock_wall();
    struct fault detail = {0};
    enum mp_error error = address_parse_http(address, &web->address, &detail);
    if (error)
        fault_set(fault, error, "--http: %s", fault_text(&detail));
    if (!error && !(web->http = evhttp_new(view->base)))
        error = fault_memory(fault);
    if (!error) {
        evhttp_set_timeout(web->http, SILENCE);
        evhttp_set_max_headers_size(web->http, HEADERS_MAX);
        evhttp_set_max_body_size(web->http, BODY_MAX);
        evhttp_set_allowed_methods(web->http, ALL_METHODS);
        evhttp_set_gencb(web->http, on_request, web);
        error = listen_at(web, fault);
    }
    if (error) {
        web_close(web);
        return error;
    }
    *result = web;
    return MP_OK;
}

static const char *web_url(const void *web)
{
    return ((const struct web *)web)->url;
}

static bool web_is_loopback(const void *web)
{
    return address_is_loopback(&((const struct web *)web)->address);
}

const struct relay_web web_http = {
    .open = web_open, .url = web_url, .is_loopback = web_is_loopback, .close = web_close};
