//! What is made of a stream: rungs and sound, and the engine's document for it.

use crate::live::stream::Tracks;
use ghoststream::packet::{Codec, FieldOrder, MediaKind, StreamInfo};
use ghoststream::spec::{
    AudioChoice, AudioSpec, Bitrate, BitstreamFormat, Deinterlace, Device, FedPacketsSpec, FilterSpec,
    FrameRate, LadderSpec, OutputSpec, PacketsSpec, PipelineSpec, Preset, Seconds, SourceSpec,
    SubtitleChoice, Tune, VideoChoice, VideoSpec,
};
use ghoststream::time::Rational;
use ghoststream::{Error, Result};

/// One rendition of the pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// What it is called: `720p`.
    pub name: String,
    /// Lines of its short side.
    pub lines: u32,
    /// Average bits per second.
    pub bitrate: u64,
    /// Bits per second of the sound beside it; all rungs share the best one's.
    pub sound: u64,
    /// H.264 profile by its usual name.
    pub profile: String,
}

/// The qualities of the streaming service that GhostStream replaces.
const RUNGS: [(&str, u32, u64, u64, &str); 5] = [
    ("1080p", 1080, 5_000_000, 192_000, "high"),
    ("720p", 720, 2_800_000, 128_000, "main"),
    ("480p", 480, 1_400_000, 128_000, "main"),
    ("360p", 360, 800_000, 96_000, "baseline"),
    ("240p", 240, 400_000, 64_000, "baseline"),
];

impl Rung {
    /// The quality of that name.
    ///
    /// # Errors
    /// [`ghoststream::ErrorKind::Invalid`] with the names that there are.
    pub fn named(name: &str) -> Result<Rung> {
        let known = RUNGS.iter().find(|r| r.0 == name);
        let &(name, lines, bitrate, sound, profile) = known.ok_or_else(|| {
            let names: Vec<&str> = RUNGS.iter().map(|r| r.0).collect();
            Error::invalid("quality", format!("{name:?} is none of {}", names.join(", ")))
        })?;
        Ok(Rung { name: name.into(), lines, bitrate, sound, profile: profile.into() })
    }

    /// A rung of other lines in this one's place, with the share of the bits that its pixels have.
    fn of_lines(&self, lines: u32) -> Rung {
        let scale = f64::from(lines) / f64::from(self.lines.max(1));
        let bitrate = (self.bitrate as f64 * scale.powf(1.5) / 1000.0).round() as u64 * 1000;
        Rung { name: format!("{lines}p"), lines, bitrate: bitrate.max(100_000), ..self.clone() }
    }
}

/// What a transcode makes.
#[derive(Clone, Debug)]
pub struct TranscodeSpec {
    /// The renditions of the pictures; those that would be larger than the source are made in its size, once.
    pub rungs: Vec<Rung>,
    /// What the sound becomes: [`Codec::Aac`] or [`Codec::Opus`]. Sound that has this codec is copied.
    pub sound: Codec,
    /// Bits per second of the sound; `None` = the top rung's.
    pub sound_bitrate: Option<u64>,
    /// Frames per second; `None` = every picture of the source with its own time.
    pub frame_rate: Option<u32>,
    /// Seconds between key frames. They lie at the multiples of this on the stream's time, whoever makes them.
    pub segment: f64,
    /// Copies the top rung where the source conforms to it. Key frames of all rungs are then the source's.
    pub copy: bool,
    /// For browsers: one rung as the source is, H.264 baseline without B-frames, at most stereo. A source that is H.264
    /// without B-frames is copied whatever its rate.
    pub webrtc: bool,
    /// Where pictures are encoded.
    pub device: Device,
    /// Encoder by FFmpeg's name; `None` = the best that works.
    pub encoder: Option<String>,
    /// Speed against quality.
    pub preset: Preset,
}

impl TranscodeSpec {
    /// A ladder of these qualities (`1080p` to `240p`) with AAC.
    ///
    /// # Errors
    /// [`ghoststream::ErrorKind::Invalid`] for a name that is none, and for no name at all.
    pub fn ladder(qualities: &[impl AsRef<str>]) -> Result<TranscodeSpec> {
        let mut rungs = qualities.iter().map(|q| Rung::named(q.as_ref())).collect::<Result<Vec<_>>>()?;
        rungs.sort_by_key(|r| std::cmp::Reverse(r.lines));
        rungs.dedup();
        if rungs.is_empty() {
            return Err(Error::invalid("qualities", "at least one is needed"));
        }
        Ok(TranscodeSpec {
            rungs,
            sound: Codec::Aac,
            sound_bitrate: None,
            frame_rate: None,
            segment: 2.0,
            copy: true,
            webrtc: false,
            device: Device::Auto,
            encoder: None,
            preset: Preset::P3,
        })
    }

    /// What browsers take over WebRTC: H.264 without B-frames and Opus; what is that already is copied.
    pub fn webrtc() -> TranscodeSpec {
        let (name, lines, bitrate, sound, _) = RUNGS[0];
        // What every browser takes.
        let top = Rung { name: name.into(), lines, bitrate, sound, profile: "baseline".into() };
        TranscodeSpec {
            rungs: vec![top],
            sound: Codec::Opus,
            sound_bitrate: Some(96_000),
            frame_rate: None,
            segment: 2.0,
            copy: true,
            webrtc: true,
            device: Device::Auto,
            encoder: None,
            preset: Preset::P2,
        }
    }

    /// As [`TranscodeSpec::webrtc`], smaller: for viewers whose way is too narrow for the stream. The rungs are those of `ladder`
    /// below its top, or two small ones.
    pub fn smaller(ladder: &[Rung]) -> TranscodeSpec {
        let own = ladder.iter().skip(1).map(|r| (r.name.as_str(), r.lines, r.bitrate, r.sound, ""));
        let some = RUNGS.into_iter().filter(|r| matches!(r.1, 480 | 240));
        let rungs: Vec<_> = if ladder.len() > 1 { own.collect() } else { some.collect() };
        let rung = |(name, lines, bitrate, sound, _): (&str, u32, u64, u64, &str)| Rung {
            name: name.into(),
            lines,
            bitrate,
            sound,
            profile: "baseline".into(),
        };
        TranscodeSpec {
            rungs: rungs.into_iter().map(rung).collect(),
            // Who changes begins with the newest key frame.
            segment: 1.0,
            copy: false,
            ..TranscodeSpec::webrtc()
        }
    }

    /// # Errors
    /// [`ghoststream::ErrorKind::Invalid`] naming the field.
    pub(super) fn check(&self) -> Result<()> {
        if self.rungs.is_empty() {
            return Err(Error::invalid("rungs", "at least one is needed"));
        }
        if !matches!(self.sound, Codec::Aac | Codec::Opus) {
            return Err(Error::invalid("sound", format!("aac or opus, not {}", self.sound)));
        }
        if !(0.25..=60.0).contains(&self.segment) {
            return Err(Error::invalid("segment", "must be within 0.25 to 60 seconds"));
        }
        match self.rungs.iter().find(|r| r.lines < 16 || r.lines > 8192) {
            Some(r) => Err(Error::invalid("rungs", format!("{} has {} lines", r.name, r.lines))),
            None => Ok(()),
        }
    }
}

/// What is known of a source besides its description.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// It has B-frames.
    pub reorders: bool,
    /// Its key frames are too far from each other for a copy.
    pub rare_keys: bool,
    /// Bits per second of its pictures, where known.
    pub bitrate: Option<u64>,
}

/// What is made of some tracks.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub document: PipelineSpec,
    /// What the made tracks are called, in their order.
    pub names: Vec<String>,
    /// The first rung is the source's own.
    pub copies: bool,
}

/// How much above its rung's rate a source may be and still be copied.
const ABOVE: f64 = 1.25;
/// How much smaller than the source the largest wanted rung must be for one of the source's own size to be worth it.
const WORTH: f64 = 0.9;
/// Pixels a second that one decoder thread is trusted with. More threads delay by a picture each.
const ONE_THREAD: f64 = 1920.0 * 1080.0 * 61.0;

/// Decides what is made of `tracks`.
pub(super) fn plan(spec: &TranscodeSpec, name: &str, tracks: &Tracks, seen: Seen) -> Plan {
    let mut output = OutputSpec::packets(PacketsSpec {
        format: BitstreamFormat::LengthPrefixed,
        queue: 512,
        interleave: false,
        ..PacketsSpec::default()
    });
    output.subtitles = SubtitleChoice::None;
    output.video = VideoChoice::None;
    let mut source = SourceSpec::packets(FedPacketsSpec { queue: 256, live: true });
    let (mut names, mut copies) = (Vec::new(), false);
    if let Some(video) = tracks.video().and_then(|i| tracks.streams.get(i)) {
        let rungs = rungs(spec, video);
        copies = rungs.first().is_some_and(|top| conforms(spec, top, video, seen));
        source.decode.keys = copies;
        source.decode.threads = threads(video);
        output.video = VideoChoice::Track(Box::new(base(spec, video, copies)));
        let made = rungs.iter().enumerate().map(|(i, rung)| match i {
            0 if copies => VideoSpec { name: Some(rung.name.clone()), ..VideoSpec::copy() },
            _ => encoded(rung, video),
        });
        output.ladder = Some(LadderSpec::Rungs(made.collect()));
        names.extend(rungs.into_iter().map(|r| r.name));
    }
    let bitrate = spec.sound_bitrate.or(spec.rungs.iter().map(|r| r.sound).max());
    let mut sounds: Vec<AudioSpec> = Vec::new();
    for sound in tracks.streams.iter().filter(|s| s.kind == MediaKind::Audio) {
        names.push(sound.language.clone().unwrap_or_else(|| "audio".into()));
        sounds.push(self::sound(spec, sound, bitrate));
        if spec.webrtc {
            break;
        }
    }
    output.audio = if sounds.is_empty() { AudioChoice::None } else { AudioChoice::Tracks(sounds) };
    let mut document = PipelineSpec::new(source, vec![output]);
    document.name = Some(format!("transcode {name}"));
    Plan { document, names, copies }
}

fn short_side(video: &StreamInfo) -> u32 {
    video.video.as_ref().map_or(0, |v| v.width.min(v.height))
}

/// The rungs for a source, top first.
fn rungs(spec: &TranscodeSpec, video: &StreamInfo) -> Vec<Rung> {
    let lines = short_side(video);
    let even = (lines & !1).max(2);
    let (above, mut within): (Vec<&Rung>, Vec<&Rung>) = spec.rungs.iter().partition(|r| r.lines > lines);
    within.sort_by_key(|r| std::cmp::Reverse(r.lines));
    let largest = within.first().map_or(0, |r| r.lines);
    let mut rungs: Vec<Rung> = within.into_iter().cloned().collect();
    // What is wanted larger than the source is made as large as the source, once.
    if let Some(smallest) = above.into_iter().min_by_key(|r| r.lines)
        && f64::from(largest) < f64::from(lines) * WORTH
    {
        rungs.insert(0, smallest.of_lines(even));
    }
    rungs
}

/// Whether the source can be the rung.
fn conforms(spec: &TranscodeSpec, rung: &Rung, video: &StreamInfo, seen: Seen) -> bool {
    let Some(info) = &video.video else { return false };
    let eight_bit_420 = info
        .format
        .and_then(|f| f.descriptor())
        .is_none_or(|d| d.depth == 8 && d.log2_chroma_w == 1 && d.log2_chroma_h == 1);
    let interlaced = matches!(info.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst);
    let plain = video.codec == Codec::H264 && eight_bit_420 && !interlaced && info.turned().is_none();
    let lines = short_side(video);
    let same_size = rung.lines == lines || rung.lines == (lines & !1);
    let rate = video.bit_rate.or(seen.bitrate);
    let small = spec.webrtc || rate.is_none_or(|r| r as f64 <= rung.bitrate as f64 * ABOVE);
    let shown = !(spec.webrtc && seen.reorders);
    let wanted = spec.frame_rate.and_then(|rate| i32::try_from(rate).ok());
    let paced = wanted.is_none_or(|rate| info.frame_rate == Some(Rational::new(rate, 1)));
    spec.copy && plain && paced && same_size && small && shown && !seen.rare_keys
}

/// What all encoded rungs have.
fn base(spec: &TranscodeSpec, video: &StreamInfo, copies: bool) -> VideoSpec {
    let interlaced = video
        .video
        .as_ref()
        .is_some_and(|v| matches!(v.field_order, FieldOrder::TopFirst | FieldOrder::BottomFirst));
    let mut base = VideoSpec {
        codec: Some(Codec::H264),
        stream: Some(video.index),
        encoder: spec.encoder.clone(),
        device: spec.device,
        preset: Some(spec.preset),
        bit_depth: Some(8),
        frame_rate: spec
            .frame_rate
            .and_then(|r| i32::try_from(r).ok())
            .map(|r| FrameRate(Rational::new(r, 1))),
        tune: Some(Tune::Ull),
        // Beside a copy, key frames are where the source has them.
        keyframe_interval: Some(Seconds(if copies { 86_400.0 } else { spec.segment })),
        ..VideoSpec::new()
    };
    if interlaced {
        base.filters.push(FilterSpec::Deinterlace(Deinterlace::Auto));
    }
    base
}

fn encoded(rung: &Rung, video: &StreamInfo) -> VideoSpec {
    let portrait = video.video.as_ref().is_some_and(|v| v.width < v.height);
    let lines = Some(rung.lines);
    VideoSpec {
        name: Some(rung.name.clone()),
        width: lines.filter(|_| portrait),
        height: lines.filter(|_| !portrait),
        bitrate: Some(Bitrate(rung.bitrate)),
        max_bitrate: Some(Bitrate(rung.bitrate + rung.bitrate / 5)),
        buffer: Some(Bitrate(rung.bitrate)),
        profile: Some(rung.profile.clone()),
        ..VideoSpec::new()
    }
}

fn sound(spec: &TranscodeSpec, sound: &StreamInfo, bitrate: Option<u64>) -> AudioSpec {
    if sound.codec == spec.sound {
        return AudioSpec { stream: Some(sound.index), ..AudioSpec::copy() };
    }
    let channels = sound.audio.as_ref().map_or(2, |a| a.layout.channels);
    AudioSpec {
        stream: Some(sound.index),
        codec: Some(spec.sound.clone()),
        bitrate: bitrate.map(Bitrate),
        channels: (spec.webrtc && channels > 2).then_some(2),
        ..AudioSpec::new()
    }
}

fn threads(video: &StreamInfo) -> u32 {
    let Some(v) = &video.video else { return 1 };
    let rate = v.frame_rate.map_or(30.0, |r| r.as_f64());
    let pixels = f64::from(v.width) * f64::from(v.height) * rate;
    let heavy = if video.codec == Codec::H264 { 1.0 } else { 2.0 };
    (pixels * heavy / ONE_THREAD).ceil().clamp(1.0, 4.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::frame::{ChannelLayout, Colour};
    use ghoststream::packet::{AudioInfo, VideoInfo};
    use ghoststream::time::{MICROSECONDS, Rational};

    fn source(width: u32, height: u32, codec: Codec) -> Tracks {
        let mut video = StreamInfo::new(MediaKind::Video, codec, MICROSECONDS);
        video.video = Some(VideoInfo {
            width,
            height,
            format: None,
            frame_rate: Some(Rational::new(30, 1)),
            constant_rate: None,
            sample_aspect: Rational::new(1, 1),
            colour: Colour::default(),
            hdr: Default::default(),
            rotation: 0.0,
            mirrored: false,
            field_order: FieldOrder::Progressive,
            reorder: 0,
        });
        let mut sound = StreamInfo::new(MediaKind::Audio, Codec::Aac, MICROSECONDS);
        sound.index = 1;
        sound.audio = Some(AudioInfo {
            sample_rate: 48_000,
            layout: ChannelLayout::from_channels(6),
            format: None,
            frame_size: 1024,
            initial_padding: 0,
        });
        Tracks { version: 1, streams: vec![video, sound] }
    }

    fn made(spec: &TranscodeSpec, width: u32, height: u32) -> Vec<(String, u32, u64)> {
        let source = source(width, height, Codec::Hevc);
        rungs(spec, &source.streams[0]).into_iter().map(|r| (r.name, r.lines, r.bitrate)).collect()
    }

    #[test]
    fn no_rung_is_larger_than_the_source() {
        let spec = TranscodeSpec::ladder(&["480p", "1080p", "720p"]).unwrap();
        let rung = |name: &str, lines, rate| (name.to_string(), lines, rate);
        let full =
            [rung("1080p", 1080, 5_000_000), rung("720p", 720, 2_800_000), rung("480p", 480, 1_400_000)];
        assert_eq!(made(&spec, 1920, 1080), full);
        assert_eq!(made(&spec, 1080, 1920), full, "portrait");
        assert_eq!(made(&spec, 1280, 720), full[1..]);
        assert_eq!(made(&spec, 1280, 721), full[1..]);
        assert_eq!(made(&spec, 640, 360), [rung("360p", 360, 909_000)], "its own size, once");
        let lines: Vec<u32> = made(&spec, 960, 540).iter().map(|r| r.1).collect();
        assert_eq!(lines, [540, 480]);
        assert!(TranscodeSpec::ladder(&["4k"]).unwrap_err().message().contains("1080p, 720p"));
        assert!(TranscodeSpec::ladder(&[] as &[&str]).is_err());
    }

    #[test]
    fn what_conforms_is_copied() {
        let spec = TranscodeSpec::ladder(&["720p", "360p"]).unwrap();
        let copies = |spec: &TranscodeSpec, tracks: &Tracks, seen| plan(spec, "a", tracks, seen).copies;
        let h264 = source(1280, 720, Codec::H264);
        assert!(copies(&spec, &h264, Seen::default()));
        assert!(!copies(&spec, &source(1920, 1080, Codec::H264), Seen::default()), "larger");
        assert!(!copies(&spec, &source(1280, 720, Codec::Hevc), Seen::default()));
        assert!(!copies(&spec, &h264, Seen { rare_keys: true, ..Seen::default() }));
        assert!(!copies(&spec, &h264, Seen { bitrate: Some(9_000_000), ..Seen::default() }));
        assert!(copies(&spec, &h264, Seen { bitrate: Some(3_000_000), ..Seen::default() }));
        assert!(!copies(&TranscodeSpec { copy: false, ..spec }, &h264, Seen::default()));
        // Browsers get no B-frames; the rate is the publisher's business.
        let web = TranscodeSpec::webrtc();
        assert!(copies(&web, &h264, Seen { bitrate: Some(9_000_000), ..Seen::default() }));
        assert!(!copies(&web, &h264, Seen { reorders: true, ..Seen::default() }));
    }

    #[test]
    fn for_a_narrow_way_there_are_small_ones_and_no_copy() {
        let spec = TranscodeSpec::smaller(&[]);
        assert_eq!(made(&spec, 1920, 1080).iter().map(|r| r.1).collect::<Vec<_>>(), [480, 240]);
        assert_eq!(
            made(&spec, 320, 180),
            [("180p".to_string(), 180, 260_000)],
            "its own size, with fewer bits"
        );
        let made = plan(&spec, "a", &source(854, 480, Codec::H264), Seen::default());
        assert!(!made.copies && made.names == ["480p", "240p", "audio"], "{:?}", made.names);
        made.document.check().unwrap();
        let ladder = TranscodeSpec::ladder(&["1080p", "720p", "360p"]).unwrap();
        let spec = TranscodeSpec::smaller(&ladder.rungs);
        let rungs: Vec<_> = spec.rungs.iter().map(|r| (r.name.as_str(), r.profile.as_str())).collect();
        assert_eq!(rungs, [("720p", "baseline"), ("360p", "baseline")]);
        assert_eq!(TranscodeSpec::smaller(&ladder.rungs[..1]).rungs.len(), 2);
    }

    #[test]
    fn documents_are_valid() {
        for (spec, channels) in
            [(TranscodeSpec::ladder(&["720p", "360p"]).unwrap(), None), (TranscodeSpec::webrtc(), Some(2))]
        {
            spec.check().unwrap();
            for codec in [Codec::H264, Codec::Vp9] {
                let plan = plan(&spec, "a", &source(1280, 720, codec), Seen::default());
                plan.document.check().unwrap();
                let AudioChoice::Tracks(sounds) = &plan.document.outputs[0].audio else { panic!("sound") };
                assert_eq!(sounds[0].channels, channels);
                assert_eq!(plan.names.last().unwrap(), "audio");
            }
        }
        let none = Tracks { version: 1, streams: source(640, 360, Codec::H264).streams[1..].to_vec() };
        let plan = plan(&TranscodeSpec::webrtc(), "a", &none, Seen::default());
        plan.document.check().unwrap();
        assert_eq!(plan.names, ["audio"]);
    }
}
