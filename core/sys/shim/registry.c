/* Versions, names, formats, channel layouts and the log. */
#include "shim.h"

#include <stdarg.h>
#include <stdio.h>

/* Sizes of the mirrored structs, in the order of the test in raw.rs. */
size_t gsav_layout(int which)
{
    static const size_t sizes[] = {
        sizeof(GsavFrameProps),   sizeof(GsavPacketProps),  sizeof(GsavHdr),         sizeof(GsavParams),
        sizeof(GsavStream),       sizeof(GsavFormat),       sizeof(GsavChapter),     sizeof(GsavPixDesc),
        sizeof(GsavDecoderConfig), sizeof(GsavEncoderConfig), sizeof(GsavFilterInput), sizeof(GsavSinkProps),
        sizeof(GsavSubtitle),     sizeof(GsavSubtitleRect), sizeof(GsavDmabuf),
    };
    return which < 0 || which >= (int)(sizeof(sizes) / sizeof(*sizes)) ? 0 : sizes[which];
}

void gsav_init(void)
{
    avdevice_register_all();
    avformat_network_init();
}

/* 0 avutil, 1 avcodec, 2 avformat, 3 avfilter, 4 avdevice; the library that is loaded, not the headers. */
uint32_t gsav_version(int library)
{
    switch (library) {
    case 0: return avutil_version();
    case 1: return avcodec_version();
    case 2: return avformat_version();
    case 3: return avfilter_version();
    case 4: return avdevice_version();
    default: return 0;
    }
}

/* AVPacketSideDataType numbers of the side data that we look into. */
int gsav_side_data_type(int which)
{
    switch (which) {
    case 0: return AV_PKT_DATA_NEW_EXTRADATA;
    case 1: return AV_PKT_DATA_SKIP_SAMPLES;
    case 2: return AV_PKT_DATA_DISPLAYMATRIX;
    case 3: return AV_PKT_DATA_MASTERING_DISPLAY_METADATA;
    case 4: return AV_PKT_DATA_CONTENT_LIGHT_LEVEL;
    case 5: return AV_PKT_DATA_DOVI_CONF;
    case 6: return AV_PKT_DATA_DYNAMIC_HDR10_PLUS;
    case 7: return AV_PKT_DATA_WEBVTT_IDENTIFIER;
    case 8: return AV_PKT_DATA_WEBVTT_SETTINGS;
    case 9: return AV_PKT_DATA_CPB_PROPERTIES;
    case 10: return AV_PKT_DATA_PRFT;
    default: return -1;
    }
}

/* Calls `each(opaque, name)` for every registered name: 0 encoders, 1 decoders, 2 muxers, 3 demuxers, 4 filters,
 * 5 input protocols, 6 output protocols, 7 hardware device types, 8 bitstream filters. */
void gsav_names(int what, void (*each)(void *, const char *), void *opaque)
{
    void *it = NULL;
    if (what == 0 || what == 1) {
        const AVCodec *c;
        while ((c = av_codec_iterate(&it)))
            if (what == 0 ? av_codec_is_encoder(c) : av_codec_is_decoder(c))
                each(opaque, c->name);
    } else if (what == 2) {
        const AVOutputFormat *f;
        while ((f = av_muxer_iterate(&it)))
            each(opaque, f->name);
    } else if (what == 3) {
        const AVInputFormat *f;
        while ((f = av_demuxer_iterate(&it)))
            each(opaque, f->name);
    } else if (what == 4) {
        const AVFilter *f;
        while ((f = av_filter_iterate(&it)))
            each(opaque, f->name);
    } else if (what == 5 || what == 6) {
        const char *name;
        while ((name = avio_enum_protocols(&it, what == 6)))
            each(opaque, name);
    } else if (what == 7) {
        enum AVHWDeviceType t = AV_HWDEVICE_TYPE_NONE;
        while ((t = av_hwdevice_iterate_types(t)) != AV_HWDEVICE_TYPE_NONE)
            each(opaque, av_hwdevice_get_type_name(t));
    } else if (what == 8) {
        const AVBitStreamFilter *f;
        while ((f = av_bsf_iterate(&it)))
            each(opaque, f->name);
    }
}

int gsav_has(int what, const char *name)
{
    switch (what) {
    case 0: return avcodec_find_encoder_by_name(name) != NULL;
    case 1: return avcodec_find_decoder_by_name(name) != NULL;
    case 2: return av_guess_format(name, NULL, NULL) != NULL;
    case 3: return av_find_input_format(name) != NULL;
    case 4: return avfilter_get_by_name(name) != NULL;
    case 8: return av_bsf_get_by_name(name) != NULL;
    default: return 0;
    }
}

/* The muxer for a file name; NULL when none matches. */
const char *gsav_guess_format(const char *filename)
{
    const AVOutputFormat *f = av_guess_format(NULL, filename, NULL);
    return f ? f->name : NULL;
}

/* Comma-separated file extensions of a muxer; NULL when it is unknown or has none. */
const char *gsav_muxer_extensions(const char *name)
{
    const AVOutputFormat *f = av_guess_format(name, NULL, NULL);
    return f ? f->extensions : NULL;
}

int gsav_muxer_flags(const char *name)
{
    const AVOutputFormat *f = av_guess_format(name, NULL, NULL);
    return f ? f->flags : -1;
}

/* Encoder or decoder: 0 codec id, 1 media type, 2 capabilities. */
int gsav_codec_info(const char *name, int encoder, int what)
{
    const AVCodec *c = encoder ? avcodec_find_encoder_by_name(name) : avcodec_find_decoder_by_name(name);
    if (!c)
        return -1;
    return what == 0 ? (int)c->id : what == 1 ? (int)c->type : c->capabilities;
}

/* The codec's id by FFmpeg's codec name, 0 when unknown. */
int gsav_codec_id(const char *name)
{
    const AVCodecDescriptor *d = avcodec_descriptor_get_by_name(name);
    return d ? d->id : 0;
}

const char *gsav_codec_name(int id)
{
    return avcodec_get_name(id);
}

/* The media type of a codec, -1 when unknown. */
int gsav_codec_kind(int id)
{
    return avcodec_get_type(id);
}

/* AV_CODEC_PROP_* bits of a codec. */
int gsav_codec_props(int id)
{
    const AVCodecDescriptor *d = avcodec_descriptor_get(id);
    return d ? d->props : 0;
}

/* Names of the default implementations for a codec id; NULL when none is built in. */
const char *gsav_default_coder(int id, int encoder)
{
    const AVCodec *c = encoder ? avcodec_find_encoder(id) : avcodec_find_decoder(id);
    return c ? c->name : NULL;
}

/* Whether the decoder of this name can be given a device of this type. */
int gsav_decoder_on(const char *decoder, const char *type)
{
    const AVCodec *codec = avcodec_find_decoder_by_name(decoder);
    enum AVHWDeviceType t = av_hwdevice_find_type_by_name(type);
    const AVCodecHWConfig *hw;
    int i;
    for (i = 0; codec && (hw = avcodec_get_hw_config(codec, i)); i++)
        if (hw->device_type == t && hw->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX)
            return 1;
    return 0;
}

#if GSAV_SUPPORTED_CONFIG
static const void *supported(const AVCodec *c, enum AVCodecConfig config, int *count)
{
    const void *out = NULL;
    *count = 0;
    if (avcodec_get_supported_config(NULL, c, config, 0, &out, count) < 0)
        return NULL;
    return out;
}
#endif

/* What an encoder takes: 0 pixel formats, 1 sample formats, 2 sample rates. Returns how many there are (0 = any) and
 * writes at most `cap` of them. */
int gsav_supported(const char *encoder, int what, int32_t *out, int cap)
{
    const AVCodec *c = avcodec_find_encoder_by_name(encoder);
    const int *list = NULL;
    int i, count = 0, end = what == 2 ? 0 : -1;
    if (!c)
        return AVERROR_ENCODER_NOT_FOUND;
#if GSAV_SUPPORTED_CONFIG
    list = supported(c, what == 0 ? AV_CODEC_CONFIG_PIX_FORMAT
                        : what == 1 ? AV_CODEC_CONFIG_SAMPLE_FORMAT
                                    : AV_CODEC_CONFIG_SAMPLE_RATE, &count);
    (void)end;
#else
    list = what == 0 ? (const int *)c->pix_fmts : what == 1 ? (const int *)c->sample_fmts : c->supported_samplerates;
    while (list && list[count] != end)
        count++;
#endif
    for (i = 0; list && i < count && i < cap; i++)
        out[i] = list[i];
    return list ? count : 0;
}

/* The index-th channel layout an encoder takes, described; 1 = written, 0 = no more (none at all = any). */
int gsav_supported_layout(const char *encoder, int index, char *out, size_t size)
{
    const AVCodec *c = avcodec_find_encoder_by_name(encoder);
    const AVChannelLayout *list;
    int i, count = 0;
    if (!c)
        return AVERROR_ENCODER_NOT_FOUND;
#if GSAV_SUPPORTED_CONFIG
    list = supported(c, AV_CODEC_CONFIG_CHANNEL_LAYOUT, &count);
    (void)i;
#else
    list = c->ch_layouts;
    for (i = 0; list && list[i].nb_channels; i++)
        count++;
#endif
    if (!list || index >= count)
        return 0;
    return gsav_describe_layout(&list[index], out, size) < 0 ? 0 : 1;
}

int gsav_pix_desc(int format, GsavPixDesc *p)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    int i;
    if (!d)
        return AVERROR(EINVAL);
    memset(p, 0, sizeof(*p));
    p->planes = av_pix_fmt_count_planes(format);
    if (p->planes < 0)
        p->planes = 0;
    p->components = d->nb_components;
    p->log2_chroma_w = d->log2_chroma_w;
    p->log2_chroma_h = d->log2_chroma_h;
    for (i = 0; i < d->nb_components; i++)
        p->depth = d->comp[i].depth > p->depth ? d->comp[i].depth : p->depth;
    p->bits_per_pixel = av_get_bits_per_pixel(d);
    p->rgb = !!(d->flags & AV_PIX_FMT_FLAG_RGB);
    p->alpha = !!(d->flags & AV_PIX_FMT_FLAG_ALPHA);
    p->planar = !!(d->flags & AV_PIX_FMT_FLAG_PLANAR);
    p->hardware = !!(d->flags & AV_PIX_FMT_FLAG_HWACCEL);
    p->floating = !!(d->flags & AV_PIX_FMT_FLAG_FLOAT);
    p->big_endian = !!(d->flags & AV_PIX_FMT_FLAG_BE);
    p->palette = !!(d->flags & AV_PIX_FMT_FLAG_PAL);
    return 0;
}

const char *gsav_pix_name(int format) { return av_get_pix_fmt_name(format); }
int gsav_pix_from_name(const char *name) { return av_get_pix_fmt(name); }
const char *gsav_sample_name(int format) { return av_get_sample_fmt_name(format); }
int gsav_sample_from_name(const char *name) { return av_get_sample_fmt(name); }
int gsav_sample_planar(int format) { return av_sample_fmt_is_planar(format); }
int gsav_sample_bytes(int format) { return av_get_bytes_per_sample(format); }

/* Which of `list` (ended by -1) loses least when `from` is converted to it. */
int gsav_best_pix(const int32_t *list, int count, int from, int alpha)
{
    int i, best = AV_PIX_FMT_NONE;
    for (i = 0; i < count; i++)
        best = best == AV_PIX_FMT_NONE ? list[i] : (int)av_find_best_pix_fmt_of_2(best, list[i], from, alpha, NULL);
    return best;
}

int gsav_set_layout(AVChannelLayout *layout, const char *name, int channels)
{
    av_channel_layout_uninit(layout);
    if (name && *name && av_channel_layout_from_string(layout, name) >= 0) {
        if (layout->nb_channels == channels || channels <= 0)
            return 0;
        av_channel_layout_uninit(layout);
    }
    if (channels <= 0)
        return AVERROR(EINVAL);
    av_channel_layout_default(layout, channels);
    return 0;
}

int gsav_describe_layout(const AVChannelLayout *layout, char *out, size_t size)
{
    *out = 0;
    return av_channel_layout_describe(layout, out, size);
}

/* The default layout of a channel count (name NULL) or a layout by name: its channel count, its description in out. */
int gsav_layout_name(const char *name, int channels, char *out, size_t size)
{
    AVChannelLayout layout = {0};
    int ret;
    if (name) {
        ret = av_channel_layout_from_string(&layout, name);
        if (ret < 0)
            return ret;
    } else {
        av_channel_layout_default(&layout, channels);
    }
    ret = gsav_describe_layout(&layout, out, size);
    if (ret >= 0)
        ret = layout.nb_channels;
    av_channel_layout_uninit(&layout);
    return ret;
}

/* The log. `sink(level, context, parent, component, text)` runs on whichever thread logs. */
typedef void (*GsavLogSink)(int32_t, const void *, const void *, const char *, const char *);
static GsavLogSink log_sink;
static int log_level = AV_LOG_INFO;

static void log_callback(void *context, int level, const char *format, va_list args)
{
    char text[1024];
    const char *component = "";
    const void *parent = NULL;
    GsavLogSink sink = __atomic_load_n(&log_sink, __ATOMIC_ACQUIRE);
    if (level >= 0)
        level &= 0xff;
    if (!sink || level > __atomic_load_n(&log_level, __ATOMIC_RELAXED))
        return;
    if (context) {
        const AVClass *class = *(const AVClass **)context;
        if (class) {
            component = class->item_name ? class->item_name(context) : class->class_name;
            if (class->parent_log_context_offset)
                parent = *(const void **)((const uint8_t *)context + class->parent_log_context_offset);
        }
    }
    vsnprintf(text, sizeof(text), format, args);
    sink(level, context, parent, component ? component : "", text);
}

/* NULL restores FFmpeg's own printing to stderr. */
void gsav_log_set(int level, GsavLogSink sink)
{
    __atomic_store_n(&log_level, level, __ATOMIC_RELAXED);
    __atomic_store_n(&log_sink, sink, __ATOMIC_RELEASE);
    av_log_set_level(level);
    av_log_set_callback(sink ? log_callback : av_log_default_callback);
}

/* Writes one line into the log, for tests of the plumbing. */
void gsav_log_write(int level, const char *text)
{
    av_log(NULL, level, "%s\n", text);
}
