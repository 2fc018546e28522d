/*
 * taker: the command that mrecv or mretry runs for a message: writes down that it came, and does what its fate says.
 *
 *     mrecv -t TOPIC -g GROUP -- taker GROUP HISTORY TOOL [calm]
 *
 * Some others it wants again: exit code 75. Its name is "take.TOOL." and its process.
 */
#include "fate.h"
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char body[65536];
    char name[HISTORY_NAME], place[400], fate;
    uint64_t sequence;
    size_t size = 0;
    ssize_t some;
    const char *topic = getenv("MSG_TOPIC"), *offset = getenv("MSG_OFFSET"), *number = getenv("MSG_ATTEMPT");
    const char *id = getenv("MSG_ID");
    if (argc < 4 || !topic || !offset || !number || !id)
        return 64;
    while (size < sizeof body - 1 && (some = read(0, body + size, sizeof body - 1 - size)) > 0)
        size += (size_t)some;
    if (size > 0 && body[size - 1] == '\n')
        size--;
    history_identify(body, size, name, &sequence, &fate);
    int history = history_open(argv[2]);
    unsigned attempt = (unsigned)strtoul(number, NULL, 10);
    snprintf(place, sizeof place, "take.%s.%ld %s %s %s", argv[3], (long)getpid(), argv[1], topic, offset);
    history_write(history, "got", "%s %u %s %" PRIu64 " %016" PRIx64 " %s", place, attempt, name, sequence,
                  history_hash(body, size), id);
    enum fate_act act = argc > 4 ? ACT_ACK : fate_act(fate, attempt, argv[1]);
    if (fate == FATE_GOOD && argc <= 4 && history_now() % 37 == 0 && attempt == 1)
        act = ACT_RETRY;
    if (act == ACT_RETRY)
        history_write(history, "retried", "%s", place);
    else
        history_write(history, "doing", "%s %s", place, act == ACT_REJECT ? "reject" : "ack");
    return act == ACT_ACK ? 0 : act == ACT_REJECT ? 65 : 75;
}
