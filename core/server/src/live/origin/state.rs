//! What the maker of an origin tells its requests.

use super::OriginStats;
use super::hls::Facts;
use super::names::{File, Format};
use super::viewers::Viewers;
use super::window::{Limits, Window};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ghoststream::package::{self, Event};
use ghoststream::packet::MediaKind;
use ghoststream::time::Timestamp;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A text as it goes out.
#[derive(Debug)]
pub(super) struct Rendered {
    /// As it is.
    pub plain: Bytes,
    /// Compressed.
    pub gzip: Option<Bytes>,
    /// Its validator, without quotes.
    pub tag: String,
}

impl Rendered {
    /// Compresses and names `text`.
    pub fn new(text: String) -> Rendered {
        Rendered::with(text, true)
    }

    /// Names `text`, and compresses it if `gzip`.
    pub fn with(text: String, gzip: bool) -> Rendered {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
            // Writing to memory does not fail; if it did, the plain text would do.
            encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).ok()
        };
        let gzip = gzip.then(compress).flatten();
        Rendered { plain: text.into(), gzip: gzip.map(Bytes::from), tag: format!("{:x}", hasher.finish()) }
    }
}

/// The texts of a window that are made once for all who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// The media playlist.
    Full,
    /// Its delta update.
    Delta,
    /// The I-frame playlist.
    Keys,
}

/// A run on the stream's time, for DASH: a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Which.
    pub run: u64,
    /// Where its first segment begins.
    pub start: Timestamp,
    /// The number of that.
    pub first: u64,
    /// Length of its first segment, on its own base.
    pub duration: Timestamp,
    /// Whether all segments are that long, so that a player can tell when the next one comes.
    pub regular: bool,
}

/// A segment's start may be this far from where equally long ones would have put it, in microseconds.
const IRREGULAR: i64 = 100_000;

/// What stands beside a window.
#[derive(Debug)]
struct Side {
    changed: watch::Sender<()>,
    texts: Vec<(Text, Arc<Rendered>)>,
}

/// Everything that requests see; changes all at once.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Known with the first group of pictures.
    pub facts: Option<Facts>,
    pub windows: Vec<Window>,
    sides: Vec<Side>,
    /// Which window decides the cuts.
    pub lead: usize,
    /// The runs that have a listed segment.
    pub spans: Vec<Span>,
    pub ended: bool,
    pub runs: u64,
    pub dropped: u64,
    /// The latest decode time, in microseconds.
    pub time: i64,
    /// Told when a segment is whole, and at the end.
    pub whole: watch::Sender<()>,
    pub viewers: Viewers,
    pub requests: u64,
    pub bytes_sent: u64,
}

impl State {
    /// The window `id`, and its place.
    pub fn window(&self, id: &str) -> Option<(usize, &Window)> {
        self.windows.iter().enumerate().find(|(_, w)| w.id == id)
    }

    /// Told when the window at `index` changes.
    pub fn watch(&self, index: usize) -> Option<watch::Receiver<()>> {
        Some(self.sides.get(index)?.changed.subscribe())
    }

    /// Whether players can be told of all renditions of `format`.
    pub fn is_ready(&self, format: Format) -> bool {
        let some = |w: &Window| w.track.is_some() && w.last().is_some();
        let mut of = self.windows.iter().filter(|w| w.format == format).peekable();
        self.facts.is_some() && of.peek().is_some() && of.all(|w| !w.live || some(w))
    }

    /// The window for rendition `id`, made when it is not there.
    pub fn ensure(&mut self, id: String, kind: MediaKind, next: u64, limits: Limits) -> usize {
        if let Some((index, _)) = self.window(&id) {
            return index;
        }
        self.windows.push(Window::new(id, kind, next, limits));
        self.sides.push(Side { changed: watch::Sender::new(()), texts: Vec::new() });
        self.windows.len() - 1
    }

    /// The number that all windows go on with.
    pub fn next(&self) -> u64 {
        self.windows.iter().map(Window::next).max().unwrap_or(0)
    }

    /// Takes what the segmenter of run `run` made; its groups are places of windows. Says whether anything was new.
    pub fn apply(&mut self, run: u64, events: Vec<Event>) -> bool {
        let any = !events.is_empty();
        let mut touched = Vec::new();
        let whole = events.iter().any(|e| matches!(e, Event::Segment(_)));
        for event in events {
            let (group, sequence) = match &event {
                Event::Init { group, .. } => (*group, None),
                Event::Part(part) => (part.group, Some(part.sequence)),
                Event::Segment(segment) => (segment.group, Some(segment.sequence)),
            };
            if let Some(sequence) = sequence {
                self.fill(run, group, sequence);
            }
            let lead = self.lead;
            let Some(window) = self.windows.get_mut(group) else { continue };
            touched.push(group);
            // What comes for a segment that was given up is late.
            let in_time = sequence.is_none_or(|s| s == window.next());
            match event {
                Event::Init { tracks, bytes, .. } => window.begin(run, tracks, bytes.unwrap_or_default()),
                Event::Part(part) if in_time => window.push_part(run, part),
                Event::Segment(segment) if in_time => {
                    let (start, media) = (segment.start, window.format == Format::Cmaf);
                    if group == lead {
                        span(&mut self.spans, run, &segment);
                    }
                    window.push_segment(run, segment);
                    let next = window.next();
                    // The leading one has its segment first, if it has one: its track is silent while others go on.
                    let alone = group != lead && media && self.is_behind(lead, next);
                    if alone && self.fill(run, lead, next) {
                        check(&mut self.spans, run, start, next - 1);
                        touched.push(lead);
                    }
                    if group == lead || alone {
                        touched.extend(self.keep_in_step(run, next));
                        self.forget_spans();
                    }
                }
                _ => {}
            }
        }
        self.tell(&touched);
        if whole {
            self.whole.send_replace(());
        }
        any
    }

    /// Windows that have nothing for what the leading one has finished get gaps: at once, where the run does not make them,
    /// and after two segments, where a track has stopped.
    fn keep_in_step(&mut self, run: u64, next: u64) -> Vec<usize> {
        let behind = |w: &Window| if w.live { next.saturating_sub(2) } else { next };
        let late: Vec<(usize, u64)> = self.windows.iter().enumerate().map(|(i, w)| (i, behind(w))).collect();
        late.into_iter().filter(|(i, upto)| self.fill(run, *i, *upto)).map(|(i, _)| i).collect()
    }

    /// Whether the present run makes the window at `index`, which has nothing of the segment in front of `next`.
    fn is_behind(&self, index: usize, next: u64) -> bool {
        self.windows.get(index).is_some_and(|w| w.live && w.open().is_none() && w.next() < next)
    }

    fn forget_spans(&mut self) {
        let oldest = self.windows.iter().filter_map(|w| w.listed().1.next().map(|s| s.run)).min();
        self.spans.retain(|s| oldest.is_none_or(|oldest| s.run >= oldest));
    }

    /// Fills the window at `index` with gaps before segment `upto`, as long as the others' segments.
    fn fill(&mut self, run: u64, index: usize, upto: u64) -> bool {
        let mut filled = false;
        while let Some(sequence) = self.windows.get(index).map(Window::next).filter(|n| *n < upto) {
            let span = self.windows.iter().find_map(|w| w.span(sequence));
            let (Some((start, duration)), Some(window)) = (span, self.windows.get_mut(index)) else { break };
            window.push_gap(run, start, duration);
            filled = true;
        }
        filled
    }

    /// Says that the present run does not make the windows at `windows` any more: they are not told of, and not waited for.
    pub fn leave_out(&mut self, windows: &[usize]) {
        for window in windows {
            if let Some(window) = self.windows.get_mut(*window) {
                window.live = false;
            }
        }
        self.tell(windows);
    }

    /// Brings all windows to the same number, when a run is over.
    pub fn align(&mut self, run: u64) {
        let next = self.next();
        for index in 0..self.windows.len() {
            self.fill(run, index, next);
        }
        self.tell_all();
    }

    /// Wakes who waits for the windows at `touched`.
    fn tell(&mut self, touched: &[usize]) {
        for (i, side) in self.sides.iter_mut().enumerate() {
            if touched.contains(&i) {
                side.texts.clear();
                side.changed.send_replace(());
            }
        }
    }

    /// Wakes everybody.
    pub fn tell_all(&mut self) {
        let all: Vec<usize> = (0..self.sides.len()).collect();
        self.tell(&all);
        self.whole.send_replace(());
    }

    /// A text of the window at `index`.
    pub fn text(&mut self, index: usize, text: Text) -> Option<Arc<Rendered>> {
        let (facts, window) = (self.facts.as_ref()?, self.windows.get(index)?);
        let side = self.sides.get_mut(index)?;
        if let Some((_, made)) = side.texts.iter().find(|(t, _)| *t == text) {
            return Some(made.clone());
        }
        let others: Vec<&Window> =
            self.windows.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, w)| w).collect();
        let playlist = match text {
            Text::Full => facts.media(window, &others, false),
            Text::Delta => facts.media(window, &others, true),
            Text::Keys => facts.keys(window),
        };
        let made = Arc::new(Rendered::new(playlist.to_string()));
        side.texts.push((text, made.clone()));
        Some(made)
    }

    /// The multivariant playlist of the renditions of a format.
    pub fn multivariant(&self, format: Format) -> Option<Rendered> {
        let facts = self.facts.as_ref()?;
        let playlist = match format {
            Format::Ts => facts.multivariant_ts(&self.windows),
            _ => facts.multivariant(&self.windows),
        };
        Some(Rendered::new(playlist.to_string()))
    }

    /// The DASH manifest, as of `now` (microseconds since 1970).
    pub fn manifest(&self, now: i64) -> Option<Rendered> {
        let manifest = self.facts.as_ref()?.manifest(&self.windows, &self.spans, now)?;
        Some(Rendered::new(manifest.to_string()))
    }

    /// Whether `file` of the window is hinted: it is going to be there, if anything comes.
    pub fn is_hinted(&self, window: &Window, file: File) -> bool {
        let coming = self.facts.as_ref().and_then(|f| f.coming);
        !self.ended
            && match file {
                File::Part(number) => {
                    number == window.next_part() && (window.live || window.format != Format::Text)
                }
                File::Init(run) => Some(run) == coming && window.live,
                _ => false,
            }
    }

    /// How it is doing.
    pub fn stats(&mut self) -> OriginStats {
        let shape = self.facts.as_ref().map(|f| f.shape);
        OriginStats {
            ready: self.is_ready(Format::Cmaf),
            ended: self.ended,
            viewers: self.viewers.count(Instant::now()),
            requests: self.requests,
            bytes_sent: self.bytes_sent,
            memory: self.windows.iter().map(Window::bytes).sum(),
            runs: self.runs,
            dropped: self.dropped,
            target_duration: shape.map_or(0, |s| s.target),
            part_target: shape.map_or(0.0, |s| s.part as f64 / 1e6),
            sequence: self.next(),
            time: self.time as f64 / 1e6,
        }
    }
}

/// Follows the leading track's segments.
fn span(spans: &mut Vec<Span>, run: u64, segment: &package::Segment) {
    if spans.iter().any(|s| s.run == run) {
        return check(spans, run, segment.start, segment.sequence);
    }
    spans.push(Span {
        run,
        start: segment.start,
        first: segment.sequence,
        duration: segment.duration,
        regular: true,
    });
}

/// Whether a run's segment `sequence`, which begins at `start`, is where equally long ones would have put it.
fn check(spans: &mut [Span], run: u64, start: Timestamp, sequence: u64) {
    if let Some(span) = spans.iter_mut().find(|s| s.run == run) {
        let count = i64::try_from(sequence.saturating_sub(span.first)).unwrap_or(i64::MAX);
        let ticks = span.start.ticks.saturating_add(span.duration.ticks.saturating_mul(count));
        let planned = Timestamp::new(ticks, span.start.base);
        let off = start.micros() - planned.micros();
        span.regular &= span.start.base == span.duration.base && off.abs() <= IRREGULAR;
    }
}
