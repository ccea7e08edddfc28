/* Codec parameters, decoders, encoders, subtitles and bitstream filters. */
#include "shim.h"

/* Parameters. */

void gsav_params_get(const AVCodecParameters *c, GsavParams *p)
{
    memset(p, 0, sizeof(*p));
    p->bit_rate = c->bit_rate;
    p->kind = c->codec_type;
    p->codec_id = c->codec_id;
    p->format = c->format;
    p->profile = c->profile;
    p->level = c->level;
    p->tag = c->codec_tag;
    p->width = c->width;
    p->height = c->height;
    p->sar_num = c->sample_aspect_ratio.num;
    p->sar_den = c->sample_aspect_ratio.den;
#if GSAV_CODED_SIDE_DATA
    p->fr_num = c->framerate.num;
    p->fr_den = c->framerate.den;
#endif
    p->primaries = c->color_primaries;
    p->transfer = c->color_trc;
    p->matrix = c->color_space;
    p->range = c->color_range;
    p->chroma = c->chroma_location;
    p->field_order = c->field_order;
    p->reorder = c->video_delay;
    p->bits_per_coded_sample = c->bits_per_coded_sample;
    p->bits_per_raw_sample = c->bits_per_raw_sample;
    p->sample_rate = c->sample_rate;
    p->channels = c->ch_layout.nb_channels;
    p->block_align = c->block_align;
    p->frame_size = c->frame_size;
    p->initial_padding = c->initial_padding;
    p->trailing_padding = c->trailing_padding;
    p->seek_preroll = c->seek_preroll;
}

int gsav_params_set(AVCodecParameters *c, const GsavParams *p, const char *layout)
{
    c->bit_rate = p->bit_rate;
    c->codec_type = p->kind;
    c->codec_id = p->codec_id;
    c->format = p->format;
    c->profile = p->profile;
    c->level = p->level;
    c->codec_tag = p->tag;
    c->width = p->width;
    c->height = p->height;
    c->sample_aspect_ratio = (AVRational){p->sar_num, p->sar_den};
#if GSAV_CODED_SIDE_DATA
    c->framerate = (AVRational){p->fr_num, p->fr_den};
#endif
    c->color_primaries = p->primaries;
    c->color_trc = p->transfer;
    c->color_space = p->matrix;
    c->color_range = p->range;
    c->chroma_location = p->chroma;
    c->field_order = p->field_order;
    c->video_delay = p->reorder;
    c->bits_per_coded_sample = p->bits_per_coded_sample;
    c->bits_per_raw_sample = p->bits_per_raw_sample;
    c->sample_rate = p->sample_rate;
    c->block_align = p->block_align;
    c->frame_size = p->frame_size;
    c->initial_padding = p->initial_padding;
    c->trailing_padding = p->trailing_padding;
    c->seek_preroll = p->seek_preroll;
    return p->channels > 0 ? gsav_set_layout(&c->ch_layout, layout, p->channels) : 0;
}

int gsav_params_layout(const AVCodecParameters *c, char *out, size_t size)
{
    return gsav_describe_layout(&c->ch_layout, out, size);
}

const uint8_t *gsav_params_extradata(const AVCodecParameters *c, int32_t *size)
{
    *size = c->extradata ? c->extradata_size : 0;
    return c->extradata;
}

int gsav_params_set_extradata(AVCodecParameters *c, const uint8_t *data, size_t size)
{
    av_freep(&c->extradata);
    c->extradata_size = 0;
    if (!size)
        return 0;
    if (size > INT32_MAX - AV_INPUT_BUFFER_PADDING_SIZE)
        return AVERROR(EINVAL);
    c->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!c->extradata)
        return AVERROR(ENOMEM);
    memcpy(c->extradata, data, size);
    c->extradata_size = (int)size;
    return 0;
}

/* Copies without side data: the Rust owner keeps that in a list of its own, the same for every FFmpeg. */
int gsav_params_copy(AVCodecParameters *to, const AVCodecParameters *from)
{
    int ret = avcodec_parameters_copy(to, from);
#if GSAV_CODED_SIDE_DATA
    if (ret >= 0)
        av_packet_side_data_free(&to->coded_side_data, &to->nb_coded_side_data);
#endif
    return ret;
}

int gsav_params_from_context(AVCodecParameters *to, const AVCodecContext *ctx)
{
    int ret = avcodec_parameters_from_context(to, ctx);
#if GSAV_CODED_SIDE_DATA
    if (ret >= 0)
        av_packet_side_data_free(&to->coded_side_data, &to->nb_coded_side_data);
#endif
    return ret;
}

/* Folds one piece of side data into what is known of the dynamic range. */
void gsav_hdr_add(int type, const uint8_t *data, size_t size, GsavHdr *hdr)
{
    if (type == AV_PKT_DATA_MASTERING_DISPLAY_METADATA && size >= sizeof(AVMasteringDisplayMetadata)) {
        gsav_hdr_read_mastering((const AVMasteringDisplayMetadata *)data, hdr);
    } else if (type == AV_PKT_DATA_CONTENT_LIGHT_LEVEL && size >= sizeof(AVContentLightMetadata)) {
        const AVContentLightMetadata *l = (const AVContentLightMetadata *)data;
        hdr->has_light = 1;
        hdr->max_content = l->MaxCLL;
        hdr->max_average = l->MaxFALL;
    } else if (type == AV_PKT_DATA_DOVI_CONF && size >= sizeof(AVDOVIDecoderConfigurationRecord)) {
        const AVDOVIDecoderConfigurationRecord *d = (const AVDOVIDecoderConfigurationRecord *)data;
        hdr->has_dovi = 1;
        hdr->dv_profile = d->dv_profile;
        hdr->dv_level = d->dv_level;
        hdr->dv_rpu = d->rpu_present_flag;
        hdr->dv_el = d->el_present_flag;
        hdr->dv_bl = d->bl_present_flag;
        hdr->dv_compat = d->dv_bl_signal_compatibility_id;
    } else if (type == AV_PKT_DATA_DYNAMIC_HDR10_PLUS) {
        hdr->hdr10_plus = 1;
    }
}

/* The side data payload for one part of hdr (0 mastering, 1 light, 2 Dolby Vision): its size, 0 when there is none. */
size_t gsav_hdr_payload(const GsavHdr *hdr, int which, uint8_t *out, size_t cap, int32_t *type)
{
    if (which == 0 && hdr->has_mastering) {
        size_t size = 0;
        AVMasteringDisplayMetadata m, *zero;
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(59, 37, 100)
        zero = av_mastering_display_metadata_alloc_size(&size);
#else
        zero = av_mastering_display_metadata_alloc();
        size = sizeof(m);
#endif
        if (!zero || size < sizeof(m) || cap < size) {
            av_free(zero);
            return 0;
        }
        gsav_hdr_fill_mastering(zero, hdr);
        memcpy(out, zero, size);
        av_free(zero);
        *type = AV_PKT_DATA_MASTERING_DISPLAY_METADATA;
        return size;
    }
    if (which == 1 && hdr->has_light) {
        size_t size = 0;
        AVContentLightMetadata *l = av_content_light_metadata_alloc(&size);
        if (!l || cap < size) {
            av_free(l);
            return 0;
        }
        l->MaxCLL = hdr->max_content;
        l->MaxFALL = hdr->max_average;
        memcpy(out, l, size);
        av_free(l);
        *type = AV_PKT_DATA_CONTENT_LIGHT_LEVEL;
        return size;
    }
    if (which == 2 && hdr->has_dovi) {
        size_t size = 0;
        AVDOVIDecoderConfigurationRecord *d = av_dovi_alloc(&size);
        if (!d || cap < size) {
            av_free(d);
            return 0;
        }
        d->dv_version_major = 1;
        d->dv_profile = hdr->dv_profile;
        d->dv_level = hdr->dv_level;
        d->rpu_present_flag = hdr->dv_rpu;
        d->el_present_flag = hdr->dv_el;
        d->bl_present_flag = hdr->dv_bl;
        d->dv_bl_signal_compatibility_id = hdr->dv_compat;
        memcpy(out, d, size);
        av_free(d);
        *type = AV_PKT_DATA_DOVI_CONF;
        return size;
    }
    return 0;
}

/* Side data that an opened encoder wants in the container. */
const uint8_t *gsav_context_side_data(const AVCodecContext *ctx, int index, int32_t *type, size_t *size)
{
    if (index < 0 || index >= ctx->nb_coded_side_data)
        return NULL;
    *type = ctx->coded_side_data[index].type;
    *size = ctx->coded_side_data[index].size;
    return ctx->coded_side_data[index].data;
}

/* Decoders. The context's opaque points at this. */
typedef struct DecoderState {
    int wanted; /* the hardware pixel format, or AV_PIX_FMT_NONE */
    int used;   /* whether the codec offered it last time */
} DecoderState;

static enum AVPixelFormat choose_format(AVCodecContext *ctx, const enum AVPixelFormat *list)
{
    DecoderState *state = ctx->opaque;
    const enum AVPixelFormat *f;
    for (f = list; *f != AV_PIX_FMT_NONE; f++) {
        if ((int)*f == state->wanted) {
            __atomic_store_n(&state->used, 1, __ATOMIC_RELAXED);
            return *f;
        }
    }
    __atomic_store_n(&state->used, 0, __ATOMIC_RELAXED);
    for (f = list; *f != AV_PIX_FMT_NONE; f++) {
        const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(*f);
        if (d && !(d->flags & AV_PIX_FMT_FLAG_HWACCEL))
            return *f;
    }
    return AV_PIX_FMT_NONE;
}

void gsav_decoder_free(AVCodecContext **ctx)
{
    if (*ctx) {
        void *state = (*ctx)->opaque;
        avcodec_free_context(ctx);
        av_free(state);
    }
}

int gsav_decoder_alloc(AVCodecContext **out, const AVCodecParameters *params, const GsavDecoderConfig *cfg)
{
    const AVCodec *codec;
    AVCodecContext *ctx;
    DecoderState *state;
    int ret, i;

    codec = cfg->name ? avcodec_find_decoder_by_name(cfg->name) : avcodec_find_decoder(params->codec_id);
    if (!codec)
        return AVERROR_DECODER_NOT_FOUND;
    if (codec->type != params->codec_type)
        return AVERROR(EINVAL);
    ctx = avcodec_alloc_context3(codec);
    state = av_mallocz(sizeof(*state));
    if (!ctx || !state) {
        avcodec_free_context(&ctx);
        av_free(state);
        return AVERROR(ENOMEM);
    }
    state->wanted = AV_PIX_FMT_NONE;
    ctx->opaque = state;
    ret = avcodec_parameters_to_context(ctx, params);
    if (ret < 0)
        goto fail;
    ctx->pkt_timebase = (AVRational){cfg->tb_num, cfg->tb_den};
    ctx->thread_count = cfg->threads;
    if (cfg->thread_type)
        ctx->thread_type = cfg->thread_type;
    if (cfg->low_delay)
        ctx->flags |= AV_CODEC_FLAG_LOW_DELAY;
    if (cfg->skip_frame)
        ctx->skip_frame = cfg->skip_frame;
    if (codec->type == AVMEDIA_TYPE_VIDEO)
        ctx->get_format = choose_format;
    if (cfg->hw_device) {
        enum AVHWDeviceType type = ((AVHWDeviceContext *)cfg->hw_device->data)->type;
        for (i = 0;; i++) {
            const AVCodecHWConfig *hw = avcodec_get_hw_config(codec, i);
            if (!hw) {
                ret = AVERROR(ENOSYS);
                goto fail;
            }
            if (hw->device_type == type && hw->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) {
                state->wanted = hw->pix_fmt;
                break;
            }
        }
        ctx->hw_device_ctx = av_buffer_ref(cfg->hw_device);
        if (!ctx->hw_device_ctx) {
            ret = AVERROR(ENOMEM);
            goto fail;
        }
    }
    *out = ctx;
    return 0;
fail:
    gsav_decoder_free(&ctx);
    return ret;
}

/* Container side data (HDR, rotation) for the frames to inherit; FFmpeg before 6.1 has no place for it. */
int gsav_decoder_side_data(AVCodecContext *ctx, int type, const uint8_t *data, size_t size)
{
#if GSAV_CODED_SIDE_DATA
    AVPacketSideData *sd = av_packet_side_data_new(&ctx->coded_side_data, &ctx->nb_coded_side_data, type, size, 0);
    if (!sd)
        return AVERROR(ENOMEM);
    memcpy(sd->data, data, size);
#else
    (void)ctx, (void)type, (void)data, (void)size;
#endif
    return 0;
}

int gsav_codec_open(AVCodecContext *ctx, AVDictionary **options)
{
    return avcodec_open2(ctx, NULL, options);
}

const char *gsav_context_name(const AVCodecContext *ctx)
{
    return ctx->codec ? ctx->codec->name : "";
}

/* 1 = hardware in use, 0 = wanted but not offered (yet), -1 = not asked for. */
int gsav_decoder_hardware(const AVCodecContext *ctx)
{
    const DecoderState *state = ctx->opaque;
    if (!state || state->wanted == AV_PIX_FMT_NONE)
        return -1;
    return __atomic_load_n(&state->used, __ATOMIC_RELAXED);
}

void gsav_decoder_skip(AVCodecContext *ctx, int level)
{
    ctx->skip_frame = level;
}

/* Encoders. */

static const AVRational unknown = {0, 1};

static AVRational rational(int num, int den)
{
    return den ? (AVRational){num, den} : unknown;
}

int gsav_encoder_alloc(AVCodecContext **out, const GsavEncoderConfig *cfg)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(cfg->name);
    AVCodecContext *ctx;
    int ret = AVERROR(ENOMEM);
    if (!codec)
        return AVERROR_ENCODER_NOT_FOUND;
    ctx = avcodec_alloc_context3(codec);
    if (!ctx)
        return AVERROR(ENOMEM);
    ctx->time_base = rational(cfg->tb_num, cfg->tb_den);
    if (cfg->bit_rate >= 0)
        ctx->bit_rate = cfg->bit_rate;
    if (cfg->max_rate > 0)
        ctx->rc_max_rate = cfg->max_rate;
    if (cfg->buffer > 0)
        ctx->rc_buffer_size = cfg->buffer;
    if (cfg->quality >= 0) {
        ctx->flags |= AV_CODEC_FLAG_QSCALE;
        ctx->global_quality = cfg->quality;
    }
    if (cfg->gop >= 0)
        ctx->gop_size = cfg->gop;
    if (cfg->b_frames >= 0)
        ctx->max_b_frames = cfg->b_frames;
    ctx->profile = cfg->profile;
    ctx->level = cfg->level;
    ctx->thread_count = cfg->threads;
    if (cfg->thread_type)
        ctx->thread_type = cfg->thread_type;
    if (cfg->global_header)
        ctx->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (cfg->pass & 1)
        ctx->flags |= AV_CODEC_FLAG_PASS1;
    if (cfg->pass & 2)
        ctx->flags |= AV_CODEC_FLAG_PASS2;
    if (cfg->closed_gop)
        ctx->flags |= AV_CODEC_FLAG_CLOSED_GOP;
    if (cfg->low_delay)
        ctx->flags |= AV_CODEC_FLAG_LOW_DELAY;
    if (cfg->interlaced)
        ctx->flags |= AV_CODEC_FLAG_INTERLACED_DCT | AV_CODEC_FLAG_INTERLACED_ME;
    if (cfg->stats_in && !(ctx->stats_in = av_strdup(cfg->stats_in)))
        goto fail;
    if (codec->type == AVMEDIA_TYPE_VIDEO) {
        ctx->width = cfg->width;
        ctx->height = cfg->height;
        ctx->pix_fmt = cfg->format;
        ctx->framerate = rational(cfg->fr_num, cfg->fr_den);
        ctx->sample_aspect_ratio = rational(cfg->sar_num, cfg->sar_den);
        ctx->color_primaries = cfg->primaries;
        ctx->color_trc = cfg->transfer;
        ctx->colorspace = cfg->matrix;
        ctx->color_range = cfg->range;
        ctx->chroma_sample_location = cfg->chroma;
        ctx->field_order = cfg->field_order;
    } else if (codec->type == AVMEDIA_TYPE_AUDIO) {
        ctx->sample_fmt = cfg->format;
        ctx->sample_rate = cfg->sample_rate;
        ret = gsav_set_layout(&ctx->ch_layout, cfg->layout, cfg->channels);
        if (ret < 0)
            goto fail;
        ret = AVERROR(ENOMEM);
    }
    if (cfg->hw_device && !(ctx->hw_device_ctx = av_buffer_ref(cfg->hw_device)))
        goto fail;
    if (cfg->hw_frames && !(ctx->hw_frames_ctx = av_buffer_ref(cfg->hw_frames)))
        goto fail;
#if GSAV_DECODED_SIDE_DATA
    if (cfg->hdr && cfg->hdr->has_mastering) {
        size_t size = 0;
        AVMasteringDisplayMetadata *m = av_mastering_display_metadata_alloc_size(&size);
        AVFrameSideData *sd =
            m ? av_frame_side_data_new(&ctx->decoded_side_data, &ctx->nb_decoded_side_data,
                                       AV_FRAME_DATA_MASTERING_DISPLAY_METADATA, size, 0)
              : NULL;
        if (sd) {
            gsav_hdr_fill_mastering(m, cfg->hdr);
            memcpy(sd->data, m, size);
        }
        av_free(m);
        if (!sd)
            goto fail;
    }
    if (cfg->hdr && cfg->hdr->has_light) {
        AVFrameSideData *sd = av_frame_side_data_new(&ctx->decoded_side_data, &ctx->nb_decoded_side_data,
                                                     AV_FRAME_DATA_CONTENT_LIGHT_LEVEL,
                                                     sizeof(AVContentLightMetadata), 0);
        if (!sd)
            goto fail;
        memset(sd->data, 0, sizeof(AVContentLightMetadata));
        ((AVContentLightMetadata *)sd->data)->MaxCLL = cfg->hdr->max_content;
        ((AVContentLightMetadata *)sd->data)->MaxFALL = cfg->hdr->max_average;
    }
#endif
    *out = ctx;
    return 0;
fail:
    avcodec_free_context(&ctx);
    return ret;
}

/* Whether this FFmpeg hands cfg->hdr to the encoder (else the caller must use the encoder's own options). */
int gsav_encoder_takes_hdr(void)
{
    return GSAV_DECODED_SIDE_DATA;
}

/* stats_in was allocated by us and is ours to free. */
void gsav_encoder_free(AVCodecContext **ctx)
{
    if (*ctx)
        av_freep(&(*ctx)->stats_in);
    avcodec_free_context(ctx);
}

/* libvpx and libaom share out bits by the lengths of pictures. FFmpeg before 6 tells them ticks_per_frame, one tick of the
 * time base, whatever the frame says: with a base finer than the rate a second pass then aims at a fraction of the bit rate,
 * and so does the first key frame of a single one. */
static void tell_length(AVCodecContext *ctx, AVFrame *frame)
{
    int64_t length;
    if (strncmp(ctx->codec->name, "libvpx", 6) && strcmp(ctx->codec->name, "libaom-av1"))
        return;
#if GSAV_FRAME_DURATION
    length = frame->duration;
#else
    length = frame->pkt_duration;
#endif
    if (length <= 0 && ctx->framerate.num > 0 && ctx->framerate.den > 0)
        length = av_rescale_q(1, av_inv_q(ctx->framerate), ctx->time_base);
    length = av_clip64(length, 1, INT_MAX);
#if LIBAVCODEC_VERSION_MAJOR < 60
    ctx->ticks_per_frame = (int)length;
#else
    frame->duration = length;
#endif
}

/* Sends a reference to the frame with its picture type replaced: the decoder's choice must not bind the encoder. */
int gsav_encoder_send(AVCodecContext *ctx, AVFrame *scratch, const AVFrame *frame, int force_key)
{
    int ret;
    if (!frame)
        return avcodec_send_frame(ctx, NULL);
    ret = av_frame_ref(scratch, frame);
    if (ret < 0)
        return ret;
    scratch->pict_type = force_key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    /* The fixed quantiser of FFmpeg's own encoders is read from the frame, not from the context. */
    if (ctx->flags & AV_CODEC_FLAG_QSCALE)
        scratch->quality = ctx->global_quality;
#ifdef AV_FRAME_FLAG_KEY
    if (force_key)
        scratch->flags |= AV_FRAME_FLAG_KEY;
    else
        scratch->flags &= ~AV_FRAME_FLAG_KEY;
#else
    scratch->key_frame = force_key;
#endif
    tell_length(ctx, scratch);
    ret = avcodec_send_frame(ctx, scratch);
    av_frame_unref(scratch);
    return ret;
}

void gsav_encoder_rates(AVCodecContext *ctx, int64_t bit_rate, int64_t max_rate, int buffer)
{
    ctx->bit_rate = bit_rate;
    ctx->rc_max_rate = max_rate;
    ctx->rc_buffer_size = buffer;
}

int gsav_encoder_option(AVCodecContext *ctx, const char *key, const char *value)
{
    return av_opt_set(ctx, key, value, AV_OPT_SEARCH_CHILDREN);
}

/* 0 frame_size, 1 delay, 2 max_b_frames, 3 capabilities, 4 has_b_frames, 5 initial_padding */
int gsav_encoder_int(const AVCodecContext *ctx, int which)
{
    switch (which) {
    case 0: return ctx->frame_size;
    case 1: return ctx->delay;
    case 2: return ctx->max_b_frames;
    case 3: return ctx->codec->capabilities;
    case 4: return ctx->has_b_frames;
    case 5: return ctx->initial_padding;
    default: return 0;
    }
}

const char *gsav_encoder_stats(const AVCodecContext *ctx)
{
    return ctx->stats_out;
}

void gsav_context_time_base(const AVCodecContext *ctx, int32_t *num, int32_t *den)
{
    *num = ctx->time_base.num;
    *den = ctx->time_base.den;
}

/* Subtitles. */

int gsav_subtitle_decode(AVCodecContext *ctx, AVSubtitle *sub, AVPacket *packet, GsavSubtitle *out)
{
    int got = 0, ret = avcodec_decode_subtitle2(ctx, sub, &got, packet);
    if (ret < 0)
        return ret;
    if (!got)
        return 0;
    out->pts = sub->pts;
    out->start = sub->start_display_time;
    out->end = sub->end_display_time;
    out->rects = sub->num_rects;
    return 1;
}

AVSubtitle *gsav_subtitle_alloc(void)
{
    return av_mallocz(sizeof(AVSubtitle));
}

/* Frees what a decoded subtitle holds, so that it can be decoded into again. */
void gsav_subtitle_clear(AVSubtitle *sub)
{
    avsubtitle_free(sub);
}

void gsav_subtitle_free(AVSubtitle **sub)
{
    if (*sub)
        avsubtitle_free(*sub);
    av_freep(sub);
}

int gsav_subtitle_rect(const AVSubtitle *sub, uint32_t index, GsavSubtitleRect *out)
{
    const AVSubtitleRect *r;
    if (index >= sub->num_rects)
        return AVERROR(EINVAL);
    r = sub->rects[index];
    out->x = r->x;
    out->y = r->y;
    out->w = r->w;
    out->h = r->h;
    out->colours = r->nb_colors;
    out->stride = r->linesize[0];
    out->forced = !!(r->flags & AV_SUBTITLE_FLAG_FORCED);
    out->bitmap = r->type == SUBTITLE_BITMAP;
    out->pixels = r->data[0];
    out->palette = r->data[1];
    out->text = r->text;
    out->ass = r->ass;
    return 0;
}

const char *gsav_context_subtitle_header(const AVCodecContext *ctx, int32_t *size)
{
    *size = ctx->subtitle_header ? ctx->subtitle_header_size : 0;
    return (const char *)ctx->subtitle_header;
}

/* Bitstream filters. */

int gsav_bsf_open(AVBSFContext **out, const char *chain, const AVCodecParameters *params, int tb_num, int tb_den)
{
    AVBSFContext *ctx = NULL;
    int ret = av_bsf_list_parse_str(chain, &ctx);
    if (ret < 0)
        return ret;
    ctx->time_base_in = (AVRational){tb_num, tb_den};
    ret = avcodec_parameters_copy(ctx->par_in, params);
    if (ret >= 0)
        ret = av_bsf_init(ctx);
    if (ret < 0)
        av_bsf_free(&ctx);
    *out = ctx;
    return ret;
}

const AVCodecParameters *gsav_bsf_params(const AVBSFContext *ctx, int32_t *tb_num, int32_t *tb_den)
{
    *tb_num = ctx->time_base_out.num;
    *tb_den = ctx->time_base_out.den;
    return ctx->par_out;
}
