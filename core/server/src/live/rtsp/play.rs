//! A reader's side of a connection: what a stream carries is described, and sent as RTP from then on.

use super::PROTOCOL;
use super::packetize::Packetizer;
use super::reports::{self, Reports};
use super::udp::Pair;
use crate::live::connections::Way as Known;
use crate::live::hooks::Asked;
use crate::live::registry::{Live, Watching};
use crate::live::stream::{Item, Reader, Start, Stream, Tracks};
use ghoststream::packet::{MediaKind, Packet};
use ghoststream::time::{MICROSECONDS, Rounding, rescale};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long the tracks of a stream that nobody publishes yet are waited for.
const TRACKS: Duration = Duration::from_secs(5);
/// How long a reader waits for the next publisher.
const AWAY: Duration = Duration::from_secs(10);
/// Microseconds of the stream between two sender reports of a track.
const REPORTS: i64 = 5_000_000;
/// The first payload type that SDP gives a meaning.
const PAYLOAD: u8 = 96;
/// How often it is looked for what a reader reports by UDP.
const LOOK: Duration = Duration::from_secs(1);
/// The most that is put together before it is sent.
const PIECE: usize = 256 << 10;

/// What is said where there is nothing to send.
pub(super) const NOTHING: &str =
    "RTP here carries H.264, H.265, VP8, VP9, AV1, AAC and Opus, and the stream has none of them";

/// How a track's packets go to the reader.
#[derive(Debug)]
pub(super) enum Way {
    /// In the connection, on this channel and the one behind it.
    Connection(u8),
    /// By themselves.
    Datagrams(Box<Pair>),
}

/// A track.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its place in the stream.
    pub place: usize,
    packetizer: Packetizer,
    /// Where its packets go; `None` when it was not set up.
    pub way: Option<Way>,
    /// The stream's time in its last report.
    reported: Option<i64>,
    /// What the reader says of it.
    reports: Reports,
}

impl Lane {
    /// The source that its packets name.
    pub fn source(&self) -> u32 {
        self.packetizer.source()
    }

    /// Its description.
    pub fn describe(&self, control: &str) -> String {
        self.packetizer.describe(control)
    }

    /// Appends a packet of the stream as it is on the wire, and now and then what time that is; `epoch` is the wall clock at the
    /// stream's time 0.
    pub fn write(&mut self, packet: &Packet, epoch: SystemTime, out: &mut Vec<u8>) {
        let channel = if let Some(Way::Connection(channel)) = self.way { channel } else { 0 };
        let Some(time) = packet.pts.or(packet.dts) else { return };
        let time = rescale(time, packet.base, MICROSECONDS, Rounding::Nearest);
        if self.reported.is_none_or(|at| (time - at).abs() >= REPORTS) {
            self.reported = Some(time);
            let since = Duration::from_micros(u64::try_from(time).unwrap_or(0));
            let wall = self.packetizer.report(time, epoch + since, channel + 1, out);
            self.reports.sent(wall, Instant::now());
        }
        self.packetizer.push(packet, channel, out);
    }

    /// Takes what the reader says by RTCP.
    fn hear(&mut self, data: &[u8], now: Instant) {
        let source = self.source();
        let its = reports::blocks(data).into_iter().filter(|block| block.source == source);
        its.for_each(|block| self.reports.heard(&block, now));
    }
}

/// A reader.
#[derive(Debug)]
pub(super) struct Play {
    live: Live,
    asked: Asked,
    stream: Arc<Stream>,
    pub lanes: Vec<Lane>,
    /// While it plays.
    reading: Option<(Reader, Watching)>,
    /// The wall clock at the stream's time 0, as it was known when the reader began: what it is told later must not move its
    /// time.
    epoch: SystemTime,
    /// Since when nobody publishes.
    away: Option<Instant>,
    /// Datagrams that there was no room for.
    lost: u64,
    /// Whether the reader has said anything by UDP since that was last asked.
    heard: bool,
    /// When it was last looked for that.
    looked: Option<Instant>,
}

/// Why a reader gets no more.
pub(super) enum Over {
    /// The stream is.
    Ended,
    /// What is wrong.
    Changed(String),
}

/// What SETUP calls a track.
pub(super) fn control(lane: usize) -> String {
    format!("trackID={lane}")
}

impl Play {
    /// Waits until the tracks of `stream` are known. The error is for who asked, with its status.
    pub async fn of(live: &Live, asked: Asked, stream: Arc<Stream>) -> Result<Play, (u16, String)> {
        let tracks = match stream.tracks() {
            Some(tracks) => tracks,
            None => {
                let mut reader = stream.subscribe(Start::Next);
                let known = async {
                    loop {
                        match reader.next().await {
                            Item::Tracks(tracks) => return Some(tracks),
                            Item::End => return None,
                            _ => {}
                        }
                    }
                };
                let known = tokio::time::timeout(TRACKS, known).await;
                known.ok().flatten().ok_or((404, "nobody publishes the stream".to_string()))?
            }
        };
        let lanes = lanes(&tracks);
        if lanes.is_empty() {
            return Err((415, NOTHING.into()));
        }
        let epoch = stream.epoch();
        Ok(Play {
            live: live.clone(),
            asked,
            stream,
            lanes,
            reading: None,
            epoch,
            away: None,
            lost: 0,
            heard: false,
            looked: None,
        })
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.asked.stream
    }

    /// The description of all tracks.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns={}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n",
            self.name()
        );
        let tracks = self.lanes.iter().enumerate().map(|(n, lane)| lane.describe(&control(n)));
        text.extend(tracks);
        text
    }

    /// Begins, or goes on at the newest key frame.
    pub fn begin(&mut self) {
        if self.reading.is_none() {
            let watching = self.live.watching(self.name(), PROTOCOL, self.asked.peer);
            // A whole group at once is more than a reader's socket takes.
            let start = if self.by_datagrams() { Start::Next } else { Start::Group };
            self.reading = Some((self.stream.subscribe(start), watching));
            self.away = self.stream.tracks().is_none().then(Instant::now);
            self.epoch = self.stream.epoch();
            self.lanes.iter_mut().for_each(|lane| lane.reported = None);
        }
    }

    /// Sends nothing until it begins again.
    pub fn pause(&mut self) {
        self.reading = None;
    }

    /// Whether packets are on their way.
    pub fn plays(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether packets go by UDP: then nothing says that the reader is still there but what it says.
    pub fn by_datagrams(&self) -> bool {
        self.lanes.iter().any(|lane| matches!(lane.way, Some(Way::Datagrams(_))))
    }

    /// Whether the reader has reported anything by UDP since this was last asked.
    pub fn reports(&mut self) -> bool {
        self.looked = None;
        self.look(Instant::now());
        std::mem::take(&mut self.heard)
    }

    /// Takes what the reader has reported by UDP, once a second.
    pub fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK) {
            return;
        }
        self.looked = Some(now);
        for lane in &mut self.lanes {
            let Some(Way::Datagrams(pair)) = &mut lane.way else { continue };
            let said = pair.reports();
            self.heard |= !said.is_empty();
            said.iter().for_each(|data| lane.hear(data, now));
        }
    }

    /// Takes what comes in the connection: of a channel that is a track's second one it is what the reader reports.
    pub fn hear(&mut self, channel: u8, data: &[u8], now: Instant) {
        let its = |lane: &&mut Lane| matches!(lane.way, Some(Way::Connection(c)) if c.checked_add(1) == Some(channel));
        if let Some(lane) = self.lanes.iter_mut().find(its) {
            lane.hear(data, now);
        }
    }

    /// The way to the reader: of the track that it is worst for.
    pub fn way(&self) -> Known {
        self.lanes.iter().map(|lane| lane.reports.way()).fold(Known::default(), Known::worse)
    }

    /// Bytes that came and went by UDP.
    pub fn moved(&self) -> (u64, u64) {
        self.pairs().map(Pair::moved).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// The channels of the connection that are in use.
    pub fn channels(&self) -> Vec<u8> {
        let used = self.lanes.iter().filter_map(|lane| match lane.way {
            Some(Way::Connection(channel)) => Some(channel),
            _ => None,
        });
        used.collect()
    }

    /// When more datagrams may go out; `None` while none wait.
    pub fn due(&self) -> Option<Instant> {
        self.pairs().filter_map(Pair::due).min()
    }

    /// Sends datagrams that may go out now.
    pub fn send(&mut self) {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if let Some(Way::Datagrams(pair)) = &mut lane.way {
                pair.send(now);
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.lanes.iter().filter_map(|lane| match &lane.way {
            Some(Way::Datagrams(pair)) => Some(&**pair),
            _ => None,
        })
    }

    /// Packets that the reader, or the way to it, was too slow for.
    pub fn dropped(&self) -> u64 {
        let refused: u64 = self.pairs().map(Pair::lost).sum();
        self.lost + refused + self.reading.as_ref().map_or(0, |(reader, _)| reader.dropped())
    }

    /// Until when it is waited for a publisher; `None` while there is one.
    pub fn until(&self) -> Option<Instant> {
        self.away.map(|since| since + AWAY)
    }

    /// The next thing of the stream; none comes while it is paused. Cancel safe.
    pub async fn next(&mut self) -> Item {
        match &mut self.reading {
            Some((reader, _)) => reader.next().await,
            None => std::future::pending().await,
        }
    }

    /// What `item`, and what waits behind it, is on the wire.
    pub fn take(&mut self, item: Item) -> Result<Vec<u8>, Over> {
        let mut out = Vec::new();
        let mut next = Some(item);
        while let Some(item) = next {
            self.one(item, &mut out)?;
            let room = out.len() < PIECE;
            next = self.reading.as_mut().filter(|_| room).and_then(|(reader, _)| reader.try_next());
        }
        Ok(out)
    }

    fn one(&mut self, item: Item, out: &mut Vec<u8>) -> Result<(), Over> {
        match item {
            Item::Tracks(tracks) => {
                self.away = None;
                for lane in &mut self.lanes {
                    let info = tracks.streams.get(lane.place);
                    if !info.is_some_and(|info| lane.packetizer.follow(info)) {
                        return Err(Over::Changed("the stream has other tracks now".into()));
                    }
                }
            }
            Item::Packet(packet) => {
                let lane = self.lanes.iter_mut().find(|l| l.place == packet.stream);
                let Some(lane) = lane.filter(|lane| lane.way.is_some()) else { return Ok(()) };
                let before = out.len();
                lane.write(&packet, self.epoch, out);
                if let Some(Way::Datagrams(pair)) = &mut lane.way {
                    self.lost += pair.push(&out[before..]);
                    pair.send(Instant::now());
                    out.truncate(before);
                }
            }
            Item::Away => self.away = Some(Instant::now()),
            Item::End => return Err(Over::Ended),
        }
        Ok(())
    }
}

/// The tracks that are sent: of a ladder the largest pictures, and all sound.
pub(super) fn lanes(tracks: &Tracks) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut pictures = false;
    for (place, info) in tracks.streams.iter().enumerate() {
        if info.kind == MediaKind::Video && pictures {
            continue;
        }
        let payload = PAYLOAD + u8::try_from(lanes.len()).unwrap_or(0).min(31);
        let seed = uuid::Uuid::new_v4().as_u64_pair().1;
        let Some(packetizer) = Packetizer::new(info, payload, seed) else { continue };
        pictures |= info.kind == MediaKind::Video;
        lanes.push(Lane { place, packetizer, way: None, reported: None, reports: Reports::default() });
    }
    lanes.truncate(16);
    lanes
}
