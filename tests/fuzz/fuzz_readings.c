/*
 * What a client asks a relay to read for it: whatever that is, the command line that is made of it has the relay's store
 * and nothing else that is a file's or another relay's, in places where the program takes it for that.
 */
#include "fuzz.h"

#include "relay/readers_arguments.h"

enum { FIRST = 3 }; /* behind the program, the verb and the store */

static bool is_one_of(const char *text, size_t size, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == size && memcmp(*names, text, size) == 0)
            return true;
    return false;
}

static void check(char *const *argv)
{
    static const char *const verbs[] = {"show", "list", "tail", "stats", "graph", "audit", "export", NULL};
    /* What mtrace takes for a file, an address, or no reading at all; and all that could be cut to one of them. */
    static const char *const never[] = {"store",   "relay",   "to",         "position",     "from-event", "svg", "wait",
                                        "timeout", "version", "completion", "mdoc-options", "help",       NULL};
    size_t bytes = 0, values = 0, at = FIRST;
    MUST(strcmp(argv[0], "mtrace") == 0 && strcmp(argv[2], "--store=/the/store.db") == 0);
    MUST(is_one_of(argv[1], strlen(argv[1]), verbs));
    for (; argv[at] && strcmp(argv[at], "--") != 0; at++) {
        const char *name = argv[at] + 2;
        size_t size = strcspn(name, "=");
        MUST(strncmp(argv[at], "--", 2) == 0 && size > 1);
        MUST(!is_one_of(name, size, never));
        for (const char *const *other = never; *other; other++)
            MUST(strncmp(*other, name, size) != 0);
        values += name[size] == '=';
        bytes += strlen(name + size);
    }
    if (argv[at])
        MUST(strcmp(argv[1], "show") == 0 && argv[at + 1]);
    for (; argv[at]; at++)
        bytes += strlen(argv[at]);
    MUST(values <= READERS_VALUES && bytes <= READERS_BYTES + READERS_VALUES + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct readers_arguments arguments;
    struct fault fault = {0};
    json_t *asked = json_loadb((const char *)data, size, 0, NULL);
    if (!asked)
        return 0;
    enum mp_error error = readers_arguments_make(asked, "/the/store.db", &arguments, &fault);
    if (error == MP_OK)
        check(arguments.argv);
    else
        MUST((error == MP_ERR_INVALID || error == MP_ERR_TOO_LARGE) && fault.text[0] != '\0');
    readers_arguments_free(&arguments);
    json_decref(asked);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const seeds[] = {
        "{\"command\":\"show\",\"options\":{\"key\":\"k\",\"json\":true},\"operands\":[\"3f2a\",\"x@1\"]}",
        "{\"command\":\"list\",\"options\":{\"topic\":[\"a.*\",\"b\"],\"failed\":true,\"count\":\"5\"}}",
        "{\"command\":\"tail\",\"options\":{\"kind\":[\"dead\"],\"after\":\"{\\\"event\\\":1}\",\"marks\":true}}",
        "{\"command\":\"export\",\"options\":{\"otlp\":true,\"follow\":true,\"since\":\"5m\",\"to\":\"/x\"}}",
        "{\"command\":\"stats\",\"options\":{\"watch\":true,\"store\":\"/x\"},\"operands\":[]}",
    };
    return fuzz_seed_text(index, seeds, sizeof seeds / sizeof *seeds, out);
}
