/* A screen of PipeWire for tests, which does what desktops do and GStreamer does not: the pointer beside the picture, pictures
 * as DMA-BUFs with modifiers, buffers with nothing but a new pointer. There is no GPU: what is called a DMA-BUF is a sealed memfd.
 *
 *   screen_standin NAME [memory|linear|tiled] [pointer|numbers|resize|moves|pause] [pods DIRECTORY]
 *
 * memory   host memory only
 * linear   DMA-BUFs in rows only
 * tiled    DMA-BUFs with modifiers of an NVIDIA GPU or in rows, or host memory
 * pointer  after one second the pointer moves, without a new picture
 * numbers  the number of the buffer is drawn along the top, in 16 bits
 * resize   after one second the picture is of half the size
 * moves    after one second it has nothing but host memory
 * pause    after one second nothing comes for a second
 * pods     every format that is agreed on is written there, as PipeWire's bytes
 *
 * The picture is 320x180, BGRx, blue. What is agreed on is said on standard output. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pipewire/pipewire.h>
#include <spa/debug/types.h>
#include <spa/param/video/format-utils.h>
#include <spa/pod/iter.h>

enum { WIDTH = 320, HEIGHT = 180, STRIDE = WIDTH * 4 + 64, SIZE = STRIDE * HEIGHT, SIDE = 16, RATE = 30 };
#define LINEAR UINT64_C(0)
/* Block linear, compressed and not, as NVIDIA's driver names them. */
static const uint64_t tiled[] = { UINT64_C(0x0300000000e08014), UINT64_C(0x0300000000606014), LINEAR };
static const uint64_t linear[] = { LINEAR };

#define POINTER_SIZE (sizeof(struct spa_meta_cursor) + sizeof(struct spa_meta_bitmap) + SIDE * SIDE * 4)

static struct {
    struct pw_main_loop *loop;
    struct pw_stream *stream;
    struct spa_source *timer;
    const uint64_t *modifiers;
    int n_modifiers;
    bool memory, pointer, numbers, resize, moves, pause, dmabuf, told, streaming, done;
    uint32_t width, height;
    int rest;
    const char *pods;
    int formats;
    uint64_t frames;
} s;

static const struct spa_pod *format(struct spa_pod_builder *b, const uint64_t *modifiers, int n, bool fixed)
{
    struct spa_pod_frame object, choice;
    spa_pod_builder_push_object(b, &object, SPA_TYPE_OBJECT_Format, SPA_PARAM_EnumFormat);
    spa_pod_builder_add(b, SPA_FORMAT_mediaType, SPA_POD_Id(SPA_MEDIA_TYPE_video), SPA_FORMAT_mediaSubtype,
                        SPA_POD_Id(SPA_MEDIA_SUBTYPE_raw), SPA_FORMAT_VIDEO_format, SPA_POD_Id(SPA_VIDEO_FORMAT_BGRx), 0);
    if (n && fixed) {
        spa_pod_builder_prop(b, SPA_FORMAT_VIDEO_modifier, SPA_POD_PROP_FLAG_MANDATORY);
        spa_pod_builder_long(b, (int64_t)modifiers[0]);
    } else if (n) {
        spa_pod_builder_prop(b, SPA_FORMAT_VIDEO_modifier, SPA_POD_PROP_FLAG_MANDATORY | SPA_POD_PROP_FLAG_DONT_FIXATE);
        spa_pod_builder_push_choice(b, &choice, SPA_CHOICE_Enum, 0);
        spa_pod_builder_long(b, (int64_t)modifiers[0]);
        for (int i = 0; i < n; i++)
            spa_pod_builder_long(b, (int64_t)modifiers[i]);
        spa_pod_builder_pop(b, &choice);
    }
    spa_pod_builder_add(b, SPA_FORMAT_VIDEO_size, SPA_POD_Rectangle(&SPA_RECTANGLE(s.width, s.height)), SPA_FORMAT_VIDEO_framerate,
                        SPA_POD_Fraction(&SPA_FRACTION(0, 1)), SPA_FORMAT_VIDEO_maxFramerate,
                        SPA_POD_CHOICE_RANGE_Fraction(&SPA_FRACTION(RATE, 1), &SPA_FRACTION(1, 1), &SPA_FRACTION(RATE, 1)), 0);
    return spa_pod_builder_pop(b, &object);
}

/* The formats on offer; with `picked` the one that was picked first. */
static int offers(struct spa_pod_builder *b, const struct spa_pod **params, const uint64_t *picked)
{
    int n = 0;
    if (picked)
        params[n++] = format(b, picked, 1, true);
    if (s.n_modifiers)
        params[n++] = format(b, s.modifiers, s.n_modifiers, false);
    if (s.memory)
        params[n++] = format(b, NULL, 0, false);
    return n;
}

static void keep(const struct spa_pod *param)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/format-%d.pod", s.pods, s.formats++);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(param, SPA_POD_SIZE(param), 1, out) != 1 || fclose(out))
        perror(path);
}

static void param_changed(void *data, uint32_t id, const struct spa_pod *param)
{
    uint8_t bytes[4096];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(bytes, sizeof bytes);
    const struct spa_pod *params[8];
    int n = 0;
    (void)data;
    if (!param || id != SPA_PARAM_Format)
        return;
    if (s.pods)
        keep(param);
    const struct spa_pod_prop *modifier = spa_pod_find_prop(param, NULL, SPA_FORMAT_VIDEO_modifier);
    s.dmabuf = modifier;
    if (modifier && modifier->flags & SPA_POD_PROP_FLAG_DONT_FIXATE) {
        uint32_t count, kind;
        const struct spa_pod *values = spa_pod_get_values(&modifier->value, &count, &kind);
        const uint64_t *all = SPA_POD_BODY_CONST(values);
        /* The first is the default, and comes again. */
        printf("asked");
        for (uint32_t i = count > 1 ? 1 : 0; i < count; i++)
            printf(" %#llx", (unsigned long long)all[i]);
        printf("\n");
        fflush(stdout);
        /* The last one that both know: the other side must take what this one allocates. */
        const uint64_t picked = all[count - 1];
        n = offers(&b, params, &picked);
        pw_stream_update_params(s.stream, params, n);
        return;
    }
    struct spa_rectangle size = { 0, 0 };
    spa_pod_parse_object(param, SPA_TYPE_OBJECT_Format, NULL, SPA_FORMAT_VIDEO_size, SPA_POD_Rectangle(&size));
    if (modifier) {
        int64_t value = 0;
        uint32_t count, kind;
        spa_pod_get_long(spa_pod_get_values(&modifier->value, &count, &kind), &value);
        printf("agreed dmabuf %#llx\n", (unsigned long long)value);
    } else {
        printf("agreed memory %ux%u\n", size.width, size.height);
    }
    fflush(stdout);
    params[n++] = spa_pod_builder_add_object(&b, SPA_TYPE_OBJECT_ParamBuffers, SPA_PARAM_Buffers, SPA_PARAM_BUFFERS_buffers,
        SPA_POD_CHOICE_RANGE_Int(4, 2, 8), SPA_PARAM_BUFFERS_blocks, SPA_POD_Int(1), SPA_PARAM_BUFFERS_size, SPA_POD_Int(SIZE),
        SPA_PARAM_BUFFERS_stride, SPA_POD_Int(STRIDE), SPA_PARAM_BUFFERS_dataType,
        SPA_POD_CHOICE_FLAGS_Int(1 << (s.dmabuf ? SPA_DATA_DmaBuf : SPA_DATA_MemFd)));
    params[n++] = spa_pod_builder_add_object(&b, SPA_TYPE_OBJECT_ParamMeta, SPA_PARAM_Meta, SPA_PARAM_META_type,
        SPA_POD_Id(SPA_META_Header), SPA_PARAM_META_size, SPA_POD_Int(sizeof(struct spa_meta_header)));
    if (s.pointer)
        params[n++] = spa_pod_builder_add_object(&b, SPA_TYPE_OBJECT_ParamMeta, SPA_PARAM_Meta, SPA_PARAM_META_type,
            SPA_POD_Id(SPA_META_Cursor), SPA_PARAM_META_size, SPA_POD_Int(POINTER_SIZE));
    pw_stream_update_params(s.stream, params, n);
}

static void add_buffer(void *data, struct pw_buffer *buffer)
{
    struct spa_data *d = buffer->buffer->datas;
    (void)data;
    const int fd = memfd_create("screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)) {
        perror("memfd");
        exit(1);
    }
    d->type = s.dmabuf ? SPA_DATA_DmaBuf : SPA_DATA_MemFd;
    d->flags = SPA_DATA_FLAG_READWRITE;
    d->fd = fd;
    d->mapoffset = 0;
    d->maxsize = SIZE;
    buffer->user_data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (buffer->user_data == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
}

static void remove_buffer(void *data, struct pw_buffer *buffer)
{
    (void)data;
    munmap(buffer->user_data, SIZE);
    close((int)buffer->buffer->datas[0].fd);
}

static void state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state, const char *error)
{
    (void)data;
    (void)old;
    s.streaming = state == PW_STREAM_STATE_STREAMING;
    if (state == PW_STREAM_STATE_ERROR)
        printf("error %s\n", error), fflush(stdout);
    s.frames = 0;
    s.told = false;
}

/* A square of which the left half is red and the right half a half of red, premultiplied as desktops do it. */
static void draw_pointer(struct spa_meta_cursor *cursor, int x, int y, bool bitmap)
{
    *cursor = (struct spa_meta_cursor){ .id = 1, .position = SPA_POINT(x, y), .hotspot = SPA_POINT(4, 2) };
    if (!bitmap)
        return;
    cursor->bitmap_offset = sizeof *cursor;
    struct spa_meta_bitmap *head = SPA_PTROFF(cursor, sizeof *cursor, struct spa_meta_bitmap);
    *head = (struct spa_meta_bitmap){ .format = SPA_VIDEO_FORMAT_RGBA, .size = SPA_RECTANGLE(SIDE, SIDE),
                                      .stride = SIDE * 4, .offset = sizeof *head };
    uint8_t *pixel = SPA_PTROFF(head, sizeof *head, uint8_t);
    for (int i = 0; i < SIDE * SIDE; i++, pixel += 4) {
        const uint8_t strength = i % SIDE < SIDE / 2 ? 255 : 128;
        pixel[0] = pixel[3] = strength;
        pixel[1] = pixel[2] = 0;
    }
}

static void process(void *data)
{
    (void)data;
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(s.stream);
    if (!buffer)
        return;
    struct spa_data *d = buffer->buffer->datas;
    const bool moved = s.pointer && s.frames >= RATE;
    *d->chunk = (struct spa_chunk){ .offset = 0, .size = moved ? 0 : SIZE, .stride = STRIDE };
    for (uint32_t y = 0; !moved && y < s.height; y++) {
        uint32_t *row = (uint32_t *)((uint8_t *)buffer->user_data + y * STRIDE);
        for (uint32_t x = 0; x < s.width; x++) {
            const uint32_t bit = 15 - x / (WIDTH / 16) % 16;
            row[x] = !s.numbers || y >= 20 ? 0x000000ff : s.frames >> bit & 1 ? 0x00ffffff : 0;
        }
    }
    struct spa_meta_header *header = spa_buffer_find_meta_data(buffer->buffer, SPA_META_Header, sizeof *header);
    if (header) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        *header = (struct spa_meta_header){ .pts = SPA_TIMESPEC_TO_NSEC(&now), .seq = s.frames };
    }
    struct spa_meta_cursor *cursor = spa_buffer_find_meta_data(buffer->buffer, SPA_META_Cursor, POINTER_SIZE);
    if (cursor) {
        draw_pointer(cursor, moved ? 204 : 104, moved ? 102 : 52, !s.told);
        if (!s.told)
            printf("pointer\n"), fflush(stdout);
        s.told = true;
    }
    s.frames++;
    pw_stream_queue_buffer(s.stream, buffer);
}

static void tick(void *data, uint64_t expirations)
{
    (void)data;
    (void)expirations;
    if (s.rest && !--s.rest)
        pw_stream_set_active(s.stream, true);
    if (!s.streaming || s.rest)
        return;
    if (s.frames >= RATE && !s.done && (s.resize || s.moves)) {
        uint8_t bytes[4096];
        struct spa_pod_builder b = SPA_POD_BUILDER_INIT(bytes, sizeof bytes);
        const struct spa_pod *params[4];
        s.done = true;
        if (s.moves)
            s.n_modifiers = 0;
        if (s.resize) {
            s.width = WIDTH / 2;
            s.height = HEIGHT / 2;
        }
        pw_stream_update_params(s.stream, params, offers(&b, params, NULL));
    } else if (s.frames >= RATE && !s.done && s.pause) {
        s.done = true;
        s.rest = RATE;
        pw_stream_set_active(s.stream, false);
    } else {
        pw_stream_trigger_process(s.stream);
    }
}

static void quit(void *data, int number)
{
    (void)data;
    (void)number;
    pw_main_loop_quit(s.loop);
}

static const struct pw_stream_events events = {
    PW_VERSION_STREAM_EVENTS, .state_changed = state_changed, .param_changed = param_changed, .add_buffer = add_buffer,
    .remove_buffer = remove_buffer, .process = process,
};

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    s.memory = true;
    s.width = WIDTH;
    s.height = HEIGHT;
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "linear"))
            s.modifiers = linear, s.n_modifiers = 1, s.memory = false;
        else if (!strcmp(argv[i], "tiled"))
            s.modifiers = tiled, s.n_modifiers = 3;
        else if (!strcmp(argv[i], "pointer"))
            s.pointer = true;
        else if (!strcmp(argv[i], "numbers"))
            s.numbers = true;
        else if (!strcmp(argv[i], "resize"))
            s.resize = true;
        else if (!strcmp(argv[i], "moves"))
            s.moves = true;
        else if (!strcmp(argv[i], "pause"))
            s.pause = true;
        else if (!strcmp(argv[i], "pods") && i + 1 < argc)
            s.pods = argv[++i];
        else if (strcmp(argv[i], "memory"))
            return 2;
    }
    pw_init(NULL, NULL);
    s.loop = pw_main_loop_new(NULL);
    struct pw_loop *loop = pw_main_loop_get_loop(s.loop);
    pw_loop_add_signal(loop, SIGTERM, quit, NULL);
    s.stream = pw_stream_new_simple(loop, argv[1], pw_properties_new(PW_KEY_MEDIA_CLASS, "Video/Source", PW_KEY_NODE_NAME, argv[1],
                                    NULL), &events, NULL);
    uint8_t bytes[4096];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(bytes, sizeof bytes);
    const struct spa_pod *params[4];
    const int n = offers(&b, params, NULL);
    if (!s.stream || pw_stream_connect(s.stream, PW_DIRECTION_OUTPUT, PW_ID_ANY,
                                       PW_STREAM_FLAG_DRIVER | PW_STREAM_FLAG_ALLOC_BUFFERS, params, n) < 0) {
        fprintf(stderr, "no PipeWire\n");
        return 1;
    }
    s.timer = pw_loop_add_timer(loop, tick, NULL);
    struct timespec first = { 0, 1 }, every = { 0, 1000000000 / RATE };
    pw_loop_update_timer(loop, s.timer, &first, &every, false);
    pw_main_loop_run(s.loop);
    pw_stream_destroy(s.stream);
    pw_main_loop_destroy(s.loop);
    return 0;
}
