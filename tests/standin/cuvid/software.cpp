#include "cuvid/software.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>
}

namespace {

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

struct Library {
    decltype(&avcodec_find_decoder_by_name) find = nullptr;
    decltype(&avcodec_alloc_context3) context = nullptr;
    decltype(&avcodec_free_context) free_context = nullptr;
    decltype(&avcodec_open2) open = nullptr;
    decltype(&avcodec_send_packet) send = nullptr;
    decltype(&avcodec_receive_frame) receive = nullptr;
    decltype(&avcodec_default_get_buffer2) get_buffer = nullptr;
    decltype(&av_packet_alloc) packet = nullptr;
    decltype(&av_packet_free) free_packet = nullptr;
    decltype(&av_new_packet) fill_packet = nullptr;
    decltype(&av_frame_alloc) frame = nullptr;
    decltype(&av_frame_free) free_frame = nullptr;
    decltype(&av_frame_clone) clone = nullptr;
    bool complete = false;

    Library() {
        // The very version whose headers this was compiled with. Local and bound to its own libraries: clients have an
        // FFmpeg of another version in their executable, and export it.
        constexpr int how = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
        void *codec = dlopen("libavcodec.so." NUMBER(LIBAVCODEC_VERSION_MAJOR), how);
        void *util = dlopen("libavutil.so." NUMBER(LIBAVUTIL_VERSION_MAJOR), how);
        if (!codec || !util) return;
        complete = true;
        auto take = [&](void *library, const char *name, auto &out) {
            out = reinterpret_cast<std::decay_t<decltype(out)>>(dlsym(library, name));
            complete = complete && out;
        };
        take(codec, "avcodec_find_decoder_by_name", find);
        take(codec, "avcodec_alloc_context3", context);
        take(codec, "avcodec_free_context", free_context);
        take(codec, "avcodec_open2", open);
        take(codec, "avcodec_send_packet", send);
        take(codec, "avcodec_receive_frame", receive);
        take(codec, "avcodec_default_get_buffer2", get_buffer);
        take(codec, "av_packet_alloc", packet);
        take(codec, "av_packet_free", free_packet);
        take(codec, "av_new_packet", fill_packet);
        take(util, "av_frame_alloc", frame);
        take(util, "av_frame_free", free_frame);
        take(util, "av_frame_clone", clone);
    }
};

const Library &library() {
    static const Library *one = new Library;
    return *one;
}

} // namespace

Picture::~Picture() {
    if (frame) library().free_frame(&frame);
}

bool Picture::write(uint8_t *to, size_t pitch, unsigned width, unsigned height, unsigned left, unsigned top, int format) const {
    int bits = 8, chroma = 1;
    switch (frame->format) {
    case AV_PIX_FMT_YUV420P: case AV_PIX_FMT_YUVJ420P: break;
    case AV_PIX_FMT_YUV420P10LE: bits = 10; break;
    case AV_PIX_FMT_YUV420P12LE: bits = 12; break;
    case AV_PIX_FMT_YUV444P: case AV_PIX_FMT_YUVJ444P: chroma = 0; break;
    case AV_PIX_FMT_YUV444P10LE: bits = 10; chroma = 0; break;
    case AV_PIX_FMT_YUV444P12LE: bits = 12; chroma = 0; break;
    default: return false;
    }
    if (format != (chroma ? 0 : 2) + (bits > 8)) return false;
    size_t bytes = bits > 8 ? 2 : 1;
    int shift = 16 - bits;
    // What the decoder wrote: it allocates at least the size of the coded picture.
    auto row = [&](int plane, unsigned y) { return frame->data[plane] + ptrdiff_t(y) * frame->linesize[plane]; };
    auto sample = [&](const uint8_t *r, unsigned x, uint8_t *out) {
        if (bytes == 1) {
            *out = r[x];
            return;
        }
        uint16_t v;
        memcpy(&v, r + 2 * x, 2);
        v = uint16_t(v << shift);
        memcpy(out, &v, 2);
    };
    unsigned limit_x = unsigned(frame->width), limit_y = unsigned(frame->height);
    width = std::min(width, limit_x > left ? limit_x - left : 0);
    unsigned rows = std::min(height, limit_y > top ? limit_y - top : 0);
    for (unsigned y = 0; y < rows; y++) {
        const uint8_t *from = row(0, y + top);
        uint8_t *out = to + y * pitch;
        if (bytes == 1)
            memcpy(out, from + left, width);
        else
            for (unsigned x = 0; x < width; x++) sample(from, x + left, out + 2 * x);
    }
    if (chroma) {
        uint8_t *base = to + pitch * ((height + 1) / 2 * 2);
        for (unsigned y = 0; y < (rows + 1) / 2; y++) {
            const uint8_t *u = row(1, y + top / 2), *v = row(2, y + top / 2);
            uint8_t *out = base + y * pitch;
            for (unsigned x = 0; x < (width + 1) / 2; x++) {
                sample(u, x + left / 2, out + 2 * x * bytes);
                sample(v, x + left / 2, out + (2 * x + 1) * bytes);
            }
        }
        return true;
    }
    for (int plane = 1; plane < 3; plane++)
        for (unsigned y = 0; y < rows; y++)
            for (unsigned x = 0; x < width; x++)
                sample(row(plane, y + top), x + left, to + (size_t(plane) * height + y) * pitch + x * bytes);
    return true;
}

struct Software::State {
    AVCodecContext *context = nullptr;
    AVPacket *packet = nullptr;
    AVFrame *shown = nullptr;
    // The buffer that the decoder took last: the picture that it is decoding, shown or not.
    AVFrame *taken = nullptr;

    static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags) {
        auto *self = static_cast<State *>(context->opaque);
        int rc = library().get_buffer(context, frame, flags);
        if (rc < 0) return rc;
        if (self->taken) library().free_frame(&self->taken);
        self->taken = library().clone(frame);
        return self->taken ? 0 : AVERROR(ENOMEM);
    }
};

Software::Software() : state(new State) {}

Software::~Software() {
    const Library &l = library();
    if (state->context) l.free_context(&state->context);
    if (state->packet) l.free_packet(&state->packet);
    if (state->shown) l.free_frame(&state->shown);
    if (state->taken) l.free_frame(&state->taken);
}

bool Software::available(const char *name) { return library().complete && library().find(name); }

std::unique_ptr<Software> Software::open(const char *name, std::string *why) {
    const Library &l = library();
    if (!l.complete) {
        *why = "libavcodec.so." NUMBER(LIBAVCODEC_VERSION_MAJOR) " is missing";
        return nullptr;
    }
    const AVCodec *codec = l.find(name);
    if (!codec) {
        *why = std::string("libavcodec has no decoder ") + name;
        return nullptr;
    }
    std::unique_ptr<Software> self(new Software);
    State &s = *self->state;
    s.context = l.context(codec);
    s.packet = l.packet();
    s.shown = l.frame();
    if (!s.context || !s.packet || !s.shown) return nullptr;
    s.context->opaque = &s;
    s.context->get_buffer2 = State::get_buffer;
    // One thread: the picture is whole when its packet was taken.
    s.context->thread_count = 1;
    s.context->log_level_offset = 100; // it may share the log of a client that uses FFmpeg
    if (l.open(s.context, codec, nullptr) < 0) {
        *why = std::string("libavcodec's ") + name + " does not open";
        return nullptr;
    }
    return self;
}

std::shared_ptr<Picture> Software::decode(const uint8_t *data, size_t size) {
    const Library &l = library();
    State &s = *state;
    if (s.taken) l.free_frame(&s.taken);
    if (l.fill_packet(s.packet, int(size)) < 0) return nullptr;
    memcpy(s.packet->data, data, size);
    int rc = l.send(s.context, s.packet);
    // What it shows, and when, is the client's business: it asked for pictures one by one.
    while (l.receive(s.context, s.shown) >= 0) {
    }
    if (rc < 0 || !s.taken) return nullptr;
    AVFrame *frame = s.taken;
    s.taken = nullptr;
    return std::make_shared<Picture>(frame);
}
