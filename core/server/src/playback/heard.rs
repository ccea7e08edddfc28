//! What runs have to say, and what follows from it.

use super::making::State;
use super::playlists;
use super::segments::Key;
use super::session::Inner;
use crate::jobs::{Class, accel_of, class, decodes_on, failed_over, no_room, stopped_decoding};
use crate::worker::{Failure, Report};
use ghoststream::event::Outcome;
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Tries after what may pass by itself, and the time before the first of them; doubled for each further one. Somebody waits.
const TRIES: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(250);

impl Inner {
    /// What a run has to say; `false` when it is over.
    pub(super) fn hear(&self, id: u64, report: Report) -> bool {
        let now = Instant::now();
        match report {
            Report::Segment { name, .. } => self.take(id, &name, now),
            Report::Plan(plan) => {
                if let Some(run) = self.lock().runs.iter_mut().find(|r| r.id == id) {
                    run.decodes_on = decodes_on(&plan);
                }
                if let Some(encoder) = plan.video_encoder() {
                    self.lock().encoder = Some(encoder.to_string());
                }
            }
            Report::Warning { code, message } if code == "fallback" || code == "source" => {
                let mut state = self.lock();
                if let Some(accel) = failed_over(&message) {
                    // Once a run: the rungs of a ladder fail together.
                    let run = state.runs.iter_mut().find(|r| r.id == id);
                    if !run.is_some_and(|run| std::mem::replace(&mut run.failed_over, true)) {
                        self.count_failure(&mut state, accel);
                    }
                }
                if stopped_decoding(&message)
                    && let Some(run) = state.runs.iter_mut().find(|r| r.id == id)
                    && let Some(device) = run.decodes_on.take()
                {
                    let off = self.runner.cooldowns().decoder_failed(&device, &self.source);
                    off.into_iter().for_each(|off| state.warn(off));
                }
                state.warn(message);
            }
            Report::Done(done) => {
                self.over(id, Failure::of_done(&done), done.outcome == Outcome::Completed);
                return false;
            }
            Report::Lost(why) => {
                self.over(id, Some(Failure::lost(why)), false);
                return false;
            }
            _ => {}
        }
        true
    }

    /// A file of a run is in its place.
    fn take(&self, id: u64, name: &str, now: Instant) {
        let Some((folder, file)) = name.split_once('/') else { return };
        let Some(rendition) = self.shape.renditions.iter().position(|r| r.name == folder) else { return };
        let path = self.shape.directory.join(name);
        if file == "init.mp4" {
            let codecs = std::fs::read(&path).ok().and_then(|b| playlists::read_codecs(&b, false));
            let mut state = self.lock();
            if let Some(said) = state.codecs.get_mut(rendition).filter(|_| codecs.is_some()) {
                *said = codecs;
            }
            if let Some(there) = state.inits.get_mut(rendition) {
                *there = true;
            }
            drop(state);
            self.changed();
            return;
        }
        let Some(number) = file.split('.').next().and_then(|n| n.parse::<u64>().ok()) else { return };
        let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
        let mut state = self.lock();
        state.failures = 0;
        state.segments.insert((rendition, number), bytes, now);
        if let Some(run) = state.runs.iter_mut().find(|r| r.id == id)
            && let Some(at) = run.renditions.iter().position(|r| *r == rendition)
            && let Some(next) = run.next.get_mut(at)
        {
            *next = number + 1;
            let length = self.shape.timeline.segments.get(number as usize).map_or(0.0, |s| s.1);
            run.pace.made(at, length, now);
        }
        drop(state);
        self.changed();
    }

    /// Counts a failure of hardware with those of all jobs and sessions.
    fn count_failure(&self, state: &mut State, accel: &str) {
        let off = self.runner.cooldowns().failed(accel);
        off.into_iter().for_each(|off| state.warn(off));
    }

    /// What follows from a failure: room, software, another try, or the end of those who wait.
    fn failed(&self, state: &mut State, id: u64, failure: &Failure) {
        state.failures += 1;
        let why = &failure.message;
        if no_room(why) && self.make_room(state) > 0 {
            state.warn("the disk is full: segments that were played are removed".into());
            return;
        }
        // As long as nobody has said otherwise, a device may have been at work where one was asked for.
        let known = state.encoder.as_deref().map(accel_of).or(self.shape.hardware());
        let hardware = !state.software && known.is_some_and(|accel| accel != "software");
        let class = class(failure, hardware);
        if let Some(accel) = known.filter(|a| class == Class::Hardware && *a != "auto") {
            self.count_failure(state, accel);
        }
        match class {
            Class::Hardware if !state.software && self.shape.falls_back() => {
                state.software = true;
                state.warn(format!("{why}; going on in software"));
            }
            Class::Transient | Class::Hardware if state.failures <= TRIES => {
                let after = FIRST_DELAY * 2_u32.pow(state.failures - 1);
                state.not_before = Some(Instant::now() + after);
                state.warn(format!("{why}; tried again"));
            }
            _ => state.failure = Some((id, why.clone())),
        }
    }

    /// A run has ended.
    fn over(&self, id: u64, failure: Option<Failure>, completed: bool) {
        let mut state = self.lock();
        let Some(at) = state.runs.iter().position(|r| r.id == id) else { return };
        let run = state.runs.remove(at);
        if let Some(failure) = failure {
            self.failed(&mut state, id, &failure);
        } else if completed {
            let encoder = state.encoder.as_deref().map(accel_of).filter(|a| *a != "software");
            if let Some(accel) = encoder.filter(|_| !run.failed_over) {
                self.runner.cooldowns().worked(accel);
            }
            if let Some(device) = &run.decodes_on {
                self.runner.cooldowns().decoder_worked(device);
            }
            // What it was to make and has not made is not in the source. Reports may get lost, files do not.
            let missing: Vec<Key> = run
                .renditions
                .iter()
                .zip(&run.next)
                .flat_map(|(r, next)| (*next..run.end).map(move |n| (*r, n)))
                .collect();
            for key in missing {
                let path = self.shape.directory.join(self.shape.path(key.0, key.1));
                match std::fs::metadata(path) {
                    Ok(file) => state.segments.insert(key, file.len(), Instant::now()),
                    Err(_) => state.absent.push(key),
                }
            }
        }
        drop(state);
        self.changed();
    }
}

/// Hears what a run has to say.
pub(super) async fn listen(inner: Weak<Inner>, id: u64, mut reports: mpsc::UnboundedReceiver<Report>) {
    while let Some(report) = reports.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        if !inner.hear(id, report) {
            break;
        }
    }
    if let Some(inner) = inner.upgrade() {
        // Nothing happens if it has said how it ended.
        inner.over(id, Some(Failure::lost("the run ended without a word")), false);
        inner.lock().heard -= 1;
        inner.changed();
    }
}
