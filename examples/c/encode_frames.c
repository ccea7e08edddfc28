/* Your own pictures become a bare H.264 stream, without a copy on the way:  encode_frames OUT.h264 [FRAMES]
 *
 * cc encode_frames.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 320, HEIGHT = 180, RATE = 25 };

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
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

/* Writes the packets that are there (timeout 0) or all that will come (timeout -1). */
static gs_status drain(gs_encoder *encoder, int64_t timeout, FILE *out, int *packets)
{
    gs_packet *packet = NULL;
    gs_status status;
    while ((status = gs_encoder_next_packet(encoder, timeout, &packet)) == GS_OK) {
        gs_packet_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        status = gs_packet_get_info(packet, &info);
        if (status == GS_OK) {
            fwrite(info.data, 1, info.bytes, out);
            ++*packets;
        }
        gs_packet_unref(&packet);
    }
    return status;
}

int main(int argc, char **argv)
{
    int frames = argc > 2 ? atoi(argv[2]) : 50;
    int packets = 0, n;
    if (argc < 2 || frames < 1) {
        fprintf(stderr, "usage: %s OUT.h264 [FRAMES]\n", argv[0]);
        return 2;
    }
    FILE *out = fopen(argv[1], "wb");
    if (!out) {
        perror(argv[1]);
        return 1;
    }

    gs_encoder_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.width = WIDTH;
    options.height = HEIGHT;
    options.format = "nv12";
    options.rate_num = RATE;
    options.codec = "h264";
    options.preset = "p2";
    options.crf = 23;

    gs_encoder *encoder = NULL;
    gs_status status = gs_encoder_open(&options, &encoder);
    for (n = 0; n < frames && status == GS_OK; n++) {
        unsigned char *picture = malloc(WIDTH * HEIGHT * 3 / 2);
        gs_frame *frame = NULL;
        gs_frame_options what;
        gs_plane planes[2];
        if (!picture) {
            status = GS_MEMORY;
            break;
        }
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

        /* From here on the picture is the library's, until it calls free(picture). */
        status = gs_frame_wrap(&what, planes, 2, free, picture, &frame);
        if (status != GS_OK) {
            free(picture);
            break;
        }
        status = gs_encoder_push_frame(encoder, frame, -1);
        gs_frame_unref(&frame);
        if (status == GS_OK) {
            status = drain(encoder, 0, out, &packets);
            if (status == GS_AGAIN)
                status = GS_OK;
        }
    }
    if (status == GS_OK)
        status = gs_encoder_finish(encoder);
    if (status == GS_OK)
        status = drain(encoder, -1, out, &packets);
    if (status != GS_END)
        fail("encode", status);
    gs_encoder_free(&encoder);
    fclose(out);
    printf("%d frames, %d packets\n", frames, packets);
    return status == GS_END && packets == frames ? 0 : 1;
}
