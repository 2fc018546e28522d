/*
 * admin.h: what the files of administrative requests share.
 */
#ifndef RELAY_ADMIN_H
#define RELAY_ADMIN_H

#include "relay/private.h"

#include <jansson.h>

/*
 * Answers REQUEST when VERB is one of those that show or change what is kept; false: it is none of them. FAULT is set
 * when the turn has to be undone.
 */
bool core_admin_change(struct core *core, const struct request *request, json_t *asked, const char *verb,
                       struct fault *fault);

/* The same for what belongs to pipelines: admin_pipeline.c. */
bool core_admin_pipeline(struct core *core, const struct request *request, json_t *asked, const char *verb,
                         struct fault *fault);

/* The same for what is read from traces: admin_trace.c. *ANSWERED: false, when REQUEST waits. */
bool core_admin_trace(struct core *core, struct request *request, json_t *asked, const char *verb, bool *answered);

/* Appends what there is to say of pipelines as members of an object: "pipeline", "runners". MP_ERR_MEMORY. */
enum mp_error core_put_pipeline(struct core *core, struct buffer *out);

/*
 * figures.c: a runner's report NOW came, BEFORE is the one before it (NULL: none is known): counts what it has done since.
 */
void core_measure_report(struct core *core, const json_t *now, const json_t *before);
/* What a report says of the present holds from now on (SIGN 1), or no longer (-1). */
void core_measure_present(struct core *core, const json_t *report, int sign);

/*
 * Answers REQUEST: with ANSWER when ERROR is MP_OK, else with the words of DETAIL; an error that leaves a change half
 * done goes into FAULT.
 */
void core_admin_answer(struct core *core, const struct request *request, enum mp_error error, const json_t *answer,
                       struct fault *detail, struct fault *fault);

/* Answers REQUEST with the bytes of JSON, which it frees; an ERROR by its own words. */
void core_admin_reply(struct core *core, const struct request *request, struct buffer *json, enum mp_error error);

/*
 * Gives what NAMED names, {"topic":T,"group":G,"settings":{KEY:VALUE}} (a group or none), exactly these settings, and
 * defaults beside them; *CHANGED: it had others. CHECK: only looks whether they make sense. DETAIL names it.
 */
enum mp_error core_admin_settle_on(struct core *core, json_t *named, bool check, bool *changed, struct fault *detail);

/*
 * Puts into FAULT, which says MP_ERR_NOT_FOUND, that there is no TOPIC, or no GROUP (NULL: none was asked for) on it,
 * and what may have been meant.
 */
void core_admin_hint(struct core *core, const char *topic, const char *group, struct fault *fault);

#endif
