/*
 * load.h: what the files of the trial `load` share: a crowd of consumers that wait for messages which do not come, with
 * nothing of their own but a connection each.
 */
#ifndef LOAD_H
#define LOAD_H

#include "stand.h"

#include "msgpipe.h"

struct crowd;

/* COUNT connections to URL, a Unix socket's, each of which greets and asks for a session. Ends the trial if it cannot. */
struct crowd *crowd_open(struct stand *stand, const char *url, unsigned count);
/*
 * How many of them have a session, and wait for messages. Goes on with all of them before: until all have one, with
 * PATIENT, or until none has come to be served for a third of a second.
 */
unsigned crowd_served(struct crowd *crowd, bool patient);
/* For SPAN microseconds who is closed asks again at once. */
void crowd_press(struct crowd *crowd, int64_t span);
/* STAYING of those that are served stay, all others go away. */
void crowd_leave(struct crowd *crowd, unsigned staying);
void crowd_close(struct crowd *crowd);

#endif
