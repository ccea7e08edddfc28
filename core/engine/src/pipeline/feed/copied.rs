//! Packets of one stream on their way to an output as they are.

use super::stream::frame_ticks;
use crate::error::Error;
use crate::link::Sender;
use crate::package::bitstream::aac::{self, Adts};
use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::pipeline::worker::ToMux;
use crate::time::Timestamp;

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
struct Headers {
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

impl CopyRoute {
    /// Hands `packet` on; `false` when the route wants no more.
    pub(super) fn take(&mut self, packet: &Packet, end: Option<Timestamp>) -> bool {
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
