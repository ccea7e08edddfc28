// HEVC, lossless by construction: every coding unit is 16x16 and PCM, or skipped where it equals what skipping would show.
// No loop filters; the only arithmetic coding left is that of three flags (ITU-T H.265 clauses 7.3 and 9.3).
#include "picture.h"
#include <algorithm>

namespace standin {
namespace {

constexpr unsigned kBlock = 16;

// Table 9-52 (rangeTabLps) and 9-53 (transIdxLps).
constexpr uint8_t kRange[64][4] = {
    {128, 176, 208, 240}, {128, 167, 197, 227}, {128, 158, 187, 216}, {123, 150, 178, 205}, {116, 142, 169, 195},
    {111, 135, 160, 185}, {105, 128, 152, 175}, {100, 122, 144, 166}, {95, 116, 137, 158},  {90, 110, 130, 150},
    {85, 104, 123, 142},  {81, 99, 117, 135},   {77, 94, 111, 128},   {73, 89, 105, 122},   {69, 85, 100, 116},
    {66, 80, 95, 110},    {62, 76, 90, 104},    {59, 72, 86, 99},     {56, 69, 81, 94},     {53, 65, 77, 89},
    {51, 62, 73, 85},     {48, 59, 69, 80},     {46, 56, 66, 76},     {43, 53, 63, 72},     {41, 50, 59, 69},
    {39, 48, 56, 65},     {37, 45, 54, 62},     {35, 43, 51, 59},     {33, 41, 48, 56},     {32, 39, 46, 53},
    {30, 37, 43, 50},     {29, 35, 41, 48},     {27, 33, 39, 45},     {26, 31, 37, 43},     {24, 30, 35, 41},
    {23, 28, 33, 39},     {22, 27, 32, 37},     {21, 26, 30, 35},     {20, 24, 29, 33},     {19, 23, 27, 31},
    {18, 22, 26, 30},     {17, 21, 25, 28},     {16, 20, 23, 27},     {15, 19, 22, 25},     {14, 18, 21, 24},
    {14, 17, 20, 23},     {13, 16, 19, 22},     {12, 15, 18, 21},     {12, 14, 17, 20},     {11, 14, 16, 19},
    {11, 13, 15, 18},     {10, 12, 15, 17},     {10, 12, 14, 16},     {9, 11, 13, 15},      {9, 11, 12, 14},
    {8, 10, 12, 14},      {8, 9, 11, 13},       {7, 9, 11, 12},       {7, 9, 10, 12},       {7, 8, 10, 11},
    {6, 8, 9, 11},        {6, 7, 9, 10},        {6, 7, 8, 9},         {2, 2, 2, 2}};
constexpr uint8_t kNextLps[64] = {0,  0,  1,  2,  2,  4,  4,  5,  6,  7,  8,  9,  9,  11, 11, 12, 13, 13, 15, 15, 16, 16,
                                  18, 18, 19, 19, 21, 21, 22, 22, 23, 24, 24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30,
                                  31, 32, 32, 33, 33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38, 63};

struct Context {
    unsigned state = 0, most = 0;
    Context(unsigned init, int qp) {
        const int slope = static_cast<int>(init >> 4) * 5 - 45, offset = static_cast<int>((init & 15) << 3) - 16;
        const int value = std::clamp(((slope * std::clamp(qp, 0, 51)) >> 4) + offset, 1, 126);
        most = value > 63;
        state = static_cast<unsigned>(most ? value - 64 : 63 - value);
    }
};

// The encoder of clause 9.3.5 (informative there, and the mirror of the decoder).
class Arithmetic {
  public:
    explicit Arithmetic(Bits &bits) : bits_(bits) {}
    void begin() {
        low_ = 0;
        range_ = 510;
        first_ = true;
        outstanding_ = 0;
    }
    void flag(Context &context, unsigned value) {
        const unsigned lps = kRange[context.state][range_ >> 6 & 3];
        range_ -= lps;
        if (value != context.most) {
            low_ += range_;
            range_ = lps;
            if (context.state == 0) context.most ^= 1;
            context.state = kNextLps[context.state];
        } else if (context.state < 62) {
            ++context.state;
        }
        renormalise();
    }
    // A terminating bin; where it is 1 the engine is flushed, its last bit being the stop bit (or the one before PCM).
    void terminate(unsigned value) {
        range_ -= 2;
        if (!value) {
            renormalise();
            return;
        }
        low_ += range_;
        range_ = 2;
        renormalise();
        put(low_ >> 9 & 1);
        bits_.u(2, (low_ >> 7 & 3) | 1);
    }

  private:
    Bits &bits_;
    unsigned low_ = 0, range_ = 510, outstanding_ = 0;
    bool first_ = true;

    void put(unsigned value) {
        if (first_)
            first_ = false;
        else
            bits_.bit(value);
        for (; outstanding_; --outstanding_) bits_.bit(!value);
    }
    void renormalise() {
        while (range_ < 256) {
            if (low_ < 256) {
                put(0);
            } else if (low_ >= 512) {
                low_ -= 512;
                put(1);
            } else {
                low_ -= 256;
                ++outstanding_;
            }
            range_ <<= 1;
            low_ <<= 1;
        }
    }
};

enum Nal { kTrailN = 0, kTrailR = 1, kIdr = 19, kVps = 32, kSps = 33, kPps = 34, kDelimiter = 35, kSeiBefore = 39 };

class Hevc final : public Writer {
  public:
    explicit Hevc(const StreamInfo &info) : info_(info), held_(std::max(1u, info.references)) {}

    unsigned block() const override { return kBlock; }

    void change(const StreamInfo &info) override {
        info_ = info;
        held_.resize(std::max(1u, info.references));
    }

    Bytes headers() override {
        Bytes out;
        put(out, kVps, vps());
        put(out, kSps, sps());
        put(out, kPps, pps());
        return out;
    }

    bool code(const Coding &coding, Coded &out, std::string &problem) override {
        const Picture &picture = *coding.picture;
        if (coding.type == Type::Idr) held_.clear();
        for (const int poc : coding.dropped) held_.drop(poc);
        const Held *one = coding.type == Type::P || coding.type == Type::B ? held_.before(coding.poc) : nullptr;
        const Held *two = coding.type == Type::B ? held_.after(coding.poc) : nullptr;
        Type type = coding.type;
        if (type == Type::B && (!one || !two)) {
            problem = "a B picture without a reference on both sides";
            return false;
        }
        if (type == Type::P && (!one || !coding.dropped.empty())) type = Type::I;
        out.type = type;

        if (coding.delimiter) {
            Bits bits;
            bits.u(3, type == Type::B ? 2 : type == Type::P ? 1 : 0);
            bits.trailing();
            put(out.bytes, kDelimiter, bits.bytes);
        }
        if (coding.headers) {
            const Bytes sets = headers();
            out.bytes.insert(out.bytes.end(), sets.begin(), sets.end());
        }
        sei(coding, out.bytes);

        const unsigned across = picture.width / kBlock, down = picture.height / kBlock;
        const unsigned raw = kBlock * kBlock * (picture.chroma == 1 ? 3 : picture.chroma == 2 ? 4 : 6) / 2 * picture.depth / 8;
        const std::vector<unsigned> starts = slice_starts(coding.slice_mode, coding.slice_data, across, down, raw + 4);
        std::vector<uint8_t> skipped(across * down, 0);
        for (size_t i = 0; i < starts.size(); ++i) {
            const unsigned begin = starts[i], end = i + 1 < starts.size() ? starts[i + 1] : across * down;
            Bits bits;
            slice_header(bits, coding, type, begin, across * down);
            const int qp = std::clamp(coding.qp, 0, 51);
            Context skip[3] = {{197, qp}, {185, qp}, {201, qp}};
            Context mode{type == Type::B ? 134u : 149u, qp};
            Context part{type == Type::P || type == Type::B ? 154u : 184u, qp};
            Arithmetic coder(bits);
            coder.begin();
            for (unsigned at = begin; at < end; ++at) {
                const unsigned x = at % across, y = at / across;
                bool same = false;
                if (type == Type::P || type == Type::B) {
                    const bool refreshed = x >= coding.intra_from && x < coding.intra_to;
                    same = !refreshed && (coding.skip || same_block(picture, *one->picture, two ? two->picture.get() : nullptr,
                                                                    x * kBlock, y * kBlock, kBlock));
                    const unsigned left = x > 0 && at - 1 >= begin ? skipped[at - 1] : 0;
                    const unsigned above = y > 0 && at - across >= begin && at >= across ? skipped[at - across] : 0;
                    coder.flag(skip[left + above], same);
                }
                skipped[at] = same;
                if (same) {
                    ++out.inter_blocks;
                } else {
                    if (type == Type::P || type == Type::B) coder.flag(mode, 1);
                    coder.flag(part, 1);
                    coder.terminate(1); // pcm_flag
                    bits.zero_to_byte();
                    pcm(bits, picture, x * kBlock, y * kBlock);
                    coder.begin();
                    ++out.intra_blocks;
                }
                coder.terminate(at + 1 == end);
            }
            bits.zero_to_byte();
            out.slice_offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
            put(out.bytes, type == Type::Idr ? kIdr : coding.reference ? kTrailR : kTrailN, bits.bytes);
        }
        if (coding.reference || type == Type::Idr) held_.add({coding.picture, coding.poc, 0});
        return true;
    }

  private:
    StreamInfo info_;
    References held_;

    static void put(Bytes &out, unsigned type, const Bytes &payload) {
        const uint8_t header[2] = {static_cast<uint8_t>(type << 1), 1};
        put_nal(out, header, 2, payload);
    }

    unsigned level() const {
        if (info_.level) return info_.level;
        static const struct {
            unsigned idc;
            uint64_t frame, rate;
        } table[] = {{30, 36864, 552960},      {60, 122880, 3686400},     {63, 245760, 7372800},      {90, 552960, 16588800},
                     {93, 983040, 33177600},   {120, 2228224, 66846720},  {123, 2228224, 133693440},  {150, 8912896, 267386880},
                     {153, 8912896, 534773760}, {156, 8912896, 1069547520}, {180, 35651584, 1069547520}, {183, 35651584, 2139095040}};
        const uint64_t frame = static_cast<uint64_t>(info_.width) * info_.height;
        const uint64_t rate = frame * info_.vui.fps_num / std::max(1u, info_.vui.fps_den);
        for (const auto &row : table)
            if (frame <= row.frame && rate <= row.rate) return row.idc;
        return 186;
    }
    unsigned profile() const { return info_.chroma != 1 ? 4 : info_.depth > 8 ? 2 : std::max(1u, info_.profile); }

    void tier_and_level(Bits &bits) const {
        const unsigned idc = profile();
        bits.u(2, 0);
        bits.bit(info_.tier);
        bits.u(5, idc);
        for (unsigned i = 0; i < 32; ++i) bits.bit(i == idc || (idc == 1 && i == 2));
        bits.bit(1); // progressive
        bits.bit(0);
        bits.bit(0);
        bits.bit(1); // frames only
        if (idc == 4) {
            bits.bit(1);
            bits.bit(info_.depth <= 10);
            bits.bit(info_.depth <= 8);
            bits.bit(info_.chroma <= 2);
            bits.bit(info_.chroma <= 1);
            bits.bit(0);
            bits.bit(0);
            bits.bit(0);
            bits.bit(1);
            bits.u(34, 0);
        } else {
            bits.u(43, 0);
        }
        bits.bit(0);
        bits.u(8, level());
    }

    void ordering(Bits &bits) const {
        bits.ue(std::max(info_.references, info_.reorder));
        bits.ue(info_.reorder);
        bits.ue(0);
    }

    Bytes vps() const {
        Bits bits;
        bits.u(4, info_.vps_id);
        bits.u(2, 3);
        bits.u(6, 0);
        bits.u(3, 0);
        bits.bit(1);
        bits.u(16, 0xffff);
        tier_and_level(bits);
        bits.bit(1);
        ordering(bits);
        bits.u(6, 0);
        bits.ue(0);
        bits.bit(0);
        bits.bit(0);
        bits.trailing();
        return bits.bytes;
    }

    Bytes sps() const {
        Bits bits;
        bits.u(4, info_.vps_id);
        bits.u(3, 0);
        bits.bit(1);
        tier_and_level(bits);
        bits.ue(info_.sps_id);
        bits.ue(info_.chroma);
        if (info_.chroma == 3) bits.bit(0);
        const unsigned wide = (info_.width + kBlock - 1) / kBlock * kBlock, high = (info_.height + kBlock - 1) / kBlock * kBlock;
        bits.ue(wide);
        bits.ue(high);
        const unsigned unit_x = info_.chroma == 3 ? 1 : 2, unit_y = info_.chroma == 1 ? 2 : 1;
        const unsigned right = (wide - info_.width) / unit_x, bottom = (high - info_.height) / unit_y;
        bits.bit(right || bottom);
        if (right || bottom) {
            bits.ue(0);
            bits.ue(right);
            bits.ue(0);
            bits.ue(bottom);
        }
        bits.ue(info_.depth - 8);
        bits.ue(info_.depth - 8);
        bits.ue(12); // picture order count in 16 bits
        bits.bit(1);
        ordering(bits);
        bits.ue(1); // coding blocks: 16 and no other
        bits.ue(0);
        bits.ue(0); // transform blocks: 4 to 16
        bits.ue(2);
        bits.ue(0);
        bits.ue(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(1); // PCM
        bits.u(4, info_.depth - 1);
        bits.u(4, info_.depth - 1);
        bits.ue(1); // of 16, and no other
        bits.ue(0);
        bits.bit(1); // which no loop filter touches
        bits.ue(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(1);
        vui(bits);
        bits.bit(0);
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
        bits.bit(0);
        bits.bit(0);
        bits.bit(info_.picture_timing); // frame_field_info_present
        bits.bit(0);
        bits.bit(1);
        bits.u(32, vui.fps_den);
        bits.u(32, vui.fps_num);
        bits.bit(0);
        bits.bit(info_.hrd.present);
        if (info_.hrd.present) hrd(bits);
        bits.bit(0);
    }

    void hrd(Bits &bits) const {
        bits.bit(1); // NAL
        bits.bit(0);
        bits.bit(0);
        bits.u(4, 0);
        bits.u(4, 0);
        bits.u(5, 23);
        bits.u(5, 23);
        bits.u(5, 23);
        bits.bit(1); // fixed rate
        bits.ue(0);
        bits.ue(0);
        bits.ue(static_cast<uint32_t>(std::max<uint64_t>(1, info_.hrd.bits_per_second >> 6) - 1));
        bits.ue(static_cast<uint32_t>(std::max<uint64_t>(1, info_.hrd.buffer_bits >> 4) - 1));
        bits.bit(info_.hrd.constant);
    }

    Bytes pps() const {
        Bits bits;
        bits.ue(info_.pps_id);
        bits.ue(info_.sps_id);
        bits.bit(0);
        bits.bit(0);
        bits.u(3, 0);
        bits.bit(0);
        bits.bit(0);
        bits.ue(0);
        bits.ue(0);
        bits.se(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.se(0);
        bits.se(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(0);
        bits.bit(1); // deblocking is spoken of here:
        bits.bit(0);
        bits.bit(1); // there is none
        bits.bit(0);
        bits.bit(0);
        bits.ue(0);
        bits.bit(0);
        bits.bit(0);
        bits.trailing();
        return bits.bytes;
    }

    void slice_header(Bits &bits, const Coding &coding, Type type, unsigned first, unsigned total) const {
        bits.bit(first == 0);
        if (type == Type::Idr) bits.bit(0);
        bits.ue(info_.pps_id);
        if (first) {
            unsigned width = 0;
            while (1u << width < total) ++width;
            bits.u(width, first);
        }
        bits.ue(type == Type::B ? 0 : type == Type::P ? 1 : 2);
        if (type != Type::Idr) {
            bits.u(16, static_cast<unsigned>(coding.poc) & 0xffff);
            bits.bit(0);
            reference_set(bits, coding.poc);
        }
        if (type == Type::P || type == Type::B) {
            bits.bit(0); // one reference a list
            if (type == Type::B) bits.bit(0);
            bits.ue(4); // one merge candidate
        }
        bits.se(std::clamp(coding.qp, 0, 51) - 26);
        bits.bit(1);
        bits.zero_to_byte();
    }

    // All that is held, nearest first on either side.
    void reference_set(Bits &bits, int poc) const {
        std::vector<int> past, future;
        for (const Held &held : held_.all()) (held.poc < poc ? past : future).push_back(held.poc);
        std::sort(past.rbegin(), past.rend());
        std::sort(future.begin(), future.end());
        bits.ue(static_cast<uint32_t>(past.size()));
        bits.ue(static_cast<uint32_t>(future.size()));
        int from = poc;
        for (const int other : past) {
            bits.ue(static_cast<uint32_t>(from - other - 1));
            bits.bit(1);
            from = other;
        }
        from = poc;
        for (const int other : future) {
            bits.ue(static_cast<uint32_t>(other - from - 1));
            bits.bit(1);
            from = other;
        }
    }

    static void pcm(Bits &bits, const Picture &picture, unsigned x, unsigned y) {
        uint8_t row[kBlock];
        for (int index = 0; index < 3; ++index) {
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

    static void message(Bytes &out, uint32_t type, const Bytes &payload) {
        Bits bits;
        uint32_t rest = type;
        for (; rest >= 255; rest -= 255) bits.u(8, 255);
        bits.u(8, rest);
        size_t size = payload.size();
        for (; size >= 255; size -= 255) bits.u(8, 255);
        bits.u(8, size);
        bits.append(payload.data(), payload.size());
        bits.trailing();
        put(out, kSeiBefore, bits.bytes);
    }

    void sei(const Coding &coding, Bytes &out) const {
        if (info_.buffering_period && info_.hrd.present && coding.type == Type::Idr) {
            Bits period;
            period.ue(info_.sps_id);
            const uint64_t rate = std::max<uint64_t>(1, info_.hrd.bits_per_second);
            const uint64_t full = info_.hrd.buffer_bits * 90000 / rate;
            const uint64_t initial = std::min<uint64_t>(std::max<uint64_t>(1, info_.hrd.initial_bits * 90000 / rate), full);
            period.bit(0);
            period.bit(0);
            period.u(24, 0);
            period.u(24, std::min<uint64_t>(initial, 0xffffff));
            period.u(24, std::min<uint64_t>(full - initial, 0xffffff));
            if (!period.aligned()) period.trailing();
            message(out, 0, period.bytes);
        }
        if (info_.picture_timing) {
            Bits timing;
            timing.u(4, 0);
            timing.u(2, 1);
            timing.bit(0);
            if (info_.hrd.present) {
                timing.u(24, coding.decode_index ? coding.decode_index - 1 : 0);
                timing.u(24, static_cast<uint64_t>(std::max(0, coding.poc + static_cast<int>(info_.reorder) -
                                                                   static_cast<int>(coding.decode_index))));
            }
            if (!timing.aligned()) timing.trailing();
            message(out, 1, timing.bytes);
        }
        if (coding.mastering.present) {
            Bits volume;
            for (int i = 0; i < 3; ++i) {
                volume.u(16, coding.mastering.x[i]);
                volume.u(16, coding.mastering.y[i]);
            }
            volume.u(16, coding.mastering.white_x);
            volume.u(16, coding.mastering.white_y);
            volume.u(32, coding.mastering.max_luma);
            volume.u(32, coding.mastering.min_luma);
            message(out, 137, volume.bytes);
        }
        if (coding.light.present) {
            Bits light;
            light.u(16, coding.light.max_cll);
            light.u(16, coding.light.max_fall);
            message(out, 144, light.bytes);
        }
        if (coding.recovery_frames >= 0) {
            Bits point;
            point.se(coding.recovery_frames);
            point.bit(1);
            point.bit(0);
            if (!point.aligned()) point.trailing();
            message(out, 6, point.bytes);
        }
        for (const Sei &one : coding.sei) message(out, one.type, one.payload);
    }
};

} // namespace

std::unique_ptr<Writer> make_hevc(const StreamInfo &info) { return std::make_unique<Hevc>(info); }

} // namespace standin
