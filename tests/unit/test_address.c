/* transport/address.h */
#include "folder.h"

#include "transport/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[FOLDER_PATH];

static int make_directory(void **state)
{
    (void)state;
    unsetenv("MSGPIPE_RELAY");
    folder_make(directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* ---- parsing -------------------------------------------------------------------------------------------------- */

static void addresses_are_taken_apart(void **state)
{
    static const struct {
        const char *text;
        enum address_kind kind;
        const char *host; /* or path */
        unsigned port;
        const char *canonical;
        bool loopback;
    } good[] = {
        {"ipc:///run/x.sock", ADDRESS_IPC, "/run/x.sock", 0, "ipc:///run/x.sock", true},
        {"unix:///run/x.sock", ADDRESS_IPC, "/run/x.sock", 0, "ipc:///run/x.sock", true},
        {"ipc://here", ADDRESS_IPC, "here", 0, "ipc://here", true},
        {"tcp://127.0.0.1:7000", ADDRESS_TCP, "127.0.0.1", 7000, "tcp://127.0.0.1:7000", true},
        {"tcp://127.9.9.9:1", ADDRESS_TCP, "127.9.9.9", 1, "tcp://127.9.9.9:1", true},
        {"tcp://128.0.0.1:1", ADDRESS_TCP, "128.0.0.1", 1, "tcp://128.0.0.1:1", false},
        {"tcp://localhost:0/", ADDRESS_TCP, "localhost", 0, "tcp://localhost:0", true},
        {"tcp://[::1]:65535", ADDRESS_TCP, "::1", 65535, "tcp://[::1]:65535", true},
        {"tcp://[::ffff:127.0.0.1]:80", ADDRESS_TCP, "::ffff:127.0.0.1", 80, "tcp://[::ffff:127.0.0.1]:80", true},
        {"tcp://[2001:db8::1]:80", ADDRESS_TCP, "2001:db8::1", 80, "tcp://[2001:db8::1]:80", false},
        {"tcp://*:80", ADDRESS_TCP, "*", 80, "tcp://*:80", false},
        {"tcp://:80", ADDRESS_TCP, "", 80, "tcp://:80", false},
        {"tcp://0.0.0.0:80", ADDRESS_TCP, "0.0.0.0", 80, "tcp://0.0.0.0:80", false},
        {"tcp://relay-1.example.org:9", ADDRESS_TCP, "relay-1.example.org", 9, "tcp://relay-1.example.org:9", false},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address address;
        struct fault fault = {0};
        assert_int_equal(address_parse(good[i].text, &address, &fault), MP_OK);
        assert_int_equal(address.kind, good[i].kind);
        assert_string_equal(address.kind == ADDRESS_IPC ? address.path : address.host, good[i].host);
        assert_int_equal(address.port, good[i].port);
        assert_string_equal(address.text, good[i].canonical);
        assert_int_equal(address_is_loopback(&address), good[i].loopback);
    }
}

static void wrong_addresses_are_refused_with_a_right_one(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } wrong[] = {
        {"", "tcp://host:port"},
        {"7000", "tcp://host:port"},
        {"/run/x.sock", "write ipc:///run/x.sock"},
        {"ipc://", "no path"},
        {"tcp://", "tcp://host:port"},
        {"tcp://host", "tcp://host:port"},
        {"tcp://::1:80", "tcp://[v6-address]:port"},
        {"tcp://[::1:80", "tcp://[v6-address]:port"},
        {"tcp://[::1]80", "tcp://[v6-address]:port"},
        {"tcp://host:", "a number from 0 to 65535"},
        {"tcp://host:65536", "a number from 0 to 65535"},
        {"tcp://host:-1", "a number from 0 to 65535"},
        {"tcp://host:+1", "a number from 0 to 65535"},
        {"tcp://host:80x", "a number from 0 to 65535"},
        {"tcp://host:80/path", "a number from 0 to 65535"},
        {"tcp://host:000080", "a number from 0 to 65535"},
        {"tcp://ho st:80", "no name of a host"},
        {"tcp://user@host:80", "no name of a host"},
        {"ws://host:80", "not known here"},
        {"tls+tcp://host:80", "not known here"},
        {"ipc:///a\nb", "control character"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct address address;
        struct fault fault = {0};
        assert_int_equal(address_parse(wrong[i].text, &address, &fault), MP_ERR_INVALID);
        if (strstr(fault.text, wrong[i].words) == NULL) {
            fail_msg("\"%s\" says \"%s\", without \"%s\"", wrong[i].text, fault.text, wrong[i].words);
        }
        assert_int_equal(address_parse(wrong[i].text, &address, NULL), MP_ERR_INVALID);
    }
}

static void paths_are_as_long_as_the_system_allows(void **state)
{
    struct address address;
    struct fault fault = {0};
    char text[6 + sizeof(address.path) + 1];

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "ipc:///", 7);
    text[6 + sizeof(address.path) - 1] = '\0';
    assert_int_equal(address_parse(text, &address, &fault), MP_OK);
    assert_int_equal(strlen(address.path), sizeof(address.path) - 1);
    text[6 + sizeof(address.path) - 1] = 'x';
    text[6 + sizeof(address.path)] = '\0';
    assert_int_equal(address_parse(text, &address, &fault), MP_ERR_TOO_LARGE);
    assert_non_null(strstr(fault.text, "choose a shorter directory"));
}

static void long_names_of_hosts_are_refused(void **state)
{
    struct address address;
    char text[400];

    (void)state;
    memset(text, 'h', sizeof(text));
    memcpy(text, "tcp://", 6);
    memcpy(text + sizeof(text) - 6, ":7000", 6);
    assert_int_equal(address_parse(text, &address, NULL), MP_ERR_TOO_LARGE);
}

/* ---- listening ------------------------------------------------------------------------------------------------ */

static struct address in_directory(const char *name)
{
    struct address address;
    char text[128];

    snprintf(text, sizeof(text), "ipc://%s/%s", directory, name);
    assert_int_equal(address_parse(text, &address, NULL), MP_OK);
    return address;
}

static void a_socket_file_is_the_owners_alone(void **state)
{
    struct address address = in_directory("one");
    struct stat status;
    int descriptor;

    (void)state;
    assert_int_equal(address_probe(address.path), ADDRESS_ABSENT);
    mode_t mask = umask(0);
    assert_int_equal(address_listen(&address, &descriptor, NULL), MP_OK);
    assert_int_equal(umask(mask), 0); /* as it was */
    assert_int_equal(stat(address.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(address_probe(address.path), ADDRESS_ANSWERS);
    close(descriptor);
    unlink(address.path);
}

static void a_live_socket_is_busy_and_a_dead_one_replaced(void **state)
{
    struct address address = in_directory("two");
    struct fault fault = {0};
    int first;
    int second;

    (void)state;
    assert_int_equal(address_listen(&address, &first, &fault), MP_OK);
    assert_int_equal(address_listen(&address, &second, &fault), MP_ERR_BUSY);
    assert_non_null(strstr(fault.text, address.path));
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(address_probe(address.path), ADDRESS_DEAD);
    assert_int_equal(address_listen(&address, &second, &fault), MP_OK);
    assert_int_equal(address_probe(address.path), ADDRESS_ANSWERS);
    close(second);
    unlink(address.path);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct address address = in_directory("file");
    struct fault fault = {0};
    int descriptor;

    (void)state;
    FILE *file = fopen(address.path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(address_listen(&address, &descriptor, &fault), MP_ERR_EXISTS);
    assert_int_equal(access(address.path, F_OK), 0);
    unlink(address.path);
    address = in_directory("missing/socket");
    assert_int_equal(address_listen(&address, &descriptor, &fault), MP_ERR_IO);
}

static void port_zero_takes_a_free_one(void **state)
{
    static const char *const texts[] = {"tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://*:0", "tcp://:0"};

    (void)state;
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct address address;
        struct address same;
        struct fault fault = {0};
        int descriptor;
        int other;
        assert_int_equal(address_parse(texts[i], &address, NULL), MP_OK);
        assert_int_equal(address_listen(&address, &descriptor, &fault), MP_OK);
        assert_int_not_equal(address.port, 0);
        assert_int_equal(address_parse(address.text, &same, NULL), MP_OK);
        assert_int_equal(same.port, address.port);
        assert_int_equal(address_listen(&same, &other, &fault), MP_ERR_BUSY);
        assert_non_null(strstr(fault.text, "choose another port"));
        close(descriptor);
    }
}

static void a_host_that_is_not_ours_is_an_error(void **state)
{
    struct address address;
    struct fault fault = {0};
    int descriptor;

    (void)state;
    assert_int_equal(address_parse("tcp://192.0.2.1:0", &address, NULL), MP_OK);
    assert_int_equal(address_listen(&address, &descriptor, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault.text, "tcp://192.0.2.1:0"));
}

/* ---- relays --------------------------------------------------------------------------------------------------- */

static void a_relays_name_says_where_its_things_are(void **state)
{
    struct address address;
    char wanted[256];
    char path[256];

    (void)state;
    setenv("XDG_RUNTIME_DIR", directory, 1);
    setenv("XDG_STATE_HOME", "/state", 1);
    snprintf(wanted, sizeof(wanted), "%s/msgpipe/default.sock", directory);
    assert_int_equal(address_of_relay(NULL, &address, NULL), MP_OK);
    assert_string_equal(address.path, wanted);
    assert_int_equal(address_store_path(NULL, path, sizeof(path), NULL), MP_OK);
    assert_string_equal(path, "/state/msgpipe/default.db");

    setenv("MSGPIPE_RELAY", "orders", 1);
    snprintf(wanted, sizeof(wanted), "%s/msgpipe/orders.sock", directory);
    assert_int_equal(address_of_relay(NULL, &address, NULL), MP_OK);
    assert_string_equal(address.path, wanted);
    assert_int_equal(address_of_relay("other", &address, NULL), MP_OK); /* a flag goes before the environment */
    snprintf(wanted, sizeof(wanted), "%s/msgpipe/other.sock", directory);
    assert_string_equal(address.path, wanted);

    setenv("MSGPIPE_RELAY", "tcp://relay:7000", 1);
    assert_int_equal(address_of_relay("", &address, NULL), MP_OK);
    assert_string_equal(address.text, "tcp://relay:7000");
    unsetenv("MSGPIPE_RELAY");

    assert_int_equal(address_of_relay("system", &address, NULL), MP_OK);
    assert_string_equal(address.path, "/run/msgpipe/system.sock");
    assert_int_equal(address_store_path("system", path, sizeof(path), NULL), MP_OK);
    assert_string_equal(path, "/var/lib/msgpipe/system.db");

    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "/home/u", 1);
    assert_int_equal(address_store_path("x", path, sizeof(path), NULL), MP_OK);
    assert_string_equal(path, "/home/u/.local/state/msgpipe/x.db");
    setenv("XDG_STATE_HOME", "relative", 1); /* not to be used, says the specification */
    assert_int_equal(address_store_path("x", path, sizeof(path), NULL), MP_OK);
    assert_string_equal(path, "/home/u/.local/state/msgpipe/x.db");
    assert_int_equal(address_store_path("x", path, 5, NULL), MP_ERR_TOO_LARGE);
    unsetenv("XDG_STATE_HOME");
}

static void wrong_names_of_relays_are_refused(void **state)
{
    struct address address;
    struct fault fault = {0};
    char path[256];

    (void)state;
    assert_int_equal(address_of_relay("a b", &address, &fault), MP_ERR_INVALID);
    assert_int_equal(address_of_relay("../x", &address, &fault), MP_ERR_INVALID);
    assert_int_equal(address_store_path("../x", path, sizeof(path), &fault), MP_ERR_INVALID);
    assert_int_equal(address_store_path("tcp://host:7000", path, sizeof(path), &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "needs a name"));
    char name[160];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(address_of_relay(name, &address, &fault), MP_ERR_TOO_LARGE); /* its socket's path */
}

static void directories_are_made_for_the_owner_alone(void **state)
{
    struct fault fault = {0};
    struct stat status;
    char path[128];

    (void)state;
    mode_t mask = umask(0);
    snprintf(path, sizeof(path), "%s/a/b/c.sock", directory);
    assert_int_equal(address_make_directory(path, &fault), MP_OK);
    assert_int_equal(address_make_directory(path, &fault), MP_OK); /* it is there already */
    umask(mask);
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);

    assert_int_equal(chmod(path, 0777), 0);
    strcat(path, "/c.sock");
    assert_int_equal(address_make_directory(path, &fault), MP_ERR_DENIED);
    assert_non_null(strstr(fault.text, "other users may write to"));
    *strrchr(path, '/') = '\0';
    assert_int_equal(chmod(path, 01777), 0); /* as /tmp */
    strcat(path, "/c.sock");
    assert_int_equal(address_make_directory(path, &fault), MP_OK);
    assert_int_equal(address_make_directory("name", &fault), MP_OK);

    *strrchr(path, '/') = '\0';
    FILE *file = fopen(strcat(path, "/file"), "w");
    assert_non_null(file);
    fclose(file);
    strcat(path, "/c.sock");
    assert_int_not_equal(address_make_directory(path, &fault), MP_OK);
    *strrchr(path, '/') = '\0';
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

static void note(void *context, const char *name)
{
    strcat(context, name);
    strcat(context, " ");
}

static void the_relays_that_run_are_listed(void **state)
{
    static const char *const names[] = {"b", "a", "dead"};
    struct address addresses[3];
    int descriptors[3];
    char path[128];
    char found[256] = "";

    (void)state;
    setenv("XDG_RUNTIME_DIR", directory, 1);
    address_running_relays(note, found);
    assert_null(strstr(found, "a ")); /* there is no directory yet */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(address_of_relay(names[i], &addresses[i], NULL), MP_OK);
        assert_int_equal(address_make_directory(addresses[i].path, NULL), MP_OK);
        assert_int_equal(address_listen(&addresses[i], &descriptors[i], NULL), MP_OK);
    }
    close(descriptors[2]);
    snprintf(path, sizeof(path), "%s/msgpipe/other", directory);
    fclose(fopen(path, "w"));
    found[0] = '\0';
    address_running_relays(note, found);
    assert_int_equal(strncmp(found, "a b ", 4), 0); /* a relay of the system may follow */
    assert_null(strstr(found, "dead"));
    unlink(path);
    for (int i = 0; i < 3; i++) {
        close(i < 2 ? descriptors[i] : -1);
        unlink(addresses[i].path);
    }
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(wrong_addresses_are_refused_with_a_right_one),
        cmocka_unit_test(paths_are_as_long_as_the_system_allows),
        cmocka_unit_test(long_names_of_hosts_are_refused),
        cmocka_unit_test(a_socket_file_is_the_owners_alone),
        cmocka_unit_test(a_live_socket_is_busy_and_a_dead_one_replaced),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(port_zero_takes_a_free_one),
        cmocka_unit_test(a_host_that_is_not_ours_is_an_error),
        cmocka_unit_test(a_relays_name_says_where_its_things_are),
        cmocka_unit_test(wrong_names_of_relays_are_refused),
        cmocka_unit_test(directories_are_made_for_the_owner_alone),
        cmocka_unit_test(the_relays_that_run_are_listed),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
