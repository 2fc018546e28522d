/* store_rig.h: a store in a folder of its own, for the tests of lib/store. */
#ifndef UNIT_STORE_RIG_H
#define UNIT_STORE_RIG_H

#include "folder.h"

#include "base/buffer.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct rig {
    char folder[FOLDER_PATH];
    char path[FOLDER_PATH + 16];
    struct store *store;
};

int rig_set_up(void **state);
int rig_tear_down(void **state);
void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* Runs TEXT, SQL, on the closed store's file, which is made if it is not there. */
void rig_execute(const struct rig *rig, const char *text);
/* A frame of COUNT messages. */
struct buffer rig_frame(uint64_t producer, unsigned count);

#endif
