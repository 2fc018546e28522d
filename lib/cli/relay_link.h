/*
 * relay_link.h: a tool's client on a relay, driven by the tool's loop.
 *
 * Opened on what -r or $MSGPIPE_RELAY says. Until the relay has greeted, the link waits for a second (or --wait). Later
 * a relay that has gone is waited for, for ever or as long as --wait says; on a terminal the user is told.
 *
 *     relay_link_open(&settings, &link, &fault);
 *     in the step: enum mp_error error = relay_link_check(link, now, &fault); 0, or the end (relay_link_tell() words it)
 *                  ... client_publish(relay_link_client(link), ...)
 */
#ifndef CLI_RELAY_LINK_H
#define CLI_RELAY_LINK_H

#include "client/client.h"
#include "cli/loop.h"

struct relay_link;

struct relay_link_settings {
    struct loop *loop;
    const char *relay;             /* a name or URL; NULL: the default one */
    int64_t wait;                  /* microseconds; -1: a second for the first greeting, then for ever */
    struct client_settings client; /* a name of NULL becomes "TOOL PID" */
};

/* MP_ERR_INVALID, MP_ERR_MEMORY. That nobody answers is told by relay_link_check(). Close with relay_link_close(). */
enum mp_error relay_link_open(const struct relay_link_settings *settings, struct relay_link **link,
                              struct fault *fault);
void relay_link_close(struct relay_link *link);

struct client *relay_link_client(struct relay_link *link);

/*
 * To be called at the beginning of each step. MP_OK: it goes on, also while the relay is away. MP_ERR_NO_RELAY or
 * MP_ERR_DENIED: it has never answered. MP_ERR_TIMEOUT: it has been away for longer than the wait.
 */
enum mp_error relay_link_check(struct relay_link *link, int64_t now, struct fault *fault);

/* Whether a connection to the relay stands now; for words only. */
bool relay_link_connected(const struct relay_link *link);

/* Tells FAULT as relay_link_check() or relay_link_open() set it, with the list of relays where that helps; the exit
 * code. */
int relay_link_tell(const char *relay, const struct fault *fault);

#endif
