/*
 * What Rust needs of FFmpeg, with every difference between FFmpeg 5.1 and 9 hidden by the preprocessor.
 *
 * Rules: only ints, plain structs of this file and pointers to opaque types cross; an enum crosses as int32_t, so that a
 * value newer than our headers can do no harm. Functions return 0 or a negative AVERROR unless they say otherwise.
 * The structs here are mirrored by hand in src/ffmpeg/raw.rs; gsav_layout() lets a test compare their sizes.
 */
#ifndef GHOSTSTREAM_SHIM_H
#define GHOSTSTREAM_SHIM_H

#include <stdint.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavdevice/avdevice.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/dovi_meta.h>
#include <libavutil/hwcontext.h>
#include <libavutil/imgutils.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

/* 6.1: side data moved from AVStream to AVCodecParameters; codecpar.framerate. */
#define GSAV_CODED_SIDE_DATA (LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100))
/* 7.1: AVCodec.pix_fmts and friends became avcodec_get_supported_config(). */
#define GSAV_SUPPORTED_CONFIG (LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 19, 100))
/* 7.1: encoders read HDR metadata from AVCodecContext.decoded_side_data. */
#define GSAV_DECODED_SIDE_DATA (LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 19, 100))
/* 6.0: AVFrame.duration. */
#define GSAV_FRAME_DURATION (LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 2, 100))
/* 7.0: buffersrc negotiates colour space and range. */
#define GSAV_BUFFERSRC_COLOUR (LIBAVFILTER_VERSION_INT >= AV_VERSION_INT(10, 1, 100))
/* 7.0: the avio write callback takes const uint8_t *. */
#define GSAV_AVIO_CONST_WRITE (LIBAVFORMAT_VERSION_MAJOR >= 61)

typedef struct GsavFrameProps {
    int64_t pts, dts, best_effort, duration;
    int32_t format, width, height;
    int32_t samples, sample_rate, channels;
    int32_t key, pict_type, interlaced, top_field_first, repeat, corrupt;
    int32_t sar_num, sar_den, tb_num, tb_den;
    int32_t primaries, transfer, matrix, range, chroma;
    int32_t crop_left, crop_top, crop_right, crop_bottom;
    int32_t hardware;
} GsavFrameProps;

typedef struct GsavPacketProps {
    int64_t pts, dts, duration, position;
    const uint8_t *data;
    int32_t size, stream, flags, side_data;
    int32_t tb_num, tb_den;
} GsavPacketProps;

typedef struct GsavHdr {
    double primaries[3][2], white[2], min_luminance, max_luminance;
    uint32_t max_content, max_average;
    int32_t has_mastering, has_light, has_dovi, hdr10_plus;
    int32_t dv_profile, dv_level, dv_rpu, dv_el, dv_bl, dv_compat;
} GsavHdr;

typedef struct GsavParams {
    int64_t bit_rate;
    int32_t kind, codec_id, format, profile, level;
    uint32_t tag;
    int32_t width, height, sar_num, sar_den, fr_num, fr_den;
    int32_t primaries, transfer, matrix, range, chroma, field_order, reorder;
    int32_t bits_per_coded_sample, bits_per_raw_sample;
    int32_t sample_rate, channels, block_align, frame_size, initial_padding, trailing_padding, seek_preroll;
} GsavParams;

typedef struct GsavStream {
    int64_t start, duration, frames;
    int32_t id, tb_num, tb_den, avg_num, avg_den, r_num, r_den, sar_num, sar_den, disposition, discard;
} GsavStream;

typedef struct GsavFormat {
    int64_t start, duration, bit_rate;
    int32_t streams, chapters, flags, seekable;
    /* Its bytes come once, one after another. */
    int32_t streamed;
} GsavFormat;

typedef struct GsavChapter {
    int64_t id, start, end;
    int32_t tb_num, tb_den;
} GsavChapter;

typedef struct GsavPixDesc {
    int32_t planes, components, log2_chroma_w, log2_chroma_h, depth, bits_per_pixel;
    int32_t rgb, alpha, planar, hardware, floating, big_endian, palette;
} GsavPixDesc;

typedef struct GsavDecoderConfig {
    const char *name;
    AVBufferRef *hw_device;
    int32_t threads, thread_type, low_delay, tb_num, tb_den, skip_frame;
} GsavDecoderConfig;

typedef struct GsavEncoderConfig {
    const char *name, *layout, *stats_in;
    AVBufferRef *hw_device, *hw_frames;
    const GsavHdr *hdr;
    int64_t bit_rate, max_rate;
    int32_t buffer, quality, gop, b_frames, profile, level, threads, thread_type;
    int32_t global_header, pass, closed_gop, low_delay, interlaced;
    int32_t width, height, format, tb_num, tb_den, fr_num, fr_den, sar_num, sar_den;
    int32_t primaries, transfer, matrix, range, chroma, field_order;
    int32_t sample_rate, channels;
} GsavEncoderConfig;

typedef struct GsavFilterInput {
    const char *name, *layout;
    AVBufferRef *hw_frames;
    int32_t audio, format, tb_num, tb_den;
    int32_t width, height, sar_num, sar_den, fr_num, fr_den, matrix, range;
    int32_t sample_rate, channels;
} GsavFilterInput;

typedef struct GsavSinkProps {
    int32_t audio, format, tb_num, tb_den;
    int32_t width, height, sar_num, sar_den, fr_num, fr_den;
    int32_t sample_rate, channels;
} GsavSinkProps;

typedef struct GsavDmabuf {
    uint64_t modifier, size[4];
    int32_t fd[4];
    uint32_t offset[4], pitch[4];
    uint32_t fourcc;
    int32_t planes, width, height, left, top;
} GsavDmabuf;

typedef struct GsavSubtitle {
    int64_t pts;
    uint32_t start, end, rects;
} GsavSubtitle;

typedef struct GsavSubtitleRect {
    int32_t x, y, w, h, colours, stride, forced, bitmap;
    const uint8_t *pixels, *palette;
    const char *text, *ass;
} GsavSubtitleRect;

/* Shared between the files of the shim. */
int gsav_set_layout(AVChannelLayout *layout, const char *name, int channels);
int gsav_describe_layout(const AVChannelLayout *layout, char *out, size_t size);
void gsav_hdr_add(int packet_type, const uint8_t *data, size_t size, GsavHdr *hdr);
void gsav_hdr_fill_mastering(AVMasteringDisplayMetadata *m, const GsavHdr *hdr);
void gsav_hdr_read_mastering(const AVMasteringDisplayMetadata *m, GsavHdr *hdr);

#endif
