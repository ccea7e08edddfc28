/* Pictures of any source, as a Y4M file:  capture_frames SOURCE OUT.y4m [FRAMES [SECONDS]]
 * SOURCE is a file, a URL, pattern:smpte, screen: or camera:/dev/video0; begins at SECONDS, exactly (not of a screen).
 *
 * cc capture_frames.c $(pkg-config --cflags --libs ghoststream) */
#include <ghoststream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, gs_status status)
{
    fprintf(stderr, "%s: %s: %s\n", what, gs_status_name(status), gs_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    long frames = argc > 3 ? atol(argv[3]) : 60, n = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s SOURCE OUT.y4m [FRAMES [SECONDS]]\n", argv[0]);
        return 2;
    }

    gs_capture_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.format = "yuv420p";

    gs_capture *capture = NULL;
    gs_status status = gs_capture_open(argv[1], &options, &capture);
    if (status == GS_OK && argc > 4)
        status = gs_capture_seek(capture, (int64_t)(atof(argv[4]) * 1e6));
    if (status != GS_OK) {
        gs_capture_free(&capture);
        return fail(argv[1], status);
    }
    FILE *out = fopen(argv[2], "wb");
    if (!out) {
        perror(argv[2]);
        gs_capture_free(&capture);
        return 1;
    }

    while (n < frames) {
        gs_frame *frame = NULL;
        gs_buffer *packed = NULL;
        gs_frame_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        status = gs_capture_next_frame(capture, -1, &frame);
        if (status == GS_OK)
            status = gs_frame_get_info(frame, &info);
        if (status == GS_OK)
            status = gs_frame_pack(frame, &packed);
        if (status == GS_OK) {
            if (n == 0) {
                long rate = info.duration > 0 ? (long)(1000000 / info.duration) : 25;
                fprintf(out, "YUV4MPEG2 W%u H%u F%ld:1 Ip A%u:%u C420\n", (unsigned)info.width, (unsigned)info.height,
                        rate, (unsigned)info.aspect_num, (unsigned)info.aspect_den);
            }
            fprintf(out, "FRAME\n");
            fwrite(gs_buffer_data(packed), 1, gs_buffer_size(packed), out);
            n++;
        }
        gs_buffer_unref(&packed);
        gs_frame_unref(&frame);
        if (status != GS_OK)
            break;
    }
    if (status < 0)
        fail(argv[1], status);
    gs_capture_free(&capture);
    fclose(out);
    printf("%ld frames\n", n);
    return status < 0;
}
