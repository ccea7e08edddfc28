/* Two V4L2 devices for machines without any, put under a program by LD_PRELOAD: GS_V4L2_CAMERA (a path) is a camera that gives
 * YUYV of 320x180 or 160x90 at the rate it is asked for, a grey level for each picture; GS_V4L2_LOOPBACK (a path) takes
 * pictures as v4l2loopback does and keeps them in the file GS_V4L2_KEPT. GS_V4L2_UNPLUG: the camera is gone after so many pictures.
 *
 * Only the requests that FFmpeg's reader and GhostStream's writer make are answered, with the kernel's structures.
 *
 *   cc -shared -fPIC -o standin.so v4l2_standin.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 32, ALIGN = 1 << 20 };
static int camera = -1, loopback = -1;
static unsigned width = 320, height = 180, rate = 30, buffers, queued[MOST], first, count, given;
static struct timespec next;

static int is(const char *path, const char *variable)
{
    const char *wanted = getenv(variable);
    return wanted && path && strcmp(path, wanted) == 0;
}

static int opened(const char *path)
{
    if (is(path, "GS_V4L2_CAMERA")) {
        if (camera >= 0) {
            /* Looking at a device that is in use is allowed. */
            return dup(camera);
        }
        camera = memfd_create("camera", MFD_CLOEXEC);
        return camera;
    }
    loopback = open(getenv("GS_V4L2_KEPT"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return loopback;
}

#define OPEN(NAME)                                                                                                     \
    int NAME(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        static int (*real)(const char *, int, ...);                                                                    \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = va_arg(more, mode_t);                                                                            \
        va_end(more);                                                                                                  \
        if (!real)                                                                                                     \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #NAME);                                           \
        if (is(path, "GS_V4L2_CAMERA") || is(path, "GS_V4L2_LOOPBACK"))                                                \
            return opened(path);                                                                                       \
        return real(path, flags, mode);                                                                                \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd == camera)
        camera = -1;
    if (fd >= 0 && fd == loopback)
        loopback = -1;
    return real(fd);
}

static int fail(int why)
{
    errno = why;
    return -1;
}

static unsigned size(void)
{
    return width * height * 2;
}

/* The next picture, when its time has come. */
static int take(struct v4l2_buffer *b)
{
    const char *unplug = getenv("GS_V4L2_UNPLUG");
    if (unplug && given >= (unsigned)atoi(unplug))
        return fail(ENODEV);
    while (count == 0)
        usleep(1000);
    next.tv_nsec += 1000000000L / rate;
    if (next.tv_nsec >= 1000000000L) {
        next.tv_sec++;
        next.tv_nsec -= 1000000000L;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    unsigned index = queued[first];
    first = (first + 1) % MOST;
    count--;
    unsigned char *picture = mmap(NULL, ALIGN, PROT_READ | PROT_WRITE, MAP_SHARED, camera, (off_t)index * ALIGN);
    if (picture == MAP_FAILED)
        return -1;
    for (unsigned i = 0; i < size(); i += 2) {
        picture[i] = (unsigned char)(16 + given * 4 % 200);
        picture[i + 1] = 128;
    }
    munmap(picture, ALIGN);
    memset(b, 0, sizeof *b);
    b->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    b->memory = V4L2_MEMORY_MMAP;
    b->index = index;
    b->bytesused = size();
    b->length = ALIGN;
    b->m.offset = index * ALIGN;
    b->sequence = given++;
    b->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    b->timestamp.tv_sec = next.tv_sec;
    b->timestamp.tv_usec = next.tv_nsec / 1000;
    return 0;
}

static int of_camera(unsigned long request, void *data)
{
    switch (request) {
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *f = data;
        if (f->index > 0)
            return fail(EINVAL);
        f->pixelformat = V4L2_PIX_FMT_YUYV;
        strcpy((char *)f->description, "YUYV 4:2:2");
        return 0;
    }
    case VIDIOC_G_FMT:
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT: {
        struct v4l2_format *f = data;
        if (request == VIDIOC_S_FMT && f->fmt.pix.width) {
            int small = f->fmt.pix.width <= 160;
            width = small ? 160 : 320;
            height = small ? 90 : 180;
        }
        f->fmt.pix.width = width;
        f->fmt.pix.height = height;
        f->fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
        f->fmt.pix.field = V4L2_FIELD_NONE;
        f->fmt.pix.bytesperline = width * 2;
        f->fmt.pix.sizeimage = size();
        return 0;
    }
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: {
        struct v4l2_streamparm *p = data;
        struct v4l2_fract *time = &p->parm.capture.timeperframe;
        if (request == VIDIOC_S_PARM && time->numerator && time->denominator)
            rate = time->denominator / time->numerator;
        p->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        time->numerator = 1;
        time->denominator = rate;
        return 0;
    }
    case VIDIOC_G_INPUT:
        *(int *)data = 0;
        return 0;
    case VIDIOC_S_INPUT:
        return 0;
    case VIDIOC_ENUMINPUT: {
        struct v4l2_input *i = data;
        if (i->index > 0)
            return fail(EINVAL);
        strcpy((char *)i->name, "Camera 1");
        i->type = V4L2_INPUT_TYPE_CAMERA;
        i->std = 0;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *r = data;
        buffers = r->count > MOST ? MOST : r->count;
        r->count = buffers;
        return ftruncate(camera, (off_t)MOST * ALIGN);
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *b = data;
        b->length = ALIGN;
        b->m.offset = b->index * ALIGN;
        return b->index < buffers ? 0 : fail(EINVAL);
    }
    case VIDIOC_QBUF:
        queued[(first + count) % MOST] = ((struct v4l2_buffer *)data)->index;
        count++;
        return 0;
    case VIDIOC_DQBUF:
        return take(data);
    case VIDIOC_STREAMON:
        clock_gettime(CLOCK_MONOTONIC, &next);
        return 0;
    case VIDIOC_STREAMOFF:
        first = count = 0;
        return 0;
    default:
        return fail(EINVAL);
    }
}

static int of_loopback(unsigned long request, void *data)
{
    if (request != VIDIOC_S_FMT)
        return fail(EINVAL);
    struct v4l2_format *f = data;
    if (f->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
        return fail(EINVAL);
    fprintf(stderr, "standin: %ux%u %.4s, %u bytes a row, %u in all\n", f->fmt.pix.width, f->fmt.pix.height,
            (char *)&f->fmt.pix.pixelformat, f->fmt.pix.bytesperline, f->fmt.pix.sizeimage);
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list more;
    va_start(more, request);
    void *data = va_arg(more, void *);
    va_end(more);
    if (!real)
        real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    if (fd < 0 || (fd != camera && fd != loopback))
        return real(fd, request, data);
    request &= 0xffffffff;
    if (request == VIDIOC_QUERYCAP) {
        struct v4l2_capability *c = data;
        memset(c, 0, sizeof *c);
        strcpy((char *)c->driver, "standin");
        strcpy((char *)c->card, fd == camera ? "A camera" : "A loopback");
        c->device_caps = (fd == camera ? V4L2_CAP_VIDEO_CAPTURE : V4L2_CAP_VIDEO_OUTPUT) | V4L2_CAP_STREAMING;
        c->capabilities = c->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    return fd == camera ? of_camera(request, data) : of_loopback(request, data);
}
