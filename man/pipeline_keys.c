/* Prints the keys of the pipelines' language for mpipeline(5), whatever it is asked for; see local.mk. */
#include "pipeline/pipeline.h"

#include <stdio.h>

int main(void)
{
    struct buffer keys = {0};
    if (pipeline_manual(&keys))
        return 1;
    size_t written = fwrite(keys.data, 1, keys.size, stdout);
    int failed = written != keys.size || fclose(stdout) != 0;
    buffer_free(&keys);
    return failed;
}
