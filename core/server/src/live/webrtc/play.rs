//! What a viewer gets: a stream's packets as frames with RTP times, the first key frame at once, at the pace that a way to a
//! client bears.

use super::fit::Order;
use super::format::{self, ToRtp};
use crate::live::stream::{Item, Reader, Start, Stream, Tracks};
use ghoststream::packet::{Codec, MediaKind, Packet};
use ghoststream::time::{MICROSECONDS, Rounding, TimeBase, rescale};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may go out at once.
const BURST: f64 = 128.0 * 1024.0;
/// Bytes a second behind it: 48 Mbit/s.
const PACE: f64 = 6e6;
/// Between the pictures of the past that bring a viewer to the present: a group of them passes in a moment.
const STEP: i64 = 2_000;
/// The longest group with which a viewer begins; behind a longer one it waits for the next key frame.
const GROUP: usize = 3000;
/// A viewer who is so far behind begins again.
const BEHIND: f64 = 2.0;

/// Where packets of one kind go.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Pictures or sound.
    pub kind: MediaKind,
    /// What was negotiated.
    pub codec: Codec,
    /// The track of the stream.
    pub track: usize,
    /// How its packets become frames.
    pub to: ToRtp,
    /// Which of the stream's tracks of the kind and codec it is.
    pub nth: usize,
}

impl Lane {
    /// The clock of its RTP time.
    pub fn base(&self) -> TimeBase {
        if self.kind == MediaKind::Video { format::VIDEO } else { format::SOUND }
    }

    /// Finds its track among others. Gives whether there is one; nothing comes on a lane without.
    pub fn find(&mut self, tracks: &Tracks) -> bool {
        let fits = tracks.streams.iter().enumerate();
        let mut fits = fits.filter(|(_, s)| s.kind == self.kind && s.codec == self.codec);
        let found = fits.clone().nth(self.nth).or_else(|| fits.next());
        let found = found.and_then(|(index, info)| Some((index, ToRtp::new(info).ok()?)));
        self.track = found.as_ref().map_or(usize::MAX, |(index, _)| *index);
        if let Some((_, to)) = found {
            self.to = to;
        }
        self.track != usize::MAX
    }
}

/// A frame on its way.
#[derive(Debug)]
pub struct Frame {
    /// Pictures or sound.
    pub kind: MediaKind,
    /// Its time, in ticks of the lane's clock on the stream's time.
    pub ticks: i64,
    /// The same in microseconds.
    pub micros: i64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Why a viewer's session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// There is no such stream any more.
    Ended,
    /// What comes now was not negotiated: the client has to ask again.
    Changed(String),
}

/// See the module.
#[derive(Debug)]
pub struct Play {
    stream: Arc<Stream>,
    reader: Option<Reader>,
    lanes: Vec<Lane>,
    version: u64,
    waiting: VecDeque<Frame>,
    order: Order,
    /// The last time given on each lane, in microseconds.
    last: Vec<Option<i64>>,
    began: Option<Instant>,
    last_key: Option<Instant>,
    tokens: (f64, Instant),
    away: Option<Instant>,
    dropped: u64,
    /// The time of the last call.
    now: Instant,
}

impl Play {
    /// Of `lanes` of `stream`; nothing is read before [`Play::begin`].
    pub fn new(stream: Arc<Stream>, lanes: Vec<Lane>, version: u64, now: Instant) -> Play {
        let last = vec![None; lanes.len()];
        Play {
            stream,
            reader: None,
            lanes,
            version,
            waiting: VecDeque::new(),
            order: Order::default(),
            last,
            began: None,
            last_key: None,
            tokens: (BURST, now),
            away: None,
            dropped: 0,
            now,
        }
    }

    /// Frames that the viewer lost because it was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.reader.as_ref().map_or(0, Reader::dropped)
    }

    /// Since when nobody publishes the stream.
    pub fn away(&self) -> Option<Instant> {
        self.away
    }

    /// Goes on with the same lanes of another stream, which has the same time, at its newest key frame.
    ///
    /// # Errors
    /// [`Over`].
    pub fn switch(
        &mut self,
        stream: Arc<Stream>,
        lanes: Vec<Lane>,
        version: u64,
        now: Instant,
    ) -> Result<(), Over> {
        self.dropped += self.reader.take().as_ref().map_or(0, Reader::dropped);
        (self.stream, self.lanes, self.version) = (stream, lanes, version);
        self.begin(now)
    }

    /// Begins, or begins again, with the newest key frame that has been. The pictures since then are given times so close
    /// to each other that they pass in a moment and end at the present: the viewer is behind by nothing.
    ///
    /// # Errors
    /// [`Over`].
    pub fn begin(&mut self, now: Instant) -> Result<(), Over> {
        (self.began, self.now) = (Some(now), now);
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
        let mut reader = self.stream.subscribe(Start::Group);
        let mut past = Vec::new();
        while let Some(item) = reader.try_next() {
            match item {
                Item::Packet(packet) => past.push(packet),
                other => {
                    past.clear();
                    self.note(other, now)?;
                }
            }
        }
        if past.len() > GROUP {
            reader = self.stream.subscribe(Start::Next);
            past.clear();
        }
        self.reader = Some(reader);
        self.order = Order::default();
        self.catch_up(&past)
    }

    fn catch_up(&mut self, past: &[Packet]) -> Result<(), Over> {
        let Some((index, lane)) = self.lanes.iter().enumerate().find(|(_, l)| l.kind == MediaKind::Video)
        else {
            // Sound has no past that anybody needs.
            return Ok(());
        };
        let track = lane.track;
        let pictures: Vec<&Packet> = past.iter().filter(|p| p.stream == track).collect();
        let Some(edge) = pictures.last().and_then(|p| micros(p)) else { return Ok(()) };
        let count = i64::try_from(pictures.len()).unwrap_or(1).max(1);
        // Between what the client has and the present; the clock of RTP has ticks for all.
        let room = self.last[index].map_or(i64::MAX, |last| edge.saturating_sub(last));
        let step = STEP.min(room / count).max(12);
        let first = edge.saturating_sub(step.saturating_mul(count - 1));
        for (n, packet) in pictures.into_iter().enumerate() {
            let at = first.saturating_add(step.saturating_mul(n as i64));
            self.frame(packet, Some(at))?;
        }
        Ok(())
    }

    /// The next item of the stream; for ever nothing before [`Play::begin`] and while frames wait.
    pub async fn next(&mut self) -> Item {
        match &mut self.reader {
            Some(reader) if self.waiting.is_empty() => reader.next().await,
            _ => std::future::pending().await,
        }
    }

    /// Takes what [`Play::next`] gave, and what is there behind it.
    ///
    /// # Errors
    /// [`Over`].
    pub fn take(&mut self, item: Item, now: Instant) -> Result<(), Over> {
        self.now = now;
        if self.reader.as_ref().is_some_and(|r| r.behind() > BEHIND) {
            self.note_unless_packet(item, now)?;
            return self.begin(now);
        }
        let mut item = Some(item);
        while let Some(this) = item {
            match this {
                Item::Packet(packet) => self.frame(&packet, None)?,
                other => self.note(other, now)?,
            }
            item = self.reader.as_mut().and_then(Reader::try_next);
        }
        Ok(())
    }

    fn note_unless_packet(&mut self, item: Item, now: Instant) -> Result<(), Over> {
        match item {
            Item::Packet(_) => Ok(()),
            other => self.note(other, now),
        }
    }

    fn note(&mut self, item: Item, now: Instant) -> Result<(), Over> {
        match item {
            Item::Packet(_) => Ok(()),
            Item::Tracks(tracks) => self.retrack(&tracks),
            Item::Away => {
                self.away.get_or_insert(now);
                Ok(())
            }
            Item::End => Err(Over::Ended),
        }
    }

    /// Finds the lanes' tracks among others.
    fn retrack(&mut self, tracks: &Tracks) -> Result<(), Over> {
        self.away = None;
        if tracks.version == self.version {
            return Ok(());
        }
        self.version = tracks.version;
        self.order = Order::default();
        for lane in &mut self.lanes {
            // Pictures can go on without sound.
            if !lane.find(tracks) && lane.kind != MediaKind::Audio {
                return Err(Over::Changed(format!("the stream has no {} any more", lane.codec)));
            }
        }
        Ok(())
    }

    /// Makes a frame of a packet; its time is `at` microseconds, if that is given.
    fn frame(&mut self, packet: &Packet, at: Option<i64>) -> Result<(), Over> {
        let Some(index) = self.lanes.iter().position(|l| l.track == packet.stream) else { return Ok(()) };
        let (lane, last) = (&self.lanes[index], &mut self.last[index]);
        if lane.kind == MediaKind::Video && self.order.steps_back(packet) {
            return Err(Over::Changed(format!("the stream has {} with B-frames now", lane.codec)));
        }
        let Some(own) = micros(packet) else { return Ok(()) };
        // Sound that was heard already: another stream of the same time is behind by the time that it takes to make it.
        if lane.kind == MediaKind::Audio && at.is_none() && last.is_some_and(|last| own <= last) {
            return Ok(());
        }
        // Times rise; only what was moved close together can be at the limit.
        let least = last.map_or(i64::MIN, |last| last + 12);
        let time = at.unwrap_or(own).max(least);
        let data = match lane.to.frame(&packet.data, packet.key) {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(e) => {
                tracing::debug!(stream = self.stream.name(), "WHEP: {e}");
                self.dropped += 1;
                return Ok(());
            }
        };
        *last = Some(time);
        if packet.key && lane.kind == MediaKind::Video {
            self.last_key = Some(self.now);
        }
        let ticks = rescale(time, MICROSECONDS, lane.base(), Rounding::Nearest);
        self.waiting.push_back(Frame { kind: lane.kind, ticks, micros: time, data });
        Ok(())
    }

    /// The next frame that may go out now.
    pub fn pop(&mut self, now: Instant) -> Option<Frame> {
        let (tokens, then) = self.tokens;
        let tokens = (tokens + now.saturating_duration_since(then).as_secs_f64() * PACE).min(BURST);
        self.tokens = (tokens, now);
        if tokens <= 0.0 {
            return None;
        }
        let frame = self.waiting.pop_front()?;
        self.tokens.0 -= frame.data.len() as f64;
        Some(frame)
    }

    /// When the next frame may go out, if one waits.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front()?;
        let (tokens, then) = self.tokens;
        Some(then + Duration::from_secs_f64((1.0 - tokens).max(0.0) / PACE))
    }

    /// When a key frame went out last.
    pub fn last_key(&self) -> Option<Instant> {
        self.last_key
    }

    /// How long ago it began with the newest key frame.
    pub fn since_begin(&self, now: Instant) -> Option<Duration> {
        self.began.map(|b| now.saturating_duration_since(b))
    }
}

fn micros(packet: &Packet) -> Option<i64> {
    packet.pts.or(packet.dts).map(|t| rescale(t, packet.base, MICROSECONDS, Rounding::Nearest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::packet::StreamInfo;
    use ghoststream::time::Rational;

    const MS: TimeBase = Rational::new(1, 1000);

    fn lane(kind: MediaKind, codec: Codec, track: usize) -> Lane {
        Lane { kind, codec, track, to: ToRtp::Same, nth: 0 }
    }

    fn push(stream: &Stream, track: usize, ms: i64, key: bool, bytes: usize) {
        let mut packet = Packet::new(Bytes::from(vec![1; bytes]), ms, 0, MS);
        (packet.stream, packet.key) = (track, key);
        stream.push_dated(packet);
    }

    fn stream() -> Arc<Stream> {
        let stream = Stream::new("s");
        stream.announce(vec![
            StreamInfo::new(MediaKind::Video, Codec::Vp8, MS),
            StreamInfo::new(MediaKind::Audio, Codec::Opus, MS),
        ]);
        stream
    }

    fn play(stream: &Arc<Stream>, now: Instant) -> Play {
        let lanes = vec![lane(MediaKind::Video, Codec::Vp8, 0), lane(MediaKind::Audio, Codec::Opus, 1)];
        Play::new(stream.clone(), lanes, 1, now)
    }

    fn times(play: &mut Play, now: Instant) -> Vec<(MediaKind, i64)> {
        std::iter::from_fn(|| play.pop(now)).map(|f| (f.kind, f.micros)).collect()
    }

    #[test]
    fn the_past_passes_in_a_moment_and_ends_at_the_present() {
        let (stream, now) = (stream(), Instant::now());
        for n in 0..50 {
            push(&stream, 0, n * 40, n == 0, 100);
            push(&stream, 1, n * 40, true, 10);
        }
        let mut play = play(&stream, now);
        play.begin(now).unwrap();
        let got = times(&mut play, now);
        assert_eq!(got.len(), 50, "the pictures since the key frame, and no sound");
        assert_eq!(got.first(), Some(&(MediaKind::Video, 49 * 40_000 - 49 * 2_000)));
        assert_eq!(got.last(), Some(&(MediaKind::Video, 49 * 40_000)));
        assert!(got.windows(2).all(|w| w[0].1 < w[1].1));
        push(&stream, 0, 2000, false, 100);
        push(&stream, 1, 2000, true, 10);
        let item = play.reader.as_mut().unwrap().try_next().unwrap();
        play.take(item, now).unwrap();
        assert_eq!(times(&mut play, now), [(MediaKind::Video, 2_000_000), (MediaKind::Audio, 2_000_000)]);

        // Again: everything fits between what was sent and what comes.
        push(&stream, 0, 2040, false, 100);
        play.begin(now).unwrap();
        let got = times(&mut play, now);
        assert_eq!(got.len(), 52);
        assert!(got[0].1 > 2_000_000 && got.windows(2).all(|w| w[0].1 < w[1].1));
        assert!(got.last().unwrap().1 <= 2_040_000);
    }

    #[test]
    fn another_stream_of_the_same_time_goes_on_at_its_key_frame() {
        let (whole, now) = (stream(), Instant::now());
        let other = whole.derived("s");
        other.announce(vec![
            StreamInfo::new(MediaKind::Video, Codec::Vp8, MS),
            StreamInfo::new(MediaKind::Video, Codec::Vp8, MS),
            StreamInfo::new(MediaKind::Audio, Codec::Opus, MS),
        ]);
        for n in 0..50 {
            push(&whole, 0, n * 40, n == 0, 100);
            // Behind by the time that it takes to make it.
            for track in 0..2 {
                push(&other, track, n * 40 - 100, n == 25, 10 + track);
            }
        }
        let mut play = play(&whole, now);
        play.begin(now).unwrap();
        let last = times(&mut play, now).last().unwrap().1;
        let take = |play: &mut Play| {
            let item = play.reader.as_mut().unwrap().try_next().unwrap();
            play.take(item, now).unwrap();
        };
        push(&whole, 1, 1960, true, 10);
        take(&mut play);
        assert_eq!(times(&mut play, now), [(MediaKind::Audio, 1_960_000)]);
        let lanes = vec![
            Lane { nth: 1, ..lane(MediaKind::Video, Codec::Vp8, 1) },
            lane(MediaKind::Audio, Codec::Opus, 2),
        ];
        play.switch(other.clone(), lanes, other.tracks().unwrap().version, now).unwrap();
        let frames: Vec<Frame> = std::iter::from_fn(|| play.pop(now)).collect();
        assert_eq!(
            (frames.len(), frames[0].data.len()),
            (25, 11),
            "of the second track, from its key frame on"
        );
        assert!(frames[0].micros > last && frames.windows(2).all(|w| w[0].micros < w[1].micros));
        // What was heard is not heard again.
        for ms in [1920, 1940, 1960, 1980] {
            push(&other, 2, ms, true, 10);
        }
        take(&mut play);
        assert_eq!(times(&mut play, now), [(MediaKind::Audio, 1_980_000)]);
        // The same tracks, said again in another order of versions, are still the second.
        other.announce(vec![
            StreamInfo::new(MediaKind::Video, Codec::Vp8, MS),
            StreamInfo::new(MediaKind::Video, Codec::Vp8, MS),
        ]);
        take(&mut play);
        assert_eq!(play.lanes[0].track, 1);
    }

    #[test]
    fn no_more_goes_out_than_a_way_bears() {
        let (stream, now) = (stream(), Instant::now());
        push(&stream, 0, 0, true, 100_000);
        push(&stream, 0, 40, false, 60_000);
        push(&stream, 0, 80, false, 60_000);
        let mut play = play(&stream, now);
        play.begin(now).unwrap();
        assert_eq!(times(&mut play, now).len(), 2);
        let due = play.due().unwrap() - now;
        assert!(due > Duration::from_millis(4) && due < Duration::from_millis(6), "{due:?}");
        assert_eq!(times(&mut play, now + due).len(), 1);
        assert_eq!(play.due(), None);
    }

    #[test]
    fn what_was_not_negotiated_ends_it() {
        let (stream, now) = (stream(), Instant::now());
        let mut play = play(&stream, now);
        play.begin(now).unwrap();
        stream.announce(vec![StreamInfo::new(MediaKind::Video, Codec::Vp8, MS)]);
        let next = |play: &mut Play| {
            let item = play.reader.as_mut().unwrap().try_next().unwrap();
            play.take(item, now)
        };
        assert_eq!(next(&mut play), Ok(()), "the sound may go");
        stream.announce(vec![StreamInfo::new(MediaKind::Video, Codec::Hevc, MS)]);
        assert!(matches!(next(&mut play), Err(Over::Changed(_))));
        stream.leave();
        assert_eq!(next(&mut play), Ok(()));
        assert!(play.away().is_some());
        stream.end();
        assert_eq!(next(&mut play), Err(Over::Ended));
    }

    #[test]
    fn pictures_out_of_order_end_it() {
        let (stream, now) = (stream(), Instant::now());
        push(&stream, 0, 0, true, 10);
        push(&stream, 0, 120, false, 10);
        push(&stream, 0, 40, false, 10);
        assert!(matches!(play(&stream, now).begin(now), Err(Over::Changed(_))));
    }
}
