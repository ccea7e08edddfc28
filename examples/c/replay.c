/* Keeps the last seconds, and saves them whenever a line comes on standard input:  replay screen|pattern OUT-{n}.mkv SECONDS
 *
 * cc replay.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

static char *document(const char *source, const char *out, double seconds)
{
    static const char form[] =
        "{\"source\": {%s},"
        " \"outputs\": [{\"path\": %s, \"replay\": {\"seconds\": %.3f, \"bytes\": \"500M\"},"
        "   \"video\": {\"codec\": \"h264\", \"preset\": \"p1\", \"tune\": \"ull\", \"keyframe_interval\": 1}}]}";
    const char *from = strcmp(source, "screen") == 0 ? "\"screen\": {}" : "\"pattern\": {\"tone\": true}, \"realtime\": true";
    gs_buffer *quoted = NULL;
    char *text = NULL;
    if (gs_json_quote(out, &quoted) == GS_OK) {
        size_t size = sizeof form + strlen(from) + gs_buffer_size(quoted) + 32;
        text = malloc(size);
        if (text)
            snprintf(text, size, form, from, gs_buffer_text(quoted), seconds);
    }
    gs_buffer_unref(&quoted);
    return text;
}

/* Reads events until a file is told, or why there is none. */
static int saved(gs_job *job)
{
    for (;;) {
        gs_buffer *text = NULL;
        gs_event event;
        memset(&event, 0, sizeof event);
        event.size = sizeof event;
        if (gs_job_next_event(job, -1, &event, &text) != GS_OK)
            return 0;
        int told = event.kind == GS_EVENT_SAVED || event.kind == GS_EVENT_WARNING;
        if (told) {
            printf("%s\n", gs_buffer_text(text));
            fflush(stdout);
        }
        gs_buffer_unref(&text);
        if (told)
            return event.kind == GS_EVENT_SAVED;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || atof(argv[3]) < 1) {
        fprintf(stderr, "usage: %s screen|pattern OUT-{n}.mkv SECONDS\n", argv[0]);
        return 2;
    }
    char *json = document(argv[1], argv[2], atof(argv[3]));
    if (!json)
        return fail("document", GS_MEMORY);
    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_status status = gs_pipeline_new(json, &pipeline);
    free(json);
    if (status == GS_OK)
        status = gs_pipeline_start(pipeline, &job);
    gs_pipeline_free(&pipeline);
    if (status != GS_OK)
        return fail("start", status);

    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        status = gs_job_save(job, 0, 0);
        if (status != GS_OK || !saved(job)) {
            fail("save", status);
            break;
        }
    }
    gs_job_stop(job);
    status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fail(argv[2], status);
    gs_job_free(&job);
    return status == GS_OK ? 0 : 1;
}
