// What the machine is said to have: one table, chosen by GS_STANDIN_PROFILE.
// Facts: NVIDIA's public support matrix and the notes in nvenc.md. Where NVIDIA publishes no figure (smallest sizes, number
// of long-term references) the value is a plausible one, and README.md lists it among what the stand-in does not prove.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "cuda/state.h"

namespace {

// Values of NV_ENC_CAPS, API 12.2 and 13.0.
enum Cap {
    MAX_BFRAMES = 0, RATE_CONTROL_MODES = 1, FIELD = 2, MONOCHROME = 3, QPELMV = 5, BDIRECT = 6, CABAC = 7,
    ADAPTIVE_TRANSFORM = 8, TEMPORAL_LAYERS = 10, HIERARCHICAL_P = 11, HIERARCHICAL_B = 12, LEVEL_MAX = 13, LEVEL_MIN = 14,
    WIDTH_MAX = 16, HEIGHT_MAX = 17, TEMPORAL_SVC = 18, DYN_RES = 19, DYN_BITRATE = 20, DYN_CONSTQP = 21, DYN_RCMODE = 22,
    SUBFRAME_READBACK = 23, CONSTRAINED = 24, INTRA_REFRESH = 25, CUSTOM_VBV = 26, DYNAMIC_SLICE = 27,
    REF_INVALIDATION = 28, ASYNC = 30, MB_NUM_MAX = 31, MB_PER_SEC = 32, YUV444 = 33, LOSSLESS = 34, SAO = 35, MEONLY = 36,
    LOOKAHEAD = 37, TEMPORAL_AQ = 38, TEN_BIT = 39, MAX_LTR = 40, WEIGHTED = 41, CAPACITY = 42, BFRAME_REF = 43,
    EMPHASIS = 44, WIDTH_MIN = 45, HEIGHT_MIN = 46, MULTIPLE_REFS = 47, ALPHA = 48, ENGINES = 49, SINGLE_SLICE_REFRESH = 50,
    DISABLE_ADVANCE = 51, OUTPUT_RECON = 52, BLOCK_STATS = 53, ROW_STATS = 54, TEMPORAL_FILTER = 55, LOOKAHEAD_LEVEL = 56,
    UNIDIRECTIONAL_B = 57, MVHEVC = 58, YUV422 = 59,
};

// The chip, where two of one generation differ.
enum class Chip { Tu117, Turing, Ampere, Ada, Hopper, Blackwell };

struct Card {
    const char *name;
    Chip chip;
    int cc_major, cc_minor;
    uint64_t mebibytes;
    int multiprocessors, encoders, decoders, geforce;
};

constexpr Card GTX1650 = {"NVIDIA GeForce GTX 1650", Chip::Tu117, 7, 5, 4096, 14, 1, 1, 1};
constexpr Card GTX1660 = {"NVIDIA GeForce GTX 1660", Chip::Turing, 7, 5, 6144, 22, 1, 1, 1};
constexpr Card RTX2060 = {"NVIDIA GeForce RTX 2060", Chip::Turing, 7, 5, 6144, 30, 1, 1, 1};
constexpr Card RTX3060 = {"NVIDIA GeForce RTX 3060", Chip::Ampere, 8, 6, 12288, 28, 1, 1, 1};
constexpr Card RTX4090 = {"NVIDIA GeForce RTX 4090", Chip::Ada, 8, 9, 24564, 128, 2, 1, 1};
constexpr Card RTX5090 = {"NVIDIA GeForce RTX 5090", Chip::Blackwell, 12, 0, 32607, 170, 3, 2, 1};
constexpr Card L4 = {"NVIDIA L4", Chip::Ada, 8, 9, 23034, 58, 2, 4, 0};
constexpr Card H200 = {"NVIDIA H200", Chip::Hopper, 9, 0, 143771, 132, 0, 7, 0};

struct Profile {
    const char *name, *driver;
    int api_major, api_minor, session_limit, session_code;
    const Card *cards[2];
};

const Profile PROFILES[] = {
    {"gtx1650", "550.54.14", 12, 2, 8, 10, {&GTX1650, nullptr}},
    {"gtx1660", "560.35.03", 12, 2, 8, 10, {&GTX1660, nullptr}},
    {"rtx2060", "550.54.14", 12, 2, 8, 10, {&RTX2060, nullptr}},
    {"rtx3060", "570.133.07", 13, 0, 8, 21, {&RTX3060, nullptr}},
    {"rtx4090", "570.133.07", 13, 0, 8, 21, {&RTX4090, nullptr}},
    {"rtx5090", "610.00", 13, 1, 12, 21, {&RTX5090, nullptr}},
    {"l4", "570.133.07", 13, 0, 0, 21, {&L4, nullptr}},
    {"h200", "570.133.07", 13, 0, 0, 21, {&H200, nullptr}},
    {"dual", "570.133.07", 13, 0, 8, 21, {&RTX4090, &RTX3060}},
    {"none", "570.133.07", 13, 0, 0, 21, {nullptr, nullptr}},
};

// The oldest Linux driver that has an API.
struct Api {
    int major, minor;
    const char *driver;
};
const Api APIS[] = {{11, 0, "450.51.06"}, {11, 1, "470.57.02"}, {12, 0, "520.56.06"}, {12, 1, "530.41.03"},
                    {12, 2, "550.54.14"}, {13, 0, "570.133.07"}, {13, 1, "610.00"}};

int cuda_of(const char *driver) {
    static const struct { int branch, cuda; } table[] = {{610, 13020}, {580, 13000}, {570, 12080}, {560, 12060},
                                                          {550, 12040}, {530, 12010}, {520, 11080}, {470, 11040}, {0, 11000}};
    for (auto &row : table)
        if (atoi(driver) >= row.branch) return row.cuda;
    return 11000;
}

standin_encoder encoder(const Card &card, standin_codec codec) {
    standin_encoder e = {};
    bool blackwell = card.chip == Chip::Blackwell, tu117 = card.chip == Chip::Tu117;
    bool ada = card.chip == Chip::Ada || blackwell;
    e.supported = card.encoders > 0 && (codec != STANDIN_AV1 || ada);
    if (!e.supported) return e;
    int32_t *c = e.caps;
    // The same for all.
    c[RATE_CONTROL_MODES] = 63;
    c[QPELMV] = 1;
    c[TEMPORAL_LAYERS] = 4;
    c[HIERARCHICAL_P] = 1;
    c[TEMPORAL_SVC] = 1;
    c[DYN_RES] = c[DYN_BITRATE] = c[DYN_CONSTQP] = c[DYN_RCMODE] = 1;
    c[CONSTRAINED] = c[INTRA_REFRESH] = c[CUSTOM_VBV] = c[REF_INVALIDATION] = 1;
    c[LOOKAHEAD] = c[TEMPORAL_AQ] = 1;
    c[CAPACITY] = 100; // what the header says Linux answers
    c[MULTIPLE_REFS] = !tu117;
    c[ENGINES] = card.encoders;
    c[SINGLE_SLICE_REFRESH] = 1;
    c[DISABLE_ADVANCE] = c[OUTPUT_RECON] = c[BLOCK_STATS] = c[ROW_STATS] = !tu117;
    switch (codec) {
    case STANDIN_H264:
        c[MAX_BFRAMES] = 4;
        c[BDIRECT] = c[CABAC] = c[ADAPTIVE_TRANSFORM] = c[HIERARCHICAL_B] = 1;
        c[LEVEL_MIN] = 10;
        c[LEVEL_MAX] = 62;
        c[WIDTH_MAX] = c[HEIGHT_MAX] = 4096;
        c[WIDTH_MIN] = 145;
        c[HEIGHT_MIN] = 49;
        c[SUBFRAME_READBACK] = c[DYNAMIC_SLICE] = c[EMPHASIS] = c[MEONLY] = 1;
        c[MB_NUM_MAX] = 65536;
        c[MB_PER_SEC] = 983040;
        c[YUV444] = c[LOSSLESS] = c[WEIGHTED] = 1;
        c[TEN_BIT] = c[YUV422] = blackwell;
        c[MAX_LTR] = 8;
        c[BFRAME_REF] = tu117 ? 0 : 2;
        break;
    case STANDIN_HEVC:
        c[MAX_BFRAMES] = tu117 ? 0 : 5;
        c[LEVEL_MIN] = 30;
        c[LEVEL_MAX] = 186;
        c[WIDTH_MAX] = c[HEIGHT_MAX] = 8192;
        c[WIDTH_MIN] = 129;
        c[HEIGHT_MIN] = 33;
        c[SUBFRAME_READBACK] = c[DYNAMIC_SLICE] = c[MEONLY] = c[SAO] = 1;
        c[MB_NUM_MAX] = 262144;
        c[MB_PER_SEC] = 983040;
        c[YUV444] = c[LOSSLESS] = c[WEIGHTED] = c[TEN_BIT] = 1;
        c[YUV422] = blackwell;
        c[MAX_LTR] = 7;
        c[BFRAME_REF] = tu117 ? 0 : 2;
        c[ALPHA] = c[TEMPORAL_FILTER] = c[UNIDIRECTIONAL_B] = c[LOOKAHEAD_LEVEL] = c[MVHEVC] = !tu117;
        break;
    case STANDIN_AV1:
        c[MAX_BFRAMES] = 7;
        c[HIERARCHICAL_B] = 1;
        c[LEVEL_MIN] = 0;
        c[LEVEL_MAX] = 19;
        c[WIDTH_MAX] = c[HEIGHT_MAX] = 8192;
        c[WIDTH_MIN] = 192;
        c[HEIGHT_MIN] = 128;
        c[MB_NUM_MAX] = 262144;
        c[MB_PER_SEC] = 983040;
        c[TEN_BIT] = 1;
        c[MAX_LTR] = 0;
        c[BFRAME_REF] = 2;
        c[LOOKAHEAD_LEVEL] = 1;
        c[TEMPORAL_FILTER] = blackwell;
        break;
    default: break;
    }
    return e;
}

standin_arch arch(Chip chip) {
    switch (chip) {
    case Chip::Ampere: return STANDIN_AMPERE;
    case Chip::Ada: return STANDIN_ADA;
    case Chip::Hopper: return STANDIN_HOPPER;
    case Chip::Blackwell: return STANDIN_BLACKWELL;
    default: return STANDIN_TURING;
    }
}

struct Machine {
    struct standin_driver driver = {};
    struct standin_device device[2] = {};

    Machine() {
        const char *wanted = standin_knob("PROFILE");
        if (!wanted || !*wanted) wanted = "rtx4090";
        const Profile *profile = nullptr;
        for (auto &p : PROFILES)
            if (!strcmp(p.name, wanted)) profile = &p;
        if (!profile) {
            fprintf(stderr, "standin: GS_STANDIN_PROFILE=%s is unknown; there are:", wanted);
            for (auto &p : PROFILES) fprintf(stderr, " %s", p.name);
            fprintf(stderr, "\n");
            abort();
        }
        driver.profile = profile->name;
        driver.version = profile->driver;
        driver.api_major = profile->api_major;
        driver.api_minor = profile->api_minor;
        if (const char *api = standin_knob("API")) {
            if (sscanf(api, "%d.%d", &driver.api_major, &driver.api_minor) != 2) {
                fprintf(stderr, "standin: GS_STANDIN_API=%s is not MAJOR.MINOR\n", api);
                abort();
            }
            for (auto &a : APIS)
                if (a.major == driver.api_major && a.minor == driver.api_minor) driver.version = a.driver;
        }
        if (const char *version = standin_knob("DRIVER")) driver.version = strdup(version);
        driver.cuda = cuda_of(driver.version);
        driver.session_limit = int(standin_knob_int("SESSIONS", profile->session_limit));
        driver.session_code = int(standin_knob_int("SESSION_CODE", profile->session_code));
        for (const Card *card : profile->cards) {
            if (!card) break;
            struct standin_device &d = device[driver.devices];
            d.ordinal = driver.devices++;
            d.name = card->name;
            d.arch = arch(card->chip);
            d.compute_major = card->cc_major;
            d.compute_minor = card->cc_minor;
            d.memory = uint64_t(standin_knob_int("MEMORY", int64_t(card->mebibytes) << 20));
            d.multiprocessors = card->multiprocessors;
            d.encoders = card->encoders;
            d.decoders = card->decoders;
            d.geforce = card->geforce;
            // Of the name and the place: the same in every process.
            uint64_t hash = 1469598103934665603ull;
            for (const char *c = card->name; *c; c++) hash = (hash ^ uint8_t(*c)) * 1099511628211ull;
            for (int i = 0; i < 16; i++) {
                hash = (hash ^ uint64_t(i + 16 * d.ordinal)) * 1099511628211ull;
                d.uuid[i] = uint8_t(hash >> 32);
            }
            d.pci_bus = 1 + d.ordinal * 0x40;
            for (int codec = 0; codec < STANDIN_CODECS; codec++) d.encoder[codec] = encoder(*card, standin_codec(codec));
        }
    }
};

const Machine &machine() {
    static const Machine *one = new Machine;
    return *one;
}

} // namespace

API const struct standin_driver *standin_driver(void) { return &machine().driver; }

API const struct standin_device *standin_device(int ordinal) {
    return ordinal >= 0 && ordinal < machine().driver.devices ? &machine().device[ordinal] : nullptr;
}
