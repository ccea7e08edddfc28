// H.264, lossless by construction: every macroblock is I_PCM, or skipped where it equals what skipping would show.
// Deblocking is off, entropy coding is CAVLC (ITU-T H.264 clauses 7.3 and 9).
#include "picture.h"
#include <algorithm>

namespace standin {
namespace {

constexpr unsigned kBlock = 16;
enum Profile { kBaseline = 66, kMain = 77, kHigh = 100, kHigh10 = 110, kHigh422 = 122, kHigh444 = 244 };

class H264 final : public Writer {
  public:
    explicit H264(const StreamInfo &info) : info_(info), held_(std::max(1u, info.references)) {}

    unsigned block() const override { return kBlock; }

    void change(const StreamInfo &info) override {
        info_ = info;
        held_.resize(std::max(1u, info.references));
    }

    Bytes headers() override {
        Bytes out;
        put(out, 3, 7, sps());
        put(out, 3, 8, pps());
        return out;
    }

    bool code(const Coding &coding, Coded &out, std::string &problem) override {
        const Picture &picture = *coding.picture;
        if (coding.type == Type::Idr) {
            held_.clear();
            frame_num_ = 0;
            idr_id_ = (idr_id_ + 1) & 1;
        }
        for (const int poc : coding.dropped) held_.drop(poc);
        const Held *one = coding.type == Type::P ? held_.last() : coding.type == Type::B ? held_.before(coding.poc) : nullptr;
        const Held *two = coding.type == Type::B ? held_.after(coding.poc) : nullptr;
        Type type = coding.type;
        if ((type == Type::P && !one) || (type == Type::B && (!one || !two))) {
            if (type == Type::B) {
                problem = "a B picture without a reference on both sides";
                return false;
            }
            type = Type::I; // every reference was invalidated
        }
        // A decoder's list 0 of a P picture begins with the latest decoded reference; after an invalidation the encoder
        // here and the decoder disagree on which that is, so nothing is predicted until they agree again.
        if (type == Type::P && !coding.dropped.empty()) type = Type::I;
        out.type = type;

        if (coding.delimiter) {
            Bits bits;
            bits.u(3, type == Type::B ? 2 : type == Type::P ? 1 : 0);
            bits.trailing();
            put(out.bytes, 0, 9, bits.bytes);
        }
        if (coding.headers) {
            const Bytes sets = headers();
            out.bytes.insert(out.bytes.end(), sets.begin(), sets.end());
        }
        sei(coding, out.bytes);

        const unsigned across = picture.width / kBlock, down = picture.height / kBlock;
        const unsigned raw = (256 + 2 * (picture.chroma_width() ? kBlock * picture.chroma_width() / picture.width * kBlock *
                                                                      picture.chroma_height() / picture.height
                                                                : 0)) *
                             picture.depth / 8;
        const std::vector<unsigned> starts = slice_starts(coding.slice_mode, coding.slice_data, across, down, raw + 4);
        const unsigned ref_idc = type == Type::Idr ? 3 : coding.reference ? 2 : 0;
        for (size_t i = 0; i < starts.size(); ++i) {
            const unsigned end = i + 1 < starts.size() ? starts[i + 1] : across * down;
            Bits bits;
            slice_header(bits, coding, type, ref_idc, starts[i]);
            unsigned skipped = 0;
            for (unsigned mb = starts[i]; mb < end; ++mb) {
                const unsigned x = mb % across * kBlock, y = mb / across * kBlock;
                const bool refreshed = mb % across >= coding.intra_from && mb % across < coding.intra_to;
                if (one && type != Type::I && !refreshed &&
                    (coding.skip || same_block(picture, *one->picture, two ? two->picture.get() : nullptr, x, y, kBlock))) {
                    ++skipped;
                    ++out.inter_blocks;
                    continue;
                }
                if (type == Type::P || type == Type::B) bits.ue(skipped);
                skipped = 0;
                bits.ue(type == Type::P ? 30 : type == Type::B ? 48 : 25);
                bits.zero_to_byte();
                pcm(bits, picture, x, y);
                ++out.intra_blocks;
            }
            if (skipped) bits.ue(skipped);
            bits.trailing();
            out.slice_offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
            put(out.bytes, ref_idc, type == Type::Idr ? 5 : 1, bits.bytes);
        }
        if (ref_idc) {
            held_.add({coding.picture, coding.poc, frame_num_});
            frame_num_ = (frame_num_ + 1) & 0xffff;
        }
        return true;
    }

  private:
    StreamInfo info_;
    References held_;
    unsigned frame_num_ = 0, idr_id_ = 1;

    static void put(Bytes &out, unsigned ref_idc, unsigned type, const Bytes &payload) {
        const uint8_t header = static_cast<uint8_t>(ref_idc << 5 | type);
        put_nal(out, &header, 1, payload);
    }

    unsigned profile() const {
        const unsigned least = info_.chroma == 3   ? kHigh444
                               : info_.chroma == 2 ? kHigh422
                               : info_.depth > 8   ? kHigh10
                                                   : kBaseline;
        if (info_.profile == 0) return std::max<unsigned>(least, kHigh);
        return std::max(info_.profile, least);
    }
    unsigned level() const {
        if (info_.level) return info_.level;
        static const struct {
            unsigned idc, frame, rate;
        } table[] = {{10, 99, 1485},       {11, 396, 3000},      {12, 396, 6000},      {13, 396, 11880},     {21, 792, 19800},
                     {22, 1620, 20250},    {30, 1620, 40500},    {31, 3600, 108000},   {32, 5120, 216000},   {40, 8192, 245760},
                     {42, 8704, 522240},   {50, 22080, 589824},  {51, 36864, 983040},  {52, 36864, 2073600}, {60, 139264, 4177920}};
        const unsigned frame = (info_.width + 15) / 16 * ((info_.height + 15) / 16);
        const uint64_t rate = static_cast<uint64_t>(frame) * info_.vui.fps_num / std::max(1u, info_.vui.fps_den);
        for (const auto &row : table)
            if (frame <= row.frame && rate <= row.rate) return row.idc;
        return 62;
    }

    void hrd(Bits &bits) const {
        bits.ue(0);
        bits.u(4, 0);
        bits.u(4, 0);
        bits.ue(static_cast<uint32_t>(std::max<uint64_t>(1, info_.hrd.bits_per_second >> 6) - 1));
        bits.ue(static_cast<uint32_t>(std::max<uint64_t>(1, info_.hrd.buffer_bits >> 4) - 1));
        bits.bit(info_.hrd.constant);
        bits.u(5, 23);
        bits.u(5, 23);
        bits.u(5, 23);
        bits.u(5, 24);
    }

    Bytes sps() const {
        Bits bits;
        const unsigned idc = profile();
        bits.u(8, idc);
        bits.u(8, 0);
        bits.u(8, level());
        bits.ue(info_.sps_id);
        if (idc >= kHigh) {
            bits.ue(info_.chroma);
            if (info_.chroma == 3) bits.bit(0);
            bits.ue(info_.depth - 8);
            bits.ue(info_.depth - 8);
            bits.bit(0);
            bits.bit(0);
        }
        bits.ue(12); // frame_num in 16 bits
        bits.ue(0);
        bits.ue(12); // picture order count in 16 bits
        bits.ue(std::max(1u, info_.references));
        bits.bit(0);
        const unsigned across = (info_.width + 15) / 16, down = (info_.height + 15) / 16;
        bits.ue(across - 1);
        bits.ue(down - 1);
        bits.bit(1); // frames only
        bits.bit(1); // direct_8x8_inference
        const unsigned unit_x = info_.chroma == 1 || info_.chroma == 2 ? 2 : 1, unit_y = info_.chroma == 1 ? 2 : 1;
        const unsigned right = (across * 16 - info_.width) / unit_x, bottom = (down * 16 - info_.height) / unit_y;
        bits.bit(right || bottom);
        if (right || bottom) {
            bits.ue(0);
            bits.ue(right);
            bits.ue(0);
            bits.ue(bottom);
        }
        bits.bit(1);
        vui(bits);
        bits.trailing();
        return bits.bytes;
    }

    void vui(Bits &bits) const {
        const Vui &vui = info_.vui;
        bits.bit(vui.sar_num != 0);
        if (vui.sar_num) {
            bits.u(8, 255);
            bits.u(16, vui.sar_num);
            bits.u(16, vui.sar_den);
        }
        bits.bit(vui.overscan_info);
        if (vui.overscan_info) bits.bit(vui.overscan);
        bits.bit(vui.signal_type);
        if (vui.signal_type) {
            bits.u(3, vui.video_format);
            bits.bit(vui.full_range);
            bits.bit(vui.colour);
            if (vui.colour) {
                bits.u(8, vui.primaries);
                bits.u(8, vui.transfer);
                bits.u(8, vui.matrix);
            }
        }
        bits.bit(vui.chroma_location);
        if (vui.chroma_location) {
            bits.ue(vui.chroma_top);
            bits.ue(vui.chroma_bottom);
        }
        bits.bit(1);
        bits.u(32, vui.fps_den);
        bits.u(32, static_cast<uint64_t>(vui.fps_num) * 2);
        bits.bit(vui.fixed_rate);
        bits.bit(info_.hrd.present);
        if (info_.hrd.present) hrd(bits);
        bits.bit(0);
        if (info_.hrd.present) bits.bit(0);
        bits.bit(info_.picture_timing); // pic_struct_present
        bits.bit(1);                    // bitstream restriction
        bits.bit(1);
        bits.ue(0);
        bits.ue(0);
        bits.ue(16);
        bits.ue(16);
        bits.ue(info_.reorder);
        bits.ue(std::max(1u, std::max(info_.references, info_.reorder)));
    }

    Bytes pps() const {
        Bits bits;
        bits.ue(info_.pps_id);
        bits.ue(info_.sps_id);
        bits.bit(0); // CAVLC
        bits.bit(0);
        bits.ue(0);
        bits.ue(0);
        bits.ue(0);
        bits.bit(0);
        bits.u(2, 0);
        bits.se(0);
        bits.se(0);
        bits.se(0);
        bits.bit(1); // deblocking is spoken of in slices
        bits.bit(0);
        bits.bit(0);
        bits.trailing();
        return bits.bytes;
    }

    void slice_header(Bits &bits, const Coding &coding, Type type, unsigned ref_idc, unsigned first) const {
        bits.ue(first);
        bits.ue(type == Type::P ? 5 : type == Type::B ? 6 : 7);
        bits.ue(info_.pps_id);
        bits.u(16, frame_num_);
        if (type == Type::Idr) bits.ue(idr_id_);
        bits.u(16, static_cast<unsigned>(coding.poc * 2) & 0xffff);
        if (type == Type::B) bits.bit(1); // spatial direct
        if (type == Type::P || type == Type::B) bits.bit(0);
        if (type == Type::P || type == Type::B) bits.bit(0);
        if (type == Type::B) bits.bit(0);
        if (ref_idc) {
            bits.bit(0);
            if (type == Type::Idr) bits.bit(0);
        }
        bits.se(std::clamp(coding.qp, 0, 51) - 26);
        bits.ue(1); // no deblocking
    }

    static void pcm(Bits &bits, const Picture &picture, unsigned x, unsigned y) {
        uint8_t row[kBlock];
        for (int index = 0; index < 3; ++index) {
            if (picture.plane[index].empty()) continue;
            const unsigned stride = picture.stride(index);
            const unsigned shift_x = index && picture.chroma != 3 ? 1 : 0, shift_y = index && picture.chroma == 1 ? 1 : 0;
            for (unsigned r = 0; r < kBlock >> shift_y; ++r) {
                const uint16_t *from = &picture.plane[index][static_cast<size_t>((y >> shift_y) + r) * stride + (x >> shift_x)];
                const unsigned wide = kBlock >> shift_x;
                if (picture.depth == 8) {
                    for (unsigned i = 0; i < wide; ++i) row[i] = static_cast<uint8_t>(from[i]);
                    bits.append(row, wide);
                } else {
                    for (unsigned i = 0; i < wide; ++i) bits.u(picture.depth, from[i]);
                }
            }
        }
    }

    static void message(Bits &bits, uint32_t type, const Bytes &payload) {
        for (; type >= 255; type -= 255) bits.u(8, 255);
        bits.u(8, type);
        size_t size = payload.size();
        for (; size >= 255; size -= 255) bits.u(8, 255);
        bits.u(8, size);
        bits.append(payload.data(), payload.size());
    }

    void sei(const Coding &coding, Bytes &out) {
        Bits bits;
        if (info_.buffering_period && coding.type == Type::Idr && info_.hrd.present) {
            Bits period;
            period.ue(info_.sps_id);
            const uint64_t rate = std::max<uint64_t>(1, info_.hrd.bits_per_second);
            const uint64_t full = info_.hrd.buffer_bits * 90000 / rate;
            const uint64_t initial = std::min<uint64_t>(std::max<uint64_t>(1, info_.hrd.initial_bits * 90000 / rate), full);
            period.u(24, std::min<uint64_t>(initial, 0xffffff));
            period.u(24, std::min<uint64_t>(full - initial, 0xffffff));
            if (!period.aligned()) period.trailing();
            message(bits, 0, period.bytes);
        }
        if (info_.picture_timing) {
            Bits timing;
            if (info_.hrd.present) {
                timing.u(24, coding.decode_index * 2);
                timing.u(24, static_cast<uint64_t>(std::max(0, coding.poc + static_cast<int>(info_.reorder) -
                                                                   static_cast<int>(coding.decode_index))) *
                                 2);
            }
            timing.u(4, 0);
            timing.bit(0);
            if (!timing.aligned()) timing.trailing();
            message(bits, 1, timing.bytes);
        }
        if (coding.recovery_frames >= 0) {
            Bits point;
            point.ue(static_cast<uint32_t>(coding.recovery_frames));
            point.bit(1);
            point.bit(0);
            point.u(2, 0);
            if (!point.aligned()) point.trailing();
            message(bits, 6, point.bytes);
        }
        for (const Sei &sei : coding.sei) message(bits, sei.type, sei.payload);
        if (bits.bytes.empty()) return;
        bits.trailing();
        put(out, 0, 6, bits.bytes);
    }
};

} // namespace

std::unique_ptr<Writer> make_h264(const StreamInfo &info) { return std::make_unique<H264>(info); }

} // namespace standin
