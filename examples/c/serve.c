/* The transcoding server in your own program:  serve FOLDER [PORT]
 * Films below FOLDER may be asked for; what is made of them is kept in FOLDER/.ghoststream. Without a port a free one is
 * taken. Prints where it listens, and ends when standard input does. Workers are the program ghoststream on the PATH.
 *
 * cc serve.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

/* The settings, with the sections and keys of ghoststream.yaml. */
static char *settings(const char *folder, int port)
{
    static const char form[] =
        "{\"server\": {\"host\": \"127.0.0.1\", \"port\": %d},"
        " \"mdns\": {\"enabled\": false, \"udp_enabled\": false},"
        " \"transcoding\": {\"temp_directory\": %s},"
        " \"security\": {\"state_directory\": %s, \"sources\": {\"local_roots\": [%s]}}}";
    gs_buffer *root = NULL, *kept = NULL;
    char *below = malloc(strlen(folder) + sizeof "/.ghoststream");
    char *text = NULL;
    if (below) {
        sprintf(below, "%s/.ghoststream", folder);
        if (gs_json_quote(folder, &root) == GS_OK && gs_json_quote(below, &kept) == GS_OK) {
            size_t size = sizeof form + 16 + gs_buffer_size(root) + 2 * gs_buffer_size(kept);
            text = malloc(size);
            if (text)
                snprintf(text, size, form, port, gs_buffer_text(kept), gs_buffer_text(kept), gs_buffer_text(root));
        }
    }
    free(below);
    gs_buffer_unref(&root);
    gs_buffer_unref(&kept);
    return text;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s FOLDER [PORT]\n", argv[0]);
        return 2;
    }
    char *json = settings(argv[1], argc > 2 ? atoi(argv[2]) : 0);
    if (!json)
        return fail("settings", GS_MEMORY);
    gs_server *server = NULL;
    gs_status status = gs_server_start(json, &server);
    free(json);
    if (status != GS_OK)
        return fail("start", status);

    gs_buffer *said = NULL;
    status = gs_server_status(server, &said);
    if (status == GS_OK) {
        /* {"urls": ["http://127.0.0.1:PORT"], ...} */
        printf("%s\n", gs_buffer_text(said));
        fflush(stdout);
        gs_buffer_unref(&said);
        while (getchar() != EOF) {
        }
        /* Films that are being made go on with the next start. */
        status = gs_server_stop(server);
    }
    if (status != GS_OK)
        fail("serve", status);
    gs_server_free(&server);
    return status == GS_OK ? 0 : 1;
}
