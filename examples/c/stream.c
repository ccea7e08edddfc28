/* Streams a screen to a server for some seconds and tells how it goes:
 *   stream screen|pattern rtmp://HOST/APP/KEY|srt://HOST:PORT SECONDS
 *
 * cc stream.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

/* The bit rate follows the network down to 500 kbit/s and up again; a connection that breaks is made again. */
static char *document(const char *source, const char *url)
{
    static const char form[] =
        "{\"source\": {%s},"
        " \"outputs\": [{\"path\": %s, \"push\": {\"adapt\": {\"min_bitrate\": \"500k\"}, \"reconnects\": 10},"
        "   \"audio\": {\"codec\": \"aac\"},"
        "   \"video\": {\"codec\": \"h264\", \"preset\": \"p1\", \"tune\": \"ll\", \"bitrate\": \"2M\", \"cbr\": true,"
        "     \"keyframe_interval\": 2}}]}";
    const char *from = strcmp(source, "screen") == 0 ? "\"screen\": {}" : "\"pattern\": {\"tone\": true}, \"realtime\": true";
    gs_buffer *quoted = NULL;
    char *text = NULL;
    if (gs_json_quote(url, &quoted) == GS_OK) {
        size_t size = sizeof form + strlen(from) + gs_buffer_size(quoted);
        text = malloc(size);
        if (text)
            snprintf(text, size, form, from, gs_buffer_text(quoted));
    }
    gs_buffer_unref(&quoted);
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 4 || atof(argv[3]) <= 0) {
        fprintf(stderr, "usage: %s screen|pattern URL SECONDS\n", argv[0]);
        return 2;
    }
    int64_t length = (int64_t)(atof(argv[3]) * 1e6);
    char *json = document(argv[1], argv[2]);
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

    for (;;) {
        gs_buffer *text = NULL;
        gs_event event;
        memset(&event, 0, sizeof event);
        event.size = sizeof event;
        status = gs_job_next_event(job, -1, &event, &text);
        if (status != GS_OK)
            break; /* GS_END: the DONE event was the last one. */
        if (event.kind == GS_EVENT_PROGRESS && event.time >= length)
            gs_job_stop(job);
        else if (event.kind == GS_EVENT_PUSH || event.kind == GS_EVENT_BITRATE || event.kind == GS_EVENT_WARNING)
            printf("%s\n", gs_buffer_text(text));
        gs_buffer_unref(&text);
    }
    status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fail("stream", status);
    gs_job_free(&job);
    return status == GS_OK ? 0 : 1;
}
