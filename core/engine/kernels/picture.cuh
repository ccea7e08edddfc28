// What every kernel works on: a picture described by its components, so that planes, interleaved chroma and packed
// pixels are one thing. The host writes these structures byte for byte (core/engine/src/filter/cuda/args.rs).
#pragma once

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define IN_PLACE __grid_constant__
#define ROLLED _Pragma("unroll 1")
typedef unsigned long long u64;
#else
#include "cpu/shim.h"
#endif

// The samples of one component: sample (x, y) is at `at + y * pitch + x * step`, all in bytes.
struct Component {
    unsigned char *at;
    unsigned pitch;
    unsigned step;
};

struct Picture {
    // Y, U, V or R, G, B; the last is alpha, and NULL where there is none.
    Component component[4];
    // Samples of the first component, then of the second and third.
    unsigned width[2];
    unsigned height[2];
    // 1: samples are 16-bit words, of which the code is all but the lowest `shift` bits. 2: they are floats, neither rounded
    // nor clipped, as lie between the steps of one conversion.
    unsigned wide;
    unsigned shift;
    // The largest code.
    unsigned max;
    unsigned reserved;
};

#define FLOATS 2

DEVICE float code_of(unsigned char word, unsigned) { return (float)word; }
DEVICE float code_of(unsigned short word, unsigned shift) { return (float)(word >> shift); }
DEVICE float code_of(float code, unsigned) { return code; }

template <typename Word> DEVICE float word_at(const Component &c, unsigned shift, unsigned x, unsigned y) {
    const unsigned char *at = c.at + (u64)y * c.pitch + (u64)x * c.step;
    return code_of(*(const Word *)at, shift);
}

DEVICE float load(const Picture &p, unsigned i, unsigned x, unsigned y) {
    if (p.wide == FLOATS) return word_at<float>(p.component[i], 0, x, y);
    return p.wide ? word_at<unsigned short>(p.component[i], p.shift, x, y)
                  : word_at<unsigned char>(p.component[i], p.shift, x, y);
}

// What is added before rounding down: a half, or (ordered dither) the threshold of an 8 by 8 Bayer matrix.
DEVICE float rounding(unsigned dither, unsigned x, unsigned y) {
    if (!dither) return 0.5f;
    const unsigned d = x ^ y;
    const unsigned rank = (d & 1) << 5 | (y & 1) << 4 | (d & 2) << 2 | (y & 2) << 1 | (d & 4) >> 1 | (y & 4) >> 2;
    return ((float)rank + 0.5f) / 64.0f;
}

// Writes a code that may lie between two integers or beyond the ends.
DEVICE void store(const Picture &p, unsigned i, unsigned x, unsigned y, float code, unsigned dither) {
    unsigned char *at = p.component[i].at + (u64)y * p.component[i].pitch + (u64)x * p.component[i].step;
    // NaN becomes 0.
    if (p.wide == FLOATS) {
        *(float *)at = code == code ? code : 0.0f;
        return;
    }
    const float top = (float)p.max;
    const float rounded = floorf(code + rounding(dither, x, y));
    const unsigned value = rounded > 0.0f ? (unsigned)(rounded < top ? rounded : top) : 0u;
    if (p.wide)
        *(unsigned short *)at = (unsigned short)(value << p.shift);
    else
        *at = (unsigned char)value;
}

// Where the thread is in a grid over a picture.
#define COLUMN (blockIdx.x * blockDim.x + threadIdx.x)
#define ROW (blockIdx.y * blockDim.y + threadIdx.y)
