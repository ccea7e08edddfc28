//! One stream of the source: which of its packets are worth decoding, and how the rounds of a repeated one are joined.

use super::Route;
use crate::error::{Error, Result};
use crate::packet::{Codec, MediaKind, Packet, SideData, StreamInfo};
use crate::time::{MICROSECONDS, Rounding, TimeBase, Timestamp, rescale};
use bytes::Bytes;

/// `AV_PROFILE_AAC_USAC`.
const USAC: i32 = 41;

/// One stream of the source as the feed sees it.
pub(crate) struct FeedStream {
    pub base: TimeBase,
    /// Length of a frame whose packet does not say, in the base.
    pub frame: i64,
    pub kind: MediaKind,
    pub routes: Vec<Route>,
    extradata: Bytes,
    /// Any packet can be the first, whatever the container says of it.
    pub(super) starts_anywhere: bool,
    /// Packets before the first key packet from here on, in source time, are not worth decoding.
    from: Option<i64>,
    /// Of sound: where this round begins, until a packet has said so to the decoder.
    pub(super) seam: Option<i64>,
    /// The time of the packet of sound that says what of it is priming, and what it says.
    primed: Option<(Option<i64>, SideData)>,
    /// Of sound that is copied: where what was sent ends, and by how much this round is moved so that it goes on there.
    ended: Option<i64>,
    pub(super) moved: Option<i64>,
    /// All packets have as many samples, also the last, which a container may say to be shorter: how long one is.
    usual: Option<i64>,
    /// No index at the beginning lists its frames, as in a fragmented MP4.
    pub(super) in_pieces: bool,
    /// When the last packet was to be decoded, in source time.
    pub(super) last: Option<i64>,
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
    pub(super) fn priming(&mut self, packet: &Packet, again: bool) -> Option<SideData> {
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
    pub(super) fn joined(&mut self, packet: &Packet) -> Option<Packet> {
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
    pub(super) fn check_codec(&self, packet: &Packet) -> Result<()> {
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
    pub(super) fn is_early(&mut self, packet: &Packet) -> bool {
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
pub(super) fn frame_ticks(stream: &StreamInfo) -> i64 {
    let rate = stream.video.as_ref().and_then(|v| v.frame_rate).filter(|r| r.is_positive());
    rate.map_or(0, |r| rescale(1, r.inverse(), stream.time_base, Rounding::Nearest))
}
