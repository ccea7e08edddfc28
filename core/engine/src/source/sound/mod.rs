//! Captured sound: tracks of samples without a hole, with times of the job's clock, whatever comes and goes.

mod line;
mod listen;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::{ChannelLayout, Frame, SampleFormat};
use crate::packet::{AudioInfo, Codec, MediaKind, StreamInfo};
use crate::spec::{Seconds, SoundSpec};
use crate::stage::Source;
use crate::time::{Clock, Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;
use line::Line;
#[cfg(target_os = "linux")]
pub(crate) use listen::error;
pub(crate) use listen::listening;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Samples per second.
pub const RATE: u32 = 48_000;
/// Channels.
const CHANNELS: usize = 2;
/// Samples per frame: 20 ms.
const BLOCK: i64 = 960;
const BASE: TimeBase = Rational::new(1, RATE as i32);
/// How long one wait lasts at most; a job that stops is seen after it.
const NAP: Duration = Duration::from_millis(10);
/// How late samples may be of something that gives none by itself.
const SILENT: i64 = RATE as i64 / 20;
/// How late samples may be of something that does give some.
const LATE: i64 = RATE as i64;

/// Samples, interleaved, and how long ago the first of them sounded.
pub(crate) struct Heard {
    pub samples: Vec<f32>,
    pub age: Duration,
}

/// Something that hears. Times of its own do not matter: what is heard says how long ago that was.
pub(crate) trait Ear: Send {
    /// What was heard, oldest first; `None` when there is nothing within `wait`.
    ///
    /// # Errors
    /// When there will never be anything more.
    fn hear(&mut self, wait: Duration) -> Result<Option<Heard>>;
    /// Whether samples come by themselves now.
    fn is_running(&self) -> bool;
    /// The names of what is heard now.
    fn linked(&self) -> Vec<String>;
    /// Hears something else from now on.
    fn turn_to(&mut self, sound: &SoundSpec);
}

/// When a capture began, by the job's clock: what its pictures and its sounds count from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    at: OnceLock<Duration>,
    over: AtomicBool,
}

impl Origin {
    /// It begins now, if it has not begun.
    fn begin(&self, clock: &dyn Clock) -> Duration {
        *self.at.get_or_init(|| clock.now())
    }
}

/// A source that says when it begins and ends, for the sound beside it.
pub(crate) struct Leading {
    pub source: Box<dyn Source<Frame>>,
    pub origin: Arc<Origin>,
    pub clock: Arc<dyn Clock>,
}

impl Source<Frame> for Leading {
    fn next(&mut self) -> Result<Option<Frame>> {
        self.origin.begin(&*self.clock);
        self.source.next()
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        // However it ended, and also when nobody wanted its pictures any more.
        self.origin.over.store(true, Ordering::Relaxed);
    }
}

/// One thing that is listened to, within a track.
struct Feed {
    ear: Box<dyn Ear>,
    sound: SoundSpec,
    gain: f32,
    offset: i64,
    line: Line,
    linked: Vec<String>,
    told: bool,
    /// Why there will be no more.
    dead: Option<Error>,
}

/// Takes what a user should know.
pub(crate) type Tell = Box<dyn Fn(String) + Send>;

/// A change of what is listened to, for the source's thread.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<Option<SoundSpec>>);

impl Turn {
    /// The first thing of the track is replaced by `sound`.
    pub fn to(&self, sound: SoundSpec) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sound);
    }

    /// What it is to be replaced by.
    #[cfg(test)]
    pub(crate) fn told(&self) -> Option<SoundSpec> {
        self.take()
    }

    fn take(&self) -> Option<SoundSpec> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A track of captured sound as a source. Lives on one thread.
pub(crate) struct Sound {
    feeds: Vec<Feed>,
    clock: Arc<dyn Clock>,
    interrupt: av::Interrupt,
    origin: Arc<Origin>,
    /// Whether there are pictures, which say when it begins and ends.
    follows: bool,
    end: Option<i64>,
    next: i64,
    tell: Option<Tell>,
    turn: Arc<Turn>,
}

/// What all tracks of a capture have in common.
pub(crate) struct Common {
    pub clock: Arc<dyn Clock>,
    pub interrupt: av::Interrupt,
    pub origin: Arc<Origin>,
    pub follows: bool,
    pub duration: Option<Seconds>,
}

/// The tracks that `sounds` are mixed into, in order of their first appearance.
pub(crate) fn tracks(sounds: &[SoundSpec]) -> Vec<Vec<SoundSpec>> {
    let mut tracks: Vec<Vec<SoundSpec>> = Vec::new();
    for sound in sounds {
        let same = |t: &&mut Vec<SoundSpec>| {
            sound.track.is_some() && t.first().is_some_and(|s| s.track == sound.track)
        };
        match tracks.iter_mut().find(same) {
            Some(track) => track.push(sound.clone()),
            None => tracks.push(vec![sound.clone()]),
        }
    }
    tracks
}

/// The stream of a track.
pub(crate) fn stream(index: usize, sounds: &[SoundSpec]) -> StreamInfo {
    let mut stream = StreamInfo::new(MediaKind::Audio, Codec::Other("pcm_f32le".into()), BASE);
    stream.index = index;
    stream.audio = Some(AudioInfo {
        sample_rate: RATE,
        layout: ChannelLayout::from_channels(CHANNELS as u32),
        format: Some(SampleFormat::F32P),
        frame_size: BLOCK as u32,
        initial_padding: 0,
    });
    let labels: Vec<String> = sounds.iter().map(SoundSpec::label).collect();
    stream.title = Some(labels.join(" + "));
    stream
}

/// The factor and the samples by which `sound` is moved.
fn measures(sound: &SoundSpec) -> (f32, i64) {
    (10f64.powf(sound.gain / 20.0) as f32, (sound.offset * f64::from(RATE) / 1000.0).round() as i64)
}

impl Sound {
    /// A track that mixes what `ears` hear.
    pub fn new(ears: Vec<(Box<dyn Ear>, SoundSpec)>, common: Common) -> Sound {
        let feed = |(ear, sound): (Box<dyn Ear>, SoundSpec)| {
            let (gain, offset) = measures(&sound);
            let line = Line::new(RATE, CHANNELS);
            Feed { ear, gain, offset, line, linked: Vec::new(), told: false, dead: None, sound }
        };
        Sound {
            feeds: ears.into_iter().map(feed).collect(),
            clock: common.clock,
            interrupt: common.interrupt,
            origin: common.origin,
            follows: common.follows,
            end: common.duration.map(|d| (d.0 * f64::from(RATE)).round() as i64),
            next: 0,
            tell: None,
            turn: Arc::default(),
        }
    }

    /// Where warnings go.
    pub fn tell(&mut self, tell: Tell) {
        self.tell = Some(tell);
    }

    /// What changes it while it runs.
    pub fn turn(&self) -> Arc<Turn> {
        self.turn.clone()
    }

    /// Lets it begin by itself, because nobody wants the pictures; `origin` is that of all tracks.
    pub fn lead(&mut self, origin: Arc<Origin>) {
        (self.follows, self.origin) = (false, origin);
    }

    fn is_over(&self) -> bool {
        self.interrupt.is_cancelled() || self.origin.over.load(Ordering::Relaxed)
    }

    /// The job's time of sample 0; `None` when it ends before it begins.
    fn zero(&self) -> Option<Duration> {
        if !self.follows {
            return Some(self.origin.begin(&*self.clock));
        }
        loop {
            if let Some(at) = self.origin.at.get() {
                return Some(*at);
            }
            if self.is_over() {
                return None;
            }
            self.clock.sleep(NAP);
        }
    }

    /// Whether `feed` has, or will never have, the samples before `end`, at sample `now` of the clock.
    fn is_ready(feed: &Feed, end: i64, now: i64) -> bool {
        if feed.line.end() >= end {
            return true;
        }
        // What is moved to an earlier time comes that much later.
        let due = end - feed.offset.min(0);
        let patience = if feed.ear.is_running() && feed.dead.is_none() { LATE } else { SILENT };
        now >= due + patience
    }

    fn news(&mut self) {
        if let Some(sound) = self.turn.take()
            && let Some(feed) = self.feeds.first_mut()
        {
            feed.ear.turn_to(&sound);
            (feed.gain, feed.offset) = measures(&sound);
            feed.sound = sound;
        }
        let tell = |message: String| {
            if let Some(tell) = &self.tell {
                tell(message);
            }
        };
        for feed in &mut self.feeds {
            let linked = feed.ear.linked();
            let label = feed.sound.label();
            if linked.is_empty()
                && (!feed.linked.is_empty() || (!feed.told && self.next >= i64::from(RATE) / 2))
            {
                tell(format!("{label}: there is nothing to hear of it: silence until there is"));
                feed.told = true;
            } else if !linked.is_empty() && feed.told {
                tell(format!("{label}: hearing {}", linked.join(", ")));
                feed.told = false;
            }
            feed.linked = linked;
        }
    }

    fn listen(&mut self, zero: Duration) -> Result<()> {
        for feed in &mut self.feeds {
            while feed.dead.is_none() {
                match feed.ear.hear(Duration::ZERO) {
                    Ok(Some(heard)) => {
                        let at =
                            self.clock.now().as_secs_f64() - heard.age.as_secs_f64() - zero.as_secs_f64();
                        feed.line.push(&heard.samples, (at * f64::from(RATE)).round() as i64 + feed.offset);
                    }
                    Ok(None) => break,
                    Err(e) => {
                        if let Some(tell) = &self.tell {
                            tell(format!("{}: {}: silence from here on", feed.sound.label(), e.message()));
                        }
                        feed.dead = Some(e);
                    }
                }
            }
        }
        // Pictures go on without sound; where there is nothing but sound, that is the end.
        match self.feeds.iter_mut().filter(|_| !self.follows).find_map(|f| f.dead.take()) {
            Some(dead) => Err(dead),
            None => Ok(()),
        }
    }

    fn block(&mut self, count: i64) -> Result<Frame> {
        let samples = usize::try_from(count).unwrap_or(0);
        let mut mixed = vec![0.0; samples * CHANNELS];
        for feed in &mut self.feeds {
            feed.line.take(samples, &mut mixed, feed.gain);
        }
        let layout = ChannelLayout::from_channels(CHANNELS as u32);
        let mut media = av::Frame::alloc_audio(SampleFormat::F32P, RATE, &layout, samples)?;
        for channel in 0..CHANNELS {
            let Some(plane) = media.plane_mut(channel) else {
                return Err(Error::new(ErrorKind::Internal, "a new audio block cannot be written"));
            };
            let of_channel = mixed.iter().skip(channel).step_by(CHANNELS);
            for (to, from) in plane.chunks_exact_mut(4).zip(of_channel) {
                to.copy_from_slice(&from.to_ne_bytes());
            }
        }
        media.set_pts(Some(self.next));
        media.set_duration(count);
        media.set_time_base((BASE.num, BASE.den));
        self.next += count;
        Ok(Frame::new(media, BASE))
    }
}

impl Source<Frame> for Sound {
    fn next(&mut self) -> Result<Option<Frame>> {
        let Some(zero) = self.zero() else { return Ok(None) };
        let end = self.end.map_or(self.next + BLOCK, |end| end.min(self.next + BLOCK));
        if end <= self.next {
            return Ok(None);
        }
        loop {
            if self.is_over() {
                return Ok(None);
            }
            self.listen(zero)?;
            self.news();
            let now = (self.clock.now().saturating_sub(zero).as_secs_f64() * f64::from(RATE)) as i64;
            if self.feeds.iter().all(|feed| Self::is_ready(feed, end, now)) {
                return self.block(end - self.next).map(Some);
            }
            self.clock.sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests;
