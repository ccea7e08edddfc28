//! The last seconds, saved on command: as they were encoded, by a thread of its own, while encoding goes on.

use super::muxed::{Form, Muxed, Target};
use super::names::Names;
use super::ring::{Group, Kept, Ring, Store};
use super::{Command, Facts, Fate, OutputSink, Place, Saved, TrackHeader, hybrid};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::Span;
use crate::packet::{MediaKind, Packet};
use crate::spec::{Container, OutputSpec, ReplaySpec, ReplayStore};
use crate::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Keeps the last seconds.
pub(crate) struct ReplaySink {
    form: Form,
    path: String,
    spec: ReplaySpec,
    names: Option<Names>,
    ring: Option<Ring>,
    saver: Option<Saver>,
    /// It was said that a group of pictures is more than may be kept.
    warned: bool,
}

/// Writes one save after the other.
struct Saver {
    saves: Sender<Save>,
    thread: JoinHandle<Vec<String>>,
    given_up: Arc<AtomicBool>,
}

/// What a save is made of.
struct Save {
    groups: Vec<Arc<Group>>,
    place: Place,
}

impl ReplaySink {
    pub fn new(spec: &OutputSpec, replay: &ReplaySpec, path: &str, container: Container) -> Self {
        let form = Form { spec: spec.clone(), container, facts: Facts::default(), safe: false };
        ReplaySink {
            form,
            path: path.into(),
            spec: replay.clone(),
            names: None,
            ring: None,
            saver: None,
            warned: false,
        }
    }

    /// Where a spool is.
    fn spool(&self) -> PathBuf {
        let beside = || {
            let parent = Path::new(&self.path).parent().filter(|p| !p.as_os_str().is_empty());
            // Directories of a template may not be there yet.
            parent
                .into_iter()
                .flat_map(Path::ancestors)
                .find(|p| p.is_dir())
                .unwrap_or(Path::new("."))
                .to_owned()
        };
        self.spec.spool.as_ref().map_or_else(beside, PathBuf::from)
    }

    fn save(&mut self, seconds: Option<f64>) -> Result<()> {
        let groups = self.ring.as_ref().map(|ring| ring.last(seconds)).unwrap_or_default();
        if groups.is_empty() {
            return Err(Error::new(ErrorKind::State, "nothing to save yet: no key frame has been encoded"));
        }
        let names =
            self.names.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "a replay without a name"))?;
        let place = names.claim(false)?;
        if self.saver.is_none() {
            self.saver = Some(Saver::start(self.form.clone())?);
        }
        let gone = match &self.saver {
            Some(saver) => saver.saves.send(Save { groups, place }).err(),
            None => None,
        };
        match gone {
            Some(unsent) => {
                unsent.0.place.discard();
                Err(Error::new(ErrorKind::Internal, "the thread that saves has ended"))
            }
            None => Ok(()),
        }
    }
}

impl Saver {
    fn start(form: Form) -> Result<Saver> {
        let (saves, wanted) = channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let seen = given_up.clone();
        let thread = std::thread::Builder::new()
            .name("gs-replay".into())
            .spawn(move || run(&form, &wanted, &seen))
            .map_err(|e| Error::with_source(ErrorKind::Memory, "cannot start the thread that saves", e))?;
        Ok(Saver { saves, thread, given_up })
    }

    /// Waits for what was asked for; gives the files.
    fn end(self) -> Vec<String> {
        drop(self.saves);
        self.thread.join().unwrap_or_default()
    }
}

fn run(form: &Form, wanted: &Receiver<Save>, given_up: &AtomicBool) -> Vec<String> {
    let mut files = Vec::new();
    while let Ok(save) = wanted.recv() {
        let shown = save.place.target().display().to_string();
        match write(form, &save, given_up) {
            Ok(Some(saved)) => {
                files.push(saved.path.clone());
                form.facts.tell_saved(saved);
            }
            Ok(None) => save.place.discard(),
            Err(e) => {
                save.place.discard();
                form.facts.warn("save", e.context(shown).to_string());
            }
        }
    }
    files
}

/// Writes a save; `None` when it was given up.
fn write(form: &Form, save: &Save, given_up: &AtomicBool) -> Result<Option<Saved>> {
    let Some(first) = save.groups.first() else { return Ok(None) };
    let begin = first.begin;
    let mut tracks = (*first.tracks).clone();
    if begin.ticks > 0 {
        tracks.iter_mut().for_each(TrackHeader::goes_on);
    }
    let target = save.place.working().to_string_lossy().into_owned();
    let mut muxed = Muxed::open(form, Target::File(&target), &tracks)?;
    let mut end = begin;
    for item in save.groups.iter().flat_map(|g| &g.items) {
        if given_up.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // Sound of the time before, which came late.
        if item.presentation().is_some_and(|t| t < begin) {
            continue;
        }
        let packet = item.packet()?;
        if let Some(t) = packet.presentation() {
            end = end.max(Timestamp::new(t.ticks.saturating_add(packet.duration), t.base));
        }
        let shift = begin.to(packet.base).ticks;
        let back = |t: Option<i64>| t.map(|t| t.saturating_sub(shift));
        muxed.write(item.track, Packet { pts: back(packet.pts), dts: back(packet.dts), ..packet })?;
    }
    let bytes = muxed.position();
    muxed.finish()?;
    let path = hybrid::commit(form, &save.place)?;
    let span = Span { begin, until: None };
    Ok(Some(Saved { path, duration: end.seconds() - begin.seconds(), bytes, span }))
}

impl OutputSink for ReplaySink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.form.facts = facts.clone();
        self.names = Some(Names::new(&self.path, facts)?);
        let store = match self.spec.store {
            ReplayStore::Memory => Store::memory(),
            ReplayStore::Disk => {
                Store::disk(&self.spool(), self.spec.seconds.0).map_err(|e| e.context("replay.spool"))?
            }
        };
        self.ring = Some(Ring::new(self.spec.seconds.0, self.spec.bytes.map(|b| b.0), store));
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        // What the container cannot carry is refused now, not when it is saved.
        Muxed::check(&self.form, tracks)?;
        let lead = tracks.iter().position(|t| t.stream.kind == MediaKind::Video);
        if let Some(ring) = &mut self.ring {
            ring.begin(tracks.to_vec(), lead.unwrap_or(0), lead.is_some());
        }
        Ok(())
    }

    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let Some(ring) = &mut self.ring else {
            return Err(Error::new(ErrorKind::Internal, "a packet before the header"));
        };
        if ring.push(track, &packet).context(|| "replay".to_string())? == Kept::TooMuch {
            if !std::mem::replace(&mut self.warned, true) {
                let message = "one group of pictures is more than replay.bytes: it is given up, and the next one begins";
                self.form.facts.warn("dropped", message.into());
            }
            self.form.facts.ask_key();
        }
        Ok(Fate::Written)
    }

    fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Save { seconds } => self.save(seconds),
            other => Err(Error::unsupported(format!("this output cannot {other}"))),
        }
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        self.ring = None;
        Ok(self.saver.take().map(Saver::end).unwrap_or_default())
    }

    fn abort(&mut self, keep: bool) {
        self.ring = None;
        if let Some(saver) = self.saver.take() {
            saver.given_up.store(!keep, Ordering::Relaxed);
            saver.end();
        }
    }
}
