/* Containers and I/O. */
#include "shim.h"

typedef int (*GsavInterrupt)(void *);

/* I/O by callbacks. The buffer belongs to the AVIOContext, which may replace it. */
AVIOContext *gsav_io_alloc(int size, int writing, void *opaque, int (*read)(void *, uint8_t *, int),
                           int (*write)(void *, const uint8_t *, int), int64_t (*seek)(void *, int64_t, int))
{
    uint8_t *buffer = av_malloc(size);
    AVIOContext *io;
    if (!buffer)
        return NULL;
#if GSAV_AVIO_CONST_WRITE
    io = avio_alloc_context(buffer, size, writing, opaque, read, write, seek);
#else
    io = avio_alloc_context(buffer, size, writing, opaque, read, (int (*)(void *, uint8_t *, int))write, seek);
#endif
    if (!io) {
        av_free(buffer);
        return NULL;
    }
    io->seekable = seek ? AVIO_SEEKABLE_NORMAL : 0;
    return io;
}

void gsav_io_free(AVIOContext **io)
{
    if (*io)
        av_freep(&(*io)->buffer);
    avio_context_free(io);
}

/* A failure and an end that reading met: what is read next is elsewhere, or is there by now. Seeking forgets the end alone. */
void gsav_io_forget(AVIOContext *io)
{
    io->error = 0;
    io->eof_reached = 0;
}

/* What is asked before something is opened for a demuxer: 0 = the source's own address, 1 = one that is named inside it,
 * 2 = where a redirect has led. 0 = yes, negative = the error to fail with. */
typedef int (*GsavAsk)(void *, const char *, int);

/* What a demuxer of ours keeps at AVFormatContext.opaque. */
typedef struct Opening {
    int (*open)(AVFormatContext *, AVIOContext **, const char *, int, AVDictionary **);
    GsavAsk ask;
    void *opaque;
    int begun, backwards;
} Opening;

/* Whether an MP4 begins with its media: without going back they cannot be read once the index behind them is known. Looks
 * only at what one read brought, so that the demuxer still finds it in the buffer. */
static int is_backwards(AVIOContext *pb)
{
    const uint8_t *p;
    uint64_t at = 0, left;
    avio_r8(pb);
    if (avio_feof(pb) || pb->error < 0 || avio_seek(pb, 0, SEEK_SET) < 0)
        return 0;
    p = pb->buf_ptr;
    left = pb->buf_end - pb->buf_ptr;
    if (left < 8 || memcmp(p + 4, "ftyp", 4))
        return 0;
    while (at < left && left - at >= 8) {
        uint64_t size = AV_RB32(p + at);
        const uint8_t *name = p + at + 4;
        if (!memcmp(name, "mdat", 4))
            return 1;
        if (!memcmp(name, "moov", 4) || !memcmp(name, "moof", 4) || !memcmp(name, "sidx", 4))
            return 0;
        if (size == 1 && left - at >= 16)
            size = AV_RB64(p + at + 8);
        if (size < 8 || size > left)
            return 0;
        at += size;
    }
    return 0;
}

static int ask_and_open(AVFormatContext *ctx, AVIOContext **pb, const char *url, int flags, AVDictionary **options)
{
    Opening *o = ctx->opaque;
    int inside = o->begun++ > 0;
    uint8_t *location = NULL;
    int ret = o->ask(o->opaque, url, inside);
    if (ret < 0)
        return ret;
    ret = o->open(ctx, pb, url, flags, options);
    if (ret < 0)
        return ret;
    if (av_opt_get(*pb, "location", AV_OPT_SEARCH_CHILDREN, &location) >= 0 && location && *location &&
        strcmp((char *)location, url))
        ret = o->ask(o->opaque, (char *)location, 2);
    av_free(location);
    if (ret >= 0 && !inside && !((*pb)->seekable & AVIO_SEEKABLE_NORMAL) && is_backwards(*pb)) {
        o->backwards = 1;
        ret = AVERROR(ESPIPE);
    }
    if (ret < 0)
        avio_closep(pb);
    return ret;
}

/* Demuxers. Frees nothing of the caller's: pb stays the caller's on failure and on success. Without pb, `ask` is heard before
 * anything is opened. *backwards = 1 says that the failure is an MP4 whose index lies behind its media on a transport that
 * cannot go back, 2 that what was opened on such a pb is one: it can be read as far as what pb has in its buffer. */
int gsav_demux_open(AVFormatContext **out, const char *url, const char *format, AVIOContext *pb,
                    GsavInterrupt interrupt, GsavAsk ask, void *opaque, int32_t *backwards, AVDictionary **options)
{
    const AVInputFormat *input = NULL;
    AVFormatContext *ctx;
    Opening *o;
    int ret, late = 0;
    if (format && !(input = av_find_input_format(format)))
        return AVERROR_DEMUXER_NOT_FOUND;
    ctx = avformat_alloc_context();
    o = av_mallocz(sizeof(*o));
    if (!ctx || !o) {
        avformat_free_context(ctx);
        av_free(o);
        return AVERROR(ENOMEM);
    }
    ctx->interrupt_callback = (AVIOInterruptCB){interrupt, opaque};
    *o = (Opening){ctx->io_open, ask, opaque, 0, 0};
    ctx->opaque = o;
    ctx->io_open = ask_and_open;
    if (pb) {
        ctx->pb = pb;
        ctx->flags |= AVFMT_FLAG_CUSTOM_IO;
        o->begun = 1;
        late = !(pb->seekable & AVIO_SEEKABLE_NORMAL) && is_backwards(pb);
    }
    ret = avformat_open_input(&ctx, url, input, options);
    *backwards = o->backwards ? 1 : late ? 2 : 0;
    if (ret < 0)
        av_free(o);
    *out = ctx;
    return ret;
}

/* Opens an address for reading alone. */
int gsav_url_open(AVIOContext **out, const char *url, const char *whitelist, GsavInterrupt interrupt, void *opaque,
                  AVDictionary **options)
{
    AVFormatContext *ctx = avformat_alloc_context();
    int ret;
    if (!ctx)
        return AVERROR(ENOMEM);
    ctx->interrupt_callback = (AVIOInterruptCB){interrupt, opaque};
    /* The default io_open compares what it opens with it. */
    ctx->url = av_strdup(url);
    if (!ctx->url) {
        avformat_free_context(ctx);
        return AVERROR(ENOMEM);
    }
    ret = whitelist ? av_opt_set(ctx, "protocol_whitelist", whitelist, 0) : 0;
    if (ret >= 0)
        ret = ctx->io_open(ctx, out, url, AVIO_FLAG_READ, options);
    avformat_free_context(ctx);
    return ret;
}

/* What a transport's end is: 0, or the error that it was. `length` is what the transport announced when it was opened,
 * negative = nothing: newer versions of HTTP take the length of a refusal, which a new connection got, for the source's, and
 * then an end where the old one broke. */
static int end_of(const AVIOContext *pb, int64_t length)
{
    if (pb->error < 0 && pb->error != AVERROR_EOF)
        return pb->error;
    return pb->eof_reached && pb->pos < length ? AVERROR(EIO) : 0;
}

/* What is there, at most `size` bytes; 0 at the end. */
int gsav_url_read(AVIOContext *pb, int64_t length, uint8_t *data, int size)
{
    int ret = avio_read_partial(pb, data, size);
    return ret == AVERROR_EOF || ret == 0 ? end_of(pb, length) : ret;
}

/* How many bytes it has said that it has; negative when it has not. */
int64_t gsav_url_length(AVIOContext *pb)
{
    return avio_size(pb);
}

void gsav_url_close(AVIOContext **pb)
{
    avio_closep(pb);
}

int gsav_demux_find_info(AVFormatContext *ctx)
{
    return avformat_find_stream_info(ctx, NULL);
}

void gsav_demux_close(AVFormatContext **ctx)
{
    Opening *o = *ctx ? (*ctx)->opaque : NULL;
    avformat_close_input(ctx);
    av_free(o);
}

void gsav_format_get(const AVFormatContext *ctx, GsavFormat *p)
{
    p->start = ctx->start_time;
    p->duration = ctx->duration;
    p->bit_rate = ctx->bit_rate;
    p->streams = ctx->nb_streams;
    p->chapters = ctx->nb_chapters;
    p->flags = ctx->iformat ? ctx->iformat->flags : ctx->oformat ? ctx->oformat->flags : 0;
    p->seekable = ctx->pb ? ctx->pb->seekable & AVIO_SEEKABLE_NORMAL : 0;
    p->streamed = ctx->pb && !p->seekable;
}

const char *gsav_format_name(const AVFormatContext *ctx, int long_name)
{
    const char *name = NULL;
    if (ctx->iformat)
        name = long_name ? ctx->iformat->long_name : ctx->iformat->name;
    else if (ctx->oformat)
        name = long_name ? ctx->oformat->long_name : ctx->oformat->name;
    return name ? name : "";
}

AVDictionary *gsav_format_metadata(const AVFormatContext *ctx)
{
    return ctx->metadata;
}

static AVStream *stream_at(const AVFormatContext *ctx, int index)
{
    return index >= 0 && (unsigned)index < ctx->nb_streams ? ctx->streams[index] : NULL;
}

int gsav_stream_get(const AVFormatContext *ctx, int index, GsavStream *p)
{
    const AVStream *s = stream_at(ctx, index);
    if (!s)
        return AVERROR_STREAM_NOT_FOUND;
    p->start = s->start_time;
    p->duration = s->duration;
    p->frames = s->nb_frames;
    p->id = s->id;
    p->tb_num = s->time_base.num;
    p->tb_den = s->time_base.den;
    p->avg_num = s->avg_frame_rate.num;
    p->avg_den = s->avg_frame_rate.den;
    p->r_num = s->r_frame_rate.num;
    p->r_den = s->r_frame_rate.den;
    p->sar_num = s->sample_aspect_ratio.num;
    p->sar_den = s->sample_aspect_ratio.den;
    p->disposition = s->disposition;
    p->discard = s->discard;
    return 0;
}

AVDictionary *gsav_stream_metadata(const AVFormatContext *ctx, int index)
{
    const AVStream *s = stream_at(ctx, index);
    return s ? s->metadata : NULL;
}

const AVCodecParameters *gsav_stream_params(const AVFormatContext *ctx, int index)
{
    const AVStream *s = stream_at(ctx, index);
    return s ? s->codecpar : NULL;
}

/* Side data of the whole stream: rotation, HDR, Dolby Vision. */
const uint8_t *gsav_stream_side_data(const AVFormatContext *ctx, int stream, int index, int32_t *type, size_t *size)
{
    const AVStream *s = stream_at(ctx, stream);
    const AVPacketSideData *list;
    int count;
    if (!s)
        return NULL;
#if GSAV_CODED_SIDE_DATA
    list = s->codecpar->coded_side_data;
    count = s->codecpar->nb_coded_side_data;
#else
    list = s->side_data;
    count = s->nb_side_data;
#endif
    if (index < 0 || index >= count)
        return NULL;
    *type = list[index].type;
    *size = list[index].size;
    return list[index].data;
}

/* The picture that is the whole of a stream (cover art): its bytes, NULL where there is none. */
const uint8_t *gsav_stream_picture(const AVFormatContext *ctx, int index, size_t *size)
{
    const AVStream *s = stream_at(ctx, index);
    if (!s || !(s->disposition & AV_DISPOSITION_ATTACHED_PIC) || s->attached_pic.size <= 0)
        return NULL;
    *size = s->attached_pic.size;
    return s->attached_pic.data;
}

int gsav_stream_set_discard(AVFormatContext *ctx, int index, int discard)
{
    AVStream *s = stream_at(ctx, index);
    if (!s)
        return AVERROR_STREAM_NOT_FOUND;
    s->discard = discard;
    return 0;
}

int gsav_chapter_get(const AVFormatContext *ctx, int index, GsavChapter *p, AVDictionary **metadata)
{
    const AVChapter *c;
    if (index < 0 || (unsigned)index >= ctx->nb_chapters)
        return AVERROR(EINVAL);
    c = ctx->chapters[index];
    p->id = c->id;
    p->start = c->start;
    p->end = c->end;
    p->tb_num = c->time_base.num;
    p->tb_den = c->time_base.den;
    *metadata = c->metadata;
    return 0;
}

/* The `n`th of the programs that a stream belongs to; `stream` < 0: of all. Its streams' indexes stay the context's. */
int gsav_program_get(AVFormatContext *ctx, int stream, int n, int *id, const unsigned **streams, unsigned *count,
                     AVDictionary **metadata)
{
    const AVProgram *p = NULL;
    if (stream >= 0) {
        do
            p = av_find_program_from_stream(ctx, (AVProgram *)p, stream);
        while (p && n-- > 0);
    } else if (n >= 0 && (unsigned)n < ctx->nb_programs) {
        p = ctx->programs[n];
    }
    if (!p)
        return AVERROR(EINVAL);
    *id = p->id;
    *streams = p->stream_index;
    *count = p->nb_stream_indexes;
    *metadata = p->metadata;
    return 0;
}

/* Reads one packet. A transport error that was turned into an end of file is reported as the error it was; `length` is that
 * of gsav_demux_length() after opening. */
int gsav_demux_read(AVFormatContext *ctx, int64_t length, AVPacket *packet)
{
    int ret = av_read_frame(ctx, packet);
    int error = ret == AVERROR_EOF && ctx->pb ? end_of(ctx->pb, length) : 0;
    return error < 0 ? error : ret;
}

/* How many bytes the transport has said that it has; negative when it has not. */
int64_t gsav_demux_length(AVFormatContext *ctx)
{
    return ctx->pb ? avio_size(ctx->pb) : -1;
}

int gsav_demux_seek(AVFormatContext *ctx, int stream, int64_t ts, int backward, int any)
{
    int flags = (backward ? AVSEEK_FLAG_BACKWARD : 0) | (any ? AVSEEK_FLAG_ANY : 0);
    return av_seek_frame(ctx, stream, ts, flags);
}

/* From now on packets without a presentation time get the one that the decode times after them say. */
void gsav_demux_generate_times(AVFormatContext *ctx)
{
    ctx->flags |= AVFMT_FLAG_GENPTS;
}

/* Goes to the first packet. Formats whose times are found by bisection (transport and program streams) have none that
 * surely means it: a first decode time lies before the first presentation time. Their first byte does. */
int gsav_demux_rewind(AVFormatContext *ctx)
{
    const int indexed = AVFMT_NO_BYTE_SEEK | AVFMT_GENERIC_INDEX | AVFMT_NOBINSEARCH;
    int flags = ctx->iformat->flags;
    if ((flags & AVFMT_TS_DISCONT) && !(flags & indexed))
        return av_seek_frame(ctx, -1, 0, AVSEEK_FLAG_BYTE);
    int done = av_seek_frame(ctx, -1, ctx->start_time == AV_NOPTS_VALUE ? 0 : ctx->start_time, AVSEEK_FLAG_BACKWARD);
    if (done >= 0)
        return done;
    /* Matroska does not go to the last entry that it knows, which in a file that was cut off within its first group is
     * the first, and FFmpeg's general way wants a time that is not before it. */
    int index = av_find_default_stream_index(ctx);
    AVStream *s = index < 0 ? NULL : ctx->streams[index];
    const AVIndexEntry *first = s ? avformat_index_get_entry(s, 0) : NULL;
    return first ? av_seek_frame(ctx, index, first->timestamp, AVSEEK_FLAG_BACKWARD) : done;
}

/* Entry `n` of a stream's index; 0 = there is none. Times are as the format indexes them. */
int gsav_stream_index(const AVFormatContext *ctx, int stream, int n, int64_t *timestamp, int32_t *key)
{
    AVStream *s = stream_at(ctx, stream);
    const AVIndexEntry *e = s ? avformat_index_get_entry(s, n) : NULL;
    if (!e)
        return 0;
    *timestamp = e->timestamp;
    *key = !!(e->flags & AVINDEX_KEYFRAME);
    return 1;
}

/* The frame rate the demuxer believes in, from everything that it has seen. */
void gsav_guess_frame_rate(AVFormatContext *ctx, int index, int32_t *num, int32_t *den)
{
    AVStream *s = stream_at(ctx, index);
    AVRational r = s ? av_guess_frame_rate(ctx, s, NULL) : (AVRational){0, 1};
    *num = r.num;
    *den = r.den;
}

/* Muxers. */

int gsav_mux_alloc(AVFormatContext **out, const char *format, const char *url, GsavInterrupt interrupt, void *opaque)
{
    int ret = avformat_alloc_output_context2(out, NULL, format, url);
    if (ret < 0)
        return ret;
    (*out)->interrupt_callback = (AVIOInterruptCB){interrupt, opaque};
    return 0;
}

void gsav_mux_set_io(AVFormatContext *ctx, AVIOContext *pb)
{
    ctx->pb = pb;
    ctx->flags |= AVFMT_FLAG_CUSTOM_IO;
}

int gsav_mux_open_url(AVFormatContext *ctx, const char *url, AVDictionary **options)
{
    if (ctx->oformat->flags & AVFMT_NOFILE)
        return 0;
    return avio_open2(&ctx->pb, url, AVIO_FLAG_WRITE, &ctx->interrupt_callback, options);
}

/* Closes the file and frees the context; the first error of the two. */
int gsav_mux_close(AVFormatContext **ctx)
{
    int ret = 0;
    if (!*ctx)
        return 0;
    if (!((*ctx)->flags & AVFMT_FLAG_CUSTOM_IO) && !((*ctx)->oformat->flags & AVFMT_NOFILE))
        ret = avio_closep(&(*ctx)->pb);
    avformat_free_context(*ctx);
    *ctx = NULL;
    return ret;
}

int gsav_mux_add_stream(AVFormatContext *ctx, const AVCodecParameters *params, const GsavStream *p, int keep_tag)
{
    AVStream *s = avformat_new_stream(ctx, NULL);
    int ret;
    if (!s)
        return AVERROR(ENOMEM);
    ret = avcodec_parameters_copy(s->codecpar, params);
    if (ret < 0)
        return ret;
    if (!keep_tag) {
        /* A tag of another container may be refused by this one; one that this container knows for the codec stays. */
        unsigned known = 0;
        const struct AVCodecTag *const *tags = ctx->oformat->codec_tag;
        uint32_t tag = s->codecpar->codec_tag;
        if (tag && (!tags || (av_codec_get_id(tags, tag) == s->codecpar->codec_id) ||
                    !av_codec_get_tag2(tags, s->codecpar->codec_id, &known)))
            s->codecpar->codec_tag = tags ? tag : 0;
        else
            s->codecpar->codec_tag = 0;
    }
    s->id = p->id;
    s->time_base = (AVRational){p->tb_num, p->tb_den};
    if (p->avg_den)
        s->avg_frame_rate = (AVRational){p->avg_num, p->avg_den};
    if (p->r_den)
        s->r_frame_rate = (AVRational){p->r_num, p->r_den};
    if (p->sar_den && p->sar_num) {
        s->sample_aspect_ratio = (AVRational){p->sar_num, p->sar_den};
        s->codecpar->sample_aspect_ratio = s->sample_aspect_ratio;
    }
    s->disposition = p->disposition;
    s->duration = p->duration;
    return s->index;
}

int gsav_mux_stream_side_data(AVFormatContext *ctx, int stream, int type, const uint8_t *data, size_t size)
{
    AVStream *s = stream_at(ctx, stream);
    uint8_t *to;
    if (!s)
        return AVERROR_STREAM_NOT_FOUND;
#if GSAV_CODED_SIDE_DATA
    {
        AVPacketSideData *sd = av_packet_side_data_new(&s->codecpar->coded_side_data,
                                                       &s->codecpar->nb_coded_side_data, type, size, 0);
        to = sd ? sd->data : NULL;
    }
#else
    to = av_stream_new_side_data(s, type, size);
#endif
    if (!to)
        return AVERROR(ENOMEM);
    memcpy(to, data, size);
    return 0;
}

int gsav_mux_stream_tag(AVFormatContext *ctx, int stream, const char *key, const char *value)
{
    AVStream *s = stream_at(ctx, stream);
    return s ? av_dict_set(&s->metadata, key, value, 0) : AVERROR_STREAM_NOT_FOUND;
}

int gsav_mux_tag(AVFormatContext *ctx, const char *key, const char *value)
{
    return av_dict_set(&ctx->metadata, key, value, 0);
}

int gsav_mux_add_chapter(AVFormatContext *ctx, const GsavChapter *p, const char *title)
{
    AVChapter **list, *c = av_mallocz(sizeof(*c));
    if (!c)
        return AVERROR(ENOMEM);
    list = av_realloc_array(ctx->chapters, ctx->nb_chapters + 1, sizeof(*list));
    if (!list) {
        av_free(c);
        return AVERROR(ENOMEM);
    }
    ctx->chapters = list;
    ctx->chapters[ctx->nb_chapters++] = c;
    c->id = p->id;
    c->start = p->start;
    c->end = p->end;
    c->time_base = (AVRational){p->tb_num, p->tb_den};
    return title ? av_dict_set(&c->metadata, "title", title, 0) : 0;
}

int gsav_mux_header(AVFormatContext *ctx, AVDictionary **options)
{
    int ret = avformat_write_header(ctx, options);
    return ret < 0 ? ret : 0;
}

int gsav_mux_write(AVFormatContext *ctx, AVPacket *packet, int interleave)
{
    return interleave ? av_interleaved_write_frame(ctx, packet) : av_write_frame(ctx, packet);
}

/* Pushes what the muxer holds to the I/O, and that to its target. */
int gsav_mux_flush(AVFormatContext *ctx)
{
    int ret = av_write_frame(ctx, NULL);
    if (ctx->pb) {
        avio_flush(ctx->pb);
        if (ctx->pb->error < 0)
            return ctx->pb->error;
    }
    return ret < 0 ? ret : 0;
}

int gsav_mux_trailer(AVFormatContext *ctx)
{
    int ret = av_write_trailer(ctx);
    if (ctx->pb) {
        avio_flush(ctx->pb);
        if (ret >= 0 && ctx->pb->error < 0)
            ret = ctx->pb->error;
    }
    return ret;
}

int64_t gsav_mux_position(const AVFormatContext *ctx)
{
    return ctx->pb ? avio_tell(ctx->pb) : -1;
}

/* 1 = the container takes the codec, 0 = it does not, negative = it does not say. */
int gsav_mux_query(const char *format, int codec_id)
{
    const AVOutputFormat *f = av_guess_format(format, NULL, NULL);
    return f ? avformat_query_codec(f, codec_id, FF_COMPLIANCE_NORMAL) : AVERROR_MUXER_NOT_FOUND;
}

/* The codec a muxer takes by default for a media type, 0 = none. */
int gsav_mux_default_codec(const char *format, int kind)
{
    const AVOutputFormat *f = av_guess_format(format, NULL, NULL);
    if (!f)
        return 0;
    return kind == AVMEDIA_TYPE_VIDEO ? f->video_codec
           : kind == AVMEDIA_TYPE_AUDIO ? f->audio_codec
           : kind == AVMEDIA_TYPE_SUBTITLE ? f->subtitle_codec
                                           : AV_CODEC_ID_NONE;
}
