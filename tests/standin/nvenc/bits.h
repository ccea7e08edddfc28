// Bits into bytes, Exp-Golomb codes, and NAL units with emulation prevention: what both H.264 and HEVC are written with.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace standin {

using Bytes = std::vector<uint8_t>;

class Bits {
  public:
    Bytes bytes;

    void bit(unsigned value) {
        hold_ = static_cast<uint8_t>(hold_ << 1 | (value & 1));
        if (++count_ == 8) {
            bytes.push_back(hold_);
            hold_ = 0;
            count_ = 0;
        }
    }
    void u(unsigned width, uint64_t value) {
        for (unsigned i = width; i-- > 0;) bit(static_cast<unsigned>(value >> i & 1));
    }
    void ue(uint32_t value) {
        const uint64_t code = static_cast<uint64_t>(value) + 1;
        unsigned length = 0;
        while (code >> (length + 1)) ++length;
        u(length, 0);
        u(length + 1, code);
    }
    void se(int32_t value) {
        ue(value > 0 ? static_cast<uint32_t>(2 * value - 1) : static_cast<uint32_t>(-2 * static_cast<int64_t>(value)));
    }
    bool aligned() const { return count_ == 0; }
    void zero_to_byte() {
        while (!aligned()) bit(0);
    }
    // The stop bit and its zeros.
    void trailing() {
        bit(1);
        zero_to_byte();
    }
    // Whole bytes; only where the position is a whole byte.
    void append(const uint8_t *data, size_t size) { bytes.insert(bytes.end(), data, data + size); }

  private:
    uint8_t hold_ = 0;
    unsigned count_ = 0;
};

// Appends a start code, the header bytes and the payload, with emulation prevention.
inline void put_nal(Bytes &out, const uint8_t *header, size_t header_size, const Bytes &payload) {
    out.insert(out.end(), {0, 0, 0, 1});
    out.insert(out.end(), header, header + header_size);
    unsigned zeros = 0;
    out.reserve(out.size() + payload.size() + payload.size() / 64);
    for (const uint8_t byte : payload) {
        if (zeros >= 2 && byte <= 3) {
            out.push_back(3);
            zeros = 0;
        }
        out.push_back(byte);
        zeros = byte == 0 ? zeros + 1 : 0;
    }
}

} // namespace standin
