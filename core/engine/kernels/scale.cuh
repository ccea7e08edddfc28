// Sizes: a table of weights for each axis, made once, then any number of pictures with it.
#pragma once
#include "picture.cuh"

// For each of `count` output samples, the first input sample and `taps` weights. The weight of tap t for output i is
// weight[t * count + i], so that neighbouring threads read neighbouring words.
struct Axis {
    int *start;
    float *weight;
    unsigned taps;
    unsigned count;
};

enum Shape { NEAREST, BILINEAR, BICUBIC, LANCZOS };

struct TapsArgs {
    Axis axis;
    // Output sample i lies at (i + 0.5) * ratio + shift of the input, whose sample k covers k to k + 1.
    double ratio;
    double shift;
    // Input samples.
    unsigned length;
    unsigned shape;
    // C of the bicubic kernel (B is 0).
    double sharpness;
};

DEVICE double sinc(double x) {
    return x == 0.0 ? 1.0 : sinpi(x) / (3.141592653589793 * x);
}

DEVICE double shape_at(unsigned shape, double sharpness, double x) {
    const double c = sharpness;
    x = fabs(x);
    switch (shape) {
        case BILINEAR: return x < 1.0 ? 1.0 - x : 0.0;
        case BICUBIC:
            if (x < 1.0) return 1.0 + x * x * (-(3.0 - c) + x * (2.0 - c));
            if (x < 2.0) return c * (4.0 + x * (-8.0 + x * (5.0 - x)));
            return 0.0;
        case LANCZOS: return x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
        default: return 1.0;
    }
}

// The filter is widened where the picture shrinks. Beyond an edge the picture is mirrored. The host has chosen the number
// of taps so that the filter's support fits, or the whole input where that is less.
KERNEL taps(TapsArgs args) {
    const unsigned i = COLUMN;
    const Axis &axis = args.axis;
    if (i >= axis.count) return;
    const double position = (i + 0.5) * args.ratio + args.shift;
    const int length = (int)args.length;
    if (args.shape == NEAREST) {
        const int at = (int)floor(position);
        axis.start[i] = at < 0 ? 0 : at >= length ? length - 1 : at;
        axis.weight[i] = 1.0f;
        return;
    }
    const double step = args.ratio > 1.0 ? 1.0 / args.ratio : 1.0;
    const double radius = (args.shape == LANCZOS ? 3.0 : args.shape == BICUBIC ? 2.0 : 1.0) / step;
    const int reach = (int)ceil(radius) * 2;
    const int begin = (int)floor(position - reach / 2.0 + 0.5);
    int start = begin;
    if (start > length - (int)axis.taps) start = length - (int)axis.taps;
    if (start < 0) start = 0;
    double total = 0.0;
    for (int j = 0; j < reach; j++) total += shape_at(args.shape, args.sharpness, (begin + j + 0.5 - position) * step);
    for (unsigned t = 0; t < axis.taps; t++) axis.weight[t * axis.count + i] = 0.0f;
    for (int j = 0; j < reach; j++) {
        int at = begin + j;
        if (at < 0) at = -1 - at;
        if (at >= length) at = 2 * length - 1 - at;
        at -= start;
        if (at < 0) at = 0;
        if (at >= (int)axis.taps) at = (int)axis.taps - 1;
        const double weight = shape_at(args.shape, args.sharpness, (begin + j + 0.5 - position) * step) / total;
        axis.weight[at * axis.count + i] += (float)weight;
    }
    axis.start[i] = start;
}

struct ScaleArgs {
    Picture from;
    Picture to;
    // Of the first component, then of the second and third.
    Axis across[2];
    Axis down[2];
    // The output's code is the input's times gain plus offset: depth and range.
    float gain[2];
    float offset[2];
    unsigned dither;
    unsigned reserved;
};

template <typename Word>
DEVICE float gather(const Component &c, unsigned shift, const Axis &across, const Axis &down, unsigned x, unsigned y) {
    const unsigned char *row = c.at + (u64)down.start[y] * c.pitch + (u64)across.start[x] * c.step;
    float sum = 0.0f;
    for (unsigned j = 0; j < down.taps; j++, row += c.pitch) {
        const unsigned char *at = row;
        float line = 0.0f;
        for (unsigned i = 0; i < across.taps; i++, at += c.step)
            line += across.weight[i * across.count + x] * code_of(*(const Word *)at, shift);
        sum += down.weight[j * down.count + y] * line;
    }
    return sum;
}

// The indices are constants at each call: what is indexed by a variable would be copied to local memory.
DEVICE void scale_one(const ScaleArgs &args, unsigned i, unsigned group, unsigned x, unsigned y) {
    const Component &c = args.from.component[i];
    const Axis &across = args.across[group], &down = args.down[group];
    const float sum = args.from.wide == FLOATS ? gather<float>(c, 0, across, down, x, y)
                      : args.from.wide         ? gather<unsigned short>(c, args.from.shift, across, down, x, y)
                                               : gather<unsigned char>(c, args.from.shift, across, down, x, y);
    store(args.to, i, x, y, sum * args.gain[group] + args.offset[group], args.dither);
}

// Size, chroma subsampling and siting (both in the tables), depth and range of pictures in planes or with interleaved
// chroma. A grid two deep: the first component, then the other two.
KERNEL scale(ScaleArgs args) {
    const unsigned x = COLUMN, y = ROW;
    if (blockIdx.z == 0) {
        if (x < args.to.width[0] && y < args.to.height[0]) scale_one(args, 0, 0, x, y);
    } else if (x < args.to.width[1] && y < args.to.height[1]) {
        scale_one(args, 1, 1, x, y);
        scale_one(args, 2, 1, x, y);
    }
}
