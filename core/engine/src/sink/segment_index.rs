//! What a segmented output has made so far, and the playlists over it. Names of objects, and nothing but names, are
//! decided here: `720p/init.mp4`, `720p/00007.m4s`, `720p.m3u8`, `720p-iframes.m3u8`, `subtitles-2/00007.vtt`,
//! `subtitles-2.vtt`, `master.m3u8`, `manifest.mpd`; without folders `stream_0_init.mp4`, `stream_0_00007.m4s`,
//! `stream_0.m3u8`.

use super::TrackHeader;
use crate::error::{Error, ErrorKind, Result};
use crate::package::bandwidth::Bandwidth;
use crate::package::hls::{Map, MediaPlaylist, MediaSegment, PlaylistKind};
use crate::package::ts::TIME_OFFSET;
use crate::package::{Segment, Track, audience, dash, language, webvtt};
use crate::packet::{Codec, Disposition, MediaKind, Packet};
use crate::spec::{Container, PlaylistMode, SegmentNames, SegmentSpec};
use crate::time::{Rational, Timestamp};
use bytes::Bytes;
use std::ops::Range;

mod multivariant;

/// An object to write at the end.
pub(super) struct Object {
    pub name: String,
    pub data: Bytes,
    /// Whether it is what a player opens.
    pub top: bool,
    /// When it is shown, for a segment: start and length in seconds.
    pub span: (f64, f64),
}

/// Everything made so far.
#[derive(Default)]
pub(super) struct Index {
    renditions: Vec<Rendition>,
    subtitles: Vec<Subtitle>,
    /// The one rendition's playlist is what a player opens.
    single: bool,
    /// How many segments of each subtitle a growing output has written.
    subtitled: usize,
    /// Whether a growing output has its multivariant playlist.
    announced: bool,
    /// When presentation time 0 of a growing output was, in microseconds since 1970.
    began: Option<i64>,
}

/// One set of segments.
pub(super) struct Rendition {
    name: String,
    /// What names of its objects begin with.
    stem: String,
    position: usize,
    kind: MediaKind,
    ts: bool,
    headers: Vec<TrackHeader>,
    tracks: Vec<Track>,
    has_init: bool,
    /// More segments are going to come.
    grows: bool,
    segments: Vec<Made>,
}

struct Made {
    uri: String,
    segment: Segment,
    bytes: u64,
}

struct Subtitle {
    name: String,
    stem: String,
    language: Option<String>,
    title: Option<String>,
    default: bool,
    disposition: Disposition,
    cues: Vec<webvtt::Cue>,
}

impl Rendition {
    pub fn new(track: &TrackHeader, ts: bool, names: SegmentNames) -> Self {
        let (name, stem) = named(track, names);
        Rendition {
            name,
            stem,
            position: track.position,
            kind: track.stream.kind,
            ts,
            headers: vec![track.clone()],
            tracks: Vec::new(),
            has_init: false,
            grows: true,
            segments: Vec::new(),
        }
    }

    fn map(&self) -> Option<Map> {
        self.has_init.then(|| Map { uri: format!("{}init.mp4", self.stem), range: None })
    }

    fn media(&self) -> MediaPlaylist {
        let segments = self.segments.iter().map(|made| MediaSegment {
            map: self.map(),
            ..MediaSegment::new(made.uri.clone(), made.segment.duration)
        });
        MediaPlaylist::vod(segments.collect())
    }

    /// The playlist of what there is so far; `target` is the length that segments are meant to have.
    fn growing(&self, target: Timestamp) -> MediaPlaylist {
        let list = self.media();
        let target_duration = MediaPlaylist::longest([target]).max(list.target_duration);
        MediaPlaylist { kind: PlaylistKind::Event, ended: false, target_duration, ..list }
    }

    fn i_frames(&self) -> Option<MediaPlaylist> {
        let entries: Vec<_> = self
            .segments
            .iter()
            .filter_map(|m| MediaSegment::i_frame(&m.uri, &m.segment, self.map()))
            .collect();
        (!entries.is_empty()).then(|| MediaPlaylist { i_frames_only: true, ..MediaPlaylist::vod(entries) })
    }

    fn bandwidth(&self, target: Timestamp) -> Bandwidth {
        let sizes: Vec<_> = self.segments.iter().map(|m| (m.bytes, m.segment.duration)).collect();
        let measured = Bandwidth::measure(&sizes, target);
        // Early segments say little about later ones; what encoders were told says more.
        let told = self.headers.iter().map(|h| h.stream.bit_rate).sum::<Option<u64>>().unwrap_or(0);
        if self.grows && told > measured.average {
            Bandwidth { average: told, peak: measured.peak.max(told + told / 10) }
        } else {
            measured
        }
    }

    fn i_frame_bandwidth(&self, target: Timestamp) -> Bandwidth {
        let sizes: Vec<_> = self
            .segments
            .iter()
            .filter_map(|m| m.segment.key_range.as_ref().map(|r| (r.end - r.start, m.segment.duration)))
            .collect();
        Bandwidth::measure(&sizes, target)
    }

    fn codecs(&self) -> Vec<String> {
        self.tracks.iter().map(|t| if self.ts { t.codecs_ts() } else { t.codecs() }).collect()
    }

    fn of_kind(&self, kind: MediaKind) -> Option<&Track> {
        self.tracks.iter().find(|t| t.info.kind == kind)
    }

    fn disposition(&self) -> Disposition {
        self.headers.first().map(|h| h.stream.disposition).unwrap_or_default()
    }

    fn language(&self) -> Option<String> {
        self.headers.iter().find_map(|h| h.stream.language.as_deref().map(language::tag))
    }

    fn end(&self) -> f64 {
        self.segments.last().map_or(0.0, |m| m.segment.start.seconds() + m.segment.duration.seconds())
    }
}

impl Index {
    pub fn groups(&self) -> usize {
        self.renditions.len()
    }

    pub fn add(&mut self, rendition: Rendition) {
        self.renditions.push(rendition);
    }

    /// Puts a track into the segments of another.
    pub fn mux(&mut self, group: usize, track: &TrackHeader, names: SegmentNames) {
        if let Some(rendition) = self.renditions.get_mut(group) {
            rendition.headers.push(track.clone());
            if track.stream.kind == MediaKind::Video {
                rendition.kind = MediaKind::Video;
                (rendition.name, rendition.stem) = named(track, names);
            }
        }
    }

    /// Says that all renditions and subtitles are known.
    pub fn complete(&mut self, names: SegmentNames) {
        if let ([only], true, SegmentNames::Flat) =
            (&mut self.renditions[..], self.subtitles.is_empty(), names)
        {
            self.single = true;
            only.stem = "segment_".into();
        }
    }

    pub fn add_subtitle(&mut self, track: &TrackHeader, names: SegmentNames) -> usize {
        let (name, stem) = named(track, names);
        self.subtitles.push(Subtitle {
            name,
            stem,
            language: track.stream.language.as_deref().map(language::tag),
            title: track.stream.title.clone(),
            // Of a group, one may be shown unasked at most (RFC 8216, 4.3.4.1.1); Matroska marks all where nobody says anything.
            default: track.stream.disposition.default && !self.subtitles.iter().any(|s| s.default),
            disposition: track.stream.disposition,
            cues: Vec::new(),
        });
        self.subtitles.len() - 1
    }

    /// Learns a group's tracks; gives the name of its init segment.
    pub fn init(&mut self, group: usize, tracks: Vec<Track>) -> String {
        let Some(rendition) = self.renditions.get_mut(group) else { return String::new() };
        rendition.tracks = tracks;
        rendition.has_init = !rendition.ts;
        format!("{}init.mp4", rendition.stem)
    }

    /// Learns a segment; gives its name.
    pub fn segment(&mut self, segment: &Segment) -> String {
        let Some(rendition) = self.renditions.get_mut(segment.group) else { return String::new() };
        let extension = if rendition.ts { "ts" } else { "m4s" };
        let uri = format!("{}{:05}.{extension}", rendition.stem, segment.sequence);
        // The bytes are on their way to their place; keeping them here would keep the film in memory.
        let facts = Segment { chunks: Vec::new(), ..segment.clone() };
        rendition.segments.push(Made { uri: uri.clone(), bytes: segment.len(), segment: facts });
        uri
    }

    pub fn cue(&mut self, subtitle: usize, packet: &Packet) {
        let (Some(subtitle), Some(start)) = (self.subtitles.get_mut(subtitle), packet.presentation()) else {
            return;
        };
        let end = Timestamp::new(start.ticks.saturating_add(packet.duration), start.base);
        let text = String::from_utf8_lossy(&packet.data).into_owned();
        subtitle
            .cues
            .push(webvtt::Cue::new(start.micros(), end.micros(), text).set_as(&Codec::WebVtt, packet));
    }

    /// What a growing output writes after a segment of `group`: that rendition's playlist, subtitles as far as they are
    /// known, and the multivariant playlist once every rendition has something to play. For DASH a manifest of what there is
    /// so far; `now` is the wall clock in microseconds since 1970, by which players know what they may ask for.
    pub fn grown(
        &mut self,
        group: usize,
        container: Container,
        master: &str,
        target: Timestamp,
        now: i64,
    ) -> Vec<Object> {
        let mut objects = Vec::new();
        if container != Container::Hls && self.renditions.iter().all(|r| !r.segments.is_empty()) {
            // The first segment was there when its end was: what is made faster than it plays is there early.
            let end = self.renditions.iter().map(Rendition::end).fold(f64::INFINITY, f64::min);
            let began = *self.began.get_or_insert(now - (end * 1e6) as i64);
            self.renditions_in_order(|index| {
                let text = index.live_manifest(target, began, now).to_string();
                let top = container == Container::Dash;
                objects.push(Object {
                    name: "manifest.mpd".into(),
                    data: text.into(),
                    top,
                    span: (0.0, 0.0),
                });
            });
        }
        if container == Container::Dash {
            return objects;
        }
        let mut object = |name: String, text: String, top| {
            objects.push(Object { name, data: text.into(), top, span: (0.0, 0.0) })
        };
        if let Some(rendition) = self.renditions.get(group) {
            let name = if self.single { master } else { &rendition.name };
            object(format!("{name}.m3u8"), rendition.growing(target).to_string(), self.single);
        }
        if self.single {
            return objects;
        }
        // Cues of a segment are all there when the segment behind it is.
        let known = self.subtitle_grid().len().saturating_sub(1);
        if !self.subtitles.is_empty() && known > self.subtitled {
            let written = self.subtitled;
            objects.extend(self.subtitle_segments(written..known));
            self.subtitled = known;
            for subtitle in &self.subtitles {
                let list = MediaPlaylist {
                    kind: PlaylistKind::Event,
                    ended: false,
                    ..self.subtitle_list(subtitle, known)
                };
                let longest = list.target_duration.max(MediaPlaylist::longest([target]));
                let list = MediaPlaylist { target_duration: longest, ..list };
                let name = format!("{}.m3u8", subtitle.name);
                objects.push(Object { name, data: list.to_string().into(), top: false, span: (0.0, 0.0) });
            }
        }
        let playable = self.subtitles.is_empty() || self.subtitled > 0;
        if !self.announced && playable && self.renditions.iter().all(|r| !r.segments.is_empty()) {
            self.announced = true;
            for (_, rendition) in self.renditions.iter().enumerate().filter(|(i, _)| *i != group) {
                let (name, list) = (format!("{}.m3u8", rendition.name), rendition.growing(target));
                objects.push(Object { name, data: list.to_string().into(), top: false, span: (0.0, 0.0) });
            }
            self.renditions_in_order(|index| {
                let text = index.multivariant(target, false).to_string();
                let name = format!("{master}.m3u8");
                objects.push(Object { name, data: text.into(), top: true, span: (0.0, 0.0) });
            });
        }
        objects
    }

    /// Runs `body` with the renditions in the document's order; the order of their groups comes back afterwards.
    fn renditions_in_order(&mut self, body: impl FnOnce(&mut Self)) {
        let mut order: Vec<usize> = (0..self.renditions.len()).collect();
        order.sort_by_key(|&i| self.renditions[i].position);
        let mut slots: Vec<Option<Rendition>> = self.renditions.drain(..).map(Some).collect();
        self.renditions = order.iter().filter_map(|&i| slots[i].take()).collect();
        body(self);
        let mut back: Vec<(usize, Rendition)> = order.into_iter().zip(self.renditions.drain(..)).collect();
        back.sort_by_key(|(group, _)| *group);
        self.renditions = back.into_iter().map(|(_, rendition)| rendition).collect();
    }

    /// The whole playlist of the first `count` segments of a subtitle.
    fn subtitle_list(&self, subtitle: &Subtitle, count: usize) -> MediaPlaylist {
        let segments = self.subtitle_grid().into_iter().take(count).enumerate();
        let list = segments.map(|(n, (_, length))| MediaSegment::new(subtitle.segment(n), length));
        MediaPlaylist { independent_segments: false, ..MediaPlaylist::vod(list.collect()) }
    }

    /// All subtitle segments and playlists.
    pub fn playlists(
        &mut self,
        container: Container,
        master: &str,
        target: Timestamp,
        segment: &SegmentSpec,
    ) -> Result<Vec<Object>> {
        let i_frames = segment.iframes && !self.single;
        let growing = segment.playlist == PlaylistMode::Event;
        if self.renditions.iter().all(|r| r.segments.is_empty()) {
            return Err(Error::new(ErrorKind::Format, "the source yielded nothing to segment"));
        }
        // A leading rung was first; a player's menu has it where the document has it.
        self.renditions.sort_by_key(|r| r.position);
        self.renditions.iter_mut().for_each(|r| r.grows = false);
        let event = growing.then_some(PlaylistKind::Event);
        let mut objects = Vec::new();
        if container != Container::Dash {
            objects.extend(self.subtitle_segments(0..usize::MAX));
        }
        let mut object = |name: String, text: String, top| {
            objects.push(Object { name, data: text.into(), top, span: (0.0, 0.0) })
        };
        if container != Container::Hls {
            // DASH-IF's way for WebVTT that is no track of its own: one file beside the segments.
            for subtitle in &self.subtitles {
                object(format!("{}.vtt", subtitle.name), webvtt::file(&subtitle.cues), false);
            }
        }
        if container != Container::Dash {
            for rendition in &self.renditions {
                let name = if self.single { master } else { &rendition.name };
                let mut list = rendition.media();
                // The type and the target of a playlist that players follow stay what they were.
                if growing {
                    list = MediaPlaylist { ended: true, ..rendition.growing(target) };
                }
                object(format!("{name}.m3u8"), list.to_string(), self.single);
                if let Some(list) =
                    rendition.i_frames().filter(|_| i_frames && rendition.kind == MediaKind::Video)
                {
                    object(format!("{}-iframes.m3u8", rendition.name), list.to_string(), false);
                }
            }
            for subtitle in &self.subtitles {
                let mut list = self.subtitle_list(subtitle, usize::MAX);
                if let Some(kind) = event {
                    list.kind = kind;
                    list.target_duration = list.target_duration.max(MediaPlaylist::longest([target]));
                }
                object(format!("{}.m3u8", subtitle.name), list.to_string(), false);
            }
            if !self.single {
                object(format!("{master}.m3u8"), self.multivariant(target, i_frames).to_string(), true);
            }
        }
        if container != Container::Hls {
            let name = if container == Container::Dash && master != "master" { master } else { "manifest" };
            object(format!("{name}.mpd"), self.manifest(target).to_string(), true);
        }
        Ok(objects)
    }

    /// Start and length of the segments of subtitles: those of the first rendition of pictures (or sound), so that a
    /// player finds both by one number. Where sound goes on behind the pictures, so do these.
    fn subtitle_grid(&self) -> Vec<(Timestamp, Timestamp)> {
        let made = || self.renditions.iter().filter(|r| !r.segments.is_empty());
        let leader = made().find(|r| r.kind == MediaKind::Video).or(made().next());
        let Some(leader) = leader else { return Vec::new() };
        let spans = |r: &Rendition| {
            let span = |m: &Made| (m.segment.start, m.segment.duration);
            r.segments.iter().map(span).collect::<Vec<_>>()
        };
        let mut grid = spans(leader);
        // While the output grows, nobody knows yet that the pictures have ended.
        let longest = made().filter(|r| !r.grows).map(spans).max_by_key(Vec::len).unwrap_or_default();
        if let (Some(behind), Some(last)) = (longest.get(grid.len()..), grid.last_mut()) {
            if let Some((begin, _)) = behind.first() {
                last.1 = Timestamp::from_seconds(begin.seconds() - last.0.seconds());
            }
            grid.extend(behind);
        }
        grid
    }

    fn subtitle_segments(&self, wanted: Range<usize>) -> Vec<Object> {
        let grid = self.subtitle_grid();
        let mpegts = if self.renditions.iter().any(|r| r.ts) { TIME_OFFSET } else { 0 };
        let mut objects = Vec::new();
        for subtitle in &self.subtitles {
            for (n, (start, length)) in grid.iter().enumerate().filter(|(n, _)| wanted.contains(n)) {
                // Sound may begin before pictures, and cues with it.
                let from = if n == 0 { i64::MIN } else { start.micros() };
                // What begins behind the last picture still belongs somewhere.
                let to = if n + 1 == grid.len() { i64::MAX } else { start.micros() + length.micros() };
                objects.push(Object {
                    name: subtitle.segment(n),
                    data: webvtt::segment(&subtitle.cues, from, to, mpegts).into(),
                    top: false,
                    span: (start.seconds(), length.seconds()),
                });
            }
        }
        objects
    }

    /// The manifest of an output that goes on. Subtitles come with the whole one: a file beside it does not grow.
    fn live_manifest(&self, target: Timestamp, began: i64, now: i64) -> dash::Manifest {
        let mut manifest = self.manifest(target);
        for period in &mut manifest.periods {
            period.adaptation_sets.retain(|set| set.content != dash::Content::Text);
        }
        manifest.presentation = dash::Presentation::Dynamic(dash::Dynamic {
            availability_start: began,
            publish: now,
            minimum_update_period: Some(target.micros()),
            suggested_presentation_delay: Some(target.micros().saturating_mul(3)),
            utc_timing: vec![dash::UtcTiming::Direct(now)],
            ..dash::Dynamic::default()
        });
        manifest
    }

    fn manifest(&self, target: Timestamp) -> dash::Manifest {
        let pictures = self.renditions.iter().filter(|r| r.kind == MediaKind::Video);
        let mut sets = dash::AdaptationSet::ladder(pictures.filter_map(|r| r.representation(target)));
        let sounds = || self.renditions.iter().filter(|r| r.kind == MediaKind::Audio);
        let unasked = audience::unasked(sounds().map(Rendition::disposition));
        for (i, r) in sounds().enumerate() {
            let mut set = dash::AdaptationSet::new(dash::Content::Audio);
            set.language = r.language();
            set.label = r.headers.iter().find_map(|h| h.stream.title.clone());
            set.roles = audience::roles(r.disposition(), i == unasked);
            set.representations.extend(r.representation(target));
            sets.push(set);
        }
        for s in &self.subtitles {
            let mut set = dash::AdaptationSet::new(dash::Content::Text);
            (set.language, set.label) = (s.language.clone(), s.title.clone());
            set.roles = vec![audience::text_role(s.disposition).into()];
            if s.default {
                set.roles.insert(0, "main".into());
            }
            // A text file has no rate to speak of, but players sort by it.
            let file = dash::Source::File(format!("{}.vtt", s.name));
            set.representations.push(dash::Representation::new(&s.name, 1000, file));
            sets.push(set);
        }
        let length = self.renditions.iter().map(Rendition::end).fold(0.0, f64::max);
        let longest = self.renditions.iter().flat_map(|r| &r.segments).map(|m| m.segment.duration).max();
        dash::Manifest {
            presentation: dash::Presentation::Static { duration: Timestamp::from_seconds(length) },
            min_buffer: target,
            max_segment: longest,
            periods: vec![dash::Period {
                id: "0".into(),
                start: Timestamp::new(0, Rational::new(1, 1)),
                duration: None,
                adaptation_sets: sets,
            }],
        }
    }
}

impl Rendition {
    fn representation(&self, target: Timestamp) -> Option<dash::Representation> {
        let track = self.tracks.first()?;
        let template = dash::SegmentTemplate {
            timescale: track.timescale,
            initialization: format!("{}init.mp4", self.stem),
            media: format!("{}$Number%05d$.m4s", self.stem),
            start_number: self.segments.first().map_or(0, |m| m.segment.sequence),
            end_number: None,
            // Presentation times are what the edit list makes of composition times (ISO/IEC 14496-12, 8.16.3.3), and
            // the edit list takes priming and reorder delay off already.
            presentation_time_offset: 0,
            timeline: self
                .segments
                .iter()
                .map(|m| dash::TimelineEntry::of(&m.segment, track.timescale))
                .collect(),
            availability_time_offset: None,
        };
        let bandwidth = self.bandwidth(target).peak;
        let source = dash::Source::Template(template);
        let mut representation = dash::Representation::of(&self.name, track, bandwidth, source);
        // A copied source need not begin with a key frame.
        representation.independent |= self.segments.iter().all(|m| m.segment.independent);
        Some(representation)
    }
}

impl Subtitle {
    /// Name of segment `n`.
    fn segment(&self, n: usize) -> String {
        format!("{}{n:05}.vtt", self.stem)
    }

    fn menu_name(&self) -> String {
        self.title.clone().or_else(|| self.language.clone()).unwrap_or_else(|| "Subtitles".into())
    }
}

/// A track's name, and what names of its objects begin with.
fn named(track: &TrackHeader, names: SegmentNames) -> (String, String) {
    match names {
        SegmentNames::Folders => (track.name.clone(), format!("{}/", track.name)),
        SegmentNames::Flat => {
            let name = format!("stream_{}", track.position);
            let stem = format!("{name}_");
            (name, stem)
        }
    }
}

/// `name`, numbered if it is taken.
fn unique(taken: &mut Vec<String>, name: String) -> String {
    let count = taken.iter().filter(|n| **n == name).count();
    taken.push(name.clone());
    if count == 0 { name } else { format!("{name} ({})", count + 1) }
}
