//! What a stream's first group of pictures tells: the target durations, which never change afterwards.

use super::texts;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, rescale};

/// The longest group of pictures that is waited for, in microseconds; a longer one is cut where there is no key frame.
const LONGEST: i64 = 10_000_000;
/// How long, in microseconds of the stream, a track that was announced is waited for.
const PATIENCE: i64 = 1_000_000;
/// What is kept meanwhile, in bytes.
const BYTES: usize = 64 << 20;
/// Parts are this much (microseconds) below their target: times are rounded to milliseconds on the way.
const SLACK: i64 = 2_000;

/// What never changes while a stream is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// `EXT-X-TARGETDURATION`, in seconds.
    pub target: u32,
    /// `PART-TARGET`, in microseconds.
    pub part: i64,
}

impl Shape {
    /// No segment is longer than this, in microseconds: rounded, it is the target.
    pub fn most(self) -> i64 {
        i64::from(self.target) * 1_000_000 + 450_000
    }
}

/// Packets of the first moments of a run, from a key frame on.
#[derive(Debug)]
pub(super) struct Learning {
    /// The tracks that can be packaged.
    usable: Vec<usize>,
    /// Those of text: kept, and nobody waits for them.
    texts: Vec<usize>,
    /// The one that decides the cuts.
    lead: usize,
    leads_pictures: bool,
    /// Whether the length of a group must be known.
    wants_group: bool,
    packets: Vec<Packet>,
    bytes: usize,
    first: Option<i64>,
    group: Option<i64>,
}

fn micros(packet: &Packet) -> i64 {
    rescale(packet.dts.or(packet.pts).unwrap_or(0), packet.base, MICROSECONDS, Rounding::Nearest)
}

impl Learning {
    /// Begins for tracks of which those in `usable` (not empty) can be packaged.
    pub fn new(streams: &[StreamInfo], usable: Vec<usize>, wants_group: bool) -> Option<Learning> {
        let is_video = |i: usize| streams.get(i).is_some_and(|s| s.kind == MediaKind::Video);
        let lead = usable.iter().copied().find(|i| is_video(*i)).or(usable.first().copied())?;
        Some(Learning {
            leads_pictures: is_video(lead),
            texts: (0..streams.len()).filter(|i| texts::is_text(&streams[*i])).collect(),
            usable,
            lead,
            wants_group,
            packets: Vec::new(),
            bytes: 0,
            first: None,
            group: None,
        })
    }

    /// The track that decides the cuts.
    pub fn lead(&self) -> usize {
        self.lead
    }

    /// Takes a packet; says whether enough is known.
    pub fn add(&mut self, packet: &Packet) -> bool {
        if !self.usable.contains(&packet.stream) {
            if self.texts.contains(&packet.stream) {
                self.keep(packet);
            }
            return false;
        }
        let at = micros(packet);
        let leads = packet.stream == self.lead;
        let Some(first) = self.first else {
            if leads && packet.key {
                self.first = Some(at);
                self.keep(packet);
            }
            return false;
        };
        self.keep(packet);
        if leads && packet.key && self.group.is_none() {
            self.group = Some(at - first);
        }
        let waited = at - first;
        let complete = self.usable.iter().all(|i| self.packets.iter().filter(|p| p.stream == *i).count() > 1);
        let group = !self.wants_group || !self.leads_pictures || self.group.is_some();
        self.bytes > BYTES || waited >= LONGEST || (group && (complete || waited >= PATIENCE))
    }

    fn keep(&mut self, packet: &Packet) {
        self.bytes += packet.data.len();
        self.packets.push(packet.clone());
    }

    /// The tracks that have sent something: the others are not waited for, and not promised to anybody.
    pub fn present(&self) -> Vec<usize> {
        self.usable.iter().copied().filter(|i| self.packets.iter().any(|p| p.stream == *i)).collect()
    }

    /// The packets, in the order in which they came.
    pub fn into_packets(self) -> Vec<Packet> {
        self.packets
    }

    /// The target durations for segments of about `segment` and parts of about `part` microseconds.
    pub fn shape(&self, segment: i64, part: i64) -> Shape {
        let group = match (self.leads_pictures, self.group) {
            (false, _) => 0,
            (true, Some(group)) => group,
            (true, None) => {
                let last = self.packets.iter().rfind(|p| self.usable.contains(&p.stream));
                last.map_or(0, |p| micros(p) - self.first.unwrap_or(0))
            }
        };
        let longest = segment.max(group.min(LONGEST));
        let target = u32::try_from((longest + 750_000) / 1_000_000).unwrap_or(1).max(1);
        let mut frames: Vec<f64> = Vec::new();
        for track in self.present() {
            let times: Vec<i64> = self.packets.iter().filter(|p| p.stream == track).map(micros).collect();
            if let (Some(first), Some(last), true) = (times.first(), times.last(), times.len() > 1) {
                let frame = (last - first) as f64 / (times.len() - 1) as f64;
                // The track that cuts comes first.
                frames.insert(if track == self.lead { 0 } else { frames.len() }, frame);
            }
        }
        Shape { target, part: part_target(part, &frames) }
    }
}

/// The part target near `wanted` microseconds that is a whole number of frames of the first track, and at least 85 % of
/// which is a whole number of frames of the others too. `frames` are the tracks' frame durations in microseconds.
pub(super) fn part_target(wanted: i64, frames: &[f64]) -> i64 {
    let wanted = wanted as f64;
    let positive: Vec<f64> = frames.iter().copied().filter(|f| *f >= 1.0).collect();
    let Some((lead, others)) = positive.split_first() else { return wanted as i64 + SLACK };
    let about = (wanted / lead).round().max(1.0) as i64;
    let mut best = (f64::INFINITY, wanted);
    for count in (about - 4).max(1)..=about + 4 {
        let part = count as f64 * lead;
        let limit = part + SLACK as f64;
        let short = others.iter().filter(|frame| {
            let most = (limit / **frame).floor();
            most * **frame < limit * 0.86
        });
        let cost = (part - wanted).abs() + short.count() as f64 * wanted * 10.0;
        if cost < best.0 {
            best = (cost, part);
        }
    }
    best.1.ceil() as i64 + SLACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::Codec;
    use ghoststream::time::Rational;

    #[test]
    fn part_targets_are_whole_frames_of_every_track() {
        let aac = 1024.0 / 48_000.0 * 1e6;
        for (rate, extra, least) in [
            (30.0, aac, 0.199),
            (25.0, aac, 0.199),
            (24.0, aac, 0.16),
            (60.0, aac, 0.199),
            (30.0, 2.0 * aac, 0.15),
            (30.0, 1024.0 / 44_100.0 * 1e6, 0.199),
            (12.0, 20_000.0, 0.16),
            (29.97, 20_000.0, 0.19),
        ] {
            let frame = 1e6 / rate;
            let target = part_target(200_000, &[frame, extra]) as f64;
            for each in [frame, extra] {
                let part = (target / each).floor() * each;
                assert!(part >= target * 0.85, "{rate} fps: {part} of {target}");
            }
            assert!(target / 1e6 >= least && target < 300_000.0, "{rate} fps: {target}");
        }
        // Slides: one picture is one part.
        assert_eq!(part_target(200_000, &[2_000_000.0]), 2_002_000);
        assert_eq!(part_target(200_000, &[]), 202_000);
    }

    fn packets(learning: &mut Learning, frame_ms: i64, group: i64, count: i64) -> Option<i64> {
        (0..count).find(|i| {
            let mut packet = Packet::new(Bytes::new(), i * frame_ms, frame_ms, Rational::new(1, 1000));
            packet.key = i % group == 0;
            learning.add(&packet)
        })
    }

    fn video() -> Vec<StreamInfo> {
        vec![StreamInfo::new(MediaKind::Video, Codec::H264, Rational::new(1, 1000))]
    }

    #[test]
    fn the_target_fits_the_group() {
        for (group, target) in [(50, 2), (25, 2), (55, 2), (60, 3), (100, 4), (10_000, 10)] {
            let mut learning = Learning::new(&video(), vec![0], true).unwrap();
            let known = packets(&mut learning, 40, group, 1000).unwrap();
            assert_eq!(known, group.min(250), "{group}");
            assert_eq!(learning.shape(2_000_000, 200_000), Shape { target, part: 202_000 }, "{group}");
        }
    }

    #[test]
    fn a_track_that_sends_nothing_is_left_out() {
        let mut streams = video();
        streams.push(StreamInfo::new(MediaKind::Audio, Codec::Aac, Rational::new(1, 48_000)));
        let mut learning = Learning::new(&streams, vec![0, 1], false).unwrap();
        assert_eq!(packets(&mut learning, 40, 50, 1000), Some(25));
        assert_eq!(learning.present(), [0]);
    }
}
