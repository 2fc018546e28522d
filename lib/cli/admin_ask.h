/*
 * admin_ask.h: what the files of mrelay's verbs share: a question to the relay and its answer, as JSON, and each other.
 */
#ifndef CLI_ADMIN_ASK_H
#define CLI_ADMIN_ASK_H

#include "cli/admin.h"

#include <jansson.h>
#include <stdio.h>

/*
 * Asks REQUEST, whose reference it takes, and waits PATIENCE for the answer; CONNECT is how long to wait for the relay
 * (-1: as all tools do); microseconds. Returns the exit code, and has told what failed; with 0 *ANSWER is the relay's,
 * to be given back with json_decref().
 */
int admin_ask(const struct admin_settings *settings, json_t *request, int64_t connect, int64_t patience,
              json_t **answer);

/* The same with the patience that --wait says, or ten seconds. */
int admin_ask_soon(const struct admin_settings *settings, json_t *request, json_t **answer);

/* Prints ANSWER on one line, as --json wants it. */
void admin_print_json(const json_t *answer);

/* The same, elsewhere. */
void admin_write_json(const json_t *answer, FILE *out);

/* Closes stdout; the exit code. */
int admin_finish(void);

/* A number that is there and is above zero, or 0; a text that is there, or "". */
uint64_t admin_number(const json_t *object, const char *name);
const char *admin_string(const json_t *object, const char *name);

/* Whether a topic or a group of the name WORD is in ARRAY under KEY. */
bool admin_has(const json_t *array, const char *key, const char *word);

/* The name under KEY in ARRAY that WORD was meant to be, or NULL. */
const char *admin_nearest(const json_t *array, const char *key, const char *word);

/* Says that TOPIC (or what a pattern matches) is not in ALL, with the name that may have been meant. The exit code. */
int admin_tell_no_topic(const char *topic, const json_t *all);

/* What the first operand of `topics` and `groups` leads to. The other operands are names. */
int admin_list_topics(const struct admin_settings *settings);
int admin_list_groups(const struct admin_settings *settings);
int admin_purge_topic(const struct admin_settings *settings);
int admin_repair_topic(const struct admin_settings *settings);
int admin_delete_topic(const struct admin_settings *settings);
int admin_seek_group(const struct admin_settings *settings);
int admin_delete_group(const struct admin_settings *settings);

/* ---- files (admin_store.c) */

enum { ADMIN_PATH = 4096 };

/* Whether the relay that -r means answers now. */
bool admin_is_running(const struct admin_settings *settings);
/* The path of the store: --store, or what the relay says that runs, or what follows from its name. The exit code. */
int admin_find_store(const struct admin_settings *settings, char path[ADMIN_PATH]);
/* The same of a store that no relay has, for VERB, which works on files. */
int admin_find_resting_store(const struct admin_settings *settings, const char *verb, char path[ADMIN_PATH]);
/* The first signal lets what is half done be tidied away, the second kills. */
void admin_catch_signals(void);
/* The number of the signal that came; 0: none. */
int admin_interrupted(void);

#endif
