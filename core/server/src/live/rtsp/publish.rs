//! A publisher's packets on their way into the stream: its tracks on one clock, described by what they carry.

use super::depacketize::{Depacketizer, Format, Frame, Rtp};
use super::pictures::Coding;
use super::sdp::Announced;
use crate::live::describe;
use crate::live::registry::Publication;
use bytes::Bytes;
use ghoststream::package::bitstream::{av1, h264, hevc, nal, opus};
use ghoststream::packet::{Codec, Packet, StreamInfo};
use ghoststream::time::{Rational, TimeBase};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

/// How long it is waited for the sender reports that put the tracks onto one clock.
const REPORTS: Duration = Duration::from_millis(500);
/// How long a track that says nothing holds up the others.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that waits meanwhile, in frames and bytes.
const WAITING: (usize, usize) = (5000, 64 << 20);
/// The most pictures that are shown in another order than they are decoded in.
const DEEPEST: usize = 16;
/// Samples in an Opus packet that does not say.
const OPUS_FRAME: u32 = 960;

/// A track.
#[derive(Debug)]
pub(super) struct Lane {
    track: Announced,
    /// Where its packets come; `None` when it was not set up.
    pub channel: Option<u8>,
    depacketizer: Option<Depacketizer>,
    info: Option<StreamInfo>,
    /// Its place in the stream.
    place: Option<usize>,
    /// The last time stamp, and what it is without wrapping.
    last: Option<(u32, i64)>,
    /// A sender report: microseconds of the publisher's wall clock, and ticks.
    report: Option<(i64, i64)>,
    /// Ticks of the stream's time 0.
    zero: Option<i64>,
    order: Order,
}

impl Lane {
    pub fn new(track: Announced) -> Lane {
        let base = base(track.clock);
        let info = track.format.as_ref().and_then(|format| described(format, base));
        Lane {
            depacketizer: track.format.as_ref().map(Depacketizer::new),
            order: Order::of(info.as_ref(), track.clock),
            info,
            track,
            channel: None,
            place: None,
            last: None,
            report: None,
            zero: None,
        }
    }

    /// What SETUP calls it.
    pub fn control(&self) -> &str {
        &self.track.control
    }

    fn unwrapped(&mut self, timestamp: u32) -> i64 {
        let ticks = match self.last {
            Some((last, ticks)) => ticks + i64::from(timestamp.wrapping_sub(last).cast_signed()),
            None => i64::from(timestamp),
        };
        self.last = Some((timestamp, ticks));
        ticks
    }

    fn ticks(&self, micros: i64) -> i64 {
        i64::try_from(i128::from(micros) * i128::from(self.track.clock) / 1_000_000).unwrap_or(0)
    }
}

fn base(clock: u32) -> TimeBase {
    Rational::new(1, i32::try_from(clock).unwrap_or(90_000).max(1))
}

/// What was announced of a track, when that says enough.
fn described(format: &Format, base: TimeBase) -> Option<StreamInfo> {
    let video = |codec: Codec, sets: &[Vec<u8>]| {
        let mut units = Vec::new();
        sets.iter().for_each(|set| nal::push_annex_b(&mut units, set));
        of_sets(codec, &units, base)
    };
    match format {
        Format::H264 { sets } => video(Codec::H264, sets),
        Format::H265 { sets } => video(Codec::Hevc, sets),
        // Their key frames say what they are.
        Format::Pictures(_) => None,
        Format::Aac { config, .. } => describe::audio(Codec::Aac, config.clone().into(), base).ok(),
        Format::Opus => {
            let mut head = Vec::from(*b"OpusHead\x01\x02\0\0");
            head.extend_from_slice(&48_000u32.to_le_bytes());
            head.extend_from_slice(&[0, 0, 0]);
            describe::audio(Codec::Opus, head.into(), base).ok()
        }
    }
}

/// Pictures, described by parameter sets behind start codes.
fn of_sets(codec: Codec, units: &[u8], base: TimeBase) -> Option<StreamInfo> {
    let record = match codec {
        Codec::H264 => h264::Config::from_annex_b(units).ok()?.to_avcc(),
        _ => hevc::Config::from_annex_b(units).ok()?.to_hvcc(),
    };
    describe::video(codec, record.into(), base).ok()
}

/// Pictures, described by one at which decoding can begin.
fn of_key_frame(format: &Format, data: &[u8], base: TimeBase) -> Option<StreamInfo> {
    let codec = match format {
        Format::Pictures(Coding::Vp8) => return describe::vp8_from_key(data, base).ok(),
        Format::Pictures(Coding::Vp9) => return describe::vp9_from_key(data, base).ok(),
        Format::Pictures(Coding::Av1) => {
            let config = av1::Config::from_obus(data).ok()?;
            return describe::video(Codec::Av1, config.to_av1c().into(), base).ok();
        }
        Format::H264 { .. } => Codec::H264,
        Format::H265 { .. } => Codec::Hevc,
        Format::Aac { .. } | Format::Opus => return None,
    };
    let mut units = Vec::new();
    let found = nal::Framing::Length(4).units(data).ok()?;
    found.iter().for_each(|unit| nal::push_annex_b(&mut units, unit));
    of_sets(codec, &units, base)
}

/// What a key frame says where that is another thing than was known.
fn described_anew(format: &Format, known: &StreamInfo, data: &[u8]) -> Option<StreamInfo> {
    if !matches!(format, Format::Pictures(_)) {
        return describe::changed(known, data);
    }
    let mut now = of_key_frame(format, data, known.time_base)?;
    now.index = known.index;
    let said = |info: &StreamInfo| {
        let picture = info.video.as_ref().map(|v| (v.width, v.height, v.colour));
        (info.extradata.clone(), info.profile, picture)
    };
    (said(&now) != said(known)).then_some(now)
}

/// Decode times for pictures whose packets say only when they are shown: those of as many pictures before as are held back.
#[derive(Debug, Default)]
struct Order {
    depth: usize,
    shown: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
    /// A millisecond.
    step: i64,
}

impl Order {
    fn of(info: Option<&StreamInfo>, clock: u32) -> Order {
        let said = info.filter(|i| i.codec == Codec::H264).and_then(|i| {
            // Where the sets say nothing, what comes shows it.
            h264::Config::parse(&i.extradata).ok()?.info.reorder
        });
        let depth = usize::try_from(said.unwrap_or(0)).unwrap_or(0).min(DEEPEST);
        Order { depth, step: i64::from(clock / 1000).max(1), ..Order::default() }
    }

    fn decode(&mut self, present: i64) -> i64 {
        if self.last.is_some_and(|last| (present - last).abs() > 10_000 * self.step) {
            // Another time begins.
            self.shown.clear();
            self.last = None;
        }
        self.shown.push(Reverse(present));
        let early = (self.depth + 1).saturating_sub(self.shown.len());
        let first = match early {
            0 => self.shown.pop(),
            _ => self.shown.peek().copied(),
        };
        let decode = first.map_or(present, |Reverse(t)| t) - i64::try_from(early).unwrap_or(0) * self.step;
        if self.last.is_some_and(|last| decode <= last) && self.depth < DEEPEST {
            // Pictures are held back for longer than was known.
            self.depth += 1;
        }
        let decode = self.last.map_or(decode, |last| decode.max(last + 1));
        self.last = Some(decode);
        decode
    }
}

/// A publisher.
#[derive(Debug)]
pub(super) struct Ingest {
    publication: Publication,
    lanes: Vec<Lane>,
    /// When the first packet came.
    began: Option<Instant>,
    /// The publisher's wall clock in its first sender report, in microseconds.
    wall: Option<i64>,
    /// Frames that wait until the tracks are announced: their lane, when they came, and their ticks.
    waiting: VecDeque<(usize, Instant, i64, Frame)>,
    waiting_bytes: usize,
    /// How many of them were looked at for parameter sets.
    looked: usize,
    announced: bool,
}

impl Ingest {
    /// Publishes the tracks that were set up.
    pub fn new(publication: Publication, lanes: Vec<Lane>) -> Ingest {
        Ingest {
            publication,
            lanes,
            began: None,
            wall: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            looked: 0,
            announced: false,
        }
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        self.publication.stream().name()
    }

    /// Packets and frames that could not be used.
    pub fn lost(&self) -> u64 {
        self.lanes.iter().filter_map(|l| l.depacketizer.as_ref()).map(Depacketizer::lost).sum()
    }

    /// Takes an interleaved packet, which came `now`.
    ///
    /// # Errors
    /// Why it may not go on.
    pub fn take(&mut self, channel: u8, data: &Bytes, now: Instant) -> Result<(), String> {
        let of = |l: &Lane| l.channel.is_some_and(|c| c == channel || c.checked_add(1) == Some(channel));
        let Some(index) = self.lanes.iter().position(of) else { return Ok(()) };
        let began = *self.began.get_or_insert(now);
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        if lane.channel != Some(channel) {
            if let Some((wall, timestamp)) = sender_report(data)
                && lane.report.is_none()
            {
                lane.report = Some((wall, lane.unwrapped(timestamp)));
                self.wall.get_or_insert(wall);
            }
            return Ok(());
        }
        let (Some(rtp), Some(depacketizer)) = (Rtp::read(data), &mut lane.depacketizer) else {
            return Ok(());
        };
        for frame in depacketizer.push(&rtp) {
            let ticks = lane.unwrapped(frame.timestamp);
            self.waiting_bytes += frame.data.len();
            self.waiting.push_back((index, now, ticks, frame));
        }
        if !self.announced && !self.announce(now - began)? {
            if self.waiting.len() > WAITING.0 || self.waiting_bytes > WAITING.1 {
                return Err("nothing says what its tracks are".into());
            }
            return Ok(());
        }
        while let Some((lane, came, ticks, frame)) = self.waiting.pop_front() {
            self.waiting_bytes -= frame.data.len();
            self.publish(lane, came - began, ticks, frame)?;
        }
        Ok(())
    }

    /// Announces the tracks when all are known, or `waited` is long enough.
    fn announce(&mut self, waited: Duration) -> Result<bool, String> {
        // A key frame brings them, if not the first then a later one. Each is looked at once.
        let from = std::mem::replace(&mut self.looked, self.waiting.len());
        for (index, _, _, frame) in self.waiting.iter().skip(from).filter(|(.., frame)| frame.key) {
            let Some(lane) = self.lanes.get_mut(*index).filter(|l| l.info.is_none()) else { continue };
            let Some(format) = lane.track.format.as_ref().filter(|f| f.is_video()) else { continue };
            lane.info = of_key_frame(format, &frame.data, base(lane.track.clock));
            lane.order = Order::of(lane.info.as_ref(), lane.track.clock);
        }
        let wanted = |l: &&Lane| l.channel.is_some() && l.track.format.is_some();
        let (mut known, mut all, mut reported) = (0, 0, true);
        for lane in self.lanes.iter().filter(wanted) {
            all += 1;
            known += usize::from(lane.info.is_some());
            reported &= lane.report.is_some();
        }
        let pictures = self
            .lanes
            .iter()
            .filter(wanted)
            .any(|l| l.info.is_none() && l.track.format.as_ref().is_some_and(Format::is_video));
        // Pictures are what is wanted: those that nobody has described yet are waited for.
        let ready = known > 0 && (known == all || (waited >= PATIENCE && !pictures));
        if !ready || !(reported || waited >= REPORTS) {
            return Ok(false);
        }
        self.announced = true;
        let known = self.lanes.iter_mut().filter(|l| l.channel.is_some() && l.info.is_some());
        for (place, lane) in known.enumerate() {
            lane.place = Some(place);
        }
        self.say()?;
        Ok(true)
    }

    fn say(&self) -> Result<(), String> {
        let placed = self.lanes.iter().filter(|l| l.place.is_some());
        let streams: Vec<StreamInfo> = placed.filter_map(|l| l.info.clone()).collect();
        self.publication.announce(streams).map_err(|superseded| superseded.to_string())
    }

    fn publish(&mut self, index: usize, came: Duration, ticks: i64, frame: Frame) -> Result<(), String> {
        let wall = self.wall;
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let (Some(place), Some(info)) = (lane.place, &lane.info) else { return Ok(()) };
        let mut changed = false;
        if frame.key
            && let Some(other) = lane.track.format.as_ref().and_then(|f| described_anew(f, info, &frame.data))
        {
            lane.order = Order::of(Some(&other), lane.track.clock);
            lane.info = Some(other);
            changed = true;
        }
        let zero = lane.zero.unwrap_or_else(|| match (lane.report, wall) {
            (Some((at, ticks)), Some(first)) => ticks - lane.ticks(at.saturating_sub(first)),
            _ => ticks - lane.ticks(i64::try_from(came.as_micros()).unwrap_or(0)),
        });
        lane.zero = Some(zero);
        let present = ticks - zero;
        let (decode, duration) = match &lane.track.format {
            Some(Format::Aac { samples, .. }) => (present, i64::from(*samples)),
            Some(Format::Opus) => {
                (present, i64::from(opus::packet_samples(&frame.data).unwrap_or(OPUS_FRAME)))
            }
            _ => (lane.order.decode(present), 0),
        };
        let mut packet = Packet::new(frame.data, present, duration, base(lane.track.clock));
        (packet.dts, packet.key, packet.stream) = (Some(decode), frame.key, place);
        if changed {
            self.say()?;
        }
        self.publication.push(packet).map_err(|superseded| superseded.to_string())
    }
}

/// The wall clock (microseconds) and the time stamp in an RTCP sender report.
fn sender_report(data: &[u8]) -> Option<(i64, u32)> {
    let head: &[u8; 20] = data.first_chunk()?;
    if head[0] >> 6 != 2 || head[1] != 200 {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let micros = i64::from(word(8)) * 1_000_000 + ((i64::from(word(12)) * 1_000_000) >> 32);
    Some((micros, word(16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(depth: usize, shown: &[i64]) -> Vec<i64> {
        let mut order = Order { depth, step: 90, ..Order::default() };
        shown.iter().map(|t| order.decode(*t)).collect()
    }

    #[test]
    fn decode_times_rise_and_are_not_behind_what_is_shown() {
        // I P B B P B B, as they come.
        let shown = [0, 9000, 3000, 6000, 18_000, 12_000, 15_000, 27_000];
        let times = decoded(1, &shown);
        assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
        assert!(times.iter().zip(shown).all(|(decode, present)| *decode <= present), "{times:?}");
        assert_eq!(times[1..], [0, 3000, 6000, 9000, 12_000, 15_000, 18_000]);
        assert_eq!(decoded(0, &[0, 3000, 6000]), [0, 3000, 6000]);
        // What nobody said is found out.
        let times = decoded(0, &shown);
        assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
        assert!(times[4..].iter().zip(&shown[4..]).all(|(decode, present)| decode <= present), "{times:?}");
        // A step back in time is another time.
        assert_eq!(decoded(0, &[9_000_000, 0, 3000]), [9_000_000, 0, 3000]);
    }

    #[test]
    fn reports_say_when() {
        let mut data = vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(sender_report(&data), Some((2_500_000, 9)));
        assert_eq!(sender_report(&data[..19]), None);
        data[1] = 201;
        assert_eq!(sender_report(&data), None);
    }
}
