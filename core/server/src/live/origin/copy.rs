//! A copy of an origin somewhere else, where files arrive later or never: the same segments under the same names, and playlists
//! that tell of what is there. Whole segments only; no parts, nothing that waits.

use super::Origin;
use super::answer::{DASH, HLS};
use super::hls::Facts;
use super::names::{self, File, Format};
use super::state::Span;
use super::window::{Limits, Stored, Window};
use bytes::Bytes;
use ghoststream::package::Track;
use ghoststream::package::dash::{Presentation, UtcTiming};
use ghoststream::package::hls::Multivariant;
use ghoststream::packet::MediaKind;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A segment for the copy.
#[derive(Clone, Debug)]
pub(in crate::live) struct Copied {
    rendition: String,
    kind: MediaKind,
    tracks: Vec<Track>,
    live: bool,
    sequence: u64,
    segment: Stored,
    init: Option<Bytes>,
    span: Option<Span>,
    token: String,
}

impl Copied {
    /// Its number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its start on the stream's time, in microseconds.
    pub fn start(&self) -> i64 {
        self.segment.start.micros()
    }

    /// Bytes that it holds.
    pub fn size(&self) -> u64 {
        self.segment.chunks.iter().map(|c| c.len() as u64).sum()
    }

    /// Whether there is nothing to be put anywhere.
    pub fn is_gap(&self) -> bool {
        self.segment.gap
    }

    /// Its MIME type.
    pub fn content_type(&self) -> &'static str {
        names::mime(Format::of(&self.rendition), self.kind)
    }

    /// Its name and bytes; `None` for a gap.
    pub fn media(&self) -> Option<(String, Vec<Bytes>)> {
        let name = File::Segment(self.sequence).name(&self.rendition, &self.token);
        (!self.segment.gap).then(|| (name, self.segment.chunks.clone()))
    }

    /// The name and the bytes of its init segment; `None` for a gap, and for what needs none.
    pub fn init(&self) -> Option<(String, Bytes)> {
        let name = File::Init(self.segment.run).name(&self.rendition, &self.token);
        Some((name, self.init.clone().filter(|bytes| !self.segment.gap && !bytes.is_empty())?))
    }

    /// Lets its bytes go: it will be a gap.
    pub fn lose(&mut self) {
        self.segment.empty();
        self.init = None;
    }
}

/// Gives an origin's segments as they become whole.
#[derive(Debug)]
pub(in crate::live) struct Follow {
    origin: Arc<Origin>,
    changed: watch::Receiver<()>,
    seen: BTreeMap<String, u64>,
}

impl Origin {
    /// Follows it from its oldest segment on.
    pub(in crate::live) fn follow(self: &Arc<Self>) -> Follow {
        let changed = self.lock().whole.subscribe();
        Follow { origin: self.clone(), changed, seen: BTreeMap::new() }
    }

    /// What its files have in their names.
    pub(in crate::live) fn token(&self) -> &str {
        &self.token
    }
}

impl Follow {
    /// The segments that have become whole since, in the order of their numbers; `None` when there will be no more. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Vec<Copied>> {
        loop {
            self.changed.borrow_and_update();
            let (fresh, ended) = self.look();
            if !fresh.is_empty() {
                return Some(fresh);
            }
            if ended || self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    fn look(&mut self) -> (Vec<Copied>, bool) {
        let state = self.origin.lock();
        let mut fresh = Vec::new();
        for window in &state.windows {
            let seen = self.seen.entry(window.id.clone()).or_insert(0);
            for sequence in window.oldest().max(*seen)..window.next() {
                let Some(segment) = window.kept(sequence) else { continue };
                // Its parts are in its chunks. What is on disk already comes too late.
                let late = segment.spilled.is_some();
                let segment =
                    Stored { parts: Vec::new(), spilled: None, gap: segment.gap || late, ..segment.clone() };
                fresh.push(Copied {
                    rendition: window.id.clone(),
                    kind: window.kind,
                    // Another publisher's may be the window's by now.
                    tracks: window.tracks(segment.run).to_vec(),
                    live: window.live,
                    sequence,
                    init: window.init(segment.run).cloned(),
                    span: state.spans.iter().find(|s| s.run == segment.run).copied(),
                    segment,
                    token: self.origin.token.clone(),
                });
            }
            *seen = window.next();
        }
        fresh.sort_by_key(|copied| copied.sequence);
        (fresh, state.ended)
    }
}

/// A text of the copy.
#[derive(Clone, Debug)]
pub(in crate::live) struct Text {
    /// The file's name.
    pub name: String,
    /// Its MIME type.
    pub content_type: &'static str,
    /// What is in it.
    pub text: Bytes,
}

/// What one rendition has in the place of the copy.
#[derive(Debug, Default)]
struct There {
    segments: VecDeque<u64>,
    inits: Vec<u64>,
    keys: bool,
    stale: bool,
}

/// What is in the place of the copy, and what is to be told of it. Pure, but for the time of day in a DASH manifest.
#[derive(Debug)]
pub(in crate::live) struct Copy {
    origin: Arc<Origin>,
    limits: Limits,
    facts: Option<Facts>,
    windows: Vec<Window>,
    there: Vec<There>,
    spans: Vec<Span>,
    /// What the multivariant playlist that is there tells of, and the rate that it promised.
    told: Option<(Vec<String>, u64)>,
    /// The same of the one for MPEG-TS.
    told_ts: Option<(Vec<String>, u64)>,
    manifest: bool,
    told_dash: bool,
    ended: bool,
    gone: Vec<String>,
}

impl Copy {
    /// Nothing is there yet. `window` is what playlists tell of; without it, as much as the origin's.
    pub fn new(origin: &Arc<Origin>, window: Option<Duration>) -> Copy {
        let options = &origin.options;
        let dvr = window.unwrap_or(options.dvr);
        let limits = Limits {
            segments: if window.is_some() { 4 } else { options.playlist_size },
            dvr: i64::try_from(dvr.as_micros()).unwrap_or(i64::MAX),
            bytes: u64::MAX,
        };
        Copy {
            origin: origin.clone(),
            limits,
            facts: None,
            windows: Vec::new(),
            there: Vec::new(),
            spans: Vec::new(),
            told: None,
            told_ts: None,
            manifest: false,
            told_dash: false,
            ended: false,
            gone: Vec::new(),
        }
    }

    /// How much its playlists tell of at least, in microseconds.
    pub fn length(&self) -> i64 {
        let target = i64::try_from(self.origin.options.segment.as_micros()).unwrap_or(0);
        self.limits.dvr.max(target.saturating_mul(i64::try_from(self.limits.segments).unwrap_or(i64::MAX)))
    }

    /// Whether the init segment of `copied` is there.
    pub fn has_init(&self, copied: &Copied) -> bool {
        let index = self.windows.iter().position(|w| w.id == copied.rendition);
        index.and_then(|i| self.there.get(i)).is_some_and(|t| t.inits.contains(&copied.segment.run))
    }

    /// Says that a segment (and its init segment) is there, or is a gap. They come in the order of their numbers.
    pub fn add(&mut self, copied: Copied) {
        if self.facts.is_none() {
            let facts = self.origin.lock().facts.clone();
            self.facts = facts.map(|facts| Facts { low_latency: false, coming: None, ..facts });
        }
        if let (Some(facts), Some(now)) = (&mut self.facts, &self.origin.lock().facts)
            && facts.captions != now.captions
        {
            (facts.captions, self.manifest) = (now.captions, true);
        }
        let index = match self.windows.iter().position(|w| w.id == copied.rendition) {
            Some(index) => index,
            None => {
                let id = copied.rendition.clone();
                self.windows.push(Window::new(id, copied.kind, copied.sequence, self.limits));
                self.there.push(There::default());
                self.windows.len() - 1
            }
        };
        let (Some(window), Some(there)) = (self.windows.get_mut(index), self.there.get_mut(index)) else {
            return;
        };
        if copied.sequence < window.next() {
            return;
        }
        window.live = copied.live;
        let run = copied.segment.run;
        if let Some(span) = copied.span.filter(|s| self.spans.iter().all(|known| known.run != s.run)) {
            // Segments come when they come: players go by those that are told of, not by a clock.
            self.spans.push(Span { regular: false, ..span });
        }
        if !copied.segment.gap {
            if let Some(init) = copied.init
                && window.init(run).is_none()
            {
                if !init.is_empty() {
                    there.inits.push(run);
                }
                window.begin(run, copied.tracks, init);
            }
            there.segments.push_back(copied.sequence);
        }
        window.adopt(copied.sequence, Stored { chunks: Vec::new(), ..copied.segment });
        there.stale = true;
        self.manifest = true;
        let name = |file: File| file.name(&copied.rendition, &copied.token);
        while let Some(first) = there.segments.front().copied().filter(|s| *s < window.oldest()) {
            there.segments.pop_front();
            self.gone.push(name(File::Segment(first)));
        }
        let gone = &mut self.gone;
        there.inits.retain(|run| {
            let kept = window.init(*run).is_some();
            if !kept {
                gone.push(name(File::Init(*run)));
            }
            kept
        });
        let listed = self.windows.iter().filter_map(|w| w.listed().1.next().map(|s| s.run)).min();
        self.spans.retain(|s| listed.is_none_or(|oldest| s.run >= oldest));
    }

    /// Says that nothing comes any more.
    pub fn end(&mut self) {
        self.ended = true;
        self.there.iter_mut().for_each(|t| t.stale = true);
        self.manifest = true;
        if let Some(facts) = &mut self.facts {
            facts.ended = true;
        }
    }

    /// The playlists and manifests that are not what they should be, in the order in which they are to be put there. Each is
    /// given again until [`Copy::written`].
    pub fn texts(&self) -> Vec<Text> {
        let Some(facts) = &self.facts else { return Vec::new() };
        let mut texts = Vec::new();
        let hls = |name: String, text: String| Text { name, content_type: HLS, text: text.into() };
        let options = &self.origin.options;
        let listed = self.windows.iter().zip(&self.there).filter(|(w, t)| self.has_playlist(w) && t.stale);
        for (window, there) in listed {
            let file = |file: File| file.name(&window.id, &facts.token);
            if window.listed().1.any(|s| s.key_range.is_some()) || there.keys {
                texts.push(hls(file(File::Keys), facts.keys(window).to_string()));
            }
            texts.push(hls(file(File::Playlist), facts.media(window, &[], false).to_string()));
        }
        if !self.is_complete() {
            return texts;
        }
        let mut tell = |name: &str, of_all: Multivariant, told: &Option<(Vec<String>, u64)>| {
            if options.hls
                && !of_all.variants.is_empty()
                && told.as_ref().is_none_or(|told| !told_enough(told, &tells(&of_all)))
            {
                texts.push(hls(name.into(), of_all.to_string()));
            }
        };
        tell(names::MULTIVARIANT, facts.multivariant(&self.windows), &self.told);
        if options.ts {
            tell(names::MULTIVARIANT_TS, facts.multivariant_ts(&self.windows), &self.told_ts);
        }
        if self.manifest && options.dash {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
            let manifest = facts.manifest(&self.windows, &self.spans, i64::try_from(now).unwrap_or(i64::MAX));
            if let Some(mut manifest) = manifest {
                if let Presentation::Dynamic(dynamic) = &mut manifest.presentation {
                    // There is no file with the time in it: every answer's Date says it.
                    dynamic.utc_timing = vec![UtcTiming::HttpHead(names::MANIFEST.into())];
                }
                let text = manifest.to_string().into();
                texts.push(Text { name: names::MANIFEST.into(), content_type: DASH, text });
            }
        }
        texts
    }

    /// Whether every rendition that the stream has now is known here: what describes all of them waits for that.
    fn is_complete(&self) -> bool {
        let state = self.origin.lock();
        let known = |id: &str| self.windows.iter().any(|w| w.id == id);
        self.windows.iter().any(|w| w.track.is_some())
            && (self.ended || state.windows.iter().filter(|w| w.live).all(|w| known(&w.id)))
    }

    /// Says that a text is there.
    pub fn written(&mut self, text: &Text) {
        match text.name.as_str() {
            names::MULTIVARIANT => {
                self.told = self.facts.as_ref().map(|facts| tells(&facts.multivariant(&self.windows)));
            }
            names::MULTIVARIANT_TS => {
                self.told_ts = self.facts.as_ref().map(|facts| tells(&facts.multivariant_ts(&self.windows)));
            }
            names::MANIFEST => (self.manifest, self.told_dash) = (false, true),
            name => {
                let Some((id, file)) = File::parse(name, &self.origin.token) else { return };
                let index = self.windows.iter().position(|w| w.id == id);
                if let Some(there) = index.and_then(|i| self.there.get_mut(i)) {
                    match file {
                        File::Keys => there.keys = true,
                        _ => there.stale = false,
                    }
                }
            }
        }
    }

    /// The names of the files that no playlist tells of any more, and has not for as long as one is: to be removed.
    pub fn take_gone(&mut self) -> Vec<String> {
        std::mem::take(&mut self.gone)
    }

    /// Says that files of [`Copy::take_gone`] are still there.
    pub fn not_gone(&mut self, files: Vec<String>) {
        self.gone.extend(files);
    }

    /// Whether a media playlist tells of the window's segments: of text in MP4 only the manifest does.
    fn has_playlist(&self, window: &Window) -> bool {
        self.origin.options.hls && window.format != Format::Wvtt
    }

    /// Whether there is something to be played.
    pub fn is_told(&self) -> bool {
        self.told.is_some() || self.told_dash
    }

    /// The names of all files that are there: first what names others.
    pub fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(self.told.is_some().then(|| names::MULTIVARIANT.to_string()));
        all.extend(self.told_ts.is_some().then(|| names::MULTIVARIANT_TS.to_string()));
        all.extend(self.told_dash.then(|| names::MANIFEST.to_string()));
        for (window, there) in self.windows.iter().zip(&self.there) {
            let name = |file: File| file.name(&window.id, &self.origin.token);
            all.extend(self.has_playlist(window).then(|| name(File::Playlist)));
            all.extend(there.keys.then(|| name(File::Keys)));
            all.extend(there.segments.iter().map(|s| name(File::Segment(*s))));
            all.extend(there.inits.iter().map(|run| name(File::Init(*run))));
        }
        all.extend(self.gone.iter().cloned());
        all
    }
}

/// Whether `name` is a file of an earlier opening than the one with `token`.
pub(in crate::live) fn is_older(name: &str, token: &str) -> bool {
    File::token(name).is_some_and(|of| (of.len(), of) < (token.len(), token))
}

/// What a multivariant playlist tells of, and the highest rate in it.
fn tells(playlist: &Multivariant) -> (Vec<String>, u64) {
    let variants = playlist.variants.iter().map(|v| format!("{} {}", v.uri, v.codecs.join(",")));
    let others = playlist.renditions.iter().filter_map(|r| r.uri.clone().or_else(|| r.instream.clone()));
    let frames = playlist.i_frames.iter().map(|f| f.uri.clone());
    let most = playlist.variants.iter().map(|v| v.bandwidth).max().unwrap_or(0);
    (variants.chain(others).chain(frames).collect(), most)
}

/// Whether a playlist that told `before` still holds: the rate that it promised may be a tenth too low.
fn told_enough(before: &(Vec<String>, u64), now: &(Vec<String>, u64)) -> bool {
    before.0 == now.0 && now.1 <= before.1 + before.1 / 10
}

#[cfg(test)]
mod tests {
    use super::super::learn::Shape;
    use super::super::texts;
    use super::*;
    use crate::live::{Live, OriginOptions, Origins, Publisher};
    use ghoststream::Codec;
    use ghoststream::frame::ChannelLayout;
    use ghoststream::package::bitstream::captions::Captions;
    use ghoststream::package::{Event, Segment};
    use ghoststream::packet::{AudioInfo, StreamInfo};
    use ghoststream::time::{MICROSECONDS, Rational, Timestamp};

    fn sound() -> Track {
        let mut info = StreamInfo::new(MediaKind::Audio, Codec::Opus, Rational::new(1, 48_000));
        info.extradata = Bytes::from_static(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0");
        info.audio = Some(AudioInfo {
            sample_rate: 48_000,
            layout: ChannelLayout::from_channels(2),
            format: None,
            frame_size: 960,
            initial_padding: 0,
        });
        Track::new(&info, None).unwrap()
    }

    #[tokio::test]
    async fn nobody_waits_for_a_text_that_is_left_out() {
        let live = Live::new(true, 1);
        let publication = live.publish("s", Publisher::new("test", None)).unwrap();
        let origins = Origins::new(OriginOptions::default());
        let origin = origins.open(publication.stream().clone());
        let text = StreamInfo::new(MediaKind::Subtitle, Codec::SubRip, Rational::new(1, 1000));
        let limits = Limits { segments: 3, dvr: 0, bytes: 1 << 20 };
        let (listed, boxed) = {
            let mut state = origin.lock();
            state.facts = Some(Facts {
                token: origin.token.clone(),
                shape: Shape { target: 2, part: 200_000 },
                epoch: 0,
                low_latency: true,
                ended: false,
                coming: None,
                captions: Captions::default(),
            });
            let sounds = state.ensure("a0".into(), MediaKind::Audio, 0, limits);
            let listed = state.ensure("s0".into(), MediaKind::Subtitle, 0, limits);
            let boxed = state.ensure("w0".into(), MediaKind::Subtitle, 0, limits);
            // As the maker does before there is anything.
            state.windows[listed].begin(0, vec![texts::described(&text).unwrap()], Bytes::new());
            let time = |micros| Timestamp::new(micros, MICROSECONDS);
            let whole = Event::Segment(Segment {
                group: sounds,
                sequence: 0,
                start: time(0),
                duration: time(2_000_000),
                independent: true,
                chunks: vec![Bytes::from_static(b"media")],
                key_range: None,
            });
            let init = Event::Init {
                group: sounds,
                tracks: vec![sound()],
                bytes: Some(Bytes::from_static(b"init")),
            };
            state.apply(0, vec![init, whole]);
            (listed, boxed)
        };
        let mut copy = Copy::new(&origin, None);
        for copied in origin.follow().next().await.unwrap() {
            copy.add(copied);
        }
        let told = |copy: &Copy| copy.texts().into_iter().map(|t| t.name).collect::<Vec<_>>();
        let all = [names::MULTIVARIANT, names::MANIFEST].map(String::from);
        assert!(all.iter().all(|name| !told(&copy).contains(name)), "the text is waited for");
        let hinted = || {
            let state = origin.lock();
            let window = &state.windows[listed];
            state.is_hinted(window, File::Part(window.next_part()))
        };
        assert!(hinted());
        origin.lock().leave_out(&[listed, boxed]);
        assert!(!hinted(), "a part is waited for");
        assert!(all.iter().all(|name| told(&copy).contains(name)), "{:?}", told(&copy));
        let playlist = origin.lock().multivariant(Format::Cmaf).unwrap();
        assert!(!String::from_utf8_lossy(&playlist.plain).contains("SUBTITLES"));
        origins.close("s");
    }
}
