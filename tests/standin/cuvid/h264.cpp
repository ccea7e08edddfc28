#include "cuvid/h264.h"

#include <cstddef>

namespace {

class Bits {
  public:
    void put(unsigned count, unsigned value) {
        while (count--) {
            if (used % 8 == 0) bytes.push_back(0);
            if (value >> count & 1) bytes.back() |= uint8_t(0x80 >> used % 8);
            used++;
        }
    }
    void ue(unsigned value) {
        unsigned length = 0;
        while ((value + 1) >> (length + 1)) length++;
        put(length, 0);
        put(length + 1, value + 1);
    }
    void se(int value) { ue(value > 0 ? unsigned(2 * value - 1) : unsigned(-2 * value)); }
    // One NAL unit with its start code.
    void append_to(std::vector<uint8_t> *out, uint8_t header) {
        put(1, 1);
        out->insert(out->end(), {0, 0, 0, 1, header});
        int zeros = 0;
        for (uint8_t byte : bytes) {
            if (zeros >= 2 && byte <= 3) {
                out->push_back(3);
                zeros = 0;
            }
            out->push_back(byte);
            zeros = byte ? 0 : zeros + 1;
        }
    }

  private:
    std::vector<uint8_t> bytes;
    unsigned used = 0;
};

const uint8_t ZIGZAG_4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};
const uint8_t ZIGZAG_8[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                              41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                              30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

void scaling_list(Bits *bits, const unsigned char *values, const uint8_t *order, int count) {
    bits->put(1, 1);
    int last = 8;
    for (int i = 0; i < count; i++) {
        int delta = values[order[i]] - last;
        // Written modulo 256.
        bits->se(delta > 127 ? delta - 256 : delta < -128 ? delta + 256 : delta);
        last = values[order[i]];
    }
}

// pic_parameter_set_id of a slice, whose NAL header is data[0].
bool slice_pps(const uint8_t *data, size_t size, unsigned *id) {
    size_t at = 8;
    auto bit = [&]() -> int {
        // The first syntax elements are too short for an emulation prevention byte to fall in them.
        if (at / 8 >= size) return -1;
        int b = data[at / 8] >> (7 - at % 8) & 1;
        at++;
        return b;
    };
    auto ue = [&](unsigned *out) {
        unsigned zeros = 0;
        int b;
        while ((b = bit()) == 0)
            if (++zeros > 31) return false;
        if (b < 0) return false;
        unsigned value = 1;
        for (unsigned i = 0; i < zeros; i++) {
            if ((b = bit()) < 0) return false;
            value = value << 1 | unsigned(b);
        }
        *out = value - 1;
        return true;
    };
    unsigned first, type;
    return ue(&first) && ue(&type) && ue(id) && *id < 256;
}

} // namespace

std::vector<uint8_t> h264_access_unit(const CUVIDPICPARAMS &picture, int chroma_format) {
    std::vector<uint8_t> out;
    const CUVIDH264PICPARAMS &p = picture.CodecSpecific.h264;
    const uint8_t *data = picture.pBitstreamData;
    size_t size = picture.nBitstreamDataLen, at = 0;
    if (!data || size < 5 || p.pic_order_cnt_type == 1 || p.num_slice_groups_minus1 || p.residual_colour_transform_flag) return out;
    // To the first slice's NAL header.
    while (at + 4 < size && !(data[at] == 0 && data[at + 1] == 0 && data[at + 2] == 1)) at++;
    unsigned pps = 0;
    if (at + 4 >= size || !slice_pps(data + at + 3, size - at - 3, &pps)) return out;

    int depth = p.bit_depth_luma_minus8;
    int profile = p.qpprime_y_zero_transform_bypass_flag || chroma_format == 3 ? 244 : chroma_format == 2 ? 122 : depth ? 110 : 100;
    Bits sps;
    sps.put(8, unsigned(profile));
    sps.put(8, 0);  // constraints
    sps.put(8, 62); // level: the largest
    sps.ue(0);      // sps id
    sps.ue(unsigned(chroma_format));
    if (chroma_format == 3) sps.put(1, 0);
    sps.ue(p.bit_depth_luma_minus8);
    sps.ue(p.bit_depth_chroma_minus8);
    sps.put(1, p.qpprime_y_zero_transform_bypass_flag);
    sps.put(1, 0); // scaling matrices stand in the PPS
    sps.ue(unsigned(p.log2_max_frame_num_minus4));
    sps.ue(unsigned(p.pic_order_cnt_type));
    if (p.pic_order_cnt_type == 0) sps.ue(unsigned(p.log2_max_pic_order_cnt_lsb_minus4));
    sps.ue(unsigned(p.num_ref_frames));
    sps.put(1, 1); // gaps in frame_num are allowed
    sps.ue(unsigned(picture.PicWidthInMbs - 1));
    sps.ue(unsigned(picture.FrameHeightInMbs / (p.frame_mbs_only_flag ? 1 : 2) - 1));
    sps.put(1, unsigned(p.frame_mbs_only_flag));
    if (!p.frame_mbs_only_flag) sps.put(1, unsigned(p.MbaffFrameFlag));
    sps.put(1, unsigned(p.direct_8x8_inference_flag));
    sps.put(1, 0); // cropping
    sps.put(1, 0); // VUI
    sps.append_to(&out, 0x67);

    Bits set;
    set.ue(pps);
    set.ue(0);
    set.put(1, unsigned(p.entropy_coding_mode_flag));
    set.put(1, unsigned(p.pic_order_present_flag));
    set.ue(0); // slice groups
    set.ue(unsigned(p.num_ref_idx_l0_active_minus1));
    set.ue(unsigned(p.num_ref_idx_l1_active_minus1));
    set.put(1, unsigned(p.weighted_pred_flag));
    set.put(2, unsigned(p.weighted_bipred_idc));
    set.se(p.pic_init_qp_minus26);
    set.se(p.pic_init_qs_minus26);
    set.se(p.chroma_qp_index_offset);
    set.put(1, unsigned(p.deblocking_filter_control_present_flag));
    set.put(1, unsigned(p.constrained_intra_pred_flag));
    set.put(1, unsigned(p.redundant_pic_cnt_present_flag));
    set.put(1, unsigned(p.transform_8x8_mode_flag));
    bool flat = true;
    for (auto &list : p.WeightScale4x4)
        for (unsigned char v : list) flat = flat && v == 16;
    for (auto &list : p.WeightScale8x8)
        for (unsigned char v : list) flat = flat && v == 16;
    set.put(1, !flat);
    if (!flat) {
        for (auto &list : p.WeightScale4x4) scaling_list(&set, list, ZIGZAG_4, 16);
        if (p.transform_8x8_mode_flag) {
            scaling_list(&set, p.WeightScale8x8[0], ZIGZAG_8, 64);
            scaling_list(&set, p.WeightScale8x8[1], ZIGZAG_8, 64);
            // 4:4:4 has lists for the chroma planes too; NVDEC decodes none.
            for (int i = 0; chroma_format == 3 && i < 4; i++) set.put(1, 0);
        }
    }
    set.se(p.second_chroma_qp_index_offset);
    set.append_to(&out, 0x68);
    out.insert(out.end(), data + at, data + size);
    return out;
}
