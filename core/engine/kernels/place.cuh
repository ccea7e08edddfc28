// Copies of samples to other places: cut out, put on a canvas, mirrored, turned.
#pragma once
#include "picture.cuh"

struct PlaceArgs {
    Picture from;
    Picture to;
    // Where the (turned) picture's first sample lies in the output: of the first component, then of the others. Negative
    // where the picture begins outside.
    int left[2];
    int top[2];
    // Quarters of a turn, clockwise.
    unsigned turn;
    // The codes of what the picture does not cover.
    float fill[4];
    // Whether the picture is mirrored left to right before it is turned.
    unsigned mirror;
};

DEVICE void place_one(const PlaceArgs &args, unsigned i, unsigned group, unsigned x, unsigned y) {
    const int width = (int)args.from.width[group], height = (int)args.from.height[group];
    const int u = (int)x - args.left[group], v = (int)y - args.top[group];
    int column = u, row = v;
    if (args.turn == 1) column = v, row = height - 1 - u;
    if (args.turn == 2) column = width - 1 - u, row = height - 1 - v;
    if (args.turn == 3) column = width - 1 - v, row = u;
    if (args.mirror) column = width - 1 - column;
    const bool inside = column >= 0 && column < width && row >= 0 && row < height && args.from.component[i].at;
    store(args.to, i, x, y, inside ? load(args.from, i, (unsigned)column, (unsigned)row) : args.fill[i], 0);
}

// A grid two deep: the first component and alpha, then the other two.
KERNEL place(PlaceArgs args) {
    const unsigned x = COLUMN, y = ROW;
    if (blockIdx.z == 0) {
        if (x >= args.to.width[0] || y >= args.to.height[0]) return;
        place_one(args, 0, 0, x, y);
        if (args.to.component[3].at) place_one(args, 3, 0, x, y);
    } else if (x < args.to.width[1] && y < args.to.height[1]) {
        place_one(args, 1, 1, x, y);
        place_one(args, 2, 1, x, y);
    }
}
