/* Loads the library at run time, uses it, unloads it and loads it again:  lifetime libghoststream.so
 * Threads, thread-local errors and the log callback must survive that. */
#include <dlfcn.h>
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (!symbol) {
        fprintf(stderr, "%s: %s\n", name, dlerror());
        exit(1);
    }
    return symbol;
}

static int lines;

static void log_line(int32_t level, uint64_t job, const char *component, const char *message, void *user)
{
    (void)level, (void)job, (void)component, (void)message, (void)user;
    lines++;
}

int main(int argc, char **argv)
{
    int round;
    if (argc != 2)
        return 2;
    for (round = 0; round < 3; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        /* The standard's way from an object pointer to a function pointer. */
#define FUNCTION(type, name, arguments) type(*name) arguments; *(void **)&name = need(library, #name)
        FUNCTION(gs_status, gs_pipeline_new, (const char *, gs_pipeline **));
        FUNCTION(gs_status, gs_pipeline_start, (const gs_pipeline *, gs_job **));
        FUNCTION(gs_status, gs_job_wait, (gs_job *, int64_t));
        FUNCTION(gs_status, gs_log_set, (int32_t, gs_log_callback, void *));
        FUNCTION(const char *, gs_last_error, (void));
        FUNCTION(void, gs_job_free, (gs_job **));
        FUNCTION(void, gs_pipeline_free, (gs_pipeline **));
        gs_pipeline *pipeline = NULL;
        gs_job *job = NULL;
        gs_status status = gs_pipeline_new("{}", &pipeline);
        if (status != GS_INVALID || !gs_last_error()[0])
            return 1;
        if (gs_log_set(GS_LOG_TRACE, log_line, NULL) != GS_OK)
            return 1;
        status = gs_pipeline_new(
            "{\"source\": {\"pattern\": {\"width\": 64, \"height\": 64, \"frames\": 5}}, \"outputs\": [{\"path\": \"/dev/null\","
            " \"format\": \"ts\", \"overwrite\": true, \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}}]}", &pipeline);
        if (status == GS_OK)
            status = gs_pipeline_start(pipeline, &job);
        if (status == GS_OK)
            status = gs_job_wait(job, -1);
        if (status != GS_OK) {
            fprintf(stderr, "round %d: %s\n", round, gs_last_error());
            return 1;
        }
        gs_job_free(&job);
        gs_pipeline_free(&pipeline);
        if (gs_log_set(GS_LOG_OFF, NULL, NULL) != GS_OK)
            return 1;
        dlclose(library);
    }
    return 0;
}
