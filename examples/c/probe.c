/* What is in a source, as JSON:  probe SOURCE
 * What this machine can do:      probe --devices
 *
 * cc probe.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    gs_buffer *json = NULL;
    gs_status status;
    if (argc != 2) {
        fprintf(stderr, "usage: %s SOURCE | --devices\n", argv[0]);
        return 2;
    }
    status = strcmp(argv[1], "--devices") ? gs_probe(argv[1], 0, &json) : gs_devices(&json);
    if (status != GS_OK) {
        fprintf(stderr, "%s: %s: %s\n", argv[1], gs_status_name(status), gs_last_error());
        return 1;
    }
    puts(gs_buffer_text(json));
    gs_buffer_unref(&json);
    return 0;
}
