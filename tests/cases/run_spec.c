/* Runs a job document:  run_spec FILE.json */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size;
    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        text = malloc((size_t)size + 1);
        if (text)
            text[fread(text, 1, (size_t)size, file)] = 0;
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_status status;
    char *document = argc == 2 ? read_file(argv[1]) : NULL;
    if (!document) {
        fprintf(stderr, "usage: %s FILE.json\n", argv[0]);
        return 2;
    }
    status = gs_pipeline_new(document, &pipeline);
    free(document);
    if (status == GS_OK)
        status = gs_pipeline_start(pipeline, &job);
    gs_pipeline_free(&pipeline);
    if (status == GS_OK)
        status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fprintf(stderr, "%s: %s\n", gs_status_name(status), gs_last_error());
    gs_job_free(&job);
    return status == GS_OK ? 0 : 1;
}
