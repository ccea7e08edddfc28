/* Pictures that are in CUDA memory already become a bare H.264 stream by the C library:  gpu_frames OUT.h264 FRAMES [rgb]
 * As NV12, or as three bytes a pixel, which are copied on the device and given back at once.
 * They are filled on the device, so that this program copies nothing between host and device either. */
#include <dlfcn.h>
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 320, HEIGHT = 180, BANDS = 4 };

typedef unsigned long long Pointer;
static int (*push)(void *), (*pop)(void **), (*take)(Pointer *, size_t), (*give)(Pointer);
static int (*fill)(Pointer, size_t, unsigned char, size_t, size_t);
static void *context;
static int given;

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, gs_last_error());
    return 1;
}

/* Runs on any thread. */
static void release(void *user)
{
    void *before;
    if (push(context) || give((Pointer)(size_t)user) || pop(&before))
        abort();
    __atomic_add_fetch(&given, 1, __ATOMIC_SEQ_CST);
}

static gs_status drain(gs_encoder *encoder, int64_t timeout, FILE *out, int *packets)
{
    gs_packet *packet = NULL;
    gs_status status;
    while ((status = gs_encoder_next_packet(encoder, timeout, &packet)) == GS_OK) {
        gs_packet_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        gs_packet_get_info(packet, &info);
        /* Each picture says how it was coded, and how long the GPU had it. */
        if ((*packets == 0) != (info.picture == GS_PICTURE_I && (info.flags & GS_PACKET_KEY)) || info.qp < 0 || !info.gpu_time)
            abort();
        fwrite(info.data, 1, info.bytes, out);
        ++*packets;
        gs_packet_unref(&packet);
    }
    return status;
}

int main(int argc, char **argv)
{
    int (*init)(unsigned), (*primary)(void **, int), (*let_go)(int), packets = 0, n, band;
    int frames = argc > 2 ? atoi(argv[2]) : 0, rgb = argc > 3;
    const size_t pitch = rgb ? 1024 : 512;
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW), *before;
    FILE *out = fopen(argc > 1 ? argv[1] : "/dev/null", "wb");
    gs_encoder_options options;
    gs_encoder *encoder = NULL;
    gs_status status;
    if (!cuda || !out)
        return fail("CUDA and a file");
    *(void **)&init = dlsym(cuda, "cuInit");
    *(void **)&primary = dlsym(cuda, "cuDevicePrimaryCtxRetain");
    *(void **)&let_go = dlsym(cuda, "cuDevicePrimaryCtxRelease_v2");
    *(void **)&push = dlsym(cuda, "cuCtxPushCurrent_v2");
    *(void **)&pop = dlsym(cuda, "cuCtxPopCurrent_v2");
    *(void **)&take = dlsym(cuda, "cuMemAlloc_v2");
    *(void **)&give = dlsym(cuda, "cuMemFree_v2");
    *(void **)&fill = dlsym(cuda, "cuMemsetD2D8_v2");
    if (init(0) || primary(&context, 0))
        return fail("CUDA");

    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.width = WIDTH;
    options.height = HEIGHT;
    options.format = rgb ? "rgb0" : "nv12";
    options.rate_num = 25;
    options.encoder = "h264_nvenc";
    options.memory = GS_MEMORY_CUDA;
    options.json = "{\"lossless\": true}";
    status = gs_encoder_open(&options, &encoder);
    for (n = 0; n < frames && status == GS_OK; n++) {
        Pointer picture = 0, chroma;
        gs_frame_options what;
        gs_plane planes[2];
        gs_frame *frame = NULL;
        if (push(context) || take(&picture, pitch * HEIGHT * 3 / 2))
            return fail("device memory");
        chroma = picture + pitch * HEIGHT;
        for (band = 0; band < BANDS; band++)
            fill(picture + pitch * (band * HEIGHT / BANDS), pitch, (unsigned char)(20 + 50 * band + n),
                 rgb ? WIDTH * 3 : WIDTH, HEIGHT / BANDS);
        fill(chroma, pitch, (unsigned char)(100 + n), WIDTH, HEIGHT / 2);
        pop(&before);
        memset(&what, 0, sizeof what);
        memset(planes, 0, sizeof planes);
        what.size = sizeof what;
        what.format = rgb ? "rgb24" : "nv12";
        what.width = WIDTH;
        what.height = HEIGHT;
        what.pts = (int64_t)n * 40000;
        what.duration = 40000;
        what.memory = GS_MEMORY_CUDA;
        planes[0].data = (const uint8_t *)(size_t)picture;
        planes[1].data = (const uint8_t *)(size_t)chroma;
        planes[0].stride = planes[1].stride = pitch;
        planes[0].bytes = pitch * HEIGHT;
        planes[1].bytes = pitch * HEIGHT / 2;
        status = gs_frame_wrap(&what, planes, rgb ? 1 : 2, release, (void *)(size_t)picture, &frame);
        if (status != GS_OK)
            return fail("wrap");
        if (rgb && given != n + 1)
            return fail("the memory is not given back");
        status = gs_encoder_push_frame(encoder, frame, -1);
        gs_frame_unref(&frame);
        if (status == GS_OK && (status = drain(encoder, 0, out, &packets)) == GS_AGAIN)
            status = GS_OK;
    }
    if (status == GS_OK)
        status = gs_encoder_finish(encoder);
    if (status == GS_OK)
        status = drain(encoder, -1, out, &packets);
    if (status != GS_END)
        fail("encode");
    gs_encoder_free(&encoder);
    fclose(out);
    let_go(0);
    printf("%d packets, %d pictures given back\n", packets, given);
    return status == GS_END && packets == frames && given == frames ? 0 : 1;
}
