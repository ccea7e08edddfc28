#include "offer.h"
#include "13.0/nvEncodeAPI.h"
#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace standin {
namespace {

Guid of(const GUID &guid) {
    Guid to;
    memcpy(to.bytes, &guid, sizeof to.bytes);
    return to;
}
const Guid kH264 = of(NV_ENC_CODEC_H264_GUID), kHevc = of(NV_ENC_CODEC_HEVC_GUID), kAv1 = of(NV_ENC_CODEC_AV1_GUID), kNone;
const Guid kPresets[] = {of(NV_ENC_PRESET_P1_GUID), of(NV_ENC_PRESET_P2_GUID), of(NV_ENC_PRESET_P3_GUID), of(NV_ENC_PRESET_P4_GUID),
                         of(NV_ENC_PRESET_P5_GUID), of(NV_ENC_PRESET_P6_GUID), of(NV_ENC_PRESET_P7_GUID)};

__attribute__((format(printf, 2, 3))) Refusal refuse(uint32_t status, const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return {status, text};
}

} // namespace

Codec codec_of(const Guid &guid) {
    return guid == kH264 ? Codec::H264 : guid == kHevc ? Codec::Hevc : guid == kAv1 ? Codec::Av1 : Codec::None;
}
const Guid &guid_of(Codec codec) {
    return codec == Codec::H264 ? kH264 : codec == Codec::Hevc ? kHevc : codec == Codec::Av1 ? kAv1 : kNone;
}

const standin_encoder *encoder_of(const Device &device, Codec codec, const Api &api) {
    if (codec == Codec::None || (codec == Codec::Av1 && !api.at_least(12, 0))) return nullptr;
    const standin_encoder &encoder = device.encoder[static_cast<int>(codec)];
    return encoder.supported ? &encoder : nullptr;
}
int cap(const standin_encoder &encoder, unsigned which) { return which < STANDIN_CAPS ? encoder.caps[which] : 0; }

std::vector<Guid> codecs(const Device &device, const Api &api) {
    std::vector<Guid> all;
    for (const Codec codec : {Codec::H264, Codec::Hevc, Codec::Av1})
        if (encoder_of(device, codec, api)) all.push_back(guid_of(codec));
    return all;
}

std::vector<Guid> profiles(const standin_encoder &encoder, Codec codec, const Api &api) {
    std::vector<Guid> all;
    switch (codec) {
    case Codec::H264:
        for (const GUID &guid : {NV_ENC_H264_PROFILE_BASELINE_GUID, NV_ENC_H264_PROFILE_MAIN_GUID, NV_ENC_H264_PROFILE_HIGH_GUID,
                                 NV_ENC_H264_PROFILE_PROGRESSIVE_HIGH_GUID, NV_ENC_H264_PROFILE_CONSTRAINED_HIGH_GUID})
            all.push_back(of(guid));
        if (cap(encoder, NV_ENC_CAPS_SUPPORT_YUV444_ENCODE)) all.push_back(of(NV_ENC_H264_PROFILE_HIGH_444_GUID));
        if (api.at_least(13, 0) && cap(encoder, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE)) all.push_back(of(NV_ENC_H264_PROFILE_HIGH_10_GUID));
        if (api.at_least(13, 0) && cap(encoder, NV_ENC_CAPS_SUPPORT_YUV422_ENCODE)) all.push_back(of(NV_ENC_H264_PROFILE_HIGH_422_GUID));
        break;
    case Codec::Hevc:
        all.push_back(of(NV_ENC_HEVC_PROFILE_MAIN_GUID));
        if (cap(encoder, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE)) all.push_back(of(NV_ENC_HEVC_PROFILE_MAIN10_GUID));
        if (cap(encoder, NV_ENC_CAPS_SUPPORT_YUV444_ENCODE)) all.push_back(of(NV_ENC_HEVC_PROFILE_FREXT_GUID));
        break;
    case Codec::Av1: all.push_back(of(NV_ENC_AV1_PROFILE_MAIN_GUID)); break;
    default: break;
    }
    return all;
}

std::vector<uint32_t> formats(const standin_encoder &encoder, const Api &api) {
    std::vector<uint32_t> all = {NV_ENC_BUFFER_FORMAT_NV12, NV_ENC_BUFFER_FORMAT_YV12, NV_ENC_BUFFER_FORMAT_IYUV,
                                 NV_ENC_BUFFER_FORMAT_ARGB, NV_ENC_BUFFER_FORMAT_ABGR};
    const bool deep = cap(encoder, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE), full = cap(encoder, NV_ENC_CAPS_SUPPORT_YUV444_ENCODE);
    if (full) all.insert(all.end(), {NV_ENC_BUFFER_FORMAT_YUV444, NV_ENC_BUFFER_FORMAT_AYUV});
    if (deep) all.insert(all.end(), {NV_ENC_BUFFER_FORMAT_YUV420_10BIT, NV_ENC_BUFFER_FORMAT_ARGB10, NV_ENC_BUFFER_FORMAT_ABGR10});
    if (deep && full) all.push_back(NV_ENC_BUFFER_FORMAT_YUV444_10BIT);
    if (api.at_least(13, 0) && cap(encoder, NV_ENC_CAPS_SUPPORT_YUV422_ENCODE))
        all.insert(all.end(), {NV_ENC_BUFFER_FORMAT_NV16, NV_ENC_BUFFER_FORMAT_P210});
    return all;
}

std::vector<Guid> presets(const Layout &layout) {
    std::vector<Guid> all(std::begin(kPresets), std::end(kPresets));
    const Driver *driver = standin_driver();
    const bool old_driver = driver->api_major < 12 || (driver->api_major == 12 && driver->api_minor < 2);
    for (unsigned i = 0; old_driver && layout.legacy_preset(i) != kNone; ++i) all.push_back(layout.legacy_preset(i));
    return all;
}

bool is_legacy(const Layout &layout, const Guid &preset, unsigned &tuning) {
    for (unsigned i = 0; layout.legacy_preset(i) != kNone; ++i) {
        if (layout.legacy_preset(i) != preset) continue;
        tuning = i < 4 ? NV_ENC_TUNING_INFO_HIGH_QUALITY : i < 7 ? NV_ENC_TUNING_INFO_LOW_LATENCY : NV_ENC_TUNING_INFO_LOSSLESS;
        return true;
    }
    return false;
}

Config preset_config(const standin_encoder &encoder, Codec codec, const Guid &preset, unsigned tuning) {
    unsigned speed = 4;
    for (unsigned i = 0; i < 7; ++i)
        if (kPresets[i] == preset) speed = i + 1;
    const bool quality = tuning == NV_ENC_TUNING_INFO_HIGH_QUALITY || tuning == NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY;
    const bool lossless = tuning == NV_ENC_TUNING_INFO_LOSSLESS;
    const bool low = tuning == NV_ENC_TUNING_INFO_LOW_LATENCY || tuning == NV_ENC_TUNING_INFO_ULTRA_LOW_LATENCY;
    Config config;
    config.profile = of(NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID);
    config.gop = low ? NVENC_INFINITE_GOPLENGTH : 250;
    config.idr_period = config.gop;
    // The header says from which preset on there are B frames.
    const bool has_b = (quality || lossless) && speed >= (codec == Codec::H264 ? 3u : 2u);
    config.interval = has_b ? 1 + std::min(2, cap(encoder, NV_ENC_CAPS_NUM_MAX_BFRAMES)) : 1;
    Rates &rates = config.rates;
    rates.mode = lossless ? NV_ENC_PARAMS_RC_CONSTQP : low ? NV_ENC_PARAMS_RC_CBR : NV_ENC_PARAMS_RC_VBR;
    const int qp[3] = {28, 31, 25};
    for (int i = 0; i < 3; ++i) rates.qp[i] = lossless ? 0 : qp[i];
    rates.average = 5000000;
    rates.maximum = 7500000;
    rates.multipass = speed >= 6 && !low && !lossless ? NV_ENC_TWO_PASS_QUARTER_RESOLUTION : NV_ENC_MULTI_PASS_DISABLED;
    rates.low_delay_key_scale = tuning == NV_ENC_TUNING_INFO_LOW_LATENCY ? 2 : tuning == NV_ENC_TUNING_INFO_ULTRA_LOW_LATENCY ? 1 : 0;
    if (tuning == NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY && cap(encoder, NV_ENC_CAPS_SUPPORT_LOOKAHEAD)) {
        rates.lookahead = true;
        rates.lookahead_depth = 16;
    }
    // As NVIDIA describes the tuning: the temporal filter and its five B frames, where there are as many.
    if (tuning == NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY && cap(encoder, NV_ENC_CAPS_SUPPORT_TEMPORAL_FILTER) &&
        cap(encoder, NV_ENC_CAPS_NUM_MAX_BFRAMES) >= 5) {
        config.interval = 6;
        config.temporal_filter = NV_ENC_TEMPORAL_FILTER_LEVEL_4;
    }
    config.lossless = lossless && codec == Codec::H264;
    config.chroma = 1;
    return config;
}

// What a level allows: samples of a picture and of a second (H.264's are macroblocks of 256). 0: the level does not exist.
struct Limits {
    unsigned level;
    uint64_t picture, second;
};
const Limits *limits(Codec codec, unsigned level) {
    static const Limits h264[] = {
        {9, 99, 1485}, {10, 99, 1485}, {11, 396, 3000}, {12, 396, 6000}, {13, 396, 11880}, {20, 396, 11880}, {21, 792, 19800},
        {22, 1620, 20250}, {30, 1620, 40500}, {31, 3600, 108000}, {32, 5120, 216000}, {40, 8192, 245760}, {41, 8192, 245760},
        {42, 8704, 522240}, {50, 22080, 589824}, {51, 36864, 983040}, {52, 36864, 2073600}, {60, 139264, 4177920},
        {61, 139264, 8355840}, {62, 139264, 16711680}};
    static const Limits hevc[] = {
        {30, 36864, 552960}, {60, 122880, 3686400}, {63, 245760, 7372800}, {90, 552960, 16588800}, {93, 983040, 33177600},
        {120, 2228224, 66846720}, {123, 2228224, 133693440}, {150, 8912896, 267386880}, {153, 8912896, 534773760},
        {156, 8912896, 1069547520}, {180, 35651584, 1069547520}, {183, 35651584, 2139095040}, {186, 35651584, 4278190080}};
    static const Limits av1[] = {
        {0, 147456, 4423680}, {1, 278784, 8363520}, {4, 665856, 19975680}, {5, 1065024, 31950720}, {8, 2359296, 70778880},
        {9, 2359296, 141557760}, {12, 8912896, 267386880}, {13, 8912896, 534773760}, {14, 8912896, 1069547520},
        {15, 8912896, 1069547520}, {16, 35651584, 1069547520}, {17, 35651584, 2139095040}, {18, 35651584, 4278190080},
        {19, 35651584, 4278190080}};
    const auto find = [&](const auto &table) -> const Limits * {
        for (const Limits &row : table)
            if (row.level == level) return &row;
        return nullptr;
    };
    return codec == Codec::H264 ? find(h264) : codec == Codec::Hevc ? find(hevc) : find(av1);
}

unsigned format_depth(uint32_t format) {
    switch (format) {
    case NV_ENC_BUFFER_FORMAT_YUV420_10BIT:
    case NV_ENC_BUFFER_FORMAT_YUV444_10BIT:
    case NV_ENC_BUFFER_FORMAT_P210:
    case NV_ENC_BUFFER_FORMAT_ARGB10:
    case NV_ENC_BUFFER_FORMAT_ABGR10: return 10;
    default: return 8;
    }
}
unsigned format_chroma(uint32_t format) {
    switch (format) {
    case NV_ENC_BUFFER_FORMAT_NV12:
    case NV_ENC_BUFFER_FORMAT_YV12:
    case NV_ENC_BUFFER_FORMAT_IYUV:
    case NV_ENC_BUFFER_FORMAT_YUV420_10BIT: return 1;
    case NV_ENC_BUFFER_FORMAT_NV16:
    case NV_ENC_BUFFER_FORMAT_P210: return 2;
    case NV_ENC_BUFFER_FORMAT_YUV444:
    case NV_ENC_BUFFER_FORMAT_YUV444_10BIT:
    case NV_ENC_BUFFER_FORMAT_AYUV: return 3;
    default: return 0;
    }
}

unsigned profile_idc(Codec codec, const Guid &profile) {
    static const struct {
        Codec codec;
        GUID guid;
        unsigned idc;
    } table[] = {{Codec::H264, NV_ENC_H264_PROFILE_BASELINE_GUID, 66},
                 {Codec::H264, NV_ENC_H264_PROFILE_MAIN_GUID, 77},
                 {Codec::H264, NV_ENC_H264_PROFILE_HIGH_GUID, 100},
                 {Codec::H264, NV_ENC_H264_PROFILE_PROGRESSIVE_HIGH_GUID, 100},
                 {Codec::H264, NV_ENC_H264_PROFILE_CONSTRAINED_HIGH_GUID, 100},
                 {Codec::H264, NV_ENC_H264_PROFILE_HIGH_10_GUID, 110},
                 {Codec::H264, NV_ENC_H264_PROFILE_HIGH_422_GUID, 122},
                 {Codec::H264, NV_ENC_H264_PROFILE_HIGH_444_GUID, 244},
                 {Codec::Hevc, NV_ENC_HEVC_PROFILE_MAIN_GUID, 1},
                 {Codec::Hevc, NV_ENC_HEVC_PROFILE_MAIN10_GUID, 2},
                 {Codec::Hevc, NV_ENC_HEVC_PROFILE_FREXT_GUID, 4}};
    for (const auto &row : table)
        if (row.codec == codec && of(row.guid) == profile) return row.idc;
    return 0;
}

Refusal check(const Device &device, const Api &api, Codec codec, const Init &init, const Config &config) {
    const standin_encoder *offered = encoder_of(device, codec, api);
    if (!offered) return refuse(NV_ENC_ERR_INVALID_PARAM, "the codec is not supported by %s", device.name);
    const standin_encoder &e = *offered;
    const uint32_t bad = NV_ENC_ERR_INVALID_PARAM, unsupported = NV_ENC_ERR_UNSUPPORTED_PARAM;
    const auto has = [&](unsigned which) { return cap(e, which) != 0; };

    if (init.width == 0 || init.height == 0) return refuse(bad, "the size is zero");
    if (init.width < static_cast<uint32_t>(cap(e, NV_ENC_CAPS_WIDTH_MIN)) || init.height < static_cast<uint32_t>(cap(e, NV_ENC_CAPS_HEIGHT_MIN)))
        return refuse(bad, "Frame Dimension less than the minimum supported value.");
    if (init.width > static_cast<uint32_t>(cap(e, NV_ENC_CAPS_WIDTH_MAX)) || init.height > static_cast<uint32_t>(cap(e, NV_ENC_CAPS_HEIGHT_MAX)))
        return refuse(bad, "Frame Dimension exceeds the maximum supported value.");
    if ((init.max_width && init.max_width < init.width) || (init.max_height && init.max_height < init.height))
        return refuse(bad, "maxEncodeWidth/Height is less than the size");
    if (init.max_width > static_cast<uint32_t>(cap(e, NV_ENC_CAPS_WIDTH_MAX)) || init.max_height > static_cast<uint32_t>(cap(e, NV_ENC_CAPS_HEIGHT_MAX)))
        return refuse(bad, "maxEncodeWidth/Height exceeds the maximum supported value");
    if (init.fps_num == 0 || init.fps_den == 0) return refuse(bad, "the frame rate is zero");
    if (init.async) return refuse(unsupported, "asynchronous mode is Windows only");
    if (init.me_only || init.me_hints) return refuse(unsupported, "motion estimation modes are not offered by the stand-in");
    if (init.in_video_memory || init.recon) return refuse(unsupported, "output in video memory is not offered by the stand-in");
    if (init.subframe) return refuse(unsupported, "subframe write is not offered by the stand-in");
    if (init.private_data) return refuse(bad, "privData must be null");
    if (init.stats || init.state_buffers) return refuse(unsupported, "output stats and state buffers are not offered by the stand-in");
    if (init.tuning >= NV_ENC_TUNING_INFO_COUNT) return refuse(bad, "tuningInfo %u", init.tuning);
    if (init.tuning == NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY && (codec == Codec::H264 || !api.at_least(12, 2)))
        return refuse(unsupported, "the UHQ tuning is for HEVC and AV1 from 12.2 on");
    if (init.tuning == NV_ENC_TUNING_INFO_LOSSLESS && !has(NV_ENC_CAPS_SUPPORT_LOSSLESS_ENCODE))
        return refuse(unsupported, "lossless encoding is not supported");
    if (init.split > NV_ENC_SPLIT_FOUR_FORCED_MODE && init.split != NV_ENC_SPLIT_DISABLE_MODE) return refuse(bad, "splitEncodeMode %u", init.split);
    if (init.split == NV_ENC_SPLIT_FOUR_FORCED_MODE && !api.at_least(13, 0)) return refuse(bad, "splitEncodeMode 4 is of API 13.0");
    if (codec == Codec::H264 && init.split >= 1 && init.split <= 4) return refuse(bad, "split encoding is not for H.264");
    if (init.split >= 1 && init.split <= 4 && init.weighted) return refuse(bad, "split encoding with weighted prediction");

    const int b = config.interval - 1;
    if (config.interval < 0) return refuse(bad, "frameIntervalP is negative");
    if (b > cap(e, NV_ENC_CAPS_NUM_MAX_BFRAMES)) return refuse(bad, "%d B frames, the device has %d", b, cap(e, NV_ENC_CAPS_NUM_MAX_BFRAMES));
    if (config.gop == 0) return refuse(bad, "gopLength is zero");
    if (config.idr_period != 0 && config.idr_period < config.gop) return refuse(bad, "idrPeriod is less than gopLength");
    if (b > 0 && config.gop != NVENC_INFINITE_GOPLENGTH && config.gop <= static_cast<uint32_t>(b) && config.gop > 1)
        return refuse(bad, "gopLength is not above the number of B frames");
    if (config.field_mode != NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME && !has(NV_ENC_CAPS_SUPPORT_FIELD_ENCODING))
        return refuse(unsupported, "field encoding is not supported");
    if (config.field_mode != NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME) return refuse(unsupported, "field encoding is not offered by the stand-in");
    if (config.monochrome) return refuse(unsupported, "monochrome is not offered by the stand-in");
    if (init.weighted && !has(NV_ENC_CAPS_SUPPORT_WEIGHTED_PREDICTION)) return refuse(unsupported, "weighted prediction is not supported");
    if (init.weighted && b > 0) return refuse(bad, "weighted prediction with B frames");

    const unsigned automatic_level = codec == Codec::Av1 ? unsigned{NV_ENC_LEVEL_AV1_AUTOSELECT} : unsigned{NV_ENC_LEVEL_AUTOSELECT};
    // The header of 11.1 knows no AV1, whose level 0 is 2.0; a client that says nothing of it says 0.
    if (config.level != automatic_level && (codec != Codec::Av1 || config.level != 0)) {
        const Limits *level = limits(codec, config.level);
        const bool offered = config.level >= static_cast<unsigned>(cap(e, NV_ENC_CAPS_LEVEL_MIN)) &&
                             config.level <= static_cast<unsigned>(cap(e, NV_ENC_CAPS_LEVEL_MAX));
        if (!level || (!offered && config.level != 9)) return refuse(bad, "Invalid Level.");
        const uint64_t width = init.width, height = init.height;
        const uint64_t samples = codec == Codec::H264 ? ((width + 15) / 16) * ((height + 15) / 16) : width * height;
        if (samples > level->picture || samples * init.fps_num > level->second * init.fps_den) return refuse(bad, "Invalid Level.");
    }

    const Rates &rates = config.rates;
    if (rates.mode > 2) return refuse(unsupported, "rateControlMode %u", rates.mode);
    if (rates.mode != 0 && !(cap(e, NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES) & static_cast<int>(rates.mode)))
        return refuse(unsupported, "rateControlMode %u is not supported", rates.mode);
    const int top = codec == Codec::Av1 ? 255 : 51;
    if (rates.mode == 0)
        for (const int qp : rates.qp)
            if (qp > top || qp < -6 * 2) return refuse(bad, "constQP %d", qp);
    if (rates.min_qp_set && rates.max_qp_set)
        for (int i = 0; i < 3; ++i)
            if (rates.min_qp[i] > rates.max_qp[i]) return refuse(bad, "minQP %d above maxQP %d", rates.min_qp[i], rates.max_qp[i]);
    if (rates.target_quality > (codec == Codec::Av1 ? 63u : 51u)) return refuse(bad, "targetQuality %u", rates.target_quality);
    if (rates.mode == 1 && rates.maximum && rates.average > rates.maximum)
        return refuse(bad, "averageBitRate %u above maxBitRate %u", rates.average, rates.maximum);
    if ((rates.buffer || rates.initial_delay) && !has(NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE)) return refuse(unsupported, "a custom VBV buffer");
    if (rates.lookahead && !has(NV_ENC_CAPS_SUPPORT_LOOKAHEAD)) return refuse(unsupported, "lookahead is not supported");
    if (rates.lookahead && rates.lookahead_depth + static_cast<unsigned>(std::max(b, 0)) > 31)
        return refuse(bad, "lookaheadDepth %u with %d B frames", rates.lookahead_depth, b);
    if (rates.lookahead_level && rates.lookahead_level != NV_ENC_LOOKAHEAD_LEVEL_AUTOSELECT && !has(NV_ENC_CAPS_SUPPORT_LOOKAHEAD_LEVEL))
        return refuse(unsupported, "lookahead levels are not supported");
    if (rates.external_lookahead) return refuse(unsupported, "external lookahead is not offered by the stand-in");
    if (rates.temporal_aq && !has(NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ)) return refuse(unsupported, "temporal AQ is not supported");
    if (rates.zero_reorder && b > 0) return refuse(bad, "zeroReorderDelay with B frames");
    if (rates.multipass > 2) return refuse(bad, "multiPass %u", rates.multipass);
    if (rates.qp_map_mode == NV_ENC_QP_MAP_EMPHASIS && !has(NV_ENC_CAPS_SUPPORT_EMPHASIS_LEVEL_MAP)) return refuse(unsupported, "emphasis maps");
    if (rates.qp_map_mode == NV_ENC_QP_MAP_EMPHASIS && (rates.spatial_aq || rates.temporal_aq)) return refuse(bad, "an emphasis map with AQ");

    const int reference_cap = cap(e, NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE);
    if ((config.bframe_reference == NV_ENC_BFRAME_REF_MODE_EACH && !(reference_cap & 1)) ||
        (config.bframe_reference == NV_ENC_BFRAME_REF_MODE_MIDDLE && !(reference_cap & 2)) || config.bframe_reference > 2)
        return refuse(unsupported, "useBFramesAsRef %u, the device has %d", config.bframe_reference, reference_cap);
    if ((config.references_l0 > 1 || config.references_l1 > 1) && !has(NV_ENC_CAPS_SUPPORT_MULTIPLE_REF_FRAMES))
        return refuse(unsupported, "several reference frames are not supported");
    if (config.chroma < 1 || config.chroma > 3) return refuse(bad, "chromaFormatIDC %u", config.chroma);
    if (config.chroma == 3 && !has(NV_ENC_CAPS_SUPPORT_YUV444_ENCODE)) return refuse(unsupported, "4:4:4 is not supported");
    if (config.chroma == 2 && (!has(NV_ENC_CAPS_SUPPORT_YUV422_ENCODE) || !api.at_least(13, 0))) return refuse(unsupported, "4:2:2 is not supported");
    if (config.depth_given && ((config.depth != 8 && config.depth != 10) || (config.input_depth != 8 && config.input_depth != 10)) &&
        (config.depth || config.input_depth))
        return refuse(bad, "bit depths %u and %u", config.input_depth, config.depth);
    if (config.depth == 10 && !has(NV_ENC_CAPS_SUPPORT_10BIT_ENCODE)) return refuse(unsupported, "10 bit is not supported");
    if (config.lossless && !has(NV_ENC_CAPS_SUPPORT_LOSSLESS_ENCODE)) return refuse(unsupported, "lossless encoding is not supported");
    if (config.lossless && rates.mode != 0) return refuse(bad, "lossless encoding needs constant QP");
    if (config.intra_refresh && !has(NV_ENC_CAPS_SUPPORT_INTRA_REFRESH)) return refuse(unsupported, "intra refresh is not supported");
    if (config.single_slice_refresh && !has(NV_ENC_CAPS_SINGLE_SLICE_INTRA_REFRESH)) return refuse(unsupported, "intra refresh in one slice");
    if (config.intra_refresh && config.refresh_period && config.refresh_count >= config.refresh_period)
        return refuse(bad, "intraRefreshCnt %u is not below intraRefreshPeriod %u", config.refresh_count, config.refresh_period);
    if (config.long_term && b > 0) return refuse(bad, "long-term references with B frames");
    if (config.long_term && config.long_term_frames > static_cast<unsigned>(cap(e, NV_ENC_CAPS_NUM_MAX_LTR_FRAMES)))
        return refuse(unsupported, "%u long-term references", config.long_term_frames);
    if (config.temporal_filter && (!has(NV_ENC_CAPS_SUPPORT_TEMPORAL_FILTER) || config.interval < 5))
        return refuse(unsupported, "the temporal filter needs the cap and frameIntervalP of 5");
    if (config.alpha && !has(NV_ENC_CAPS_SUPPORT_ALPHA_LAYER_ENCODING)) return refuse(unsupported, "alpha is not supported");
    if (config.alpha || config.mvhevc) return refuse(unsupported, "layers are not offered by the stand-in");
    if (config.temporal_svc) return refuse(unsupported, "temporal layers are not offered by the stand-in");
    if (config.entropy == NV_ENC_H264_ENTROPY_CODING_MODE_CABAC && codec == Codec::H264 && !has(NV_ENC_CAPS_SUPPORT_CABAC))
        return refuse(unsupported, "CABAC is not supported");
    if (config.slice_mode > 3) return refuse(bad, "sliceMode %u", config.slice_mode);
    if (config.annexb) return refuse(unsupported, "AV1 in Annex B form is not offered by the stand-in");

    const Guid automatic = of(NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID);
    if (config.profile != automatic && config.profile != kNone) {
        const std::vector<Guid> list = profiles(e, codec, api);
        if (std::find(list.begin(), list.end(), config.profile) == list.end()) return refuse(unsupported, "the profile is not supported");
        if (codec == Codec::Hevc && config.depth == 10 && config.profile == of(NV_ENC_HEVC_PROFILE_MAIN_GUID))
            return refuse(bad, "10 bit with the Main profile");
        if (codec == Codec::H264 && config.chroma == 3 && config.profile != of(NV_ENC_H264_PROFILE_HIGH_444_GUID))
            return refuse(bad, "4:4:4 needs the High 4:4:4 profile");
        if (codec == Codec::Hevc && config.chroma != 1 && config.profile != of(NV_ENC_HEVC_PROFILE_FREXT_GUID))
            return refuse(bad, "4:2:2 and 4:4:4 need the FREXT profile");
        if (codec == Codec::H264 && b > 0 && config.profile == of(NV_ENC_H264_PROFILE_BASELINE_GUID))
            return refuse(bad, "the Baseline profile has no B frames");
    }
    return {};
}

} // namespace standin
