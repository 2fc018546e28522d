/* Addresses that are listened at: each once, and those of the relay not open to others unless that is meant. */
#include "pipeline/check.h"

#include "transport/address.h"

struct listener {
    struct address address;
    const char *text;
    const char *what;
    const char *name;
    const struct pipeline_place *place;
};

static bool is_wildcard(const struct address *address)
{
    return address->host[0] == '\0' || strcmp(address->host, "*") == 0 || strcmp(address->host, "0.0.0.0") == 0 ||
           strcmp(address->host, "::") == 0;
}

static bool clash(const struct address *one, const struct address *other)
{
    if (one->kind != other->kind)
        return false;
    if (one->kind == ADDRESS_IPC)
        return strcmp(one->path, other->path) == 0;
    return one->port == other->port && one->port != 0 &&
           (strcmp(one->host, other->host) == 0 || is_wildcard(one) || is_wildcard(other));
}

static void add(struct load *load, struct listener *listeners, size_t *count, const struct listener *listener)
{
    struct listener *added = &listeners[*count];
    *added = *listener;
    if (listener->text == NULL || address_parse(listener->text, &added->address, NULL))
        return;
    for (size_t i = 0; i < *count; i++)
        if (clash(&listeners[i].address, &added->address)) {
            diagnose_error(load->diagnostics, added->place, "%s%s%s listens at %s already", listeners[i].what,
                           listeners[i].name[0] != '\0' ? " " : "", listeners[i].name, listeners[i].address.text);
            return;
        }
    (*count)++;
}

/* The relay's own socket, which follows from its name. */
static void add_own(struct load *load, struct listener *listeners, size_t *count)
{
    struct address own;
    if (address_of_relay(load->pipeline->name, &own, NULL) == MP_OK)
        add(load, listeners, count,
            &(struct listener){
                .text = own.text, .what = "the relay itself", .name = "", .place = &load->pipeline->name_place});
}

static void add_relay(struct load *load, struct listener *listeners, size_t *count)
{
    const struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->relay.listen_count; i++) {
        size_t before = *count;
        const struct pipeline_place *place = &pipeline->relay.listen_places[i];
        add(load, listeners, count,
            &(struct listener){.text = pipeline->relay.listen[i], .what = "the relay", .name = "", .place = place});
        if (*count > before && !pipeline->relay.insecure && !address_is_loopback(&listeners[before].address))
            diagnose_error(load->diagnostics, place,
                           "listen: other machines reach %s, and anybody there could read and write: listen at "
                           "127.0.0.1, or say insecure: true",
                           listeners[before].address.text);
    }
}

void check_addresses(struct load *load)
{
    const struct pipeline *pipeline = load->pipeline;
    size_t most = 2 + pipeline->relay.listen_count, count = 0;
    for (size_t i = 0; i < pipeline->sources_count; i++)
        most += pipeline->sources[i].socket.url != NULL;
    for (size_t i = 0; i < pipeline->stages_count; i++)
        most += pipeline->stages[i].socket.url != NULL;
    struct listener *listeners = load_allocate(load, most, sizeof *listeners);
    if (listeners == NULL)
        return;
    add_own(load, listeners, &count);
    add_relay(load, listeners, &count);
    add(load, listeners, &count,
        &(struct listener){.text = pipeline->relay.http,
                           .what = "the relay's HTTP",
                           .name = "",
                           .place = &pipeline->relay.http_place});
    for (size_t i = 0; i < pipeline->sources_count; i++) {
        const struct pipeline_source *source = &pipeline->sources[i];
        if (source->socket.url != NULL && source->socket.role == PEER_LISTEN)
            add(load, listeners, &count,
                &(struct listener){.text = source->socket.url,
                                   .what = "source",
                                   .name = source->name,
                                   .place = &source->socket.place});
    }
    for (size_t i = 0; i < pipeline->stages_count; i++) {
        const struct pipeline_stage *sink = &pipeline->stages[i];
        if (sink->socket.url != NULL && sink->socket.role == PEER_LISTEN)
            add(load, listeners, &count,
                &(struct listener){
                    .text = sink->socket.url, .what = "sink", .name = sink->name, .place = &sink->socket.place});
    }
}
