/*
 * checker.h: what the checker's files share: what it knows of topics, groups, messages and deliveries, and what it found.
 *
 * Everything is allocated once, kept in maps, and freed with the checker.
 */
#ifndef CHECKER_H
#define CHECKER_H

#include "history.h"

#include "base/map.h"

enum { WORD = 80, KEY = 3 * WORD + 24, ID = 48 };

enum fault_class {
    LOST,
    PHANTOM,
    ALTERED,
    DUPLICATED,
    REVIVED,
    REORDERED,
    PREMATURE,
    UNTIMELY,
    CHARGED,
    OVERFULL,
    MISCOUNTED,
    CLASSES
};

struct topic {
    char name[WORD];
    uint64_t max;        /* 0: no limit */
    int64_t ttl, window; /* µs; 0: none */
    struct topic *pipe;  /* what stands in this one comes to that one, once; NULL: none */
    bool ordered;        /* it came through such pipes, which kept the order of each key */
};

#define RETRIES_UNKNOWN UINT64_MAX

struct group {
    char name[WORD], pattern[WORD];
    bool order, hold;
    bool stage; /* takes messages from one topic to another: it has no history of its own */
    uint64_t retries;
    int64_t late, drained; /* 0: never */
    uint64_t excuses;      /* kills, cuts, pauses and lapses, each of which may have charged one message */
    struct delivery *came; /* to a late group, the last one first */
    uint64_t charges;      /* attempts that were counted, and nobody's wish or death explains them */
};

struct message {
    struct message *next;   /* of its producer, newest first; one that a pipe has made is in no producer's list */
    struct message *twin;   /* of the same id in the same topic, newest first */
    struct message *onward; /* what its topic's pipe is to make of it; NULL: nothing */
    char key[KEY];          /* producer and sequence; topic of what a pipe has made */
    char topic[WORD];
    char partition[24], id[ID]; /* "": none */
    uint64_t sequence, hash;
    int64_t sent, acknowledged, delay, ttl, first_got; /* µs; 0: none */
    bool ok, failed;
    bool stored; /* somebody got it: OFFSET is known */
    uint64_t offset;
};

struct producer {
    char name[WORD];
    struct message *messages;
};

struct letter {
    struct letter *next; /* all of them */
    struct delivery *delivery;
    char reason[16], id[ID];
    uint64_t attempts, hash;
    bool replayed;
};

/* What a group knows of an offset. */
struct delivery {
    char key[KEY]; /* group, topic, offset */
    struct group *group;
    struct message *message;
    struct letter *letter;
    struct delivery *before; /* the one that came to its late group before it */
    struct delivery *open;   /* the next of its chain that may be with a consumer */
    char topic[WORD], id[ID];
    uint64_t offset;
    char holder[WORD]; /* who got it last */
    unsigned times;
    uint64_t attempt;
    uint64_t wishes, deaths, charges;
    int64_t first, last;
    bool acked;    /* the relay has recorded that it is done */
    bool done;     /* its consumer is through with it, and perhaps the relay knows */
    bool rejected; /* that was how */
    bool again;    /* it was given back */
    bool lapsed;   /* a lease of it had ended: its holder hears that later than the next one gets it */
    bool by_command;
    bool replay;
};

/* The messages of one key in a group that orders by it. */
struct chain {
    char key[3 * WORD];
    bool any;
    uint64_t highest;
    struct delivery *open;
    uint64_t held; /* the lowest offset that holds the key; UINT64_MAX: none */
};

/* A consumer was told that it had lost an offset. */
struct lapse {
    char key[KEY + WORD]; /* consumer, group, topic, offset */
};

struct place {
    char key[2 * WORD]; /* topic, offset */
    const struct message *message;
    const struct group *target; /* a replay: who alone is to see it */
};

/* What became of a topic's messages in a group, counted from the histories. */
struct tally {
    char key[2 * WORD]; /* group, topic */
    uint64_t confirmed, done, letters;
};

/* Why a message may come again: a process was killed or stopped, a connection cut. */
struct excuse {
    int64_t time;
    char who[WORD]; /* "": whoever had messages then */
};

struct checker {
    struct map topics, groups, messages, producers, deliveries, places, chains, twins, tallies, lapses;
    struct letter *letters;
    struct excuse *excuses;
    size_t excuses_count, excuses_capacity;
    uint64_t anybodys; /* of them */
    uint64_t kills, cuts, pauses;
    unsigned wanted_groups;
    int64_t calm, replayed; /* 0: never */
    uint64_t sent, ok, failed, got, explained, wished, dead, expired, repeated;
    uint64_t found[CLASSES];
};

/* One finding; the first ones of each class are printed. */
void checker_find(struct checker *checker, enum fault_class class, const char *text, const char *key);

void *checker_allocate(size_t size);
void checker_put(struct map *map, const char *key, void *value);

/* The group of this name; made when it is not there: then it is to have all messages. */
struct group *checker_group(struct checker *checker, const char *name);
struct topic *checker_topic(struct checker *checker, const char *name);
struct delivery *checker_delivery(struct checker *checker, const char *group, const char *topic, uint64_t offset,
                                  bool make);
/* What PRODUCER sent as SEQUENCE; or what pipes are to have made of it in TOPIC, if they are. */
struct message *checker_message(const struct checker *checker, const char *producer, uint64_t sequence,
                                const char *topic);

/* How long MESSAGE has to live, by itself or its topic; 0: for ever. */
int64_t checker_ttl(const struct checker *checker, const struct message *message);

/* checker_read.c */
struct event_line {
    int64_t time;
    size_t order;
    char *text; /* without the line's end */
    unsigned kind;
};

struct event_list {
    struct event_line *items;
    size_t count, capacity;
};

/* Appends FILE's lines: 0, or 66 when it cannot be read or a line makes no sense. */
int checker_read(const char *file, struct event_list *list);
/* Goes through them, all files' together in the order of time: 0, or 66. */
int checker_run(struct checker *checker, struct event_list *list);
void checker_list_free(struct event_list *list);

/* checker_sent.c: events of what was sent, and of what is to hold. REST: the words behind those named. */
void checker_see_send(struct checker *checker, int64_t time, const char *producer, const char *topic, uint64_t sequence,
                      uint64_t hash, char *rest);
bool checker_see_outcome(struct checker *checker, int64_t time, const char *producer, uint64_t first, uint64_t last,
                         bool ok);
/* Sequences of whose fate nothing is known. */
bool checker_see_unknown(const struct checker *checker, const char *producer, uint64_t first, uint64_t last);
void checker_see_pipe(struct checker *checker, const char *from, const char *to, const char *group, bool ordered);
void checker_see_topic(struct checker *checker, const char *name, char *rest);
void checker_see_group(struct checker *checker, const char *name, const char *pattern, char *rest);
void checker_see_letter(struct checker *checker, const char *group, const char *topic, uint64_t offset,
                        const char *reason, uint64_t attempts, const char *id, const char *body);

/* checker_got.c: events of what came; they are seen in the order of time. */
struct checker_got {
    const char *consumer, *group, *topic, *producer, *id;
    uint64_t offset, attempt, sequence, hash;
};
void checker_see_got(struct checker *checker, int64_t time, const struct checker_got *got);
struct checker_end {
    const char *event, *what, *consumer, *group, *topic;
    uint64_t offset;
};
bool checker_see_end(struct checker *checker, const struct checker_end *end);
/* Before all of these: a lease had ended when its holder settled. */
void checker_see_stale(struct checker *checker, const struct checker_end *end);

/* checker_end.c: when all was seen. */
void checker_tally(struct checker *checker);
void checker_see_state(struct checker *checker, const char *topic, const char *group, const uint64_t numbers[8]);
void checker_verdict(struct checker *checker);

#endif
