/* Frames, packets and the buffers under them. */
#include "shim.h"

void gsav_frame_get(const AVFrame *f, GsavFrameProps *p)
{
    p->pts = f->pts;
    p->dts = f->pkt_dts;
    p->best_effort = f->best_effort_timestamp;
#if GSAV_FRAME_DURATION
    p->duration = f->duration;
#else
    p->duration = f->pkt_duration;
#endif
    p->format = f->format;
    p->width = f->width;
    p->height = f->height;
    p->samples = f->nb_samples;
    p->sample_rate = f->sample_rate;
    p->channels = f->ch_layout.nb_channels;
    p->pict_type = f->pict_type;
    p->repeat = f->repeat_pict;
    p->corrupt = !!(f->flags & AV_FRAME_FLAG_CORRUPT) || f->decode_error_flags;
#ifdef AV_FRAME_FLAG_INTERLACED
    p->key = !!(f->flags & AV_FRAME_FLAG_KEY);
    p->interlaced = !!(f->flags & AV_FRAME_FLAG_INTERLACED);
    p->top_field_first = !!(f->flags & AV_FRAME_FLAG_TOP_FIELD_FIRST);
#else
    p->key = !!f->key_frame;
    p->interlaced = !!f->interlaced_frame;
    p->top_field_first = !!f->top_field_first;
#endif
    p->sar_num = f->sample_aspect_ratio.num;
    p->sar_den = f->sample_aspect_ratio.den;
    p->tb_num = f->time_base.num;
    p->tb_den = f->time_base.den;
    p->primaries = f->color_primaries;
    p->transfer = f->color_trc;
    p->matrix = f->colorspace;
    p->range = f->color_range;
    p->chroma = f->chroma_location;
    p->crop_left = (int32_t)f->crop_left;
    p->crop_top = (int32_t)f->crop_top;
    p->crop_right = (int32_t)f->crop_right;
    p->crop_bottom = (int32_t)f->crop_bottom;
    /* A DMA-BUF needs no pool. */
    p->hardware = f->hw_frames_ctx != NULL || (f->width > 0 && f->format == AV_PIX_FMT_DRM_PRIME);
}

#ifdef AV_FRAME_FLAG_INTERLACED
static void set_flag(AVFrame *f, int flag, int on)
{
    f->flags = on ? f->flags | flag : f->flags & ~flag;
}
#endif

/* Writes what a caller may change; geometry, format and sample counts belong to the buffers and stay. */
void gsav_frame_set(AVFrame *f, const GsavFrameProps *p)
{
    f->pts = p->pts;
#if GSAV_FRAME_DURATION
    f->duration = p->duration;
#else
    f->pkt_duration = p->duration;
#endif
    f->pict_type = p->pict_type;
    f->repeat_pict = p->repeat;
#ifdef AV_FRAME_FLAG_INTERLACED
    set_flag(f, AV_FRAME_FLAG_KEY, p->key);
    set_flag(f, AV_FRAME_FLAG_INTERLACED, p->interlaced);
    set_flag(f, AV_FRAME_FLAG_TOP_FIELD_FIRST, p->top_field_first);
#else
    f->key_frame = p->key;
    f->interlaced_frame = p->interlaced;
    f->top_field_first = p->top_field_first;
#endif
    f->sample_aspect_ratio = (AVRational){p->sar_num, p->sar_den};
    f->time_base = (AVRational){p->tb_num, p->tb_den};
    f->color_primaries = p->primaries;
    f->color_trc = p->transfer;
    f->colorspace = p->matrix;
    f->color_range = p->range;
    f->chroma_location = p->chroma;
    f->sample_rate = p->sample_rate;
}

int gsav_frame_layout(const AVFrame *f, char *out, size_t size)
{
    return gsav_describe_layout(&f->ch_layout, out, size);
}

int gsav_frame_alloc_video(AVFrame *f, int format, int width, int height, int align)
{
    f->format = format;
    f->width = width;
    f->height = height;
    return av_frame_get_buffer(f, align);
}

int gsav_frame_alloc_audio(AVFrame *f, int format, int rate, const char *layout, int channels, int samples)
{
    int ret = gsav_set_layout(&f->ch_layout, layout, channels);
    if (ret < 0)
        return ret;
    f->format = format;
    f->sample_rate = rate;
    f->nb_samples = samples;
    return av_frame_get_buffer(f, 0);
}

/* Shortens an audio frame to its first samples. */
int gsav_frame_truncate(AVFrame *f, int samples)
{
    if (samples < 0 || samples > f->nb_samples)
        return AVERROR(EINVAL);
    f->nb_samples = samples;
    return 0;
}

/* Says what a frame without memory is to be, for gsav_frame_attach(). */
void gsav_frame_describe(AVFrame *f, int format, int width, int height)
{
    f->format = format;
    f->width = width;
    f->height = height;
}

/* Hands one plane of foreign memory to the frame; on success `release(opaque, data)` runs with the last reference. */
int gsav_frame_attach(AVFrame *f, int plane, uint8_t *data, size_t size, int stride, int writable,
                      void (*release)(void *, uint8_t *), void *opaque)
{
    AVBufferRef *buf;
    if (plane < 0 || plane >= AV_NUM_DATA_POINTERS || f->buf[plane])
        return AVERROR(EINVAL);
    buf = av_buffer_create(data, size, release, opaque, writable ? 0 : AV_BUFFER_FLAG_READONLY);
    if (!buf)
        return AVERROR(ENOMEM);
    f->buf[plane] = buf;
    f->data[plane] = data;
    f->linesize[plane] = stride;
    f->extended_data = f->data;
    return 0;
}

int gsav_plane_layout(int format, int width, int height, int plane, int32_t *rows, int32_t *row_bytes)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    int count = av_pix_fmt_count_planes(format);
    if (!d || d->flags & AV_PIX_FMT_FLAG_HWACCEL || width <= 0 || height <= 0)
        return AVERROR(EINVAL);
    if (d->flags & AV_PIX_FMT_FLAG_PAL && plane == 1) {
        *rows = 1;
        *row_bytes = 1024;
        return 0;
    }
    if (plane < 0 || plane >= count)
        return AVERROR(EINVAL);
    *rows = plane == 1 || plane == 2 ? AV_CEIL_RSHIFT(height, d->log2_chroma_h) : height;
    *row_bytes = av_image_get_linesize(format, width, plane);
    return *row_bytes < 0 ? *row_bytes : 0;
}

/* One plane of a host frame: where it starts, its stride, rows and bytes that count in a row. */
int gsav_frame_plane(const AVFrame *f, int plane, uint8_t **data, int32_t *stride, int32_t *rows, int32_t *row_bytes)
{
    AVBufferRef *buf;
    int64_t len;
    int ret;
    if (f->hw_frames_ctx)
        return AVERROR(EINVAL);
    if (f->width > 0) {
        if (plane < 0 || plane >= AV_NUM_DATA_POINTERS || !f->data[plane])
            return AVERROR(EINVAL);
        ret = gsav_plane_layout(f->format, f->width, f->height, plane, rows, row_bytes);
        if (ret < 0)
            return ret;
        *data = f->data[plane];
        *stride = *rows == 1 ? *row_bytes : f->linesize[plane];
        if (*stride < *row_bytes)
            return AVERROR(EINVAL);
    } else {
        int planar = av_sample_fmt_is_planar(f->format), bytes = av_get_bytes_per_sample(f->format);
        int count = planar ? f->ch_layout.nb_channels : 1;
        if (plane < 0 || plane >= count || bytes <= 0 || !f->extended_data || !f->extended_data[plane])
            return AVERROR(EINVAL);
        *data = f->extended_data[plane];
        *rows = 1;
        *row_bytes = f->nb_samples * bytes * (planar ? 1 : f->ch_layout.nb_channels);
        *stride = *row_bytes;
    }
    len = (int64_t)*stride * (*rows - 1) + *row_bytes;
    /* A plane that lies in no buffer of the frame, or runs past it, is not handed out. */
    buf = av_frame_get_plane_buffer((AVFrame *)f, plane);
    if (!buf || *data < buf->data || (uint64_t)(*data - buf->data) + (uint64_t)len > buf->size)
        return AVERROR(EINVAL);
    return 0;
}

/* Paints a picture black, and opaque. */
int gsav_frame_fill_black(AVFrame *f, int full)
{
    ptrdiff_t lines[4];
    if (f->hw_frames_ctx || f->width <= 0)
        return AVERROR(EINVAL);
    for (int i = 0; i < 4; i++)
        lines[i] = f->linesize[i];
    return av_image_fill_black(f->data, lines, f->format, full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG, f->width,
                               f->height);
}

uintptr_t gsav_frame_data(const AVFrame *f, int plane)
{
    return plane < 0 || plane >= AV_NUM_DATA_POINTERS ? 0 : (uintptr_t)f->data[plane];
}

int gsav_frame_linesize(const AVFrame *f, int plane)
{
    return plane < 0 || plane >= AV_NUM_DATA_POINTERS ? 0 : f->linesize[plane];
}

/* Filters such as vflip hand out negative strides: copies such a frame, so that strides are positive everywhere. */
int gsav_frame_straighten(AVFrame **frame)
{
    AVFrame *f = *frame, *copy;
    int i, bad = 0, ret;
    if (f->hw_frames_ctx || f->width <= 0)
        return 0;
    for (i = 0; i < AV_NUM_DATA_POINTERS; i++)
        bad |= f->data[i] && f->linesize[i] < 0;
    if (!bad)
        return 0;
    copy = av_frame_alloc();
    if (!copy)
        return AVERROR(ENOMEM);
    ret = gsav_frame_alloc_video(copy, f->format, f->width, f->height, 0);
    if (ret >= 0)
        ret = av_frame_copy_props(copy, f);
    if (ret >= 0)
        ret = av_frame_copy(copy, f);
    if (ret < 0) {
        av_frame_free(&copy);
        return ret;
    }
    av_frame_free(frame);
    *frame = copy;
    return 0;
}

int64_t gsav_image_size(int format, int width, int height, int align)
{
    return av_image_get_buffer_size(format, width, height, align);
}

int gsav_frame_copy_packed(const AVFrame *f, uint8_t *out, int size)
{
    if (f->hw_frames_ctx || f->width <= 0)
        return AVERROR(EINVAL);
    return av_image_copy_to_buffer(out, size, (const uint8_t *const *)f->data, f->linesize, f->format, f->width,
                                   f->height, 1);
}

void gsav_hdr_read_mastering(const AVMasteringDisplayMetadata *m, GsavHdr *hdr)
{
    int i, j;
    if (!m->has_primaries && !m->has_luminance)
        return;
    hdr->has_mastering = 1;
    if (m->has_primaries) {
        for (i = 0; i < 3; i++)
            for (j = 0; j < 2; j++)
                hdr->primaries[i][j] = av_q2d(m->display_primaries[i][j]);
        for (j = 0; j < 2; j++)
            hdr->white[j] = av_q2d(m->white_point[j]);
    }
    if (m->has_luminance) {
        hdr->min_luminance = av_q2d(m->min_luminance);
        hdr->max_luminance = av_q2d(m->max_luminance);
    }
}

void gsav_hdr_fill_mastering(AVMasteringDisplayMetadata *m, const GsavHdr *hdr)
{
    int i, j;
    for (i = 0; i < 3; i++)
        for (j = 0; j < 2; j++)
            m->display_primaries[i][j] = (AVRational){(int)(hdr->primaries[i][j] * 50000 + 0.5), 50000};
    for (j = 0; j < 2; j++)
        m->white_point[j] = (AVRational){(int)(hdr->white[j] * 50000 + 0.5), 50000};
    m->min_luminance = (AVRational){(int)(hdr->min_luminance * 10000 + 0.5), 10000};
    m->max_luminance = (AVRational){(int)(hdr->max_luminance * 10000 + 0.5), 10000};
    m->has_primaries = hdr->white[0] > 0;
    m->has_luminance = hdr->max_luminance > 0;
}

void gsav_frame_hdr_get(const AVFrame *f, GsavHdr *hdr)
{
    const AVFrameSideData *sd;
    memset(hdr, 0, sizeof(*hdr));
    if ((sd = av_frame_get_side_data(f, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA)))
        gsav_hdr_read_mastering((const AVMasteringDisplayMetadata *)sd->data, hdr);
    if ((sd = av_frame_get_side_data(f, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL))) {
        const AVContentLightMetadata *l = (const AVContentLightMetadata *)sd->data;
        hdr->has_light = 1;
        hdr->max_content = l->MaxCLL;
        hdr->max_average = l->MaxFALL;
    }
    hdr->hdr10_plus = av_frame_get_side_data(f, AV_FRAME_DATA_DYNAMIC_HDR_PLUS) != NULL;
    if (av_frame_get_side_data(f, AV_FRAME_DATA_DOVI_RPU_BUFFER) ||
        av_frame_get_side_data(f, AV_FRAME_DATA_DOVI_METADATA)) {
        hdr->has_dovi = hdr->dv_rpu = hdr->dv_bl = 1;
        if ((sd = av_frame_get_side_data(f, AV_FRAME_DATA_DOVI_METADATA))) {
            /* A frame carries no configuration record; the profile follows from the RPU header. */
            AVDOVIMetadata *m = (AVDOVIMetadata *)sd->data;
            const AVDOVIRpuDataHeader *h = av_dovi_get_header(m);
            hdr->dv_el = !h->disable_residual_flag;
            hdr->dv_profile = h->vdr_rpu_profile == 0 ? (h->bl_video_full_range_flag ? 5 : 0)
                              : hdr->dv_el            ? 7
                                                      : 8;
        }
    }
}

/* Replaces the static metadata (mastering display, content light); dynamic metadata stays as it is. */
int gsav_frame_hdr_set(AVFrame *f, const GsavHdr *hdr)
{
    av_frame_remove_side_data(f, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    av_frame_remove_side_data(f, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    if (hdr->has_mastering) {
        AVMasteringDisplayMetadata *m = av_mastering_display_metadata_create_side_data(f);
        if (!m)
            return AVERROR(ENOMEM);
        gsav_hdr_fill_mastering(m, hdr);
    }
    if (hdr->has_light) {
        AVContentLightMetadata *l = av_content_light_metadata_create_side_data(f);
        if (!l)
            return AVERROR(ENOMEM);
        l->MaxCLL = hdr->max_content;
        l->MaxFALL = hdr->max_average;
    }
    return 0;
}

/* 1 and the matrix when the frame carries one, else 0. */
int gsav_frame_matrix(const AVFrame *f, int32_t out[9])
{
    const AVFrameSideData *sd = av_frame_get_side_data(f, AV_FRAME_DATA_DISPLAYMATRIX);
    if (!sd || sd->size < 9 * sizeof(int32_t))
        return 0;
    memcpy(out, sd->data, 9 * sizeof(int32_t));
    return 1;
}

void gsav_frame_drop_matrix(AVFrame *f)
{
    av_frame_remove_side_data(f, AV_FRAME_DATA_DISPLAYMATRIX);
}

/* Dynamic and static metadata that a change of colour makes untrue. */
void gsav_frame_drop_hdr(AVFrame *f)
{
    av_frame_remove_side_data(f, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    av_frame_remove_side_data(f, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    av_frame_remove_side_data(f, AV_FRAME_DATA_DYNAMIC_HDR_PLUS);
    av_frame_remove_side_data(f, AV_FRAME_DATA_DOVI_RPU_BUFFER);
    av_frame_remove_side_data(f, AV_FRAME_DATA_DOVI_METADATA);
}

/* CEA-608/708 caption bytes (cc_data triplets) of the frame; NULL when it has none. */
const uint8_t *gsav_frame_captions(const AVFrame *f, size_t *size)
{
    const AVFrameSideData *sd = av_frame_get_side_data(f, AV_FRAME_DATA_A53_CC);
    *size = sd ? sd->size : 0;
    return sd ? sd->data : NULL;
}

int gsav_frame_set_captions(AVFrame *f, const uint8_t *data, size_t size)
{
    AVFrameSideData *sd;
    av_frame_remove_side_data(f, AV_FRAME_DATA_A53_CC);
    if (!size)
        return 0;
    sd = av_frame_new_side_data(f, AV_FRAME_DATA_A53_CC, size);
    if (!sd)
        return AVERROR(ENOMEM);
    memcpy(sd->data, data, size);
    return 0;
}

double gsav_matrix_rotation(const int32_t matrix[9])
{
    return av_display_rotation_get(matrix);
}

void gsav_rotation_matrix(int32_t matrix[9], double clockwise)
{
    av_display_rotation_set(matrix, clockwise);
}

/* Packets. */

void gsav_packet_get(const AVPacket *k, GsavPacketProps *p)
{
    p->pts = k->pts;
    p->dts = k->dts;
    p->duration = k->duration;
    p->position = k->pos;
    p->data = k->data;
    p->size = k->size;
    p->stream = k->stream_index;
    p->flags = k->flags;
    p->side_data = k->side_data_elems;
    p->tb_num = k->time_base.num;
    p->tb_den = k->time_base.den;
}

/* Everything but the payload and the side data. */
void gsav_packet_set(AVPacket *k, const GsavPacketProps *p)
{
    k->pts = p->pts;
    k->dts = p->dts;
    k->duration = p->duration;
    k->pos = p->position;
    k->stream_index = p->stream;
    k->flags = p->flags;
    k->time_base = (AVRational){p->tb_num, p->tb_den};
}

AVBufferRef *gsav_packet_buffer(const AVPacket *k)
{
    return k->buf ? av_buffer_ref(k->buf) : NULL;
}

int gsav_packet_wrap(AVPacket *k, const uint8_t *data, int size, void (*release)(void *, uint8_t *), void *opaque)
{
    AVBufferRef *buf = av_buffer_create((uint8_t *)data, size, release, opaque, AV_BUFFER_FLAG_READONLY);
    if (!buf)
        return AVERROR(ENOMEM);
    k->buf = buf;
    k->data = (uint8_t *)data;
    k->size = size;
    return 0;
}

int gsav_packet_copy(AVPacket *k, const uint8_t *data, int size)
{
    int ret = av_new_packet(k, size);
    if (ret >= 0 && size)
        memcpy(k->data, data, size);
    return ret;
}

const uint8_t *gsav_packet_side_data(const AVPacket *k, int index, int32_t *type, size_t *size)
{
    if (index < 0 || index >= k->side_data_elems)
        return NULL;
    *type = k->side_data[index].type;
    *size = k->side_data[index].size;
    return k->side_data[index].data;
}

int gsav_packet_add_side_data(AVPacket *k, int type, const uint8_t *data, size_t size)
{
    uint8_t *to = av_packet_new_side_data(k, type, size);
    if (!to)
        return AVERROR(ENOMEM);
    if (size)
        memcpy(to, data, size);
    return 0;
}

void gsav_packet_rescale(AVPacket *k, int from_num, int from_den, int to_num, int to_den)
{
    av_packet_rescale_ts(k, (AVRational){from_num, from_den}, (AVRational){to_num, to_den});
}

AVBufferPool *gsav_pool_new(size_t size)
{
    return av_buffer_pool_init(size, av_buffer_allocz);
}

/* A picture whose planes lie in one buffer of the pool, rows aligned to `align`. */
int gsav_pool_get(AVFrame *f, AVBufferPool *pool, int format, int width, int height, int align)
{
    int ret;
    f->buf[0] = av_buffer_pool_get(pool);
    if (!f->buf[0])
        return AVERROR(ENOMEM);
    ret = av_image_fill_arrays(f->data, f->linesize, f->buf[0]->data, format, width, height, align);
    if (ret < 0)
        return ret;
    if ((size_t)ret > f->buf[0]->size)
        return AVERROR(EINVAL);
    f->format = format;
    f->width = width;
    f->height = height;
    f->extended_data = f->data;
    return 0;
}
