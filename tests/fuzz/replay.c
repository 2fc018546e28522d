/*
 * replay.c: runs a fuzzer on its seeds and on mutations of them, as a test (TAP).
 *
 *     fuzz_frame               kept inputs, seeds and mutations; MSGPIPE_FUZZ_ROUNDS of each seed (default 10000)
 *     fuzz_frame SEED ROUND    one of them again: a test that aborts prints these numbers
 *     fuzz_frame FILE          the bytes of a file, such as one that libFuzzer kept
 *     fuzz_frame --seeds DIR   writes the seeds into DIR, as files for libFuzzer and AFL++ to begin with
 *
 * Kept inputs are the files of tests/fuzz/corpus/frame/ (in $MSGPIPE_SOURCE): what once was wrong stays there.
 */
#include "fuzz.h"

#include "base/random.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t current_seed;
static volatile sig_atomic_t current_round;

static void say_where(int number)
{
    char text[96];
    int size =
        snprintf(text, sizeof text, "\n# to see it again: SEED %d ROUND %d\n", (int)current_seed, (int)current_round);
    if (size > 0)
        (void)!write(STDERR_FILENO, text, (size_t)size);
    signal(number, SIG_DFL);
    raise(number);
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(random_next(state) % limit);
}

/* One small damage; numbers at the edges of their ranges are the ones that parsers get wrong. */
static void mutate_once(struct buffer *input, uint64_t *state)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '\\', '\n', '{', '.'};
    size_t at = below(state, input->size);
    size_t length = 1 + below(state, 8);
    uint8_t byte = edges[below(state, sizeof edges)];
    uint8_t run[8];

    if (length > input->size - at)
        length = input->size - at;
    memset(run, byte, sizeof run);
    switch (below(state, 6)) {
    case 0: /* flip a bit */
        if (input->size > 0)
            input->data[at] ^= (uint8_t)(1u << below(state, 8));
        break;
    case 1: /* an edge value, or a run of them */
        if (length > 0)
            memset(input->data + at, byte, length);
        break;
    case 2: /* bytes more */
        MUST(buffer_replace(input, at, 0, run, 1 + below(state, sizeof run)) == MP_OK);
        break;
    case 3: /* bytes less */
        MUST(buffer_replace(input, at, length, NULL, 0) == MP_OK);
        break;
    case 4: /* cut off */
        if (below(state, 4) == 0)
            input->size = at;
        break;
    default: /* a piece from elsewhere */
        if (input->size > 0)
            memmove(input->data + at, input->data + below(state, input->size - length + 1), length);
        break;
    }
}

/* Round 0 is the seed itself. */
static void run(unsigned seed, unsigned round, const struct buffer *valid)
{
    struct buffer input = {0};
    uint64_t state = (uint64_t)seed << 32 | round;

    current_seed = (sig_atomic_t)seed;
    current_round = (sig_atomic_t)round;
    MUST(buffer_append(&input, valid->data, valid->size) == MP_OK);
    for (size_t i = round == 0 ? 0 : 1 + below(&state, 4); i > 0; i--)
        mutate_once(&input, &state);
    uint8_t *exact = fuzz_copy(input.data, input.size);
    LLVMFuzzerTestOneInput(exact, input.size);
    free(exact);
    buffer_free(&input);
}

static int run_file(const char *name)
{
    struct buffer input = {0};
    uint8_t block[4096];
    size_t got;
    FILE *file = fopen(name, "rb");

    if (file == NULL) {
        perror(name);
        return 1;
    }
    while ((got = fread(block, 1, sizeof block, file)) > 0)
        MUST(buffer_append(&input, block, got) == MP_OK);
    fclose(file);
    uint8_t *exact = fuzz_copy(input.data, input.size);
    LLVMFuzzerTestOneInput(exact, input.size);
    free(exact);
    buffer_free(&input);
    return 0;
}

/* Runs the kept inputs of the fuzzer that is named PROGRAM; returns how many there are, or -1. */
static int run_kept(const char *program)
{
    const char *source = getenv("MSGPIPE_SOURCE");
    const char *name = strrchr(program, '/');
    char folder[2048], path[4096];
    int count = 0;

    name = name != NULL ? name + 1 : program;
    if (strncmp(name, "lt-", 3) == 0) /* libtool's name of a program that was not installed */
        name += 3;
    if (source == NULL || strncmp(name, "fuzz_", 5) != 0)
        return 0;
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", source, name + 5);
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return 0;
    for (struct dirent *entry = readdir(directory); entry != NULL && count >= 0; entry = readdir(directory)) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        printf("# %s\n", entry->d_name);
        fflush(stdout);
        count = run_file(path) == 0 ? count + 1 : -1;
    }
    closedir(directory);
    return count;
}

static int write_seeds(const char *folder)
{
    struct buffer seed = {0};
    for (unsigned index = 0; fuzz_seed(index, &seed); index++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%u", folder, index);
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(seed.data, 1, seed.size, file) != seed.size || fclose(file) != 0) {
            perror(path);
            return 1;
        }
        seed.size = 0;
    }
    buffer_free(&seed);
    return 0;
}

__attribute__((weak)) unsigned fuzz_slowness(void)
{
    return 1;
}

int main(int argc, char **argv)
{
    const char *wanted = getenv("MSGPIPE_FUZZ_ROUNDS");
    unsigned rounds = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : 10000;
    rounds /= fuzz_slowness();
    struct buffer valid = {0};
    unsigned seed = 0;

    signal(SIGABRT, say_where);
    if (argc == 2)
        return run_file(argv[1]);
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    if (argc == 3) {
        seed = (unsigned)strtoul(argv[1], NULL, 10);
        MUST(fuzz_seed(seed, &valid));
        run(seed, (unsigned)strtoul(argv[2], NULL, 10), &valid);
        buffer_free(&valid);
        return 0;
    }
    int kept = run_kept(argv[0]);
    printf("%sok 1 - %d kept inputs\n", kept < 0 ? "not " : "", kept);
    for (; fuzz_seed(seed, &valid); seed++) {
        for (unsigned round = 0; round <= rounds; round++)
            run(seed, round, &valid);
        printf("ok %u - seed %u and %u mutations of it\n", seed + 2, seed, rounds);
        valid.size = 0;
    }
    printf("1..%u\n", seed + 1);
    buffer_free(&valid);
    return kept < 0;
}
