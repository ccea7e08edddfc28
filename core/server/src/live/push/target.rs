//! Where a stream is sent: what may be said of it, and the document that sends the stream there.

use crate::live::rtsp;
use crate::live::stream::Tracks;
use ghoststream::encode::select::can_carry;
use ghoststream::packet::{Codec, MediaKind};
use ghoststream::spec::{
    AudioChoice, AudioSpec, Container, FedPacketsSpec, OutputSpec, PipelineSpec, PushSpec as Reconnects,
    Seconds, SourceSpec, SplitChoice, SplitSpec, SubtitleChoice, VideoChoice, VideoSpec,
};
use ghoststream::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The protocol that the server speaks itself: the engine sends the others.
pub(super) const RTSP: &str = "rtsp";

/// Where a stream is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum PushTarget {
    /// An `rtmp(s)://`, `srt://` or `rtsp://` address. A connection that breaks is made again for ever.
    Url(String),
    /// Files.
    Files(Recording),
}

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Where the files are: a directory of this recording's own, made when it is missing.
    pub directory: PathBuf,
    /// `mp4` (playable while it grows), `mkv` or `ts`. The files are called by the local time at which they begin.
    pub container: Container,
    /// Seconds after which a file ends at the next key frame.
    pub segment: f64,
    /// Files that ended longer ago than this are removed; `None` = never.
    pub keep: Option<Duration>,
    /// The oldest files are removed when there are more bytes than this; `None` = never.
    pub most: Option<u64>,
}

impl PushTarget {
    /// Whether both would write the same files.
    pub fn collides(&self, other: &PushTarget) -> bool {
        let (PushTarget::Files(one), PushTarget::Files(other)) = (self, other) else { return false };
        (&one.directory, one.container) == (&other.directory, other.container)
    }

    /// What to call it, without keys and passwords.
    pub fn label(&self) -> String {
        match self {
            PushTarget::Url(url) => OutputSpec::path(url.clone()).label(),
            PushTarget::Files(files) => files.directory.display().to_string(),
        }
    }

    /// How packets go there; `None` for files.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        let PushTarget::Url(url) = self else { return None };
        let (scheme, _) = url.split_once("://")?;
        ["rtmp", "rtmps", "srt", RTSP].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
    }

    /// Whether anything can go there.
    pub(in crate::live) fn check(&self) -> Result<()> {
        match self {
            PushTarget::Url(_) if self.protocol().is_none() => {
                Err(Error::invalid("url", format!("{}: rtmp, rtmps, srt or rtsp is needed", self.label())))
            }
            PushTarget::Url(url) if self.protocol() == Some(RTSP) && !rtsp::Sending::understands(url) => {
                Err(Error::invalid("url", format!("{}: this is no address", self.label())))
            }
            PushTarget::Url(_) => Ok(()),
            PushTarget::Files(files) => {
                if !matches!(files.container, Container::Mp4 | Container::Mkv | Container::Ts) {
                    return Err(Error::invalid("container", "mp4, mkv or ts"));
                }
                if !(1.0..=86_400.0).contains(&files.segment) {
                    return Err(Error::invalid("segment", "must be within 1 to 86400 seconds"));
                }
                Ok(())
            }
        }
    }

    /// Whether sound goes there as it is: whatever a file can hold, and what all receivers of FLV and MPEG-TS know.
    fn copies(&self, container: Container, sound: &Codec) -> bool {
        let holds = match (self, container) {
            (PushTarget::Files(_), Container::Mp4 | Container::Mkv) => {
                can_carry(container, MediaKind::Audio, sound)
            }
            _ => false,
        };
        holds || *sound == Codec::Aac
    }

    /// The document that sends `tracks` there.
    pub(super) fn document(&self, name: &str, tracks: &Tracks) -> PipelineSpec {
        let (mut output, container) = match self {
            PushTarget::Url(url) => {
                let reconnects = Reconnects { reconnects: -1, retry_start: true, ..Reconnects::default() };
                let container = Container::from_path(url).unwrap_or(Container::Ts);
                (OutputSpec { push: Some(reconnects), ..OutputSpec::path(url.clone()) }, container)
            }
            PushTarget::Files(files) => {
                let name = format!("%Y-%m-%d_%H-%M-%S.{}", files.container.name());
                let split = SplitSpec { duration: Some(Seconds(files.segment)), size: None };
                let path = files.directory.join(name).to_string_lossy().into_owned();
                let mut output = OutputSpec { split: SplitChoice::Split(split), ..OutputSpec::path(path) };
                output.crash_safe = Some(true);
                (output, files.container)
            }
        };
        let has = |kind| tracks.streams.iter().any(|s| s.kind == kind);
        output.subtitles = SubtitleChoice::None;
        output.video = match has(MediaKind::Video) {
            true => VideoChoice::Track(Box::new(VideoSpec::copy())),
            false => VideoChoice::None,
        };
        output.audio = match tracks.streams.iter().find(|s| s.kind == MediaKind::Audio) {
            None => AudioChoice::None,
            Some(sound) if !self.copies(container, &sound.codec) => {
                let aac =
                    AudioSpec { codec: Some(Codec::Aac), stream: Some(sound.index), ..AudioSpec::new() };
                AudioChoice::Tracks(vec![aac])
            }
            Some(sound) => {
                AudioChoice::Tracks(vec![AudioSpec { stream: Some(sound.index), ..AudioSpec::copy() }])
            }
        };
        let source = SourceSpec::packets(FedPacketsSpec { queue: 256, live: true });
        let mut document = PipelineSpec::new(source, vec![output]);
        document.name = Some(format!("push {name}"));
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::packet::StreamInfo;
    use ghoststream::time::Rational;
    use std::path::Path;

    fn recording(directory: &Path) -> Recording {
        Recording {
            directory: directory.into(),
            container: Container::Mkv,
            segment: 60.0,
            keep: Some(Duration::from_secs(1000)),
            most: Some(25),
        }
    }

    #[test]
    fn sound_that_a_file_can_hold_is_copied() {
        let dir = Path::new("/tmp/x");
        let files = |container| PushTarget::Files(Recording { container, ..recording(dir) });
        let copied = |target: &PushTarget, codec: Codec| {
            let sound = StreamInfo::new(MediaKind::Audio, codec, Rational::new(1, 48_000));
            let tracks = Tracks { version: 1, streams: vec![sound] };
            match &target.document("cam", &tracks).outputs[0].audio {
                AudioChoice::Tracks(tracks) => tracks[0].is_copy(),
                other => panic!("{other:?}"),
            }
        };
        let (mp4, mkv, ts) = (files(Container::Mp4), files(Container::Mkv), files(Container::Ts));
        for codec in [Codec::Aac, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3, Codec::Mp3] {
            assert!(copied(&mp4, codec.clone()) && copied(&mkv, codec.clone()), "{codec}");
        }
        let alaw = Codec::from_name("pcm_alaw");
        assert!(copied(&mkv, alaw.clone()) && !copied(&mp4, alaw.clone()) && !copied(&ts, alaw));
        for target in [ts, PushTarget::Url("rtmp://host/live/key".into())] {
            assert!(copied(&target, Codec::Aac) && !copied(&target, Codec::Opus), "{target:?}");
        }
    }

    #[test]
    fn targets_are_checked() {
        let dir = Path::new("/tmp/x");
        assert!(PushTarget::Files(recording(dir)).check().is_ok());
        assert!(
            PushTarget::Files(Recording { container: Container::Hls, ..recording(dir) }).check().is_err()
        );
        assert!(PushTarget::Files(Recording { segment: 0.0, ..recording(dir) }).check().is_err());
        assert!(PushTarget::Url("rtmp://host/live/key".into()).check().is_ok());
        assert!(PushTarget::Url("RTSP://user:pass@host/cam".into()).check().is_ok());
        assert!(PushTarget::Url("rtsp://host:port/cam".into()).check().is_err());
        assert!(PushTarget::Url("rtsps://host/cam".into()).check().is_err());
        let refused = PushTarget::Url("http://user:secret@host/live".into()).check().unwrap_err();
        assert!(!refused.message().contains("secret"), "{refused}");
    }
}
