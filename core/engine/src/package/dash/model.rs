//! What a manifest says. Wall-clock values are microseconds since 1970 UTC.

use crate::frame::{Colour, ColourRange};
use crate::package::hls::VideoRange;
use crate::package::{Segment, Track};
use crate::packet::MediaKind;
use crate::time::{Rational, Rounding, Timestamp};

/// The manifest. `Display` writes it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Recorded or live.
    pub presentation: Presentation,
    /// Buffer a player needs at the given bandwidths; a segment's length is the usual choice.
    pub min_buffer: Timestamp,
    /// Longest segment.
    pub max_segment: Option<Timestamp>,
    /// Stretches with their own sets of streams, in order.
    pub periods: Vec<Period>,
}

/// Recorded or live.
#[derive(Clone, Debug)]
pub enum Presentation {
    /// Everything is there.
    Static {
        /// Length of the whole.
        duration: Timestamp,
    },
    /// Segments appear with the clock.
    Dynamic(Dynamic),
}

/// The live side of a manifest. Lengths are microseconds.
#[derive(Clone, Debug, Default)]
pub struct Dynamic {
    /// Wall clock of presentation time 0.
    pub availability_start: i64,
    /// When this manifest was made.
    pub publish: i64,
    /// How often to fetch it again; `None` = it does not change.
    pub minimum_update_period: Option<i64>,
    /// How far back one can seek; `None` = to the start.
    pub time_shift_buffer_depth: Option<i64>,
    /// Distance from the live edge to play at.
    pub suggested_presentation_delay: Option<i64>,
    /// Low latency: the latency to aim for (`ServiceDescription`).
    pub target_latency: Option<i64>,
    /// Where players set their clocks.
    pub utc_timing: Vec<UtcTiming>,
}

/// A source of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UtcTiming {
    /// A URL whose body is an ISO 8601 time.
    HttpIso(String),
    /// A URL whose `Date` header counts.
    HttpHead(String),
    /// The time itself, as of this answer.
    Direct(i64),
}

/// A period.
#[derive(Clone, Debug)]
pub struct Period {
    /// Unique id.
    pub id: String,
    /// Start on the presentation's timeline.
    pub start: Timestamp,
    /// Length; `None` = to the next period or the end.
    pub duration: Option<Timestamp>,
    /// Its streams.
    pub adaptation_sets: Vec<AdaptationSet>,
}

/// What a set carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Content {
    Video,
    Audio,
    Text,
}

/// Representations that a player may switch between: one video ladder, one language of audio, one subtitle.
#[derive(Clone, Debug)]
pub struct AdaptationSet {
    /// Video, audio or text.
    pub content: Content,
    /// BCP 47 language.
    pub language: Option<String>,
    /// What a menu shows.
    pub label: Option<String>,
    /// DASH roles: `main`, `alternate`, `subtitle`, `caption`, `forced-subtitle`, `description` …
    pub roles: Vec<String>,
    /// What helps who does not hear or see: schemes and their values.
    pub accessibility: Vec<(String, String)>,
    /// What the pictures' colours are is for players to understand or to leave the set alone, as there is another. Otherwise it
    /// is said to those who want to know.
    pub colour_matters: bool,
    /// Set for trick play: the id (position in the period) of the set it belongs to.
    pub trick_mode_of: Option<usize>,
    /// The representations.
    pub representations: Vec<Representation>,
}

impl AdaptationSet {
    /// An empty set.
    pub fn new(content: Content) -> Self {
        AdaptationSet {
            content,
            language: None,
            label: None,
            roles: Vec::new(),
            accessibility: Vec::new(),
            colour_matters: false,
            trick_mode_of: None,
            representations: Vec::new(),
        }
    }

    /// The sets of a ladder: those whose dynamic range differs cannot be switched between (DASH-IF IOP 6.2.5). Where there are
    /// several, a player that knows nothing of HDR takes the one that is none.
    pub fn ladder(representations: impl IntoIterator<Item = Representation>) -> Vec<Self> {
        let mut sets: Vec<Self> = Vec::new();
        let range = |r: &Representation| VideoRange::of(r.colour);
        for representation in representations {
            let same =
                |set: &&mut Self| set.representations.iter().all(|r| range(r) == range(&representation));
            match sets.iter_mut().find(same) {
                Some(set) => set.representations.push(representation),
                None => {
                    let mut set = AdaptationSet::new(Content::Video);
                    set.representations.push(representation);
                    sets.push(set);
                }
            }
        }
        if sets.len() > 1 {
            for set in &mut sets {
                set.colour_matters = set.representations.iter().any(|r| r.colour.is_hdr());
            }
        }
        sets
    }

    /// Schemes and values of the colours (ISO/IEC 23091-2) that all representations have. BT.709 goes without saying.
    pub(super) fn colours(&self) -> Vec<(String, u8)> {
        let same = |field: fn(&Colour) -> u8| {
            let first = self.representations.first().map(|r| field(&r.colour))?;
            self.representations.iter().all(|r| field(&r.colour) == first).then_some(first)
        };
        // 2: not said.
        let code = |field| same(field).filter(|code| *code != 2);
        let (primaries, transfer, matrix) = (code(|c| c.primaries), code(|c| c.transfer), code(|c| c.matrix));
        let full = same(|c| u8::from(c.range == ColourRange::Full)).filter(|full| *full == 1);
        let usual = |code: Option<u8>| code.is_none_or(|code| code == 1);
        let plain = usual(primaries) && usual(transfer) && usual(matrix);
        let codes = [
            ("ColourPrimaries", primaries),
            ("TransferCharacteristics", transfer),
            ("MatrixCoefficients", matrix),
        ];
        let codes = codes.into_iter().filter(|_| !plain).chain([("VideoFullRangeFlag", full)]);
        codes.filter_map(|(name, code)| Some((format!("urn:mpeg:mpegB:cicp:{name}"), code?))).collect()
    }
}

/// One version of a stream.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Unique id.
    pub id: String,
    /// Peak bits per second.
    pub bandwidth: u64,
    /// RFC 6381 string.
    pub codecs: Option<String>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Frames per second.
    pub frame_rate: Option<Rational>,
    /// Sample aspect ratio.
    pub sample_aspect: Option<Rational>,
    /// Colours of pictures.
    pub colour: Colour,
    /// Samples per second.
    pub sampling_rate: Option<u32>,
    /// Number of channels.
    pub channels: Option<u32>,
    /// Every segment begins with a key frame (SAP type 1), as sound always does.
    pub independent: bool,
    /// Made of key frames only.
    pub trick_mode: bool,
    /// Low latency: its segments are made of chunks.
    pub chunks: Option<Chunks>,
    /// Where its media is.
    pub source: Source,
}

/// How segments are made of chunks (`Resync`), and what time it was when (`ProducerReferenceTime`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// The longest chunk, in the template's ticks.
    pub every: u64,
    /// A media time, in the template's ticks…
    pub media: u64,
    /// … and the wall-clock time at which it was taken, in microseconds since 1970 UTC. The segments say it too (`prft`).
    pub wall: i64,
    /// The clock that is, as a URL whose body is an ISO 8601 time. Without one, players read NTP ticks.
    pub clock: String,
}

/// Where a representation's media is.
#[derive(Clone, Debug)]
pub enum Source {
    /// Segments.
    Template(SegmentTemplate),
    /// Segments of one length, in the template's ticks, without a timeline: a live player knows of the next one without a
    /// new manifest.
    Regular(SegmentTemplate, u64),
    /// One file, such as a WebVTT file.
    File(String),
}

/// `SegmentTemplate` with a timeline.
#[derive(Clone, Debug)]
pub struct SegmentTemplate {
    /// Ticks per second of the timeline.
    pub timescale: u32,
    /// URL of the init segment.
    pub initialization: String,
    /// URL pattern with `$Number$` or `$Time$`.
    pub media: String,
    /// Number of the first entry.
    pub start_number: u64,
    /// Number of the last segment, where the period may be longer than its media.
    pub end_number: Option<u64>,
    /// Media time of the period's start.
    pub presentation_time_offset: u64,
    /// The segments.
    pub timeline: Vec<TimelineEntry>,
    /// Low latency: how long before its end a segment may be asked for, in microseconds (segment less chunk). Implies
    /// `availabilityTimeComplete="false"`.
    pub availability_time_offset: Option<i64>,
}

/// One segment of a timeline, in its template's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Earliest presentation time.
    pub start: u64,
    /// Length.
    pub duration: u64,
}

impl TimelineEntry {
    /// The entry of a segment that starts at `start` and lasts `duration`. Ends are rounded, not lengths, so nothing
    /// drifts.
    pub fn new(start: Timestamp, duration: Timestamp, timescale: u32) -> Self {
        let base = Rational::new(1, i32::try_from(timescale.max(1)).unwrap_or(i32::MAX));
        let from = start.to(base).ticks.max(0);
        // The sum in the segment's own ticks is exact.
        let end = Timestamp::new(
            start.ticks.saturating_add(duration.to_rounding(start.base, Rounding::Nearest).ticks),
            start.base,
        );
        let to = end.to(base).ticks.max(from);
        TimelineEntry { start: from as u64, duration: (to - from) as u64 }
    }

    /// The entry of a finished segment.
    pub fn of(segment: &Segment, timescale: u32) -> Self {
        Self::new(segment.start, segment.duration, timescale)
    }
}

impl Representation {
    /// A representation with everything optional absent.
    pub fn new(id: impl Into<String>, bandwidth: u64, source: Source) -> Self {
        Representation {
            id: id.into(),
            bandwidth,
            codecs: None,
            width: None,
            height: None,
            frame_rate: None,
            sample_aspect: None,
            colour: Colour::default(),
            sampling_rate: None,
            channels: None,
            independent: false,
            trick_mode: false,
            chunks: None,
            source,
        }
    }

    /// The representation of `track`, with everything that the track knows. Of sound, every sample can be begun with; what pictures'
    /// segments begin with is for the caller to say.
    pub fn of(id: impl Into<String>, track: &Track, bandwidth: u64, source: Source) -> Self {
        let mut r = Self::new(id, bandwidth, source);
        r.codecs = Some(track.codecs());
        match track.info.kind {
            MediaKind::Video => {
                (r.width, r.height) = (Some(track.width), Some(track.height));
                r.frame_rate = track.frame_rate();
                r.sample_aspect = Some(track.sample_aspect());
                r.colour = track.colour;
            }
            MediaKind::Audio => {
                (r.sampling_rate, r.channels) = (Some(track.timescale), Some(track.channels));
                r.independent = true;
            }
            _ => {}
        }
        r
    }
}
