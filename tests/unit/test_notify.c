/* Telling systemd, and taking sockets from it: sd_notify(3) and sd_listen_fds(3), as a service manager does it. */
#include "folder.h"

#include "relay/notify.h"

#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[FOLDER_PATH];

static int set_up(void **state)
{
    (void)state;
    folder_make(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int bound(const char *name, int type, struct sockaddr_un *address)
{
    int descriptor = socket(AF_UNIX, type, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", folder, name);
    assert_true(descriptor >= 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)address, sizeof *address), 0);
    return descriptor;
}

static void systemd_hears_when_the_relay_serves(void **state)
{
    (void)state;
    struct sockaddr_un address;
    int manager = bound("notify", SOCK_DGRAM, &address);
    char text[64];
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    notify_ready(-1, MP_OK, "");
    ssize_t size = recv(manager, text, sizeof text, MSG_DONTWAIT);
    assert_int_equal(size, strlen("READY=1"));
    assert_memory_equal(text, "READY=1", (size_t)size);
    notify_ready(-1, MP_ERR_BUSY, "another relay has it");
    assert_int_equal(recv(manager, text, sizeof text, MSG_DONTWAIT), -1);
    unsetenv("NOTIFY_SOCKET");
    notify_state("STOPPING=1");
    assert_int_equal(recv(manager, text, sizeof text, MSG_DONTWAIT), -1);
    close(manager);
    unlink(address.sun_path);
}

static void the_starting_process_hears_in_words(void **state)
{
    (void)state;
    int ends[2];
    char text[200] = "";
    assert_int_equal(pipe(ends), 0);
    notify_ready(ends[1], MP_ERR_BUSY, "another relay has it");
    ssize_t size = read(ends[0], text, sizeof text - 1);
    assert_true(size > 0);
    assert_string_equal(text, "17 another relay has it\n");
    assert_int_equal(read(ends[0], text, sizeof text), 0); /* its end is closed */
    close(ends[0]);
}

static void what_was_said_is_read(void **state)
{
    (void)state;
    struct fault fault;
    assert_true(notify_read("ready", &fault));
    assert_int_equal(fault.code, MP_OK);
    assert_true(notify_read("17 another relay has it", &fault));
    assert_int_equal(fault.code, MP_ERR_BUSY);
    assert_string_equal(fault_text(&fault), "another relay has it");
    static const char *const nothing[] = {"", "17", "0 x", "-1 x", "1000 x", "readyy", "x 17"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_false(notify_read(nothing[i], &fault));
}

static void drop(void *context, struct server_message *message)
{
    (void)context;
    server_message_free(message);
}

/* In a process of its own, where descriptor 3 is free to be what systemd says it is. */
static int adopt_as_a_service(int listening)
{
    char pid[24];
    unsigned count = 0;
    struct fault fault = {0};
    struct server *server;
    struct server_settings settings = {.protocol = SERVER_REP, .max_message = 1000, .received = drop};
    if (dup2(listening, 3) < 0) /* before the loop takes that number */
        return 1;
    struct event_base *base = event_base_new();
    if (!base || server_new(base, &settings, &server, &fault))
        return 1;
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    if (notify_adopt(server, &count, &fault) || count != 0)
        return 2; /* they were another process's */
    setenv("LISTEN_PID", pid, 1);
    if (notify_adopt(server, &count, &fault) || count != 1 || getenv("LISTEN_FDS"))
        return 3;
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    int plain = open("/dev/null", O_RDONLY);
    if (plain < 0 || dup2(plain, 3) < 0 || notify_adopt(server, &count, &fault) != MP_ERR_INVALID)
        return 4;
    return 0;
}

static void sockets_of_systemd_are_taken(void **state)
{
    (void)state;
    struct sockaddr_un address;
    int listening = bound("passed", SOCK_STREAM, &address), status;
    assert_int_equal(listen(listening, 5), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(adopt_as_a_service(listening));
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(listening);
    unlink(address.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(systemd_hears_when_the_relay_serves),
        cmocka_unit_test(the_starting_process_hears_in_words),
        cmocka_unit_test(what_was_said_is_read),
        cmocka_unit_test(sockets_of_systemd_are_taken),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
