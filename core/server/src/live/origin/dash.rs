//! The DASH manifest of an origin's windows: one period per run, the same segments as HLS, fetched while they are made.

use super::hls::{Facts, sound_name, text_name};
use super::names::{self, File, Format};
use super::state::Span;
use super::window::Window;
use ghoststream::package::dash::{
    AdaptationSet, Chunks, Content, Dynamic, Manifest, Period, Presentation, Representation, SegmentTemplate,
    Source, TimelineEntry, UtcTiming,
};
use ghoststream::package::language;
use ghoststream::package::{Track, audience};
use ghoststream::packet::MediaKind;
use ghoststream::time::{MICROSECONDS, Rational, Rounding, Timestamp, rescale};

/// The latency that low-latency players aim for, in microseconds.
const LATENCY: i64 = 1_200_000;

/// How long before the stream's time 0 the presentation begins, in microseconds. With it no period's times are those of its media:
/// where they are, shaka-player 5.2 takes the time of each chunk of the pictures for the segment's, and shows text up to a segment
/// early (`MediaSourceEngine.appendBuffer` looks only where nothing is to be added to the media's times). No more than that, as
/// dash.js 5.2 and shaka compare producers' reference times with the presentation's as if they were the media's.
const BEFORE: i64 = 1_000;

/// By how much (microseconds) the next run may begin behind a run's media without this being a hole. Between publishers that take
/// over at once there is a frame or two.
const HOLE: i64 = 100_000;

fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros, MICROSECONDS)
}

impl Facts {
    /// The manifest as of `now` (microseconds since 1970); `None` while no segment is whole.
    pub fn manifest(&self, windows: &[Window], spans: &[Span], now: i64) -> Option<Manifest> {
        let target = i64::from(self.shape.target) * 1_000_000;
        let mut periods: Vec<Period> = Vec::new();
        for (i, span) in spans.iter().enumerate() {
            let next = spans.get(i + 1).map(|next| next.start.micros());
            let sets = self.sets(windows, span, next.is_some());
            if sets.is_empty() {
                continue;
            }
            let end = match next {
                // In front of a hole a period is as long as its media: dash.js 5.2 goes on to the next one from a period's end, and
                // waits for that where it is more than 1.5 s away and the next one's pictures are of another kind.
                Some(next) => media_end(windows, span.run).filter(|end| next - end > HOLE).or(Some(next)),
                None => {
                    let last = windows.iter().filter_map(|w| w.of_run(span.run).1.last().copied());
                    let end = last.map(|s| s.start.micros() + s.duration.micros()).max();
                    end.filter(|_| self.ended)
                }
            };
            periods.push(Period {
                id: format!("r{}", span.run),
                start: time(span.start.micros() + BEFORE),
                duration: end.map(|end| time(end - span.start.micros())),
                adaptation_sets: sets,
            });
        }
        let listed = |w: &Window| w.listed().1.map(|s| s.duration.micros()).sum::<i64>();
        let depth = windows.iter().map(listed).max().filter(|_| !periods.is_empty())?;
        let update = if spans.iter().all(|s| s.regular) || !self.low_latency { target } else { 500_000 };
        Some(Manifest {
            presentation: Presentation::Dynamic(Dynamic {
                availability_start: self.epoch - BEFORE,
                publish: now,
                minimum_update_period: (!self.ended).then_some(update),
                time_shift_buffer_depth: Some(depth),
                suggested_presentation_delay: Some(if self.low_latency { LATENCY } else { 3 * target }),
                target_latency: self.low_latency.then_some(LATENCY),
                utc_timing: vec![UtcTiming::HttpIso(names::TIME.into())],
            }),
            min_buffer: time(if self.low_latency { 1_000_000 } else { target }),
            max_segment: Some(time(longest(&periods).max(self.shape.most()))),
            periods,
        })
    }

    /// The sets of a run's period; `over` says that another run has begun.
    fn sets(&self, windows: &[Window], span: &Span, over: bool) -> Vec<AdaptationSet> {
        let mut ladder = Vec::new();
        let (mut sounds, mut texts) = (Vec::new(), Vec::new());
        for window in windows.iter().filter(|w| matches!(w.format, Format::Cmaf | Format::Wvtt)) {
            // What the run had: another publisher's may be of another kind.
            let Some(track) = window.tracks(span.run).first() else { continue };
            let Some(representation) = self.representation(window, track, span, over) else { continue };
            if window.kind == MediaKind::Video {
                ladder.push(representation);
                continue;
            }
            let (content, of_kind) = match window.kind {
                MediaKind::Subtitle => (Content::Text, &mut texts),
                _ => (Content::Audio, &mut sounds),
            };
            let mut set = AdaptationSet::new(content);
            set.language = track.info.language.as_deref().map(language::tag);
            let (n, disposition) = (of_kind.len(), track.info.disposition);
            let (label, roles) = match content {
                Content::Text => (text_name(n, track), vec![audience::text_role(disposition).into()]),
                _ => (sound_name(n, track), audience::roles(disposition, n == 0)),
            };
            (set.label, set.roles) = (Some(label), roles);
            set.representations.push(representation);
            of_kind.push(set);
        }
        let mut ladder = AdaptationSet::ladder(ladder);
        ladder.iter_mut().for_each(|set| set.accessibility = self.accessibility(windows, span.run));
        ladder.into_iter().chain(sounds).chain(texts).collect()
    }

    /// What is said of the captions in a run's pictures (SCTE 214-1, 7.2.4), where there are some.
    fn accessibility(&self, windows: &[Window], run: u64) -> Vec<(String, String)> {
        let pictures =
            windows.iter().filter(|w| w.kind == MediaKind::Video).find_map(|w| w.tracks(run).first());
        let language = pictures.and_then(|track| track.info.language.clone());
        // Three letters; "und" where nobody says.
        let language = language.filter(|l| l.len() == 3).unwrap_or_else(|| "und".into());
        let joined = |all: Vec<String>| Some(all.join(";")).filter(|all| !all.is_empty());
        let lines = joined(self.captions.lines().map(|n| format!("CC{n}={language}")).collect());
        let services = joined(self.captions.services().map(|n| format!("{n}=lang:{language}")).collect());
        let said =
            |scheme: &str, value: Option<String>| Some((format!("urn:scte:dash:cc:{scheme}:2015"), value?));
        [said("cea-608", lines), said("cea-708", services)].into_iter().flatten().collect()
    }

    fn representation(
        &self,
        window: &Window,
        track: &Track,
        span: &Span,
        over: bool,
    ) -> Option<Representation> {
        let (first, listed) = window.of_run(span.run);
        let (last, newest) = listed.iter().enumerate().rev().find(|(_, s)| !s.gap)?;
        let timescale = track.timescale;
        let base = Rational::new(1, i32::try_from(timescale).ok()?);
        let ticks = |t: Timestamp| u64::try_from(t.to(base).ticks).unwrap_or(0);
        let short =
            |micros: i64| u64::try_from(rescale(micros, MICROSECONDS, base, Rounding::Up)).unwrap_or(0);
        let duration = ticks(span.duration);
        let mut template = SegmentTemplate {
            timescale,
            initialization: File::Init(span.run).name(&window.id, &self.token),
            media: File::template(&window.id, &self.token),
            start_number: span.first,
            end_number: None,
            presentation_time_offset: ticks(span.start),
            timeline: Vec::new(),
            availability_time_offset: self
                .low_latency
                .then(|| (span.duration.micros() - self.shape.part).max(0)),
        };
        let source = if span.regular && duration > 0 {
            // The numbers behind it are the next run's. There is no timeline in its place: shaka-player 5.2 cannot take one for what
            // had none, and takes no manifest any more.
            template.end_number = over.then(|| first + last as u64);
            Source::Regular(template, duration)
        } else {
            template.start_number = first;
            // What is not there cannot be left out of a numbered timeline: players find 404 there. Nor may there be holes
            // between its entries, though the media has some: dash.js 5.2 looks for what comes next 10 ms behind an entry's end, and where
            // no entry is, for ever.
            let open = window.open().filter(|o| self.low_latency && o.run == span.run);
            let next = listed.iter().skip(1).map(|s| Some(s.start)).chain([open.map(|o| o.start)]);
            let entry = |(s, next): (&&super::window::Stored, Option<Timestamp>)| {
                let length = |next: Timestamp| {
                    Timestamp::new(next.to(s.start.base).ticks - s.start.ticks, s.start.base)
                };
                let duration = next.map(length).filter(|length| length.ticks > 0).unwrap_or(s.duration);
                TimelineEntry::new(s.start, duration, timescale)
            };
            template.timeline = listed.iter().zip(next).map(entry).collect();
            // The one that is being made, as long as the longer of the two before it: behind a short one, such as the last of a film that
            // begins again, players would take it for over early, and wait for what comes next to be told of.
            if let Some(open) = open {
                let sofar = open.parts.iter().map(|p| p.duration).sum::<i64>();
                let before =
                    listed.iter().rev().take(2).map(|s| s.duration.micros()).max().unwrap_or_default();
                let length = before.max(sofar);
                template.timeline.push(TimelineEntry::new(open.start, time(length), timescale));
            }
            Source::Template(template)
        };
        let (_, peak) = window.bandwidth();
        let mut representation = Representation::of(&window.id, track, peak.max(1), source);
        // A promise as far as it can be made: it is taken back with the first segment that is cut where there is no key frame.
        representation.independent = window.is_independent(span.run);
        representation.chunks = self.low_latency.then(|| Chunks {
            every: short(self.shape.part),
            media: ticks(newest.start),
            wall: self.epoch + newest.start.micros(),
            clock: names::TIME.into(),
        });
        Some(representation)
    }
}

/// Where the media of a run's listed segments ends, in microseconds.
fn media_end(windows: &[Window], run: u64) -> Option<i64> {
    let told = windows.iter().filter(|w| matches!(w.format, Format::Cmaf | Format::Wvtt));
    let last = told.filter_map(|w| w.of_run(run).1.into_iter().rev().find(|s| !s.gap));
    last.map(|s| s.start.micros() + s.duration.micros()).max()
}

/// The longest entry of all timelines, in microseconds: with a hole in the sound it is longer than any segment.
fn longest(periods: &[Period]) -> i64 {
    let representations = periods.iter().flat_map(|p| &p.adaptation_sets).flat_map(|s| &s.representations);
    let entries = representations.filter_map(|r| match &r.source {
        Source::Template(template) => {
            let longest = template.timeline.iter().map(|entry| entry.duration).max()?;
            Some(u128::from(longest) * 1_000_000 / u128::from(template.timescale.max(1)))
        }
        _ => None,
    });
    entries.max().map_or(0, |longest| i64::try_from(longest).unwrap_or(i64::MAX))
}
