//! The one vocabulary of [`VideoSpec`] in the words of each encoder: a pure function from document to settings.

use super::presets::{
    Force, Knob, LevelForm, Live, Lossless, Peak, Scale, Set, Table, TwoPass, table, unknown,
};
use crate::error::{Error, Result};
use crate::frame::{Colour, HdrMetadata, MasteringDisplay};
use crate::spec::{Preset, Tune, VideoSpec};

/// Frames between key frames when only the grid decides: far beyond any segment, within every encoder's range.
const NO_LIMIT: u32 = 60_000;

/// What [`map`] is asked about.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// FFmpeg's name of the encoder.
    pub encoder: &'a str,
    /// What is wanted.
    pub spec: &'a VideoSpec,
    /// Whether key frames come on a grid (and nowhere else).
    pub grid: bool,
    /// Bits per sample of the frames.
    pub depth: u8,
    /// Colour of the frames.
    pub colour: Colour,
    /// HDR metadata to write.
    pub hdr: HdrMetadata,
    /// Encoder threads; 0 = the encoder's choice.
    pub threads: u32,
    /// Which of two passes this is (1 or 2), and where statistics lie that pass through a file.
    pub pass: Option<(u8, &'a str)>,
}

/// An encoder's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Average bits per second; `Some(0)` says "none" to encoders with a default.
    pub bit_rate: Option<u64>,
    /// Peak bits per second.
    pub max_rate: Option<u64>,
    /// Decoder buffer in bits.
    pub buffer: Option<u64>,
    /// Fixed quantiser in FFmpeg's lambda units (118 a step).
    pub quality: Option<i32>,
    /// Frames from one key frame to the next at most.
    pub gop: Option<u32>,
    /// B-frames.
    pub b_frames: Option<u32>,
    /// 1 or 2 in a two-pass encode.
    pub pass: Option<u8>,
    /// Groups of pictures must not refer to each other (a flag that only some encoders read).
    pub closed_gop: bool,
    /// Threads; 0 = the encoder's choice.
    pub threads: u32,
    /// FFmpeg options, the library's own parameters joined into one.
    pub options: Vec<(String, String)>,
    /// Whether the encoder takes a forced key frame; if not it must be opened again there.
    pub can_force: bool,
    /// Whether and how the bit rate can change while it runs.
    pub live: bool,
    /// Whether a changed bit rate means opening the encoder again.
    pub live_by_restart: bool,
    /// Rate control in words, for the plan.
    pub summary: String,
    /// What is only approximated, for the plan.
    pub notes: Vec<String>,
}

/// FFmpeg's `FF_QP2LAMBDA`.
const LAMBDA: f64 = 118.0;

fn refuse<T>(field: &str, message: impl std::fmt::Display) -> Result<T> {
    Err(Error::unsupported(format!("video.{field}: {message}")))
}

/// The settings of `request.encoder` for `request.spec`.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] naming the field (`video.lossless: libsvtav1 cannot …`) for what the encoder
/// cannot do; [`crate::ErrorKind::Invalid`] for a value outside its range.
pub fn map(request: &Request<'_>) -> Result<Settings> {
    let table = table(request.encoder).unwrap_or_else(unknown);
    let mut m =
        Mapper { request, table: &table, out: Settings::default(), params: Vec::new(), no_peak: false };
    m.set_all(table.always);
    m.preset()?;
    m.tune()?;
    m.rate()?;
    m.gop()?;
    m.lookahead()?;
    m.profile()?;
    m.level()?;
    m.two_pass()?;
    m.hdr();
    m.threads();
    m.user_options();
    m.finish()
}

struct Mapper<'a> {
    request: &'a Request<'a>,
    table: &'a Table,
    out: Settings,
    params: Vec<(String, String)>,
    no_peak: bool,
}

impl Mapper<'_> {
    fn name(&self) -> &str {
        self.request.encoder
    }

    fn option(&mut self, key: &str, value: impl Into<String>) {
        put(&mut self.out.options, key, value.into());
    }

    fn param(&mut self, key: &str, value: impl Into<String>) {
        put(&mut self.params, key, value.into());
    }

    fn set_all(&mut self, sets: &[Set]) {
        for set in sets {
            match set {
                Set::Option(key, value) => self.option(key, *value),
                Set::Param(key, value) => self.param(key, *value),
                Set::BFrames(count) => self.out.b_frames = Some(*count),
                Set::MinRate => {
                    if let Some(rate) = self.request.spec.bitrate {
                        self.option("minrate", rate.0.to_string());
                    }
                }
                Set::FixedGop => {
                    let gop = self.request.spec.gop.unwrap_or(NO_LIMIT);
                    self.option("keyint_min", gop.to_string());
                }
                Set::NoPeak => self.no_peak = true,
            }
        }
    }

    /// Turns a knob; `false` when it is [`Knob::None`].
    fn turn(&mut self, knob: Knob, value: &str) -> bool {
        match knob {
            Knob::None => return false,
            Knob::Option(key) => self.option(key, value),
            Knob::Param(key) => self.param(key, value),
            Knob::Quality => {
                self.out.quality = value.parse::<f64>().ok().map(|v| (v * LAMBDA).round() as i32);
            }
            Knob::PinnedCrf => {
                for key in ["crf", "qmin", "qmax"] {
                    self.option(key, value);
                }
            }
            Knob::PerType(keys) => {
                for key in keys {
                    self.option(key, value);
                }
            }
        }
        true
    }

    fn preset(&mut self) -> Result<()> {
        let Some((knob, values)) = &self.table.presets else {
            return match self.request.spec.preset {
                Some(_) => refuse("preset", format!("{} has none", self.name())),
                None => Ok(()),
            };
        };
        let preset = self.request.spec.preset.unwrap_or(Preset::P4);
        self.turn(*knob, values[preset as usize]);
        Ok(())
    }

    fn tune(&mut self) -> Result<()> {
        let (word, sets) = match self.request.spec.tune {
            None | Some(Tune::Hq) => {
                self.set_all(self.table.high_quality);
                return Ok(());
            }
            Some(Tune::Lossless) => return Ok(()),
            Some(Tune::Ll) => ("ll", self.table.low_latency),
            Some(Tune::Ull) => ("ull", self.table.ultra_low_latency),
        };
        if self.table.force == Force::Always {
            // Every picture stands alone already: nothing waits for another.
            return Ok(());
        }
        match sets {
            Some(sets) => {
                self.set_all(sets);
                Ok(())
            }
            None => refuse("tune", format!("{} has no mode for {word}", self.name())),
        }
    }

    fn rate(&mut self) -> Result<()> {
        let spec = self.request.spec;
        let lossless = spec.lossless || spec.tune == Some(Tune::Lossless);
        if lossless {
            for (field, set) in
                [("crf", spec.crf.is_some()), ("qp", spec.qp.is_some()), ("bitrate", spec.bitrate.is_some())]
            {
                if set {
                    return Err(Error::invalid(format!("video.{field}"), "excludes lossless"));
                }
            }
            self.no_rate_limit("lossless")?;
            return self.lossless();
        }
        if let Some(qp) = spec.qp {
            self.no_rate_limit("qp")?;
            let Some(scale) = &self.table.qp else {
                return refuse("qp", format!("{} has no constant quantiser", self.name()));
            };
            let value = self.value("qp", scale, f64::from(qp))?;
            self.set_all(self.table.qp_mode);
            self.out.bit_rate = Some(0);
            self.turn(scale.knob, &value);
            self.out.summary = format!("qp {value}");
            return Ok(());
        }
        match spec.bitrate {
            Some(_) if spec.crf.is_some() => {
                Err(Error::invalid("video.bitrate", "excludes crf; max_bitrate bounds a constant quality"))
            }
            Some(rate) => self.bitrate(rate.0),
            None => self.quality(),
        }
    }

    fn no_rate_limit(&self, mode: &str) -> Result<()> {
        let spec = self.request.spec;
        for (field, set) in [("max_bitrate", spec.max_bitrate.is_some()), ("buffer", spec.buffer.is_some())] {
            if set {
                return Err(Error::invalid(format!("video.{field}"), format!("excludes {mode}")));
            }
        }
        Ok(())
    }

    fn lossless(&mut self) -> Result<()> {
        match self.table.lossless {
            Lossless::No => return refuse("lossless", format!("{} cannot code without loss", self.name())),
            Lossless::Always => {}
            Lossless::By(sets) => {
                self.out.bit_rate = Some(0);
                self.set_all(sets);
            }
        }
        if self.table.name == "libx264"
            && let Some(profile) = self.request.spec.profile.as_deref()
            && profile != "high444"
        {
            return refuse(
                "profile",
                format!("libx264 codes without loss in high444 only, not in {profile}"),
            );
        }
        self.out.summary = "lossless".into();
        Ok(())
    }

    fn bitrate(&mut self, rate: u64) -> Result<()> {
        let spec = self.request.spec;
        if !self.table.bitrate {
            return refuse("bitrate", format!("{} cannot aim at a bit rate", self.name()));
        }
        self.out.bit_rate = Some(rate);
        if spec.cbr {
            let Some(sets) = self.table.cbr else {
                return refuse("cbr", format!("{} has no constant bit rate", self.name()));
            };
            if spec.max_bitrate.is_some_and(|max| max.0 != rate) {
                return Err(Error::invalid("video.max_bitrate", "excludes cbr: the peak is the bit rate"));
            }
            self.set_all(sets);
            if !self.no_peak {
                self.out.max_rate = Some(rate);
            }
            self.out.buffer = Some(spec.buffer.map_or(rate, |b| b.0));
            self.out.summary = format!("constant {} bit/s", crate::spec::Bitrate(rate));
            return Ok(());
        }
        self.set_all(self.table.vbr);
        self.out.summary = format!("average {} bit/s", crate::spec::Bitrate(rate));
        // A buffer without a peak means what it says in the standard: fed at the average rate.
        let max = spec.max_bitrate.map(|m| m.0).or(spec.buffer.map(|_| rate));
        if let Some(max) = max {
            self.peak(self.table.peak, rate, max)?;
        }
        Ok(())
    }

    fn peak(&mut self, peak: Peak, rate: u64, max: u64) -> Result<()> {
        let spec = self.request.spec;
        let shown = crate::spec::Bitrate(max);
        match peak {
            Peak::None => {
                let field = if spec.max_bitrate.is_some() { "max_bitrate" } else { "buffer" };
                return refuse(field, format!("{} cannot bound its peak here", self.name()));
            }
            Peak::Vbv => {
                self.out.max_rate = Some(max);
                self.out.buffer = Some(spec.buffer.map_or(max, |b| b.0));
            }
            Peak::Rough => {
                self.out.max_rate = Some(max);
                self.out.buffer = Some(spec.buffer.map_or(max, |b| b.0));
                self.out.notes.push(format!("{} keeps max_bitrate only roughly", self.name()));
            }
            Peak::Percent(knob) => {
                if spec.buffer.is_some() {
                    return refuse("buffer", format!("{} has no buffer model with bitrate", self.name()));
                }
                let percent = (max.saturating_mul(100) / rate.max(1)).clamp(100, 10_000);
                self.turn(knob, &percent.to_string());
                self.out.notes.push(format!("{} keeps max_bitrate only roughly", self.name()));
            }
        }
        self.out.summary += &format!(", at most {shown} bit/s");
        Ok(())
    }

    fn quality(&mut self) -> Result<()> {
        let spec = self.request.spec;
        let (scale, word, mode) = match (&self.table.crf, &self.table.qp) {
            (Some(scale), _) => (scale, "crf", self.table.quality_mode),
            (None, _) if spec.crf.is_some() => {
                return refuse("crf", format!("{} has no constant quality", self.name()));
            }
            (None, Some(scale)) => (scale, "qp", self.table.qp_mode),
            (None, None) => {
                self.no_rate_limit(&format!("{} (it has no rate control)", self.name()))?;
                self.out.summary = match self.table.lossless {
                    Lossless::Always => "lossless".into(),
                    _ => "the encoder's own rate".into(),
                };
                return Ok(());
            }
        };
        let value = match spec.crf {
            Some(crf) => self.value("crf", scale, crf)?,
            None => number(scale.default),
        };
        self.set_all(mode);
        self.out.bit_rate = Some(0);
        self.turn(scale.knob, &value);
        self.out.summary = format!("{word} {value}");
        if let Some(max) = spec.max_bitrate {
            match if word == "crf" { self.table.crf_peak } else { Peak::None } {
                Peak::Rough => {
                    // "Constrained quality": the quality as asked, the average at most the bit rate.
                    self.out.bit_rate = Some(max.0);
                    self.out.buffer = spec.buffer.map(|b| b.0);
                    let note =
                        format!("{} bounds the average, not the peak, to max_bitrate with crf", self.name());
                    self.out.notes.push(note);
                    self.out.summary += &format!(", at most {max} bit/s");
                }
                peak => self.peak(peak, max.0, max.0)?,
            }
        } else if spec.buffer.is_some() {
            return Err(Error::invalid("video.buffer", "needs max_bitrate or bitrate"));
        }
        Ok(())
    }

    fn value(&self, field: &str, scale: &Scale, value: f64) -> Result<String> {
        if !scale.range.contains(&value) {
            let (low, high) = (number(*scale.range.start()), number(*scale.range.end()));
            let message = format!("{} takes {low} to {high}, not {}", self.name(), number(value));
            return Err(Error::invalid(format!("video.{field}"), message));
        }
        if !scale.fractions && value.fract() != 0.0 {
            let message = format!("{} takes whole numbers, not {value}", self.name());
            return Err(Error::invalid(format!("video.{field}"), message));
        }
        Ok(number(value))
    }

    fn gop(&mut self) -> Result<()> {
        let spec = self.request.spec;
        if !self.table.gop {
            // Every picture is a key frame, so any wish for more key frames is fulfilled, and one for fewer is not.
            if spec.gop.is_some_and(|g| g > 1) {
                return refuse("gop", format!("{} makes every frame a key frame", self.name()));
            }
        } else {
            // FFmpeg's MPEG encoders take no more.
            let most = if self.request.encoder.starts_with("mpeg") { 600 } else { NO_LIMIT };
            self.out.gop = spec.gop.or(self.request.grid.then_some(most));
        }
        if self.request.grid {
            self.set_all(self.table.grid);
            self.out.closed_gop = true;
        }
        let Some(wanted) = spec.b_frames else { return Ok(()) };
        if wanted > 0 && self.out.b_frames == Some(0) {
            return Err(Error::invalid("video.b_frames", "excludes tune ll and ull"));
        }
        match self.table.b_frames {
            None if wanted == 0 && self.table.force == Force::Always => {}
            None => return refuse("b_frames", format!("{} cannot choose them", self.name())),
            Some(0) if wanted > 0 => {
                return refuse(
                    "b_frames",
                    format!("{} chooses them itself; only 0 can be asked for", self.name()),
                );
            }
            Some(most) if wanted > most => {
                return refuse("b_frames", format!("{} makes at most {most}", self.name()));
            }
            Some(0) => self.set_all(self.table.no_b_frames),
            Some(_) => {
                self.out.b_frames = Some(wanted);
                if wanted == 0 {
                    self.set_all(self.table.no_b_frames);
                }
            }
        }
        Ok(())
    }

    fn lookahead(&mut self) -> Result<()> {
        let Some(frames) = self.request.spec.lookahead else { return Ok(()) };
        if !self.turn(self.table.lookahead, &frames.to_string()) {
            return refuse("lookahead", format!("{} has none to choose", self.name()));
        }
        Ok(())
    }

    fn profile(&mut self) -> Result<()> {
        if !self.table.depths.contains(&self.request.depth) {
            let depths: Vec<String> = self.table.depths.iter().map(u8::to_string).collect();
            let message =
                format!("{} takes {} bits, not {}", self.name(), depths.join(" or "), self.request.depth);
            return refuse("bit_depth", message);
        }
        let Some(name) = self.request.spec.profile.as_deref() else { return Ok(()) };
        let (knob, profiles) = self.table.profiles;
        let Some(profile) = profiles.iter().find(|p| p.name == name) else {
            let known: Vec<&str> = profiles.iter().map(|p| p.name).collect();
            return match known.is_empty() {
                true => refuse("profile", format!("{} has none to choose", self.name())),
                false => refuse("profile", format!("{} has {}, not {name}", self.name(), known.join(", "))),
            };
        };
        if profile.depth < self.request.depth {
            let message = format!("{name} holds {} bits, not {}", profile.depth, self.request.depth);
            return refuse("profile", message);
        }
        if !profile.b_frames && self.request.spec.b_frames.is_some_and(|b| b > 0) {
            return Err(Error::invalid("video.b_frames", format!("profile {name} has none")));
        }
        self.turn(knob, profile.value);
        Ok(())
    }

    fn level(&mut self) -> Result<()> {
        let Some(text) = self.request.spec.level.as_deref() else { return Ok(()) };
        let (knob, form) = self.table.level;
        if knob == Knob::None {
            return refuse("level", format!("{} chooses it itself", self.name()));
        }
        let Some((major, minor)) = parse_level(text) else {
            return Err(Error::invalid("video.level", format!("{text:?} is not a level such as 4.1")));
        };
        let value = match form {
            LevelForm::Dotted if minor == 0 => major.to_string(),
            LevelForm::Dotted | LevelForm::Full => format!("{major}.{minor}"),
            LevelForm::Tens => (major * 10 + minor).to_string(),
        };
        self.turn(knob, &value);
        Ok(())
    }

    fn two_pass(&mut self) -> Result<()> {
        let Some((pass, file)) = self.request.pass else {
            return match (self.request.spec.two_pass, self.table.two_pass) {
                (true, TwoPass::No) => refuse("two_pass", format!("{} has no two-pass mode", self.name())),
                _ => Ok(()),
            };
        };
        self.out.pass = Some(pass);
        match self.table.two_pass {
            TwoPass::No => return refuse("two_pass", format!("{} has no two-pass mode", self.name())),
            TwoPass::Memory => {}
            TwoPass::File(option) => self.option(option, file),
            TwoPass::FileParam(stats, number) => {
                self.param(stats, escape(file));
                self.param(number, pass.to_string());
                self.out.pass = None;
            }
        }
        self.out.summary += &format!(", pass {pass} of 2");
        Ok(())
    }

    fn hdr(&mut self) {
        if !self.request.colour.is_hdr() {
            return;
        }
        let hdr = &self.request.hdr;
        match self.table.name {
            "libx265" => {
                if self.request.colour.is_pq() {
                    self.param("hdr10", "1");
                }
                if let Some(m) = &hdr.mastering {
                    self.param("master-display", x265_mastering(m));
                }
                if let Some(light) = &hdr.content_light {
                    self.param("max-cll", format!("{},{}", light.max_content, light.max_average));
                }
            }
            "libsvtav1" => {
                if let Some(m) = &hdr.mastering {
                    self.param("mastering-display", svt_mastering(m));
                }
                if let Some(light) = &hdr.content_light {
                    self.param("content-light", format!("{},{}", light.max_content, light.max_average));
                }
            }
            _ => {}
        }
    }

    fn threads(&mut self) {
        self.out.threads = self.request.threads;
        if self.request.threads > 0 {
            self.turn(self.table.threads, &self.request.threads.to_string());
        }
    }

    fn user_options(&mut self) {
        for (key, value) in &self.request.spec.options {
            if self.table.params.contains(&key.as_str()) {
                for part in split_params(value) {
                    let (k, v) = part.split_once('=').unwrap_or((&part, "1"));
                    put(&mut self.params, k, v.to_string());
                }
            } else {
                put(&mut self.out.options, key, value.clone());
            }
        }
    }

    fn finish(mut self) -> Result<Settings> {
        let quality = self.out.bit_rate.is_none_or(|b| b == 0);
        self.out.can_force = match self.table.force {
            Force::PictureType | Force::Always => true,
            Force::Restart => false,
            // Low-delay structures cannot either.
            Force::QualityModesOnly => quality && !self.params.iter().any(|(k, _)| k == "pred-struct"),
        };
        if self.request.grid && !self.out.can_force && self.request.spec.two_pass {
            let why = "is opened again at every key frame of the grid, which two passes do not survive";
            return refuse("two_pass", format!("{} {why}", self.name()));
        }
        if self.table.force == Force::QualityModesOnly && self.out.can_force {
            self.param("enable-force-key-frames", "1");
        }
        (self.out.live, self.out.live_by_restart) = match self.table.live {
            _ if quality => (false, false),
            Live::No => (false, false),
            Live::Native => (true, false),
            Live::NativeWithPeak => (self.out.max_rate.is_some(), false),
            Live::Restart => (self.out.pass.is_none(), true),
        };
        if !self.params.is_empty()
            && let Some(key) = self.table.params.first()
        {
            let joined: Vec<String> = self.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            put(&mut self.out.options, key, joined.join(":"));
        }
        Ok(self.out)
    }
}

/// Replaces the value of `key`, or adds it: what comes later wins.
fn put(list: &mut Vec<(String, String)>, key: &str, value: String) {
    match list.iter_mut().find(|(k, _)| k == key) {
        Some((_, old)) => *old = value,
        None => list.push((key.into(), value)),
    }
}

/// Quotes what separates entries in FFmpeg's dictionary syntax.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, ':' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Splits `a=1:b=2` at colons that no backslash quotes; the quoting stays.
fn split_params(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match parts.last_mut() {
            Some(part) if c != ':' || quoted => part.push(c),
            _ => parts.push(String::new()),
        }
        quoted = c == '\\' && !quoted;
    }
    parts.retain(|p| !p.is_empty());
    parts
}

fn number(value: f64) -> String {
    // Rust prints 23.0 as "23" and 22.5 as "22.5".
    value.to_string()
}

fn parse_level(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    ((1..=8).contains(&major) && minor <= 3).then_some((major, minor))
}

/// x265 counts chromaticity in 0.00002 and luminance in 0.0001 cd/m².
fn x265_mastering(m: &MasteringDisplay) -> String {
    let xy = |p: [f64; 2]| format!("({},{})", (p[0] * 50_000.0).round(), (p[1] * 50_000.0).round());
    let [r, g, b] = m.primaries;
    let luminance = |l: f64| (l * 10_000.0).round();
    format!(
        "G{}B{}R{}WP{}L({},{})",
        xy(g),
        xy(b),
        xy(r),
        xy(m.white),
        luminance(m.max_luminance),
        luminance(m.min_luminance)
    )
}

/// SVT-AV1 takes the plain values.
fn svt_mastering(m: &MasteringDisplay) -> String {
    let xy = |p: [f64; 2]| format!("({:.5},{:.5})", p[0], p[1]);
    let [r, g, b] = m.primaries;
    format!("G{}B{}R{}WP{}L({:.4},{:.4})", xy(g), xy(b), xy(r), xy(m.white), m.max_luminance, m.min_luminance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::spec::Bitrate;

    fn spec(json: &str) -> VideoSpec {
        serde_json::from_str(json).unwrap()
    }

    fn request<'a>(encoder: &'a str, spec: &'a VideoSpec) -> Request<'a> {
        Request {
            encoder,
            spec,
            grid: false,
            depth: spec.bit_depth.unwrap_or(if encoder == "prores_ks" { 10 } else { 8 }),
            colour: Colour::default(),
            hdr: HdrMetadata::default(),
            threads: 0,
            pass: None,
        }
    }

    fn settings(encoder: &str, json: &str) -> Settings {
        let spec = spec(json);
        map(&request(encoder, &spec)).unwrap_or_else(|e| panic!("{encoder} {json}: {e}"))
    }

    fn refused(encoder: &str, json: &str, field: &str) -> Error {
        let spec = spec(json);
        let e = map(&request(encoder, &spec)).expect_err(&format!("{encoder} {json}"));
        assert!(e.message().starts_with(&format!("video.{field}: ")), "{encoder} {json}: {e}");
        e
    }

    fn option<'a>(s: &'a Settings, key: &str) -> Option<&'a str> {
        s.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    #[test]
    fn nothing_said_means_the_default_quality_and_the_middle_preset() {
        for (encoder, crf, preset) in [
            ("libx264", "23", ("preset", "medium")),
            ("libx265", "26", ("preset", "medium")),
            ("libsvtav1", "32", ("preset", "8")),
            ("libaom-av1", "30", ("cpu-used", "5")),
            ("libvpx-vp9", "32", ("cpu-used", "4")),
        ] {
            let s = settings(encoder, "{}");
            assert_eq!((option(&s, "crf"), option(&s, preset.0)), (Some(crf), Some(preset.1)), "{encoder}");
            assert_eq!(s.bit_rate, Some(0), "{encoder}");
        }
        assert_eq!(option(&settings("h264_nvenc", "{}"), "cq"), Some("23"));
        assert_eq!(option(&settings("h264_vulkan", "{}"), "qp"), Some("26"));
        assert_eq!(settings("mpeg4", "{}").quality, Some(472));
        assert_eq!(settings("ffv1", "{}").summary, "lossless");
    }

    #[test]
    fn presets_rise_from_fast_to_slow() {
        assert_eq!(option(&settings("libx264", r#"{"preset":"p1"}"#), "preset"), Some("ultrafast"));
        assert_eq!(option(&settings("libx264", r#"{"preset":"p7"}"#), "preset"), Some("veryslow"));
        assert_eq!(option(&settings("hevc_nvenc", r#"{"preset":"p6"}"#), "preset"), Some("p6"));
        refused("ffv1", r#"{"preset":"p1"}"#, "preset");
    }

    #[test]
    fn rates_peaks_and_buffers() {
        let s = settings("libx264", r#"{"bitrate":"2M","max_bitrate":"3M"}"#);
        assert_eq!((s.bit_rate, s.max_rate, s.buffer), (Some(2_000_000), Some(3_000_000), Some(3_000_000)));
        assert!(s.live && !s.live_by_restart);
        assert!(!settings("libx264", r#"{"bitrate":"2M"}"#).live, "x264 cannot begin a buffer model later");
        let s = settings("libx265", r#"{"crf":22.5,"max_bitrate":"3M","buffer":"6M"}"#);
        assert_eq!((option(&s, "crf"), s.bit_rate, s.buffer), (Some("22.5"), Some(0), Some(6_000_000)));
        let s = settings("libsvtav1", r#"{"bitrate":"2M","max_bitrate":"3M"}"#);
        assert_eq!(s.max_rate, None);
        assert_eq!(option(&s, "svtav1-params"), Some("rc=1:maxsection-pct=150"));
        assert_eq!(s.notes.len(), 1);
        let s = settings("libvpx-vp9", r#"{"bitrate":"2M","cbr":true}"#);
        assert_eq!((option(&s, "minrate"), s.max_rate), (Some("2000000"), Some(2_000_000)));
        let s = settings("libsvtav1", r#"{"bitrate":"2M","cbr":true}"#);
        assert_eq!((s.max_rate, option(&s, "svtav1-params")), (None, Some("rc=2:pred-struct=1")));
        assert!(!s.can_force);
        let s = settings("h264_nvenc", r#"{"bitrate":"2M","cbr":true}"#);
        assert_eq!((option(&s, "rc"), s.buffer), (Some("cbr"), Some(2_000_000)));
        refused("mjpeg", r#"{"bitrate":"2M","cbr":true}"#, "cbr");
        refused("mjpeg", r#"{"bitrate":"2M","max_bitrate":"3M"}"#, "max_bitrate");
        refused("h264_amf", r#"{"crf":20,"max_bitrate":"3M"}"#, "max_bitrate");
        assert_eq!(refused("libx264", r#"{"crf":20,"bitrate":"3M"}"#, "bitrate").kind(), ErrorKind::Invalid);
        refused("prores_ks", r#"{"bitrate":"3M"}"#, "bitrate");
        refused("libx264", r#"{"qp":20,"max_bitrate":"3M"}"#, "max_bitrate");
    }

    #[test]
    fn quality_scales_are_the_encoders_own() {
        refused("libx264", r#"{"crf":52}"#, "crf");
        refused("libsvtav1", r#"{"crf":30.5}"#, "crf");
        refused("prores_ks", r#"{"crf":3}"#, "crf");
        assert_eq!(settings("mpeg4", r#"{"crf":2.5}"#).quality, Some(295));
        let s = settings("libaom-av1", r#"{"qp":20}"#);
        assert_eq!(
            (option(&s, "qmin"), option(&s, "qmax"), option(&s, "crf")),
            (Some("20"), Some("20"), Some("20"))
        );
        let s = settings("h264_amf", r#"{"qp":20}"#);
        assert_eq!((option(&s, "qp_b"), option(&s, "rc")), (Some("20"), Some("cqp")));
    }

    #[test]
    fn lossless_is_exact_or_refused() {
        assert_eq!(option(&settings("libx264", r#"{"lossless":true}"#), "qp"), Some("0"));
        assert!(
            option(&settings("libx265", r#"{"tune":"lossless"}"#), "x265-params")
                .unwrap()
                .contains("lossless=1")
        );
        assert_eq!(option(&settings("libvpx-vp9", r#"{"lossless":true}"#), "lossless"), Some("1"));
        for encoder in ["libsvtav1", "libvpx", "mjpeg", "h264_vaapi", "h264_qsv", "av1_nvenc", "prores_ks"] {
            assert_eq!(refused(encoder, r#"{"lossless":true}"#, "lossless").kind(), ErrorKind::Unsupported);
        }
        refused("libx264", r#"{"lossless":true,"profile":"high"}"#, "profile");
        refused("libx264", r#"{"tune":"lossless","crf":3}"#, "crf");
    }

    #[test]
    fn two_passes_know_where_their_statistics_are() {
        let spec = spec(r#"{"bitrate":"1M","two_pass":true}"#);
        let pass = |encoder| map(&Request { pass: Some((2, "/tmp/a:b/stats")), ..request(encoder, &spec) });
        let s = pass("libx264").unwrap();
        assert_eq!((option(&s, "stats"), s.pass), (Some("/tmp/a:b/stats"), Some(2)));
        let s = pass("libx265").unwrap();
        assert!(option(&s, "x265-params").unwrap().contains("stats=/tmp/a\\:b/stats:pass=2"));
        assert_eq!(pass("libvpx-vp9").unwrap().pass, Some(2));
        for encoder in ["libsvtav1", "h264_nvenc", "h264_vaapi", "mpeg4"] {
            assert!(pass(encoder).unwrap_err().message().starts_with("video.two_pass: "));
            refused(encoder, r#"{"bitrate":"1M","two_pass":true}"#, "two_pass");
        }
    }

    #[test]
    fn structure_profile_and_level() {
        let json = r#"{"gop":50,"b_frames":2,"lookahead":20,"profile":"main","level":"4.0"}"#;
        let s = settings("libx264", json);
        assert_eq!((s.gop, s.b_frames, option(&s, "level")), (Some(50), Some(2), Some("4")));
        assert_eq!((option(&s, "profile"), option(&s, "rc-lookahead")), (Some("main"), Some("20")));
        assert!(
            option(&settings("libsvtav1", r#"{"level":"4.1"}"#), "svtav1-params")
                .unwrap()
                .contains("level=41")
        );
        refused("libx264", r#"{"profile":"main10"}"#, "profile");
        refused("libx264", r#"{"profile":"high","bit_depth":10}"#, "profile");
        refused("libx264", r#"{"bit_depth":12}"#, "bit_depth");
        refused("libx264", r#"{"profile":"baseline","b_frames":2}"#, "b_frames");
        refused("libx264", r#"{"tune":"ll","b_frames":2}"#, "b_frames");
        refused("libx264", r#"{"level":"high"}"#, "level");
        refused("libsvtav1", r#"{"b_frames":3}"#, "b_frames");
        refused("h264_vaapi", r#"{"lookahead":3}"#, "lookahead");
        refused("ffv1", r#"{"gop":10}"#, "gop");
        refused("libaom-av1", r#"{"level":"4.1"}"#, "level");
        assert_eq!(settings("libx264", r#"{"tune":"ull"}"#).b_frames, Some(0));
        let s = settings("libx264", r#"{"tune":"ll","lookahead":20}"#);
        assert_eq!(
            option(&s, "rc-lookahead"),
            Some("20"),
            "what was said goes before what the tuning brings"
        );
    }

    #[test]
    fn a_grid_leaves_key_frames_to_the_grid() {
        let spec = spec("{}");
        let grid = |encoder| map(&Request { grid: true, ..request(encoder, &spec) }).unwrap();
        let s = grid("libx264");
        assert_eq!((s.gop, s.closed_gop, option(&s, "sc_threshold")), (Some(NO_LIMIT), true, Some("0")));
        assert!(option(&grid("libx265"), "x265-params").unwrap().contains("scenecut=0"));
        assert_eq!(option(&grid("libvpx-vp9"), "keyint_min"), Some("60000"));
        assert!(option(&grid("libsvtav1"), "svtav1-params").unwrap().contains("enable-force-key-frames=1"));
        assert!(!grid("libaom-av1").can_force);
        let twice = self::spec(r#"{"bitrate":"1M","two_pass":true}"#);
        let e = map(&Request { grid: true, ..request("libaom-av1", &twice) }).unwrap_err();
        assert!(e.message().starts_with("video.two_pass: "), "{e}");
        assert_eq!(option(&grid("h264_nvenc"), "no-scenecut"), Some("1"));
    }

    #[test]
    fn options_come_last_and_join_the_librarys_own() {
        let json = r#"{"preset":"p1","options":{"preset":"fast","x264opts":"open-gop=1:aq-mode=3"}}"#;
        let s = settings("libx264", json);
        assert_eq!(option(&s, "preset"), Some("fast"));
        assert_eq!(option(&s, "x264-params"), Some("open-gop=1:aq-mode=3"));
        assert_eq!(split_params(r"a=1:b=x\:y"), ["a=1", r"b=x\:y"]);
    }

    #[test]
    fn hdr_metadata_in_each_encoders_units() {
        let spec = spec(r#"{"bit_depth":10}"#);
        let hdr = HdrMetadata {
            mastering: Some(MasteringDisplay {
                primaries: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06]],
                white: [0.3127, 0.329],
                min_luminance: 0.0001,
                max_luminance: 1000.0,
            }),
            content_light: Some(crate::frame::ContentLight { max_content: 1000, max_average: 400 }),
            ..HdrMetadata::default()
        };
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, ..Colour::default() };
        let params = |encoder, key: &str| {
            let s = map(&Request { hdr, colour: pq, ..request(encoder, &spec) }).unwrap();
            option(&s, key).unwrap().to_string()
        };
        let x265 = params("libx265", "x265-params");
        for part in [
            "hdr10=1",
            "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
            "max-cll=1000,400",
        ] {
            assert!(x265.contains(part), "{x265}");
        }
        assert!(params("libsvtav1", "svtav1-params").contains("content-light=1000,400"));
        let sdr = map(&Request { hdr, ..request("libx265", &spec) }).unwrap();
        assert!(!option(&sdr, "x265-params").unwrap().contains("max-cll"), "SDR carries no HDR metadata");
    }

    #[test]
    fn an_encoder_without_a_table_takes_rate_and_options_only() {
        let s = settings("librav1e", r#"{"bitrate":"1M","options":{"speed":"10"}}"#);
        assert_eq!((s.bit_rate, option(&s, "speed")), (Some(Bitrate(1_000_000).0), Some("10")));
        refused("librav1e", r#"{"preset":"p1"}"#, "preset");
        refused("librav1e", r#"{"crf":10}"#, "crf");
    }
}
