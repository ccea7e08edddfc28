/* CUDA devices and frames over a context that is not FFmpeg's. The toolkit's header is not needed: FFmpeg's asks for two
 * names of it only. */
#include "shim.h"

#define CUDA_VERSION 12020
typedef void *CUcontext;
typedef void *CUstream;
#include <libavutil/hwcontext_cuda.h>

typedef struct Owner {
    void (*release)(void *, uint8_t *);
    void *opaque;
} Owner;

static void device_freed(AVHWDeviceContext *device)
{
    Owner *owner = device->user_opaque;
    owner->release(owner->opaque, NULL);
    av_free(owner);
}

/* A device over `context`, with the default stream. On success `release(opaque, NULL)` runs when it is gone. */
int gsav_cuda_device(AVBufferRef **out, void *context, void (*release)(void *, uint8_t *), void *opaque)
{
    AVBufferRef *ref = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA);
    AVHWDeviceContext *device;
    Owner *owner;
    int ret;
    if (!ref)
        return AVERROR(ENOSYS);
    owner = av_malloc(sizeof(*owner));
    if (!owner) {
        av_buffer_unref(&ref);
        return AVERROR(ENOMEM);
    }
    device = (AVHWDeviceContext *)ref->data;
    ((AVCUDADeviceContext *)device->hwctx)->cuda_ctx = context;
    ret = av_hwdevice_ctx_init(ref);
    if (ret < 0) {
        av_free(owner);
        av_buffer_unref(&ref);
        return ret;
    }
    owner->release = release;
    owner->opaque = opaque;
    device->user_opaque = owner;
    device->free = device_freed;
    *out = ref;
    return 0;
}

/* The context that a device is over, NULL for a device that is not CUDA's. */
void *gsav_cuda_device_context(const AVBufferRef *device)
{
    const AVHWDeviceContext *d = (const AVHWDeviceContext *)device->data;
    return d->type == AV_HWDEVICE_TYPE_CUDA ? ((const AVCUDADeviceContext *)d->hwctx)->cuda_ctx : NULL;
}

/* The context that a frame lies in, NULL for a frame that is not CUDA's. */
void *gsav_cuda_frame_context(const AVFrame *f)
{
    const AVHWFramesContext *frames;
    if (f->format != AV_PIX_FMT_CUDA || !f->hw_frames_ctx)
        return NULL;
    frames = (const AVHWFramesContext *)f->hw_frames_ctx->data;
    return ((const AVCUDADeviceContext *)frames->device_ctx->hwctx)->cuda_ctx;
}

/* What the pixels of a CUDA frame are, AV_PIX_FMT_NONE for another frame. */
int gsav_cuda_frame_format(const AVFrame *f)
{
    if (f->format != AV_PIX_FMT_CUDA || !f->hw_frames_ctx)
        return AV_PIX_FMT_NONE;
    return ((const AVHWFramesContext *)f->hw_frames_ctx->data)->sw_format;
}

/* The size that buffers of foreign memory are said to have: device memory is never read through them, and no pool makes
 * buffers of one byte. */
#define FOREIGN 1

/* Whether a frame's memory is foreign, so that the frame's release gives it back and not a pool. */
int gsav_cuda_frame_foreign(const AVFrame *f)
{
    return f->buf[0] && f->buf[0]->size == FOREIGN;
}

/* Makes a blank frame one of `frames` whose memory is foreign; on success `release(opaque, data)` runs with the last
 * reference. */
int gsav_cuda_frame_wrap(AVFrame *f, AVBufferRef *frames, const uint64_t *addresses, const int32_t *pitches, int planes,
                         int writable, void (*release)(void *, uint8_t *), void *opaque)
{
    const AVHWFramesContext *c = (const AVHWFramesContext *)frames->data;
    int i;
    if (c->format != AV_PIX_FMT_CUDA || planes <= 0 || planes > 4)
        return AVERROR(EINVAL);
    f->hw_frames_ctx = av_buffer_ref(frames);
    if (!f->hw_frames_ctx)
        return AVERROR(ENOMEM);
    f->buf[0] = av_buffer_create((uint8_t *)(uintptr_t)addresses[0], FOREIGN, release, opaque,
                                 writable ? 0 : AV_BUFFER_FLAG_READONLY);
    if (!f->buf[0]) {
        av_buffer_unref(&f->hw_frames_ctx);
        return AVERROR(ENOMEM);
    }
    f->format = c->format;
    f->width = c->width;
    f->height = c->height;
    for (i = 0; i < planes; i++) {
        f->data[i] = (uint8_t *)(uintptr_t)addresses[i];
        f->linesize[i] = pitches[i];
    }
    f->extended_data = f->data;
    return 0;
}
