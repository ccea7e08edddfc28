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
            order: Order::default(),
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

/// How many pictures are held back at most, as the parameter sets say. `None` where they do not: H.264 without VUI.
fn depth_said(info: &StreamInfo) -> Option<u32> {
    match info.codec {
        Codec::H264 => {
            let sps = h264::Config::parse(&info.extradata).ok()?.info;
            // Baseline has no pictures that are shown in another order.
            sps.reorder.or((sps.profile == 66).then_some(0))
        }
        Codec::Hevc => hevc::Config::parse(&info.extradata).ok().map(|config| config.info.reorder),
        _ => Some(0),
    }
}

/// How many of them there are in a second, as the parameter sets say.
fn rate_said(info: &StreamInfo) -> Option<Rational> {
    info.video.as_ref().and_then(|v| v.frame_rate).filter(|rate| rate.is_positive())
}

/// How many pictures those that came, in the order of decoding, are shown in front of.
fn depth_shown(times: &[i64]) -> usize {
    let held = |(n, time): (usize, &i64)| times[..n].iter().filter(|before| *before > time).count();
    times.iter().enumerate().map(held).max().unwrap_or(0)
}

/// How far apart pictures are shown that came in any order.
fn apart(times: &[i64]) -> Option<i64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0).min()
}

/// Decode times for pictures whose packets say only when they are shown: those of as many pictures before as are held back.
#[derive(Debug, Default)]
struct Order {
    depth: usize,
    shown: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
    /// How far apart the first ones are decoded, before whom none was shown.
    step: i64,
    /// What is further away is of another time.
    far: i64,
}

impl Order {
    /// For pictures that `info` describes, of which those at `times` have come.
    fn of(info: &StreamInfo, clock: u32, times: &[i64]) -> Order {
        let said = depth_said(info).map(|depth| usize::try_from(depth).unwrap_or(DEEPEST));
        let depth = said.unwrap_or_else(|| depth_shown(times)).min(DEEPEST);
        let second = i64::from(clock);
        let told = rate_said(info).map(|rate| second * i64::from(rate.den) / i64::from(rate.num));
        // Between the first ones others may be still to come.
        let step = told.into_iter().chain(apart(times)).filter(|step| *step > 0).min();
        // Nothing is as slow as to need more than a fifth of a second for each.
        let step = step.unwrap_or(second / 1000).clamp(1, (second / 5).max(1));
        Order { depth, step, far: 10 * second, ..Order::default() }
    }

    fn decode(&mut self, present: i64) -> i64 {
        if self.last.is_some_and(|last| (present - last).abs() > self.far) {
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
        }
        let wanted = |l: &&Lane| l.channel.is_some() && l.track.format.is_some();
        let (mut known, mut all, mut reported, mut deep) = (0, 0, true, true);
        for lane in self.lanes.iter().filter(wanted) {
            all += 1;
            known += usize::from(lane.info.is_some());
            reported &= lane.report.is_some();
            // Where the sets do not say how many pictures are held back, or for how long, the first ones show it.
            let said = |info| match depth_said(info) {
                Some(depth) => depth == 0 || rate_said(info).is_some(),
                None => false,
            };
            deep &= lane.info.as_ref().is_none_or(said);
        }
        let pictures = self
            .lanes
            .iter()
            .filter(wanted)
            .any(|l| l.info.is_none() && l.track.format.as_ref().is_some_and(Format::is_video));
        // Pictures are what is wanted: those that nobody has described yet are waited for.
        let ready = known > 0 && (known == all || (waited >= PATIENCE && !pictures));
        if !ready || !(reported && deep || waited >= REPORTS) {
            return Ok(false);
        }
        self.announced = true;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let of = self.waiting.iter().filter(|(of, ..)| *of == index);
            let times: Vec<i64> = of.map(|(_, _, ticks, _)| *ticks).collect();
            if let Some(info) = &lane.info {
                lane.order = Order::of(info, lane.track.clock, &times);
            }
        }
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
            // How far apart its pictures are is as before.
            let before = [0, lane.order.step];
            lane.order = Order::of(&other, lane.track.clock, &before);
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
    use super::super::sdp;
    use super::*;
    use crate::live::registry::{Live, Publisher};
    use crate::live::stream::{Item, Reader, Start};

    fn decoded(depth: usize, shown: &[i64]) -> Vec<i64> {
        let mut order = Order { depth, step: 3000, far: 900_000, ..Order::default() };
        shown.iter().map(|t| order.decode(*t)).collect()
    }

    #[test]
    fn decode_times_rise_and_are_not_behind_what_is_shown() {
        // I P B B P B B, as they come.
        let shown = [0, 9000, 3000, 6000, 18_000, 12_000, 15_000, 27_000];
        let times = decoded(1, &shown);
        assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
        assert!(times.iter().zip(shown).all(|(decode, present)| *decode <= present), "{times:?}");
        assert_eq!(times, [-3000, 0, 3000, 6000, 9000, 12_000, 15_000, 18_000]);
        assert_eq!(decoded(0, &[0, 3000, 6000]), [0, 3000, 6000]);
        // What nobody said is found out.
        let times = decoded(0, &shown);
        assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
        assert!(times[4..].iter().zip(&shown[4..]).all(|(decode, present)| decode <= present), "{times:?}");
        // A step back in time is another time.
        assert_eq!(decoded(0, &[9_000_000, 0, 3000]), [9_000_000, 0, 3000]);
    }

    #[test]
    fn what_sets_do_not_say_the_first_pictures_show() {
        // I P B b b B b b: two are held back.
        let shown = [0, 18_000, 9000, 3000, 6000, 12_000, 15_000, 27_000];
        assert_eq!((depth_shown(&shown), apart(&shown)), (2, Some(3000)));
        assert_eq!((depth_shown(&[0, 3000, 6000]), depth_shown(&[]), apart(&[5])), (0, 0, None));
        let times = decoded(2, &shown);
        assert_eq!(times, [-6000, -3000, 0, 3000, 6000, 9000, 12_000, 15_000]);
    }

    /// Parameter sets of two streams, and a picture of the larger one at which decoding can begin.
    const SETS: &str = "sprop-parameter-sets=Z0LAFdkBQfsBEAAAAwAQAAADA8DxYuSA,aMuDyyA=";
    const OTHER: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0xa4, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

    /// A publisher of tracks with these lines of SDP, track by track, on channels 0, 2 …
    fn publisher(live: &Live, tracks: &[&str]) -> Ingest {
        let text: String = tracks.iter().map(|track| format!("m=x 0 RTP/AVP 96\n{track}\n")).collect();
        let mut lanes: Vec<Lane> = sdp::read(&text).unwrap().into_iter().map(Lane::new).collect();
        lanes.iter_mut().zip((0..).step_by(2)).for_each(|(lane, channel)| lane.channel = Some(channel));
        Ingest::new(live.publish("cam", Publisher::new("rtsp", None)).unwrap(), lanes)
    }

    fn rtp(sequence: u16, timestamp: u32, payload: &[u8]) -> Bytes {
        let mut data = vec![0x80, 0x80 | 96];
        data.extend_from_slice(&sequence.to_be_bytes());
        data.extend_from_slice(&timestamp.to_be_bytes());
        data.extend_from_slice(&[0; 4]);
        data.extend_from_slice(payload);
        data.into()
    }

    /// Width and height of each track that was announced; none of sound.
    type Sizes = Vec<Option<(u32, u32)>>;

    /// What a reader has got: what was announced, and decode times (microseconds) and keys of its packets.
    fn read(reader: &mut Reader) -> (Sizes, Vec<(i64, bool)>) {
        let (mut tracks, mut packets) = (Vec::new(), Vec::new());
        while let Some(item) = reader.try_next() {
            match item {
                Item::Tracks(said) => {
                    tracks.extend(said.streams.iter().map(|s| s.video.as_ref().map(|v| (v.width, v.height))))
                }
                Item::Packet(packet) => packets.push((packet.decode().unwrap().micros(), packet.key)),
                other => panic!("{other:?}"),
            }
        }
        (tracks, packets)
    }

    #[test]
    fn time_stamps_wrap_and_jump_and_time_goes_on() {
        let live = Live::new(true, 10);
        let video = format!("a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;{SETS}");
        let mut ingest = publisher(&live, &[&video]);
        let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
        let began = Instant::now() + REPORTS;
        // Past the end of the clock, then a jump of half of it and one of an hour back; 25 pictures of each.
        let wrap = u32::MAX - 12 * 3600;
        let mut sequence = 0u16;
        for (part, from) in
            [wrap, wrap.wrapping_add(1 << 31), wrap.wrapping_add((1 << 31) - 324_000_000)].iter().enumerate()
        {
            for n in 0..25u32 {
                let now = began + Duration::from_millis(40) * (part as u32 * 25 + n);
                let payload = if n == 0 { [0x65, 1, 2] } else { [0x41, 1, 2] };
                ingest.take(0, &rtp(sequence, from.wrapping_add(n * 3600), &payload), now).unwrap();
                sequence = sequence.wrapping_add(1);
            }
        }
        let (tracks, packets) = read(&mut reader);
        assert_eq!((tracks, packets.len()), (vec![Some((320, 240))], 75));
        let times: Vec<i64> = packets.iter().map(|p| p.0).collect();
        let steps: Vec<i64> = times.windows(2).map(|t| t[1] - t[0]).collect();
        assert!(steps.iter().all(|s| *s > 0), "{steps:?}");
        let within =
            |range: std::ops::Range<usize>| steps[range].iter().all(|s| (39_000..=41_000).contains(s));
        assert!(within(0..24) && within(25..49) && within(50..74), "{steps:?}");
        let stats = live.get("cam").unwrap().stats();
        assert_eq!(stats.jumps, 2, "none of them where the clock ended");
    }

    #[test]
    fn sound_alone_and_pictures_that_none_can_begin_with() {
        let live = Live::new(true, 10);
        let mut ingest = publisher(&live, &["a=rtpmap:96 opus/48000/2"]);
        let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
        let began = Instant::now();
        for n in 0..100u32 {
            let now = began + Duration::from_millis(20) * n;
            ingest.take(0, &rtp(n as u16, n * 960, &[0xfc, 1, 2]), now).unwrap();
        }
        let (tracks, packets) = read(&mut reader);
        assert_eq!((tracks, packets.len() > 60), (vec![None], true), "{}", packets.len());
        drop(ingest);
        // Half a minute without a key frame: readers wait, and what waits here is bounded.
        let live = Live::new(true, 10);
        let mut ingest = publisher(&live, &["a=rtpmap:96 VP8/90000", "a=rtpmap:96 opus/48000/2"]);
        let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
        let mut over = None;
        for n in 0..30 * 50u32 {
            let now = began + Duration::from_millis(20) * n;
            let picture = ingest.take(0, &rtp(n as u16, n * 1800, &[0x10, 0x31, 0, 0]), now);
            over = picture.and_then(|()| ingest.take(2, &rtp(n as u16, n * 960, &[0xfc, 1, 2]), now)).err();
            if over.is_some() {
                break;
            }
        }
        assert_eq!((over, read(&mut reader).1.len()), (None, 0));
        let key = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 1, 180, 0];
        let now = began + Duration::from_secs(30);
        ingest.take(0, &rtp(1500, 1500 * 1800, &key), now).unwrap();
        let (tracks, packets) = read(&mut reader);
        assert_eq!(tracks, [Some((320, 180)), None]);
        assert_eq!(packets.iter().map(|p| p.1).collect::<Vec<_>>(), [true], "it begins with a key frame");
        // One that never comes is not waited for for ever.
        let mut over = None;
        let mut ingest = publisher(&live, &["a=rtpmap:96 VP8/90000"]);
        for n in 0..2 * WAITING.0 as u32 {
            over = ingest.take(0, &rtp(n as u16, n * 1800, &[0x10, 0x31, 0, 0]), began).err();
            if over.is_some() {
                break;
            }
        }
        assert_eq!(over.as_deref(), Some("nothing says what its tracks are"));
    }

    #[test]
    fn another_size_in_the_middle_is_announced() {
        let live = Live::new(true, 10);
        let video = format!("a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;{SETS}");
        let mut ingest = publisher(&live, &[&video]);
        let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
        let now = Instant::now() + REPORTS;
        ingest.take(0, &rtp(0, 0, &[0x65, 1, 2]), now).unwrap();
        ingest.take(0, &rtp(1, 3600, &[0x65, 1, 2]), now + REPORTS).unwrap();
        let unit = |unit: &[u8]| [&(unit.len() as u16).to_be_bytes()[..], unit].concat();
        let larger = [&[24][..], &unit(OTHER), &unit(PPS), &unit(&[0x65, 1, 2])].concat();
        ingest.take(0, &rtp(2, 7200, &larger), now + REPORTS).unwrap();
        let (tracks, packets) = read(&mut reader);
        assert_eq!((tracks, packets.len()), (vec![Some((320, 240)), Some((320, 180))], 3));
        drop(ingest);
        let mut ingest = publisher(&live, &["a=rtpmap:96 VP8/90000"]);
        let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
        let key = |lines: u8| [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 1, lines, 0];
        for (n, lines) in [180, 180, 200].into_iter().enumerate() {
            ingest.take(0, &rtp(n as u16, n as u32 * 3600, &key(lines)), now + REPORTS * n as u32).unwrap();
        }
        assert_eq!(read(&mut reader).0, [Some((320, 180)), Some((320, 200))]);
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
