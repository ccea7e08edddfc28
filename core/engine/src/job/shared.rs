//! What all threads of one job share: its state, its flags, its meters and the way to stop everything.

use super::CodingStats;
use crate::error::{Error, ErrorKind};
use crate::event::{Done, Event, EventQueue, Progress, State};
use crate::link::{LinkStats, Monitor};
use crate::sink::Command;
use crate::source::{screen, sound::Turn};
use crate::spec::SoundSpec;
use crate::stage::Control;
use crate::time::{Clock, Rational};
use ghoststream_sys::ffmpeg::Interrupt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Locks a mutex whose data stays meaningful after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared by every thread of a job.
pub(crate) struct Shared {
    pub id: u64,
    pub name: String,
    pub events: EventQueue,
    /// Cancels reading, also when the job only stops.
    pub interrupt: Interrupt,
    /// Cancels writing, only when the job is cancelled.
    pub output_interrupt: Interrupt,
    pub clock: Arc<dyn Clock>,
    /// The source goes on while the job is paused.
    live: bool,
    state: Mutex<State>,
    stop: AtomicBool,
    cancel: AtomicBool,
    gate: Mutex<Gate>,
    gate_changed: Condvar,
    closers: Mutex<Vec<Box<dyn Fn() + Send>>>,
    failure: Mutex<Option<Error>>,
    pub meters: Mutex<Vec<Arc<Meter>>>,
    pub tracks: Mutex<Vec<Arc<TrackMeter>>>,
    /// What changes the captured sound, by track.
    pub turns: Mutex<Vec<Arc<Turn>>>,
    /// What captured tracks are to hear, told before they were there; `None` from then on.
    pub early: Mutex<Option<Vec<(usize, SoundSpec)>>>,
    /// The way to each output.
    pub remotes: Mutex<Vec<Arc<Remote>>>,
    /// Pushed outputs.
    pub pushes: Mutex<Vec<crate::sink::push::Status>>,
    /// Outputs whose networks steer one encoder, and the bit rate that each can carry.
    pub rates: Mutex<Vec<BTreeMap<usize, u64>>>,
    /// Frames that were lost with encoders and decoders that failed.
    pub lost: AtomicU64,
    pub duration: Mutex<Option<f64>>,
    pub progress: Mutex<Progress>,
    done: Mutex<Option<Done>>,
    done_changed: Condvar,
}

#[derive(Default)]
struct Gate {
    paused: bool,
    since: Duration,
    total: Duration,
}

impl Shared {
    pub fn new(id: u64, name: String, live: bool, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Shared {
            id,
            name,
            events: EventQueue::default(),
            interrupt: Interrupt::new(),
            output_interrupt: Interrupt::new(),
            clock,
            live,
            state: Mutex::new(State::Starting),
            stop: AtomicBool::new(false),
            cancel: AtomicBool::new(false),
            gate: Mutex::new(Gate::default()),
            gate_changed: Condvar::new(),
            closers: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
            meters: Mutex::new(Vec::new()),
            tracks: Mutex::new(Vec::new()),
            turns: Mutex::new(Vec::new()),
            early: Mutex::new(Some(Vec::new())),
            remotes: Mutex::new(Vec::new()),
            pushes: Mutex::new(Vec::new()),
            rates: Mutex::new(Vec::new()),
            lost: AtomicU64::new(0),
            duration: Mutex::new(None),
            progress: Mutex::new(Progress::default()),
            done: Mutex::new(None),
            done_changed: Condvar::new(),
        })
    }

    pub fn state(&self) -> State {
        *lock(&self.state)
    }

    /// Moves to `state`, unless the job is already past it.
    pub fn set_state(&self, state: State) {
        {
            let mut now = lock(&self.state);
            let back = matches!(
                (*now, state),
                (State::Finished, _) | (State::Draining, State::Running | State::Paused)
            );
            if *now == state || back {
                return;
            }
            *now = state;
        }
        self.events.push(Event::State { state });
    }

    pub fn warn(&self, code: &'static str, message: impl Into<String>) {
        // A server that reads it back knows these only.
        debug_assert!(crate::event::CODES.contains(&code), "{code}");
        let message = message.into();
        tracing::warn!(job = self.id, code, "{message}");
        self.events.push(Event::Warning { code, message });
    }

    /// Counts frames that were lost with an encoder or a decoder.
    pub fn lose(&self, frames: u64) {
        self.lost.fetch_add(frames, Ordering::Relaxed);
    }

    /// Ends reading; what is inside is finished.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.set_state(State::Draining);
        self.resume();
        self.interrupt.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Ends everything at once: every link is closed and every blocking read interrupted.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::SeqCst);
        self.interrupt.cancel();
        self.output_interrupt.cancel();
        self.resume();
        for close in lock(&self.closers).iter() {
            close();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }

    /// Whether the job was cancelled by its owner rather than by a failure.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    /// Records the first failure and brings everything down.
    pub fn fail(&self, error: Error) {
        if error.kind() == ErrorKind::Cancelled && (self.is_cancelled() || self.is_stopping()) {
            return;
        }
        tracing::error!(job = self.id, kind = error.kind().name(), "{error}");
        lock(&self.failure).get_or_insert(error);
        self.cancel();
    }

    /// Records a failure of one output; the others go on.
    pub fn fail_output(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
    }

    /// Has `link` closed when the job is cancelled.
    pub fn close_on_cancel<T: Send + 'static>(&self, link: Monitor<T>) {
        self.on_cancel(move || link.close());
    }

    /// Has `close` called when the job is cancelled, once or more.
    pub fn on_cancel(&self, close: impl Fn() + Send + 'static) {
        lock(&self.closers).push(Box::new(close));
        if self.is_cancelled() {
            self.cancel();
        }
    }

    /// The captured tracks are there: what they were told before is theirs now.
    pub fn hear_early(&self) {
        // Held to the end: what is told meanwhile comes after it.
        let mut early = lock(&self.early);
        let turns = lock(&self.turns).clone();
        let mut wrong = 0;
        for (track, sound) in early.take().into_iter().flatten() {
            match turns.get(track) {
                Some(turn) => turn.to(sound),
                None => wrong += 1,
            }
        }
        drop(early);
        (0..wrong).for_each(|_| self.warn("control", not_captured(turns.len())));
    }

    pub fn pause(&self) -> bool {
        if !matches!(self.state(), State::Running | State::Paused) {
            return false;
        }
        {
            let mut gate = lock(&self.gate);
            if !gate.paused {
                gate.paused = true;
                gate.since = self.clock.now();
            }
        }
        self.set_state(State::Paused);
        true
    }

    pub fn resume(&self) {
        let was = {
            let mut gate = lock(&self.gate);
            if gate.paused {
                gate.paused = false;
                let since = gate.since;
                gate.total += self.clock.now().saturating_sub(since);
                true
            } else {
                false
            }
        };
        self.gate_changed.notify_all();
        if was && self.state() == State::Paused {
            if self.live {
                // What was shown before and what is shown now have nothing in common.
                self.ask_key(None);
            }
            self.set_state(State::Running);
        }
    }

    /// Has the encoders of `output` (of all, when absent) make their next frame a key frame.
    pub fn ask_key(&self, output: Option<usize>) {
        for track in lock(&self.tracks).iter().filter(|t| t.video && t.controllable) {
            if output.is_none_or(|o| o == track.output) {
                track.control(Control::ForceKeyFrame);
            }
        }
    }

    /// The only video track has another rate now: a screen that is captured for it need not be captured faster than it is shown.
    pub fn pace_screen(&self, rate: Rational) {
        if lock(&self.tracks).iter().filter(|t| t.video).count() != 1 {
            return;
        }
        if let Some(counts) = lock(&self.meters).iter().find_map(|m| m.screen()) {
            counts.pace_to(rate);
        }
    }

    /// Waits while the job is paused; a pause that comes too late for a job that ends does not hold it.
    pub fn pass_gate(&self) {
        let mut gate = lock(&self.gate);
        while gate.paused && !self.is_stopping() && !self.is_cancelled() {
            gate = self.gate_changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How long the job was paused so far.
    pub fn paused_for(&self) -> Duration {
        let gate = lock(&self.gate);
        if gate.paused { gate.total + self.clock.now().saturating_sub(gate.since) } else { gate.total }
    }

    /// The job's clock, which stands still while the job is paused.
    pub fn running_clock(self: &Arc<Self>) -> Arc<dyn Clock> {
        Arc::new(RunningClock(self.clone()))
    }

    /// A meter for the stage `name`.
    pub fn meter(&self, name: impl Into<String>) -> Arc<Meter> {
        let meter = Arc::new(Meter { name: name.into(), ..Meter::default() });
        lock(&self.meters).push(meter.clone());
        meter
    }

    pub fn finish(&self, done: Done) {
        self.set_state(State::Finished);
        *lock(&self.done) = Some(done.clone());
        self.done_changed.notify_all();
        self.events.push(Event::Done(done));
    }

    pub fn wait_done(&self, timeout: Option<Duration>) -> Option<Done> {
        let done = lock(&self.done);
        match timeout {
            None => self
                .done_changed
                .wait_while(done, |d| d.is_none())
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            Some(timeout) => self
                .done_changed
                .wait_timeout_while(done, timeout, |d| d.is_none())
                .unwrap_or_else(PoisonError::into_inner)
                .0
                .clone(),
        }
    }
}

/// The way from the job's owner to an output's thread.
#[derive(Default)]
pub(crate) struct Remote {
    /// Its files can be cut.
    pub splits: bool,
    /// It keeps a replay.
    pub saves: bool,
    commands: Mutex<Vec<Command>>,
    wake: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Remote {
    pub fn new(splits: bool, saves: bool) -> Remote {
        Remote { splits, saves, ..Remote::default() }
    }

    /// Has `wake` called when there is a command to take.
    pub fn wake(&self, wake: Box<dyn Fn() + Send>) {
        *lock(&self.wake) = Some(wake);
    }

    pub fn send(&self, command: Command) {
        lock(&self.commands).push(command);
        if let Some(wake) = lock(&self.wake).as_ref() {
            wake();
        }
    }

    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *lock(&self.commands))
    }
}

/// Why a captured track cannot hear something else.
pub(crate) fn not_captured(tracks: usize) -> String {
    format!("sound_track: the job captures {tracks} tracks of sound")
}

struct RunningClock(Arc<Shared>);

impl Clock for RunningClock {
    fn now(&self) -> Duration {
        self.0.clock.now().saturating_sub(self.0.paused_for())
    }

    fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration);
    }
}

/// What one stage has done.
#[derive(Default)]
pub(crate) struct Meter {
    pub name: String,
    pub items_in: AtomicU64,
    pub items_out: AtomicU64,
    pub busy_us: AtomicU64,
    pub damaged: AtomicU64,
    /// What does its work instead of what was chosen for it.
    pub instead: OnceLock<&'static str>,
    queue: Mutex<Option<Box<dyn Fn() -> LinkStats + Send>>>,
    screen: Mutex<Option<Arc<screen::Counts>>>,
}

impl Meter {
    pub fn watch_screen(&self, counts: Arc<screen::Counts>) {
        *lock(&self.screen) = Some(counts);
    }

    pub fn screen(&self) -> Option<Arc<screen::Counts>> {
        lock(&self.screen).clone()
    }

    pub fn watch<T: Send + 'static>(&self, link: Monitor<T>) {
        self.watch_with(move || link.stats());
    }

    pub fn watch_with(&self, stats: impl Fn() -> LinkStats + Send + 'static) {
        *lock(&self.queue) = Some(Box::new(stats));
    }

    pub fn queue(&self) -> Option<LinkStats> {
        lock(&self.queue).as_ref().map(|q| q())
    }

    pub fn count_in(&self) {
        self.items_in.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_out(&self, n: u64) {
        self.items_out.fetch_add(n, Ordering::Relaxed);
    }

    pub fn count_damaged(&self, n: u64) {
        self.damaged.fetch_add(n, Ordering::Relaxed);
    }

    pub fn busy(&self, time: Duration) {
        self.busy_us.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }
}

/// What has reached the sink of one track, and what its encoder is asked to change.
pub(crate) struct TrackMeter {
    pub output: usize,
    pub name: String,
    pub video: bool,
    /// Whether the job's progress waits for it (subtitles do not count).
    pub counts: bool,
    pub reached_us: AtomicI64,
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// What the encoder says of its pictures.
    pub coding: Mutex<Option<CodingStats>>,
    pub ended: AtomicBool,
    controls: Mutex<Vec<Control>>,
    has_controls: AtomicBool,
    pub controllable: bool,
    /// The position of the track that goes on for it when it is dropped.
    pub successor: Option<usize>,
    /// Why its pictures cannot have another size, if they cannot.
    pub fixed_size: Option<String>,
    /// Its packets' times are read in the base that was announced.
    pub one_base: bool,
    /// Its packets are sheets of many pictures each.
    pub sheets: bool,
}

impl TrackMeter {
    pub fn new(
        output: usize,
        name: String,
        video: bool,
        counts: bool,
        controllable: bool,
        successor: Option<usize>,
    ) -> Self {
        TrackMeter {
            output,
            name,
            video,
            counts,
            reached_us: AtomicI64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            coding: Mutex::new(None),
            ended: AtomicBool::new(false),
            controls: Mutex::new(Vec::new()),
            has_controls: AtomicBool::new(false),
            controllable,
            successor,
            fixed_size: None,
            one_base: false,
            sheets: false,
        }
    }

    /// With what of its video cannot change.
    pub fn keeping(self, fixed_size: Option<String>, one_base: bool) -> Self {
        TrackMeter { fixed_size, one_base, ..self }
    }

    /// With whether each packet has many pictures.
    pub fn of_sheets(self, sheets: bool) -> Self {
        TrackMeter { sheets, ..self }
    }

    pub fn control(&self, control: Control) {
        lock(&self.controls).push(control);
        self.has_controls.store(true, Ordering::Release);
    }

    pub fn take_controls(&self) -> Vec<Control> {
        if !self.has_controls.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.controls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn what_is_told_while_early_orders_are_given_is_the_last_word() {
        let sound = |name: &str| -> SoundSpec {
            serde_json::from_value(serde_json::json!({"source": "node", "name": name})).unwrap()
        };
        for _ in 0..500 {
            let shared = Shared::new(1, "j".into(), true, Arc::new(SystemClock::default()));
            let turn = Arc::new(Turn::default());
            lock(&shared.turns).push(turn.clone());
            lock(&shared.early).as_mut().unwrap().extend((0..50).map(|n| (0, sound(&format!("old {n}")))));
            let theirs = shared.clone();
            let thread = std::thread::spawn(move || theirs.hear_early());
            // As Job::set does.
            while lock(&shared.early).is_some() {
                std::hint::spin_loop();
            }
            turn.to(sound("new"));
            thread.join().unwrap();
            assert_eq!(turn.told().and_then(|s| s.name), Some("new".into()));
        }
    }
}
