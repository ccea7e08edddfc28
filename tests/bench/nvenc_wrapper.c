/* What a picture costs in FFmpeg's NVENC wrapper outside the driver: avcodec_send_frame and avcodec_receive_packet. The twin of
 * nvenc_loop.rs; nvenc.py builds and runs both.
 *   cc -O2 -o nvenc_wrapper nvenc_wrapper.c $(pkg-config --cflags --libs libavcodec libavutil) -ldl
 *   nvenc_wrapper CODEC FRAMES B_FRAMES */
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/opt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = 200, PICTURES = 24 };

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "nvenc_wrapper: %s\n", what);
        exit(1);
    }
}

static uint64_t process_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static long drain(AVCodecContext *encoder, AVPacket *packet)
{
    long out = 0;
    while (avcodec_receive_packet(encoder, packet) == 0) {
        av_packet_unref(packet);
        out++;
    }
    return out;
}

int main(int argc, char **argv)
{
    must(argc == 4, "CODEC FRAMES B_FRAMES");
    const long frames = atol(argv[2]);
    char name[32];
    snprintf(name, sizeof name, "%s_nvenc", argv[1]);
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    must(codec != NULL, "this FFmpeg has no such encoder");
    AVBufferRef *device = NULL;
    must(av_hwdevice_ctx_create(&device, AV_HWDEVICE_TYPE_CUDA, "0", NULL, 0) == 0, "no device");
    AVBufferRef *pool = av_hwframe_ctx_alloc(device);
    AVHWFramesContext *shape = (AVHWFramesContext *)pool->data;
    shape->format = AV_PIX_FMT_CUDA;
    shape->sw_format = AV_PIX_FMT_NV12;
    shape->width = 320;
    shape->height = 180;
    must(av_hwframe_ctx_init(pool) == 0, "no pool");
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    encoder->width = 320;
    encoder->height = 180;
    encoder->time_base = (AVRational){1, 25};
    encoder->framerate = (AVRational){25, 1};
    encoder->pix_fmt = AV_PIX_FMT_CUDA;
    encoder->hw_frames_ctx = av_buffer_ref(pool);
    encoder->bit_rate = 2000000;
    encoder->gop_size = 60000;
    encoder->max_b_frames = atoi(argv[3]);
    av_opt_set(encoder->priv_data, "preset", "p1", 0);
    must(avcodec_open2(encoder, codec, NULL) == 0, "the encoder does not open");
    AVFrame *pictures[PICTURES], *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    for (int i = 0; i < PICTURES; i++) {
        pictures[i] = av_frame_alloc();
        must(av_hwframe_get_buffer(pool, pictures[i], 0) == 0, "no frame");
    }
    uint64_t (*spent)(uint64_t *) = NULL;
    *(void **)&spent = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "standin_spent");
    must(spent != NULL, "the driver in LD_LIBRARY_PATH is not the stand-in");

    uint64_t begin = 0, driver = 0, calls = 0, count = 0;
    long out = 0;
    for (long n = 0; n < WARM + frames; n++) {
        if (n == WARM) {
            begin = process_ns();
            driver = spent(&calls);
        }
        must(av_frame_ref(frame, pictures[n % PICTURES]) == 0, "no reference");
        frame->pts = n;
        must(avcodec_send_frame(encoder, frame) == 0, "a frame is refused");
        av_frame_unref(frame);
        out += drain(encoder, packet);
    }
    must(avcodec_send_frame(encoder, NULL) == 0, "the end is refused");
    out += drain(encoder, packet);
    const uint64_t all = process_ns() - begin, inside = spent(&count) - driver;
    must(out == WARM + frames, "packets are missing");
    must(count > calls, "the stand-in does not count (GS_STANDIN_SPENT=1)");
    for (int i = 0; i < PICTURES; i++)
        av_frame_free(&pictures[i]);
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&encoder);
    av_buffer_unref(&pool);
    av_buffer_unref(&device);
    printf("{\"outside\": %.3f, \"inside\": %.3f, \"calls\": %.2f}\n", (double)(all - inside) / (double)frames / 1e3,
           (double)inside / (double)frames / 1e3, (double)(count - calls) / (double)frames);
    return 0;
}
