#include "picture.h"

namespace standin {

std::vector<unsigned> slice_starts(unsigned mode, unsigned datum, unsigned across, unsigned down, unsigned block_bytes) {
    const unsigned total = across * down;
    unsigned step = total;
    if (datum != 0) {
        switch (mode) {
        case 0: step = datum; break;
        case 1: step = datum / block_bytes; break;
        case 2: step = datum * across; break;
        case 3: step = (down + datum - 1) / datum * across; break;
        default: break;
        }
    }
    if (step == 0) step = 1;
    std::vector<unsigned> starts;
    for (unsigned at = 0; at < total; at += step) starts.push_back(at);
    return starts;
}

bool same_block(const Picture &picture, const Picture &one, const Picture *two, unsigned x, unsigned y, unsigned block) {
    if (one.width != picture.width || one.height != picture.height) return false;
    for (int index = 0; index < 3; ++index) {
        if (picture.plane[index].empty()) continue;
        const bool chroma = index > 0;
        const unsigned shift_x = chroma && picture.chroma != 3 ? 1 : 0, shift_y = chroma && picture.chroma == 1 ? 1 : 0;
        const unsigned stride = picture.stride(index), wide = block >> shift_x, high = block >> shift_y;
        for (unsigned row = 0; row < high; ++row) {
            const size_t at = static_cast<size_t>((y >> shift_y) + row) * stride + (x >> shift_x);
            const uint16_t *mine = &picture.plane[index][at], *first = &one.plane[index][at];
            const uint16_t *second = two ? &two->plane[index][at] : first;
            for (unsigned i = 0; i < wide; ++i)
                if (mine[i] != (first[i] + second[i] + 1) >> 1) return false;
        }
    }
    return true;
}

} // namespace standin
