/*
 * faulty: faults put into a relay on purpose, to show that the trials go red for them.
 *
 * Linked into mrelay-faulty and sim-faulty, which are mrelay and the simulation but for this file: the linker leads calls
 * of a few functions through it (ld's --wrap), so the tools themselves know nothing of it. MSGPIPE_PLANT says which one:
 *
 *     early-ack        a turn is answered before its commit: three of four wait for a later one
 *     no-sessions      what a session has done is forgotten: a repeat of its last request is applied again
 *     bit-flip         one bit of a body of every eighth frame is stored flipped, with checksums that fit
 *     lost-settlement  one of 64 settlements is answered and not done
 *     endless-leases   leases never end by themselves
 *     no-flush         SQLite's synchronous=OFF: a commit is not flushed (only a loss of power shows that)
 *
 * Without it, or with an empty one, all is as it should be.
 */
#include "queue/local.h"
#include "relay/private.h"
#include "store/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum plant { NONE, EARLY_ACK, NO_SESSIONS, BIT_FLIP, LOST_SETTLEMENT, ENDLESS_LEASES, NO_FLUSH, PLANTS };

/* What is planted. A name that is none ends the program: a trial must not be green because of it. */
static enum plant planted(void)
{
    static const char *const names[PLANTS] = {
        "", "early-ack", "no-sessions", "bit-flip", "lost-settlement", "endless-leases", "no-flush"};
    static enum plant found = PLANTS;
    const char *wanted = getenv("MSGPIPE_PLANT");
    if (found != PLANTS)
        return found;
    for (found = NONE; wanted && found < PLANTS && strcmp(wanted, names[found]) != 0; found++)
        ;
    if (found == PLANTS) {
        fprintf(stderr, "there is no fault \"%s\" to be planted\n", wanted);
        exit(64);
    }
    return found;
}

/* The functions themselves, and what is called in their place: names that ld gives. */
enum mp_error __real_store_commit(struct store *store, struct fault *fault);
enum mp_error __wrap_store_commit(struct store *store, struct fault *fault);
enum mp_error __real_store_add_frame(struct store *store, const struct store_frame *frame, struct fault *fault);
enum mp_error __wrap_store_add_frame(struct store *store, const struct store_frame *frame, struct fault *fault);
enum mp_error __real_store_prepare_schema(struct store *store, bool again, struct fault *fault);
enum mp_error __wrap_store_prepare_schema(struct store *store, bool again, struct fault *fault);
enum core_turn __real_core_number(struct core *core, const struct request *request);
enum core_turn __wrap_core_number(struct core *core, const struct request *request);
enum mp_error __real_local_settle(struct engine *engine, const struct engine_origin *origin,
                                  const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault);
enum mp_error __wrap_local_settle(struct engine *engine, const struct engine_origin *origin,
                                  const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault);
enum mp_error __real_local_tick(struct engine *engine, struct fault *fault);
enum mp_error __wrap_local_tick(struct engine *engine, struct fault *fault);

enum mp_error __wrap_store_commit(struct store *store, struct fault *fault)
{
    static unsigned commits;
    if (planted() == EARLY_ACK && ++commits % 4 != 0)
        return MP_OK; /* the transaction stays open, and the next turn's changes go into it, too */
    return __real_store_commit(store, fault);
}

/* Flips a bit of the last body of the frame at DATA that has one, and makes its checksum anew (message/frame.c). */
static void flip(uint8_t *data, size_t size)
{
    enum { CHECKSUM = FRAME_HEADER - 8 };
    struct frame frame;
    struct record record;
    const uint8_t *body = NULL;
    frame_trust(&frame, data, size);
    for (struct frame_cursor cursor = frame_cursor(&frame); frame_next(&cursor, &record);)
        if (record.size > 0)
            body = record.body;
    if (body)
        data[body - data] ^= 1;
    store_u64(data + CHECKSUM,
              XXH3_64bits_withSeed(data + FRAME_HEADER, size - FRAME_HEADER, XXH3_64bits(data, CHECKSUM)));
}

enum mp_error __wrap_store_add_frame(struct store *store, const struct store_frame *frame, struct fault *fault)
{
    static unsigned frames;
    struct store_frame other = *frame;
    uint8_t *data = planted() == BIT_FLIP && ++frames % 8 == 0 ? malloc(frame->size) : NULL;
    if (!data)
        return __real_store_add_frame(store, frame, fault);
    memcpy(data, frame->data, frame->size);
    flip(data, frame->size);
    other.data = data;
    enum mp_error error = __real_store_add_frame(store, &other, fault);
    free(data);
    return error;
}

enum mp_error __wrap_store_prepare_schema(struct store *store, bool again, struct fault *fault)
{
    enum mp_error error = __real_store_prepare_schema(store, again, fault);
    if (!error && planted() == NO_FLUSH &&
        sqlite3_exec(store->database, "PRAGMA synchronous=OFF", NULL, NULL, NULL) != SQLITE_OK)
        error = fault_set(fault, MP_ERR_INTERNAL, "the fault could not be planted");
    return error;
}

enum core_turn __wrap_core_number(struct core *core, const struct request *request)
{
    enum core_turn turn = __real_core_number(core, request);
    return planted() == NO_SESSIONS && turn == TURN_REPEAT ? TURN_NOW : turn;
}

enum mp_error __wrap_local_settle(struct engine *engine, const struct engine_origin *origin,
                                  const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault)
{
    static unsigned settlements;
    static bool gathered; /* the one before takes effect with this one */
    bool whole = !gathered && !settlement->more;
    gathered = settlement->more;
    if (planted() != LOST_SETTLEMENT || !whole || ++settlements % 64 != 0)
        return __real_local_settle(engine, origin, settlement, applied, fault);
    *applied = settlement->count;
    return MP_OK;
}

enum mp_error __wrap_local_tick(struct engine *engine, struct fault *fault)
{
    if (planted() == ENDLESS_LEASES)
        ((struct local *)engine)->lease_due = CLOCK_NEVER;
    return __real_local_tick(engine, fault);
}
