/* Filter graphs and hardware devices. */
#include "shim.h"

AVFilterGraph *gsav_graph_alloc(int threads)
{
    AVFilterGraph *graph = avfilter_graph_alloc();
    if (graph && threads > 0)
        graph->nb_threads = threads;
    return graph;
}

/* Adds a buffer source described by `in`. */
int gsav_graph_source(AVFilterGraph *graph, const GsavFilterInput *in, AVFilterContext **out)
{
    const AVFilter *filter = avfilter_get_by_name(in->audio ? "abuffer" : "buffer");
    AVBufferSrcParameters *p;
    AVFilterContext *ctx;
    int ret;
    if (!filter)
        return AVERROR_FILTER_NOT_FOUND;
    ctx = avfilter_graph_alloc_filter(graph, filter, in->name);
    p = av_buffersrc_parameters_alloc();
    if (!ctx || !p) {
        av_free(p);
        return AVERROR(ENOMEM);
    }
    p->format = in->format;
    p->time_base = (AVRational){in->tb_num, in->tb_den};
    if (in->audio) {
        p->sample_rate = in->sample_rate;
        ret = gsav_set_layout(&p->ch_layout, in->layout, in->channels);
        if (ret < 0)
            goto done;
    } else {
        p->width = in->width;
        p->height = in->height;
        p->sample_aspect_ratio = (AVRational){in->sar_num, in->sar_den ? in->sar_den : 1};
        p->frame_rate = (AVRational){in->fr_num, in->fr_den ? in->fr_den : 1};
        p->hw_frames_ctx = in->hw_frames;
#if GSAV_BUFFERSRC_COLOUR
        p->color_space = in->matrix;
        p->color_range = in->range;
#endif
    }
    ret = av_buffersrc_parameters_set(ctx, p);
    if (ret >= 0)
        ret = avfilter_init_str(ctx, NULL);
    *out = ctx;
done:
    av_channel_layout_uninit(&p->ch_layout);
    av_free(p);
    return ret;
}

int gsav_graph_sink(AVFilterGraph *graph, int audio, const char *name, AVFilterContext **out)
{
    const AVFilter *filter = avfilter_get_by_name(audio ? "abuffersink" : "buffersink");
    if (!filter)
        return AVERROR_FILTER_NOT_FOUND;
    return avfilter_graph_create_filter(out, filter, name, NULL, NULL, graph);
}

static int chain(AVFilterInOut **list, const char *label, AVFilterContext *ctx)
{
    AVFilterInOut *e = avfilter_inout_alloc();
    if (!e)
        return AVERROR(ENOMEM);
    e->name = av_strdup(label);
    e->filter_ctx = ctx;
    e->next = *list;
    *list = e;
    return e->name ? 0 : AVERROR(ENOMEM);
}

/* Parses `text` between the labelled sources and sinks, gives its filters the device and configures the graph. */
int gsav_graph_build(AVFilterGraph *graph, const char *text, AVFilterContext *const *sources,
                     const char *const *source_labels, int source_count, AVFilterContext *const *sinks,
                     const char *const *sink_labels, int sink_count, AVBufferRef *hw_device)
{
    AVFilterInOut *inputs = NULL, *outputs = NULL;
    int i, ret = 0;
    for (i = source_count - 1; i >= 0 && ret >= 0; i--)
        ret = chain(&outputs, source_labels[i], sources[i]);
    for (i = sink_count - 1; i >= 0 && ret >= 0; i--)
        ret = chain(&inputs, sink_labels[i], sinks[i]);
    if (ret >= 0)
        ret = avfilter_graph_parse_ptr(graph, text, &inputs, &outputs, NULL);
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (ret < 0)
        return ret;
    for (i = 0; hw_device && i < (int)graph->nb_filters; i++) {
        AVFilterContext *f = graph->filters[i];
        if (!f->hw_device_ctx && !(f->hw_device_ctx = av_buffer_ref(hw_device)))
            return AVERROR(ENOMEM);
    }
    return avfilter_graph_config(graph, NULL);
}

/* Keeps the caller's frame: the graph takes a reference. NULL ends the input. */
int gsav_source_push(AVFilterContext *ctx, AVFrame *frame)
{
    return av_buffersrc_add_frame_flags(ctx, frame, AV_BUFFERSRC_FLAG_KEEP_REF);
}

uint32_t gsav_source_failed_requests(AVFilterContext *ctx)
{
    return av_buffersrc_get_nb_failed_requests(ctx);
}

int gsav_sink_pull(AVFilterContext *ctx, AVFrame *frame)
{
    return av_buffersink_get_frame_flags(ctx, frame, 0);
}

void gsav_sink_frame_size(AVFilterContext *ctx, uint32_t samples)
{
    av_buffersink_set_frame_size(ctx, samples);
}

void gsav_sink_get(const AVFilterContext *ctx, GsavSinkProps *p)
{
    AVRational r = av_buffersink_get_time_base(ctx);
    p->audio = av_buffersink_get_type(ctx) == AVMEDIA_TYPE_AUDIO;
    p->format = av_buffersink_get_format(ctx);
    p->tb_num = r.num;
    p->tb_den = r.den;
    p->width = av_buffersink_get_w(ctx);
    p->height = av_buffersink_get_h(ctx);
    r = av_buffersink_get_sample_aspect_ratio(ctx);
    p->sar_num = r.num;
    p->sar_den = r.den;
    r = av_buffersink_get_frame_rate(ctx);
    p->fr_num = r.num;
    p->fr_den = r.den;
    p->sample_rate = av_buffersink_get_sample_rate(ctx);
    p->channels = av_buffersink_get_channels(ctx);
}

int gsav_sink_layout(const AVFilterContext *ctx, char *out, size_t size)
{
    AVChannelLayout layout = {0};
    int ret = av_buffersink_get_ch_layout(ctx, &layout);
    if (ret >= 0)
        ret = gsav_describe_layout(&layout, out, size);
    av_channel_layout_uninit(&layout);
    return ret;
}

AVBufferRef *gsav_sink_hw_frames(const AVFilterContext *ctx)
{
    AVBufferRef *frames = av_buffersink_get_hw_frames_ctx(ctx);
    return frames ? av_buffer_ref(frames) : NULL;
}

int gsav_graph_command(AVFilterGraph *graph, const char *target, const char *command, const char *argument, char *out,
                       int size)
{
    *out = 0;
    return avfilter_graph_send_command(graph, target, command, argument, out, size, 0);
}

/* Hardware. */

int gsav_device_create(AVBufferRef **out, const char *type, const char *device, AVDictionary *options)
{
    enum AVHWDeviceType t = av_hwdevice_find_type_by_name(type);
    if (t == AV_HWDEVICE_TYPE_NONE)
        return AVERROR(ENOSYS);
    return av_hwdevice_ctx_create(out, t, device, options, 0);
}

int gsav_device_derive(AVBufferRef **out, const char *type, AVBufferRef *from)
{
    enum AVHWDeviceType t = av_hwdevice_find_type_by_name(type);
    if (t == AV_HWDEVICE_TYPE_NONE)
        return AVERROR(ENOSYS);
    return av_hwdevice_ctx_create_derived(out, t, from, 0);
}

const char *gsav_device_type(const AVBufferRef *device)
{
    const char *name = av_hwdevice_get_type_name(((AVHWDeviceContext *)device->data)->type);
    return name ? name : "";
}

/* The pixel format whose frames live on devices of this type, or AV_PIX_FMT_NONE. */
int gsav_device_format(const char *type)
{
    static const struct {
        const char *type, *format;
    } names[] = {
        {"cuda", "cuda"},         {"vaapi", "vaapi"},       {"qsv", "qsv"},
        {"drm", "drm_prime"},     {"vulkan", "vulkan"},     {"opencl", "opencl"},
        {"vdpau", "vdpau"},       {"d3d11va", "d3d11"},     {"videotoolbox", "videotoolbox_vld"},
        {"mediacodec", "mediacodec"}, {"d3d12va", "d3d12"}, {"dxva2", "dxva2_vld"},
    };
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcmp(names[i].type, type))
            return av_get_pix_fmt(names[i].format);
    return AV_PIX_FMT_NONE;
}

/* Host pixel formats that frames of the device can be made of; how many, at most cap written. */
int gsav_device_formats(AVBufferRef *device, int32_t *out, int cap)
{
    AVHWFramesConstraints *c = av_hwdevice_get_hwframe_constraints(device, NULL);
    int count = 0;
    if (!c)
        return 0;
    for (; c->valid_sw_formats && c->valid_sw_formats[count] != AV_PIX_FMT_NONE; count++)
        if (count < cap)
            out[count] = c->valid_sw_formats[count];
    av_hwframe_constraints_free(&c);
    return count;
}

int gsav_frames_create(AVBufferRef **out, AVBufferRef *device, int format, int host_format, int width, int height,
                       int pool)
{
    AVBufferRef *ref = av_hwframe_ctx_alloc(device);
    AVHWFramesContext *f;
    int ret;
    if (!ref)
        return AVERROR(ENOMEM);
    f = (AVHWFramesContext *)ref->data;
    f->format = format;
    f->sw_format = host_format;
    f->width = width;
    f->height = height;
    f->initial_pool_size = pool;
    ret = av_hwframe_ctx_init(ref);
    if (ret < 0) {
        av_buffer_unref(&ref);
        return ret;
    }
    *out = ref;
    return 0;
}

void gsav_frames_get(const AVBufferRef *frames, int32_t *format, int32_t *host_format, int32_t *width, int32_t *height)
{
    const AVHWFramesContext *f = (const AVHWFramesContext *)frames->data;
    *format = f->format;
    *host_format = f->sw_format;
    *width = f->width;
    *height = f->height;
}

AVBufferRef *gsav_frame_hw_frames(const AVFrame *frame)
{
    return frame->hw_frames_ctx ? av_buffer_ref(frame->hw_frames_ctx) : NULL;
}

/* What tells the pool of a device frame from others; NULL for a host frame. */
const void *gsav_frame_pool(const AVFrame *frame)
{
    return frame->hw_frames_ctx ? frame->hw_frames_ctx->data : NULL;
}

AVBufferRef *gsav_context_hw_frames(const AVCodecContext *ctx)
{
    return ctx->hw_frames_ctx ? av_buffer_ref(ctx->hw_frames_ctx) : NULL;
}

int gsav_frame_from_pool(AVBufferRef *frames, AVFrame *frame)
{
    return av_hwframe_get_buffer(frames, frame, 0);
}

static void free_kept(void *opaque, uint8_t *data)
{
    AVFrame *frame = (AVFrame *)data;
    (void)opaque;
    av_frame_free(&frame);
}

/* Keeps `source` for as long as `frame`, or what is made of it, lives. */
static int keep_source(AVFrame *frame, const AVFrame *source)
{
    AVFrame *kept = av_frame_clone(source);
    AVBufferRef *holder = kept ? av_buffer_create((uint8_t *)kept, sizeof(*kept), free_kept, NULL, 0) : NULL;
    if (!holder) {
        av_frame_free(&kept);
        return AVERROR(ENOMEM);
    }
    av_buffer_unref(&frame->opaque_ref);
    frame->opaque_ref = holder;
    return 0;
}

/* Copies pixels and properties; the format of an empty target is the library's choice. */
int gsav_frame_transfer(AVFrame *to, const AVFrame *from)
{
    int ret;
    /* Older versions of FFmpeg do not look. */
    if (!from->hw_frames_ctx && !to->hw_frames_ctx)
        return AVERROR(ENOSYS);
    ret = av_hwframe_transfer_data(to, from, 0);
    if (ret >= 0)
        ret = av_frame_copy_props(to, from);
    /* Vulkan reads the host's memory itself, and later: FFmpeg does not wait for uploads. */
    if (ret >= 0 && to->format == AV_PIX_FMT_VULKAN && !from->hw_frames_ctx && from->buf[0])
        ret = keep_source(to, from);
    return ret;
}
