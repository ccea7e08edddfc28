//! What a document asks for, in NVENC's terms: a pure function from the settings that [`crate::encode::rate`] makes of
//! the vocabulary. Option names are those that FFmpeg's NVENC encoders take, so documents written for them stay right.

use crate::encode::rate::Settings;
use crate::error::{Error, Result};
use crate::frame::{ChromaLocation, Colour, ColourRange, PixelFormat};
use crate::packet::Codec;
use ghoststream_sys::nvenc::{
    self as nv, ApiVersion, BRef, Capabilities, EncodeConfig, Entropy, IntraRefresh, Lookahead, MultiPass,
    Profile, RateControl, Split, Surface, Tuning,
};

/// What is decided before a session opens, all but size, rate and colour, which are the pictures'.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The encoder's configuration.
    pub encode: EncodeConfig,
    /// The GPU by CUDA's number; `None` = whichever has most to spare.
    pub gpu: Option<u32>,
    /// Options of the document that were given by name.
    given: Vec<String>,
}

/// NVENC's name of a codec; `None` for one that it does not make.
pub(super) fn codec_of(codec: &Codec) -> Option<nv::Codec> {
    nv::Codec::ALL.into_iter().find(|c| c.name() == codec.name())
}

/// How pictures of `format` (a host format) lie on the device.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] when no NVENC takes them.
pub fn surface(format: PixelFormat) -> Result<Surface> {
    Ok(match format.name() {
        "nv12" | "yuv420p" | "yuvj420p" => Surface::Nv12,
        "p010le" | "yuv420p10le" => Surface::P010,
        "nv16" | "yuv422p" | "yuvj422p" => Surface::Nv16,
        "p210le" | "yuv422p10le" => Surface::P210,
        "yuv444p" | "yuvj444p" => Surface::Yuv444p,
        "yuv444p10le" | "yuv444p16le" => Surface::Yuv444p16,
        _ => {
            return Err(Error::unsupported(format!(
                "nvenc does not take {format} pictures; convert them first"
            )));
        }
    })
}

fn bad<T>(name: &str, message: impl std::fmt::Display) -> Result<T> {
    Err(Error::invalid(format!("video.options.{name}"), message))
}

fn number(name: &str, value: &str, low: u32, high: u32) -> Result<u32> {
    match value.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => bad(name, format!("{value:?} is not a whole number from {low} to {high}")),
    }
}

fn switch(name: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => bad(name, format!("{value:?} is neither 1 nor 0")),
    }
}

fn word<T: Copy>(name: &str, value: &str, words: &[(&str, T)]) -> Result<T> {
    match words.iter().find(|(w, _)| *w == value) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
            bad(name, format!("{value:?} is none of {}", known.join(", ")))
        }
    }
}

/// Bits per second as the interface takes them.
fn bits(field: &str, value: u64) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::invalid(format!("video.{field}"), format!("{value} is above 4.29G")))
}

const TUNINGS: &[(&str, Tuning)] = &[
    ("hq", Tuning::HighQuality),
    ("uhq", Tuning::UltraHighQuality),
    ("ll", Tuning::LowLatency),
    ("ull", Tuning::UltraLowLatency),
    ("lossless", Tuning::Lossless),
];

const MULTIPASS: &[(&str, MultiPass)] = &[
    ("disabled", MultiPass::Single),
    ("qres", MultiPass::Quarter),
    ("fullres", MultiPass::Full),
    ("0", MultiPass::Single),
    ("1", MultiPass::Quarter),
    ("2", MultiPass::Full),
];

const B_REF: &[(&str, BRef)] = &[
    ("disabled", BRef::None),
    ("each", BRef::Each),
    ("middle", BRef::Middle),
    ("0", BRef::None),
    ("1", BRef::Each),
    ("2", BRef::Middle),
];

const SPLIT: &[(&str, Split)] = &[
    ("auto", Split::Auto),
    ("0", Split::Auto),
    ("forced", Split::Forced),
    ("1", Split::Forced),
    ("2", Split::Engines(2)),
    ("3", Split::Engines(3)),
    ("4", Split::Engines(4)),
    ("disabled", Split::Off),
    ("15", Split::Off),
];

const ENTROPY: &[(&str, Option<Entropy>)] =
    &[("cabac", Some(Entropy::Cabac)), ("cavlc", Some(Entropy::Cavlc)), ("default", None), ("auto", None)];

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Vbr,
    Cbr,
    Qp,
}

/// What options say that only all of them together decide.
struct Said {
    mode: Mode,
    cq: Option<f32>,
    qp: Option<u32>,
    filler: bool,
    depth: Option<u16>,
    effort: Option<u32>,
    no_scene_cut: bool,
    fixed_b: bool,
    aq: bool,
    strength: Option<u32>,
    refresh: bool,
    single_slice: bool,
    zero_latency: bool,
    least: Option<u32>,
    most: Option<u32>,
}

impl Config {
    /// The configuration that `settings` mean for pictures of `surface`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the option (`video.options.tune: …`) that is not known, out of range, or at
    /// odds with another.
    pub fn new(codec: &Codec, settings: &Settings, surface: Surface) -> Result<Config> {
        let codec =
            codec_of(codec).ok_or_else(|| Error::unsupported(format!("nvenc does not make {codec}")))?;
        let mut c = EncodeConfig::new(codec, 0, 0, (25, 1), RateControl::Lossless);
        c.surface = surface;
        c.b_frames = settings.b_frames;
        // 250 is what other encoders take when nothing is said; a driver alone would never make another key frame.
        c.gop = Some(settings.gop.unwrap_or(250)).filter(|g| *g < super::NO_KEYS);
        let mut config = Config {
            encode: c,
            gpu: None,
            given: settings.options.iter().map(|(name, _)| name.clone()).collect(),
        };
        let mut said = Said {
            mode: Mode::Vbr,
            cq: None,
            qp: None,
            filler: false,
            depth: None,
            effort: None,
            no_scene_cut: false,
            fixed_b: false,
            aq: false,
            strength: None,
            refresh: false,
            single_slice: false,
            zero_latency: false,
            least: None,
            most: None,
        };
        for (name, value) in &settings.options {
            config.option(&mut said, name, value)?;
        }
        config.finish(&said, settings)?;
        Ok(config)
    }

    fn option(&mut self, said: &mut Said, n: &str, v: &str) -> Result<()> {
        let c = &mut self.encode;
        let av1 = c.codec == nv::Codec::Av1;
        let top = if av1 { 255 } else { 51 };
        match n {
            "preset" => {
                let digit = v.strip_prefix('p').and_then(|d| d.parse().ok());
                c.preset = match digit.filter(|d| (1..=7).contains(d)) {
                    Some(preset) => preset,
                    None => return bad(n, format!("{v:?} is none of p1 to p7")),
                };
            }
            "tune" => c.tuning = word(n, v, TUNINGS)?,
            "profile" => c.profile = profile(c.codec, n, v)?,
            "level" if v == "auto" || v == "0" => c.level = None,
            "level" => {
                let (major, minor) = v.split_once('.').unwrap_or((v, "0"));
                let (major, minor) = (number(n, major, 1, 8)?, number(n, minor, 0, 3)?);
                c.level = Some(match c.codec {
                    nv::Codec::H264 => major * 10 + minor,
                    nv::Codec::Hevc => major * 30 + minor * 3,
                    nv::Codec::Av1 => major.saturating_sub(2) * 4 + minor,
                });
            }
            "tier" => {
                c.high_tier = word(n, v, &[("main", false), ("high", true), ("0", false), ("1", true)])?;
            }
            "rc" => said.mode = word(n, v, &[("constqp", Mode::Qp), ("vbr", Mode::Vbr), ("cbr", Mode::Cbr)])?,
            "cq" => {
                let high = if av1 { 63.0 } else { 51.0 };
                said.cq = match v.parse::<f32>() {
                    // The driver takes 0 for its own choice; this is the step above it.
                    Ok(q) if (0.0..=high).contains(&q) => Some(q.max(1.0 / 256.0)),
                    _ => return bad(n, format!("{v:?} is not a quality from 0 to {high}")),
                };
            }
            "qp" => said.qp = Some(number(n, v, 0, top)?),
            "qmin" => said.least = Some(number(n, v, 0, top)?),
            "qmax" => said.most = Some(number(n, v, 0, top)?),
            "multipass" => c.multipass = Some(word(n, v, MULTIPASS)?),
            "b_ref_mode" => c.b_ref = Some(word(n, v, B_REF)?),
            "rc-lookahead" => said.depth = Some(number(n, v, 0, 250)? as u16),
            "lookahead_level" => {
                said.effort = if v == "auto" || v == "15" { None } else { Some(number(n, v, 0, 3)?) };
            }
            "no-scenecut" => said.no_scene_cut = switch(n, v)?,
            "b_adapt" => said.fixed_b = !switch(n, v)?,
            "spatial-aq" | "spatial_aq" => said.aq = switch(n, v)?,
            "aq-strength" => said.strength = Some(number(n, v, 1, 15)?),
            "temporal-aq" | "temporal_aq" => c.temporal_aq = Some(switch(n, v)?),
            "weighted_pred" => c.weighted_prediction = switch(n, v)?,
            "tf_level" => c.temporal_filter = Some(word(n, v, &[("0", false), ("4", true)])?),
            "intra-refresh" => said.refresh = switch(n, v)?,
            "single-slice-intra-refresh" => said.single_slice = switch(n, v)?,
            "zerolatency" => said.zero_latency = switch(n, v)?,
            "nonref_p" => c.non_reference_p = switch(n, v)?,
            "strict_gop" => c.strict_gop = switch(n, v)?,
            "coder" => c.entropy = word(n, v, ENTROPY)?,
            "aud" => c.delimiters = switch(n, v)?,
            "repeat-headers" => c.repeat_headers = switch(n, v)?,
            "cbr_padding" => said.filler = switch(n, v)?,
            "dpb_size" => c.max_references = Some(number(n, v, 0, 16)?).filter(|n| *n > 0),
            "split_encode_mode" => c.split = word(n, v, SPLIT)?,
            "highbitdepth" => c.output_depth = switch(n, v)?.then_some(10),
            "gpu" => self.gpu = if v == "any" { None } else { Some(number(n, v, 0, 255)?) },
            "surfaces" => c.depth = Some(number(n, v, 1, 64)?),
            // Forced key frames always begin a new sequence here, and packets leave as soon as they are coded.
            "forced-idr" if switch(n, v)? => {}
            "delay" if v == "0" => {}
            _ => return bad(n, "nvenc does not take it"),
        }
        Ok(())
    }

    fn finish(&mut self, said: &Said, s: &Settings) -> Result<()> {
        let c = &mut self.encode;
        let (rate, max, buffer) = (s.bit_rate.unwrap_or(0), s.max_rate.unwrap_or(0), s.buffer.unwrap_or(0));
        let max = if max > 0 { Some(bits("max_bitrate", max)?) } else { None };
        c.vbv_size = if buffer > 0 { Some(bits("buffer", buffer)?) } else { None };
        c.rate = match said.mode {
            Mode::Qp if c.tuning == Tuning::Lossless => RateControl::Lossless,
            _ if c.tuning == Tuning::Lossless => {
                return bad("tune", "lossless is asked for by the document's field lossless");
            }
            Mode::Qp => match said.qp {
                Some(qp) => RateControl::ConstQp { i: qp, p: qp, b: qp },
                None => return bad("rc", "constqp needs qp"),
            },
            Mode::Cbr if rate > 0 => {
                RateControl::Cbr { bitrate: bits("bitrate", rate)?, filler: said.filler }
            }
            Mode::Cbr => return bad("rc", "cbr needs bitrate"),
            Mode::Vbr if rate > 0 => {
                RateControl::Vbr { bitrate: bits("bitrate", rate)?, max_bitrate: max, quality: said.cq }
            }
            Mode::Vbr => match said.cq {
                Some(quality) => RateControl::Cq { quality, max_bitrate: max },
                None => return bad("rc", "vbr needs bitrate or crf"),
            },
        };
        if said.cq.is_some() && !matches!(c.rate, RateControl::Vbr { .. } | RateControl::Cq { .. }) {
            return bad("cq", "needs a bitrate without cbr, or crf");
        }
        if said.filler && !matches!(c.rate, RateControl::Cbr { .. }) {
            return bad("cbr_padding", "needs cbr");
        }
        if said.zero_latency {
            if c.b_frames.is_some_and(|b| b > 0) {
                return Err(Error::invalid("video.b_frames", "excludes zerolatency (tune ull)"));
            }
            if said.depth.is_some_and(|d| d > 0) {
                return Err(Error::invalid("video.lookahead", "excludes zerolatency (tune ull)"));
            }
            c.b_frames = Some(0);
            c.zero_reorder = true;
        }
        match said.depth {
            Some(depth) => {
                c.lookahead = Some(Lookahead {
                    depth,
                    level: said.effort,
                    scene_cut: !said.no_scene_cut,
                    adaptive_b: !said.fixed_b,
                });
            }
            None if said.effort.is_some() => return bad("lookahead_level", "needs lookahead"),
            None => {}
        }
        match (said.aq, said.strength) {
            (true, strength) => c.spatial_aq = Some(strength.unwrap_or(0)),
            (false, Some(_)) => return bad("aq-strength", "needs spatial-aq"),
            (false, None) => {}
        }
        if let (Some(low), Some(high)) = (said.least, said.most)
            && low > high
        {
            return bad("qmin", "is above qmax");
        }
        c.min_qp = said.least.map(|q| [q; 3]);
        c.max_qp = said.most.map(|q| [q; 3]);
        if c.b_ref.is_some_and(|r| r != BRef::None) && c.b_frames == Some(0) {
            return bad("b_ref_mode", "there are no B-frames");
        }
        match (said.refresh, said.single_slice) {
            (false, true) => return bad("single-slice-intra-refresh", "needs intra-refresh"),
            (true, single_slice) => {
                let Some(period) = c.gop.filter(|g| *g > 1) else {
                    return bad(
                        "intra-refresh",
                        "needs a gop above 1: the time from one refresh to the next",
                    );
                };
                c.intra_refresh = Some(IntraRefresh { period, count: period - 1, single_slice });
                c.gop = None;
            }
            (false, false) => {}
        }
        Ok(())
    }

    /// Refuses what a device that answered `capabilities` lacks, whose driver speaks `api`. `who` names it. A size that is
    /// not known yet is not checked.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] naming the document's field or option and the device.
    pub fn check(
        &self,
        size: Option<(u32, u32)>,
        capabilities: &Capabilities,
        api: ApiVersion,
        who: &str,
    ) -> Result<()> {
        let mut asked = self.encode.clone();
        let least = (capabilities.width_min.max(16) as u32, capabilities.height_min.max(16) as u32);
        (asked.width, asked.height) = size.unwrap_or(least);
        capabilities.check(&asked, api).map_err(|refusal| {
            let field = self.document_field(refusal.field, &asked, capabilities);
            Error::unsupported(format!("video.{field}: {} ({who})", refusal.reason))
        })
    }

    /// The document's words for a field of the configuration.
    fn document_field(&self, field: &str, asked: &EncodeConfig, capabilities: &Capabilities) -> String {
        let given = |names: &[&str]| {
            let name = names.iter().find(|n| self.given.iter().any(|g| g == *n)).or(names.first());
            format!("options.{}", name.copied().unwrap_or_default())
        };
        match field {
            "width" if asked.height > capabilities.height_max.max(0) as u32 => "height".into(),
            "width" if asked.height < capabilities.height_min.max(0) as u32 => "height".into(),
            "surface" => "pixel_format".into(),
            "output_depth" => "bit_depth".into(),
            "tuning" => "tune".into(),
            "rate" => match self.encode.rate {
                RateControl::Lossless => "lossless",
                RateControl::Cbr { .. } => "cbr",
                RateControl::Vbr { .. } => "bitrate",
                RateControl::Cq { .. } => "crf",
                RateControl::ConstQp { .. } => "qp",
            }
            .into(),
            "vbv_size" => "buffer".into(),
            "b_ref" => given(&["b_ref_mode"]),
            "spatial_aq" => given(&["aq-strength", "spatial-aq", "spatial_aq"]),
            "temporal_aq" => given(&["temporal-aq", "temporal_aq"]),
            "temporal_filter" => given(&["tf_level"]),
            "weighted_prediction" => given(&["weighted_pred"]),
            "intra_refresh" => given(&["intra-refresh"]),
            "max_references" => given(&["dpb_size"]),
            "high_tier" => given(&["tier"]),
            "entropy" => given(&["coder"]),
            "delimiters" => given(&["aud"]),
            "split" => given(&["split_encode_mode"]),
            same => same.into(),
        }
    }
}

fn profile(codec: nv::Codec, name: &str, value: &str) -> Result<Profile> {
    let known: &[(&str, Profile)] = match codec {
        nv::Codec::H264 => &[
            ("baseline", Profile::Baseline),
            ("main", Profile::Main),
            ("high", Profile::High),
            ("high10", Profile::High10),
            ("high422", Profile::High422),
            ("high444", Profile::High444),
            ("high444p", Profile::High444),
        ],
        nv::Codec::Hevc => &[
            ("main", Profile::Main),
            ("main10", Profile::Main10),
            ("rext", Profile::RangeExtensions),
            ("main422-10", Profile::RangeExtensions),
            ("main444", Profile::RangeExtensions),
            ("main444-10", Profile::RangeExtensions),
        ],
        nv::Codec::Av1 => &[("main", Profile::Main)],
    };
    word(name, value, known)
}

/// How far pictures are moved from their turn when they are coded, at most.
pub(super) fn reorder(config: &Config, b_frames: u32) -> u32 {
    match (config.encode.b_ref, b_frames) {
        (_, 0 | 1) => b_frames,
        (Some(BRef::None), _) => 1,
        (Some(BRef::Middle), _) => 2,
        // What the driver makes of it is not known.
        _ => b_frames,
    }
}

/// Colour in the numbers of H.273.
pub(super) fn vui(colour: Colour) -> nv::Vui {
    nv::Vui {
        primaries: colour.primaries.into(),
        transfer: colour.transfer.into(),
        matrix: colour.matrix.into(),
        full_range: colour.range == ColourRange::Full,
        chroma_location: chroma_location(colour),
    }
}

/// Chroma's place in H.264's numbers.
fn chroma_location(colour: Colour) -> Option<u32> {
    Some(match colour.chroma {
        ChromaLocation::Unspecified => return None,
        ChromaLocation::Left => 0,
        ChromaLocation::Center => 1,
        ChromaLocation::TopLeft => 2,
        ChromaLocation::Top => 3,
        ChromaLocation::BottomLeft => 4,
        ChromaLocation::Bottom => 5,
    })
}
