//! The source's thread: reads packets (or frames), puts them on the job's timeline and routes them.

mod copied;
mod frames;
mod length;
mod pacer;
mod reencoded;
mod stream;

pub(crate) use copied::CopyRoute;
pub(crate) use frames::{Branches, run_frames};
pub(crate) use stream::FeedStream;

use super::input::Length;
use super::words::Words;
use super::worker::ToMux;
use crate::error::{Error, Result};
use crate::job::shared::{Meter, Shared};
use crate::link::Sender;
use crate::packet::{MediaKind, Packet};
use crate::source::continuity::{Continuity, Jump};
use crate::source::open::{BACKWARDS, reading};
use crate::source::packets::{Next, PacketSource};
use crate::source::seek::Seeker;
use crate::source::whole;
use crate::stage::Stage;
use crate::time::{MICROSECONDS, Rounding, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use pacer::Pacer;

/// Where packets of one stream go.
pub(crate) enum Route {
    /// To a decoder.
    Decode(Sender<Packet>),
    /// To an output, as they are.
    Copy(Box<CopyRoute>),
    /// To an output through a converter (text subtitles).
    Convert { converter: Box<dyn Stage<Packet, Packet>>, mux: Sender<ToMux>, track: usize },
}

/// What encoders put in front of sound and behind it makes it longer than its pictures by less than this, in microseconds: nothing that
/// a repetition waits for.
const PADDING: i64 = 120_000;

/// How many boxes of a file in fragments are looked at before it is read: those of half an hour.
const LOOKED_AT: usize = 4000;

/// Everything the thread needs that reads the source's packets.
pub(crate) struct Feed {
    pub packets: PacketSource,
    pub streams: Vec<FeedStream>,
    /// Joins times that jump, where the container may have such.
    pub continuity: Option<Continuity>,
    /// The container is a list of others, which says how long they are.
    pub playlist: bool,
    /// Words of files that are repeated with the source.
    pub words: Vec<Words>,
    /// Source time that becomes 0.
    pub origin: Timestamp,
    /// How to go back to it.
    pub seeker: Seeker,
    /// End on the output timeline.
    pub end: Option<Timestamp>,
    /// Times to play again; -1 = for ever.
    pub loops: i32,
    pub realtime: bool,
    /// Container's length, to tell a truncated file.
    pub expected: Option<Length>,
    /// Whether everything of the source that lasts is wanted.
    pub all: bool,
    pub label: String,
    /// Seconds that a read may take, for messages.
    pub timeout: f64,
    /// Where in the source it begins, in seconds.
    pub start: f64,
    /// The path of a source that is a file on this machine.
    pub file: Option<String>,
    /// Take a truncated source as far as it goes.
    pub salvage: bool,
    /// Only a part of the whole is made, of what was found in the source before.
    pub part: bool,
    /// Packets that the container said are incomplete.
    pub corrupt: u64,
}

impl Feed {
    /// Runs until the source ends, nobody wants more, or the job stops. A failure is the job's.
    pub fn run(mut self, shared: &Shared, meter: &Meter) {
        // Told before anyone hears of an end: an output that has heard of one is finished, not taken back.
        if let Err(e) = self.read(shared, meter) {
            shared.fail(e);
        }
        self.report_damage(shared, meter);
        self.words.iter().for_each(Words::end);
        // Text subtitles may have a cue inside; then every track hears of the end.
        for stream in &mut self.streams {
            for route in &mut stream.routes {
                match route {
                    Route::Decode(_) => {}
                    Route::Copy(copied) => copied.finish(self.end),
                    Route::Convert { converter, mux, track } => {
                        let mut out = Vec::new();
                        if converter.finish(&mut out).is_ok() {
                            out.into_iter().for_each(|p| drop(mux.send(ToMux::Packet(*track, p))));
                        }
                        drop(mux.send(ToMux::End(*track)));
                    }
                }
            }
        }
    }

    fn read(&mut self, shared: &Shared, meter: &Meter) -> Result<()> {
        if self.end.is_none() && !self.part {
            // What can be seen at once is said before the work is done; of fragments it is said at their end too.
            let lacking = self.file.as_ref().and_then(|file| whole::lacks(file).ok().flatten());
            let missing = match lacking {
                None if !self.salvage => self.look(LOOKED_AT).and_then(|whole| whole.missing),
                lacking => lacking,
            };
            missing.map_or(Ok(()), |missing| self.truncated(shared, &missing))?;
        }
        let mut pacer = Pacer::new(self.realtime);
        // Subtitles are sparse: only where nothing else is wanted do they say when it is over.
        let text_only = self.streams.iter().all(|s| s.routes.is_empty() || s.kind == MediaKind::Subtitle);
        let mut offset_us = 0i64;
        // How long a round is, where that is known: its words end with it.
        let mut round_us = self.expected.filter(|length| length.certain).map(|length| length.time.micros());
        let mut reached_us = 0i64;
        // Whether this round has anything that lasts.
        let mut came = false;
        // Of pictures: where the first one is, and how far they have come.
        let (mut first_us, mut shown_us) = (i64::MAX, None);
        loop {
            shared.pass_gate();
            // Packets that the application has already pushed are still used after a stop.
            if shared.is_cancelled() || (shared.is_stopping() && !self.packets.is_fed()) {
                return Ok(());
            }
            let streams = &self.streams;
            let wanted = |index: usize| {
                streams.get(index).filter(|s| !s.routes.is_empty()).map(|s: &FeedStream| s.base)
            };
            let next = match self.packets.next(wanted) {
                Ok(next) => next,
                Err(e)
                    if e.kind() == av::Kind::Cancelled && (shared.is_stopping() || shared.is_cancelled()) =>
                {
                    return Ok(());
                }
                Err(e) if reached_us > 0 && self.packets.container().is_some_and(|c| c.is_hanging_up(&e)) => {
                    let message = format!("{}: the other side hung up: taken as the end", self.label);
                    shared.warn("source", message);
                    Next::End
                }
                Err(e)
                    if e.kind() == av::Kind::InvalidData
                        && self.packets.container().is_some_and(|c| c.is_backwards()) =>
                {
                    return Err(Error::unsupported(format!("{}: {BACKWARDS}", self.label)));
                }
                Err(e) => return Err(reading(&self.label, self.timeout, e)),
            };
            if matches!(next, Next::End) {
                if !text_only {
                    self.check_length(shared, reached_us)?;
                    if offset_us == 0 {
                        self.check_fragments(shared, reached_us)?;
                    }
                }
                if offset_us > 0 && !came {
                    return Err(Error::unsupported(format!(
                        "{}: cannot be played again: nothing comes when it is begun anew (FFmpeg's {})",
                        self.label,
                        self.packets.container().map(|c| c.format_name()).unwrap_or_default()
                    )));
                }
                if self.loops == 0 || reached_us <= offset_us {
                    // Words behind the last picture are some, too.
                    let end = self.end;
                    self.words.iter_mut().for_each(|words| words.send(offset_us, i64::MAX, end));
                    return Ok(());
                }
                if self.loops > 0 {
                    self.loops -= 1;
                }
                // The first picture follows the last at once.
                let end_us = shown_us.filter(|shown| reached_us - shown <= PADDING).unwrap_or(reached_us);
                let lead_us = Some(first_us).filter(|first| *first <= PADDING).unwrap_or(0);
                let begun = offset_us;
                offset_us = (end_us - lead_us).max(offset_us + 1);
                round_us = Some(offset_us - begun);
                came = false;
                self.words.iter_mut().for_each(Words::again);
                for stream in &mut self.streams {
                    stream.moved = None;
                    let seam = rescale(offset_us, MICROSECONDS, stream.base, Rounding::Nearest);
                    stream.seam = (stream.kind == MediaKind::Audio).then_some(seam);
                }
                self.expected = None;
                let Some(container) = self.packets.container() else { return Ok(()) };
                self.seeker
                    .before(container, self.origin)
                    .map_err(|e| e.context(format!("{}: cannot play it again", self.label)))?;
                self.continuity.iter_mut().for_each(Continuity::restart);
                continue;
            }
            meter.count_in();
            let Next::Packet(mut packet, corrupt) = next else { continue };
            let joined = self.continuity.as_mut().map(|c| c.join(&mut packet)).unwrap_or_default();
            if let Some(jump) = joined.jump.filter(|_| offset_us == 0) {
                self.tell(shared, &jump);
                if !self.playlist {
                    // The container was measured by its first and its last time.
                    (self.expected, round_us) = (None, None);
                }
            }
            let Some(stream) = self.streams.get_mut(packet.stream) else { continue };
            self.corrupt += u64::from(corrupt);
            if joined.anew {
                // Sound that is copied follows at once there, as in repetitions.
                stream.moved = None;
            }
            packet.key |= stream.starts_anywhere;
            if self.packets.is_fed() {
                stream.check_codec(&packet)?;
            }
            let early = stream.is_early(&packet);
            let priming = stream.priming(&packet, offset_us > 0);
            stream.last = packet.dts.or(packet.pts).max(stream.last);
            let offset = rescale(offset_us, MICROSECONDS, stream.base, Rounding::Nearest);
            let shift = offset - self.origin.to(stream.base).ticks;
            packet.pts = packet.pts.map(|t| t.saturating_add(shift));
            packet.dts = packet.dts.map(|t| t.saturating_add(shift));
            if let Some(t) = packet.pts.or(packet.dts) {
                let length = if packet.duration > 0 { packet.duration } else { stream.frame };
                // Of a repetition, what lies before its seam is only there to be decoded. The first round has its cut
                // at time 0.
                let shown = if stream.kind == MediaKind::Video { t } else { t.saturating_add(length - 1) };
                packet.hidden = offset > 0 && shown < offset;
                let micros = |t: i64| Timestamp::new(t, stream.base).micros();
                let end = micros(t.saturating_add(length));
                match stream.kind {
                    MediaKind::Video => {
                        came = true;
                        reached_us = reached_us.max(end);
                        if length > 0 {
                            shown_us = shown_us.max(Some(end));
                        }
                        if t >= 0 {
                            first_us = first_us.min(micros(t));
                        }
                    }
                    MediaKind::Audio if !packet.hidden => {
                        came = true;
                        reached_us = reached_us.max(end);
                    }
                    _ => {}
                }
            }
            let copied = stream.joined(&packet);
            // What lies before the start is not shown, and waited for by nobody.
            let time = packet.decode().or(packet.presentation());
            if let Some(time) = time.filter(|t| t.ticks >= 0) {
                pacer.wait(shared, time);
            }
            meter.count_out(1);
            let end = self.end;
            if !early {
                packet.seam = stream.seam.take();
            }
            // Of sound that begins anew its decoder's reader sees which samples come before that.
            packet.hidden &= stream.kind != MediaKind::Audio;
            packet.side_data.extend(priming);
            stream.routes.retain_mut(|route| match route {
                Route::Decode(_) => early || route.take(&packet, end),
                _ => route.take(copied.as_ref().unwrap_or(&packet), end),
            });
            let over_us = round_us.filter(|_| self.loops != 0).map(|length| offset_us.saturating_add(length));
            let words_end =
                [end, over_us.map(|us| Timestamp::new(us, MICROSECONDS))].into_iter().flatten().min();
            self.words.iter_mut().for_each(|words| words.send(offset_us, reached_us, words_end));
            let over = |s: &FeedStream| s.routes.is_empty() || (s.kind == MediaKind::Subtitle && !text_only);
            if self.streams.iter().all(over) {
                return Ok(());
            }
        }
    }

    /// Says where the times jump.
    fn tell(&self, shared: &Shared, jump: &Jump) {
        let at = jump.at.seconds() - self.origin.seconds();
        let message = format!(
            "{}: time jumps from {:.3} s to {:.3} s at {at:.3} s: what follows is joined to what came before",
            self.label,
            jump.from.seconds(),
            jump.to.seconds()
        );
        shared.warn("source", message);
    }

    /// Says where the container was damaged; what that did to the media, decoders and outputs say.
    fn report_damage(&self, shared: &Shared, meter: &Meter) {
        meter.count_damaged(self.corrupt);
        if let PacketSource::Container(demuxer) = &self.packets {
            let said = demuxer.complaints();
            meter.count_damaged(said.count);
            if said.count > 0 {
                let times =
                    if said.count > 1 { format!(", {} such places", said.count) } else { String::new() };
                shared.warn("source", format!("{}: damaged: {}{times}", self.label, said.first));
            }
        }
        if self.corrupt > 0 {
            shared.warn("source", format!("{}: {} packets came incomplete", self.label, self.corrupt));
        }
    }
}

impl Route {
    /// Hands `packet` on; `false` when the route wants no more.
    fn take(&mut self, packet: &Packet, end: Option<Timestamp>) -> bool {
        match self {
            Route::Decode(sender) => sender.send(packet.clone()).is_ok(),
            Route::Copy(route) => route.take(packet, end),
            Route::Convert { .. } if packet.hidden => true,
            Route::Convert { converter, mux, track } => {
                let mut out = Vec::new();
                if converter.push(packet.clone(), &mut out).is_err() {
                    // One unreadable cue is not worth the film.
                    return true;
                }
                out.into_iter().all(|p| mux.send(ToMux::Packet(*track, p)).is_ok())
            }
        }
    }
}
