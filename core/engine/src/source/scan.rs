//! Reading packets without decoding them, to learn what headers do not say.

use super::index::Seen;
use crate::error::{Error, ErrorKind, Result};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::time::{Rounding, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;

/// What the packets of one stream add up to. Times count in the stream's base.
#[derive(Debug, Default)]
pub(crate) struct StreamScan {
    /// The packets in decoding order; kept for video only.
    pub packets: Vec<Seen>,
    /// Packets.
    pub count: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// First time shown.
    pub start: Option<i64>,
    /// End of the last packet.
    pub end: Option<i64>,
}

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    All,
    /// Until every stream of pictures had this many packets, within reason.
    Beginning(usize),
}

/// A scan of a source.
#[derive(Debug)]
pub(crate) struct Scan {
    /// By stream index.
    pub streams: Vec<StreamScan>,
    /// Whether the end was reached.
    pub complete: bool,
}

/// What a beginning may cost when some stream has few packets or none.
const BEGINNING_PACKETS: u64 = 5000;
const BEGINNING_BYTES: u64 = 64 << 20;

/// Reads `demuxer` from where it is; `each` sees every packet.
///
/// # Errors
/// [`ErrorKind::Cancelled`] and what `each` returns. Damage and transport errors end the scan early instead: what was
/// read until then is true.
pub(crate) fn scan(
    demuxer: &mut av::Demuxer,
    streams: &[StreamInfo],
    extent: Extent,
    mut each: impl FnMut(&av::Packet) -> Result<()>,
) -> Result<Scan> {
    let mut scan = Scan { streams: streams.iter().map(|_| StreamScan::default()).collect(), complete: false };
    let (mut count, mut bytes) = (0, 0);
    loop {
        let packet = match demuxer.read() {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                scan.complete = true;
                return Ok(scan);
            }
            Err(e) if e.kind() == av::Kind::Cancelled => return Err(Error::cancelled()),
            Err(e) if e.kind() == av::Kind::Again => continue,
            Err(e) if demuxer.is_hanging_up(&e) => {
                scan.complete = true;
                return Ok(scan);
            }
            // Not damage: the application's own bytes failed it.
            Err(e) if e.is_of_the_object() => return Err(e.into()),
            Err(_) => return Ok(scan),
        };
        each(&packet)?;
        let index = packet.stream_index();
        let (Some(info), Some(s)) = (streams.get(index), scan.streams.get_mut(index)) else { continue };
        s.add(info, &packet);
        count += 1;
        bytes += packet.data().len() as u64;
        if let Extent::Beginning(wanted) = extent {
            let enough = streams.iter().zip(&scan.streams).all(|(info, s)| {
                info.kind != MediaKind::Video
                    || info.disposition.attached_picture
                    || s.packets.len() >= wanted
            });
            if enough || count >= BEGINNING_PACKETS || bytes >= BEGINNING_BYTES {
                return Ok(scan);
            }
        }
    }
}

impl StreamScan {
    /// First time and end. Streams without any times (raw video) begin at zero and last as long as their frames.
    pub(crate) fn span(&self, info: &StreamInfo) -> Option<(i64, i64)> {
        if let (Some(start), Some(end)) = (self.start, self.end) {
            return Some((start, end));
        }
        let frame = info.video.as_ref()?.frame_rate?.inverse();
        let shown = self.packets.iter().filter(|p| p.shown).count();
        Some((0, rescale(i64::try_from(shown).ok()?, frame, info.time_base, Rounding::Nearest)))
    }

    fn add(&mut self, info: &StreamInfo, packet: &av::Packet) {
        let shown = !packet.is_discard() && !is_hidden(&info.codec, packet.data());
        self.count += 1;
        self.bytes += packet.data().len() as u64;
        if let Some(t) = packet.pts().or(packet.dts()).filter(|_| shown) {
            self.start = Some(self.start.map_or(t, |s| s.min(t)));
            let frame = info.video.as_ref().and_then(|v| v.frame_rate).map(|r| r.inverse());
            let duration = match (packet.duration(), frame) {
                (0, Some(frame)) => rescale(1, frame, info.time_base, Rounding::Nearest),
                (d, _) => d,
            };
            let end = t.saturating_add(duration.max(0));
            self.end = Some(self.end.map_or(end, |e| e.max(end)));
        }
        if info.kind == MediaKind::Video {
            self.packets.push(Seen {
                pts: packet.pts(),
                dts: packet.dts(),
                duration: packet.duration(),
                key: packet.is_key(),
                shown,
                position: packet.position(),
            });
        }
    }
}

impl Scan {
    /// From the first time of any stream to the last, sound and pictures only; `None` without times.
    pub(crate) fn span(&self, streams: &[StreamInfo]) -> Option<(Timestamp, Timestamp)> {
        let times = || {
            streams.iter().zip(&self.streams).filter(|(i, _)| {
                matches!(i.kind, MediaKind::Video | MediaKind::Audio) && !i.disposition.attached_picture
            })
        };
        let at = |i: &StreamInfo, (start, end)| {
            (Timestamp::new(start, i.time_base), Timestamp::new(end, i.time_base))
        };
        let spans = || times().filter_map(|(i, s)| s.span(i).map(|span| at(i, span)));
        let start = spans().map(|(start, _)| start).min()?;
        let end = spans().map(|(_, end)| end).max()?;
        Some((start, end))
    }
}

/// Whether the packet makes no picture of its own: VP8 keeps its alternate references in packets that say so.
fn is_hidden(codec: &Codec, data: &[u8]) -> bool {
    *codec == Codec::Vp8 && data.first().is_some_and(|b| b & 0x10 == 0)
}

/// Reads the whole source again through a demuxer of its own, for `stream` alone.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when the source cannot be read twice; as [`super::open::open`] and [`scan`].
pub(crate) fn scan_stream(
    spec: &crate::spec::SourceSpec,
    content: Option<&super::Content>,
    interrupt: &av::Interrupt,
    streams: &[StreamInfo],
    stream: usize,
) -> Result<Scan> {
    let mut demuxer = super::open::open_content(spec, content, interrupt)?;
    if !demuxer.is_seekable() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{}: cannot be sought, so its frames cannot be counted beforehand", spec.label()),
        ));
    }
    for i in 0..demuxer.stream_count() {
        demuxer.set_discard(i, i != stream)?;
    }
    scan(&mut demuxer, streams, Extent::All, |_| Ok(()))
}
