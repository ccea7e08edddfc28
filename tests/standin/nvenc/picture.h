// What the bitstream writers are given: planes of samples, the stream's facts, and what the picture is to be.
#pragma once
#include "bits.h"
#include <memory>
#include <string>

namespace standin {

// Planar samples, 16 bits each whatever the depth; chroma 0 = none, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4.
struct Picture {
    unsigned width = 0, height = 0; // padded to whole blocks
    unsigned chroma = 1, depth = 8;
    std::vector<uint16_t> plane[3];

    unsigned chroma_width() const { return chroma == 0 ? 0 : chroma == 3 ? width : width / 2; }
    unsigned chroma_height() const { return chroma == 0 ? 0 : chroma == 1 ? height / 2 : height; }
    unsigned stride(int index) const { return index == 0 ? width : chroma_width(); }
};
using PictureRef = std::shared_ptr<const Picture>;

// The colour and timing part of the sequence header, as the client gave it.
struct Vui {
    bool signal_type = false, full_range = false, colour = false, chroma_location = false, overscan_info = false, overscan = false;
    unsigned video_format = 5, primaries = 2, transfer = 2, matrix = 2, chroma_top = 0, chroma_bottom = 0;
    unsigned fps_num = 25, fps_den = 1;
    bool fixed_rate = true;
    unsigned sar_num = 0, sar_den = 0;
};

struct Mastering { // in the units of the SEI (0.00002; 0.0001 cd/m2), order green, blue, red
    bool present = false;
    uint16_t x[3] = {}, y[3] = {}, white_x = 0, white_y = 0;
    uint32_t max_luma = 0, min_luma = 0;
};
struct LightLevel {
    bool present = false;
    uint16_t max_cll = 0, max_fall = 0;
};

// A user SEI message (or, for AV1, a metadata OBU).
struct Sei {
    uint32_t type = 0;
    Bytes payload;
};

struct Hrd { // the buffer that buffering-period and picture-timing SEI messages speak of
    bool present = false;
    uint64_t bits_per_second = 0, buffer_bits = 0, initial_bits = 0;
    bool constant = false;
};

struct StreamInfo {
    unsigned width = 0, height = 0;
    unsigned chroma = 1, depth = 8;
    unsigned profile = 0; // profile_idc, 0 = the writer chooses
    unsigned level = 0;   // level_idc, 0 = the writer chooses
    unsigned tier = 0;
    unsigned references = 4; // frames in the decoded picture buffer
    unsigned reorder = 0;    // frames that may precede in decoding and follow in output
    unsigned sps_id = 0, pps_id = 0, vps_id = 0;
    Vui vui;
    Hrd hrd;
    bool picture_timing = false, buffering_period = false;
};

enum class Type { P = 0, B = 1, I = 2, Idr = 3 };

// One picture to code.
struct Coding {
    PictureRef picture;
    Type type = Type::Idr;
    bool reference = true;
    int poc = 0;              // display position since the last IDR, one a frame
    bool headers = false;     // parameter sets before it
    bool delimiter = false;   // access unit delimiter
    unsigned slice_mode = 0, slice_data = 0;
    int qp = 26;
    bool skip = false; // show what skipping shows, whatever the picture is: nothing is compared
    std::vector<Sei> sei;
    Mastering mastering;
    LightLevel light;
    int recovery_frames = -1; // >= 0: a recovery point SEI with that count
    // Intra refresh: block columns [from, to) are coded intra.
    unsigned intra_from = 0, intra_to = 0;
    std::vector<int> dropped;  // POCs that must not be referred to any more (reference invalidation)
    unsigned decode_index = 0; // pictures coded since the last IDR
};

struct Coded {
    Bytes bytes;
    Type type = Type::Idr; // as coded: a P picture without a usable reference becomes I
    std::vector<uint32_t> slice_offsets;
    unsigned intra_blocks = 0, inter_blocks = 0;
};

// A writer of one stream. The pictures come in decoding order.
class Writer {
  public:
    virtual ~Writer() = default;
    // The parameter sets alone.
    virtual Bytes headers() = 0;
    virtual bool code(const Coding &coding, Coded &out, std::string &problem) = 0;
    // Another size or rate from the next picture on, which must be an IDR where the size changes.
    virtual void change(const StreamInfo &info) = 0;
    // The side of the blocks that pictures are padded to.
    virtual unsigned block() const = 0;
};

std::unique_ptr<Writer> make_h264(const StreamInfo &info);
std::unique_ptr<Writer> make_hevc(const StreamInfo &info);
// Null and `problem` where libaom cannot be loaded.
std::unique_ptr<Writer> make_av1(const StreamInfo &info, std::string &problem);

// The rows of blocks at which slices begin, from the API's slice mode and datum.
std::vector<unsigned> slice_starts(unsigned mode, unsigned datum, unsigned across, unsigned down, unsigned block_bytes);

// The references that a decoder holds: a sliding window, in decoding order.
struct Held {
    PictureRef picture;
    int poc = 0;
    unsigned frame_num = 0;
};
class References {
  public:
    explicit References(unsigned size) : size_(size) {}
    void clear() { held_.clear(); }
    void resize(unsigned size) { size_ = size; }
    void add(const Held &held) {
        held_.push_back(held);
        while (held_.size() > size_) held_.erase(held_.begin());
    }
    void drop(int poc) {
        for (auto it = held_.begin(); it != held_.end();) it = it->poc == poc ? held_.erase(it) : it + 1;
    }
    const std::vector<Held> &all() const { return held_; }
    const Held *last() const { return held_.empty() ? nullptr : &held_.back(); }
    const Held *before(int poc) const { return nearest(poc, true); }
    const Held *after(int poc) const { return nearest(poc, false); }

  private:
    const Held *nearest(int poc, bool past) const {
        const Held *best = nullptr;
        for (const Held &held : held_) {
            if (past ? held.poc >= poc : held.poc <= poc) continue;
            if (!best || (past ? held.poc > best->poc : held.poc < best->poc)) best = &held;
        }
        return best;
    }
    unsigned size_;
    std::vector<Held> held_;
};

// Whether the block at (x, y) equals the reference (or the rounded mean of two).
bool same_block(const Picture &picture, const Picture &one, const Picture *two, unsigned x, unsigned y, unsigned block);

} // namespace standin
