// AV1 through libaom, loaded at run time and told to be lossless: one temporal unit a picture, in display order.
#include "picture.h"
#include <aom/aom_encoder.h>
#include <aom/aomcx.h>
#include <algorithm>
#include <cstring>
#include <dlfcn.h>

namespace standin {
namespace {

struct Library {
    void *handle = nullptr;
    std::string problem;
    decltype(&aom_codec_av1_cx) interface = nullptr;
    decltype(&aom_codec_enc_config_default) config_default = nullptr;
    decltype(&aom_codec_enc_init_ver) init = nullptr;
    decltype(&aom_codec_encode) encode = nullptr;
    decltype(&aom_codec_get_cx_data) data = nullptr;
    decltype(&aom_codec_get_global_headers) headers = nullptr;
    decltype(&aom_codec_control) control = nullptr;
    decltype(&aom_codec_destroy) destroy = nullptr;
    decltype(&aom_codec_error_detail) detail = nullptr;

    Library() {
        handle = dlopen("libaom.so.3", RTLD_NOW | RTLD_LOCAL);
        if (!handle) {
            problem = std::string("AV1 needs libaom: ") + dlerror();
            return;
        }
        const auto load = [&](auto &to, const char *name) {
            to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(dlsym(handle, name));
            if (!to) problem = std::string("libaom has no ") + name;
        };
        load(interface, "aom_codec_av1_cx");
        load(config_default, "aom_codec_enc_config_default");
        load(init, "aom_codec_enc_init_ver");
        load(encode, "aom_codec_encode");
        load(data, "aom_codec_get_cx_data");
        load(headers, "aom_codec_get_global_headers");
        load(control, "aom_codec_control");
        load(destroy, "aom_codec_destroy");
        load(detail, "aom_codec_error_detail");
    }
};

const Library &library() {
    static const Library *one = new Library;
    return *one;
}

// The size of the OBU at `at` and its type; 0 where there is none.
size_t obu(const uint8_t *at, size_t left, unsigned &type) {
    if (left < 2 || !(at[0] & 2)) return 0;
    type = at[0] >> 3 & 15;
    size_t position = at[0] & 4 ? 2 : 1;
    uint64_t size = 0;
    for (unsigned i = 0; i < 8 && position < left; ++i) {
        const uint8_t byte = at[position++];
        size |= static_cast<uint64_t>(byte & 0x7f) << 7 * i;
        if (!(byte & 0x80)) break;
    }
    return position + size <= left ? position + size : 0;
}

void leb128(Bytes &out, uint64_t value) {
    do {
        const uint8_t byte = value & 0x7f;
        value >>= 7;
        out.push_back(static_cast<uint8_t>(byte | (value ? 0x80 : 0)));
    } while (value);
}

void metadata(Bytes &out, uint32_t type, const Bytes &payload) {
    Bytes body;
    leb128(body, type);
    body.insert(body.end(), payload.begin(), payload.end());
    body.push_back(0x80);
    out.push_back(5 << 3 | 2);
    leb128(out, body.size());
    out.insert(out.end(), body.begin(), body.end());
}

enum Obu { kSequence = 1, kDelimiter = 2 };

class Av1 final : public Writer {
  public:
    explicit Av1(const StreamInfo &info) : info_(info) {}
    ~Av1() override { close(); }

    unsigned block() const override { return 2; }

    bool open(std::string &problem) {
        const Library &lib = library();
        aom_codec_enc_cfg_t config;
        if (lib.config_default(lib.interface(), &config, AOM_USAGE_REALTIME)) {
            problem = "libaom has no default configuration";
            return false;
        }
        config.g_w = info_.width;
        config.g_h = info_.height;
        config.g_threads = 1;
        config.g_lag_in_frames = 0;
        config.g_pass = AOM_RC_ONE_PASS;
        config.g_timebase = {static_cast<int>(info_.vui.fps_den), static_cast<int>(info_.vui.fps_num)};
        config.g_bit_depth = info_.depth == 10 ? AOM_BITS_10 : AOM_BITS_8;
        config.g_input_bit_depth = info_.depth;
        config.rc_end_usage = AOM_Q;
        config.kf_mode = AOM_KF_DISABLED;
        if (lib.init(&codec_, lib.interface(), &config, info_.depth == 10 ? AOM_CODEC_USE_HIGHBITDEPTH : 0, AOM_ENCODER_ABI_VERSION)) {
            problem = "libaom cannot be opened";
            return false;
        }
        open_ = true;
        // Faster settings of this usage are not lossless, and the other usage makes two key frames of each forced one.
        lib.control(&codec_, AOME_SET_CPUUSED, 6);
        lib.control(&codec_, AV1E_SET_LOSSLESS, 1);
        lib.control(&codec_, AV1E_SET_COLOR_PRIMARIES, info_.vui.primaries ? static_cast<int>(info_.vui.primaries) : 2);
        lib.control(&codec_, AV1E_SET_TRANSFER_CHARACTERISTICS, info_.vui.transfer ? static_cast<int>(info_.vui.transfer) : 2);
        lib.control(&codec_, AV1E_SET_MATRIX_COEFFICIENTS, info_.vui.matrix ? static_cast<int>(info_.vui.matrix) : 2);
        lib.control(&codec_, AV1E_SET_COLOR_RANGE, info_.vui.full_range ? 1 : 0);
        lib.control(&codec_, AV1E_SET_CHROMA_SAMPLE_POSITION, static_cast<int>(info_.vui.chroma_top));
        return true;
    }

    void change(const StreamInfo &info) override {
        const bool again = info.width != info_.width || info.height != info_.height;
        info_ = info;
        if (again) {
            close();
            std::string problem;
            open(problem); // where it fails, the next picture says so
        }
    }

    Bytes headers() override {
        Bytes out;
        if (!open_) return out;
        aom_fixed_buf_t *buffer = library().headers(&codec_);
        if (buffer) {
            const auto *bytes = static_cast<const uint8_t *>(buffer->buf);
            out.assign(bytes, bytes + buffer->sz);
            free(buffer->buf);
            free(buffer);
        }
        return out;
    }

    bool code(const Coding &coding, Coded &out, std::string &problem) override {
        const Library &lib = library();
        if (!open_) {
            problem = "libaom is not open";
            return false;
        }
        const Picture &picture = *coding.picture;
        const unsigned bytes = info_.depth == 10 ? 2 : 1;
        Bytes planes[3];
        aom_image_t image;
        memset(&image, 0, sizeof image);
        image.fmt = info_.depth == 10 ? AOM_IMG_FMT_I42016 : AOM_IMG_FMT_I420;
        image.bit_depth = info_.depth;
        image.bps = 12 * bytes;
        image.w = picture.width;
        image.h = picture.height;
        image.d_w = info_.width;
        image.d_h = info_.height;
        image.x_chroma_shift = image.y_chroma_shift = 1;
        for (int i = 0; i < 3; ++i) {
            const std::vector<uint16_t> &from = picture.plane[i];
            planes[i].resize(from.size() * bytes);
            if (bytes == 2)
                memcpy(planes[i].data(), from.data(), planes[i].size());
            else
                std::copy(from.begin(), from.end(), planes[i].begin());
            image.planes[i] = planes[i].data();
            image.stride[i] = static_cast<int>(picture.stride(i) * bytes);
        }
        const bool key = coding.type == Type::Idr || coding.type == Type::I;
        if (lib.encode(&codec_, &image, time_++, 1, key ? AOM_EFLAG_FORCE_KF : 0)) {
            const char *detail = lib.detail(&codec_);
            problem = std::string("libaom: ") + (detail ? detail : "cannot code the picture");
            return false;
        }
        Bytes unit;
        aom_codec_iter_t iterator = nullptr;
        while (const aom_codec_cx_pkt_t *packet = lib.data(&codec_, &iterator)) {
            if (packet->kind != AOM_CODEC_CX_FRAME_PKT) continue;
            const auto *data = static_cast<const uint8_t *>(packet->data.frame.buf);
            unit.insert(unit.end(), data, data + packet->data.frame.sz);
        }
        if (unit.empty()) {
            problem = "libaom kept the picture";
            return false;
        }
        Bytes extra;
        if (coding.mastering.present) {
            Bits bits;
            for (const int i : {2, 0, 1}) { // red, green, blue
                bits.u(16, coding.mastering.x[i]);
                bits.u(16, coding.mastering.y[i]);
            }
            bits.u(16, coding.mastering.white_x);
            bits.u(16, coding.mastering.white_y);
            bits.u(32, coding.mastering.max_luma);
            bits.u(32, coding.mastering.min_luma);
            metadata(extra, 2, bits.bytes);
        }
        if (coding.light.present) {
            Bits bits;
            bits.u(16, coding.light.max_cll);
            bits.u(16, coding.light.max_fall);
            metadata(extra, 1, bits.bytes);
        }
        for (const Sei &sei : coding.sei) metadata(extra, sei.type, sei.payload);
        // The delimiter, the sequence header where it is wanted, what the client added, and the rest.
        bool placed = false;
        for (size_t at = 0; at < unit.size();) {
            unsigned type = 0;
            const size_t size = obu(&unit[at], unit.size() - at, type);
            if (!size) {
                problem = "libaom wrote an OBU without a size";
                return false;
            }
            const bool before = type == kSequence || type == kDelimiter;
            if (!before && !placed) {
                out.bytes.insert(out.bytes.end(), extra.begin(), extra.end());
                placed = true;
                out.slice_offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
            }
            if (type != kSequence || coding.headers)
                out.bytes.insert(out.bytes.end(), unit.begin() + static_cast<long>(at), unit.begin() + static_cast<long>(at + size));
            at += size;
        }
        out.type = coding.type;
        const unsigned blocks = (info_.width + 63) / 64 * ((info_.height + 63) / 64);
        (key ? out.intra_blocks : out.inter_blocks) = blocks;
        return true;
    }

  private:
    StreamInfo info_;
    aom_codec_ctx_t codec_ = {};
    bool open_ = false;
    int64_t time_ = 0;

    void close() {
        if (open_) library().destroy(&codec_);
        open_ = false;
    }
};

} // namespace

std::unique_ptr<Writer> make_av1(const StreamInfo &info, std::string &problem) {
    if (!library().problem.empty()) {
        problem = library().problem;
        return nullptr;
    }
    if (info.chroma != 1) {
        problem = "AV1 is 4:2:0 only";
        return nullptr;
    }
    auto writer = std::make_unique<Av1>(info);
    if (!writer->open(problem)) return nullptr;
    return writer;
}

} // namespace standin
