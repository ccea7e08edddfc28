//! What is pulled, and the engine's document for it.

use crate::policy::{Refused, SourcePolicy};
use ghoststream::Codec;
use ghoststream::spec::{
    BitstreamFormat, Device, FrameRate, OutputSpec, PacketsSpec, PatternSpec, PipelineSpec, Preset, Seconds,
    SourceSpec, Tune, VideoChoice, VideoSpec,
};
use ghoststream::time::Rational;
use std::collections::BTreeMap;

/// What is pulled.
#[derive(Clone, Debug, PartialEq)]
pub enum PullSource {
    /// What FFmpeg opens: `rtsp(s)`, `rtmp(s)`, `srt`, `http(s)`, `udp`, `rtp`, `tcp`.
    Url {
        /// Where.
        url: String,
        /// Options of FFmpeg's demuxer or protocol, by their names. RTSP comes over TCP unless `rtsp_transport` is here.
        options: BTreeMap<String, String>,
    },
    /// A file of this machine, at its own speed.
    File {
        /// Where.
        path: String,
        /// Whether it begins again when it is over.
        repeat: bool,
    },
    /// A test picture with the number of each frame in it, and a tone.
    Pattern {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames per second.
        frame_rate: u32,
    },
}

impl PullSource {
    /// A URL without options.
    pub fn url(url: impl Into<String>) -> PullSource {
        PullSource::Url { url: url.into(), options: BTreeMap::new() }
    }

    /// What an operator writes: a URL, the path of a file (which begins again when it is over if `repeat`), `pattern`, or
    /// `pattern:1280x720@30`.
    ///
    /// # Errors
    /// A pattern whose size or rate is none.
    pub fn parse(text: &str, repeat: bool) -> Result<PullSource, String> {
        if text.contains("://") {
            return Ok(PullSource::url(text));
        }
        let Some(shape) = text.strip_prefix("pattern") else {
            return match text.is_empty() {
                true => Err("a URL, a file or pattern is needed".into()),
                false => Ok(PullSource::File { path: text.into(), repeat }),
            };
        };
        if shape.is_empty() {
            return Ok(PullSource::Pattern { width: 1280, height: 720, frame_rate: 30 });
        }
        let parsed = || {
            let (size, rate) = shape.strip_prefix(':')?.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            let side = |text: &str| text.parse().ok().filter(|side| (16..=7680).contains(side));
            let rate = rate.parse().ok().filter(|rate| (1..=240).contains(rate))?;
            Some(PullSource::Pattern { width: side(width)?, height: side(height)?, frame_rate: rate })
        };
        parsed().ok_or_else(|| format!("{text:?} is no pattern: write pattern:1280x720@30"))
    }

    /// What to call it, without passwords.
    pub fn label(&self) -> String {
        match self {
            PullSource::Url { url, .. } => crate::policy::masked(url),
            PullSource::File { path, .. } => path.clone(),
            PullSource::Pattern { width, height, frame_rate } => {
                format!("pattern {width}x{height} {frame_rate} fps")
            }
        }
    }
}

/// How what cannot be carried as it is gets encoded.
#[derive(Clone, Debug)]
pub struct PullEncode {
    /// Where.
    pub device: Device,
    /// Speed against quality.
    pub preset: Preset,
    /// Seconds between key frames.
    pub segment: f64,
}

impl Default for PullEncode {
    fn default() -> PullEncode {
        PullEncode { device: Device::Auto, preset: Preset::P3, segment: 2.0 }
    }
}

/// Codecs that the origin carries.
const CARRIED: [&str; 7] = ["h264", "hevc", "av1", "vp9", "vp8", "aac", "opus"];

/// The document that gives the packets of `source`. With `copy` false the pictures are encoded whatever they are. Looks names
/// up, so it blocks.
///
/// # Errors
/// The rule of the policy that forbids it.
pub(in crate::live) fn document(
    source: &PullSource,
    policy: Option<&SourcePolicy>,
    timeout: f64,
    encode: &PullEncode,
    copy: bool,
) -> Result<PipelineSpec, Refused> {
    let spec = match source {
        PullSource::Url { url, options } => url_source(url, options, policy, timeout)?,
        PullSource::File { path, repeat } => {
            let path = match policy {
                Some(policy) => policy.check(path)?,
                None => path.clone(),
            };
            SourceSpec {
                realtime: true,
                loops: if *repeat { -1 } else { 0 },
                // A recording whose recorder died is shown as far as it goes.
                salvage: true,
                protocols: vec!["file".into()],
                ..SourceSpec::url(path)
            }
        }
        PullSource::Pattern { width, height, frame_rate } => {
            let frame_rate = FrameRate(Rational::new(i32::try_from(*frame_rate).unwrap_or(30).max(1), 1));
            let pattern = PatternSpec {
                width: *width,
                height: *height,
                frame_rate,
                tone: true,
                burn_in: true,
                ..PatternSpec::default()
            };
            SourceSpec { realtime: true, ..SourceSpec::pattern(pattern) }
        }
    };
    let mut document = carried(spec, encode, copy);
    document.name = Some(format!("pull {}", source.label()));
    document.stall_timeout = timeout.max(1.0) * 2.0;
    Ok(document)
}

/// The document that gives the packets of `source` as a stream takes them: what can be carried as it is, the rest encoded, and
/// with `copy` false the pictures in any case.
pub(in crate::live) fn carried(source: SourceSpec, encode: &PullEncode, copy: bool) -> PipelineSpec {
    let carried: Vec<Codec> = CARRIED.iter().map(|name| Codec::from_name(name)).collect();
    let mut output = OutputSpec::packets(PacketsSpec {
        format: BitstreamFormat::LengthPrefixed,
        queue: 512,
        interleave: false,
        copy: carried,
        all_tracks: true,
        ..PacketsSpec::default()
    });
    output.video = VideoChoice::Track(Box::new(VideoSpec {
        codec: (!copy).then_some(Codec::H264),
        // Naming an encoder is what says that a copy is not wanted.
        encoder: (!copy).then(|| "auto".into()),
        device: encode.device,
        preset: Some(encode.preset),
        tune: Some(Tune::Ull),
        keyframe_interval: Some(Seconds(encode.segment)),
        ..VideoSpec::new()
    }));
    PipelineSpec::new(source, vec![output])
}

fn url_source(
    url: &str,
    options: &BTreeMap<String, String>,
    policy: Option<&SourcePolicy>,
    timeout: f64,
) -> Result<SourceSpec, Refused> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let Some(scheme) = scheme else {
        return Err(Refused(format!("{:?} is no URL", crate::policy::masked(url))));
    };
    let (opened, protocols) = match policy {
        Some(policy) => (policy.check(url)?, policy.protocols().to_vec()),
        None if scheme.starts_with("http") => (url.into(), vec!["http".into(), "https".into()]),
        None => (url.into(), vec![scheme.clone()]),
    };
    let mut spec = SourceSpec { protocols, timeout, realtime: false, ..SourceSpec::url(opened) };
    spec.options = options.clone();
    if !scheme.starts_with("http") {
        // What has not shown itself in this time is not waited for (microseconds).
        spec.options.entry("analyzeduration".into()).or_insert_with(|| "2000000".into());
    }
    if scheme.starts_with("rtsp") {
        spec.options.entry("rtsp_transport".into()).or_insert_with(|| "tcp".into());
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourcesConfig;

    #[test]
    fn sources_are_read_as_they_are_written() {
        let pattern = PullSource::Pattern { width: 640, height: 360, frame_rate: 25 };
        assert_eq!(PullSource::parse("pattern:640x360@25", true), Ok(pattern));
        assert_eq!(PullSource::parse("srt://a:1", true), Ok(PullSource::url("srt://a:1")));
        let file = PullSource::File { path: "/films/a.mkv".into(), repeat: false };
        assert_eq!(PullSource::parse("/films/a.mkv", false), Ok(file));
        for wrong in ["", "pattern:640x360", "pattern:0x360@25", "pattern:640x360@0"] {
            assert!(PullSource::parse(wrong, true).is_err(), "{wrong}");
        }
    }

    fn made(source: &PullSource, policy: Option<&SourcePolicy>) -> Result<PipelineSpec, Refused> {
        document(source, policy, 10.0, &PullEncode::default(), true)
    }

    #[test]
    fn documents_are_valid() {
        for source in [
            PullSource::url("rtsp://camera/a"),
            PullSource::url("udp://239.0.0.1:5000"),
            PullSource::url("https://host/live.m3u8"),
            PullSource::File { path: "/tmp/a.mp4".into(), repeat: true },
            PullSource::Pattern { width: 320, height: 180, frame_rate: 25 },
        ] {
            made(&source, None).unwrap().check().unwrap();
            document(&source, None, 10.0, &PullEncode::default(), false).unwrap().check().unwrap();
        }
        let rtsp = made(&PullSource::url("rtsp://camera/a"), None).unwrap().source;
        assert_eq!(rtsp.options["rtsp_transport"], "tcp");
        assert_eq!(rtsp.protocols, ["rtsp"]);
        assert!(made(&PullSource::url("camera"), None).is_err());
    }

    #[test]
    fn the_policy_decides() {
        let rules = SourcesConfig { loopback: false, ..SourcesConfig::default() };
        let policy = SourcePolicy::new(&rules);
        let refused = |source: PullSource| made(&source, Some(&policy)).unwrap_err().0;
        assert!(refused(PullSource::url("rtsp://127.0.0.1/a")).contains("this machine"));
        assert!(refused(PullSource::url("udp://239.0.0.1:1")).contains("schemes"));
        let file = PullSource::File { path: "/etc/passwd".into(), repeat: false };
        assert!(refused(file).contains("local_roots"));
    }
}
