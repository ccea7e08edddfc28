//! The C side: what `shim/` exports, and the few functions of FFmpeg itself whose signatures hold no enum and never changed.
//! Structs mirror `shim/shim.h` field by field; a test compares the sizes.

#![allow(missing_docs)]

use std::ffi::{c_char, c_int, c_uint, c_void};

macro_rules! opaque {
    ($($name:ident),*) => {
        $(#[repr(C)]
        pub struct $name {
            _private: [u8; 0],
            _not_send: std::marker::PhantomData<*mut u8>,
        })*
    };
}

opaque!(
    AVBSFContext,
    AVBufferPool,
    AVBufferRef,
    AVCodecContext,
    AVCodecParameters,
    AVDictionary,
    AVFilterContext,
    AVFilterGraph,
    AVFormatContext,
    AVFrame,
    AVIOContext,
    AVPacket,
    AVSubtitle
);

/// `AV_NOPTS_VALUE`.
pub const NOPTS: i64 = i64::MIN;

#[repr(C)]
pub struct AVDictionaryEntry {
    pub key: *const c_char,
    pub value: *const c_char,
}

macro_rules! mirrored {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $ty:ty,)* })*) => {
        $($(#[$meta])* #[repr(C)] #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> Self {
                // SAFETY: plain C data of integers, floats and nullable pointers; all zero is a value of each.
                unsafe { std::mem::zeroed() }
            }
        })*
    };
}

mirrored! {
    struct FrameProps {
        pts: i64, dts: i64, best_effort: i64, duration: i64,
        format: i32, width: i32, height: i32,
        samples: i32, sample_rate: i32, channels: i32,
        key: i32, pict_type: i32, interlaced: i32, top_field_first: i32, repeat: i32, corrupt: i32,
        sar_num: i32, sar_den: i32, tb_num: i32, tb_den: i32,
        primaries: i32, transfer: i32, matrix: i32, range: i32, chroma: i32,
        crop_left: i32, crop_top: i32, crop_right: i32, crop_bottom: i32,
        hardware: i32,
    }
    struct PacketProps {
        pts: i64, dts: i64, duration: i64, position: i64,
        data: *const u8,
        size: i32, stream: i32, flags: i32, side_data: i32,
        tb_num: i32, tb_den: i32,
    }
    struct Hdr {
        primaries: [[f64; 2]; 3], white: [f64; 2], min_luminance: f64, max_luminance: f64,
        max_content: u32, max_average: u32,
        has_mastering: i32, has_light: i32, has_dovi: i32, hdr10_plus: i32,
        dv_profile: i32, dv_level: i32, dv_rpu: i32, dv_el: i32, dv_bl: i32, dv_compat: i32,
    }
    struct Params {
        bit_rate: i64,
        kind: i32, codec_id: i32, format: i32, profile: i32, level: i32,
        tag: u32,
        width: i32, height: i32, sar_num: i32, sar_den: i32, fr_num: i32, fr_den: i32,
        primaries: i32, transfer: i32, matrix: i32, range: i32, chroma: i32, field_order: i32, reorder: i32,
        bits_per_coded_sample: i32, bits_per_raw_sample: i32,
        sample_rate: i32, channels: i32, block_align: i32, frame_size: i32, initial_padding: i32,
        trailing_padding: i32, seek_preroll: i32,
    }
    struct Stream {
        start: i64, duration: i64, frames: i64,
        id: i32, tb_num: i32, tb_den: i32, avg_num: i32, avg_den: i32, r_num: i32, r_den: i32,
        sar_num: i32, sar_den: i32, disposition: i32, discard: i32,
    }
    struct Format {
        start: i64, duration: i64, bit_rate: i64,
        streams: i32, chapters: i32, flags: i32, seekable: i32, streamed: i32,
    }
    struct Chapter {
        id: i64, start: i64, end: i64,
        tb_num: i32, tb_den: i32,
    }
    struct PixDesc {
        planes: i32, components: i32, log2_chroma_w: i32, log2_chroma_h: i32, depth: i32, bits_per_pixel: i32,
        rgb: i32, alpha: i32, planar: i32, hardware: i32, floating: i32, big_endian: i32, palette: i32,
    }
    struct DecoderConfig {
        name: *const c_char,
        hw_device: *mut AVBufferRef,
        threads: i32, thread_type: i32, low_delay: i32, tb_num: i32, tb_den: i32, skip_frame: i32,
    }
    struct EncoderConfig {
        name: *const c_char, layout: *const c_char, stats_in: *const c_char,
        hw_device: *mut AVBufferRef, hw_frames: *mut AVBufferRef,
        hdr: *const Hdr,
        bit_rate: i64, max_rate: i64,
        buffer: i32, quality: i32, gop: i32, b_frames: i32, profile: i32, level: i32, threads: i32, thread_type: i32,
        global_header: i32, pass: i32, closed_gop: i32, low_delay: i32, interlaced: i32,
        width: i32, height: i32, format: i32, tb_num: i32, tb_den: i32, fr_num: i32, fr_den: i32,
        sar_num: i32, sar_den: i32,
        primaries: i32, transfer: i32, matrix: i32, range: i32, chroma: i32, field_order: i32,
        sample_rate: i32, channels: i32,
    }
    struct Dmabuf {
        modifier: u64, size: [u64; 4],
        fd: [i32; 4],
        offset: [u32; 4], pitch: [u32; 4],
        fourcc: u32,
        planes: i32, width: i32, height: i32, left: i32, top: i32,
    }
    struct FilterInput {
        name: *const c_char, layout: *const c_char,
        hw_frames: *mut AVBufferRef,
        audio: i32, format: i32, tb_num: i32, tb_den: i32,
        width: i32, height: i32, sar_num: i32, sar_den: i32, fr_num: i32, fr_den: i32, matrix: i32, range: i32,
        sample_rate: i32, channels: i32,
    }
    struct SinkProps {
        audio: i32, format: i32, tb_num: i32, tb_den: i32,
        width: i32, height: i32, sar_num: i32, sar_den: i32, fr_num: i32, fr_den: i32,
        sample_rate: i32, channels: i32,
    }
    struct Subtitle {
        pts: i64,
        start: u32, end: u32, rects: u32,
    }
    struct SubtitleRect {
        x: i32, y: i32, w: i32, h: i32, colours: i32, stride: i32, forced: i32, bitmap: i32,
        pixels: *const u8, palette: *const u8,
        text: *const c_char, ass: *const c_char,
    }
}

pub type Interrupt = unsafe extern "C" fn(*mut c_void) -> c_int;
pub type Ask = unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> c_int;
pub type Release = unsafe extern "C" fn(*mut c_void, *mut u8);
pub type Read = unsafe extern "C" fn(*mut c_void, *mut u8, c_int) -> c_int;
pub type Write = unsafe extern "C" fn(*mut c_void, *const u8, c_int) -> c_int;
pub type Seek = unsafe extern "C" fn(*mut c_void, i64, c_int) -> i64;
pub type LogSink = unsafe extern "C" fn(i32, *const c_void, *const c_void, *const c_char, *const c_char);

#[rustfmt::skip]
unsafe extern "C" {
    // libavutil
    pub fn av_strerror(code: c_int, out: *mut c_char, size: usize) -> c_int;
    pub fn av_dict_set(d: *mut *mut AVDictionary, key: *const c_char, value: *const c_char, flags: c_int) -> c_int;
    pub fn av_dict_get(d: *const AVDictionary, key: *const c_char, prev: *const AVDictionaryEntry, flags: c_int)
        -> *const AVDictionaryEntry;
    pub fn av_dict_free(d: *mut *mut AVDictionary);
    pub fn av_frame_alloc() -> *mut AVFrame;
    pub fn av_frame_free(f: *mut *mut AVFrame);
    pub fn av_frame_ref(to: *mut AVFrame, from: *const AVFrame) -> c_int;
    pub fn av_frame_copy_props(to: *mut AVFrame, from: *const AVFrame) -> c_int;
    pub fn av_frame_is_writable(f: *mut AVFrame) -> c_int;
    pub fn av_frame_make_writable(f: *mut AVFrame) -> c_int;
    pub fn av_buffer_ref(b: *const AVBufferRef) -> *mut AVBufferRef;
    pub fn av_buffer_unref(b: *mut *mut AVBufferRef);
    pub fn avutil_configuration() -> *const c_char;
    pub fn avutil_license() -> *const c_char;
    pub fn av_version_info() -> *const c_char;
    // libavcodec
    pub fn av_packet_alloc() -> *mut AVPacket;
    pub fn av_packet_free(p: *mut *mut AVPacket);
    pub fn av_packet_ref(to: *mut AVPacket, from: *const AVPacket) -> c_int;
    pub fn avcodec_parameters_alloc() -> *mut AVCodecParameters;
    pub fn avcodec_parameters_free(p: *mut *mut AVCodecParameters);
    pub fn avcodec_send_packet(c: *mut AVCodecContext, p: *const AVPacket) -> c_int;
    pub fn avcodec_receive_frame(c: *mut AVCodecContext, f: *mut AVFrame) -> c_int;
    pub fn avcodec_receive_packet(c: *mut AVCodecContext, p: *mut AVPacket) -> c_int;
    pub fn avcodec_flush_buffers(c: *mut AVCodecContext);
    pub fn av_bsf_free(b: *mut *mut AVBSFContext);
    pub fn av_bsf_send_packet(b: *mut AVBSFContext, p: *mut AVPacket) -> c_int;
    pub fn av_bsf_receive_packet(b: *mut AVBSFContext, p: *mut AVPacket) -> c_int;
    pub fn av_bsf_flush(b: *mut AVBSFContext);
    // libavfilter
    pub fn avfilter_graph_free(g: *mut *mut AVFilterGraph);

    // shim/frame.c
    pub fn gsav_frame_get(f: *const AVFrame, p: *mut FrameProps);
    pub fn gsav_frame_set(f: *mut AVFrame, p: *const FrameProps);
    pub fn gsav_frame_layout(f: *const AVFrame, out: *mut c_char, size: usize) -> c_int;
    pub fn gsav_frame_alloc_video(f: *mut AVFrame, format: c_int, w: c_int, h: c_int, align: c_int) -> c_int;
    pub fn gsav_pool_new(size: usize) -> *mut AVBufferPool;
    pub fn av_buffer_pool_uninit(pool: *mut *mut AVBufferPool);
    pub fn gsav_pool_get(f: *mut AVFrame, pool: *mut AVBufferPool, format: c_int, w: c_int, h: c_int,
        align: c_int) -> c_int;
    pub fn gsav_frame_alloc_audio(f: *mut AVFrame, format: c_int, rate: c_int, layout: *const c_char,
        channels: c_int, samples: c_int) -> c_int;
    pub fn gsav_frame_truncate(f: *mut AVFrame, samples: c_int) -> c_int;
    pub fn gsav_frame_describe(f: *mut AVFrame, format: c_int, w: c_int, h: c_int);
    pub fn gsav_frame_attach(f: *mut AVFrame, plane: c_int, data: *mut u8, size: usize, stride: c_int,
        writable: c_int, release: Release, opaque: *mut c_void) -> c_int;
    pub fn gsav_plane_layout(format: c_int, w: c_int, h: c_int, plane: c_int, rows: *mut i32, row_bytes: *mut i32)
        -> c_int;
    pub fn gsav_frame_plane(f: *const AVFrame, plane: c_int, data: *mut *mut u8, stride: *mut i32, rows: *mut i32,
        row_bytes: *mut i32) -> c_int;
    pub fn gsav_frame_data(f: *const AVFrame, plane: c_int) -> usize;
    pub fn gsav_frame_linesize(f: *const AVFrame, plane: c_int) -> c_int;
    pub fn gsav_frame_straighten(f: *mut *mut AVFrame) -> c_int;
    pub fn gsav_image_size(format: c_int, w: c_int, h: c_int, align: c_int) -> i64;
    pub fn gsav_frame_fill_black(f: *mut AVFrame, full: c_int) -> c_int;
    pub fn gsav_frame_copy_packed(f: *const AVFrame, out: *mut u8, size: c_int) -> c_int;
    pub fn gsav_frame_hdr_get(f: *const AVFrame, hdr: *mut Hdr);
    pub fn gsav_frame_hdr_set(f: *mut AVFrame, hdr: *const Hdr) -> c_int;
    pub fn gsav_frame_matrix(f: *const AVFrame, out: *mut i32) -> c_int;
    pub fn gsav_frame_drop_matrix(f: *mut AVFrame);
    pub fn gsav_frame_drop_hdr(f: *mut AVFrame);
    pub fn gsav_frame_captions(f: *const AVFrame, size: *mut usize) -> *const u8;
    pub fn gsav_frame_set_captions(f: *mut AVFrame, data: *const u8, size: usize) -> c_int;
    pub fn gsav_matrix_rotation(matrix: *const i32) -> f64;
    pub fn gsav_rotation_matrix(matrix: *mut i32, clockwise: f64);
    pub fn gsav_packet_get(p: *const AVPacket, out: *mut PacketProps);
    pub fn gsav_packet_set(p: *mut AVPacket, props: *const PacketProps);
    pub fn gsav_packet_buffer(p: *const AVPacket) -> *mut AVBufferRef;
    pub fn gsav_packet_wrap(p: *mut AVPacket, data: *const u8, size: c_int, release: Release, opaque: *mut c_void)
        -> c_int;
    pub fn gsav_packet_copy(p: *mut AVPacket, data: *const u8, size: c_int) -> c_int;
    pub fn gsav_packet_side_data(p: *const AVPacket, index: c_int, kind: *mut i32, size: *mut usize) -> *const u8;
    pub fn gsav_packet_add_side_data(p: *mut AVPacket, kind: c_int, data: *const u8, size: usize) -> c_int;
    pub fn gsav_packet_rescale(p: *mut AVPacket, from_num: c_int, from_den: c_int, to_num: c_int, to_den: c_int);

    // shim/codec.c
    pub fn gsav_params_get(c: *const AVCodecParameters, p: *mut Params);
    pub fn gsav_params_set(c: *mut AVCodecParameters, p: *const Params, layout: *const c_char) -> c_int;
    pub fn gsav_params_layout(c: *const AVCodecParameters, out: *mut c_char, size: usize) -> c_int;
    pub fn gsav_params_extradata(c: *const AVCodecParameters, size: *mut i32) -> *const u8;
    pub fn gsav_params_set_extradata(c: *mut AVCodecParameters, data: *const u8, size: usize) -> c_int;
    pub fn gsav_params_copy(to: *mut AVCodecParameters, from: *const AVCodecParameters) -> c_int;
    pub fn gsav_params_from_context(to: *mut AVCodecParameters, c: *const AVCodecContext) -> c_int;
    pub fn gsav_hdr_add(kind: c_int, data: *const u8, size: usize, hdr: *mut Hdr);
    pub fn gsav_hdr_payload(hdr: *const Hdr, which: c_int, out: *mut u8, cap: usize, kind: *mut i32) -> usize;
    pub fn gsav_context_side_data(c: *const AVCodecContext, index: c_int, kind: *mut i32, size: *mut usize)
        -> *const u8;
    pub fn gsav_decoder_alloc(out: *mut *mut AVCodecContext, params: *const AVCodecParameters,
        cfg: *const DecoderConfig) -> c_int;
    pub fn gsav_decoder_side_data(c: *mut AVCodecContext, kind: c_int, data: *const u8, size: usize) -> c_int;
    pub fn gsav_codec_open(c: *mut AVCodecContext, options: *mut *mut AVDictionary) -> c_int;
    pub fn gsav_context_name(c: *const AVCodecContext) -> *const c_char;
    pub fn gsav_decoder_hardware(c: *const AVCodecContext) -> c_int;
    pub fn gsav_decoder_skip(c: *mut AVCodecContext, level: c_int);
    pub fn gsav_decoder_free(c: *mut *mut AVCodecContext);
    pub fn gsav_encoder_alloc(out: *mut *mut AVCodecContext, cfg: *const EncoderConfig) -> c_int;
    pub fn gsav_encoder_takes_hdr() -> c_int;
    pub fn gsav_encoder_free(c: *mut *mut AVCodecContext);
    pub fn gsav_encoder_send(c: *mut AVCodecContext, scratch: *mut AVFrame, frame: *const AVFrame, key: c_int)
        -> c_int;
    pub fn gsav_encoder_rates(c: *mut AVCodecContext, bit_rate: i64, max_rate: i64, buffer: c_int);
    pub fn gsav_encoder_option(c: *mut AVCodecContext, key: *const c_char, value: *const c_char) -> c_int;
    pub fn gsav_encoder_int(c: *const AVCodecContext, which: c_int) -> c_int;
    pub fn gsav_encoder_stats(c: *const AVCodecContext) -> *const c_char;
    pub fn gsav_context_time_base(c: *const AVCodecContext, num: *mut i32, den: *mut i32);
    pub fn gsav_subtitle_alloc() -> *mut AVSubtitle;
    pub fn gsav_subtitle_clear(s: *mut AVSubtitle);
    pub fn gsav_subtitle_free(s: *mut *mut AVSubtitle);
    pub fn gsav_subtitle_decode(c: *mut AVCodecContext, s: *mut AVSubtitle, p: *mut AVPacket, out: *mut Subtitle)
        -> c_int;
    pub fn gsav_subtitle_rect(s: *const AVSubtitle, index: u32, out: *mut SubtitleRect) -> c_int;
    pub fn gsav_context_subtitle_header(c: *const AVCodecContext, size: *mut i32) -> *const c_char;
    pub fn gsav_bsf_open(out: *mut *mut AVBSFContext, chain: *const c_char, params: *const AVCodecParameters,
        tb_num: c_int, tb_den: c_int) -> c_int;
    pub fn gsav_bsf_params(b: *const AVBSFContext, tb_num: *mut i32, tb_den: *mut i32) -> *const AVCodecParameters;

    // shim/format.c
    pub fn gsav_io_alloc(size: c_int, writing: c_int, opaque: *mut c_void, read: Option<Read>,
        write: Option<Write>, seek: Option<Seek>) -> *mut AVIOContext;
    pub fn gsav_io_free(io: *mut *mut AVIOContext);
    pub fn gsav_io_forget(io: *mut AVIOContext);
    pub fn gsav_demux_open(out: *mut *mut AVFormatContext, url: *const c_char, format: *const c_char,
        pb: *mut AVIOContext, interrupt: Interrupt, ask: Ask, opaque: *mut c_void, backwards: *mut i32,
        options: *mut *mut AVDictionary) -> c_int;
    pub fn gsav_demux_length(c: *mut AVFormatContext) -> i64;
    pub fn gsav_demux_generate_times(c: *mut AVFormatContext);
    pub fn gsav_demux_rewind(c: *mut AVFormatContext) -> c_int;
    pub fn gsav_stream_index(c: *const AVFormatContext, stream: c_int, n: c_int, timestamp: *mut i64, key: *mut i32)
        -> c_int;
    pub fn gsav_url_open(out: *mut *mut AVIOContext, url: *const c_char, whitelist: *const c_char,
        interrupt: Interrupt, opaque: *mut c_void, options: *mut *mut AVDictionary) -> c_int;
    pub fn gsav_url_read(pb: *mut AVIOContext, length: i64, data: *mut u8, size: c_int) -> c_int;
    pub fn gsav_url_length(pb: *mut AVIOContext) -> i64;
    pub fn gsav_url_close(pb: *mut *mut AVIOContext);
    pub fn gsav_demux_find_info(c: *mut AVFormatContext) -> c_int;
    pub fn gsav_demux_close(c: *mut *mut AVFormatContext);
    pub fn gsav_format_get(c: *const AVFormatContext, p: *mut Format);
    pub fn gsav_format_name(c: *const AVFormatContext, long_name: c_int) -> *const c_char;
    pub fn gsav_format_metadata(c: *const AVFormatContext) -> *const AVDictionary;
    pub fn gsav_stream_get(c: *const AVFormatContext, index: c_int, p: *mut Stream) -> c_int;
    pub fn gsav_stream_metadata(c: *const AVFormatContext, index: c_int) -> *const AVDictionary;
    pub fn gsav_stream_params(c: *const AVFormatContext, index: c_int) -> *const AVCodecParameters;
    pub fn gsav_stream_side_data(c: *const AVFormatContext, stream: c_int, index: c_int, kind: *mut i32,
        size: *mut usize) -> *const u8;
    pub fn gsav_stream_picture(c: *const AVFormatContext, index: c_int, size: *mut usize) -> *const u8;
    pub fn gsav_stream_set_discard(c: *mut AVFormatContext, index: c_int, discard: c_int) -> c_int;
    pub fn gsav_chapter_get(c: *const AVFormatContext, index: c_int, p: *mut Chapter, meta: *mut *const AVDictionary)
        -> c_int;
    pub fn gsav_program_get(c: *mut AVFormatContext, stream: c_int, n: c_int, id: *mut c_int, streams: *mut *const c_uint,
        count: *mut c_uint, meta: *mut *const AVDictionary) -> c_int;
    pub fn gsav_demux_read(c: *mut AVFormatContext, length: i64, p: *mut AVPacket) -> c_int;
    pub fn gsav_demux_seek(c: *mut AVFormatContext, stream: c_int, ts: i64, backward: c_int, any: c_int) -> c_int;
    pub fn gsav_guess_frame_rate(c: *mut AVFormatContext, index: c_int, num: *mut i32, den: *mut i32);
    pub fn gsav_mux_alloc(out: *mut *mut AVFormatContext, format: *const c_char, url: *const c_char,
        interrupt: Interrupt, opaque: *mut c_void) -> c_int;
    pub fn gsav_mux_set_io(c: *mut AVFormatContext, pb: *mut AVIOContext);
    pub fn gsav_mux_open_url(c: *mut AVFormatContext, url: *const c_char, options: *mut *mut AVDictionary) -> c_int;
    pub fn gsav_mux_close(c: *mut *mut AVFormatContext) -> c_int;
    pub fn gsav_mux_add_stream(c: *mut AVFormatContext, params: *const AVCodecParameters, p: *const Stream,
        keep_tag: c_int) -> c_int;
    pub fn gsav_mux_stream_side_data(c: *mut AVFormatContext, stream: c_int, kind: c_int, data: *const u8,
        size: usize) -> c_int;
    pub fn gsav_mux_stream_tag(c: *mut AVFormatContext, stream: c_int, key: *const c_char, value: *const c_char)
        -> c_int;
    pub fn gsav_mux_tag(c: *mut AVFormatContext, key: *const c_char, value: *const c_char) -> c_int;
    pub fn gsav_mux_add_chapter(c: *mut AVFormatContext, p: *const Chapter, title: *const c_char) -> c_int;
    pub fn gsav_mux_header(c: *mut AVFormatContext, options: *mut *mut AVDictionary) -> c_int;
    pub fn gsav_mux_write(c: *mut AVFormatContext, p: *mut AVPacket, interleave: c_int) -> c_int;
    pub fn gsav_mux_flush(c: *mut AVFormatContext) -> c_int;
    pub fn gsav_mux_trailer(c: *mut AVFormatContext) -> c_int;
    pub fn gsav_mux_position(c: *const AVFormatContext) -> i64;
    pub fn gsav_mux_query(format: *const c_char, codec_id: c_int) -> c_int;
    pub fn gsav_mux_default_codec(format: *const c_char, kind: c_int) -> c_int;

    // shim/cuda.c
    pub fn gsav_cuda_device(out: *mut *mut AVBufferRef, context: *mut c_void, release: Release, opaque: *mut c_void)
        -> c_int;
    pub fn gsav_cuda_device_context(d: *const AVBufferRef) -> *mut c_void;
    pub fn gsav_cuda_frame_context(f: *const AVFrame) -> *mut c_void;
    pub fn gsav_cuda_frame_format(f: *const AVFrame) -> c_int;
    pub fn gsav_cuda_frame_foreign(f: *const AVFrame) -> c_int;
    pub fn gsav_cuda_frame_wrap(f: *mut AVFrame, frames: *mut AVBufferRef, addresses: *const u64, pitches: *const i32,
        planes: c_int, writable: c_int, release: Release, opaque: *mut c_void) -> c_int;

    // shim/dmabuf.c
    pub fn gsav_frame_dmabuf_set(f: *mut AVFrame, d: *const Dmabuf, w: c_int, h: c_int, release: Release,
        opaque: *mut c_void) -> c_int;
    pub fn gsav_frame_dmabuf_get(f: *const AVFrame, d: *mut Dmabuf) -> c_int;

    // shim/filter.c
    pub fn gsav_graph_alloc(threads: c_int) -> *mut AVFilterGraph;
    pub fn gsav_graph_source(g: *mut AVFilterGraph, input: *const FilterInput, out: *mut *mut AVFilterContext) -> c_int;
    pub fn gsav_graph_sink(g: *mut AVFilterGraph, audio: c_int, name: *const c_char, out: *mut *mut AVFilterContext)
        -> c_int;
    pub fn gsav_graph_build(g: *mut AVFilterGraph, text: *const c_char, sources: *const *mut AVFilterContext,
        source_labels: *const *const c_char, source_count: c_int, sinks: *const *mut AVFilterContext,
        sink_labels: *const *const c_char, sink_count: c_int, hw_device: *mut AVBufferRef) -> c_int;
    pub fn gsav_source_push(c: *mut AVFilterContext, f: *mut AVFrame) -> c_int;
    pub fn gsav_source_failed_requests(c: *mut AVFilterContext) -> u32;
    pub fn gsav_sink_pull(c: *mut AVFilterContext, f: *mut AVFrame) -> c_int;
    pub fn gsav_sink_frame_size(c: *mut AVFilterContext, samples: u32);
    pub fn gsav_sink_get(c: *const AVFilterContext, p: *mut SinkProps);
    pub fn gsav_sink_layout(c: *const AVFilterContext, out: *mut c_char, size: usize) -> c_int;
    pub fn gsav_sink_hw_frames(c: *const AVFilterContext) -> *mut AVBufferRef;
    pub fn gsav_graph_command(g: *mut AVFilterGraph, target: *const c_char, command: *const c_char,
        argument: *const c_char, out: *mut c_char, size: c_int) -> c_int;
    pub fn gsav_device_create(out: *mut *mut AVBufferRef, kind: *const c_char, device: *const c_char,
        options: *mut AVDictionary) -> c_int;
    pub fn gsav_device_derive(out: *mut *mut AVBufferRef, kind: *const c_char, from: *mut AVBufferRef) -> c_int;
    pub fn gsav_device_type(d: *const AVBufferRef) -> *const c_char;
    pub fn gsav_device_format(kind: *const c_char) -> c_int;
    pub fn gsav_device_formats(d: *mut AVBufferRef, out: *mut i32, cap: c_int) -> c_int;
    pub fn gsav_frames_create(out: *mut *mut AVBufferRef, device: *mut AVBufferRef, format: c_int,
        host_format: c_int, w: c_int, h: c_int, pool: c_int) -> c_int;
    pub fn gsav_frames_get(f: *const AVBufferRef, format: *mut i32, host_format: *mut i32, w: *mut i32, h: *mut i32);
    pub fn gsav_frame_hw_frames(f: *const AVFrame) -> *mut AVBufferRef;
    pub fn gsav_frame_pool(f: *const AVFrame) -> *const c_void;
    pub fn gsav_context_hw_frames(c: *const AVCodecContext) -> *mut AVBufferRef;
    pub fn gsav_frame_from_pool(frames: *mut AVBufferRef, f: *mut AVFrame) -> c_int;
    pub fn gsav_frame_transfer(to: *mut AVFrame, from: *const AVFrame) -> c_int;

    // shim/registry.c
    #[cfg(test)]
    pub fn gsav_layout(which: c_int) -> usize;
    pub fn gsav_init();
    pub fn av_max_alloc(max: usize);
    pub fn gsav_version(library: c_int) -> u32;
    pub fn gsav_side_data_type(which: c_int) -> c_int;
    pub fn gsav_names(what: c_int, each: unsafe extern "C" fn(*mut c_void, *const c_char), opaque: *mut c_void);
    pub fn gsav_has(what: c_int, name: *const c_char) -> c_int;
    pub fn gsav_guess_format(filename: *const c_char) -> *const c_char;
    pub fn gsav_muxer_extensions(name: *const c_char) -> *const c_char;
    pub fn gsav_muxer_flags(name: *const c_char) -> c_int;
    pub fn gsav_codec_info(name: *const c_char, encoder: c_int, what: c_int) -> c_int;
    pub fn gsav_codec_id(name: *const c_char) -> c_int;
    pub fn gsav_codec_name(id: c_int) -> *const c_char;
    pub fn gsav_codec_kind(id: c_int) -> c_int;
    pub fn gsav_codec_props(id: c_int) -> c_int;
    pub fn gsav_decoder_on(decoder: *const c_char, kind: *const c_char) -> c_int;
    pub fn gsav_default_coder(id: c_int, encoder: c_int) -> *const c_char;
    pub fn gsav_supported(encoder: *const c_char, what: c_int, out: *mut i32, cap: c_int) -> c_int;
    pub fn gsav_supported_layout(encoder: *const c_char, index: c_int, out: *mut c_char, size: usize) -> c_int;
    pub fn gsav_pix_desc(format: c_int, out: *mut PixDesc) -> c_int;
    pub fn gsav_pix_name(format: c_int) -> *const c_char;
    pub fn gsav_pix_from_name(name: *const c_char) -> c_int;
    pub fn gsav_sample_name(format: c_int) -> *const c_char;
    pub fn gsav_sample_from_name(name: *const c_char) -> c_int;
    pub fn gsav_sample_planar(format: c_int) -> c_int;
    pub fn gsav_sample_bytes(format: c_int) -> c_int;
    pub fn gsav_best_pix(list: *const i32, count: c_int, from: c_int, alpha: c_int) -> c_int;
    pub fn gsav_layout_name(name: *const c_char, channels: c_int, out: *mut c_char, size: usize) -> c_int;
    pub fn gsav_log_set(level: c_int, sink: Option<LogSink>);
    pub fn gsav_log_write(level: c_int, text: *const c_char);
}

/// Initialises the libraries that want it, once per process.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        super::memory::limit();
        // SAFETY: no arguments; runs once.
        unsafe { gsav_init() }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrored_structs_have_the_size_of_their_c_twins() {
        let ours = [
            size_of::<FrameProps>(),
            size_of::<PacketProps>(),
            size_of::<Hdr>(),
            size_of::<Params>(),
            size_of::<Stream>(),
            size_of::<Format>(),
            size_of::<Chapter>(),
            size_of::<PixDesc>(),
            size_of::<DecoderConfig>(),
            size_of::<EncoderConfig>(),
            size_of::<FilterInput>(),
            size_of::<SinkProps>(),
            size_of::<Subtitle>(),
            size_of::<SubtitleRect>(),
            size_of::<Dmabuf>(),
        ];
        for (i, size) in ours.into_iter().enumerate() {
            // SAFETY: takes any int.
            assert_eq!(unsafe { gsav_layout(i as c_int) }, size, "struct {i}");
        }
        // SAFETY: as above.
        assert_eq!(unsafe { gsav_layout(ours.len() as c_int) }, 0, "a struct without a twin");
    }
}
