#include "transport/peer_internal.h"

#include "base/memory.h"

#include <string.h>

struct peer_outgoing *outgoing_new(const struct peer_part *part, const uint32_t *ids, unsigned ids_count)
{
    size_t head = sizeof(struct peer_outgoing) + ids_count * sizeof *ids;
    size_t size;

    if (__builtin_add_overflow(head, part->release == NULL ? part->size : 0, &size))
        return NULL;
    struct peer_outgoing *outgoing = memory_reallocate(NULL, size);
    if (outgoing == NULL)
        return NULL;
    *outgoing = (struct peer_outgoing){
        .data = part->data,
        .size = part->size,
        .release = part->release,
        .owner = part->owner,
        .references = 1,
        .ids_count = ids_count,
    };
    if (ids_count > 0)
        memcpy(outgoing->ids, ids, ids_count * sizeof *ids);
    if (part->release == NULL) {
        uint8_t *copy = (uint8_t *)outgoing + head;
        if (part->size > 0)
            memcpy(copy, part->data, part->size);
        outgoing->data = copy;
    }
    return outgoing;
}

void outgoing_drop(struct peer_outgoing *outgoing)
{
    if (--outgoing->references > 0)
        return;
    if (outgoing->release != NULL)
        outgoing->release(outgoing->owner);
    memory_release(outgoing);
}

enum { RING_START = 64, LINKS_START = 4 };

enum mp_error link_add(struct peer *peer, server_connection connection)
{
    if (peer->links_count == peer->links_capacity) {
        unsigned capacity = peer->links_capacity == 0 ? LINKS_START : peer->links_capacity * 2;
        struct peer_link **links = memory_reallocate(peer->links, capacity * sizeof(struct peer_link *));
        if (links == NULL)
            return MP_ERR_MEMORY;
        peer->links = links;
        peer->links_capacity = capacity;
    }

    struct peer_link *link = memory_allocate(sizeof *link);
    if (link == NULL)
        return MP_ERR_MEMORY;
    link->peer = peer;
    link->connection = connection;
    link->capacity = RING_START;
    link->ring = memory_allocate_array(link->capacity, sizeof(struct peer_outgoing *));
    if (link->ring == NULL) {
        memory_release(link);
        return MP_ERR_MEMORY;
    }

    unsigned at = peer->links_count;
    while (at > 0 && peer->links[at - 1]->connection > connection) {
        peer->links[at] = peer->links[at - 1];
        at--;
    }
    peer->links[at] = link;
    peer->links_count++;
    return MP_OK;
}

struct peer_link *link_find(const struct peer *peer, server_connection connection)
{
    unsigned low = 0, high = peer->links_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (peer->links[middle]->connection < connection)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < peer->links_count && peer->links[low]->connection == connection)
        return peer->links[low];
    return NULL;
}

static void link_free(struct peer_link *link)
{
    memory_release(link->ring);
    memory_release(link);
}

/* OUTGOING has left the ring. */
static void ring_forget(struct peer_link *link, const struct peer_outgoing *outgoing)
{
    link->count--;
    link->queued -= outgoing_cost(outgoing);
    link->peer->linked--;
    link->peer->linked_cost -= outgoing_cost(outgoing);
}

static struct peer_outgoing *ring_pop_oldest(struct peer_link *link)
{
    struct peer_outgoing *outgoing = link->ring[link->first];

    link->first = (link->first + 1) & (link->capacity - 1);
    ring_forget(link, outgoing);
    return outgoing;
}

static void link_remove(struct peer_link *link)
{
    struct peer *peer = link->peer;
    unsigned at = 0;

    while (peer->links[at] != link)
        at++;
    peer->links_count--;
    memmove(&peer->links[at], &peer->links[at + 1], (peer->links_count - at) * sizeof(struct peer_link *));
    if (peer->next_link > at)
        peer->next_link--;
}

/* Takes the newest message out of the ring. */
static struct peer_outgoing *ring_pop_newest(struct peer_link *link)
{
    struct peer_outgoing *outgoing = link->ring[(link->first + link->count - 1) & (link->capacity - 1)];

    ring_forget(link, outgoing);
    return outgoing;
}

void link_end(struct peer_link *link)
{
    struct peer *peer = link->peer;
    server_connection connection = link->connection;

    link->ended = true;
    link_remove(link);
    while (link->count > 0)
        rules_unwritten(peer, ring_pop_newest(link));
    if (link->unreleased == 0)
        link_free(link);
    rules_link_ended(peer, connection);
}

void links_free(struct peer *peer)
{
    while (peer->links_count > 0) {
        struct peer_link *link = peer->links[peer->links_count - 1];
        while (link->count > 0)
            outgoing_drop(ring_pop_newest(link));
        peer->links_count--;
        link_free(link);
    }
    memory_release(peer->links);
    peer->links = NULL;
}

/* The server needs a message no more: the oldest, for it writes in order. */
static void link_released(void *owner)
{
    struct peer_link *link = owner;
    struct peer *peer = link->peer;

    link->unreleased--;
    if (link->giving)
        return; /* refused: while the server is corked, nothing is written by giving */
    if (link->ended) {
        if (link->unreleased == 0)
            link_free(link);
        return;
    }
    if (peer->freeing)
        return; /* links_free() comes */
    struct peer_outgoing *outgoing = ring_pop_oldest(link);
    peer->counters.sent++;
    peer->counters.sent_bytes += outgoing->size;
    outgoing_drop(outgoing);
    rules_written(peer);
}

static bool ring_grow(struct peer_link *link)
{
    struct peer_outgoing **ring = memory_allocate_array(link->capacity * 2, sizeof(struct peer_outgoing *));

    if (ring == NULL)
        return false;
    for (size_t i = 0; i < link->count; i++)
        ring[i] = link->ring[(link->first + i) & (link->capacity - 1)];
    memory_release(link->ring);
    link->ring = ring;
    link->first = 0;
    link->capacity *= 2;
    return true;
}

bool link_give(struct peer_link *link, struct peer_outgoing *outgoing)
{
    struct peer *peer = link->peer;

    if (link->leaving || (link->count == link->capacity && !ring_grow(link)))
        return false;
    link->ring[(link->first + link->count) & (link->capacity - 1)] = outgoing;
    link->count++;
    link->queued += outgoing_cost(outgoing);
    link->unreleased++;
    peer->linked++;
    peer->linked_cost += outgoing_cost(outgoing);
    peer->gathered += outgoing->size;
    outgoing->references++;
    link->used = true;

    struct server_part part = {outgoing->data, outgoing->size, link_released, link};
    link->giving = true;
    bool sent = server_send(peer->server, link->connection, outgoing->ids, outgoing->ids_count, &part, 1);
    link->giving = false;
    if (!sent) {
        link->leaving = true;
        outgoing_drop(ring_pop_newest(link)); /* the caller's own reference is left */
    }
    return sent;
}
