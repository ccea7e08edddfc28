//! The names of an origin's files. A name says which opening of the stream it is of (the token), so that a stream that
//! comes again reuses none: caches may keep what they have.

use ghoststream::packet::MediaKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The multivariant playlist.
pub(super) const MULTIVARIANT: &str = "playlist.m3u8";

/// The multivariant playlist of the segments in MPEG-TS.
pub(super) const MULTIVARIANT_TS: &str = "ts.m3u8";

/// The DASH manifest.
pub(super) const MANIFEST: &str = "manifest.mpd";
/// The server's time, for DASH players.
pub(super) const TIME: &str = "time";

/// What a rendition's segments are: its name's beginning says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `v0`, `a0` …: fragmented MP4, one track each.
    Cmaf,
    /// `tv0`, `ta0` …: MPEG-TS.
    Ts,
    /// `s0` …: WebVTT, for HLS.
    Text,
    /// `w0` …: the same text in fragmented MP4 (`wvtt`), for DASH.
    Wvtt,
}

impl Format {
    /// What rendition `id` is made of.
    pub fn of(id: &str) -> Format {
        match id.as_bytes().first() {
            Some(b't') => Format::Ts,
            Some(b's') => Format::Text,
            Some(b'w') => Format::Wvtt,
            _ => Format::Cmaf,
        }
    }

    /// Whether playlists tell of its parts.
    pub fn has_parts(self) -> bool {
        matches!(self, Format::Cmaf | Format::Text)
    }

    fn extension(self) -> &'static str {
        match self {
            Format::Cmaf | Format::Wvtt => "m4s",
            Format::Ts => "ts",
            Format::Text => "vtt",
        }
    }
}

/// The MIME type of a rendition's segments.
pub(super) fn mime(format: Format, kind: MediaKind) -> &'static str {
    match (format, kind) {
        (Format::Ts, _) => "video/mp2t",
        (Format::Text, _) => "text/vtt",
        (Format::Wvtt, _) => "application/mp4",
        (Format::Cmaf, MediaKind::Video) => "video/mp4",
        (Format::Cmaf, _) => "audio/mp4",
    }
}

/// A file of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// Its media playlist.
    Playlist,
    /// Its I-frame playlist.
    Keys,
    /// The init segment of a run.
    Init(u64),
    /// A segment, by its media sequence number.
    Segment(u64),
    /// A part, by its own count: the next part has its name before anybody knows whether it ends a segment or begins one.
    Part(u64),
}

/// A token that no opening before had: milliseconds since 1970 in base 36, counted on where they are the same.
pub(super) fn token() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    let mut rest = now.max(before.unwrap_or_default() + 1);
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]);
        rest /= 36;
    }
    digits.iter().rev().map(|b| char::from(*b)).collect()
}

impl File {
    /// The pattern of segments' names in a DASH manifest.
    pub fn template(rendition: &str, token: &str) -> String {
        format!("{rendition}_{token}_s$Number$.m4s")
    }

    /// Its name.
    pub fn name(self, rendition: &str, token: &str) -> String {
        match self {
            File::Playlist => format!("{rendition}_{token}.m3u8"),
            File::Keys => format!("{rendition}_{token}_keys.m3u8"),
            File::Init(run) => format!("{rendition}_{token}_i{run}.mp4"),
            File::Segment(sequence) => {
                format!("{rendition}_{token}_s{sequence}.{}", Format::of(rendition).extension())
            }
            File::Part(number) => {
                format!("{rendition}_{token}_p{number}.{}", Format::of(rendition).extension())
            }
        }
    }

    /// The token in a name, if it looks like one of an origin's files.
    pub fn token(name: &str) -> Option<&str> {
        let mut words = name.rsplit_once('.')?.0.split('_');
        let (_, token) = (words.next()?, words.next()?);
        File::parse(name, token).map(|_| token)
    }

    /// The rendition and the file that a name means; `None` for names that are not of this opening.
    pub fn parse<'a>(name: &'a str, token: &str) -> Option<(&'a str, File)> {
        let (stem, extension) = name.rsplit_once('.')?;
        let mut words = stem.split('_');
        let rendition = words.next()?;
        if words.next()? != token {
            return None;
        }
        let (kind, rest) = (words.next(), words.next());
        if rest.is_some() {
            return None;
        }
        // One name per file: no signs, no leading zeros.
        let number = |text: &str| -> Option<u64> {
            let number: u64 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        };
        let file = match (extension, kind) {
            ("m3u8", None) => File::Playlist,
            ("m3u8", Some("keys")) => File::Keys,
            ("mp4", Some(kind)) => File::Init(number(kind.strip_prefix('i')?)?),
            (extension, Some(kind)) if extension == Format::of(rendition).extension() => {
                match kind.strip_prefix('s') {
                    Some(sequence) => File::Segment(number(sequence)?),
                    // MPEG-TS has none.
                    None if Format::of(rendition) == Format::Ts => return None,
                    None => File::Part(number(kind.strip_prefix('p')?)?),
                }
            }
            _ => return None,
        };
        Some((rendition, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        let all = [File::Playlist, File::Keys, File::Init(0), File::Segment(12), File::Part(345)];
        for file in all {
            let name = file.name("v0", "abc");
            assert_eq!(File::parse(&name, "abc"), Some(("v0", file)), "{name}");
            assert_eq!(File::parse(&name, "abd"), None, "{name}");
            assert_eq!(File::token(&name), Some("abc"), "{name}");
        }
        for (rendition, extension) in [("tv0", ".ts"), ("s1", ".vtt"), ("w1", ".m4s")] {
            let name = File::Segment(7).name(rendition, "abc");
            assert!(name.ends_with(extension), "{name}");
            assert_eq!(File::parse(&name, "abc"), Some((rendition, File::Segment(7))), "{name}");
        }
        assert_eq!(File::Part(3).name("s0", "abc"), "s0_abc_p3.vtt");
        assert_eq!(File::parse("s0_abc_p3.vtt", "abc"), Some(("s0", File::Part(3))));
        for name in [
            "",
            "v0",
            "v0.m3u8",
            "v0_abc.mp4",
            "v0_abc_s.m4s",
            "v0_abc_s+1.m4s",
            "v0_abc_s01.m4s",
            "v0_abc_s99999999999999999999.m4s",
            "v0_abc_s1_2.m4s",
            "v0_abc_x1.m4s",
            "v0_abc_s1.mp4",
            "v0_abc_s1.ts",
            "tv0_abc_s1.m4s",
            "tv0_abc_p1.ts",
            "s0_abc_p1.m4s",
        ] {
            assert_eq!(File::parse(name, "abc"), None, "{name}");
            assert_eq!(File::token(name).filter(|t| *t == "abc"), None, "{name}");
        }
    }

    #[test]
    fn tokens_are_never_the_same() {
        let mut tokens: Vec<String> = (0..1000).map(|_| token()).collect();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 1000);
    }
}
