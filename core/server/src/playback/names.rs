//! What the names of a session's files mean.

use super::segments::Key;
use super::session::Inner;

/// What a name means.
pub(super) enum Wanted {
    Master,
    Manifest,
    Media(usize),
    KeyFrames(usize),
    Init(usize),
    Segment(Key),
    KeyFrame(Key),
    Subtitles(usize),
    SubtitleSegment(usize, usize),
    SubtitleFile(usize),
    Original,
}

impl Inner {
    /// What the name `path` means; names that nobody was told mean nothing.
    pub(super) fn meaning(&self, path: &str) -> Option<Wanted> {
        let number = |text: &str| -> Option<u64> {
            let plain = text.len() == 5 || (text.len() > 5 && !text.starts_with('0'));
            let n = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
            (plain && n < self.shape.count()).then_some(n)
        };
        let rendition = |name: &str| self.shape.renditions.iter().position(|r| r.name == name);
        let subtitle = |name: &str| -> Option<usize> {
            let n: usize = name.strip_prefix("subtitles-")?.parse().ok()?;
            (n < self.subtitles.len()).then_some(n)
        };
        match path {
            "master.m3u8" => return Some(Wanted::Master),
            "manifest.mpd" => return self.shape.dash.then_some(Wanted::Manifest),
            _ if path.starts_with("original.") => return self.original.as_ref().map(|_| Wanted::Original),
            _ => {}
        }
        if let Some(n) = path.strip_prefix("segment_").and_then(|p| p.strip_suffix(".ts")) {
            return Some(Wanted::Segment((0, number(n)?))).filter(|_| self.shape.muxed);
        }
        let Some((folder, file)) = path.split_once('/') else {
            let (stem, extension) = path.rsplit_once('.')?;
            return match (extension, subtitle(stem)) {
                ("m3u8", Some(n)) => Some(Wanted::Subtitles(n)),
                ("vtt", Some(n)) => Some(Wanted::SubtitleFile(n)),
                ("m3u8", None) => match stem.strip_suffix("-iframes").and_then(rendition) {
                    Some(r) => Some(r).filter(|r| self.shape.scrubbed() == Some(*r)).map(Wanted::KeyFrames),
                    None => rendition(stem).map(Wanted::Media),
                },
                _ => None,
            };
        };
        let (stem, extension) = file.rsplit_once('.')?;
        match (rendition(folder), subtitle(folder)) {
            (Some(r), _) if file == "init.mp4" && !self.shape.ts => Some(Wanted::Init(r)),
            (Some(r), _) if extension == self.shape.extension() && stem.starts_with("key-") => {
                let key = (r, number(&stem["key-".len()..])?);
                (self.shape.scrubbed() == Some(r)).then_some(Wanted::KeyFrame(key))
            }
            (Some(r), _) if extension == self.shape.extension() => Some(Wanted::Segment((r, number(stem)?))),
            (None, Some(s)) if extension == "vtt" => {
                Some(Wanted::SubtitleSegment(s, usize::try_from(number(stem)?).ok()?))
            }
            _ => None,
        }
    }
}
