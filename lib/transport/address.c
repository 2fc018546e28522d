/*
 * address.c: taking addresses apart, and listening on them.
 *
 * Where relays keep their things is in address_relay.c.
 */
#include "transport/address.h"

#include "base/path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADDRESS_BACKLOG = 1024 };

#define ADDRESS_EXAMPLES "write ipc:///path/of/socket or tcp://host:port"

static enum mp_error parse_path(const char *path, struct address *address, struct fault *fault)
{
    size_t size = strlen(path);

    if (size == 0) {
        return fault_set(fault, MP_ERR_INVALID, "the address has no path: write ipc:///path/of/socket");
    }
    if (size >= sizeof(address->path)) {
        return fault_set(fault, MP_ERR_TOO_LARGE,
                         "the path of a Unix socket can have %zu bytes at most, this one has %zu: choose a shorter "
                         "directory: %.120s",
                         sizeof(address->path) - 1, size, path);
    }
    address->kind = ADDRESS_IPC;
    memcpy(address->path, path, size + 1);
    snprintf(address->text, sizeof(address->text), "ipc://%s", path);
    return MP_OK;
}

static enum mp_error parse_port(const char *text, const char *port, uint16_t *value, struct fault *fault)
{
    size_t digits = strspn(port, "0123456789");
    unsigned long number = digits > 0 && digits <= 5 ? strtoul(port, NULL, 10) : 65536;
    const char *rest = port + digits;

    if (number > 65535 || (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0)) {
        return fault_set(fault, MP_ERR_INVALID, "%.200s: a port is a number from 0 to 65535: write tcp://host:port",
                         text);
    }
    *value = (uint16_t)number;
    return MP_OK;
}

/* Splits "host:port" or "[v6]:port"; *HOST and *SIZE are inside REST, *PORT behind the colon. */
static bool split_host(const char *rest, const char **host, size_t *size, const char **port)
{
    const char *end;

    if (rest[0] == '[') {
        end = strchr(rest, ']');
        if (end == NULL || end[1] != ':') {
            return false;
        }
        *host = rest + 1;
        *port = end + 2;
    } else {
        end = strchr(rest, ':');
        if (end == NULL || strchr(end + 1, ':') != NULL) {
            return false; /* no port, or a bare IPv6 address, where it is not clear what the port is */
        }
        *host = rest;
        *port = end + 1;
    }
    *size = (size_t)(end - *host);
    return true;
}

static bool valid_host(const char *host)
{
    return strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%") == strlen(host);
}

static void write_tcp_text(struct address *address)
{
    bool v6 = strchr(address->host, ':') != NULL;

    snprintf(address->text, sizeof(address->text), "tcp://%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "",
             address->port);
}

static enum mp_error parse_tcp(const char *text, const char *rest, struct address *address, struct fault *fault)
{
    const char *host;
    const char *port;
    size_t size;

    if (!split_host(rest, &host, &size, &port)) {
        return fault_set(fault, MP_ERR_INVALID,
                         "%.200s: host and port are missing or not clear: write "
                         "tcp://host:port or tcp://[v6-address]:port",
                         text);
    }
    if (size >= sizeof(address->host)) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "%.200s: a host's name has %zu bytes at most", text,
                         sizeof(address->host) - 1);
    }
    address->kind = ADDRESS_TCP;
    memcpy(address->host, host, size);
    address->host[size] = '\0';
    if (strcmp(address->host, "*") != 0 && !valid_host(address->host)) {
        return fault_set(fault, MP_ERR_INVALID, "%.200s: that is no name of a host: write tcp://host:port", text);
    }
    enum mp_error error = parse_port(text, port, &address->port, fault);
    if (error == MP_OK) {
        write_tcp_text(address);
    }
    return error;
}

enum mp_error address_parse(const char *text, struct address *address, struct fault *fault)
{
    memset(address, 0, sizeof(*address));
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return fault_set(fault, MP_ERR_INVALID, "the address has a control character: " ADDRESS_EXAMPLES);
        }
    }
    if (strncmp(text, "ipc://", 6) == 0) {
        return parse_path(text + 6, address, fault);
    }
    if (strncmp(text, "unix://", 7) == 0) {
        return parse_path(text + 7, address, fault);
    }
    if (strncmp(text, "tcp://", 6) == 0) {
        return parse_tcp(text, text + 6, address, fault);
    }
    if (strstr(text, "://") != NULL) {
        return fault_set(fault, MP_ERR_INVALID, "%.200s: this kind of address is not known here: " ADDRESS_EXAMPLES,
                         text);
    }
    if (strchr(text, '/') != NULL) {
        return fault_set(fault, MP_ERR_INVALID,
                         "%.200s: this is no address: if it is a socket's path, write ipc://%.200s", text, text);
    }
    return fault_set(fault, MP_ERR_INVALID, "%.200s: this is no address: " ADDRESS_EXAMPLES, text);
}

enum mp_error address_parse_http(const char *text, struct address *address, struct fault *fault)
{
    char url[sizeof(address->text)];
    const char *at = strncmp(text, "http://", 7) == 0 ? text + 7 : text;
    bool port = *at != '\0' && at[strspn(at, "0123456789")] == '\0';
    const char *before = "tcp://";

    if (strncmp(at, "unix:", 5) == 0 && strncmp(at, "unix://", 7) != 0) {
        before = "ipc://";
        at += 5;
    } else if (strstr(at, "://") != NULL) {
        before = "";
    } else if (port) {
        before = "tcp://127.0.0.1:";
    }
    int size = snprintf(url, sizeof(url), "%s%s", before, at);
    enum mp_error error = size < (int)sizeof(url) ? address_parse(url, address, fault) : MP_ERR_TOO_LARGE;
    if (error != MP_OK && (strcmp(before, "tcp://") == 0 || strcmp(at, "") == 0)) {
        char shown[FAULT_QUOTE];
        return fault_set(fault, error, "%s: HTTP is served at HOST:PORT, such as 127.0.0.1:9090, or unix:PATH",
                         fault_quote(shown, text, strlen(text)));
    }
    return size < (int)sizeof(url) ? error : fault_set(fault, error, "an address of %d bytes is too long", size);
}

bool address_is_loopback(const struct address *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (address->kind == ADDRESS_IPC || strcasecmp(address->host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, address->host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, address->host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    }
    return false;
}

/* ---- listening ------------------------------------------------------------------------------------------------ */

static int open_socket(int family)
{
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int descriptor = socket(family, SOCK_STREAM, 0);
    if (descriptor >= 0 && (fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 || fcntl(descriptor, F_SETFL, O_NONBLOCK) < 0)) {
        int number = errno;
        close(descriptor);
        errno = number;
        return -1;
    }
    return descriptor;
#endif
}

static void close_keeping_errno(int descriptor)
{
    int number = errno;

    if (descriptor >= 0) {
        close(descriptor);
    }
    errno = number;
}

static struct sockaddr_un unix_name(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    return name;
}

enum address_answer address_probe(const char *path)
{
    struct sockaddr_un name = unix_name(path);
    int descriptor = open_socket(AF_UNIX);
    enum address_answer answer = ADDRESS_UNKNOWN;

    if (descriptor < 0) {
        return ADDRESS_UNKNOWN;
    }
    /* EAGAIN: somebody is there, and so busy that the backlog is full. */
    if (connect(descriptor, (const struct sockaddr *)&name, sizeof(name)) == 0 || errno == EAGAIN ||
        errno == EINPROGRESS) {
        answer = ADDRESS_ANSWERS;
    } else if (errno == ECONNREFUSED) {
        answer = ADDRESS_DEAD;
    } else if (errno == ENOENT || errno == ENOTDIR) {
        answer = ADDRESS_ABSENT;
    }
    close(descriptor);
    return answer;
}

/*
 * Whoever replaces a dead socket holds a lock on its directory, so that two that start at once do not each remove what
 * the other has just made. -1 where such a lock cannot be had: then there is none.
 */
static int lock_directory_of(const char *path)
{
    char directory[PATH_BYTES];
    int lock = path_directory(path, directory) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (lock >= 0 && flock(lock, LOCK_EX) != 0) {
        close(lock);
        lock = -1;
    }
    return lock;
}

/* Removes a socket that nobody answers on. */
static enum mp_error clear_path(const char *path, struct fault *fault)
{
    struct stat status;

    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? MP_OK : fault_system(fault, MP_ERR_IO, errno, "%s", path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        return fault_set(fault, MP_ERR_EXISTS, "%s: a file that is no socket is in the way: choose another address",
                         path);
    }
    switch (address_probe(path)) {
    case ADDRESS_ANSWERS:
        return fault_set(fault, MP_ERR_BUSY, "%s: another process listens there already", path);
    case ADDRESS_UNKNOWN:
        return fault_system(fault, MP_ERR_IO, errno, "%s: cannot tell whether another process listens there", path);
    case ADDRESS_ABSENT:
    case ADDRESS_DEAD:
        break;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return fault_system(fault, MP_ERR_IO, errno, "%s: cannot remove the socket of a process that has ended", path);
    }
    return MP_OK;
}

static enum mp_error listen_ipc(const struct address *address, int *result, struct fault *fault)
{
    struct sockaddr_un name = unix_name(address->path);
    int lock = lock_directory_of(address->path);
    int descriptor = -1;
    enum mp_error error = clear_path(address->path, fault);

    if (error != MP_OK) {
        goto done;
    }
    descriptor = open_socket(AF_UNIX);
    if (descriptor < 0) {
        error = fault_system(fault, MP_ERR_IO, errno, "cannot make a socket");
        goto done;
    }
    mode_t mask = umask(0177);
    int outcome = bind(descriptor, (const struct sockaddr *)&name, sizeof(name));
    int number = errno;
    umask(mask);
    if (outcome != 0) {
        error = number == EADDRINUSE
                    ? fault_set(fault, MP_ERR_BUSY, "%s: another process listens there already", address->path)
                    : fault_system(fault, MP_ERR_IO, number, "cannot listen on %s", address->path);
        goto done;
    }
    if (listen(descriptor, ADDRESS_BACKLOG) != 0) {
        error = fault_system(fault, MP_ERR_IO, errno, "cannot listen on %s", address->path);
        unlink(address->path);
        goto done;
    }
    *result = descriptor;
    descriptor = -1;
done:
    close_keeping_errno(descriptor);
    close_keeping_errno(lock); /* which ends the lock */
    return error;
}

/* Binds and listens at one of the addresses that a name stands for; -1 and errno. */
static int listen_at(const struct addrinfo *info)
{
    int on = 1;
    int off = 0;
    int descriptor = open_socket(info->ai_family);

    if (descriptor < 0) {
        return -1;
    }
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6) {
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)); /* "*" is IPv4 too */
    }
    if (bind(descriptor, info->ai_addr, info->ai_addrlen) != 0 || listen(descriptor, ADDRESS_BACKLOG) != 0) {
        close_keeping_errno(descriptor);
        return -1;
    }
    return descriptor;
}

static enum mp_error take_port(struct address *address, int descriptor, struct fault *fault)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);

    if (getsockname(descriptor, (struct sockaddr *)&name, &size) != 0) {
        return fault_system(fault, MP_ERR_IO, errno, "%s", address->text);
    }
    address->port = ntohs(name.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&name)->sin6_port
                                                     : ((const struct sockaddr_in *)&name)->sin_port);
    write_tcp_text(address);
    return MP_OK;
}

static bool stands_for_all(const struct address *address)
{
    return address->host[0] == '\0' || strcmp(address->host, "*") == 0;
}

int address_look_up(const struct address *address, bool listen, struct addrinfo **list)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | (listen ? AI_PASSIVE : 0)};
    char port[8];

    *list = NULL;
    snprintf(port, sizeof(port), "%u", address->port);
    int outcome = getaddrinfo(listen && stands_for_all(address) ? NULL : address->host, port, &hints, list);
    if (outcome != 0 && strcasecmp(address->host, "localhost") == 0) {
        outcome = getaddrinfo("127.0.0.1", port, &hints, list);
    }
    if (outcome != 0) {
        *list = NULL;
    }
    return outcome;
}

static enum mp_error listen_tcp(struct address *address, int *result, struct fault *fault)
{
    bool all = stands_for_all(address);
    struct addrinfo *list = NULL;
    int descriptor = -1;
    int number = EADDRNOTAVAIL;

    int outcome = address_look_up(address, true, &list);
    if (outcome != 0) {
        return fault_set(fault, MP_ERR_IO, "cannot listen on %s: %s: %s", address->text, address->host,
                         gai_strerror(outcome));
    }
    /*
     * For all addresses, IPv6 first: its socket takes IPv4 too. A port that is taken on the first address is taken: on
     * the next one, of the other family, only some of the clients would find this listener.
     */
    for (int pass = all ? 0 : 1; pass < 2 && descriptor < 0 && number != EADDRINUSE; pass++) {
        const struct addrinfo *info = list;
        for (; info != NULL && descriptor < 0 && number != EADDRINUSE; info = info->ai_next) {
            if (pass == 1 || info->ai_family == AF_INET6) {
                descriptor = listen_at(info);
                number = descriptor < 0 ? errno : 0;
            }
        }
    }
    freeaddrinfo(list);
    if (descriptor < 0 && number == EADDRINUSE) {
        return fault_set(fault, MP_ERR_BUSY, "%s: another process listens there already: choose another port",
                         address->text);
    }
    if (descriptor < 0) {
        return fault_system(fault, MP_ERR_IO, number, "cannot listen on %s", address->text);
    }
    enum mp_error error = take_port(address, descriptor, fault);
    if (error != MP_OK) {
        close(descriptor);
        return error;
    }
    *result = descriptor;
    return MP_OK;
}

enum mp_error address_listen(struct address *address, int *descriptor, struct fault *fault)
{
    *descriptor = -1;
    return address->kind == ADDRESS_IPC ? listen_ipc(address, descriptor, fault)
                                        : listen_tcp(address, descriptor, fault);
}
