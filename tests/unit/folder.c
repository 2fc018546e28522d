#include "folder.h"

#include "base/path.h"

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

void folder_remove(char path[FOLDER_PATH])
{
    if (path[0])
        assert_true(path_remove_folder(path));
    path[0] = '\0';
}
