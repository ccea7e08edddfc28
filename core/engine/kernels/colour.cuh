// Colour of pictures whose components all have the same size: matrices, and HDR to SDR.
#pragma once
#include "picture.cuh"

// Three sums and a constant each.
struct Affine {
    float row[3][4];
};

DEVICE void apply(const Affine &m, float &a, float &b, float &c) {
    const float x = a, y = b, z = c;
    a = m.row[0][0] * x + m.row[0][1] * y + m.row[0][2] * z + m.row[0][3];
    b = m.row[1][0] * x + m.row[1][1] * y + m.row[1][2] * z + m.row[1][3];
    c = m.row[2][0] * x + m.row[2][1] * y + m.row[2][2] * z + m.row[2][3];
}

struct ConvertArgs {
    Picture from;
    Picture to;
    // Codes to codes.
    Affine colour;
    unsigned dither;
    unsigned reserved;
};

// Matrix, range and depth. Alpha becomes opaque where the input has none, else is kept.
KERNEL convert(ConvertArgs args) {
    const unsigned x = COLUMN, y = ROW;
    if (x >= args.to.width[0] || y >= args.to.height[0]) return;
    float a = load(args.from, 0, x, y), b = load(args.from, 1, x, y), c = load(args.from, 2, x, y);
    apply(args.colour, a, b, c);
    store(args.to, 0, x, y, a, args.dither);
    store(args.to, 1, x, y, b, args.dither);
    store(args.to, 2, x, y, c, args.dither);
    if (args.to.component[3].at) {
        const float top = (float)args.to.max;
        const float alpha = args.from.component[3].at ? load(args.from, 3, x, y) * (top / (float)args.from.max) : top;
        store(args.to, 3, x, y, alpha, 0);
    }
}

enum Transfer { PQ, HLG };
enum Curve { HABLE, MOBIUS, REINHARD, BT2390 };

struct ToneMapArgs {
    Picture from;
    Picture to;
    // Codes of the input to R'G'B' from 0 to 1.
    Affine decode;
    // Linear light of the input's primaries to BT.709's.
    Affine gamut;
    // R'G'B' to codes of the output.
    Affine encode;
    // Luma weights for the fading of bright colours, and from which level on they fade; 0 = never.
    float luma[3];
    float fade;
    // Of the source; 1 is SDR white.
    float peak;
    unsigned transfer;
    unsigned curve;
    unsigned dither;
};

DEVICE float power(float base, float exponent) { return base > 0.0f ? powf(base, exponent) : 0.0f; }

// SMPTE ST 2084, 1 is 10 000 cd/m². Its powers lie so close to 1 that their difference from 1 is what is computed: of the
// power itself too few digits would be left. (1 - c1 = c2 - c3 = PQ_REST.)
#define PQ_REST 0.1640625f

DEVICE float pq_to_light(float code) {
    if (!(code > 0.0f)) return 0.0f;
    const float below = -expm1f(logf(code) * (32.0f / 2523.0f));
    return power((PQ_REST - below) / (PQ_REST + 2392.0f / 128.0f * below), 16384.0f / 2610.0f);
}

DEVICE float light_to_pq(float light) {
    const float y = power(light < 1.0f ? light : 1.0f, 2610.0f / 16384.0f);
    return expf(2523.0f / 32.0f * log1pf(PQ_REST * (y - 1.0f) / (1.0f + 2392.0f / 128.0f * y)));
}

// The scene's light of ARIB STD-B67, 0 to 1.
DEVICE float hlg_to_scene(float code) {
    if (code <= 0.0f) return 0.0f;
    if (code <= 0.5f) return code * code / 3.0f;
    return (expf((code - 0.55991073f) / 0.17883277f) + 0.28466892f) / 12.0f;
}

DEVICE float hable(float x) {
    return (x * (x * 0.15f + 0.05f) + 0.004f) / (x * (x * 0.15f + 0.5f) + 0.06f) - 0.02f / 0.3f;
}

DEVICE float mobius(float x, float peak) {
    const float j = 0.3f;
    if (x <= j) return x;
    const float a = -j * j * (peak - 1.0f) / (j * j - 2.0f * j + peak);
    const float range = peak - 1.0f;
    const float b = (j * j - 2.0f * j * peak + peak) / (range > 1e-6f ? range : 1e-6f);
    return (b * b + 2.0f * b * j + j * j) / (b - a) * (x + a) / (x + b);
}

// The EETF of ITU-R BT.2390-10, section 5.4, from the peak to SDR white (100 cd/m²), black at 0.
DEVICE float bt2390(float x, float peak) {
    if (x >= peak) return 1.0f;
    const float top = light_to_pq(peak * 0.01f);
    const float most = light_to_pq(0.01f) / top;
    const float knee = 1.5f * most - 0.5f;
    const float e = light_to_pq(x * 0.01f) / top;
    if (e < knee || knee >= 1.0f) return x;
    const float t = (e - knee) / (1.0f - knee), t2 = t * t, t3 = t2 * t;
    const float bent = (2.0f * t3 - 3.0f * t2 + 1.0f) * knee + (t3 - 2.0f * t2 + t) * (1.0f - knee) +
                       (-2.0f * t3 + 3.0f * t2) * most;
    return pq_to_light(bent * top) * 100.0f;
}

DEVICE float mapped(unsigned curve, float x, float peak) {
    switch (curve) {
        case HABLE: return hable(x) / hable(peak);
        case MOBIUS: return mobius(x, peak);
        case REINHARD: return x / (x + 1.0f) * (peak + 1.0f) / peak;
        default: return bt2390(x, peak);
    }
}

// The inverse of BT.1886. What lies outside BT.709's gamut goes on below 0 until the code is clipped, as in zimg.
DEVICE float display(float light) {
    const float code = powf(fabsf(light), 1.0f / 2.4f);
    return light < 0.0f ? -code : code;
}

DEVICE float most_of(float a, float b) { return a > b ? a : b; }

// PQ or HLG to SDR: linear light in which 1 is 100 cd/m², BT.709 primaries, the curve on the largest of R, G and B so
// that hues stay, then the inverse of BT.1886. The CPU path's formulas (filter/tonemap.rs, FFmpeg's tonemap, zimg).
KERNEL tone_map(ToneMapArgs args) {
    const unsigned x = COLUMN, y = ROW;
    if (x >= args.to.width[0] || y >= args.to.height[0]) return;
    float r = load(args.from, 0, x, y), g = load(args.from, 1, x, y), b = load(args.from, 2, x, y);
    apply(args.decode, r, g, b);
    if (args.transfer == HLG) {
        r = hlg_to_scene(r), g = hlg_to_scene(g), b = hlg_to_scene(b);
        // The system gamma of a display of 1000 cd/m², on each component as zimg has it by FFmpeg's leave.
        r = 10.0f * power(r, 1.2f), g = 10.0f * power(g, 1.2f), b = 10.0f * power(b, 1.2f);
    } else {
        r = 100.0f * pq_to_light(r), g = 100.0f * pq_to_light(g), b = 100.0f * pq_to_light(b);
    }
    apply(args.gamut, r, g, b);
    if (args.fade > 0.0f) {
        const float luma = args.luma[0] * r + args.luma[1] * g + args.luma[2] * b;
        const float mix = most_of(luma - args.fade, 1e-6f) / most_of(luma, 1e-6f);
        r += (luma - r) * mix, g += (luma - g) * mix, b += (luma - b) * mix;
    }
    const float signal = most_of(most_of(most_of(r, g), b), 1e-6f);
    const float ratio = mapped(args.curve, signal, args.peak) / signal;
    r = display(r * ratio), g = display(g * ratio), b = display(b * ratio);
    apply(args.encode, r, g, b);
    store(args.to, 0, x, y, r, args.dither);
    store(args.to, 1, x, y, g, args.dither);
    store(args.to, 2, x, y, b, args.dither);
}
