#include "kills.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* The number before WORD in the checker's last line. */
static uint64_t number_before(const char *line, const char *word)
{
    const char *at = strstr(line, word);
    while (at && at > line && at[-1] >= '0' && at[-1] <= '9')
        at--;
    return at ? strtoull(at, NULL, 10) : 0;
}

static void add_verdict(struct sums *sums, const char *line)
{
    static const char *const others[] = {" revived", " premature", " untimely", " charged", " overfull", " miscounted"};
    sums->acknowledged += number_before(line, " acknowledged,");
    sums->deliveries += number_before(line, " deliveries");
    sums->lost += number_before(line, " lost");
    sums->phantom += number_before(line, " phantom");
    sums->altered += number_before(line, " altered");
    sums->duplicated += number_before(line, " duplicated");
    sums->reordered += number_before(line, " reordered");
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sums->others += number_before(line, others[i]);
}

bool tell_verdict(struct torture *torture)
{
    char command[4 * PATH_BYTES], line[2000] = "";
    snprintf(command, sizeof command, "'%s/checker' '%s'/*", torture->here, torture->histories);
    fflush(stdout);
    FILE *checker = popen(command, "r");
    if (!checker)
        torture_give_up(torture, "the checker could not be started");
    while (fgets(line, sizeof line, checker))
        fputs(line, stdout);
    int status = pclose(checker);
    add_verdict(&torture->sums, line);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* NUMBER with a comma between thousands, in one of a few texts that are used in turn. */
static const char *number(uint64_t value)
{
    static char texts[32][32];
    static unsigned next;
    char digits[24], *text = texts[next++ % 32];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, value);
    unsigned out = 0;
    for (int i = 0; i < size; i++) {
        text[out++] = digits[i];
        if (i + 1 < size && (size - i - 1) % 3 == 0)
            text[out++] = ',';
    }
    text[out] = '\0';
    return text;
}

void tell_all(const struct torture *torture, double seconds, int64_t waiting)
{
    const struct sums *sums = &torture->sums;
    const unsigned *killed = sums->killed;
    unsigned all = 0;
    for (enum role role = 0; role < ROLES; role++)
        all += killed[role];
    printf("kills: %.1f s, %.1f kills a second, %u of them several at once; %u consumers died of a message\n", seconds,
           all / seconds, sums->together, sums->died);
    printf("row\tkills\t%s kills (%s relays, %s runners, %s commands, %s producers, %s consumers, %s of the tools), %s "
           "messages acknowledged, %s deliveries\t%s lost, %s phantom, %s altered, %s out of order, %s duplicated "
           "without a reason, %s other findings; serving again within %s ms",
           number(all), number(killed[RELAY]), number(killed[RUNNER]), number(killed[COMMAND]),
           number(killed[PRODUCER]), number(killed[CONSUMER]),
           number(killed[SENDER] + killed[SPOOLER] + killed[MRECV] + killed[MRETRY] + killed[REPLAY]),
           number(sums->acknowledged), number(sums->deliveries), number(sums->lost), number(sums->phantom),
           number(sums->altered), number(sums->reordered), number(sums->duplicated), number(sums->others + sums->found),
           number((uint64_t)sums->longest_start / 1000));
    if (waiting >= 0)
        printf(", with %s waiting %s ms", number(torture->waiting), number((uint64_t)waiting / 1000));
    printf("\n");
}
