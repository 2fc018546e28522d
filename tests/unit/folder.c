#include "folder.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void folder_make(char path[FOLDER_PATH])
{
    static const char name[] = "/msgpipe-test-XXXXXX";
    const char *parent = getenv("TMPDIR");
    if (!parent || *parent != '/' || strlen(parent) > FOLDER_PATH / 2)
        parent = "/tmp";
    snprintf(path, FOLDER_PATH, "%s%s", parent, name);
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void folder_remove(char path[FOLDER_PATH])
{
    enum { OPEN_AT_ONCE = 16 };
    if (path[0])
        assert_int_equal(nftw(path, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS), 0);
    path[0] = '\0';
}
