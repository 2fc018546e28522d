/* SIGHUP of a terminal whose shell has ended before anybody could look at who sent it. The rest: tests/bats/hangup.bats. */
#include "base/hangup.h"

#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void put(int descriptor, char word)
{
    if (write(descriptor, &word, 1) != 1)
        _exit(1);
}

static char get(int descriptor)
{
    char word = 0;
    return read(descriptor, &word, 1) == 1 ? word : 0;
}

static void on_reload(void *context)
{
    put(*(int *)context, 'r');
}

static void on_gone(void *context)
{
    put(*(int *)context, 'g');
}

/* Watches, says so to ANSWER, and looks at what has come when GO says so. */
static void serve(int go, int answer)
{
    const struct hangup_settings settings = {.context = &answer, .reload = on_reload, .gone = on_gone};
    struct event_base *base = event_base_new();
    struct hangup *hangup;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    if (!base || sigprocmask(SIG_BLOCK, &set, NULL) != 0 || hangup_watch(base, &settings, &hangup, NULL))
        _exit(1);
    put(answer, 'w');
    if (get(go) != 'x' || sigprocmask(SIG_UNBLOCK, &set, NULL) != 0)
        _exit(1);
    event_base_loop(base, EVLOOP_ONCE);
    _exit(0);
}

/* A shell: leads a session on TERMINAL, has its server watch, passes the hangup on to it, and ends. */
static void lead(const char *terminal, const int go[2], const int answer[2])
{
    char words = 0;
    signal(SIGHUP, SIG_IGN); /* its own */
    if (setsid() < 0)
        _exit(1);
    int slave = open(terminal, O_RDWR);
    if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) != 0)
        _exit(1);
    pid_t server = fork();
    if (server < 0)
        _exit(1);
    if (server == 0) {
        signal(SIGHUP, SIG_DFL);
        close(go[1]);
        serve(go[0], answer[1]);
    }
    words = get(answer[0]);
    _exit(words == 'w' && kill(server, SIGHUP) == 0 ? 0 : 1);
}

static void the_end_of_the_shell_is_of_the_terminal(void **state)
{
    int go[2], answer[2], status = -1;
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || !ptsname(master))
        skip();
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(answer), 0);
    pid_t leader = fork();
    assert_true(leader >= 0);
    if (leader == 0) {
        const char *terminal = ptsname(master);
        lead(terminal, go, answer);
    }
    close(go[0]);
    close(answer[1]);
    assert_int_equal(waitpid(leader, &status, 0), leader); /* now it is nobody any more */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(master);
    put(go[1], 'x');
    assert_int_equal(get(answer[0]), 'g');
    close(go[1]);
    close(answer[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_the_shell_is_of_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
