/*
 * Where a store may not lie: statfs(2) is replaced (the linker's --wrap), for no test can have a network file system.
 */
#include "folder.h"

#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

int __real_statfs(const char *path, struct statfs *status);
int __wrap_statfs(const char *path, struct statfs *status);

static long pretended; /* 0: the truth */

int __wrap_statfs(const char *path, struct statfs *status)
{
    int result = __real_statfs(path, status);
    if (result == 0 && pretended != 0)
        status->f_type = (__typeof__(status->f_type))pretended;
    return result;
}

static void a_network_file_system_is_refused_and_a_local_one_is_not(void **state)
{
    static const long remote[] = {0x6969, 0x517B, (long)0xFF534D42, (long)0xFE534D42, 0x00C36400};
    char folder[FOLDER_PATH], path[FOLDER_PATH + 16];
    struct store *store = NULL;
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/store.db", folder);
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
        struct fault fault = {0};
        pretended = remote[i];
        assert_int_equal(store_open(path, &store, &fault), MP_ERR_DENIED);
        assert_non_null(strstr(fault.text, "network file system"));
        assert_non_null(strstr(fault.text, "--store"));
        assert_int_equal(access(path, F_OK), -1); /* nothing was made there */
    }
    pretended = 0;
    assert_int_equal(store_open(path, &store, NULL), MP_OK);
    store_close(store);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_network_file_system_is_refused_and_a_local_one_is_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
