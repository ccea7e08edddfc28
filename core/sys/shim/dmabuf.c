/* Pictures in DMA-BUFs: FFmpeg's drm_prime frames, without a device or a pool behind them. */
#include "shim.h"

#include <libavutil/hwcontext_drm.h>

#define OBJECTS AV_DRM_MAX_PLANES

/* What a frame of ours points to: FFmpeg's description, and behind it what that has no place for. */
typedef struct Picture {
    AVDRMFrameDescriptor drm;
    GsavDmabuf own;
} Picture;

/* Makes `f` a picture of w x h over the memory of `d`. On success `release(opaque, NULL)` runs with the last reference. */
int gsav_frame_dmabuf_set(AVFrame *f, const GsavDmabuf *d, int w, int h, void (*release)(void *, uint8_t *), void *opaque)
{
    AVBufferRef *about, *memory;
    Picture *p;
    int i;
    if (d->planes < 1 || d->planes > OBJECTS || f->buf[0])
        return AVERROR(EINVAL);
    about = av_buffer_allocz(sizeof(*p));
    if (!about)
        return AVERROR(ENOMEM);
    memory = av_buffer_create(NULL, 0, release, opaque, AV_BUFFER_FLAG_READONLY);
    if (!memory) {
        av_buffer_unref(&about);
        return AVERROR(ENOMEM);
    }
    p = (Picture *)about->data;
    p->own = *d;
    p->drm.nb_objects = p->drm.layers[0].nb_planes = d->planes;
    p->drm.nb_layers = 1;
    p->drm.layers[0].format = d->fourcc;
    for (i = 0; i < d->planes; i++) {
        p->drm.objects[i].fd = d->fd[i];
        p->drm.objects[i].size = d->size[i];
        p->drm.objects[i].format_modifier = d->modifier;
        p->drm.layers[0].planes[i].object_index = i;
        p->drm.layers[0].planes[i].offset = d->offset[i];
        p->drm.layers[0].planes[i].pitch = d->pitch[i];
    }
    f->format = AV_PIX_FMT_DRM_PRIME;
    f->width = w;
    f->height = h;
    f->data[0] = about->data;
    f->buf[0] = about;
    f->buf[1] = memory;
    f->extended_data = f->data;
    return 0;
}

/* What a drm_prime frame lies in. The descriptors stay the frame's. */
int gsav_frame_dmabuf_get(const AVFrame *f, GsavDmabuf *d)
{
    const AVDRMFrameDescriptor *drm = (const AVDRMFrameDescriptor *)f->data[0];
    const AVDRMLayerDescriptor *layer;
    int i;
    if (f->format != AV_PIX_FMT_DRM_PRIME || !drm || !f->buf[0])
        return AVERROR(EINVAL);
    if (f->buf[0]->data == f->data[0] && f->buf[0]->size == sizeof(Picture)) {
        *d = ((const Picture *)drm)->own;
        return 0;
    }
    /* FFmpeg's own: one layer is one picture; several are planes with formats of their own. */
    layer = &drm->layers[0];
    if (drm->nb_layers != 1 || drm->nb_objects < 1 || layer->nb_planes < 1 || layer->nb_planes > OBJECTS)
        return AVERROR(ENOSYS);
    memset(d, 0, sizeof(*d));
    d->modifier = drm->objects[0].format_modifier;
    d->fourcc = layer->format;
    d->planes = layer->nb_planes;
    d->width = f->width;
    d->height = f->height;
    for (i = 0; i < d->planes; i++) {
        const AVDRMPlaneDescriptor *plane = &layer->planes[i];
        if (plane->object_index < 0 || plane->object_index >= drm->nb_objects)
            return AVERROR(EINVAL);
        d->fd[i] = drm->objects[plane->object_index].fd;
        d->size[i] = drm->objects[plane->object_index].size;
        d->offset[i] = (uint32_t)plane->offset;
        d->pitch[i] = (uint32_t)plane->pitch;
    }
    return 0;
}
