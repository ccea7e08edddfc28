//! What a device's encoder can do, as it says itself.

use super::config::{BRef, Codec, EncodeConfig, Entropy, Profile, RateControl, Slices, Split, Tuning};
use super::error::Error;
use super::level;
use super::library::ApiVersion;
use super::values::*;

/// Pictures that the driver can hold for looking ahead and for B pictures together.
pub(super) const AHEAD: u32 = 31;
/// B pictures in a row that the temporal filter needs.
pub(super) const FILTERED: u32 = 4;

macro_rules! capabilities {
    ($($(#[$meta:meta])* $field:ident = $cap:ident;)*) => {
        /// Answers of the driver for one codec on one device. Numbers are the driver's; yes is any that is not 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Capabilities {
            $($(#[$meta])* pub $field: i32,)*
        }

        impl Capabilities {
            /// Names and the numbers to ask with.
            pub(super) const QUERIES: &[(&'static str, u32)] = &[$((stringify!($field), $cap)),*];

            pub(crate) fn from_values(values: &[i32]) -> Capabilities {
                let mut values = values.iter().copied();
                Capabilities { $($field: values.next().unwrap_or(0),)* }
            }

            /// Name and answer of each, for listing.
            pub fn pairs(&self) -> Vec<(&'static str, i32)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

capabilities! {
    /// B pictures in a row at most.
    max_b_frames = CAPS_NUM_MAX_BFRAMES;
    /// Rate controls, a bit each.
    rate_controls = CAPS_SUPPORTED_RATECONTROL_MODES;
    /// Monochrome.
    monochrome = CAPS_SUPPORT_MONOCHROME;
    /// CABAC.
    cabac = CAPS_SUPPORT_CABAC;
    /// 8x8 transform of H.264.
    adaptive_transform = CAPS_SUPPORT_ADAPTIVE_TRANSFORM;
    /// Temporal layers at most.
    temporal_layers = CAPS_NUM_MAX_TEMPORAL_LAYERS;
    /// Highest level, in the codec's numbers.
    level_max = CAPS_LEVEL_MAX;
    /// Lowest level.
    level_min = CAPS_LEVEL_MIN;
    /// Widest picture.
    width_max = CAPS_WIDTH_MAX;
    /// Highest picture.
    height_max = CAPS_HEIGHT_MAX;
    /// Narrowest picture.
    width_min = CAPS_WIDTH_MIN;
    /// Lowest picture.
    height_min = CAPS_HEIGHT_MIN;
    /// Macroblocks in a picture at most.
    blocks_max = CAPS_MB_NUM_MAX;
    /// Macroblocks per second, of one engine.
    blocks_per_second = CAPS_MB_PER_SEC_MAX;
    /// Change of size while coding.
    dynamic_size = CAPS_SUPPORT_DYN_RES_CHANGE;
    /// Change of bitrate while coding.
    dynamic_bitrate = CAPS_SUPPORT_DYN_BITRATE_CHANGE;
    /// Parts of a picture before it is complete.
    subframe_readback = CAPS_SUPPORT_SUBFRAME_READBACK;
    /// Intra refresh.
    intra_refresh = CAPS_SUPPORT_INTRA_REFRESH;
    /// Intra refresh in one slice.
    single_slice_refresh = CAPS_SINGLE_SLICE_INTRA_REFRESH;
    /// A buffer size of one's own.
    custom_vbv = CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE;
    /// Slices that change picture by picture.
    dynamic_slices = CAPS_SUPPORT_DYNAMIC_SLICE_MODE;
    /// Invalidation of references.
    invalidate = CAPS_SUPPORT_REF_PIC_INVALIDATION;
    /// 4:4:4.
    yuv444 = CAPS_SUPPORT_YUV444_ENCODE;
    /// 4:2:2.
    yuv422 = CAPS_SUPPORT_YUV422_ENCODE;
    /// 10 bits.
    ten_bit = CAPS_SUPPORT_10BIT_ENCODE;
    /// Without loss.
    lossless = CAPS_SUPPORT_LOSSLESS_ENCODE;
    /// Sample adaptive offset.
    sao = CAPS_SUPPORT_SAO;
    /// Lookahead.
    lookahead = CAPS_SUPPORT_LOOKAHEAD;
    /// Levels of lookahead.
    lookahead_level = CAPS_SUPPORT_LOOKAHEAD_LEVEL;
    /// Temporal AQ.
    temporal_aq = CAPS_SUPPORT_TEMPORAL_AQ;
    /// Temporal filter.
    temporal_filter = CAPS_SUPPORT_TEMPORAL_FILTER;
    /// Long-term references.
    long_term = CAPS_NUM_MAX_LTR_FRAMES;
    /// Weighted prediction.
    weighted_prediction = CAPS_SUPPORT_WEIGHTED_PREDICTION;
    /// B pictures as references, a bit for each mode.
    b_ref = CAPS_SUPPORT_BFRAME_REF_MODE;
    /// Emphasis maps.
    emphasis = CAPS_SUPPORT_EMPHASIS_LEVEL_MAP;
    /// Reference pictures of one's own number.
    multiple_references = CAPS_SUPPORT_MULTIPLE_REF_FRAMES;
    /// B pictures that look back only.
    unidirectional_b = CAPS_SUPPORT_UNIDIRECTIONAL_B;
    /// Engines.
    engines = CAPS_NUM_ENCODER_ENGINES;
}

/// What [`Capabilities::check`] refuses: the field of [`EncodeConfig`] and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field's name.
    pub field: &'static str,
    /// Why, as a sentence's end: `this device has no …`.
    pub reason: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::unsupported(format!("{}: {}", refusal.field, refusal.reason))
    }
}

impl Capabilities {
    /// Whether a device that answered so, with a driver that speaks `api`, can do what is asked; the first thing that it
    /// cannot, by name.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(&self, config: &EncodeConfig, api: ApiVersion) -> Result<(), Refusal> {
        let c = config;
        let codec = c.codec.name();
        let lacks = |field, what: &str| {
            Err(Refusal { field, reason: format!("{codec} on this device has no {what}") })
        };
        let refuse = |field, reason: String| Err(Refusal { field, reason });
        let too_old = |field, what: &str| {
            Err(Refusal {
                field,
                reason: format!("{what} needs API 13.0 (driver 570); this driver speaks {api}"),
            })
        };
        let (w, h) = c.max_size.unwrap_or((c.width, c.height));
        let (min_w, min_h) = (self.width_min.max(1) as u32, self.height_min.max(1) as u32);
        let (max_w, max_h) = (self.width_max.max(0) as u32, self.height_max.max(0) as u32);
        if c.width < min_w || c.height < min_h || w > max_w || h > max_h || c.width > w || c.height > h {
            return refuse(
                "width",
                format!("{codec} on this device takes {min_w}x{min_h} to {max_w}x{max_h}, asked for {w}x{h}"),
            );
        }
        let blocks = u64::from(w.div_ceil(16)) * u64::from(h.div_ceil(16));
        if self.blocks_max > 0 && blocks > self.blocks_max as u64 {
            return refuse(
                "width",
                format!("{w}x{h} has {blocks} macroblocks; {} are the most", self.blocks_max),
            );
        }
        if c.frame_rate.0 == 0 || c.frame_rate.1 == 0 {
            return refuse("frame_rate", "it is 0".into());
        }
        if !(1..=7).contains(&c.preset) {
            return refuse("preset", format!("presets are 1 to 7, not {}", c.preset));
        }
        match c.surface.chroma() {
            3 if self.yuv444 == 0 => return lacks("surface", "4:4:4"),
            2 if api < ApiVersion::V13 => return too_old("surface", "4:2:2"),
            2 if self.yuv422 == 0 => return lacks("surface", "4:2:2"),
            _ => {}
        }
        match c.stream_depth() {
            8 => {}
            10 if self.ten_bit == 0 => return lacks("output_depth", "10-bit coding"),
            10 if c.codec == Codec::H264 && api < ApiVersion::V13 => {
                return too_old("output_depth", "10-bit H.264");
            }
            10 => {}
            n => return refuse("output_depth", format!("depths are 8 and 10, not {n}")),
        }
        if c.stream_depth() < c.surface.depth() {
            return refuse("output_depth", "a 10-bit surface makes a 10-bit stream".into());
        }
        self.check_rate(c)?;
        if c.tuning == Tuning::UltraHighQuality {
            match c.codec {
                Codec::H264 => return refuse("tuning", "ultra high quality is for HEVC and AV1".into()),
                Codec::Av1 if api < ApiVersion::V13 => return too_old("tuning", "ultra high quality of AV1"),
                _ if self.lookahead_level == 0 => return lacks("tuning", "ultra high quality"),
                _ => {}
            }
        }
        if let Some(n) = c.b_frames.filter(|n| *n > self.max_b_frames.max(0) as u32) {
            return refuse(
                "b_frames",
                format!("{codec} on this device has {} at most, not {n}", self.max_b_frames),
            );
        }
        match c.b_ref {
            Some(BRef::Each) if self.b_ref & 1 == 0 => return lacks("b_ref", "reference mode `each`"),
            Some(BRef::Middle) if self.b_ref == 0 => return lacks("b_ref", "reference mode `middle`"),
            _ => {}
        }
        if let Some(l) = &c.lookahead {
            if l.depth > 0 && self.lookahead == 0 {
                return lacks("lookahead", "lookahead");
            }
            // Which the driver holds besides B pictures, as many as there are.
            let b_frames =
                c.b_frames.unwrap_or(0).max(if c.temporal_filter == Some(true) { FILTERED } else { 0 });
            if u32::from(l.depth) + b_frames > AHEAD {
                let most = AHEAD.saturating_sub(b_frames);
                let why = match b_frames {
                    0 => format!("{most} pictures are the most, not {}", l.depth),
                    n => format!("{most} pictures are the most with {n} B pictures, not {}", l.depth),
                };
                return refuse("lookahead", why);
            }
            match l.level {
                Some(4..) => return refuse("lookahead", "its levels are 0 to 3".into()),
                Some(1..) if self.lookahead_level == 0 => return lacks("lookahead", "levels of lookahead"),
                _ => {}
            }
        }
        if c.spatial_aq.is_some_and(|n| n > 15) {
            return refuse("spatial_aq", "strengths are 0 to 15".into());
        }
        if c.temporal_aq == Some(true) && self.temporal_aq == 0 {
            return lacks("temporal_aq", "temporal AQ");
        }
        if c.temporal_filter == Some(true) {
            match c.codec {
                _ if self.temporal_filter == 0 => return lacks("temporal_filter", "temporal filter"),
                Codec::H264 | Codec::Av1 if api < ApiVersion::V13 => {
                    return too_old("temporal_filter", "the temporal filter of H.264 and AV1");
                }
                _ if c.b_frames.is_some_and(|n| n < FILTERED) => {
                    return refuse("temporal_filter", format!("it needs {FILTERED} B pictures or more"));
                }
                _ if self.max_b_frames < FILTERED as i32 => {
                    let most = self.max_b_frames;
                    return refuse(
                        "temporal_filter",
                        format!("it needs {FILTERED} B pictures; {codec} on this device has {most} at most"),
                    );
                }
                _ if c.zero_reorder || c.intra_refresh.is_some() || c.gop.is_some_and(|g| g <= FILTERED) => {
                    return refuse(
                        "temporal_filter",
                        format!("it needs {FILTERED} B pictures, for which there is no room"),
                    );
                }
                _ => {}
            }
        }
        if c.weighted_prediction {
            if self.weighted_prediction == 0 {
                return lacks("weighted_prediction", "weighted prediction");
            }
            if c.b_frames.is_some_and(|n| n > 0) {
                return refuse("weighted_prediction", "it does not go with B pictures".into());
            }
            if c.temporal_filter == Some(true) {
                return refuse("weighted_prediction", "it does not go with the temporal filter".into());
            }
            if matches!(c.split, Split::Forced | Split::Engines(_)) {
                return refuse("weighted_prediction", "it does not go with split pictures".into());
            }
        }
        if let Some(r) = &c.intra_refresh {
            if self.intra_refresh == 0 {
                return lacks("intra_refresh", "intra refresh");
            }
            if r.count == 0 || r.count >= r.period {
                return refuse("intra_refresh", "its count is from 1 to less than its period".into());
            }
            if r.single_slice && self.single_slice_refresh == 0 {
                return lacks("intra_refresh", "intra refresh in one slice");
            }
            if c.b_frames.is_some_and(|n| n > 0) {
                return refuse("intra_refresh", "it does not go with B pictures".into());
            }
        }
        if (c.vbv_size.is_some() || c.vbv_initial.is_some()) && self.custom_vbv == 0 {
            return lacks("vbv_size", "buffer size of one's own");
        }
        if c.max_references.is_some_and(|n| n > 16) {
            return refuse("max_references", "16 are the most".into());
        }
        if let Some(lists) = c.list_references {
            if self.multiple_references == 0 {
                return lacks("list_references", "choice of reference pictures");
            }
            if lists.iter().any(|n| *n > 7) {
                return refuse("list_references", "7 are the most".into());
            }
        }
        if c.max_size.is_some_and(|m| m != (c.width, c.height)) && self.dynamic_size == 0 {
            return lacks("max_size", "change of size while coding");
        }
        self.check_stream(c, api)
    }

    fn check_rate(&self, c: &EncodeConfig) -> Result<(), Refusal> {
        let refuse = |reason: String| Err(Refusal { field: "rate", reason });
        let (bit, name) = match c.rate {
            RateControl::ConstQp { .. } | RateControl::Lossless => (PARAMS_RC_CONSTQP, "constant quantisers"),
            RateControl::Vbr { .. } | RateControl::Cq { .. } => (PARAMS_RC_VBR, "a variable rate"),
            RateControl::Cbr { .. } => (PARAMS_RC_CBR, "a constant rate"),
        };
        // The mask has the modes' numbers, where constant quantisers are 0 and always there.
        if bit != PARAMS_RC_CONSTQP && self.rate_controls as u32 & bit == 0 {
            return refuse(format!("{} on this device has not {name}", c.codec.name()));
        }
        let av1 = c.codec == Codec::Av1;
        let best = |q: f32| q.is_finite() && q >= 0.0 && q <= if av1 { 63.0 } else { 51.0 };
        match c.rate {
            RateControl::Cbr { bitrate: 0, .. } | RateControl::Vbr { bitrate: 0, .. } => {
                refuse("the bitrate is 0".into())
            }
            RateControl::Vbr { bitrate, max_bitrate: Some(max), .. } if max < bitrate => {
                refuse(format!("a highest bitrate of {max} is below the average of {bitrate}"))
            }
            RateControl::Vbr { quality: Some(q), .. } | RateControl::Cq { quality: q, .. }
                if !best(q) || matches!(c.rate, RateControl::Cq { .. }) && q == 0.0 =>
            {
                refuse(format!("a quality is above 0, and {} at most", if av1 { 63 } else { 51 }))
            }
            RateControl::ConstQp { i, p, b } if [i, p, b].iter().any(|q| *q > if av1 { 255 } else { 51 }) => {
                refuse(format!("quantisers are 0 to {}", if av1 { 255 } else { 51 }))
            }
            RateControl::Lossless if self.lossless == 0 => {
                refuse(format!("{} on this device cannot code without loss", c.codec.name()))
            }
            RateControl::Lossless if c.tuning != Tuning::Lossless => {
                refuse("coding without loss goes with the tuning for it".into())
            }
            _ if c.tuning == Tuning::Lossless && c.rate != RateControl::Lossless => {
                refuse("the lossless tuning goes with coding without loss".into())
            }
            _ => Ok(()),
        }
    }

    fn check_stream(&self, c: &EncodeConfig, api: ApiVersion) -> Result<(), Refusal> {
        let refuse = |field, reason: String| Err(Refusal { field, reason });
        let fits = match c.profile {
            Profile::Auto | Profile::Main => true,
            Profile::Baseline | Profile::High | Profile::High444 | Profile::ConstrainedHigh => {
                c.codec == Codec::H264
            }
            Profile::High10 | Profile::High422 => c.codec == Codec::H264 && api >= ApiVersion::V13,
            Profile::Main10 | Profile::RangeExtensions => c.codec == Codec::Hevc,
        };
        if !fits {
            return refuse("profile", format!("{:?} is no profile of {} here", c.profile, c.codec.name()));
        }
        let (chroma, depth) = (c.surface.chroma(), c.stream_depth());
        let wide = match (c.codec, c.profile) {
            (_, Profile::Auto) | (Codec::Hevc, Profile::RangeExtensions) => true,
            (Codec::H264, Profile::High444) => depth == 8,
            (Codec::H264, Profile::High422) => chroma <= 2,
            (Codec::H264, Profile::High10) | (Codec::Hevc, Profile::Main10) | (Codec::Av1, _) => chroma == 1,
            _ => chroma == 1 && depth == 8,
        };
        if !wide {
            return refuse("profile", format!("{:?} has not the surface's depth or chroma", c.profile));
        }
        if c.profile == Profile::Baseline {
            if c.b_frames.is_some_and(|n| n > 0) {
                return refuse("profile", "the Baseline profile has no B pictures".into());
            }
            if c.entropy == Some(Entropy::Cabac) {
                return refuse("entropy", "the Baseline profile has no CABAC".into());
            }
        }
        if let Some(number) = c.level {
            let known = level::of(c.codec, number);
            let known =
                known.filter(|_| i64::from(number) <= i64::from(self.level_max) || self.level_max <= 0);
            if known.is_none() {
                return refuse("level", format!("{} on this device has no such level", c.codec.name()));
            }
            if let Some((field, why)) = level::refused(c) {
                return refuse(field, why);
            }
        }
        if c.codec == Codec::H264 && c.high_tier {
            return refuse("high_tier", "H.264 has no tiers".into());
        }
        if c.codec != Codec::H264 && c.entropy.is_some() {
            return refuse("entropy", "only H.264 has a choice".into());
        }
        if c.codec == Codec::Av1 {
            if c.slices.is_some() {
                return refuse("slices", "AV1 has none".into());
            }
            if c.delimiters {
                return refuse("delimiters", "AV1 writes them always".into());
            }
        }
        if matches!(c.slices, Some(Slices::Blocks(0) | Slices::Bytes(0) | Slices::Rows(0) | Slices::Count(0)))
        {
            return refuse("slices", "0 is none".into());
        }
        match c.split {
            Split::Engines(n) if !(2..=4).contains(&n) => {
                return refuse("split", format!("a picture is split over 2 to 4 engines, not {n}"));
            }
            Split::Engines(n) if n > self.engines.max(0) as u32 => {
                return refuse("split", format!("this device has {} engines, not {n}", self.engines));
            }
            Split::Forced | Split::Engines(_) if c.codec == Codec::H264 => {
                return refuse("split", "H.264 pictures are not split".into());
            }
            _ => {}
        }
        if c.gop == Some(0) {
            return refuse("gop", "it is 0".into());
        }
        if c.gop.is_none() && c.idr_period.is_some() {
            return refuse("idr_period", "a group of pictures without end has no second IDR picture".into());
        }
        Ok(())
    }
}
