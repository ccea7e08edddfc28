/* Draws pictures into a camera that other programs can open:  virtual_camera NAME SECONDS
 *
 * cc virtual_camera.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 360, RATE = 30 };

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

static char *document(const char *name)
{
    static const char form[] =
        "{\"source\": {\"frames\": {\"video\": {\"width\": %d, \"height\": %d, \"format\": \"nv12\", \"frame_rate\": %d}}},"
        " \"outputs\": [{\"camera\": {\"name\": %s, \"format\": \"nv12\"}}]}";
    gs_buffer *quoted = NULL;
    char *text = NULL;
    if (gs_json_quote(name, &quoted) == GS_OK) {
        size_t size = sizeof form + gs_buffer_size(quoted) + 64;
        text = malloc(size);
        if (text)
            snprintf(text, size, form, (int)WIDTH, (int)HEIGHT, (int)RATE, gs_buffer_text(quoted));
    }
    gs_buffer_unref(&quoted);
    return text;
}

/* A grey wedge that moves, in NV12: luma, then interleaved chroma. */
static void draw(unsigned char *picture, int n)
{
    int x, y;
    for (y = 0; y < HEIGHT; y++)
        for (x = 0; x < WIDTH; x++)
            picture[y * WIDTH + x] = (unsigned char)(16 + (x + 4 * n) % 220);
    memset(picture + WIDTH * HEIGHT, 128, WIDTH * HEIGHT / 2);
}

static gs_status show(gs_job *job, int n)
{
    unsigned char *picture = malloc(WIDTH * HEIGHT * 3 / 2);
    gs_frame *frame = NULL;
    gs_frame_options what;
    gs_plane planes[2];
    gs_status status;
    if (!picture)
        return GS_MEMORY;
    draw(picture, n);
    memset(&what, 0, sizeof what);
    memset(planes, 0, sizeof planes);
    what.size = sizeof what;
    what.format = "nv12";
    what.width = WIDTH;
    what.height = HEIGHT;
    what.pts = (int64_t)n * 1000000 / RATE;
    what.duration = 1000000 / RATE;
    planes[0].data = picture;
    planes[1].data = picture + WIDTH * HEIGHT;
    status = gs_frame_wrap(&what, planes, 2, free, picture, &frame);
    if (status != GS_OK) {
        free(picture);
        return status;
    }
    /* The camera shows pictures at their time; this waits while enough of them lie ready. */
    status = gs_job_push_frame(job, frame, -1);
    gs_frame_unref(&frame);
    return status;
}

int main(int argc, char **argv)
{
    int n, pictures;
    if (argc != 3 || atof(argv[2]) <= 0) {
        fprintf(stderr, "usage: %s NAME SECONDS\n", argv[0]);
        return 2;
    }
    pictures = (int)(atof(argv[2]) * RATE);
    char *json = document(argv[1]);
    if (!json)
        return fail("document", GS_MEMORY);
    gs_pipeline *pipeline = NULL;
    gs_job *job = NULL;
    gs_status status = gs_pipeline_new(json, &pipeline);
    free(json);
    if (status == GS_OK)
        status = gs_pipeline_start(pipeline, &job);
    gs_pipeline_free(&pipeline);
    for (n = 0; n < pictures && status == GS_OK; n++)
        status = show(job, n);
    if (status == GS_OK)
        status = gs_job_finish_input(job);
    if (status == GS_OK)
        status = gs_job_wait(job, -1);
    if (status != GS_OK)
        fail(argv[1], status);
    gs_job_free(&job);
    if (status == GS_OK)
        printf("%d pictures on the camera %s\n", pictures, argv[1]);
    return status == GS_OK ? 0 : 1;
}
