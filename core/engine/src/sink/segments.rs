//! HLS and DASH as VOD: segments of every track, and the playlists over them, into a directory or to the application.

use super::segment_index::{Index, Rendition};
use super::{Facts, Fate, Made, OutputSink, TrackHeader, Written};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::job::Segment as Object;
use crate::link::Sender;
use crate::package::{self, Event, Options, Plan, Segment, Segmenter, TrackSpec, Whole};
use crate::packet::{MediaKind, Packet};
use crate::spec::{Container, OutputSpec, PlaylistMode, SegmentContainer, SegmentSpec};
use crate::time::{MICROSECONDS, Timestamp};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// A segmented output.
pub(crate) struct SegmentSink {
    spec: OutputSpec,
    container: Container,
    store: Store,
    facts: Facts,
    segmenter: Option<Segmenter>,
    /// The leading track's segmenter and rendition.
    lead: Option<(Segmenter, usize)>,
    index: Index,
    /// What each of the sink's tracks is to the segmenter; subtitles are not segmented by it.
    lanes: Vec<Lane>,
    /// How much later everything becomes, as segments have no times before 0: a copy begins at the key frame before the
    /// first picture that is wanted.
    shift: Timestamp,
    /// Which of the sink's tracks are sound.
    sounds: Vec<bool>,
    /// Where the sound begins.
    heard: Option<Timestamp>,
    /// Where the first segment begins.
    first: Option<Timestamp>,
    /// Whether what is left out before that has been told.
    told: bool,
}

enum Lane {
    /// Its place in the segmenter, and what its packets must be where they are the source's own.
    Media(usize, Whole),
    Subtitle(usize),
}

/// Where objects go.
enum Store {
    Directory { root: PathBuf, master: String, written: Option<Written>, made: Option<Made> },
    Application(Sender<Object>),
    Closed,
}

impl Store {
    fn put(&mut self, name: &str, data: Bytes, start: f64, duration: f64) -> Result<()> {
        match self {
            Store::Directory { written: Some(written), made, .. } => {
                written.put(name, &data)?;
                if let Some(Made(tell)) = made {
                    tell(name, start, duration);
                }
                Ok(())
            }
            Store::Application(sender) => sender
                .send(Object { name: name.into(), data, start, duration })
                .map_err(|_| Error::cancelled()),
            _ => Err(Error::new(ErrorKind::Internal, "an object without a place")),
        }
    }
}

impl SegmentSink {
    pub fn new(spec: &OutputSpec, container: Container, application: Option<Sender<Object>>) -> Self {
        let store = match (&spec.path, application) {
            (_, Some(sender)) => Store::Application(sender),
            (path, None) => {
                let (root, master) = segment_directory(path.as_deref().unwrap_or("."));
                Store::Directory { root, master, written: None, made: None }
            }
        };
        SegmentSink {
            spec: spec.clone(),
            container,
            store,
            facts: Facts::default(),
            segmenter: None,
            lead: None,
            index: Index::default(),
            lanes: Vec::new(),
            shift: NO_SHIFT,
            sounds: Vec::new(),
            heard: None,
            first: None,
            told: false,
        }
    }

    fn is_ts(&self) -> bool {
        self.facts.segment.container == SegmentContainer::Ts
    }

    fn plan(&self) -> Result<Plan> {
        match &self.facts.boundaries {
            Some(starts) => Plan::at(starts.clone()),
            None => self.grid(),
        }
    }

    fn grid(&self) -> Result<Plan> {
        Ok(Plan::grid(self.target())?.with_early(self.facts.segment.early()))
    }

    /// The length that segments are meant to have.
    fn target(&self) -> Timestamp {
        Timestamp::from_seconds(self.facts.segment.duration.0)
    }

    fn grows(&self) -> bool {
        self.facts.segment.playlist == PlaylistMode::Event
    }

    /// The name of the multivariant playlist, without its extension.
    fn master(&self) -> String {
        match &self.store {
            Store::Directory { master, .. } => master.clone(),
            _ => "master".into(),
        }
    }

    fn take(&mut self, events: Vec<Event>) -> Result<()> {
        for event in events {
            match event {
                Event::Init { group, tracks, bytes } => {
                    let name = self.index.init(group, tracks);
                    if let Some(bytes) = bytes {
                        self.store.put(&name, bytes, 0.0, 0.0)?;
                    }
                }
                Event::Segment(segment) => self.segment(&segment)?,
                Event::Part(_) => {}
            }
        }
        Ok(())
    }

    /// Says what is lost of sound that begins long before the pictures: segments begin with these.
    fn tell_what_is_left_out(&mut self, start: Timestamp) {
        let first = *self.first.get_or_insert(start);
        // Of a rung with a head start there are segments before there is any sound.
        let Some(heard) = self.heard.filter(|_| !self.told && !self.is_part()) else { return };
        self.told = true;
        let lost = first.seconds() - heard.seconds();
        if lost > 0.25 {
            let message =
                format!("segments begin with the pictures; {lost:.2} s of sound before them are left out");
            self.facts.warn("output", message);
        }
    }

    fn segment(&mut self, segment: &Segment) -> Result<()> {
        self.tell_what_is_left_out(segment.start);
        let name = self.index.segment(segment);
        let leads = self.lead.as_ref().is_some_and(|(_, rendition)| *rendition == segment.group);
        self.store.put(&name, segment.bytes(), segment.start.seconds(), segment.duration.seconds())?;
        if leads && let Some(flag) = &self.facts.first_segment {
            flag.store(true, Ordering::Release);
        }
        // Until all tracks are known, nobody can tell what a player would need.
        if self.grows() && self.segmenter.is_some() {
            let (container, master, target) = (self.container, self.master(), self.target());
            for object in self.index.grown(segment.group, container, &master, target, wall_clock()) {
                self.store.put(&object.name, object.data, object.span.0, object.span.1)?;
            }
        }
        Ok(())
    }

    fn options(&self) -> Result<Options> {
        let ts = self.is_ts();
        let container = if ts { package::Container::Ts } else { package::Container::Cmaf };
        let (first, end) = self.facts.window.unwrap_or((0, None));
        Ok(Options {
            first,
            end,
            // The whole has no other run to agree with: numbers without gaps are what DASH's $Number$ counts.
            count_from: self.facts.window.is_none().then_some(0),
            // An I-frame's range must be whole boxes, or FFmpeg cannot read it.
            key_chunk: !ts && self.facts.segment.iframes && self.container != Container::Dash,
            // Of a part's segments somebody has said already how many there are.
            beyond: if self.is_part() { None } else { Some(self.grid()?) },
            ..Options::new(self.plan()?, container)
        })
    }
}

/// The directory of a segmented output and the name of its multivariant playlist.
pub(crate) fn segment_directory(path: &str) -> (PathBuf, String) {
    let file = Path::new(path);
    match file.extension().and_then(|e| e.to_str()) {
        Some("m3u8" | "mpd") => {
            let stem = file.file_stem().map_or("master".into(), |s| s.to_string_lossy().into_owned());
            (file.parent().unwrap_or(Path::new("")).to_owned(), stem)
        }
        _ => (file.to_owned(), "master".into()),
    }
}

/// Whether all of an output goes into one rendition: one video and one sound are what every old TS player expects in one
/// file.
pub(crate) fn is_muxed(segment: &SegmentSpec, video: usize, audio: usize) -> bool {
    let apart = segment.window.as_ref().is_some_and(|w| w.apart);
    segment.container == SegmentContainer::Ts && video == 1 && audio == 1 && !apart
}

/// Whether `input` is a playlist in `root` or below one of its `folders`, which are written into: its segments may have the
/// names of those that are to be written.
fn is_playlist_in(input: &Path, root: &Path, folders: &[String]) -> bool {
    let list = matches!(input.extension().and_then(|e| e.to_str()), Some("m3u8" | "mpd"));
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    let Some(input) = place(input).filter(|_| list) else { return false };
    input.parent().map(Path::to_owned) == place(root)
        || folders.iter().filter_map(|f| place(&root.join(f))).any(|folder| input.starts_with(folder))
}

/// Microseconds since 1970. Only what players are told of a live manifest depends on it.
fn wall_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|t| i64::try_from(t.as_micros()).ok()).unwrap_or(0)
}

const NO_SHIFT: Timestamp = Timestamp::new(0, MICROSECONDS);

/// How far the first copied picture is before 0.
fn shift(tracks: &[TrackHeader]) -> Timestamp {
    let copied = tracks.iter().filter(|t| t.copied && t.stream.kind == MediaKind::Video);
    let first = copied.filter_map(|t| t.first).min().filter(|t| t.ticks < 0);
    first.map_or(NO_SHIFT, |t| Timestamp::new(t.ticks.saturating_neg(), t.base))
}

/// What the playlists and manifests at the top of an output's directory are called.
pub(crate) fn manifests(container: Container, master: &str, grows: bool) -> Vec<String> {
    let (hls, dash) = (container != Container::Dash, container != Container::Hls);
    // DASH alone is called as its path says in the end; what grows has this name until then.
    let named = !hls && master != "master";
    let usual = dash && (!named || grows);
    let master_playlist = hls.then(|| format!("{master}.m3u8"));
    let manifest = usual.then(|| "manifest.mpd".to_string());
    master_playlist.into_iter().chain(manifest).chain(named.then(|| format!("{master}.mpd"))).collect()
}

impl OutputSink for SegmentSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.facts = facts.clone();
        if let Store::Directory { root, master, written, made } = &mut self.store {
            *made = facts.made.clone();
            let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root.clone() };
            let grows = facts.segment.playlist == PlaylistMode::Event;
            for name in manifests(self.container, master, grows) {
                if root.join(&name).exists() && !self.spec.overwrite && facts.window.is_none() {
                    let message =
                        format!("{} exists; say overwrite to replace it", root.join(name).display());
                    return Err(Error::invalid("path", message));
                }
            }
            if root.is_file() {
                return Err(Error::invalid("path", format!("{} is a file, not a directory", root.display())));
            }
            let lies_there = |input: &&String| is_playlist_in(Path::new(input), &root, &facts.folders);
            if let Some(input) = facts.inputs.iter().find(lies_there) {
                return Err(Error::invalid("path", format!("{input}, which is the input, lies there")));
            }
            *written = Some(Written::open(&root).context(|| "path")?);
        }
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let ts = self.is_ts();
        let audio = tracks.iter().filter(|t| t.stream.kind == MediaKind::Audio).count();
        // The leading rung is not among the tracks, but it is a rung.
        let video = tracks.iter().filter(|t| t.stream.kind == MediaKind::Video).count()
            + usize::from(self.lead.is_some());
        let muxed = is_muxed(&self.facts.segment, video, audio);
        let names = self.facts.segment.names;
        let mut specs = Vec::new();
        self.sounds = tracks.iter().map(|t| t.stream.kind == MediaKind::Audio).collect();
        for track in tracks {
            if track.stream.kind == MediaKind::Subtitle {
                self.lanes.push(Lane::Subtitle(self.index.add_subtitle(track, names)));
                continue;
            }
            let group = if muxed && !specs.is_empty() { 0 } else { self.index.groups() };
            if group == self.index.groups() {
                self.index.add(Rendition::new(track, ts, names));
            } else {
                self.index.mux(group, track, names);
            }
            let whole = if track.copied { Whole::of(&track.stream) } else { Whole::Any };
            self.lanes.push(Lane::Media(specs.len(), whole));
            specs.push(TrackSpec { info: track.stream.clone(), group });
        }
        self.index.complete(names);
        self.shift = shift(tracks);
        self.segmenter = Some(Segmenter::new(specs, self.options()?)?);
        Ok(())
    }

    fn begin_lead(&mut self, track: &TrackHeader) -> Result<()> {
        let group = self.index.groups();
        self.index.add(Rendition::new(track, self.is_ts(), self.facts.segment.names));
        let spec = TrackSpec { info: track.stream.clone(), group };
        self.lead = Some((Segmenter::new(vec![spec], self.options()?)?, group));
        Ok(())
    }

    fn write_lead(&mut self, packet: Packet) -> Result<()> {
        let Some((segmenter, _)) = &mut self.lead else {
            return Err(Error::new(ErrorKind::Internal, "a leading packet before its header"));
        };
        let events = segmenter.push(0, &packet)?;
        self.take(events)
    }

    fn write(&mut self, track: usize, mut packet: Packet) -> Result<Fate> {
        // FLAC ends with a packet of nothing but new extradata, which is no sample.
        if packet.data.is_empty() {
            return Ok(Fate::Written);
        }
        let shift = self.shift.to(packet.base).ticks;
        packet.pts = packet.pts.map(|t| t.saturating_add(shift));
        packet.dts = packet.dts.map(|t| t.saturating_add(shift));
        if !self.told && self.sounds.get(track) == Some(&true) {
            let time = packet.pts.map(|pts| Timestamp::new(pts, packet.base));
            self.heard = self.heard.min(time).or(self.heard).or(time);
        }
        match (self.lanes.get(track), &mut self.segmenter) {
            (Some(Lane::Media(lane, whole)), Some(segmenter)) => {
                if let Err(e) = whole.check(&packet.data) {
                    return Ok(Fate::LeftOut(e));
                }
                let events = segmenter.push(*lane, &packet)?;
                self.take(events)?;
                Ok(Fate::Written)
            }
            (Some(Lane::Subtitle(subtitle)), _) => {
                self.index.cue(*subtitle, &packet);
                Ok(Fate::Written)
            }
            _ => Err(Error::new(ErrorKind::Internal, "a packet before the header")),
        }
    }

    fn end(&mut self, track: usize) -> Result<()> {
        // A part that is stopped must not take what it has for whole segments: only what `finish` is called for is.
        match (self.lanes.get(track), &mut self.segmenter) {
            (Some(Lane::Media(lane, _)), Some(segmenter)) if self.facts.window.is_none() => {
                let events = segmenter.end_track(*lane)?;
                self.take(events)
            }
            _ => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        self.is_part() && self.segmenter.as_ref().is_some_and(Segmenter::is_done)
    }

    fn is_part(&self) -> bool {
        self.facts.window.is_some()
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        if let Some((lead, _)) = &mut self.lead {
            let events = lead.finish()?;
            self.take(events)?;
        }
        let events = match &mut self.segmenter {
            Some(segmenter) => segmenter.finish()?,
            None => return Err(Error::new(ErrorKind::Internal, "an output that was never begun")),
        };
        self.take(events)?;
        if self.is_part() {
            self.store = Store::Closed;
            return Ok(Vec::new());
        }
        let (master, target) = (self.master(), self.target());
        let objects = self.index.playlists(self.container, &master, target, &self.facts.segment)?;
        let mut tops = Vec::new();
        for object in objects {
            if object.top {
                tops.push(object.name.clone());
            }
            self.store.put(&object.name, object.data, object.span.0, object.span.1)?;
        }
        let files = match &self.store {
            Store::Directory { root, .. } => {
                tops.iter().map(|name| root.join(name).to_string_lossy().into_owned()).collect()
            }
            _ => Vec::new(),
        };
        self.store = Store::Closed;
        Ok(files)
    }

    fn abort(&mut self, keep: bool) {
        // Segments that are complete stay: another job makes the rest.
        if self.is_part() {
            self.store = Store::Closed;
            return;
        }
        if keep && self.segmenter.is_some() && self.finish().is_ok() {
            return;
        }
        if let Store::Directory { written: Some(written), .. } = &mut self.store
            && !keep
        {
            written.discard();
        }
        self.store = Store::Closed;
    }
}
