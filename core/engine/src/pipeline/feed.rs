//! The source's thread: reads packets (or frames), puts them on the job's timeline and routes them.

use super::input::Length;
use super::words::Words;
use super::worker::{Tee, ToMux};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::job::shared::{Meter, Shared};
use crate::link::Sender;
use crate::package::bitstream::aac::{self, Adts};
use crate::packet::{Codec, MediaKind, Packet, SideData, StreamInfo};
use crate::source::continuity::{Continuity, Jump};
use crate::source::open::{BACKWARDS, reading};
use crate::source::packets::{Next, PacketSource};
use crate::source::seek::Seeker;
use crate::source::whole;
use crate::stage::{OutletFn, Source, Stage};
use crate::time::{MICROSECONDS, Rounding, TimeBase, Timestamp, rescale};
use bytes::Bytes;
use ghoststream_sys::ffmpeg as av;
use std::time::Duration;

/// Where packets of one stream go.
pub(crate) enum Route {
    /// To a decoder.
    Decode(Sender<Packet>),
    /// To an output, as they are.
    Copy(CopyRoute),
    /// To an output through a converter (text subtitles).
    Convert { converter: Box<dyn Stage<Packet, Packet>>, mux: Sender<ToMux>, track: usize },
}

/// A copied track.
pub(crate) struct CopyRoute {
    pub mux: Sender<ToMux>,
    pub track: usize,
    /// Video and audio begin at a key packet.
    pub started: bool,
    /// Timestamps made up so far for packets that have none.
    pub last_dts: Option<i64>,
    /// How far decoding runs ahead of showing, in the stream's ticks: what the first decode time of a stream without
    /// any is short of its presentation time.
    pub reorder: i64,
    kind: MediaKind,
    /// What is shown or heard before it is not for the output, where its beginning is cut.
    from: Option<Timestamp>,
    /// Sound that ends before it was cut away by the source's container (an edit list): it is not even for decoders, which
    /// begin up to a tenth of a second early.
    heard_from: Option<Timestamp>,
    /// What the headers of its packets say, where the output's readers are told so once.
    headers: Option<Headers>,
}

/// The headers that AAC has in transport streams.
#[derive(Default)]
pub(crate) struct Headers {
    first: Option<Adts>,
    /// Packets in a row that say something else: one or two are damage.
    others: u32,
}

impl Headers {
    /// What the packets say from `data` on, if that is another sound than the first.
    fn change(&mut self, data: &[u8]) -> Option<Adts> {
        let said = |h: &Adts| (h.object_type, h.rate_index, h.channel_config);
        let now = Adts::parse(data).filter(|h| h.frame_len <= data.len())?;
        let first = self.first.get_or_insert(now);
        self.others = if said(first) == said(&now) { 0 } else { self.others + 1 };
        (self.others > 3).then_some(now)
    }
}

impl CopyRoute {
    /// A route for `stream` into track `track`.
    pub fn new(stream: &StreamInfo, mux: Sender<ToMux>, track: usize) -> Self {
        let reorder = frame_ticks(stream) * i64::from(stream.video.as_ref().map_or(0, |v| v.reorder));
        CopyRoute {
            mux,
            track,
            started: false,
            last_dts: None,
            reorder,
            kind: stream.kind,
            from: None,
            heard_from: None,
            headers: None,
        }
    }

    /// Begins at `from`: with the sound that is heard then, the words that are shown then, the first key frame from then on.
    #[must_use]
    pub fn from(mut self, from: Option<Timestamp>) -> Self {
        self.from = from;
        self
    }

    /// Of sound, without what the source's container has cut away at its beginning.
    #[must_use]
    pub fn uncut(mut self) -> Self {
        self.heard_from = (self.kind == MediaKind::Audio).then(|| Timestamp::from_seconds(-0.1));
        self
    }

    /// Fails when the headers of AAC packets begin to say something else.
    pub fn told_once(&mut self) {
        self.headers = Some(Headers::default());
    }

    /// Cuts words to what is shown between the output's beginning and its end; `false` for what is not in it.
    fn fits(&self, packet: &mut Packet, end: Option<Timestamp>) -> bool {
        let Some(pts) = packet.pts else { return true };
        let until = pts.saturating_add(packet.duration.max(0));
        let from = self.from.map(|t| t.to(packet.base).ticks);
        match self.kind {
            MediaKind::Video => self.started || from.is_none_or(|from| pts >= from),
            MediaKind::Audio => {
                let heard = self.heard_from.is_none_or(|heard| until > heard.to(packet.base).ticks);
                heard && from.is_none_or(|from| pts >= from || until > from)
            }
            // Pictures of words say with others when they go.
            MediaKind::Subtitle if packet.duration <= 0 => from.is_none_or(|from| pts >= from),
            MediaKind::Subtitle => {
                let begin = from.map_or(pts, |from| pts.max(from));
                // What begins at the end or later ends the track.
                let end = end.map(|t| t.to(packet.base).ticks).filter(|end| *end > begin);
                packet.dts = packet.dts.map(|dts| dts.max(begin));
                (packet.pts, packet.duration) =
                    (Some(begin), end.map_or(until, |end| until.min(end)) - begin);
                until > begin
            }
            _ => true,
        }
    }
}

/// What encoders put in front of sound and behind it makes it longer than its pictures by less than this, in microseconds: nothing that
/// a repetition waits for.
const PADDING: i64 = 120_000;

/// `AV_PROFILE_AAC_USAC`.
const USAC: i32 = 41;

/// How many boxes of a file in fragments are looked at before it is read: those of half an hour.
const LOOKED_AT: usize = 4000;

/// Whether what ends at `reached` is cut short, by a container that says `expected`: some are not exact.
fn is_short(reached: f64, expected: f64) -> bool {
    expected - reached > (expected * 0.1).max(2.0)
}

/// One stream of the source as the feed sees it.
pub(crate) struct FeedStream {
    pub base: TimeBase,
    /// Length of a frame whose packet does not say, in the base.
    pub frame: i64,
    pub kind: MediaKind,
    pub routes: Vec<Route>,
    extradata: Bytes,
    /// Any packet can be the first, whatever the container says of it.
    starts_anywhere: bool,
    /// Packets before the first key packet from here on, in source time, are not worth decoding.
    from: Option<i64>,
    /// Of sound: where this round begins, until a packet has said so to the decoder.
    seam: Option<i64>,
    /// The time of the packet of sound that says what of it is priming, and what it says.
    primed: Option<(Option<i64>, SideData)>,
    /// Of sound that is copied: where what was sent ends, and by how much this round is moved so that it goes on there.
    ended: Option<i64>,
    moved: Option<i64>,
    /// All packets have as many samples, also the last, which a container may say to be shorter: how long one is.
    usual: Option<i64>,
    /// No index at the beginning lists its frames, as in a fragmented MP4.
    in_pieces: bool,
    /// When the last packet was to be decoded, in source time.
    last: Option<i64>,
}

impl FeedStream {
    /// `stream`, so far wanted by nobody.
    pub fn new(stream: &StreamInfo) -> Self {
        FeedStream {
            base: stream.time_base,
            frame: frame_ticks(stream),
            kind: stream.kind,
            routes: Vec::new(),
            extradata: stream.extradata.clone(),
            // Since FFmpeg knows USAC, which can not, it marks no AAC packet that came over RTP.
            starts_anywhere: stream.codec == Codec::Aac && stream.profile != Some(USAC),
            from: None,
            in_pieces: stream.frames.is_none(),
            seam: None,
            primed: None,
            ended: None,
            moved: Some(0),
            usual: matches!(stream.codec, Codec::Aac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 | Codec::Opus)
                .then_some(0),
            last: None,
        }
    }

    /// Notes a copied packet of sound that ends, as it says, at `end`.
    fn sent(&mut self, duration: i64, end: i64) {
        let more = self.usual.filter(|_| duration > 0).map_or(0, |usual| (usual - duration).max(0));
        self.usual = self.usual.map(|_| duration);
        self.ended = self.ended.max(Some(end.saturating_add(more)));
    }

    /// Puts a copied packet of sound, which repeats what was sent, behind that: rounds are as long as the pictures are, which is no
    /// whole number of packets. What overlaps is hidden, and the rest moved by less than half a packet. Who decodes it cuts it to the
    /// sample.
    fn join(&mut self, packet: &mut Packet, length: i64) {
        let (Some(ended), Some(time), true) = (self.ended, packet.pts.or(packet.dts), length > 0) else {
            return;
        };
        let moved = match self.moved {
            Some(moved) => moved,
            None if time.saturating_add(length / 2) < ended => {
                packet.hidden = true;
                return;
            }
            None if packet.hidden => return,
            // A hole stays one.
            None => Some(ended.saturating_sub(time)).filter(|by| by.abs() <= length / 2 + 1).unwrap_or(0),
        };
        self.moved = Some(moved);
        packet.pts = packet.pts.map(|t| t.saturating_add(moved));
        packet.dts = packet.dts.map(|t| t.saturating_add(moved));
    }

    /// What is missing of `packet`, in source time, where it is `again` the first one of sound: how much of it is the encoder's
    /// priming. FFmpeg says so once, unless that packet's time is 0.
    fn priming(&mut self, packet: &Packet, again: bool) -> Option<SideData> {
        let said =
            packet.side_data.iter().find(|side| matches!(side, SideData::SkipSamples { start: 1.., .. }));
        match (said, &self.primed) {
            (Some(side), None) if !again => self.primed = Some((packet.pts, side.clone())),
            (None, Some((pts, side))) if again && *pts == packet.pts => return Some(side.clone()),
            _ => {}
        }
        None
    }

    /// `packet`, if it is one of sound, as those routes get it that copy it.
    fn joined(&mut self, packet: &Packet) -> Option<Packet> {
        let time = packet.pts.or(packet.dts).filter(|_| self.kind == MediaKind::Audio)?;
        let copied = self.routes.iter().any(|route| matches!(route, Route::Copy(_)));
        if !copied {
            return None;
        }
        let mut copy = packet.clone();
        let length = if packet.duration > 0 { packet.duration } else { self.frame };
        self.join(&mut copy, length);
        if !copy.hidden {
            let time = copy.pts.or(copy.dts).unwrap_or(time);
            self.sent(length, time.saturating_add(length));
        }
        Some(copy)
    }

    /// Lets decoding begin at the key packet at `key`, in source time.
    pub fn decode_from(&mut self, key: Timestamp) {
        // Both are of one packet; the microseconds are rounded.
        self.from =
            Some(Timestamp::new(key.micros() - 2, MICROSECONDS).to_rounding(self.base, Rounding::Down).ticks);
    }

    /// Refuses new parameters of the codec where what was told to the output's readers would not be true any more.
    fn check_codec(&self, packet: &Packet) -> Result<()> {
        let changes = |side: &SideData| matches!(side, SideData::NewExtradata(new) if *new != self.extradata);
        let copied = || self.routes.iter().any(|route| matches!(route, Route::Copy(_)));
        if packet.side_data.iter().any(changes) && copied() {
            return Err(Error::unsupported(format!(
                "stream {}: its codec's parameters change in mid-stream, and it is copied: what comes now needs a new job",
                packet.stream
            )));
        }
        Ok(())
    }

    /// Whether `packet`, in source time, comes before what is to be decoded.
    fn is_early(&mut self, packet: &Packet) -> bool {
        if let Some(from) = self.from
            && packet.key
            && packet.pts.or(packet.dts).is_some_and(|t| t >= from)
        {
            self.from = None;
        }
        self.from.is_some()
    }
}

/// Length of a frame of video in ticks of its stream, 0 when unknown.
fn frame_ticks(stream: &StreamInfo) -> i64 {
    let rate = stream.video.as_ref().and_then(|v| v.frame_rate).filter(|r| r.is_positive());
    rate.map_or(0, |r| rescale(1, r.inverse(), stream.time_base, Rounding::Nearest))
}

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
                    Route::Copy(c) => drop(c.mux.send(ToMux::End(c.track))),
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

    /// An MP4 in fragments has no list of all: what is missing is what its last fragment lists, as in one whose recorder died, or
    /// what its other boxes say.
    fn check_fragments(&mut self, shared: &Shared, reached_us: i64) -> Result<()> {
        let reached = reached_us as f64 / 1e6;
        if self.end.is_some_and(|end| reached >= end.seconds()) {
            return Ok(());
        }
        let Some(container) = self.packets.container().filter(|c| c.format_name().starts_with("mov")) else {
            return Ok(());
        };
        let missing =
            self.streams.iter().enumerate().filter(|(_, s)| s.in_pieces && !s.routes.is_empty()).filter_map(
                |(i, s)| {
                    let listed = container.index(i).last()?.0;
                    let lost = listed - s.last.unwrap_or(0);
                    (s.last.is_none_or(|last| listed > last)).then(|| Timestamp::new(lost, s.base).seconds())
                },
            );
        let lost = missing.max_by(f64::total_cmp);
        let whole = self.look(usize::MAX).unwrap_or_default();
        let length = whole.length.map_or(0.0, |length| length.seconds() - self.start);
        match (lost, whole.missing) {
            (Some(lost), _) => {
                self.truncated(shared, &format!("it ends within a fragment, which lists {lost:.1} s more"))
            }
            (None, Some(missing)) => self.truncated(shared, &missing),
            // It is that of the longest.
            (None, None) if self.all && is_short(reached, length) => {
                self.truncated(shared, &format!("its fragments end at {reached:.1} s of {length:.1} s"))
            }
            (None, None) => Ok(()),
        }
    }

    /// What a file in fragments says of itself.
    fn look(&mut self, boxes: usize) -> Option<whole::Whole> {
        let container = self.packets.container()?;
        let file = self.file.as_ref().filter(|_| container.format_name().starts_with("mov"))?;
        // Whoever reads it says when it cannot be read.
        whole::look(file, boxes).ok().flatten()
    }

    /// The source is cut short: an error, unless what is there is wanted.
    fn truncated(&mut self, shared: &Shared, why: &str) -> Result<()> {
        let message = format!("{}: is truncated: {why}", self.label);
        // What came once and cannot be had again is worth more than nothing.
        let once = self.file.is_none() && self.packets.container().is_none_or(|c| !c.is_seekable());
        if self.salvage || self.part || once {
            shared.warn("source", message);
            return Ok(());
        }
        Err(Error::new(ErrorKind::Format, format!("{message} (salvage takes what is there)")))
    }

    /// A file that ends well before its container's length was cut.
    fn check_length(&mut self, shared: &Shared, reached_us: i64) -> Result<()> {
        let Some(Length { time, certain }) = self.expected else { return Ok(()) };
        let (expected, reached) = (time.seconds(), reached_us as f64 / 1e6);
        if !is_short(reached, expected) || self.end.is_some_and(|e| reached >= e.seconds()) {
            return Ok(());
        }
        if !certain {
            if let Some(missing) = self.file.as_ref().and_then(|file| whole::lacks(file).ok().flatten()) {
                return self.truncated(shared, &missing);
            }
            // A file of Matroska says itself how many bytes it has.
            let says = self.packets.container().is_some_and(|c| c.format_name().starts_with("matroska"));
            if self.file.is_none() || !says {
                let why = "it is truncated, or what is not taken lasts longer";
                shared.warn(
                    "source",
                    format!("{}: ends at {reached:.1} s of {expected:.1} s: {why}", self.label),
                );
            }
            return Ok(());
        }
        let message = format!("{}: ends at {reached:.1} s of {expected:.1} s: truncated", self.label);
        if self.salvage {
            shared.warn("source", message);
            return Ok(());
        }
        Err(Error::new(ErrorKind::Format, format!("{message} (salvage takes what is there)")))
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

impl CopyRoute {
    fn take(&mut self, packet: &Packet, end: Option<Timestamp>) -> bool {
        // Nothing is decoded here: the repetition begins at its first key packet.
        if packet.hidden {
            self.started = false;
            return true;
        }
        let mut packet = packet.clone();
        if !self.fits(&mut packet, end) || !(self.started || packet.key) {
            return true;
        }
        self.started = true;
        if let Some(now) = self.headers.as_mut().and_then(|h| h.change(&packet.data)) {
            let config = aac::Config::from_adts(&now).ok();
            let what = config.and_then(|c| Some(format!("{} Hz, {} channels", c.rate, c.channels()?)));
            let what = what.unwrap_or("another sound".into());
            drop(self.mux.send(ToMux::Failed(Error::unsupported(format!(
                "stream {}: the sound changes to {what} at {:.3} s, so it can be encoded (copy_conforming: false, or \
                 any codec, says so) but not copied",
                packet.stream,
                packet.presentation().map_or(0.0, Timestamp::seconds)
            )))));
            return false;
        }
        if packet.pts.is_none() && self.reorder > 0 {
            // AVI says only when to decode: with B-frames nobody but the decoder knows the order.
            drop(self.mux.send(ToMux::Failed(Error::unsupported(
                "the source has no presentation times for its B-frames, so it can be encoded but not copied",
            ))));
            return false;
        }
        // Raw streams and AVI have packets without times; they follow one another.
        let next = self.last_dts.map(|d| d + packet.duration.max(1));
        let dts = packet.dts.or(next).or(packet.pts.map(|p| p - self.reorder)).unwrap_or(0);
        // Muxers refuse times that do not rise; a repeated or broken one is moved by the least that they take.
        let dts = self.last_dts.map_or(dts, |last| dts.max(last + 1));
        packet.dts = Some(dts);
        packet.pts = Some(packet.pts.unwrap_or(dts).max(dts));
        self.last_dts = Some(dts);
        if end.is_some_and(|end| Timestamp::new(dts, packet.base) >= end) {
            drop(self.mux.send(ToMux::End(self.track)));
            return false;
        }
        self.mux.send(ToMux::Packet(self.track, packet)).is_ok()
    }
}

/// Delivers at the speed of the timestamps.
struct Pacer {
    enabled: bool,
    start: Option<(Duration, Timestamp)>,
}

impl Pacer {
    fn new(enabled: bool) -> Self {
        Pacer { enabled, start: None }
    }

    fn wait(&mut self, shared: &Shared, time: Timestamp) {
        if !self.enabled {
            return;
        }
        // Paused time does not count: the source stands still with the job.
        let now = shared.clock.now().saturating_sub(shared.paused_for());
        let (began, first) = *self.start.get_or_insert((now, time));
        let due = Duration::from_micros((time.micros() - first.micros()).max(0) as u64);
        let mut left = due.saturating_sub(now.saturating_sub(began));
        while !left.is_zero() && !shared.is_stopping() && !shared.is_cancelled() {
            let step = left.min(Duration::from_millis(50));
            shared.clock.sleep(step);
            left = left.saturating_sub(step);
        }
    }
}

/// The body of a frame source's thread (pattern, application): frames out to the video and audio branches.
pub(crate) fn run_frames(
    shared: &Shared,
    meter: &Meter,
    mut source: Box<dyn Source<Frame>>,
    video: &mut Branches,
    audio: &mut Branches,
    realtime: bool,
) -> Result<()> {
    let mut pacer = Pacer::new(realtime);
    loop {
        shared.pass_gate();
        if shared.is_cancelled() {
            return Ok(());
        }
        // Frames that the application has already pushed are still used after a stop; generated ones would never end.
        if shared.is_stopping() && !source_is_fed(video, audio) {
            break;
        }
        let frame = source.next();
        for note in source.notes() {
            shared.warn(note.code, note.message);
        }
        let Some(frame) = frame? else { break };
        meter.count_in();
        if let Some(time) = frame.presentation() {
            pacer.wait(shared, time);
        }
        meter.count_out(1);
        let branch = if frame.is_video() { &mut *video } else { &mut *audio };
        branch.push(frame);
        if !video.is_wanted() && !audio.is_wanted() {
            return Ok(());
        }
    }
    video.finish();
    audio.finish();
    Ok(())
}

fn source_is_fed(video: &Branches, audio: &Branches) -> bool {
    video.fed || audio.fed
}

/// The branches of one kind of frame, behind the stages they share.
pub(crate) struct Branches {
    pub chain: super::worker::Chain,
    pub tee: Option<Tee>,
    pub fed: bool,
}

impl Branches {
    fn is_wanted(&self) -> bool {
        self.tee.is_some()
    }

    fn push(&mut self, frame: Frame) {
        let Some(tee) = &mut self.tee else { return };
        if super::worker::push_through(&mut self.chain, frame, &mut OutletFn(|f| tee.send(f))).is_err() {
            self.tee = None;
        }
    }

    fn finish(&mut self) {
        if let Some(tee) = &mut self.tee {
            // Nobody left to hear is the only way this can fail.
            let _ = super::worker::finish_through(&mut self.chain, &mut OutletFn(|f| tee.send(f)));
        }
        self.tee = None;
    }
}
