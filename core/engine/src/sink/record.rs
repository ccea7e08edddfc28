//! Recordings in several files: cut at key frames, by time, size or command, and named by a template.

use super::muxed::{Form, Muxed, Target};
use super::names::Names;
use super::{Command, Facts, Fate, OutputSink, Place, Saved, TrackHeader, hybrid};
use crate::encode::KeyGrid;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::Span;
use crate::packet::{MediaKind, Packet};
use crate::spec::{Container, OutputSpec, SplitSpec};
use crate::time::{MICROSECONDS, Timestamp};

/// How long the sound of a file that is over is waited for, when its packets do not come.
const LATE_SECONDS: f64 = 3.0;

/// Files one after the other.
pub(crate) struct RecordSink {
    form: Form,
    path: String,
    split: Option<SplitSpec>,
    grid: Option<KeyGrid>,
    names: Option<Names>,
    tracks: Vec<TrackHeader>,
    /// The track whose key frames files begin with.
    lead: usize,
    /// Claimed for the next file.
    place: Option<Place>,
    current: Option<Part>,
    /// Over, but for sound that is still to come.
    closing: Option<Part>,
    /// A cut was asked for.
    wanted: bool,
    /// A key frame was asked for, and has not come.
    asked: bool,
    broken: bool,
    files: Vec<String>,
}

/// One file.
struct Part {
    muxed: Muxed,
    place: Place,
    /// Payload so far; what the muxer has written lags behind by what it gathers.
    bytes: u64,
    /// The job's time that is 0 in it.
    begin: Timestamp,
    /// The end of what is in it.
    reached: Timestamp,
    /// Where the next one begins.
    until: Option<Timestamp>,
    /// Tracks that have come to the next one.
    passed: Vec<bool>,
}

impl Part {
    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        if let Some(pts) = packet.pts {
            let end = Timestamp::new(pts.saturating_add(packet.duration), packet.base);
            self.reached = self.reached.max(end);
        }
        self.bytes += packet.data.len() as u64;
        let shift = self.begin.to(packet.base).ticks;
        let back = |t: Option<i64>| t.map(|t| t.saturating_sub(shift));
        self.muxed.write(track, Packet { pts: back(packet.pts), dts: back(packet.dts), ..packet })
    }
}

impl RecordSink {
    pub fn new(spec: &OutputSpec, path: &str, container: Container) -> Self {
        let split = spec.split.spec().cloned();
        let form = Form { spec: spec.clone(), container, facts: Facts::default(), safe: false };
        RecordSink {
            form,
            path: path.into(),
            grid: split
                .as_ref()
                .and_then(|s| s.duration)
                .and_then(|d| KeyGrid::every(Timestamp::from_seconds(d.0))),
            split,
            names: None,
            tracks: Vec::new(),
            lead: 0,
            place: None,
            current: None,
            closing: None,
            wanted: false,
            asked: false,
            broken: false,
            files: Vec::new(),
        }
    }

    fn claim(&mut self) -> Result<Place> {
        let names =
            self.names.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "a file without a name"))?;
        names.claim(self.form.spec.fragmented || self.form.safe)
    }

    fn open(&mut self, begin: Timestamp) -> Result<()> {
        let place = match self.place.take() {
            Some(place) => place,
            None => self.claim()?,
        };
        let mut tracks = self.tracks.clone();
        if begin.ticks > 0 {
            tracks.iter_mut().for_each(TrackHeader::goes_on);
        }
        let target = place.working().to_string_lossy().into_owned();
        match Muxed::open(&self.form, Target::File(&target), &tracks) {
            Ok(muxed) => {
                let passed = vec![false; tracks.len()];
                self.current =
                    Some(Part { muxed, place, bytes: 0, begin, reached: begin, until: None, passed });
                Ok(())
            }
            Err(e) => {
                place.discard();
                Err(e.context(target))
            }
        }
    }

    /// Whether the file that is written ends where `key` is shown.
    fn is_due(&mut self, key: Timestamp) -> bool {
        let Some(current) = &self.current else { return false };
        let grid = self.grid.as_ref();
        let next = grid.is_some_and(|grid| grid.cell(key) != grid.cell(current.begin.to(key.base)));
        let full = self.is_full();
        self.wanted || next || full
    }

    fn is_full(&self) -> bool {
        let size = self.split.as_ref().and_then(|s| s.size);
        size.zip(self.current.as_ref()).is_some_and(|(size, part)| part.bytes >= size.0)
    }

    fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.form.facts.ask_key();
        }
    }

    fn cut(&mut self, at: Timestamp) -> Result<()> {
        self.close_late()?;
        if let Some(mut part) = self.current.take() {
            part.until = Some(at);
            part.passed[self.lead] = true;
            self.closing = Some(part);
        }
        (self.wanted, self.asked) = (false, false);
        self.open(at)?;
        if self.tracks.len() == 1 {
            self.close_late()?;
        }
        Ok(())
    }

    /// Finishes the file before the one that is written.
    fn close_late(&mut self) -> Result<()> {
        match self.closing.take() {
            Some(part) => self.complete(part),
            None => Ok(()),
        }
    }

    fn complete(&mut self, part: Part) -> Result<()> {
        let bytes = part.muxed.position();
        let duration = part.reached.seconds() - part.begin.seconds();
        let shown = part.place.working().display().to_string();
        part.muxed.finish().context(|| shown)?;
        let path = hybrid::commit(&self.form, &part.place)?;
        let span = Span { begin: part.begin, until: part.until };
        self.form.facts.tell_saved(Saved { path: path.clone(), duration, bytes, span });
        self.files.push(path);
        Ok(())
    }

    /// The file that a packet of `track` at `time` belongs into.
    fn part(&mut self, track: usize, time: Option<Timestamp>) -> Option<&mut Part> {
        if let (Some(part), Some(time)) = (&mut self.closing, time)
            && let Some(until) = part.until
        {
            if time < until {
                return self.closing.as_mut();
            }
            part.passed[track] = true;
        }
        self.current.as_mut()
    }
}

impl OutputSink for RecordSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.form.facts = facts.clone();
        self.form.safe = facts.is_safe(&self.form.spec, self.form.container);
        self.names = Some(Names::new(&self.path, facts)?);
        self.place = Some(self.claim()?);
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        self.tracks = tracks.to_vec();
        self.lead = tracks.iter().position(|t| t.stream.kind == MediaKind::Video).unwrap_or(0);
        self.open(Timestamp::new(0, MICROSECONDS))
    }

    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let time = packet.presentation();
        if track == self.lead {
            if packet.key
                && let Some(time) = time
                && self.is_due(time)
            {
                self.cut(time).inspect_err(|_| self.broken = true)?;
            } else if self.is_full() {
                self.ask();
            }
        }
        let lead = track == self.lead;
        let Some(part) = self.part(track, time) else {
            return Err(Error::new(ErrorKind::Internal, "a packet before the header"));
        };
        let fate = part.write(track, packet).inspect_err(|_| self.broken = true)?;
        let over = |part: &Part| {
            let late = lead
                && time
                    .zip(part.until)
                    .is_some_and(|(now, until)| now.seconds() - until.seconds() > LATE_SECONDS);
            late || part
                .passed
                .iter()
                .zip(&self.tracks)
                .all(|(passed, t)| *passed || t.stream.kind == MediaKind::Subtitle)
        };
        if self.closing.as_ref().is_some_and(over) {
            self.close_late().inspect_err(|_| self.broken = true)?;
        }
        Ok(fate)
    }

    fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Split if self.split.is_some() => {
                self.wanted = true;
                self.asked = false;
                self.ask();
                Ok(())
            }
            other => Err(Error::unsupported(format!("this output cannot {other}"))),
        }
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        let late = self.close_late();
        let last = match self.current.take() {
            Some(part) => self.complete(part),
            None => Err(Error::new(ErrorKind::Internal, "an output that was never begun")),
        };
        if late.is_err() || last.is_err() {
            self.broken = true;
        }
        late.and(last).map(|()| std::mem::take(&mut self.files))
    }

    fn abort(&mut self, keep: bool) {
        if let Some(place) = self.place.take() {
            place.discard();
        }
        let keep = keep || self.broken && self.form.safe;
        for part in [self.closing.take(), self.current.take()].into_iter().flatten() {
            if keep {
                // Whatever can be completed is; what cannot stays as it is.
                let _ = self.complete(part);
            } else {
                drop(part.muxed);
                part.place.discard();
            }
        }
    }
}
