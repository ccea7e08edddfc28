// Several sizes of one picture in one pass over it. Each block has a part of the source and makes, for every rung, the
// samples that lie in the same part of it: what they read lies in the caches then, and comes from memory once.
#pragma once
#include "scale.cuh"

#define RUNGS 4

struct Rung {
    Picture to;
    // As in ScaleArgs.
    Axis across[2];
    Axis down[2];
    float gain[2];
    float offset[2];
    unsigned dither;
    unsigned reserved;
};

struct LadderArgs {
    // Not of floats.
    Picture from;
    Rung rung[RUNGS];
    // Rungs that there are.
    unsigned count;
    unsigned reserved;
};

// The first sample of part `part` of `parts` that `count` samples are divided into.
DEVICE unsigned share(unsigned count, unsigned part, unsigned parts) {
    return (unsigned)((u64)count * part / parts);
}

DEVICE float rung_sum(const Picture &from, const Rung &rung, unsigned i, unsigned group, unsigned x, unsigned y) {
    const Component &c = from.component[i];
    const Axis &across = rung.across[group], &down = rung.down[group];
    return from.wide ? gather<unsigned short>(c, from.shift, across, down, x, y)
                     : gather<unsigned char>(c, from.shift, across, down, x, y);
}

DEVICE void rung_one(const Picture &from, const Rung &rung, unsigned i, unsigned group, unsigned x, unsigned y) {
    const float sum = rung_sum(from, rung, i, group, x, y);
    store(rung.to, i, x, y, sum * rung.gain[group] + rung.offset[group], rung.dither);
}

DEVICE void rung_part(const Picture &from, const Rung &rung, unsigned group) {
    const unsigned right = share(rung.to.width[group], blockIdx.x + 1, gridDim.x);
    const unsigned bottom = share(rung.to.height[group], blockIdx.y + 1, gridDim.y);
    const unsigned left = share(rung.to.width[group], blockIdx.x, gridDim.x) + threadIdx.x;
    for (unsigned y = share(rung.to.height[group], blockIdx.y, gridDim.y) + threadIdx.y; y < bottom; y += blockDim.y)
        for (unsigned x = left; x < right; x += blockDim.x) {
            if (group == 0) {
                rung_one(from, rung, 0, 0, x, y);
            } else {
                rung_one(from, rung, 1, 1, x, y);
                rung_one(from, rung, 2, 1, x, y);
            }
        }
}

// A grid over the source, two deep: the first component, then the other two. The arguments stay where they are, so that
// rungs can be indexed without a copy, and one piece of code does for all.
KERNEL ladder(const IN_PLACE LadderArgs args) {
    ROLLED for (unsigned r = 0; r < args.count; r++) {
        if (blockIdx.z == 0)
            rung_part(args.from, args.rung[r], 0);
        else
            rung_part(args.from, args.rung[r], 1);
    }
}
