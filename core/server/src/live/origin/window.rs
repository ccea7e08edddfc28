//! One rendition's segments and parts: those that are listed, those that are kept for who still asks, the one that is being
//! made. Pure: nothing here waits or knows a clock.

use super::names::Format;
use super::spill::Spilled;
use bytes::Bytes;
use ghoststream::package::{self, Part, Track};
use ghoststream::packet::MediaKind;
use ghoststream::time::{MICROSECONDS, Timestamp};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// As many segments that are left out are told of as gaps.
const GAPS: u64 = 10_000;

/// A part.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Length, in microseconds.
    pub duration: i64,
    /// Whether it has a key frame.
    pub independent: bool,
    /// Its chunk.
    pub bytes: Bytes,
}

/// A whole segment.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The run that made it: counts discontinuities.
    pub run: u64,
    /// Start on the stream's time, exactly.
    pub start: Timestamp,
    /// Length.
    pub duration: Timestamp,
    /// Whether a discontinuity is in front of it.
    pub discontinuity: bool,
    /// Announced, but not there.
    pub gap: bool,
    /// Whether it begins with a key frame.
    pub independent: bool,
    /// Bytes that are kept of it: its length, and that of parts which are none of its bytes.
    pub size: u64,
    /// Its bytes, one piece per chunk; none in a copy of a window, and where it is on disk.
    pub chunks: Vec<Bytes>,
    /// Where it is on disk.
    pub spilled: Option<Arc<Spilled>>,
    /// What shows its first key frame.
    pub key_range: Option<Range<u64>>,
    /// Segments before it that had a key range.
    pub keys_before: u64,
    /// The number of its first part.
    pub first_part: u64,
    /// Its parts.
    pub parts: Vec<Piece>,
}

impl Stored {
    /// Lets its bytes go: it is a gap from now on.
    pub fn empty(&mut self) {
        self.gap = true;
        self.size = 0;
        self.chunks = Vec::new();
        self.parts = Vec::new();
        self.key_range = None;
    }
}

/// What a run makes of a rendition.
#[derive(Debug)]
struct Begun {
    run: u64,
    tracks: Vec<Track>,
    init: Bytes,
    /// Whether all its segments so far, those that have gone too, begin with key frames.
    independent: bool,
}

/// The segment that is being made.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// Its run.
    pub run: u64,
    /// Start on the stream's time.
    pub start: Timestamp,
    /// Whether a discontinuity is in front of it.
    pub discontinuity: bool,
    /// The number of its first part.
    pub first_part: u64,
    /// Its parts so far; at least one.
    pub parts: Vec<Piece>,
}

/// How much a window lists and keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Segments that are listed at least.
    pub segments: usize,
    /// Microseconds that are listed at least.
    pub dvr: i64,
    /// Bytes that are kept at most.
    pub bytes: u64,
}

/// The window of one rendition.
#[derive(Debug)]
pub(super) struct Window {
    /// `v0`, `v1` …, `a0` …; see [`Format`].
    pub id: String,
    /// What its segments are.
    pub format: Format,
    /// Pictures or sound.
    pub kind: MediaKind,
    /// What it is now.
    pub track: Option<Track>,
    /// What is in the same segments.
    pub with: Vec<Track>,
    /// Whether the present run makes it.
    pub live: bool,
    begun: Vec<Begun>,
    /// The oldest first; the first ones are not listed any more.
    segments: VecDeque<Stored>,
    unlisted: usize,
    /// Number of the segment that is being made.
    next: u64,
    open: Option<Open>,
    next_part: u64,
    keys: u64,
    bytes: u64,
    /// Bytes per second of the heaviest segment so far.
    peak: u64,
    limits: Limits,
}

/// What is to be had of a segment.
#[derive(Debug)]
pub(super) enum Have {
    /// All of it.
    Whole(Vec<Bytes>),
    /// All of it, on disk.
    Disk(Arc<Spilled>),
    /// The parts so far: it is being made.
    Some(Vec<Bytes>),
    /// It comes next.
    Soon,
    /// It is over, was never there, or is too far ahead.
    No,
}

impl Window {
    /// A window whose first segment is going to have the number `next`.
    pub fn new(id: String, kind: MediaKind, next: u64, limits: Limits) -> Window {
        Window {
            format: Format::of(&id),
            id,
            kind,
            track: None,
            with: Vec::new(),
            live: true,
            begun: Vec::new(),
            segments: VecDeque::new(),
            unlisted: 0,
            next,
            open: None,
            next_part: 0,
            keys: 0,
            bytes: 0,
            peak: 0,
            limits,
        }
    }

    /// The listed segments, the oldest first, with the number of the first.
    pub fn listed(&self) -> (u64, impl DoubleEndedIterator<Item = &Stored> + ExactSizeIterator) {
        let listed = self.segments.len() - self.unlisted;
        (self.next - listed as u64, self.segments.iter().skip(self.unlisted))
    }

    /// The segment that is being made, once it has a part.
    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// The number of the segment that is being made.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the next part.
    pub fn next_part(&self) -> u64 {
        self.next_part
    }

    /// Bytes that it keeps.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The init segment of a run.
    pub fn init(&self, run: u64) -> Option<&Bytes> {
        self.begun(run).map(|begun| &begun.init)
    }

    /// What a run's segments carry: the rendition's own track first. Nothing where it has no init segment.
    pub fn tracks(&self, run: u64) -> &[Track] {
        self.begun(run).map_or(&[], |begun| &begun.tracks)
    }

    /// Whether every segment of a run begins where one can begin to play. Sound always does.
    pub fn is_independent(&self, run: u64) -> bool {
        self.kind != MediaKind::Video || self.begun(run).is_some_and(|begun| begun.independent)
    }

    fn begun(&self, run: u64) -> Option<&Begun> {
        self.begun.iter().rev().find(|begun| begun.run == run)
    }

    /// Notes that a segment of a run begins without a key frame.
    fn depends(&mut self, run: u64) {
        self.begun.iter_mut().filter(|begun| begun.run == run).for_each(|begun| begun.independent = false);
    }

    /// The newest run that has an init segment.
    pub fn newest_run(&self) -> Option<u64> {
        self.begun.last().map(|begun| begun.run)
    }

    /// Begins run `run` with what it carries, and its init segment: an empty one where the format has none.
    pub fn begin(&mut self, run: u64, tracks: Vec<Track>, init: Bytes) {
        let Some((track, with)) = tracks.split_first() else { return };
        self.bytes += init.len() as u64;
        self.track = Some(track.clone());
        self.with = with.to_vec();
        self.begun.push(Begun { run, tracks, init, independent: true });
    }

    /// The RFC 6381 strings of what it carries.
    pub fn codecs(&self) -> Vec<String> {
        let name = |t: &Track| if self.format == Format::Ts { t.codecs_ts() } else { t.codecs() };
        self.track.iter().chain(&self.with).map(name).collect()
    }

    /// Lets the hinted part go: what comes is of another run, and must not have its name.
    pub fn abandon_hint(&mut self) {
        self.next_part += 1;
    }

    fn discontinuity(&self, run: u64) -> bool {
        self.segments.back().is_some_and(|last| last.run != run)
    }

    /// Adds a part to the open segment.
    pub fn push_part(&mut self, run: u64, part: Part) {
        let piece =
            Piece { duration: part.duration.micros(), independent: part.independent, bytes: part.bytes };
        self.bytes += piece.bytes.len() as u64;
        let discontinuity = self.discontinuity(run);
        let first_part = self.next_part;
        if self.open.is_none() && !piece.independent {
            self.depends(run);
        }
        let open = self.open.get_or_insert_with(|| Open {
            run,
            start: part.start,
            discontinuity,
            first_part,
            parts: Vec::new(),
        });
        open.parts.push(piece);
        self.next_part += 1;
    }

    /// Closes the open segment.
    pub fn push_segment(&mut self, run: u64, segment: package::Segment) {
        let open = self.open.take();
        // Text's parts are not what its segments are made of.
        let beside: u64 = match &open {
            Some(open) if self.format == Format::Text => {
                open.parts.iter().map(|p| p.bytes.len() as u64).sum()
            }
            _ => 0,
        };
        if open.is_none() || self.format == Format::Text {
            self.bytes += segment.len();
        }
        let discontinuity = self.discontinuity(run);
        self.peak = self.peak.max(rate(segment.len(), segment.duration));
        let (first_part, parts) = open.map_or((self.next_part, Vec::new()), |o| (o.first_part, o.parts));
        let keys_before = self.keys;
        let size = segment.len() + beside;
        let key_range = segment.key_range.filter(|_| segment.independent && self.kind == MediaKind::Video);
        self.keys += u64::from(key_range.is_some());
        self.store(Stored {
            run,
            start: segment.start,
            duration: segment.duration,
            discontinuity,
            gap: false,
            independent: segment.independent,
            size,
            chunks: segment.chunks,
            spilled: None,
            key_range,
            keys_before,
            first_part,
            parts,
        });
    }

    /// Adds a segment that is not there, in step with another rendition.
    pub fn push_gap(&mut self, run: u64, start: Timestamp, duration: Timestamp) {
        if let Some(open) = self.open.take() {
            self.bytes -= open.parts.iter().map(|p| p.bytes.len() as u64).sum::<u64>();
        }
        let discontinuity = self.discontinuity(run);
        self.store(Stored {
            run,
            start,
            duration,
            discontinuity,
            gap: true,
            independent: true,
            size: 0,
            chunks: Vec::new(),
            spilled: None,
            key_range: None,
            keys_before: self.keys,
            first_part: self.next_part,
            parts: Vec::new(),
        });
    }

    /// Takes segment `sequence` of the window that this one is a copy of. Numbers that are left out become gaps, for a
    /// playlist has no holes; where there are too many of them, it begins anew.
    pub fn adopt(&mut self, sequence: u64, segment: Stored) {
        if let Some(last) = self.segments.back()
            && let missing @ 1..=GAPS = sequence.saturating_sub(self.next)
        {
            let (run, from) = (last.run, last.start.micros() + last.duration.micros());
            let longest = last.duration.micros().max(segment.duration.micros());
            let step = (segment.start.micros() - from) / i64::try_from(missing).unwrap_or(i64::MAX);
            let duration = Timestamp::new(step.clamp(1, longest.max(1)), MICROSECONDS);
            let mut start = from;
            while self.next < sequence {
                self.push_gap(run, Timestamp::new(start, MICROSECONDS), duration);
                start += step.max(1);
            }
        }
        if sequence > self.next {
            self.bytes -= self.segments.drain(..).map(|s| s.size).sum::<u64>();
            self.unlisted = 0;
            self.next = sequence;
        }
        let discontinuity = self.discontinuity(segment.run);
        let keys_before = self.keys;
        self.keys += u64::from(segment.key_range.is_some());
        self.bytes += segment.size;
        self.peak = self.peak.max(rate(segment.size, segment.duration));
        self.store(Stored { discontinuity, keys_before, ..segment });
    }

    /// The segments in memory that end `age` microseconds or more before the newest, with their bytes.
    pub fn old(&self, age: i64) -> Vec<(u64, Vec<Bytes>)> {
        let end = |s: &Stored| s.start.micros() + s.duration.micros();
        let edge = self.segments.back().map_or(0, end) - age;
        let numbered = (self.oldest()..).zip(&self.segments).take_while(|(_, s)| end(s) <= edge);
        numbered.filter(|(_, s)| !s.chunks.is_empty()).map(|(n, s)| (n, s.chunks.clone())).collect()
    }

    /// Says that a segment is on disk: its bytes, and its parts, are let go.
    pub fn spill(&mut self, sequence: u64, spilled: Spilled) {
        let at = sequence.checked_sub(self.oldest()).and_then(|at| usize::try_from(at).ok());
        if let Some(segment) = at.and_then(|at| self.segments.get_mut(at)).filter(|s| s.spilled.is_none()) {
            self.bytes -= segment.size;
            (segment.chunks, segment.parts) = (Vec::new(), Vec::new());
            segment.spilled = Some(Arc::new(spilled));
        }
    }

    /// The number of the oldest segment that is kept.
    pub fn oldest(&self) -> u64 {
        self.next - self.segments.len() as u64
    }

    /// A kept segment.
    pub fn kept(&self, sequence: u64) -> Option<&Stored> {
        let at = usize::try_from(sequence.checked_sub(self.oldest())?).ok()?;
        self.segments.get(at)
    }

    fn store(&mut self, segment: Stored) {
        if !segment.gap && !segment.independent {
            self.depends(segment.run);
        }
        self.segments.push_back(segment);
        self.next += 1;
        let length = |s: &Stored| s.duration.micros();
        let mut listed: i64 = self.segments.iter().skip(self.unlisted).map(length).sum();
        while self.segments.len() - self.unlisted > self.limits.segments
            && let Some(first) = self.segments.get(self.unlisted)
            && listed - length(first) >= self.limits.dvr
        {
            listed -= length(first);
            self.unlisted += 1;
        }
        // A client that has an old playlist may ask for what it lists for as long as that was.
        let mut kept: i64 = self.segments.iter().take(self.unlisted).map(length).sum();
        while self.unlisted > 0
            && let Some(first) = self.segments.front()
            && (kept - length(first) >= listed || (self.bytes > self.limits.bytes && first.spilled.is_none()))
        {
            kept -= length(first);
            self.drop_first();
        }
        // Too much for the memory that there is: the window becomes shorter.
        // What is on disk takes none of it.
        while self.bytes > self.limits.bytes
            && self.segments.len() > 3
            && self.segments.front().is_some_and(|s| s.spilled.is_none())
        {
            self.drop_first();
        }
        // Behind what is on disk, a disk that is full leaves the rest in memory: its oldest become gaps.
        let behind = self.segments.len().saturating_sub(3);
        while self.bytes > self.limits.bytes
            && let Some(oldest) =
                self.segments.iter_mut().take(behind).find(|s| s.spilled.is_none() && !s.gap)
        {
            self.bytes -= oldest.size;
            oldest.empty();
        }
        let oldest = self.segments.front().map_or(0, |s| s.run);
        let mut freed = 0;
        self.begun.retain(|begun| {
            let wanted = begun.run >= oldest;
            freed += if wanted { 0 } else { begun.init.len() as u64 };
            wanted
        });
        self.bytes -= freed;
    }

    fn drop_first(&mut self) {
        if let Some(gone) = self.segments.pop_front() {
            self.bytes -= if gone.spilled.is_some() { 0 } else { gone.size };
            self.unlisted = self.unlisted.saturating_sub(1);
        }
    }

    /// Whether the playlist has segment `sequence`, or part `part` of it. A part behind the segment's last is the next
    /// segment's first.
    pub fn reached(&self, sequence: u64, part: Option<u64>) -> bool {
        if sequence > self.next {
            return false;
        }
        let Some(part) = part else { return sequence < self.next };
        let open = self.open.as_ref().map_or(0, |o| o.parts.len() as u64);
        if sequence == self.next {
            return part < open;
        }
        if sequence + 1 < self.next {
            return true;
        }
        // The last whole segment; a gap has no parts, and gets none.
        let last = self.segments.back();
        part < last.map_or(0, |s| s.parts.len() as u64) || open > 0 || last.is_some_and(|s| s.gap)
    }

    /// The last segment and part that a playlist tells of.
    pub fn last(&self) -> Option<(u64, Option<u64>)> {
        if let Some(open) = &self.open {
            return Some((self.next, Some(open.parts.len() as u64 - 1)));
        }
        let last = self.segments.back()?;
        Some((self.next - 1, (last.parts.len() as u64).checked_sub(1)))
    }

    /// A part by its number.
    pub fn part(&self, number: u64) -> Option<&Piece> {
        let of = |first: u64, parts: &'_ [Piece]| -> Option<usize> {
            let at = usize::try_from(number.checked_sub(first)?).ok()?;
            (at < parts.len()).then_some(at)
        };
        if let Some(open) = &self.open
            && let Some(at) = of(open.first_part, &open.parts)
        {
            return open.parts.get(at);
        }
        let behind = self.segments.partition_point(|s| s.first_part <= number);
        // Segments without parts share their number with the one behind.
        self.segments.range(..behind).rev().take(8).find_map(|s| s.parts.get(of(s.first_part, &s.parts)?))
    }

    /// A segment by its number.
    pub fn segment(&self, sequence: u64) -> Have {
        if sequence == self.next {
            return match &self.open {
                Some(open) => Have::Some(open.parts.iter().map(|p| p.bytes.clone()).collect()),
                None => Have::Soon,
            };
        }
        match self.kept(sequence) {
            Some(Stored { spilled: Some(spilled), .. }) => Have::Disk(spilled.clone()),
            Some(segment) if !segment.gap => Have::Whole(segment.chunks.clone()),
            _ if sequence == self.next + 1 => Have::Soon,
            _ => Have::No,
        }
    }

    /// Start and length of a kept segment.
    pub fn span(&self, sequence: u64) -> Option<(Timestamp, Timestamp)> {
        self.kept(sequence).map(|s| (s.start, s.duration))
    }

    /// The listed segments of a run, with the number of the first.
    pub fn of_run(&self, run: u64) -> (u64, Vec<&Stored>) {
        let (first, listed) = self.listed();
        let before = self.segments.iter().skip(self.unlisted).take_while(|s| s.run < run).count();
        (first + before as u64, listed.filter(|s| s.run == run).collect())
    }

    /// Bits per second: average of what is listed, and the most that a segment had.
    pub fn bandwidth(&self) -> (u64, u64) {
        let (mut bytes, mut length) = (0, 0);
        for segment in self.listed().1.filter(|s| !s.gap) {
            bytes += segment.size;
            length += segment.duration.micros();
        }
        if let Some(open) = self.open.as_ref().filter(|_| length < 1_000_000) {
            bytes += open.parts.iter().map(|p| p.bytes.len() as u64).sum::<u64>();
            length += open.parts.iter().map(|p| p.duration).sum::<i64>();
        }
        let average = rate(bytes, Timestamp::new(length, MICROSECONDS));
        (average, self.peak.max(average))
    }
}

/// Bits per second.
fn rate(bytes: u64, duration: Timestamp) -> u64 {
    let micros = u64::try_from(duration.micros()).unwrap_or(0).max(1);
    u64::try_from(u128::from(bytes) * 8_000_000 / u128::from(micros)).unwrap_or(u64::MAX)
}
