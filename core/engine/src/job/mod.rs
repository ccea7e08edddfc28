//! A running pipeline: state, events, statistics, live changes, stop and cancel, and the application's side of fed
//! sources and packet outputs.

mod coding;
mod progress;
pub(crate) mod shared;

pub use coding::CodingStats;
pub(crate) use progress::{INTERVAL, Ticker};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Done, Next, Progress, State, Wakeup};
use crate::frame::Frame;
use crate::link::{LinkStats, Received, Receiver, Sender};
use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::sink::Command;
use crate::source::{frames::FrameFeed, packets::PacketFeed};
use crate::spec::{Bitrate, FrameRate, Preset, ScreenSpec, SoundSpec, SourceSpec};
use crate::stage::Control;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::{Shared, lock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A running job. All methods may be called from any thread. Dropping it cancels the job and waits for its threads.
pub struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ports: Ports,
    pub(crate) supervisor: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// The application's ends of a job.
#[derive(Default)]
pub(crate) struct Ports {
    pub bytes: Mutex<Option<Sender<Bytes>>>,
    pub frames: Mutex<Option<Arc<FrameFeed>>>,
    /// Whether pictures and sound are among the frames that it takes.
    pub takes: (bool, bool),
    pub fed_packets: Mutex<Option<Arc<PacketFeed>>>,
    /// Kinds of stream of which the owner knows that some was dropped.
    pub told_dropped: Mutex<Vec<MediaKind>>,
    pub packets: Vec<Option<Arc<PacketPort>>>,
    pub segments: Vec<Option<Receiver<Segment>>>,
}

/// The application's end of a packet output.
pub(crate) struct PacketPort {
    pub receiver: Receiver<Packet>,
    pub streams: Mutex<Option<Result<Vec<StreamInfo>>>>,
    pub known: Condvar,
}

impl PacketPort {
    pub fn announce(&self, streams: Result<Vec<StreamInfo>>) {
        lock(&self.streams).get_or_insert(streams);
        self.known.notify_all();
    }
}

/// A finished segment, initialisation section or playlist of a segmented output that goes to the application.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Path below the output's root.
    pub name: String,
    /// The whole object.
    pub data: Bytes,
    /// Start in seconds; 0 for playlists and initialisation sections.
    pub start: f64,
    /// Length in seconds; 0 for playlists and initialisation sections.
    pub duration: f64,
}

/// Outcome of asking for an item.
#[derive(Debug)]
pub enum Taken<T> {
    /// An item.
    Item(T),
    /// None came in time.
    Timeout,
    /// There will be no more.
    End,
}

/// A live change: `{"output": 0, "rung": 1, "bitrate": "2M", "key_frame": true}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Index of the output.
    #[serde(default)]
    pub output: usize,
    /// Index of the video track in it; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<usize>,
    /// New average bit rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<Bitrate>,
    /// New peak bit rate; absent = same ratio to the average as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<Bitrate>,
    /// Make the next frame a key frame.
    #[serde(default)]
    pub key_frame: bool,
    /// What is written into the stream beside the next frame; NVENC driven directly does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// A receiver lost the packet with this presentation time, in ticks of the output's packets: what is encoded from now on
    /// is not predicted from it. NVENC driven directly does it, for the last 256 pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<i64>,
    /// Frames a second: some are left out, or repeated, and rate control counts on it. Encoders that cannot change it while
    /// they run (all but NVENC) are opened again, with a key frame. A screen with a single video track is captured at this rate. Frames that the application
    /// pushes keep their times, and are neither left out nor repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<FrameRate>,
    /// New width in pixels, with `height`, where the output can carry it: `ts`, `raw` and `packets`; other containers say the
    /// size once. NVENC: at most what it began with. Other encoders are opened again, with a key frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// New height in pixels, with `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// New preset, from the encoder's next key frame on: a faster one where the machine cannot keep up. Not between the
    /// passes of a two-pass encode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// End the encoding of rung `rung` of a segmented output, for good: from a key frame about two seconds later on, its
    /// renditions go on with the pictures of the next video track, which must be encoded with the same encoder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop: bool,
    /// What a captured track hears from now on, instead of the first thing that it heard so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<SoundSpec>,
    /// Which captured track `sound` is for.
    #[serde(default)]
    pub sound_track: usize,
    /// What is captured from now on, instead of the screen or camera so far. `frame_rate` and `variable` stay as they were, and so
    /// does the size of what is encoded; a screen that cannot be captured is told in a warning event and changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<Box<ScreenSpec>>,
}

impl Change {
    /// Whether no encoder is told anything.
    pub(crate) fn is_empty(&self) -> bool {
        let rated = self.bitrate.is_some() || self.max_bitrate.is_some() || self.frame_rate.is_some();
        let sized = self.width.is_some() || self.height.is_some();
        let told = self.message.is_some() || self.lost.is_some() || self.key_frame;
        !rated && !sized && !told && self.preset.is_none() && !self.drop
    }
}

/// Bytes beside a picture: an SEI message of H.264 or HEVC, or a metadata OBU of AV1.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// SEI `payloadType` (5: unregistered user data, which begins with a UUID), or AV1's `metadata_type`.
    #[serde(rename = "type")]
    pub kind: u32,
    /// The payload in hexadecimal digits, without header or escapes; at most 64 KiB.
    pub payload: String,
}

impl Message {
    fn bytes(&self) -> Result<Bytes> {
        let bad = |why| Error::invalid("message.payload", why);
        let digits = self.payload.as_bytes();
        if digits.is_empty() || digits.len() > 2 << 16 {
            return Err(bad("is empty, or longer than 64 KiB"));
        }
        let pairs = digits.chunks(2).map(|pair| match pair {
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                std::str::from_utf8(pair).ok().and_then(|text| u8::from_str_radix(text, 16).ok())
            }
            _ => None,
        });
        pairs.collect::<Option<Vec<u8>>>().map(Bytes::from).ok_or_else(|| bad("is not hexadecimal"))
    }
}

/// A snapshot of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// State now.
    pub state: State,
    /// The newest progress.
    pub progress: Progress,
    /// Seconds paused so far.
    pub paused: f64,
    /// Every stage, in the order it was made.
    pub stages: Vec<StageStats>,
    /// Every track of every output.
    pub tracks: Vec<TrackStats>,
}

/// What one stage has done.
#[derive(Clone, Debug, Serialize)]
pub struct StageStats {
    /// Which stage.
    pub name: String,
    /// Items it took.
    pub items_in: u64,
    /// Items it gave.
    pub items_out: u64,
    /// Items of the source that were damaged: left out, or made good as far as that goes.
    pub damaged: u64,
    /// What does its work by now instead of what was chosen for it (`software` for a device); an event told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<&'static str>,
    /// Seconds it worked (not waiting for input or for room).
    pub busy: f64,
    /// The queue in front of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<LinkStats>,
    /// What became of a screen's pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<ScreenStats>,
}

/// What became of a screen's pictures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScreenStats {
    /// How they are taken: `x11`, `wlr-screencopy`, `ext-image-copy-capture`.
    pub backend: &'static str,
    /// Taken from the screen.
    pub taken: u64,
    /// Given once more, because nothing had changed or their moment had passed.
    pub repeated: u64,
    /// Of the repeated ones, those whose moment had passed: the screen was late, or the job stood still for a moment.
    pub late: u64,
    /// Not taken, because what comes behind was not ready for them.
    pub dropped: u64,
}

/// What has reached the sink of one track.
#[derive(Clone, Debug, Serialize)]
pub struct TrackStats {
    /// Index of the output.
    pub output: usize,
    /// Which track.
    pub name: String,
    /// Packets written.
    pub packets: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Output time reached, seconds.
    pub time: f64,
    /// How its pictures were coded, where the encoder says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coding: Option<CodingStats>,
}

impl Job {
    /// A number that identifies the job in this process's logs and events.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// The next event, waiting at most `timeout` (`None` = without limit).
    pub fn next_event(&self, timeout: Option<Duration>) -> Next {
        self.shared.events.next(timeout)
    }

    /// Sets or removes the wakeup: called once now and whenever the event queue becomes non-empty. It runs on an
    /// engine thread, must return quickly and must not call this job except from another thread.
    pub fn set_wakeup(&self, wakeup: Option<Wakeup>) {
        self.shared.events.set_wakeup(wakeup);
    }

    /// A snapshot of queues, drops, times and tracks.
    pub fn stats(&self) -> Stats {
        let stages = lock(&self.shared.meters)
            .iter()
            .map(|m| StageStats {
                name: m.name.clone(),
                items_in: m.items_in.load(Ordering::Relaxed),
                items_out: m.items_out.load(Ordering::Relaxed),
                damaged: m.damaged.load(Ordering::Relaxed),
                instead: m.instead.get().copied(),
                busy: m.busy_us.load(Ordering::Relaxed) as f64 / 1e6,
                queue: m.queue(),
                screen: m.screen().map(|c| ScreenStats {
                    backend: c.backend(),
                    taken: c.taken.load(Ordering::Relaxed),
                    repeated: c.repeated.load(Ordering::Relaxed),
                    late: c.late.load(Ordering::Relaxed),
                    dropped: c.dropped.load(Ordering::Relaxed),
                }),
            })
            .collect();
        let tracks = lock(&self.shared.tracks)
            .iter()
            .map(|t| TrackStats {
                output: t.output,
                name: t.name.clone(),
                packets: t.packets.load(Ordering::Relaxed),
                bytes: t.bytes.load(Ordering::Relaxed),
                time: t.reached_us.load(Ordering::Relaxed) as f64 / 1e6,
                coding: *lock(&t.coding),
            })
            .collect();
        Stats {
            state: self.state(),
            progress: lock(&self.shared.progress).clone(),
            paused: self.shared.paused_for().as_secs_f64(),
            stages,
            tracks,
        }
    }

    /// Changes a running encoder. The change reaches it with its next frame. An encoder that several outputs share (the
    /// plan says so) changes for all of them.
    ///
    /// # Errors
    /// [`ErrorKind::State`] before the plan is known (for sound it is remembered until then) or after the end;
    /// [`ErrorKind::NotFound`] for an output or rung
    /// that does not exist; [`ErrorKind::Unsupported`] for a copied track; [`ErrorKind::Invalid`] for an empty change.
    /// An encoder that cannot do it says so in a warning event.
    pub fn set(&self, change: &Change) -> Result<()> {
        if let Some(sound) = &change.sound {
            self.set_sound(change.sound_track, sound)?;
        } else if change.sound_track != 0 {
            return Err(Error::invalid("sound_track", "needs sound"));
        }
        if let Some(screen) = &change.screen {
            self.set_screen(screen)?;
        }
        let message =
            change.message.as_ref().map(|m| m.bytes().map(|payload| (m.kind, payload))).transpose()?;
        if change.is_empty() {
            if change.sound.is_some() || change.screen.is_some() {
                return Ok(());
            }
            return Err(Error::invalid("change", "nothing to change"));
        }
        let size = match (change.width, change.height) {
            (Some(width), Some(height)) if width > 0 && height > 0 && width % 2 == 0 && height % 2 == 0 => {
                Some(Control::Size { width, height })
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid("width", "width and height are even and above 0"));
            }
            (Some(_), None) => return Err(Error::invalid("width", "needs height")),
            (None, Some(_)) => return Err(Error::invalid("height", "needs width")),
            (None, None) => None,
        };
        if change.bitrate.is_none() && change.max_bitrate.is_some() {
            return Err(Error::invalid("max_bitrate", "needs bitrate"));
        }
        if matches!(self.state(), State::Starting | State::Finished) {
            return Err(Error::new(ErrorKind::State, "the job has no running encoder now"));
        }
        self.can_set(change)?;
        let tracks = lock(&self.shared.tracks);
        let video: Vec<_> = tracks.iter().filter(|t| t.output == change.output && t.video).collect();
        let chosen = match change.rung {
            _ if video.is_empty() => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("output {} has no video track", change.output),
                ));
            }
            None => &video[..],
            Some(r) => video.get(r..=r).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("output {} has no rung {r}", change.output))
            })?,
        };
        if change.drop {
            if change.rung.is_none() {
                return Err(Error::invalid("drop", "needs rung"));
            }
            if let Some(last) = chosen.iter().find(|t| t.successor.is_none()) {
                let why = "only a rung of a segmented output can be dropped that no other output shares, and that another \
                           of the same encoder follows";
                return Err(Error::unsupported(format!("drop: {}: {why}", last.name)));
            }
        }
        if change.frame_rate.is_some_and(|rate| !rate.0.is_positive() || rate.0.as_f64() > 1000.0) {
            return Err(Error::invalid("frame_rate", "is not above 0 and at most 1000"));
        }
        if let Some(copied) = chosen.iter().find(|t| !t.controllable) {
            return Err(Error::unsupported(format!("{} is copied, not encoded", copied.name)));
        }
        for track in chosen {
            if let Some(target) = change.bitrate {
                track.control(Control::Bitrate { target: target.0, max: change.max_bitrate.map(|m| m.0) });
            }
            if let Some(rate) = change.frame_rate {
                track.control(Control::FrameRate(rate.0));
            }
            if let Some(size) = &size {
                track.control(size.clone());
            }
            if let Some(preset) = change.preset {
                track.control(Control::Preset(preset));
            }
            if let Some(pts) = change.lost {
                track.control(Control::Lost(pts));
            }
            if let Some((kind, payload)) = &message {
                track.control(Control::Message { kind: *kind, payload: payload.clone() });
            }
            if change.key_frame {
                track.control(Control::ForceKeyFrame);
            }
            if change.drop {
                track.control(Control::Leave);
            }
        }
        Ok(())
    }

    /// Refuses a size that the output of `change` cannot have.
    pub(crate) fn can_set(&self, change: &Change) -> Result<()> {
        let tracks = lock(&self.shared.tracks);
        let mut chosen = tracks.iter().filter(|t| t.output == change.output && t.video);
        match chosen.find_map(|t| t.fixed_size.as_deref()).filter(|_| change.width.is_some()) {
            Some(why) => Err(Error::unsupported(format!("width: {why}"))),
            None => Ok(()),
        }
    }

    /// Lets the job capture `screen`.
    fn set_screen(&self, screen: &ScreenSpec) -> Result<()> {
        SourceSpec::screen(screen.clone()).check().map_err(|e| e.context("screen"))?;
        if matches!(self.state(), State::Starting | State::Finished) {
            return Err(Error::new(ErrorKind::State, "the job captures no screen now"));
        }
        let counts = lock(&self.shared.meters).iter().find_map(|m| m.screen());
        let counts =
            counts.ok_or_else(|| Error::new(ErrorKind::NotFound, "screen: the job captures none"))?;
        counts.turn_to(screen.clone());
        Ok(())
    }

    /// Lets captured track `track` hear `sound`, as soon as it is there.
    fn set_sound(&self, track: usize, sound: &SoundSpec) -> Result<()> {
        if sound.track.is_some() {
            return Err(Error::invalid("sound.track", "cannot change; sound_track says which one is meant"));
        }
        sound.check("sound")?;
        if self.state() == State::Finished {
            return Err(Error::new(ErrorKind::State, "the job captures no sound now"));
        }
        if let Some(early) = lock(&self.shared.early).as_mut() {
            early.push((track, sound.clone()));
            return Ok(());
        }
        let turns = lock(&self.shared.turns);
        let turn = turns
            .get(track)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, shared::not_captured(turns.len())))?;
        turn.to(sound.clone());
        Ok(())
    }

    /// Halts reading; what is inside goes on to the sinks. Continues with [`Job::resume`]. Of a source that goes on without
    /// us, what it shows meanwhile is left out: the outputs have no gap there.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless the job is running.
    pub fn pause(&self) -> Result<()> {
        if self.shared.pause() { Ok(()) } else { Err(self.not_running()) }
    }

    /// Continues after [`Job::pause`], with a key frame where video of a live source is encoded; nothing happens when it is
    /// not paused.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless the job is running or paused.
    pub fn resume(&self) -> Result<()> {
        if !matches!(self.state(), State::Running | State::Paused) {
            return Err(self.not_running());
        }
        self.shared.resume();
        Ok(())
    }

    /// Lets the output go on in a new file, which begins with the next key frame; one is asked for. The file that ends is
    /// told by [`crate::event::Event::Saved`]. Returns at once.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless the job is running or paused; [`ErrorKind::NotFound`] for an output that does not exist;
    /// [`ErrorKind::Unsupported`] for one without `split`.
    pub fn split(&self, output: usize) -> Result<()> {
        let remote = self.remote(output)?;
        if !remote.splits {
            return Err(Error::unsupported(format!("outputs[{output}] has no split")));
        }
        remote.send(Command::Split);
        Ok(())
    }

    /// Saves the last `seconds` of a replay (all that it keeps, when absent) to a file, from the key frame before. The
    /// file is told by [`crate::event::Event::Saved`]; a save that fails by a warning `save`. Returns at once: the file is
    /// written by a thread of its own, one save after the other, and the job goes on.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless the job is running or paused; [`ErrorKind::NotFound`] for an output that does not exist;
    /// [`ErrorKind::Unsupported`] for one without `replay`; [`ErrorKind::Invalid`] for a time that is none.
    pub fn save(&self, output: usize, seconds: Option<f64>) -> Result<()> {
        if seconds.is_some_and(|s| !s.is_finite() || s <= 0.0) {
            return Err(Error::invalid("seconds", "must be above 0"));
        }
        let remote = self.remote(output)?;
        if !remote.saves {
            return Err(Error::unsupported(format!("outputs[{output}] keeps no replay")));
        }
        remote.send(Command::Save { seconds });
        Ok(())
    }

    fn remote(&self, output: usize) -> Result<Arc<shared::Remote>> {
        let remote = lock(&self.shared.remotes).get(output).cloned();
        let remote =
            remote.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no output {output}")))?;
        if !matches!(self.state(), State::Running | State::Paused) {
            return Err(self.not_running());
        }
        Ok(remote)
    }

    fn not_running(&self) -> Error {
        Error::new(ErrorKind::State, "the job is not running")
    }

    /// Reads no more, finishes every output with what was read, and ends. Returns at once; see [`Job::wait`].
    pub fn stop(&self) {
        self.shared.stop();
        self.finish_input();
    }

    /// Ends at once; half-written outputs are removed unless the document keeps them. Returns at once.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Waits for the end, at most `timeout` (`None` = without limit). `None` when it did not come in time. A failed
    /// job's error is in the [`Done`]; [`Done::into_result`] turns it into one.
    ///
    /// # Errors
    /// None today; reserved.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Done>> {
        Ok(self.shared.wait_done(timeout))
    }

    /// Feeds a `bytes` source. Blocks while its buffer is full.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for another kind of source or after [`Job::finish_input`].
    pub fn write(&self, data: &[u8]) -> Result<()> {
        self.write_within(data, None).map(drop)
    }

    /// As [`Job::write`], waiting at most `timeout` in all (`None` = without limit). Returns how many bytes were taken.
    ///
    /// # Errors
    /// As [`Job::write`].
    pub fn write_within(&self, data: &[u8], timeout: Option<Duration>) -> Result<usize> {
        let sender = lock(&self.ports.bytes).clone();
        let sender = sender.ok_or_else(|| Error::new(ErrorKind::State, "the job takes no bytes (now)"))?;
        let begin = std::time::Instant::now();
        let mut taken = 0;
        // Pieces keep the bound of the queue one in bytes.
        for piece in data.chunks(BYTES_PIECE) {
            let left = timeout.map(|t| t.saturating_sub(begin.elapsed()));
            if sender.send_deadline(Bytes::copy_from_slice(piece), left).is_err() {
                if sender.is_closed() {
                    return Err(Error::new(ErrorKind::State, "the job reads no more"));
                }
                break;
            }
            taken += piece.len();
        }
        Ok(taken)
    }

    /// Feeds a `frames` source. Blocks while its queue is full (or drops the oldest of its kind, for a live one, which a
    /// warning tells once of pictures and once of sound). Pictures come in the
    /// order of their times: one that does not come after the one before it is moved behind that, which a warning tells
    /// once, or fails the job where its document has `fallback: false`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for another kind of source, after [`Job::finish_input`] or after the end;
    /// [`ErrorKind::Invalid`] for sound where the source has none, for a picture where it has none, and for a time of 2^62
    /// microseconds or more.
    pub fn push_frame(&self, frame: Frame) -> Result<()> {
        self.push_frame_within(frame, None)
    }

    /// As [`Job::push_frame`], waiting at most `timeout` (`None` = without limit).
    ///
    /// # Errors
    /// As [`Job::push_frame`], and [`ErrorKind::Busy`] when there was no room in time.
    pub fn push_frame_within(&self, frame: Frame, timeout: Option<Duration>) -> Result<()> {
        let feed = lock(&self.ports.frames).clone();
        let feed = feed.ok_or_else(|| Error::new(ErrorKind::State, "the job takes no frames (now)"))?;
        match (frame.is_video(), self.ports.takes) {
            (true, (false, _)) => {
                return Err(Error::invalid("frame", "a picture, but source.frames has no video"));
            }
            (false, (_, false)) => {
                return Err(Error::invalid("frame", "sound, but source.frames has no audio"));
            }
            _ => {}
        }
        let kind = if frame.is_video() { MediaKind::Video } else { MediaKind::Audio };
        if feed.push(frame, timeout)? {
            self.tell_dropped("source.frames", kind);
        }
        Ok(())
    }

    /// Says once of each kind of stream that a live source loses some of it.
    fn tell_dropped(&self, field: &str, kind: MediaKind) {
        let mut told = lock(&self.ports.told_dropped);
        if !told.contains(&kind) {
            told.push(kind);
            let message = format!(
                "{field}: some of its {} is dropped, because its queue was full when more was pushed; progress counts it",
                kind.name()
            );
            self.shared.warn("dropped", message);
        }
    }

    /// As [`Job::push_frame`], but gives [`ErrorKind::Busy`] at once when the queue is full.
    ///
    /// # Errors
    /// As [`Job::push_frame`], and [`ErrorKind::Busy`].
    pub fn try_push_frame(&self, frame: Frame) -> Result<()> {
        self.push_frame_within(frame, Some(Duration::ZERO))
    }

    /// Feeds a `packets` source, in decode order within each stream. Blocks while its queue is full; a live one never blocks,
    /// but drops (and counts) what comes until the next key frame, which a warning tells once of each kind of stream.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for another kind of source, after [`Job::finish_input`] or after the end;
    /// [`ErrorKind::Invalid`] for a packet of a stream that was not described, and for a time of 2^62 microseconds or more.
    pub fn push_packet(&self, packet: Packet) -> Result<()> {
        self.push_packet_within(packet, None)
    }

    /// As [`Job::push_packet`], waiting at most `timeout` (`None` = as there), also for a live source.
    ///
    /// # Errors
    /// As [`Job::push_packet`], and [`ErrorKind::Busy`] when there was no room in time and the source is not live.
    pub fn push_packet_within(&self, packet: Packet, timeout: Option<Duration>) -> Result<()> {
        let feed = lock(&self.ports.fed_packets).clone();
        let feed = feed.ok_or_else(|| Error::new(ErrorKind::State, "the job takes no packets (now)"))?;
        if let Some(kind) = feed.push(packet, timeout)? {
            self.tell_dropped("source.packets", kind);
        }
        Ok(())
    }

    /// As [`Job::push_packet`], but gives [`ErrorKind::Busy`] at once when the queue is full and the source is not live.
    ///
    /// # Errors
    /// As [`Job::push_packet`], and [`ErrorKind::Busy`].
    pub fn try_push_packet(&self, packet: Packet) -> Result<()> {
        self.push_packet_within(packet, Some(Duration::ZERO))
    }

    /// Says that a fed source has ended. Nothing happens for other sources.
    pub fn finish_input(&self) {
        lock(&self.ports.bytes).take();
        lock(&self.ports.frames).take();
        lock(&self.ports.fed_packets).take();
    }

    /// Length of the whole in seconds; `None` when it is not known, as of what is live, and before the source is open. It is there
    /// when [`Job::streams`] gives them.
    pub fn duration(&self) -> Option<f64> {
        *lock(&self.shared.duration)
    }

    /// The streams of a packet output, once its encoders are open; waits at most `timeout`. `None` on time-out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an output that gives no packets; the job's failure if it failed before.
    pub fn streams(&self, output: usize, timeout: Option<Duration>) -> Result<Option<Vec<StreamInfo>>> {
        let port = self.packet_port(output)?;
        let streams = lock(&port.streams);
        let streams = match timeout {
            None => port.known.wait_while(streams, |s| s.is_none()).unwrap_or_else(PoisonError::into_inner),
            Some(t) => {
                port.known
                    .wait_timeout_while(streams, t, |s| s.is_none())
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        streams.clone().transpose()
    }

    /// The next packet of a packet output, waiting at most `timeout`. Its `stream` indexes [`Job::streams`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an output that gives no packets.
    pub fn next_packet(&self, output: usize, timeout: Option<Duration>) -> Result<Taken<Packet>> {
        Ok(match self.packet_port(output)?.receiver.recv_deadline(timeout) {
            Received::Item(packet) => Taken::Item(packet),
            Received::Timeout => Taken::Timeout,
            Received::End | Received::Closed => Taken::End,
        })
    }

    fn packet_port(&self, output: usize) -> Result<&Arc<PacketPort>> {
        self.ports
            .packets
            .get(output)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("output {output} gives no packets")))
    }

    /// The next segment or playlist of a segment output, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an output that gives no segments.
    pub fn next_segment(&self, output: usize, timeout: Option<Duration>) -> Result<Taken<Segment>> {
        let port =
            self.ports.segments.get(output).and_then(Option::as_ref).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("output {output} gives no segments"))
            })?;
        Ok(match port.recv_deadline(timeout) {
            Received::Item(segment) => Taken::Item(segment),
            Received::Timeout => Taken::Timeout,
            Received::End | Received::Closed => Taken::End,
        })
    }
}

/// Size of a piece of fed bytes; the queue counts pieces.
pub(crate) const BYTES_PIECE: usize = 64 << 10;

impl Drop for Job {
    fn drop(&mut self) {
        self.shared.events.set_wakeup(None);
        self.shared.cancel();
        if let Some(thread) = lock(&self.supervisor).take() {
            // The supervisor turns its threads' panics into the job's failure; it has none of its own to report here.
            let _ = thread.join();
        }
    }
}
