/* What a caller can get wrong, for every function: NULL, wrong sizes, double frees, wrong states, text that is not UTF-8.
 * Prints the name of every function that it called, so that tests/abi/run can tell which it forgot. */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed;

static void verdict(int good, const char *what, int line)
{
    if (!good) {
        fprintf(stderr, "misuse.c:%d: %s (last error: %s)\n", line, what, gs_last_error());
        failed++;
    }
}

/* CALL(function, expected status, (arguments)) */
#define CALL(function, expected, arguments)                                                     \
    do {                                                                                        \
        gs_status got_ = function arguments;                                                    \
        puts(#function);                                                                        \
        verdict(got_ == (expected), #function #arguments " != " #expected, __LINE__);           \
        if ((expected) < 0)                                                                     \
            verdict(gs_last_error()[0] != 0, #function " failed without a message", __LINE__);  \
    } while (0)

/* As CALL, and the output is nulled although it held something. */
#define NULLED(function, expected, type, variable, arguments)                                   \
    do {                                                                                        \
        type *variable = (type *)(void *)&failed;                                               \
        CALL(function, expected, arguments);                                                    \
        verdict(variable == NULL, #function #arguments " left its output alone", __LINE__);     \
    } while (0)

#define CHECK(condition) verdict((condition), #condition, __LINE__)
#define SIZED(type, variable) type variable; memset(&variable, 0, sizeof variable); variable.size = sizeof variable

/* A pointer to a struct that ends where readable memory ends is approximated by a heap block: valgrind and ASan see every
 * byte read behind it. */
static void *block(size_t bytes)
{
    void *place = calloc(1, bytes ? bytes : 1);
    if (!place)
        abort();
    return place;
}

static void nulls(void)
{
    SIZED(gs_frame_options, options);
    SIZED(gs_event, event);
    int32_t state = 7;
    uint64_t count = 7;
    size_t bytes = 7;
    const uint8_t *data = (const uint8_t *)"x";

    CALL(gs_spec_schema, GS_INVALID, (NULL));
    CALL(gs_json_quote, GS_INVALID, ("x", NULL));
    NULLED(gs_json_quote, GS_INVALID, gs_buffer, b, (NULL, &b));
    NULLED(gs_probe, GS_INVALID, gs_buffer, b, (NULL, 0, &b));
    CALL(gs_probe, GS_INVALID, ("x", 0, NULL));
    NULLED(gs_probe, GS_INVALID, gs_buffer, b, ("x", 0x80u, &b));
    NULLED(gs_probe, GS_NOT_FOUND, gs_buffer, b, ("/no/such/file.mkv", 0, &b));
    CALL(gs_devices, GS_INVALID, (NULL));
    CALL(gs_presets, GS_INVALID, (NULL));

    puts("gs_buffer_data"), CHECK(gs_buffer_data(NULL) == NULL);
    puts("gs_buffer_size"), CHECK(gs_buffer_size(NULL) == 0);
    puts("gs_buffer_text"), CHECK(gs_buffer_text(NULL) == NULL);
    NULLED(gs_buffer_ref, GS_INVALID, gs_buffer, b, (NULL, &b));

    NULLED(gs_frame_alloc, GS_INVALID, gs_frame, f, (NULL, &f));
    CALL(gs_frame_alloc, GS_INVALID, (&options, NULL));
    NULLED(gs_frame_alloc, GS_INVALID, gs_frame, f, (&options, &f));
    NULLED(gs_frame_wrap, GS_INVALID, gs_frame, f, (NULL, NULL, 0, NULL, NULL, &f));
    NULLED(gs_frame_wrap, GS_INVALID, gs_frame, f, (&options, NULL, 2, NULL, NULL, &f));
    CALL(gs_frame_get_info, GS_INVALID, (NULL, NULL));
    CALL(gs_frame_data, GS_INVALID, (NULL, 0, &data, &bytes));
    CHECK(data == NULL && bytes == 0);
    CALL(gs_frame_data, GS_INVALID, (NULL, 0, NULL, NULL));
    NULLED(gs_frame_pack, GS_INVALID, gs_buffer, b, (NULL, &b));
    NULLED(gs_frame_download, GS_INVALID, gs_frame, f, (NULL, &f));
    NULLED(gs_frame_ref, GS_INVALID, gs_frame, f, (NULL, &f));

    CALL(gs_packet_get_info, GS_INVALID, (NULL, NULL));
    NULLED(gs_packet_ref, GS_INVALID, gs_packet, p, (NULL, &p));

    NULLED(gs_capture_open, GS_INVALID, gs_capture, c, (NULL, NULL, &c));
    CALL(gs_capture_open, GS_INVALID, ("x", NULL, NULL));
    NULLED(gs_capture_open, GS_NOT_FOUND, gs_capture, c, ("/no/such/file.mkv", NULL, &c));
    NULLED(gs_capture_next_frame, GS_INVALID, gs_frame, f, (NULL, 0, &f));
    CALL(gs_capture_seek, GS_INVALID, (NULL, 0));
    CALL(gs_capture_seek_frame, GS_INVALID, (NULL, 0));
    CALL(gs_capture_frame_count, GS_INVALID, (NULL, &count));
    CHECK(count == 0);
    NULLED(gs_capture_info, GS_INVALID, gs_buffer, b, (NULL, &b));
    CALL(gs_capture_interrupt, GS_INVALID, (NULL));

    NULLED(gs_encoder_open, GS_INVALID, gs_encoder, e, (NULL, &e));
    CALL(gs_encoder_push_frame, GS_INVALID, (NULL, NULL, 0));
    CALL(gs_encoder_finish, GS_INVALID, (NULL));
    NULLED(gs_encoder_next_packet, GS_INVALID, gs_packet, p, (NULL, 0, &p));
    NULLED(gs_encoder_next_event, GS_INVALID, gs_buffer, b, (NULL, 0, NULL, &b));
    CALL(gs_encoder_set, GS_INVALID, (NULL, "{}"));
    NULLED(gs_encoder_stats, GS_INVALID, gs_buffer, b, (NULL, &b));
    NULLED(gs_encoder_stream_info, GS_INVALID, gs_buffer, b, (NULL, 0, &b));
    NULLED(gs_encoder_extradata, GS_INVALID, gs_buffer, b, (NULL, 0, &b));

    NULLED(gs_pipeline_new, GS_INVALID, gs_pipeline, p, (NULL, &p));
    CALL(gs_pipeline_new, GS_INVALID, ("{}", NULL));
    NULLED(gs_pipeline_plan, GS_INVALID, gs_buffer, b, (NULL, &b));
    NULLED(gs_pipeline_start, GS_INVALID, gs_job, j, (NULL, &j));

    puts("gs_job_id"), CHECK(gs_job_id(NULL) == 0);
    NULLED(gs_job_next_event, GS_INVALID, gs_buffer, b, (NULL, 0, &event, &b));
    CALL(gs_job_set_wakeup, GS_INVALID, (NULL, NULL, NULL));
    CALL(gs_job_get_state, GS_INVALID, (NULL, &state));
    CHECK(state == 0);
    NULLED(gs_job_stats, GS_INVALID, gs_buffer, b, (NULL, &b));
    CALL(gs_job_set, GS_INVALID, (NULL, "{}"));
    CALL(gs_job_pause, GS_INVALID, (NULL));
    CALL(gs_job_resume, GS_INVALID, (NULL));
    CALL(gs_job_split, GS_INVALID, (NULL, 0));
    CALL(gs_job_save, GS_INVALID, (NULL, 0, 0));
    CALL(gs_job_stop, GS_INVALID, (NULL));
    CALL(gs_job_cancel, GS_INVALID, (NULL));
    CALL(gs_job_wait, GS_INVALID, (NULL, 0));
    bytes = 7;
    CALL(gs_job_write, GS_INVALID, (NULL, NULL, 0, 0, &bytes));
    CHECK(bytes == 0);
    CALL(gs_job_push_frame, GS_INVALID, (NULL, NULL, 0));
    CALL(gs_job_finish_input, GS_INVALID, (NULL));
    NULLED(gs_job_next_packet, GS_INVALID, gs_packet, p, (NULL, 0, 0, &p));
    NULLED(gs_job_stream_info, GS_INVALID, gs_buffer, b, (NULL, 0, 0, &b));
    NULLED(gs_job_extradata, GS_INVALID, gs_buffer, b, (NULL, 0, 0, 0, &b));
    NULLED(gs_job_next_segment, GS_INVALID, gs_buffer, b, (NULL, 0, 0, NULL, &b));

    NULLED(gs_server_start, GS_INVALID, gs_server, s, ("{\"server\": {\"prot\": 1}}", &s));
    NULLED(gs_server_start, GS_INVALID, gs_server, s, ("[", &s));
    NULLED(gs_server_start, GS_INVALID, gs_server, s, (NULL, &s));
    NULLED(gs_server_status, GS_INVALID, gs_buffer, b, (NULL, &b));
    CALL(gs_server_stop, GS_INVALID, (NULL));
}

#define FREES(function, type)              \
    do {                                   \
        type *none = NULL;                 \
        puts(#function);                   \
        function(NULL);                    \
        function(&none);                   \
        function(&none);                   \
        CHECK(none == NULL);               \
    } while (0)

static void frees(void)
{
    FREES(gs_buffer_unref, gs_buffer);
    FREES(gs_frame_unref, gs_frame);
    FREES(gs_packet_unref, gs_packet);
    FREES(gs_capture_free, gs_capture);
    FREES(gs_encoder_free, gs_encoder);
    FREES(gs_pipeline_free, gs_pipeline);
    FREES(gs_job_free, gs_job);
    FREES(gs_server_free, gs_server);
}

/* Every size that no version of a struct has, and sizes of newer versions, with and without something in their tails. */
static void sizes(void)
{
    static const uint32_t wrong[] = {0, 1, 3, 4, 8, 5000, 0x7fffffff, 0xffffffff};
    size_t i;
    gs_frame *frame = NULL;
    gs_packet *packet = NULL;
    gs_encoder *encoder = NULL;
    SIZED(gs_frame_options, what);
    what.format = "nv12";
    what.width = 16;
    what.height = 16;
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        /* Four bytes only: nothing behind the size may be touched. */
        uint32_t *size = block(sizeof *size);
        if (wrong[i] >= 4096 || wrong[i] <= 8) {
            *size = wrong[i];
            NULLED(gs_frame_alloc, GS_INVALID, gs_frame, f, ((const gs_frame_options *)size, &f));
            NULLED(gs_encoder_open, GS_INVALID, gs_encoder, e, ((const gs_encoder_options *)size, &e));
            NULLED(gs_capture_open, GS_INVALID, gs_capture, c, ("pattern:smpte", (const gs_capture_options *)size, &c));
            CALL(gs_frame_get_info, GS_INVALID, (frame, (gs_frame_info *)size));
            CALL(gs_packet_get_info, GS_INVALID, (packet, (gs_packet_info *)size));
        }
        free(size);
    }
    {
        /* A newer caller. */
        gs_frame_options *newer = block(sizeof *newer + 16);
        gs_frame *again = NULL;
        gs_frame_info *info = block(sizeof *info + 16);
        memcpy(newer, &what, sizeof what);
        newer->size = (uint32_t)sizeof *newer + 16;
        CALL(gs_frame_alloc, GS_OK, (newer, &again));
        gs_frame_unref(&again);
        ((char *)newer)[sizeof *newer + 15] = 1;
        NULLED(gs_frame_alloc, GS_INVALID, gs_frame, f, (newer, &f));
        memset(info, 0x55, sizeof *info + 16);
        info->size = (uint32_t)sizeof *info + 16;
        CALL(gs_frame_get_info, GS_OK, (frame, info));
        CHECK(info->size == sizeof *info + 16 && info->width == 16);
        CHECK(((char *)info)[sizeof *info] == 0 && ((char *)info)[sizeof *info + 15] == 0);
        free(info);
        free(newer);
    }
    gs_frame_unref(&frame);
    (void)encoder;
}

static int released;

static void release(void *user)
{
    (void)user;
    released++;
}

static void frames(void)
{
    static unsigned char memory[64 * 64 * 3 / 2];
    gs_frame *frame = NULL, *same = NULL, *host = NULL;
    gs_buffer *packed = NULL;
    const uint8_t *data = NULL;
    size_t bytes = 0;
    gs_plane planes[2];
    SIZED(gs_frame_options, what);
    SIZED(gs_frame_info, info);
    what.format = "nv12";
    what.width = 64;
    what.height = 64;
    what.pts = 40000;
    what.duration = 40000;
    memset(planes, 0, sizeof planes);
    planes[0].data = memory;
    planes[1].data = memory + 64 * 64;

    /* What is refused keeps nothing: the release callback never runs. */
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 1, release, NULL, &frame));
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 9, release, NULL, &frame));
    planes[1].bytes = 10;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    planes[1].bytes = 0;
    planes[0].stride = 63;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    planes[0].stride = SIZE_MAX;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    planes[0].stride = 0;
    what.flags = 0x100;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.flags = 0;
    what.format = "cuda";
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.format = "no such format";
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.format = "nv\xff";
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.format = "nv12";
    what.duration = -1;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.duration = 40000;
    what.primaries = 300;
    CALL(gs_frame_wrap, GS_INVALID, (&what, planes, 2, release, NULL, &frame));
    what.primaries = 9;
    CHECK(released == 0 && frame == NULL);

    CALL(gs_frame_wrap, GS_OK, (&what, planes, 2, release, NULL, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    /* The caller's memory, not a copy of it. */
    CHECK(info.data[0] == memory && info.data[1] == memory + 64 * 64 && info.data[2] == NULL);
    CHECK(info.plane_count == 2 && info.stride[0] == 64 && info.rows[1] == 32 && info.row_bytes[1] == 64);
    CHECK(!strcmp(info.format, "nv12") && info.memory == GS_MEMORY_HOST && info.primaries == 9 && info.matrix == 2);
    CHECK(info.flags & GS_FRAME_VIDEO && !(info.flags & GS_FRAME_WRITABLE));
    CHECK(info.pts == 40000 && info.duration == 40000 && info.pts_ticks * info.base_num * 1000000 / info.base_den == 40000);
    CALL(gs_frame_data, GS_OK, (frame, 1, &data, &bytes));
    CHECK(data == memory + 64 * 64 && bytes == 64 * 32);
    CALL(gs_frame_data, GS_NOT_FOUND, (frame, 2, &data, &bytes));
    CALL(gs_frame_data, GS_NOT_FOUND, (frame, 0xffffffffu, &data, &bytes));
    CALL(gs_frame_ref, GS_OK, (frame, &same));
    CHECK(same == frame);
    CALL(gs_frame_download, GS_OK, (frame, &host));
    CALL(gs_frame_pack, GS_OK, (frame, &packed));
    CHECK(gs_buffer_size(packed) == sizeof memory && gs_buffer_text(packed) == NULL);
    gs_frame_unref(&frame);
    gs_frame_unref(&frame);
    gs_frame_unref(&host);
    CHECK(frame == NULL && released == 0);
    gs_frame_unref(&same);
    CHECK(released == 1);
    {
        gs_buffer *twice = NULL;
        CALL(gs_buffer_ref, GS_OK, (packed, &twice));
        gs_buffer_unref(&packed);
        CHECK(gs_buffer_size(twice) == sizeof memory);
        gs_buffer_unref(&twice);
    }

    /* Odd sizes, writable memory, sound. */
    what.format = "yuv420p";
    what.width = 33;
    what.height = 17;
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.flags & GS_FRAME_WRITABLE && info.rows[1] == 9 && info.row_bytes[1] == 17);
    memset(info.data[1], 128, info.stride[1] * (info.rows[1] - 1) + info.row_bytes[1]);
    /* Not while there is a second reference. */
    CALL(gs_frame_ref, GS_OK, (frame, &same));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(!(info.flags & GS_FRAME_WRITABLE));
    gs_frame_unref(&same);
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.flags & GS_FRAME_WRITABLE);
    gs_frame_unref(&frame);
    what.width = 0xffffffffu;
    CALL(gs_frame_alloc, GS_INVALID, (&what, &frame));
    what.width = what.height = 0;
    what.primaries = 0;
    what.format = "fltp";
    what.sample_rate = 48000;
    what.channels = 2;
    what.samples = 1024;
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.samples == 1024 && info.channels == 2 && info.plane_count == 2 && info.row_bytes[1] == 4096);
    CALL(gs_frame_pack, GS_UNSUPPORTED, (frame, &packed));
    gs_frame_unref(&frame);
    CALL(gs_frame_wrap, GS_UNSUPPORTED, (&what, planes, 2, release, NULL, &frame));
    what.channels = 0;
    CALL(gs_frame_alloc, GS_INVALID, (&what, &frame));
    what.channels = 2;
    what.samples = 0;
    CALL(gs_frame_alloc, GS_INVALID, (&what, &frame));
}

static void log_line(int32_t level, uint64_t job, const char *component, const char *message, void *user)
{
    (void)job;
    if (level >= GS_LOG_ERROR && level <= GS_LOG_TRACE && component && message)
        ++*(int *)user;
}

static void wake(void *user)
{
    ++*(int *)user;
}

static void documents(void)
{
    gs_pipeline *pipeline = NULL;
    gs_buffer *text = NULL;
    CALL(gs_pipeline_new, GS_INVALID, ("not json", &pipeline));
    CALL(gs_pipeline_new, GS_INVALID, ("{\"source\": {", &pipeline));
    CHECK(strchr(gs_last_error(), '?') == NULL);
    CALL(gs_pipeline_new, GS_INVALID, ("{\"source\": {\"url\": \"x\xff\"}}", &pipeline));
    /* Nobody could say in C what the packets are. */
    CALL(gs_pipeline_new, GS_INVALID, ("{\"source\": {\"packets\": {}}, \"outputs\": [{\"path\": \"b.mp4\"}]}", &pipeline));
    CHECK(!strncmp(gs_last_error(), "source.packets: ", 16));
    CALL(gs_pipeline_new, GS_INVALID,
         ("{\"source\": {\"url\": \"a\"}, \"outputs\": [{\"path\": \"b.mp4\", \"video\": {\"bitrate\": \"fast\"}}]}", &pipeline));
    CHECK(strstr(gs_last_error(), "outputs[0].video.bitrate") != NULL || strstr(gs_last_error(), "outputs[0].video") != NULL);
    CALL(gs_pipeline_new, GS_INVALID, ("{\"source\": {\"url\": \"a\"}, \"outputs\": [{\"path\": \"b.mp4\"}], \"colour\": 1}", &pipeline));
    CHECK(strstr(gs_last_error(), "colour") != NULL && pipeline == NULL);
    CALL(gs_spec_schema, GS_OK, (&text));
    CHECK(gs_buffer_text(text)[gs_buffer_size(text)] == 0 && strstr(gs_buffer_text(text), "\"outputs\""));
    CHECK(gs_buffer_data(text) == (const uint8_t *)gs_buffer_text(text));
    gs_buffer_unref(&text);
    CALL(gs_json_quote, GS_OK, ("a\"b\\\n", &text));
    CHECK(!strcmp(gs_buffer_text(text), "\"a\\\"b\\\\\\n\""));
    gs_buffer_unref(&text);
    CALL(gs_json_quote, GS_INVALID, ("\xc3", &text));
}

static void jobs(void)
{
    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_buffer *json = NULL, *data = NULL;
    gs_packet *packet = NULL;
    gs_frame *frame = NULL;
    int woken = 0;
    int32_t state = -1;
    size_t written = 7;
    SIZED(gs_event, event);
    SIZED(gs_frame_options, what);
    what.format = "yuv420p";
    what.width = what.height = 64;

    CALL(gs_pipeline_new, GS_OK,
         ("{\"source\": {\"pattern\": {\"width\": 64, \"height\": 64, \"frames\": 3}},"
          " \"outputs\": [{\"packets\": {}, \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}, \"audio\": false}]}",
          &pipeline));
    CALL(gs_pipeline_plan, GS_OK, (pipeline, &json));
    CHECK(strstr(gs_buffer_text(json), "h264") != NULL);
    gs_buffer_unref(&json);
    CALL(gs_pipeline_start, GS_OK, (pipeline, &job));
    gs_pipeline_free(&pipeline);
    CHECK(gs_job_id(job) != 0);
    CALL(gs_job_set_wakeup, GS_OK, (job, wake, &woken));
    CHECK(woken >= 1);
    CALL(gs_job_set_wakeup, GS_OK, (job, NULL, NULL));

    /* What this job does not have. */
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    CALL(gs_job_push_frame, GS_STATE, (job, frame, 0));
    CALL(gs_job_push_frame, GS_INVALID, (job, NULL, 0));
    gs_frame_unref(&frame);
    CALL(gs_job_write, GS_STATE, (job, (const uint8_t *)"x", 1, 0, &written));
    CALL(gs_job_write, GS_INVALID, (job, NULL, 1, 0, &written));
    CALL(gs_job_write, GS_INVALID, (job, (const uint8_t *)"x", SIZE_MAX, 0, &written));
    CALL(gs_job_next_packet, GS_NOT_FOUND, (job, 1, 0, &packet));
    CALL(gs_job_next_packet, GS_NOT_FOUND, (job, 0xffffffffu, 0, &packet));
    CALL(gs_job_next_segment, GS_NOT_FOUND, (job, 0, 0, &json, &data));
    CALL(gs_job_set, GS_INVALID, (job, "{\"output\": 0}"));
    CALL(gs_job_set, GS_INVALID, (job, "{\"speed\": 9}"));
    CALL(gs_job_finish_input, GS_OK, (job));

    CALL(gs_job_stream_info, GS_OK, (job, 0, -1, &json));
    CHECK(strstr(gs_buffer_text(json), "\"codec\":\"h264\"") != NULL);
    gs_buffer_unref(&json);
    CALL(gs_job_extradata, GS_OK, (job, 0, 0, -1, &data));
    gs_buffer_unref(&data);
    CALL(gs_job_extradata, GS_NOT_FOUND, (job, 0, 5, -1, &data));
    {
        int packets = 0, last = -1;
        gs_status status;
        while ((status = gs_job_next_packet(job, 0, -1, &packet)) == GS_OK) {
            gs_packet *same = NULL;
            SIZED(gs_packet_info, info);
            CALL(gs_packet_get_info, GS_OK, (packet, &info));
            CHECK(info.bytes > 4 && info.data && (packets > 0 || info.flags & GS_PACKET_KEY));
            CALL(gs_packet_ref, GS_OK, (packet, &same));
            gs_packet_unref(&packet);
            gs_packet_unref(&packet);
            gs_packet_unref(&same);
            packets++;
        }
        CHECK(status == GS_END && packets == 3);
        CALL(gs_job_next_packet, GS_END, (job, 0, 0, &packet));
        CALL(gs_job_wait, GS_OK, (job, -1));
        CALL(gs_job_wait, GS_OK, (job, 0));
        while ((status = gs_job_next_event(job, -1, &event, NULL)) == GS_OK)
            last = event.kind;
        CHECK(status == GS_END && last == GS_EVENT_DONE && event.kind == GS_EVENT_NONE);
    }
    /* After the end. */
    CALL(gs_job_get_state, GS_OK, (job, &state));
    CHECK(state == GS_STATE_FINISHED);
    CALL(gs_job_pause, GS_STATE, (job));
    CALL(gs_job_resume, GS_STATE, (job));
    CALL(gs_job_split, GS_STATE, (job, 0));
    CALL(gs_job_split, GS_NOT_FOUND, (job, 99));
    CALL(gs_job_save, GS_STATE, (job, 0, 0));
    CALL(gs_job_save, GS_INVALID, (job, 0, -1));
    CALL(gs_job_set, GS_STATE, (job, "{\"key_frame\": true}"));
    CALL(gs_job_stop, GS_OK, (job));
    CALL(gs_job_cancel, GS_OK, (job));
    CALL(gs_job_stats, GS_OK, (job, &json));
    CHECK(strstr(gs_buffer_text(json), "finished") != NULL);
    gs_buffer_unref(&json);
    CALL(gs_job_next_event, GS_END, (job, 0, NULL, NULL));
    event.size = 3;
    CALL(gs_job_next_event, GS_INVALID, (job, 0, &event, NULL));
    gs_job_free(&job);
    gs_job_free(&job);

    /* A failure is the DONE event's and the wait's. */
    CALL(gs_pipeline_new, GS_OK,
         ("{\"source\": {\"url\": \"/no/such/file.mkv\"}, \"outputs\": [{\"packets\": {}}]}", &pipeline));
    CALL(gs_pipeline_plan, GS_NOT_FOUND, (pipeline, &json));
    CALL(gs_pipeline_start, GS_OK, (pipeline, &job));
    gs_pipeline_free(&pipeline);
    CALL(gs_job_next_packet, GS_NOT_FOUND, (job, 0, -1, &packet));
    CALL(gs_job_wait, GS_NOT_FOUND, (job, -1));
    CHECK(strstr(gs_last_error(), "/no/such/file.mkv") != NULL);
    gs_job_free(&job);

    /* The end of one output does not wait for another that the same thread has yet to take. */
    CALL(gs_pipeline_new, GS_OK,
         ("{\"source\": {\"pattern\": {\"width\": 64, \"height\": 64, \"frames\": 30}}, \"outputs\": ["
          "{\"packets\": {\"queue\": 64}, \"audio\": false, \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}},"
          "{\"packets\": {\"queue\": 25}, \"audio\": false, \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}}]}", &pipeline));
    CALL(gs_pipeline_start, GS_OK, (pipeline, &job));
    gs_pipeline_free(&pipeline);
    {
        uint32_t output;
        for (output = 0; output < 2; output++) {
            int packets = 0;
            gs_status status;
            while ((status = gs_job_next_packet(job, output, -1, &packet)) == GS_OK) {
                packets++;
                gs_packet_unref(&packet);
            }
            CHECK(status == GS_END && packets == 30);
        }
    }
    CALL(gs_job_wait, GS_OK, (job, -1));
    gs_job_free(&job);

    /* Freed while it runs. */
    CALL(gs_pipeline_new, GS_OK,
         ("{\"source\": {\"pattern\": {\"width\": 64, \"height\": 64}}, \"outputs\": [{\"packets\": {}, \"audio\": false,"
          " \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}}]}", &pipeline));
    CALL(gs_pipeline_start, GS_OK, (pipeline, &job));
    gs_pipeline_free(&pipeline);
    CALL(gs_job_wait, GS_TIMEOUT, (job, 50000));
    CALL(gs_job_wait, GS_AGAIN, (job, 0));
    gs_job_free(&job);
}

static void segments(void)
{
    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_buffer *json = NULL, *data = NULL;
    gs_status status;
    int playlists = 0, others = 0;
    CALL(gs_pipeline_new, GS_OK,
         ("{\"source\": {\"pattern\": {\"width\": 64, \"height\": 64, \"frames\": 60}}, \"outputs\": [{\"segments\": true,"
          " \"format\": \"hls\", \"video\": {\"codec\": \"h264\", \"preset\": \"p1\"}, \"segment\": {\"duration\": 1}}]}",
          &pipeline));
    CALL(gs_pipeline_start, GS_OK, (pipeline, &job));
    gs_pipeline_free(&pipeline);
    puts("gs_job_next_segment");
    while ((status = gs_job_next_segment(job, 0, -1, &json, &data)) == GS_OK) {
        if (strstr(gs_buffer_text(json), ".m3u8"))
            playlists++;
        else
            others++;
        CHECK(gs_buffer_size(data) > 0);
        gs_buffer_unref(&json);
        gs_buffer_unref(&data);
    }
    CHECK(status == GS_END && playlists >= 2 && others >= 3);
    gs_job_free(&job);
}

static void encoders(void)
{
    gs_encoder *encoder = NULL;
    gs_packet *packet = NULL;
    gs_frame *frame = NULL;
    gs_buffer *json = NULL;
    int n, packets = 0;
    gs_status status;
    SIZED(gs_encoder_options, options);
    SIZED(gs_frame_options, what);
    SIZED(gs_event, event);

    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder)); /* no format */
    options.format = "yuv420p";
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder)); /* no rate */
    options.rate_num = 25;
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder)); /* no size */
    options.width = options.height = 64;
    options.flags = 0x8000;
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.flags = 0;
    options.crf = -1;
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.crf = 0;
    options.b_frames = -2;
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.b_frames = -1;
    options.preset = "fastest";
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    CHECK(strstr(gs_last_error(), "preset") != NULL);
    options.preset = "p1";
    options.json = "{\"preset\": \"p2\"}";
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    CHECK(strstr(gs_last_error(), "preset") != NULL);
    options.json = "[1]";
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.json = "{\"speed\": 3}";
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.json = "{\"lookahead\": 0}";
    options.reserved = 1;
    CALL(gs_encoder_open, GS_INVALID, (&options, &encoder));
    options.reserved = 0;
    CHECK(encoder == NULL);

    /* What only opening can tell. */
    options.encoder = "no_such_encoder";
    status = gs_encoder_open(&options, &encoder);
    if (status == GS_OK) {
        status = gs_encoder_next_packet(encoder, -1, &packet);
        gs_encoder_free(&encoder);
    }
    CHECK(status < 0 && strstr(gs_last_error(), "no_such_encoder"));
    options.encoder = NULL;

    /* Every frame that went in comes out, however they are asked for. */
    options.tune = "ull";
    CALL(gs_encoder_open, GS_OK, (&options, &encoder));
    CALL(gs_encoder_push_frame, GS_INVALID, (encoder, NULL, 0));
    what.format = "yuv420p";
    what.width = what.height = 64;
    /* Nothing is known before there is a frame, and one at no sane time is none. */
    CALL(gs_encoder_stream_info, GS_AGAIN, (encoder, 0, &json));
    what.pts = INT64_MAX;
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    CALL(gs_encoder_push_frame, GS_INVALID, (encoder, frame, -1));
    CHECK(strstr(gs_last_error(), "pts") != NULL);
    gs_frame_unref(&frame);
    CALL(gs_encoder_extradata, GS_TIMEOUT, (encoder, 1000, &json));
    for (n = 0; n < 20; n++) {
        what.pts = n * 40000;
        what.duration = 40000;
        CALL(gs_frame_alloc, GS_OK, (&what, &frame));
        CALL(gs_encoder_push_frame, GS_OK, (encoder, frame, -1));
        gs_frame_unref(&frame);
        if (n == 5) {
            /* Ultra low latency: a packet for every frame, without the next. */
            while (packets < 6 && gs_encoder_next_packet(encoder, 10000000, &packet) == GS_OK) {
                packets++;
                gs_packet_unref(&packet);
            }
            CHECK(packets == 6);
            CALL(gs_encoder_next_packet, GS_AGAIN, (encoder, 0, &packet));
            CALL(gs_encoder_next_packet, GS_TIMEOUT, (encoder, 1000, &packet));
            CALL(gs_encoder_stream_info, GS_OK, (encoder, -1, &json));
            gs_buffer_unref(&json);
            CALL(gs_encoder_extradata, GS_OK, (encoder, -1, &json));
            gs_buffer_unref(&json);
            CALL(gs_encoder_set, GS_OK, (encoder, "{\"key_frame\": true}"));
            CALL(gs_encoder_set, GS_INVALID, (encoder, "{}"));
            CALL(gs_encoder_stats, GS_OK, (encoder, &json));
            gs_buffer_unref(&json);
        }
    }
    CALL(gs_encoder_finish, GS_OK, (encoder));
    CALL(gs_encoder_finish, GS_OK, (encoder));
    CALL(gs_frame_alloc, GS_OK, (&what, &frame));
    CALL(gs_encoder_push_frame, GS_STATE, (encoder, frame, -1));
    gs_frame_unref(&frame);
    while ((status = gs_encoder_next_packet(encoder, -1, &packet)) == GS_OK) {
        packets++;
        gs_packet_unref(&packet);
    }
    CHECK(status == GS_END && packets == 20);
    while ((status = gs_encoder_next_event(encoder, -1, &event, NULL)) == GS_OK)
        n = event.kind;
    CHECK(status == GS_END && n == GS_EVENT_DONE);
    gs_encoder_free(&encoder);

    /* What was pushed is not the caller's to write to while the encoder has it: nobody takes packets, so that the last frame
     * stays where it is. */
    options.tune = NULL;
    options.json = NULL;
    options.frame_queue = 2;
    options.packet_queue = 1;
    CALL(gs_encoder_open, GS_OK, (&options, &encoder));
    {
        gs_frame *last = NULL;
        gs_frame_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        for (n = 0, status = GS_OK; status == GS_OK; n++) {
            what.pts = n * 40000;
            CALL(gs_frame_alloc, GS_OK, (&what, &frame));
            status = gs_encoder_push_frame(encoder, frame, 500000);
            if (status == GS_OK) {
                gs_frame_unref(&last);
                last = frame;
            } else {
                gs_frame_unref(&frame);
            }
        }
        CHECK(status == GS_TIMEOUT);
        CALL(gs_frame_get_info, GS_OK, (last, &info));
        CHECK(!(info.flags & GS_FRAME_WRITABLE));
        gs_encoder_free(&encoder);
        CALL(gs_frame_get_info, GS_OK, (last, &info));
        CHECK(info.flags & GS_FRAME_WRITABLE);
        gs_frame_unref(&last);
    }
    options.frame_queue = options.packet_queue = 0;

    /* Freed with frames inside. */
    released = 0;
    CALL(gs_encoder_open, GS_OK, (&options, &encoder));
    for (n = 0; n < 3; n++) {
        static unsigned char memory[64 * 64 * 3 / 2];
        gs_plane planes[3];
        memset(planes, 0, sizeof planes);
        planes[0].data = memory;
        planes[1].data = memory + 64 * 64;
        planes[2].data = memory + 64 * 64 * 5 / 4;
        what.pts = n * 40000;
        CALL(gs_frame_wrap, GS_OK, (&what, planes, 3, release, NULL, &frame));
        CALL(gs_encoder_push_frame, GS_OK, (encoder, frame, -1));
        gs_frame_unref(&frame);
    }
    gs_encoder_free(&encoder);
    CHECK(released == 3);
}

static void captures(void)
{
    gs_capture *capture = NULL;
    gs_frame *frame = NULL, *kept = NULL;
    gs_buffer *json = NULL;
    uint64_t count = 0;
    int n;
    SIZED(gs_capture_options, options);
    SIZED(gs_frame_info, info);
    static const char source[] =
        "{\"pattern\": {\"kind\": \"gradient\", \"width\": 64, \"height\": 64, \"frames\": 20, \"frame_rate\": 25}}";

    CALL(gs_capture_open, GS_INVALID, ("pattern:none", NULL, &capture));
    CALL(gs_capture_open, GS_INVALID, ("{\"pattern\": {\"widht\": 64}}", NULL, &capture));
    CALL(gs_capture_open, GS_INVALID, ("", NULL, &capture));
    options.flags = GS_CAPTURE_NO_VIDEO;
    CALL(gs_capture_open, GS_INVALID, (source, &options, &capture));
    options.flags = 0x40;
    CALL(gs_capture_open, GS_INVALID, (source, &options, &capture));
    options.flags = 0;
    options.format = "no such format";
    CALL(gs_capture_open, GS_INVALID, (source, &options, &capture));
    options.format = "rgb24";
    CALL(gs_capture_open, GS_OK, (source, &options, &capture));
    CALL(gs_capture_info, GS_OK, (capture, &json));
    CHECK(json && gs_buffer_size(json) > 2);
    gs_buffer_unref(&json);
    CALL(gs_capture_next_frame, GS_INVALID, (capture, -1, NULL));
    for (n = 0; gs_capture_next_frame(capture, -1, &frame) == GS_OK; n++) {
        CALL(gs_frame_get_info, GS_OK, (frame, &info));
        CHECK(info.pts == n * 40000 && !strcmp(info.format, "rgb24") && info.width == 64);
        if (n == 3) {
            /* Counting loses no frame. */
            CALL(gs_capture_frame_count, GS_OK, (capture, &count));
            CHECK(count == 20);
            CALL(gs_frame_ref, GS_OK, (frame, &kept));
        }
        gs_frame_unref(&frame);
    }
    CHECK(n == 20);
    CALL(gs_capture_next_frame, GS_END, (capture, 0, &frame));
    CALL(gs_capture_seek, GS_OK, (capture, 290000));
    CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.pts == 280000);
    gs_frame_unref(&frame);
    CALL(gs_capture_seek_frame, GS_OK, (capture, 19));
    CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
    gs_frame_unref(&frame);
    CALL(gs_capture_next_frame, GS_END, (capture, -1, &frame));
    CALL(gs_capture_seek_frame, GS_INVALID, (capture, 20));
    CALL(gs_capture_next_frame, GS_END, (capture, -1, &frame));
    /* What is refused leaves the place as it was, however far was read ahead. */
    CALL(gs_capture_seek_frame, GS_OK, (capture, 2));
    for (n = 2; n < 20; n++) {
        CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
        CALL(gs_frame_get_info, GS_OK, (frame, &info));
        CHECK(info.pts == n * 40000);
        gs_frame_unref(&frame);
        CALL(gs_capture_seek_frame, GS_INVALID, (capture, UINT64_MAX));
    }
    CALL(gs_capture_next_frame, GS_END, (capture, -1, &frame));
    /* The first picture is what is shown before all. */
    CALL(gs_capture_seek, GS_OK, (capture, INT64_MIN));
    CALL(gs_capture_seek, GS_OK, (capture, -1));
    CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.pts == 0);
    gs_frame_unref(&frame);
    CALL(gs_capture_seek, GS_OK, (capture, 0));
    CALL(gs_capture_interrupt, GS_OK, (capture));
    gs_capture_free(&capture);
    gs_capture_free(&capture);
    CALL(gs_frame_get_info, GS_OK, (kept, &info));
    CHECK(info.pts == 120000 && info.data[0][0] == info.data[0][0]);
    gs_frame_unref(&kept);

    /* A source without an end. */
    CALL(gs_capture_open, GS_OK, ("pattern:smpte", NULL, &capture));
    CALL(gs_capture_frame_count, GS_UNSUPPORTED, (capture, &count));
    CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
    gs_frame_unref(&frame);
    gs_capture_free(&capture);
}

/* 20 pictures whose luma is their number. */
#define PICTURES 20
static uint8_t film[64 + PICTURES * (6 + 16 * 16 * 3 / 2)];
static size_t film_length;

static void make_film(void)
{
    static const char head[] = "YUV4MPEG2 W16 H16 F25:1 Ip C420jpeg\n";
    int n;
    film_length = sizeof head - 1;
    memcpy(film, head, film_length);
    for (n = 0; n < PICTURES; n++) {
        memcpy(film + film_length, "FRAME\n", 6);
        memset(film + film_length + 6, n, 256);
        memset(film + film_length + 6 + 256, 128, 128);
        film_length += 6 + 384;
    }
}

struct held {
    uint64_t readable;
    int reads, released;
};

static int64_t held_read(void *user, uint64_t offset, uint8_t *buffer, size_t bytes)
{
    struct held *held = user;
    CHECK(offset + bytes <= film_length && held->released == 0);
    held->reads++;
    if (offset >= held->readable)
        return -5;
    /* Fewer than were asked for are no end. */
    bytes = bytes > 1000 ? 1000 : bytes;
    memcpy(buffer, film + offset, bytes);
    return (int64_t)bytes;
}

static int64_t held_boast(void *user, uint64_t offset, uint8_t *buffer, size_t bytes)
{
    (void)user, (void)offset, (void)buffer;
    return (int64_t)bytes + 1;
}

static void held_release(void *user)
{
    ((struct held *)user)->released++;
}

static void shows(gs_capture *capture, int number)
{
    gs_frame *frame = NULL;
    SIZED(gs_frame_info, info);
    CALL(gs_capture_next_frame, GS_OK, (capture, -1, &frame));
    CALL(gs_frame_get_info, GS_OK, (frame, &info));
    CHECK(info.pts == number * 40000 && info.data[0][0] == number);
    gs_frame_unref(&frame);
}

static void held_files(void)
{
    gs_capture *capture = NULL;
    gs_frame *frame = NULL;
    gs_buffer *json = NULL;
    uint64_t count = 0;
    struct held held = {0, 0, 0};
    int way;
    SIZED(gs_bytes, bytes);

    make_film();
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (NULL, NULL, NULL, &c));
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, NULL, NULL, &c));
    NULLED(gs_probe_bytes, GS_INVALID, gs_buffer, b, (NULL, NULL, 0, &b));
    bytes.user = &held;
    bytes.release = held_release;
    bytes.data = film;
    CALL(gs_capture_open_bytes, GS_INVALID, (&bytes, NULL, NULL, NULL));
    CALL(gs_probe_bytes, GS_INVALID, (&bytes, NULL, 0, NULL));
    /* Nothing in it. */
    NULLED(gs_capture_open_bytes, GS_FORMAT, gs_capture, c, (&bytes, NULL, NULL, &c));
    bytes.length = UINT64_MAX;
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, NULL, NULL, &c));
    bytes.length = film_length;
    bytes.reserved = 1;
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, NULL, NULL, &c));
    bytes.reserved = 0;
    bytes.read = held_read;
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, NULL, NULL, &c));
    bytes.read = NULL;
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, "{\"url\": \"a.mkv\"}", NULL, &c));
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, "a.mkv", NULL, &c));
    NULLED(gs_capture_open_bytes, GS_INVALID, gs_capture, c, (&bytes, "{\"protocols\": [\"srt\"]}", NULL, &c));
    NULLED(gs_probe_bytes, GS_INVALID, gs_buffer, b, (&bytes, NULL, 0x80u, &b));
    CHECK(held.released == 0);

    for (way = 0; way < 2; way++) {
        held.released = held.reads = 0;
        held.readable = film_length;
        bytes.data = way ? NULL : film;
        bytes.read = way ? held_read : NULL;
        CALL(gs_capture_open_bytes, GS_OK, (&bytes, NULL, NULL, &capture));
        shows(capture, 0);
        CALL(gs_capture_frame_count, GS_OK, (capture, &count));
        CHECK(count == PICTURES);
        CALL(gs_capture_seek_frame, GS_OK, (capture, 13));
        shows(capture, 13);
        CALL(gs_capture_seek, GS_OK, (capture, 290000));
        shows(capture, 7);
        CHECK(held.released == 0 && (held.reads > 0) == way);
        gs_capture_free(&capture);
        CHECK(held.released == 1);
        held.released = 0;
        CALL(gs_probe_bytes, GS_OK, (&bytes, "{\"format\": \"yuv4mpegpipe\"}", GS_PROBE_KEYFRAMES, &json));
        CHECK(held.released == 1 && strstr(gs_buffer_text(json), "\"frames\":20"));
        gs_buffer_unref(&json);
        held.released = 0;
        CALL(gs_capture_open_bytes, GS_OK, (&bytes, "{\"start\": 0.2}", NULL, &capture));
        shows(capture, 5);
        gs_capture_free(&capture);
    }
    /* What cannot be read is no end. */
    held.released = 0;
    held.readable = 0;
    NULLED(gs_capture_open_bytes, GS_IO, gs_capture, c, (&bytes, NULL, NULL, &c));
    NULLED(gs_probe_bytes, GS_IO, gs_buffer, b, (&bytes, NULL, 0, &b));
    CHECK(held.released == 0);
    held.readable = film_length - 4000;
    CALL(gs_capture_open_bytes, GS_OK, (&bytes, NULL, NULL, &capture));
    while (gs_capture_next_frame(capture, -1, &frame) == GS_OK)
        gs_frame_unref(&frame);
    CALL(gs_capture_next_frame, GS_IO, (capture, -1, &frame));
    gs_capture_free(&capture);
    CHECK(held.released == 1);
    bytes.read = held_boast;
    NULLED(gs_capture_open_bytes, GS_IO, gs_capture, c, (&bytes, NULL, NULL, &c));
}

int main(void)
{
    int lines = 0;
    puts("gs_version"), CHECK(strchr(gs_version(), '.') != NULL);
    puts("gs_abi_version"), CHECK(gs_abi_version() == GS_ABI_VERSION);
    puts("gs_last_error"), CHECK(gs_last_error()[0] == 0);
    puts("gs_status_name"), CHECK(!strcmp(gs_status_name(GS_NOT_FOUND), "not_found") && !strcmp(gs_status_name(99), "unknown"));
    CALL(gs_log_set, GS_INVALID, (-1, log_line, &lines));
    CALL(gs_log_set, GS_INVALID, (6, log_line, &lines));
    CALL(gs_log_set, GS_OK, (GS_LOG_DEBUG, log_line, &lines));
    nulls();
    frees();
    sizes();
    frames();
    documents();
    jobs();
    CHECK(lines > 0);
    CALL(gs_log_set, GS_OK, (GS_LOG_OFF, NULL, NULL));
    lines = 0;
    segments();
    encoders();
    captures();
    held_files();
    CHECK(lines == 0);
    CALL(gs_log_set, GS_OK, (GS_LOG_TRACE, NULL, NULL));
    if (failed)
        fprintf(stderr, "%d checks failed\n", failed);
    return failed != 0;
}
