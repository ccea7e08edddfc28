// Included by layout_*.cpp after a published nvEncodeAPI.h: reads and writes the client's structures as that header lays them
// out. Deliberately not a header of its own interface: it is the same text compiled against each published one.
#include "normal.h"

#define GS_API (NVENCAPI_MAJOR_VERSION * 100 + NVENCAPI_MINOR_VERSION)

namespace standin {
namespace {

template <typename T, size_t N> bool zero(const T (&array)[N]) {
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(array);
    for (size_t i = 0; i < sizeof array; ++i)
        if (bytes[i]) return false;
    return true;
}
#define RESERVED(reading, name, array)                                                                                         \
    do {                                                                                                                       \
        if (!zero(array) && !(reading).reserved) (reading).reserved = name;                                                    \
    } while (0)

// A version word of this header, as the API that the session speaks has it (12.2 and 13.1 share the layout of 13.0).
uint32_t spoken(uint32_t word, const Reading &reading) { return (word & 0xf0ff0000u) | reading.api; }

// The word of a structure inside another.
bool inner(uint32_t found, uint32_t word, const char *name, Reading &reading) {
    const uint32_t wanted = spoken(word, reading);
    if (found == wanted || reading.bad_version) return !reading.bad_version;
    reading.bad_version = name;
    reading.found = found;
    reading.wanted = wanted;
    return false;
}

Guid guid(const GUID &from) {
    Guid to;
    static_assert(sizeof to == sizeof from, "a GUID has 16 bytes");
    memcpy(to.bytes, &from, sizeof to);
    return to;
}
GUID guid(const Guid &from) {
    GUID to;
    memcpy(&to, from.bytes, sizeof to);
    return to;
}

uint32_t version(Struct which) {
    switch (which) {
    case Struct::FunctionList: return NV_ENCODE_API_FUNCTION_LIST_VER;
    case Struct::OpenSession: return NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER;
    case Struct::Caps: return NV_ENC_CAPS_PARAM_VER;
    case Struct::PresetConfig: return NV_ENC_PRESET_CONFIG_VER;
    case Struct::Config: return NV_ENC_CONFIG_VER;
    case Struct::Initialize: return NV_ENC_INITIALIZE_PARAMS_VER;
    case Struct::Reconfigure: return NV_ENC_RECONFIGURE_PARAMS_VER;
    case Struct::CreateInput: return NV_ENC_CREATE_INPUT_BUFFER_VER;
    case Struct::CreateBitstream: return NV_ENC_CREATE_BITSTREAM_BUFFER_VER;
    case Struct::Pic: return NV_ENC_PIC_PARAMS_VER;
    case Struct::LockBitstream: return NV_ENC_LOCK_BITSTREAM_VER;
    case Struct::LockInput: return NV_ENC_LOCK_INPUT_BUFFER_VER;
    case Struct::MapInput: return NV_ENC_MAP_INPUT_RESOURCE_VER;
    case Struct::Register: return NV_ENC_REGISTER_RESOURCE_VER;
    case Struct::Sequence: return NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER;
    case Struct::Stat: return NV_ENC_STAT_VER;
    case Struct::Event: return NV_ENC_EVENT_PARAMS_VER;
    case Struct::MvBuffer: return NV_ENC_CREATE_MV_BUFFER_VER;
    case Struct::MeOnly: return NV_ENC_MEONLY_PARAMS_VER;
#if GS_API >= 1201
    case Struct::Restore: return NV_ENC_RESTORE_ENCODER_STATE_PARAMS_VER;
    case Struct::Lookahead: return NV_ENC_LOOKAHEAD_PIC_PARAMS_VER;
    case Struct::OutStats: return NV_ENC_OUTPUT_STATS_BLOCK_VER;
#endif
    default: return 0;
    }
}

void qps(int (&to)[3], const NV_ENC_QP &from) {
    to[0] = static_cast<int>(from.qpInterP);
    to[1] = static_cast<int>(from.qpInterB);
    to[2] = static_cast<int>(from.qpIntra);
}
void qps(NV_ENC_QP &to, const int (&from)[3]) {
    to.qpInterP = static_cast<uint32_t>(from[0]);
    to.qpInterB = static_cast<uint32_t>(from[1]);
    to.qpIntra = static_cast<uint32_t>(from[2]);
}

void rates(const NV_ENC_RC_PARAMS &from, Rates &to) {
    to.mode = from.rateControlMode;
    qps(to.qp, from.constQP);
    to.average = from.averageBitRate;
    to.maximum = from.maxBitRate;
    to.buffer = from.vbvBufferSize;
    to.initial_delay = from.vbvInitialDelay;
    to.min_qp_set = from.enableMinQP;
    to.max_qp_set = from.enableMaxQP;
    to.initial_qp_set = from.enableInitialRCQP;
    qps(to.min_qp, from.minQP);
    qps(to.max_qp, from.maxQP);
    qps(to.initial_qp, from.initialRCQP);
    to.spatial_aq = from.enableAQ;
    to.temporal_aq = from.enableTemporalAQ;
    to.lookahead = from.enableLookahead;
    to.no_adaptive_i = from.disableIadapt;
    to.no_adaptive_b = from.disableBadapt;
    to.zero_reorder = from.zeroReorderDelay;
    to.nonref_p = from.enableNonRefP;
    to.strict_gop = from.strictGOPTarget;
    to.aq_strength = from.aqStrength;
    to.target_quality = from.targetQuality;
    to.target_quality_lsb = from.targetQualityLSB;
    to.lookahead_depth = from.lookaheadDepth;
    to.qp_map_mode = from.qpMapMode;
    to.multipass = from.multiPass;
    to.low_delay_key_scale = from.lowDelayKeyFrameScale;
#if GS_API >= 1201
    to.external_lookahead = from.enableExtLookahead;
#endif
#if GS_API >= 1202
    to.lookahead_level = from.lookaheadLevel;
#endif
}

void vui(const NV_ENC_CONFIG_H264_VUI_PARAMETERS &from, Config &config, Reading &reading) {
    Vui &to = config.vui;
    to.overscan_info = from.overscanInfoPresentFlag;
    to.overscan = from.overscanInfo;
    to.signal_type = from.videoSignalTypePresentFlag;
    to.video_format = from.videoFormat;
    to.full_range = from.videoFullRangeFlag;
    to.colour = from.colourDescriptionPresentFlag;
    to.primaries = from.colourPrimaries;
    to.transfer = from.transferCharacteristics;
    to.matrix = from.colourMatrix;
    to.chroma_location = from.chromaSampleLocationFlag;
    to.chroma_top = from.chromaSampleLocationTop;
    to.chroma_bottom = from.chromaSampleLocationBot;
#if GS_API >= 1201
    config.timing_given = from.timingInfoPresentFlag;
    if (from.timingInfoPresentFlag) {
        to.fps_den = from.numUnitInTicks;
        to.fps_num = from.timeScale;
    }
#endif
    RESERVED(reading, "VUI reserved", from.reserved);
}

void h264(const NV_ENC_CONFIG_H264 &from, Config &to, Reading &reading) {
    to.level = from.level;
    to.idr_period = from.idrPeriod;
    to.delimiter = from.outputAUD;
    to.no_headers = from.disableSPSPPS;
    to.repeat_headers = from.repeatSPSPPS;
    to.buffering_period = from.outputBufferingPeriodSEI;
    to.picture_timing = from.outputPictureTimingSEI;
    to.recovery_point = from.outputRecoveryPointSEI;
    to.intra_refresh = from.enableIntraRefresh;
    to.single_slice_refresh = from.singleSliceIntraRefresh;
    to.refresh_period = from.intraRefreshPeriod;
    to.refresh_count = from.intraRefreshCnt;
    to.lossless = from.qpPrimeYZeroTransformBypassFlag;
#if GS_API >= 1201
    to.filler = from.enableFillerDataInsertion;
#endif
    to.references = from.maxNumRefFrames;
    to.references_l0 = from.numRefL0;
    to.references_l1 = from.numRefL1;
    to.bframe_reference = from.useBFramesAsRef;
    to.slice_mode = from.sliceMode;
    to.slice_data = from.sliceModeData;
    to.chroma = from.chromaFormatIDC;
    to.long_term = from.enableLTR;
    to.long_term_frames = from.ltrNumFrames;
    to.temporal_svc = from.enableTemporalSVC;
    to.sps_id = from.spsId;
    to.pps_id = from.ppsId;
    to.entropy = from.entropyCodingMode;
    to.adaptive_transform = from.adaptiveTransformMode;
    to.bdirect = from.bdirectMode;
    to.variable_rate = from.enableVFR;
#if GS_API >= 1202
    to.depth = from.outputBitDepth;
    to.input_depth = from.inputBitDepth;
    to.depth_given = true;
    to.temporal_filter = from.tfLevel;
#endif
    vui(from.h264VUIParameters, to, reading);
    RESERVED(reading, "NV_ENC_CONFIG_H264 reserved1", from.reserved1);
    RESERVED(reading, "NV_ENC_CONFIG_H264 reserved2", from.reserved2);
}

void hevc(const NV_ENC_CONFIG_HEVC &from, Config &to, Reading &reading) {
    to.level = from.level;
    to.tier = from.tier;
    to.min_block = from.minCUSize;
    to.max_block = from.maxCUSize;
    to.idr_period = from.idrPeriod;
    to.delimiter = from.outputAUD;
    to.no_headers = from.disableSPSPPS;
    to.repeat_headers = from.repeatSPSPPS;
    to.buffering_period = from.outputBufferingPeriodSEI;
    to.picture_timing = from.outputPictureTimingSEI;
    to.intra_refresh = from.enableIntraRefresh;
    to.single_slice_refresh = from.singleSliceIntraRefresh;
    to.refresh_period = from.intraRefreshPeriod;
    to.refresh_count = from.intraRefreshCnt;
    to.references = from.maxNumRefFramesInDPB;
    to.references_l0 = from.numRefL0;
    to.references_l1 = from.numRefL1;
    to.bframe_reference = from.useBFramesAsRef;
    to.slice_mode = from.sliceMode;
    to.slice_data = from.sliceModeData;
    to.chroma = from.chromaFormatIDC;
    to.long_term = from.enableLTR;
    to.long_term_frames = from.ltrNumFrames;
    to.vps_id = from.vpsId;
    to.sps_id = from.spsId;
    to.pps_id = from.ppsId;
    to.alpha = from.enableAlphaLayerEncoding;
#if GS_API >= 1201
    to.filler = from.enableFillerDataInsertion;
    to.recovery_point = from.outputRecoveryPointSEI;
#endif
#if GS_API >= 1202
    to.temporal_svc = from.enableTemporalSVC;
    to.mvhevc = from.enableMVHEVC;
    to.light = from.outputMaxCll;
    to.mastering = from.outputMasteringDisplay;
    to.depth = from.outputBitDepth;
    to.input_depth = from.inputBitDepth;
    to.depth_given = true;
    to.temporal_filter = from.tfLevel;
#else
    to.depth = from.pixelBitDepthMinus8 + 8;
    to.input_depth = 0;
#endif
    vui(from.hevcVUIParameters, to, reading);
    RESERVED(reading, "NV_ENC_CONFIG_HEVC reserved1", from.reserved1);
    RESERVED(reading, "NV_ENC_CONFIG_HEVC reserved2", from.reserved2);
}

#if GS_API >= 1201
void av1(const NV_ENC_CONFIG_AV1 &from, Config &to, Reading &reading) {
    to.level = from.level;
    to.tier = from.tier;
    to.annexb = from.outputAnnexBFormat;
    to.no_headers = from.disableSeqHdr;
    to.repeat_headers = from.repeatSeqHdr;
    to.intra_refresh = from.enableIntraRefresh;
    to.refresh_period = from.intraRefreshPeriod;
    to.refresh_count = from.intraRefreshCnt;
    to.chroma = from.chromaFormatIDC;
    to.filler = from.enableBitstreamPadding;
    to.idr_period = from.idrPeriod;
    to.references = from.maxNumRefFramesInDPB;
    to.tile_columns = from.numTileColumns;
    to.tile_rows = from.numTileRows;
    to.vui.signal_type = to.vui.colour = true;
    to.vui.primaries = from.colorPrimaries;
    to.vui.transfer = from.transferCharacteristics;
    to.vui.matrix = from.matrixCoefficients;
    to.vui.full_range = from.colorRange;
    to.vui.chroma_top = from.chromaSamplePosition;
    to.bframe_reference = from.useBFramesAsRef;
    to.references_l0 = from.numFwdRefs;
    to.references_l1 = from.numBwdRefs;
#if GS_API >= 1202
    to.long_term = from.enableLTR;
    to.temporal_svc = from.enableTemporalSVC;
    to.light = from.outputMaxCll;
    to.mastering = from.outputMasteringDisplay;
    to.depth = from.outputBitDepth;
    to.input_depth = from.inputBitDepth;
    to.depth_given = true;
    to.temporal_filter = from.tfLevel;
    RESERVED(reading, "NV_ENC_CONFIG_AV1 reserved3", from.reserved3);
#else
    to.depth = from.pixelBitDepthMinus8 + 8;
    to.input_depth = from.inputPixelBitDepthMinus8 + 8;
    to.depth_given = true;
    RESERVED(reading, "NV_ENC_CONFIG_AV1 reserved2", from.reserved2);
#endif
    RESERVED(reading, "NV_ENC_CONFIG_AV1 reserved1", from.reserved1);
}
#endif

void config(const NV_ENC_CONFIG &from, Codec codec, Config &to, Reading &reading) {
    inner(from.version, NV_ENC_CONFIG_VER, "NV_ENC_CONFIG", reading);
    to.profile = guid(from.profileGUID);
    to.gop = from.gopLength;
    to.interval = from.frameIntervalP;
    to.monochrome = from.monoChromeEncoding;
    to.field_mode = from.frameFieldMode;
    to.mv_precision = from.mvPrecision;
    rates(from.rcParams, to.rates);
    switch (codec) {
    case Codec::H264: h264(from.encodeCodecConfig.h264Config, to, reading); break;
    case Codec::Hevc: hevc(from.encodeCodecConfig.hevcConfig, to, reading); break;
#if GS_API >= 1201
    case Codec::Av1: av1(from.encodeCodecConfig.av1Config, to, reading); break;
#endif
    default: break;
    }
    RESERVED(reading, "NV_ENC_CONFIG reserved", from.reserved);
    RESERVED(reading, "NV_ENC_CONFIG reserved2", from.reserved2);
}

void init(const void *raw, Codec codec, Init &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_INITIALIZE_PARAMS *>(raw);
    to.codec = guid(from.encodeGUID);
    to.preset = guid(from.presetGUID);
    to.width = from.encodeWidth;
    to.height = from.encodeHeight;
    to.dar_width = from.darWidth;
    to.dar_height = from.darHeight;
    to.fps_num = from.frameRateNum;
    to.fps_den = from.frameRateDen;
    to.async = from.enableEncodeAsync;
    to.decide_types = from.enablePTD;
    to.report_slices = from.reportSliceOffsets;
    to.subframe = from.enableSubFrameWrite;
    to.me_hints = from.enableExternalMEHints;
    to.me_only = from.enableMEOnlyMode;
    to.weighted = from.enableWeightedPrediction;
    to.in_video_memory = from.enableOutputInVidmem;
    to.private_data = from.privDataSize || from.privData;
    to.max_width = from.maxEncodeWidth;
    to.max_height = from.maxEncodeHeight;
    to.tuning = from.tuningInfo;
#if GS_API >= 1201
    to.split = from.splitEncodeMode;
    to.recon = from.enableReconFrameOutput;
    to.stats = from.enableOutputStats;
    to.stats_level = from.outputStatsLevel;
    to.state_buffers = from.numStateBuffers;
#endif
#if GS_API >= 1202
    to.unidirectional_b = from.enableUniDirectionalB;
    RESERVED(reading, "NV_ENC_INITIALIZE_PARAMS reserved1", from.reserved1);
#else
    RESERVED(reading, "NV_ENC_INITIALIZE_PARAMS reserved", from.reserved);
#endif
    RESERVED(reading, "NV_ENC_INITIALIZE_PARAMS reserved2", from.reserved2);
    if (from.reservedBitFields && !reading.reserved) reading.reserved = "NV_ENC_INITIALIZE_PARAMS reservedBitFields";
    to.has_config = from.encodeConfig != nullptr;
    if (from.encodeConfig) config(*from.encodeConfig, codec, to.config, reading);
}

Guid init_codec(const void *raw) { return guid(static_cast<const NV_ENC_INITIALIZE_PARAMS *>(raw)->encodeGUID); }

const void *reconfigure_init(const void *raw) { return &static_cast<const NV_ENC_RECONFIGURE_PARAMS *>(raw)->reInitEncodeParams; }

void reconfigure(const void *raw, Codec codec, Reconfigure &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_RECONFIGURE_PARAMS *>(raw);
    if (!inner(from.reInitEncodeParams.version, NV_ENC_INITIALIZE_PARAMS_VER, "NV_ENC_INITIALIZE_PARAMS", reading)) return;
    init(&from.reInitEncodeParams, codec, to.init, reading);
    to.reset = from.resetEncoder;
    to.force_idr = from.forceIDR;
}

void preset(void *raw, Codec codec, const Config &from, Reading &reading) {
    auto &out = *static_cast<NV_ENC_PRESET_CONFIG *>(raw);
    if (!inner(out.presetCfg.version, NV_ENC_CONFIG_VER, "NV_ENC_CONFIG", reading)) return;
    NV_ENC_CONFIG to;
    memset(&to, 0, sizeof to);
    to.version = out.presetCfg.version;
    to.profileGUID = guid(from.profile);
    to.gopLength = from.gop;
    to.frameIntervalP = from.interval;
    to.frameFieldMode = NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME;
    to.mvPrecision = NV_ENC_MV_PRECISION_QUARTER_PEL;
    NV_ENC_RC_PARAMS &rc = to.rcParams;
    rc.version = spoken(NV_ENC_RC_PARAMS_VER, reading);
    rc.rateControlMode = static_cast<NV_ENC_PARAMS_RC_MODE>(from.rates.mode);
    qps(rc.constQP, from.rates.qp);
    rc.averageBitRate = from.rates.average;
    rc.maxBitRate = from.rates.maximum;
    rc.enableAQ = from.rates.spatial_aq;
    rc.multiPass = static_cast<NV_ENC_MULTI_PASS>(from.rates.multipass);
    rc.lowDelayKeyFrameScale = static_cast<uint8_t>(from.rates.low_delay_key_scale);
    rc.zeroReorderDelay = from.rates.zero_reorder;
    rc.enableLookahead = from.rates.lookahead;
    rc.lookaheadDepth = static_cast<uint16_t>(from.rates.lookahead_depth);
    if (codec == Codec::H264) {
        NV_ENC_CONFIG_H264 &h = to.encodeCodecConfig.h264Config;
        h.idrPeriod = from.idr_period;
        h.chromaFormatIDC = from.chroma;
        h.maxNumRefFrames = from.references;
        h.useBFramesAsRef = static_cast<NV_ENC_BFRAME_REF_MODE>(from.bframe_reference);
        h.entropyCodingMode = NV_ENC_H264_ENTROPY_CODING_MODE_CABAC;
        h.adaptiveTransformMode = NV_ENC_H264_ADAPTIVE_TRANSFORM_ENABLE;
        h.qpPrimeYZeroTransformBypassFlag = from.lossless;
        h.sliceMode = from.slice_mode;
        h.sliceModeData = from.slice_data;
#if GS_API >= 1202
        h.outputBitDepth = NV_ENC_BIT_DEPTH_8;
        h.inputBitDepth = NV_ENC_BIT_DEPTH_8;
#endif
    } else if (codec == Codec::Hevc) {
        NV_ENC_CONFIG_HEVC &h = to.encodeCodecConfig.hevcConfig;
        h.idrPeriod = from.idr_period;
        h.chromaFormatIDC = from.chroma;
        h.maxNumRefFramesInDPB = from.references;
        h.useBFramesAsRef = static_cast<NV_ENC_BFRAME_REF_MODE>(from.bframe_reference);
        h.minCUSize = NV_ENC_HEVC_CUSIZE_AUTOSELECT;
        h.maxCUSize = NV_ENC_HEVC_CUSIZE_AUTOSELECT;
        h.sliceMode = from.slice_mode;
        h.sliceModeData = from.slice_data;
#if GS_API >= 1202
        h.outputBitDepth = NV_ENC_BIT_DEPTH_8;
        h.inputBitDepth = NV_ENC_BIT_DEPTH_8;
        h.tfLevel = static_cast<NV_ENC_TEMPORAL_FILTER_LEVEL>(from.temporal_filter);
#endif
    }
#if GS_API >= 1201
    else {
        NV_ENC_CONFIG_AV1 &a = to.encodeCodecConfig.av1Config;
        a.idrPeriod = from.idr_period;
        a.chromaFormatIDC = 1;
        a.maxNumRefFramesInDPB = from.references;
        a.useBFramesAsRef = static_cast<NV_ENC_BFRAME_REF_MODE>(from.bframe_reference);
        a.numTileColumns = a.numTileRows = 1;
        a.colorPrimaries = NV_ENC_VUI_COLOR_PRIMARIES_UNSPECIFIED;
        a.transferCharacteristics = NV_ENC_VUI_TRANSFER_CHARACTERISTIC_UNSPECIFIED;
        a.matrixCoefficients = NV_ENC_VUI_MATRIX_COEFFS_UNSPECIFIED;
#if GS_API >= 1202
        a.outputBitDepth = NV_ENC_BIT_DEPTH_8;
        a.inputBitDepth = NV_ENC_BIT_DEPTH_8;
        a.tfLevel = static_cast<NV_ENC_TEMPORAL_FILTER_LEVEL>(from.temporal_filter);
#endif
    }
#endif
    out.presetCfg = to;
}

void payloads(const NV_ENC_SEI_PAYLOAD *array, uint32_t count, Pic &to) {
    for (uint32_t i = 0; array && i < count; ++i) {
        Sei sei;
        sei.type = array[i].payloadType;
        if (array[i].payload) sei.payload.assign(array[i].payload, array[i].payload + array[i].payloadSize);
        to.sei.push_back(std::move(sei));
    }
}

#if GS_API >= 1202
void hdr(const MASTERING_DISPLAY_INFO *volume, const CONTENT_LIGHT_LEVEL *light, Pic &to) {
    if (volume) {
        to.mastering.present = true;
        const CHROMA_POINTS points[3] = {volume->g, volume->b, volume->r};
        for (int i = 0; i < 3; ++i) {
            to.mastering.x[i] = points[i].x;
            to.mastering.y[i] = points[i].y;
        }
        to.mastering.white_x = volume->whitePoint.x;
        to.mastering.white_y = volume->whitePoint.y;
        to.mastering.max_luma = volume->maxLuma;
        to.mastering.min_luma = volume->minLuma;
    }
    if (light) {
        to.light.present = true;
        to.light.max_cll = light->maxContentLightLevel;
        to.light.max_fall = light->maxPicAverageLightLevel;
    }
}
#endif

void pic(const void *raw, Codec codec, Pic &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_PIC_PARAMS *>(raw);
    to.width = from.inputWidth;
    to.height = from.inputHeight;
    to.pitch = from.inputPitch;
    to.flags = from.encodePicFlags;
    to.index = from.frameIdx;
    to.timestamp = from.inputTimeStamp;
    to.duration = from.inputDuration;
    to.input = from.inputBuffer;
    to.output = from.outputBitstream;
    to.event = from.completionEvent;
    to.alpha = from.alphaBuffer;
    to.format = from.bufferFmt;
    to.structure = from.pictureStruct;
    to.type = from.pictureType;
    to.qp_map = from.qpDeltaMap;
    to.qp_map_size = from.qpDeltaMapSize;
    if (to.flags & NV_ENC_PIC_FLAG_EOS) return; // the rest says nothing then
    RESERVED(reading, "NV_ENC_PIC_PARAMS reserved3", from.reserved3);
    if (codec == Codec::H264) {
        const NV_ENC_PIC_PARAMS_H264 &h = from.codecPicParams.h264PicParams;
        to.display_poc = static_cast<int>(h.displayPOCSyntax);
        to.reference = h.refPicFlag;
        to.refresh_frames = h.forceIntraRefreshWithFrameCnt;
        to.slice_update = h.sliceModeDataUpdate;
        to.slice_mode = h.sliceMode;
        to.slice_data = h.sliceModeData;
        to.mark_long_term = h.ltrMarkFrame;
        to.use_long_term = h.ltrUseFrames;
        to.long_term_index = h.ltrMarkFrameIdx;
        to.long_term_bitmap = h.ltrUseFrameBitmap;
        payloads(h.seiPayloadArray, h.seiPayloadArrayCnt, to);
        RESERVED(reading, "NV_ENC_PIC_PARAMS_H264 reserved", h.reserved);
        RESERVED(reading, "NV_ENC_PIC_PARAMS_H264 reserved2", h.reserved2);
    } else if (codec == Codec::Hevc) {
        const NV_ENC_PIC_PARAMS_HEVC &h = from.codecPicParams.hevcPicParams;
        to.display_poc = static_cast<int>(h.displayPOCSyntax);
        to.reference = h.refPicFlag;
        to.refresh_frames = h.forceIntraRefreshWithFrameCnt;
        to.slice_update = h.sliceModeDataUpdate;
        to.slice_mode = h.sliceMode;
        to.slice_data = h.sliceModeData;
        to.mark_long_term = h.ltrMarkFrame;
        to.use_long_term = h.ltrUseFrames;
        to.long_term_index = h.ltrMarkFrameIdx;
        to.long_term_bitmap = h.ltrUseFrameBitmap;
        payloads(h.seiPayloadArray, h.seiPayloadArrayCnt, to);
#if GS_API >= 1202
        hdr(h.pMasteringDisplay, h.pMaxCll, to);
#endif
        RESERVED(reading, "NV_ENC_PIC_PARAMS_HEVC reserved2", h.reserved2);
        RESERVED(reading, "NV_ENC_PIC_PARAMS_HEVC reserved3", h.reserved3);
    }
#if GS_API >= 1201
    else {
        const NV_ENC_PIC_PARAMS_AV1 &a = from.codecPicParams.av1PicParams;
        to.display_poc = static_cast<int>(a.displayPOCSyntax);
        to.reference = a.refPicFlag;
        to.refresh_frames = a.forceIntraRefreshWithFrameCnt;
        payloads(a.obuPayloadArray, a.obuPayloadArrayCnt, to);
#if GS_API >= 1202
        hdr(a.pMasteringDisplay, a.pMaxCll, to);
#endif
        RESERVED(reading, "NV_ENC_PIC_PARAMS_AV1 reserved2", a.reserved2);
        RESERVED(reading, "NV_ENC_PIC_PARAMS_AV1 reserved3", a.reserved3);
    }
#endif
}

void lock_in(const void *raw, Locked &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_LOCK_BITSTREAM *>(raw);
    to.no_wait = from.doNotWait;
    to.rc_stats = from.getRCStats;
    to.output = from.outputBitstream;
    to.slice_offsets = from.sliceOffsets;
    RESERVED(reading, "NV_ENC_LOCK_BITSTREAM reserved2", from.reserved2);
}

void lock_out(void *raw, const Locked &from) {
    auto &to = *static_cast<NV_ENC_LOCK_BITSTREAM *>(raw);
    to.ltrFrame = from.long_term;
    to.frameIdx = from.frame_index;
    to.hwEncodeStatus = 2; // done
    to.numSlices = from.slices;
    to.bitstreamSizeInBytes = from.size;
    to.outputTimeStamp = from.timestamp;
    to.outputDuration = from.duration;
    to.bitstreamBufferPtr = from.data;
    to.pictureType = static_cast<NV_ENC_PIC_TYPE>(from.type);
    to.pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
    to.frameAvgQP = from.average_qp;
    to.frameSatd = 0;
    to.ltrFrameIdx = from.long_term_index;
    to.ltrFrameBitmap = from.long_term_bitmap;
    if (from.rc_stats) {
        to.intraMBCount = from.intra;
        to.interMBCount = from.inter;
        to.averageMVX = to.averageMVY = 0;
    }
#if GS_API >= 1201
    to.frameIdxDisplay = from.display_index;
#endif
    if (to.sliceOffsets)
        for (size_t i = 0; i < from.offsets.size(); ++i) to.sliceOffsets[i] = from.offsets[i];
}

void resource(const void *raw, Resource &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_REGISTER_RESOURCE *>(raw);
    to.kind = from.resourceType;
    to.width = from.width;
    to.height = from.height;
    to.pitch = from.pitch;
    to.format = from.bufferFormat;
    to.usage = from.bufferUsage;
    to.resource = from.resourceToRegister;
#if GS_API >= 1202
    to.chroma_offset[0] = from.chromaOffsetIn[0];
    to.chroma_offset[1] = from.chromaOffsetIn[1];
#endif
    RESERVED(reading, "NV_ENC_REGISTER_RESOURCE reserved1", from.reserved1);
    RESERVED(reading, "NV_ENC_REGISTER_RESOURCE reserved2", from.reserved2);
}
void resource_out(void *raw, void *handle) { static_cast<NV_ENC_REGISTER_RESOURCE *>(raw)->registeredResource = handle; }

void input(const void *raw, InputBuffer &to, Reading &reading) {
    const auto &from = *static_cast<const NV_ENC_CREATE_INPUT_BUFFER *>(raw);
    to.width = from.width;
    to.height = from.height;
    to.format = from.bufferFmt;
    to.system_memory = from.pSysMemBuffer != nullptr;
    RESERVED(reading, "NV_ENC_CREATE_INPUT_BUFFER reserved1", from.reserved1);
    RESERVED(reading, "NV_ENC_CREATE_INPUT_BUFFER reserved2", from.reserved2);
}
void input_out(void *raw, void *handle) { static_cast<NV_ENC_CREATE_INPUT_BUFFER *>(raw)->inputBuffer = handle; }
void bitstream_out(void *raw, void *handle) { static_cast<NV_ENC_CREATE_BITSTREAM_BUFFER *>(raw)->bitstreamBuffer = handle; }

void *map_in(const void *raw) { return static_cast<const NV_ENC_MAP_INPUT_RESOURCE *>(raw)->registeredResource; }
void map_out(void *raw, void *handle, uint32_t format) {
    auto &to = *static_cast<NV_ENC_MAP_INPUT_RESOURCE *>(raw);
    to.mappedResource = handle;
    to.mappedBufferFmt = static_cast<NV_ENC_BUFFER_FORMAT>(format);
}

void *lock_input_in(const void *raw, bool &no_wait) {
    const auto &from = *static_cast<const NV_ENC_LOCK_INPUT_BUFFER *>(raw);
    no_wait = from.doNotWait;
    return from.inputBuffer;
}
void lock_input_out(void *raw, void *data, uint32_t pitch) {
    auto &to = *static_cast<NV_ENC_LOCK_INPUT_BUFFER *>(raw);
    to.bufferDataPtr = data;
    to.pitch = pitch;
}

void sequence(const void *raw, SequenceRequest &to) {
    const auto &from = *static_cast<const NV_ENC_SEQUENCE_PARAM_PAYLOAD *>(raw);
    to.size = from.inBufferSize;
    to.sps_id = from.spsId;
    to.pps_id = from.ppsId;
    to.buffer = from.spsppsBuffer;
    to.written = from.outSPSPPSPayloadSize;
}

uint32_t caps_query(const void *raw) { return static_cast<const NV_ENC_CAPS_PARAM *>(raw)->capsToQuery; }

// The presets from before P1 to P7, which drivers from R550 on do not know any more: the index-th, or all zeros.
Guid legacy_preset(unsigned index) {
#if GS_API < 1200
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    const GUID *const list[] = {&NV_ENC_PRESET_DEFAULT_GUID, &NV_ENC_PRESET_HP_GUID, &NV_ENC_PRESET_HQ_GUID, &NV_ENC_PRESET_BD_GUID,
                                &NV_ENC_PRESET_LOW_LATENCY_DEFAULT_GUID, &NV_ENC_PRESET_LOW_LATENCY_HQ_GUID,
                                &NV_ENC_PRESET_LOW_LATENCY_HP_GUID, &NV_ENC_PRESET_LOSSLESS_DEFAULT_GUID,
                                &NV_ENC_PRESET_LOSSLESS_HP_GUID};
#pragma GCC diagnostic pop
    if (index < sizeof list / sizeof list[0]) return guid(*list[index]);
#else
    (void)index;
#endif
    return {};
}

const Layout kLayout = {NVENCAPI_MAJOR_VERSION, NVENCAPI_MINOR_VERSION, version, init, reconfigure, init_codec, reconfigure_init,
                        preset, pic, lock_in, lock_out, resource, resource_out, input, input_out, bitstream_out, map_in, map_out,
                        lock_input_in, lock_input_out, sequence, caps_query, NV_ENC_CAPS_EXPOSED_COUNT, legacy_preset};

} // namespace
} // namespace standin
