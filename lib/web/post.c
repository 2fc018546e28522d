#include "web/post.h"

#include "base/memory.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 64 * 1024, HOST_BYTES = 300, PATH_BYTES = 1024 };

struct web_post {
    struct web_post_settings settings;
    struct evhttp_connection *connection;
    char host[HOST_BYTES]; /* as the Host header has it */
    char path[PATH_BYTES];
    char url[HOST_BYTES + PATH_BYTES + 8];
    char why[64];
};

static enum mp_error connect_to(struct web_post *post, const struct evhttp_uri *uri, struct fault *fault)
{
    const char *host = evhttp_uri_get_host(uri), *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
    int port = evhttp_uri_get_port(uri);
    const int usual = 80;
    bool literal = host[0] == '['; /* an IPv6 address */
    char name[HOST_BYTES];
    int size = snprintf(post->host, sizeof post->host, port > 0 ? "%s:%d" : "%s", host, port);
    int path_size = snprintf(post->path, sizeof post->path, "%s%s%s",
                             path && *path && strcmp(path, "/") != 0 ? path : post->settings.path, query ? "?" : "",
                             query ? query : "");
    if (size >= (int)sizeof post->host || path_size >= (int)sizeof post->path)
        return fault_set(fault, MP_ERR_INVALID, "%.60s...: too long", post->settings.url);
    snprintf(name, sizeof name, "%.*s", (int)strlen(host) - 2 * literal, host + literal);
    snprintf(post->url, sizeof post->url, "http://%s%s", post->host, post->path);
    post->connection =
        evhttp_connection_base_new(post->settings.base, NULL, name, (unsigned short)(port > 0 ? port : usual));
    if (!post->connection)
        return fault_memory(fault);
    const struct timeval timeout = {.tv_sec = (time_t)(post->settings.timeout / 1000000),
                                    .tv_usec = (suseconds_t)(post->settings.timeout % 1000000)};
    evhttp_connection_set_timeout_tv(post->connection, &timeout);
    evhttp_connection_set_max_body_size(post->connection, ANSWER_MAX);
    evhttp_connection_set_max_headers_size(post->connection, ANSWER_MAX);
    return MP_OK;
}

enum mp_error web_post_open(const struct web_post_settings *settings, struct web_post **result, struct fault *fault)
{
    struct evhttp_uri *uri = evhttp_uri_parse(settings->url);
    const char *scheme = uri ? evhttp_uri_get_scheme(uri) : NULL, *host = uri ? evhttp_uri_get_host(uri) : NULL;
    enum mp_error error = MP_OK;
    struct web_post *post = NULL;
    if (!scheme || strcmp(scheme, "http") != 0 || !host || !*host)
        error = fault_set(fault, MP_ERR_INVALID,
                          scheme && strcmp(scheme, "https") == 0
                              ? "%.200s: TLS is not spoken here: let a collector on this machine, or a proxy such as "
                                "stunnel, pass it on, and write its http://HOST:PORT"
                              : "%.200s: no URL: write http://HOST:PORT",
                          settings->url);
    else if (!(post = memory_allocate(sizeof *post)))
        error = fault_memory(fault);
    if (!error) {
        post->settings = *settings;
        error = connect_to(post, uri, fault);
    }
    if (uri)
        evhttp_uri_free(uri);
    if (error) {
        memory_release(post);
        return error;
    }
    *result = post;
    return MP_OK;
}

void web_post_close(struct web_post *post)
{
    if (!post)
        return;
    post->settings.ended = NULL;
    evhttp_connection_free(post->connection);
    memory_release(post);
}

/* Comes before on_ended() with what went wrong below HTTP. */
static void on_error(enum evhttp_request_error error, void *context)
{
    struct web_post *post = context;
    const char *words = error == EVREQ_HTTP_TIMEOUT          ? "no answer in time"
                        : error == EVREQ_HTTP_EOF            ? "the connection ended"
                        : error == EVREQ_HTTP_DATA_TOO_LONG  ? "an answer that is too long"
                        : error == EVREQ_HTTP_INVALID_HEADER ? "an answer that is no HTTP"
                                                             : "the connection failed";
    snprintf(post->why, sizeof post->why, "%s", words);
}

static void on_ended(struct evhttp_request *request, void *context)
{
    struct web_post *post = context;
    int status = request ? evhttp_request_get_response_code(request) : 0;
    if (!post->settings.ended)
        return;
    if (status == 0) {
        post->settings.ended(post->settings.context, 0, post->why[0] ? post->why : "nobody listens there", NULL, 0, 0);
        return;
    }
    struct evbuffer *answer = evhttp_request_get_input_buffer(request);
    const char *line = evhttp_request_get_response_code_line(request);
    const char *after = evhttp_find_header(evhttp_request_get_input_headers(request), "Retry-After");
    long seconds = after ? strtol(after, NULL, 10) : 0;
    size_t size = evbuffer_get_length(answer);
    post->settings.ended(post->settings.context, status, line ? line : "", (const char *)evbuffer_pullup(answer, -1),
                         size, seconds > 0 && seconds < 3600 ? (int64_t)seconds * 1000000 : 0);
}

enum mp_error web_post_send(struct web_post *post, const struct buffer *body, struct fault *fault)
{
    struct evhttp_request *request = evhttp_request_new(on_ended, post);
    if (!request)
        return fault_memory(fault);
    post->why[0] = '\0';
    evhttp_request_set_error_cb(request, on_error);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Host", post->host);
    evhttp_add_header(headers, "Content-Type", post->settings.content_type);
    evhttp_add_header(headers, "User-Agent", "msgpipe");
    if (evbuffer_add(evhttp_request_get_output_buffer(request), body->data, body->size)) {
        evhttp_request_free(request);
        return fault_memory(fault);
    }
    /* Of what fails at once the callback tells, or has told. */
    if (evhttp_make_request(post->connection, request, EVHTTP_REQ_POST, post->path))
        return fault_memory(fault);
    return MP_OK;
}

const char *web_post_url(const struct web_post *post)
{
    return post->url;
}
