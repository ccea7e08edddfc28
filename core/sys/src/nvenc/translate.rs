//! From this crate's words to NVENC's structs.

use super::caps::{AHEAD, FILTERED};
use super::config::*;
use super::error::{Error, Result};
use super::layout::{self, Config, Guid, Initialize, Plain, Qp, RcParams, av1, h264, hevc, init, rc, set};
use super::library::{ApiVersion, Structure};
use super::values::*;

/// `NVENC_INFINITE_GOPLENGTH`.
const INFINITE: u32 = 0xffff_ffff;

pub(super) fn preset(preset: u8) -> Result<Guid> {
    const PRESETS: [Guid; 7] = [
        PRESET_P1_GUID,
        PRESET_P2_GUID,
        PRESET_P3_GUID,
        PRESET_P4_GUID,
        PRESET_P5_GUID,
        PRESET_P6_GUID,
        PRESET_P7_GUID,
    ];
    let guid = usize::from(preset).checked_sub(1).and_then(|i| PRESETS.get(i));
    guid.copied().ok_or_else(|| Error::invalid(format!("preset: presets are 1 to 7, not {preset}")))
}

/// `base` is the preset's configuration, which stays where `c` says nothing.
pub(super) fn config(c: &EncodeConfig, base: &Config, api: ApiVersion) -> Config {
    let mut out = *base;
    out.version = api.of(Structure::Config);
    out.profileGUID = profile(c);
    out.frameFieldMode = PARAMS_FRAME_FIELD_MODE_FRAME;
    out.gopLength = c.gop.unwrap_or(INFINITE);
    if c.intra_refresh.is_some() {
        // Waves take the place of key pictures.
        out.gopLength = INFINITE;
    }
    if let Some(b) = c.b_frames {
        // 1 is I and P only; 0 would be intra pictures only.
        out.frameIntervalP = b as i32 + 1;
    } else {
        out.frameIntervalP = out.frameIntervalP.clamp(0, AHEAD as i32);
        out.frameIntervalP = leave_room(c, out.frameIntervalP);
    }
    if out.gopLength == 1 {
        out.frameIntervalP = 0;
    } else if out.gopLength != INFINITE && out.frameIntervalP > out.gopLength as i32 {
        out.frameIntervalP = out.gopLength as i32;
    }
    if c.intra_refresh.is_some() {
        out.frameIntervalP = out.frameIntervalP.min(1);
    }
    rate(c, &mut out.rcParams, api);
    let b_frames = (out.frameIntervalP - 1).max(0) as u32;
    if c.lookahead.is_none() {
        // The preset's own goes with the preset's B pictures.
        let room = AHEAD.saturating_sub(b_frames);
        out.rcParams.lookaheadDepth = out.rcParams.lookaheadDepth.min(room as u16);
    }
    let codec = &mut out.encodeCodecConfig;
    let idr = if out.gopLength == INFINITE { INFINITE } else { c.idr_period.unwrap_or(out.gopLength) };
    // SAFETY: the union holds the configuration of `c.codec`, whose preset it is; all are plain numbers.
    unsafe {
        match c.codec {
            Codec::H264 => h264_config(c, &mut codec.h264, idr, api),
            Codec::Hevc => hevc_config(c, &mut codec.hevc, idr, api),
            Codec::Av1 => av1_config(c, &mut codec.av1, idr, api),
        }
        // So does its filter.
        if c.temporal_filter.is_none() && b_frames < FILTERED {
            match c.codec {
                Codec::H264 if api < ApiVersion::V13 => {}
                Codec::H264 => codec.h264.tfLevel = filter(false),
                Codec::Hevc => codec.hevc.tfLevel = filter(false),
                Codec::Av1 if api < ApiVersion::V13 => {}
                Codec::Av1 => codec.av1.tfLevel = filter(false),
            }
        }
    }
    out
}

/// The distance of P pictures of a preset, changed where what was asked for needs another: B pictures that nobody asked for
/// are no reason to be refused.
fn leave_room(c: &EncodeConfig, preset: i32) -> i32 {
    let mut interval = preset;
    if c.weighted_prediction || c.zero_reorder || c.profile == Profile::Baseline {
        interval = interval.min(1);
    }
    if c.temporal_filter == Some(true) {
        interval = interval.max(FILTERED as i32 + 1);
    }
    match c.lookahead {
        // One P picture after the B pictures.
        Some(ahead) if ahead.depth > 0 => {
            interval.min((AHEAD.saturating_sub(ahead.depth.into()) as i32 + 1).max(1))
        }
        _ => interval,
    }
}

pub(super) fn initialize(c: &EncodeConfig, config: *mut Config, api: ApiVersion) -> Result<Initialize> {
    let mut out = Initialize::zeroed();
    out.version = api.of(Structure::Initialize);
    out.encodeGUID = c.codec.guid();
    out.presetGUID = preset(c.preset)?;
    out.tuningInfo = c.tuning.number();
    (out.encodeWidth, out.encodeHeight) = (c.width, c.height);
    (out.darWidth, out.darHeight) = c.display_aspect.unwrap_or((c.width, c.height));
    (out.frameRateNum, out.frameRateDen) = c.frame_rate;
    (out.maxEncodeWidth, out.maxEncodeHeight) = c.max_size.unwrap_or((c.width, c.height));
    // Picture types are the encoder's decision.
    out.enablePTD = 1;
    out.encodeConfig = config;
    set(&mut out.flags, init::enableWeightedPrediction, c.weighted_prediction.into());
    let split = match c.split {
        Split::Auto => SPLIT_AUTO_MODE,
        Split::Forced => SPLIT_AUTO_FORCED_MODE,
        Split::Engines(2) => SPLIT_TWO_FORCED_MODE,
        Split::Engines(3) => SPLIT_THREE_FORCED_MODE,
        Split::Engines(_) => SPLIT_FOUR_FORCED_MODE,
        Split::Off => SPLIT_DISABLE_MODE,
    };
    if c.codec != Codec::H264 {
        set(&mut out.flags, init::splitEncodeMode, split);
    }
    Ok(out)
}

fn profile(c: &EncodeConfig) -> Guid {
    let (chroma, depth) = (c.surface.chroma(), c.stream_depth());
    match (c.codec, c.profile) {
        (Codec::Av1, _) => AV1_PROFILE_MAIN_GUID,
        (Codec::H264, Profile::Baseline) => H264_PROFILE_BASELINE_GUID,
        (Codec::H264, Profile::Main) => H264_PROFILE_MAIN_GUID,
        (Codec::H264, Profile::High) => H264_PROFILE_HIGH_GUID,
        (Codec::H264, Profile::ConstrainedHigh) => H264_PROFILE_CONSTRAINED_HIGH_GUID,
        (Codec::H264, Profile::High10) => H264_PROFILE_HIGH_10_GUID,
        (Codec::H264, Profile::High422) => H264_PROFILE_HIGH_422_GUID,
        (Codec::H264, Profile::High444) => H264_PROFILE_HIGH_444_GUID,
        (Codec::H264, _) if chroma == 3 || c.rate == RateControl::Lossless => H264_PROFILE_HIGH_444_GUID,
        (Codec::H264, _) if chroma == 2 => H264_PROFILE_HIGH_422_GUID,
        (Codec::H264, _) if depth > 8 => H264_PROFILE_HIGH_10_GUID,
        (Codec::H264, _) => H264_PROFILE_HIGH_GUID,
        (Codec::Hevc, Profile::Main10) => HEVC_PROFILE_MAIN10_GUID,
        (Codec::Hevc, Profile::RangeExtensions) => HEVC_PROFILE_FREXT_GUID,
        (Codec::Hevc, _) if chroma > 1 => HEVC_PROFILE_FREXT_GUID,
        (Codec::Hevc, _) if depth > 8 => HEVC_PROFILE_MAIN10_GUID,
        (Codec::Hevc, _) => HEVC_PROFILE_MAIN_GUID,
    }
}

/// Writes a target quality as whole part and 256ths.
pub(super) fn quality(out: &mut RcParams, quality: f32) {
    let fixed = (quality.clamp(0.0, 63.0) * 256.0).round() as u32;
    out.targetQuality = (fixed >> 8) as u8;
    out.targetQualityLSB = (fixed & 0xff) as u8;
}

fn rate(c: &EncodeConfig, out: &mut RcParams, api: ApiVersion) {
    out.version = api.of(Structure::RcParams);
    let qp = |[i, p, b]: [u32; 3]| Qp { qpInterP: p, qpInterB: b, qpIntra: i };
    (out.targetQuality, out.targetQualityLSB) = (0, 0);
    match c.rate {
        RateControl::Cbr { bitrate, .. } => {
            out.rateControlMode = PARAMS_RC_CBR;
            (out.averageBitRate, out.maxBitRate) = (bitrate, bitrate);
        }
        RateControl::Vbr { bitrate, max_bitrate, quality: wanted } => {
            out.rateControlMode = PARAMS_RC_VBR;
            (out.averageBitRate, out.maxBitRate) = (bitrate, max_bitrate.unwrap_or(0));
            if let Some(wanted) = wanted {
                quality(out, wanted);
            }
        }
        RateControl::Cq { quality: wanted, max_bitrate } => {
            out.rateControlMode = PARAMS_RC_VBR;
            // Without an average, quality alone decides.
            (out.averageBitRate, out.maxBitRate) = (0, max_bitrate.unwrap_or(0));
            quality(out, wanted);
        }
        RateControl::ConstQp { i, p, b } => {
            out.rateControlMode = PARAMS_RC_CONSTQP;
            out.constQP = qp([i, p, b]);
            (out.averageBitRate, out.maxBitRate) = (0, 0);
        }
        RateControl::Lossless => {
            out.rateControlMode = PARAMS_RC_CONSTQP;
            out.constQP = qp([0, 0, 0]);
            (out.averageBitRate, out.maxBitRate) = (0, 0);
        }
    }
    if let Some(bits) = c.vbv_size {
        out.vbvBufferSize = bits;
    }
    if let Some(bits) = c.vbv_initial {
        out.vbvInitialDelay = bits;
    }
    if let Some(low) = c.min_qp {
        out.minQP = qp(low);
        set(&mut out.flags, rc::enableMinQP, 1);
    }
    if let Some(high) = c.max_qp {
        out.maxQP = qp(high);
        set(&mut out.flags, rc::enableMaxQP, 1);
    }
    if let Some(passes) = c.multipass {
        out.multiPass = match passes {
            MultiPass::Single => MULTI_PASS_DISABLED,
            MultiPass::Quarter => TWO_PASS_QUARTER_RESOLUTION,
            MultiPass::Full => TWO_PASS_FULL_RESOLUTION,
        };
    }
    if let Some(ahead) = c.lookahead {
        out.lookaheadDepth = ahead.depth;
        set(&mut out.flags, rc::enableLookahead, (ahead.depth > 0).into());
        set(&mut out.flags, rc::disableIadapt, (!ahead.scene_cut).into());
        set(&mut out.flags, rc::disableBadapt, (!ahead.adaptive_b).into());
        if let Some(level) = ahead.level {
            out.lookaheadLevel = level;
        }
    }
    if let Some(strength) = c.spatial_aq {
        set(&mut out.flags, rc::enableAQ, 1);
        set(&mut out.flags, rc::aqStrength, strength);
    }
    if let Some(on) = c.temporal_aq {
        set(&mut out.flags, rc::enableTemporalAQ, on.into());
    }
    if c.strict_gop {
        set(&mut out.flags, rc::strictGOPTarget, 1);
    }
    if c.zero_reorder {
        set(&mut out.flags, rc::zeroReorderDelay, 1);
    }
    if c.non_reference_p {
        set(&mut out.flags, rc::enableNonRefP, 1);
    }
    if c.qp_map {
        out.qpMapMode = QP_MAP_DELTA;
    }
}

fn b_ref(mode: BRef) -> u32 {
    match mode {
        BRef::None => BFRAME_REF_MODE_DISABLED,
        BRef::Each => BFRAME_REF_MODE_EACH,
        BRef::Middle => BFRAME_REF_MODE_MIDDLE,
    }
}

fn filter(on: bool) -> u32 {
    if on { TEMPORAL_FILTER_LEVEL_4 } else { TEMPORAL_FILTER_LEVEL_0 }
}

/// Slice mode and its number.
fn slices(slices: Slices) -> (u32, u32) {
    match slices {
        Slices::Blocks(n) => (0, n),
        Slices::Bytes(n) => (1, n),
        Slices::Rows(n) => (2, n),
        Slices::Count(n) => (3, n),
    }
}

fn fill_vui(vui: &Vui, out: &mut layout::Vui) {
    out.videoSignalTypePresentFlag = 1;
    out.videoFormat = VUI_VIDEO_FORMAT_UNSPECIFIED;
    out.videoFullRangeFlag = vui.full_range.into();
    out.colourDescriptionPresentFlag = 1;
    out.colourPrimaries = vui.primaries;
    out.transferCharacteristics = vui.transfer;
    out.colourMatrix = vui.matrix;
    if let Some(place) = vui.chroma_location {
        out.chromaSampleLocationFlag = 1;
        out.chromaSampleLocationTop = place;
        out.chromaSampleLocationBot = place;
    }
}

fn h264_config(c: &EncodeConfig, out: &mut layout::ConfigH264, idr: u32, api: ApiVersion) {
    let f = &mut out.flags;
    set(f, h264::repeatSPSPPS, c.repeat_headers.into());
    set(f, h264::disableSPSPPS, 0);
    set(f, h264::outputAUD, c.delimiters.into());
    set(f, h264::enableFillerDataInsertion, filler(c));
    set(f, h264::qpPrimeYZeroTransformBypassFlag, (c.rate == RateControl::Lossless).into());
    if let RateControl::Cbr { .. } = c.rate {
        set(f, h264::outputBufferingPeriodSEI, 1);
        set(f, h264::outputPictureTimingSEI, 1);
    }
    if let Some(r) = c.intra_refresh {
        set(f, h264::enableIntraRefresh, 1);
        set(f, h264::singleSliceIntraRefresh, r.single_slice.into());
        set(f, h264::outputRecoveryPointSEI, 1);
        (out.intraRefreshPeriod, out.intraRefreshCnt) = (r.period, r.count);
    }
    out.idrPeriod = idr;
    out.level = c.level.unwrap_or(LEVEL_AUTOSELECT);
    out.chromaFormatIDC = c.surface.chroma();
    if let Some((mode, data)) = c.slices.map(slices) {
        (out.sliceMode, out.sliceModeData) = (mode, data);
    }
    if let Some(n) = c.max_references {
        out.maxNumRefFrames = n;
    }
    if let Some([l0, l1]) = c.list_references {
        (out.numRefL0, out.numRefL1) = (l0, l1);
    }
    if let Some(entropy) = c.entropy {
        out.entropyCodingMode = match entropy {
            Entropy::Cabac => H264_ENTROPY_CODING_MODE_CABAC,
            Entropy::Cavlc => H264_ENTROPY_CODING_MODE_CAVLC,
        };
    } else if c.profile == Profile::Baseline {
        out.entropyCodingMode = H264_ENTROPY_CODING_MODE_CAVLC;
    }
    if let Some(mode) = c.b_ref {
        out.useBFramesAsRef = b_ref(mode);
    }
    // Reserved words before 13.0.
    if api >= ApiVersion::V13 {
        (out.inputBitDepth, out.outputBitDepth) = (c.surface.depth(), c.stream_depth());
        if let Some(on) = c.temporal_filter {
            out.tfLevel = filter(on);
        }
    }
    if let Some(vui) = &c.vui {
        fill_vui(vui, &mut out.h264VUIParameters);
    }
}

fn hevc_config(c: &EncodeConfig, out: &mut layout::ConfigHevc, idr: u32, api: ApiVersion) {
    let f = &mut out.flags;
    set(f, hevc::repeatSPSPPS, c.repeat_headers.into());
    set(f, hevc::disableSPSPPS, 0);
    set(f, hevc::outputAUD, c.delimiters.into());
    set(f, hevc::enableFillerDataInsertion, filler(c));
    set(f, hevc::chromaFormatIDC, c.surface.chroma());
    if let RateControl::Cbr { .. } = c.rate {
        set(f, hevc::outputBufferingPeriodSEI, 1);
        set(f, hevc::outputPictureTimingSEI, 1);
    }
    if let Some(r) = c.intra_refresh {
        set(f, hevc::enableIntraRefresh, 1);
        set(f, hevc::singleSliceIntraRefresh, r.single_slice.into());
        set(f, hevc::outputRecoveryPointSEI, 1);
        (out.intraRefreshPeriod, out.intraRefreshCnt) = (r.period, r.count);
    }
    if c.hdr_metadata && api >= ApiVersion::V13 {
        set(f, hevc::outputMaxCll, 1);
        set(f, hevc::outputMasteringDisplay, 1);
    }
    out.idrPeriod = idr;
    out.level = c.level.unwrap_or(LEVEL_AUTOSELECT);
    out.tier = c.high_tier.into();
    if let Some((mode, data)) = c.slices.map(slices) {
        (out.sliceMode, out.sliceModeData) = (mode, data);
    }
    if let Some(n) = c.max_references {
        out.maxNumRefFramesInDPB = n;
    }
    if let Some([l0, l1]) = c.list_references {
        (out.numRefL0, out.numRefL1) = (l0, l1);
    }
    if let Some(mode) = c.b_ref {
        out.useBFramesAsRef = b_ref(mode);
    }
    (out.inputBitDepth, out.outputBitDepth) = (c.surface.depth(), c.stream_depth());
    if let Some(on) = c.temporal_filter {
        out.tfLevel = filter(on);
    }
    if let Some(vui) = &c.vui {
        fill_vui(vui, &mut out.hevcVUIParameters);
    }
}

fn av1_config(c: &EncodeConfig, out: &mut layout::ConfigAv1, idr: u32, api: ApiVersion) {
    let f = &mut out.flags;
    set(f, av1::repeatSeqHdr, c.repeat_headers.into());
    set(f, av1::disableSeqHdr, 0);
    set(f, av1::outputAnnexBFormat, 0);
    set(f, av1::enableBitstreamPadding, filler(c));
    set(f, av1::chromaFormatIDC, c.surface.chroma());
    if let Some(r) = c.intra_refresh {
        set(f, av1::enableIntraRefresh, 1);
        (out.intraRefreshPeriod, out.intraRefreshCnt) = (r.period, r.count);
    }
    if c.hdr_metadata && api >= ApiVersion::V13 {
        set(f, av1::outputMaxCll, 1);
        set(f, av1::outputMasteringDisplay, 1);
    }
    out.idrPeriod = idr;
    // AV1's level 0 is 2.0, so that not choosing has a number of its own.
    out.level = c.level.unwrap_or(LEVEL_AV1_AUTOSELECT);
    out.tier = c.high_tier.into();
    if let Some(n) = c.max_references {
        out.maxNumRefFramesInDPB = n;
    }
    if let Some([forward, backward]) = c.list_references {
        (out.numFwdRefs, out.numBwdRefs) = (forward, backward);
    }
    if let Some(mode) = c.b_ref {
        out.useBFramesAsRef = b_ref(mode);
    }
    (out.inputBitDepth, out.outputBitDepth) = (c.surface.depth(), c.stream_depth());
    if let Some(on) = c.temporal_filter
        && api >= ApiVersion::V13
    {
        out.tfLevel = filter(on);
    }
    if let Some(vui) = &c.vui {
        out.colorPrimaries = vui.primaries;
        out.transferCharacteristics = vui.transfer;
        out.matrixCoefficients = vui.matrix;
        out.colorRange = vui.full_range.into();
        // AV1 knows two places: at the left, and on the top left sample.
        out.chromaSamplePosition = match vui.chroma_location {
            Some(0) => 1,
            Some(2) => 2,
            _ => 0,
        };
    }
}

fn filler(c: &EncodeConfig) -> u32 {
    matches!(c.rate, RateControl::Cbr { filler: true, .. }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(c: &EncodeConfig, api: ApiVersion) -> Config {
        config(c, &Config::zeroed(), api)
    }

    #[test]
    fn rates_become_modes_and_numbers() {
        let api = ApiVersion::NEWEST;
        let rate = |rate| made(&EncodeConfig::new(Codec::Hevc, 640, 360, (30, 1), rate), api).rcParams;
        let cbr = rate(RateControl::Cbr { bitrate: 5_000_000, filler: false });
        assert_eq!((cbr.rateControlMode, cbr.averageBitRate, cbr.maxBitRate), (2, 5_000_000, 5_000_000));
        let cq = rate(RateControl::Cq { quality: 23.5, max_bitrate: Some(9) });
        assert_eq!((cq.rateControlMode, cq.averageBitRate, cq.maxBitRate), (1, 0, 9));
        assert_eq!((cq.targetQuality, cq.targetQualityLSB), (23, 128));
        let qp = rate(RateControl::ConstQp { i: 20, p: 22, b: 24 });
        assert_eq!((qp.rateControlMode, qp.constQP.qpIntra, qp.constQP.qpInterB), (0, 20, 24));
        assert_eq!(cbr.version, api.of(Structure::RcParams));
    }

    #[test]
    fn groups_of_pictures_add_up() {
        let rate = RateControl::ConstQp { i: 20, p: 20, b: 20 };
        let mut c = EncodeConfig::new(Codec::H264, 640, 360, (30, 1), rate);
        (c.gop, c.b_frames) = (Some(60), Some(2));
        let out = made(&c, ApiVersion::OLDEST);
        assert_eq!((out.gopLength, out.frameIntervalP), (60, 3));
        // SAFETY: plain numbers.
        assert_eq!(unsafe { out.encodeCodecConfig.h264.idrPeriod }, 60);
        c.gop = Some(1);
        assert_eq!(made(&c, ApiVersion::OLDEST).frameIntervalP, 0);
        c.gop = None;
        c.intra_refresh = Some(IntraRefresh { period: 60, count: 30, single_slice: false });
        let out = made(&c, ApiVersion::OLDEST);
        assert_eq!((out.gopLength, out.frameIntervalP), (INFINITE, 1));
        // SAFETY: as above.
        let h264 = unsafe { out.encodeCodecConfig.h264 };
        assert_eq!((h264.idrPeriod, h264.intraRefreshCnt), (INFINITE, 30));
        assert_eq!(h264.flags & h264::enableIntraRefresh, h264::enableIntraRefresh);
    }

    #[test]
    fn a_presets_b_pictures_make_room_for_what_is_asked_for() {
        let rate = RateControl::Cbr { bitrate: 1_000_000, filler: false };
        let mut preset = Config::zeroed();
        (preset.gopLength, preset.frameIntervalP) = (250, 4);
        (preset.rcParams.lookaheadDepth, preset.encodeCodecConfig.hevc.tfLevel) = (30, 4);
        let with = |change: &dyn Fn(&mut EncodeConfig)| {
            let mut c = EncodeConfig::new(Codec::Hevc, 640, 360, (30, 1), rate);
            change(&mut c);
            config(&c, &preset, ApiVersion::NEWEST)
        };
        let ahead = |depth| Some(Lookahead { depth, level: None, scene_cut: true, adaptive_b: true });
        assert_eq!(with(&|_| ()).frameIntervalP, 4);
        assert_eq!(with(&|c| c.weighted_prediction = true).frameIntervalP, 1);
        assert_eq!(with(&|c| c.temporal_filter = Some(true)).frameIntervalP, 5);
        assert_eq!(with(&|c| c.lookahead = ahead(30)).frameIntervalP, 2);
        assert_eq!(with(&|c| c.lookahead = ahead(31)).frameIntervalP, 1);
        assert_eq!(with(&|c| (c.lookahead, c.b_frames) = (ahead(8), Some(3))).frameIntervalP, 4);
        // The preset's lookahead and filter, with the B pictures that it has or not.
        let out = with(&|c| c.b_frames = Some(5));
        // SAFETY: plain numbers.
        assert_eq!((out.rcParams.lookaheadDepth, unsafe { out.encodeCodecConfig.hevc }.tfLevel), (26, 4));
        let out = with(&|c| c.b_frames = Some(0));
        // SAFETY: as above.
        assert_eq!((out.rcParams.lookaheadDepth, unsafe { out.encodeCodecConfig.hevc }.tfLevel), (30, 0));
    }

    #[test]
    fn what_is_newer_than_the_driver_is_left_zero() {
        let rate = RateControl::ConstQp { i: 20, p: 20, b: 20 };
        let mut c = EncodeConfig::new(Codec::Hevc, 640, 360, (30, 1), rate);
        c.hdr_metadata = true;
        // SAFETY: plain numbers.
        let hevc = |api| unsafe { made(&c, api).encodeCodecConfig.hevc };
        assert_eq!(hevc(ApiVersion::OLDEST).flags & hevc::outputMaxCll, 0);
        assert_eq!(hevc(ApiVersion::V13).flags & hevc::outputMaxCll, hevc::outputMaxCll);
        assert_eq!(hevc(ApiVersion::V13).outputBitDepth, 8);
        c.codec = Codec::H264;
        // SAFETY: as above.
        let h264 = |api| unsafe { made(&c, api).encodeCodecConfig.h264 };
        assert_eq!((h264(ApiVersion::OLDEST).outputBitDepth, h264(ApiVersion::V13).outputBitDepth), (0, 8));
    }
}
