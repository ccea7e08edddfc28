// The API's structures without a version: what the session works on. Each published header has its own translation unit
// (layout_*.cpp) that reads and writes the client's structures in that header's layout. Values of enumerations are the
// same in all versions, so they pass as integers.
#pragma once
#include "picture.h"
#include <cstring>

namespace standin {

struct Guid {
    uint8_t bytes[16] = {};
    bool operator==(const Guid &other) const { return memcmp(bytes, other.bytes, sizeof bytes) == 0; }
    bool operator!=(const Guid &other) const { return !(*this == other); }
};

enum class Codec { H264, Hevc, Av1, None };

struct Rates {
    unsigned mode = 0; // 0 constant QP, 1 VBR, 2 CBR
    int qp[3] = {};    // P, B, I
    uint32_t average = 0, maximum = 0, buffer = 0, initial_delay = 0;
    bool min_qp_set = false, max_qp_set = false, initial_qp_set = false;
    int min_qp[3] = {}, max_qp[3] = {}, initial_qp[3] = {};
    bool spatial_aq = false, temporal_aq = false, lookahead = false, no_adaptive_i = false, no_adaptive_b = false;
    bool zero_reorder = false, nonref_p = false, strict_gop = false, external_lookahead = false;
    unsigned aq_strength = 0, target_quality = 0, target_quality_lsb = 0, lookahead_depth = 0, lookahead_level = 0;
    unsigned qp_map_mode = 0, multipass = 0, low_delay_key_scale = 0;
};

struct Config {
    Guid profile;
    uint32_t gop = 0;
    int32_t interval = 1; // frameIntervalP
    bool monochrome = false;
    unsigned field_mode = 1, mv_precision = 0;
    Rates rates;
    // Of the codec's own part:
    unsigned level = 0, tier = 0;
    uint32_t idr_period = 0;
    bool delimiter = false, no_headers = false, repeat_headers = false, buffering_period = false, picture_timing = false;
    bool recovery_point = false, intra_refresh = false, single_slice_refresh = false, lossless = false, filler = false;
    uint32_t refresh_period = 0, refresh_count = 0;
    unsigned references = 0, references_l0 = 0, references_l1 = 0, bframe_reference = 0;
    unsigned slice_mode = 0, slice_data = 0;
    unsigned chroma = 1, depth = 8, input_depth = 8;
    bool depth_given = false; // the version has words for the depths of H.264
    bool long_term = false, temporal_svc = false, alpha = false, mvhevc = false;
    unsigned long_term_frames = 0, temporal_filter = 0;
    bool mastering = false, light = false;
    unsigned sps_id = 0, pps_id = 0, vps_id = 0;
    unsigned entropy = 0, adaptive_transform = 0, bdirect = 0, min_block = 0, max_block = 0;
    bool variable_rate = false;
    Vui vui;
    bool timing_given = false;
    bool annexb = false; // AV1
    unsigned tile_columns = 0, tile_rows = 0;
};

struct Init {
    Guid codec, preset;
    uint32_t width = 0, height = 0, dar_width = 0, dar_height = 0, fps_num = 0, fps_den = 0;
    bool async = false, decide_types = false, report_slices = false, subframe = false, me_hints = false, me_only = false;
    bool weighted = false, in_video_memory = false, recon = false, stats = false, unidirectional_b = false;
    unsigned split = 0;
    uint32_t max_width = 0, max_height = 0, tuning = 0, state_buffers = 0, stats_level = 0;
    bool has_config = false;
    Config config;
    bool private_data = false;
};

struct Reconfigure {
    Init init;
    bool reset = false, force_idr = false;
};

struct Pic {
    uint32_t width = 0, height = 0, pitch = 0, flags = 0, index = 0;
    uint64_t timestamp = 0, duration = 0;
    void *input = nullptr, *output = nullptr, *event = nullptr, *alpha = nullptr;
    uint32_t format = 0, structure = 0, type = 0;
    uint32_t refresh_frames = 0;
    bool slice_update = false;
    uint32_t slice_mode = 0, slice_data = 0;
    bool mark_long_term = false, use_long_term = false;
    uint32_t long_term_index = 0, long_term_bitmap = 0;
    int display_poc = 0;
    bool reference = true;
    std::vector<Sei> sei;
    Mastering mastering;
    LightLevel light;
    const int8_t *qp_map = nullptr;
    uint32_t qp_map_size = 0;
};

struct Locked {
    bool no_wait = false, rc_stats = false;                          // in
    void *output = nullptr;                                          // in
    uint32_t *slice_offsets = nullptr;                               // in
    uint32_t frame_index = 0, display_index = 0, slices = 0, size = 0, type = 0, average_qp = 0, intra = 0, inter = 0;
    uint32_t long_term_index = 0, long_term_bitmap = 0;
    bool long_term = false;
    uint64_t timestamp = 0, duration = 0;
    void *data = nullptr;
    std::vector<uint32_t> offsets;
};

struct Resource {
    uint32_t kind = 0, width = 0, height = 0, pitch = 0, format = 0, usage = 0;
    uint32_t chroma_offset[2] = {};
    void *resource = nullptr;
};

struct InputBuffer {
    uint32_t width = 0, height = 0, format = 0;
    bool system_memory = false;
};

struct SequenceRequest {
    uint32_t size = 0, sps_id = 0, pps_id = 0;
    void *buffer = nullptr;
    uint32_t *written = nullptr;
};

// The structures that carry a version word.
enum class Struct {
    FunctionList, OpenSession, Caps, PresetConfig, Config, Initialize, Reconfigure, CreateInput, CreateBitstream, Pic, LockBitstream,
    LockInput, MapInput, Register, Sequence, Stat, Event, MvBuffer, MeOnly, Restore, Lookahead, OutStats,
};

// What a layout found wrong while reading: a word of a structure inside another, or reserved room that is not zero.
struct Reading {
    explicit Reading(uint32_t spoken) : api(spoken) {}
    uint32_t api; // as NVENCAPI_VERSION, of the session
    const char *bad_version = nullptr;
    uint32_t found = 0, wanted = 0;
    const char *reserved = nullptr;
};

// One published header.
struct Layout {
    int major, minor;
    uint32_t (*version)(Struct which); // the word as NVENCAPI_STRUCT_VERSION makes it, of this header's own version
    void (*init)(const void *from, Codec codec, Init &to, Reading &reading);
    void (*reconfigure)(const void *from, Codec codec, Reconfigure &to, Reading &reading);
    Guid (*init_codec)(const void *init); // before the rest can be read
    const void *(*reconfigure_init)(const void *reconfigure);
    void (*preset)(void *to, Codec codec, const Config &from, Reading &reading);
    void (*pic)(const void *from, Codec codec, Pic &to, Reading &reading);
    void (*lock_in)(const void *from, Locked &to, Reading &reading);
    void (*lock_out)(void *to, const Locked &from);
    void (*resource)(const void *from, Resource &to, Reading &reading);
    void (*resource_out)(void *to, void *handle);
    void (*input)(const void *from, InputBuffer &to, Reading &reading);
    void (*input_out)(void *to, void *handle);
    void (*bitstream_out)(void *to, void *handle);
    void *(*map_in)(const void *from);
    void (*map_out)(void *to, void *handle, uint32_t format);
    void *(*lock_input_in)(const void *from, bool &no_wait);
    void (*lock_input_out)(void *to, void *data, uint32_t pitch);
    void (*sequence)(const void *from, SequenceRequest &to);
    uint32_t (*caps_query)(const void *from);
    uint32_t newest_cap; // the first cap that this version does not have
    Guid (*legacy_preset)(unsigned index);
};

extern const Layout *const layout_11_1; // null where that header is not there
extern const Layout *const layout_12_1;
extern const Layout *const layout_13_0;

} // namespace standin
