//! Media playlists: VOD, EVENT and live, I-frame playlists, and the low-latency tags.

use super::attributes::{Attributes, seconds, uri};
use crate::package::segmenter::{Part, Segment};
use crate::time::Timestamp;
use std::fmt::{self, Write};
use std::ops::Range;

/// A media playlist. `Display` writes it.
#[derive(Clone, Debug, Default)]
pub struct MediaPlaylist {
    /// Whether it is complete, grows, or slides.
    pub kind: PlaylistKind,
    /// `EXT-X-TARGETDURATION`, seconds: no segment is longer when rounded. Never changes in a live playlist;
    /// [`MediaPlaylist::longest`] gives it for a VOD.
    pub target_duration: u32,
    /// Number of the first segment that is or, in a delta update, would be listed.
    pub media_sequence: u64,
    /// Discontinuities that have slid out of a live playlist.
    pub discontinuity_sequence: u64,
    /// Whether all segments begin with a key frame.
    pub independent_segments: bool,
    /// Whether segments are single I frames.
    pub i_frames_only: bool,
    /// Set for low-latency playlists.
    pub low_latency: Option<LowLatency>,
    /// Segments left out of a delta update (`EXT-X-SKIP`), which still count for [`MediaPlaylist::media_sequence`].
    pub skipped: u64,
    /// The segments.
    pub segments: Vec<MediaSegment>,
    /// Parts of the segment that is being made.
    pub open_parts: Vec<MediaPart>,
    /// Discontinuity in front of the segment that is being made.
    pub open_discontinuity: bool,
    /// The init segment that the open parts need.
    pub open_map: Option<Map>,
    /// Wall-clock time of the first open part: microseconds since 1970 UTC.
    pub open_date_time: Option<i64>,
    /// What the next request may ask for.
    pub hints: Vec<PreloadHint>,
    /// Where the other renditions are.
    pub reports: Vec<RenditionReport>,
    /// Whether nothing is going to be added (`EXT-X-ENDLIST`).
    pub ended: bool,
}

/// How a playlist changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PlaylistKind {
    /// Complete from the start.
    #[default]
    Vod,
    /// Segments are only added.
    Event,
    /// Old segments go.
    Live,
}

/// `EXT-X-SERVER-CONTROL` and `EXT-X-PART-INF`. Durations in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowLatency {
    /// `PART-TARGET`: longest part.
    pub part_target: i64,
    /// `PART-HOLD-BACK`: at least three part targets.
    pub part_hold_back: i64,
    /// `HOLD-BACK`: at least three target durations.
    pub hold_back: i64,
    /// `CAN-SKIP-UNTIL`: at least six target durations; `None` = no delta updates.
    pub can_skip_until: Option<i64>,
    /// `CAN-BLOCK-RELOAD`.
    pub can_block_reload: bool,
}

/// A byte range: length and offset.
pub type ByteRange = Range<u64>;

/// `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The init segment.
    pub uri: String,
    /// Its part of the resource, if not all.
    pub range: Option<ByteRange>,
}

/// One segment.
#[derive(Clone, Debug)]
pub struct MediaSegment {
    /// Where it is.
    pub uri: String,
    /// How long it is.
    pub duration: Timestamp,
    /// Its part of the resource, if not all.
    pub range: Option<ByteRange>,
    /// The init segment it needs; written where it changes.
    pub map: Option<Map>,
    /// `EXT-X-DISCONTINUITY` in front.
    pub discontinuity: bool,
    /// Wall-clock time of its first frame: microseconds since 1970 UTC.
    pub program_date_time: Option<i64>,
    /// `EXT-X-GAP`: announced but absent.
    pub gap: bool,
    /// Its parts, while they are still listed.
    pub parts: Vec<MediaPart>,
}

/// `EXT-X-PART`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPart {
    /// Where it is.
    pub uri: String,
    /// Length in microseconds.
    pub duration: i64,
    /// Whether it has a key frame at its start.
    pub independent: bool,
    /// Its part of the resource, if not all.
    pub range: Option<ByteRange>,
    /// Announced but absent.
    pub gap: bool,
}

/// `EXT-X-PRELOAD-HINT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadHint {
    /// Whether it is an init segment; otherwise a part.
    pub map: bool,
    /// Where it is going to be.
    pub uri: String,
    /// `BYTERANGE-START`, if not 0.
    pub start: u64,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// The other playlist.
    pub uri: String,
    /// Its last segment (or the one being made, when it has parts).
    pub last_sequence: u64,
    /// Its last part.
    pub last_part: Option<u64>,
}

impl MediaSegment {
    /// A segment at `uri`.
    pub fn new(uri: impl Into<String>, duration: Timestamp) -> Self {
        MediaSegment {
            uri: uri.into(),
            duration,
            range: None,
            map: None,
            discontinuity: false,
            program_date_time: None,
            gap: false,
            parts: Vec::new(),
        }
    }

    /// The I-frame playlist entry of a finished segment: its first key frame, shown for the segment's length. `None`
    /// when the segment has none.
    pub fn i_frame(uri: impl Into<String>, segment: &Segment, map: Option<Map>) -> Option<Self> {
        let range = segment.key_range.clone()?;
        let mut entry = MediaSegment::new(uri, segment.duration);
        (entry.range, entry.map) = (Some(range), map);
        Some(entry)
    }
}

impl MediaPart {
    /// The entry of a finished part at `uri`.
    pub fn new(uri: impl Into<String>, part: &Part) -> Self {
        MediaPart {
            uri: uri.into(),
            duration: part.duration.micros(),
            independent: part.independent,
            range: None,
            gap: false,
        }
    }
}

impl MediaPlaylist {
    /// A complete playlist of `segments`, numbered from 0.
    pub fn vod(segments: Vec<MediaSegment>) -> Self {
        let target_duration = Self::longest(segments.iter().map(|s| s.duration));
        MediaPlaylist {
            target_duration,
            independent_segments: true,
            segments,
            ended: true,
            ..MediaPlaylist::default()
        }
    }

    /// The `EXT-X-TARGETDURATION` that fits all `durations`: the longest, rounded to the nearest second, at least 1.
    pub fn longest(durations: impl IntoIterator<Item = Timestamp>) -> u32 {
        let longest = durations.into_iter().map(Timestamp::micros).max().unwrap_or(0);
        u32::try_from((longest + 500_000) / 1_000_000).unwrap_or(1).max(1)
    }

    /// The lowest version that has every feature in use.
    fn version(&self) -> u8 {
        let maps = self.open_map.is_some() || self.segments.iter().any(|s| s.map.is_some());
        match () {
            () if self.skipped > 0 || self.low_latency.is_some_and(|l| l.can_skip_until.is_some()) => 9,
            () if maps && !self.i_frames_only => 6,
            () if maps => 5,
            () if self.i_frames_only || self.segments.iter().any(|s| s.range.is_some()) => 4,
            () => 3,
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{}", self.version())?;
        writeln!(out, "#EXT-X-TARGETDURATION:{}", self.target_duration)?;
        if let Some(l) = &self.low_latency {
            let mut a = Attributes::new("EXT-X-SERVER-CONTROL");
            if l.can_block_reload {
                a.plain("CAN-BLOCK-RELOAD", "YES");
            }
            if let Some(until) = l.can_skip_until {
                a.plain("CAN-SKIP-UNTIL", seconds(until));
            }
            a.plain("PART-HOLD-BACK", seconds(l.part_hold_back)).plain("HOLD-BACK", seconds(l.hold_back));
            a.finish(out);
            Attributes::new("EXT-X-PART-INF").plain("PART-TARGET", seconds(l.part_target)).finish(out);
        }
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence)?;
        if self.discontinuity_sequence > 0 {
            writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        }
        match self.kind {
            PlaylistKind::Vod => out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
            PlaylistKind::Event => out.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n"),
            PlaylistKind::Live => {}
        }
        if self.independent_segments {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        if self.i_frames_only {
            out.push_str("#EXT-X-I-FRAMES-ONLY\n");
        }
        if self.skipped > 0 {
            Attributes::new("EXT-X-SKIP").plain("SKIPPED-SEGMENTS", self.skipped).finish(out);
        }
        let mut map = None;
        for segment in &self.segments {
            if segment.discontinuity {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            // A delta update says it again: shaka-player does not remember that of the skipped segments, and then knows no times of
            // the pictures that text could be held against.
            if segment.map.is_some() && map != segment.map.as_ref() {
                write_map(segment.map.as_ref(), out);
            }
            map = segment.map.as_ref();
            if let Some(time) = segment.program_date_time {
                writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(time))?;
            }
            if segment.gap {
                out.push_str("#EXT-X-GAP\n");
            }
            segment.parts.iter().for_each(|p| write_part(p, out));
            writeln!(out, "#EXTINF:{},", seconds(segment.duration.micros()))?;
            if let Some(range) = &segment.range {
                writeln!(out, "#EXT-X-BYTERANGE:{}", byte_range(range))?;
            }
            writeln!(out, "{}", uri(&segment.uri))?;
        }
        if self.open_discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if self.open_map.is_some() && map != self.open_map.as_ref() {
            write_map(self.open_map.as_ref(), out);
        }
        if let Some(time) = self.open_date_time {
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(time))?;
        }
        self.open_parts.iter().for_each(|p| write_part(p, out));
        for hint in &self.hints {
            let mut a = Attributes::new("EXT-X-PRELOAD-HINT");
            a.plain("TYPE", if hint.map { "MAP" } else { "PART" }).uri("URI", &hint.uri);
            if hint.start > 0 {
                a.plain("BYTERANGE-START", hint.start);
            }
            a.finish(out);
        }
        for report in &self.reports {
            let mut a = Attributes::new("EXT-X-RENDITION-REPORT");
            a.uri("URI", &report.uri).plain("LAST-MSN", report.last_sequence);
            if let Some(part) = report.last_part {
                a.plain("LAST-PART", part);
            }
            a.finish(out);
        }
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        Ok(())
    }
}

impl fmt::Display for MediaPlaylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out)?;
        f.write_str(&out)
    }
}

fn byte_range(range: &ByteRange) -> String {
    format!("{}@{}", range.end.saturating_sub(range.start), range.start)
}

fn write_map(map: Option<&Map>, out: &mut String) {
    if let Some(map) = map {
        let mut a = Attributes::new("EXT-X-MAP");
        a.uri("URI", &map.uri);
        if let Some(range) = &map.range {
            a.quoted("BYTERANGE", &byte_range(range));
        }
        a.finish(out);
    }
}

fn write_part(part: &MediaPart, out: &mut String) {
    let mut a = Attributes::new("EXT-X-PART");
    a.plain("DURATION", seconds(part.duration)).uri("URI", &part.uri);
    if part.independent {
        a.plain("INDEPENDENT", "YES");
    }
    if let Some(range) = &part.range {
        a.quoted("BYTERANGE", &byte_range(range));
    }
    if part.gap {
        a.plain("GAP", "YES");
    }
    a.finish(out);
}

/// ISO 8601 in UTC with milliseconds, from microseconds since 1970. Shared with DASH.
pub(in crate::package) fn date_time(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    // Civil date from days, in years that begin in March so that leap days come last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) =
        (year + era * 400 + i64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    let (seconds, millis) = (rest / 1_000_000, rest / 1000 % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    const MS: Rational = Rational::new(1, 1000);

    fn segment(name: &str, ms: i64) -> MediaSegment {
        let mut s = MediaSegment::new(name, Timestamp::new(ms, MS));
        s.map = Some(Map { uri: "init.mp4".into(), range: None });
        s
    }

    #[test]
    fn golden_vod() {
        let playlist = MediaPlaylist::vod(vec![segment("0.m4s", 4004), segment("1.m4s", 4600)]);
        let expected = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n\
            #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n\
            #EXTINF:4.004000,\n0.m4s\n#EXTINF:4.600000,\n1.m4s\n#EXT-X-ENDLIST\n";
        assert_eq!(playlist.to_string(), expected);
    }

    #[test]
    fn golden_i_frames() {
        let mut entry = MediaSegment::new("0.ts", Timestamp::new(2000, MS));
        entry.range = Some(376..5640);
        let mut playlist = MediaPlaylist::vod(vec![entry]);
        (playlist.i_frames_only, playlist.independent_segments) = (true, false);
        let expected = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n\
            #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:5264@376\n0.ts\n\
            #EXT-X-ENDLIST\n";
        assert_eq!(playlist.to_string(), expected);
    }

    #[test]
    fn golden_low_latency_delta() {
        let part = |uri: &str, independent| MediaPart {
            uri: uri.into(),
            duration: 333_333,
            independent,
            range: None,
            gap: false,
        };
        let mut last = segment("9.m4s", 2000);
        last.program_date_time = Some(1_700_000_000_123_000);
        last.parts = vec![part("9.0.m4s", true), part("9.1.m4s", false)];
        last.map = Some(Map { uri: "init.mp4".into(), range: None });
        let playlist = MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration: 2,
            media_sequence: 4,
            discontinuity_sequence: 1,
            low_latency: Some(LowLatency {
                part_target: 333_334,
                part_hold_back: 1_000_002,
                hold_back: 6_000_000,
                can_skip_until: Some(12_000_000),
                can_block_reload: true,
            }),
            skipped: 5,
            segments: vec![last],
            open_parts: vec![part("10.0.m4s", true)],
            open_map: Some(Map { uri: "init.mp4".into(), range: None }),
            hints: vec![PreloadHint { map: false, uri: "10.1.m4s".into(), start: 0 }],
            reports: vec![RenditionReport { uri: "../a.m3u8".into(), last_sequence: 10, last_part: Some(0) }],
            ..MediaPlaylist::default()
        };
        let expected = r##"#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000000,PART-HOLD-BACK=1.000002,HOLD-BACK=6.000000
#EXT-X-PART-INF:PART-TARGET=0.333334
#EXT-X-MEDIA-SEQUENCE:4
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-SKIP:SKIPPED-SEGMENTS=5
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.123Z
#EXT-X-PART:DURATION=0.333333,URI="9.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.333333,URI="9.1.m4s"
#EXTINF:2.000000,
9.m4s
#EXT-X-PART:DURATION=0.333333,URI="10.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="10.1.m4s"
#EXT-X-RENDITION-REPORT:URI="../a.m3u8",LAST-MSN=10,LAST-PART=0
"##;
        assert_eq!(playlist.to_string(), expected);
    }

    #[test]
    fn dates() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_time(1_709_210_096_789_000), "2024-02-29T12:34:56.789Z");
        assert_eq!(date_time(-1000), "1969-12-31T23:59:59.999Z");
    }
}
