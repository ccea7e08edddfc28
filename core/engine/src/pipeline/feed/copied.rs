//! Packets of one stream on their way to an output as they are.

use super::reencoded::Reencoded;
use super::stream::frame_ticks;
use crate::error::Error;
use crate::job::shared::Shared;
use crate::link::Sender;
use crate::package::bitstream::aac::{self, Adts};
use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::pipeline::worker::ToMux;
use crate::time::Timestamp;
use std::sync::Arc;

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
    /// Whom to tell that it is encoded from where they change, and what of: where it was our own choice to copy it.
    instead: Option<(Arc<Shared>, StreamInfo)>,
    /// It is.
    reencoded: Option<Reencoded>,
    /// Packets with other headers, so far too few to be a change.
    held: Vec<Packet>,
}

/// The headers that AAC has in transport streams.
#[derive(Default)]
struct Headers {
    first: Option<Adts>,
    /// Packets in a row that say something else: one or two are damage.
    others: u32,
}

impl Headers {
    /// What a packet with `data` says beside the first.
    fn read(&mut self, data: &[u8]) -> Said {
        let said = |h: &Adts| (h.object_type, h.rate_index, h.channel_config);
        let Some(now) = Adts::parse(data).filter(|h| h.frame_len <= data.len()) else { return Said::Nothing };
        let first = self.first.get_or_insert(now);
        self.others = if said(first) == said(&now) { 0 } else { self.others + 1 };
        match self.others {
            0 => Said::Same,
            1..=3 => Said::Other,
            _ => Said::Changed(now),
        }
    }
}

/// What the headers of a packet say.
enum Said {
    /// They cannot be read.
    Nothing,
    Same,
    /// Something else, which may be damage.
    Other,
    /// Something else, as some before.
    Changed(Adts),
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
            instead: None,
            reencoded: None,
            held: Vec::new(),
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

    /// Fails when the headers of AAC packets begin to say something else; encodes what comes then where there is `instead`, and says
    /// so.
    pub fn told_once(&mut self, instead: Option<(Arc<Shared>, StreamInfo)>) {
        self.headers = Some(Headers::default());
        self.instead = instead;
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
        if self.reencoded.is_some() {
            return self.reencode(packet, end);
        }
        match self.headers.as_mut().map_or(Said::Same, |headers| headers.read(&packet.data)) {
            Said::Changed(now) => self.change(packet, &now, end),
            Said::Other | Said::Nothing
                if self.instead.is_some() && (!self.held.is_empty() || self.is_other()) =>
            {
                self.held.push(packet);
                true
            }
            _ => {
                let held = std::mem::take(&mut self.held);
                held.into_iter().chain([packet]).all(|packet| self.deliver(packet, end))
            }
        }
    }

    /// Whether the last headers said something else.
    fn is_other(&self) -> bool {
        self.headers.as_ref().is_some_and(|headers| headers.others > 0)
    }

    /// From `packet`, or those that are held, on it is another sound.
    fn change(&mut self, packet: Packet, now: &Adts, end: Option<Timestamp>) -> bool {
        let config = aac::Config::from_adts(now).ok();
        let what = config.and_then(|c| Some(format!("{} Hz, {} channels", c.rate, c.channels()?)));
        let what = what.unwrap_or("another sound".into());
        let since = self.held.first().unwrap_or(&packet);
        let (from, at) = (since.pts.or(since.dts).unwrap_or(0), since.presentation());
        // What was joined overlaps.
        let from = self.last_dts.map_or(from, |last| from.max(last + packet.duration / 2));
        let at = at.map_or(0.0, Timestamp::seconds);
        let stream = packet.stream;
        let first = self.headers.as_ref().and_then(|h| h.first).and_then(|h| aac::Config::from_adts(&h).ok());
        let made = match (self.instead.take(), first) {
            (Some((shared, stream)), Some(first)) => {
                Reencoded::new(&stream, &first, from).map(|reencoded| (shared, reencoded))
            }
            _ => Err(Error::unsupported("it was to be copied")),
        };
        match made {
            Ok((shared, reencoded)) => {
                shared.warn(
                    "fallback",
                    format!("stream {stream}: the sound changes to {what} at {at:.3} s: encoded from there on as it was before"),
                );
                self.reencoded = Some(reencoded);
                let held = std::mem::take(&mut self.held);
                held.into_iter().chain([packet]).all(|packet| self.reencode(packet, end))
            }
            Err(_) => {
                drop(self.mux.send(ToMux::Failed(Error::unsupported(format!(
                    "stream {stream}: the sound changes to {what} at {at:.3} s, so it can be encoded (copy_conforming: false, or \
                     any codec, says so) but not copied"
                )))));
                false
            }
        }
    }

    fn reencode(&mut self, packet: Packet, end: Option<Timestamp>) -> bool {
        let Some(reencoded) = &mut self.reencoded else { return false };
        let mut made = Vec::new();
        match reencoded.push(packet, &mut made) {
            Ok(()) => made.into_iter().all(|packet| self.deliver(packet, end)),
            Err(e) => {
                drop(self.mux.send(ToMux::Failed(e)));
                false
            }
        }
    }

    /// Hands on what is still inside; then the track ends.
    pub(super) fn finish(&mut self, end: Option<Timestamp>) {
        let mut made = std::mem::take(&mut self.held);
        if let Some(Err(e)) = self.reencoded.as_mut().map(|reencoded| reencoded.finish(&mut made)) {
            drop(self.mux.send(ToMux::Failed(e)));
        }
        if made.into_iter().all(|packet| self.deliver(packet, end)) {
            drop(self.mux.send(ToMux::End(self.track)));
        }
    }

    fn deliver(&mut self, mut packet: Packet, end: Option<Timestamp>) -> bool {
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
        // Muxers refuse times that do not rise; a repeated or broken one is moved by the least that they take. Of words some
        // may come at one moment.
        let least = i64::from(self.kind != MediaKind::Subtitle);
        let dts = self.last_dts.map_or(dts, |last| dts.max(last + least));
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
