//! The runs of a session: what is made next, for whom, and what stops.

use super::heard::listen;
use super::pace::Pace;
use super::runs::Wheel;
use super::segments::{Key, Segments};
use super::session::{Inner, Load};
use crate::jobs::{FileError, accel_of};
use ghoststream::spec::Device;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct State {
    pub segments: Segments,
    pub inits: Vec<bool>,
    pub codecs: Vec<Option<String>>,
    /// What was last asked of each rendition, and when.
    pub wanted: Vec<Option<(u64, Instant)>>,
    pub waiting: HashMap<u64, Key>,
    pub runs: Vec<Run>,
    /// Runs that may still say something, also those that were ended.
    pub heard: usize,
    pub next_id: u64,
    /// Segments that the source turned out not to have.
    pub absent: Vec<Key>,
    /// Why the last run failed, and how often runs failed since one succeeded.
    pub failure: Option<(u64, String)>,
    pub failures: u32,
    pub software: bool,
    /// It was said that its device's decoder is left alone.
    pub decoder_off: bool,
    pub encoder: Option<String>,
    pub warnings: Vec<String>,
    pub started: u64,
    pub load: Load,
    pub text: Text,
    /// Nothing is made any more.
    pub closed: bool,
    /// Nothing is begun before.
    pub not_before: Option<Instant>,
}

/// How far the subtitles in the source are.
#[derive(Default)]
pub(super) enum Text {
    #[default]
    Unread,
    Reading(Arc<dyn Wheel>),
    Read,
    Failed(String),
}

impl State {
    /// Keeps what is worth knowing.
    pub fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) && self.warnings.len() < 50 {
            self.warnings.push(text);
        }
    }

    /// Where viewers are: the segments that somebody wanted last.
    fn near(&self, now: Instant) -> Vec<u64> {
        let recent = |when: &Instant| now.saturating_duration_since(*when) < RECENT;
        self.wanted.iter().flatten().filter(|(_, when)| recent(when)).map(|(n, _)| *n).collect()
    }

    /// Ends everything that goes on, for good.
    pub fn end(&mut self) {
        self.closed = true;
        self.runs.drain(..).for_each(|run| run.wheel.cancel());
        if let Text::Reading(wheel) = std::mem::take(&mut self.text) {
            wheel.cancel();
        }
    }
}

pub(super) struct Run {
    pub id: u64,
    pub renditions: Vec<usize>,
    /// What comes next of each of them.
    pub next: Vec<u64>,
    /// Bits per second that each of its encoders was begun with.
    pub rates: Vec<u64>,
    pub first: u64,
    pub end: u64,
    pub wheel: Arc<dyn Wheel>,
    pub paused: bool,
    /// Ticks since it was told to halt.
    pub told: u32,
    /// When somebody last wanted something of it.
    pub touched: Instant,
    /// How fast it is.
    pub pace: Pace,
    /// Its hardware failed, and another encoder went on.
    pub failed_over: bool,
    /// The device that decodes for it, until that fails.
    pub decodes_on: Option<String>,
}

impl Run {
    /// Halts it.
    fn halt(&mut self) {
        self.paused = true;
        self.wheel.pause();
        self.pace.halted();
    }

    /// Seconds of media that it makes in a second, of the slowest rendition that it is not through with.
    pub fn speed(&self, length: f64, now: Instant) -> Option<f64> {
        let open = self.next.iter().enumerate().filter(|(_, next)| **next < self.end);
        open.filter_map(|(at, _)| self.pace.speed(at, length, now)).reduce(f64::min)
    }

    /// What comes next of `rendition`, if it is one of them.
    fn next_of(&self, rendition: usize) -> Option<u64> {
        let at = self.renditions.iter().position(|r| *r == rendition)?;
        self.next.get(at).copied()
    }

    /// Whether it is going to make a segment, at most `reach` segments from now.
    fn makes(&self, (rendition, number): Key, reach: u64) -> bool {
        number < self.end
            && self
                .next_of(rendition)
                .is_some_and(|next| (next..=next.saturating_add(reach)).contains(&number))
    }
}

/// The run of `runs` that comes to `key` soonest: whoever waits for it waits for that one, and for none before it.
fn coming(runs: &[Run], key: Key) -> Option<u64> {
    let next = |r: &Run| r.makes(key, u64::MAX).then(|| r.next_of(key.0)).flatten();
    runs.iter().filter_map(|r| next(r).map(|n| (n, r.id))).max().map(|(_, id)| id)
}

/// Segments that are waited for behind the one that is being made, before another run would be sooner.
pub(super) const REACH: u64 = 2;
/// How often runs are looked after.
const TICK: Duration = Duration::from_millis(200);
/// A rendition that was asked for so recently is being watched.
const RECENT: Duration = Duration::from_secs(20);

/// How much a segment is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Somebody waits for it, and is going to want what comes behind it.
    Now,
    /// Somebody waits for this one only.
    Alone,
    /// If that costs nobody anything.
    Gently,
}

/// Somebody waits for a segment; when nobody does any more, nothing needs to be made for them.
struct Waiting<'a> {
    inner: &'a Inner,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.lock().waiting.remove(&self.id);
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// `alone`: only this one segment is wanted.
    pub(super) async fn made(
        &self,
        key: Key,
        hold: Duration,
        alone: bool,
        there: impl Fn(&State) -> bool,
    ) -> Result<(), FileError> {
        let hold = hold.min(self.limits.patience);
        let until = tokio::time::Instant::now() + hold;
        let mut changes = self.changes.subscribe();
        let mut waiting: Option<Waiting<'_>> = None;
        let began = self.lock().failure.as_ref().map_or(0, |(id, _)| *id);
        loop {
            changes.borrow_and_update();
            {
                let mut state = self.lock();
                if there(&state) {
                    return Ok(());
                }
                if state.closed || state.absent.contains(&key) {
                    return Err(FileError::NotFound);
                }
                if let Some((id, why)) = state.failure.as_ref().filter(|(id, _)| *id > began) {
                    tracing::debug!(run = id, "{why}");
                    return Err(FileError::Failed(why.clone()));
                }
                if waiting.is_none() {
                    state.next_id += 1;
                    let id = state.next_id;
                    state.waiting.insert(id, key);
                    waiting = Some(Waiting { inner: self, id });
                }
                let how = if alone { How::Alone } else { How::Now };
                self.ensure(&mut state, key, how);
            }
            if !matches!(tokio::time::timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                let late = format!("it was not made within {:.0} s", hold.as_secs_f64());
                return Err(FileError::Failed(late));
            }
        }
    }

    /// Sees to it that some run makes `key`.
    fn ensure(&self, state: &mut State, key: Key, how: How) {
        let now = Instant::now();
        if state.closed || state.not_before.is_some_and(|then| then > now) {
            return;
        }
        let gently = how == How::Gently;
        let reach = if gently { u64::MAX } else { REACH };
        if let Some(run) = state.runs.iter_mut().find(|r| r.makes(key, reach)) {
            if !gently {
                run.touched = now;
                if std::mem::take(&mut run.paused) {
                    run.wheel.resume();
                }
            }
            return;
        }
        if state.runs.len() >= self.limits.runs.max(1) {
            // The one that nobody has wanted for the longest, if nobody waits for it; else this has to wait.
            let waiting: Vec<Key> = state.waiting.values().copied().collect();
            let idle = state
                .runs
                .iter()
                .enumerate()
                .filter(|(_, r)| !waiting.iter().any(|k| *k != key && r.makes(*k, REACH)))
                .filter(|(_, r)| !gently || now.saturating_duration_since(r.touched) > RECENT)
                .min_by_key(|(_, r)| r.touched)
                .map(|(n, _)| n);
            let Some(idle) = idle else { return };
            state.runs.remove(idle).wheel.cancel();
        }
        self.begin(state, key, how == How::Alone, now);
    }

    /// Starts a run at `key`.
    fn begin(&self, state: &mut State, (rendition, number): Key, alone: bool, now: Instant) {
        let mut set = vec![rendition];
        if !alone {
            set.extend(self.partners(state, rendition, number, now));
        }
        set.sort_unstable();
        // It stops where the segments of an earlier run begin.
        let made = |n: u64| set.iter().all(|r| state.segments.has((*r, n)));
        let end = (number + 1..self.shape.count()).find(|n| alone || made(*n)).unwrap_or(self.shape.count());
        // Who is waited for has the machine for itself.
        let served = |(r, n): Key| set.contains(&r) && (number..end).contains(&n);
        let waiting = state.waiting.values().filter(|k| !served(**k));
        let awaited: Vec<u64> = waiting.filter_map(|k| coming(&state.runs, *k)).collect();
        for run in state.runs.iter_mut().filter(|r| !awaited.contains(&r.id)) {
            run.halt();
        }
        self.mind_cooldown(state);
        let mut spec = self.shape.document(&set, number, end, state.software, &state.load);
        if let Some(off) = self.decoder_off(state) {
            spec.source.decode.device = Device::Software;
            if !std::mem::replace(&mut state.decoder_off, true) {
                state.warn(off);
            }
        }
        let rates = self.shape.rates(&set);
        let started = self.runner.start(spec);
        state.heard += 1;
        state.next_id += 1;
        state.started += 1;
        let id = state.next_id;
        state.runs.push(Run {
            id,
            next: vec![number; set.len()],
            pace: Pace::new(set.len()),
            renditions: set,
            rates,
            first: number,
            end,
            wheel: started.wheel,
            paused: false,
            told: 0,
            touched: now,
            failed_over: false,
            decodes_on: None,
        });
        tokio::spawn(listen(self.me.clone(), id, started.reports));
    }

    /// Goes on in software where the hardware keeps failing, in this session or in others.
    fn mind_cooldown(&self, state: &mut State) {
        if state.software || !self.shape.falls_back() {
            return;
        }
        // What `auto` finds is known after the first run.
        let known = state.encoder.as_deref().map(accel_of).filter(|accel| *accel != "software");
        let Some(asked) = self.shape.hardware() else { return };
        let off = self.runner.cooldowns().against(known.unwrap_or(asked));
        if let Some(off) = off {
            state.software = true;
            state.warn(format!("{off}; going on in software"));
        }
    }

    /// Why the next run is not decoded where it is encoded.
    fn decoder_off(&self, state: &State) -> Option<String> {
        let device = self.shape.encoded_on().filter(|_| !state.software)?;
        self.runner.cooldowns().against_decoder(device)
    }

    /// The renditions that are going to be asked for together with `rendition`.
    fn partners(&self, state: &State, rendition: usize, number: u64, now: Instant) -> Vec<usize> {
        let all = &self.shape.renditions;
        let video = all.get(rendition).is_some_and(|r| r.is_video());
        let recent = |n: &usize| {
            state
                .wanted
                .get(*n)
                .copied()
                .flatten()
                .filter(|(_, when)| now.saturating_duration_since(*when) < RECENT)
        };
        let others = || (0..all.len()).filter(|n| *n != rendition);
        let lacks =
            |n: &usize| !(number..number + 2).all(|m| m >= self.shape.count() || state.segments.has((*n, m)));
        // Of the other kind, the one that was asked for last, or the first sound.
        let other = others()
            .filter(|n| all[*n].is_video() != video)
            .filter_map(|n| recent(&n).map(|(_, when)| (when, n)))
            .max()
            .map(|(_, n)| n)
            .or_else(|| others().find(|n| video && !all[*n].is_video()));
        // Of the same kind, what somebody watches at this very place.
        let near = others().filter(|n| {
            all[*n].is_video() == video && recent(n).is_some_and(|(at, _)| at.abs_diff(number) <= 1)
        });
        let mut set: Vec<usize> = other.into_iter().chain(near).filter(lacks).collect();
        set.sort_unstable();
        set.dedup();
        set
    }

    /// Makes what comes behind `key` before it is asked for.
    pub(super) fn provide(&self, state: &mut State, (rendition, number): Key) {
        let ahead = (self.limits.ahead / self.shape.timeline.longest().max(0.5) / 2.0).ceil() as u64;
        let last = self.shape.count().min(number.saturating_add(1 + ahead.max(1)));
        if let Some(n) = (number + 1..last).find(|n| !state.segments.has((rendition, *n)))
            && !state.absent.contains(&(rendition, n))
        {
            self.ensure(state, (rendition, n), How::Gently);
        }
    }

    /// See [`super::Session::adapt`].
    pub(super) fn adapt(&self, load: Load) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.load, load);
        if before == load {
            return false;
        }
        let awaited: Vec<u64> = state.waiting.values().filter_map(|k| coming(&state.runs, *k)).collect();
        let anew = self.shape.ts && before.faster != load.faster;
        state.runs.retain(|run| {
            if anew && !awaited.contains(&run.id) {
                // Whoever follows it has some segments in hand, and starts the next one.
                run.wheel.cancel();
                return false;
            }
            for (rung, rate) in run.rates.iter().enumerate() {
                run.wheel.rate(rung, (*rate as f64 * load.quality) as u64);
            }
            true
        });
        true
    }

    /// Halts and continues runs, ends those that nobody follows, and removes old segments.
    fn tend(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let awaited: Vec<u64> = state.waiting.values().filter_map(|k| coming(&state.runs, *k)).collect();
        let awaited = |run: &Run| awaited.contains(&run.id);
        if state.not_before.take_if(|then| *then <= now).is_some() {
            // Who waits begins again.
            self.changed();
        }
        let anybody = state.runs.iter().any(awaited);
        let begin = |n: u64| {
            self.shape.timeline.segments.get(n as usize).map_or(self.shape.timeline.duration(), |s| s.0)
        };
        for run in &mut state.runs {
            let follower = run
                .renditions
                .iter()
                .filter_map(|r| state.wanted.get(*r).copied().flatten())
                .filter(|(n, _)| (run.first..run.end).contains(n))
                .map(|(n, _)| n)
                .max()
                .unwrap_or(run.first);
            let made = run.next.iter().copied().min().unwrap_or(run.first);
            let ahead = begin(made) - begin(follower);
            let far = if run.paused { self.limits.ahead / 2.0 } else { self.limits.ahead };
            // Who is waited for has the machine for itself.
            let pause = !awaited(run) && (anybody || ahead > far);
            // Said again now and then: a run that has not begun does not hear it.
            run.told = if pause { run.told + 1 } else { 0 };
            match (pause, run.paused) {
                (true, _) if run.told % 5 == 1 => run.halt(),
                (false, true) => run.wheel.resume(),
                _ => {}
            }
            run.paused = pause;
        }
        let idle = self.limits.idle;
        state.runs.retain(|run| {
            let crowded = run.paused && self.runner.is_crowded();
            let keep = awaited(run) || (!crowded && now.saturating_duration_since(run.touched) < idle);
            if !keep {
                run.wheel.cancel();
            }
            keep
        });
        let near = state.near(now);
        let span = (self.limits.ahead / self.shape.timeline.longest().max(0.5)).ceil() as u64 + REACH;
        let keep = |(_, n): Key| near.iter().any(|at| (at.saturating_sub(1)..=at + span).contains(&n));
        let gone = state.segments.evict(self.limits.bytes, self.limits.age, now, keep);
        self.remove(&gone);
    }

    /// Removes all but what viewers are at; gives the bytes.
    pub(super) fn make_room(&self, state: &mut State) -> u64 {
        let (now, before) = (Instant::now(), state.segments.bytes());
        let near = state.near(now);
        let keep = |(_, n): Key| near.iter().any(|at| (*at..=at + REACH).contains(&n));
        let gone = state.segments.evict(0, Duration::MAX, now, keep);
        self.remove(&gone);
        before - state.segments.bytes()
    }

    fn remove(&self, segments: &[Key]) {
        for (rendition, number) in segments {
            let path = self.shape.directory.join(self.shape.path(*rendition, *number));
            if let Err(e) = std::fs::remove_file(&path) {
                tracing::debug!(error = %e, "a segment was gone already");
            }
        }
    }
}

/// Looks after the runs of a session for as long as it lives.
pub(super) async fn look_after(inner: Weak<Inner>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        // Removing files blocks, for a moment.
        let tended = tokio::task::spawn_blocking(move || inner.tend()).await;
        if tended.is_err() {
            tracing::error!("a playback session could not be looked after");
        }
    }
}
