/*
 * link.h: a client on a libevent loop. The link processes it whenever something comes or is due; the channel below
 * connects, and connects again with a backoff, for as long as it takes: a relay that is away is waited for.
 *
 *     client_link_open(&settings, &link, &fault);
 *     client_publish(client_link_use(link), ...);      from the loop, or before it runs
 *
 * Callbacks of the client come from the loop only.
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "client/client.h"

struct event_base;
struct client_link;

/* URL: what address_of_relay() makes of a relay's name. The settings are copied as client_open() does.
 * MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO. */
enum mp_error client_link_open(struct event_base *base, const char *url, const struct client_settings *settings,
                               struct client_link **link, struct fault *fault);
/* At once. Not out of a callback of its client. NULL is allowed. */
void client_link_close(struct client_link *link);

/*
 * The client, for a call that changes something: the link looks after what comes of it (what is to be sent at the end
 * of a turn, what is due earlier now) when the loop goes on. Costs next to nothing when called often.
 */
struct client *client_link_use(struct client_link *link);
/* The client, to be looked at. Who calls more through this has to call client_process() when client_due() says so. */
struct client *client_link_client(const struct client_link *link);

/* Whether a connection to the relay stands now; for words only. */
bool client_link_connected(const struct client_link *link);

#endif
