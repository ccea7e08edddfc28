/* A file becomes an MP4, with progress:  transcode IN OUT.mp4
 *
 * cc transcode.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

/* {"source": {"url": IN}, "outputs": [{"path": OUT, ...}]}, with the names quoted by the library. */
static char *document(const char *in, const char *out)
{
    static const char form[] =
        "{\"source\": {\"url\": %s},"
        " \"outputs\": [{\"path\": %s, \"format\": \"mp4\", \"overwrite\": true,"
        "   \"video\": {\"codec\": \"h264\", \"crf\": 23, \"preset\": \"p2\"}}]}";
    gs_buffer *quoted_in = NULL, *quoted_out = NULL;
    char *text = NULL;
    if (gs_json_quote(in, &quoted_in) == GS_OK && gs_json_quote(out, &quoted_out) == GS_OK) {
        size_t size = sizeof form + gs_buffer_size(quoted_in) + gs_buffer_size(quoted_out);
        text = malloc(size);
        if (text)
            snprintf(text, size, form, gs_buffer_text(quoted_in), gs_buffer_text(quoted_out));
    }
    gs_buffer_unref(&quoted_in);
    gs_buffer_unref(&quoted_out);
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s IN OUT.mp4\n", argv[0]);
        return 2;
    }
    char *json = document(argv[1], argv[2]);
    if (!json)
        return fail("document", GS_MEMORY);

    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_status status = gs_pipeline_new(json, &pipeline);
    free(json);
    if (status != GS_OK)
        return fail("document", status);
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
        if (event.kind == GS_EVENT_PROGRESS)
            printf("%5.1f %%  %6.1f fps  %4.1fx\n", event.fraction * 100, event.fps, event.speed);
        else if (event.kind == GS_EVENT_WARNING)
            printf("%s\n", gs_buffer_text(text));
        gs_buffer_unref(&text);
    }

    status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fail(argv[1], status);
    gs_job_free(&job);
    return status == GS_OK ? 0 : 1;
}
