/*
 * letters_topic.h: the dead letters of a relay's topic: looking at them, leasing those that are meant, and what becomes of
 * them then. Looking leases nothing, so that others can work meanwhile; a letter leaves its topic only in the step in
 * which its message goes to where it came from, so that no interruption doubles or loses one.
 */
#ifndef CLI_LETTERS_TOPIC_H
#define CLI_LETTERS_TOPIC_H

#include "base/map.h"
#include "cli/letters.h"
#include "cli/letters_link.h"
#include "cli/output.h"

#define LETTERS_GROUP "mretry" /* the group of a dead-letter topic that the relay makes with it */

enum { LETTERS_PLACES = 16 }; /* topics and groups that one step sends to */

/* Where messages go back to. */
struct letters_place {
    char topic[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1]; /* "": all groups */
    struct frame_builder frame;
};

/* A message that went ahead, by which it is found again. */
struct letters_canary {
    uint64_t producer; /* its origin */
    uint64_t sequence;
    char id[FRAME_ID_TEXT + 64]; /* for words: cut if it is longer */
    int64_t sent;                /* monotonic microseconds */
    int64_t life;                /* microseconds from then on, by its own expirytime; CLOCK_NEVER */
};

struct letters_topic {
    struct letters *letters;
    const char *topic;
    const char *group;
    struct letters_link link;
    struct buffer meant; /* offsets, 64 bits each, ascending: of those that were looked at and are meant */
    uint64_t next;       /* to look at next */
    bool ended;          /* there is nothing more */

    struct letters_place places[LETTERS_PLACES];
    size_t places_count;
    struct buffer settlements; /* struct protocol_settlement */
    uint32_t gathered;         /* letters in them */
    struct buffer block;       /* attributes of one message */
    struct buffer body;        /* an edited one */
    bool edited;
    struct letters_canary canary;

    struct map known; /* "TOPIC GROUP" and "TOPIC" that are there */
    struct buffer known_text;
    struct map told; /* of these, that are not there: told once each */

    struct progress progress;
    uint64_t scanned_from; /* offsets that are looked through, for the progress line */
    uint64_t scanned_to;
    uint64_t bytes;
    uint64_t expired; /* messages whose expirytime was past, and was taken off */
    int64_t paced;    /* --rate: when the next may go; monotonic microseconds */
};

/* Shows LETTERS what lies in the topic: VISIT is called for each. False: the link has ended. */
typedef enum mp_error (*letters_visit)(struct letters *letters, const struct letter_entry *entry, struct fault *fault);
bool letters_topic_walk(struct letters_topic *topic, letters_visit visit);

/* Looks at some more: `meant` is filled, maybe with none. False: the link has ended. */
bool letters_topic_look(struct letters_topic *topic);

/* ---- letters_return.c ------------------------------------------------------------------------------------------- */

/* Discards or replays the letters in `meant`, from index FIRST on, COUNT of them. False: it is over. */
bool letters_topic_take(struct letters_topic *topic, size_t first, size_t count);

/*
 * The same for all that are free among the MOST offsets from `next` on, without a look at them first; `next` moves behind
 * what there was. *ANY: there was some.
 */
bool letters_topic_take_any(struct letters_topic *topic, uint32_t most, bool *any);

/* Finds out which topics and groups there are. False: it is over. */
bool letters_topic_learn(struct letters_topic *topic);

/* ---- letters_account.c ------------------------------------------------------------------------------------------ */

/* What all topics and groups of the relay were like when it was asked. */
struct letters_accounts {
    json_t *topics;
    json_t *groups;
};

/* What a group has done and has to do. */
struct letters_account {
    uint64_t open;    /* messages that it has not settled */
    uint64_t settled; /* everything below this offset is */
    uint64_t acked;
    uint64_t dropped;
    bool in_use;                                   /* somebody waits for its messages, or has some */
    char letters[NAME_MAX_BYTES + sizeof ".dead"]; /* where its dead letters go */
};

/* Asks the relay. False: it is over. To be freed in any case. */
bool letters_accounts_ask(struct letters_topic *topic, struct letters_accounts *accounts);
void letters_accounts_free(struct letters_accounts *accounts);

/* Where TOPIC ends; 0: it is not there. */
uint64_t letters_accounts_end(const struct letters_accounts *accounts, const char *topic);

/* How long messages of TOPIC live; CLOCK_NEVER: for ever. */
int64_t letters_accounts_life(const struct letters_accounts *accounts, const char *topic);

/* The account of GROUP of TOPIC; false: there is none. */
bool letters_accounts_of(const struct letters_accounts *accounts, const char *topic, const char *group,
                         struct letters_account *account);

/* ---- letters_canary.c ------------------------------------------------------------------------------------------- */

/* Replays the first letter of `meant`, and waits for what becomes of it. 0: it was acknowledged; else the exit code. */
int letters_topic_canary(struct letters_topic *topic);

/* ---- letters_edit.c --------------------------------------------------------------------------------------------- */

/* Lets the user change BODY in $VISUAL or $EDITOR. False: it is over, and has been told why. */
bool letters_edit(struct letters_link *link, struct buffer *body);

#endif
