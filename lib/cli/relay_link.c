/* A tool's client on a relay. */
#include "cli/relay_link.h"

#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "client/link.h"
#include "transport/address.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_WAIT = 1000000, /* microseconds for the first greeting, unless --wait says otherwise */
    LEAST_WAIT = 100000,  /* one attempt takes this, also with --wait 0 */
    LOOK_EVERY = 200000,  /* how often the connection is looked at */
    TELL_AFTER = 500000   /* how long a relay is away before anybody is told */
};

struct relay_link {
    struct loop *loop;
    struct client_link *link;
    struct client *client; /* the link's */
    struct address address;
    const char *relay;
    int64_t wait;
    int64_t opened;
    bool answered;      /* the relay has greeted once: from then on it is waited for */
    int64_t gone_since; /* CLOCK_NEVER while a connection stands */
    bool told;
};

bool relay_link_connected(const struct relay_link *link)
{
    return client_link_connected(link->link);
}

/* When to give up on the first greeting. */
static int64_t first_limit(const struct relay_link *link)
{
    int64_t wait = link->wait < 0 ? FIRST_WAIT : link->wait < LEAST_WAIT ? LEAST_WAIT : link->wait;
    return link->opened + wait;
}

/* When the link has to be looked at again. That a connection has ended is an event of its own. */
static int64_t link_due(void *context, int64_t now)
{
    struct relay_link *link = context;
    int64_t due = client_due(link->client);
    int64_t look = CLOCK_NEVER;
    if (!link->answered)
        look = first_limit(link);
    else if (link->told || link->gone_since != CLOCK_NEVER || !relay_link_connected(link))
        look = now + LOOK_EVERY;
    return due < look ? due : look;
}

enum mp_error relay_link_open(const struct relay_link_settings *settings, struct relay_link **result,
                              struct fault *fault)
{
    struct relay_link *link = calloc(1, sizeof(*link));
    if (!link)
        return fault_memory(fault);
    link->loop = settings->loop;
    link->relay = settings->relay ? settings->relay : "default";
    link->wait = settings->wait;
    link->opened = clock_monotonic();
    link->gone_since = CLOCK_NEVER;

    enum mp_error error = address_of_relay(link->relay, &link->address, fault);
    if (error)
        goto fail;
    struct client_settings client = settings->client;
    char name[80];
    snprintf(name, sizeof(name), "%s %ld", exit_tool(), (long)getpid());
    if (!client.name)
        client.name = name;
    error = client_link_open(link->loop->base, link->address.text, &client, &link->link, fault);
    if (error)
        goto fail;
    link->client = client_link_client(link->link);
    link->loop->due = link_due;
    link->loop->due_context = link;
    *result = link;
    return MP_OK;

fail:
    relay_link_close(link);
    return error;
}

void relay_link_close(struct relay_link *link)
{
    if (!link)
        return;
    if (link->loop->due_context == link)
        link->loop->due = NULL;
    client_link_close(link->link);
    free(link);
}

struct client *relay_link_client(struct relay_link *link)
{
    return link->client;
}

/* Why nobody answered at a TCP address: words only for a host that is not known. */
static enum mp_error diagnose_host(const struct address *address, struct fault *fault)
{
    struct addrinfo *list = NULL;
    int code = address_look_up(address, false, &list);
    if (code != 0)
        return fault_set(fault, MP_ERR_NO_RELAY, "no relay answers at %s: cannot look up its host: %s", address->text,
                         gai_strerror(code));
    freeaddrinfo(list);
    return fault_set(fault, MP_ERR_NO_RELAY, "no relay answers at %s", address->text);
}

/* Why nobody answered, as far as a plain attempt to connect can tell. */
static enum mp_error diagnose(const struct relay_link *link, struct fault *fault)
{
    const char *relay = link->relay;
    const char *where = link->address.text;
    if (link->address.kind != ADDRESS_IPC)
        return diagnose_host(&link->address, fault);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, link->address.path, sizeof(name.sun_path));
    int number = 0;
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    if (descriptor >= 0) {
        if (connect(descriptor, (const struct sockaddr *)&name, sizeof(name)) != 0)
            number = errno;
        close(descriptor);
    }
    if (number == EACCES || number == EPERM)
        return fault_set(fault, MP_ERR_DENIED, "relay %s belongs to somebody else: %s does not let you in", relay,
                         link->address.path);
    if (number == 0)
        return fault_set(fault, MP_ERR_NO_RELAY, "something listens at %s, but does not answer as a relay does", where);
    if (strstr(relay, "://"))
        return fault_set(fault, MP_ERR_NO_RELAY, "no relay answers at %s", where);
    return fault_set(fault, MP_ERR_NO_RELAY, "no relay '%s' is running at %s", relay, link->address.path);
}

/* Keeps account of how long the relay has been away, and tells it once each way. */
static enum mp_error check_gone(struct relay_link *link, int64_t now, struct fault *fault)
{
    if (relay_link_connected(link)) {
        link->gone_since = CLOCK_NEVER;
        if (link->told)
            tell("the relay is back");
        link->told = false;
        return MP_OK;
    }
    if (link->gone_since == CLOCK_NEVER)
        link->gone_since = now;
    int64_t away = now - link->gone_since;
    if (link->wait >= 0 && away >= link->wait) {
        char text[24];
        units_duration_text(link->wait, text, sizeof(text));
        return fault_set(fault, MP_ERR_TIMEOUT, "the relay has gone and did not come back within %s (--wait)", text);
    }
    if (!link->told && away >= TELL_AFTER && output_is_terminal(STDERR_FILENO)) {
        tell("the relay has gone: waiting for it");
        link->told = true;
    }
    return MP_OK;
}

enum mp_error relay_link_check(struct relay_link *link, int64_t now, struct fault *fault)
{
    if (now >= client_due(link->client))
        client_process(link->client, now);
    /* A relay that was started anew may not know the session: then it greets again. */
    link->answered = link->answered || client_is_welcome(link->client);
    if (link->answered)
        return check_gone(link, now, fault);
    if (now >= first_limit(link))
        return diagnose(link, fault);
    return MP_OK;
}

int relay_link_tell(const char *relay, const struct fault *fault)
{
    if (fault->code == MP_ERR_NO_RELAY)
        return tell_no_relay(relay, NULL, fault);
    return tell_fault(fault);
}
