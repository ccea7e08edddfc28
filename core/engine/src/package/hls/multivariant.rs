//! The multivariant ("master") playlist.

use super::attributes::{Attributes, uri};
use crate::frame::Colour;
use crate::time::Rational;
use std::fmt;

/// The multivariant playlist. `Display` writes it.
#[derive(Clone, Debug, Default)]
pub struct Multivariant {
    /// Audio and subtitle renditions, and the captions that are in the pictures of all variants.
    pub renditions: Vec<Rendition>,
    /// The variants, best first or as the first one to be tried stands first.
    pub variants: Vec<Variant>,
    /// I-frame playlists for trick play.
    pub i_frames: Vec<IFrameVariant>,
    /// Whether every segment of every playlist begins with a key frame.
    pub independent_segments: bool,
}

/// Dynamic range of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum VideoRange {
    #[default]
    Sdr,
    Hlg,
    Pq,
}

impl VideoRange {
    /// The range that `colour` means.
    pub fn of(colour: Colour) -> Self {
        match () {
            () if colour.is_pq() => VideoRange::Pq,
            () if colour.is_hlg() => VideoRange::Hlg,
            () => VideoRange::Sdr,
        }
    }

    fn name(self) -> &'static str {
        match self {
            VideoRange::Sdr => "SDR",
            VideoRange::Hlg => "HLG",
            VideoRange::Pq => "PQ",
        }
    }
}

/// `EXT-X-STREAM-INF`.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    /// The media playlist.
    pub uri: String,
    /// Peak bits per second of the variant and the heaviest renditions it plays with.
    pub bandwidth: u64,
    /// Average bits per second.
    pub average_bandwidth: Option<u64>,
    /// RFC 6381 strings of everything that plays with it; duplicates are dropped.
    pub codecs: Vec<String>,
    /// What a Dolby Vision player may take instead, from [`crate::package::Track::supplemental_codecs`].
    pub supplemental_codecs: Option<String>,
    /// Width and height; `None` for audio only.
    pub resolution: Option<(u32, u32)>,
    /// Highest frame rate.
    pub frame_rate: Option<Rational>,
    /// Dynamic range; `None` for audio only.
    pub video_range: Option<VideoRange>,
    /// `GROUP-ID` of its audio renditions.
    pub audio: Option<String>,
    /// `GROUP-ID` of its subtitles.
    pub subtitles: Option<String>,
}

/// `EXT-X-I-FRAME-STREAM-INF`.
#[derive(Clone, Debug, Default)]
pub struct IFrameVariant {
    /// The I-frame playlist.
    pub uri: String,
    /// Peak bits per second at normal speed.
    pub bandwidth: u64,
    /// Average bits per second.
    pub average_bandwidth: Option<u64>,
    /// The video's RFC 6381 string.
    pub codecs: Vec<String>,
    /// Width and height.
    pub resolution: Option<(u32, u32)>,
    /// Dynamic range.
    pub video_range: Option<VideoRange>,
}

/// What an `EXT-X-MEDIA` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RenditionKind {
    Audio,
    Subtitles,
    ClosedCaptions,
}

/// `EXT-X-MEDIA`.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// Audio, subtitles or captions.
    pub kind: RenditionKind,
    /// `GROUP-ID`.
    pub group: String,
    /// What a menu shows; unique in the group.
    pub name: String,
    /// The media playlist; `None` for audio that is in the variant's own segments, and for captions.
    pub uri: Option<String>,
    /// BCP 47 language.
    pub language: Option<String>,
    /// Played unless the user says otherwise.
    pub default: bool,
    /// May be chosen by the system's settings; implied by `default`.
    pub autoselect: bool,
    /// Forced subtitles.
    pub forced: bool,
    /// Number of channels (audio).
    pub channels: Option<u32>,
    /// `INSTREAM-ID`: `CC1` … `CC4` of CEA-608, `SERVICE1` … `SERVICE63` of CEA-708 (captions).
    pub instream: Option<String>,
    /// Uniform type identifiers such as `public.accessibility.describes-video`.
    pub characteristics: Vec<String>,
}

impl Rendition {
    /// A rendition with a group and a name, everything else absent.
    pub fn new(kind: RenditionKind, group: impl Into<String>, name: impl Into<String>) -> Self {
        Rendition {
            kind,
            group: group.into(),
            name: name.into(),
            uri: None,
            language: None,
            default: false,
            autoselect: false,
            forced: false,
            channels: None,
            instream: None,
            characteristics: Vec::new(),
        }
    }
}

fn yes(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

/// Joined with commas, each once.
fn codec_list(codecs: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for codec in codecs {
        if !seen.contains(&codec.as_str()) {
            seen.push(codec);
        }
    }
    seen.join(",")
}

impl fmt::Display for Multivariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Services of CEA-708 came with version 7 (RFC 8216, 7).
        let service = |r: &Rendition| r.instream.as_ref().is_some_and(|id| id.starts_with("SERVICE"));
        let version = if self.renditions.iter().any(service) { 7 } else { 6 };
        let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n");
        if self.independent_segments {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        // Either every variant has captions or none has (RFC 8216, 4.3.4.2).
        let captions = self.renditions.iter().find(|r| r.kind == RenditionKind::ClosedCaptions);
        for r in &self.renditions {
            let mut a = Attributes::new("EXT-X-MEDIA");
            a.plain(
                "TYPE",
                match r.kind {
                    RenditionKind::Audio => "AUDIO",
                    RenditionKind::Subtitles => "SUBTITLES",
                    RenditionKind::ClosedCaptions => "CLOSED-CAPTIONS",
                },
            );
            a.quoted("GROUP-ID", &r.group).quoted("NAME", &r.name);
            if let Some(language) = &r.language {
                a.quoted("LANGUAGE", language);
            }
            a.plain("DEFAULT", yes(r.default)).plain("AUTOSELECT", yes(r.autoselect || r.default));
            if r.kind == RenditionKind::Subtitles {
                a.plain("FORCED", yes(r.forced));
            }
            if let Some(channels) = r.channels {
                a.quoted("CHANNELS", &channels.to_string());
            }
            if let Some(instream) = &r.instream {
                a.quoted("INSTREAM-ID", instream);
            }
            if !r.characteristics.is_empty() {
                a.quoted("CHARACTERISTICS", &r.characteristics.join(","));
            }
            if let Some(uri) = &r.uri {
                a.uri("URI", uri);
            }
            a.finish(&mut out);
        }
        for v in &self.variants {
            let mut a = Attributes::new("EXT-X-STREAM-INF");
            a.plain("BANDWIDTH", v.bandwidth);
            common(&mut a, v.average_bandwidth, &v.codecs, v.resolution);
            if let Some(supplemental) = &v.supplemental_codecs {
                a.quoted("SUPPLEMENTAL-CODECS", supplemental);
            }
            if let Some(rate) = v.frame_rate {
                a.plain("FRAME-RATE", format_args!("{:.3}", rate.as_f64()));
            }
            if let Some(range) = v.video_range {
                a.plain("VIDEO-RANGE", range.name());
            }
            if let Some(group) = &v.audio {
                a.quoted("AUDIO", group);
            }
            if let Some(group) = &v.subtitles {
                a.quoted("SUBTITLES", group);
            }
            match captions.filter(|_| v.resolution.is_some()) {
                Some(captions) => _ = a.quoted("CLOSED-CAPTIONS", &captions.group),
                None if v.resolution.is_some() => _ = a.plain("CLOSED-CAPTIONS", "NONE"),
                None => {}
            }
            a.finish(&mut out);
            out.push_str(&uri(&v.uri));
            out.push('\n');
        }
        for v in &self.i_frames {
            let mut a = Attributes::new("EXT-X-I-FRAME-STREAM-INF");
            a.plain("BANDWIDTH", v.bandwidth);
            common(&mut a, v.average_bandwidth, &v.codecs, v.resolution);
            if let Some(range) = v.video_range {
                a.plain("VIDEO-RANGE", range.name());
            }
            a.uri("URI", &v.uri);
            a.finish(&mut out);
        }
        f.write_str(&out)
    }
}

fn common(a: &mut Attributes, average: Option<u64>, codecs: &[String], resolution: Option<(u32, u32)>) {
    if let Some(average) = average {
        a.plain("AVERAGE-BANDWIDTH", average);
    }
    if !codecs.is_empty() {
        a.quoted("CODECS", &codec_list(codecs));
    }
    if let Some((width, height)) = resolution {
        a.plain("RESOLUTION", format_args!("{width}x{height}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let mut audio = Rendition::new(RenditionKind::Audio, "aac", "English");
        (audio.language, audio.default, audio.channels) = (Some("en".into()), true, Some(2));
        audio.uri = Some("a0.m3u8".into());
        let mut subs = Rendition::new(RenditionKind::Subtitles, "subs", "Deutsch \"SDH\"");
        (subs.language, subs.autoselect, subs.uri) = (Some("de".into()), true, Some("s0.m3u8".into()));
        let mut captions = Rendition::new(RenditionKind::ClosedCaptions, "cc", "CC1");
        (captions.instream, captions.autoselect) = (Some("CC1".into()), true);
        let playlist = Multivariant {
            renditions: vec![audio, subs, captions],
            variants: vec![Variant {
                uri: "v0.m3u8".into(),
                bandwidth: 5_000_000,
                average_bandwidth: Some(4_000_000),
                codecs: vec!["avc1.64001f".into(), "mp4a.40.2".into(), "mp4a.40.2".into()],
                supplemental_codecs: None,
                resolution: Some((1280, 720)),
                frame_rate: Some(Rational::new(30_000, 1001)),
                video_range: Some(VideoRange::Sdr),
                audio: Some("aac".into()),
                subtitles: Some("subs".into()),
            }],
            i_frames: vec![IFrameVariant {
                uri: "i0.m3u8".into(),
                bandwidth: 400_000,
                codecs: vec!["avc1.64001f".into()],
                resolution: Some((1280, 720)),
                ..IFrameVariant::default()
            }],
            independent_segments: true,
        };
        let expected = r##"#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="a0.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="Deutsch 'SDH'",LANGUAGE="de",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="s0.m3u8"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC1",DEFAULT=NO,AUTOSELECT=YES,INSTREAM-ID="CC1"
#EXT-X-STREAM-INF:BANDWIDTH=5000000,AVERAGE-BANDWIDTH=4000000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,VIDEO-RANGE=SDR,AUDIO="aac",SUBTITLES="subs",CLOSED-CAPTIONS="cc"
v0.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=400000,CODECS="avc1.64001f",RESOLUTION=1280x720,URI="i0.m3u8"
"##;
        assert_eq!(playlist.to_string(), expected);
        let mut service = Rendition::new(RenditionKind::ClosedCaptions, "cc", "Service 1");
        service.instream = Some("SERVICE1".into());
        let playlist = Multivariant { renditions: vec![service], ..playlist };
        assert!(playlist.to_string().starts_with("#EXTM3U\n#EXT-X-VERSION:7\n"));
    }
}
