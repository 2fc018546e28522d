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

/*
 * Puts into FAULT, which says MP_ERR_NOT_FOUND, that there is no TOPIC, or no GROUP (NULL: none was asked for) on it,
 * and what may have been meant.
 */
void core_admin_hint(struct core *core, const char *topic, const char *group, struct fault *fault);

#endif
