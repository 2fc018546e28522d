/*
 * address.h: addresses of relays and peers: ipc:///path, tcp://host:port, tcp://[v6]:port, unix:///path (as ipc).
 */
#ifndef TRANSPORT_ADDRESS_H
#define TRANSPORT_ADDRESS_H

#include "base/fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum address_kind { ADDRESS_IPC, ADDRESS_TCP };

struct address {
    enum address_kind kind;
    char text[300]; /* canonical, as an nng URL */
    char host[256]; /* TCP: a name, or an address without brackets; "*" or empty for all */
    uint16_t port;  /* TCP; 0: any free one, for listeners */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* IPC */
};

/* Takes TEXT apart; MP_ERR_INVALID and MP_ERR_TOO_LARGE say what is wrong and show a right one. */
enum mp_error address_parse(const char *text, struct address *address, struct fault *fault);

/*
 * The same of where HTTP is served: HOST:PORT, [V6]:PORT, PORT of 127.0.0.1, unix:PATH; http:// before it is allowed, and
 * what address_parse() takes.
 */
enum mp_error address_parse_http(const char *text, struct address *address, struct fault *fault);

/* Whether an address reaches this machine only (127.0.0.0/8, ::1, localhost, any Unix socket). */
bool address_is_loopback(const struct address *address);

struct addrinfo;

/*
 * The socket addresses of a TCP ADDRESS, to LISTEN at or to connect to; *LIST is freed with freeaddrinfo(). `localhost`
 * needs no resolver (RFC 6761, 6.3): machines without /etc/hosts have it too. Blocks as long as the resolver does.
 * Returns 0, or what gai_strerror(3) knows.
 */
int address_look_up(const struct address *address, bool listen, struct addrinfo **list);

/*
 * Opens a listening socket, non-blocking and close-on-exec. IPC: mode 0600; a socket file that nobody answers on is
 * replaced, one of a live process is MP_ERR_BUSY, a path that is no socket MP_ERR_EXISTS. TCP with port 0: ADDRESS is
 * updated with the one that was taken. MP_ERR_IO.
 */
enum mp_error address_listen(struct address *address, int *descriptor, struct fault *fault);

/* What a Unix socket's path says to somebody who connects; ADDRESS_UNKNOWN leaves the reason in errno. */
enum address_answer { ADDRESS_ANSWERS, ADDRESS_DEAD, ADDRESS_ABSENT, ADDRESS_UNKNOWN };
enum address_answer address_probe(const char *path);

/*
 * Where a relay of NAME keeps things: its socket ($XDG_RUNTIME_DIR/msgpipe/NAME.sock, or /run/user/UID/…, or
 * /tmp/msgpipe-UID/… when neither is there; "system": /run/msgpipe/system.sock) and its store
 * ($XDG_STATE_HOME/msgpipe/NAME.db, or ~/.local/state/…; "system": /var/lib/msgpipe/system.db).
 * NULL or "" stand for $MSGPIPE_RELAY, and "default" when that is not set. A name follows the rules of a group's.
 * MP_ERR_INVALID, MP_ERR_TOO_LARGE.
 */
enum mp_error address_of_relay(const char *name_or_url, struct address *address, struct fault *fault);
enum mp_error address_store_path(const char *name, char *path, size_t size, struct fault *fault);

/* Makes the directory of PATH with mode 0700 (and its parents); refuses one that others may write to: MP_ERR_DENIED. */
enum mp_error address_make_directory(const char *path, struct fault *fault);

/* Calls EACH with the name of every relay of this user (and `system`) whose socket answers. */
void address_running_relays(void (*each)(void *context, const char *name), void *context);

#endif
