#include "surface.h"
#include "13.0/nvEncodeAPI.h"
#include <algorithm>
#include <cstring>

namespace standin {
namespace {

bool packed(uint32_t format) {
    switch (format) {
    case NV_ENC_BUFFER_FORMAT_ARGB:
    case NV_ENC_BUFFER_FORMAT_ABGR:
    case NV_ENC_BUFFER_FORMAT_ARGB10:
    case NV_ENC_BUFFER_FORMAT_ABGR10:
    case NV_ENC_BUFFER_FORMAT_AYUV: return true;
    default: return false;
    }
}
bool wide(uint32_t format) {
    return format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT || format == NV_ENC_BUFFER_FORMAT_YUV444_10BIT || format == NV_ENC_BUFFER_FORMAT_P210;
}

struct Reader {
    const uint8_t *data;
    uint32_t pitch;
    bool two_bytes; // the sample is the upper ten bits of two bytes
    uint16_t at(size_t offset, unsigned x, unsigned y, unsigned step, unsigned part) const {
        const uint8_t *row = data + offset + static_cast<size_t>(y) * pitch;
        if (!two_bytes) return row[x * step + part];
        uint16_t value;
        memcpy(&value, row + (x * step + part) * 2, 2);
        return value >> 6;
    }
};

} // namespace

uint32_t least_pitch(uint32_t format, uint32_t width) { return packed(format) ? width * 4 : wide(format) ? width * 2 : width; }

size_t surface_bytes(uint32_t format, uint32_t pitch, uint32_t height, const uint32_t (&chroma_offset)[2]) {
    const size_t luma = static_cast<size_t>(pitch) * height;
    switch (format) {
    case NV_ENC_BUFFER_FORMAT_NV12:
    case NV_ENC_BUFFER_FORMAT_YUV420_10BIT: {
        const size_t chroma = static_cast<size_t>(pitch) * ((height + 1) / 2);
        return (chroma_offset[0] ? chroma_offset[0] : luma) + chroma;
    }
    case NV_ENC_BUFFER_FORMAT_YV12:
    case NV_ENC_BUFFER_FORMAT_IYUV: return luma + static_cast<size_t>(pitch / 2) * ((height + 1) / 2) * 2;
    case NV_ENC_BUFFER_FORMAT_NV16:
    case NV_ENC_BUFFER_FORMAT_P210: return luma * 2;
    case NV_ENC_BUFFER_FORMAT_YUV444:
    case NV_ENC_BUFFER_FORMAT_YUV444_10BIT: return luma * 3;
    default: return packed(format) ? luma : 0;
    }
}

PictureRef read_surface(const uint8_t *data, uint32_t format, uint32_t pitch, uint32_t surface_height, const uint32_t (&chroma_offset)[2],
                        unsigned width, unsigned height, unsigned block, unsigned chroma, unsigned depth) {
    auto out = std::make_shared<Picture>();
    out->width = (width + block - 1) / block * block;
    out->height = (height + block - 1) / block * block;
    out->chroma = chroma;
    out->depth = depth;
    const size_t luma = static_cast<size_t>(pitch) * surface_height;

    // What the surface has, at its own chroma format and depth.
    unsigned from_chroma = 1, from_depth = wide(format) ? 10 : 8;
    std::vector<uint16_t> converted[3]; // of packed formats: 4:4:4
    if (packed(format)) {
        from_chroma = 3;
        from_depth = format == NV_ENC_BUFFER_FORMAT_ARGB10 || format == NV_ENC_BUFFER_FORMAT_ABGR10 ? 10 : 8;
        for (auto &plane : converted) plane.resize(static_cast<size_t>(width) * height);
        const bool swapped = format == NV_ENC_BUFFER_FORMAT_ABGR || format == NV_ENC_BUFFER_FORMAT_ABGR10;
        for (unsigned y = 0; y < height; ++y) {
            for (unsigned x = 0; x < width; ++x) {
                uint32_t word;
                memcpy(&word, data + static_cast<size_t>(y) * pitch + x * 4, 4);
                const size_t at = static_cast<size_t>(y) * width + x;
                const unsigned bits = from_depth, mask = (1u << bits) - 1;
                const int low = static_cast<int>(word & mask), middle = static_cast<int>(word >> bits & mask),
                          high = static_cast<int>(word >> 2 * bits & mask);
                if (format == NV_ENC_BUFFER_FORMAT_AYUV) {
                    converted[0][at] = static_cast<uint16_t>(high);
                    converted[1][at] = static_cast<uint16_t>(middle);
                    converted[2][at] = static_cast<uint16_t>(low);
                    continue;
                }
                // NVENC's own conversion: BT.601, limited range.
                const int r = swapped ? low : high, g = middle, b = swapped ? high : low, scale = 1 << (bits - 8);
                const int luma_value = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16 * scale;
                const int blue = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128 * scale;
                const int red = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128 * scale;
                converted[0][at] = static_cast<uint16_t>(luma_value);
                converted[1][at] = static_cast<uint16_t>(blue);
                converted[2][at] = static_cast<uint16_t>(red);
            }
        }
    } else if (format == NV_ENC_BUFFER_FORMAT_YUV444 || format == NV_ENC_BUFFER_FORMAT_YUV444_10BIT) {
        from_chroma = 3;
    } else if (format == NV_ENC_BUFFER_FORMAT_NV16 || format == NV_ENC_BUFFER_FORMAT_P210) {
        from_chroma = 2;
    }
    const Reader reader = {data, pitch, wide(format)};
    const Reader half = {data, pitch / 2, false};
    const auto sample = [&](int plane, unsigned x, unsigned y) -> uint16_t {
        if (packed(format)) return converted[plane][static_cast<size_t>(y) * width + x];
        if (plane == 0) return reader.at(0, x, y, 1, 0);
        switch (format) {
        case NV_ENC_BUFFER_FORMAT_YUV444:
        case NV_ENC_BUFFER_FORMAT_YUV444_10BIT: return reader.at(luma * static_cast<unsigned>(plane), x, y, 1, 0);
        case NV_ENC_BUFFER_FORMAT_IYUV:
        case NV_ENC_BUFFER_FORMAT_YV12: {
            const bool second = (plane == 2) == (format == NV_ENC_BUFFER_FORMAT_IYUV);
            return half.at(luma + (second ? static_cast<size_t>(pitch / 2) * ((surface_height + 1) / 2) : 0), x, y, 1, 0);
        }
        default: return reader.at(chroma_offset[0] ? chroma_offset[0] : luma, x, y, 2, plane == 1 ? 0 : 1);
        }
    };
    for (int plane = 0; plane < 3; ++plane) {
        const unsigned stride = out->stride(plane), rows = plane ? out->chroma_height() : out->height;
        out->plane[plane].resize(static_cast<size_t>(stride) * rows);
        const unsigned from_x = plane && from_chroma != 3 ? 1 : 0, from_y = plane && from_chroma == 1 ? 1 : 0;
        const unsigned to_x = plane && chroma != 3 ? 1 : 0, to_y = plane && chroma == 1 ? 1 : 0;
        const unsigned last_x = ((width + from_x) >> from_x) - 1, last_y = ((height + from_y) >> from_y) - 1;
        // Samples of one byte that need no conversion: the usual case, a row at a time.
        if (!packed(format) && !wide(format) && from_chroma == chroma && depth == from_depth) {
            const bool pairs = plane && (format == NV_ENC_BUFFER_FORMAT_NV12 || format == NV_ENC_BUFFER_FORMAT_NV16);
            const bool halves = plane && (format == NV_ENC_BUFFER_FORMAT_IYUV || format == NV_ENC_BUFFER_FORMAT_YV12);
            const bool second = halves && (plane == 2) == (format == NV_ENC_BUFFER_FORMAT_IYUV);
            const size_t from_pitch = halves ? pitch / 2 : pitch;
            size_t start = 0;
            if (pairs)
                start = (chroma_offset[0] ? chroma_offset[0] : luma) + (plane == 2 ? 1 : 0);
            else if (halves)
                start = luma + (second ? from_pitch * ((surface_height + 1) / 2) : 0);
            else
                start = luma * static_cast<unsigned>(plane);
            const unsigned step = pairs ? 2 : 1;
            for (unsigned y = 0; y < rows; ++y) {
                const uint8_t *from = data + start + from_pitch * std::min(y, last_y);
                uint16_t *to = &out->plane[plane][static_cast<size_t>(y) * stride];
                for (unsigned x = 0; x <= last_x; ++x) to[x] = from[x * step];
                for (unsigned x = last_x + 1; x < stride; ++x) to[x] = to[last_x];
            }
            continue;
        }
        for (unsigned y = 0; y < rows; ++y) {
            for (unsigned x = 0; x < stride; ++x) {
                const unsigned sx = std::min(x << to_x >> from_x, last_x), sy = std::min(y << to_y >> from_y, last_y);
                unsigned value = sample(plane, sx, sy);
                if (depth > from_depth) value <<= depth - from_depth;
                if (depth < from_depth) value >>= from_depth - depth;
                out->plane[plane][static_cast<size_t>(y) * stride + x] = static_cast<uint16_t>(value);
            }
        }
    }
    return out;
}

} // namespace standin
