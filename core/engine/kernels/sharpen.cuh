// Unsharp mask.
#pragma once
#include "picture.cuh"

struct SharpenArgs {
    Picture from;
    Picture to;
    // The blur, along either axis; the first `size` are used, an odd number.
    float blur[24];
    unsigned size;
    float amount;
    // 1: the second and third component as well (RGB), else they are copied.
    unsigned all;
    unsigned reserved;
};

DEVICE void sharpen_one(const SharpenArgs &args, unsigned i, int right, int bottom, unsigned x, unsigned y) {
    const int half = (int)args.size / 2;
    float blurred = 0.0f;
    for (int j = -half; j <= half; j++) {
        int row = (int)y + j;
        row = row < 0 ? 0 : row > bottom ? bottom : row;
        float line = 0.0f;
        for (int k = -half; k <= half; k++) {
            int column = (int)x + k;
            column = column < 0 ? 0 : column > right ? right : column;
            line += args.blur[k + half] * load(args.from, i, column, row);
        }
        blurred += args.blur[j + half] * line;
    }
    const float here = load(args.from, i, x, y);
    store(args.to, i, x, y, here + args.amount * (here - blurred), 0);
}

// Adds `amount` times the difference from the blurred picture; the edge's samples go on beyond it. A grid two deep: the
// first component, then the other two.
KERNEL sharpen(SharpenArgs args) {
    const unsigned x = COLUMN, y = ROW;
    if (blockIdx.z == 0) {
        if (x >= args.to.width[0] || y >= args.to.height[0]) return;
        sharpen_one(args, 0, (int)args.from.width[0] - 1, (int)args.from.height[0] - 1, x, y);
        return;
    }
    if (x >= args.to.width[1] || y >= args.to.height[1]) return;
    if (args.all) {
        const int right = (int)args.from.width[1] - 1, bottom = (int)args.from.height[1] - 1;
        sharpen_one(args, 1, right, bottom, x, y);
        sharpen_one(args, 2, right, bottom, x, y);
    } else {
        store(args.to, 1, x, y, load(args.from, 1, x, y), 0);
        store(args.to, 2, x, y, load(args.from, 2, x, y), 0);
    }
}
