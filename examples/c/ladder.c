/* A file becomes an HLS ladder, decoded once:  ladder IN DIRECTORY [RUNG-HEIGHT...]
 * Without heights the library chooses the rungs from the source. Prints the plan first.
 *
 * cc ladder.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

static char *document(const char *in, const char *out, int heights, char **height)
{
    gs_buffer *quoted_in = NULL, *quoted_out = NULL;
    char rungs[1024] = "\"auto\"";
    char *text = NULL;
    size_t used = 0;
    int i;
    for (i = 0; i < heights && used + 64 < sizeof rungs; i++)
        used += (size_t)snprintf(rungs + used, sizeof rungs - used, "%s{\"height\": %d}", i ? ", " : "[", atoi(height[i]));
    if (heights)
        snprintf(rungs + used, sizeof rungs - used, "]");
    if (gs_json_quote(in, &quoted_in) == GS_OK && gs_json_quote(out, &quoted_out) == GS_OK) {
        static const char form[] =
            "{\"source\": {\"url\": %s},"
            " \"outputs\": [{\"path\": %s, \"format\": \"hls\", \"overwrite\": true, \"ladder\": %s,"
            "   \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}, \"segment\": {\"duration\": 2}}]}";
        size_t size = sizeof form + strlen(rungs) + gs_buffer_size(quoted_in) + gs_buffer_size(quoted_out);
        text = malloc(size);
        if (text)
            snprintf(text, size, form, gs_buffer_text(quoted_in), gs_buffer_text(quoted_out), rungs);
    }
    gs_buffer_unref(&quoted_in);
    gs_buffer_unref(&quoted_out);
    return text;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s IN DIRECTORY [RUNG-HEIGHT...]\n", argv[0]);
        return 2;
    }
    char *json = document(argv[1], argv[2], argc - 3, argv + 3);
    if (!json)
        return fail("document", GS_MEMORY);

    gs_pipeline *pipeline = NULL;
    gs_buffer *plan = NULL;
    gs_job *job = NULL;
    gs_status status = gs_pipeline_new(json, &pipeline);
    free(json);
    if (status != GS_OK)
        return fail("document", status);
    status = gs_pipeline_plan(pipeline, &plan);
    if (status == GS_OK) {
        printf("%s\n", gs_buffer_text(plan));
        gs_buffer_unref(&plan);
        status = gs_pipeline_start(pipeline, &job);
    }
    gs_pipeline_free(&pipeline);
    if (status == GS_OK)
        status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fail(argv[1], status);
    gs_job_free(&job);
    return status == GS_OK ? 0 : 1;
}
