//! The one vocabulary of [`VideoSpec`] in the words of each encoder: a pure function from document to settings, but for
//! what the SVT-AV1 that is there has to be asked.

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
    /// Frames from one key frame of the grid to the next, where that is known. An encoder that cannot be told where key frames
    /// are makes them so by itself.
    pub interval: Option<u32>,
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
    /// Whether the encoder takes a forced key frame; if not it must be opened again there, unless it makes one by itself.
    pub can_force: bool,
    /// The encoder makes every so many-th frame a key frame, counted from its first.
    pub own_keys: Option<u32>,
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
    m.low_delay();
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
            // FFmpeg's own encoders that are not known here, or make nothing but key frames, do not open with the flag.
            self.out.closed_gop = self.table.gop && !self.table.name.is_empty();
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
        if self.name() == "libx265" {
            self.look_beyond_b_frames()?;
        }
        let Some(frames) = self.request.spec.lookahead else { return Ok(()) };
        if !self.turn(self.table.lookahead, &frames.to_string()) {
            return refuse("lookahead", format!("{} has none to choose", self.name()));
        }
        Ok(())
    }

    /// x265 does not open when it has B-frames and looks no further ahead than their number.
    fn look_beyond_b_frames(&mut self) -> Result<()> {
        // `param_default_preset` of x265: lookahead and B-frames from ultrafast to veryslow.
        const PRESETS: [(u32, u32); 7] = [(5, 3), (10, 3), (15, 4), (20, 4), (25, 4), (40, 8), (40, 8)];
        let spec = self.request.spec;
        let own = |param: &String| matches!(param.split('=').next(), Some("bframes" | "rc-lookahead"));
        let told = |(key, value): (&String, &String)| match key.as_str() {
            "bf" => true,
            "x265-params" => split_params(value).iter().any(own),
            _ => false,
        };
        if spec.options.iter().any(told) {
            // Whoever says it in the encoder's own words knows better.
            return Ok(());
        }
        let (usual, b_frames) = PRESETS[spec.preset.unwrap_or(Preset::P4) as usize];
        let b_frames = self.out.b_frames.unwrap_or(b_frames);
        match spec.lookahead {
            Some(frames) if b_frames > 0 && frames <= b_frames => {
                let why = format!(
                    "libx265 looks at more frames than it makes B-frames, which are {b_frames} here, not at {frames}"
                );
                Err(Error::invalid("video.lookahead", why))
            }
            None if usual <= b_frames => {
                self.turn(self.table.lookahead, &(b_frames + 1).to_string());
                Ok(())
            }
            _ => Ok(()),
        }
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
        if let Some((_, tools)) = self.table.profile_tools.iter().find(|(p, _)| *p == name) {
            self.set_all(tools);
        }
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

    /// SVT-AV1 from 2 on has no average rate where nothing is reordered, only a constant one.
    fn low_delay(&mut self) {
        let has = |m: &Self, key: &str, value: &str| m.params.iter().any(|(k, v)| k == key && v == value);
        let average = has(self, "rc", "1") && has(self, "pred-struct", "1");
        if self.name() != "libsvtav1" || !average || super::svt::averages_in_low_delay() {
            return;
        }
        self.param("rc", "2");
        self.params.retain(|(k, _)| k != "maxsection-pct");
        self.out.notes.retain(|n| !n.contains("max_bitrate"));
        let buffer = self.request.spec.buffer.map(|b| b.0);
        self.out.buffer = buffer.or(self.out.bit_rate);
        self.out.notes.push("this libsvtav1 has no average rate in low delay: the rate is constant".into());
        let rate = crate::spec::Bitrate(self.out.bit_rate.unwrap_or_default());
        self.out.summary = format!("constant {rate} bit/s");
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
        if let Some(interval) = self.request.interval
            && !self.out.can_force
            && self.request.spec.gop.is_none()
        {
            self.out.gop = Some(interval);
            self.out.own_keys = Some(interval);
            if let Some((_, least)) = self.out.options.iter_mut().find(|(key, _)| key == "keyint_min") {
                *least = interval.to_string();
            }
        }
        if self.request.grid && !self.out.can_force && self.request.spec.two_pass {
            // Opened again at each key frame of the grid, it keeps statistics of each stretch, if they can be kept apart.
            if self.table.two_pass != TwoPass::Memory {
                let why = "is opened again at every key frame of the grid, and its statistics with it";
                return refuse("two_pass", format!("{} {why}", self.name()));
            }
            if self.out.own_keys.is_none() {
                let note = "makes two passes of each stretch between key frames and shares no bits between stretches";
                self.out.notes.push(format!("{} {note}", self.name()));
            }
        }
        if self.table.force == Force::QualityModesOnly && self.out.can_force {
            self.param("enable-force-key-frames", "1");
        }
        (self.out.live, self.out.live_by_restart) = match self.table.live {
            _ if quality => (false, false),
            Live::No => (false, false),
            Live::Native => (true, false),
            Live::NativeIfConstant
                if self.out.max_rate.is_some_and(|max| max <= self.out.bit_rate.unwrap_or(0)) =>
            {
                (true, false)
            }
            Live::NativeIfConstant => (self.out.pass.is_none(), true),
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
mod tests;
