/*
 * letters.h: mretry's verbs for dead letters: list, show, replay, discard; on a dead-letter topic or in a file.
 *
 * A letter is looked at as a struct letter_entry, wherever it lies; a struct letter_filter says which are meant.
 */
#ifndef CLI_LETTERS_H
#define CLI_LETTERS_H

#include "cli/options.h"
#include "message/formats.h"
#include "message/letter.h"

enum letters_verb { LETTERS_LIST, LETTERS_SHOW, LETTERS_REPLAY, LETTERS_DISCARD };

struct letters_settings {
    const char *came_from;    /* a topic or pattern; NULL: any */
    int reason;               /* an index into letter_reasons; LETTERS_ANY_REASON */
    int64_t older;            /* microseconds since it died, at least; 0: any */
    int64_t newer;            /* and less than; 0: any */
    uint64_t attempts;        /* at least; 0: any */
    struct option_list where; /* "NAME=VALUE" */
    uint64_t count;           /* only the first so many; 0: no limit */
    bool all;

    bool json;
    bool canary;
    bool edit;
    bool dry_run;
    bool yes;
    const char *to; /* a topic, in place of where they came from */
    double rate;    /* letters a second; 0: no limit */
};

enum { LETTERS_ANY_REASON = 5 };

/* A dead letter. Everything belongs to who gives it, and is good until he gives the next. */
struct letter_entry {
    struct format_item item;
    struct letter letter; /* without a reason: a message that is no letter, but lies among them */
    const char *id;       /* not terminated */
    size_t id_size;
    char id_text[FRAME_ID_TEXT];
    uint64_t place; /* in a file: of its line, in bytes; on a topic: its offset there */
    uint64_t size;  /* in a file: of its line, without the newline */
};

/* Fills ENTRY, which must stay where it is, with ITEM. */
void letter_entry_set(struct letter_entry *entry, const struct format_item *item);

/* ---- letter_filter.c: which ones -------------------------------------------------------------------------------- */

/* One of the ids that were asked for, or the beginning of one. */
struct letter_wanted {
    const char *text;
    size_t size;
    char *id; /* the whole id that it is the beginning of; NULL: not yet seen */
    size_t id_size;
    char *other; /* another one that it could be */
    size_t other_size;
};

struct letter_filter {
    const struct letters_settings *settings;
    struct letter_wanted *wanted;
    size_t wanted_count;
    bool resolved;  /* by letter_filter_resolve() */
    uint64_t taken; /* for `count` */
    int64_t now;    /* wall clock */
};

/* Checks what was asked for. MP_ERR_INVALID, MP_ERR_MEMORY. Free it with letter_filter_free(). */
enum mp_error letter_filter_open(struct letter_filter *filter, const struct letters_settings *settings,
                                 char *const *ids, size_t count, struct fault *fault);
void letter_filter_free(struct letter_filter *filter);

/* Whether anything but --all was asked for. */
bool letter_filter_is_narrow(const struct letter_filter *filter);

/* Whether ENTRY is meant. With a count it is true for that many. */
bool letter_filter_takes(struct letter_filter *filter, const struct letter_entry *entry);

/*
 * Ids can be cut short as long as it is clear which are meant: shows the filter each letter that there is, then looks
 * whether it is. MP_ERR_NOT_FOUND, MP_ERR_INVALID: it is not, in words. Without ids there is nothing to be looked at.
 */
enum mp_error letter_filter_see(struct letter_filter *filter, const struct letter_entry *entry);
enum mp_error letter_filter_resolve(struct letter_filter *filter, struct fault *fault);

/* ---- letter_print.c: what is printed ---------------------------------------------------------------------------- */

struct letter_printer {
    bool json;
    bool details; /* all that is known of each, not a line */
    bool terminal;
    uint64_t printed;
    int64_t now; /* wall clock */
    struct buffer text;
};

/* Writes ENTRY to stdout. MP_ERR_CLOSED, MP_ERR_IO, MP_ERR_MEMORY. */
enum mp_error letter_print(struct letter_printer *printer, const struct letter_entry *entry, struct fault *fault);

/* ---- letters.c --------------------------------------------------------------------------------------------------- */

struct retry_settings;
struct retry_policy;

/* Does what VERB says with the letters of the dead file or the topic in SETTINGS. Returns the exit code. May die by a
 * signal. */
int letters_run(enum letters_verb verb, const struct retry_settings *settings, const struct options *options);

/* What all verbs share while they work. */
struct letters {
    enum letters_verb verb;
    const struct retry_settings *settings;
    const struct options *options;
    struct letter_filter filter;
    struct letter_printer printer;
    uint64_t done;        /* replayed or discarded */
    uint64_t left;        /* that were meant, and stay where they are */
    int signal;           /* that the tool is to die by; 0: none */
    uint64_t most;        /* no more are taken; 0: no limit */
    struct buffer *meant; /* of a topic: offsets of letters that are meant */
};

/* letters_in_file.c, letters_by_command.c, letters_publish.c, letters_topic.c: parts of it. Each returns the exit code. */
struct letters_file;
int letters_in_file(struct letters *letters);
int letters_replay_by_command(struct letters *letters, struct letters_file *file);
int letters_publish_file(struct letters *letters, struct letters_file *file);
int letters_on_topic(struct letters *letters);

#endif
